"""Previews let one hear what the network makes of validation frames."""

import numpy as np
import pytest
import soundfile
import torch
from timbrel.host.signal import sounding_note
from timbrel.train.corpus.build import build
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.families.family import PREVIEW_FRAMES
from timbrel.train.families.recipes import load_recipe
from timbrel.train.preview import PEAK, SECONDS, write_preview

RECIPE = load_recipe("chroma-8", ["network.hidden=[64,32]"])
PIECE = (int(SECONDS * 44100 / 1024) - 1) * 1024 + 4096  # samples of one sound


class Perfect(ChromaAutoencoder):
    """Decodes what it was given."""

    def encode(self, frames, chroma):
        self.seen = frames
        return super().encode(frames, chroma)

    def decode(self, latents, chroma):
        return self.seen


class Silent(ChromaAutoencoder):
    """Decodes nothing."""

    def decode(self, latents, chroma):
        return torch.zeros(len(latents), 2049)


@pytest.fixture
def data(tone_corpus, tmp_path):
    return FAMILIES["chroma"].data(Corpus.open(tone_corpus), RECIPE, tmp_path)


def heard(folder, network, data, recipe=RECIPE, step=7):
    """The sounds of a preview, [sounds, samples]."""
    path = write_preview(folder, FAMILIES["chroma"].preview_sounds(network, recipe, data), 44100, step)
    assert path == folder / f"step-{step:07d}.wav"
    sound, rate = soundfile.read(path, dtype="float32")
    assert rate == 44100
    return sound.reshape(-1, PIECE)


def test_each_sound_is_the_note_of_its_frame(data, tmp_path):
    sounds = heard(tmp_path / "preview", Perfect(RECIPE), data)
    assert len(sounds) == PREVIEW_FRAMES
    chosen = np.linspace(0, len(data.val) - 1, PREVIEW_FRAMES).astype(int)
    for sound, index in zip(sounds, chosen, strict=True):
        assert np.abs(sound).max() == pytest.approx(PEAK, abs=1e-6)
        note = sounding_note(sound[4096:-4096], 44100)
        assert abs(note - data.val.sources[index].note) < 0.3


def test_the_same_step_gives_the_same_sound_and_replaces_it(data, tmp_path):
    network = ChromaAutoencoder(RECIPE)
    once = heard(tmp_path / "preview", network, data)
    again = heard(tmp_path / "preview", network, data)
    assert np.array_equal(once, again)
    assert [path.name for path in (tmp_path / "preview").iterdir()] == ["step-0000007.wav"]


def test_a_network_that_says_nothing_is_silent_and_not_broken(data, tmp_path):
    assert np.all(heard(tmp_path / "preview", Silent(RECIPE), data) == 0)


def test_a_corpus_of_few_frames_gives_as_many_sounds(tones, tmp_path):
    build([tones / "tone_60.wav"], tmp_path / "corpus")
    few = RECIPE.model_copy(update={"frames": RECIPE.frames.model_copy(update={"rows": 3})})
    data = FAMILIES["chroma"].data(Corpus.open(tmp_path / "corpus"), few, tmp_path)
    assert len(heard(tmp_path / "preview", ChromaAutoencoder(RECIPE), data)) == len(data) == 3


def test_listening_changes_neither_the_network_nor_the_random_state(data, tmp_path):
    network = ChromaAutoencoder(RECIPE)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    write_preview(tmp_path / "preview", FAMILIES["chroma"].preview_sounds(network, RECIPE, data), 44100, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
