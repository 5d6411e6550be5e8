"""Renders seamless drum loops with a soundfont's kits, on one grid."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from ...host.errors import UserError
from .clip_table import Split
from .drum_patterns import KEYS, STEPS, STRENGTHS, DrumPattern, grooves
from .fluidsynth import DRUM_CHANNEL, PERCUSSION, check_rate, fluidsynth, play_notes, programs_of
from .loops import grid_of
from .pitch import Samples, pitch_track
from .report import CorpusReport, Progress, no_progress
from .store import writing

LEVEL, PEAK = 0.08, 0.95  # RMS of a loop, -22 dB, unless peaks limit it: kits differ in loudness by up to 12 dB
HIT_SECONDS = 3.0  # until a cymbal has died away by 40 dB
LEVELS = (40, 80, 120)  # rendered velocities; others scale the nearest of these
LOOSE = 6.0  # deviation of velocities, as of human players
CHOKES = {KEYS["open"]: (KEYS["hat"], KEYS["pedal"])}  # a closing hat ends an open one (General MIDI)
CHOKE_SECONDS = 0.015  # the time of a pedal's stroke
HELD_OUT, WATCHED = 6, 10  # every sixth groove is for the test, of the others every tenth for validation


@dataclass(frozen=True)
class Stroke:
    step: float
    key: int
    velocity: float


def render_loops(
    soundfont: Path,
    destination: Path,
    *,
    rate: int = 44100,
    seed: int = 0,
    name: str | None = None,
    licence: str | None = None,
    progress: Progress | None = None,
) -> CorpusReport:
    """Render each groove as two clips of a new corpus: plain, two bars; and full, four bars with a fill.

    All play at the grid's tempo; a clip's tempo is its groove's. Every sixth groove is test; every tenth is validation,
    unless it is test. ``rate`` is 8000 to 96000 Hz, ``seed`` that of velocities; other arguments as `build`.

    Raises:
        UserError: a value, the soundfont or the destination is unusable, or FluidSynth is missing.
        Failure: FluidSynth fails, or the disk is full.
    """
    check_rate(rate)
    table = grooves()
    _check_kits(soundfont, table)
    kits, say = Kits(soundfont, rate, table), progress or no_progress
    grid = grid_of([groove.tempo_bpm for groove in table], rate)
    splits: dict[str, Split] = {}
    with writing(destination, rate) as writer:
        for number, (groove, full) in enumerate(product(table, (False, True))):
            say(number / len(table) / 2, groove.name)
            clip = f"{groove.name}/{'full' if full else 'plain'} {grid.tempo_bpm(rate):.2f}bpm"
            bars, rng = 4 if full else 2, np.random.default_rng((seed, number))
            found = mixed(strokes(groove, full, rng), kits.of(groove.kits[full]), bars * STEPS, grid.step_length, rate)
            writer.append(
                found,
                pitch_track(found, rate),
                name=clip,
                group=groove.name,
                label=groove.name,
                program=groove.kits[full],
                tempo_bpm=groove.tempo_bpm,
                beats=bars * grid.beats_per_bar,
            )
            splits[clip] = split_of(number // 2)
        report = writer.finish(splits, name=name or destination.resolve().name, licence=licence, loops=grid)
    say(1.0, "done")
    return report


def split_of(number: int) -> Split:
    if number % HELD_OUT == HELD_OUT - 1:
        return "test"
    return "val" if number % WATCHED == WATCHED - 1 else "train"


def strokes(groove: DrumPattern, full: bool, rng: np.random.Generator) -> list[Stroke]:
    found = list(_hits(groove.rows, 0))
    if full:
        found = [hit for start in (0, 2 * STEPS) for part in (groove.rows, groove.more) for hit in _hits(part, start)]
        found = [hit for hit in found if hit[0] < 3 * STEPS] + list(_hits(groove.fill, 3 * STEPS))
    loudest: dict[tuple[int, int], int] = {}
    for step, key, velocity in found:
        loudest[step, key] = max(velocity, loudest.get((step, key), 0))
    return [
        Stroke(_swung(step, groove), key, float(np.clip(velocity + LOOSE * rng.standard_normal(), 1, 127)))
        for (step, key), velocity in sorted(loudest.items())
    ]


def mixed(hits: Iterable[Stroke], kit: "Kit", steps: int, step_length: float, rate: int) -> Samples:
    """Mix a loop's hits [samples]; tails wrap around. ``step_length`` is in samples."""
    hits = list(hits)
    length = round(steps * step_length)
    rounds = 1 + -(-round(HIT_SECONDS * rate) // length)
    sound = np.zeros(rounds * length, np.float32)
    for hit in hits:
        samples = kit.sound(hit.key, hit.velocity)
        closing = [(other.step - hit.step) % steps for other in hits if other.key in CHOKES.get(hit.key, ())]
        if closing:
            samples = _choked(samples, round(min(closing) * step_length), rate)
        start = round(hit.step * step_length)
        sound[start : start + len(samples)] += samples
    found = sound.reshape(rounds, length).sum(0)
    gain = min(LEVEL / np.sqrt(np.square(found).mean()), PEAK / np.abs(found).max())
    return np.asarray(gain * found, np.float32)


class Kits:
    def __init__(self, soundfont: Path, rate: int, table: Iterable[DrumPattern]) -> None:
        self._soundfont, self._rate = soundfont, rate
        self._player = fluidsynth()
        self._keys: dict[int, set[int]] = {}
        for groove in table:
            for kit, rows in zip(groove.kits, ([groove.rows], [groove.rows, groove.more, groove.fill]), strict=True):
                self._keys.setdefault(kit, set()).update(*rows)
        self._played: dict[int, Kit] = {}

    def of(self, program: int) -> "Kit":
        if program not in self._played:
            pairs = list(product(sorted(self._keys[program]), LEVELS))
            hits = play_notes(self._player, self._soundfont, DRUM_CHANNEL, program, pairs, HIT_SECONDS, self._rate)
            self._played[program] = Kit({pair: _without_leading_zeros(samples) for pair, samples in hits})
        return self._played[program]


class Kit:
    def __init__(self, sounds: Mapping[tuple[int, int], Samples]) -> None:
        self._sounds = sounds

    def sound(self, key: int, velocity: float) -> Samples:
        """Return a key's sound at the nearest rendered velocity, times the squared ratio of velocities.

        (SoundFont 2.04, section 8.4.1: concave, 96 dB.)
        """
        nearest = min(LEVELS, key=lambda level: abs(level - velocity))
        return np.asarray(self._sounds[key, nearest] * np.float32((velocity / nearest) ** 2))


def _check_kits(soundfont: Path, table: Iterable[DrumPattern]) -> None:
    wanted = sorted({kit for groove in table for kit in groove.kits})
    if missing := sorted(set(wanted) - programs_of(soundfont, PERCUSSION)):
        raise UserError(
            f"{soundfont} has no drum kit {missing[0]}; loops are played on kits {', '.join(map(str, wanted))}: "
            "give a soundfont of General MIDI, such as FluidR3_GM.sf2"
        )


def _hits(rows: Mapping[int, str], start: int) -> Iterable[tuple[int, int, int]]:
    for key, steps in rows.items():
        for step, sign in enumerate(steps):
            if sign in STRENGTHS:
                yield start + step, key, STRENGTHS[sign]


def _swung(step: int, groove: DrumPattern) -> float:
    pairs, place = divmod(step / groove.pair, 1)
    late = 2 * groove.swing * place if place < 0.5 else groove.swing + (2 * place - 1) * (1 - groove.swing)
    return groove.pair * (pairs + late)


def _without_leading_zeros(samples: Samples) -> Samples:
    """FluidSynth begins notes in blocks of 64 samples."""
    sounding = np.flatnonzero(samples)
    return samples[sounding[0] :] if len(sounding) else samples[:0]


def _choked(samples: Samples, at: int, rate: int) -> Samples:
    fade = np.linspace(1, 0, round(CHOKE_SECONDS * rate), dtype=np.float32)
    kept = samples[: at + len(fade)].copy()
    kept[at:] *= fade[: len(kept) - at] if len(kept) > at else 1
    return kept
