"""The first knobs of a new instrument: in this order on screens and in DAWs, and by standard controllers."""

import numpy as np
import pytest
from timbrel.export.first_preset import demo, first_preset, played
from timbrel.host.kinds.card_fields import Latent
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.plugin.wire import slots_of
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import faults
from timbrel.host.session.view_builder import controls


@pytest.fixture
def model(partials_model, monkeypatch):
    """The tones' model, its first latents named whatever a short training gave them."""
    names = ["brightness", "noise", *(f"latent {number}" for number in range(2, 8))]
    latents = [
        Latent(**latent.model_dump() | {"name": name})
        for name, latent in zip(names, partials_model.card.latents, strict=True)
    ]
    monkeypatch.setattr(partials_model, "card", partials_model.card.model_copy(update={"latents": latents}))
    return partials_model


def patch_of(model, preset):
    return Patch("first", preset, model, model.path.parent)


def test_the_first_knobs_are_brightness_noise_attack_and_variety_on_their_standard_controllers(model):
    preset = first_preset(model)
    numbers = [(entry.target, entry.number) for entry in preset.cc[:4]]
    assert not model.gestures.vibrates
    assert numbers == [
        ("latent.0", 74),
        ("latent.1", 71),
        ("envelope.attack_seconds", 73),
        ("gesture.variety", 70),
    ]
    assert list(faults(preset, model.card, {})) == []


@pytest.fixture
def stereo(model, monkeypatch):
    """The model, with an image and vibrato."""
    monkeypatch.setattr(type(model.gestures), "vibrates", True)
    monkeypatch.setattr(model, "card", model.card.model_copy(update={"image": [(3.0, 0.5)] * 32}))
    return model


def test_the_image_of_a_stereo_instrument_is_the_sixth_knob_and_mono_ones_have_none(model, stereo):
    preset = first_preset(stereo)
    assert [(entry.target, entry.number) for entry in preset.cc[3:6]] == [
        ("gesture.vibrato", 77),
        ("gesture.variety", 70),
        ("image", 76),
    ]
    assert preset.cc[5].ends == (0.0, 2.0)
    assert list(faults(preset, stereo.card, {})) == []
    targets = list(dict.fromkeys(entry.target for entry in preset.cc))
    assert {entry.target for entry in preset.cc if 70 <= entry.number <= 77} == set(targets[:8])
    assert len({(entry.number) for entry in preset.cc}) == len(preset.cc)
    assert len(targets) == 12  # all latents have one


def test_an_image_that_no_map_moves_comes_after_all_other_controls_so_that_they_keep_their_place_in_plugins(stereo):
    effects = [{"plugin": "Reverb", "room_size": 0.2}, {"plugin": "Gain", "gain_db": -3.0}]
    whole = first_preset(stereo).model_dump(exclude_unset=True) | {"effects": effects}
    preset = Preset.model_validate(whole | {"cc": [entry for entry in whole["cc"] if entry["target"] != "image"]})
    view = list(controls(preset, stereo, ChannelInstrument(patch_of(stereo, preset), 44100).knobs))
    targets = [control.target for control in view]
    assert targets[-1] == "image"
    assert (view[-1].group, view[-1].place, view[-1].rest) == ("play", ("play", "image"), 1.0)
    mono = stereo.card.model_copy(update={"image": None})
    stereo.card = mono
    known = list(controls(preset, stereo, ChannelInstrument(patch_of(stereo, preset), 44100).knobs))
    assert [control.target for control in known] == targets[:-1]
    assert [slot.target for slot in slots_of(preset, view)] == [slot.target for slot in slots_of(preset, known)]


def test_eight_knobs_from_cc_70_on_move_the_first_eight_controls_and_16_and_17_brightness_and_noise(model, monkeypatch):
    monkeypatch.setattr(type(model.gestures), "vibrates", True)
    preset = first_preset(model)
    targets = list(dict.fromkeys(entry.target for entry in preset.cc))
    on_eight = {entry.target for entry in preset.cc if 70 <= entry.number <= 77}
    assert on_eight == set(targets[:8])
    assert len(targets) == 11  # all latents have one
    assert {entry.number: entry.target for entry in preset.cc if entry.number < 20} == {16: "latent.0", 17: "latent.1"}
    assert {entry.number: entry.target for entry in preset.cc}[77] == "gesture.vibrato"


def test_screens_and_plugins_show_knobs_in_the_order_of_the_preset(model):
    preset = first_preset(model)
    view = list(controls(preset, model, ChannelInstrument(patch_of(model, preset), 44100).knobs))
    expected = list(dict.fromkeys(entry.target for entry in preset.cc))
    assert [control.target for control in view][: len(expected)] == expected
    assert [slot.target for slot in slots_of(preset, view)][: len(expected)] == expected


def test_the_attack_at_rest_leaves_the_recorded_attack_and_a_turned_one_does_not(model):
    first = first_preset(model)
    unmapped = {
        "cc": [entry for entry in first.cc if entry.target != "envelope.attack_seconds"],
        "envelope": {"decay_seconds": 0.1, "sustain": 1.0},
    }
    recorded = Preset.model_validate(first.model_dump(exclude_unset=True) | unmapped)
    slow = first.model_copy(update={"envelope": first.envelope.model_copy(update={"attack_seconds": 0.3})})
    sounds = []
    for preset in (first, recorded, slow):
        patch = patch_of(model, preset)
        performance = demo(patch)
        sounds.append(played(patch, performance.events, performance.length))
    np.testing.assert_array_equal(sounds[0], sounds[1])
    assert np.abs(sounds[2][:, :4000]).max() < 0.5 * np.abs(sounds[0][:, :4000]).max()


def test_controls_that_a_preset_maps_below_its_latents_stay_in_their_place(model):
    preset = first_preset(model)
    latents_first = sorted(preset.cc, key=lambda entry: not entry.target.startswith("latent."))
    preset = preset.model_copy(update={"cc": latents_first})
    view = list(controls(preset, model, ChannelInstrument(patch_of(model, preset), 44100).knobs))
    assert [control.target for control in view][:10] == [*(f"latent.{number}" for number in range(8)), "gain", "pan"]
