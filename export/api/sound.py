"""Sounds from Python: arrays that know their sampling rate, and show a player and a picture in notebooks."""

import base64
import html
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from ...host.audio.sound_files import flac_bytes, sound_writer
from ...host.picture import draw_spectrograms

if TYPE_CHECKING:
    Samples = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
else:
    Samples = np.ndarray

LONGEST_SHOWN_SECONDS = 600.0  # a longer player would swell the notebook's file


class Sound(Samples):
    """Samples, float32 [2, samples], within ±1 unless a plugin exceeds it, with their ``sample_rate`` in Hz.

    It is a numpy array: slices and sums of sounds are sounds.
    """

    sample_rate: int

    def __new__(cls, samples: npt.ArrayLike, sample_rate: int) -> Self:
        sound = np.asarray(samples, np.float32).view(cls)
        sound.sample_rate = sample_rate
        return sound

    def __array_finalize__(self, like: Any) -> None:
        self.sample_rate = getattr(like, "sample_rate", 0)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else super().__array_wrap__(array, context, return_scalar)

    def __reduce__(self) -> Any:
        return Sound, (np.asarray(self), self.sample_rate)

    @property
    def seconds(self) -> float:
        return self.shape[-1] / self.sample_rate

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a ``.wav`` or ``.flac`` of 24 bits or an ``.ogg``, and return its path.

        Raises:
            UserError: another suffix, or the file exists and ``overwrite`` is false.
            Failure: the file cannot be written.
        """
        samples = np.atleast_2d(np.asarray(self))
        with sound_writer(Path(path), self.sample_rate, len(samples), overwrite) as writer:
            writer.write(samples)
        return Path(path)

    def _repr_html_(self) -> str | None:
        samples = np.atleast_2d(np.asarray(self))
        if samples.ndim != 2 or not self.sample_rate or not samples.size:
            return None
        said = f"{self.seconds:.2f} s, {self.sample_rate} Hz, peak {float(np.abs(samples).max()):.2f}"
        parts = [f"<div>{html.escape(said)}</div>"]
        if self.seconds <= LONGEST_SHOWN_SECONDS:
            data = base64.b64encode(flac_bytes(samples, self.sample_rate)).decode()
            parts.append(f'<audio controls src="data:audio/flac;base64,{data}"></audio>')
        if importlib.util.find_spec("matplotlib"):
            parts.append(
                f'<br><img width="600" alt="spectrogram" src="data:image/png;base64,{_picture(samples, self)}">'
            )
        return "".join(parts)


def _picture(samples: npt.NDArray[np.float32], sound: Sound) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.png"
        draw_spectrograms(path, {"": samples.mean(axis=0)}, sound.sample_rate)
        return base64.b64encode(path.read_bytes()).decode()
