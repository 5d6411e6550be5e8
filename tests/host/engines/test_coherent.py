"""The coherent voice: against plain loops and sums of sinusoids in closed form, and its noise against noise."""

import math

import numpy as np
import pytest
import scipy.signal
from timbrel.host.controls import Ramp
from timbrel.host.dsp import white_noise
from timbrel.host.engines.coherent import CoherentVoicing, Shape, _noise
from timbrel.host.engines.frames import Character
from timbrel.host.engines.partials import Layout, taken_apart
from timbrel.host.engines.spectrum import SpectrumEngine
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOn
from timbrel.host.units import midi_to_hz

PUBLISHED = {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}
RATE, FRAME = PUBLISHED["sample_rate"], PUBLISHED["frame_length"]
BINS = FRAME // 2 + 1
BLOCK = 16384
LEVEL = 4 / FRAME * 10 ** (-1.4 / 20)  # amplitude of a partial whose lobe is 1 high
PURE = {"noise": 0.0}


class Given:
    """A model that decodes what a function of (latent, pitch class) says, [bins]; counts the rows."""

    def __init__(self, card, frame):
        self.card, self.frame, self.rows = card, frame, 0

    def decode(self, latents, chroma):
        self.rows += len(latents)
        classes = chroma if chroma.ndim == 1 else chroma.argmax(axis=1)
        return np.array([self.frame(row, key) for row, key in zip(latents, classes, strict=True)], np.float32)


class Knobs:
    """Two knobs and a bend, functions of sample times."""

    def __init__(self, latent=lambda times: 0.5 + 0 * times, bend=lambda times: 0.0 * times):
        self.latent, self.bend = latent, bend

    def latents(self, voices, times):
        return np.stack([self.latent(times), np.full(len(times), 0.5)], axis=1).astype(np.float32)

    def bend_semitones(self, voices, times):
        return np.asarray(self.bend(times), np.float64)


STILL = Knobs()


def lobes(places, heights):
    """A frame of Hann lobes, [BINS]."""
    away = np.abs(np.arange(BINS) - np.asarray(places)[:, np.newaxis])
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.where(np.isclose(away, 1), 0.5, np.abs(np.sinc(away) / (1 - away**2)))
    return np.asarray(heights) @ np.where(away < 2, shape, 0.0)


def harmonics_of(pitch_class, heights):
    """Bins and heights of the harmonics of a key of octave 4."""
    first = midi_to_hz(60 + pitch_class) * FRAME / RATE
    return first * np.arange(1, len(heights) + 1), heights


@pytest.fixture
def model_of(tiny):
    """A function that makes a model of a function of (latent, pitch class)."""
    return lambda frame, **settings: Given(tiny(**PUBLISHED, **settings).card, frame)


@pytest.fixture
def comb(model_of):
    """A model of harmonics of these heights, the same for all keys."""
    return lambda heights: model_of(lambda latent, key: lobes(*harmonics_of(key, np.asarray(heights))))


def sound_of(model, keys, count, motion=STILL, sizes=(BLOCK,), on=0, **character):
    """Samples, [streams, channels, count], of keys pressed at sample ``on``, in blocks of the sizes in turn."""
    engine = SpectrumEngine(model, BLOCK, character=Character(**character))
    streams = [engine.begin(key, on) for key in keys]
    blocks, at, turn = [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        blocks.append(np.array([row.copy() for row in engine.render(streams, motion, at, size)]))
        at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=2)


def one(model, key, count, motion=STILL, **settings):
    """The first channel of one key, [count], in double precision."""
    return sound_of(model, [key], count, motion, **settings)[0, 0].astype(np.float64)


def amplitudes(sound, hz):
    """Amplitudes of sinusoids of known frequencies, by least squares, and how far below the sound the rest is, dB."""
    turn = 2 * np.pi * np.outer(np.arange(len(sound)), hz) / RATE
    basis = np.concatenate([np.cos(turn), np.sin(turn)], axis=1)
    weights = np.linalg.lstsq(basis, sound, rcond=None)[0]
    rest = sound - basis @ weights
    return np.hypot(*weights.reshape(2, -1)), level_db(rest) - level_db(sound)


def level_db(sound):
    return 10 * np.log10(np.mean(np.square(sound)) + 1e-30)


def turned(sound):
    """Amplitude, and phase in cycles, of a sound that is one sinusoid, a frame away from its ends."""
    signal = scipy.signal.hilbert(sound)
    inside = slice(2048, -2048)
    return np.abs(signal)[inside], (np.unwrap(np.angle(signal)) / (2 * np.pi))[inside]


# A plain loop


def window_lobe(away, length):
    """Transform of a Blackman-Harris window around its middle, ``away`` bins off, by its definition."""
    n = np.arange(-(length // 2), length // 2)
    window = sum(w * np.cos(2 * np.pi * m * n / length) for m, w in enumerate((0.35875, 0.48829, 0.14128, 0.01168)))
    return np.sum(window * np.cos(2 * np.pi * away * n / length)) / length


class Plain:
    """The voice by loops over voices, partials and bins: one row at a time."""

    def __init__(self, voicing, layout, character):
        self.length, self.scale = voicing.frame_length, voicing.frame_length / FRAME
        self.noise, self.offsets, self.layout, self.character = voicing._noise, voicing._offsets, layout, character
        n = character.unison
        self.spread = [2 * i / (n - 1) - 1 for i in range(n)] if n > 1 else [0.0]
        self.lobe = {}

    def frame(self, frame, first, ratio, state):
        """A frame, [channels, length]; ``state`` is a dictionary that is moved on."""
        bins, character = self.length // 2 + 1, self.character
        spectra = np.zeros((2, bins), np.complex128)
        row = taken_apart(frame[np.newaxis], np.array([first]), self.layout)
        heights = self.layout.harmonic(row)[0].astype(np.float64)
        places, free = (part[0].astype(np.float64) for part in self.layout.free(row))
        if character.keep_formants and len(heights):
            heights = self.held(heights, ratio)
        before = state["ratio"] or ratio
        for u, spread in enumerate(self.spread):
            detune = 2 ** (spread * character.detune_cents / 1200)
            gains = [math.sqrt((1 + side * character.width * spread) / len(self.spread)) for side in (-1, 1)]
            state["turns"][u] += detune * first * self.scale * (before + ratio) / 2 / 4
            for k, height in enumerate(heights, start=1):
                turn = k * state["turns"][u] + self.offsets[k - 1]
                self.add(spectra, k * first * self.scale * ratio * detune, turn, height, gains)
            sounding = {}
            for place, height in zip(places, free, strict=True):
                if height:
                    turn = state["free"][round(place)][u] + detune * place * self.scale * (before + ratio) / 2 / 4
                    sounding[round(place)] = turn
                    self.add(spectra, place * self.scale * ratio * detune, turn, height, gains)
            for near, turn in sounding.items():
                for away in (-1, 0, 1):
                    state["free"][near + away][u] = turn
        state["ratio"] = ratio
        residue = self.layout.residue(row)[0]
        alike = 1 - character.width
        for b in range(math.ceil(20 * self.length / RATE), bins):
            source = b if character.keep_formants else round(b / ratio)
            if source < bins:
                level = residue[source] / (1 if character.keep_formants else ratio**0.5)
                level *= character.noise * LEVEL * (FRAME / 6) ** 0.5
                mine, other = (self.noise[(state["noise"] + apart) % len(self.noise), b] for apart in (0, 97))
                spectra[0, b] += level * mine
                spectra[1, b] += level * (alike * mine + (1 - alike**2) ** 0.5 * other)
        state["noise"] += 1
        channels = 2 if character.width > 0 else 1
        return np.fft.fftshift(np.fft.irfft(spectra[:channels], self.length, axis=-1), axes=-1)

    def add(self, spectra, frequency, turn, height, gains):
        """One sinusoid: its lobe, and what the lobe of its mirror image reaches of the bins above 0."""
        bins = spectra.shape[1]
        height *= min(max((bins - 1 - frequency) / 8, 0.0), 1.0)
        if not height:
            return
        nearest = round(frequency)
        step = round((frequency - nearest) * 1024)  # a lobe is known at so many places between two bins
        for tap in range(-4, 5):
            if (tap, step) not in self.lobe:
                self.lobe[tap, step] = window_lobe(tap - step / 1024, self.length) / (8 * 0.35875)
            value = height * LEVEL * self.length * self.lobe[tap, step] * np.exp(2j * np.pi * turn)
            for channel, gain in enumerate(gains):
                if 0 <= nearest + tap < bins:
                    spectra[channel, nearest + tap] += gain * value
                if 0 <= -nearest - tap < bins:
                    spectra[channel, -nearest - tap] += gain * value.conjugate()

    def held(self, heights, ratio):
        """Heights under the envelope where the harmonics come to lie: of each and its neighbours, in power."""
        padded = [heights[0], *heights, heights[-1]]
        envelope = [math.log(sum(h * h for h in padded[k : k + 3]) + 1e-20) / 2 for k in range(len(heights))]
        result = []
        for k, height in enumerate(heights, start=1):
            at = min(max(k * ratio, 1.0), float(len(heights)))
            there = np.interp(at, range(1, len(heights) + 1), envelope)
            limit = 30 / 20 * math.log(10)
            result.append(height * math.exp(min(max(there - envelope[k - 1], -limit), limit)))
        return np.array(result)


CHARACTERS = {
    "mono": Character(),
    "pure": Character(noise=0.0),
    "half the noise": Character(noise=0.5),
    "stereo": Character(width=1.0),
    "half as wide": Character(width=0.4, unison=2),
    "unison": Character(unison=5, detune_cents=23.0, width=0.7),
    "formants": Character(keep_formants=True, width=0.2),
}


@pytest.mark.parametrize("pitched", [True, False], ids=["pitched", "unpitched"])
@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_frames_are_those_of_a_plain_loop(model_of, character, pitched):
    rng = np.random.default_rng(8)
    decoded = {}

    def frame(latent, key):
        name = latent.tobytes(), int(key)
        if name not in decoded:
            comb = lobes(*harmonics_of(key, rng.uniform(0, 1, 30)))
            others = lobes(np.cumsum(rng.uniform(9, 80, 15)) + 3, rng.uniform(0, 1, 15))
            decoded[name] = (comb + others + 0.003 * rng.rayleigh(1, BINS)).astype(np.float32)
        return decoded[name]

    voicing = CoherentVoicing(model_of(frame, chroma=pitched), character)
    harmonics = int(BINS / (midi_to_hz(60) * FRAME / RATE)) if pitched else 0
    plain = Plain(voicing, Layout(harmonics, voicing.frame_length // 2 + 1, FRAME / voicing.frame_length), character)
    states = [voicing.begin() for _ in range(3)]
    own = [{"turns": s.turns.copy(), "free": s.free.copy(), "noise": s.noise, "ratio": None} for s in states]
    keys, ratios = np.array([0, 7, 11]), np.array([1.0, 0.26, 3.9])
    for hop in range(4):
        latents = rng.choice([0.2, 0.8], (3, 2)).astype(np.float32)
        found = voicing.make(latents, keys, ratios, states)
        for row, state in enumerate(own):
            first = midi_to_hz(60 + keys[row]) * FRAME / RATE if pitched else np.nan
            audible = frame(latents[row], keys[row]) * (np.arange(BINS) >= 2)  # bin 2 is the first above 20 Hz
            expected = plain.frame(audible, first, ratios[row], state)
            assert found[row] == pytest.approx(expected, abs=4e-5 * np.abs(expected).max()), (hop, row)
        ratios = ratios * np.array([1.0, 1.03, 0.99])


# Partials


@pytest.mark.parametrize("key", [36, 47, 60, 60.37, 69, 71.5, 84, 96])
def test_a_still_frame_is_a_sum_of_sinusoids_on_the_keys_own_frequency(comb, key):
    heights = 0.8 ** np.arange(12)
    sound = one(comb(heights), key, 2 * RATE, **PURE)[RATE // 2 : 3 * RATE // 2]
    hz = midi_to_hz(key) * np.arange(1, 13)
    heard = hz < 0.48 * RATE
    found, rest_db = amplitudes(sound, hz[heard])
    assert rest_db < -60
    assert 20 * np.log10(found / (LEVEL * heights[heard])) == pytest.approx(np.zeros(heard.sum()), abs=0.1)


@pytest.mark.parametrize("cents", [-90, -10, 3, 50])
def test_a_frequency_is_off_by_less_than_a_hundredth_of_a_cent(comb, cents):
    key = 69 + cents / 100
    _, phase = turned(one(comb([1.0]), key, 3 * RATE, **PURE))
    hz = (phase[-1] - phase[0]) / (len(phase) - 1) * RATE
    assert 1200 * np.log2(hz / midi_to_hz(key)) == pytest.approx(0, abs=0.01)


def test_the_phase_is_the_integral_of_a_frequency_that_bends(comb):
    knobs = Knobs(bend=lambda times: 2 * np.sin(2 * np.pi * 5 * times / RATE))
    _, phase = turned(one(comb([1.0]), 69, 2 * RATE, knobs, **PURE))
    late = 512  # a frame has the pitch that is read at its first sample, and is heard in its middle
    hz = midi_to_hz(69) * 2 ** (knobs.bend(np.arange(2048, 2048 + len(phase)) - late) / 12)
    expected = np.cumsum(hz) / RATE
    apart = (phase - phase[0]) - (expected - expected[0])
    assert np.abs(apart).max() < 0.02


def test_a_bend_of_a_sound_without_a_fundamental_goes_the_same_way(model_of):
    knobs = Knobs(bend=lambda times: 2 * np.sin(2 * np.pi * 5 * times / RATE))
    model = model_of(lambda latent, key: lobes([40.3], [1.0]), chroma=False)
    level, phase = turned(one(model, 60, 2 * RATE, knobs, **PURE))
    hz = 40.3 * RATE / FRAME * 2 ** (knobs.bend(np.arange(2048, 2048 + len(phase)) - 512) / 12)
    expected = np.cumsum(hz) / RATE
    apart = (phase - phase[0]) - (expected - expected[0])
    assert np.abs(apart).max() < 0.02
    assert 20 * np.log10(level / LEVEL) == pytest.approx(np.zeros(len(level)), abs=0.1)


@pytest.mark.parametrize("on", [0, 1, 255, 256, 1000, 5003])
@pytest.mark.parametrize("key", [48, 69])
def test_the_first_samples_of_a_note_have_its_full_level_and_none_come_before(comb, key, on):
    heights = np.array([1.0, 0.5, 0.3])
    sound = sound_of(comb(heights), [key], on + RATE // 2, on=on, **PURE)[0, 0].astype(np.float64)
    assert np.all(sound[:on] == 0)
    hz = midi_to_hz(key) * np.arange(1, 4)
    found, rest_db = amplitudes(sound[on : on + RATE // 50], hz)
    assert 20 * np.log10(found / (LEVEL * heights)) == pytest.approx(np.zeros(3), abs=0.1)
    assert rest_db < -60


def test_an_attack_of_2_ms_is_2_ms(comb, make_instrument, play):
    def sound(attack):
        instrument = make_instrument(
            RATE, comb([1.0, 0.5]), envelope={"attack_seconds": attack}, play={"noise": 0.0, "pan": -1.0}
        )
        return play(instrument, [NoteOn(1003, 0, 81, 127)], 6000)[0].astype(np.float64)

    at_once, risen = sound(0.0), sound(0.002)
    end = 1003 + math.ceil(0.002 * RATE) + 1
    assert np.array_equal(risen[end:], at_once[end:])
    steady = np.abs(at_once[3000:]).max()
    assert np.abs(at_once[1003:end]).max() > 0.9 * steady
    assert np.all(risen[:1004] == 0)
    assert np.abs(risen[1004 : 1003 + 22]).max() < 0.6 * steady
    assert np.abs(risen[end - 20 : end]).max() > 0.7 * steady


def test_a_key_pressed_at_any_sample_sounds_the_same_but_for_its_phase(comb):
    heights = 0.8 ** np.arange(8)
    model, hz = comb(heights), midi_to_hz(55) * np.arange(1, 9)
    for on in np.random.default_rng(3).integers(0, 4000, 12):
        sound = sound_of(model, [55], on + 8000, on=int(on), **PURE)[0, 0, on:].astype(np.float64)
        found, rest_db = amplitudes(sound, hz)
        assert 20 * np.log10(found / (LEVEL * heights)) == pytest.approx(np.zeros(8), abs=0.05)
        assert rest_db < -60


def test_voices_on_one_pitch_begin_with_phases_of_their_own(comb):
    sounds = sound_of(comb(0.9 ** np.arange(20)), [60] * 4, RATE, **PURE)[:, 0].astype(np.float64)
    assert level_db(sounds.sum(0)) - level_db(sounds[0]) == pytest.approx(10 * np.log10(4), abs=3)


@pytest.mark.parametrize("key", [50, 60.4, 76, 88])
def test_the_level_of_a_held_note_is_steady(comb, key):
    level, _ = turned(one(comb([1.0]), key, 2 * RATE, **PURE))
    level = level[6000:-6000]  # a Hilbert transform takes long to forget where a sound was cut
    assert 20 * np.log10(level.max() / level.min()) < 0.1
    rich = one(comb(0.8 ** np.arange(12)), key, 2 * RATE, **PURE)
    period = RATE / midi_to_hz(key)
    window = np.ones(round(round(0.1 * RATE / period) * period))
    running = scipy.signal.fftconvolve(rich**2, window / len(window), mode="valid")
    assert 10 * np.log10(running.max() / running.min()) < 0.5


def test_a_latent_that_moves_makes_no_dip_and_no_phase_step(model_of):
    knobs = Knobs(latent=lambda times: np.where(times % 9000 < 4500, 0.0, 1.0))  # jumps to and fro
    model = model_of(lambda latent, key: lobes(*harmonics_of(key, [1.0 - latent[0] / 2])))
    level, phase = turned(one(model, 69, 2 * RATE, knobs, **PURE))
    assert level.min() > 0.98 * LEVEL / 2
    assert level.max() < 1.02 * LEVEL
    assert 20 * np.log10(level.max() / level.min()) > 5.9  # both ends are reached
    hz = np.diff(phase) * RATE
    assert hz == pytest.approx(np.full(len(hz), 440.0), abs=2.0)
    straight = phase[0] + np.arange(len(phase)) * 440 / RATE
    assert np.abs(phase - straight).max() < 1e-3


def test_a_free_partial_that_drifts_from_bin_to_bin_keeps_its_phase(model_of):
    knobs = Knobs(latent=lambda times: times / RATE)
    model = model_of(lambda latent, key: lobes([60 + 16 * latent[0]], [1.0]), chroma=False)
    level, phase = turned(one(model, 60, 2 * RATE, knobs, **PURE))
    assert 20 * np.log10(level / LEVEL) == pytest.approx(np.zeros(len(level)), abs=0.3)
    hz = (phase[2048:] - phase[:-2048]) / 2048 * RATE
    times = (2048 + 1024 + np.arange(len(hz))) / RATE
    # The knobs' delay, how long they rest before a frame on the mean, half a frame, less half of a hop, as the way to a
    # frame is gone with the frequency of that frame.
    late = (CoherentVoicing(model, Character()).delay + 448 + 512 - 128) / RATE
    assert hz == pytest.approx(RATE / FRAME * (60 + 16 * (times - late)), abs=0.2)


@pytest.mark.parametrize("bins", [-1.0, 0.5, 2.0, 4.0, 7.0, 9.0])
def test_a_partial_fades_in_the_last_eight_bins_below_half_the_rate(comb, bins):
    hz = RATE / 2 - bins * RATE / 1024
    key = 69 + 12 * np.log2(hz / 5 / 440)
    sound = one(comb([0, 0, 0, 0, 1.0]), key, RATE, **PURE)[4000:]
    level = amplitudes(sound, [hz])[0][0] / LEVEL if bins > 0 else np.abs(sound).max()
    assert level == pytest.approx(min(max(bins / 8, 0), 1), abs=0.02)


@pytest.mark.parametrize("key", [100, 106, 110.4, 120])
def test_partials_beyond_half_the_rate_are_silent_and_fold_nothing_back(comb, key):
    order = np.arange(1, 13)
    sound = one(comb(np.ones(12)), key, RATE, **PURE)[4000:]
    hz = midi_to_hz(key) * order
    below = hz < RATE / 2
    found, rest_db = amplitudes(sound, hz[below])
    assert np.count_nonzero(below) < 12
    assert rest_db < -60
    away = (RATE / 2 - hz[below]) / (RATE / 1024)  # bins
    assert found == pytest.approx(LEVEL * np.clip(away / 8, 0, 1), rel=0.02, abs=0.02 * LEVEL)


def test_a_partial_bent_past_half_the_rate_fades_without_a_click(comb):
    heights = np.zeros(40)
    heights[39] = 1.0
    start = midi_to_hz(60) * 40
    knobs = Knobs(bend=lambda times: np.minimum(times / RATE, 1.0) * 12 * np.log2(1.05 * RATE / 2 / start))
    sound = one(comb(heights), 60, 3 * RATE // 2, knobs, **PURE)
    assert np.all(sound[RATE + 2048 :] == 0)
    low = scipy.signal.sosfilt(scipy.signal.butter(12, 0.5 * start, "low", fs=RATE, output="sos"), sound)
    assert level_db(low[2000:]) - level_db(sound[: RATE // 2]) < -60


# Noise


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


# Width and unison


def noisy(latent, key):
    return lobes(*harmonics_of(key, 0.8 ** np.arange(12))) + 0.02


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


# Formants


def formant(latent, key):
    """Harmonics under a hill at 1500 Hz."""
    hz = midi_to_hz(60 + key) * np.arange(1, 60)
    return lobes(*harmonics_of(key, np.exp(-np.abs(hz - 1500) / 1000)))


def centroid(sound):
    hz, power = scipy.signal.welch(sound, RATE, nperseg=8192)
    return np.sum(hz * power) / power.sum()


@pytest.mark.parametrize("octaves", [-1, 1])
def test_formants_stay_where_they_are_if_they_are_kept_and_move_if_not(model_of, octaves):
    model = model_of(formant)
    rest = centroid(one(model, 60, RATE, **PURE))
    key = 60 + 12 * octaves
    assert centroid(one(model, key, RATE, **PURE)) == pytest.approx(rest * 2.0**octaves, rel=0.05)
    kept = one(model, key, RATE, keep_formants=True, **PURE)
    assert centroid(kept) == pytest.approx(rest, rel=0.1)
    _, rest_db = amplitudes(kept[RATE // 4 :], midi_to_hz(key) * np.arange(1, 60))
    assert rest_db < -60


def test_kept_formants_hold_the_colour_of_the_noise_too(model_of):
    hill = model_of(lambda latent, key: np.exp(-np.square((np.arange(BINS) - 300) / 100) / 2))
    rest = centroid(one(hill, 60, 3 * RATE))
    assert centroid(one(hill, 72, 3 * RATE)) == pytest.approx(2 * rest, rel=0.05)
    assert centroid(one(hill, 72, 3 * RATE, keep_formants=True)) == pytest.approx(rest, rel=0.02)


# What it stands in


@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
@pytest.mark.parametrize("sizes", [(63, 64, 65), (128,), (5, 5000, 1, 16384)], ids=str)
def test_division_into_blocks_changes_no_bit(tiny, character, sizes):
    knobs = Knobs(lambda times: 0.5 + 0.5 * np.sin(times / 5000), lambda times: np.sin(times / 3000))

    def run(sizes):
        settings = character._asdict()
        return sound_of(tiny(), [50, 60, 67.3, 71], 20_000, knobs, sizes, on=77, **settings)

    whole = run((BLOCK,))
    assert np.array_equal(run(sizes), whole)
    assert whole.any()


@pytest.mark.parametrize("key", [36, 55, 60, 61.5, 72, 79])
def test_without_chroma_partials_are_moved_by_the_interval_from_middle_c(model_of, key):
    places = np.array([24.3, 47.1, 80.6, 131.0])
    heights = np.array([1.0, 0.5, 0.7, 0.3])
    model = model_of(lambda latent, pitch: lobes(places, heights), chroma=False)
    sound = one(model, key, RATE, **PURE)[: RATE // 2]
    hz = places * RATE / FRAME * 2 ** ((key - 60) / 12)
    found, rest_db = amplitudes(sound, hz)
    assert 20 * np.log10(found / (LEVEL * heights)) == pytest.approx(np.zeros(4), abs=0.1)
    assert rest_db < -50


def test_a_chord_in_one_voice_has_the_partials_of_all_its_keys(model_of):
    engine_model = model_of(noisy)

    def both(latents, chroma):
        assert chroma.shape == (len(latents), 12)
        frame = sum(lobes(*harmonics_of(key, [1.0, 0.5])) for key in np.flatnonzero(chroma[0]))
        return np.repeat(frame[np.newaxis], len(latents), axis=0).astype(np.float32)

    engine_model.decode = both
    engine = SpectrumEngine(engine_model, BLOCK, character=Character(noise=0.0))
    stream = engine.begin(60, 0)
    stream.chord = Ramp(float(1 << 0 | 1 << 6), 1)
    sound = engine.render([stream], STILL, 0, BLOCK)[0][0].astype(np.float64)
    hz = np.concatenate([midi_to_hz(key) * np.array([1, 2]) for key in (60, 66)])
    found, rest_db = amplitudes(sound, hz)
    assert found / LEVEL == pytest.approx([1.0, 0.5, 1.0, 0.5], rel=0.05)
    assert rest_db < -40


@pytest.mark.parametrize("window", ["blackman", "rectangular"])
def test_a_model_whose_window_is_not_hanns_is_refused_in_one_line(tiny, window):
    card = tiny().card.model_copy(update={"window": window})
    with pytest.raises(UserError, match=rf"coherent.*Hann.*'analytic'.*'{window}'.*phase = 'noise'") as refused:
        SpectrumEngine(Given(card, noisy), BLOCK, character=Character())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shape", [Shape(1024, 4, (0.5, 0.5), 4), Shape(1000, 8, (0.5, 0.5), 12)], ids=str)
def test_the_loop_of_noise_has_no_seam(shape):
    """Its frames, added up around the seam, are white noise again, as anywhere else."""
    spectra, hop = _noise(shape), shape.length // shape.overlap
    around = [*range(-3 * shape.overlap, 0), *range(3 * shape.overlap)]
    frames = np.fft.irfft(spectra[around] * np.resize([1, -1], spectra.shape[1]), shape.length)
    sound = np.zeros((len(frames) - 1) * hop + shape.length)
    for index, frame in enumerate(frames):
        sound[index * hop : index * hop + shape.length] += frame
    inside = sound[shape.length : -shape.length]
    wrapped = np.sqrt(3) * np.roll(white_noise(len(spectra) * hop), 3 * shape.overlap * hop)
    assert inside == pytest.approx(wrapped[shape.length : shape.length + len(inside)], abs=1e-4)
