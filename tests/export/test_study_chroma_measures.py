"""Measures of the chroma study: meshes, embeddings, latents and mismatches, against closed forms and torch."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from timbrel.export.reports import report
from timbrel.export.study import chroma_measures as study_measures
from timbrel.export.study import chroma_page
from timbrel.export.study.chroma_page import accounting
from timbrel.host.units import midi_to_hz
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe

from .chroma_studies import FRAME, SMALL


@pytest.mark.parametrize(("side", "latents"), [(2, 1), (5, 2), (3, 3), (2, 8)])
def test_the_mesh_is_the_product_of_even_steps(side, latents):
    expected = list(itertools.product(np.linspace(0, 1, side), repeat=latents))
    np.testing.assert_allclose(study_measures.mesh(side, latents), expected, atol=1e-7)


def test_mismatches_are_at_the_edges_or_not():
    side = 11
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    inside = ((abs(x - 0.5) < 0.25) & (abs(y - 0.5) < 0.25)).ravel()
    rim = ((x == 0) | (x == 1) | (y == 0) | (y == 1)).ravel()

    def found(wrong):
        return study_measures.accuracy({3: np.where(wrong, 4, 3).astype(np.int8)}, side, 2)

    assert found(rim)["edge"] == 1.0
    assert found(inside)["edge"] == 0.0
    assert found(rim | inside)["edge"] == pytest.approx(rim.sum() / (rim | inside).sum())
    assert found(rim)["overall"] == found(rim)["by_pitch_class"]["D#"] == pytest.approx(1 - rim.mean())
    assert found(np.zeros_like(rim))["edge"] is None


def test_a_uniform_embedding_fills_its_cells_and_a_line_does_not():
    uniform = np.random.default_rng(0).random((16384, 2)).astype(np.float32)
    assert study_measures.filled(uniform) > 0.99
    assert study_measures.filled(uniform[:, :1] * np.float32([1, -3])) <= 2 / study_measures.CELLS
    assert study_measures.filled(uniform * np.float32([1, 0])) == 0.0


def test_an_embedding_stands_beside_normal_noise_a_constant_code_and_principal_components():
    rng = np.random.default_rng(0)
    spectra = (rng.random((3000, 30)) ** 3 @ rng.random((30, 40))).astype(np.float32)
    codes = rng.random((3000, 2)).astype(np.float32)
    found = study_measures.embedding_floors(spectra, codes)
    assert list(found) == ["correlation", "filled"]
    normal = study_measures.filled(rng.standard_normal((3000, 2)).astype(np.float32))
    assert found["filled"]["floors"] == {"silence": 0, "noise": pytest.approx(normal, abs=0.02)}
    assert found["filled"]["rises"]
    scores = PCA(2, svd_solver="full").fit_transform(spectra)
    assert found["filled"]["references"]["components"] == pytest.approx(study_measures.filled(scores), abs=0.02)
    assert found["correlation"]["floors"]["silence"] == 0
    assert found["correlation"]["floors"]["noise"] < 0.1
    assert found["correlation"]["references"]["components"] == pytest.approx(0, abs=1e-3)
    assert not found["correlation"]["rises"]
    assert list(study_measures.embedding_floors(spectra, rng.random((3000, 3)).astype(np.float32))) == ["correlation"]


def test_a_page_names_embeddings_that_are_not_better_than_noise():
    codes = np.random.default_rng(0).random((3000, 2)).astype(np.float32)
    floored = study_measures.embedding_floors(np.random.default_rng(1).random((3000, 9)).astype(np.float32), codes)
    run = {"bounds": [[0, 1], [0, 1]], "latents": {"correlation": [[1, 0.5], [0.5, 1]], "largest_correlation": 0.5}}
    runs = {("octave", "chroma-2"): [run | {"filled": 0.4, "floors": floored}]}
    html = str(chroma_page._embeddings(list(runs), runs))
    assert "not better than white noise" in html
    assert "not better than silence" in html
    assert "describe codes alone" in html
    earlier = {("octave", "chroma-2"): [run | {"filled": 0.4, "floors": {}}]}
    assert "describe codes alone" not in str(chroma_page._embeddings(list(earlier), earlier))


def test_a_collapsed_latent_is_not_better_than_the_prior():
    latents = [
        {"divergence": 0.009, "mean": 0.0, "variance": 1.0, "collapsed": True},
        {"divergence": 2.0, "mean": 1.5, "variance": 0.2, "collapsed": False},
    ]
    beside = [chroma_page._beside_prior(latent) for latent in latents]
    assert {name: figures["not_better_than"] for name, figures in beside[0].items()} == dict.fromkeys(
        ("divergence", "mean", "variance"), "prior"
    )
    assert all(figures["not_better_than"] is None for figures in beside[1].values())
    runs = {("octave", "chroma-8-vae"): [{"posterior": latents}]}
    html = str(chroma_page._posteriors(list(runs), runs))
    assert html.count("not better than the prior") == 3


def test_a_latent_that_turns_the_pitch_is_told_from_one_that_does_not():
    rate, length = 44100, 4096
    hz = np.fft.rfftfreq(length, 1 / rate)
    peaks = [int(np.argmin(abs(hz - midi_to_hz(note)))) for note in (60, 67)]

    class Turning(torch.nn.Module):
        def decode(self, latents, one_hot):
            frames = torch.zeros(len(latents), length // 2 + 1)
            frames[:, peaks[0]], frames[:, peaks[1]] = 1 - latents[:, 1], latents[:, 1]
            return frames

    codes = np.random.default_rng(0).random((500, 2)).astype(np.float32)
    shares = study_measures.pitch_class_changes(
        Turning(), rate, length, codes, np.zeros(500, np.int64), np.random.default_rng(1)
    )
    assert shares == [0.0, 1.0]


def test_divergences_are_those_of_torchs_own_distributions():
    network = FAMILIES["chroma"].network(load_recipe("chroma-8-vae-noskip", SMALL)).eval()
    spectra = np.random.default_rng(0).random((30, FRAME // 2 + 1)).astype(np.float32)
    sample = study_measures.FrameSample("train", 30, [], spectra, np.zeros(30, np.int64))
    found = study_measures.posterior(network, sample)
    with torch.no_grad():
        mean, log_variance = network.distribution(torch.from_numpy(spectra), torch.zeros(30, 12))
        normal = torch.distributions.Normal
        expected = torch.distributions.kl_divergence(normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0)).mean(0)
    assert [latent["divergence"] for latent in found] == pytest.approx(expected.tolist(), rel=1e-4)
    assert [latent["collapsed"] for latent in found] == [bool(d < 0.01) for d in expected]


def test_mismatches_are_hatched_and_only_they():
    right = np.zeros(25, np.int8)
    half = np.where(np.arange(25) < 10, 2, 0).astype(np.int8)  # the D that is asked is C where latent 0 is above 0.4
    first, second = accounting("figure-4", "", {0: right, 2: half}).draw(report.LIGHT).axes[:2]
    assert len(first.collections) == 0
    (hatched,) = second.collections
    (path,) = hatched.get_paths()
    assert hatched.hatches == ["////"]
    assert path.contains_point((0.7, 0.5))
    assert not path.contains_point((0.2, 0.5))
