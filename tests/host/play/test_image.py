"""A recorded key has the image of its own notes, others the usual one; notes without images leave it to the model."""

import numpy as np
import pytest
from timbrel.host.model.gesture import Gestures, image_steps, packed
from timbrel.host.play.blended_trajectory import TrajectoryBlender

from .gestures import gestures, note


def of(level, correlation):
    return np.tile([[level, correlation]], (32, 1))


def blender(*notes):
    return TrajectoryBlender(Gestures.model_validate(gestures(*notes)), np.full(2, 0.5), np.ones(2))


def in_stereo(key, level, correlation, velocity=100):
    return note(key, velocity, image=packed(image_steps(of(level, correlation))))


def test_a_recorded_key_has_its_own_image_and_others_the_median():
    made = blender(in_stereo(48.0, -6.0, 0.0), in_stereo(60.0, 2.0, 0.5), in_stereo(72.0, 10.0, 1.0))
    assert made.mix(60, 100).image == pytest.approx(of(2.0, 0.5), abs=0.01)
    assert made.mix(72, 100).image == pytest.approx(of(10.0, 1.0), abs=0.01)
    for key in (50, 54, 66, 90):
        assert made.mix(key, 100).image == pytest.approx(of(2.0, 0.5), abs=0.01)


def test_of_a_keys_velocities_the_nearest_counts_and_another_key_does_not():
    """The same array each time: an engine computes its curves once."""
    notes = [in_stereo(60.0, 0.0, 0.0, 40), in_stereo(60.0, 12.0, 1.0, 100), in_stereo(61.0, -20.0, -1.0, 70)]
    made = blender(*notes)
    assert made.mix(60, 60).image == pytest.approx(of(0.0, 0.0), abs=0.01)
    assert made.mix(60, 80).image == pytest.approx(of(12.0, 1.0), abs=0.01)
    assert made.mix(60, 80).image is made.mix(60, 90).image
    assert made.mix(20, 80).image is made.mix(100, 90).image


def test_one_note_without_an_image_leaves_all_to_the_model():
    assert blender(in_stereo(48.0, -6.0, 0.0), note(60.0)).mix(48, 100).image is None


def test_images_are_refused_unless_they_have_32_pairs():
    with pytest.raises(ValueError, match="32 pairs"):
        Gestures.model_validate(gestures(note(image=packed(np.ones(62, np.int8)))))
