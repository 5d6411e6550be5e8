"""A texture is as loud as its model says, whatever its knobs say, and neither swells nor repeats."""

import itertools

import numpy as np
import pytest
from scipy.signal import welch
from timbrel.host.audio.output import limited
from timbrel.host.engines.engine import VOICE_LUFS, EngineRequest, engine_of
from timbrel.host.engines.grain.engine import LOUDEST_TEXTURE_DB, GrainEngine
from timbrel.host.engines.grain.sources import Cut, NoiseFrames
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.kinds.grain import GrainSettings
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch

from .grains import LATENTS, LENGTH, RATE, Still, level_db, slope, sound


@pytest.mark.parametrize(("pitch", "length"), [(0.0, LENGTH / RATE), (12.0, LENGTH / RATE), (-7.0, 0.1)])
def test_a_held_noise_has_the_power_of_its_magnitudes(noise, pitch, length):
    heard = sound(noise, 60.0, block=16384, density=200.0, length=length, shape=0.5, pitch=pitch)[0]
    hz, power = welch(heard, RATE, nperseg=1024)
    places = hz * LENGTH / RATE / 2 ** (pitch / 12)
    told = np.interp(places, np.arange(LENGTH // 2 + 1), slope()) ** 2 / LENGTH * 2 / RATE
    inside = (places < LENGTH // 2 * 0.95) & (hz > 200) & (hz < RATE / 2 - 200)
    away = 10 * np.log10(power[inside] / told[inside])
    smooth = np.convolve(away, np.ones(9) / 9, "valid")  # 60 s have 0.15 dB of chance in a bin
    assert np.abs(smooth).max() < 0.5
    beyond = places > LENGTH // 2 * 1.1
    assert not np.any(beyond) or 10 * np.log10(power[beyond].max() / told[inside].min()) < -40


class Codes(Still):
    """A code for each voice, [voices, latents], that stands."""

    def latents(self, voices, times, own_times=None):
        return np.asarray(self.code, np.float32)[list(voices)]


def voices_db(engine, codes, seconds, key=60):
    """The louder side's level of a held voice at each code, [codes], after its beginning."""
    rate = engine._rate
    streams = [engine.start_stream(key, 0) for _ in codes]
    parts = engine.render(streams, Codes(codes), 0, round(seconds * rate))
    return np.array([max(level_db(side) for side in part) for part in parts])


DENSE = GrainSettings(density=400.0)


def shipped(name):
    patch = open_patch(name)
    gain_db = VOICE_LUFS - patch.model.card.loudness_lufs
    rest = patch.preset.latent_values(patch.model.card)
    return patch.model, engine_of(patch.model, EngineRequest(rest, patch.preset.play, DENSE, 2.0)), gain_db


def test_no_corner_of_a_shipped_textures_knobs_is_louder_than_a_voice_may_be():
    model, engine, gain_db = shipped("lakeside-10")
    spans = [(latent.low, latent.high) for latent in model.card.latents]
    corners = np.array(list(itertools.product(*spans)), np.float32)
    corners = np.random.default_rng(0).permutation(corners)[:128]
    levels = np.concatenate([voices_db(engine, some, 0.3) for some in np.split(corners, 4)]) + gain_db
    assert levels.max() < LOUDEST_TEXTURE_DB + 3.0  # by chance: some hold a narrow band of noise
    assert np.mean(levels > LOUDEST_TEXTURE_DB + 1.0) < 0.1
    high = voices_db(engine, corners[:16], 0.3, key=84) + gain_db  # the same spectra, four times as wide
    assert high.max() < LOUDEST_TEXTURE_DB + 3.0


def test_a_shipped_preset_whose_knobs_stand_at_their_ends_is_not_all_at_the_limiter():
    rng = np.random.default_rng(5)
    for _ in range(8):
        rack = Rack({0: open_patch("lakeside-knobs")}, 44100)
        knobs = [ControlChange(0, 0, number, int(value)) for number, value in enumerate(rng.choice([0, 127], 10), 70)]
        rack.process([*knobs, NoteOn(0, 0, 60, 127)], 22050)
        mix, _ = rack.process([], 22050)
        assert level_db(mix) < -4.0
        assert limited(mix) < 0.3


def test_the_bound_takes_nothing_off_the_sounds_of_the_corpus_but_the_very_loudest():
    model, bounded, _ = shipped("lakeside-10")
    free = GrainEngine(model, DENSE)
    codes = np.array([mark.latent for mark in model.card.landmarks[::2]], np.float32)
    with_bound, without = (
        engine.render([engine.start_stream(60, 0) for _ in codes], Codes(codes), 0, 2000) for engine in (bounded, free)
    )
    changed = [not np.array_equal(*pair) for pair in zip(with_bound, without, strict=True)]
    assert np.mean(changed) < 0.02
    assert all(level_db(b) - level_db(a) < 1.0 for a, b in zip(with_bound, without, strict=True))


@pytest.mark.parametrize("domain", ["samples", "magnitude", "magnitude_phase"])
@pytest.mark.parametrize("pitch", [-12.0, 0.0, 19.0])
def test_a_code_beyond_what_may_be_is_as_loud_as_what_may_be(grain_model, domain, pitch):
    """Of a spectrum that ends at a quarter of the band, which stays in it two octaves higher."""
    bins = LENGTH // 2 + 1
    hill = np.where(np.arange(bins) < bins // 4, 1.0, 0.0)
    rng = np.random.default_rng(3)
    phases = rng.uniform(-np.pi, np.pi, bins)
    width, frames = {
        "samples": (LENGTH, np.fft.irfft(hill * np.exp(1j * phases))),
        "magnitude": (bins, hill),
        "magnitude_phase": (2 * bins, np.r_[hill, phases]),
    }[domain]
    rest = np.zeros(width)
    rest[bins:] = frames[bins:] if domain == "magnitude_phase" else 0  # phases stay, magnitudes are moved
    moved = np.zeros((LATENTS, width))
    moved[0] = frames - rest
    model = grain_model(rest, moved, domain=domain)
    engine = GrainEngine(model, GrainSettings(density=400.0, pitch=pitch), loudest=0.1)
    codes = [[size, 0.0, 0.0] for size in (1e2, 1e3, 1e6)]
    assert voices_db(engine, codes, 16000 / RATE) == pytest.approx([-20.0] * 3, abs=1.5)


def test_a_model_that_is_loud_at_its_default_code_stays_as_loud_and_gets_no_louder(grain_model):
    frame = np.random.default_rng(4).normal(size=LENGTH)
    engine = GrainEngine(grain_model(frame, np.tile(frame, (LATENTS, 1))), DENSE, loudest=0.1)
    silent = GrainEngine(grain_model(0 * frame, np.tile(frame, (LATENTS, 1))), DENSE, loudest=0.1)
    codes = [[0.0] * 3, [2.0] * 3]
    assert voices_db(engine, codes, 0.7) == pytest.approx([0.0, 0.0], abs=1.0)
    assert voices_db(silent, codes[1:], 0.7) == pytest.approx([-20.0], abs=1.0)


def test_a_held_texture_neither_swells_nor_repeats(noise):
    heard = sound(noise, 20.0, block=16384, density=100.0)[0]
    levels = [level_db(part) for part in np.split(heard[: RATE * 20], 20)]
    assert np.ptp(levels) < 1.0
    parts = heard[: RATE // 5 * 100].reshape(100, -1)
    spectra = np.fft.rfft(parts, 2 * parts.shape[1])
    energy = np.sqrt(np.sum(parts**2, axis=1))
    for one in range(0, 100, 7):
        lags = np.fft.irfft(spectra[one].conj() * spectra, axis=1) / (energy[one] * energy)[:, np.newaxis]
        lags[one] = 0
        assert np.abs(lags).max() < 0.2


def test_jitter_of_a_whole_period_takes_the_line_at_the_grain_rate_away(grain_model):
    frame = np.random.default_rng(1).normal(size=LENGTH)
    model = grain_model(frame)
    density = 100.0
    above = {}
    for jitter in (0.0, 1.0):
        heard = sound(model, 60.0, block=16384, density=density, length=0.04, jitter=jitter)[0]
        _, power = welch(heard, RATE, nperseg=8192)
        lines = [round(n * density * 8192 / RATE) for n in range(2, 60)]
        peaks = np.array([power[line - 1 : line + 2].max() for line in lines])
        beside = np.array(
            [np.median(np.r_[power[line - 12 : line - 4], power[line + 5 : line + 13]]) for line in lines]
        )
        above[jitter] = 10 * np.log10(peaks / beside)
    assert np.median(above[0.0] - above[1.0]) >= 20
    assert np.median(above[1.0]) <= 3


def test_noise_at_0_hz_and_at_half_the_rate_has_the_power_of_its_magnitudes(noise):
    places = np.random.default_rng(8).random((4000, 2)).tolist()
    for bin_number in (0, 1, LENGTH // 2):
        frames = np.zeros((4000, LENGTH // 2 + 1), np.float32)
        frames[:, bin_number] = 1.0
        made = NoiseFrames(noise.card, 44100).grains(frames, [Cut(1024, 1.0, 0.5)] * 4000, places)
        power = np.mean(np.abs(np.fft.rfft(made)[:, bin_number]) ** 2)
        assert power == pytest.approx(1.0, rel=0.12)


def test_grains_from_one_place_of_the_table_differ_by_their_phases(noise):
    frames = np.ones((2, LENGTH // 2 + 1), np.float32)
    one, other = NoiseFrames(noise.card, 44100).grains(frames, [Cut(1024, 1.0, 0.5)] * 2, [[0.3, 0.1], [0.3, 0.6]])
    lags = np.fft.irfft(np.fft.rfft(one).conj() * np.fft.rfft(other)) / (np.linalg.norm(one) * np.linalg.norm(other))
    assert np.abs(lags).max() < 0.25


def test_density_length_and_shape_do_not_change_the_loudness(noise):
    levels = [
        level_db(sound(noise, 8.0, block=16384, density=density, length=length, shape=shape)[0])
        for density, length, shape in (
            (100.0, 0.05, 1.0),
            (2000.0, 0.05, 1.0),
            (400.0, 0.02, 0.5),
            (50.0, 0.3, 0.0),
            (50.0, 0.1, 0.75),
            (150.0, 0.05, 0.25),
        )
    ]
    assert np.ptp(levels) < 1.0
