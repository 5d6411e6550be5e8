"""Keys of a kit that would pass full scale are turned down, each by itself."""

import numpy as np
import pytest
from timbrel.export.first_preset import first_preset, untrimmed
from timbrel.export.instrument.levels import peaks_dbfs
from timbrel.host.contract.model import Model
from timbrel.host.patch.library import Patch

from ...host.clips import noise, save_clips


def test_a_key_of_a_kit_peaks_a_decibel_below_full_scale_at_the_most_and_softer_ones_stay(tmp_path):
    labels = ["kick", "snare", "thing"]
    levels = np.array([[1.0], [0.02], [0.5]])
    path = tmp_path / "loud.onnx"
    save_clips(path, np.zeros(4000), labels=labels, labelled=levels * noise(1), landmarks=[], loudness_lufs=-40.0)
    model = Model(path)
    plain, found = (
        peaks_dbfs(Patch("kit", preset, model, tmp_path)) for preset in (untrimmed(model), first_preset(model))
    )
    assert plain[36] > plain[37] > -1 > plain[38]
    assert found == {36: pytest.approx(-1, abs=0.11), 37: pytest.approx(-1, abs=0.11), 38: plain[38]}
    assert max(found.values()) <= -1
