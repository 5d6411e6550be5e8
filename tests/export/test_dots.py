"""The dots of a picture are told where they are drawn."""

import json

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest
from timbrel.export.reports import report
from timbrel.export.reports.frame_figures import embedding
from timbrel.export.reports.report import MOST_DOTS, THEMES

DPI = report.DPI  # before the tests of reports have theirs drawn with fewer dots


@pytest.fixture(autouse=True)
def _sharp(monkeypatch):
    monkeypatch.setattr(report, "DPI", DPI)


def told(folder, codes, classes):
    embedding(codes, classes).save(folder)
    return json.loads((folder / "embedding.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("latents", "axes"), [(2, 1), (3, 3), (5, 1)])
def test_at_the_place_of_each_dot_its_colour_is_in_the_picture(tmp_path, latents, axes):
    codes = np.random.default_rng(latents).normal(0, 1, (24, latents)).astype(np.float32)
    classes = np.arange(24) % 12
    dots = told(tmp_path, codes, classes)
    assert np.array(dots["codes"]) == pytest.approx(codes, abs=1e-5)
    assert dots["pitch_classes"] == classes.tolist()
    assert np.array(dots["places"]).shape == (axes, 24, 2)
    for suffix, theme in THEMES.items():
        image = matplotlib.image.imread(tmp_path / f"embedding{suffix}.png")[..., :3]
        height, width = image.shape[:2]
        paper = np.array(matplotlib.colors.to_rgb(theme.paper))
        for places in np.array(dots["places"]):
            columns, rows = (places * (width, height)).astype(int).T
            seen, meant = image[rows, columns], 0.8 * theme.pitch_classes()(classes)[:, :3] + 0.2 * paper
            apart = np.linalg.norm(places[:, None] * (width, height) - places * (width, height), axis=-1)
            alone = np.sort(apart, axis=1)[:, 1] > 8  # pixels: dots that overlap blend
            assert alone.sum() > 12
            assert np.abs(seen - meant)[alone].max() < 0.02


def test_of_many_dots_some_are_told_all_over_the_sample(tmp_path):
    codes = np.linspace(-1, 1, 3 * MOST_DOTS, dtype=np.float32)[:, None].repeat(2, 1)
    dots = told(tmp_path, codes, np.zeros(3 * MOST_DOTS, int))
    shown = np.array(dots["codes"])[:, 0]
    assert len(shown) == len(dots["places"][0]) == len(dots["pitch_classes"]) == MOST_DOTS
    assert np.diff(shown) == pytest.approx(2 / MOST_DOTS, rel=0.5)
    assert (tmp_path / "embedding.json").stat().st_size < 200_000
