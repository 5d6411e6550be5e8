"""Pictures show what they are told to, on light and dark pages."""

import re
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from timbrel.export.families import chroma_report
from timbrel.export.measures import frames as frame_sample
from timbrel.export.measures.frames import mesh
from timbrel.export.reports import frame_figures as figures
from timbrel.export.reports import page, report
from timbrel.train.corpus.clip_table import Clip
from timbrel.train.frames import FrameOrigin

# ---- pictures

RATE, FRAME, HOP = 8000, 1024, 256  # bins of 7.8 Hz: from C4 up, two to a semitone


def drawn(shown, theme=report.LIGHT):
    with matplotlib.rc_context(theme.settings()):
        return shown.draw(theme)


def test_the_square_has_its_first_latent_along_x_and_its_second_upwards():
    points = mesh(np.zeros(2), np.array([1.0, 10.0]), 16, np.random.default_rng(0))
    answers = (points[:, 0] > 0.9).astype(np.int64) + 2 * (points[:, 1] > 9)
    axes = drawn(figures.square({0: answers}, [0.0, 0.0], [1.0, 10.0])).axes[0]
    image = axes.images[0]
    assert image.origin == "lower"
    assert image.get_extent() == [0, 1, 0, 10]
    assert image.get_array().tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [2, 2, 2, 3]]
    assert axes.get_title("left") == "C asked: 56.2 % right"


def test_the_embedding_of_many_latents_is_their_two_principal_components():
    rng = np.random.default_rng(3)
    latents = (rng.standard_normal((80, 6)) @ rng.standard_normal((6, 6))).astype(np.float32)
    places = drawn(figures.embedding(latents, rng.integers(0, 12, 80))).axes[0].collections[0].get_offsets()
    u, s, _ = np.linalg.svd(latents - latents.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(places), np.abs(u[:, :2] * s[:2]), atol=1e-3)


def test_the_embedding_of_three_latents_shows_every_pair():
    latents = np.random.default_rng(3).random((30, 3)).astype(np.float32)
    panels = drawn(figures.embedding(latents, np.zeros(30, np.int64))).axes[:3]
    assert [(a.get_xlabel(), a.get_ylabel()) for a in panels] == [
        ("latent 0", "latent 1"), ("latent 0", "latent 2"), ("latent 1", "latent 2")
    ]  # fmt: skip
    np.testing.assert_allclose(panels[2].collections[0].get_offsets(), latents[:, 1:])


def test_a_spectrogram_shows_tones_at_their_frequency_and_left_out_frames_as_black():
    tones = np.full((8, FRAME // 2 + 1), 1e-6, np.float32)
    tones[:, 128] = 1.0  # 1 kHz
    times = np.array([0, 1, 2, 3, 8, 9, 10, 11]) * HOP / RATE
    image = drawn(figures.spectrogram(tones, tones, times, HOP / RATE, "clip", RATE)).axes[1].images[0]
    level, (left, right, bottom, top) = image.get_array(), image.get_extent()
    middle = bottom + (level[:, 10].argmax() + 0.5) / len(level) * (top - bottom)
    assert 2**middle == pytest.approx(1000, rel=0.02)
    moments = left + np.arange(level.shape[1]) / level.shape[1] * (right - left)
    black = (moments > 4.6 * HOP / RATE) & (moments < 7.9 * HOP / RATE)
    assert level[:, black].max() == figures.LOWEST_DB
    assert level[:, moments < 4 * HOP / RATE].max(0).min() > -6


def test_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path):
    frames = np.ones((1, 9), np.float32)
    shown = figures.reconstructions(frames, frames, ["$a_{$ \\frac"], RATE)
    shown.save(tmp_path)
    assert drawn(shown).axes[0].get_title("left") == r"\$a_{\$ \frac"


def test_colours_of_pitch_classes_go_from_dark_to_light_and_stand_out_from_the_page():
    for theme in (report.LIGHT, report.DARK):
        light = [luminance(colour) for colour in theme.pitch_classes().colors]
        assert light == sorted(light)
        paper = luminance(matplotlib.colors.to_rgb(theme.paper))
        contrasts = [(max(a, paper) + 0.05) / (min(a, paper) + 0.05) for a in light]
        assert min(contrasts) > 1.3


def luminance(colour):
    """Relative luminance (WCAG)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_stands_out_from_the_page_in_both_themes():
    style = (Path(page.__file__).with_name("templates") / "page.css").read_text()
    for block in (style.split("@media")[0], style.split("@media")[1]):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", block))
        paper = luminance(matplotlib.colors.to_rgb(colours["paper"]))
        for name in ("ink", "faint", "mark"):
            text = luminance(matplotlib.colors.to_rgb(colours[name]))
            assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) > 4.5, name


@pytest.mark.parametrize(
    ("labels", "wanted"), [("aaaaabbbbbcde", "ace"), ("aaaaaabbbbbb", "ab"), ("aaaaaaaa", "a"), ("aAaA", "aA")]
)
def test_pictured_frames_are_of_different_sounds_and_of_none_twice(monkeypatch, labels, wanted):
    """Upper case is the same sound on another note."""
    monkeypatch.setattr(chroma_report, "PICTURED_FRAMES", 3)
    found = [
        FrameOrigin(Clip(name="n", start=0, length=1, group="g", label=label.lower()), 0, 60.0 + label.isupper())
        for label in labels
    ]
    some = frame_sample.FrameSample(
        "test", len(found), found, np.zeros((len(found), 1)), np.zeros(len(found), np.int64)
    )
    assert "".join(labels[i] for i in chroma_report._pictured_frames(some)) == wanted


def test_texts_on_a_page_are_never_taken_for_html():
    text = "<b>a & b</b>"
    parts = [
        page.table([text], [[text], [page.noted(text, text)]], 0),
        page.players({"a.wav": text}),
        page.figure("a", text),
        page.faint(text),
        page.run_link("a & b"),
        page.heard_notes("abx.html"),
        page.subheading(text),
        page.bold(text),
    ]
    whole = page.document(text, text, text, {text: page.joined(parts), "Plain": text}, shortcomings=[text])
    assert text not in whole
    assert whole.count("&lt;b&gt;a &amp; b&lt;/b&gt;") == 17
    assert whole.count("a &amp; b/report/index.html") == 1
