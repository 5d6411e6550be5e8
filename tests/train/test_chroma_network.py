"""The chroma network has the publication's shapes, Keras's start, and losses that agree with their closed forms."""

import numpy as np
import pytest
import torch
from timbrel.host.signal import chroma_bins
from timbrel.train.families.recipes import load_recipe, shipped_recipes
from timbrel.train.network import Adam, uniformity

from .chroma_networks import BATCH, SMALL, batch, generator, network_of

APPENDED = {"none": 0, "difference": 2048, "chroma": 12}  # numbers after the 2049 magnitudes


def by_hand(network, frames, chroma):
    """Latents and frames from the weights alone, in float64: equations 1, 2, 4 and 5 of the publication."""
    weights = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    settings = network.settings

    def dense(name, value):
        return value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def leaky(value):
        return np.where(value > 0, value, 0.1 * value)

    value, condition = frames.double().numpy(), chroma.double().numpy()
    if settings.augmentation == "difference":
        value = np.hstack([value, np.diff(value, axis=1)])
    elif settings.augmentation == "chroma":
        value = np.hstack([value, condition])
    for index in range(len(settings.hidden)):
        value = leaky(dense(f"encoder.{2 * index}", value))
    code = dense("bottleneck", value)
    latents = 1 / (1 + np.exp(-code)) if settings.bottleneck == "sigmoid" else leaky(code)
    value = np.hstack([latents, condition]) if settings.skip else latents
    for index in range(len(settings.hidden)):
        value = leaky(dense(f"decoder.{2 * index}", value))
    return latents, np.maximum(dense("output", value), 0)


# ---- shapes


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if name.startswith("chroma-")])
def test_layers_have_the_widths_of_the_publication(name):
    network = network_of(name)
    settings = network.settings
    n = settings.latents
    widths = [1024, 512, 256, 128, 64, 32, 16]
    encoder = [2049 + APPENDED[settings.augmentation], *widths, 2 * n if settings.variational else n]
    decoder = [n + (12 if settings.skip else 0), *reversed(widths), 2049]
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 2]
    inward = list(zip(encoder[1:], encoder[:-1], strict=True))
    outward = list(zip(decoder[1:], decoder[:-1], strict=True))
    assert shapes == [*inward, *outward]
    count = sum((inside + 1) * outside for outside, inside in [*inward, *outward])
    assert sum(p.numel() for p in network.parameters()) == count
    if name == "chroma-8":
        assert count == pytest.approx(5.6e6, rel=0.02)


@pytest.mark.parametrize("latents", [2, 3, 8])
@pytest.mark.parametrize("skip", ["true", "false"])
@pytest.mark.parametrize("augmentation", ["none", "difference", "chroma"])
def test_frames_become_latents_and_latents_frames(latents, skip, augmentation):
    changes = [f"network.latents={latents}", f"network.skip={skip}", f"network.augmentation={augmentation}"]
    network = network_of("chroma-8", *SMALL, *changes)
    frames, chroma, *_ = batch(513)
    codes = network.encode(frames, chroma)
    decoded = network.decode(codes, chroma)
    assert codes.shape == (BATCH, latents)
    assert decoded.shape == (BATCH, 513)
    assert decoded.min() >= 0
    assert network.conditioned == (skip == "true")


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["network.bottleneck=lrelu"],
        ["network.skip=false"],
        ["network.augmentation=none"],
        ["network.augmentation=difference", "network.latents=3"],
    ],
)
def test_the_network_computes_the_publications_equations(changes):
    network = network_of("chroma-8", *SMALL, *changes)
    frames, chroma, *_ = batch(513)
    with torch.no_grad():
        for parameter in network.parameters():  # biases too, and codes on both sides of zero
            parameter.add_(torch.randn(parameter.shape, generator=generator()) * 0.05)
        codes = network.encode(frames, chroma)
        decoded = network.decode(codes, chroma)
    latents, expected = by_hand(network, frames, chroma)
    np.testing.assert_allclose(codes, latents, atol=1e-5)
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
    assert np.std(expected) > 1e-3


def test_the_root_domain_sees_and_gives_square_roots_of_magnitudes():
    plain = network_of("chroma-8", *SMALL)
    root = network_of("chroma-8", *SMALL, "network.domain=root")
    frames, chroma, *_ = batch(513)
    with torch.no_grad():
        codes = plain.encode(frames.sqrt(), chroma)
        assert torch.equal(root.encode(frames, chroma), codes)
        torch.testing.assert_close(root.decode(codes, chroma), plain.decode(codes, chroma) ** 2)


def test_the_chroma_moves_a_conditioned_decoder_and_no_other():
    codes, one, two = torch.rand(5, 8), torch.eye(12)[[0] * 5], torch.eye(12)[[7] * 5]
    conditioned, free = network_of("chroma-8", *SMALL), network_of("chroma-8-noskip", *SMALL)
    assert not torch.allclose(conditioned.decode(codes, one), conditioned.decode(codes, two))
    assert torch.equal(free.decode(codes, one), free.decode(codes, two))


# ---- the start


@pytest.mark.parametrize("name", ["chroma-8", "chroma-2-lrelu", "tuned-8"])
def test_weights_start_as_glorots_and_biases_at_zero(name):
    """Glorot and Bengio 2010, equation 16: uniform on ±sqrt(6 / (inputs + outputs))."""
    for called, parameter in network_of(name).named_parameters():
        if parameter.ndim == 1 or called == "means":  # these are taken from the training frames
            assert torch.all(parameter == 0)
            continue
        bound = (6 / sum(parameter.shape)) ** 0.5
        assert parameter.abs().max() <= bound
        if parameter.numel() >= 512:
            assert parameter.abs().max() > 0.98 * bound
            assert float(parameter.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.1)


def test_the_seed_decides_the_start():
    one, two, other = (network_of("chroma-8", *SMALL, seed=seed).output.weight for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_latents_vary_from_the_start():
    network = network_of("chroma-8")
    frames, chroma, *_ = batch(2049)
    assert network.encode(frames, chroma).std(0).min() > 1e-3


# ---- losses


def test_square_losses_are_those_of_numpy():
    network = network_of("tuned-8", *SMALL, "loss.root_squares=1")
    frames, chroma, targets, target_chroma = batch(513)
    with torch.no_grad():
        terms = network("reconstruction", frames, chroma, targets, target_chroma, generator())
        decoded = network.decode(network.encode(frames, chroma), target_chroma).double().numpy()
    asked = targets.double().numpy()
    difference = decoded - asked
    roots = np.sqrt(decoded + 1e-6) - np.sqrt(asked + 1e-6)
    assert float(terms["mean_square"]) == pytest.approx(np.mean(difference**2), rel=1e-5)
    assert float(terms["squares"]) == pytest.approx(np.mean(np.sum(difference**2, axis=1)), rel=1e-5)
    assert float(terms["root_squares"]) == pytest.approx(np.mean(np.sum(roots**2, axis=1)), rel=1e-4)


def test_the_slope_of_the_root_loss_is_finite_where_nothing_sounds():
    network = network_of("tuned-8", *SMALL)
    frames, chroma, _, target_chroma = batch(513)
    terms = network("reconstruction", frames, chroma, torch.zeros(BATCH, 513), target_chroma, generator())
    network.total(terms).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_the_total_is_the_weighted_sum_of_the_terms():
    changes = ["loss.mean_square=2", "loss.squares=0.5", "loss.root_squares=0.25", "loss.uniformity=3"]
    network = network_of("tuned-8", *SMALL, *changes, "loss.consistency=0.125")
    with torch.no_grad():
        terms = network("reconstruction", *batch(513), generator())
    weights = {"mean_square": 2, "squares": 0.5, "root_squares": 0.25, "uniformity": 3, "consistency": 0.125}
    weights |= {"bands": 1, "groups": 0.5}
    assert set(terms) == set(weights)
    assert float(network.total(terms)) == pytest.approx(sum(w * float(terms[k]) for k, w in weights.items()), rel=1e-5)


def test_the_publications_loss_is_the_mean_square_alone():
    network = network_of("chroma-8", *SMALL)
    with torch.no_grad():
        terms = network("reconstruction", *batch(513), generator())
    assert float(network.total(terms)) == float(terms["mean_square"])


def test_the_divergence_is_that_of_torch_distributions():
    network = network_of("chroma-8-vae", *SMALL)
    frames, chroma, targets, target_chroma = batch(513)
    with torch.no_grad():
        network.bottleneck.bias.add_(torch.randn(16, generator=generator()))
        terms = network("reconstruction", frames, chroma, targets, target_chroma, generator())
        mean, log_variance = network.distribution(frames, chroma)
    normal = torch.distributions.Normal
    each = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0))
    assert float(terms["divergence"]) == pytest.approx(float(each.sum(1).mean()), rel=1e-5)
    total = terms["mean_square"] + 4.9e-4 * terms["divergence"]
    assert float(network.total(terms)) == pytest.approx(float(total), rel=1e-6)


def test_a_variational_network_decodes_draws_in_training_and_means_in_use():
    network = network_of("chroma-8-vae", *SMALL)
    frames, chroma, *_ = batch(513)
    with torch.no_grad():
        drawn = [network("reconstruction", frames, chroma, frames, chroma, generator(seed)) for seed in (0, 0, 1)]
    once, again, other = (float(terms["mean_square"]) for terms in drawn)
    assert once == again
    assert once != other
    assert torch.equal(network.encode(frames, chroma), network.distribution(frames, chroma)[0])
    assert network.encode(frames, chroma).shape == (BATCH, 8)


def test_draws_of_a_variational_network_have_the_mean_and_deviation_it_gives():
    network = network_of("chroma-8-vae", *SMALL)
    seen = []
    network.decode = lambda latents, chroma: seen.append(latents) or torch.zeros(len(latents), 513)
    frames, chroma, *_ = batch(513)
    with torch.no_grad():
        network.bottleneck.bias[:8] += 2.0  # the means
        network.bottleneck.bias[8:] += -1.0  # the logarithms of the variances
        mean, log_variance = network.distribution(frames, chroma)
        for seed in range(400):
            network("reconstruction", frames, chroma, frames, chroma, generator(seed))
    draws = torch.stack(seen)
    assert torch.allclose(draws.mean(0), mean, atol=0.2)
    assert torch.allclose(draws.std(0), (log_variance / 2).exp(), rtol=0.25)


def test_consistency_is_minus_the_log_of_the_share_of_the_asked_pitch_class():
    network = network_of("tuned-8", *SMALL)
    bins = torch.from_numpy(chroma_bins(44100, 1024).copy())
    numbers = [
        int(torch.argmax((bins[:, k] > 0.99) * torch.arange(513))) for k in range(12)
    ]  # a bin wholly of each class

    def obeys(latents, chroma):
        return torch.nn.functional.one_hot(torch.tensor(numbers)[chroma.argmax(1)], 513).float()

    def half(latents, chroma):  # as much energy in the class a fifth above
        return obeys(latents, chroma) + obeys(latents, chroma.roll(7, 1))

    for decode, share in ((obeys, 1.0), (half, 0.5)):
        network.decode = decode
        assert float(network._consistency(200, generator())) == pytest.approx(-np.log(share), abs=1e-3)
    network.decode = lambda latents, chroma: obeys(latents, chroma.roll(1, 1))
    assert float(network._consistency(200, generator())) == pytest.approx(-np.log(1e-6), rel=1e-3)
    network.decode = lambda latents, chroma: torch.zeros(len(latents), 513)
    assert np.isfinite(float(network._consistency(200, generator())))


def test_consistency_asks_every_pitch_class_at_codes_from_the_whole_cube():
    network = network_of("tuned-8", *SMALL)
    asked = []
    network.decode = lambda latents, chroma: asked.append((latents, chroma)) or torch.ones(len(latents), 513)
    network._consistency(2400, generator())
    latents, chroma = asked[0]
    assert chroma.sum(0).min() > 120
    assert latents.min() < 0.01
    assert latents.max() > 0.99
    assert torch.allclose(latents.mean(0), torch.full((8,), 0.5), atol=0.03)


def test_uniformity_is_the_sliced_wasserstein_distance_to_the_cube():
    """Of points at one place p it is, for direction d, the mean square of d·(u - p) over the cube: closed."""
    point = torch.full((20000, 8), 0.5)
    # Each coordinate has variance 1/12, and a direction has length 1.
    assert float(uniformity(point, generator())) == pytest.approx(1 / 12, rel=0.05)
    assert float(uniformity(torch.rand(20000, 8, generator=generator(5)), generator())) < 1e-3
    away = torch.rand(20000, 8, generator=generator(5)) + 2.0
    # Shifted by 2 in each coordinate: the mean square of 2 * sum(d), whose expectation over directions is 4.
    assert float(uniformity(away, generator())) == pytest.approx(4.0, rel=0.5)


def test_the_penalty_is_keras_kernel_regulariser():
    """Keras adds l2 * sum of squares of the kernels to the loss; its slope is 2 * l2 * weight, and biases have none."""
    network = network_of("chroma-8", *SMALL, "training.l2=0.01")
    recipe = load_recipe("chroma-8", [*SMALL, "training.l2=0.01"])
    twin = network_of("chroma-8", *SMALL)
    twin.load_state_dict(network.state_dict())
    ours = Adam().over(network, recipe.training)
    plain = torch.optim.Adam(twin.parameters(), lr=recipe.training.learning_rate)
    for step in range(3):
        data = batch(513, seed=step)
        network.total(network("reconstruction", *data, generator())).backward()
        penalty = 0.01 * sum(p.square().sum() for p in twin.parameters() if p.ndim == 2)
        (twin.total(twin("reconstruction", *data, generator())) + penalty).backward()
        for optimizer in (ours, plain):
            optimizer.step()
            optimizer.zero_grad()
    for one, two in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=2e-6, rtol=1e-4)


def test_adam_has_the_publications_rate_and_the_usual_momenta():
    recipe = load_recipe("chroma-8", SMALL)
    for group in Adam().over(network_of("chroma-8", *SMALL), recipe.training).param_groups:
        assert (group["lr"], group["betas"], group["amsgrad"]) == (5e-4, (0.9, 0.999), False)
