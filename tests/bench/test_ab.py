"""The A/B page holds what it names, small enough to ship, and comes out the same twice."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread


@pytest.fixture(scope="module")
def ab():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("ab")


@pytest.fixture(scope="module")
def phrases(ab):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ab, "SETTINGS", {"Wide": {"phase": "coherent", "width": 0.5}})
        played = ab.played_phrase("gm-chroma-8", keys=(60, 64))
    vocoder = importlib.import_module("phase_methods").vocoder
    return [played, ab.analysed_phrase(ab.bowed(67, 1.3), "synthetic", {"phase vocoder": vocoder})]


def test_every_row_has_its_picture_and_the_sound_that_was_made(ab, phrases, tmp_path):
    ab.write(tmp_path / "ab", phrases)
    named = re.findall(r'src="([^"]+)"', (tmp_path / "ab" / "index.html").read_text(encoding="utf-8"))
    rows = [row for phrase in phrases for row in phrase.rows]
    assert len(rows) == 3
    assert sorted([*named, "index.html"]) == sorted(file.name for file in (tmp_path / "ab").iterdir())
    for row, name in zip(rows, [name for name in named if name.endswith(".ogg")], strict=True):
        heard, rate = soundfile.read(tmp_path / "ab" / name, always_2d=True)
        assert rate == ab.RATE
        assert heard.T.shape == row.sound.shape
        assert np.sqrt(np.mean(heard**2)) == pytest.approx(10 ** (ab.LEVEL_DB / 20), rel=0.05)
        assert np.corrcoef(heard[:, 0], row.sound[0])[0, 1] > 0.95
    for name in named:
        assert (tmp_path / "ab" / name).stat().st_size < 40_000


def test_the_same_sound_gives_the_same_files(ab, phrases, tmp_path):
    for write, suffix in ((ab.write_sound, "ogg"), (ab.draw, "png")):
        files = [tmp_path / f"{name}.{suffix}" for name in ("first", "second")]
        for file in files:
            write(file, phrases[0].rows[0].sound)
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_picture_is_dark_where_a_tone_is(ab, tmp_path):
    tone = 0.1 * np.sin(2 * np.pi * 4000 * np.arange(ab.RATE) / ab.RATE)
    ab.draw(tmp_path / "tone.png", tone[np.newaxis])
    dots = imread(tmp_path / "tone.png")
    column = dots[:, dots.shape[1] // 2, :3].sum(axis=1)
    inside = np.flatnonzero(column < 1.0)  # the line, and the frame at both ends
    top, bottom = inside[0], np.flatnonzero(column[: round(0.85 * len(column))] < 1.0)[-1]
    assert top < bottom
    line = np.median(inside[(inside > top + 5) & (inside < bottom - 5)])
    assert line == pytest.approx((top + bottom) / 2, abs=3)
