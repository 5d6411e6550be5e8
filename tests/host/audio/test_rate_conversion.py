"""Conversion to the output's rate: sinusoids in closed form, any blocks, by the core and by numpy."""

import numpy as np
import pytest
from timbrel.host.audio.rate_conversion import RateConversion, sinc_table
from timbrel.host.voice_library import load_library

RATES = [(44100, 48000), (44100, 96000), (22050, 44100), (96000, 44100), (48000, 44100), (44100, 44056)]
LIBRARIES = [None, *([] if load_library() is None else [load_library()])]


def converted(rates, sound, library=None, sizes=(4096,)):
    conversion, parts, at, turn = RateConversion(*rates, len(sound)), [], 0, 0
    conversion._library = library
    while at < sound.shape[1]:
        size = sizes[turn % len(sizes)]
        parts.append(conversion.process(sound[:, at : at + size]))
        at, turn = at + size, turn + 1
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda one: "numpy" if one is None else "core")
@pytest.mark.parametrize("rates", RATES, ids=str)
def test_a_sinusoid_comes_out_as_itself(rates, library):
    for share in (0.002, 0.05, 0.45):  # of the lower rate; 19.8 kHz of 44.1
        hz = share * min(rates)
        sound = np.sin(2 * np.pi * hz * np.arange(9000) / rates[0])[np.newaxis].astype(np.float32)
        found = converted(rates, sound, library)[0]
        known = np.sin(2 * np.pi * hz * np.arange(len(found)) / rates[1])
        assert np.abs(found - known)[400:].max() < 10 ** (-85 / 20)


@pytest.mark.parametrize("rates", [(96000, 44100), (44100, 22050)], ids=str)
def test_what_a_lower_rate_cannot_carry_is_left_out(rates):
    hz = 0.56 * rates[1]
    sound = np.sin(2 * np.pi * hz * np.arange(20_000) / rates[0])[np.newaxis].astype(np.float32)
    assert np.abs(converted(rates, sound)[0, 400:]).max() < 10 ** (-80 / 20)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda one: "numpy" if one is None else "core")
@pytest.mark.parametrize("sizes", [(1,), (118, 117), (1, 700, 3), (4096,)], ids=str)
def test_blocks_change_no_bit(sizes, library):
    sound = np.random.default_rng(1).standard_normal((2, 3000)).astype(np.float32)
    assert np.array_equal(
        converted((44100, 48000), sound, library, sizes), converted((44100, 48000), sound, library, (3000,))
    )


@pytest.mark.skipif(len(LIBRARIES) < 2, reason="the core is not compiled")
def test_the_core_converts_as_numpy_does():
    sound = np.random.default_rng(2).standard_normal((2, 20_000)).astype(np.float32)
    ours, known = (converted((44100, 48000), sound, library) for library in LIBRARIES)
    assert ours.shape == known.shape
    assert 0 < np.abs(ours - known).max() < 2e-6


def test_the_weights_of_each_place_pass_a_constant():
    table = sinc_table(160, 147)
    assert table.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    assert table.shape[1] % 8 == 0
    assert table[0].argmax() == table.shape[1] // 2 - 1
