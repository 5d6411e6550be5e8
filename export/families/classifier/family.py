"""Descriptor of the classifier family."""

from ..family import ExportFamily
from .report import report

FAMILIES = {
    "classifier": ExportFamily(None, report),
}
