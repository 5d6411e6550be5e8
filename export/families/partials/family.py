"""Descriptor of the partials family."""

from ...first_preset import how_notes_play
from ..family import ExportFamily
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
