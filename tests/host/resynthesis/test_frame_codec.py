"""Codecs of frames: the level of grains, and kinds that have none."""

import numpy as np
import pytest
from timbrel.host.engines.engine import FrameAnalysis, codec_of, hop_of
from timbrel.host.errors import UserError
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models

FRAMES, LEVEL = 400, 0.1


@pytest.mark.parametrize("filtered", [False, True])
def test_grains_of_noise_overlap_to_the_level_of_the_sound(filtered):
    model = Model(shipped_models()["lakeside-10"])
    card, hop = model.card, hop_of(model.card)
    assert card.domain == "magnitude"
    rest = np.array([[latent.default for latent in card.latents]], np.float32)
    decoded = np.repeat(model.decode(rest, np.zeros(1, np.intp)), FRAMES, axis=0)
    level = np.full((FRAMES, 1), LEVEL * np.sqrt(3 / 8), np.float32)  # of frames under a Hann window
    codec = codec_of(card, "original")
    made = codec.fade(codec.make(decoded, FrameAnalysis(None, level, *[None] * 7), None), filtered)
    sound = np.zeros((FRAMES - 1) * hop + card.frame_length)
    for index, frame in enumerate(made):
        sound[index * hop : index * hop + card.frame_length] += frame
    middle = sound[card.frame_length : -card.frame_length]
    assert 20 * np.log10(middle.std() / LEVEL) == pytest.approx(0, abs=0.7)


def test_a_kind_without_a_codec_is_refused_with_those_that_have_one():
    card = Model(shipped_models()["gm-drums"]).card
    with pytest.raises(UserError, match=r"of kind 'clip' yet; give one of kind 'spectrum' or 'partials' or 'grain'$"):
        codec_of(card, "original")
