"""Conversion of an instrument's sound to the rate of its output, by the compiled core or by numpy."""

import functools
import math

import numpy as np

from ..arrays import Array, address_of
from ..unattended import UnattendedRun
from ..voice_library import voice_library

HALF = 32  # inputs on either side of an output; more where the output's rate is lower
BETA = 9.6  # of Kaiser's window: 95 dB from 24.1 kHz on at 44.1 to 48 kHz, flat to 20 kHz


@functools.lru_cache(maxsize=4)
def sinc_table(up: int, down: int) -> Array:
    """Weights of inputs, [up, taps], by the output's place between two of them; each row's sum is 1.

    A windowed sinc that passes half of the amplitude at the lower rate's half (J. Kaiser, in Kuo and Kaiser, System
    Analysis by Digital Computer, 1966).
    """
    narrower = min(1.0, up / down)
    half = math.ceil(HALF / narrower / 4) * 4  # taps are a multiple of the core's 8 lanes
    offsets = np.arange(1 - half, half + 1) - np.arange(up)[:, np.newaxis] / up
    window = np.i0(BETA * np.sqrt(np.maximum(1 - np.square(offsets / half), 0.0)))
    weights = np.sinc(narrower * offsets) * window
    table: Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    table.setflags(write=False)
    return table


class RateConversion:
    """Streaming conversion: output n lies at input n ``rate_in`` / ``rate_out``.

    A sample does not depend on the division into blocks. ``latency``: inputs that must follow an output's place.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int = 2) -> None:
        common = math.gcd(rate_in, rate_out)
        self._up, self._down = rate_out // common, rate_in // common
        self._table = sinc_table(self._up, self._down)
        self._taps = self._table.shape[1]
        self.latency = self._taps // 2
        self._pending: Array = np.zeros(
            (channels, self.latency - 1), np.float32
        )  # inputs from the next output's first on
        self._phase = 0  # of the next output, in parts of an input
        self._library = voice_library()

    def process(self, audio: Array) -> Array:
        """All outputs whose inputs have come, of [channels, n]."""
        inputs = np.concatenate([self._pending, audio], axis=1)
        # The last output's first input leaves room for its taps.
        room = inputs.shape[1] - self._taps
        count = 0 if room < 0 else ((room + 1) * self._up - 1 - self._phase) // self._down + 1
        outputs = self._outputs(inputs, count)
        end = self._phase + count * self._down
        self._pending, self._phase = inputs[:, end // self._up :], end % self._up
        return outputs

    def lend(self, run: UnattendedRun) -> None:
        """Let the core convert for a while."""
        fields, count = run.fields, self._pending.shape[1]
        fields.table, fields.taps, fields.up, fields.down = address_of(self._table), self._taps, self._up, self._down
        run.pending[:, :count] = self._pending
        fields.pending_count, fields.phase = count, self._phase

    def take_back(self, run: UnattendedRun) -> None:
        """Go on where the core stopped."""
        self._pending, self._phase = run.pending[:, : run.fields.pending_count].copy(), run.fields.phase

    def _outputs(self, inputs: Array, count: int) -> Array:
        channels = len(inputs)
        if self._library is not None:
            outputs = np.empty((channels, count), np.float32)
            address, stride = address_of(inputs), inputs.shape[1]
            self._library.core_convert(
                *(address, stride, channels, address_of(self._table), self._taps),
                *(self._up, self._down, self._phase, count, address_of(outputs)),
            )
            return outputs
        if not count:
            return np.zeros((channels, 0), np.float32)
        places = self._phase + np.arange(count) * self._down
        windows = np.lib.stride_tricks.sliding_window_view(inputs, self._taps, axis=1)[:, places // self._up]
        summed: Array = np.vecdot(windows, self._table[places % self._up])
        return summed
