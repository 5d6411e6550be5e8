"""Descriptor of the sequence family."""

from ..family import ExportFamily
from .graphs import sequence_graphs
from .report import report

FAMILIES = {
    "sequence": ExportFamily(sequence_graphs, report),
}
