"""Transforms and chroma, against scipy, librosa and closed forms."""

import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from timbrel.host.signal import chroma, chroma_bins, gaussian_noise, overlap_add, splitmix64, stft, uniforms, window
from timbrel.host.units import PITCH_CLASSES, midi_to_hz

NOISE = np.random.default_rng(8).standard_normal(44_100).astype(np.float32)


@pytest.mark.parametrize(("name", "named"), [("hann", "hann"), ("blackman", "blackman"), ("rectangular", "boxcar")])
@pytest.mark.parametrize("length", [16, 1002, 1023, 4096])
def test_windows_are_scipys_periodic_ones(name, named, length):
    assert window(name, length) == pytest.approx(scipy.signal.get_window(named, length), abs=1e-7)


@pytest.mark.parametrize(("length", "hop"), [(4096, 1024), (1024, 256), (1002, 251), (512, 512), (300, 7)])
def test_the_stft_is_scipys(length, hop):
    reference = scipy.signal.ShortTimeFFT(
        scipy.signal.get_window("hann", length), hop, fs=44_100, fft_mode="onesided", phase_shift=None
    )
    inside = range(reference.lower_border_end[1], reference.upper_border_begin(len(NOISE))[1])
    expected = reference.stft(NOISE.astype(np.float64), p0=inside.start, p1=inside.stop).T
    first = inside.start * hop - length // 2  # scipy counts slices by their middle
    found = stft(NOISE[first:], length, hop)[: len(expected)]
    assert len(expected) > 5
    assert found.dtype == np.complex64
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["hann", "blackman"])
def test_the_stft_is_that_of_scipys_older_function_too(name):
    _, _, expected = scipy.signal.stft(NOISE, window=name, nperseg=2048, noverlap=1536, boundary=None, padded=False)
    expected = expected.T * scipy.signal.get_window(name, 2048).sum()
    assert np.abs(stft(NOISE, 2048, 512, name) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("samples", "frames"), [(1024, 1), (1279, 1), (1280, 2), (4096, 13)])
def test_the_stft_has_the_frames_that_fit_and_no_more(samples, frames):
    assert stft(NOISE[:samples], 1024, 256).shape == (frames, 513)


def harmonic(rng, hz, seconds=0.5, rate=44_100):
    """Twelve partials of random strength and phase."""
    time = np.arange(round(seconds * rate)) / rate
    partials = [
        0.7**k * rng.uniform(0.5, 1) * np.sin(2 * np.pi * k * hz * time + rng.uniform(0, 6.3)) for k in range(1, 13)
    ]
    return np.sum(partials, axis=0).astype(np.float32)


def test_the_strongest_chroma_is_librosas_on_harmonic_tones():
    rng = np.random.default_rng(11)
    ours, theirs = [], []
    for _ in range(60):
        tone = harmonic(rng, midi_to_hz(rng.integers(48, 97) + rng.uniform(-0.2, 0.2)))  # as players are out of tune
        ours.append(chroma(np.abs(stft(tone, 4096, 1024)), 44_100, 4096).argmax(-1)[3:-3])
        reference = librosa.feature.chroma_stft(
            y=tone, sr=44_100, n_fft=4096, hop_length=1024, center=False, tuning=0.0, norm=None
        )
        theirs.append(reference.argmax(0)[3:-3])
    agreement = np.mean(np.concatenate(ours) == np.concatenate(theirs))
    assert agreement >= 0.95


@pytest.mark.parametrize("note", [21, 28, 33, 45, 60, 61, 71, 72, 84, 96, 108])
def test_a_sine_has_the_chroma_of_its_note(note):
    time = np.arange(44_100) / 44_100
    sine = np.sin(2 * np.pi * midi_to_hz(note) * time).astype(np.float32)
    length = 32768 if note < 45 else 4096  # the lowest semitones are closer than a bin of 4096 samples
    strengths = chroma(np.abs(stft(sine, length, 1024)), 44_100, length).sum(0)
    assert PITCH_CLASSES[strengths.argmax()] == PITCH_CLASSES[note % 12]
    assert strengths.max() > (0.5 if note < 72 else 0.95) * strengths.sum()  # at C5 a lobe is a semitone wide


@pytest.mark.parametrize(("rate", "length"), [(44_100, 4096), (16_000, 1024), (96_000, 8192), (4000, 16)])
def test_every_bin_from_a0_to_c8_has_one_pitch_class_and_no_other_has_any(rate, length):
    bins = chroma_bins(rate, length)
    hz = np.arange(length // 2 + 1) * rate / length
    inside = (hz > midi_to_hz(20.5)) & (hz < midi_to_hz(108.5))
    assert np.array_equal(bins.sum(1), inside.astype(np.float32))
    nearest = np.round(librosa.hz_to_midi(hz[inside])).astype(int) % 12
    assert np.array_equal(bins[inside].argmax(1), nearest)


def test_splitmix_gives_the_numbers_of_its_reference_implementation():
    told = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # of seed 0
    assert splitmix64(np.arange(1, 4, dtype=np.uint64)).tolist() == told


def test_gaussian_noise_is_complex_normal_and_longer_ones_begin_with_shorter_ones():
    noise = gaussian_noise(1 << 16)
    assert np.array_equal(noise[:1000], gaussian_noise(1000))
    assert np.all(np.isfinite(noise))
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(1.0, rel=0.02)
    assert abs(np.mean(noise**2)) < 0.02  # real and imaginary parts are alike, and know nothing of each other
    for part in (noise.real, noise.imag):
        assert kstest(part * np.sqrt(2), "norm").pvalue > 0.001


@given(st.integers(0, (1 << 63) - 1), st.integers(1, 1 << 30), st.integers(0, 1 << 30))
def test_a_row_of_chance_does_not_depend_on_how_many_are_drawn(seed, note, first):
    rows = uniforms(seed, note, first, 8, 6)
    assert np.array_equal(uniforms(seed, note, first + 3, 2, 6), rows[3:5])
    assert np.all((rows >= 0) & (rows < 1))
    assert not np.array_equal(uniforms(seed, note + 1, first, 8, 6), rows)


def test_chance_is_even_in_each_column_and_columns_know_nothing_of_each_other():
    rows = uniforms(7, 1, 0, 20_000, 4)
    for column in rows.T:
        assert kstest(column, "uniform").pvalue > 0.001
    assert np.abs(np.corrcoef(rows.T) - np.eye(4)).max() < 0.03
    assert abs(np.corrcoef(rows[:-1, 0], rows[1:, 0])[0, 1]) < 0.03


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 60))
def test_pieces_that_overlap_are_added_where_each_begins(count, length, hop):
    """Against a sum over all pieces of one sample after the other."""
    pieces = np.random.default_rng(count).standard_normal((count, length)).astype(np.float32)
    added = overlap_add(pieces, hop)
    assert len(added) == (count - 1) * hop + length
    for sample in range(len(added)):
        wanted = sum(pieces[i, sample - i * hop] for i in range(count) if 0 <= sample - i * hop < length)
        assert added[sample] == pytest.approx(wanted, abs=1e-5)
