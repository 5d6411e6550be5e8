"""How a texture sounds: whether it repeats, and whether its grains are heard as a tone.

    python tests/bench/texture.py [RECORDINGS] [--samples MODEL.onnx]

A minute of the preset lakeside-walk, and where a folder of recordings is given a minute of these, are searched for
windows of 200 ms that are alike at any shift: the largest normalised cross-correlation of any two that do not overlap.
A buzz is looked for in a held texture of one code, at the fixed period of the preset lakeside-post and with grains that
begin by chance; it belongs to models that decode samples, whose grains are all the same: give one of recipe
grain-adversarial (timbrel export), as shipped ones decode noise and have none.
"""

import argparse
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import soxr
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.events import NoteOn
from timbrel.host.kinds.grain import GrainSettings
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch, open_patch

MINUTE, WINDOW = 60.0, 0.2
BUZZ_SECONDS, HARMONICS = 30.0, 20
OVERLAP = 0.9


def held(patch: Patch, seconds: float) -> np.ndarray:
    """A key held, at the model's rate, as the mean of both sides."""
    rate = patch.model.card.sample_rate
    instrument = ChannelInstrument(patch, rate)
    blocks = [instrument.process([NoteOn(0, 0, 60, 100)], 8192)]
    while len(blocks) * 8192 < (seconds + 1) * rate:
        blocks.append(instrument.process([], 8192))
    sound = np.concatenate(blocks, 1).mean(0)
    return sound[rate : rate + round(seconds * rate)]


def minute_of(folder: Path, rate: int) -> np.ndarray:
    """The first minute of a folder's recordings, joined, mono."""
    pieces, total = [], 0
    for path in sorted(folder.iterdir()):
        if path.suffix.lower().strip(".").upper() not in soundfile.available_formats():
            continue
        sound, its_rate = read_sound(path)
        pieces.append(soxr.resample(sound.mean(0), its_rate, rate))
        total += len(pieces[-1])
        if total >= MINUTE * rate:
            break
    return np.concatenate(pieces)[: round(MINUTE * rate)]


def likeness(sound: np.ndarray, rate: int) -> float:
    """The largest normalised cross-correlation of any two windows that do not overlap, at any shift."""
    length = round(WINDOW * rate)
    size = 1 << (len(sound) + length - 1).bit_length()
    spectrum = np.fft.rfft(sound, size)
    sums = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    energy = np.maximum(sums[length:] - sums[:-length], 1e-9 * sums[-1] / len(sound) * length)
    largest = 0.0
    for start in range(0, len(sound) - length + 1, length):
        piece = sound[start : start + length]
        products = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, size)), size)[: len(energy)]
        alike = np.abs(products) / np.sqrt(energy * energy[start])
        alike[max(0, start - length + 1) : start + length] = 0
        largest = max(largest, float(alike.max()))
    return largest


def lines(sound: np.ndarray, rate: int, grain_rate: float) -> np.ndarray:
    """Lines at the first multiples of a rate, in dB over the mean of what lies around each: [harmonics].

    Spectra of seconds are averaged (Welch): a single one is so uneven that its largest bins pass for lines.
    """
    hz, power = scipy.signal.welch(sound, rate, "blackman", nperseg=rate)
    found = []
    for harmonic in range(1, HARMONICS + 1):
        away = np.abs(hz - harmonic * grain_rate)
        found.append(10 * np.log10(power[away <= 1].max() / power[(away > 4) & (away < grain_rate / 3)].mean()))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recordings", type=Path, nargs="?")
    parser.add_argument("--samples", type=Path)
    options = parser.parse_args()
    walk = open_patch("lakeside-walk")
    rate = walk.model.card.sample_rate
    print(f"largest likeness of two {1000 * WINDOW:.0f} ms windows in a minute")
    print(f"lakeside-walk          {likeness(held(walk, MINUTE), rate):.3f}")
    if options.recordings:
        print(f"recordings             {likeness(minute_of(options.recordings, rate), rate):.3f}")
    if options.samples is None:
        return
    model = Model(options.samples)
    post = open_patch("lakeside-post")
    period = (1 - OVERLAP) * model.card.frame_length
    grain_rate = model.card.sample_rate / period
    print(f"lines at {HARMONICS} multiples of {grain_rate:.1f} Hz over what lies around them, dB: median, largest")
    for name, jitter in (("fixed period", 0.0), ("by chance", 1.0)):
        grain = GrainSettings(overlap=OVERLAP, shape=1.0, jitter=jitter)
        preset = post.preset.model_copy(update={"grain": grain, "cc": [], "latent": type(post.preset.latent)()})
        found = lines(held(Patch("held", preset, model, Path()), BUZZ_SECONDS), model.card.sample_rate, grain_rate)
        print(f"{name:<22} {np.median(found):5.1f} {found.max():5.1f}")


if __name__ == "__main__":
    main()
