"""The noise of a voice of partials lies where its bands do, and is as strong as they are."""

import numpy as np
import pytest
from timbrel.host.engines.spectrum.chord_voicing import ChordVoicing
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.kinds.card_fields import PartialsLayout
from timbrel.host.model.partials import spectra, spread
from timbrel.host.signal import window

from ..spectrum.coherent import FRAME, LEVEL, RATE, STILL, Knobs, one, sound_of
from .voices import EDGES, density_db


@pytest.mark.parametrize("band", range(1, 5))
def test_a_band_of_noise_lies_between_its_edges_and_has_the_power_of_its_spectrum(partials_of, band):
    row = np.zeros((1, 17), np.float32)
    row[0, 12 + band] = 0.1
    model = partials_of(lambda latent, key: row[0])
    sound = one(model, 60, 6 * RATE)[RATE:]
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[:: FRAME // 2] * window("hann", FRAME)
    found = np.square(np.abs(np.fft.rfft(frames))).mean(0) / (LEVEL * FRAME / 4) ** 2
    asked = np.square(spectra(model.card, row, np.array([60]))[0].astype(np.float64))
    assert 10 * np.log10(found.sum() / asked.sum()) == pytest.approx(0, abs=0.6)
    middle = np.sqrt(max(EDGES[band], 1.0) * EDGES[band + 1]) * FRAME / RATE
    centroid = (found @ np.arange(len(found))) / found.sum()
    assert centroid == pytest.approx((asked @ np.arange(len(asked))) / asked.sum(), rel=0.05)
    assert found[round(middle)] > 0.5 * asked[round(middle)]


def noise_of(partials_of, levels, count=12, **settings):
    """The channels of a key that is noise alone; levels in dB of its bands below 43, 65, 86, 400 Hz and above."""
    row = np.concatenate([np.zeros(12), 10 ** (np.array(levels) / 20)]).astype(np.float32)
    model = partials_of(lambda latent, key: row, edges_hz=[20.0, 43.0, 65.0, 86.0, 400.0, 22050.0])
    return sound_of(model, [60], count * RATE, STILL, **settings)[0][:, RATE:].astype(np.float64)


def test_a_rumble_stays_below_what_is_heard(partials_of):
    (sound,) = noise_of(partials_of, [0, -40, -40, -50, -50], count=20)
    for asked, (low, high) in zip([-2, -40, -40, -50], [(22, 35), (50, 62), (68, 84), (170, 300)], strict=True):
        assert density_db(sound, low, high) == pytest.approx(asked, abs=2.0)
    assert density_db(sound, 10, 18) < -15  # nothing there can be heard


@pytest.mark.parametrize("bend", [-0.4, 0.4])
def test_a_bend_leaves_a_rumble_where_it_is(partials_of, bend):
    row = np.concatenate([np.zeros(12), [1.0, 0.001, 0.001, 0.001, 0.001]]).astype(np.float32)
    model = partials_of(lambda latent, key: row, edges_hz=[20.0, 43.0, 65.0, 86.0, 400.0, 22050.0])
    sound = one(model, 60, 8 * RATE, Knobs(bend=lambda times: np.full(len(times), bend)))[RATE:]
    assert density_db(sound, 22, 40) == pytest.approx(-2, abs=2.0)  # as where noise above it has the same level
    assert density_db(sound, 90, 300) < -55


def test_what_lies_beyond_the_last_key_takes_no_rumble_along(partials_of):
    row = np.concatenate([np.zeros(12), [1.0, 0.001, 0.001, 0.001, 0.001]]).astype(np.float32)
    model = partials_of(lambda latent, key: row, edges_hz=[20.0, 43.0, 65.0, 86.0, 400.0, 22050.0])
    sound = one(model, 127 + 12, 8 * RATE)[RATE:]  # an octave above it: noise is moved with the partials
    assert density_db(sound, 100, 180) < -55


def test_white_noise_of_bands_is_as_strong_below_as_above(partials_of):
    (sound,) = noise_of(partials_of, [-20] * 5, count=20)
    for low, high in [(22, 42), (44, 64), (66, 86), (90, 130), (150, 400)]:
        assert density_db(sound, low, high) == pytest.approx(-20, abs=1.5)


def test_low_noise_of_a_wide_voice_differs_from_side_to_side(partials_of):
    left, right = noise_of(partials_of, [0, -80, -80, -80, -80], count=30, unison=2, width=1.0)
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.3
    assert density_db(left, 22, 40) == pytest.approx(density_db(right, 22, 40), abs=1.5)


def test_nothing_of_the_lowest_band_is_above_its_edge_and_of_the_others_below():
    partials = PartialsLayout(harmonics=1, edges_hz=EDGES, low=30, high=90)
    weights = spread(partials, np.array([5.0, 49.0, 51.0, 140.0, 500.0]))
    assert weights.sum(0) == pytest.approx(1.0)
    assert weights[0] == pytest.approx([1, 1, 0, 0, 0])
    assert weights[1, 2:4] == pytest.approx(1.0)


def test_a_lowest_band_that_reaches_further_keeps_below_its_edge_too(partials_of):
    row = np.concatenate([np.zeros(12), [1.0, 0.003, 0.003, 0.003, 0.003]]).astype(np.float32)
    model = partials_of(lambda latent, key: row, edges_hz=[0.0, 100.0, 400.0, 2000.0, 6000.0, 22050.0])
    sound = one(model, 60, 12 * RATE)[RATE:]
    assert density_db(sound, 25, 60) == pytest.approx(-1, abs=2.0)
    assert density_db(sound, 125, 350) == pytest.approx(-50, abs=2.0)


def test_one_band_of_noise_is_as_strong_everywhere():
    partials = PartialsLayout(harmonics=1, edges_hz=[0.0, 8000.0], low=30, high=90)
    assert spread(partials, np.array([100.0, 7999.0, 8001.0, 20000.0])) == pytest.approx(np.ones((1, 4)))


def test_a_lowest_band_that_may_be_an_offset_is_left_out(partials_of):
    row = np.concatenate([np.zeros(12), [1.0, 0.003, 0.003, 0.003, 0.003]]).astype(np.float32)
    model = partials_of(lambda latent, key: row, edges_hz=[0.0, 43.0, 400.0, 2000.0, 6000.0, 22050.0])
    sound = one(model, 60, 8 * RATE)[RATE:]
    assert density_db(sound, 22, 40) < -60
    assert density_db(sound, 60, 350) == pytest.approx(-50, abs=2.0)


def test_below_the_first_edge_is_no_noise():
    partials = PartialsLayout(harmonics=1, edges_hz=[20.0, 43.0, 8000.0], low=30, high=90)
    assert spread(partials, np.array([0.0, 10.0, 19.9, 21.0])).sum(0) == pytest.approx([0, 0, 0, 1])


def test_keys_of_chords_have_noise_of_their_own_whatever_begins_before_them(partials_of):
    def frames(*order):
        """First frames by voice and key; a voice begins with its first key."""
        voicing = ChordVoicing(
            partials_of(lambda latent, key: np.concatenate([np.zeros(12), np.ones(5)])), VoicingSettings()
        )
        states, found = {}, {}
        for voice, key in order:
            state = states.setdefault(voice, voicing.start_state() if voice not in states else None)
            mask = np.zeros((1, 128), np.float32)
            mask[0, key] = 1
            found[voice, key] = voicing.make(np.zeros((1, 2), np.float32), mask, np.ones(1), [state])[0, 0]
        return found

    early = frames((1, 60), (2, 60), (2, 61), (1, 61))
    late = frames((1, 61), (1, 60), (2, 61), (2, 60))
    assert all(np.array_equal(early[one], late[one]) for one in early)
    alike = np.corrcoef(list(early.values())) - np.eye(4)
    assert np.abs(alike).max() < 0.3
