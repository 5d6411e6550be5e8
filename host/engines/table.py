"""The engine of each kind of model, and what it takes of a preset."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..contract.model import Model
from ..errors import UserError
from ..kinds.clip import ClipKind, ClipSettings, hits, strikes
from ..kinds.grain import GrainKind, GrainSettings
from ..kinds.partials import PartialsKind
from ..kinds.spectrum import SpectrumKind
from ..kinds.stream import StreamKind, StreamSettings
from ..patch.preset import PlaySettings
from ..units import db_to_gain
from .clip import ClipEngine, Playing
from .clips.sound import sound_of
from .frames import Character
from .grain import GrainEngine
from .protocol import Engine
from .spectrum import SpectrumEngine
from .stream import StreamEngine
from .streams.seeds import seeds_of

MAX_BLOCK = 16384  # samples computed at a time: 16 hops of 1024 make batches as large as pay
VOICE_LUFS = -20.0  # a voice's loudness at full velocity: peaks of eight voices just reach the limiter's knee
# A texture's voice on each side: of noise this loud, one sample in 200 passes the limiter's knee. Recordings of rain
# and sea come near it; codes between and beyond them may decode to a hundred times its power.
LOUDEST_TEXTURE_DB = -12.0


class EngineRequest(NamedTuple):
    """The demands of a preset on an engine.

    ``rest`` is the code at which its knobs rest, one number a latent: what may be decoded ahead. ``play`` is its
    [play], ``own`` what it has for the model's kind alone, as `Kind.own`; ``bend`` the semitones by which a note may be
    bent. Played ``live``, the engine must not wait for what it computes elsewhere. ``sound`` is what it begins with, at
    the model's rate, [samples]; None for nothing. ``morph_label`` is that to which its morph leads; None for the same.
    """

    rest: Sequence[float]
    play: PlaySettings
    own: Any
    bend: float
    live: bool = False
    sound: npt.NDArray[np.float32] | None = None
    morph_label: str | None = None


def _spectrum(model: Model, asked: EngineRequest) -> SpectrumEngine:
    play = asked.play
    character = Character(play.phase, play.noise, play.keep_formants, play.unison, play.detune_cents, play.width)
    return SpectrumEngine(model, MAX_BLOCK, character)


def _grain(model: Model, asked: EngineRequest) -> GrainEngine:
    loudest = db_to_gain(LOUDEST_TEXTURE_DB - VOICE_LUFS + model.card.loudness_lufs)
    return GrainEngine(model, asked.own or GrainSettings(), MAX_BLOCK, loudest)


def _clip(model: Model, asked: EngineRequest) -> ClipEngine:
    own, play = asked.own, asked.play
    playing = Playing(
        own.clip or ClipSettings(),
        hits(own.keys, model.card),
        asked.rest,
        gated=not strikes(own, play),
        lowest=asked.bend,
        glides=play.mode != "poly",
        morph_label=None if asked.morph_label is None else model.card.labels.index(asked.morph_label),
    )
    return ClipEngine(model, sound_of(model.card), playing, asked.live)


def _stream(model: Model, asked: EngineRequest) -> StreamEngine:
    settings = asked.own or StreamSettings()
    return StreamEngine(model, settings, seeds_of(model, settings, asked.sound, asked.rest), asked.rest, asked.live)


# The engine of each kind.
ENGINES: dict[str, Callable[[Model, EngineRequest], Engine[Any]]] = {
    SpectrumKind.name: _spectrum,
    PartialsKind.name: _spectrum,
    GrainKind.name: _grain,
    ClipKind.name: _clip,
    StreamKind.name: _stream,
}


def engine_of(model: Model, asked: EngineRequest) -> Engine[Any]:
    """Return the engine that sounds a model as a preset asks.

    Raises:
        UserError: chords are asked for and keys choose no note of the model, or it cannot begin as it is asked to.
    """
    card = model.card
    if asked.play.mode == "chord" and not card.keyed:
        raise UserError(
            f"play.mode 'chord' needs a model whose keys choose the note, those of {card.name!r} do not; use 'poly' or "
            "'mono', or a model of notes"
        )
    return ENGINES[card.kind](model, asked)
