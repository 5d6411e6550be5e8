"""Each grain has the pitch, the envelope, the filter, the place and the level that its settings ask for."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.signal import resample, welch
from timbrel.host.engines.grain.sources import Cut, NoiseFrames, ResampledFrames, source_of

from .grains import LENGTH, RATE, Still, onsets, sound


@pytest.mark.parametrize("semitones", [-48, -24, -7.3, -1, 0.5, 3, 12, 19.02, 36])
def test_a_sine_moves_by_the_interval_to_a_cent(grain_model, semitones):
    length = 1 << 15
    hz = 5200.0 / 2 ** (max(semitones, 0) / 12)
    model = grain_model(np.sin(2 * np.pi * hz * np.arange(length) / RATE), frame_length=length, hop_length=length)
    heard = sound(model, 1.5, pitch=semitones, density=0.1, length=1.4)[0].astype(np.float64)
    heard = np.trim_zeros(heard)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 1 << 20))
    peak = int(np.argmax(spectrum))
    a, b, c = np.log(spectrum[peak - 1 : peak + 2])
    found = (peak + 0.5 * (a - c) / (a - 2 * b + c)) * RATE / (1 << 20)
    assert abs(1200 * np.log2(found / (hz * 2 ** (semitones / 12)))) < 1.0


@pytest.mark.parametrize(("semitones", "count"), [(12, 512), (-12, 2048)])
def test_octaves_are_scipys_resampling(ones, semitones, count):
    frame = np.random.default_rng(3).normal(size=(1, LENGTH)).astype(np.float32)
    made = ResampledFrames(ones.card, 44100).grains(frame, [Cut(count, 2.0 ** (semitones / 12), 0.5)], [[0, 0]])[0]
    assert np.allclose(made, resample(frame[0].astype(np.float64), count), atol=1e-4)


def test_a_grain_is_the_middle_of_its_frame(ones):
    frame = np.arange(LENGTH, dtype=np.float32)[np.newaxis]
    assert np.array_equal(
        ResampledFrames(ones.card, 44100).grains(frame, [Cut(24, 1.0, 0.5)], [[0, 0]])[0], range(500, 524)
    )


def test_magnitudes_and_phases_are_the_samples_that_they_are_of(grain_model):
    frame = np.random.default_rng(4).normal(size=LENGTH)
    spectrum = np.fft.rfft(frame)
    polar = grain_model(np.r_[np.abs(spectrum), np.angle(spectrum)], domain="magnitude_phase")
    for keys in ({}, {"pitch": 5.0, "lowpass_hz": 3000.0}):
        one, other = (sound(model, 0.3, **keys) for model in (grain_model(frame), polar))
        assert np.allclose(one, other, atol=1e-4)


@given(
    semitones=st.floats(-72, 72, allow_subnormal=False),
    length=st.integers(2, 2000),
    lowpass=st.floats(0.001, 0.6),
    domain=st.sampled_from(["samples", "magnitude"]),
    frame_length=st.sampled_from([16, 1002, 1024, 4096]),
)
@example(semitones=72.0, length=2, lowpass=0.6, domain="samples", frame_length=16)
def test_whatever_is_asked_for_a_grain_is_finite_and_as_long_as_it_can_be(
    ones, semitones, length, lowpass, domain, frame_length
):
    card = ones.card.model_copy(update={"domain": domain, "frame_length": frame_length})
    source = source_of(card, 2 * RATE)
    ratio = 2.0 ** (semitones / 12)
    count = min(length, source.longest(ratio))
    frame = np.full((1, card.frame_width), 0.5, np.float32)
    made = source.grains(frame, [Cut(count, ratio, lowpass)], [[0.999999, 0.5]])[0]
    assert made.shape == (count,)
    assert made.dtype == np.float32
    assert np.all(np.isfinite(made))
    assert np.abs(made).max() < 10


def test_an_envelope_keeps_its_place_in_a_grain_of_any_length(grain_model):
    points = 9
    envelope = np.zeros(points)
    envelope[6] = 1.0
    model = grain_model(np.r_[np.ones(LENGTH // 2 + 1), envelope], domain="magnitude", envelope_points=points)
    for length in (300, 1000, 5000):
        made = NoiseFrames(model.card, 44100).grains(
            np.r_[np.ones(LENGTH // 2 + 1), envelope][np.newaxis].astype(np.float32),
            [Cut(length, 1.0, 0.5)],
            [[0.1, 0.7]],
        )[0]
        expected = np.interp(np.linspace(0, points - 1, length), np.arange(points), envelope)
        assert np.all(made[expected == 0] == 0)
        assert np.sum(made**2) == pytest.approx(np.sum(expected**2) / LENGTH, rel=0.6)
    for length in (300, 5000):
        many = [
            NoiseFrames(model.card, 44100).grains(
                np.r_[np.ones(LENGTH // 2 + 1), np.ones(points)][np.newaxis].astype(np.float32),
                [Cut(length, 1.0, 0.5)],
                [[place, 1 - place]],
            )[0]
            for place in np.linspace(0, 0.99, 60)
        ]
        assert np.mean(np.square(many)) == pytest.approx(1 / LENGTH, rel=0.05)  # E|X|^2 = m^2


def test_a_low_pass_falls_off_as_a_butterworth_of_order_4(noise, grain_model):
    white = grain_model(np.random.default_rng(5).normal(size=LENGTH))
    for model in (noise, white):
        powers = [
            welch(sound(model, 20.0, block=16384, **keys)[0], RATE, nperseg=512)
            for keys in ({}, {"lowpass_hz": 2000.0})
        ]
        hz = powers[0][0]
        fallen = 10 * np.log10(powers[1][1] / powers[0][1])
        told = -10 * np.log10(1 + (hz / 2000) ** 8)
        inside = (hz > 300) & (hz < 5000)
        assert np.abs(np.convolve(fallen[inside] - told[inside], np.ones(5) / 5, "valid")).max() < 1.5


def test_shapes_go_from_tukey_over_hann_to_blackman(ones):
    at = (np.arange(882) + 0.5) / 882
    edge = np.minimum(np.minimum(at, 1 - at) / 0.1, 0.5)
    windows = {
        0.0: 0.5 - 0.5 * np.cos(2 * np.pi * edge),
        0.5: 0.5 - 0.5 * np.cos(2 * np.pi * at),
        1.0: 0.42 - 0.5 * np.cos(2 * np.pi * at) + 0.08 * np.cos(4 * np.pi * at),
    }
    for shape, window in windows.items():
        assert np.allclose(sound(ones, 0.04, density=1.0, length=0.04, shape=shape)[0], window, atol=1e-6)
    energies = [np.sum(sound(ones, 0.04, density=1.0, length=0.04, shape=s)[0] ** 2) for s in np.linspace(0, 1, 41)]
    assert np.all(np.diff(energies) < 0)


def test_spread_places_each_grain_alone_and_keeps_the_power(ones):
    centre = sound(ones, 20.0, density=20.0, length=0.01)
    assert np.array_equal(centre[0], centre[1])
    spread = sound(ones, 20.0, density=20.0, length=0.01, spread=1.0)
    assert np.allclose(np.sum(spread**2, axis=0)[:200], np.sum(centre**2, axis=0)[:200], rtol=1e-4)
    starts = onsets(spread[0] + spread[1]) + 100
    sides = np.arctan2(spread[1, starts[:-1]], spread[0, starts[:-1]]) / (np.pi / 2)
    count = np.histogram(sides, 5, (0, 1))[0]
    assert np.all(np.abs(count - len(sides) / 5) < 5 * np.sqrt(len(sides) / 5))


def test_level_jitter_goes_up_and_down_by_what_it_says(ones):
    heard = sound(ones, 30.0, density=20.0, length=0.01, level_jitter=12.0, jitter=0.0)[0]
    peaks = 20 * np.log10([part.max() for part in np.split(heard[: 30 * RATE // 1102 * 1102], 30 * RATE // 1102)])
    assert -12.01 < peaks.min() < -11
    assert 11 < peaks.max() < 12.01


@pytest.mark.parametrize("amount", [0.5, 2.0])
def test_code_jitter_is_in_deviations_and_stays_in_the_spans(noise, amount):
    codes = []
    decode, noise.decode = noise.decode, lambda latent, chroma: codes.append(latent.copy()) or decode(latent, chroma)
    try:
        sound(noise, 10.0, density=200.0, length=0.01, code_jitter=amount, motion=Still((0.5, 0.0, -3.5)))
    finally:
        noise.decode = decode
    codes = np.concatenate(codes)
    assert np.all(np.abs(codes) <= 4.0)
    assert codes[:, 1].mean() == pytest.approx(0.0, abs=0.15 * amount)
    if amount < 1:
        assert codes[:, 1].std() == pytest.approx(amount, rel=0.05)
        assert abs(np.corrcoef(codes[:, 0], codes[:, 1])[0, 1]) < 0.1
    assert np.any(codes[:, 2] == -4.0)
