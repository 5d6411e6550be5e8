"""Selects a model's engine: the module `engine` of its kind's folder."""

import importlib
from typing import Any

from ..contract.model import Model
from ..errors import UserError
from ..kinds.table import kind_of
from .protocol import Engine
from .request import EngineRequest


def engine_of(model: Model, request: EngineRequest) -> Engine[Any]:
    """Imports the engine's module on first use.

    Raises:
        UserError: play.mode 'chord' without keys for notes, or the engine refuses the request.
    """
    card = model.card
    if request.play.mode == "chord" and not card.keyed:
        raise UserError(
            f"play.mode 'chord' needs a model whose keys choose the note, those of {card.name!r} do not; use 'poly' or "
            "'mono', or a model of notes"
        )
    kind = kind_of(card)
    module = importlib.import_module(f"{kind.engines or '.' + kind.name}.engine", __package__)
    engine: Engine[Any] = module.make_engine(model, request)
    return engine
