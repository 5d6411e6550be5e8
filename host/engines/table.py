"""The engine of each kind of model, and what it takes of a preset."""

from collections.abc import Callable, Sequence
from typing import Any

from ..contract.model import Model
from ..errors import UserError
from ..kinds.grain import Grain, GrainSettings
from ..kinds.spectrum import Spectrum
from ..patch.preset import PlaySettings
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


def _spectrum(model: Model, rest: Sequence[float], play: PlaySettings, own: None, live: bool) -> SpectrumEngine:
    character = Character(play.phase, play.noise, play.keep_formants, play.unison, play.detune_cents, play.width)
    return SpectrumEngine(model, MAX_BLOCK, character)


def _grain(
    model: Model, rest: Sequence[float], play: PlaySettings, own: GrainSettings | None, live: bool
) -> GrainEngine:
    loudest = db_to_gain(LOUDEST_TEXTURE_DB - VOICE_LUFS + model.card.loudness_lufs)
    return GrainEngine(model, own or GrainSettings(), MAX_BLOCK, loudest)


# The engine of each kind, made of what `engine_of` is given.
ENGINES: dict[str, Callable[[Model, Sequence[float], PlaySettings, Any, bool], Engine[Any]]] = {
    Spectrum.name: _spectrum,
    Grain.name: _grain,
}


def engine_of(model: Model, rest: Sequence[float], play: PlaySettings, own: Any, live: bool = False) -> Engine[Any]:
    """Return the engine that sounds a model as a preset says.

    Args:
        rest: the code at which the preset's knobs rest, one number a latent: what may be decoded ahead.
        play: its [play].
        own: its table for the model's kind alone, None where it has none.
        live: the engine must not wait for what it computes elsewhere.

    Raises:
        UserError: the model's kind has no engine, or no chroma, which chords need.
    """
    card = model.card
    if card.kind not in ENGINES:
        raise UserError(f"{model.path}: models of kind {card.kind!r} cannot be played yet; known: {', '.join(ENGINES)}")
    if play.mode == "chord" and card.chroma is None:
        raise UserError(
            f"play.mode 'chord' needs a model with chroma, {card.name!r} has none; use 'poly' or 'mono', "
            "or a model trained with chroma"
        )
    return ENGINES[card.kind](model, rest, play, own, live)
