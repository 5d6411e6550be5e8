"""Fits loops to one grid of sixteenth steps, from their tempos and beats."""

import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import median

import numpy as np

from ...host.arrays import Array, Doubles
from ...host.audio.mono_mix import mix_to_mono
from ...host.audio.resampling import stretched
from ..metrics.rhythm import ONSET_RATE, onset_seconds, onset_strength
from .clip_table import LoopGrid
from .file_names import Names
from .pitch import Samples, is_silent, pitch_track
from .report import CorpusReport, Progress
from .sound_files import Copies, SoundFile, Unreadable, samples_digest
from .store import Writer
from .stored_sounds import SoundLabels, StoredSound

SLOWEST, FASTEST = 60.0, 200.0  # bpm
USUAL_BPM, OCTAVES = 110.0, 0.6  # of loops: centre of the prior on estimated tempos, and its deviation in octaves
BARS = ((4, 1.0), (2, 0.8), (1, 0.6))  # likelihood of a number of beats divisible by these: most loops are whole bars
LOOSE_SECONDS = 0.02  # timing deviation of players; onsets are blurred by it
PEAK_RATIO = 4.0  # times the mean, the strongest onsets of drums: 7 to 13; of rain, sea and noise 2 to 2.7
STEADY_CORRELATION = 0.2  # correlation from beat to beat: drums .6 to .95, a played break .33, rain and notes up to .15
FEWEST_ONSETS = 4  # of a sound that has a beat
DOUBT_RATIO = 0.75  # of the best likelihood; a second one above it puts the tempo in doubt
MISFIT_BEATS = 0.06  # beats; a loop's length further off its named tempo puts that in doubt

TEMPO_TOLERANCE = 0.03  # tolerance around a named tempo: round numbers are 2 % off
NEIGHBOUR_RATIO = 2**0.45  # times slower and faster: excludes half and double tempo, which the name alone decides
# Of the best neighbour's score: right tempos reach 1, three quarters and four thirds of them .9 at most.
FIT_RATIO = 0.9
LONGEST_LAG_BEATS = 8  # beats, the longest lag to compare: two bars
OVERLAP_SHARE = 0.6  # of a sound: the largest lag that leaves enough to compare

_LABELLED = re.compile(r"(?<![\d.])(\d{2,3}(?:\.\d+)?)[ _-]*bpm(?![a-z])|(?<![a-z])bpm[ _-]*(\d{2,3}(?:\.\d+)?)(?!\d)")
_NUMBER = re.compile(r"(?<![\d.])([1-9]\d{1,2}(?:\.\d+)?)(?![\d.]| ?k?hz| ?k(?:bps)?\b| ?bits?\b)")


@dataclass(frozen=True)
class TempoEstimate:
    """``doubt``: why the tempo may be wrong."""

    tempo_bpm: float
    beats: int
    origin: str
    doubt: str = ""


def labelled_tempo(name: str) -> float | None:
    """Return the bpm in a file's name, 60 to 200; None for none or two."""
    labels_bpm = {
        float(number_before or number_behind) for number_before, number_behind in _LABELLED.findall(_stem(name))
    }
    tempos_bpm = {tempo for tempo in labels_bpm if SLOWEST <= tempo <= FASTEST}
    return tempos_bpm.pop() if len(tempos_bpm) == 1 else None


def named_numbers(name: str) -> list[float]:
    """Return numbers in a file's name, else its folder's, that may be its tempo, 60 to 200.

    Machines (808), rates (44100, 96k) and leading zeros do not count.
    """
    path = PurePath(name)
    for text in (_stem(name), path.parent.name.lower()):
        numbers = [float(number) for number in _NUMBER.findall(text)]
        if tempos_bpm := [number for number in numbers if SLOWEST <= number <= FASTEST]:
            return tempos_bpm
    return []


def _stem(name: str) -> str:
    return PurePath(name).stem.lower() if "." in name else PurePath(name).name.lower()


def beat_of(sound: Array, rate: int, name: str = "") -> TempoEstimate | None:
    """Return the beat of a loop [samples]; None for noise, a tone or a single hit.

    A tempo labelled bpm in the file's ``name`` counts. So does another number there or in the folder's name, if onsets
    repeat within 3 % of it at least 0.9 times as well as around; it becomes whole beats if they repeat as well there.

    Otherwise beats are whole: the likeliest number repeats onsets best, near 110 bpm, in whole bars.
    """
    strength = onset_strength(sound, rate)
    if not _has_hits(strength) or len(onset_seconds(sound, rate)) < 2:
        return None
    seconds, labelled_bpm = len(sound) / rate, labelled_tempo(name)
    if labelled_bpm is not None:
        return _tempo_from_name(labelled_bpm, seconds)
    if (confirmed_bpm := _confirmed_tempo(strength, seconds, named_numbers(name))) is not None:
        return _tempo_from_name(confirmed_bpm, seconds)
    return _estimated_tempo(strength, seconds)


def _tempo_from_name(tempo_bpm: float, seconds: float) -> TempoEstimate:
    """Return a named tempo, with doubt if the length is far from whole beats."""
    beats = seconds * tempo_bpm / 60
    misfit_beats = abs(beats - round(beats))
    doubt = f"its {seconds:.2f} s are {beats:.2f} beats at {tempo_bpm:g} bpm" if misfit_beats > MISFIT_BEATS else ""
    return TempoEstimate(tempo_bpm, max(1, round(beats)), "from the name", doubt)


def _confirmed_tempo(strength: Doubles, seconds: float, candidate_tempos: list[float]) -> float | None:
    """Return the candidate at which onsets repeat best, or whole beats near it; None if none fits."""
    autocorrelation = _autocorrelation(strength)
    score_by_tempo = {
        tempo: _repetition_scores(autocorrelation, _tempos_around(tempo, 1 + TEMPO_TOLERANCE)).max()
        for tempo in candidate_tempos
    }
    score_by_tempo = {
        tempo: score
        for tempo, score in score_by_tempo.items()
        if score >= STEADY_CORRELATION
        and score >= FIT_RATIO * _repetition_scores(autocorrelation, _tempos_around(tempo, NEIGHBOUR_RATIO)).max()
    }
    if not score_by_tempo:
        return None
    best_tempo = max(score_by_tempo, key=lambda tempo: score_by_tempo[tempo])
    whole_beat_tempo = 60 * max(1, round(seconds * best_tempo / 60)) / seconds
    tempo_scores = _repetition_scores(autocorrelation, np.array([best_tempo, whole_beat_tempo]))
    return (
        whole_beat_tempo
        if abs(whole_beat_tempo / best_tempo - 1) <= TEMPO_TOLERANCE and tempo_scores[1] >= tempo_scores[0]
        else best_tempo
    )


def _tempos_around(tempo: float, ratio: float) -> Doubles:
    """Return tempos half a percent apart, up to a ``ratio`` slower and faster."""
    step_count = int(np.log(ratio) / np.log(1.005)) + 1
    return np.asarray(tempo * ratio ** np.linspace(-1, 1, 2 * step_count + 1))


def _repetition_scores(autocorrelation: Doubles, tempos_bpm: Doubles) -> Doubles:
    """Mean correlation of onsets some beats apart, [tempos]; -1 for too slow tempos."""
    lags = np.arange(1, LONGEST_LAG_BEATS + 1) * 60 / tempos_bpm[:, None] * ONSET_RATE
    lag_correlations = np.interp(lags, np.arange(len(autocorrelation)), autocorrelation)
    is_overlapping = lags < OVERLAP_SHARE * len(autocorrelation)
    return np.asarray(
        np.where(
            is_overlapping[:, 0],
            (lag_correlations * is_overlapping).sum(1) / np.maximum(is_overlapping.sum(1), 1),
            -1.0,
        )
    )


def has_beat(sound: Array, rate: int) -> bool:
    """Return whether onsets repeat steadily."""
    strength = onset_strength(sound, rate)
    if not _has_hits(strength) or len(onset_seconds(sound, rate)) < FEWEST_ONSETS:
        return False
    beat_lags = np.arange(
        round(60 / FASTEST * ONSET_RATE), min(round(60 / SLOWEST * ONSET_RATE), len(strength) // 2) + 1
    )
    return bool(len(beat_lags) and np.max(_autocorrelation(strength)[beat_lags]) >= STEADY_CORRELATION)


def _has_hits(strength: Doubles) -> bool:
    """Return whether the strongest onsets stand out."""
    return bool(np.quantile(strength, 0.98) >= PEAK_RATIO * strength.mean() > 0)


def _estimated_tempo(strength: Doubles, seconds: float) -> TempoEstimate | None:
    """Return the likeliest tempo of whole beats; None for no beat."""
    autocorrelation = _circular_autocorrelation(strength)
    candidates = []
    for beat_count in range(max(2, int(np.ceil(seconds * SLOWEST / 60))), int(seconds * FASTEST / 60) + 1):
        beat_correlation, half_beat_correlation = (
            _part_correlation(autocorrelation, part_count) for part_count in (beat_count, 2 * beat_count)
        )
        if beat_correlation >= STEADY_CORRELATION:
            tempo_bpm = 60 * beat_count / seconds
            tempo_prior = np.exp(-0.5 * (np.log2(tempo_bpm / USUAL_BPM) / OCTAVES) ** 2)
            bar_prior = next(bar_likelihood for divisor, bar_likelihood in BARS if beat_count % divisor == 0)
            candidates.append(
                (
                    float(tempo_prior * bar_prior * (beat_correlation + max(half_beat_correlation, 0))),
                    tempo_bpm,
                    beat_count,
                )
            )
    if not candidates:
        return None
    candidates.sort(reverse=True)
    (best_likelihood, tempo_bpm, beat_count), runners_up = candidates[0], candidates[1:]
    doubt = (
        f"it may be {runners_up[0][1]:.5g} bpm"
        if runners_up and runners_up[0][0] > DOUBT_RATIO * best_likelihood
        else ""
    )
    return TempoEstimate(tempo_bpm, beat_count, "estimated", doubt)


def _circular_autocorrelation(strength: Doubles) -> Doubles:
    """Return the correlation of onset strength with itself at each lag, 1 at 0; ends join."""
    # Limits the first onset, which rises out of silence.
    limited_strength = np.minimum(strength, 3 * np.quantile(strength, 0.98))
    spectrum = np.fft.rfft(limited_strength - limited_strength.mean())
    bin_hz = np.fft.rfftfreq(len(limited_strength), 1 / ONSET_RATE)
    smoothed_spectrum = spectrum * np.exp(-0.5 * (2 * np.pi * bin_hz * LOOSE_SECONDS) ** 2)
    # The power spectrum is the transform of the autocorrelation (Wiener and Khinchin).
    autocorrelation = np.fft.irfft(np.abs(smoothed_spectrum) ** 2, len(limited_strength))
    return np.asarray(autocorrelation / max(autocorrelation[0], 1e-12))


def _autocorrelation(strength: Doubles) -> Doubles:
    """Return the correlation of onset strength with itself at each lag. Over the shared part, as ends may be cut."""
    autocorrelation = _circular_autocorrelation(np.pad(strength, (0, len(strength)), constant_values=strength.mean()))
    overlap_shares = 1 - np.arange(len(strength)) / len(strength)
    return np.asarray(autocorrelation[: len(strength)] / overlap_shares)


def _part_correlation(autocorrelation: Doubles, part_count: int) -> float:
    """Return the mean correlation at multiples of a part of the loop."""
    part_lags = np.round(np.arange(1, part_count) * len(autocorrelation) / part_count).astype(np.int64)
    return float(autocorrelation[part_lags % len(autocorrelation)].mean())


WINDOW_SECONDS = 0.05  # of the networks' spectra, see `ClipFeatures`; a step is a whole number of their hops
HOPS = 4  # per window
GRID_TOLERANCE = 2e-4  # of a loop's length: closer loops stay as they are, off by a millisecond in five seconds
LONGEST_SECONDS = 60.0  # of a loop: longer sounds are pieces of music, and would fill memory
LATE_SECONDS = (0.005, 0.05)  # of silence before the first hit: from encoders and careless cuts
ATTACK_LEVEL = 0.01  # of a loop's peak, -40 dB, where its first hit begins
SHORTEST_STEPS = 2  # of a loop


def spectra_hop(rate: int) -> int:
    """Return the hop of the networks' spectra in samples."""
    window_length: int = 2 ** round(math.log2(rate * WINDOW_SECONDS))
    return window_length // HOPS


def grid_of(tempos_bpm: Sequence[float], rate: int) -> LoopGrid:
    """Return the grid nearest to the median tempo, with whole hops in a step."""
    hop = spectra_hop(rate)
    step_samples = 60 * rate / (median(tempos_bpm) * LoopGrid(step_length=hop).steps_per_beat)
    return LoopGrid(step_length=max(1, round(step_samples / hop)) * hop)


def append_loops(
    writer: Writer, sounds: Mapping[str, StoredSound], names: Names, progress: Progress
) -> LoopGrid | None:
    """Append loops on one grid, set by the median of tempos from a first pass; None if all sounds lack a beat."""
    with tempfile.TemporaryDirectory(dir=writer.folder) as folder:
        return _append_loops(writer, sounds, names, progress, Path(folder))


def _append_loops(
    writer: Writer, sounds: Mapping[str, StoredSound], names: Names, progress: Progress, copies_folder: Path
) -> LoopGrid | None:
    """Append loops as `append_loops`; ``copies_folder``: of sounds that have no file of their own."""
    beat_by_name: dict[str, TempoEstimate] = {}
    copies = Copies()
    for sound_index, (name, sound) in enumerate(sounds.items()):
        progress(sound_index / len(sounds) / 2, name)
        if (beat := _tempo(sound, name, writer.rate, writer.report, copies, copies_folder)) is not None:
            beat_by_name[name] = beat
    if not beat_by_name:
        return None
    grid = grid_of([beat.tempo_bpm for beat in beat_by_name.values()], writer.rate)
    for sound_index, (name, beat) in enumerate(beat_by_name.items()):
        progress(0.5 + sound_index / len(beat_by_name) / 2, name)
        sound = sounds[name]
        with sound.as_file(copies_folder) as path:
            sound_file = SoundFile(path)
            loop_channels = sound_file.beginning(writer.rate, LONGEST_SECONDS)
        channels = fit_to_grid(loop_channels, writer.rate, beat, grid)
        loop_samples = mix_loop_to_mono(channels, writer.rate)
        writer.append(
            loop_samples,
            pitch_track(loop_samples, writer.rate),
            name=name,
            group=names.group(name),
            label=names.label(sound.path) or (sound.labels or SoundLabels()).label,
            tempo_bpm=beat.tempo_bpm,
            beats=beat.beats,
            sides=channels if len(channels) == 2 else None,
        )
        writer.report.tempos[name] = f"{beat.tempo_bpm:.5g} bpm {beat.origin}, {beat.beats} beats"
        writer.report.count_file(name, sound_file.rate, sound_file.remarks, sound_file.clipped)
        if beat.doubt:
            writer.report.doubtful[name] = beat.doubt
    return grid


def fit_to_grid(samples: Samples, rate: int, beat: TempoEstimate, grid: LoopGrid) -> Samples:
    """Fit a loop, [..., samples], to the grid: whole beats, its first hit at the start, its pitch kept.

    Loops within 0.02 % of the grid keep their samples; others are stretched seamlessly. Silence fills an incomplete
    last beat.
    """
    target_length = beat.beats * grid.steps_per_beat * grid.step_length
    loop_length = beat.beats * 60 / beat.tempo_bpm * rate
    samples = np.roll(samples, -_leading_silence(samples, rate), axis=-1)
    if abs(target_length / loop_length - 1) <= GRID_TOLERANCE:
        return _with_length(samples, target_length)
    loop = _with_length(samples, round(loop_length))
    context_length = min(loop.shape[-1], rate)
    # The loop's neighbours are its own ends, so the stretched loop wraps around without a seam.
    context = np.concatenate([loop[..., -context_length:], loop, loop[..., :context_length]], axis=-1)
    stretched_context = stretched(context, rate, loop_length / target_length)
    return _with_length(stretched_context[..., round(context_length * target_length / loop_length) :], target_length)


def mix_loop_to_mono(channels: Samples, rate: int) -> Samples:
    """Return the mono sound of a loop, [channels, samples], without a seam: its neighbours are its own ends."""
    length = channels.shape[1]
    context_length = min(length, rate)
    context = np.pad(channels, ((0, 0), (context_length, context_length)), mode="wrap")
    return mix_to_mono(context, rate)[context_length : context_length + length]


def _tempo(
    sound: StoredSound, name: str, rate: int, report: CorpusReport, copies: Copies, copies_folder: Path
) -> TempoEstimate | None:
    """Return a sound's tempo; report why it has none."""
    try:
        with sound.as_file(copies_folder) as path:
            channels = SoundFile(path).beginning(rate, LONGEST_SECONDS)
    except Unreadable as error:
        report.unreadable[name] = str(error)
        return None
    samples = mix_to_mono(channels, rate)
    if len(samples) > LONGEST_SECONDS * rate:
        report.beatless[name] = f"longer than {LONGEST_SECONDS:g} s, no loop"
    elif all(map(is_silent, channels)):
        report.silent.append(name)
    elif earlier_name := copies.earlier(name, samples_digest(channels)):
        report.identical[name] = earlier_name
    elif (beat := beat_of(samples, rate, str(sound.path))) is None:
        report.beatless[name] = "no beat is heard"
    elif len(samples) / rate * beat.tempo_bpm / 60 * 4 < SHORTEST_STEPS:
        report.too_short.append(name)
    else:
        return beat
    return None


def _leading_silence(samples: Samples, rate: int) -> int:
    """Return the samples of silence to cut from all channels."""
    levels = np.abs(np.atleast_2d(samples)).max(axis=0)
    first_loud_sample = int(np.argmax(levels > ATTACK_LEVEL * levels.max()))
    return first_loud_sample if LATE_SECONDS[0] <= first_loud_sample / rate < LATE_SECONDS[1] else 0


def _with_length(samples: Samples, length: int) -> Samples:
    """Cut or zero-pad a loop, [..., samples]."""
    missing_length = max(0, length - samples.shape[-1])
    return np.pad(samples[..., :length], [(0, 0)] * (samples.ndim - 1) + [(0, missing_length)])
