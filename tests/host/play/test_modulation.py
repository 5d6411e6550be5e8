"""Modulations are listed with their ranges, and reading the sounding values changes no sample."""

import numpy as np
import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange
from timbrel.host.play.rack import Rack
from timbrel.host.preset.modulation import modulations

from .gestures import gestures, note, with_gestures
from .motions import PATH, TIMED_PATH, WALKING, lfo

RATE = 22050
WIDE = {
    "name": "wide",
    "targets": [{"target": "latent.0", "low": -0.2, "high": 0.3}, {"target": "gain", "low": 4, "high": -4}],
}
MORPH = {"values": [0.75, 0.125]}
SOFT = {"source": "velocity", "target": "envelope.release_seconds", "low": 0.4, "high": 0.0}
PRESSED = {"pressure": "channel", "target": "pan", "low": -0.5, "high": 0.5}


@pytest.fixture(scope="module")
def gestured(tiny_path, tmp_path_factory):
    return with_gestures(tiny_path(), tmp_path_factory.mktemp("gestured") / "model.onnx", gestures(note()))


@pytest.mark.parametrize(
    ("keys", "target", "expected"),
    [
        ({"motion": [lfo()]}, "latent.0", ("sine 2 Hz", "adds", -0.25, 0.25)),
        ({"motion": [lfo("saw", rate_hz=None, beats=0.5)]}, "latent.0", ("saw of 0.5 beats", "adds", -0.25, 0.25)),
        ({"motion": [lfo(target="morph")], "morph": MORPH}, "morph", ("sine 2 Hz", "adds", -0.25, 0.25)),
        ({"motion": [{"path": PATH, "beats": 2.0}]}, "latent.1", ("path", "sets", 0.2, 0.9)),
        ({"motion": [WALKING]}, "latent.0", ("walk", "sets", 0, 1)),
        ({"morph": MORPH}, "latent.1", ("morph", "leads", 0.125, 0.125)),
        ({"macro": [WIDE]}, "latent.0", ("wide", "adds", -0.25, 0.25)),
        ({"macro": [WIDE | {"value": 0.0}]}, "gain", ("wide", "adds", -8, 0)),
        ({"note": [SOFT]}, "envelope.release_seconds", ("velocity", "adds", 0.0, 0.4)),
        ({"cc": [PRESSED]}, "pan", ("channel pressure", "sets", -0.5, 0.5)),
        ({"mpe": {"enabled": True, "slide": "latent.1"}}, "latent.1", ("finger's slide", "sets", 0, 1)),
    ],
)
def test_a_source_is_told_with_its_name_and_its_range(make_patch, keys, target, expected):
    [found] = modulations(make_patch(**keys))[target]
    name, way, low, high = expected
    assert found == (name, way, pytest.approx(low), pytest.approx(high))


def test_gestures_are_told_with_the_furthest_codes_of_all_notes(make_patch, gestured):
    found = modulations(make_patch(gestured, gesture={"amount": 0.5}))
    assert found["latent.0"] == [("gesture", "adds", pytest.approx(-0.15), pytest.approx(0.1))]
    assert found["latent.1"] == [("gesture", "adds", 0.0, pytest.approx(0.05))]
    assert modulations(make_patch(gestured, gesture={"codes": 0.0})) == {}


def test_a_preset_without_them_tells_none(make_patch):
    patch = make_patch(cc=[{"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0}])
    assert modulations(patch) == {}
    rack = Rack({0: patch}, RATE)
    rack.process([NoteOn(0, 0, 60, 100)], 64)
    assert rack.modulated_values(0) == {}


def test_the_values_that_sound_are_those_of_knob_macro_and_motion_together(make_patch):
    patch = make_patch(
        macro=[WIDE], motion=[lfo("square", depth=0.1)], latent={"values": [0.5, 0.5]}, play={"gain_db": 1.0}
    )
    rack = Rack({0: patch}, RATE)
    rack.process([ParameterChange(0, 0, "macro.0", 1.0)], 4000)
    assert rack.modulated_values(0) == {"latent.0": pytest.approx(0.5 + 0.25 + 0.1), "gain": pytest.approx(-3.0)}


def test_what_a_note_has_for_itself_is_that_of_the_last_one(make_patch, gestured):
    patch = make_patch(gestured, note=[SOFT], envelope={"release_seconds": 0.5}, latent={"values": [0.5, 0.5]})
    rack = Rack({0: patch}, RATE)
    assert rack.modulated_values(0)["envelope.release_seconds"] == 0.5
    rack.process([NoteOn(0, 0, 60, 127), NoteOn(10, 0, 62, 1)], 300)
    moved = rack.modulated_values(0)
    assert moved["envelope.release_seconds"] == pytest.approx(0.9)
    assert moved["latent.0"] == pytest.approx(0.7, abs=0.05)
    assert rack.current_latents(0)[0] == 0.5


def test_looks_change_no_sample(make_patch, gestured):
    keys = {"macro": [WIDE], "motion": [lfo(), TIMED_PATH], "morph": MORPH, "note": [SOFT], "cc": [PRESSED]}
    events = [NoteOn(10, 0, 60, 90), NoteOn(700, 0, 67, 40), ControlChange(900, 0, 1, 60), NoteOff(5000, 0, 60)]
    sounds = []
    for looks in (False, True):
        rack = Rack({0: make_patch(gestured, **keys)}, RATE)
        blocks = []
        for start in range(0, 12_800, 128):
            blocks.append(rack.process([event for event in events if start <= event.time < start + 128], 128)[0])
            if looks:
                rack.modulated_values(0)
        sounds.append(np.concatenate(blocks, axis=1))
    assert np.array_equal(*sounds)
    assert np.abs(sounds[0]).max() > 0
