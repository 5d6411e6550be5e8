"""Fits loops to one grid of sixteenth steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from ...host.audio.resampling import stretched
from .file_names import Names
from .manifest import LoopGrid
from .pitch import Samples, is_silent, pitch_track
from .report import CorpusReport, Progress
from .sound_files import Copies, SoundFile, Unreadable, samples_digest
from .store import Writer
from .tempo import TempoEstimate, beat_of

WINDOW_SECONDS = 0.05  # of the networks' spectra, see `ClipFeatures`; a step is a whole number of their hops
HOPS = 4  # per window
THERE = 2e-4  # of a loop's length: closer loops stay as they are, off by a millisecond in five seconds
LONGEST_SECONDS = 60.0  # of a loop: longer sounds are pieces of music, and would fill memory
LATE_SECONDS = (0.005, 0.05)  # of silence before the first hit: from encoders and careless cuts
ATTACK = 0.01  # of a loop's peak, -40 dB, where its first hit begins
SHORTEST_STEPS = 2  # of a loop


def spectra_hop(rate: int) -> int:
    window: int = 2 ** round(math.log2(rate * WINDOW_SECONDS))
    return window // HOPS


def grid_of(tempos_bpm: Sequence[float], rate: int) -> LoopGrid:
    """Return the grid nearest to the median tempo, with whole hops in a step."""
    hop = spectra_hop(rate)
    wanted = 60 * rate / (median(tempos_bpm) * LoopGrid(step_length=hop).steps_per_beat)
    return LoopGrid(step_length=max(1, round(wanted / hop)) * hop)


def append_loops(writer: Writer, sounds: Mapping[str, Path], names: Names, progress: Progress) -> LoopGrid | None:
    """Append loops on one grid, set by the median of tempos from a first pass; None if all sounds lack a beat."""
    beats: dict[str, TempoEstimate] = {}
    copies = Copies()
    for number, (name, path) in enumerate(sounds.items()):
        progress(number / len(sounds) / 2, name)
        if (beat := _tempo(path, name, writer.rate, writer.report, copies)) is not None:
            beats[name] = beat
    if not beats:
        return None
    grid = grid_of([beat.tempo_bpm for beat in beats.values()], writer.rate)
    for number, (name, beat) in enumerate(beats.items()):
        progress(0.5 + number / len(beats) / 2, name)
        sound = SoundFile(sounds[name])
        kept = fitted(sound.beginning(writer.rate, LONGEST_SECONDS), writer.rate, beat, grid)
        writer.append(
            kept,
            pitch_track(kept, writer.rate),
            name=name,
            group=names.group(name),
            label=names.label(sounds[name]),
            tempo_bpm=beat.tempo_bpm,
            beats=beat.beats,
        )
        writer.report.tempos[name] = f"{beat.tempo_bpm:.5g} bpm {beat.how}, {beat.beats} beats"
        writer.report.rates[sound.rate] = writer.report.rates.get(sound.rate, 0) + 1
        if sound.remarks:
            writer.report.remarks[name] = "; ".join(sound.remarks)
        if sound.clipped:
            writer.report.clipped.append(name)
        if beat.doubt:
            writer.report.doubtful[name] = beat.doubt
    return grid


def fitted(samples: Samples, rate: int, beat: TempoEstimate, grid: LoopGrid) -> Samples:
    """Fit a loop to the grid: whole beats, its first hit at the start, its pitch kept.

    Loops within 0.02 % of the grid keep their samples; others are stretched seamlessly. Silence fills an incomplete
    last beat.
    """
    wanted = beat.beats * grid.steps_per_beat * grid.step_length
    length = beat.beats * 60 / beat.tempo_bpm * rate
    samples = np.roll(samples, -_late(samples, rate))
    if abs(wanted / length - 1) <= THERE:
        return _as_long(samples, wanted)
    whole = _as_long(samples, round(length))
    around = min(len(whole), rate)
    context = np.concatenate([whole[-around:], whole, whole[:around]])
    found = stretched(context, rate, length / wanted)
    return _as_long(found[round(around * wanted / length) :], wanted)


def _tempo(path: Path, name: str, rate: int, report: CorpusReport, copies: Copies) -> TempoEstimate | None:
    try:
        samples = SoundFile(path).beginning(rate, LONGEST_SECONDS)
    except Unreadable as error:
        report.unreadable[name] = str(error)
        return None
    if len(samples) > LONGEST_SECONDS * rate:
        report.beatless[name] = f"longer than {LONGEST_SECONDS:g} s, no loop"
    elif is_silent(samples):
        report.silent.append(name)
    elif first := copies.earlier(name, samples_digest(samples)):
        report.identical[name] = first
    elif (beat := beat_of(samples, rate, str(path))) is None:
        report.beatless[name] = "no beat is heard"
    elif len(samples) / rate * beat.tempo_bpm / 60 * 4 < SHORTEST_STEPS:
        report.too_short.append(name)
    else:
        return beat
    return None


def _late(samples: Samples, rate: int) -> int:
    first = int(np.argmax(np.abs(samples) > ATTACK * np.abs(samples).max()))
    return first if LATE_SECONDS[0] <= first / rate < LATE_SECONDS[1] else 0


def _as_long(samples: Samples, length: int) -> Samples:
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
