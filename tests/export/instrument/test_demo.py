"""Demos and first presets of the shipped models, by kind."""

import pytest
from timbrel.export.first_preset import keys_of, untrimmed
from timbrel.host.model.model import Model
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import shipped_models


@pytest.mark.parametrize("name", ["lakeside-walk", "gm-loops"])
def test_a_demo_of_one_held_key_has_no_keys_to_compare(name):
    assert keys_of(open_patch(name)) == []


def test_other_demos_have_those_that_they_play():
    assert keys_of(open_patch("drum-kit")) == sorted(entry.key for entry in open_patch("drum-kit").preset.keys)
    assert len(keys_of(open_patch("gm-keys"))) == 8


@pytest.mark.parametrize("name", shipped_models())
def test_a_first_preset_rests_at_the_models_default_code(name):
    model = Model(shipped_models()[name])
    assert untrimmed(model).latent.values == [latent.default for latent in model.card.latents]
