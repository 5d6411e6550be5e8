"""Causal phases for magnitudes: as a plain loop finds them, and near those that the sound had."""

import re

import numpy as np
import pytest
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.engines.spectrum.phase_retrieval import CausalPhase, _fill_basins, find_basins
from timbrel.host.errors import UserError
from timbrel.host.signal import stft
from timbrel.host.units import midi_to_hz

from .coherent import FRAME as FRAME_LENGTH
from .coherent import LEVEL, PUBLISHED, Given, harmonics_of, lobes, sound_of

RATE, FRAME = 22050, 1024


def convergence_db(magnitudes, spectra, hop):
    """How far the magnitudes of the sound of spectra are from those asked for, in dB; whole overlap only."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    sound = np.zeros((len(spectra) - 1) * hop + FRAME)
    cover = np.zeros_like(sound)
    for index, frame in enumerate(np.fft.irfft(spectra, FRAME)):
        sound[index * hop : index * hop + FRAME] += frame * window
        cover[index * hop : index * hop + FRAME] += window**2
    found = np.abs(stft((sound / np.maximum(cover, 1e-3)).astype(np.float32), FRAME, hop))
    inside = slice(FRAME // hop, -FRAME // hop)
    return 20 * np.log10(np.linalg.norm((magnitudes - found)[inside]) / np.linalg.norm(magnitudes[inside]))


def vibrating(seconds=1.0):
    """Twelve harmonics of a tone that sways and swells, [samples]."""
    t = np.arange(int(seconds * RATE)) / RATE
    turns = 330 * t - 330 * 0.004 / (2 * np.pi * 5) * np.cos(2 * np.pi * 5 * t)
    swell = 1 + 0.3 * np.sin(2 * np.pi * 2 * t)
    return (swell * sum(np.cos(2 * np.pi * h * turns + h * h) / h for h in range(1, 13))).astype(np.float32)


@pytest.mark.parametrize(("hop", "limit"), [(64, -28), (128, -24), (256, -19)])
def test_the_magnitudes_of_a_swaying_tone_are_nearly_those_of_the_sound(hop, limit):
    magnitudes = np.abs(stft(vibrating(0.6), FRAME, hop))
    phase = CausalPhase(FRAME, hop)
    spectra = phase.apply(magnitudes, [phase.start_state()] * len(magnitudes))
    assert np.abs(spectra) == pytest.approx(magnitudes, rel=1e-4, abs=1e-6)
    assert convergence_db(magnitudes, spectra, hop) < limit


def test_phases_of_one_frame_know_nothing_of_later_ones():
    magnitudes = np.abs(stft(vibrating(), FRAME, 128))
    other = magnitudes.copy()
    other[40:] = other[40:][:, ::-1]
    heard = []
    for frames in (magnitudes, other):
        phase = CausalPhase(FRAME, 128)
        heard.append(phase.apply(frames, [phase.start_state()] * len(frames)))
    assert np.array_equal(heard[0][:40], heard[1][:40])
    assert not np.array_equal(heard[0][40], heard[1][40])


def test_voices_side_by_side_are_what_they_are_alone():
    rng = np.random.default_rng(1)
    frames = rng.random((3, 6, FRAME // 2 + 1)).astype(np.float32)
    together = CausalPhase(FRAME, 256)
    states = [together.start_state() for _ in range(3)]
    rows = together.apply(frames.reshape(18, -1), [state for state in states for _ in range(6)]).reshape(3, 6, -1)
    for voice in range(3):
        alone = CausalPhase(FRAME, 256)
        state = [alone.start_state() for _ in range(3)][voice]
        one_by_one = np.concatenate([alone.apply(frame[np.newaxis], [state]) for frame in frames[voice]])
        assert np.array_equal(rows[voice], one_by_one)


@pytest.mark.parametrize("seed", range(8))
def test_basins_are_filled_as_by_a_walk_from_each_peak_to_its_valleys(seed):
    rng = np.random.default_rng(seed)
    magnitudes = rng.integers(0, 6, (3, 40)).astype(np.float32)  # with plateaus and ties
    phase, slope = rng.standard_normal((2, 3, 40))
    found = _fill_basins(phase, slope, *find_basins(magnitudes))
    for row in range(3):
        for bin_ in range(40):
            peak = bin_
            while True:  # uphill, over plateaus to the right
                if peak + 1 < 40 and magnitudes[row, peak + 1] >= magnitudes[row, peak]:
                    peak += 1
                elif peak and magnitudes[row, peak - 1] > magnitudes[row, peak] and peak == bin_:
                    while peak and magnitudes[row, peak - 1] > magnitudes[row, peak]:
                        peak -= 1
                    while peak + 1 < 40 and magnitudes[row, peak + 1] >= magnitudes[row, peak]:
                        peak += 1
                    break
                else:
                    break
            steps = range(min(peak, bin_), max(peak, bin_))
            way = sum((slope[row, k] + slope[row, k + 1]) / 2 for k in steps)
            expected = phase[row, peak] + (way if bin_ > peak else -way)
            assert found[row, bin_] == pytest.approx(expected)


def test_a_frame_that_is_repeated_sounds_one_steady_tone_a_peak():
    """Fitting to what sounds would bend its phases to and fro: a false line beside each partial."""
    frame = np.abs(stft(vibrating(), FRAME, 128))[60]
    phase = CausalPhase(FRAME, 128)
    spectra = phase.apply(np.repeat(frame[np.newaxis], 120, 0), [phase.start_state()] * 120)
    turns = np.unwrap(np.angle(spectra[8:]), axis=0)
    peak = int(frame.argmax())
    steps = np.diff(turns[:, peak])
    assert np.abs(steps - steps.mean()).max() < 1e-3


def test_silence_stays_silent_and_finite():
    phase = CausalPhase(FRAME, 256)
    state = phase.start_state()
    spectra = phase.apply(np.zeros((5, FRAME // 2 + 1), np.float32), [state] * 5)
    assert np.all(spectra == 0)
    loud = phase.apply(np.ones((2, FRAME // 2 + 1), np.float32), [state] * 2)
    assert np.all(np.isfinite(loud))


def played(phase, model, count=24_000):
    """The samples of a held key, after its first frame."""
    return sound_of(model, [60], FRAME_LENGTH + count, phase=phase)[0][0][FRAME_LENGTH:]


def test_a_held_key_has_the_decoded_magnitudes_and_stands_still(tiny):
    frame = lobes(*harmonics_of(0, [1.0, 0.6, 0.4, 0.3, 0.2, 0.1]))
    model = Given(tiny(**PUBLISHED).card, lambda latent, key: frame)
    rounds = {}
    for phase in ("causal", "noise"):
        sound = played(phase, model)
        found = np.abs(stft(sound, FRAME_LENGTH, 1024))
        scale = np.vdot(frame, found.mean(0)) / np.vdot(frame, frame)
        error = 20 * np.log10(np.linalg.norm(found - scale * frame) / np.linalg.norm(found))
        levels = np.sqrt(np.square(sound[: len(sound) // 1024 * 1024].reshape(-1, 1024)).mean(1))
        rounds[phase] = error, 20 * np.log10(levels.max() / levels.min()), scale
    assert rounds["causal"][0] < -25 < -10 < rounds["noise"][0]
    assert rounds["causal"][1] < 0.3 < 2 < rounds["noise"][1]
    # Partials are 1.4 dB softer than in the frame, as those of the stored phase are.
    assert rounds["causal"][2] == pytest.approx(LEVEL * FRAME_LENGTH / 4, rel=0.02)


def test_frames_that_do_not_overlap_by_half_are_refused_with_the_phase_to_set(tiny):
    for shape in ({"frame_length": 1003, "hop_length": 250}, {"frame_length": 1024, "hop_length": 600}):
        with pytest.raises(UserError, match=re.escape("set phase = 'noise'")):
            SpectrumEngine(tiny(**shape), 512, VoicingSettings(phase="causal"))


@pytest.mark.parametrize("key", [48, 53, 67, 74])
def test_harmonics_of_a_moved_key_are_in_tune(tiny, key):
    model = Given(
        tiny(**PUBLISHED).card, lambda latent, pitch_class: lobes(*harmonics_of(pitch_class, [1.0, 0.5, 0.3]))
    )
    sound = sound_of(model, [key], 66_000, phase="causal")[0][0][FRAME_LENGTH:]
    size = 1 << 18
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size)) + 1e-12)
    for harmonic in (1, 2, 3):
        expected_hz = harmonic * midi_to_hz(key)
        near = round(expected_hz * size / PUBLISHED["sample_rate"])
        peak = near - 60 + int(spectrum[near - 60 : near + 61].argmax())
        low, top, high = spectrum[peak - 1 : peak + 2]
        found_hz = (peak + (low - high) / (2 * (low - 2 * top + high))) * PUBLISHED["sample_rate"] / size
        assert 1200 * np.log2(found_hz / expected_hz) == pytest.approx(0, abs=0.1)
