"""The first knobs of presets that ship have names that a musician knows, and move the sound as they say."""

import numpy as np
import pytest
import torch
from timbrel.export.first_preset import keys_of
from timbrel.export.kinds.kind import MIDDLE_C
from timbrel.export.knobs.effects import STEP, step_codes
from timbrel.export.knobs.naming import SURE_SHARE, model_ground
from timbrel.host.events import NoteOff, NoteOn, ParameterChange
from timbrel.host.kinds.kind import IMAGE
from timbrel.host.play.rack import ChannelInstrument, Rack
from timbrel.host.plugin.wire import slots_of
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import current_presets
from timbrel.host.session.view_builder import controls

FIRST = 6
RATE, SAMPLES, BEGIN, END = 44100, 66150, 4410, 44100  # a clip reads its knobs as it begins
WITH_MACROS = [(name, macro.name) for name in current_presets() for macro in open_patch(name).preset.macro]


@pytest.mark.parametrize("name", current_presets())
def test_the_first_six_knobs_have_names(name):
    patch = open_patch(name)
    view = controls(patch.preset, patch.model, ChannelInstrument(patch, RATE).knobs)
    names = [slot.name for slot in slots_of(patch.preset, view)][:FIRST]
    assert len(names) == FIRST
    assert not [name for name in names if name.startswith("latent ")]


def sound(patch, *changes):
    key = keys_of(patch)[0] if patch.preset.keys else MIDDLE_C
    rack = Rack({0: patch}, RATE)
    return rack.process([*changes, NoteOn(BEGIN, 0, key, 100), NoteOff(END, 0, key)], SAMPLES)[0]


@pytest.mark.parametrize(("name", "macro"), WITH_MACROS)
def test_each_macro_is_heard(name, macro):
    """One that a path or a walk undoes is not."""
    patch = open_patch(name)
    number, settings = next((n, each) for n, each in enumerate(patch.preset.macro) if each.name == macro)
    far = 0.0 if settings.value >= 0.5 else 1.0
    rest, moved = sound(patch), sound(patch, ParameterChange(0, 0, f"macro.{number}", far))
    assert np.abs(moved - rest).max() > 0.05 * np.abs(rest).max()


@pytest.mark.parametrize("name", ["lakeside-knobs", "lakeside-post"])
def test_the_brightness_of_a_texture_rises_by_the_measure_that_names_a_latent(name):
    patch = open_patch(name)
    ground = model_ground(patch.model)
    assert ground.descriptors[0].name == "brightness"
    [macro] = [each for each in patch.preset.macro if each.name == "brightness"]
    step = torch.zeros(len(patch.model.card.latents))
    for target in macro.targets:
        step[int(target.target.removeprefix("latent."))] = STEP * (target.high - target.low)
    before, rises = ground.measure(ground.codes)[0][:, 0], []
    for direction in (-1, 1):
        codes, is_whole = step_codes(ground, direction * step)
        rises += (direction * (ground.measure(codes)[0][:, 0] - before) > 0)[is_whole].tolist()
    assert np.mean(rises) >= SURE_SHARE


@pytest.mark.parametrize("name", current_presets())
def test_the_image_is_shown_where_it_moves_the_sides(name):
    patch = open_patch(name)
    view = controls(patch.preset, patch.model, ChannelInstrument(patch, RATE).knobs)
    rest, moved = sound(patch), sound(patch, ParameterChange(0, 0, IMAGE, 2.0))
    is_heard = np.abs(moved - rest).max() > 1e-4 * np.abs(rest).max()
    assert (IMAGE in [control.target for control in view]) == is_heard
