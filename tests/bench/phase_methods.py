"""Ways to find phases for magnitudes, and ways to tell how well they fit.

A method takes magnitudes [frames, bins], the frame length and the hop in samples, and gives spectra [frames, bins];
frames are Hann windowed, and frame t begins at sample ``t * hop``.
"""

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import scipy.signal
from timbrel.host.engines.spectrum.coherent_voicing import CoherentVoicing
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.engines.spectrum.noise_voicing import LOSS_DB, NoisePhase
from timbrel.host.engines.spectrum.phase_retrieval import HANN, LOBE_TAPS, ROUNDS, CausalPhase, refine
from timbrel.host.signal import FrameShape, stft, window

Method = Callable[[np.ndarray, int, int], np.ndarray]

RATE = 44100
HANN_GAMMA = 0.25645  # of the Gaussian nearest to a Hann window, over its length squared (Prusa et al. 2017, table 1)
FLOOR_DB = 80.0  # below a note's largest magnitude: what lies deeper does not count for the log-spectral distance
ENVELOPE_SECONDS = 0.05  # of the window of the running level: tremolo up to 20 Hz or so, no beats between harmonics
LONG = 16384  # samples of the window that tells lines from noise: four times the frame
OFFSETS = 8  # multiples of the hop's rate, on either side of the partial, at which lines are looked for
NEAREST_HZ = 6.0  # to a harmonic: nearer, there is its own lobe, 2 to 4 Hz wide in two to four seconds
BAND = 32  # bins of the long window, 86 Hz at 44.1 kHz: colour is flat within it


def stored_noise(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """The publication's (Colonel & Keene 2020)."""
    phase = NoisePhase(frame_length, hop)
    return phase.apply(magnitudes, [phase.start_state()] * len(magnitudes))


class Given:
    """A model whose latent is the number of a frame, and whose frames are those given."""

    def __init__(self, magnitudes: np.ndarray, frame_length: int, hop: int) -> None:
        self.magnitudes = magnitudes
        self.card = SimpleNamespace(
            name="given", window="hann", sample_rate=RATE, frame_length=frame_length, hop_length=hop, chroma=None
        )

    def decode(self, latent: np.ndarray, chroma: np.ndarray) -> np.ndarray:
        return self.magnitudes[latent[:, 0].astype(int)]


def coherent_voice(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """The host's voice: partials and noise of each frame, put together anew; no pitch is known, so all are free."""
    shape = FrameShape(frame_length, frame_length // hop, HANN, LOBE_TAPS)
    voice = CoherentVoicing(Given(magnitudes, frame_length, hop), VoicingSettings(), shape)
    state, pieces = voice.start_state(), []
    for rows in np.array_split(np.arange(len(magnitudes)), -(-len(magnitudes) // 64)):
        keys, ratios = np.zeros(len(rows), np.intp), np.ones(len(rows))
        latents = rows[:, np.newaxis].astype(np.float32)
        tones, noise, level = voice.parts_of(latents, keys, ratios, [state] * len(rows))
        pieces.append(tones[:, 0] + noise[:, 0] * level)
    middle = np.where(np.arange(magnitudes.shape[1]) % 2 == 0, 1, -1)
    whole = frame_length // hop * HANN[0] * 10 ** (LOSS_DB / 20)  # not as loud as stored noise, but as it was given
    return np.concatenate(pieces) * (middle * whole)


def basins(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """The host's phases for magnitudes as they are, frame after frame."""
    phase = CausalPhase(frame_length, hop)
    return phase.apply(magnitudes, [phase.start_state()] * len(magnitudes))


def best(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """The host's own, offline: causal phases refined."""
    start = basins(magnitudes, frame_length, hop)
    return refine(magnitudes, start, window("hann", frame_length), hop, ROUNDS)


def best_from_noise(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """What the same rounds are worth without coherent phases to begin with."""
    start = stored_noise(magnitudes, frame_length, hop)
    return refine(magnitudes, start, window("hann", frame_length), hop, ROUNDS)


def vocoder(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """A plain phase vocoder: each bin is advanced by the frequency of the peak it belongs to, and by nothing else.

    A peak's frequency is that of the parabola through its log magnitude and its neighbours'; it has the bins from
    valley to valley. The first frame is an impulse in its middle, which gives every lobe the signs it should have.
    """
    bins = magnitudes.shape[1]
    phases = np.empty(magnitudes.shape)
    phase = np.pi * np.arange(bins)
    for row, frame in enumerate(magnitudes):
        if row:
            phase = phase + 2 * np.pi * hop / frame_length * _peak_bins(frame)
        phases[row] = phase
    return (magnitudes * np.exp(1j * phases)).astype(np.complex64)


def _peak_bins(frame: np.ndarray) -> np.ndarray:
    """The fractional bin of the peak that each bin belongs to, [bins]."""
    level = np.log(np.maximum(frame.astype(np.float64), 1e-20))
    left, middle, right = level[:-2], level[1:-1], level[2:]
    peaks = 1 + np.flatnonzero((middle > left) & (middle >= right))
    if not len(peaks):
        return np.arange(len(frame), dtype=np.float64)
    before, top, after = level[peaks - 1], level[peaks], level[peaks + 1]
    exact = peaks + 0.5 * (before - after) / (before - 2 * top + after)
    valleys = [a + int(np.argmin(level[a:b])) for a, b in itertools.pairwise(peaks)]
    return exact[np.searchsorted(valleys, np.arange(len(frame)), side="right")]


def griffin_lim(rounds: int) -> Method:
    """librosa's, momentum 0.99 from random phases; the last round is that which gives the spectra."""

    def method(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
        import librosa

        sound = librosa.griffinlim(
            magnitudes.T, n_iter=rounds - 1, hop_length=hop, n_fft=frame_length, center=False, random_state=0
        )
        spectra = stft(sound, frame_length, hop)
        return spectra * (magnitudes / np.maximum(np.abs(spectra), 1e-20))

    return method


def heap_integration(magnitudes: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """Offline phase-gradient heap integration (Prusa, Balazs and Soendergaard 2017), by pghipy."""
    from pghipy import pghi

    gamma = HANN_GAMMA * frame_length**2
    phases = pghi(magnitudes.astype(np.float64), win_length=frame_length, hop_length=hop, gamma=gamma)
    return (magnitudes * np.exp(1j * phases)).astype(np.complex64)


METHODS: dict[str, Method] = {
    "stored noise phase": stored_noise,
    "phase vocoder": vocoder,
    "coherent voice": coherent_voice,
    "basins, causal": basins,
    "pghipy, offline": heap_integration,
    "Griffin-Lim 32": griffin_lim(32),
    "Griffin-Lim 100": griffin_lim(100),
    f"{ROUNDS} rounds from noise": best_from_noise,
    f"best ({ROUNDS} rounds)": best,
}


def interpolated(magnitudes: np.ndarray, step: int) -> np.ndarray:
    """Every ``step``-th frame kept, those between on a straight line of log magnitude; it ends with a kept frame."""
    level = np.log(np.maximum(magnitudes[::step], 1e-20))
    at = np.arange((len(level) - 1) * step + 1) / step
    low = np.minimum(at.astype(int), max(len(level) - 2, 0))
    part = (at - low)[:, np.newaxis]
    between = (1 - part) * level[low] + part * level[np.minimum(low + 1, len(level) - 1)]
    return np.exp(between).astype(np.float32)


def sound_of(spectra: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """Overlap-add, [samples]: the sound whose spectra are nearest (Griffin and Lim 1984, equation 6)."""
    shape = window("hann", frame_length)
    total = np.zeros((len(spectra) - 1) * hop + frame_length, np.float64)
    cover = np.zeros_like(total)
    for t, frame in enumerate(np.fft.irfft(spectra, frame_length, axis=-1)):
        total[t * hop : t * hop + frame_length] += shape * frame
        cover[t * hop : t * hop + frame_length] += shape**2
    return (total / np.maximum(cover, 1e-4 * cover.max())).astype(np.float32)


def convergence_db(wanted: np.ndarray, heard: np.ndarray) -> float:
    """Spectral convergence of magnitudes: the norm of what differs over the norm of what is wanted."""
    return 20 * float(np.log10(np.linalg.norm(wanted - heard) / np.linalg.norm(wanted)))


def log_distance_db(wanted: np.ndarray, heard: np.ndarray) -> float:
    """Log-spectral distance: root mean square over bins of the difference in dB, mean over frames."""
    floor = wanted.max() * 10 ** (-FLOOR_DB / 20)
    away = 20 * np.log10(np.maximum(wanted, floor) / np.maximum(heard, floor))
    return float(np.mean(np.sqrt(np.mean(np.square(away), axis=1))))


def modulation_db(sound: np.ndarray, rate: int) -> float:
    """How far the running level of a sound swings, lowest to highest, in dB."""
    shape = scipy.signal.windows.hann(round(ENVELOPE_SECONDS * rate))
    power = scipy.signal.fftconvolve(np.square(sound.astype(np.float64)), shape, mode="valid")
    return 10 * float(np.log10(power.max() / power.min()))


def hop_lines_db(sound: np.ndarray, rate: int, hop: int, key_hz: float) -> float:
    """The strongest line at multiples of the hop's rate from the strongest partial, beside that partial, in dB.

    Blackman-Harris window over the whole sound, whose side lobes are 92 dB down. Places beside other harmonics of
    the key do not count.
    """
    spectrum = np.abs(np.fft.rfft(sound * scipy.signal.windows.blackmanharris(len(sound), sym=False)))
    return _beside_db(spectrum, rate / len(sound), rate / hop, key_hz, NEAREST_HZ, reach=1)


def frame_lines_db(frame: np.ndarray, rate: int, hop: int, key_hz: float) -> float:
    """What a frame's magnitudes themselves ask for at the places that `hop_lines_db` looks at."""
    bin_hz = rate / (2 * len(frame) - 2)
    return _beside_db(frame, bin_hz, rate / hop, key_hz, 2.5 * bin_hz, reach=0)


def _beside_db(
    spectrum: np.ndarray, bin_hz: float, offset_hz: float, key_hz: float, nearest_hz: float, reach: int
) -> float:
    """The loudest within ``reach`` bins of the places that are farther than ``nearest_hz`` from any harmonic."""
    top = int(np.argmax(spectrum))
    partial_hz = float(_peak_bins(spectrum)[top]) * bin_hz
    fundamental = partial_hz / max(1, round(partial_hz / key_hz))
    places = partial_hz + offset_hz * np.arange(-OFFSETS, OFFSETS + 1)
    places = places[(places > nearest_hz) & (places < bin_hz * (len(spectrum) - reach - 1))]
    harmonic = fundamental * np.maximum(1, np.round(places / fundamental))
    bins = np.round(places[np.abs(places - harmonic) > nearest_hz] / bin_hz).astype(int)
    found = np.array([spectrum[at - reach : at + reach + 1].max() for at in bins])
    return 20 * float(np.log10(found.max(initial=1e-10) / spectrum[top]))


def flatness_db(sound: np.ndarray) -> float:
    """Geometric over arithmetic mean of the power in bands of a long window, mean in dB; Gaussian noise: -2.5.

    Lines that stand where noise should be make it lower. Bands below 40 dB under the loudest do not count.
    """
    power = np.square(np.abs(stft(sound, LONG, LONG // 2)), dtype=np.float64)[:, 1:]
    bands = power[:, : power.shape[1] // BAND * BAND].reshape(len(power), -1, BAND)
    mean = bands.mean(axis=2)
    flat = np.exp(np.log(np.maximum(bands, 1e-30)).mean(axis=2)) / np.maximum(mean, 1e-30)
    return float(np.mean(10 * np.log10(flat[mean > 1e-4 * mean.max()])))


def kurtosis(sound: np.ndarray) -> float:
    """Mean over bins of E|X|^4 / (E|X|^2)^2 over the frames of a long window: 2 for Gaussian noise, 1 for lines."""
    power = np.square(np.abs(stft(sound, LONG, LONG // 4)), dtype=np.float64)[:, 1:-1]
    mean = power.mean(axis=0)
    loud = mean > 1e-4 * mean.max()
    return float(np.mean(np.mean(np.square(power[:, loud]), axis=0) / np.square(mean[loud])))
