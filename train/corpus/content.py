"""Classifies corpora (held notes, hits or words, loops, textures), and checks them before training, without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles
from ...host.audio.mono_mix import mix_to_mono
from ...host.errors import UserError
from ...host.spectra import centroids, peak_bins, step_levels_to_end_db
from ...host.units import note_name
from ..sampling import thinned
from .loops import has_beat
from .note_segmentation import is_melody
from .pitch import Samples, is_silent, pitch_track, single_note
from .report import CorpusReport, duration, unusable
from .sound_files import Copies, SoundFile, Unreadable, samples_digest, some_sounds
from .store import Corpus

SHORT_SECONDS = 2.0  # until a clip has died away: true of hits and words, not of loops and textures
STEADY_SHARE = 0.6  # share of a clip's pitched frames that must be steady for a held note
LOUD_DB = 60.0  # under a clip's loudest: softer sound has died away
STEP_SECONDS = 0.01  # resolution of the loudness
RISE_DB, RISE_STEPS = 10.0, 5  # an onset: the loudness rises by this much within this many steps
STRONG_DB = 20.0  # and reaches this close to the clip's loudest
DYING_DB = 12.0  # under its loudest, where a truncated hit ends; continuous noise does not drop so far
CUT_SECONDS = 0.1  # a shorter clip is no note and no texture, such as a truncated hat or click
APART_STEPS = 8  # between onsets: a sooner rise is the same onset
ONSETS = 3  # at most, in a hit or a word: two syllables and one more
NOTES = 3  # different pitches, in whole semitones, that mark recordings as an instrument's notes
PITCHED_SHARE = 0.5  # of the sound; above it a beat is a melody's, as drum loops stay below a third
MAJORITY = 0.75  # of clips: nearly all of an instrument's are held notes, half of a drum machine's
LOWEST_NOTE = 40  # E2, the guitar's lowest: kicks are lower, and few instruments have only lower notes
LOOP_SECONDS = 1.5  # at least, of a loop: a bar at 160 bpm
LOOPS_HEARD = 60  # clips tested for a beat: shares to an eighth
MELODIES_HEARD = 20  # clips tested for several notes: a second each
MOST_CLIPS = 400  # evenly spaced: shares to a part in twenty


@dataclass(frozen=True)
class CorpusContent:
    """Medians over a corpus's training clips.

    Args:
        seconds: until a clip has died away.
        held_share: of steady notes.
        notes: number of their pitches, in semitones.
        median_note: their median MIDI pitch; NaN without any.
        dying_share: of clips that end well below their peak.
        hit_share: of short and dying clips: all hits and words, some notes.
        other_share: of other clips, such as textures.
    """

    clips: int
    seconds: float
    onsets: float
    held_share: float
    notes: int
    median_note: float
    dying_share: float
    hit_share: float
    other_share: float

    @property
    def short(self) -> bool:
        """Clips are hits or words, not an instrument's notes."""
        is_cut = self.seconds <= CUT_SECONDS
        is_single = self.seconds <= SHORT_SECONDS and self.onsets <= ONSETS and (is_cut or self.dying_share >= MAJORITY)
        is_scale = (
            not is_cut and self.held_share >= MAJORITY and self.notes >= NOTES and self.median_note >= LOWEST_NOTE
        )
        return is_single and not is_scale

    @property
    def mixed(self) -> str:
        """Describe the mix if no kind makes up three quarters."""
        if max(self.hit_share, self.held_share, self.other_share) >= MAJORITY:
            return ""
        notes_percent, texture_percent = round(100 * self.held_share), round(100 * self.other_share)
        return (
            f"mixed kinds: of {self.clips} sounds {notes_percent} % are steady notes, "
            f"{100 - notes_percent - texture_percent} % other sounds that die away within {SHORT_SECONDS:g} s, "
            f"{texture_percent} % neither; sort them into folders, an instrument each"
        )

    def text(self) -> str:
        plural_suffix = "" if self.onsets == 1 else "s"
        return (
            f"{self.clips} clips of {self.seconds:.2g} s with {self.onsets:g} onset{plural_suffix}, "
            f"{100 * self.held_share:.0f} % of them steady notes, on {self.notes} different pitches"
        )


def corpus_content(corpus: Corpus) -> CorpusContent:
    """Measure training clips, at most 400, evenly spaced."""
    clips = thinned(corpus.clips("train"), MOST_CLIPS)
    clip_levels_db = [_loudness(corpus.samples(clip), corpus.rate) for clip in clips]
    clip_notes = [single_note(corpus.pitch(clip), STEADY_SHARE) for clip in clips]
    notes = np.array([np.nan if note is None else note for note in clip_notes])
    pitched_notes = notes[np.isfinite(notes)]
    sounding_seconds = np.array([_sounding_seconds(levels_db) for levels_db in clip_levels_db])
    dying_mask = np.array([levels_db[-1] <= levels_db.max() - DYING_DB for levels_db in clip_levels_db])
    hit_mask = (sounding_seconds <= SHORT_SECONDS) & (dying_mask | (sounding_seconds <= CUT_SECONDS))
    return CorpusContent(
        clips=len(clips),
        seconds=float(np.median(sounding_seconds)),
        onsets=float(np.median([_onsets(levels_db) for levels_db in clip_levels_db])),
        held_share=len(pitched_notes) / len(clips),
        notes=len(np.unique(np.round(pitched_notes))),
        median_note=float(np.median(pitched_notes)) if len(pitched_notes) else float("nan"),
        dying_share=float(dying_mask.mean()),
        hit_share=float(hit_mask.mean()),
        other_share=float(np.mean(~hit_mask & ~np.isfinite(notes))),
    )


class LoopVerdict(NamedTuple):
    loops: bool
    reason: str


def are_loops(corpus: Corpus) -> LoopVerdict:
    """Return whether training clips are long, mostly unpitched, with a steady beat."""
    clips = thinned(corpus.clips("train"), LOOPS_HEARD)
    median_seconds = float(np.median([clip.length / corpus.rate for clip in clips]))
    if median_seconds < LOOP_SECONDS:
        return LoopVerdict(False, f"clips last {median_seconds:.2g} s, loops {LOOP_SECONDS:g} s and more")
    beat_share = np.mean([has_beat(corpus.samples(clip), corpus.rate) for clip in clips])
    pitched_share = np.mean(np.isfinite(np.concatenate([corpus.pitch(clip) for clip in clips])))
    reason = f"{100 * beat_share:.0f} % of {len(clips)} clips of {median_seconds:.2g} s have a steady beat"
    if pitched_share > PITCHED_SHARE:
        return LoopVerdict(False, f"{reason}, but {100 * pitched_share:.0f} % of the sound has a pitch")
    return LoopVerdict(bool(beat_share >= MAJORITY), reason)


def melodic_share(corpus: Corpus) -> float:
    """Return the share of melodies among training clips."""
    clips = thinned(corpus.clips("train"), MELODIES_HEARD)
    return float(np.mean([is_melody(corpus.samples(clip), corpus.pitch(clip), corpus.rate) for clip in clips]))


def dying_seconds(corpus: Corpus, share: float) -> float:
    """Return the quantile ``share`` of training clips' decay times."""
    decay_seconds = [_sounding_seconds(_loudness(corpus.samples(clip), corpus.rate)) for clip in corpus.clips("train")]
    return float(np.quantile(decay_seconds, share))


def _loudness(samples: Array, rate: int) -> Doubles:
    """Return the level in dB every 10 ms."""
    return step_levels_to_end_db(samples, max(1, round(STEP_SECONDS * rate)))


def _sounding_seconds(levels_db: Doubles) -> float:
    """Return the time until a sound has died away."""
    return float((np.flatnonzero(levels_db > levels_db.max() - LOUD_DB)[-1] + 1) * STEP_SECONDS)


def _onsets(levels_db: Doubles) -> int:
    """Return the number of onsets, 1 or more."""
    padded_db = np.concatenate([np.full(RISE_STEPS, levels_db.min() - RISE_DB), levels_db])
    recent_lowest_db = np.lib.stride_tricks.sliding_window_view(padded_db, RISE_STEPS)[: len(levels_db)].min(1)
    rising_steps = np.flatnonzero((levels_db - recent_lowest_db >= RISE_DB) & (levels_db > levels_db.max() - STRONG_DB))
    return int(1 + np.sum(np.diff(rising_steps) > APART_STEPS)) if len(rising_steps) else 1


MOST_NOTE_CLIPS = 40  # evenly spaced: a tenth of a second each
FRAMES = 8  # of a clip, evenly spaced over its loud part
WINDOW_SECONDS = 0.186  # separates partials 20 Hz apart
TOP_DB = 20.0  # below a clip's loudest frame
PEAK_DB, STRONG_NOTE_DB = 30.0, 20.0  # below a frame's highest peak: partials, and those that may be of a fundamental
LOWEST_HZ, HIGHEST_HZ = 30.0, 4000.0  # partials above are weak or too close together
FUNDAMENTALS = 4  # strong partials that may be a note's first, second or third
PARTIALS = {1: 24, 2: 16, 3: 12}  # by that number: many partials of a low fundamental would explain a chord
TUNING_CENTS, STRETCH_CENTS = 35.0, 1.5  # of a partial, and more for each of its number: strings are stiff
ONE_NOTE = 0.8  # median share of amplitudes in the partials of one note: notes .92 to 1, triads and sevenths .67
GLIDE_SEMITONES = 0.25  # from frame to frame, 23 ms: wide vibrato moves less
GLIDING_SHARE = 0.2  # share of pitched frames that glide: speech .22 to .54, phrases up to .10, a double bass .14
SYLLABLES = 2.0  # pitched stretches a second: speech 3 to 5
SPOKEN_SECONDS = 2.0  # a shorter sound is a word
COLOUR_OCTAVES = 2.0  # of the spectral centroid: more than a struck note loses while it is loud


def unsuited_notes(corpus: Corpus) -> str:
    """Return a warning with a better way, if most training clips are speech or several notes at once; else ""."""
    clips = thinned(corpus.clips("train"), MOST_NOTE_CLIPS)
    if np.mean([_is_spoken(corpus.pitch(clip), clip.length / corpus.rate) for clip in clips]) > 0.5:
        return (
            "the sounds are like speech: their pitch glides from syllable to syllable, and one key plays it all; give "
            "--family grain for a texture of it, or cut it into files of a word each for a kit"
        )
    shares = [share for clip in clips if (share := one_note_share(corpus.samples(clip), corpus.rate)) is not None]
    if shares and np.median(shares) < ONE_NOTE:
        return (
            "the sounds are several notes at once, as chords, or have no fundamental, as bells, and a key plays them "
            "as one note; record single notes and play chords on the keys, or give --family clip for a kit of them"
        )
    return ""


def _is_spoken(track: Samples, seconds: float) -> bool:
    """Return whether pitch glides and pauses as in speech."""
    is_voiced = np.isfinite(track)
    stretch_count = np.sum(is_voiced[1:] & ~is_voiced[:-1]) + is_voiced[0]
    frame_intervals = np.abs(np.diff(track))
    frame_intervals = frame_intervals[np.isfinite(frame_intervals)]
    if seconds < SPOKEN_SECONDS or not len(frame_intervals):
        return False
    return bool(stretch_count >= SYLLABLES * seconds and np.mean(frame_intervals > GLIDE_SEMITONES) >= GLIDING_SHARE)


def one_note_share(samples: Samples, rate: int) -> float | None:
    """Return the median share of amplitudes that the partials of one note explain, 0 to 1; None without partials."""
    frame_length = 2 * round(WINDOW_SECONDS * rate / 2)
    frame_shares = [_explained_share(frame, rate) for frame in _loud_frames(samples, frame_length, FRAMES)]
    measured_shares = [share for share in frame_shares if share is not None]
    return float(np.median(measured_shares)) if measured_shares else None


def _loud_frames(samples: Samples, frame_length: int, most_frames: int) -> list[Samples]:
    """Return frames of a sound's loud part, evenly spaced."""
    frame_starts = range(0, max(1, len(samples) - frame_length + 1), frame_length // 2)
    mean_squares = [
        float(np.square(samples[frame_start : frame_start + frame_length], dtype=np.float64).mean())
        for frame_start in frame_starts
    ]
    loud_starts = [
        frame_start
        for frame_start, mean_square in zip(frame_starts, mean_squares, strict=True)
        if mean_square > max(mean_squares) * 10 ** (-TOP_DB / 10)
    ]
    frames = [samples[frame_start : frame_start + frame_length] for frame_start in thinned(loud_starts, most_frames)]
    return [np.pad(frame, (0, frame_length - len(frame))) for frame in frames]


def _explained_share(frame: Samples, rate: int) -> float | None:
    """Return the share of a frame's peaks that the partials of one note explain; None without peaks."""
    bin_hz = rate / len(frame)  # Hz a bin
    magnitudes = np.abs(np.fft.rfft(frame * np.hanning(len(frame))))[: round(HIGHEST_HZ / bin_hz)].astype(np.float64)
    magnitudes[: round(LOWEST_HZ / bin_hz)] = 0
    peaks = peak_bins(magnitudes, magnitudes.max() * 10 ** (-PEAK_DB / 20))
    if not len(peaks):
        return None
    left_log, centre_log, right_log = (np.log(magnitudes[peaks + offset] + 1e-12) for offset in (-1, 0, 1))
    curvature = np.minimum(left_log - 2 * centre_log + right_log, -1e-9)
    peak_hz, peak_amplitudes = (peaks + (left_log - right_log) / (2 * curvature)) * bin_hz, magnitudes[peaks]
    strong_hz = peak_hz[peak_amplitudes > peak_amplitudes.max() * 10 ** (-STRONG_NOTE_DB / 20)][:FUNDAMENTALS]
    note_shares = [
        peak_amplitudes[_is_partial(peak_hz, partial_hz / partial_number, partial_count, bin_hz)].sum()
        for partial_hz in strong_hz
        for partial_number, partial_count in PARTIALS.items()
        if partial_hz / partial_number >= LOWEST_HZ
    ]
    return float(max(note_shares, default=0.0) / peak_amplitudes.sum())


def _is_partial(peak_hz: Doubles, fundamental_hz: float, partial_count: int, bin_hz: float) -> npt.NDArray[np.bool_]:
    """Return which peaks are partials of a fundamental, [peaks]."""
    partial_numbers = np.maximum(1, np.round(peak_hz / fundamental_hz))
    deviation_cents = np.abs(1200 * np.log2(peak_hz / (partial_numbers * fundamental_hz)))
    tolerance_cents = np.maximum(TUNING_CENTS, 1200 * np.log2(1 + bin_hz / peak_hz)) + STRETCH_CENTS * partial_numbers
    is_matching: npt.NDArray[np.bool_] = (deviation_cents < tolerance_cents) & (partial_numbers <= partial_count)
    return is_matching


def changes_colour(samples: Samples, rate: int) -> bool:
    """Return whether the spectral centroid of a sound moves by two octaves or more while it is loud."""
    if is_silent(samples):
        return False
    frame_length = 2 * round(WINDOW_SECONDS * rate / 2)
    magnitudes = np.abs(np.fft.rfft(np.stack(_loud_frames(samples, frame_length, 100)) * np.hanning(frame_length)))
    centroid_bins = centroids(magnitudes, np.arange(magnitudes.shape[1], dtype=np.float64))
    low_bin, high_bin = np.quantile(centroid_bins, (0.05, 0.95))
    return bool(high_bin >= low_bin * 2**COLOUR_OCTAVES)


SHORTEST_SECONDS = 0.02  # of a whole recording: shorter is a click
LISTENED_SECONDS = 60.0  # of a file: enough to detect a single note
TEXTURE_SECONDS = 3.0  # a shorter single sound has too few grains for a texture
HIT_SECONDS = 2.0  # a single sound up to this long is a hit or a word, and no kit


def survey_sounds(sources: Sequence[Path], *, alone: bool = False) -> str:
    """Summarize the number, duration, rates and channels of sounds.

    ``sources`` are files, and folders to search. ``alone`` accepts a single note, hit or word.

    Raises:
        UserError: a source is missing; all sounds are unreadable, silent or shorter than 0.02 s, or the same note, hit
            or word.
    """
    sounds, report, header_by_name = some_sounds(sources), CorpusReport(), {}
    for name, path in sounds.items():
        try:
            sound_file = SoundFile(path)
            sound_file.close()
        except Unreadable as error:
            report.unreadable[name] = str(error)
            continue
        if 0 < sound_file.seconds < SHORTEST_SECONDS:  # some containers state 0 for any length
            report.too_short.append(name)
        else:
            header_by_name[name] = sound_file
    different_sounds = _different_sounds({name: sounds[name] for name in header_by_name}, report)
    if not different_sounds:
        raise unusable(report, sources, f"{SHORTEST_SECONDS:g} s")
    if len(different_sounds) == 1 and not alone:
        _check_alone(*different_sounds[0], bool(report.identical))
    return _text(list(header_by_name.values()))


def _different_sounds(sounds: Mapping[str, Path], report: CorpusReport) -> list[tuple[str, Samples, int]]:
    """Return name, channels and rate of the first two different sounds, or of one."""
    copies, different_sounds = Copies(), []
    for name, path in sounds.items():
        try:
            sound_file = SoundFile(path)
            channels = sound_file.beginning(sound_file.rate, LISTENED_SECONDS)
        except Unreadable as error:
            report.unreadable[name] = str(error)
            continue
        if all(map(is_silent, channels)):
            report.silent.append(name)
        elif earlier_name := copies.earlier(name, samples_digest(channels)):
            report.identical[name] = earlier_name
        else:
            different_sounds.append((name, channels, sound_file.rate))
        if len(different_sounds) == 2:
            break
    return different_sounds


def _check_alone(name: str, channels: Samples, rate: int, has_copies: bool) -> None:
    """Raise UserError if the only sound makes no instrument."""
    samples = mix_to_mono(channels, rate)
    seconds, note = len(samples) / rate, single_note(pitch_track(samples, rate))
    complaint = f"{name} is the only sound" + (" (copies count once)" if has_copies else "")
    if note is not None and seconds >= TEXTURE_SECONDS and changes_colour(samples, rate):
        raise UserError(
            f"{complaint}, and one note that changes colour: {note_name(round(note))}, {duration(seconds)}; give "
            "--family grain, whose knobs walk through its colours, or add such notes of two other keys at least"
        )
    if note is not None:
        texture_advice = ", or give --family grain for a texture of this sound" if seconds >= TEXTURE_SECONDS else ""
        raise UserError(
            f"{complaint}, and one note: {note_name(round(note))}, {duration(seconds)}; add notes of two other keys at "
            f"least, a dozen is better{texture_advice}"
        )
    if seconds <= HIT_SECONDS:
        raise UserError(
            f"{complaint}, {duration(seconds)} long; a kit needs two hits or words at least, ten are better: "
            "add more, or longer recordings"
        )


def _text(sounds: Sequence[SoundFile]) -> str:
    seconds = sum(sound.seconds for sound in sounds)
    rates_text = " and ".join(f"{rate} Hz" for rate in sorted({sound.rate for sound in sounds}))
    stereo_count = sum(sound.channels > 1 for sound in sounds)
    stereo_text = "" if not stereo_count else ", in stereo" if stereo_count == len(sounds) else ", some in stereo"
    plural_suffix = "" if len(sounds) == 1 else "s"
    return f"{len(sounds)} sound{plural_suffix}, {duration(seconds)}, {rates_text}{stereo_text}"
