"""A held note of `timbrel render` by a reduced preset, and how far the same note of another program is from it."""

import base64
import zlib
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import scipy.signal
import timbrel
from timbrel.host.model.model import Model

SECONDS = 2.0
LOWEST_RATE = 16000  # of a rendering; models of 8 kHz are compared there
BANDS, HEARD_DB = 64, -60.0
# What the programs of docs/implement.md leave out, switched off: gestures, the image, and a stream's tempo.
REDUCED = {
    "spectrum": '[play]\nphase = "noise"\n[gesture]\namount = 0.0\n',
    "partials": "[gesture]\namount = 0.0\n",
    "grain": "",
    "clip": "",
    "stream": "[stream]\nfollow_tempo = false\n",
}
MONO = "[play]\nimage = 0.0\n"


def rendered(path: Path, key: int, folder: Path, seconds: float = SECONDS) -> tuple[np.ndarray, int]:
    """The left side of a note of a model's file at full velocity, held to the end, and its rate."""
    model = Model(path)
    preset = folder / f"{path.stem}.toml"
    tables = REDUCED[model.card.kind] + (MONO if model.card.image else "")
    preset.write_text(f'format = 1\nmodel = "{path}"\n{tables}', encoding="utf-8")
    rate = max(LOWEST_RATE, model.card.sample_rate)
    sound = timbrel.open(preset).render([timbrel.Note(key, 0.0, seconds + 1, 127)], rate, seconds=seconds)
    return np.asarray(sound)[0], rate


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    """Golden numbers, unpacked as the page for implementers says."""
    assert packed["type"] == "float32"
    return np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), "<f4").reshape(packed["shape"])


def at_rate(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return sound if rate == wanted else scipy.signal.resample_poly(sound, wanted // rate, 1)


def level_db(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.square(sound, dtype=float).mean()))


def cents_apart(first: np.ndarray, second: np.ndarray) -> float:
    """Between the strongest peaks of both sounds, by parabolas through logarithms of long spectra."""
    places = []
    for sound in (first, second):
        spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) + 1e-12)
        top = int(spectrum.argmax())
        left, middle, right = spectrum[top - 1 : top + 2]
        places.append(top + (left - right) / (2 * (left - 2 * middle + right)))
    return float(abs(1200 * np.log2(places[0] / places[1])))


def mel_db(sound: np.ndarray, rate: int, highest_hz: float) -> np.ndarray:
    """Levels of bands and frames, [bands, frames], in dB."""
    power = librosa.feature.melspectrogram(
        y=sound.astype(np.float32), sr=rate, n_fft=2048, hop_length=512, n_mels=BANDS, fmax=highest_hz
    )
    return 10 * np.log10(np.maximum(power, 1e-12))


def mel_apart(first: np.ndarray, second: np.ndarray, rate: int, highest_hz: float, *, mean: bool) -> float:
    """Mean difference of audible cells in dB; with ``mean`` the largest of the bands' mean powers over time."""
    levels = [mel_db(sound, rate, highest_hz) for sound in (first, second)]
    if mean:
        levels = [10 * np.log10(np.mean(10 ** (each / 10), axis=1)) for each in levels]
    heard = levels[0] > levels[0].max() + HEARD_DB
    differences = np.abs(levels[0] - levels[1])[heard]
    return float(differences.max() if mean else differences.mean())
