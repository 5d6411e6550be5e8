"""When a clip has risen: found as the measure finds it, and given to levels that rose at another moment."""

import numpy as np
import pytest
import torch
from timbrel.train.families.clip.features import ClipFeatures, attack_parts, impose_attack, loudness
from timbrel.train.metrics.clips import attack_seconds

RATE, LENGTH = 8000, 4096
PART = 16  # samples, 2 ms


def swelling(seconds, climb):
    """Noise that climbs, decibels a second, up to a moment and dies away after it."""
    time = np.arange(LENGTH) / RATE
    level = np.where(time < seconds, climb * (time - seconds), -60 * (time - seconds))
    return (10 ** (level / 20) * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def levels_of(clips):
    features = ClipFeatures(RATE, LENGTH)
    return features.parts(features(torch.from_numpy(clips))[0])[1]


def test_clips_have_risen_when_the_measure_of_attacks_says():
    clips = np.stack([swelling(seconds, climb) for seconds in (0.02, 0.1, 0.3) for climb in (2000, 300, 100)])
    found = attack_parts(levels_of(clips))[:, 0].numpy() * PART / RATE
    assert found == pytest.approx(attack_seconds(clips, RATE), abs=0.0031)


@pytest.mark.parametrize("late", [-4.0, -2.0, 0.0, 3.0, 6.0])
def test_levels_rise_where_they_are_told_to(late):
    levels = levels_of(np.stack([swelling(0.1, 100), swelling(0.3, 200), swelling(0.2, 150)]))
    asked = attack_parts(levels) + late
    given = impose_attack(levels, asked)
    assert attack_parts(given).numpy() == pytest.approx(asked.numpy(), abs=1)
    assert loudness(given).amax(1).numpy() == pytest.approx(loudness(levels).amax(1).numpy(), abs=0.12)  # a decibel
    far = (torch.arange(levels.shape[1]) - asked > 20).expand_as(levels)
    assert torch.equal(given[far], levels[far])


def test_levels_that_rise_as_they_are_told_stay_nearly_as_they_are():
    levels = levels_of(np.stack([swelling(0.1, 300), swelling(0.3, 1000)]))
    assert impose_attack(levels, attack_parts(levels)).numpy() == pytest.approx(levels.numpy(), abs=0.16)


def test_no_level_is_raised_by_more_than_two_decibels():
    levels = levels_of(swelling(0.3, 1000)[np.newaxis])
    change = impose_attack(levels, torch.tensor([[30.0]])) - levels
    assert float(change.max()) == pytest.approx(2 / 8.686, rel=1e-3)


def test_when_clips_have_risen_moves_without_a_jump():
    """Where loudness nearly reaches the threshold long before it does, rounding must not decide between two moments."""
    level = np.interp(np.arange(LENGTH) / RATE, [0, 0.1, 0.3, 0.4, 0.5], [-60, -3, -3, 0, -60])
    levels = torch.from_numpy((level / 8.686).reshape(1, -1, PART).mean(2)).float()
    steps = torch.linspace(-0.06, 0.06, 4001)[:, None]  # nepers: a decibel from end to end
    found = attack_parts(torch.where(torch.arange(levels.shape[1]) < 0.3 * RATE / PART, levels + steps, levels))[:, 0]
    assert float(found[0] - found[-1]) > 80  # parts
    assert float(found.diff().abs().max()) < 8
