"""Sounds from Python: arrays with a sampling rate, a player and a picture in notebooks."""

import base64
import html
import importlib.util
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from ...host.arguments import check_flag, location, number, value_text, whole_number
from ...host.audio.sound_files import flac_bytes, sound_writer
from ...host.errors import UserError
from ...host.resynthesis.picture import SMALL_DOTS_PER_INCH, spectrograms_png

if TYPE_CHECKING:
    Samples = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
else:
    Samples = np.ndarray

MOST_CHANNELS = 8  # of a FLAC file
LONGEST_SHOWN_SECONDS = 600.0  # a longer player would swell the notebook's file


class Sound(Samples):
    """Samples, float32 [2, samples], within ±1 unless a plugin exceeds it, with their ``sample_rate`` in Hz.

    A numpy array: slices and sums of sounds are sounds; sounds of two rates do not mix. Notebooks show a player and a
    spectrogram.
    """

    sample_rate: int

    def __new__(cls, samples: npt.ArrayLike, sample_rate: int) -> Self:
        """Raise UserError for samples that are no numbers or no floats, and a rate that is no whole number from 0."""
        try:
            given_samples = np.asarray(samples)
            if given_samples.dtype.kind in "iubc":
                raise _no_floats(given_samples)
            sound = np.asarray(given_samples, np.float32).view(cls)
        except (TypeError, ValueError):
            raise UserError(f"samples {value_text(samples)} are no numbers; give an array of them") from None
        rate_hz = number("sample_rate", sample_rate)
        sound.sample_rate = whole_number("sample_rate", int(rate_hz) if rate_hz == int(rate_hz) else sample_rate, 0)
        return sound

    def __array_finalize__(self, like: Any) -> None:
        self.sample_rate = getattr(like, "sample_rate", 0)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        common_rate = _rate_of(inputs)
        if out:
            options["out"] = tuple(map(_plain, out))
        ufunc_output = getattr(ufunc, method)(*map(_plain, inputs), **options)
        return out[0] if out else _as_sound(ufunc_output, common_rate or self.sample_rate)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        function_output = super().__array_function__(function, types, args, options)
        is_sound = (
            type(function_output) is np.ndarray
            and function_output.dtype == self.dtype
            and function_output.ndim == self.ndim
        )
        return _as_sound(function_output, _rate_of(args) or self.sample_rate) if is_sound else function_output

    def __reduce__(self) -> Any:
        return _as_sound, (np.asarray(self), self.sample_rate)

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.shape[-1] / self.sample_rate

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a sound file, and return its path. Samples beyond ±1 are clipped there, with a warning.

        Args:
            path: ``.wav`` or ``.flac``, of 24 bits, or ``.ogg``.
            overwrite: replace a file that exists.

        Raises:
            UserError: another suffix, more than 8 channels, samples that are no floats, or the file exists and
                ``overwrite`` is false.
            Failure: the file cannot be written.
        """
        path = Path(location("path", path))
        check_flag("overwrite", overwrite)
        samples = np.atleast_2d(np.asarray(self))
        if samples.dtype.kind != "f":
            raise _no_floats(samples)
        if samples.ndim != 2 or not 1 <= len(samples) <= MOST_CHANNELS:
            raise UserError(
                f"a sound of shape {self.shape} has not 1 to {MOST_CHANNELS} channels; save [channels, samples], such "
                "as sound.T"
            )
        if not overwrite and os.path.lexists(path):
            raise UserError(f"{path} exists; give another name, or overwrite=True to replace it")
        with sound_writer(path, self.sample_rate, len(samples), overwrite) as writer:
            writer.write(samples)
            clip_lines = writer.clip_remarks("save the sound divided by that")
        for line in clip_lines:
            warnings.warn(line, stacklevel=2)
        return path

    def _repr_html_(self) -> str | None:
        samples = np.atleast_2d(np.asarray(self))
        is_playable = samples.ndim == 2 and 1 <= len(samples) <= MOST_CHANNELS and samples.size and self.sample_rate
        if not is_playable or not np.isfinite(samples).all():
            return None
        caption = f"{self.seconds:.2f} s, {self.sample_rate} Hz, peak {float(np.abs(samples).max()):.2f}"
        html_parts = [f"<div>{html.escape(caption)}</div>"]
        if self.seconds <= LONGEST_SHOWN_SECONDS:
            flac_base64 = base64.b64encode(flac_bytes(samples, self.sample_rate)).decode()
            html_parts.append(f'<audio controls src="data:audio/flac;base64,{flac_base64}"></audio>')
        if importlib.util.find_spec("matplotlib"):
            png = spectrograms_png({"": samples.mean(axis=0)}, self.sample_rate, SMALL_DOTS_PER_INCH)
            picture_base64 = base64.b64encode(png).decode()
            html_parts.append(f'<br><img width="600" alt="spectrogram" src="data:image/png;base64,{picture_base64}">')
        return "".join(html_parts)


def _no_floats(samples: npt.NDArray[Any]) -> UserError:
    return UserError(
        f"samples of {samples.dtype} are no floats within ±1; divide them by their full scale, 32768 for int16"
    )


def _plain(operand: Any) -> Any:
    """Return a sound as a plain array, all else as it is."""
    return operand.view(np.ndarray) if isinstance(operand, Sound) else operand


def _as_sound(array: Any, rate: int) -> Any:
    """Return an array as a sound, all else as it is."""
    if not isinstance(array, np.ndarray):
        return array
    sound = array.view(Sound)
    sound.sample_rate = rate
    return sound


def _rate_of(arguments: Any) -> int | None:
    """Return the rate of all sounds among arguments; None if there are none."""
    rates = set(_rates(arguments))
    if len(rates) > 1:
        raise UserError(f"sounds of {' and '.join(f'{rate} Hz' for rate in sorted(rates))}: render them at one rate")
    return next(iter(rates), None)


def _rates(argument: Any) -> Iterator[int]:
    """Yield the rates of the sounds in an argument, in lists and tuples too."""
    if isinstance(argument, Sound):
        yield from [argument.sample_rate] if argument.sample_rate else []
    elif isinstance(argument, tuple | list):
        for element in argument:
            yield from _rates(element)
