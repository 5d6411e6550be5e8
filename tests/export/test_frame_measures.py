"""Distances between frames and figures of latents are what plain loops compute."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.export.measures import codes
from timbrel.export.measures import frames as measures

# ---- distances between frames


def naive(asked, decoded, clips, means):
    """The measures of some frames, by the book."""
    squares, spread = np.sum((asked - decoded) ** 2), np.sum((asked - means) ** 2)
    levels = [20 * np.log10(np.maximum(frames, 1e-4)) for frames in (asked, decoded)]
    return {
        "mean_square": squares / asked.size,
        "spectral_convergence_db": 20 * np.log10(np.linalg.norm(asked - decoded) / np.linalg.norm(asked)),
        "log_spectral_distance_db": np.mean([np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(*levels, strict=True)]),
        "relative_error": squares / spread,
    }


@given(st.integers(0, 2**31), st.lists(st.sampled_from([3, 5, 9]), min_size=1, max_size=12))
def test_measures_are_those_of_the_book_over_all_and_over_clips(seed, clips):
    rng, clips = np.random.default_rng(seed), np.array(clips)
    asked, decoded, means = rng.random((3, len(clips), 17)).astype(np.float32)
    found = measures.reconstruction(asked, decoded, clips, means)
    each = [naive(*(part[clips == clip] for part in (asked, decoded, clips, means))) for clip in np.unique(clips)]
    for name, value in naive(asked, decoded, clips, means).items():
        values = [clip[name] for clip in each]
        wanted = {"value": value, "mean": np.mean(values), "deviation": np.std(values)}
        assert found[name] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_frames_at_half_level_are_six_db_off_by_both_spectral_measures():
    asked = np.random.default_rng(0).uniform(0.1, 1, (5, 9)).astype(np.float32)
    found = measures.reconstruction(asked, asked / 2, np.zeros(5, np.int64), 0 * asked)
    assert found["spectral_convergence_db"]["value"] == pytest.approx(-6.0206, abs=1e-3)
    assert found["log_spectral_distance_db"]["value"] == pytest.approx(6.0206, abs=1e-3)
    assert found["relative_error"]["value"] == pytest.approx(0.25, rel=1e-5)


def test_identical_frames_are_nothing_apart_and_finite():
    asked = np.random.default_rng(0).random((4, 9)).astype(np.float32)
    found = measures.reconstruction(asked, asked, np.arange(4), 0 * asked)
    assert [found[name]["value"] for name in found] == [0, measures.PERFECT_DB, 0, 0]


def test_levels_below_minus_80_db_do_not_count():
    asked = np.array([[1.0, 1e-5]], np.float32)
    found = measures.reconstruction(asked, np.array([[1.0, 0.0]], np.float32), np.zeros(1, np.int64), 0 * asked)
    assert found["log_spectral_distance_db"]["value"] == 0


def test_mean_spectra_are_those_of_each_class_and_of_all_for_a_class_without_frames():
    spectra = np.random.default_rng(0).random((6, 4)).astype(np.float32)
    means = measures.mean_spectra(spectra, np.array([0, 0, 5, 5, 5, 11]))
    assert means[0] == pytest.approx(spectra[:2].mean(0))
    assert means[5] == pytest.approx(spectra[2:5].mean(0))
    assert means[3] == pytest.approx(spectra.mean(0))


# ---- latents


def test_latent_figures_are_numpys_and_name_the_dead():
    rng = np.random.default_rng(1)
    latents = rng.normal(0.5, 0.2, (500, 4)).astype(np.float32)
    latents[:, 1] = latents[:, 0] * -0.5 + 0.05 * latents[:, 1]
    latents[:, 3] = 0.25 + 1e-5 * latents[:, 3]
    found = codes.latent_figures(latents, None)
    for i, dimension in enumerate(found["dimensions"]):
        low, high = np.quantile(latents[:, i], [0.01, 0.99])
        wanted = {"low": low, "high": high, "mean": latents[:, i].mean(), "std": latents[:, i].std()}
        assert dimension == pytest.approx({**wanted, "dead": i == 3}, rel=1e-3)
    assert np.array(found["correlation"])[:3, :3] == pytest.approx(np.corrcoef(latents[:, :3].T), abs=1e-6)
    assert found["correlation"][3] == [0, 0, 0, 1]
    assert found["largest_correlation"] == pytest.approx(abs(np.corrcoef(latents[:, 0], latents[:, 1])[0, 1]))


def test_a_latent_covered_by_its_own_noise_is_dead():
    latents = np.random.default_rng(1).normal(0, 0.1, (100, 2)).astype(np.float32)
    found = codes.latent_figures(latents, np.array([0.001, 1.5], np.float32))
    assert [dimension["dead"] for dimension in found["dimensions"]] == [True, False]
