"""Descriptor of the partials family."""

from ..family import ExportFamily, how_notes_play
from .graphs import partials_graphs
from .report import report

FAMILIES = {
    "partials": ExportFamily(
        partials_graphs,
        report,
        "tuned-partials",
        "keys will choose the note, knobs the colour",
        how_notes_play,
        "scale.wav",
        keyed=True,
        played=True,
    ),
}
