"""Noise, width and unison of the coherent voice, against noise and closed forms."""

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.spectrum.noise_voicing import white_frames
from timbrel.host.events import NoteOn
from timbrel.host.signal import FrameShape, white_noise

from .coherent import (
    BINS,
    FRAME,
    LEVEL,
    PUBLISHED,
    PURE,
    RATE,
    Given,
    Knobs,
    amplitudes,
    centroid,
    level_db,
    noisy,
    one,
    sound_of,
)


def test_no_noise_is_asked_for_and_none_is_heard(model_of):
    flat = model_of(lambda latent, key: np.full(BINS, 0.2))
    assert not sound_of(flat, [60, 72.3], RATE, **PURE).any()


def in_bands(power):
    """Means of four bins each: a loop of 1.5 s says no more of one."""
    return power[: len(power) // 4 * 4].reshape(-1, 4).mean(1)


@pytest.mark.parametrize("noise", [0.25, 1.0])
@pytest.mark.parametrize("key", [60, 72, 41.3])
def test_noise_has_the_variance_and_the_flat_spectrum_that_the_frame_says(model_of, key, noise):
    height = 0.2
    flat = model_of(lambda latent, pitch: np.full(BINS, height))
    sound = one(flat, key, 6 * RATE, noise=noise)
    hz, power = scipy.signal.welch(sound, RATE, nperseg=1024)
    ratio = 2 ** ((key // 12 - 5) + (key % 1) / 12)  # a key is decoded in octave 4, and moved from there
    # White noise of variance v has v * FRAME * 3 / 8 in the bins of a Hann window's transform; moving keeps power.
    variance = noise**2 * height**2 / (FRAME * 3 / 8) * 10 ** (-1.4 / 10)
    heard = (hz > 150) & (hz < min(1, ratio) * RATE / 2 - 100)
    near = in_bands(power[heard]) / (variance / ratio * 2 / RATE)
    assert 10 * np.log10(near) == pytest.approx(np.zeros(len(near)), abs=1.0)
    assert 10 * np.log10(near.mean()) == pytest.approx(0, abs=0.2)


def test_noise_is_gaussian_and_has_no_line_at_the_rate_of_the_hops(model_of):
    hill = model_of(lambda latent, key: np.exp(-np.square((np.arange(BINS) - 600) / 60) / 2))
    sound = one(hill, 60, 8 * RATE)
    assert np.mean(sound**4) / np.mean(sound**2) ** 2 == pytest.approx(3.0, abs=0.1)
    power = scipy.signal.welch(sound**2, RATE, nperseg=4096, detrend="constant")[1]
    lines = np.rint(np.array([1, 2, 3, 4]) * RATE / 256 * 4096 / RATE).astype(int)
    beside = np.array([np.median(np.delete(power[line - 8 : line + 9], range(6, 11))) for line in lines])
    assert 10 * np.log10(power[lines] / beside) == pytest.approx(np.zeros(4), abs=3.0)


def test_the_noise_of_two_voices_has_nothing_in_common(model_of):
    flat = model_of(lambda latent, key: np.full(BINS, 0.2))
    alike = np.corrcoef(sound_of(flat, [60, 60, 60], RATE)[:, 0])
    assert alike == pytest.approx(np.eye(3), abs=0.03)


def test_coloured_noise_keeps_its_colour(model_of):
    colour = np.exp(-np.arange(BINS) / 400)
    sound = one(model_of(lambda latent, key: colour), 60, 6 * RATE)
    hz, power = scipy.signal.welch(sound, RATE, nperseg=1024)
    heard = (hz > 150) & (hz < 15_000)
    change = 10 * np.log10(in_bands(power[heard] / colour[np.rint(hz[heard] * FRAME / RATE).astype(int)] ** 2))
    assert change == pytest.approx(np.full(len(change), change.mean()), abs=1.0)


def test_without_width_left_and_right_are_one(model_of, make_instrument, play):
    model = model_of(noisy)
    assert sound_of(model, [60], 100, unison=3, detune_cents=20.0).shape == (1, 1, 100)
    sound = play(make_instrument(RATE, model, play={"unison": 3}), [NoteOn(0, 0, 60, 100)], 8000)
    assert np.array_equal(sound[0], sound[1])
    assert np.abs(sound).max() > 0.01


@pytest.mark.parametrize("width", [0.3, 1.0])
def test_width_takes_from_the_noise_of_both_sides_what_they_have_in_common(model_of, width):
    model = model_of(lambda latent, key: np.full(BINS, 0.2))
    left, right = sound_of(model, [60], 6 * RATE, width=width)[0].astype(np.float64)
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(1 - width, abs=0.03)
    mono = one(model, 60, 6 * RATE)
    for side in (left, right):
        assert level_db(side) - level_db(mono) == pytest.approx(0, abs=0.1)
    together = level_db((left + right) / 2) - level_db(mono)
    assert together == pytest.approx(10 * np.log10(1 - width / 2), abs=0.15)


def test_partials_of_one_voice_stay_in_the_middle_however_wide_the_noise(comb):
    left, right = sound_of(comb(0.8 ** np.arange(12)), [60], RATE, width=1.0, **PURE)[0]
    assert np.array_equal(left, right)


@pytest.mark.parametrize("unison", [2, 3, 5, 8])
def test_unison_voices_lie_around_the_key_and_keep_the_power_of_one(comb, unison):
    model = comb([1.0])
    sound = one(model, 69, 5 * RATE, unison=unison, detune_cents=30.0, **PURE)[RATE // 4 :]
    cents = np.linspace(-30, 30, unison)
    found, rest_db = amplitudes(sound, 440 * 2 ** (cents / 1200))
    assert rest_db < -60
    assert found / LEVEL == pytest.approx(np.full(unison, unison**-0.5), rel=0.02)
    alone = one(model, 69, 5 * RATE, **PURE)
    assert level_db(sound) - level_db(alone) == pytest.approx(0, abs=0.5)


def test_wide_unison_puts_the_lowest_voice_left_and_the_highest_right_with_power_kept(comb):
    left, right = sound_of(comb([1.0]), [69], 5 * RATE, unison=3, detune_cents=30.0, width=1.0, **PURE)[0]
    hz = 440 * 2 ** (np.array([-30, 0, 30]) / 1200)
    powers = np.array([amplitudes(side.astype(np.float64), hz)[0] ** 2 for side in (left, right)]) / LEVEL**2
    assert powers == pytest.approx(np.array([[2, 1, 0], [0, 1, 2]]) / 3, abs=0.02)


def test_unison_decodes_no_more_rows_than_one_voice(model_of):
    rows = []
    for unison in (1, 8):
        model = model_of(noisy)
        knobs = Knobs(latent=lambda times: times / RATE % 1.0)
        sound_of(model, [60, 67], RATE, knobs, sizes=(500,), unison=unison, width=1.0)
        rows.append(model.rows)
    assert rows[0] == rows[1] > 40


def test_kept_formants_hold_the_colour_of_the_noise_too(model_of):
    hill = model_of(lambda latent, key: np.exp(-np.square((np.arange(BINS) - 300) / 100) / 2))
    rest = centroid(one(hill, 60, 3 * RATE))
    assert centroid(one(hill, 72, 3 * RATE)) == pytest.approx(2 * rest, rel=0.05)
    assert centroid(one(hill, 72, 3 * RATE, keep_formants=True)) == pytest.approx(rest, rel=0.02)


@pytest.mark.parametrize("shape", [FrameShape(1024, 4, (0.5, 0.5), 4), FrameShape(1000, 8, (0.5, 0.5), 12)], ids=str)
def test_the_loop_of_noise_has_no_seam(shape):
    """Its frames, added up around the seam, are white noise again, as anywhere else."""
    spectra, hop = white_frames(shape), shape.length // shape.overlap
    around = [*range(-3 * shape.overlap, 0), *range(3 * shape.overlap)]
    frames = np.fft.irfft(spectra[around] * np.resize([1, -1], spectra.shape[1]), shape.length)
    sound = np.zeros((len(frames) - 1) * hop + shape.length)
    for index, frame in enumerate(frames):
        sound[index * hop : index * hop + shape.length] += frame
    inside = sound[shape.length : -shape.length]
    wrapped = np.sqrt(3) * np.roll(white_noise(len(spectra) * hop), 3 * shape.overlap * hop)
    assert inside == pytest.approx(wrapped[shape.length : shape.length + len(inside)], abs=1e-4)


@pytest.mark.parametrize(("rate", "loop"), [(22_050, 65_536), (48_000, 65_536), (96_000, 131_072), (192_000, 262_144)])
def test_the_loop_of_noise_lasts_more_than_1_3_seconds_at_any_rate(tiny, rate, loop):
    """A held sound repeats after the whole loop, and not after half of it."""
    model = Given(tiny(**PUBLISHED | {"sample_rate": rate}).card, lambda latent, key: np.full(BINS, 0.2))
    sound = one(model, 60, loop + 20_000)
    halves = [np.corrcoef(sound[4000:20_000], sound[4000 + lag : 20_000 + lag])[0, 1] for lag in (loop // 2, loop)]
    assert halves == pytest.approx([0.0, 1.0], abs=0.05)
    assert loop > 1.3 * rate


@pytest.mark.parametrize("key", [60, 84])
def test_noise_of_any_colour_has_no_steps_where_frames_begin(model_of, key):
    rumble = np.where(np.arange(BINS) < 8, 0.2, 1e-4)
    sound = one(model_of(lambda latent, pitch: rumble), key, 2 * RATE).astype(np.float64)
    steps = np.abs(np.diff(sound, 3))
    around = np.sqrt(np.convolve(np.square(steps), np.ones(801) / 801, "same"))
    assert (steps / around)[801:-801].max() < 6  # of a step 20
