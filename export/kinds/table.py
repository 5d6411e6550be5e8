"""Kinds of models for export, by name."""

from . import clip, grain, partials, spectrum, stream
from .kind import ExportKind

KINDS: dict[str, ExportKind] = {module.KIND.name: module.KIND for module in (spectrum, partials, grain, clip, stream)}
