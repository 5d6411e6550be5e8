"""Turned code spaces: the same frames, with brightness and noise on latents 0 and 1."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timbrel.export.families.partials import PartialsDecoder
from timbrel.export.graphs import trace
from timbrel.export.knobs.code_turn import DEVIATION, MIDDLE, CodeTurn, code_turn
from timbrel.export.knobs.effects import NAMES, measure_knobs
from timbrel.export.knobs.naming import in_order
from timbrel.host.voice.network import network_of as known_network
from timbrel.train.families.partials.network import PartialsAutoencoder
from timbrel.train.families.recipes import load_recipe

from ...train.chroma_networks import SMALL, network_of
from .test_ordering import ground

BRIGHTNESS, NOISE = NAMES.index("brightness"), NAMES.index("noise")


class Mixed:
    """The decoder of `ground`, whose latents a rotation mixes."""

    def __init__(self, network, mixing):
        self.network, self.mixing = network, mixing
        self.levels = network.levels

    def decode(self, codes, chroma):
        return self.network.decode(MIDDLE + (codes - MIDDLE) @ self.mixing, chroma)


def mixed_ground():
    """Codes in which both qualities move along slanting directions."""
    plain = ground(256)
    mixing, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    return replace(plain, network=Mixed(plain.network, torch.from_numpy(mixing).float()))


def turned(probe):
    turn = code_turn(probe)
    back = torch.from_numpy(np.linalg.inv(turn.matrix)).float()
    offset = torch.from_numpy(turn.offset).float()

    class Turned:
        levels = staticmethod(probe.network.levels)

        def decode(self, codes, chroma):
            return probe.network.decode((codes - offset) @ back.T, chroma)

    codes = probe.codes @ torch.from_numpy(turn.matrix).float().T + offset
    low, high = torch.from_numpy(np.percentile(codes.numpy(), (1, 99), axis=0)).float()
    return replace(probe, codes=codes, low=low, high=high, network=Turned())


def test_the_first_latent_raises_brightness_and_the_second_noise_alone():
    effect = measure_knobs(turned(mixed_ground()))
    assert effect.share[0, BRIGHTNESS] > 0.97
    assert effect.share[1, NOISE] > 0.97
    assert abs(effect.correlation[1, BRIGHTNESS]) < 0.2
    assert effect.correlation[0, BRIGHTNESS] > np.abs(effect.correlation[1:, BRIGHTNESS]).max()


def test_turned_latents_have_one_mean_and_deviation_and_the_turn_is_a_rotation_in_deviations():
    probe = mixed_ground()
    turn = code_turn(probe)
    codes = probe.codes.double().numpy()
    turned_codes = codes @ turn.matrix.T + turn.offset
    np.testing.assert_allclose(turned_codes.mean(0), MIDDLE, atol=1e-9)
    np.testing.assert_allclose(turned_codes.std(0), DEVIATION, rtol=1e-9)
    axes = turn.matrix * codes.std(0)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    np.testing.assert_allclose(axes @ axes.T, np.eye(4), atol=1e-9)


def test_a_decoder_that_ignores_its_codes_leaves_them_as_they_are_but_for_the_scale():
    probe = ground()

    class Constant:
        levels = staticmethod(probe.network.levels)

        def decode(self, codes, chroma):
            return probe.network.decode(torch.full_like(codes, MIDDLE), chroma)

    turn = code_turn(replace(probe, network=Constant()))
    assert np.count_nonzero(np.abs(turn.matrix) > 1e-9) == 4


def test_codes_that_do_not_vary_do_not_vary_after_the_turn():
    probe = ground()
    codes = MIDDLE + 1e-6 * probe.codes
    turn = code_turn(replace(probe, codes=codes))
    assert (codes.double().numpy() @ turn.matrix.T).std(0).max() < 1e-5


def some_turn(latents):
    rng = np.random.default_rng(0)
    turn = CodeTurn(rng.standard_normal((latents, latents)) + 3 * np.eye(latents), rng.standard_normal(latents))
    return turn.sorted(rng.permutation(latents), np.arange(latents) % 3 == 0)


@pytest.mark.parametrize("augmentation", ["chroma", "difference"])
def test_a_turned_network_of_chroma_sounds_the_same(augmentation):
    network = network_of("tuned-8", *SMALL, f"network.augmentation={augmentation}").eval()
    turn = some_turn(8)
    frames, chroma = torch.rand(5, 513), torch.eye(12)[:5]
    same_sound(network, turn, (frames, chroma), chroma)


def test_a_turned_network_of_partials_sounds_the_same():
    recipe = load_recipe(
        "tuned-partials", ["network.encoder=[64]", "network.decoder=[64,64]", "frames.low=40", "frames.high=80"]
    )
    torch.manual_seed(0)
    network = PartialsAutoencoder(recipe).eval()
    rows = -60 * torch.rand(5, recipe.frames.harmonics + recipe.frames.bands)
    pitches = torch.linspace(40, 80, 5)
    same_sound(network, some_turn(recipe.network.latents), (rows, pitches), pitches)


def test_the_core_knows_the_graph_of_a_turned_decoder_and_reads_its_turned_weights():
    layers = ["network.encoder=[64]", "network.decoder=[64,64,64]"]
    recipe = load_recipe("tuned-partials", [*layers, "frames.low=40", "frames.high=80"])
    network = PartialsAutoencoder(recipe)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)  # the exporter leaves out an addition of 0
    network = some_turn(recipe.network.latents).of(network)
    inputs = {"latent": torch.rand(3, recipe.network.latents), "pitch": 60 + torch.rand(3, 1)}
    graph = trace(PartialsDecoder(network), inputs, ["frame"], "voice")
    found = known_network(SimpleNamespace(read_bytes=graph.SerializeToString))
    first_layer = network.decoder[0]
    np.testing.assert_array_equal(found.weights[0], first_layer.weight.T.detach().numpy())
    np.testing.assert_array_equal(found.biases[0], first_layer.bias.detach().numpy())


@torch.no_grad()
def same_sound(network, turn, frames, condition):
    other = turn.of(network)
    codes, turned_codes = network.encode(*frames), other.encode(*frames)
    expected = codes.double().numpy() @ turn.matrix.T + turn.offset
    np.testing.assert_allclose(turned_codes.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(
        other.decode(turned_codes, condition), network.decode(codes, condition), rtol=1e-4, atol=1e-5
    )


def test_a_named_knob_that_lowers_its_quality_is_inverted():
    order, flipped = np.array([1, 0]), np.array([True, False])
    turn = CodeTurn(np.eye(2), np.zeros(2)).sorted(order, flipped)
    np.testing.assert_allclose(turn.matrix @ [0.2, 0.7] + turn.offset, [0.3, 0.2])


def test_latents_are_named_brightness_and_noise_in_this_order():
    probe = mixed_ground()
    mixing = probe.network.mixing

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = torch.nn.Sequential(torch.nn.Linear(4, 4))
            self.rotation = torch.nn.Identity()
            with torch.no_grad():
                self.decoder[0].weight.copy_(mixing.T)
                self.decoder[0].bias.copy_(MIDDLE - MIDDLE * mixing.sum(0))

        def decode(self, codes, chroma):
            return probe.network.network.decode(self.decoder(codes), chroma)

        levels = staticmethod(probe.network.levels)

    def ground_of(network):
        codes = network.rotation(probe.codes).detach()
        low, high = torch.from_numpy(np.percentile(codes.numpy(), (1, 99), axis=0)).float()
        return replace(probe, codes=codes, low=low, high=high, network=network)

    assert in_order(Network(), ground_of).names[:2] == ["brightness", "noise"]
