"""Chroma networks that see levels and give logarithms: what they begin from, and losses in dB, by numpy and librosa."""

import librosa
import numpy as np
import pytest
import torch

from .chroma_networks import BATCH, SMALL, batch, generator, network_of


class Frames:
    """Training frames as `Network.initialise` asks for them: few of each pitch class but B, of which there is none."""

    def __init__(self, bins=513):
        self.frames, self.chroma, *_ = batch(bins)
        self.frames[:, 400:] = 0  # soft as silence
        self.chroma = torch.eye(12)[torch.arange(BATCH) % 11]

    def __len__(self):
        return len(self.frames)

    def batch(self, numbers, rng):
        return self.frames[numbers], self.chroma[numbers], None, None


def begun(*changes):
    network = network_of("tuned-8", *SMALL, *changes)
    network.initialise(Frames())
    return network


def band_levels(frames):
    """The share of power in 64 mel bands, in dB, in float64."""
    power = frames.double().numpy() ** 2
    bands = librosa.filters.mel(sr=44100, n_fft=1024, n_mels=64, norm=None, dtype=np.float64)
    return 10 * np.log10(power @ bands.T / power.sum(1, keepdims=True) + 1e-8)


def test_levels_are_those_of_librosas_bands_whatever_the_gain():
    network, frames = network_of("tuned-8", *SMALL), Frames().frames
    np.testing.assert_allclose(network.levels(frames), band_levels(frames), atol=1e-3)
    torch.testing.assert_close(network.levels(frames), network.levels(0.1 * frames), atol=1e-3, rtol=0)
    assert torch.all(network.levels(torch.zeros(1, 513)) == -80)


def test_groups_are_levels_of_four_bins_each():
    network, frames = network_of("tuned-8", *SMALL), Frames().frames
    groups = [np.mean(frames.double().numpy()[:, i : i + 4] ** 2, axis=1) for i in range(0, 512, 4)]
    np.testing.assert_allclose(network.levels.groups(frames), 10 * np.log10(np.stack(groups, 1) + 1e-8), atol=1e-3)


def test_what_is_seen_varies_alike_in_all_bands():
    network, data = begun("network.augmentation=none"), Frames()
    seen = []
    network.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network.encode(data.frames, data.chroma)
    assert seen[0].shape == (BATCH, 64)
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(64), atol=1e-3, rtol=0)
    levels = band_levels(data.frames)
    np.testing.assert_allclose(
        seen[0].std(0, correction=0), np.minimum(levels.std(0), 1), atol=1e-3
    )  # of a dB at least


def test_a_decoder_begins_from_the_geometric_mean_frame_of_each_key():
    network, data = begun(), Frames()
    torch.nn.init.zeros_(network.output.weight)
    logarithms = np.log(np.maximum(data.frames.double().numpy(), 1e-4))
    for key in range(12):
        of_key = logarithms[data.chroma[:, key] > 0] if key < 11 else logarithms
        decoded = network.decode(torch.rand(2, 8), torch.eye(12)[[key, key]])
        np.testing.assert_allclose(decoded[1].detach(), np.exp(of_key.mean(0)), rtol=1e-4)


def test_what_is_decoded_is_added_to_the_mean_frame_as_logarithms():
    network, codes, chroma = begun(), torch.rand(5, 8), torch.eye(12)[:5]
    with torch.no_grad():
        decoded = network.decode(codes, chroma)
        added = network.output(network.decoder(torch.cat([codes, chroma], 1)))
        torch.nn.init.zeros_(network.output.weight)
        mean = network.decode(codes, chroma)
    torch.testing.assert_close(decoded, (mean.log() + added).clamp_max(1).exp())


def test_no_code_decodes_to_what_overflows():
    network = begun()
    with torch.no_grad():
        network.output.bias += 200.0
        assert float(network.decode(1e4 * torch.ones(1, 8), torch.eye(12)[:1]).max()) == pytest.approx(np.e)


def test_without_a_skip_keys_do_not_change_what_is_decoded_in_levels():
    network, codes = begun("network.skip=false"), torch.rand(5, 8)
    assert torch.equal(network.decode(codes, torch.eye(12)[:5]), network.decode(codes, torch.eye(12)[[7] * 5]))


@pytest.mark.parametrize("domain", ["level", "root"])
def test_level_losses_are_those_of_numpy(domain):
    network = network_of("tuned-8", *SMALL, f"network.domain={domain}")
    frames, chroma, targets, target_chroma = batch(513)
    with torch.no_grad():
        network.output.bias += 0.1
        terms = network("reconstruction", frames, chroma, targets, target_chroma, generator())
        decoded = network.decode(network.encode(frames, chroma), target_chroma)
        given, asked = (network.levels.groups(of).double().numpy() for of in (decoded, targets))
    apart = np.sqrt(np.square(band_levels(decoded) - band_levels(targets)).mean(1)).mean()
    assert float(terms["bands"]) == pytest.approx(apart, rel=1e-3)
    assert float(terms["groups"]) == pytest.approx(np.sqrt(np.square(given - asked).mean(1)).mean(), rel=1e-3)


@pytest.mark.parametrize("domain", ["level", "root"])
def test_the_slope_of_level_losses_is_finite_where_nothing_sounds_and_where_all_is_right(domain):
    network = network_of("tuned-8", *SMALL, f"network.domain={domain}")
    frames, chroma, _, target_chroma = batch(513)
    with torch.no_grad():
        decoded = network.decode(network.encode(frames, chroma), target_chroma)
    for targets in (torch.zeros(BATCH, 513), decoded):
        terms = network("reconstruction", frames, chroma, targets, target_chroma, generator())
        network.total(terms).backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
