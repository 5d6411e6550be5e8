"""Registers the classifier family for export."""

from ..family import ExportFamily
from .report import report

FAMILIES = {
    "classifier": ExportFamily(None, report),
}
