"""Descriptor of the chroma family."""

from ....train.frames import is_tonal
from ..family import ExportFamily, how_notes_play
from .graphs import chroma_graphs
from .report import report

FAMILIES = {
    "chroma": ExportFamily(
        chroma_graphs,
        report,
        "tuned-8",
        "keys will choose the note, knobs the colour",
        how_notes_play,
        "scale.wav",
        lambda corpus: [] if is_tonal(corpus) else ["loss.consistency=0.0"],  # it would force a pitch
        played=True,
        unpitched="the recordings have no clear pitch: keys will choose the colour of the sound, not its note",
    ),
}
