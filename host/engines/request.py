"""Engine requests."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..patch.preset import PlaySettings

MAX_BLOCK = 16384  # samples per computation: 16 hops of 1024 make the largest batches worthwhile


class EngineRequest(NamedTuple):
    rest: Sequence[float]  # latents, for decoding ahead
    play: PlaySettings
    own: Any  # from `Kind.own`
    bend: float  # range in semitones
    live: bool = False  # the engine must not block on other processes
    sound: npt.NDArray[np.float32] | None = None  # seed at the model's rate, [samples]
    morph_label: str | None = None  # at the morph's end; None: unchanged
