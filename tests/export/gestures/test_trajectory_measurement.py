"""The ways of tones by formula: attacks, decays and sweeps of brightness are found as they were made."""

import numpy as np
import pytest
from timbrel.export.fidelity.notes import SingleNote, cut
from timbrel.export.gestures.trajectory import (
    CODES_AT,
    LEVELS_AT,
    RELEASE_CODES_AT,
    RELEASE_LEVELS_AT,
    codes_of,
    measured_trajectory,
)
from timbrel.train.corpus.clip_table import Clip

from ..fidelity.tones import RATE, tone
from .networks import HIGH, LOW, coder, swept


def note_of(sound, pitch, held_seconds=None):
    clip = Clip(name="a", start=0, length=1, group="a", held_seconds=held_seconds)
    return cut(SingleNote(clip, float(pitch)), sound, RATE)


def measured(sound, pitch=60):
    return measured_trajectory(note_of(sound, pitch), coder()[1])


def at(grid, levels, seconds):
    return np.interp(seconds, grid, levels)


@pytest.mark.parametrize("rise", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("pitch", [48, 60, 76])
def test_levels_rise_as_the_tone_did(rise, pitch):
    course = measured(tone(pitch, seconds=1.5, held=1.2, rise=rise), pitch)
    cut_away = rise * 10 ** (-40 / 20)  # the note begins 40 dB under its loudest
    for part in (0.2, 0.5, 0.8, 1.5):
        seconds = max(part * rise, 0.008)
        asked = min(0.0, 20 * np.log10((seconds + cut_away) / rise))
        assert at(LEVELS_AT, course.levels, seconds) == pytest.approx(asked, abs=1.5)
    assert course.levels[2 * rise <= LEVELS_AT] == pytest.approx(0, abs=1.0)  # goes on beyond what was held
    assert course.fall == 0


def test_the_course_of_the_level_has_tremolo_and_no_roughness():
    time = np.arange(round(1.5 * RATE)) / RATE
    tremolo, rough = (depth * np.sin(2 * np.pi * hertz * time) for depth, hertz in ((3.0, 5.0), (6.0, 65.0)))
    made = tone(60, seconds=1.5, held=1.2, rise=0.02) * 10 ** ((tremolo + rough) / 20)
    course = measured(made.astype(np.float32)).course
    seconds = 0.001 * np.arange(len(course)) + 0.0002  # the note begins 40 dB under its loudest
    inner = (seconds > 0.15) & (seconds < 1.1)
    asked = 3.0 * np.sinc(5.0 * 0.046) * np.sin(2 * np.pi * 5.0 * seconds)
    assert np.std((course - asked)[inner]) < 0.35
    assert len(course) == pytest.approx(1200, abs=15)


def test_an_offset_is_no_loudness():
    fading = tone(60, seconds=1.5, held=1.2, rise=0.05)
    seconds = np.arange(len(fading)) / RATE
    fading = (fading * 10 ** (-18 * np.minimum(seconds, 1.2) / 20)).astype(np.float32)
    offset = np.abs(fading).max() * np.clip(np.minimum(seconds, 1.3 - seconds) / 0.1, 0.0, 1.0).astype(np.float32)
    held = (LEVELS_AT > 0.15) & (LEVELS_AT < 1.0)
    found, course = measured(fading + offset), measured(fading)
    np.testing.assert_allclose(found.levels[held], course.levels[held], atol=0.5)


def test_a_tone_that_is_let_go_falls_as_it_did_and_further():
    course = measured(tone(60, seconds=1.5, held=0.8))
    found = at(RELEASE_LEVELS_AT, course.release_levels, np.array([0.03, 0.1, 0.2, 0.5]))
    assert found == pytest.approx([-6, -20, -40, -100], abs=2.0)
    assert np.all(np.diff(course.release_levels) <= 0)


def test_what_rings_falls_on_and_has_no_release():
    time = np.arange(2 * RATE) / RATE
    rung = (tone(60, seconds=2.0, held=9.0) * 10 ** (-40 * time / 20)).astype(np.float32)
    course = measured(rung)
    assert course.fall == pytest.approx(40, abs=3)
    assert course.release_levels is None
    assert at(LEVELS_AT, course.levels, np.array([0.5, 1.0, 2.0])) == pytest.approx([-20, -40, -80], abs=2.5)


def test_a_note_that_had_nearly_rung_out_has_a_release_if_it_is_known():
    """It had fallen by 36 dB, and falls by 200 dB a second from then on."""
    time = np.arange(2 * RATE) / RATE
    rung = (tone(60, seconds=2.0, held=0.9) * 10 ** (-40 * np.minimum(time, 0.9) / 20)).astype(np.float32)
    course = measured_trajectory(note_of(rung, 60, held_seconds=0.9), coder()[1])
    assert at(RELEASE_LEVELS_AT, course.release_levels, np.array([0.03, 0.06])) == pytest.approx([-6, -12], abs=2.0)


def test_a_known_release_that_is_slow_is_measured_to_its_end():
    """At the note-off it had fallen by 45 dB; 0.1 s later it is 50 dB below its loudest moment, and falls on."""
    time = np.arange(2 * RATE) / RATE
    levels_db = -50 * np.minimum(time, 0.9) - 60 * np.maximum(time - 0.9, 0)
    rung = (tone(60, seconds=2.0, held=9.0) * 10 ** (levels_db / 20)).astype(np.float32)
    course = measured_trajectory(note_of(rung, 60, held_seconds=0.9), coder()[1])
    found = at(RELEASE_LEVELS_AT, course.release_levels, np.array([0.1, 0.2, 0.4, 0.7]))
    assert found == pytest.approx([-6, -12, -24, -42], abs=1.0)


def test_a_release_goes_on_beyond_the_recording_as_it_fell():
    """The file ends 0.3 s after the note-off: its last windows are half empty, and no part of the fall."""
    time = np.arange(round(1.2 * RATE)) / RATE
    cut_off = tone(60, seconds=1.2, held=9.0) * 10 ** (-60 * np.maximum(time - 0.9, 0) / 20)
    course = measured_trajectory(note_of(cut_off.astype(np.float32), 60, held_seconds=0.9), coder()[1])
    found = at(RELEASE_LEVELS_AT, course.release_levels, np.array([0.2, 0.4, 0.75]))
    assert found == pytest.approx([-12, -24, -45], abs=1.0)


@pytest.mark.parametrize("phase", [0.0, 1.5, 3.0, 4.5])
def test_a_release_is_that_of_the_mean_power_of_beats(phase):
    """The note-off at any place of beats, 10 dB deep: no dip stays, and the level before it is a mean."""
    time = np.arange(2 * RATE) / RATE
    beats = np.sqrt(1 + 0.8 * np.sin(2 * np.pi * 25.0 * time + phase))
    levels_db = -40 * np.maximum(time - 0.9, 0)
    beating = (beats * tone(60, seconds=2.0, held=9.0) * 10 ** (levels_db / 20)).astype(np.float32)
    course = measured_trajectory(note_of(beating, 60, held_seconds=0.9), coder()[1])
    absolute_db = course.course[-1] + course.release_levels - course.course[300:-100].mean()
    found = at(RELEASE_LEVELS_AT, absolute_db, np.array([0.2, 0.4, 0.55, 0.75]))
    assert found == pytest.approx([-8, -16, -22, -30], abs=1.0)
    assert course.release_levels[0] == 0
    assert np.all(np.diff(course.release_levels) <= 0)


@pytest.mark.parametrize("pitch", [60, 53, 79.4])
def test_codes_follow_a_sweep_of_brightness_in_any_octave(pitch):
    def falls(time):
        return 0.4 + 0.4 * np.minimum(time / 0.9, 1.0)

    _, network = coder()
    course = measured_trajectory(note_of(swept(pitch, falls), pitch), network)
    conditions = np.full(len(course.frames), course.condition)
    codes = codes_of(course, network.fitted(course.frames, conditions).astype(np.float64))
    moments = CODES_AT[(CODES_AT >= 0.1) & (CODES_AT <= 1.0)]
    found = LOW + (HIGH - LOW) * (codes.code + codes.held_offsets)[:, 0]
    assert found[np.isin(CODES_AT, moments)] == pytest.approx(falls(moments), abs=0.06)
    released = LOW + (HIGH - LOW) * (codes.code + codes.release_offsets)[:, 0]
    assert released[RELEASE_CODES_AT <= 0.1] == pytest.approx(0.8, abs=0.06)


def test_silence_has_no_way():
    silent = note_of(tone(60), 60)
    object.__setattr__(silent, "sound", np.zeros(RATE, np.float32))
    assert measured_trajectory(silent, coder()[1]) is None


@pytest.mark.parametrize("seconds", [0.02, 0.06])
def test_a_note_shorter_than_a_frame_has_a_way_too(seconds):
    course = measured(tone(60, seconds=seconds, held=9.0, rise=0.005))
    assert np.isfinite(course.levels).all()
    assert course.held_points >= 1
