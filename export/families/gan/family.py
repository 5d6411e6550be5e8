"""Descriptors of the families gan, logistic-gan, dcgan and halves."""

from ..family import ExportFamily
from .graphs import gan_graphs, halves_graphs
from .report import report

FAMILIES = {
    "gan": ExportFamily(gan_graphs, report, judged=True),
    "logistic-gan": ExportFamily(gan_graphs, report, judged=True),
    "dcgan": ExportFamily(gan_graphs, report, judged=True),
    "halves": ExportFamily(halves_graphs, report, judged=True),
}
