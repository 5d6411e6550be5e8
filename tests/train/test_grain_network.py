"""Autoencoders of grains have the publication's layers, give what the contract wants, and learn what they should."""

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from timbrel.train.families.grain.data import grains, overlapped
from timbrel.train.families.grain.network import GrainAutoencoder, NoiseDomain, Whitening, _hats
from timbrel.train.families.recipes import load_recipe, shipped_recipes
from timbrel.train.network import Objective

GRAINS = [name for name in shipped_recipes() if load_recipe(name).family == "grain"]
RATE, LENGTH = 22050, 1002
TINY = ["network.hidden=[16]", "network.latents=3"]


def network_of(name, *changes):
    torch.manual_seed(0)
    return GrainAutoencoder(load_recipe(name, list(changes)))


def widths(layers):
    return [(layer.in_features, layer.out_features) for layer in layers if isinstance(layer, torch.nn.Linear)]


def noise(rows, level=0.1, seed=0):
    return torch.from_numpy((level * np.random.default_rng(seed).standard_normal((rows, LENGTH))).astype(np.float32))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the publication's


def test_the_plain_autoencoder_has_the_posts_layers():
    network = network_of("grain-plain")
    assert widths(network.encoder) == [(1002, 1002), (1002, 10)]
    assert widths(network.decoder) == [(10, 1002), (1002, 1002)]
    assert network.objectives == (Objective("reconstruction"),)


def test_the_adversarial_autoencoder_has_the_posts_layers():
    network = network_of("grain-adversarial")
    assert widths(network.encoder) == [(1002, 1000), (1000, 1000), (1000, 10)]
    assert widths(network.decoder) == [(10, 1000), (1000, 1000), (1000, 1002)]
    assert widths(network.adjudicator) == [(10, 1000), (1000, 1000), (1000, 1)]
    assert network.objectives == (Objective("reconstruction"), Objective("adjudication"), Objective("persuasion"))
    assert network.settings.deviation == 5
    assert load_recipe("grain-adversarial").training.steps == 30000


def test_the_spectral_autoencoder_sees_magnitudes_and_phases_whose_steps_are_the_least_there_are():
    network = network_of("grain-spectral")
    windows = noise(20)
    features = network.domain.features(windows).double().numpy()
    spectrum = np.fft.rfft(windows.numpy().astype(np.float64))
    scale = network.domain.magnitude_scale, network.domain.phase_scale
    np.testing.assert_allclose(features[:, :502] * scale[0], np.abs(spectrum), rtol=1e-3, atol=1e-4)
    phases = features[:, 502:] * scale[1]
    np.testing.assert_allclose(np.exp(1j * phases), np.exp(1j * np.angle(spectrum)), atol=1e-3)
    assert np.abs(np.diff(phases)).max() < np.pi + 1e-3  # numpy's unwrap promises as much, and no method less
    far = np.mean(np.abs(np.diff(phases)) > np.pi / 2)
    assert far == pytest.approx(0.5, abs=0.03)  # of noise: the post's pi / 2 cannot be kept


def test_decoding_what_the_encoder_sees_gives_the_window_back():
    """Both ways of writing a window down lose nothing: only the bottleneck does."""
    windows = noise(5)
    for name in ("grain-plain", "grain-spectral"):
        recipe = load_recipe(name)
        domain = network_of(name).domain
        frames = domain.frame(domain.features(windows)).numpy()
        np.testing.assert_allclose(
            grains(frames, recipe.frames.frame_length, recipe.network.domain, None), windows.numpy(), atol=2e-3
        )


# ---- every recipe


@pytest.mark.parametrize("name", GRAINS)
def test_every_network_gives_frames_of_the_contracts_width_and_a_finite_loss_with_slopes(name):
    recipe = load_recipe(name)
    network = network_of(name)
    length = recipe.frames.frame_length
    windows = 0.1 * torch.randn(24, length, generator=generator())
    codes = network.encode(windows)
    assert codes.shape == (24, recipe.network.latents)
    bins = length // 2 + 1
    width = {"samples": length, "magnitude_phase": 2 * bins, "noise": bins + (recipe.network.envelope_points or 0)}
    frames = network.decode(codes)
    assert frames.shape == (24, width[recipe.network.domain])
    assert torch.isfinite(frames).all()
    for turn in network.objectives:
        network.zero_grad(set_to_none=True)
        network.total(network(turn.name, windows, generator())).backward()
        slopes = {part.split(".")[0] for part, p in network.named_parameters() if p.grad is not None}
        expected = {
            "reconstruction": {"encoder", "decoder"},
            "adjudication": {"adjudicator"},
            "persuasion": {"encoder"},
        }[turn.name]
        assert slopes == expected, turn


@given(st.sampled_from([64, 100, 250, 1002, 2048]), st.integers(1, 4))
def test_convolutions_fit_windows_of_any_length(length, layers):
    changes = [f"frames.frame_length={length}", "frames.hop_length=10", f"network.hidden={[4] * layers}"]
    network = network_of("grain-convolutional", *changes)
    windows = torch.zeros(3, length)
    assert network.decode(network.encode(windows)).shape == (3, length)


# ---- codes


@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0.01, 100))
def test_whitened_codes_have_mean_zero_and_covariance_one_whatever_comes_in(seed, latents, scale):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((latents, latents)) * scale + np.eye(latents)
    if np.linalg.cond(mixing) > 50:
        return
    codes = torch.from_numpy((rng.standard_normal((500, latents)) @ mixing + 3 * scale).astype(np.float32))
    layer = Whitening(latents)
    white = layer(codes).numpy()
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(latents), atol=0.05)


def test_what_a_whitening_layer_remembers_whitens_what_comes_later():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((4, 4))
    layer = Whitening(4)
    for _ in range(400):
        layer(torch.from_numpy((rng.standard_normal((100, 4)) @ mixing + 2).astype(np.float32)))
    layer.eval()
    later = layer(torch.from_numpy((rng.standard_normal((20000, 4)) @ mixing + 2).astype(np.float32))).numpy()
    np.testing.assert_allclose(later.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(later.T), np.eye(4), atol=0.08)


def test_what_one_latent_lacks_later_is_shared_by_all_whitened_ones():
    """As codes of unheard windows lack what the encoder knows of its training windows only."""
    layer = Whitening(5)
    for step in range(100):
        layer(torch.randn(200, 5, generator=generator(step)))
    layer.eval()
    later = torch.randn(20000, 5, generator=generator(100)) * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5])
    deviations = layer(later).std(0)
    assert deviations.min() > 0.85
    assert deviations.square().mean() == pytest.approx((4 + 0.25) / 5, abs=0.05)


def test_looking_at_codes_teaches_the_whitening_layer_nothing():
    layer = Whitening(3)
    with torch.no_grad():
        layer(torch.randn(100, 3, generator=generator()) + 5)
    assert torch.equal(layer.mean, torch.zeros(3))


def test_the_adjudicator_tells_codes_from_the_prior_and_the_encoder_learns_to_pass():
    """Codes on a circle are found out; then, persuaded, they spread."""
    network = network_of("grain-adversarial", "network.hidden=[32]", "network.adjudicator=[32]", "network.latents=2")
    windows = noise(256)
    network.adjudicator.requires_grad_(True)
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    told = []
    for step in range(150):
        loss = network.total(network("adjudication", windows, generator(step)))
        told.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert told[-1] <= told[0]
    before = network("persuasion", windows, generator())["adversarial"].item()
    for step in range(50):
        loss = network("persuasion", windows, generator(step))["adversarial"]
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert network("persuasion", windows, generator())["adversarial"].item() < before


# ---- the filter for noise


def test_periodograms_of_white_noise_are_its_power():
    domain = NoiseDomain(RATE, LENGTH, 80, 16)
    windows = noise(2000, level=0.3)
    assert domain._powers(windows, domain.window)[:, 2:-2].mean() == pytest.approx(0.09, rel=0.02)
    assert domain._short_powers(windows)[:, :, 2:-2].mean() == pytest.approx(0.09, rel=0.02)


def test_the_likelihood_is_least_at_the_filter_that_the_noise_came_through():
    """Fitted freely to noise through a known filter, levels come to that filter's, within a decibel."""
    domain = NoiseDomain(RATE, LENGTH, 20, 4)
    taps = scipy.signal.firwin2(65, [0, 0.1, 0.4, 1], [1, 1, 0.2, 0.1])
    white = np.random.default_rng(0).standard_normal((4000, LENGTH + 64)) * 0.1
    windows = torch.from_numpy(scipy.signal.lfilter(taps, 1, white)[:, 64:].astype(np.float32))
    decoded = torch.zeros(1, domain.output_width, requires_grad=True)
    adam = torch.optim.Adam([decoded], lr=0.04)
    for step in range(200):
        part = windows[step % 40 * 100 :][:100]
        loss = domain.compare(part, decoded.expand(100, -1))["likelihood"]
        adam.zero_grad()
        loss.backward()
        adam.step()
    magnitudes = domain.frame(decoded.detach())[0, :502].numpy()
    hz, response = scipy.signal.freqz(taps, worN=np.fft.rfftfreq(LENGTH, 1 / RATE), fs=RATE)
    wanted = 0.1 * np.sqrt(LENGTH) * np.abs(response)
    apart = 20 * np.log10(magnitudes / wanted)[(hz > 300) & (hz < 10000)]
    assert abs(apart.mean()) < 0.5
    assert np.abs(apart).max() < 2


def test_the_envelope_follows_where_a_burst_lies_in_the_grain():
    domain = NoiseDomain(RATE, LENGTH, 20, 16)
    burst = np.where((np.arange(LENGTH) > 600) & (np.arange(LENGTH) < 700), 1.0, 0.05)
    windows = noise(4000) * torch.from_numpy(burst.astype(np.float32))
    decoded = torch.zeros(1, domain.output_width, requires_grad=True)
    adam = torch.optim.Adam([decoded], lr=0.03)
    for step in range(300):
        part = windows[step % 40 * 100 :][:100]
        loss = domain.compare(part, decoded.expand(100, -1))["likelihood"]
        adam.zero_grad()
        loss.backward()
        adam.step()
    envelope = domain.frame(decoded.detach())[0, 502:].numpy()
    assert abs(int(envelope.argmax()) - 650 / LENGTH * 15) < 1
    assert envelope.max() > 4 * np.median(envelope)
    assert np.mean(np.square(envelope)) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("rate", "length"), [(44100, 1002), (192000, 64), (8000, 4096)])
def test_bands_narrower_than_a_bin_take_what_lies_around_them(rate, length):
    domain = NoiseDomain(rate, length, 80, 16)
    windows = torch.from_numpy((0.3 * np.random.default_rng(0).standard_normal((500, length))).astype(np.float32))
    features = domain.features(windows)
    assert torch.isfinite(features).all()
    level = domain._powers(windows, domain.window) @ domain.from_bins
    assert level[:, 40:].mean() == pytest.approx(0.09, rel=0.05)


def test_the_power_of_grains_is_the_frames():
    """What a frame says comes out of the noise: level of each bin, and envelope."""
    recipe = load_recipe("grain-noise")
    frame = np.concatenate([np.linspace(3, 1, 502), np.full(16, 1.0)]).astype(np.float32)
    sounds = grains(np.repeat(frame[None], 3000, 0), recipe.frames.frame_length, "noise", np.random.default_rng(0))
    power = np.square(np.abs(np.fft.rfft(sounds))).mean(0)
    np.testing.assert_allclose(np.sqrt(power[1:-1]), frame[1:501], rtol=0.08)


@given(st.integers(2, 30), st.floats(0, 1))
def test_hats_are_straight_lines_between_places(count, part):
    places = np.sort(np.random.default_rng(count).random(count)) + np.arange(count)
    at = np.array([places[0] + part * (places[-1] - places[0])])
    values = np.random.default_rng(1).random(count)
    weights = _hats(places, at)
    assert values @ weights == pytest.approx(np.interp(at, places, values))
    assert weights.sum() == pytest.approx(1)


def test_overlapped_grains_of_noise_keep_its_level():
    sounds = noise(400, level=0.2).numpy()
    for hop in (50, 100, 250):
        texture = overlapped(sounds, hop, "blackman")[LENGTH:-LENGTH]
        assert texture.std() == pytest.approx(0.2, rel=0.05)
