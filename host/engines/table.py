"""The engine of each kind of model, and what it takes of a preset."""

from collections.abc import Callable
from typing import Any

from ..contract.model import Model
from ..errors import UserError
from ..kinds.grain import Grain, GrainSettings
from ..kinds.spectrum import Spectrum
from ..patch.preset import Preset
from ..units import db_to_gain
from .frames import Character
from .grain import GrainEngine
from .protocol import Engine
from .spectrum import SpectrumEngine

MAX_BLOCK = 16384  # samples computed at a time: 16 hops of 1024 make batches as large as pay
VOICE_LUFS = -20.0  # a voice's loudness at full velocity: peaks of eight voices just reach the limiter's knee
# A texture's voice on each side: of noise this loud, one sample in 200 passes the limiter's knee. Recordings of rain
# and sea come near it; codes between and beyond them may decode to a hundred times its power.
LOUDEST_TEXTURE_DB = -12.0


def _spectrum(model: Model, preset: Preset, live: bool) -> SpectrumEngine:
    play = preset.play
    character = Character(play.phase, play.noise, play.keep_formants, play.unison, play.detune_cents, play.width)
    return SpectrumEngine(model, MAX_BLOCK, character)


def _grain(model: Model, preset: Preset, live: bool) -> GrainEngine:
    loudest = db_to_gain(LOUDEST_TEXTURE_DB - VOICE_LUFS + model.card.loudness_lufs)
    return GrainEngine(model, preset.grain or GrainSettings(), MAX_BLOCK, loudest)


# The engine of each kind, made of a model, a preset, and whether it is played live, where an engine must not wait.
ENGINES: dict[str, Callable[[Model, Preset, bool], Engine[Any]]] = {Spectrum.name: _spectrum, Grain.name: _grain}


def engine_of(model: Model, preset: Preset, live: bool = False) -> Engine[Any]:
    """Return the engine that sounds a model as a preset says.

    Args:
        live: the engine must not wait for what it computes elsewhere.

    Raises:
        UserError: the model's kind has no engine, or no chroma, which chords need.
    """
    card = model.card
    if card.kind not in ENGINES:
        raise UserError(f"{model.path}: models of kind {card.kind!r} cannot be played yet; known: {', '.join(ENGINES)}")
    if preset.play.mode == "chord" and card.chroma is None:
        raise UserError(
            f"play.mode 'chord' needs a model with chroma, {card.name!r} has none; use 'poly' or 'mono', "
            "or a model trained with chroma"
        )
    return ENGINES[card.kind](model, preset, live)
