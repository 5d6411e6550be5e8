"""Descriptor of the invert family."""

from ..family import ExportFamily
from ..gan.graphs import invert_graphs
from ..gan.report import report

FAMILIES = {
    "invert": ExportFamily(invert_graphs, report, judged=True),
}
