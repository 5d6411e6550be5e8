"""Noise phases: magnitudes untouched, frames that fit each other, and voices apart from each other."""

import warnings

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.spectrum.noise_voicing import LOOP_FRAMES, NoisePhase
from timbrel.host.signal import stft

FRAME, HOP = 1024, 256
SIZES = [(1024, 256), (4096, 1024), (1002, 250), (64, 64), (4096, 16)]


def sound(spectra, frame=FRAME, hop=HOP):
    """Overlap-add by scipy."""
    with warnings.catch_warnings(action="ignore"):  # its ends lack overlap, says scipy
        return scipy.signal.istft(spectra.T, window="hann", nperseg=frame, noverlap=frame - hop, boundary=False)[1]


def frames_of(phase, count, bins=FRAME // 2 + 1):
    state = phase.start_state()
    return phase.apply(np.ones((count, bins), np.float32), [state] * count)


def consistency(spectra):
    """How far the transform of their own overlap-add has the frames' phases: 1 if it has, 0 if it knows nothing."""
    heard = stft(sound(spectra).astype(np.float32), FRAME, HOP)
    return np.abs(np.mean(np.exp(1j * (np.angle(heard) - np.angle(spectra))), axis=1))


@pytest.mark.parametrize(("frame", "hop"), SIZES)
def test_magnitudes_are_kept(frame, hop):
    phase = NoisePhase(frame, hop)
    magnitudes = np.random.default_rng(3).uniform(0, 1, (100, frame // 2 + 1)).astype(np.float32)
    spectra = phase.apply(magnitudes, [phase.start_state() for _ in range(100)])
    assert spectra.dtype == np.complex64
    assert np.abs(np.abs(spectra) - magnitudes).max() < 1e-6


def test_applying_phases_does_not_change_the_phases():
    phase = NoisePhase(FRAME, HOP)
    state = phase.start_state()
    start = state.frame
    first = phase.apply(np.full((1, 513), 0.5, np.float32), [state])
    state.frame = start
    assert np.array_equal(phase.apply(np.full((1, 513), 0.5, np.float32), [state]), first)


def test_successive_frames_fit_each_other_also_where_the_loop_closes():
    fit = consistency(frames_of(NoisePhase(FRAME, HOP), 3 * LOOP_FRAMES))
    inner = fit[8:-8]
    assert inner.min() > 0.6
    rng = np.random.default_rng(4)
    unrelated = np.exp(2j * np.pi * rng.uniform(size=(3 * LOOP_FRAMES, 513)))
    assert consistency(unrelated)[8:-8].max() < inner.min()


def test_phases_come_round_after_the_loop_and_not_before():
    spectra = frames_of(NoisePhase(FRAME, HOP), 2 * LOOP_FRAMES)
    assert np.array_equal(spectra[:LOOP_FRAMES], spectra[LOOP_FRAMES:])
    assert len(np.unique(spectra[:LOOP_FRAMES, 100])) == LOOP_FRAMES


def test_64_voices_begin_at_64_places():
    phase = NoisePhase(FRAME, HOP)
    states = [phase.start_state() for _ in range(64)]
    assert len({state.frame for state in states}) == 64


def test_voices_with_one_spectrum_add_up_by_power_not_by_amplitude():
    phase = NoisePhase(FRAME, HOP)
    voices = np.array([sound(frames_of(phase, 100)) for _ in range(12)])
    alone = np.mean(np.square(voices))
    together = np.mean(np.square(voices.sum(0)))
    assert 10 * np.log10(together / alone) == pytest.approx(10 * np.log10(12), abs=1.5)  # by amplitude: 10.8 dB more


def test_rows_of_a_batch_are_the_rows_one_by_one():
    one, many = NoisePhase(FRAME, HOP), NoisePhase(FRAME, HOP)
    a, b = one.start_state(), one.start_state()
    c, d = many.start_state(), many.start_state()
    magnitudes = np.random.default_rng(5).uniform(0, 1, (4, 513)).astype(np.float32)
    single = [one.apply(magnitudes[i : i + 1], [s])[0] for i, s in enumerate([a, b, a, a])]
    assert np.array_equal(many.apply(magnitudes, [c, d, c, c]), single)
    assert (a.frame, b.frame) == (c.frame, d.frame)


def test_every_machine_and_every_run_has_the_same_phases():
    assert np.array_equal(frames_of(NoisePhase(FRAME, HOP), 64), frames_of(NoisePhase(FRAME, HOP), 64))
