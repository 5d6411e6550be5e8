"""Describes the family to export, reports and `make`."""

from ..family import ExportFamily
from .report import report

FAMILIES = {
    "classifier": ExportFamily(None, report),
}
