"""Renders seamless drum loops with a soundfont's kits, on one grid, from patterns as data.

A row is an instrument and its sixteenths, one group a bar: ``X`` accent, ``x`` stroke, ``o`` soft, ``g`` ghost note,
``.`` rest. A groove is two bars. The first kit plays them; the second adds rows after ``+``, and the fill in every
fourth bar. ``swing 0.66 of 4`` begins the last two of four steps at 0.66 of their time: eighths swing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from ...host.errors import UserError
from .clip_table import Split
from .loops import grid_of
from .pitch import Samples, pitch_track
from .report import CorpusReport, Progress, no_progress
from .soundfont import DRUM_CHANNEL, PERCUSSION, check_rate, fluidsynth, play_notes, programs_of
from .store import writing

STEPS = 16  # of a bar
STRENGTHS = {"X": 118, "x": 96, "o": 68, "g": 38}  # velocities
KEYS = {
    **{"kick": 36, "stick": 37, "snare": 38, "clap": 39, "hat": 42, "pedal": 44, "open": 46, "crash": 49},
    **{"ride": 51, "bell": 53, "low": 43, "mid": 47, "high": 50, "tambourine": 54, "cowbell": 56},
    **{"bongo": 60, "conga": 63, "tumba": 64, "shaker": 70},
}


@dataclass(frozen=True)
class DrumPattern:
    """Two bars of drums; ``more`` and ``fill`` belong to the full version.

    Args:
        kits: programs of the plain and the full version, from 0.
        rows: signs of all steps, by key.
        swing: where a pair's second half starts: 0.5 is straight, 2/3 a triplet.
        pair: steps that swing together: 2 for sixteenths, 4 for eighths.
    """

    name: str
    tempo_bpm: float
    kits: tuple[int, int]
    rows: dict[int, str]
    more: dict[int, str]
    fill: dict[int, str]
    swing: float
    pair: int


def grooves() -> list[DrumPattern]:
    """Return the patterns of `_GROOVES`."""
    fill_by_name = {heading: _rows(row_lines) for heading, row_lines in _parts(_FILLS)}
    patterns = []
    for heading, row_lines in _parts(_GROOVES):
        match = _HEAD.fullmatch(heading)
        assert match is not None, heading
        name, tempo_bpm, plain_kit, full_kit, fill_name, swing, pair = match.groups()
        patterns.append(
            DrumPattern(
                name,
                float(tempo_bpm),
                (int(plain_kit), int(full_kit)),
                _rows([line for line in row_lines if not line.startswith("+")]),
                _rows([line[1:] for line in row_lines if line.startswith("+")]),
                fill_by_name[fill_name],
                float(swing or 0.5),
                int(pair or 2),
            )
        )
    return patterns


def _parts(text: str) -> list[tuple[str, list[str]]]:
    """Return headings with their indented lines."""
    headed_lines: list[tuple[str, list[str]]] = []
    for line in text.strip().splitlines():
        if line.startswith(" "):
            headed_lines[-1][1].append(line.strip())
        else:
            headed_lines.append((line.removesuffix(":"), []))
    return headed_lines


def _rows(lines: list[str]) -> dict[int, str]:
    """Return the signs of all steps, by key."""
    return {KEYS[name]: "".join(bars) for name, *bars in (line.split() for line in lines)}


_HEAD = re.compile(r"([a-z -]+): (\d+) bpm, kits (\d+) (\d+), fill ([a-z]+)(?:, swing ([\d.]+) of ([24]))?")

_FILLS = """
snare:
      kick       X...x...x...x...
      snare      ....X..ox.oxXxXX
      hat        x.x.x.x.........
toms:
      kick       X.....x.x...x...
      snare      ....X...XX......
      high       ..........XX....
      mid        ............XX..
      low        ..............XX
      hat        x.x.x.x.........
flam:
      kick       X...x...X...x...
      snare      ....X.....ogX.oX
      low        ..............x.
      hat        x.x.x.x.x.......
      open       ..........x.....
lift:
      kick       X...X...X...X.X.
      clap       ....X.......X.XX
      hat        ooxoooxoooxooooo
      open       ..............X.
stop:
      kick       X.........X.....
      snare      ....X.......XoxX
      hat        x.x.x.x.........
      crash      ..........x.....
roll:
      kick       X.......x.......
      snare      ....x...gogoxoxX
      ride       x...x...x...x...
      pedal      ....x.......x...
"""

_GROOVES = """
rock eighths: 112 bpm, kits 0 16, fill toms
      kick       X.......X.x..... X.......X.....x.
      snare      ....X.......X... ....X.......X...
      hat        x.o.x.o.x.o.x.o. x.o.x.o.x.o.x.o.
    + crash      x............... ................
    + snare      .........g.....g .......g.g......
house: 124 bpm, kits 24 25, fill lift
      kick       X...X...X...X... X...X...X...X...
      clap       ....X.......X... ....X.......X...
      hat        o.........o..... o.........o.....
      open       ..x...x...x...x. ..x...x...x...x.
    + shaker     ooxoooxoooxoooxo ooxoooxoooxoooxo
    + cowbell    ................ ...o..o...o..o..
hip-hop: 90 bpm, kits 8 24, fill flam, swing 0.6 of 2
      kick       X......x..X..... X..x......X...x.
      snare      ....X.......X... ....X.......X..g
      hat        x.o.x.o.x.o.x.oo x.o.x.o.x.o.x.o.
    + snare      .......g.g...... .......g.g......
    + tambourine ....x.......x... ....x.......x...
bossa: 120 bpm, kits 32 40, fill roll
      kick       X.....oxX.....ox X.....oxX.....ox
      stick      x.....x.....x... ....x.....x.....
      hat        oooooooooooooooo oooooooooooooooo
    + shaker     xoooxoooxoooxooo xoooxoooxoooxooo
    + conga      ......x......... ......x...x.....
    + tumba      ..............xx ..............xx
shuffle: 108 bpm, kits 0 32, fill flam, swing 0.66 of 4
      kick       X.....o.X.....x. X.....o.X...x.x.
      snare      ..g.X.g...g.X.g. ..g.X.g...g.X.g.
      hat        x.o.x.o.x.o.x.o. x.o.x.o.x.o.x.o.
    + ride       x...x.o.x...x.o. x...x.o.x...x.o.
    + tambourine ....x.......x... ....x.......x...
funk: 100 bpm, kits 8 0, fill snare
      kick       X.x.......x..x.. X.x....x..x.....
      snare      ....X..g.g..X..g ....X..g.g..X.g.
      hat        xoxoxoxoxoxoxox. xoxoxoxoxoxoxo..
      open       ...............x ..............x.
    + tambourine ..x...x...x...x. ..x...x...x...x.
    + cowbell    o...o...o...o... o...o...o...o...
breakbeat: 136 bpm, kits 0 8, fill stop
      kick       X.X.......XX.... X.X.......X.....
      snare      ....X..g.g..X..g ....X..g.g....X.
      ride       x.x.x.x.x.x.x.x. x.x.x.x.x.x.x.x.
    + crash      ................ ..........X.....
    + hat        .o.o.o.o.o.o.o.o .o.o.o.o.o.o.o.o
halftime: 140 bpm, kits 16 24, fill toms
      kick       X.....x......... X..x......x...x.
      snare      ........X....... ........X.......
      hat        x.x.x.x.x.x.x.x. x.x.x.x.x.xxx.x.
    + open       ..............x. ................
    + snare      ...g.......g..g. ...g.......g....
disco: 118 bpm, kits 0 25, fill toms
      kick       X...X...X...X... X...X...X...X.x.
      snare      ....X.......X... ....X.......X...
      hat        xo..xo..xo..xo.. xo..xo..xo..xo..
      open       ..x...x...x...x. ..x...x...x...x.
    + tambourine ooxoooxoooxoooxo ooxoooxoooxoooxo
    + conga      ..x....x..x..... ..x....x..x.x...
reggae one drop: 80 bpm, kits 0 8, fill roll, swing 0.58 of 2
      kick       ........X....... ........X.....o.
      stick      ........X....... ........X.....x.
      hat        x.oox.oox.oox.oo x.oox.oox.oox.oo
    + conga      ..o...x...o...x. ..o...x...o...x.
    + tumba      ...............x .............x.x
electro: 126 bpm, kits 25 24, fill lift
      kick       X.....X...X..... X.....X...X..x..
      snare      ....X.......X... ....X.......X...
      hat        x.x.x.xxx.x.x.xx x.x.x.xxx.x.x.xx
      cowbell    ................ ..x..x..x.......
    + clap       ....X.......X... ....X.......X..x
    + open       ......x.......x. ......x.......x.
four snares: 122 bpm, kits 0 16, fill snare
      kick       X.....x.X.x..... X.....x.X.x.....
      snare      X...X...X...X... X...X...X...X..o
      hat        x.x.x.x.x.x.x.x. x.x.x.x.x.x.x.x.
    + tambourine ..x...x...x...x. ..x...x...x...x.
rock sixteenths: 96 bpm, kits 16 0, fill toms
      kick       X..x....X.x..... X..x..x.X.......
      snare      ....X.......X... ....X.......X...
      hat        xoxoxoxoxoxoxoxo xoxoxoxoxoxoxo..
      open       ................ ..............x.
    + snare      .g.....g.g....g. .g.....g.g......
    + bell       x...x...x...x... x...x...x...x...
deep house: 120 bpm, kits 25 24, fill lift, swing 0.57 of 2
      kick       X...X...X...X... X...X...X..oX...
      stick      ....x..x....x... ....x..x....x.x.
      hat        .oxo.oxo.oxo.oxo .oxo.oxo.oxo.oxo
    + clap       ....X.......X... ....X.......X...
    + bongo      x..x......x..x.. x..x......x.....
slow hip-hop: 86 bpm, kits 24 25, fill flam, swing 0.56 of 2
      kick       X.x.......x..... X.x....x..x..x..
      clap       ....X.......X... ....X.......X...
      hat        x.x.x.xxx.x.x.x. x.x.xxx.x.x.x.xx
    + snare      ......g......... .......g.g.....g
    + shaker     oooooooooooooooo oooooooooooooooo
samba: 108 bpm, kits 32 0, fill roll, swing 0.53 of 2
      kick       x..xX..xx..xX..x x..xX..xx..xX..x
      stick      x.x..x.x.x.x.xx. x.x..x.x.x.xx.x.
      hat        ..x...x...x...x. ..x...x...x...x.
    + shaker     xooxxooxxooxxoox xooxxooxxooxxoox
    + tumba      ....X.......X... ....X.......X..x
jazz ride: 130 bpm, kits 32 40, fill roll, swing 0.66 of 4
      kick       o...o...o...o... o...o...o...o...
      ride       x...x.o.x...x.o. x...x.o.x...x.o.
      pedal      ....x.......x... ....x.......x...
    + snare      ......g.......o. ..g.....g.....x.
    + stick      ............x... ............x...
late break: 140 bpm, kits 8 16, fill stop
      kick       X.....X...X..... X..X......X.....
      snare      ....X..g....X..g .g..X....g.gX...
      hat        x.x.x.x.x.x.x.x. x.x.x.x.x.x.x...
      open       ................ ..............x.
    + ride       x...x...x...x... x...x...x...x...
    + snare      .........g....g. .......g........
linear funk: 104 bpm, kits 0 8, fill snare, swing 0.54 of 2
      kick       X..x..x.....x... X..x....x..x..x.
      snare      ....X....g.g..g. ....X....g..X..g
      hat        .xx..x.xx.x..x.x .xx..xx..xx..x..
    + tambourine ....x.......x... ....x.......x...
    + open       ................ ......x.........
halftime shuffle: 96 bpm, kits 0 16, fill flam, swing 0.64 of 2
      kick       X......x...x..x. X..x...x......x.
      snare      .g.g.g.gX..g.g.g .g.g.g.gX..g.g.g
      hat        x.ox.oxx.ox.ox.o x.ox.oxx.ox.ox.o
    + open       ..............x. ................
    + ride       x...x...x...x... x...x...x...x...
afrobeat: 110 bpm, kits 0 32, fill flam
      kick       X..x..x...x..... X..x..x...x...x.
      snare      ..g..g..X..g..o. ..g..g..X..g.o..
      hat        x.xxx.xxx.xxx.xx x.xxx.xxx.xxx.xx
    + cowbell    x.x.x..x.x.x.x.. x.x.x..x.x.x.x..
    + shaker     o.o.o.o.o.o.o.o. o.o.o.o.o.o.o.o.
dub steppers: 84 bpm, kits 8 25, fill stop
      kick       X...X...X...X... X...X...X...X...
      stick      ........x....... ........x..x....
      hat        ..x...x...x...xo ..x...x...x...xo
    + open       ................ ......x.........
    + bongo      ...x..x....x..x. ...x..x....x....
techno: 132 bpm, kits 25 24, fill lift
      kick       X...X...X...X... X...X...X...X...
      open       ..x...x...x...x. ..x...x...x...x.
      hat        xo.oxo.oxo.oxo.o xo.oxo.oxo.oxo.o
    + clap       ....x.......x... ....x.......x..o
    + low        ...x......x..... ...x......x..x..
octave disco: 110 bpm, kits 16 0, fill snare
      kick       X...X...X.x.X... X...X...X.x.X...
      snare      ....X.......X..g ....X.......X.g.
      hat        x.oox.oox.oox.oo x.oox.oox.oox.oo
      open       ..x...x...x...x. ..x...x...x...x.
    + cowbell    x...x...x...x... x...x...x.x.x...
    + crash      x............... ................
"""


LEVEL, PEAK = 0.08, 0.95  # RMS of a loop, -22 dB, unless peaks limit it: kits differ in loudness by up to 12 dB
HIT_SECONDS = 3.0  # until a cymbal has died away by 40 dB
LEVELS = (40, 80, 120)  # rendered velocities; others scale the nearest of these
VELOCITY_DEVIATION = 6.0  # deviation of velocities, as of human players
CHOKES = {KEYS["open"]: (KEYS["hat"], KEYS["pedal"])}  # a closing hat ends an open one (General MIDI)
CHOKE_SECONDS = 0.015  # the time of a pedal's stroke
TEST_INTERVAL, VALIDATION_INTERVAL = 6, 10  # grooves: every sixth is for the test, of the others every tenth


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
    progress: Progress = no_progress,
) -> CorpusReport:
    """Render each groove as two clips of a new corpus: plain, two bars; and full, four bars with a fill.

    All play at the grid's tempo; a clip's tempo is its groove's. Every sixth groove is test; every tenth is validation,
    unless it is test. ``rate`` is 8000 to 96000 Hz, ``seed`` that of velocities; other arguments as `build`.

    Raises:
        UserError: a value, the soundfont or the destination is unusable, or FluidSynth is missing.
        Failure: FluidSynth fails, or the disk is full.
    """
    check_rate(rate)
    patterns = grooves()
    _check_kits(soundfont, patterns)
    kits = Kits(soundfont, rate, patterns)
    grid = grid_of([groove.tempo_bpm for groove in patterns], rate)
    splits: dict[str, Split] = {}
    with writing(destination, rate) as writer:
        for loop_index, (groove, is_full) in enumerate(product(patterns, (False, True))):
            progress(loop_index / len(patterns) / 2, groove.name)
            clip_name = f"{groove.name}/{'full' if is_full else 'plain'} {grid.tempo_bpm(rate):.2f}bpm"
            bar_count, rng = 4 if is_full else 2, np.random.default_rng((seed, loop_index))
            loop = mix_loop(
                strokes(groove, is_full, rng), kits.kit(groove.kits[is_full]), bar_count * STEPS, grid.step_length, rate
            )
            writer.append(
                loop,
                pitch_track(loop, rate),
                name=clip_name,
                group=groove.name,
                label=groove.name,
                program=groove.kits[is_full],
                tempo_bpm=groove.tempo_bpm,
                beats=bar_count * grid.beats_per_bar,
            )
            splits[clip_name] = split_of(loop_index // 2)
        report = writer.finish(splits, name=name or destination.resolve().name, licence=licence, loops=grid)
    progress(1.0, "done")
    return report


def split_of(groove_index: int) -> Split:
    """Return a groove's split, by its index."""
    if groove_index % TEST_INTERVAL == TEST_INTERVAL - 1:
        return "test"
    return "val" if groove_index % VALIDATION_INTERVAL == VALIDATION_INTERVAL - 1 else "train"


def strokes(groove: DrumPattern, is_full: bool, rng: np.random.Generator) -> list[Stroke]:
    """Return a groove's strokes, of two at once the louder one, with random deviations of velocity."""
    hits = list(_hits(groove.rows, 0))
    if is_full:
        hits = [
            hit
            for start_step in (0, 2 * STEPS)
            for rows in (groove.rows, groove.more)
            for hit in _hits(rows, start_step)
        ]
        hits = [hit for hit in hits if hit[0] < 3 * STEPS] + list(_hits(groove.fill, 3 * STEPS))
    loudest_velocities: dict[tuple[int, int], int] = {}
    for step, key, velocity in hits:
        loudest_velocities[step, key] = max(velocity, loudest_velocities.get((step, key), 0))
    return [
        Stroke(_swung(step, groove), key, float(np.clip(velocity + VELOCITY_DEVIATION * rng.standard_normal(), 1, 127)))
        for (step, key), velocity in sorted(loudest_velocities.items())
    ]


def mix_loop(hits: Iterable[Stroke], kit: "Kit", step_count: int, step_length: float, rate: int) -> Samples:
    """Mix a loop's hits [samples]; tails wrap around. ``step_length`` is in samples."""
    hits = list(hits)
    loop_length = round(step_count * step_length)
    round_count = 1 + -(-round(HIT_SECONDS * rate) // loop_length)
    unwrapped_sound = np.zeros(round_count * loop_length, np.float32)
    for hit in hits:
        hit_samples = kit.sound(hit.key, hit.velocity)
        closing_steps = [
            (closing_hit.step - hit.step) % step_count
            for closing_hit in hits
            if closing_hit.key in CHOKES.get(hit.key, ())
        ]
        if closing_steps:
            hit_samples = _choke(hit_samples, round(min(closing_steps) * step_length), rate)
        start_sample = round(hit.step * step_length)
        unwrapped_sound[start_sample : start_sample + len(hit_samples)] += hit_samples
    loop = unwrapped_sound.reshape(round_count, loop_length).sum(0)
    gain = min(LEVEL / np.sqrt(np.square(loop).mean()), PEAK / np.abs(loop).max())
    return np.asarray(gain * loop, np.float32)


class Kits:
    def __init__(self, soundfont: Path, rate: int, patterns: Iterable[DrumPattern]) -> None:
        self._soundfont, self._rate = soundfont, rate
        self._player = fluidsynth()
        self._keys: dict[int, set[int]] = {}
        for groove in patterns:
            for program, pattern_rows in zip(
                groove.kits, ([groove.rows], [groove.rows, groove.more, groove.fill]), strict=True
            ):
                self._keys.setdefault(program, set()).update(*pattern_rows)
        self._kits: dict[int, Kit] = {}

    def kit(self, program: int) -> "Kit":
        if program not in self._kits:
            key_velocities = list(product(sorted(self._keys[program]), LEVELS))
            hit_sounds = play_notes(
                self._player, self._soundfont, DRUM_CHANNEL, program, key_velocities, HIT_SECONDS, self._rate
            )
            self._kits[program] = Kit(
                {key_velocity: _without_leading_zeros(hit.mono) for key_velocity, hit in hit_sounds}
            )
        return self._kits[program]


class Kit:
    def __init__(self, sounds: Mapping[tuple[int, int], Samples]) -> None:
        self._sounds = sounds

    def sound(self, key: int, velocity: float) -> Samples:
        """Return a key's sound at the nearest rendered velocity, times the squared ratio of velocities.

        (SoundFont 2.04, section 8.4.1: concave, 96 dB.)
        """
        nearest_velocity = min(LEVELS, key=lambda rendered_velocity: abs(rendered_velocity - velocity))
        return np.asarray(self._sounds[key, nearest_velocity] * np.float32((velocity / nearest_velocity) ** 2))


def _check_kits(soundfont: Path, patterns: Iterable[DrumPattern]) -> None:
    """Raise UserError if the soundfont lacks a kit."""
    programs = sorted({program for groove in patterns for program in groove.kits})
    if missing_programs := sorted(set(programs) - programs_of(soundfont, PERCUSSION)):
        raise UserError(
            f"{soundfont} has no drum kit {missing_programs[0]}; "
            f"loops are played on kits {', '.join(map(str, programs))}: "
            "give a soundfont of General MIDI, such as FluidR3_GM.sf2"
        )


def _hits(rows: Mapping[int, str], start_step: int) -> Iterable[tuple[int, int, int]]:
    """Yield step, key and velocity of each stroke, from ``start_step`` on."""
    for key, signs in rows.items():
        for step, sign in enumerate(signs):
            if sign in STRENGTHS:
                yield start_step + step, key, STRENGTHS[sign]


def _swung(step: int, groove: DrumPattern) -> float:
    """Return the time of a step, in steps, with the groove's swing."""
    pair_index, pair_share = divmod(step / groove.pair, 1)
    swung_share = (
        2 * groove.swing * pair_share if pair_share < 0.5 else groove.swing + (2 * pair_share - 1) * (1 - groove.swing)
    )
    return groove.pair * (pair_index + swung_share)


def _without_leading_zeros(samples: Samples) -> Samples:
    """FluidSynth begins notes in blocks of 64 samples."""
    nonzero_indices = np.flatnonzero(samples)
    return samples[nonzero_indices[0] :] if len(nonzero_indices) else samples[:0]


def _choke(samples: Samples, choke_start: int, rate: int) -> Samples:
    """Fade a sound out from ``choke_start`` on, and cut it there."""
    fade = np.linspace(1, 0, round(CHOKE_SECONDS * rate), dtype=np.float32)
    choked_samples = samples[: choke_start + len(fade)].copy()
    choked_samples[choke_start:] *= (
        fade[: len(choked_samples) - choke_start] if len(choked_samples) > choke_start else 1
    )
    return choked_samples
