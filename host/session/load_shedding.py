"""Load shedding: measures rendering load, and steals voices while it is high."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..play.player import Player

TIGHT = 0.85  # of a block's time: rendering that takes more, over about `STRAIN_BLOCKS`, steals a voice
STRAIN_BLOCKS = 8
LONGEST_PART = 2.0  # blocks that one block counts at most: if the machine stalls for twenty, no voice is the cause
REMEMBERED = 4096  # blocks of load history: 11 s at 128 samples and 48 kHz


@dataclass
class RenderLoad:
    """Rendering times relative to a block's duration, of `REMEMBERED` blocks."""

    parts: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(REMEMBERED, np.float32))
    count: int = 0

    def add(self, load_ratio: float) -> None:
        self.parts[self.count % REMEMBERED] = load_ratio
        self.count += 1

    def percentiles(self, *percentages: float) -> list[float]:
        """0 before the first block."""
        recent_ratios = self.parts[: min(self.count, REMEMBERED)]
        return (
            [float(load_ratio) for load_ratio in np.percentile(recent_ratios, percentages)]
            if len(recent_ratios)
            else [0.0] * len(percentages)
        )


class LoadShedding:
    def __init__(self) -> None:
        self._strain = 0.0  # mean load of recent blocks

    def add(self, load_ratio: float, player: Player, limit: float = TIGHT) -> None:
        """Add a block's load; steal a voice if the mean exceeds ``limit``."""
        self._strain += (min(load_ratio, LONGEST_PART) - self._strain) / STRAIN_BLOCKS
        if self._strain > limit:
            player.give_up_a_voice()
            self._strain = 0.5 * TIGHT  # observe the effect before stealing another voice
