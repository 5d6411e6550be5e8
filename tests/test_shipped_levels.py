"""Presets that ship are as loud as each other as they play, and no single key reaches full scale."""

import numpy as np
import pytest
from timbrel.export import first_preset
from timbrel.export.first_preset import demo_loudness_lufs, peaks_dbfs, single
from timbrel.export.kinds import stream
from timbrel.export.kinds.kind import MIDDLE_C
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import shipped_presets

RANGE_LU = 1.5  # as the changelog promises
HIGHEST_DBFS = -1.0


@pytest.fixture(scope="module")
def loud():
    """The loudness of each preset's demo at velocity 100; of drum loops three bars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BARS", 3)
        return {name: demo_loudness_lufs(open_patch(name)) for name in shipped_presets()}


def test_all_presets_that_ship_are_as_loud_as_each_other(loud):
    assert len(loud) >= 13
    assert max(loud.values()) - min(loud.values()) <= RANGE_LU, loud


def test_they_are_as_loud_as_voices_of_new_models_at_velocity_100(loud):
    """-20 LUFS at full velocity; velocity 100 takes 4.15 dB away."""
    assert loud == {name: pytest.approx(-24.15, abs=1.6) for name in loud}


@pytest.mark.parametrize("name", shipped_presets())
def test_no_single_key_at_full_velocity_comes_nearer_to_full_scale_than_a_decibel(name):
    """The keys are all of a kit, and the lowest, the middle and the highest of an instrument that plays scales."""
    patch = open_patch(name)
    keys = first_preset.keys_of(patch)
    if not patch.preset.keys:
        keys = keys[:: max(len(keys) // 2, 1)] + keys[-1:]
    assert max(peaks_dbfs(patch, keys).values()) <= HIGHEST_DBFS


@pytest.mark.parametrize("name", ["gm-keys", "drum-kit", "lakeside-walk"])
def test_velocity_32_is_24_db_softer_than_127_and_20_than_100(name):
    patch = open_patch(name)
    key = first_preset.keys_of(patch)[0] if patch.preset.keys else MIDDLE_C
    soft, usual, full = (10 * np.log10(np.square(single(patch, key, velocity)).mean()) for velocity in (32, 100, 127))
    assert full - soft == pytest.approx(23.9, abs=1.5)
    assert usual - soft == pytest.approx(19.8, abs=1.5)


def test_the_drums_of_the_kit_lie_within_ten_decibels_of_each_other():
    """The model makes its kick 22 dB softer than its hat."""
    peaks = peaks_dbfs(open_patch("drum-kit"))
    assert peaks[36] > peaks[42]
    assert max(peaks.values()) - min(peaks.values()) < 10
