"""Resampling and time stretching by pedalboard, imported on first use."""

import numpy as np

from ..arrays import Array


class Resampler:
    """Streaming resampler, a windowed sinc of 32 zero crossings.

    Output starts with the input, within ``late``, at most half an output sample. ``latency``: look-ahead in input
    samples.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int = 2) -> None:
        from pedalboard.io import StreamResampler

        self._ratio = rate_out / rate_in
        self._channels = channels
        self._resampler = StreamResampler(rate_in, rate_out, channels)
        self._input_count = self._output_count = 0
        self.latency = float(self._resampler.input_latency)
        delay = self.latency * self._ratio
        self.late = delay - round(delay)  # StreamResampler itself drops the whole samples of its delay
        self.process(np.zeros((channels, 0), np.float32))  # fixes the channel axis, ambiguous in one-sample blocks

    def process(self, audio: Array) -> Array:
        """[channels, n]; output lengths vary."""
        output: Array = self._resampler.process(audio)
        self._input_count += audio.shape[1]
        self._output_count += output.shape[1]
        return output

    def flush(self) -> Array:
        """The rest, for an exact total length."""
        remaining_count = round(self._input_count * self._ratio) - self._output_count
        padding = np.zeros((self._channels, int(self.latency + remaining_count / self._ratio) + 2), np.float32)
        return self.process(padding)[:, :remaining_count]


def stretched(sound: Array, rate: int, factor: float) -> Array:
    """Time-stretch a sound at constant pitch, [..., samples] to [..., samples / factor]; channels stay together.

    Short windows of Rubber Band keep hits within 2 ms, long ones within 8 ms.
    """
    from pedalboard import time_stretch

    stretched_channels = time_stretch(sound, float(rate), stretch_factor=factor, use_long_fft_window=False)
    return stretched_channels.reshape(*sound.shape[:-1], -1)
