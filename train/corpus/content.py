"""Classifies corpora: held notes, hits or words, loops, textures."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...host.arrays import Array
from ..sampling import thinned
from .note_segmentation import is_melody
from .pitch import single_note
from .store import Corpus
from .tempo import has_beat

SHORT_SECONDS = 2.0  # until a clip has died away: true of hits and words, not of loops and textures
HELD = 0.6  # share of a clip's pitched frames that must be steady for a held note
LOUD_DB = 60.0  # under a clip's loudest: softer sound has died away
STEP_SECONDS = 0.01  # resolution of the loudness
RISE_DB, RISE_STEPS = 10.0, 5  # an onset: the loudness rises by this much within this many steps
STRONG_DB = 20.0  # and reaches this close to the clip's loudest
DYING_DB = 12.0  # under its loudest, where a truncated hit ends; continuous noise does not drop so far
CUT_SECONDS = 0.1  # a shorter clip is no note and no texture, such as a truncated hat or click
APART_STEPS = 8  # between onsets: a sooner rise is the same onset
ONSETS = 3  # at most, in a hit or a word: two syllables and one more
NOTES = 3  # different pitches, in whole semitones, that mark recordings as an instrument's notes
PITCHED = 0.5  # of the sound; above it a beat is a melody's, as drum loops stay below a third
MOSTLY = 0.75  # of clips: nearly all of an instrument's are held notes, half of a drum machine's
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
        held: share of steady notes.
        notes: number of their pitches, in semitones.
        median_note: their median MIDI pitch; NaN without any.
        dying: share of clips that end well below their peak.
        hits: share of short and dying clips: all hits and words, some notes.
        others: share of other clips, such as textures.
    """

    clips: int
    seconds: float
    onsets: float
    held: float
    notes: int
    median_note: float
    dying: float
    hits: float
    others: float

    @property
    def short(self) -> bool:
        """Clips are hits or words, not an instrument's notes."""
        cut = self.seconds <= CUT_SECONDS
        single = self.seconds <= SHORT_SECONDS and self.onsets <= ONSETS and (cut or self.dying >= MOSTLY)
        scale = not cut and self.held >= MOSTLY and self.notes >= NOTES and self.median_note >= LOWEST_NOTE
        return single and not scale

    @property
    def mixed(self) -> str:
        """Describe the mix if no kind makes up three quarters."""
        if max(self.hits, self.held, self.others) >= MOSTLY:
            return ""
        notes, others = round(100 * self.held), round(100 * self.others)
        return (
            f"mixed kinds: of {self.clips} sounds {notes} % are steady notes, {100 - notes - others} % other sounds "
            f"that die away within {SHORT_SECONDS:g} s, {others} % neither; sort them into folders, an instrument each"
        )

    def text(self) -> str:
        plural = "" if self.onsets == 1 else "s"
        return (
            f"{self.clips} clips of {self.seconds:.2g} s with {self.onsets:g} onset{plural}, "
            f"{100 * self.held:.0f} % of them steady notes, on {self.notes} different pitches"
        )


def listened(corpus: Corpus) -> CorpusContent:
    clips = thinned(corpus.clips("train"), MOST_CLIPS)
    levels = [_loudness(corpus.samples(clip), corpus.rate) for clip in clips]
    heard = [single_note(corpus.pitch(clip), HELD) for clip in clips]
    notes = np.array([np.nan if note is None else note for note in heard])
    known = notes[np.isfinite(notes)]
    seconds = np.array([_sounding_seconds(level) for level in levels])
    dying = np.array([level[-1] <= level.max() - DYING_DB for level in levels])
    hits = (seconds <= SHORT_SECONDS) & (dying | (seconds <= CUT_SECONDS))
    return CorpusContent(
        clips=len(clips),
        seconds=float(np.median(seconds)),
        onsets=float(np.median([_onsets(level) for level in levels])),
        held=len(known) / len(clips),
        notes=len(np.unique(np.round(known))),
        median_note=float(np.median(known)) if len(known) else float("nan"),
        dying=float(dying.mean()),
        hits=float(hits.mean()),
        others=float(np.mean(~hits & ~np.isfinite(notes))),
    )


class LoopVerdict(NamedTuple):
    loops: bool
    why: str


def are_loops(corpus: Corpus) -> LoopVerdict:
    """Return whether training clips are long, mostly unpitched, with a steady beat."""
    clips = thinned(corpus.clips("train"), LOOPS_HEARD)
    seconds = float(np.median([clip.length / corpus.rate for clip in clips]))
    if seconds < LOOP_SECONDS:
        return LoopVerdict(False, f"clips last {seconds:.2g} s, loops {LOOP_SECONDS:g} s and more")
    share = np.mean([has_beat(corpus.samples(clip), corpus.rate) for clip in clips])
    pitched = np.mean(np.isfinite(np.concatenate([corpus.pitch(clip) for clip in clips])))
    why = f"{100 * share:.0f} % of {len(clips)} clips of {seconds:.2g} s have a steady beat"
    if pitched > PITCHED:
        return LoopVerdict(False, f"{why}, but {100 * pitched:.0f} % of the sound has a pitch")
    return LoopVerdict(bool(share >= MOSTLY), why)


def melodic_share(corpus: Corpus) -> float:
    clips = thinned(corpus.clips("train"), MELODIES_HEARD)
    return float(np.mean([is_melody(corpus.samples(clip), corpus.pitch(clip), corpus.rate) for clip in clips]))


def dying_seconds(corpus: Corpus, share: float) -> float:
    """Return the quantile ``share`` of training clips' decay times."""
    lengths = [_sounding_seconds(_loudness(corpus.samples(clip), corpus.rate)) for clip in corpus.clips("train")]
    return float(np.quantile(lengths, share))


def _loudness(samples: Array, rate: int) -> Array:
    step = max(1, round(STEP_SECONDS * rate))
    begins = np.arange(0, len(samples), step)
    counts = np.diff(begins, append=len(samples))  # of the last step as many as there are: padded, it would seem to die
    levels: Array = 10 * np.log10(np.add.reduceat(np.square(samples, dtype=np.float64), begins) / counts + 1e-12)
    return levels


def _sounding_seconds(levels: Array) -> float:
    return float((np.flatnonzero(levels > levels.max() - LOUD_DB)[-1] + 1) * STEP_SECONDS)


def _onsets(levels: Array) -> int:
    before = np.concatenate([np.full(RISE_STEPS, levels.min() - RISE_DB), levels])
    lowest = np.lib.stride_tricks.sliding_window_view(before, RISE_STEPS)[: len(levels)].min(1)
    rising = np.flatnonzero((levels - lowest >= RISE_DB) & (levels > levels.max() - STRONG_DB))
    return int(1 + np.sum(np.diff(rising) > APART_STEPS)) if len(rising) else 1
