"""The engine of streams: frames joined, seeded, in time, in pitch; memory; heat; live as offline."""

import pickle
import threading
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import soundfile
from onnx import helper
from timbrel.host.engines.clip.resampling import kernels
from timbrel.host.engines.engine import EngineRequest, engine_of
from timbrel.host.engines.stream.engine import StreamEngine
from timbrel.host.engines.stream.frames import FrameInputs, FrameMaker, StreamDecodeWorker
from timbrel.host.engines.stream.side_filters import SideFilters
from timbrel.host.errors import UserError
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn, ParameterChange, PitchBend, Tempo
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.preset import Preset

from ....patience import PATIENCE_SECONDS
from ...streams import CYCLES, LENGTH, RATE, SAME, STEP, save_streams, sine

AMPLITUDE = 0.25
GAIN = 1 / np.sqrt(2)  # in the middle, of a model as loud as a voice, at full velocity
IMAGE = np.column_stack([np.full(32, 6.0), np.linspace(1.0, 0.2, 32)]).tolist()
SHARP = {"attack_seconds": 0.0, "decay_seconds": 0.001, "release_seconds": 0.001}


@pytest.fixture
def patch(tmp_path):
    """A function that returns a patch of a model: its arguments, and the tables of a preset."""

    def make(first=None, model=None, folder=tmp_path, sound=None, **preset):
        first = AMPLITUDE * sine(LENGTH, -(LENGTH - STEP)) if first is None else first
        path = save_streams(folder / "streams.onnx", first, **(model or {}))
        fields = {"format": 1, "model": "streams.onnx", "envelope": SHARP} | preset
        if sound is not None:
            soundfile.write(folder / "seed.wav", sound, RATE, "FLOAT")
        return Patch("it", Preset.model_validate(fields), Model(path), folder)

    return make


def played(patch, events, count, size=None, **rack):
    rack = Rack({0: patch}, RATE, **rack)
    size = size or count
    blocks = []
    for start in range(0, count, size):
        end = min(start + size, count)
        blocks.append(rack.process([event for event in events if start <= event.time < end], end - start)[0])
    rack.close()
    return np.concatenate(blocks, axis=1)[0]


def sides_of(patch, count):
    """Both sides of a held note, [2, count]."""
    rack = Rack({0: patch}, RATE)
    sides = rack.process([NoteOn(0, 0, 60, 127)], count)[0]
    rack.close()
    return sides


@pytest.mark.parametrize(("play", "level_db"), [({}, 6.0), ({"image": 2.0}, 12.0), ({"image": 0.0}, 0.0)])
def test_sides_are_those_of_the_models_image_as_far_as_the_preset_wants(patch, play, level_db):
    left, right = sides_of(
        patch(model={"image": np.column_stack([np.full(32, 6.0), np.ones(32)]).tolist()}, play=play), 5000
    )
    assert 20 * np.log10(left[500:].std() / right[500:].std()) == pytest.approx(level_db, abs=0.1)


def test_a_presets_image_takes_the_place_of_the_models(patch):
    other = np.column_stack([np.full(32, -3.0), np.ones(32)]).tolist()
    expected = sides_of(patch(model={"image": IMAGE}), 5000)
    for model in ({"image": other}, {}):
        assert np.array_equal(sides_of(patch(model=model, play={"image_bands": IMAGE}), 5000), expected)


@pytest.mark.parametrize(("key", "within"), [(60, 1e-4), (67, 0.02), (48, 0.02)])
def test_sides_go_on_over_joins_as_those_of_one_sound(patch, key, within):
    """Each frame's filters remember the sound before it, which at other pitches has inexact ends."""
    model, count = {"image": np.column_stack([np.full(32, 3.0), np.full(32, 0.2)]).tolist()}, 20 * STEP
    rack = Rack({0: patch(model=model)}, RATE)
    sides = rack.process([NoteOn(0, 0, key, 127)], count)[0]
    rack.close()
    mono = played(patch(), [NoteOn(0, 0, key, 127)], count)
    expected = SideFilters(np.array(model["image"]), 1.0, RATE)(mono)
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    begun = 3 * STEP  # the first frame has a part before the note-on
    assert np.abs(sides - expected)[:, begun:].max() < within


def test_without_image_a_model_of_stereo_loops_plays_the_bytes_of_a_mono_one(patch):
    mono = sides_of(patch(), 5000)
    assert np.array_equal(sides_of(patch(model={"image": IMAGE}, play={"image": 0.0}), 5000), mono)
    assert not np.array_equal(sides_of(patch(model={"image": IMAGE}), 5000), mono)


def test_each_frame_has_the_image_of_the_moment_at_which_the_one_before_began(patch):
    model = {"image": np.column_stack([np.full(32, 6.0), np.ones(32)]).tolist()}
    made = patch(model=model, cc=[{"number": 20, "target": "image", "low": 0.0, "high": 2.0}])
    rack = Rack({0: made}, RATE)
    left, right = rack.process([NoteOn(0, 0, 60, 127), ControlChange(4000, 0, 20, 0)], 12_000)[0]
    levels_db = [20 * np.log10(left[part].std() / right[part].std()) for part in (slice(1000, 4000), slice(6000, None))]
    assert levels_db == pytest.approx([6.0, 0.0], abs=0.1)
    assert np.abs(np.diff(left)).max() < 1.1 * np.abs(np.diff(left[1000:4000])).max()


def test_live_first_frames_are_made_again_when_the_image_moves(patch):
    model = {"image": np.column_stack([np.full(32, 6.0), np.ones(32)]).tolist()}
    rack = Rack({0: patch(model=model)}, RATE, omni=True, live=True)
    settled(rack)
    rack.process([ParameterChange(0, 0, "image", 2.0)], 64)
    for _ in range(64):
        rack.process([], 64)
        settled(rack)
    left, right = rack.process([NoteOn(65 * 64, 0, 60, 127)], STEP)[0]
    assert 20 * np.log10(left[100:].std() / right[100:].std()) == pytest.approx(12.0, abs=0.3)


def test_frames_join_to_the_very_sine_that_they_are_of(patch):
    sound = played(patch(), [NoteOn(0, 0, 60, 127)], 5000)
    assert np.allclose(sound[100:], GAIN * AMPLITUDE * sine(5000)[100:], atol=2e-6)


@pytest.mark.parametrize("key", [48, 67])
def test_a_key_moves_the_pitch_and_leaves_no_click(patch, key):
    sound = played(patch(), [NoteOn(0, 0, key, 127)], 16_000)[1000:]
    hz, power = scipy.signal.periodogram(sound, RATE, "blackman")
    expected = CYCLES * RATE * 2 ** ((key - 60) / 12)
    assert hz[power.argmax()] == pytest.approx(expected, abs=1.5)
    beside = np.abs(hz - expected) > 60
    assert power[beside].max() < 1e-4 * power.max()


def test_each_frame_is_made_with_the_knobs_of_the_moment_at_which_the_one_before_began(patch):
    push = np.zeros((2, LENGTH))
    push[0] = 0.1
    made = patch(
        np.zeros(LENGTH),
        {"turn": np.zeros((LENGTH, LENGTH)), "push": push},
        cc=[{"number": 70, "target": "latent.0", "low": 0.0, "high": 2.0}],
    )
    sound = played(made, [NoteOn(0, 0, 60, 127), ControlChange(2 * STEP + 10, 0, 70, 127)], 8 * STEP)
    level = [sound[number * STEP + 5] for number in range(8)]
    assert np.allclose(level[:4], 0.0, atol=1e-7)  # the third frame had begun, and the fourth was asked for
    assert np.all(np.diff(level[3:6]) > 0.01)  # the knob takes 20 ms to arrive: more than a frame
    assert level[-1] == pytest.approx(0.1 * 2.0 * GAIN, rel=1e-5)


@pytest.mark.parametrize("image", [None, IMAGE], ids=["mono", "stereo"])
def test_blocks_and_processes_change_nothing(patch, image):
    events = [
        NoteOn(100, 0, 60, 100),
        ControlChange(700, 0, 70, 127),
        NoteOn(900, 0, 64, 80),
        ControlChange(1500, 0, 71, 127),
        NoteOff(4000, 0, 60),
    ]
    rng = np.random.default_rng(1)
    push = rng.normal(0, 0.02, (2, LENGTH))
    cc = [
        {"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0},
        {"number": 71, "target": "stream.heat", "low": 0.0, "high": 0.1},
        {"number": 70, "target": "image", "low": 1.0, "high": 0.3},
    ][: 2 if image is None else 3]
    made = patch(None, {"push": push, "noise": LENGTH, "image": image}, cc=cc)
    whole = played(made, events, 6000)
    assert np.array_equal(played(made, events, 6000, 97), whole)
    assert np.array_equal(played(made, events, 6000, 2000, processes=2), whole)
    assert np.abs(whole).max() > 0.1


def makers(rack):
    """The threads that make frames."""
    return [instrument._synthesis._engine._first_frames.aside._thread for instrument in rack._instruments.values()]


def settled(rack):
    """Whatever frames are being made, made."""
    for thread in makers(rack):
        thread.submit(lambda: None).result(PATIENCE_SECONDS)


@pytest.mark.parametrize("heat", [0.0, 0.1])
def test_live_is_offline_where_frames_are_ready_in_time(patch, heat):
    made = patch(None, {"noise": LENGTH}, stream={"heat": heat})
    events = [NoteOn(1000, 0, 60, 100), NoteOn(2000, 0, 60, 100)]
    offline = played(made, events, 6016)
    rack = Rack({0: made}, RATE, omni=True, live=True)
    settled(rack)
    blocks = []
    for start in range(0, 6016, 64):
        blocks.append(rack.process([event for event in events if start <= event.time < start + 64], 64)[0][0])
        settled(rack)
    assert np.array_equal(np.concatenate(blocks), offline)


@pytest.mark.parametrize("key", [62, 48])
def test_keys_around_middle_c_are_ready_before_they_are_struck(patch, key):
    made, events = patch(), [NoteOn(12_800, 0, key, 100)]
    offline = played(made, events, 16_000)
    rack = Rack({0: made}, RATE, omni=True, live=True)
    blocks = []
    for start in range(0, 16_000, 64):
        settled(rack)
        blocks.append(rack.process([event for event in events if event.time == start], 64)[0][0])
    assert np.array_equal(np.concatenate(blocks), offline)
    assert np.abs(offline[12_800:]).max() > 0.05


def test_a_process_of_frames_knows_the_low_passes_before_its_first_note(patch):
    """They take 0.1 s: the first loop of another pitch would come so late."""
    kernels.cache_clear()
    pickle.loads(pickle.dumps(FrameMaker(patch().model)))
    assert kernels.cache_info().currsize == 1


def test_a_key_that_was_never_struck_is_late_and_comes_in_without_a_click(patch):
    made = patch()
    rack = Rack({0: made}, RATE, omni=True, live=True)
    settled(rack)
    made_later = threading.Event()
    for thread in makers(rack):
        thread.submit(made_later.wait)
    late = rack.process([NoteOn(0, 0, 72, 127)], 64)[0][0]
    made_later.set()
    settled(rack)
    rest = np.concatenate([rack.process([], 64)[0][0] for _ in range(2)])
    assert np.array_equal(late, np.zeros(64))
    assert np.abs(np.diff(np.concatenate([late, rest]))).max() < 0.2
    assert np.abs(rest).max() > 0.05


def entry(channel, number, value):
    """A registered parameter's value."""
    return [ControlChange(0, channel, *pair) for pair in ((101, 0), (100, number), (6, value))]


@pytest.mark.parametrize(
    ("moves", "channel", "preset"),
    [
        ([PitchBend(0, 0, 4096)], 0, {}),
        (entry(0, 2, 66), 0, {}),
        ([PitchBend(0, 3, 4096)], 3, {}),
        ([*entry(0, 6, 3), PitchBend(0, 0, 4096)], 1, {}),
        ([*entry(0, 6, 3), PitchBend(2100, 2, 2048), NoteOn(2200, 2, 67, 127), NoteOff(2500, 2, 67)], 1, {}),
        ([], 0, {"stream": {"keys": "seed"}, "tuning": {"a4_hz": 466.16}}),
    ],
    ids=["bent", "tuned", "channel", "zone", "another finger", "seeds"],
)
def test_first_frames_are_made_ahead_at_the_bend_the_tuning_and_the_code_of_the_moment(patch, moves, channel, preset):
    made = patch(None, {"push": np.full((2, LENGTH), 0.1)}, **preset)
    first, again = NoteOn(1024, channel, 64, 127), NoteOn(6400, channel, 64, 127)
    events = [*moves, first, NoteOff(2048, channel, 64), ParameterChange(2560, 0, "latent.0", 0.9), again]
    events.sort(key=lambda event: event.time)
    offline = played(made, events, 8000, omni=True)
    rack = Rack({0: made}, RATE, omni=True, live=True)
    settled(rack)
    blocks = []
    for start in range(0, 8000, 64):
        blocks.append(rack.process([event for event in events if start <= event.time < start + 64], 64)[0][0])
        settled(rack)
    assert np.array_equal(np.concatenate(blocks)[6400:], offline[6400:])
    assert np.abs(offline[6400:]).max() > 0.1


@pytest.mark.parametrize("key", [55, 72])  # whose frames are longer and shorter than a step
def test_frames_that_are_late_by_more_than_themselves_sound_on_where_they_are_ready(patch, monkeypatch, key):
    rack = Rack({0: patch()}, RATE, omni=True, live=True)
    settled(rack)
    kept = []

    def held(aside, step, ask=StreamDecodeWorker.ask):
        kept.append((Future(), lambda: ask(aside, step).result(20)))
        return kept[-1][0]

    monkeypatch.setattr(StreamDecodeWorker, "ask", held)
    blocks = [rack.process([NoteOn(0, 0, key, 127)], 64)[0][0]]
    blocks += [rack.process([], 64)[0][0] for _ in range(3 * LENGTH // 64)]
    for _ in range(6 * LENGTH // 64):
        while kept:
            future, make = kept.pop(0)
            future.set_result(make())
        blocks.append(rack.process([], 64)[0][0])
    sound = np.concatenate(blocks)
    assert not sound[: 3 * LENGTH].any()
    assert np.abs(np.diff(sound)).max() < 0.2
    hz, power = scipy.signal.periodogram(sound[-3 * LENGTH :], RATE, "blackman")
    assert hz[power.argmax()] == pytest.approx(CYCLES * RATE * 2 ** ((key - 60) / 12), rel=0.02)


CLICK = np.zeros(LENGTH)
CLICK[LENGTH - STEP] = 1.0  # on the step of the music


def beats(patch_, events, count):
    sound = np.abs(played(patch_, events, count))
    return np.flatnonzero(sound > 0.05)


def spectral(tmp_path, patch, length=2048, **preset):
    """A patch of clicks given as magnitudes, a quarter of a beat apart at 125 BPM."""
    transform, hop, step = 256, 64, 1920  # 16000 * 60 / 125 / 4
    spectra = length // hop + 1
    click = np.zeros((spectra, transform // 2 + 1))
    click[(length - step) // hop] = 0.5
    levels = np.full(length // 32, 1e-4)
    levels[(length - step) // 32] = 0.2
    frame = np.concatenate([click.ravel(), levels])
    return patch(
        frame,
        {
            "turn": SAME,
            "step": step,
            "grid": 4.0,
            "domain": "magnitude",
            "window": "hann",
            "hop_length": hop,
            "transform_length": transform,
            "envelope_points": len(levels),
            "frame_length": length,
        },
        **preset,
    )


@pytest.mark.parametrize("length", [2048, 2880])  # samples of a frame, with short and long fades
@pytest.mark.parametrize(("bpm", "follows"), [(125.0, True), (110.0, True), (140.0, True), (140.0, False)])
def test_steps_fall_on_their_parts_of_the_beat(tmp_path, patch, bpm, follows, length):
    made = spectral(tmp_path, patch, length, tempo_bpm=bpm, stream={"follow_tempo": follows})
    sound = played(made, [NoteOn(0, 0, 60, 127)], 5 * RATE)
    apart = RATE * 60 / (bpm if follows else 125.0) / 4
    found = clicks(sound, apart)
    assert len(found) > 20
    assert np.abs(found - np.round(found / apart) * apart).max() < 40  # samples: 2.5 ms, a window's part


def clicks(sound, apart):
    level = scipy.signal.fftconvolve(np.square(sound), np.ones(48), "same")
    return scipy.signal.find_peaks(level, height=0.2 * level.max(), distance=apart / 2)[0]


def test_a_files_tempo_is_followed_from_where_it_changes(tmp_path, patch):
    made = spectral(tmp_path, patch, tempo_bpm=125.0)
    sound = played(made, [NoteOn(0, 0, 60, 127), Tempo(3 * 7680, 100.0)], 6 * RATE)
    found = clicks(sound, 1920)
    later = found[found > 6 * 7680]
    assert np.diff(later).mean() == pytest.approx(RATE * 60 / 100 / 4, abs=3)


def test_a_loop_goes_on_evenly_where_the_clock_has_stopped_and_a_start_brings_it_onto_the_beat(
    tmp_path, patch, monkeypatch
):
    made, tick, steps = spectral(tmp_path, patch), RATE * 60 / 125 / 24, []
    samples = StreamEngine._samples

    def counted(engine, motion, stream, time, step_time, pitch):
        count = samples(engine, motion, stream, time, step_time, pitch)
        steps.append((step_time, count))
        return count

    monkeypatch.setattr(StreamEngine, "_samples", counted)
    ticks = [Clock(round(number * tick), "tick") for number in range(400)]
    stop, start = round(50.6 * tick), round(150.3 * tick)
    heard = [event for event in ticks if event.time <= stop or event.time > start]
    events = [Clock(0, "start"), NoteOn(300, 0, 60, 127), *heard, Clock(stop, "stop"), Clock(start, "start")]
    played(made, sorted(events, key=lambda event: event.time), 6 * RATE, 480)
    step_samples = round(RATE * 60 / 125 / 4)
    stopped = [count for time, count in steps if stop + 2 * step_samples < time < start]
    assert len(stopped) > 5
    assert set(stopped) == {step_samples}
    first = ticks[151].time  # beat 0
    later = np.array([time - first for time, _ in steps if time > first + 12 * step_samples])
    assert len(later) > 10
    assert np.abs(later - np.round(later / step_samples) * step_samples).max() < 48


def test_a_stretched_frame_keeps_its_pitch(tmp_path, patch):
    transform, hop, step, length = 256, 64, 1920, 2048
    spectra = np.zeros((length // hop + 1, transform // 2 + 1))
    spectra[:, 15:18] = [0.5, 1.0, 0.5]  # a sine of 1000 Hz
    frame = np.concatenate([spectra.ravel() * 0.1, np.full(length // 32, 0.05)])
    model = {
        "turn": SAME,
        "step": step,
        "grid": 4.0,
        "domain": "magnitude",
        "window": "hann",
        "hop_length": hop,
        "transform_length": transform,
        "envelope_points": length // 32,
        "frame_length": length,
    }
    for bpm, key, expected in ((110.0, 60, 1000.0), (140.0, 60, 1000.0), (125.0, 67, 1498.3)):
        made = patch(frame, model, tempo_bpm=bpm)
        hz, power = scipy.signal.periodogram(played(made, [NoteOn(0, 0, key, 127)], RATE)[2000:], RATE, "blackman")
        assert hz[power.argmax()] == pytest.approx(expected, rel=0.01)


def test_noise_is_scaled_by_the_heat_and_the_same_for_the_same_seed(patch):
    def run(heat, seed=0):
        made = patch(
            np.zeros(LENGTH),
            {"turn": np.zeros((LENGTH, LENGTH)), "noise": LENGTH},
            stream={"heat": heat, "seed": seed, "limit": False},
        )
        return played(made, [NoteOn(0, 0, 60, 127)], 20_000)[STEP:]

    one = run(0.1)
    assert np.sqrt(np.mean(np.square(one))) == pytest.approx(0.1 * GAIN, rel=0.1)
    assert np.allclose(run(0.05), one / 2, atol=1e-6)
    assert np.array_equal(run(0.1), one)
    assert not np.array_equal(run(0.1, 1), one)
    assert np.array_equal(run(0.0), np.zeros_like(one))


def test_the_limiter_holds_what_is_fed_back_to_the_level_of_training(patch):
    model = {"turn": 1.5 * np.eye(LENGTH), "stream": {"step_length": STEP, "levels_db": [-60.0, -12.0]}}
    first = np.full(LENGTH, 0.01)
    held = played(patch(first, model), [NoteOn(0, 0, 60, 127)], 40 * STEP)
    risen = played(patch(first, model, stream={"limit": False}), [NoteOn(0, 0, 60, 127)], 12 * STEP)
    assert np.abs(held).max() == pytest.approx(GAIN * 10 ** (-12 / 20), rel=1e-4)
    assert held[20 * STEP] == pytest.approx(held[39 * STEP], rel=1e-4)
    assert risen[11 * STEP + 40] == pytest.approx(GAIN * 0.01 * 1.5**11, rel=1e-4)


def test_what_is_limited_is_fed_back_as_it_is_heard(patch):
    card = {"turn": 100 * np.eye(LENGTH), "stream": {"step_length": STEP, "levels_db": [-60.0, -12.0]}}
    model = patch(np.full(LENGTH, 0.01), card).model
    _, state = model.step(np.zeros((1, 2), np.float32), np.zeros(1, np.intp), model.at_rest(1))
    made = FrameMaker(model).make(FrameInputs(state, np.zeros(2, np.float32), None, False, None, 0.0, LENGTH, 1.0))
    assert np.abs(made.sound).max() == pytest.approx(10 ** (-12 / 20), rel=1e-5)
    assert np.allclose(made.state["previous"], made.sound, rtol=1e-5)


def counting(patch, **preset):
    """A patch whose frames are constants: each half of the one before, and 0.1."""
    push = np.zeros((2, LENGTH))
    push[0] = 0.1
    latent = {"values": [1.0, 0.0]}
    return patch(np.zeros(LENGTH), {"turn": 0.5 * np.eye(LENGTH), "push": push}, latent=latent, **preset)


def levels(sound, count):
    return np.array([sound[number * STEP + STEP // 2] for number in range(count)]) / GAIN


def test_the_memory_is_reset_where_its_switch_rises_and_not_while_it_stays(patch):
    made = counting(patch, cc=[{"number": 70, "target": "stream.reset", "low": 0.0, "high": 1.0}])
    sound = played(made, [NoteOn(0, 0, 60, 127), ControlChange(4 * STEP + 100, 0, 70, 127)], 12 * STEP)
    expected = [0.1]
    for number in range(1, 12):
        fresh = number == 7  # the knob is up by the middle of its 320 samples, when frame 6 begins
        expected.append(0.1 + (0.0 if fresh else expected[-1] / 2))
    assert np.allclose(levels(sound, 12), expected, atol=1e-6)


def test_a_seed_sound_goes_on(tmp_path, patch, save_encoder):

    soundfile.write(tmp_path / "seed.wav", AMPLITUDE * sine(10 * STEP + 50), RATE, "FLOAT")
    first = np.zeros(LENGTH)
    path = save_streams(tmp_path / "streams.onnx", first)
    nodes = [
        helper.make_node("MatMul", ["audio", "none"], ["latent"]),
        helper.make_node("Identity", ["audio"], ["previous"]),
    ]
    save_encoder(
        path,
        nodes,
        {"audio": LENGTH},
        2,
        {"none": np.zeros((LENGTH, 2))},
        rate=RATE,
        model="clips",
        previous=LENGTH,
    )
    preset = Preset.model_validate(
        {"format": 1, "model": "streams.onnx", "envelope": SHARP, "stream": {"seed_sound": "seed.wav"}}
    )
    sound = played(Patch("it", preset, Model(path), tmp_path), [NoteOn(0, 0, 60, 127)], 3000)
    assert np.allclose(sound[40:], GAIN * AMPLITUDE * sine(3000, 10 * STEP + 50)[40:], atol=1e-5)


def test_a_landmark_is_a_code_of_its_own_and_keys_choose_among_them(patch):
    push = np.zeros((2, LENGTH))
    push[0], push[1] = 0.1, 0.02
    model = {"turn": np.zeros((LENGTH, LENGTH)), "push": push}
    landmark = patch(np.zeros(LENGTH), model, stream={"seed_landmark": "two"})
    sound = played(landmark, [NoteOn(0, 0, 60, 127)], 4 * STEP)
    assert sound[-1] == pytest.approx(-0.02 * GAIN, rel=1e-4)  # [0, -1]
    keyed = patch(np.zeros(LENGTH), model, stream={"keys": "seed"})
    for key, expected in ((60, 0.1), (61, -0.02), (62, 0.1), (59, -0.02)):
        sound = played(keyed, [NoteOn(0, 0, key, 127)], 4 * STEP)
        assert sound[-1] == pytest.approx(expected * GAIN, rel=1e-4)


def test_scaling_is_given_back_or_not(patch):
    deviation = np.linspace(0.1, 0.3, LENGTH).tolist()
    model = {"turn": np.zeros((LENGTH, LENGTH)), "scaling": {"mean": 0.01, "deviation": deviation}}
    first = np.ones(LENGTH)
    given = played(patch(first, model), [NoteOn(0, 0, 60, 127)], STEP)
    assert np.allclose(given[20:-32] / GAIN, np.array(deviation)[LENGTH - STEP :][20:-32] + 0.01, atol=1e-6)
    plain = played(patch(first, model, stream={"restore_scaling": False}), [NoteOn(0, 0, 60, 127)], STEP)
    assert np.allclose(plain[20:-32] / GAIN, np.sqrt(np.mean(np.square(deviation))), atol=1e-6)


def test_frames_of_real_and_imaginary_parts_are_their_transforms_sound(patch):
    wave = AMPLITUDE * sine(LENGTH)
    spectrum = np.fft.rfft(wave)
    frame = np.concatenate([spectrum.real, spectrum.imag])
    model = {"turn": np.zeros((len(frame), len(frame))), "domain": "real_imag", "frame_length": LENGTH}
    sound = played(patch(frame, model), [NoteOn(0, 0, 60, 127)], STEP)
    assert np.allclose(sound[20:-32] / GAIN, wave[LENGTH - STEP :][20:-32], atol=1e-6)


def test_an_engine_is_told_what_it_needs(patch):
    made = patch()
    engine = engine_of(made.model, EngineRequest([0.0, 0.0], made.preset.play, None, 2.0))
    assert engine.ready
    assert engine.age_ms is None
    assert set(engine.targets) == {"stream.heat", "stream.freeze", "stream.reset", "stream.trim"}


def remembering(patch, **preset):
    """A patch whose frames are constants: half of the memory of all before, which adds up by itself, and 0.1."""
    push = np.zeros((2, LENGTH))
    push[0] = 0.1
    model = {"turn": np.zeros((LENGTH, LENGTH)), "push": push, "counts": 0.01}
    return patch(np.zeros(LENGTH), model, latent={"values": [1.0, 0.0]}, **preset)


def test_a_memory_that_stands_gives_what_it_gave(patch):
    free = levels(played(remembering(patch), [NoteOn(0, 0, 60, 127)], 8 * STEP), 8)
    assert np.allclose(free, 0.1 + 0.01 * np.arange(8), atol=1e-6)
    frozen = remembering(patch, cc=[{"number": 70, "target": "stream.freeze", "low": 0.0, "high": 1.0}])
    sound = played(frozen, [NoteOn(0, 0, 60, 127), ControlChange(2 * STEP, 0, 70, 127)], 10 * STEP)
    found = levels(sound, 10)
    assert np.allclose(found[:4], free[:4], atol=1e-6)
    assert np.allclose(found[6:], found[6], atol=1e-6)


def test_a_trimmed_memory_is_of_the_last_frames_alone(patch):
    knob = [{"number": 70, "target": "stream.trim", "low": 0.0, "high": 1.0}]
    made = remembering(patch, cc=knob, stream={"trim_frames": 3})
    sound = played(made, [NoteOn(0, 0, 60, 127), ControlChange(8 * STEP + 100, 0, 70, 127)], 16 * STEP)
    expected = [*range(11), 2, 3, 4, 5, 6]
    assert np.allclose(levels(sound, 16), 0.1 + 0.01 * np.array(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (0.1 * sine(STEP - 1), "is 223 samples long at the model's rate, and a frame takes 224"),
        (np.zeros(5 * STEP, np.float32), "is silent"),
    ],
)
def test_a_seed_that_cannot_be_gone_on_from_is_refused_with_its_line(patch, tmp_path, sound, words):
    patch(sound=sound)
    preset = tmp_path / "sea.toml"
    preset.write_text('format = 1\nmodel = "streams.onnx"\n[stream]\nheat = 1.0\nseed_sound = "seed.wav"\n')
    with pytest.raises(UserError, match=rf"^preset 'sea', line 5: the sound 'seed.wav' {words}"):
        open_patch(str(preset))


def test_what_a_long_seed_begins_with_is_left_out_and_said_in_one_line(patch, monkeypatch):
    monkeypatch.setattr("timbrel.host.kinds.stream.MOST_SEED", 10)
    sound = 0.1 * sine(10 * STEP + 1)
    made = patch(stream={"seed_sound": "seed.wav"}, sound=sound)
    again = replace(made)
    [line] = again.warnings
    assert f"its last {10 * STEP / RATE:.1f} seconds are used" in line
    assert np.array_equal(again.sound, sound[1:])
    assert patch(stream={"seed_sound": "seed.wav"}, sound=sound[1:]).warnings == ()


def test_a_clock_moves_the_steps_and_pulls_them_back_into_time(tmp_path, patch):
    made = spectral(tmp_path, patch, tempo_bpm=125.0)
    tick = RATE * 60 / 120 / 24
    ticks = [Clock(round(tick * number), "tick") for number in range(24 * 12)]
    sound = played(made, sorted([*ticks, NoteOn(0, 0, 60, 127)], key=lambda event: event.time), 6 * RATE)
    found = clicks(sound, RATE * 60 / 120 / 4)
    late = found[found > 2 * RATE]
    apart = RATE * 60 / 120 / 4
    assert np.diff(late).mean() == pytest.approx(apart, abs=2)
    assert np.abs(late - np.round(late / apart) * apart).max() < 60
