"""A sound through a model: models that change nothing give it back, and what bends codes is held to closed forms."""

import dataclasses
import itertools
import math
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from timbrel.host import progress
from timbrel.host.audio.effects import Resampler
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.contract.encoder import encoder_path
from timbrel.host.contract.model import Model
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import (
    ChannelPressure,
    ControlChange,
    NoteOff,
    NoteOn,
    ParameterChange,
    PitchBend,
    ProgramChange,
    Tempo,
)
from timbrel.host.kinds.frame_codec import hop_of
from timbrel.host.patch.library import open_patch
from timbrel.host.play.controller_state import ControllerState
from timbrel.host.play.instrument import ChannelInstrument
from timbrel.host.play.rack import Rack
from timbrel.host.resynthesis.code_transform import CodeTransform
from timbrel.host.resynthesis.frame_stream import latency_of
from timbrel.host.resynthesis.process import process, with_options
from timbrel.host.resynthesis.processor import Processor

from ...examples import few
from ...patience import until
from ..clips import save_clips
from ..cover import cover

RATE, LENGTH, HOP = 22050, 64, 16
BINS = LENGTH // 2 + 1


@pytest.fixture(scope="module")
def allpass(make_allpass):
    """Both kinds, by name."""
    return {kind: make_allpass(kind, frame_length=LENGTH, hop_length=HOP) for kind in ("spectrum", "grain")}


@pytest.fixture(scope="module")
def keyed(analytic, save_encoder, tmp_path_factory):
    """The smallest model with chroma, and an encoder that says how loud a frame is, and how loud its second half."""
    path = analytic().save(tmp_path_factory.mktemp("keyed") / "model.onnx")
    halves = np.stack([np.ones(1024), np.repeat([0.0, 2.0], 512)], axis=1) / 1024
    nodes = [helper.make_node("Abs", ["audio"], ["level"]), helper.make_node("MatMul", ["level", "halves"], ["latent"])]
    save_encoder(path, nodes, {"audio": 1024}, 2, {"halves": halves})
    return Model(path)


@pytest.fixture
def sound_of(tmp_path):
    """A function that writes samples, [n] or [channels, n], to a file of floats, and gives its path."""

    def write(samples, rate=RATE, name="sound.wav"):
        soundfile.write(tmp_path / name, np.asarray(samples).T, rate, subtype="FLOAT")
        return tmp_path / name

    return write


def noise(count, seed=0, level=0.5):
    return np.random.default_rng(seed).uniform(-level, level, count).astype(np.float32)


def glide(seconds, rate):
    """A tone that rises from 200 Hz to 2 kHz, inside what any of the rates here has."""
    return (0.5 * scipy.signal.chirp(np.arange(round(seconds * rate)) / rate, 200, seconds, 2000)).astype(np.float32)


def decibels(error, of):
    return 20 * np.log10(max(np.sqrt(np.mean(np.square(error))), 1e-12) / np.sqrt(np.mean(np.square(of))))


def run(processor, sound, sizes, events=()):
    """What a processor gives for a sound, in blocks of the sizes given, in turn."""
    given, at, turn = [], 0, 0
    while at < len(sound):
        block = sound[at : at + sizes[turn % len(sizes)]]
        due = [event for event in events if at <= event.time < at + len(block)]
        given.append(processor.process(due, block))
        at, turn = at + len(block), turn + 1
    return np.concatenate(given, axis=1)


@pytest.mark.parametrize("kind", ["spectrum", "grain"])
@pytest.mark.parametrize("count", [LENGTH, LENGTH + 1, 5000, 70_001])
def test_a_model_that_changes_nothing_gives_the_sound_back_on_its_sample(allpass, make_patch, sound_of, kind, count):
    samples = noise(count)
    done = process(sound_of(samples), make_patch(allpass[kind]), sound_of([0.0], name="x.wav").with_name("out.wav"))
    given, rate = read_sound(sound_of(samples).with_name("out.wav"))
    assert (given.shape, rate) == ((1, count), RATE)
    assert decibels(given[0] - samples, samples) < -80
    assert done.fit is not None
    assert done.fit.convergence < 1e-4
    assert done.fit.mean_square < 1e-9


@pytest.mark.parametrize("kind", ["spectrum", "grain"])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000, 96_000])
def test_a_sound_of_any_rate_comes_back_on_its_sample(allpass, make_patch, sound_of, tmp_path, kind, rate):
    samples = glide(1.0, rate)
    channels = np.stack([samples, samples * 0.5])
    process(sound_of(channels, rate), make_patch(allpass[kind]), tmp_path / "out.wav")
    given, found = read_sound(tmp_path / "out.wav")
    assert (given.shape, found) == ((1, rate), rate)
    inside = slice(rate // 20, -rate // 20)  # the ends of a sound are no band-limited tone
    assert decibels((given[0] - 0.75 * samples)[inside], samples[inside]) < -60


@pytest.mark.parametrize("asked", [44_100, 48_000, 96_000])
def test_a_sound_comes_back_on_its_sample_at_the_rate_that_is_asked_for(allpass, make_patch, sound_of, tmp_path, asked):
    process(sound_of(glide(1.0, RATE)), make_patch(allpass["spectrum"]), tmp_path / "out.wav", sample_rate=asked)
    given, found = read_sound(tmp_path / "out.wav")
    moments = (np.arange(asked) - Resampler(RATE, asked, 1).late) / asked  # to the nearest sample
    samples = 0.5 * scipy.signal.chirp(moments, 200, 1.0, 2000)
    assert (given.shape, found) == ((1, asked), asked)
    inside = slice(asked // 20, -asked // 20)
    assert decibels((given[0] - samples)[inside], samples[inside]) < -55


@pytest.mark.parametrize(
    ("rate", "effects"), cover(4, [RATE, 44_100, 48_000, 96_000], [[], [{"plugin": "Gain", "gain_db": 0.0}]]), ids=str
)
def test_what_comes_out_live_is_late_by_the_latency_stated(allpass, make_patch, rate, effects):
    samples = glide(0.5, rate)
    processor = Processor(make_patch(allpass["spectrum"], effects=effects), rate)
    late = processor.latency_samples
    given = run(processor, np.concatenate([samples, np.zeros(late, np.float32)]), [128])[:, late:]
    inside = slice(rate // 20, -rate // 20)
    assert decibels((given - samples)[:, inside], samples[inside]) < -55
    least = latency_of(processor._through._model.card) * rate / RATE
    assert least <= late < least + 0.012 * rate  # conversion, effects and what makes it a whole number


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_dry_sound_is_the_sound_itself_late_by_the_latency(allpass, make_patch, rate):
    samples = noise(20_000, level=1.0)
    processor = Processor(make_patch(allpass["spectrum"], process={"wet": 0.0}), rate)
    given = run(processor, samples, [512, 1, 4000])
    late = processor.latency_samples
    assert np.array_equal(given[:, late:], np.stack([samples[:-late]] * 2))
    assert not given[:, :late].any()


EVENTS = [
    ControlChange(700, 0, 20, 90),
    NoteOn(1500, 0, 61, 100),
    ControlChange(2000, 0, 21, 127),
    ControlChange(2100, 0, 22, 30),
    ControlChange(2500, 0, 23, 100),
    NoteOff(4000, 0, 61),
    ControlChange(4100, 0, 22, 0),
]
CCS = [
    {"number": 20, "target": "process.scale", "low": 0.0, "high": 2.0},
    {"number": 21, "target": "process.amount", "low": 0.0, "high": 1.0},
    {"number": 22, "target": "process.smooth_seconds", "low": 0.0, "high": 0.5},
    {"number": 23, "target": "latent.1", "low": 0.0, "high": 1.0},
    {"number": 24, "target": "process.wet", "low": 0.0, "high": 1.0},
    {"number": 25, "target": "process.freeze", "low": 0.0, "high": 1.0},
    {"number": 26, "target": "effects.0.gain_db", "low": -20.0, "high": 0.0},
]


@pytest.mark.parametrize(("rate", "phase"), [(RATE, "own"), (48_000, "original")])
@few
@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_any_division_into_blocks_gives_the_same_samples(keyed, make_patch, rate, phase, sizes):
    keys = {"phase": phase, "to": "middle", "smooth_seconds": 0.05}
    patch = make_patch(keyed, process=keys, cc=CCS[:-1])
    samples = noise(6000, level=0.9)
    whole = run(Processor(patch, rate), samples, [6000], EVENTS)
    assert np.abs(whole).max() > 0.05
    assert run(Processor(patch, rate), samples, sizes, EVENTS) == pytest.approx(whole, abs=1e-6)


def test_a_grain_models_blocks_may_be_of_any_size_too(allpass, make_patch):
    patch, samples = make_patch(allpass["grain"], effects=[{"plugin": "Gain", "gain_db": -6.0}], cc=CCS), noise(9000)
    events = [ControlChange(4000, 0, 26, 0)]
    whole = run(Processor(patch, 44_100), samples, [9000], events)
    assert run(Processor(patch, 44_100), samples, [1, 700, 33], events) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("late", [1, 4])
def test_effects_ring_on_when_the_sound_is_over_and_the_silence_after_them_is_left_out(
    allpass, make_patch, sound_of, tmp_path, late
):
    echo = [{"plugin": "Delay", "delay_seconds": late, "feedback": 0.0, "mix": 0.5}]
    sound = sound_of(noise(RATE), name="burst.wav")
    process(sound, make_patch(allpass["spectrum"], effects=echo), tmp_path / "out.wav")
    process(sound, make_patch(allpass["spectrum"], effects=[]), tmp_path / "dry.wav")
    (given, _), (dry, _) = (soundfile.read(tmp_path / name) for name in ("out.wav", "dry.wav"))
    assert len(dry) == RATE
    end = (1 + late) * RATE
    assert end <= len(given) < end + 2 * 16_384 + 4096
    assert decibels(given[late * RATE : end - 1000, 0] - 0.5 * dry[:-1000], 0.5 * dry) < -60


@pytest.mark.parametrize("kind", ["spectrum", "grain", "own"])
def test_silence_gives_silence_and_loudness_follows_the_sound(allpass, keyed, make_patch, kind):
    model = keyed if kind == "own" else allpass[kind]
    patch = make_patch(model, process={"phase": "own" if kind == "own" else "original"})
    samples = np.concatenate([noise(8000, level=0.4), np.zeros(8000, np.float32), noise(8000, level=0.04)])
    processor = Processor(patch, RATE)
    late, length = processor.latency_samples, model.card.frame_length
    given = run(processor, np.concatenate([samples, np.zeros(late, np.float32)]), [512])[0, late:]
    levels = [np.sqrt(np.mean(np.square(part[length:-length]))) for part in np.split(given, 3)]
    assert levels[0] > 0.01
    assert levels[1] < 1e-6
    if kind != "own":
        assert levels[0] / levels[2] == pytest.approx(10, rel=0.05)
    assert np.isfinite(given).all()


def test_an_own_phase_gives_the_magnitudes_that_were_decoded(make_allpass, make_patch, make_tone):
    tone = make_tone(69, 1.0, RATE)
    processor = Processor(make_patch(make_allpass(frame_length=LENGTH, hop_length=HOP), process={"phase": "own"}), RATE)
    late = processor.latency_samples
    given = run(processor, np.concatenate([tone, np.zeros(late, np.float32)]), [512])[0, late:]
    spectra = [np.abs(scipy.signal.stft(sound, nperseg=LENGTH, noverlap=LENGTH - HOP)[2]) for sound in (tone, given)]
    assert np.linalg.norm(spectra[1] - spectra[0]) / np.linalg.norm(spectra[0]) < 0.3
    assert decibels(given - tone, tone) > -20  # and not the sound's own


def codes_of(patch, codes, times=None, freeze=None, sounding=None):
    codes = np.asarray(codes, np.float32)
    times = np.arange(len(codes)) * hop_of(patch.model.card) if times is None else np.asarray(times)
    sounding = np.ones(len(codes), bool) if sounding is None else np.asarray(sounding)
    return CodeTransform(patch, freeze).codes(codes, sounding, times.astype(np.int64))


HEARD = np.random.default_rng(3).uniform(0.2, 0.8, (60, 2))


def test_codes_that_nothing_bends_stay_to_the_bit_even_beyond_the_spans(keyed, make_patch):
    heard = np.concatenate([HEARD, [[-3.0, 7.0]]]).astype(np.float32)
    assert np.array_equal(codes_of(make_patch(keyed), heard), heard)


def test_codes_are_scaled_about_the_presets_code_or_the_mean_and_shifted_within_the_spans(keyed, make_patch):
    process = {"scale": 2.0, "scales": [0.5, 0.25], "shift": [0.1, -0.05]}
    about_mean = codes_of(make_patch(keyed, process=process), HEARD)
    assert about_mean[:, 0] == pytest.approx(np.clip(HEARD[:, 0] + 0.1, 0, 1), abs=1e-6)
    assert about_mean[:, 1] == pytest.approx(0.5 + 0.5 * (HEARD[:, 1] - 0.5) - 0.05, abs=1e-6)
    about_code = codes_of(make_patch(keyed, process={"scale": 0.0}, latent={"values": [0.3, 0.9]}), HEARD)
    assert about_code == pytest.approx(np.tile([0.3, 0.9], (60, 1)), abs=1e-6)
    assert codes_of(make_patch(keyed, process={"shift": [5.0, 0.0]}), HEARD)[:, 0] == pytest.approx(1.0)


def test_smoothing_is_a_one_pole_filter_of_the_time_constant(keyed, make_patch):
    kept = np.exp(-hop_of(keyed.card) / RATE / 0.05)
    state = scipy.signal.lfiltic([1 - kept], [1, -kept], [0.0])
    expected = [scipy.signal.lfilter([1 - kept], [1, -kept], c, zi=state + kept * c[0])[0] for c in HEARD.T]
    smoothed = codes_of(make_patch(keyed, process={"smooth_seconds": 0.05}), HEARD)
    assert smoothed == pytest.approx(np.array(expected).T, abs=1e-6)


def test_a_frozen_code_is_the_last_before_its_time_and_silence_has_no_code(keyed, make_patch):
    hop = hop_of(keyed.card)
    frozen = codes_of(make_patch(keyed), HEARD, freeze=10.5 * hop / RATE)
    assert frozen[:11] == pytest.approx(HEARD[:11])
    assert frozen[11:] == pytest.approx(np.tile(HEARD[10], (49, 1)))
    sounding = np.arange(60) % 20 >= 10
    held = codes_of(make_patch(keyed, process={"freeze": 1.0}), HEARD, sounding=sounding)
    assert held[10:] == pytest.approx(np.tile(HEARD[10], (50, 1)))
    silent = codes_of(make_patch(keyed), HEARD, sounding=sounding)
    assert silent[20:30] == pytest.approx(np.tile(HEARD[19], (10, 1)))


def test_codes_are_led_to_a_landmark_or_to_a_presets_code(keyed, make_patch):
    led = codes_of(make_patch(keyed, process={"to": "middle", "amount": 0.25}), HEARD)
    assert led == pytest.approx(HEARD + 0.25 * (0.5 - HEARD), abs=1e-6)
    model = open_patch("gm-chroma-8").model
    violins = [mark.latent for mark in model.card.landmarks if mark.label == "Violin"]
    assert make_patch(model, process={"to": "gm-keys"}).process_end == open_patch("gm-keys").preset.latent.values
    assert make_patch(model, process={"to": "Violin"}).process_end in violins
    assert make_patch(model).process_end is None


def test_a_processor_is_made_of_a_patch_whose_other_files_are_gone(keyed, tmp_path):
    preset = f'format = 1\nmodel = "{keyed.path}"\n'
    (tmp_path / "far.toml").write_text(preset + "latent.values = [0.1, 0.9]\n")
    (tmp_path / "near.toml").write_text(preset + '[process]\nto = "far.toml"\n')
    patch = open_patch(str(tmp_path / "near.toml"))
    (tmp_path / "far.toml").unlink()
    Processor(patch, RATE)
    assert patch.process_end == [0.1, 0.9]


def test_a_motion_of_the_preset_moves_the_code_as_it_would_the_knobs(keyed, make_patch):
    motion = [{"target": "latent.0", "shape": "square", "low": 0.0, "high": 0.2, "rate_hz": 2.0}]
    moved = codes_of(make_patch(keyed, motion=motion), np.tile([0.4, 0.4], (60, 1)), np.arange(60) * 400 + 100)
    assert np.percentile(moved[:, 0], (25, 75)) == pytest.approx([0.4, 0.6])
    assert moved[:, 1] == pytest.approx(0.4)


def test_a_knob_acts_on_what_was_heard_when_it_was_turned(allpass, make_patch):
    samples = noise(30_000)
    ccs = [{"number": 1, "target": "process.wet", "low": 0.0, "high": 1.0}]
    patch = make_patch(allpass["spectrum"], cc=ccs, process={"shift": [0.0] * 5 + [1.0] * (BINS - 5)})
    processor = Processor(patch, RATE)
    late, ramp = processor.latency_samples, round(0.02 * RATE)
    given = run(processor, np.concatenate([samples, np.zeros(late, np.float32)]), [300], [ControlChange(9000, 0, 1, 0)])
    changed = np.flatnonzero(np.abs(given[0, late:] - samples) > 1e-6)
    assert changed[0] < 100
    assert 9000 + ramp - 30 < changed[-1] < 9000 + ramp


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_the_chroma_is_the_strongest_heard_or_that_of_the_newest_key(keyed, make_patch, make_tone, monkeypatch, rate):
    told = []
    decode = keyed.decode
    monkeypatch.setattr(keyed, "decode", lambda latent, chroma: told.extend(chroma.tolist()) or decode(latent, chroma))
    tone = make_tone(64, 2.0, rate)
    length = len(tone)
    quarter = length // 4
    events = [
        NoteOn(quarter, 0, 60, 100),
        NoteOn(2 * quarter, 0, 67, 100),
        NoteOff(3 * quarter - quarter // 2, 0, 67),
        NoteOff(3 * quarter, 0, 60),
    ]
    run(Processor(make_patch(keyed), rate), tone, [777], events)
    sounding = told[told.index(4) :]
    changes = [sounding[0]] + [b for a, b in itertools.pairwise(sounding) if a != b]
    assert changes == [4, 0, 7, 0, 4]
    assert sounding.count(7) == pytest.approx(RATE * 0.25 / 256, abs=2)


def test_the_fit_is_that_of_the_decoded_frames(keyed, make_patch, sound_of, tmp_path):
    samples = noise(40_000)
    done = process(sound_of(samples), make_patch(keyed), tmp_path / "out.wav")
    padded = np.concatenate([np.zeros(768, np.float32), samples])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::256]
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    magnitudes = np.abs(np.fft.rfft(frames * shape))
    from timbrel.host.stft import chroma

    levels = np.abs(frames)
    codes = np.stack([levels.mean(axis=1), levels[:, 512:].mean(axis=1)], axis=1).astype(np.float32)
    decoded = keyed.decode(codes, chroma(magnitudes, RATE, 1024).argmax(1))
    largest = magnitudes.max(axis=1, keepdims=True)
    convergence = np.linalg.norm(decoded * largest - magnitudes) / np.linalg.norm(magnitudes)
    assert done.fit.convergence == pytest.approx(convergence, rel=0.02)  # the frames that fade out are in it too
    assert done.fit.mean_square == pytest.approx(np.mean(np.square(decoded - magnitudes / largest)), rel=0.02)
    bent = make_patch(keyed, process={"smooth_seconds": 0.1})
    assert process(sound_of(samples), bent, tmp_path / "out.wav", overwrite=True).fit is None


def test_a_note_of_its_kind_goes_through_a_shipped_model_and_is_known_again(make_tone, sound_of, tmp_path, timbrel):
    from timbrel.host.pitch import sounding_note

    sound = sound_of(make_tone(64, 1.5), 44_100)
    ended = timbrel("process", sound, "--preset", "gm-chroma-8", "-o", tmp_path / "out.wav")
    assert (ended.status, ended.err) == (0, "")
    assert "1.5 s; live it would come 98.7 ms late" in ended.out
    assert float(ended.out.split("convergence ")[1].split(",")[0]) < 0.6
    assert sounding_note(read_sound(tmp_path / "out.wav")[0][0], 44_100) == pytest.approx(64, abs=0.2)


def test_options_take_the_place_of_what_the_preset_says(keyed, make_patch):
    patch = make_patch(keyed, process={"wet": 0.3, "scale": 0.5, "shift": [0.1, 0.2]})
    changed = with_options(patch, ["2", "1=3"], ["0=-0.5"], {"wet": None, "to": "middle", "amount": 0.75})
    assert changed.preset.process.model_dump(exclude_unset=True) == {
        "wet": 0.3,
        "scale": 2.0,
        "scales": [1.0, 3.0],
        "shift": [-0.5, 0.2],
        "to": "middle",
        "amount": 0.75,
    }


def test_a_long_sound_takes_no_more_memory_than_a_short_one(keyed, make_patch, sound_of, tmp_path):
    samples = noise(30 * 44_100)
    long, short = sound_of(samples, 44_100, "long.wav"), sound_of(samples[: 5 * 44_100], 44_100, "short.wav")
    del samples
    peaks = []
    for sound in (short, long):
        tracemalloc.start()
        process(sound, make_patch(keyed), tmp_path / "out.wav", overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6  # its samples are 5 MB


@pytest.fixture(scope="module")
def shelf(analytic, keyed, make_allpass, tmp_path_factory):
    """A folder of sounds and presets of which most do not go together."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, samples in {
        "good": noise(30_000),
        "short": noise(1023),
        "silent": noise(30_000, level=1e-5),
        "nan": np.full(30_000, np.nan),
        "late": np.concatenate([noise(29_000), [np.nan]]),
    }.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", noise(30_000), 4000)
    analytic().save(folder / "alone.onnx")
    for name, path in {
        "keyed": keyed.path,
        "grain": make_allpass("grain", frame_length=LENGTH, hop_length=HOP).path,
    }.items():
        (folder / f"{name}.onnx").write_bytes(path.read_bytes())
        encoder_path(folder / f"{name}.onnx").write_bytes(encoder_path(path).read_bytes())
    heading = 'format = 1\nmodel = "keyed.onnx"\n'
    (folder / "shifts.toml").write_text(heading + "[process]\nshift = [0.1]\n")
    (folder / "typo.toml").write_text(heading + "[process]\nweet = 1.0\n")
    (folder / "loud.toml").write_text(heading + "[process]\nwet = 2.0\n")
    (folder / "knob.toml").write_text(heading + '[[cc]]\nnumber = 1\ntarget = "process.wet"\nlow = 0\nhigh = 7\n')
    (folder / "kept.wav").write_text("kept")
    return folder


WRONG = {
    "gone.wav --preset keyed.onnx": "cannot read gone.wav: there is no such file",
    "good.wav": "'--preset'",
    "good.wav --preset alone.onnx": "alone.onnx has no encoder",
    "short.wav --preset keyed.onnx": "short.wav lasts 0.0464 s, and a frame of model 'analytic' 0.0464 s; give a",
    "silent.wav --preset keyed.onnx": "silent.wav is silent, no frame is louder than -80 dB",
    "nan.wav --preset keyed.onnx": "nan.wav: it holds samples that are not finite",
    "late.wav --preset keyed.onnx": "late.wav: it holds samples that are not finite",
    "slow.wav --preset keyed.onnx": "slow.wav has a rate of 4000 Hz; give a sound of 8000 to 192000 Hz",
    "good.wav --preset keyed.onnx --scale 2=1": "--scale 2=1: model 'analytic' has 2 latents; give N=V, N from 0 to 1",
    "good.wav --preset keyed.onnx --shift 0.5": "--shift 0.5: model 'analytic' has 2 latents; give N=V, N from 0 to 1",
    "good.wav --preset keyed.onnx --shift 0=x": "--shift 0=x: 'x' is no number; give one, such as 0.5",
    "good.wav --preset keyed.onnx --shift 0=nan": "process.shift.0: Input should be a finite number",
    "good.wav --preset keyed.onnx --scale 9": "process.scale: Input should be less than or equal to 4",
    "good.wav --preset keyed.onnx --wet 2": "process.wet: Input should be less than or equal to 1",
    "good.wav --preset keyed.onnx --smooth -1": "process.smooth_seconds: Input should be greater than or equal to 0",
    "good.wav --preset keyed.onnx --freeze -1": "'--freeze'",
    "good.wav --preset keyed.onnx --phase none": "'--phase'",
    "good.wav --preset keyed.onnx --to midle": "'midle' is no landmark of model 'analytic' and no preset; did you mean",
    "good.wav --preset keyed.onnx --to gone.toml": "gone.toml does not exist",
    "good.wav --preset keyed.onnx --to gm-hall": "process.to 'gm-hall' has 8 latents, model 'analytic' has 2",
    "good.wav --preset keyed.onnx --amount 0.5": "--amount 0.5 of which way? give --to",
    "good.wav --preset keyed.onnx --midi gone.mid": "gone.mid",
    "good.wav --preset grain.onnx --phase own": "phase 'own' is for models of kind 'spectrum'",
    "good.wav --preset shifts.toml": "process.shift has 1 numbers, model 'analytic' has 2 latents; give 2",
    "good.wav --preset typo.toml": "unknown key 'process.weet'; did you mean 'wet'?",
    "good.wav --preset loud.toml": "process.wet = 2.0 should be less than or equal to 1",
    "good.wav --preset knob.toml": "CC 1 to 'process.wet': high = 7 is out of range [0, 1]",
    "good.wav --preset keyed.onnx --rate 22050": "--rate 22050 is not one of 44100, 48000, 96000 Hz; choose one",
    "good.wav --preset keyed.onnx -o kept.wav": "kept.wav exists; give another name, or --overwrite",
    "good.wav --preset keyed.onnx -o new.mp3": "its suffix '.mp3' names no format",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_processed_is_refused_in_a_line_and_nothing_is_written(shelf, timbrel, monkeypatch, line):
    monkeypatch.chdir(shelf)
    before = {path: path.read_bytes() for path in shelf.iterdir()}
    ended = timbrel("process", *line.split(), *([] if "-o" in line.split() else ["-o", "new.wav"]))
    assert (ended.status, ended.out) == (2, ""), ended
    [said] = ended.err.splitlines()
    assert WRONG[line] in said
    assert {path: path.read_bytes() for path in shelf.iterdir()} == before


def test_a_midi_file_plays_the_chroma_and_turns_knobs(shelf, timbrel, tmp_path, keyed, make_patch):
    from timbrel.host.midi.midi_recorder import Recorder

    with Recorder(tmp_path / "keys.mid", RATE, False) as recorder:
        recorder.add([NoteOn(0, 0, 61, 100), ControlChange(0, 0, 70, 127), NoteOff(20_000, 0, 61)])
    outputs = [tmp_path / "heard.wav", tmp_path / "played.wav"]
    for output, options in zip(outputs, ([], ["--midi", tmp_path / "keys.mid"]), strict=True):
        options = ["--preset", shelf / "keyed.onnx", "-o", output, "--rate", 44100, *options]
        assert timbrel("process", shelf / "good.wav", *options).status == 0
    heard, played = (read_sound(output)[0] for output in outputs)
    assert np.abs(heard - played)[:, :38_000].max() > 0.01


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_a_files_tempos_move_motions_in_beats_as_they_do_where_the_file_is_rendered(
    keyed, make_patch, monkeypatch, rate
):
    motion = [{"target": "latent.0", "shape": "saw", "depth": 0.25, "beats": 1.0}]
    patch = make_patch(keyed, motion=motion, process={"scale": 0.0}, latent={"values": [0.5, 0.5]})
    tempos = [Tempo(0, 60.0), Tempo(rate // 2, 240.0)]
    moved, codes = [], CodeTransform.codes

    def noted(self, heard, sounding, times):
        bent = codes(self, heard, sounding, times)
        moved.extend(zip(times.tolist(), bent[:, 0].tolist(), strict=True))
        return bent

    monkeypatch.setattr(CodeTransform, "codes", noted)
    run(Processor(patch, rate), noise(rate), [777], tempos)
    rendered, instrument = [], ChannelInstrument(patch, RATE)
    events = [Tempo(round(tempo.time * RATE / rate), tempo.bpm) for tempo in tempos]
    for middle, _ in moved:
        due = [event for event in events if instrument._samples_read <= event.time < middle]
        if middle > 0:
            instrument.process(due, middle - instrument._samples_read)
        rendered.append(instrument.current_latents()[0])
    assert [value for _, value in moved] == pytest.approx(rendered, abs=1e-5)
    assert np.ptp(rendered) > 0.4


def test_an_effects_file_that_a_draft_holds_is_heard(allpass, make_patch, sound_of):
    patch = make_patch(
        allpass["spectrum"],
        effects=[{"plugin": "Convolution", "impulse_response_filename": "echo.wav", "mix": 1.0}],
    )
    echo = sound_of([1.0, *[0.0] * 99, 0.5], name="echo.wav")
    held = dataclasses.replace(patch, kept={"echo.wav": echo.read_bytes()})
    assert np.abs(run(Processor(held, RATE), noise(RATE // 2), [777])).max() > 0.05


def test_no_sound_is_sent_through_a_model_of_clips(make_patch, tmp_path):
    model = Model(save_clips(tmp_path / "m.onnx", np.ones(4000)))
    with pytest.raises(UserError, match="of kind 'clip': it encodes whole clips, not a sound as it goes on"):
        Processor(make_patch(model), RATE)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -1e30])
@pytest.mark.parametrize("kind", ["spectrum", "grain"])
def test_frames_that_are_no_sound_are_the_models_fault(make_allpass, make_patch, kind, fault, recwarn):
    model = make_allpass(kind, frame_length=LENGTH, hop_length=HOP)
    decode = model.decode

    def broken(latent, chroma):
        frames = decode(latent, chroma)
        frames[-1, 3] = fault
        return frames

    model.decode = broken
    with pytest.raises(
        Failure, match=r"model\.onnx gives frames that are no sound, or beyond all; export the model again"
    ):
        Processor(make_patch(model), RATE).process([], noise(30_000))
    assert not list(recwarn)


def test_what_takes_ten_times_as_long_as_the_sound_lasts_is_told_of(
    allpass, make_patch, sound_of, tmp_path, monkeypatch, caplog
):
    processed = Processor.process

    def slowly(self, events, sound):
        until(lambda: caplog.records)
        return processed(self, events, sound)

    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(Processor, "process", slowly)
    process(sound_of(noise(5000)), make_patch(allpass["grain"]), tmp_path / "out.wav")
    [line] = [record.getMessage() for record in caplog.records]
    assert re.match(r"0\.0 s of sound took \d+ s to render; ", line)


@pytest.mark.parametrize("lookahead_ms", [1.0, 7.0])
def test_a_program_change_selects_another_preset_and_every_sound_stays_on_its_sample(
    allpass, make_patch, sound_of, tmp_path, lookahead_ms
):
    """The second preset passes the input itself, of another latency than the first."""
    samples, at = glide(1.0, RATE), 9000
    limiter = [{"plugin": "BrickwallLimiter", "lookahead_ms": lookahead_ms}]
    half = make_patch(allpass["spectrum"], effects=[{"plugin": "Gain", "gain_db": -6.0206}])
    dry = make_patch(allpass["grain"], process={"wet": 0.0}, effects=limiter)
    process(
        sound_of(samples),
        half,
        tmp_path / "out.wav",
        events=lambda rate: [ProgramChange(100, 0, 7), ProgramChange(at, 3, 1)],
        programs=["one", "two"],
        opening={"two": dry}.get,
        say=(said := []).append,
    )
    given = read_sound(tmp_path / "out.wav")[0][:, : len(samples)]
    assert said == ["program 8 asked for, but the set has 2"]
    inside = slice(RATE // 20, at)
    assert decibels((given - samples / 2)[:, inside], samples[inside]) < -60
    after = slice(at + RATE // 20, -RATE // 20)
    assert decibels((given - samples)[:, after], samples[after]) < -120
    assert np.abs(np.diff(given[:, at - 500 : at + 1000])).max() < 1.5 * np.abs(np.diff(samples)).max()


def test_program_changes_without_a_set_change_nothing(allpass, make_patch, sound_of, tmp_path):
    sounds = []
    for name, events in (("with.wav", [ProgramChange(4000, 0, 1)]), ("without.wav", [])):
        process(
            sound_of(glide(0.5, RATE)), make_patch(allpass["spectrum"]), tmp_path / name, events=lambda _, e=events: e
        )
        sounds.append(read_sound(tmp_path / name)[0])
    assert np.array_equal(*sounds)


ZONE = [ControlChange(0, 0, 101, 0), ControlChange(0, 0, 100, 6), ControlChange(0, 0, 6, 15)]


def test_a_finger_bends_presses_and_resets_the_sound_of_its_key_alone(keyed, make_patch):
    """Compared with a key at the bent pitch."""
    samples, own = glide(0.4, RATE), {"process": {"phase": "own", "scale": 0.0}, "mpe": {"pressure": "latent.0"}}
    patch, note = make_patch(keyed, **own), NoteOn(500, 3, 61, 100)

    def heard(patch, *events):
        return run(Processor(patch, RATE), samples, [512], [*ZONE, *sorted(events, key=lambda event: event.time)])

    plain, other = heard(patch, note), heard(patch, NoteOn(500, 3, 73, 100))
    bend = PitchBend(400, 3, 2048)  # an octave
    assert decibels(heard(patch, bend, note) - other, other) < -50
    assert decibels(plain - other, other) > -10
    assert np.array_equal(heard(patch, note, PitchBend(600, 4, 4000), ChannelPressure(600, 5, 127)), plain)
    assert np.array_equal(heard(patch, bend, ControlChange(450, 3, 121, 0), note), plain)
    whole_zone, above = PitchBend(0, 0, 4096), heard(patch, NoteOn(500, 3, 62, 100))  # a semitone, by the master
    assert decibels(heard(patch, whole_zone, note) - above, above) < -50
    assert np.array_equal(heard(patch, whole_zone, replace(bend, time=0), ControlChange(1, 0, 121, 0), note), plain)
    for events, code in (([], 0.5), ([ChannelPressure(0, 3, 127)], 1.0), ([ChannelPressure(0, 4, 127)], 0.5)):
        processor = Processor(patch, RATE)
        run(processor, samples, [512], [*ZONE, *events, note])
        assert processor.current_latents()[0] == pytest.approx(code)


@pytest.mark.parametrize("number", [120, 123, 124, 125, 126, 127])
def test_a_key_comes_up_where_all_do(keyed, make_patch, number):
    patch, note, samples = make_patch(keyed, process={"phase": "own"}), NoteOn(500, 0, 61, 100), glide(0.4, RATE)
    lifted, off, held = (
        run(Processor(patch, RATE), samples, [512], [note, *last])
        for last in ([NoteOff(3000, 0, 61)], [ControlChange(3000, 0, number, 0)], [])
    )
    assert np.array_equal(off, lifted)
    assert not np.array_equal(held, lifted)


@pytest.mark.parametrize(
    ("entry", "rate"), cover(7, CCS, [RATE, 48_000]), ids=lambda it: it["target"] if isinstance(it, dict) else it
)
def test_a_turn_leads_a_sound_as_a_knob_does_that_goes_there_at_the_same_sample(keyed, make_patch, rate, entry):
    keys = {"process": {"phase": "own", "to": "middle"}, "effects": [{"plugin": "Gain", "gain_db": -3.0}]}
    target, samples = entry["target"], glide(0.4, rate)
    place = 0.25 * entry["low"] + 0.75 * entry["high"]
    knob, note = entry | {"low": place, "high": place}, NoteOn(1500, 0, 61, 100)
    turned = make_patch(keyed, cc=[knob], **keys)
    expected = run(Processor(turned, rate), samples, [512], [note, ControlChange(3000, 0, entry["number"], 0)])
    assert not np.array_equal(expected, run(Processor(turned, rate), samples, [512], [note]))
    plain = make_patch(keyed, **keys)
    events = [
        note,
        ParameterChange(2000, 0, "gain", 3.0),
        ParameterChange(2500, 0, "latent.7", 1.0),
        ParameterChange(3000, 0, target, place),
    ]
    processor = Processor(plain, rate)
    assert np.array_equal(run(processor, samples, [512], events), expected)
    assert processor.knobs.standing() == {target: place}
    processor.process([ParameterChange(len(samples), 0, target, math.inf)], noise(1))
    most = {"process.scale": 4.0, "process.smooth_seconds": 10.0, "effects.0.gain_db": 24.0}.get(target, 1.0)
    assert processor.knobs.standing() == {target: most}


CONTROLLER = st.sampled_from([6, 38, 98, 99, 100, 101, 121, 123])
SAID = st.builds(ControlChange, st.just(0), st.sampled_from([0, 9]), CONTROLLER, st.sampled_from([0, 2, 44]))
SENT = st.lists(SAID, max_size=20)


@given(SENT, SENT)
def test_a_parameter_is_the_same_to_a_rack_to_a_processor_and_to_what_the_desk_tells_afresh(
    keyed, make_patch, first, then
):
    chosen = [ControlChange(0, 0, 99, 2), ControlChange(0, 0, 98, 44)]
    patch = make_patch(keyed, cc=[{"nrpn": 300, "target": "latent.0", "low": 0.0, "high": 1.0}])
    racks, processor, desk = (
        [Rack({0: patch}, RATE, omni=True) for _ in range(2)],
        Processor(patch, RATE),
        ControllerState(),
    )
    for event in [*first, *chosen, *then]:
        desk.apply(event)
    racks[0].process([*first, *chosen, *then], 1)
    processor.process([*first, *chosen, *then], noise(1))
    racks[1].process(desk.everything(), 1)
    assert processor.latent_values() == racks[0].latent_values(0) == racks[1].latent_values(0)
