"""Copies are as long as they were made."""

import numpy as np
import pytest
from timbrel.train.metrics.streams import _longest_match, longest_verbatim

RATE, BEAT = 11025, 4096


def clip(seed, beats=8):
    """Noise whose colour and level change every quarter of a beat."""
    rng, parts = np.random.default_rng(seed), []
    for _ in range(4 * beats):
        colour = rng.standard_normal(24) * np.exp(-rng.uniform(0, 1) * np.arange(24))
        parts.append(rng.uniform(0.02, 0.2) * np.convolve(rng.standard_normal(BEAT // 4), colour, "same"))
    return np.concatenate(parts).astype(np.float32)


@pytest.fixture(scope="module")
def clips():
    return [clip(seed) for seed in range(3)]


def test_a_clip_copies_itself_wholly_and_another_does_not(clips):
    assert longest_verbatim(clips[1], clips, RATE, BEAT) == pytest.approx((8, 8), abs=0.07)
    other = longest_verbatim(clip(9), clips, RATE, BEAT)
    assert other.waveform <= 0.25
    assert other.levels <= 0.5


def test_a_stretch_that_was_put_into_another_sound_is_found_at_its_length(clips):
    sound = clip(9)
    sound[2 * BEAT + 300 : 5 * BEAT + 300] = 0.3 * clips[2][BEAT + 777 : 4 * BEAT + 777]
    assert longest_verbatim(sound, clips, RATE, BEAT).waveform == pytest.approx(3, abs=0.25)
    sound[3 * BEAT + 300 : 4 * BEAT] = clip(11)[: BEAT - 300]
    assert longest_verbatim(sound, clips, RATE, BEAT).waveform == pytest.approx(1, abs=0.25)


def test_a_copy_goes_on_over_the_end_of_a_loop(clips):
    around = np.roll(np.concatenate([clips[0], clips[0]]), 3 * BEAT)[: 12 * BEAT]
    assert longest_verbatim(around, clips, RATE, BEAT) == pytest.approx((12, 12), abs=0.07)


def test_other_phases_of_the_same_levels_are_a_copy_of_levels_alone(clips):
    spectra = np.fft.rfft(clips[0].reshape(-1, 256), axis=1)
    turned = np.fft.irfft(spectra * np.exp(2j), axis=1).reshape(-1).astype(np.float32)
    found = longest_verbatim(turned, clips, RATE, BEAT)
    assert found.waveform < 0.5
    assert found.levels > 4


def test_noise_over_a_copy_ends_it_where_correlation_falls_under_95_percent(clips):
    """With noise of a share of power p, the correlation is 1 / sqrt(1 + p): 0.95 at p = 0.108."""
    rng = np.random.default_rng(1)
    level = np.repeat(np.sqrt(np.square(clips[0].reshape(-1, BEAT // 4)).mean(1)), BEAT // 4)
    noise = rng.standard_normal(len(level)) * level
    under, over = (clips[0] + np.sqrt(power) * noise for power in (0.05, 0.2))
    assert longest_verbatim(under.astype(np.float32), clips, RATE, BEAT).waveform > 7
    assert longest_verbatim(over.astype(np.float32), clips, RATE, BEAT).waveform < 0.5


def test_at_a_high_rate_copies_are_found_as_at_a_low_one(clips):
    from scipy.signal import resample_poly

    high = [resample_poly(one, 4, 1).astype(np.float32) for one in clips[:2]]
    sound = np.concatenate([high[1][8 * BEAT : 20 * BEAT], high[0][: 8 * BEAT]])
    assert longest_verbatim(sound, high, 4 * RATE, 4 * BEAT).waveform == pytest.approx(3, abs=0.13)


def test_the_longest_run_is_that_of_all_pairs_of_ends():
    rng = np.random.default_rng(5)
    for _ in range(50):
        own, its = rng.uniform(0.5, 1, (2, 12))
        both = np.sqrt(own * its) * rng.choice([0.5, 0.9, 0.96, 1.0], 12)
        alike = both >= 0.95 * np.sqrt(own * its)
        expected = max(
            (
                stop - start
                for start in range(12)
                for stop in range(start + 1, 13)
                if alike[start]
                and alike[stop - 1]
                and both[start:stop].sum() >= 0.95 * np.sqrt(own[start:stop].sum() * its[start:stop].sum())
            ),
            default=0,
        )
        assert _longest_match(own, its, both) == expected
