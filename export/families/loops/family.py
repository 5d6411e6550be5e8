"""Descriptor of the loops family."""

from ..family import ExportFamily, how_loops_play
from .graphs import loop_graphs
from .report import report

FAMILIES = {
    "loops": ExportFamily(
        loop_graphs,
        report,
        "tuned-sequence",
        "a held key plays on in their manner and in time, knobs steer it",
        how_loops_play,
        "loop.wav",
        lambda corpus: [f"frames.sample_rate={corpus.rate}"],
        gridded=True,
    ),
}
