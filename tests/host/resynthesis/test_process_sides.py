"""A stereo sound through a model: its sides come back, and keep their levels and correlations where it changes."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.process import process, with_options
from timbrel.host.resynthesis.processor import Processor

from ...examples import few
from .processing import CCS, RATE, decibels, glide, noise, run
from .test_process import EVENTS

LEFT, OTHER = noise(20_000), noise(20_000, seed=1)


APART, HALF_ALIKE = np.stack([LEFT, OTHER]), np.stack([LEFT + OTHER, LEFT - 0.5 * OTHER]) / 2
# Where sides differ in every bin, the encoder gets an approximation of their mix.
IMAGES = {
    "panned": (np.stack([LEFT, 0.1 * LEFT]), -80),
    "opposite": (np.stack([LEFT, -LEFT]), -80),
    "mono at first": (np.stack([LEFT, LEFT * (1 + (np.arange(len(LEFT)) > 9000))]), -18),
    "apart": (APART, -18),
    "left first": (np.stack([LEFT, OTHER * (np.arange(len(OTHER)) > 9000)]), -18),
    "half alike": (HALF_ALIKE, -18),
}


@pytest.mark.parametrize("kind", ["spectrum", "grain"])
@pytest.mark.parametrize("name", IMAGES)
def test_a_model_that_changes_nothing_gives_both_sides_back(
    allpass, make_patch, sound_of, tmp_path, kind, name, caplog
):
    sides, error_db = IMAGES[name]
    done = process(sound_of(sides), make_patch(allpass[kind]), tmp_path / "out.wav")
    given, rate = read_sound(tmp_path / "out.wav")
    assert (given.shape, rate, caplog.messages) == (sides.shape, RATE, [])
    for side, back in zip(sides, given, strict=True):
        assert decibels(back - side, side) < error_db
    assert done.fit.convergence < 10 ** (error_db / 20)


@pytest.mark.parametrize("rate", [16_000, 44_100, 96_000])
def test_sides_of_any_rate_come_back_on_their_samples(allpass, make_patch, sound_of, tmp_path, rate):
    samples = glide(1.0, rate)
    sides = np.stack([samples, -0.5 * samples])
    process(sound_of(sides, rate), make_patch(allpass["spectrum"]), tmp_path / "out.wav")
    given, _ = read_sound(tmp_path / "out.wav")
    inside = slice(rate // 20, -rate // 20)
    assert given.shape == sides.shape
    assert decibels((given - sides)[:, inside], sides[:, inside]) < -59


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_dry_sides_are_the_sounds_own(allpass, make_patch, rate):
    processor = Processor(make_patch(allpass["spectrum"], process={"wet": 0.0}), rate, 2)
    given, late = run(processor, APART, [512, 1, 4000]), processor.latency_samples
    assert np.array_equal(given[:, late:], APART[:, :-late])


@pytest.mark.parametrize("other", [LEFT, LEFT + 5e-4 * OTHER, 0 * LEFT, 5e-4 * OTHER], ids=range(4))
@pytest.mark.parametrize("kind", ["spectrum", "grain"])
def test_sides_that_are_no_image_give_the_bytes_of_their_mean(allpass, make_patch, sound_of, tmp_path, kind, other):
    sides = np.stack([LEFT, other]).astype(np.float32)
    patch = make_patch(allpass[kind])
    process(sound_of(sides, name="sides.wav"), patch, tmp_path / "a.wav")
    process(sound_of(sides.mean(axis=0), name="mono.wav"), patch, tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize("phase", ["original", "own"])
def test_equal_sides_give_the_samples_of_one_channel(keyed, make_patch, phase):
    patch = make_patch(keyed, process={"phase": phase})
    mono, stereo = (run(Processor(patch, 48_000, n), np.stack([LEFT] * n), [700], EVENTS) for n in (1, 2))
    assert np.array_equal(mono, stereo)


def test_three_channels_are_mixed(allpass, make_patch, sound_of, tmp_path):
    channels = np.stack([LEFT, OTHER, LEFT])
    process(sound_of(channels), make_patch(allpass["spectrum"]), tmp_path / "out.wav")
    given, _ = read_sound(tmp_path / "out.wav")
    assert len(given) == 1
    assert decibels(given[0] - channels.mean(axis=0), LEFT) < -80


@pytest.mark.parametrize("phase", ["own", "original"])
@few
@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_any_division_into_blocks_gives_the_same_sides(keyed, make_patch, phase, sizes):
    patch = make_patch(keyed, process={"phase": phase, "smooth_seconds": 0.05}, cc=CCS[:-1])
    sides = HALF_ALIKE[:, :6000].copy()
    sides[1, :2000] = sides[0, :2000]  # mono at first
    whole = run(Processor(patch, 48_000, 2), sides, [6000], EVENTS)
    assert not np.allclose(whole[0], whole[1], atol=0.01)
    assert run(Processor(patch, 48_000, 2), sides, sizes, EVENTS) == pytest.approx(whole, abs=1e-6)


BANDS_HZ = ((100, 800), (3000, 9000))


def levels_and_correlations(sides, rate):
    """Level of the left side over the right in dB, and correlation, by band."""
    bands = [
        scipy.signal.sosfilt(scipy.signal.butter(6, edges, "bandpass", fs=rate, output="sos"), sides)
        for edges in BANDS_HZ
    ]
    levels = [10 * np.log10(np.mean(np.square(left)) / np.mean(np.square(right))) for left, right in bands]
    return np.array(levels), np.array([np.corrcoef(left, right)[0, 1] for left, right in bands])


@pytest.mark.parametrize(("phase", "correlation"), [("original", 0.1), ("own", 0.25)])
def test_bent_codes_keep_the_sides_levels_and_correlations_by_band(phase, correlation):
    rate = 44_100
    common, *own = (np.random.default_rng(seed).normal(0, 0.05, 3 * rate) for seed in range(3))
    low, high = (
        scipy.signal.sosfilt(scipy.signal.butter(4, 1500, kind, fs=rate, output="sos"), [common, *own])
        for kind in ("low", "high")
    )
    sides = np.stack([low[1] + 0.25 * high[0], 0.3 * low[2] + high[0] + 0.3 * high[1]]).astype(np.float32)
    patch = with_options(open_patch("gm-chroma-8"), [], [], {"to": "Violin", "amount": 0.9, "phase": phase})
    processor = Processor(patch, rate, 2)
    given = run(processor, np.pad(sides, ((0, 0), (0, processor.latency_samples))), [16_384])
    levels, correlations = levels_and_correlations(sides, rate)
    given_levels, given_correlations = levels_and_correlations(given[:, processor.latency_samples :], rate)
    assert np.abs(levels).min() > 10
    assert given_levels == pytest.approx(levels, abs=2.0)
    assert given_correlations == pytest.approx(correlations, abs=correlation)


def test_phases_of_their_own_keep_apart_what_is_out_of_tune_between_the_sides():
    rate = 44_100
    seconds = np.arange(3 * rate) / rate
    tones = [sum(0.05 / k * np.sin(2 * np.pi * hz * k * seconds) for k in range(1, 40)) for hz in (220.0, 220.7)]
    sides = np.stack(tones).astype(np.float32)
    processor = Processor(with_options(open_patch("gm-chroma-8"), [], [], {"phase": "own"}), rate, 2)
    given = run(processor, np.pad(sides, ((0, 0), (0, processor.latency_samples))), [16_384])
    assert levels_and_correlations(sides, rate)[1] == pytest.approx(0, abs=0.1)
    assert levels_and_correlations(given[:, processor.latency_samples :], rate)[1] == pytest.approx(0, abs=0.3)
