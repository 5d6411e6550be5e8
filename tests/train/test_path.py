"""Paths of codes: steps equal sequences, likelihoods are those of the mixture, and the grains stay as they are."""

import numpy as np
import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import build
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.path import data as data_module
from timbrel.train.families.path.data import excerpt_length, excerpts, recoloured
from timbrel.train.families.path.network import MEMORY_STEPS, PathStep
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.run import Run, trained

from ..small_paths import PATHS, RATE, train_paths
from .loops import CPU


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths")
    train_paths(folder)
    return folder


@pytest.fixture(scope="module")
def network(folder):
    return trained(Run.open(folder / "path"), "last")[0]


def random_step(latents=4, hidden=7, components=3):
    torch.manual_seed(0)
    step = PathStep(latents, hidden, components)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
    step.mean.copy_(torch.randn(latents))
    step.deviation.copy_(1 + torch.rand(latents))
    return step.eval()


@torch.no_grad()
def test_steps_one_by_one_are_those_of_the_whole_sequence():
    """Without noise in its last numbers, a step gives the mean of the component that the first number chooses."""
    step, chances = random_step(), torch.tensor([[-2.5], [-0.4], [0.0], [0.7], [3.0]])
    codes = torch.randn(5, 40, 4)
    mixtures = step.mixtures(step.scale(codes))
    state = torch.zeros(5, sum(step.sizes))
    chosen_components = set()
    for index in range(codes.shape[1]):
        noise = torch.cat([chances, torch.zeros(5, 4)], 1)
        following, state = step(codes[:, index], state, noise)
        ends = mixtures.log_weights[:, index].exp().cumsum(1)
        components = (torch.special.ndtr(chances) > ends).sum(1).clamp(max=2)
        chosen_components |= set(components.tolist())
        means = mixtures.means[torch.arange(5), index, components]
        np.testing.assert_allclose(following, means * step.deviation + step.mean, atol=2e-5)
    assert chosen_components == {0, 1, 2}


@torch.no_grad()
def test_the_state_of_a_walk_begins_anew_after_its_memory():
    step, generator = random_step(), torch.Generator().manual_seed(0)
    code, state = torch.randn(2, 4), torch.zeros(2, sum(step.sizes))
    fresh_steps = []
    for index in range(2 * MEMORY_STEPS + 3):
        noise = torch.randn(2, 5, generator=generator)
        fresh = step(code, torch.zeros_like(state), noise)[1]
        code, state = step(code, state, noise)
        code = code.clamp(-3, 3)
        fresh_steps += [index] * torch.equal(state, fresh)
    assert fresh_steps == [0, MEMORY_STEPS, 2 * MEMORY_STEPS]


@torch.no_grad()
def test_likelihoods_are_those_of_a_mixture_of_gaussians():
    step = random_step()
    codes = torch.randn(2, 9, 4)
    mixture = step.mixtures(codes[:, :-1])
    factors = (torch.eye(4) + step.mixing.tril(-1)) * mixture.log_deviations.exp()[..., None, :]
    independent = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=mixture.log_weights),
        torch.distributions.MultivariateNormal(mixture.means, scale_tril=factors),
    )
    expected = independent.log_prob(codes[:, 1:])
    np.testing.assert_allclose(step.log_likelihood(codes[:, 1:], mixture), expected, rtol=1e-4)


@torch.no_grad()
def test_noise_draws_the_mixture():
    step, count = random_step(), 200_000
    code = torch.randn(1, 4)
    mixture = step.mixtures(step.scale(code[:, None]))
    generator = torch.Generator().manual_seed(1)
    state = torch.zeros(1, sum(step.sizes)).expand(count, -1)
    drawn = step(code.expand(count, -1), state, torch.randn(count, 5, generator=generator))[0]
    scaled = step.scale(drawn)
    weights, means = mixture.log_weights[0, 0].exp(), mixture.means[0, 0]
    factors = (torch.eye(4) + step.mixing.tril(-1)) * mixture.log_deviations[0, 0].exp()[:, None, :]
    mean = weights @ means
    offsets = means - mean
    covariance = (weights[:, None, None] * (factors @ factors.mT + offsets[:, :, None] * offsets[:, None])).sum(0)
    scale = covariance.diagonal().sqrt()
    np.testing.assert_allclose((scaled.mean(0) - mean) / scale, 0, atol=0.01)
    np.testing.assert_allclose((torch.cov(scaled.T) - covariance) / torch.outer(scale, scale), 0, atol=0.02)


def test_the_linear_prediction_before_training_is_the_autoregression_of_the_codes():
    """Codes of x(t) = A x(t - 1) + c + noise: the best prediction from averages is A x(t - 1) + c."""
    rng = np.random.default_rng(0)
    matrix, constant = np.array([[0.8, 0.1], [-0.2, 0.6]]), np.array([0.5, -0.3])
    codes = np.zeros((40, 400, 2))
    for index in range(1, 400):
        codes[:, index] = codes[:, index - 1] @ matrix.T + constant + 0.3 * rng.standard_normal((40, 2))
    step = PathStep(2, 3, 2)
    sequences = torch.from_numpy(codes[:, 100:].astype(np.float32))
    step.measure(sequences)
    np.testing.assert_allclose(step.mean, codes[:, 100:].mean((0, 1)), rtol=1e-4)
    averages = step._features(step.scale(sequences))[0]
    predicted = (step.linear(averages) * step.deviation + step.mean).detach().numpy()[:, 50:]
    best = codes[:, 150:] @ matrix.T + constant
    assert np.abs(predicted - best).mean() < 0.05 * np.abs(best - best.mean((0, 1))).mean()


def test_training_leaves_the_grains_as_they_are(folder, network):
    grains = trained(Run.open(folder / "grains"), "best")[0]
    for (name, before), after in zip(grains.state_dict().items(), network.grains.state_dict().values(), strict=True):
        assert torch.equal(before, after), name
    network.train()
    assert not network.grains.training
    network.eval()


def test_frames_are_those_of_the_grains_half_a_grain_apart(folder):
    frames = Run.open(folder / "path").recipe.frames
    assert (frames.sample_rate, frames.frame_length, frames.hop_length) == (RATE, 256, 128)


def test_codes_are_those_of_windows_half_a_grain_apart(folder, network):
    corpus = Corpus.open(folder / "corpus")
    samples = corpus.samples(corpus.clips("train")[0])
    excerpt = torch.from_numpy(np.array(samples[: 256 + 20 * 128]))
    codes = network.encode(excerpt[None])
    assert codes.shape == (1, 21, 3)
    with torch.no_grad():
        alone = network.grains.encode(excerpt[None, 7 * 128 : 7 * 128 + 256])
    np.testing.assert_allclose(codes[0, 7], alone[0], atol=1e-4)


def test_excerpts_of_training_begin_at_any_sample_and_stay_in_their_clips(folder, monkeypatch):
    monkeypatch.setattr(data_module, "recoloured", lambda samples, rate, rng: samples)
    corpus, recipe = Corpus.open(folder / "corpus"), Run.open(folder / "path").recipe
    length = excerpt_length(recipe)
    assert length == 256 + 20 * 128
    data = FAMILIES["grain-path"].data(corpus, recipe, folder)
    indices = np.arange(len(data))
    (plain,), (moved,) = data.examples(data.train, indices, None), data.batch(indices, np.random.default_rng(0))
    for row, moved_row, clip, first in zip(plain, moved, data.train.clip, data.train.starts, strict=True):
        samples = corpus.samples(data.train.clips[int(clip)])
        np.testing.assert_array_equal(row, samples[first : first + length])
        starts = range(first, min(first + 128, len(samples) - length + 1))
        assert any(np.array_equal(moved_row, samples[start : start + length]) for start in starts)
    assert not np.array_equal(plain, moved)
    assert len(excerpts(corpus, "val", length, length)) >= 1


def test_training_excerpts_have_other_gains_and_tilts_and_no_other_change():
    """A filter of zero phase: gain and tilt explain the spectrum's change between 100 Hz and the top."""
    sounds = np.random.default_rng(0).standard_normal((40, 8000)).astype(np.float32)
    coloured = recoloured(sounds, 8000, np.random.default_rng(1))
    ratios = np.fft.rfft(coloured)[:, 100:3990] / np.fft.rfft(sounds)[:, 100:3990]
    np.testing.assert_allclose(ratios.imag, 0, atol=2e-2)
    octaves = np.log2(np.arange(100, 3990) / 1000.0)
    tilts_db, gains_db = np.polynomial.polynomial.polyfit(octaves, 20 * np.log10(np.abs(ratios.T)), 1)[::-1]
    assert -12.1 < gains_db.min() < -9
    assert 3 < gains_db.max() < 6.1
    assert -3.1 < tilts_db.min() < -2
    assert 2 < tilts_db.max() < 3.1


def test_a_walk_goes_on_from_its_codes_and_depends_on_the_generator_alone(network):
    codes = torch.randn(2, 6, 3)
    walks = [network.walk(codes, 9, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert walks[0].shape == (2, 9, 3)
    assert torch.equal(walks[0], walks[1])
    assert not torch.equal(walks[0], walks[2])


def test_other_runs_and_short_recordings_are_refused(folder, tmp_path):
    recipe = load_recipe("grain-path", [*PATHS, "network.steps=200"])
    with pytest.raises(UserError, match=r"no audible training clip of 25856 samples.*network\.steps 200"):
        start(recipe, folder / "corpus", tmp_path / "run", CPU, {"grains": folder / "grains"})
    other_rate = tmp_path / "other-rate"
    build([folder / "sounds"], other_rate, rate=16_000)
    with pytest.raises(UserError, match=r"wants 8000; build it with --rate 8000, as the run that it is built on$"):
        start(load_recipe("grain-path", list(PATHS)), other_rate, tmp_path / "run", CPU, {"grains": folder / "grains"})
    with pytest.raises(UserError, match="--grains is a run of grain-path"):
        start(load_recipe("grain-path"), folder / "corpus", tmp_path / "run", CPU, {"grains": folder / "path"})
    with pytest.raises(UserError, match="built on grains, given is none"):
        start(load_recipe("grain-path"), folder / "corpus", tmp_path / "run", CPU)
