"""Residuals of notes by formula: the mean and the movement that a decoder lacks, and none of noise's own."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy
from timbrel.export.fidelity.measures import BANDS, HOP, course
from timbrel.export.fidelity.notes import RecordedNote
from timbrel.export.gestures.build import take_differences
from timbrel.export.gestures.code_fitting import band_middles, decoded_shapes, noise_fluctuation, residuals_of
from timbrel.host.kinds.card_fields import PartialsLayout
from timbrel.host.model.gesture import NO_MODES, RESIDUAL_DB
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS
from timbrel.host.signal import white_noise
from timbrel.host.units import midi_to_hz

RATE, KEY, HARMONICS = 44100, 57, 40
HEIGHTS = 0.9 ** np.arange(HARMONICS)
MIDDLES = np.array(band_middles(RATE))
EDGES = [20.0, *np.geomspace(50, 20_000, 40).tolist()]


@pytest.fixture(scope="module")
def card():
    """A card of partials at the published frames."""
    known = Model(MODELS / "gm-partials-8.onnx").card
    layout = PartialsLayout(harmonics=HARMONICS, edges_hz=EDGES, low=30, high=90)
    return known.model_copy(update={"sample_rate": RATE, "frame_length": 4096, "hop_length": 1024, "partials": layout})


def sound(levels_db, held=1.2, seconds=1.5, cents=0.0):
    """A note whose harmonics have levels over time, a function of (hertz, time), let go after ``held``."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = midi_to_hz(KEY + cents / 100) * np.arange(1, HARMONICS + 1)
    parts = [
        height * 10 ** (levels_db(hertz, time) / 20) * np.sin(2 * np.pi * hertz * time + number**2)
        for number, (hertz, height) in enumerate(zip(hz, HEIGHTS, strict=True))
    ]
    level = np.minimum(time / 0.01, 1) * np.where(time > held, 10 ** (-100 * (time - held) / 20), 1)
    return (0.05 * level * np.sum(parts, 0)).astype(np.float32)


def residuals(
    card,
    levels_db,
    decode=lambda codes: np.tile(HEIGHTS, (len(codes), 1)),
    hiss=0.0,
    made=None,
    released=True,
    cents=0.0,
    held=None,
):
    """Mean, movement and release of a note beside a model that decodes the harmonics alone, in dB."""
    single = SimpleNamespace(pitch=KEY + cents / 100, key=KEY)
    note = RecordedNote(single, sound(levels_db) if made is None else made, 1.2, -10.0)

    def frames(codes, keys):
        noise = np.full((len(codes), len(EDGES) - 1), hiss)
        return np.concatenate([decode(codes), noise], axis=1).astype(np.float32)

    def path(moments):
        return moments[:, np.newaxis]  # a code is its own moment

    model = SimpleNamespace(card=card, decode=frames)
    found = residuals_of(note, held or path, path if released else None, model, NO_MODES)
    return RESIDUAL_DB * found.held[0], RESIDUAL_DB * found.held[1:], RESIDUAL_DB * found.released


def onset(card, levels_db):
    """The movement in short windows, in dB."""
    model = SimpleNamespace(
        card=card, decode=lambda codes, keys: np.tile([*HEIGHTS, *np.zeros(len(EDGES) - 1)], (len(codes), 1))
    )
    note = RecordedNote(SimpleNamespace(pitch=float(KEY), key=KEY), sound(levels_db), 1.2, -10.0)
    return RESIDUAL_DB * residuals_of(note, lambda moments: moments[:, np.newaxis], None, model, NO_MODES).onset


HEARD = (MIDDLES > 400) & (MIDDLES < 8000)  # a band between two partials depends on their phases
HIGH = (MIDDLES > 2500) & (MIDDLES < 7500)


def test_a_note_as_it_is_decoded_has_no_residual(card):
    mean, moves, after = residuals(card, lambda hertz, time: 0 * time)
    assert np.percentile(np.abs(mean[HEARD]), 90) <= 0.5
    assert np.abs(mean[HEARD]).max() <= 3.0
    assert np.abs(moves[4:, HEARD]).max() <= 2.5  # partials that beat
    assert np.abs(after[1:, HEARD]).max() <= 3.0
    assert len(moves) == round(1.2 * RATE / HOP) - 1  # the last frames hear the release
    assert 10 < len(after) < 0.3 * RATE / HOP + 2  # it falls by 30 dB in .3 s


def test_a_mean_is_what_the_decoder_lacks(card):
    mean, moves, _ = residuals(card, lambda hertz, time: 6.0 * (hertz > 2000) + 0 * time)
    asked = course(sound(lambda hertz, time: 6.0 * (hertz > 2000) + 0 * time), RATE).shapes[20:60].mean(0)
    plain = course(sound(lambda hertz, time: 0 * time), RATE).shapes[20:60].mean(0)
    apart = np.abs(mean - (asked - plain))[HEARD]
    assert np.percentile(apart, 90) < 0.6
    assert apart.max() < 3.0
    assert np.ptp(mean[HEARD]) > 5.0
    assert np.abs(moves[4:, HEARD]).max() <= 2.5  # partials that beat


def test_movement_is_that_of_the_recording_at_its_time(card):
    _, moves, _ = residuals(card, lambda hertz, time: 6.0 * np.sin(2 * np.pi * 4 * time) * (hertz > 2000))
    time = np.arange(len(moves)) * HOP / RATE
    wave = np.sin(2 * np.pi * 4 * time)[8:-8]
    found = moves[8:-8, HIGH].mean(1)
    found = found - found.mean()
    assert wave @ found / (wave @ wave) == pytest.approx(6.0, rel=0.25)  # less what moves the whole power
    assert np.corrcoef(wave, found)[0, 1] > 0.97


def test_the_onset_follows_what_is_over_after_30_ms(card):
    """Overtones that are 12 dB louder, of a sound whose power they raise."""
    found = onset(card, lambda hertz, time: 12.0 * (time < 0.03) * (hertz > 2000))
    assert found.shape == (33, BANDS)
    time, level = np.arange(33) * HOP / 2 / RATE, found[:, HIGH].mean(1)
    late = level[time > 0.06].mean()
    assert level[(time > 0.012) & (time < 0.018)].mean() - late > 5.5
    assert np.abs(level[time > 0.045] - late).max() < 2.0


def test_the_onset_moves_around_the_mean(card):
    """Overtones that are louder throughout."""
    found = onset(card, lambda hertz, time: 6.0 * (hertz > 2000) + 0 * time)
    assert np.abs(found[8:, HIGH].mean()) < 0.7


def test_what_the_codes_move_is_no_residual(card):
    def swell(hertz, time):
        return 8.0 * time * (hertz > 2000)

    hz = midi_to_hz(KEY) * np.arange(1, HARMONICS + 1)
    _, moves, _ = residuals(card, swell, lambda codes: HEIGHTS * 10 ** (8.0 * codes * (hz > 2000) / 20))
    assert np.abs(moves[4:-4, HEARD]).max() <= 2.5


def test_a_recording_is_tuned_to_its_key_first(card):
    bent = sound(lambda hertz, time: 0 * time, cents=45.0)
    mean, moves, _ = residuals(card, None, made=bent, cents=45.0)
    assert np.percentile(np.abs(mean[MIDDLES < 1500]), 90) <= 1.0
    assert np.abs(moves[4:-4, HEARD]).max() <= 2.5


def test_codes_of_a_release_count_from_the_note_off(card):
    def falls(hertz, time):
        return np.where(time > 1.2, -60.0 * (time - 1.2), 0.0) * (hertz > 2000)

    hz = midi_to_hz(KEY) * np.arange(1, HARMONICS + 1)

    def decode(codes):  # of a release they begin at 0 again, and the held part has none but 0
        return HEIGHTS * 10 ** (-60.0 * np.where(codes < 0.4, codes, 0.0) * (hz > 2000) / 20)

    _, _, after = residuals(card, falls, decode, held=lambda moments: np.ones((len(moments), 1)))
    assert len(after) > 10
    assert np.abs(after[3:, HIGH]).max() <= 2.5


def test_noise_moves_by_itself_and_has_no_residual_of_that(card):
    made = (0.05 * white_noise(round(1.2 * RATE))).astype(np.float32)
    _, moves, after = residuals(
        card, None, lambda codes: np.zeros((len(codes), HARMONICS)), hiss=0.05, made=made, released=False
    )
    own = noise_fluctuation(RATE)[HEARD]
    assert own.min() > 0.5
    assert moves[:, HEARD].std() < 0.7 * own.mean()  # its slow course stays
    assert np.diff(moves[:, HEARD], axis=0).std() < 0.5 * np.sqrt(2) * own.mean()
    assert len(after) == 0


def test_expected_shapes_are_those_of_partials_and_noise_in_short_frames(card):
    level = 0.02
    frames = np.concatenate([HEIGHTS, np.full(len(EDGES) - 1, level)])[np.newaxis].astype(np.float32)
    found, hiss = decoded_shapes(frames, np.array([KEY]), card)
    # A partial is A / 4 of 4096 samples high in a Hann frame, and noise of deviation s sqrt(6144 / 4) s.
    amplitude, deviation = 4 / 4096, 1 / np.sqrt(card.frame_length * 0.375)
    time = np.arange(2 * RATE) / RATE
    hz = midi_to_hz(KEY) * np.arange(1, HARMONICS + 1)
    tones = sum(
        amplitude * height * np.sin(2 * np.pi * hertz * time + k * k)
        for k, (hertz, height) in enumerate(zip(hz, HEIGHTS, strict=True))
    )
    noise = np.sqrt(3) * level * deviation * white_noise(len(time))
    shapes = course((tones + noise).astype(np.float32), RATE).shapes[4:-4]
    asked = 10 * np.log10(np.mean(10 ** (shapes / 10), 0))
    assert found[0, HEARD] == pytest.approx(asked[HEARD], abs=1.0)
    assert hiss[0, MIDDLES > 12_000] == pytest.approx(1.0, abs=0.02)
    assert hiss[0, (MIDDLES > 200) & (MIDDLES < 900)].min() < 0.1


def test_takes_are_pairs_of_one_key_and_velocity(card):
    def way(key, velocity, first, tuning=0.3):
        row = np.zeros(3 * BANDS, np.int8)
        row[:BANDS] = first
        return SimpleNamespace(key=key + tuning, tuning=tuning, velocity=velocity, residual=row)

    ways = [way(60.1, 80, 0), way(60.0, 80, 6), way(59.8, 80, 2), way(60.0, 96, 9), way(61.0, 80, 9)]
    found = take_differences(ways, [-10.0, -12.0, -11.0, 0.0, 0.0])
    assert found.shape == (2, 1 + BANDS)
    assert found[:, 1:].tolist() == [[6] * BANDS, [-4] * BANDS]
    levels = np.array([-4.0, 2.0])  # half decibels, of one median as a normal distribution's
    scale = np.median(np.abs(levels)) / 0.6745 / np.sqrt(np.mean(levels**2))
    assert found[:, 0].tolist() == np.round(levels * scale).tolist()
    assert len(take_differences(ways[3:], [0.0, 0.0])) == 0
    many = [way(60.0, 80, number % 3) for number in range(100)]
    kept = take_differences(many, [0.0] * 100)
    assert 8 <= len(kept) <= 16
    spread = take_differences([way(60.0, 80, number // 50 * number % 2) for number in range(100)], [0.0] * 100)
    assert spread[len(spread) // 2 + 1 :, 1:].any()  # pairs of all notes, not of the first ones


def test_movement_is_as_fast_after_the_windows_of_the_measure_as_it_was_recorded(card):
    """Gains that follow stored moments are smoothed by these windows once more."""
    tremolo = 4.0 * np.sin(2 * np.pi * 11.0 * np.arange(2 * RATE) / RATE)
    _, moves, _ = residuals(card, lambda hertz, time: tremolo[: len(time)] * (hertz > 1500) - 40 * (hertz < 1500))
    wide = (MIDDLES > 2500) & (MIDDLES < 7000)
    inside = moves[8:60][:, wide].mean(1)
    assert np.ptp(inside) == pytest.approx(0, abs=1.0)  # a shape has no level: all loud bands move alike
    _, moves, _ = residuals(card, lambda hertz, time: tremolo[: len(time)] * np.sign(hertz - 2000))
    found = np.ptp(moves[8:60][:, wide].mean(1) - moves[8:60][:, (MIDDLES > 400) & (MIDDLES < 1500)].mean(1))
    assert found == pytest.approx(16.0, rel=0.1)


def test_expected_spectra_have_modes_where_they_sound(card):
    frames = np.concatenate([np.zeros((2, HARMONICS)), np.full((2, len(EDGES) - 1), 0.05)], axis=1).astype(np.float32)
    keys = np.full(2, KEY)
    ratio = 2990.0 / midi_to_hz(KEY)
    plain, tonal = (
        decoded_shapes(frames, keys, card, modes)[0][0] for modes in (NO_MODES, np.array([[ratio, 0, 1.0]]))
    )
    band = np.abs(MIDDLES - 2990.0).argmin()
    assert tonal[band] > plain[band] + 1
    beside = np.abs(np.abs(MIDDLES - 2990.0) - 200).argmin()
    assert tonal[beside] < plain[beside] - 2


def test_a_soft_beginning_and_the_end_of_a_release_have_their_spectra(card):
    time = np.arange(round(1.5 * RATE)) / RATE
    soft = 10 ** (-36 / 20)  # breath before the tone, 36 dB below it, and of high partials alone

    def made(level_db):
        tone = sound(lambda hertz, time: 0 * time)
        breath = sound(lambda hertz, time: np.where(hertz > 2000, 0.0, -60.0) + 0 * time)
        return np.where(time < 0.15, soft * breath, tone * 10 ** (level_db(time) / 20)).astype(np.float32)

    _, moves, after = residuals(card, None, made=made(lambda time: 0 * time))
    low = (MIDDLES > 400) & (MIDDLES < 1500)
    assert (moves[4:9, HIGH].mean(1) - moves[4:9, low].mean(1)).min() > 35  # of 60 dB, and the mean has the rest
    assert np.abs(moves[20:80, HEARD]).max() < 4.0
    assert 15 < len(after) < 0.45 * RATE / HOP + 2  # it falls by 45 dB in .45 s


def test_a_slow_course_of_noise_is_kept_whole(card):
    time = np.arange(round(1.2 * RATE)) / RATE
    white = white_noise(len(time))
    swelling = scipy.signal.sosfiltfilt(scipy.signal.butter(4, 2000, "high", fs=RATE, output="sos"), white)
    made = 0.05 * (white + swelling * (10 ** (10 * time / 20) - 1))  # 12 dB more of its highs at the end
    _, moves, _ = residuals(
        card, None, lambda codes: np.zeros((len(codes), HARMONICS)), hiss=0.05, made=made.astype(np.float32)
    )
    apart = moves[:, HIGH].mean(1) - moves[:, (MIDDLES > 400) & (MIDDLES < 1200)].mean(1)
    assert apart[-30:].mean() - apart[:30].mean() == pytest.approx(10 * 72 * HOP / RATE, rel=0.2)
