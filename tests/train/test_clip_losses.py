"""What an autoencoder of clips is trained by: distances in dB, as the measures of clips have them."""

import numpy as np
import pytest
import torch
from timbrel.train.families.clip import features
from timbrel.train.families.clip.features import (
    SpreadLoss,
    envelope_distance,
    pooled,
    rms_level_distance,
    sliced_wasserstein,
    sounding,
)
from timbrel.train.metrics.clips import frechet


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        ([0.0, -10.0], [3.0, -6.0], np.sqrt((9 + 16) / 2)),
        ([0.0, -50.0], [3.0, -45.0], np.sqrt((9 + 0.1 * 25) / 1.1)),  # more than 40 dB down weighs a tenth
        ([0.0, -200.0], [0.0, -80.0], 0),  # 80 dB down all is silence
        ([0.0, -200.0], [0.0, -300.0], np.sqrt(0.1 * 22**2 / 1.1)),  # and a tenth of what lies below counts
        ([0.0, -70.0], [0.0, -180.0], np.sqrt(0.1 * 20**2 / 1.1)),
        ([20.0, -20.1], [20.0, -10.1], np.sqrt(0.1 * 100 / 1.1)),
        ([20.0, -20.0], [20.0, -10.0], np.sqrt(0.1 * 100 / 1.1)),
        ([20.0, -19.9], [20.0, -9.9], np.sqrt(100 / 2)),
    ],
)
def test_levels_are_apart_by_their_weighted_root_mean_square(asked, given, expected):
    found = rms_level_distance(torch.tensor([given]), torch.tensor([asked]))
    assert float(found) == pytest.approx(expected, abs=2e-3)
    both = rms_level_distance(torch.tensor([given, [5.0, 0.0]]), torch.tensor([asked, [5.0, 0.0]]))
    assert float(both) == pytest.approx(expected / 2, abs=2e-3)


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        ([0.0, -10.0], [0.0, -10.0], 0),
        ([0.0, -10.0], [3.0, -6.0], np.sqrt((9 + 16) / 2)),  # gain counts
        ([0.0, -45.0], [0.0, -41.0], np.sqrt(16 / 2)),  # what is soft counts as much
        ([0.0, -90.0, -90.0], [4.0, -50.0, -50.0], 4),  # but not what neither is heard in
        ([0.0, -90.0], [0.0, -44.0], np.sqrt(36 / 2)),  # what is added counts from 50 dB down on
        ([0.0, -44.0], [0.0, -90.0], np.sqrt((6 + 0.1 * 40) ** 2 / 2)),  # and what is missing, and a tenth of the rest
    ],
)
def test_courses_of_loudness_are_apart_as_the_envelope_distance_has_it(asked, given, expected):
    assert float(envelope_distance(torch.tensor([given]), torch.tensor([asked]))) == pytest.approx(expected, abs=2e-3)
    soft = [-60.0] * len(asked)  # heard all the same: each clip counts from its own loudest on
    both = envelope_distance(torch.tensor([given, [level + 2 for level in soft]]), torch.tensor([asked, soft]))
    assert float(both) == pytest.approx((expected + 2) / 2, abs=2e-3)


def test_ten_milliseconds_together_have_the_mean_power():
    levels = torch.log(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]))
    expected = [10 * np.log10((1 + 4 + 9 + 16 + 25) / 5), 10 * np.log10((4 + 9 + 16 + 25 + 36) / 5)]
    assert pooled(levels)[0].numpy() == pytest.approx(expected, abs=1e-4)


def test_spectra_that_sound_are_those_within_40_db_of_a_recordings_loudest():
    mel = torch.tensor([[[0.0, -60.0], [-50.0, -45.0]], [[-39.0, -70.0], [-90.0, -40.0]]])
    assert sounding(mel).tolist() == [[0.0, -40.0], [-39.0, -40.0]]


def test_spectra_are_as_far_from_recordings_as_the_frechet_distance_says():
    rng = np.random.default_rng(0)
    recordings, others = (rng.standard_normal((400, 6)) @ rng.standard_normal((6, 6)) + shift for shift in (0, 2))
    spread = SpreadLoss(6)
    spread.measure(torch.from_numpy(recordings).float())
    found = float(spread.distance(torch.from_numpy(others).float()))
    assert found == pytest.approx(np.sqrt(frechet(recordings, others) + 1), rel=1e-3)
    assert float(spread.distance(torch.from_numpy(recordings).float())) == pytest.approx(1, abs=0.01)


def test_the_spread_of_few_spectra_is_that_of_a_sample():
    """By n - 1: among four, n would make it a quarter smaller."""
    rng = np.random.default_rng(0)
    recordings, few = 5 * rng.standard_normal((400, 2)), 5 * rng.standard_normal((4, 2))
    spread = SpreadLoss(2)
    spread.measure(torch.from_numpy(recordings).float())
    for some in (few, few[:2]):
        found = float(spread.distance(torch.from_numpy(some).float()))
        assert found == pytest.approx(np.sqrt(frechet(recordings, some) + 1), rel=1e-3)


def test_spectra_that_are_too_dull_are_sharpened():
    """Each step away from the mean, as long as they lie nearer to it than recordings do."""
    torch.manual_seed(0)
    recordings = 5 * torch.randn(500, 4)
    spread = SpreadLoss(4)
    spread.measure(recordings)
    dull = (0.5 * recordings).requires_grad_()
    spread.distance(dull).backward()
    assert dull.grad is not None
    assert ((dull.grad * dull).sum(1) < 0).float().mean() > 0.95
    assert float(spread.distance(dull[:1])) == 0


def test_clips_are_unlike_by_the_mean_square_of_sorted_differences_in_directions():
    """All directions of a common shift see the part of it that lies in them: on average its mean square."""
    mel = -20 * torch.rand(6, 9, 40, generator=torch.Generator().manual_seed(1))
    mel[:, 0, 0] = 0
    assert float(sliced_wasserstein(mel, mel.flip(0), torch.Generator().manual_seed(2))) < 0.3
    shifted = mel - 6
    shifted[:, 0, 0] = 0
    assert float(sliced_wasserstein(shifted, mel, torch.Generator().manual_seed(2))) == pytest.approx(6, rel=0.2)
    softer = mel - 6 * torch.arange(6)[:, None, None]
    assert float(sliced_wasserstein(softer, mel, torch.Generator().manual_seed(2))) < 0.3  # each is as loud as any


def test_of_clips_that_are_compared_a_sample_is_drawn_that_follows_from_the_generator(monkeypatch):
    mel = -20 * torch.rand(6, 9, 40, generator=torch.Generator().manual_seed(1))
    found = [float(sliced_wasserstein(mel, mel[:2], torch.Generator().manual_seed(seed))) for seed in (2, 2, 3)]
    assert found[0] == found[1] != found[2]
    monkeypatch.setattr(features, "MOST_SPECTRA", 2)
    # Two of 54 are not two others of them.
    assert float(sliced_wasserstein(mel, mel, torch.Generator().manual_seed(2))) > 1
