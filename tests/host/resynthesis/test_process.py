"""A sound through a model: models that change nothing give it back on its sample, at any rate and in any blocks."""

import dataclasses
import re
import tracemalloc

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host import progress
from timbrel.host.audio.resampling import Resampler
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.model.model import Model
from timbrel.host.resynthesis.frame_stream import latency_of
from timbrel.host.resynthesis.process import process
from timbrel.host.resynthesis.processor import Processor

from ...examples import few
from ...patience import until
from ..clips import save_clips
from ..cover import cover
from .processing import CCS, HOP, LENGTH, RATE, decibels, glide, noise, run


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
    assert (given.shape, found) == ((2, rate), rate)
    inside = slice(rate // 20, -rate // 20)  # the ends of a sound are no band-limited tone
    assert decibels((given - channels)[:, inside], channels[:, inside]) < -59


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
    least = latency_of(processor.stream._model.card) * rate / RATE
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


def test_the_fit_is_that_of_the_decoded_frames(keyed, make_patch, sound_of, tmp_path):
    samples = noise(40_000)
    done = process(sound_of(samples), make_patch(keyed), tmp_path / "out.wav")
    padded = np.concatenate([np.zeros(768, np.float32), samples])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::256]
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    magnitudes = np.abs(np.fft.rfft(frames * shape))
    from timbrel.host.signal import chroma

    levels = np.abs(frames)
    codes = np.stack([levels.mean(axis=1), levels[:, 512:].mean(axis=1)], axis=1).astype(np.float32)
    decoded = keyed.decode(codes, chroma(magnitudes, RATE, 1024).argmax(1))
    largest = magnitudes.max(axis=1, keepdims=True)
    convergence = np.linalg.norm(decoded * largest - magnitudes) / np.linalg.norm(magnitudes)
    assert done.fit.convergence == pytest.approx(convergence, rel=0.02)  # the frames that fade out are in it too
    assert done.fit.mean_square == pytest.approx(np.mean(np.square(decoded - magnitudes / largest)), rel=0.02)
    bent = make_patch(keyed, process={"smooth_seconds": 0.1})
    assert process(sound_of(samples), bent, tmp_path / "out.wav", overwrite=True).fit is None


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


def test_an_effects_file_that_a_draft_holds_is_heard(allpass, make_patch, sound_of):
    patch = make_patch(
        allpass["spectrum"],
        effects=[{"plugin": "Convolution", "impulse_response_filename": "echo.wav", "mix": 1.0}],
    )
    echo = sound_of([1.0, *[0.0] * 99, 0.5], name="echo.wav")
    held = dataclasses.replace(patch, draft_files={"echo.wav": echo.read_bytes()})
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
        Processor(make_patch(model), RATE).process([], noise(30_000)[np.newaxis])
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
