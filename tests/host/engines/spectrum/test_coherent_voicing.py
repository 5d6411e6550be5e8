"""The coherent voice, against a plain loop: its pitch, its formants and chords, and that blocks change no bit."""

import functools
import math

import numpy as np
import pytest
from timbrel.host.engines.spectrum.coherent_voicing import CoherentVoicing
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.engines.spectrum.partial_analysis import Layout, split_partials
from timbrel.host.errors import UserError
from timbrel.host.ramps import Ramp
from timbrel.host.units import midi_to_hz

from ...cover import cover
from .coherent import (
    BINS,
    BLOCK,
    FRAME,
    LEVEL,
    PURE,
    RATE,
    STILL,
    Given,
    Knobs,
    amplitudes,
    centroid,
    harmonics_of,
    lobes,
    noisy,
    one,
    sound_of,
    turned,
)


@functools.cache
def window_lobe(away, length):
    """Transform of a Blackman-Harris window around its middle, ``away`` bins off, by its definition."""
    n = np.arange(-(length // 2), length // 2)
    window = sum(w * np.cos(2 * np.pi * m * n / length) for m, w in enumerate((0.35875, 0.48829, 0.14128, 0.01168)))
    return np.sum(window * np.cos(2 * np.pi * away * n / length)) / length


class Plain:
    """The voice by loops over voices, partials and bins: one row at a time."""

    def __init__(self, voicing, layout, character):
        self.length, self.scale = voicing.frame_length, voicing.frame_length / FRAME
        self.noise, self.offsets, self.layout, self.character = (
            voicing.noise_frames,
            voicing.harmonic_phases,
            layout,
            character,
        )
        n = character.unison
        self.spread = [2 * i / (n - 1) - 1 for i in range(n)] if n > 1 else [0.0]

    def frame(self, frame, first, ratio, state):
        """A frame, [channels, length]; ``state`` is a dictionary that is moved on."""
        bins, character = self.length // 2 + 1, self.character
        spectra = np.zeros((2, bins), np.complex128)
        row = split_partials(frame[np.newaxis], np.array([first]), self.layout)
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
        sources = [b if character.keep_formants else round(b / ratio) for b in range(bins)]
        levels = [float(residue[source]) if source < bins else 0.0 for source in sources]
        levels[0] = levels[1]  # bin 1 is the first above 20 Hz
        for _ in range(2):  # of what lies around each bin, mirrored at both ends
            around = [levels[1], *levels, levels[-2]]
            levels = [around[b] / 4 + around[b + 1] / 2 + around[b + 2] / 4 for b in range(bins)]
        for b, level in enumerate(levels):
            level *= character.noise * LEVEL * (FRAME / 6) ** 0.5 / (1 if character.keep_formants else ratio**0.5)
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
            lobe = window_lobe(tap - step / 1024, self.length) / (8 * 0.35875)
            value = height * LEVEL * self.length * lobe * np.exp(2j * np.pi * turn)
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
    "mono": VoicingSettings(),
    "pure": VoicingSettings(noise=0.0),
    "half the noise": VoicingSettings(noise=0.5),
    "stereo": VoicingSettings(width=1.0),
    "half as wide": VoicingSettings(width=0.4, unison=2),
    "unison": VoicingSettings(unison=5, detune_cents=23.0, width=0.7),
    "formants": VoicingSettings(keep_formants=True, width=0.2),
}


@pytest.mark.parametrize(
    ("name", "pitched"),
    [
        ("mono", True),
        ("pure", False),
        ("half the noise", True),
        ("stereo", False),
        ("half as wide", True),
        ("unison", False),
        ("formants", True),
        ("formants", False),
    ],
)
def test_frames_are_those_of_a_plain_loop(model_of, name, pitched):
    character = CHARACTERS[name]
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
    states = [voicing.start_state() for _ in range(3)]
    own = [{"turns": s.turns.copy(), "free": s.free.copy(), "noise": s.noise, "ratio": None} for s in states]
    keys, ratios = np.array([0, 7, 11]), np.array([1.0, 0.26, 3.9])
    for hop in range(3):
        latents = rng.choice([0.2, 0.8], (3, 2)).astype(np.float32)
        found = voicing.make(latents, keys, ratios, states)
        for row, state in enumerate(own):
            first = midi_to_hz(60 + keys[row]) * FRAME / RATE if pitched else np.nan
            expected = plain.frame(frame(latents[row], keys[row]), first, ratios[row], state)
            assert found[row] == pytest.approx(expected, abs=4e-5 * np.abs(expected).max()), (hop, row)
        ratios = ratios * np.array([1.0, 1.03, 0.99])


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


def formant(latent, key):
    """Harmonics under a hill at 1500 Hz."""
    hz = midi_to_hz(60 + key) * np.arange(1, 60)
    return lobes(*harmonics_of(key, np.exp(-np.abs(hz - 1500) / 1000)))


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


@pytest.mark.parametrize(
    ("name", "sizes"), cover(9, list(CHARACTERS), [(63, 64, 65), (128,), (5, 5000, 1, 16384)]), ids=str
)
def test_division_into_blocks_changes_no_bit(tiny, name, sizes):
    knobs = Knobs(lambda times: 0.5 + 0.5 * np.sin(times / 5000), lambda times: np.sin(times / 3000))

    def run(sizes):
        settings = CHARACTERS[name]._asdict()
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
    engine = SpectrumEngine(engine_model, BLOCK, character=VoicingSettings(noise=0.0))
    stream = engine.start_stream(60, 0)
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
        SpectrumEngine(Given(card, noisy), BLOCK, character=VoicingSettings())
    assert "\n" not in str(refused.value)
