"""The tempo of loops: as their names say, or as their onsets repeat. And whether there is a beat at all."""

import re
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from ..metrics.rhythm import ONSET_RATE, onset_seconds, onset_strength

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

SLOWEST, FASTEST = 60.0, 200.0  # bpm
USUAL_BPM, OCTAVES = 110.0, 0.6  # of loops: what is estimated lies around here, by so many octaves
BARS = ((4, 1.0), (2, 0.8), (1, 0.6))  # how likely a number of beats is that these divide: most loops are whole bars
LOOSE_SECONDS = 0.02  # by which players are off: onsets are blurred by it
PEAKED = 4.0  # times the mean, the strongest onsets of drums: 7 to 13; of rain, sea and noise 2 to 2.7
STEADY = 0.2  # correlation from beat to beat: drums .6 to .95, a played break .33, rain and notes up to .15
ONSETS = 4  # of a sound that has a beat
CLEAR = 0.75  # of the likeliest number of beats' likelihood, the next one's, or the tempo is in doubt
FITTING = 0.06  # beats by which a loop's length is off the tempo in its name, or that is in doubt

_LABELLED = re.compile(r"(?<![\d.])(\d{2,3}(?:\.\d+)?)[ _-]*bpm(?![a-z])|(?<![a-z])bpm[ _-]*(\d{2,3}(?:\.\d+)?)(?!\d)")
_ALONE = re.compile(r"(?:^|[ _\-()\[\]])([1-9]\d{1,2})(?=$|[ _\-()\[\]])")


@dataclass(frozen=True)
class Beat:
    """The beat of a loop.

    Args:
        tempo_bpm: of the loop.
        beats: how many it has, in whole numbers.
        how: it was found: ``"from the name"`` or ``"estimated"``.
        doubt: why it may be another, in words; empty if it is clear.
    """

    tempo_bpm: float
    beats: int
    how: str
    doubt: str = ""


def named_tempo(name: str) -> float | None:
    """Return the tempo that a file's name says, in bpm: a number with bpm, or else one that stands alone, 60 to 200.

    None where there is none, or where there are two that differ.
    """
    stem = PurePath(name).stem.lower() if "." in name else name.lower()
    labelled = {float(first or second) for first, second in _LABELLED.findall(stem)}
    found = labelled or {float(number) for number in _ALONE.findall(stem)}
    found = {number for number in found if SLOWEST <= number <= FASTEST}
    return found.pop() if len(found) == 1 else None


def beat_of(sound: Array, rate: int, name: str = "") -> Beat | None:
    """Return the beat of a loop; None where there is none: noise, a tone, a single hit.

    A loop is a whole number of beats, so its length leaves few tempos; onsets must repeat with the beat. Of those that
    are left the likeliest counts: that whose onsets repeat best, near 110 bpm, of whole bars.

    Args:
        sound: the whole loop, [samples].
        rate: in Hz.
        name: of its file; a tempo in it counts where the sound has onsets at all.
    """
    strength = onset_strength(sound, rate)
    if not _struck(strength) or len(onset_seconds(sound, rate)) < 2:
        return None
    seconds, named = len(sound) / rate, named_tempo(name)
    if named is not None:
        beats = seconds * named / 60
        off = abs(beats - round(beats))
        doubt = f"its {seconds:.2f} s are {beats:.2f} beats at {named:g} bpm" if off > FITTING else ""
        return Beat(named, max(1, round(beats)), "from the name", doubt)
    return _estimated(strength, seconds)


def has_beat(sound: Array, rate: int) -> bool:
    """Return whether onsets of a sound repeat steadily, however long it is: its ends may have been cut."""
    strength = onset_strength(sound, rate)
    if not _struck(strength) or len(onset_seconds(sound, rate)) < ONSETS:
        return False
    around = _repeating(np.pad(strength, (0, len(strength)), constant_values=strength.mean()))
    lags = np.arange(round(60 / FASTEST * ONSET_RATE), min(round(60 / SLOWEST * ONSET_RATE), len(strength) // 2) + 1)
    shared = 1 - lags / len(strength)  # of the sound and itself so much later
    return bool(len(lags) and np.max(around[lags] / shared) >= STEADY)


def _struck(strength: Double) -> bool:
    return bool(np.quantile(strength, 0.98) >= PEAKED * strength.mean() > 0)


def _estimated(strength: Double, seconds: float) -> Beat | None:
    """Return the likeliest beat of a loop by its onsets; None where no number of beats fits."""
    around = _repeating(strength)
    found = []
    for beats in range(max(2, int(np.ceil(seconds * SLOWEST / 60))), int(seconds * FASTEST / 60) + 1):
        steady, halves = (_correlation(around, parts) for parts in (beats, 2 * beats))
        if steady >= STEADY:
            tempo = 60 * beats / seconds
            usual = np.exp(-0.5 * (np.log2(tempo / USUAL_BPM) / OCTAVES) ** 2)
            bars = next(share for number, share in BARS if beats % number == 0)
            found.append((float(usual * bars * (steady + max(halves, 0))), tempo, beats))
    if not found:
        return None
    found.sort(reverse=True)
    (best, tempo, beats), others = found[0], found[1:]
    doubt = f"it may be {others[0][1]:.5g} bpm" if others and others[0][0] > CLEAR * best else ""
    return Beat(tempo, beats, "estimated", doubt)


def _repeating(strength: Double) -> Double:
    """Return the correlation of onset strength with itself later, by lag, going around: loops repeat."""
    level = np.minimum(strength, 3 * np.quantile(strength, 0.98))  # the first onset, out of silence, is one of many
    spectrum = np.fft.rfft(level - level.mean())
    hertz = np.fft.rfftfreq(len(level), 1 / ONSET_RATE)
    blurred = spectrum * np.exp(-0.5 * (2 * np.pi * hertz * LOOSE_SECONDS) ** 2)
    around = np.fft.irfft(np.abs(blurred) ** 2, len(level))
    return np.asarray(around / max(around[0], 1e-12))


def _correlation(around: Double, parts: int) -> float:
    """Return the mean correlation of a loop's equal parts with all others of them."""
    lags = np.round(np.arange(1, parts) * len(around) / parts).astype(np.int64)
    return float(around[lags % len(around)].mean())
