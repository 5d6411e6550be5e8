"""Notes spoilt in one way each: which measures see it, and which do not."""

import functools
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from timbrel.export.fidelity.comparison import _distances
from timbrel.export.fidelity.measures import NoteDistance
from timbrel.export.fidelity.notes import NoteSound
from timbrel.export.fidelity.page import MEASURES
from timbrel.export.fidelity.perceptual_distance import is_installed
from timbrel.host.units import midi_to_hz

RATE, KEY = 48000, 64
SECONDS, HELD_SECONDS, RISE_SECONDS = 2.0, 1.8, 0.02
TAKES = (2, 3, 4)  # second takes of take 1
SHIFT_SAMPLES = 256
BEYOND = 1.4  # times the farthest of three takes and a shift: a measure sees it
LEAST = {  # of these distances: smaller ones say nothing
    "change": np.log(1.25),
    "slow_change": np.log(1.25),
    "vibrato": np.log(1.25),
    "partial_cents": 3.0,
}
UNSUITED = {"decay_percent"}  # of struck notes

SEEN = {
    "one loop held": {"change", "slow_change", "vibrato"},
    "noise at −30 dB": {"shape_db", "sustain_db", "quarter_db", "onset_db", "sides_db"},
    "20 cents sharp": {"quarter_db", "partial_cents"},
    "attack 30 ms slower": {"attack_ms", "late_ms"},
    "collapsed to mono": {"sides_db"},
}


def note_sides(take=1, cents=0.0, rise_seconds=RISE_SECONDS):
    """Return both sides of a note, [2, samples]: vibrato, partials that move each by itself, breath, a wide image.

    Takes differ in movement, breath and a little in the levels of partials.
    """
    rng, image_rng = np.random.default_rng(take), np.random.default_rng(1000)
    time = np.arange(round(SECONDS * RATE)) / RATE
    vibrato_cents = 8 * np.sin(2 * np.pi * 5 * time + rng.uniform(0, 6))
    turns = np.cumsum(midi_to_hz(KEY) * 2 ** ((cents + vibrato_cents) / 1200)) / RATE
    sides = 0.1 * 10 ** (-50 / 20) * rng.standard_normal((2, len(time)))
    for order in range(1, 25):
        level_db = -2.5 * order + rng.normal(0, 0.7)
        for points, deviation_db in ((9, 1.5), (81, 1.0)):
            level_db += np.interp(time, np.linspace(0, SECONDS, points), rng.normal(0, deviation_db, points))
        for side, gain in enumerate((1.0, 0.8)):
            phase = order * order + side * image_rng.uniform(-1.2, 1.2)
            sides[side] += 0.1 * gain * 10 ** (level_db / 20) * np.sin(2 * np.pi * order * turns + phase)
    release = np.where(time > HELD_SECONDS, 10 ** (-150 * (time - HELD_SECONDS) / 20), 1)
    return np.minimum(time / rise_seconds, 1) * release * sides


def level(sides):
    return np.sqrt(scipy.ndimage.uniform_filter1d(np.square(sides).mean(0), RATE // 100))


def held_loop(sides):
    """Hold a loop of twelve periods, its ends crossfaded, at the note's own level."""
    start, length = RATE // 2, round(12 * RATE / midi_to_hz(KEY))
    fade = np.linspace(0, 1, length)
    loop = fade * sides[:, start - length : start] + (1 - fade) * sides[:, start : start + length]
    held = np.tile(loop, -(-sides.shape[1] // length))[:, : sides.shape[1]]
    return held * level(sides) / level(sides)[start]


def noisy(sides):
    return sides + 10 ** (-30 / 20) * level(sides) * np.random.default_rng(5).standard_normal(sides.shape)


def spoilt(control):
    match control:
        case "one loop held":
            return held_loop(note_sides())
        case "noise at −30 dB":
            return noisy(note_sides())
        case "20 cents sharp":
            return note_sides(cents=20)
        case "attack 30 ms slower":
            return note_sides(rise_seconds=RISE_SECONDS + 0.03)
        case "collapsed to mono":
            return np.tile(note_sides().mean(0), (2, 1))


def deviations(sides):
    """Return how far a note lies from the recording by each measure, 0 if it is alike."""

    def sound(channels):
        return NoteSound(channels.mean(0).astype(np.float32), channels.astype(np.float32))

    distances = _distances(sound(note_sides()), sound(sides), RATE)
    ratios = {name: abs(np.log(max(distances[name], 1e-6))) for name in ("change", "slow_change", "vibrato")}
    measured = {name: distances[name] for name in NoteDistance._fields if name not in UNSUITED}
    if not is_installed():
        del measured["zimtohrli"]
    return {
        name: abs(value) for name, value in (measured | ratios | {"brightness": 1 - distances["brightness"]}).items()
    }


@functools.cache
def allowed():
    """Return the farthest of three second takes and of the recording 5 ms late, by measure."""
    late = np.pad(note_sides(), ((0, 0), (SHIFT_SAMPLES, 0)))[:, :-SHIFT_SAMPLES]
    found = [deviations(sides) for sides in (*(note_sides(take) for take in TAKES), late)]
    return {name: max(LEAST.get(name, 0), *(one[name] for one in found)) for name in found[0]}


@pytest.mark.parametrize("control", SEEN)
def test_a_spoilt_note_is_seen_by_its_measures_and_by_no_other(control):
    found, limits = deviations(spoilt(control)), allowed()
    assert {name for name in found if found[name] > BEYOND * limits[name]} == SEEN[control], {
        name: round(found[name] / limits[name], 2) for name in found
    }


def test_the_page_on_fidelity_has_this_table():
    page = (Path(__file__).parents[3] / "docs" / "internals" / "fidelity.md").read_text(encoding="utf-8")
    rows = {first.strip(): cells for first, *cells in (line.strip("| ").split(" |") for line in page.splitlines())}
    controls = [cell.strip() for cell in rows["measure"]]
    assert controls == list(SEEN)
    for measure in (measure for measure in MEASURES if measure.value not in UNSUITED):
        cells = [cell.strip() for cell in rows[measure.label.partition(",")[0]]]
        assert cells == ["seen" if measure.value in SEEN[control] else "–" for control in controls], measure.label
