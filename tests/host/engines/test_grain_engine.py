"""Grains: where they begin, how loud and high they are, what spectrum their textures have, and how keys play them."""

import itertools
import json

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import resample, welch
from timbrel.host.contract.card import METADATA_KEY
from timbrel.host.contract.model import Model
from timbrel.host.controls import Ramp
from timbrel.host.dsp import limited
from timbrel.host.engines.grain import FILL, STEP, GrainEngine, Pace
from timbrel.host.engines.source import Cut, Noise, Samples, source_of
from timbrel.host.engines.table import LOUDEST_TEXTURE_DB, VOICE_LUFS, engine_of
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.kinds.grain import CONTROLS as GRAIN_CONTROLS
from timbrel.host.kinds.grain import GrainSettings
from timbrel.host.patch.library import open_patch
from timbrel.host.patch.preset import Preset
from timbrel.host.patch.resolve import Patch
from timbrel.host.play.instrument import Instrument
from timbrel.host.play.rack import Rack

RATE, LENGTH = 22050, 1024
SHARP = {"attack_seconds": 0.0, "decay_seconds": 0.0, "release_seconds": 0.0}
LATENTS = 3
AWKWARD = [1, 127, 64, 65, 3, 500, 128, 2000, 63]


class Still:
    """Knobs that stand, and a bend."""

    def __init__(self, code=(0.0,) * LATENTS, bend=0.0):
        self.code, self.bend = code, bend

    def latents(self, voices, times):
        return np.tile(np.asarray(self.code, np.float32), (len(voices), 1))

    def bend_semitones(self, voices, times):
        return np.full(len(voices), self.bend)


@pytest.fixture(scope="module")
def grain_path(analytic, tmp_path_factory):
    """A function that writes a model whose frame is ``rest + latent @ moved``; ``card`` has changes."""
    folder = tmp_path_factory.mktemp("grains")

    def write(rest, moved=None, domain="samples", **card):
        rest = np.asarray(rest, np.float32)
        moved = np.zeros((LATENTS, len(rest))) if moved is None else moved
        constants = [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in (("m", moved), ("r", rest))]
        nodes = [
            helper.make_node("MatMul", ["latent", "m"], ["x"]),
            helper.make_node("Add", ["x", "r"], ["frame"]),
        ]
        latent, frame = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])
            for name, width in (("latent", LATENTS), ("frame", len(rest)))
        )
        graph = helper.make_graph(nodes, "g", [latent], [frame], constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        fields = analytic(LATENTS, chroma=False, frame_length=LENGTH).card() | {
            "name": "grains",
            "kind": "grain",
            "domain": domain,
            "loudness_lufs": VOICE_LUFS,
            "landmarks": [],
            "latents": [
                {"name": f"{n}", "low": -4.0, "high": 4.0, "default": 0.0, "mean": 0.0, "std": 1.0}
                for n in range(LATENTS)
            ],
            "reference": {
                "latent": [[0.0] * LATENTS],
                "chroma": None,
                "points": [0],
                "frame": [[float(rest[0])]],
                "tolerance": 1e-5,
            },
        }
        helper.set_model_props(made, {METADATA_KEY: json.dumps(fields | card)})
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        onnx.save(made, path)
        return path

    return write


@pytest.fixture(scope="module")
def grain_model(grain_path):
    """As `grain_path`, opened."""
    return lambda *given, **card: Model(grain_path(*given, **card))


@pytest.fixture(scope="module")
def ones(grain_model):
    return grain_model(np.ones(LENGTH))


def slope(bins=LENGTH // 2 + 1):
    """A smooth spectrum of a noise, 12 dB from end to end and with a hill."""
    at = np.arange(bins) / bins
    return 3.0 * 10 ** (-0.6 * at) * (1 + np.exp(-(((at - 0.4) / 0.1) ** 2)))


@pytest.fixture(scope="module")
def noise(grain_model):
    moved = np.zeros((LATENTS, LENGTH // 2 + 1))
    moved[0] = np.linspace(1, 0, LENGTH // 2 + 1)
    return grain_model(slope(), moved, domain="magnitude")


def sound(model, seconds, block=512, on=0, motion=None, key=60, notes=1, **grain):
    """[2, samples] of notes that begin together and are held."""
    engine = GrainEngine(model, GrainSettings(**grain), 16384)
    streams = [engine.begin(key, on) for _ in range(notes)]
    count = round(seconds * RATE)
    blocks = []
    for start in range(0, count, block):
        blocks.append(sum(engine.render(streams, motion or Still(), start, min(block, count - start))))
    return np.concatenate(blocks, axis=1)


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def onsets(samples):
    """Samples that sound after one that does not."""
    heard = np.abs(samples) > 0
    return np.flatnonzero(heard & ~np.concatenate([[False], heard[:-1]]))


@pytest.mark.parametrize("density", [100.0, 50.0, 333.3, 7.0])
def test_grains_without_jitter_begin_each_period_to_the_sample(ones, density):
    found = onsets(sound(ones, 1.0, on=1001, density=density, length=0.002, shape=0.0, jitter=0.0)[0])
    places = 1001 + np.arange(1000) * RATE / density
    places = places[places < RATE - 0.5]
    assert len(found) == len(places)
    assert np.all(np.abs(found - places) < 0.5 + 1e-6)


def test_grains_with_jitter_are_late_by_up_to_a_period_and_evenly_so(ones):
    density = 50.0
    found = onsets(sound(ones, 40.0, density=density, length=0.002, shape=0.0, jitter=1.0)[0])
    assert found[0] == 0
    late = found[1:] - np.floor(found[1:] * density / RATE) * RATE / density
    count = np.histogram(late, 10, (0, RATE / density))[0]
    assert len(found) == pytest.approx(40 * density, rel=0.02)  # two that touch are counted once
    assert np.all(np.abs(count - len(late) / 10) < 5 * np.sqrt(len(late) / 10))
    gaps = np.diff(found)
    assert gaps.max() <= 2 * RATE / density + 1
    assert gaps.std() > 0.2 * RATE / density


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(0.1, 2000)), min_size=1, max_size=8))
@settings(max_examples=50)
def test_the_pace_is_the_integral_of_the_density(moves):
    density = Ramp(100.0, 441)
    pace = Pace(density.value(0) / RATE)
    now, steps = 0, [0.0]
    for length, value in moves:
        density.move(now, value)
        pace.advance(now + length, lambda time: density.value(time) / RATE)
        steps += [density.value(time) / RATE for time in range(now + 1, now + length + 1)]
        now += length
        assert pace.when(pace.at(now - 1)[0])[0] == pytest.approx(now - 1, abs=1e-3)
    count, _ = pace.at(now - 1)
    taken = np.cumsum(steps)[now - 1]
    most = max(100.0, *(value for _, value in moves)) / RATE
    assert abs(count - taken) <= STEP * most * len(moves) + 1e-6  # a step is as its beginning is


def test_a_knob_that_is_turned_up_is_heard_before_the_grain_that_was_to_come(ones):
    engine = GrainEngine(ones, GrainSettings(density=0.1, length=0.002, jitter=0.0), 16384)
    stream = engine.begin(60, 0)
    engine.render([stream], Still(), 0, RATE // 2)
    engine.targets["grain.density"].move(RATE // 2, 100.0)
    heard = engine.render([stream], Still(), RATE // 2, RATE // 2)[0][0]
    assert 45 <= len(onsets(heard)) <= 51


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_an_overlap_is_a_density_by_the_length(ones, overlap):
    length = 0.02
    sounds = [
        sound(ones, 0.5, length=length, jitter=0.5, **pace)
        for pace in ({"overlap": overlap}, {"density": 1 / ((1 - overlap) * length)})
    ]
    assert np.abs(sounds[0] - sounds[1]).max() < 1e-3


def test_an_overlap_asks_for_no_more_grains_than_a_density_can(ones):
    engine = GrainEngine(ones, GrainSettings(overlap=0.99, length=0.002), 16384)
    assert engine._density(0) * RATE == GRAIN_CONTROLS["grain.density"].high


def test_a_sparse_note_begins_with_a_whole_grain(ones):
    heard = sound(ones, 0.2, on=300, density=5.0, length=0.04, shape=0.5)[0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(882) + 0.5) / 882)
    assert np.all(heard[:300] == 0)
    assert np.allclose(heard[300:1182], window, atol=1e-6)


def test_a_dense_texture_is_full_from_its_first_sample(noise):
    first, later = [], []
    for seed in range(60):
        heard = sound(noise, 0.25, density=300.0, length=0.04, seed=seed)[0]
        first.append(heard[:200])
        later.append(heard[3000:5000])
    assert abs(level_db(first) - level_db(later)) < 1.0


def test_a_very_dense_texture_begins_with_few_grains_that_are_as_loud(noise):
    engine = GrainEngine(noise, GrainSettings(density=2000.0, length=0.5), 16384)
    calls = []
    decode, noise.decode = noise.decode, lambda codes, chroma: calls.append(len(codes)) or decode(codes, chroma)
    motion = Still()
    motion.latents = lambda voices, times: np.random.default_rng(0).random((len(voices), LATENTS), np.float32)
    try:
        engine.render([engine.begin(60, 0)], motion, 0, 1)
    finally:
        noise.decode = decode
    assert calls == [FILL + 1]
    heard = [sound(noise, 0.6, density=1000.0, length=0.1, seed=seed, block=4096)[0] for seed in range(40)]
    first, later = np.array(heard)[:, :400], np.array(heard)[:, 5000:]
    assert abs(level_db(first) - level_db(later)) < 1.5


@pytest.mark.parametrize("pitch", [0.0, 12.0, -7.0])
@pytest.mark.parametrize("length", [LENGTH / RATE, 0.1])
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

    def latents(self, voices, times):
        return np.asarray(self.code, np.float32)[list(voices)]


def voices_db(engine, codes, seconds, key=60):
    """The louder side's level of a held voice at each code, [codes], after its beginning."""
    rate = engine._rate
    streams = [engine.begin(key, 0) for _ in codes]
    parts = engine.render(streams, Codes(codes), 0, round(seconds * rate))
    return np.array([max(level_db(side) for side in part) for part in parts])


DENSE = GrainSettings(density=400.0)


def shipped(name):
    patch = open_patch(name)
    gain_db = VOICE_LUFS - patch.model.card.loudness_lufs
    return patch.model, engine_of(patch.model, patch.preset.model_copy(update={"grain": DENSE})), gain_db


def test_no_corner_of_a_shipped_textures_knobs_is_louder_than_a_voice_may_be():
    model, engine, gain_db = shipped("lakeside-10")
    spans = [(latent.low, latent.high) for latent in model.card.latents]
    corners = np.array(list(itertools.product(*spans)), np.float32)
    corners = np.random.default_rng(0).permutation(corners)[:256]
    levels = np.concatenate([voices_db(engine, some, 0.3) for some in np.split(corners, 8)]) + gain_db
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
    free = GrainEngine(model, DENSE, 16384)
    codes = np.array([mark.latent for mark in model.card.landmarks], np.float32)
    with_bound, without = (
        engine.render([engine.begin(60, 0) for _ in codes], Codes(codes), 0, 2000) for engine in (bounded, free)
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
    engine = GrainEngine(model, GrainSettings(density=400.0, pitch=pitch), 16384, loudest=0.1)
    codes = [[size, 0.0, 0.0] for size in (1e2, 1e3, 1e6)]
    assert voices_db(engine, codes, 16000 / RATE) == pytest.approx([-20.0] * 3, abs=1.5)


def test_a_model_that_is_loud_at_its_default_code_stays_as_loud_and_gets_no_louder(grain_model):
    frame = np.random.default_rng(4).normal(size=LENGTH)
    engine = GrainEngine(grain_model(frame, np.tile(frame, (LATENTS, 1))), DENSE, 16384, loudest=0.1)
    silent = GrainEngine(grain_model(0 * frame, np.tile(frame, (LATENTS, 1))), DENSE, 16384, loudest=0.1)
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


@pytest.mark.parametrize("domain", ["samples", "noise"])
def test_any_division_into_blocks_gives_the_same_bytes(make_instrument, grain_model, noise, play, domain):
    rng = np.random.default_rng(2)
    model = noise if domain == "noise" else grain_model(rng.normal(size=LENGTH), rng.normal(size=(LATENTS, LENGTH)))
    knobs = {"density": (1, 2000), "length": (0.01, 0.1), "pitch": (-12, 12), "lowpass_hz": (500, 11025)}
    knobs |= {"shape": (0, 1), "jitter": (0, 1), "spread": (0, 1), "level_jitter": (0, 12), "code_jitter": (0, 2)}
    maps = [
        {"number": 70 + place, "target": f"grain.{name}", "low": low, "high": high}
        for place, (name, (low, high)) in enumerate(knobs.items())
    ]
    maps.append({"number": 20, "target": "latent.0", "low": -4, "high": 4})
    keys = {"grain": {"code_jitter": 0.5, "seed": 7}, "cc": maps, "envelope": SHARP, "play": {"voices": 3}}
    events = [NoteOn(0, 0, 60, 100), NoteOn(700, 0, 67, 80), NoteOff(3000, 0, 60), NoteOn(3001, 0, 48, 127)]
    events += [PitchBend(5000, 0, 4000), NoteOn(5500, 0, 50, 90), NoteOn(6000, 0, 52, 90), NoteOff(9000, 0, 67)]
    events += [
        ControlChange(int(time), 0, int(number), int(value))
        for time, number, value in zip(
            rng.integers(0, 15_000, 60), rng.choice([20, *range(70, 79)], 60), rng.integers(0, 128, 60), strict=True
        )
    ]
    events.sort(key=lambda event: event.time)
    whole, cut, small = (
        play(make_instrument(RATE, model, **keys), events, 16_000, sizes) for sizes in ([16_000], AWKWARD, [128])
    )
    assert level_db(whole) > -60
    assert np.array_equal(whole, cut)
    assert np.array_equal(whole, small)


def test_grains_that_overtake_each_other_and_those_before_a_note_do_not_depend_on_blocks(grain_model):
    rng = np.random.default_rng(6)
    model = grain_model(rng.normal(size=LENGTH), rng.normal(size=(LATENTS, LENGTH)))

    def rendered(sizes):
        engine = GrainEngine(model, GrainSettings(density=300.0, spread=1.0), 16384)
        engine.render([], Still(), 0, 1000)
        engine.targets["grain.pitch"].move(900, 7.0)
        stream, blocks, now = engine.begin(60, 1100), [], 1000
        for size in sizes:
            blocks.append(engine.render([stream], Still(), now, size)[0].copy())
            now += size
        return np.concatenate(blocks, axis=1)

    whole = rendered([9000])
    assert np.array_equal(whole, rendered([50] * 180))
    assert np.array_equal(whole, rendered([101, 899, 7, 1993, 3000, 3000]))


def test_grains_before_a_note_are_as_the_knobs_are_when_it_begins(noise):
    read = []
    motion = Still()
    motion.latents = lambda voices, times: read.extend(times) or Still().latents(voices, times)
    engine = GrainEngine(noise, GrainSettings(density=300.0), 16384)
    engine.render([engine.begin(60, 1100)], motion, 0, 1101)
    assert len(read) > 3
    assert set(read) == {1100}


def test_grains_that_nobody_would_hear_are_not_made(noise):
    calls = []
    decode, noise.decode = noise.decode, lambda latent, chroma: calls.append(len(latent)) or decode(latent, chroma)
    try:
        engine = GrainEngine(noise, GrainSettings(density=500.0, code_jitter=0.1), 16384)
        stream = engine.begin(60, 0)
        stream.end = 500
        engine.render([stream], Still(), 0, 16_000)
    finally:
        noise.decode = decode
    assert sum(calls) <= FILL + 1 + 500 * 500 / RATE + 1


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [
        ("density", 20, 200),
        ("length", 0.05, 0.01),
        ("shape", 1, 0),
        ("jitter", 1, 0),
        ("pitch", 0, 7),
        ("spread", 0, 1),
        ("level_jitter", 0, 12),
        ("code_jitter", 0, 1),
        ("lowpass_hz", 11025, 1000),
        ("overlap", 0.1, 0.8),
    ],
)
def test_a_knob_leads_each_number_to_what_a_preset_can_say(grain_model, tmp_path, play, target, low, high):
    rng = np.random.default_rng(7)
    model = grain_model(rng.normal(size=LENGTH), rng.normal(size=(LATENTS, LENGTH)))
    maps = [{"number": 20, "target": f"grain.{target}", "low": low, "high": high}]
    turned, said, rest = (
        play(grain_instrument(model, tmp_path, {target: value}, cc=maps), events, 12_000, [512])
        for value, events in (
            (low, [ControlChange(0, 0, 20, 127), NoteOn(2000, 0, 60, 100)]),
            (high, [NoteOn(2000, 0, 60, 100)]),
            (low, [NoteOn(2000, 0, 60, 100)]),
        )
    )
    assert not np.allclose(said, rest, atol=1e-4)
    if target not in ("density", "overlap"):  # whose way there has moved the grid
        assert np.array_equal(turned, said)
    else:
        assert level_db(turned - rest) > -60


def test_seeds_differ_and_one_seed_does_not(noise):
    first, again, other = (sound(noise, 0.2, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first[0], other[0])[0, 1]) < 0.2


@pytest.mark.parametrize("semitones", [-48, -24, -7.3, -1, 0.5, 3, 12, 19.02, 36])
def test_a_sine_moves_by_the_interval_to_a_cent(grain_model, semitones):
    length = 1 << 15
    hz = 5200.0 / 2 ** (max(semitones, 0) / 12)
    model = grain_model(np.sin(2 * np.pi * hz * np.arange(length) / RATE), frame_length=length, hop_length=length)
    heard = sound(model, 1.5, pitch=semitones, density=0.1, length=1.4)[0].astype(np.float64)
    heard = np.trim_zeros(heard)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 1 << 20))
    peak = int(np.argmax(spectrum))
    a, b, c = np.log(spectrum[peak - 1 : peak + 2])
    found = (peak + 0.5 * (a - c) / (a - 2 * b + c)) * RATE / (1 << 20)
    assert abs(1200 * np.log2(found / (hz * 2 ** (semitones / 12)))) < 1.0


@pytest.mark.parametrize(("semitones", "count"), [(12, 512), (-12, 2048)])
def test_octaves_are_scipys_resampling(ones, semitones, count):
    frame = np.random.default_rng(3).normal(size=(1, LENGTH)).astype(np.float32)
    made = Samples(ones.card, 44100).grains(frame, [Cut(count, 2.0 ** (semitones / 12), 0.5)], [[0, 0]])[0]
    assert np.allclose(made, resample(frame[0].astype(np.float64), count), atol=1e-4)


def test_a_grain_is_the_middle_of_its_frame(ones):
    frame = np.arange(LENGTH, dtype=np.float32)[np.newaxis]
    assert np.array_equal(Samples(ones.card, 44100).grains(frame, [Cut(24, 1.0, 0.5)], [[0, 0]])[0], range(500, 524))


def test_magnitudes_and_phases_are_the_samples_that_they_are_of(grain_model):
    frame = np.random.default_rng(4).normal(size=LENGTH)
    spectrum = np.fft.rfft(frame)
    polar = grain_model(np.r_[np.abs(spectrum), np.angle(spectrum)], domain="magnitude_phase")
    for keys in ({}, {"pitch": 5.0, "lowpass_hz": 3000.0}):
        one, other = (sound(model, 0.3, **keys) for model in (grain_model(frame), polar))
        assert np.allclose(one, other, atol=1e-4)


@given(
    semitones=st.floats(-72, 72, allow_subnormal=False),
    length=st.integers(2, 2000),
    lowpass=st.floats(0.001, 0.6),
    domain=st.sampled_from(["samples", "magnitude"]),
    frame_length=st.sampled_from([16, 1002, 1024, 4096]),
)
@example(semitones=72.0, length=2, lowpass=0.6, domain="samples", frame_length=16)
@settings(max_examples=60)
def test_whatever_is_asked_for_a_grain_is_finite_and_as_long_as_it_can_be(
    ones, semitones, length, lowpass, domain, frame_length
):
    card = ones.card.model_copy(update={"domain": domain, "frame_length": frame_length})
    source = source_of(card, 2 * RATE)
    ratio = 2.0 ** (semitones / 12)
    count = min(length, source.longest(ratio))
    frame = np.full((1, card.frame_width), 0.5, np.float32)
    made = source.grains(frame, [Cut(count, ratio, lowpass)], [[0.999999, 0.5]])[0]
    assert made.shape == (count,)
    assert made.dtype == np.float32
    assert np.all(np.isfinite(made))
    assert np.abs(made).max() < 10


def test_an_envelope_keeps_its_place_in_a_grain_of_any_length(grain_model):
    points = 9
    envelope = np.zeros(points)
    envelope[6] = 1.0
    model = grain_model(np.r_[np.ones(LENGTH // 2 + 1), envelope], domain="magnitude", envelope_points=points)
    for length in (300, 1000, 5000):
        made = Noise(model.card, 44100).grains(
            np.r_[np.ones(LENGTH // 2 + 1), envelope][np.newaxis].astype(np.float32),
            [Cut(length, 1.0, 0.5)],
            [[0.1, 0.7]],
        )[0]
        expected = np.interp(np.linspace(0, points - 1, length), np.arange(points), envelope)
        assert np.all(made[expected == 0] == 0)
        assert np.sum(made**2) == pytest.approx(np.sum(expected**2) / LENGTH, rel=0.6)
    for length in (300, 5000):
        many = [
            Noise(model.card, 44100).grains(
                np.r_[np.ones(LENGTH // 2 + 1), np.ones(points)][np.newaxis].astype(np.float32),
                [Cut(length, 1.0, 0.5)],
                [[place, 1 - place]],
            )[0]
            for place in np.linspace(0, 0.99, 60)
        ]
        assert np.mean(np.square(many)) == pytest.approx(1 / LENGTH, rel=0.05)  # E|X|^2 = m^2


def test_noise_at_0_hz_and_at_half_the_rate_has_the_power_of_its_magnitudes(noise):
    places = np.random.default_rng(8).random((4000, 2)).tolist()
    for bin_number in (0, 1, LENGTH // 2):
        frames = np.zeros((4000, LENGTH // 2 + 1), np.float32)
        frames[:, bin_number] = 1.0
        made = Noise(noise.card, 44100).grains(frames, [Cut(1024, 1.0, 0.5)] * 4000, places)
        power = np.mean(np.abs(np.fft.rfft(made)[:, bin_number]) ** 2)
        assert power == pytest.approx(1.0, rel=0.12)


def test_grains_from_one_place_of_the_table_differ_by_their_phases(noise):
    frames = np.ones((2, LENGTH // 2 + 1), np.float32)
    one, other = Noise(noise.card, 44100).grains(frames, [Cut(1024, 1.0, 0.5)] * 2, [[0.3, 0.1], [0.3, 0.6]])
    lags = np.fft.irfft(np.fft.rfft(one).conj() * np.fft.rfft(other)) / (np.linalg.norm(one) * np.linalg.norm(other))
    assert np.abs(lags).max() < 0.25


def test_a_low_pass_falls_off_as_a_butterworth_of_order_4(noise, grain_model):
    white = grain_model(np.random.default_rng(5).normal(size=LENGTH))
    for model in (noise, white):
        powers = [
            welch(sound(model, 20.0, block=16384, **keys)[0], RATE, nperseg=512)
            for keys in ({}, {"lowpass_hz": 2000.0})
        ]
        hz = powers[0][0]
        fallen = 10 * np.log10(powers[1][1] / powers[0][1])
        told = -10 * np.log10(1 + (hz / 2000) ** 8)
        inside = (hz > 300) & (hz < 5000)
        assert np.abs(np.convolve(fallen[inside] - told[inside], np.ones(5) / 5, "valid")).max() < 1.5


def test_density_length_and_shape_do_not_change_the_loudness(noise):
    levels = [
        level_db(sound(noise, 15.0, block=16384, density=density, length=length, shape=shape)[0])
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


def test_shapes_go_from_tukey_over_hann_to_blackman(ones):
    at = (np.arange(882) + 0.5) / 882
    edge = np.minimum(np.minimum(at, 1 - at) / 0.1, 0.5)
    windows = {
        0.0: 0.5 - 0.5 * np.cos(2 * np.pi * edge),
        0.5: 0.5 - 0.5 * np.cos(2 * np.pi * at),
        1.0: 0.42 - 0.5 * np.cos(2 * np.pi * at) + 0.08 * np.cos(4 * np.pi * at),
    }
    for shape, window in windows.items():
        assert np.allclose(sound(ones, 0.04, density=1.0, length=0.04, shape=shape)[0], window, atol=1e-6)
    energies = [np.sum(sound(ones, 0.04, density=1.0, length=0.04, shape=s)[0] ** 2) for s in np.linspace(0, 1, 41)]
    assert np.all(np.diff(energies) < 0)


def test_spread_places_each_grain_alone_and_keeps_the_power(ones):
    centre = sound(ones, 20.0, density=20.0, length=0.01)
    assert np.array_equal(centre[0], centre[1])
    spread = sound(ones, 20.0, density=20.0, length=0.01, spread=1.0)
    assert np.allclose(np.sum(spread**2, axis=0)[:200], np.sum(centre**2, axis=0)[:200], rtol=1e-4)
    starts = onsets(spread[0] + spread[1]) + 100
    sides = np.arctan2(spread[1, starts[:-1]], spread[0, starts[:-1]]) / (np.pi / 2)
    count = np.histogram(sides, 5, (0, 1))[0]
    assert np.all(np.abs(count - len(sides) / 5) < 5 * np.sqrt(len(sides) / 5))


def test_level_jitter_goes_up_and_down_by_what_it_says(ones):
    heard = sound(ones, 30.0, density=20.0, length=0.01, level_jitter=12.0, jitter=0.0)[0]
    peaks = 20 * np.log10([part.max() for part in np.split(heard[: 30 * RATE // 1102 * 1102], 30 * RATE // 1102)])
    assert -12.01 < peaks.min() < -11
    assert 11 < peaks.max() < 12.01


@pytest.mark.parametrize("amount", [0.5, 2.0])
def test_code_jitter_is_in_deviations_and_stays_in_the_spans(noise, amount):
    codes = []
    decode, noise.decode = noise.decode, lambda latent, chroma: codes.append(latent.copy()) or decode(latent, chroma)
    try:
        sound(noise, 10.0, density=200.0, length=0.01, code_jitter=amount, motion=Still((0.5, 0.0, -3.5)))
    finally:
        noise.decode = decode
    codes = np.concatenate(codes)
    assert np.all(np.abs(codes) <= 4.0)
    assert codes[:, 1].mean() == pytest.approx(0.0, abs=0.15 * amount)
    if amount < 1:
        assert codes[:, 1].std() == pytest.approx(amount, rel=0.05)
        assert abs(np.corrcoef(codes[:, 0], codes[:, 1])[0, 1]) < 0.1
    assert np.any(codes[:, 2] == -4.0)


def test_all_grains_of_a_block_are_decoded_in_one_run_and_equal_codes_once(noise):
    calls = []
    decode, noise.decode = noise.decode, lambda latent, chroma: calls.append(len(latent)) or decode(latent, chroma)
    try:
        engine = GrainEngine(noise, GrainSettings(density=1000.0, code_jitter=0.2), 16384)
        streams = [engine.begin(60 + n, 0) for n in range(8)]
        for start in range(0, 4096, 256):
            calls.clear()
            engine.render(streams, Still(), start, 256)
            assert len(calls) == 1
            assert calls[0] > 50
        engine = GrainEngine(noise, GrainSettings(density=1000.0), 16384)
        calls.clear()
        streams = [engine.begin(60 + n, 0) for n in range(8)]
        for start in range(0, 4096, 256):
            engine.render(streams, Still(), start, 256)
        assert calls == [1]
    finally:
        noise.decode = decode


def grain_instrument(model, folder, grain=None, **keys):
    preset = {"format": 1, "model": "grains", "envelope": SHARP, **keys}
    made = Preset.model_validate(preset | ({"grain": grain} if grain else {}))
    return Instrument(Patch("grains", made, model, folder), RATE)


@pytest.fixture(scope="module")
def sine(grain_model):
    return grain_model(np.sin(2 * np.pi * 1000.0 * np.arange(8192) / RATE), frame_length=8192, hop_length=2048)


def highest(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 17))
    return np.argmax(spectrum) * RATE / (1 << 17)


@pytest.mark.parametrize(("keys", "moved"), [("transpose", 12), ("trigger", 0), ("hold", 0)])
def test_keys_move_the_pitch_only_where_they_transpose_and_bends_always(sine, tmp_path, play, keys, moved):
    for bend, semitones in ((0, moved), (8191, moved + 2)):
        instrument = grain_instrument(sine, tmp_path, {"density": 0.1, "keys": keys})
        heard = play(instrument, [PitchBend(0, 0, bend), NoteOn(2000, 0, 72, 100)], 16_000)[0]
        assert highest(heard[2000:]) == pytest.approx(1000 * 2 ** (semitones / 12), rel=1e-3)


def test_a_held_key_goes_on_until_it_is_pressed_again(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    heard = play(
        instrument,
        [NoteOn(0, 0, 60, 100), NoteOff(500, 0, 60), NoteOn(20_000, 0, 60, 100), NoteOff(20_100, 0, 60)],
        24_000,
        [512],
    )
    assert level_db(heard[:, 15_000:19_000]) > -50
    assert np.all(heard[:, 20_100:] == 0)


@pytest.mark.parametrize("controller", [120, 123])
def test_all_notes_off_ends_what_is_held_and_the_key_begins_anew(noise, tmp_path, play, controller):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    events = [NoteOn(0, 0, 60, 100), NoteOff(500, 0, 60), ControlChange(5000, 0, controller, 0)]
    heard = play(instrument, [*events, NoteOn(10_000, 0, 60, 100), NoteOff(10_500, 0, 60)], 14_000, [512])
    assert np.all(heard[:, 6000:10_000] == 0)
    assert level_db(heard[:, 11_000:]) > -50


def test_a_pedal_holds_what_a_held_key_lets_go(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    events = [NoteOn(0, 0, 60, 100), NoteOff(100, 0, 60), ControlChange(200, 0, 64, 127), NoteOn(300, 0, 60, 9)]
    heard = play(instrument, [*events, NoteOff(400, 0, 60), ControlChange(8000, 0, 64, 0)], 12_000, [512])
    assert level_db(heard[:, 2000:7900]) > -50
    assert np.all(heard[:, 8100:] == 0)


def test_a_key_that_only_the_pedal_holds_begins_anew(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    presses = [NoteOn(time, 0, 60, 100) for time in (0, 300, 600)]  # on, off into the pedal, on again
    events = [presses[0], ControlChange(200, 0, 64, 127), *presses[1:], ControlChange(3000, 0, 64, 0)]
    assert level_db(play(instrument, events, 12_000, [512])[:, 5000:]) > -50


def test_a_voice_that_gave_way_is_begun_anew_by_its_key(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"}, play={"voices": 1})
    events = [NoteOn(0, 0, 60, 100), NoteOn(1000, 0, 62, 100), NoteOn(5000, 0, 60, 100)]
    play(instrument, events, 8000, [512])
    assert instrument.sounding == 1


def test_two_keys_sound_as_two_voices_with_grains_of_their_own(noise, tmp_path, play):
    one, two = (
        play(grain_instrument(noise, tmp_path), [NoteOn(0, 0, 60 + n, 100) for n in range(keys)], 60_000, [2048])
        for keys in (1, 2)
    )
    assert level_db(two) - level_db(one) == pytest.approx(3.0, abs=0.5)


def test_pressing_a_finger_harder_moves_the_latent_of_its_note(noise, tmp_path, play):
    from timbrel.host.events import ChannelPressure

    def dark(pressure):
        keys = {"mpe": {"enabled": True, "pressure": "latent.0"}}
        events = [ChannelPressure(0, 1, pressure), NoteOn(1000, 1, 60, 100)]
        heard = play(grain_instrument(noise, tmp_path, **keys), events, 30_000, [2048])[0]
        hz, power = welch(heard, RATE)
        return power[hz < 2000].sum() / power[hz > 6000].sum()

    assert dark(127) > 1.3 * dark(0)


def test_a_knob_learns_a_grains_density_over_its_whole_range(grain_path, tmp_path):
    from timbrel.host.patch.learn import learn

    path = grain_path(np.ones(LENGTH))
    (tmp_path / "p.toml").write_text(f'format = 1\nmodel = "{path}"\n', encoding="utf-8")
    moves = [(0.1 * n, ControlChange(0, 0, 30, 10 * n)) for n in range(10)] + [(5.0, None)]
    learn(str(tmp_path / "p.toml"), "grain.density", moves, lambda line: None)
    assert open_patch(str(tmp_path / "p.toml")).preset.cc[0].low == 0.1


def test_a_bare_model_of_grains_plays(grain_path):
    patch = open_patch(str(grain_path(slope(), domain="magnitude")))
    sound, _ = Rack({0: patch}, 48000).process([NoteOn(0, 0, 60, 100)], 4800)
    assert level_db(sound) > -70


def test_a_chain_of_blocks_longer_than_any_grain_is_silent_after_the_note(noise, tmp_path, play):
    heard = play(grain_instrument(noise, tmp_path), [NoteOn(0, 0, 60, 100), NoteOff(3000, 0, 60)], 40_000, [700])
    assert level_db(heard[:, :3000]) > -50
    assert np.all(heard[:, 3100:] == 0)


@pytest.mark.parametrize(
    ("grain", "words"),
    [
        ({"density": 0}, "= 0 should be greater than or equal to 0.1"),
        ({"density": 100_000}, "less than or equal to 2000"),
        ({"density": 10, "overlap": 0.5}, "give one of them"),
        ({"overlap": 1.0}, "0.99"),
        ({"length": 0}, "0.002"),
        ({"keys": "latch"}, "'transpose', 'trigger' or 'hold'"),
        ({"denisty": 5}, "did you mean 'density'"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_grain_section_is_refused_with_what_is_allowed(tmp_path, grain, words):
    from timbrel.host.patch.reading import read_preset

    lines = [f"{key} = {json.dumps(value)}" for key, value in grain.items()]
    (tmp_path / "p.toml").write_text("\n".join(['format = 1\nmodel = "x"\n[grain]', *lines]), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_preset(tmp_path / "p.toml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"play": {"unison": 2}}, "play.unison is for models of kind 'spectrum'"),
        ({"play": {"phase": "noise"}}, "play.phase"),
        ({"play": {"mode": "chord"}}, "needs a model with chroma"),
        ({"play": {"mode": "mono"}, "grain": {"keys": "hold"}}, "grain.keys 'hold' is for play.mode 'poly'"),
        ({"grain": {"lowpass_hz": 12_000}}, "grain.lowpass_hz 12000 is above 11025"),
        ({"cc": [{"number": 1, "target": "grain.overlap", "low": 0, "high": 1}]}, "'grain.overlap' does not exist"),
        ({"cc": [{"number": 1, "target": "grain.density", "low": 0, "high": 10}]}, "out of range [0.1, 2000]"),
        ({"cc": [{"number": 1, "target": "grain.lowpass_hz", "low": 20, "high": 12_000}]}, "range [20, 11025]"),
    ],
)
def test_what_a_model_of_grains_cannot_do_is_refused(noise, tmp_path, keys, words):
    with pytest.raises(UserError) as caught:
        grain_instrument(noise, tmp_path, **keys)
    assert words in str(caught.value)


def test_grains_of_a_model_of_spectra_are_refused(make_instrument):
    with pytest.raises(UserError, match=r"\[grain\] is for models of kind 'grain', 'analytic' is of kind 'spectrum'"):
        make_instrument(grain={"density": 10})
    with pytest.raises(UserError, match=r"target 'grain.density' does not exist"):
        make_instrument(cc=[{"number": 1, "target": "grain.density", "low": 1, "high": 10}])
