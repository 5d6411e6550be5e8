"""Chooses a method of recovery: encoder, search, or both."""

import importlib.util
from collections.abc import Callable

from ...host.errors import UserError
from ...host.model.encoder import encoder_path
from ...host.model.model import Model
from ...host.resynthesis.recover import NETWORK, RecoveryMethod
from ...host.resynthesis.refinement import can_refine, refined

METHODS = ("network", "gradient", "hybrid")
MISSING = "torch is not installed: pip install 'timbrel[train]'"


def chosen_method(requested: str | None, model: Model, report: Callable[[str], None]) -> RecoveryMethod:
    """Return the method ``requested``: ``network``, ``gradient`` or ``hybrid``; None: the best that is installed.

    ``report`` receives a note if that is less than a hybrid.

    Raises:
        UserError: the method cannot search this model, or not here.
    """
    if requested not in (None, *METHODS):
        raise UserError(f"method {requested!r}: give one of {', '.join(METHODS)}")
    has_encoder = encoder_path(model.path).exists()
    if has_encoder and requested in (None, "hybrid") and can_refine(model.card):  # it needs no torch
        return RecoveryMethod("hybrid", refined, refines=True)
    can_search = all(importlib.util.find_spec(name) for name in ("torch", "onnx"))
    if requested == NETWORK.name or (requested is None and not can_search):
        if requested is None:
            report(f"{MISSING}; the network's code is not refined")
        return NETWORK
    if not can_search:
        raise UserError(f"method {requested} searches, and {MISSING}; or give network")
    if requested == "hybrid" and not has_encoder:
        raise UserError(f"method hybrid begins at a network's code, and {model.path} has no encoder; give gradient")
    if requested is None and not has_encoder:
        report(f"{model.path} has no encoder: its code is searched by gradient alone")
    from .search import gradient, hybrid

    if requested == "gradient" or not has_encoder:
        return RecoveryMethod("gradient", gradient)
    return RecoveryMethod("hybrid", hybrid, refines=True)
