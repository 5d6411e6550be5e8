"""The limiter against its own laws and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from timbrel.host.audio import output
from timbrel.host.audio.output import LIMIT_KNEE, limit, limited, peaks_of
from timbrel.host.voice_library import load_library

FLOATS = st.floats(width=32, allow_subnormal=False)  # a session opened in this process has switched denormals off
WILD = arrays.arrays(np.float32, st.integers(1, 40), elements=FLOATS)


@given(WILD)
def test_the_limiter_never_passes_full_scale_and_is_always_finite(audio):
    limited = limit(audio)
    assert limited.dtype == np.float32
    assert np.all(np.isfinite(limited))
    assert np.all(np.abs(limited) <= 1)
    assert np.all(limited[np.isnan(audio)] == 0)


@given(WILD)
def test_the_limiter_keeps_order_and_sign(audio):
    finite = np.sort(audio[~np.isnan(audio)])
    limited = limit(finite)
    assert np.all(np.diff(limited) >= -1e-6)  # rounding
    assert np.all(limited * np.sign(finite) >= 0)


@given(arrays.arrays(np.float32, 30, elements=st.floats(-0.6875, 0.6875, width=32, allow_subnormal=False)))
def test_the_limiter_touches_no_bit_below_its_knee(audio):
    assert np.array_equal(limit(audio).view(np.int32), audio.view(np.int32))
    among = limit(np.append(audio, np.float32(5)))
    assert np.array_equal(among[:-1].view(np.int32), audio.view(np.int32))


@given(arrays.arrays(np.float32, 50, elements=FLOATS), st.integers(1, 49))
def test_the_limiter_has_no_memory(audio, cut):
    assert np.array_equal(np.concatenate([limit(audio[:cut]), limit(audio[cut:])]), limit(audio))


def test_the_louder_a_sound_the_nearer_the_limiter_comes_to_full_scale():
    assert limit(np.float32([1.0, 10.0, 1000.0])) == pytest.approx([0.85, 0.99062, 0.99991], abs=1e-4)


def test_what_the_limiter_bent_is_told_from_what_it_gave():
    given = limit(np.float32([[0.0, 0.7, -0.69, 0.71], [-5.0, 1e9, np.nan, 0.1]]))
    assert limited(given) == 3 / 8


def test_the_limiter_bends_without_a_corner():
    ramp = np.linspace(0.5, 0.9, 40_001).astype(np.float32)
    slope = np.gradient(limit(ramp).astype(np.float64), ramp.astype(np.float64))
    at_knee = np.abs(ramp - LIMIT_KNEE) < 0.002
    assert slope[at_knee] == pytest.approx(np.ones(at_knee.sum()), abs=0.05)


@pytest.mark.parametrize("library", [None, load_library()], ids=["numpy", "core"])
def test_peaks_are_those_of_each_channel_and_nan_where_a_sample_is_none(monkeypatch, library):
    monkeypatch.setattr(output, "voice_library", lambda: library)
    sound = np.array([[0.1, -0.9, 0.3] * 7, [0.0] * 21, [0.5, np.nan, 0.1] * 7], np.float32)
    assert peaks_of(sound)[:2].tolist() == [np.float32(0.9), 0.0]
    assert np.isnan(peaks_of(sound)[2])
    assert peaks_of(sound[:, ::2])[0] == np.float32(0.9)  # not contiguous
    assert peaks_of(sound[:2, :0]).tolist() == [0.0, 0.0]
