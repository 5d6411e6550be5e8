"""Describes the family to export, reports and `make`."""

from ..family import ExportFamily
from ..gan.graphs import invert_graphs
from ..gan.report import report

FAMILIES = {
    "invert": ExportFamily(invert_graphs, report, judged=True),
}
