"""Listening finds how many keys sound their note, from the sound alone."""

import numpy as np
import pytest

from ..bench.listening import listen

CODES = np.float32([[0.0], [0.4], [1.0]])


@pytest.mark.parametrize("octave", [3, 4, 5])
def test_a_perfect_model_is_heard_as_perfect(analytic, octave):
    heard = listen(analytic(octave), CODES)
    assert (heard.pitch_class, heard.octave, heard.notes) == (1.0, 1.0, 36)


def test_a_model_that_ignores_the_key_is_right_once_in_twelve(analytic):
    same = [-key for key in range(12)]  # every key sounds C
    heard = listen(analytic(semitones=same), CODES)
    assert heard.pitch_class == heard.octave == pytest.approx(1 / 12)


def test_a_model_whose_octaves_jump_has_its_pitch_classes_right(analytic):
    heard = listen(analytic(semitones=[0, 12] * 6), CODES)
    assert heard.pitch_class == 1.0
    assert heard.octave == 0.5


@pytest.mark.parametrize(("semitones", "right"), [(0.3, 1.0), (-0.3, 1.0), (0.7, 0.0), (1, 0.0), (-1, 0.0), (7, 0.0)])
def test_a_note_is_right_within_half_a_semitone(analytic, semitones, right):
    assert listen(analytic(semitones=[semitones] * 12), CODES[:1]).octave == right


def test_three_wrong_keys_are_a_quarter(analytic):
    heard = listen(analytic(semitones=[0, 0, 0, 2] * 3), CODES[:1])
    assert heard.pitch_class == heard.octave == 0.75


def test_landmarks_are_listened_to_where_no_codes_are_given(analytic):
    said = []
    assert listen(analytic(), progress=said.append).notes == 12 * 10
    assert said == pytest.approx([(index + 1) / 10 for index in range(10)])
