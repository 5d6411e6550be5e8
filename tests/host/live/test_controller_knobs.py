"""A controller's knobs get the values of a preset; the terminal shows the last knob moved."""

from dataclasses import replace
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.live.audio_process import ProcessState, _last
from timbrel.host.play.rack import Rack
from timbrel.host.preset.controls import MacroSettings, MacroTarget
from timbrel.host.preset.library import LiveOptions, open_patch, read_controller
from timbrel.host.preset.preset import Preset
from timbrel.host.session.messages import Setup
from timbrel.host.session.meters import Meters

SPAN = {"low": 0.0, "high": 1.0}


@pytest.fixture
def patch():
    """A function that gives gm-chroma-8 with these maps."""

    def make(*cc):
        shipped = open_patch("gm-chroma-8")
        return replace(shipped, preset=Preset(format=1, model="gm-chroma-8", cc=list(cc)))

    return make


def fitted(patch, controller=None, **setup):
    known = None if controller is None else read_controller(controller)
    return LiveOptions(controller=known, **setup).fit(patch)


def knobs_of(patch, **setup):
    return [(e.number, e.target, e.low, e.high) for e in fitted(patch, **setup).preset.cc]


def test_a_controllers_knobs_span_the_latents_that_a_preset_leaves_free(patch):
    bare = patch()
    numbers = read_controller("nanokontrol2").knobs
    spans = [(latent.low, latent.high) for latent in bare.model.card.latents]
    expected = [(numbers[i], f"latent.{i}", *span) for i, span in enumerate(spans)]
    assert knobs_of(bare, controller="nanokontrol2") == expected
    assert knobs_of(bare) == []


def test_a_controllers_knob_keeps_the_range_curve_and_takeover_of_the_presets_own_map(patch):
    own = {"number": 74, "target": "latent.2", "low": 0.4, "high": 0.3, "curve": 2.0, "takeover": "pickup"}
    entries = fitted(patch({**own, "bits": 7, "channel": 5}), "nanokontrol2").preset.cc
    assert entries[0].number == 74
    [entry] = [e for e in entries[1:] if e.target == "latent.2"]
    assert (entry.low, entry.high, entry.curve, entry.takeover) == (0.4, 0.3, 2.0, "pickup")
    assert (entry.number, entry.channel) == (read_controller("nanokontrol2").knobs[2], None)


@pytest.mark.parametrize(
    ("own", "kept"),
    [({"number": 18, "target": "gain"}, 18), ({"number": 18 - 16, "target": "pan"}, None)],
)
def test_numbers_that_a_preset_maps_stay_its_own(patch, own, kept):
    entries = knobs_of(patch({**own, **SPAN, "high": 0.5}), controller="nanokontrol2")
    moved = [target for number, target, *_ in entries if number == 18]
    assert moved == (["gain"] if kept else ["latent.2"])


def test_the_fine_half_of_a_knob_of_14_bits_stays_its_own(patch, tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\nsource = "me"\nknobs = [33, 34]\n', encoding="utf-8")
    own = {"number": 1, "bits": 14, "target": "gain", **SPAN}
    entries = knobs_of(patch(own), controller=str(tmp_path / "mine.toml"))
    assert [(number, target) for number, target, *_ in entries] == [(1, "gain"), (34, "latent.1")]


@pytest.mark.parametrize("name", ["gm-keys", "gm-chroma-2", "gm-chroma-8"])
@pytest.mark.parametrize("controller", ["eight-knobs", "launch-control-xl", "midi-mix", "nanokontrol2"])
def test_every_shipped_controller_fits_what_ships(name, controller):
    made = fitted(open_patch(name), controller, voices=3)
    Preset.model_validate(made.preset.model_dump(exclude_none=True))  # no number is mapped to a target twice
    assert made.preset.play.voices == 3
    Rack({0: made}, 48_000, omni=True)


# ---- the last knob moved


def told_by(state, latents, *events):
    rack = SimpleNamespace(latent_values=lambda channel: latents)
    loop = SimpleNamespace(meters=Meters(0), player=SimpleNamespace(rack=rack))
    loop.meters.add_events(events)
    return _last(state, loop)


def told(patch, *events, latents=(0.25,) * 8):
    """The report's line on the last knob, after these events."""
    state = ProcessState(Setup("any"), Pipe()[0])
    state.presets.activate({None: "any"}, {None: patch})
    return told_by(state, list(latents), *events)


@pytest.mark.parametrize(
    ("cc", "event", "words"),
    [
        ({"number": 74, "target": "latent.1"}, (74, 64), "CC 74 = 64 -> latent.1 (presence) = 0.25"),
        ({"number": 74, "target": "pan"}, (74, 127), "CC 74 = 127 -> pan = 1"),
        ({"number": 74, "target": "pan", "curve": 2.0}, (74, 0), "CC 74 = 0 -> pan = 0"),
        ({"number": 74, "target": "pan", "takeover": "pickup"}, (74, 9), "CC 74 = 9 -> pan"),
        ({"number": 7, "bits": 14, "target": "pan"}, (39, 9), "CC 39 = 9 -> pan"),
        ({"number": 74, "target": "pan", "channel": 2}, (74, 9), "CC 74 = 9 -> nothing"),
        ({"number": 74, "target": "pan"}, (64, 127), "CC 64 = 127 -> sustain pedal"),
        ({"number": 74, "target": "pan"}, (20, 1), "CC 20 = 1 -> nothing"),
        ({"pressure": "key", "target": "pan"}, (20, 1), "CC 20 = 1 -> nothing"),
    ],
)
def test_the_last_knob_tells_its_target_and_value(patch, cc, event, words):
    assert told(patch({**SPAN, **cc}), ControlChange(0, 0, *event), NoteOn(0, 0, 60, 100)) == words


def test_a_knob_of_two_targets_tells_both_and_keys_tell_nothing(patch):
    both = patch({"number": 5, "target": "latent.0", **SPAN}, {"number": 5, "target": "gain", **SPAN})
    assert told(both, ControlChange(0, 0, 5, 0)) == "CC 5 = 0 -> latent.0 (brightness) = 0.25, gain = 0"
    assert told(both, NoteOn(0, 0, 60, 100)) == ""


def test_a_knob_tells_its_target_by_name(patch):
    made = patch({"number": 16, "target": "macro.0", **SPAN})
    made.preset.macro.append(MacroSettings(name="wide", targets=[MacroTarget(target="latent.0", low=0, high=1)]))
    assert told(made, ControlChange(0, 0, 16, 127)) == "CC 16 = 127 -> macro.0 (wide) = 1"


def test_a_preset_of_more_latents_that_is_just_coming_in_is_no_fault(patch):
    wide = patch({"number": 5, "target": "latent.7", **SPAN})
    assert (
        told(wide, ControlChange(0, 0, 5, 127), latents=(0.5, 0.5)) == "CC 5 = 127 -> latent.7 (less odd partials) = 1"
    )


def test_a_knob_tells_what_it_does_to_the_preset_of_its_channel(patch):
    both = patch({"number": 5, "target": "gain", **SPAN}), patch({"number": 5, "target": "pan", **SPAN})
    for channel, target in ((0, "gain"), (2, "pan"), (6, "gain")):
        state = ProcessState(Setup("any"), Pipe()[0])
        state.presets.activate({None: "any", 2: "any"}, {None: both[0], 2: both[1]})
        assert told_by(state, [0.5] * 8, ControlChange(0, channel, 5, 127)) == f"CC 5 = 127 -> {target} = 1"
