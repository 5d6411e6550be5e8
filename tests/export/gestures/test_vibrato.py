"""The vibrato of a recorded note, by sums of sines whose pitch is known at each moment."""

from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.export.fidelity.measures import HOP
from timbrel.export.fidelity.notes import RecordedNote
from timbrel.export.gestures.trajectory import MOST_CENTS, vibrato_of
from timbrel.host.model.gesture import VIBRATO_CENTS
from timbrel.host.signal import white_noise
from timbrel.host.units import midi_to_hz

RATE, SECONDS = 44_100, 1.2


def sound(key, cents, stretch=0.0, partials=8):
    """A tone whose pitch lies ``cents`` [samples] off its key, with stiff partials."""
    numbers = [number for number in range(1, 1 + partials) if number * midi_to_hz(key) < 15_000]
    turns = np.cumsum(midi_to_hz(key) * 2 ** (cents / 1200)) / RATE
    return sum(
        np.sin(2 * np.pi * number * np.sqrt(1 + stretch * number**2) * turns + number**2) / number for number in numbers
    ).astype(np.float32)


def cents_of(made, key=60, off=0.0, held=SECONDS):
    single = SimpleNamespace(key=key, pitch=key + off / 100)
    return VIBRATO_CENTS * vibrato_of(RecordedNote(single, made.astype(np.float32), held, 0.0), RATE).astype(float)


def waves(depth, hertz, seconds=SECONDS):
    return depth * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


@pytest.mark.parametrize(
    ("key", "depth", "hertz"),
    [(33, 15, 4.0), (48, 20, 6.0), (60, 45, 5.5), (72, 50, 7.0), (84, 40, 5.0), (100, 30, 6.0)],
)
def test_it_is_that_of_the_recording_at_each_moment(key, depth, hertz):
    asked = waves(depth, hertz)
    found = cents_of(sound(key, asked), key)
    assert len(found) == pytest.approx(SECONDS * RATE / HOP, abs=2)
    inner = slice(8, -8)
    apart = found[inner] - asked[::HOP][: len(found)][inner]
    assert np.abs(apart).max() < 0.2 * depth
    assert found[inner].std() == pytest.approx(asked[::HOP].std(), rel=0.12)


def test_a_note_off_its_key_moves_around_the_key():
    found = cents_of(sound(60, waves(20, 5.0) - 35.0), off=-35.0)
    assert np.median(found) == pytest.approx(0, abs=1.0)
    assert found.max() == pytest.approx(20, abs=2)


@pytest.mark.parametrize("stretch", [0.0, 4e-4])
def test_a_steady_note_has_none_even_if_its_partials_are_stretched(stretch):
    assert not len(cents_of(sound(45, np.zeros(round(SECONDS * RATE)), stretch), 45))


def test_stretched_partials_that_fade_one_after_the_other_have_none():
    time = np.arange(round(SECONDS * RATE)) / RATE
    numbers = np.arange(1, 7)
    parts = [
        np.exp(-number * time) * np.sin(2 * np.pi * midi_to_hz(45) * number * np.sqrt(1 + 1e-3 * number**2) * time)
        for number in numbers
    ]
    assert not len(cents_of(np.sum(parts, 0), 45))


def test_noise_has_none():
    assert not len(cents_of(white_noise(round(SECONDS * RATE))))


def test_breath_before_the_tone_has_the_pitch_that_the_tone_begins_with():
    scoop = -30 * np.exp(-np.arange(RATE) / (0.1 * RATE))
    breath = 0.3 * white_noise(round(0.2 * RATE))
    found = cents_of(np.concatenate([breath, sound(67, scoop)]), 67)
    last = round(0.19 * RATE / HOP)
    assert np.ptp(found[:last]) < 5
    assert found[last] == pytest.approx(-25, abs=5)
    assert np.abs(found[-30:]).max() < 2


def test_another_register_and_the_release_do_not_count():
    whole = round(SECONDS * RATE)
    for key, off in ((72, 250.0), (48, 100.0)):
        jump = waves(10, 5.0)
        jump[: whole // 8] += off  # an overblown beginning
        found = cents_of(sound(key, jump), key)
        assert np.abs(found).max() < MOST_CENTS
        assert np.ptp(found[: round(whole / 8 / HOP) - 3]) == 0  # that of the first moment after it
    falls = np.where(np.arange(whole) < 0.8 * whole, waves(10, 5.0), -50.0)
    assert np.abs(cents_of(sound(60, falls), held=0.8 * SECONDS)).max() < 14


def test_partials_that_come_and_go_are_no_vibrato():
    level = 1 + 0.8 * np.sin(2 * np.pi * 5 * np.arange(round(SECONDS * RATE)) / RATE)
    assert not len(cents_of(level * sound(60, np.zeros(len(level)))))


def test_a_slip_of_the_phase_as_at_a_splice_is_no_movement():
    depth, radians, samples, at = 10, 1.0, 3, 26_100
    cents = waves(depth, 5.0)
    cents[at : at + samples] += 1200 * np.log2(1 + radians / (2 * np.pi) * RATE / (midi_to_hz(72) * samples))
    assert np.abs(cents_of(sound(72, cents, partials=1), 72)).max() < 1.2 * depth
