"""Memory of the blocks that the core renders by itself, while no event comes."""

import ctypes
import itertools

import numpy as np

from .arrays import Array, address_of
from .voice_library import PARTS, CoreRun, unlocked_library

MOST_SAMPLES, OUTPUTS = 4096, 2  # as in voice/core/unattended.h
MOST_BLOCKS = 16
LONGEST_BLOCK, LARGEST_RATIO = (
    512,
    6,
)  # their samples, and those that wait for the conversion, are `MOST_SAMPLES` at most


class UnattendedRun:
    """State shared with the core while it fills a sound card's ring (`UnattendedRun` of voice/core/unattended.h).

    Voices, rate conversion and the loop write theirs into it (`lend`), and read it afterwards (`take_back`).

    Attributes:
        fields: the structure.
        pending, converted: samples of the rate conversion, [2, `MOST_SAMPLES`].
    """

    def __init__(self, library: ctypes.CDLL, rate: int, block: int) -> None:
        self._library = library
        self.fields = CoreRun()
        self.pending, self.converted = (np.zeros((OUTPUTS, MOST_SAMPLES), np.float32) for _ in range(2))
        self._scratch = np.zeros((4, OUTPUTS, MOST_SAMPLES), np.float32)
        self._parts = np.zeros(0, np.float32)
        self._sound = np.zeros((OUTPUTS, MOST_BLOCKS * block), np.float32)
        self._seconds = np.zeros(MOST_BLOCKS)
        self._others: list[UnattendedRun] = []
        for name, array in (
            ("pending", self.pending),
            ("converted", self.converted),
            ("scratch", self._scratch),
            ("sound", self._sound),
            ("seconds", self._seconds),
        ):
            setattr(self.fields, name, address_of(array))
        self.fields.rate, self.fields.block = rate, block

    def chained(self, count: int) -> list["UnattendedRun"]:
        """Return ``count`` runs, of racks that sound together: this one, whose card they share, and those after it."""
        for _ in range(count - 1 - len(self._others)):
            self._others.append(UnattendedRun(self._library, self.fields.rate, self.fields.block))
        runs = [self, *self._others[: count - 1]]
        for run, next_run in itertools.pairwise(runs):
            run.fields.next = ctypes.addressof(next_run.fields)
        runs[-1].fields.next = None
        return runs

    @property
    def samples(self) -> int:
        """Samples that the last run rendered."""
        return int(self.fields.blocks * self.fields.block)

    @property
    def sound(self) -> Array:
        """The rendered samples, [2, samples], limited; valid until the next run."""
        return self._sound[:, : self.samples]

    @property
    def seconds(self) -> list[float]:
        """The time that each block took."""
        seconds: list[float] = self._seconds[: self.fields.blocks].tolist()
        return seconds

    def take_parts(self, buses: int, channels: int) -> None:
        """Lend memory for the sums of these buses."""
        size = buses * PARTS * channels * MOST_SAMPLES
        if self._parts.size < size:
            self._parts = np.zeros(size, np.float32)
        self.fields.parts, self.fields.bus_count, self.fields.channels = address_of(self._parts), buses, channels

    def run(self) -> None:
        """Render on this thread, until an event arrives or Python is needed; others may use the interpreter."""
        self._library.core_run_unattended(ctypes.addressof(self.fields))


def unattended_run(rate: int, block: int) -> UnattendedRun | None:
    """Memory for a card of ``rate`` Hz; None without the core, or for blocks beyond `LONGEST_BLOCK`."""
    library = unlocked_library()
    return UnattendedRun(library, rate, block) if library is not None and block <= LONGEST_BLOCK else None
