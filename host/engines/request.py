"""The request for an engine: what a preset asks of the engine that plays its model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..patch.preset import PlaySettings

MAX_BLOCK = 16384  # samples computed at a time: 16 hops of 1024 make batches as large as pay
VOICE_LUFS = -20.0  # a voice's loudness at full velocity: peaks of eight voices just reach the limiter's knee


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
