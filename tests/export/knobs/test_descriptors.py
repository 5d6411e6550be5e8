"""Descriptors of frames against closed forms: partials of known levels, and noise of known power between them."""

import numpy as np
import pytest
import torch
from timbrel.export.knobs.effects import NAMES, Timbre

RATE, LENGTH, OCTAVE = 44100, 4096, 4
HERTZ = np.fft.rfftfreq(LENGTH, 1 / RATE)


def fundamental(key):
    return 440 * 2 ** ((12 * (OCTAVE + 1) + key - 69) / 12)


def partials(key, amplitudes):
    """A frame whose partials are one bin each: [bins]."""
    frame = np.zeros(LENGTH // 2 + 1, np.float32)
    for number, amplitude in enumerate(amplitudes, 1):
        frame[round(number * fundamental(key) * LENGTH / RATE)] = amplitude
    return frame


def measured(*frames, keys=(0,)):
    found = Timbre(RATE, LENGTH, OCTAVE)(torch.from_numpy(np.stack(frames)), torch.tensor(keys))
    return [dict(zip(NAMES, row, strict=True)) for row in found.tolist()]


@pytest.mark.parametrize("key", [0, 5, 11])
def test_partials_are_found_where_the_key_puts_them(key):
    amplitudes = np.array([1.0, 0.5, 0.25, 0.3, 0.1, 0.2, 0.05, 0.1, 0.02])
    (found,) = measured(partials(key, amplitudes), keys=(key,))
    power = np.square(amplitudes)
    odd, even = power[[2, 4, 6, 8]].sum(), power[[1, 3, 5, 7]].sum()
    assert found["odd partials"] == pytest.approx(10 * np.log10(odd / even), abs=1e-3)
    assert found["fundamental"] == pytest.approx(10 * np.log10(power[0] / power[1:].sum()), abs=1e-3)
    body = power[1:4].sum()
    assert found["body"] == pytest.approx(10 * np.log10(body / (power.sum() - body)), abs=1e-3)


def test_brightness_is_the_centroid_of_magnitudes_in_octaves():
    frame = partials(7, [1.0, 0.0, 0.5])
    (found,) = measured(frame, keys=(7,))
    assert found["brightness"] == pytest.approx(np.log2(frame @ HERTZ / frame.sum()), abs=1e-5)


def test_noise_is_what_lies_between_partials_and_above_the_hum():
    tone = partials(0, [1.0])
    noisy, humming = tone.copy(), tone.copy()
    noisy[round(1.5 * fundamental(0) * LENGTH / RATE)] = 0.1
    humming[2] = 0.1
    clean, between, below = measured(tone, noisy, humming, keys=(0, 0, 0))
    assert between["noise"] == pytest.approx(-20, abs=1e-3)
    assert [clean["noise"], below["noise"]] == pytest.approx([-80, -80], abs=0.1)


def test_bands_share_the_power_of_the_frame():
    frame = np.zeros(LENGTH // 2 + 1, np.float32)
    frame[[np.searchsorted(HERTZ, hertz) for hertz in (500, 3000, 8000)]] = 1.0, 0.5, 0.1
    (found,) = measured(frame)
    assert found["presence"] == pytest.approx(10 * np.log10(0.25 / 1.26), abs=1e-3)
    assert found["air"] == pytest.approx(10 * np.log10(0.01 / 1.26), abs=1e-3)


def test_frames_of_many_keys_are_measured_as_each_by_itself():
    keys = (3, 0, 3, 11, 0)
    frames = [partials(key, [1.0, 0.1 * n, 0.3]) for n, key in enumerate(keys)]
    alone = [measured(frame, keys=(key,))[0] for frame, key in zip(frames, keys, strict=True)]
    for together, single in zip(measured(*frames, keys=keys), alone, strict=True):
        assert together == pytest.approx(single, abs=1e-4)


def test_loudness_changes_no_descriptor_and_silence_has_finite_ones():
    frame = partials(4, [1.0, 0.5, 0.2, 0.1])
    loud, soft, silent = measured(frame, 1e-2 * frame, 0 * frame, keys=(4, 4, 4))
    assert soft == pytest.approx(loud, abs=1e-3)
    assert np.isfinite(list(silent.values())).all()
