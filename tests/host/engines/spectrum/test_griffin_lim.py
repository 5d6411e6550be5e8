"""Refined phases: as a plain loop finds them, better each round, magnitudes untouched, pieces without a seam."""

import numpy as np
import pytest
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.engines.spectrum.noise_voicing import NoisePhase
from timbrel.host.engines.spectrum.phase_retrieval import KEPT, SEEN, STEP, GriffinLimVoicing, refine
from timbrel.host.signal import stft, window

RATE = 22050


def tune(seconds, seed=1):
    """Three gliding partials over a little noise, [samples]."""
    t = np.arange(round(seconds * RATE)) / RATE
    glides = sum(np.sin(2 * np.pi * hz * (t + 0.05 * t**2)) / k for k, hz in enumerate((220.0, 661.0, 1103.0), 1))
    return (0.3 * glides + 0.001 * np.random.default_rng(seed).standard_normal(len(t))).astype(np.float32)


def plain(magnitudes, start, frame, hop, rounds):
    """As published, frame by frame in double precision, transforms by matrix, steps between spectra."""
    n, k = np.arange(frame), np.arange(frame // 2 + 1)
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * n / frame)
    forward = np.exp(-2j * np.pi * np.outer(k, n) / frame)
    twice = np.where((k == 0) | (2 * k == frame), 1, 2)
    found, last, kept = magnitudes * np.exp(1j * np.angle(start)), None, None
    for _ in range(rounds):
        top = np.zeros((len(found) - 1) * hop + frame)
        below = np.full(len(top), 1e-30)
        for t, row in enumerate(found):
            top[t * hop : t * hop + frame] += shape * ((twice * row) @ forward.conj()).real / frame
            below[t * hop : t * hop + frame] += shape**2
        sound = top / np.maximum(below, 1e-4 * (shape**2).sum() / hop)
        spectra = np.array([forward @ (shape * sound[t * hop : t * hop + frame]) for t in range(len(found))])
        now = spectra if last is None else (1 - float(STEP)) * kept + float(STEP) * spectra
        step = 0 if last is None else now - last
        kept, last = now + float(KEPT) * step, now
        found = magnitudes * np.exp(1j * np.angle(now + float(SEEN) * step))
    return found


def overlap_sum(spectra, shape, hop):
    """What frames leave sounding, not divided by anything, by a loop."""
    total = np.zeros((len(spectra) - 1) * hop + len(shape), np.float32)
    for t, row in enumerate(spectra):
        total[t * hop : t * hop + len(shape)] += shape * np.fft.irfft(row, len(shape)).astype(np.float32)
    return total


def misfit(magnitudes, spectra, frame, hop):
    """Spectral convergence in dB, of the frames whose every sample has the full overlap."""
    shape = window("hann", frame)
    sound = overlap_sum(spectra, shape, hop) / (np.square(shape).sum() / hop)
    inner = slice(frame // hop, -frame // hop)
    kept, heard = magnitudes[inner], np.abs(stft(sound, frame, hop))[inner]
    return 20 * np.log10(np.linalg.norm(kept - heard) / np.linalg.norm(kept))


def started(frame, hop, seconds=0.4):
    magnitudes = np.abs(stft(tune(seconds), frame, hop))
    noise = NoisePhase(frame, hop)
    return magnitudes, noise.apply(magnitudes, [noise.start_state()] * len(magnitudes))


@pytest.mark.parametrize(("frame", "hop"), [(256, 64), (250, 62), (128, 128), (256, 16)])
def test_it_finds_what_a_plain_loop_of_sums_finds(frame, hop):
    magnitudes, start = started(frame, hop, 0.1)
    found = refine(magnitudes, start, window("hann", frame), hop, 5)
    expected = plain(magnitudes.astype(np.float64), start, frame, hop, 5)
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def test_more_rounds_fit_better_and_magnitudes_stay():
    magnitudes, start = started(1024, 128)
    fits = []
    for rounds in (0, 4, 16, 64):
        found = refine(magnitudes, start, window("hann", 1024), 128, rounds)
        assert found.dtype == np.complex64
        assert np.abs(np.abs(found) - magnitudes).max() < 1e-5 * magnitudes.max()
        fits.append(misfit(magnitudes, found, 1024, 128))
    assert fits == sorted(fits, reverse=True)
    assert fits[-1] < fits[0] - 10


def test_phases_that_fit_already_are_left_alone():
    spectra = stft(tune(0.4), 1024, 128)
    found = refine(np.abs(spectra), spectra, window("hann", 1024), 128, 8)
    assert np.linalg.norm(found - spectra) < 1e-3 * np.linalg.norm(spectra)


def test_pieces_fit_each_other_as_well_as_one_whole():
    frame, hop, shape = 1024, 128, window("hann", 1024)
    magnitudes, start = started(frame, hop, 1.0)
    ahead = frame // hop
    pieces, overlap = [], None
    for first in range(0, len(magnitudes), 40):
        end = first + 40
        found = refine(magnitudes[first : end + ahead], start[first : end + ahead], shape, hop, 48, overlap)
        pieces.append(found[:40])
        if len(found) > 40:
            left = overlap_sum(found[:40], shape, hop)
            if overlap is not None:
                left[: len(overlap)] += overlap
            overlap = left[40 * hop :]
    whole = refine(magnitudes, start, shape, hop, 48)
    seams = np.concatenate(pieces)
    assert misfit(magnitudes, seams, frame, hop) < misfit(magnitudes, whole, frame, hop) + 3


def test_the_past_is_kept_to():
    frame, hop, shape = 1024, 128, window("hann", 1024)
    before, rest = np.split(stft(tune(0.6), frame, hop)[:28], [20])
    past = overlap_sum(before, shape, hop)[20 * hop :]
    start = (rest * np.exp(1j)).astype(np.complex64)  # the same sound, turned: it fits itself, but not its past
    alone = refine(np.abs(rest), start, shape, hop, 100)
    joined = refine(np.abs(rest), start, shape, hop, 100, past)
    away = np.linalg.norm(start - rest)
    assert np.linalg.norm(alone - rest) > 0.9 * away
    assert np.linalg.norm(joined - rest) < 0.1 * away


class Still:
    """Knobs that rest."""

    own_codes = False

    def latents(self, voices, times, own_times=None):
        return np.full((len(times), 2), 0.5, np.float32)

    def residual(self, voices, times, ahead):
        return None

    def decoded_keys(self, voices):
        return [None] * len(voices)

    def bend_semitones(self, voices, times):
        return np.zeros(len(times))


def held(model, keys, block=16384, seconds=2.0, **character):
    """Keys held by the engine with refined phases, [keys, channels, samples]."""
    engine = SpectrumEngine(model, block, character=VoicingSettings(phase="best", **character))
    streams = [engine.start_stream(key, 0) for key in keys]
    count = round(seconds * model.card.sample_rate)
    blocks = [
        np.array([sound.copy() for sound in engine.render(streams, Still(), at, min(block, count - at))])
        for at in range(0, count, block)
    ]
    return np.concatenate(blocks, axis=2)


def level_db(sound):
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)))


@pytest.mark.parametrize("frame", [1024, 1003], ids=["even frame", "odd frame"])
def test_a_key_held_with_refined_phases_has_its_frequency_and_stands_still(tiny, frame):
    model = tiny(frame_length=frame, hop_length=frame // 4)
    keys = [52, 60, 67, 79]
    for key, (sound,) in zip(keys, held(model, keys), strict=True):
        steady = sound[4000:].astype(np.float64)
        spectrum = np.abs(np.fft.rfft(steady * np.blackman(len(steady)), 1 << 19))
        hz = 440 * 2 ** ((key - 69) / 12)
        near = np.arange(round(hz * 0.97 / RATE * (1 << 19)), round(hz * 1.03 / RATE * (1 << 19)))
        found = near[spectrum[near].argmax()] * RATE / (1 << 19)
        assert 1200 * np.log2(found / hz) == pytest.approx(0, abs=3)
        levels = [level_db(part) for part in np.array_split(steady, 16)]
        assert max(levels) - min(levels) < 0.5


def test_refined_phases_are_as_loud_as_the_coherent_voice(tiny):
    model = tiny()
    engine = SpectrumEngine(model, 16384, character=VoicingSettings())
    plain_voice = engine.render([engine.start_stream(60, 0)], Still(), 0, 16384)[0]
    refined = held(model, [60])[0][:, :16384]
    assert level_db(refined[0, 4000:]) == pytest.approx(level_db(plain_voice[0, 4000:]), abs=0.3)


def test_refined_phases_are_the_same_each_time_and_wide_where_asked(tiny):
    first, again = (held(tiny(), [60], width=1.0, unison=2, seconds=0.5) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.allclose(first[0, 0], first[0, 1], atol=1e-4)


def test_a_note_with_refined_phases_is_at_full_level_from_its_first_samples(tiny):
    (sound,) = held(tiny(), [60])[0]
    assert level_db(sound[:1000]) == pytest.approx(level_db(sound[8000:16000]), abs=1.5)


def test_what_still_sounds_of_earlier_frames_is_known_to_those_that_follow(tiny):
    voicing = GriffinLimVoicing(tiny(), VoicingSettings(phase="best"))
    state, length, hop = voicing.start_state(), voicing.frame_length, voicing.hop_length
    sound = np.zeros(40 * hop + length)
    for batch in range(3):
        rows = 12
        frames = voicing.make(np.full((rows, 2), 0.5, np.float32), np.zeros(rows, int), np.ones(rows), [state] * rows)
        for index, frame in enumerate(frames[:, 0], start=batch * rows):
            sound[index * hop : index * hop + length] += frame
    left = sound[36 * hop : 36 * hop + length - hop]
    cover = np.square(window("hann", length)).sum() / hop
    assert state.past[0] / cover == pytest.approx(left, abs=1e-6)
    assert np.abs(left).max() > 1e-3
