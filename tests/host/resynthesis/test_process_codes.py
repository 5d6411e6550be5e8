"""Changes of the codes of a sound through a model equal closed forms."""

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.engine import hop_of
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.processor import CodeTransform, Processor

from .processing import RATE


def codes_of(patch, codes, times=None, freeze=None, sounding=None):
    codes = np.asarray(codes, np.float32)
    times = np.arange(len(codes)) * hop_of(patch.model.card) if times is None else np.asarray(times)
    sounding = np.ones(len(codes), bool) if sounding is None else np.asarray(sounding)
    return CodeTransform(patch, freeze).codes(codes, sounding, times.astype(np.int64))


HEARD = np.random.default_rng(3).uniform(0.2, 0.8, (60, 2))


def test_codes_that_nothing_bends_stay_to_the_bit_even_beyond_the_spans(keyed, make_patch):
    heard = np.concatenate([HEARD, [[-3.0, 7.0]]]).astype(np.float32)
    assert np.array_equal(codes_of(make_patch(keyed), heard), heard)


def test_codes_are_scaled_about_the_presets_code_or_the_mean_and_shifted_within_the_spans(keyed, make_patch):
    process = {"scale": 2.0, "scales": [0.5, 0.25], "shift": [0.1, -0.05]}
    about_mean = codes_of(make_patch(keyed, process=process), HEARD)
    assert about_mean[:, 0] == pytest.approx(np.clip(HEARD[:, 0] + 0.1, 0, 1), abs=1e-6)
    assert about_mean[:, 1] == pytest.approx(0.5 + 0.5 * (HEARD[:, 1] - 0.5) - 0.05, abs=1e-6)
    about_code = codes_of(make_patch(keyed, process={"scale": 0.0}, latent={"values": [0.3, 0.9]}), HEARD)
    assert about_code == pytest.approx(np.tile([0.3, 0.9], (60, 1)), abs=1e-6)
    assert codes_of(make_patch(keyed, process={"shift": [5.0, 0.0]}), HEARD)[:, 0] == pytest.approx(1.0)


def test_smoothing_is_a_one_pole_filter_of_the_time_constant(keyed, make_patch):
    kept = np.exp(-hop_of(keyed.card) / RATE / 0.05)
    state = scipy.signal.lfiltic([1 - kept], [1, -kept], [0.0])
    expected = [scipy.signal.lfilter([1 - kept], [1, -kept], c, zi=state + kept * c[0])[0] for c in HEARD.T]
    smoothed = codes_of(make_patch(keyed, process={"smooth_seconds": 0.05}), HEARD)
    assert smoothed == pytest.approx(np.array(expected).T, abs=1e-6)


def test_a_frozen_code_is_the_last_before_its_time_and_silence_has_no_code(keyed, make_patch):
    hop = hop_of(keyed.card)
    frozen = codes_of(make_patch(keyed), HEARD, freeze=10.5 * hop / RATE)
    assert frozen[:11] == pytest.approx(HEARD[:11])
    assert frozen[11:] == pytest.approx(np.tile(HEARD[10], (49, 1)))
    sounding = np.arange(60) % 20 >= 10
    held = codes_of(make_patch(keyed, process={"freeze": 1.0}), HEARD, sounding=sounding)
    assert held[10:] == pytest.approx(np.tile(HEARD[10], (50, 1)))
    silent = codes_of(make_patch(keyed), HEARD, sounding=sounding)
    assert silent[20:30] == pytest.approx(np.tile(HEARD[19], (10, 1)))


def test_codes_are_led_to_a_landmark_or_to_a_presets_code(keyed, make_patch):
    led = codes_of(make_patch(keyed, process={"to": "middle", "amount": 0.25}), HEARD)
    assert led == pytest.approx(HEARD + 0.25 * (0.5 - HEARD), abs=1e-6)
    model = open_patch("gm-chroma-8").model
    violins = [mark.latent for mark in model.card.landmarks if mark.label == "Violin"]
    assert make_patch(model, process={"to": "gm-keys"}).process_end == open_patch("gm-keys").preset.latent.values
    assert make_patch(model, process={"to": "Violin"}).process_end in violins
    assert make_patch(model).process_end is None


def test_a_processor_is_made_of_a_patch_whose_other_files_are_gone(keyed, tmp_path):
    preset = f'format = 1\nmodel = "{keyed.path}"\n'
    (tmp_path / "far.toml").write_text(preset + "latent.values = [0.1, 0.9]\n")
    (tmp_path / "near.toml").write_text(preset + '[process]\nto = "far.toml"\n')
    patch = open_patch(str(tmp_path / "near.toml"))
    (tmp_path / "far.toml").unlink()
    Processor(patch, RATE)
    assert patch.process_end == [0.1, 0.9]


def test_a_motion_of_the_preset_moves_the_code_as_it_would_the_knobs(keyed, make_patch):
    motion = [{"target": "latent.0", "shape": "square", "low": 0.0, "high": 0.2, "rate_hz": 2.0}]
    moved = codes_of(make_patch(keyed, motion=motion), np.tile([0.4, 0.4], (60, 1)), np.arange(60) * 400 + 100)
    assert np.percentile(moved[:, 0], (25, 75)) == pytest.approx([0.4, 0.6])
    assert moved[:, 1] == pytest.approx(0.4)
