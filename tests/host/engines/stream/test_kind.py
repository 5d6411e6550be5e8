"""What cards and presets may say of streams, and what they are told where they may not."""

import pytest
from pydantic import ValidationError
from timbrel.host.kinds.stream import CONTROLS
from timbrel.host.kinds.table import kind_of
from timbrel.host.model.card import Card
from timbrel.host.model.model import describe
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import faults, ranges

from ...clips import clip_card

SPECTRA = {"domain": "magnitude", "transform_length": 1000, "hop_length": 250}
STREAM = {"step_length": 3900, "steps_per_beat": 4.0, "levels_db": [-60.0, -3.0]}


def card(**changes):
    state = [{"name": "previous", "shape": [4000]}, {"name": "h", "shape": [8]}]
    return Card.model_validate(clip_card() | {"kind": "stream", "state": state, "stream": STREAM} | changes)


def preset(**keys):
    return Preset.model_validate({"format": 1, "model": "loops", **keys})


@pytest.mark.parametrize("domain", ["samples", "real_imag"])
def test_a_card_of_streams_is_read(domain):
    made = card(domain=domain, scaling={"mean": [0.0] * 3, "deviation": 1.0})
    assert made.stream.beats_per_bar == 4
    assert made.stream.noise == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stream": None}, "stream must be given with kind 'stream'"),
        ({"state": []}, "state has no 'previous'"),
        ({"state": [{"name": "h", "shape": [8]}]}, "state has no 'previous'"),
        ({"chroma": {"trained": [0], "octave": 4}}, "chroma must be null with kind 'stream'"),
        ({"domain": "magnitude"}, "transform_length goes with domain 'magnitude'"),
        ({"domain": "magnitude_phase"}, "domain 'magnitude_phase' does not go with kind 'stream'"),
        ({"transform_length": 200}, "transform_length goes with domain 'magnitude'"),
        ({"stream": STREAM | {"step_length": 4001}}, "step_length 4001 must be half of frame_length 4000 to all"),
        ({"stream": STREAM | {"step_length": 1999}}, "step_length 1999 must be half of frame_length 4000 to all"),
    ],
)
def test_a_card_that_contradicts_its_kind_is_refused(changes, expected):
    with pytest.raises(ValidationError) as refused:
        card(**changes)
    assert expected in str(refused.value)


def test_people_are_told_what_streams_are():
    told = describe(card(), 1000)
    assert "stream of samples frames, 16000 Hz" in told
    assert "3900 samples (244 ms)" in told
    assert "a knob is heard after 244 to 488 ms" in told
    assert "4 steps a beat, 61.54 BPM as trained" in told  # 60 * 16000 / (4 * 3900)


@pytest.mark.parametrize(
    ("changes", "follows", "seconds"),
    [
        (SPECTRA, True, 60 / (120 * 4)),
        (SPECTRA, False, 3900 / 16000),
        ({}, True, 3900 / 16000),  # samples are never stretched to the beat
    ],
)
def test_frames_are_made_ahead_by_a_step_of_the_tempo_or_their_own(changes, follows, seconds):
    made = card(**changes)
    own = preset(stream={"follow_tempo": follows}).stream
    assert kind_of(made).ahead_seconds(own, made, 120.0) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ({"seed_sound": "a.wav", "seed_landmark": "b"}, "give one of them"),
        ({"keys": "seed", "seed_landmark": "b"}, "a seed of its own"),
        ({"heat": 5}, "less than or equal to 4"),
        ({"trim_frames": 0}, "greater than or equal to 1"),
        ({"trim_frames": 65}, "less than or equal to 64"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(stream, expected):
    with pytest.raises(ValidationError, match=expected):
        preset(stream=stream)


def test_a_landmark_that_is_not_there_is_a_fault_and_knobs_have_their_ranges():
    found = faults(preset(stream={"seed_landmark": "none"}), card(), {})
    assert [fault.message for fault in found] == [
        "stream.seed_landmark 'none' is no landmark of model 'clips'; timbrel info lists them"
    ]
    asked = ranges(preset(stream={}), card())
    assert {name for name in asked if name.startswith("stream.")} == set(CONTROLS)
    assert asked["stream.heat"] == (0.0, 4.0)
