"""What is measured of a contest: figures with known answers, and the words that say them."""

import numpy as np
import pytest
import soundfile
import torch
from timbrel.train.families import FAMILIES
from timbrel.train.families.gan.generator import ClipGenerator
from timbrel.train.families.gan.health import COLLAPSED, health_line, measure_health
from timbrel.train.families.recipes import load_recipe
from timbrel.train.preview import PEAK, draw_grid, write_preview

from .sounds import sine

RATE, LENGTH = 16000, 8192


class Given(ClipGenerator):
    """Makes what it is told to: clips by number, and judges by the first sample."""

    latents, words = 2, 3

    def __init__(self, clips):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.clips, self.asked = torch.from_numpy(clips), []

    def decode(self, latents, label=None):
        self.asked.append((latents, label))
        return self.clips[: len(latents)]

    def judge(self, clips, label):
        return clips[:, 0]


class Validation:
    """Validation clips that are given, with labels in turn."""

    def __init__(self, clips):
        self.clips = torch.from_numpy(clips)

    def validation(self, limit):
        labels = torch.arange(len(self.clips)) % 3
        yield self.clips[:limit], labels[:limit]


def tones(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([sine(hz, LENGTH / RATE, RATE) for hz in 200 * 2 ** (4 * rng.random(count))])


def test_the_same_clips_are_as_diverse_and_no_distance_apart():
    clips = tones(12)
    found = measure_health(Given(clips), Validation(clips), RATE)
    assert found["diversity"] == pytest.approx(1)
    assert found["frechet"] == pytest.approx(0, abs=1e-4)  # dB²
    assert found["estimate"] == pytest.approx(0)


def test_one_clip_again_and_again_is_told():
    clips = tones(12)
    found = measure_health(Given(np.repeat(clips[:1], 12, 0)), Validation(clips), RATE)
    assert found["diversity"] == pytest.approx(0, abs=1e-3)
    assert found["frechet"] > 100
    assert "has collapsed" in health_line(found)
    assert "\n" not in health_line(found)
    assert "collapsed" not in health_line(found | {"diversity": COLLAPSED})


def test_the_estimate_is_the_mean_of_answers_to_real_less_that_to_made():
    real, made = tones(6), tones(6, 1)
    real[:, 0], made[:, 0] = np.arange(6), 1.0
    assert measure_health(Given(made), Validation(real), RATE)["estimate"] == pytest.approx(1.5)


def test_codes_and_labels_are_the_same_at_every_look():
    clips = tones(5)
    network = Given(clips)
    for _ in range(2):
        measure_health(network, Validation(clips), RATE)
    (first, label), (second, _) = network.asked
    assert torch.equal(first, second)
    assert label.argmax(1).tolist() == [0, 1, 2, 0, 1]


def test_silence_alone_is_measured_too():
    clips = tones(6)
    found = measure_health(Given(np.zeros_like(clips)), Validation(clips), RATE)
    assert found["diversity"] == 0
    assert np.isfinite(found["frechet"])
    assert found["frechet"] > 100


def test_a_preview_has_the_same_codes_each_time_and_labels_in_turn_side_by_side(tmp_path):
    clips = tones(12)
    network = Given(clips)
    recipe = load_recipe("clip-wavegan")
    for step in (1, 2):
        sounds = FAMILIES["gan"].preview_sounds(network, recipe, Validation(clips))
        path = write_preview(tmp_path, sounds, recipe.frames.sample_rate, step, pictured=FAMILIES["gan"].pictured)
    (first, label), (second, _) = network.asked
    assert torch.equal(first, second)
    assert label.argmax(1).tolist() == [0, 1, 2] * 4
    sound, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    expected = clips / np.abs(clips).max(1, keepdims=True) * PEAK
    assert np.allclose(sound.reshape(12, LENGTH), expected, atol=1e-4)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not draw_grid(tmp_path / "grid.png", list(tones(2)), RATE, ["a", "b"])
    assert list(tmp_path.iterdir()) == []
