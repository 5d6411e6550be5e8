"""Keys of a kit that would pass full scale are turned down, each by itself."""

from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.export import first_preset as levels
from timbrel.export.first_preset import first_preset, peaks_dbfs, untrimmed
from timbrel.host.kinds.spectrum import GestureSettings
from timbrel.host.model.model import Model
from timbrel.host.play.trajectory import LOUDEST_TAKE_DB
from timbrel.host.preset.library import Patch

from ...host.clips import noise, save_clips


def test_a_key_of_a_kit_peaks_a_decibel_below_full_scale_at_the_most_and_softer_ones_stay(tmp_path):
    labels = ["kick", "snare", "thing"]
    strengths = np.array([[1.0], [0.02], [0.5]])
    path = tmp_path / "loud.onnx"
    save_clips(path, np.zeros(4000), labels=labels, labelled=strengths * noise(1), landmarks=[], loudness_lufs=-40.0)
    model = Model(path)
    plain, found = (
        peaks_dbfs(Patch("kit", preset, model, tmp_path)) for preset in (untrimmed(model), first_preset(model))
    )
    assert plain[36] > plain[37] > -1 > plain[38]
    assert found == {36: pytest.approx(-1, abs=0.11), 37: pytest.approx(-1, abs=0.11), 38: plain[38]}
    assert max(found.values()) <= -1


def test_the_peak_of_a_hit_counts_where_it_comes_late(tmp_path):
    hits = np.zeros((2, 32_000))  # two seconds
    hits[:, 30_000:31_000] = noise(1, 1000)
    model = Model(save_clips(tmp_path / "late.onnx", np.zeros(32_000), labels=["kick", "snare"], labelled=hits))
    assert peaks_dbfs(Patch("late", untrimmed(model), model, tmp_path))[36] > -40


def test_keys_leave_room_for_the_loudest_take_that_the_preset_allows(monkeypatch):
    monkeypatch.setattr(levels, "single", lambda patch, key, velocity: np.full((2, 10), 0.5))

    def peak(takes, variety):
        model = SimpleNamespace(gestures=SimpleNamespace(instruments=[SimpleNamespace(takes=takes)]))
        preset = SimpleNamespace(gesture=GestureSettings(variety=variety))
        return peaks_dbfs(SimpleNamespace(model=model, preset=preset), [60])[60]

    half = 20 * np.log10(0.5)
    found = [peak([], 1.0), peak([[1]], 0.0), peak([[1]], 0.5), peak([[1]], 1.0)]
    assert found == pytest.approx([half, half, half + LOUDEST_TAKE_DB / 2, half + LOUDEST_TAKE_DB])
