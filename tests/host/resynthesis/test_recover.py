"""A sound's code, against an encoder in closed form and a note of a shipped model; paths, by their properties."""

import itertools
import json
import shutil
import tomllib
import tracemalloc
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import NoteOn
from timbrel.host.model.encoder import ENCODER_KEY, Encoder, encoder_path
from timbrel.host.model.model import Model
from timbrel.host.play.motions import Latents
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.resynthesis.codes import SAME, follow, latents_outside, simplified
from timbrel.host.resynthesis.recover import recover
from timbrel.host.signal import medoid

from ..play.gestures import gestures, note, with_gestures
from ..sides import by_band

pytestmark = pytest.mark.usefixtures("undrawn")

RATE, LENGTH, HOP = 22050, 1024, 256  # of the smallest model


def save_encoder(path, chroma=False, scale=1.0, text=None, greedy=False, **about):
    """An encoder in three operators: how loud a frame is, how loud its second half, and a twelfth a pitch class."""
    halves = np.stack([np.ones(LENGTH), np.repeat([0.0, 2.0], LENGTH // 2)], axis=1) * scale / LENGTH
    constants = {"halves": halves, "pitch": np.stack([np.arange(12) / 12, np.zeros(12)], axis=1)}
    nodes = [
        helper.make_node("Abs", ["audio"], ["level"]),
        helper.make_node("MatMul", ["level", "halves"], ["loud" if chroma else "latent"]),
    ]
    inputs = [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", LENGTH])]
    if chroma:
        inputs.append(helper.make_tensor_value_info("chroma", TensorProto.FLOAT, ["batch", 12]))
        nodes.append(helper.make_node("MatMul", ["chroma", "pitch"], ["pitched"]))
        nodes.append(helper.make_node("Add", ["loud", "pitched"], ["latent"]))
    outputs = [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 2])]
    initial = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    if greedy:  # it asks for 137 GB
        nodes[-1].output[0] = "small"
        initial.append(numpy_helper.from_array(np.array([1 << 35], np.int64), "count"))
        nodes.append(helper.make_node("ReduceMin", ["audio"], ["one"], keepdims=0))
        nodes.append(helper.make_node("Expand", ["one", "count"], ["many"]))
        nodes.append(helper.make_node("ReduceMin", ["many"], ["least"], keepdims=0))
        nodes.append(helper.make_node("Add", ["small", "least"], ["latent"]))
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, initial)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    own = {"format": 1, "model": "analytic", "sample_rate": RATE, "frame_length": LENGTH, "latents": 2}
    helper.set_model_props(made, {ENCODER_KEY: json.dumps(own | about) if text is None else text})
    onnx.save(made, path)


@pytest.fixture(scope="session")
def make_pair(analytic, tmp_path_factory):
    """A function that makes the smallest model and an encoder beside it, with settings of `save_encoder`."""

    def make(**settings):
        path = analytic().save(tmp_path_factory.mktemp("pair") / "model.onnx")
        save_encoder(encoder_path(path), **settings)
        return Model(path)

    return make


@pytest.fixture(scope="session")
def pair(make_pair):
    """The smallest model, its encoder beside it."""
    return make_pair()


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def in_closed_form(samples):
    """The codes of a sound as `save_encoder` has them, [frames, 2]."""
    starts = range(0, len(samples) - LENGTH + 1, HOP)
    frames = np.abs([samples[start : start + LENGTH] for start in starts])
    return np.stack([frames.mean(axis=1), frames[:, LENGTH // 2 :].mean(axis=1)], axis=1)


@pytest.mark.parametrize("count", [LENGTH, LENGTH + HOP - 1, LENGTH + HOP, 65_536 + 17, 200_000])
def test_each_frame_a_hop_apart_is_encoded_whatever_the_blocks_that_it_is_read_in(pair, sound_of, count):
    samples = noise(count)
    track = follow(sound_of(samples), pair)
    assert track.codes == pytest.approx(in_closed_form(samples), abs=1e-6)
    assert track.seconds == pytest.approx((np.arange(len(track.codes)) * HOP + LENGTH / 2) / RATE)
    assert (track.frame_count, track.length_seconds) == (len(track.codes), count / RATE)


def test_channels_are_mixed(pair, sound_of):
    left, right, centre = (noise(9000, seed) for seed in range(3))
    track = follow(sound_of([left, right, centre]), pair)
    assert track.codes == pytest.approx(in_closed_form((left + right + centre) / 3), abs=1e-6)


def sides(level_db, correlation, seconds=1.0):
    """Noise on two sides, [2, samples], the left one louder."""
    first, second = np.random.default_rng(0).standard_normal((2, round(seconds * RATE)))
    right = correlation * first + np.sqrt(1 - correlation**2) * second
    return (0.05 * np.stack([10 ** (level_db / 20) * first, right])).astype(np.float32)


def recovered_sides(sound, model, folder):
    """The preset of a recovered sound, and its rendition, [channels, samples]."""
    recover(sound, model, folder / "recovered.toml", overwrite=True)
    samples, _ = soundfile.read(folder / "recovered.wav", always_2d=True, dtype="float32")
    return read_preset(folder / "recovered.toml"), samples.T


@pytest.mark.parametrize(("level_db", "correlation"), [(6.0, 0.9), (-9.0, 0.4), (0.0, -0.3)])
def test_a_preset_has_the_image_of_a_stereo_sound(pair, sound_of, tmp_path, level_db, correlation):
    """The model itself is mono; levels and correlations by scipy."""
    preset, rendition = recovered_sides(sound_of(sides(level_db, correlation)), pair, tmp_path)
    image = np.array(preset.play.image_bands)
    assert image[2:, 0] == pytest.approx(np.full(30, level_db), abs=1.5)
    assert image[4:, 1] == pytest.approx(np.full(28, correlation), abs=0.2)
    heard = by_band(rendition, 100, 10_000, RATE, 4096)
    assert heard == (pytest.approx(level_db, abs=1.0), pytest.approx(correlation, abs=0.1))


def test_the_image_is_that_of_the_part_which_is_rendered(pair, sound_of, tmp_path):
    """Silence and soft sound on the other side around it do not count."""
    soft = 1e-4 * sides(-20.0, 0.0)
    sound = np.concatenate([soft, sides(6.0, 0.9), soft], axis=1)
    preset, _ = recovered_sides(sound_of(sound), pair, tmp_path)
    assert np.array(preset.play.image_bands)[2:, 0] == pytest.approx(np.full(30, 6.0), abs=1.5)


@pytest.mark.parametrize("equal", [True, False])
def test_a_mono_sound_leaves_the_image_to_the_model(pair, sound_of, tmp_path, equal):
    samples = noise(20_000)
    preset, rendition = recovered_sides(sound_of([samples, samples] if equal else samples), pair, tmp_path)
    assert "play" not in preset.model_fields_set
    assert len(rendition) == 1


def test_a_path_has_the_image_too_and_the_summary_says_so(pair, sound_of, tmp_path):
    found = recover(sound_of(sides(6.0, 0.5)), pair, tmp_path / "path.toml", points=3)
    assert "the preset has its stereo image" in found.summary
    preset = read_preset(tmp_path / "path.toml")
    assert len(preset.play.image_bands) == 32
    assert preset.motion
    read_again = tomllib.loads((tmp_path / "path.toml").read_text())
    assert read_again["play"]["image_bands"] == [list(band) for band in preset.play.image_bands]


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 96000])
def test_a_sound_of_any_rate_has_the_codes_of_the_models(pair, sound_of, rate):
    def swell(at):
        time = np.arange(at) / at
        return time * np.sin(2 * np.pi * 441 * time)  # a second that grows louder

    there, here = follow(sound_of(swell(rate), rate), pair), follow(sound_of(swell(RATE)), pair)
    assert there.codes == pytest.approx(here.codes, abs=2e-3)
    assert there.seconds == pytest.approx(here.seconds)


def test_silent_frames_are_left_out_and_the_others_keep_their_places(pair, sound_of):
    samples = np.concatenate([noise(8192), np.full(8192, 0.1, np.float32), noise(8192) * 1e-3, noise(8192)])
    track = follow(sound_of(samples), pair)
    starts = np.arange(0, len(samples) - LENGTH + 1, HOP)
    loud = np.array([samples[start : start + LENGTH].std() for start in starts]) > 0.29 / 10 ** (50 / 20)
    assert track.frame_count == len(starts)
    assert 40 < loud.sum() < len(starts) - 40  # DC, and noise at -60 dB, are silence
    assert track.seconds == pytest.approx((starts[loud] + LENGTH / 2) / RATE)
    assert track.codes == pytest.approx(in_closed_form(samples)[loud], abs=1e-6)


@pytest.mark.parametrize("key", [57, 60, 68, 75])
def test_an_encoder_with_chroma_is_told_the_strongest_pitch_class(make_pair, sound_of, make_tone, key):
    track = follow(sound_of(make_tone(key, rate=RATE)), make_pair(chroma=True, scale=0.0))
    assert len(track.codes) > 50
    assert np.abs(track.codes - [key % 12 / 12, 0.0]).max() < 1e-6


def test_a_long_sound_takes_no_more_memory_than_a_short_one(pair, sound_of):
    samples = noise(40 * 44100)
    long, short = sound_of(samples, 44100, "long.wav"), sound_of(samples[: 5 * 44100], 44100, "short.wav")
    del samples
    peaks = []
    for sound in (short, long):
        tracemalloc.start()
        follow(sound, pair)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6  # its samples are 7 MB


CODES = st.integers(1, 40).flatmap(
    lambda count: st.lists(st.tuples(*[st.floats(-5, 5, allow_subnormal=False)] * 3), min_size=count, max_size=count)
)


@given(CODES)
def test_the_medoid_is_the_code_nearest_to_the_median(codes):
    codes = np.array(codes)
    distances = np.linalg.norm(codes - np.median(codes, axis=0), axis=1)
    assert distances[medoid(codes)] == pytest.approx(distances.min(), abs=1e-12)


def off(seconds, codes, kept):
    """How far each code is from the lines between those that are kept."""
    line = np.stack([np.interp(seconds, seconds[kept], column) for column in codes[kept].T], axis=1)
    return np.linalg.norm(codes - line, axis=1)


@given(CODES, st.integers(2, 12), st.integers(0, 100))
def test_a_simplified_path_keeps_its_ends_and_its_number_and_comes_nearer_with_every_point(codes, count, seed):
    codes = np.array([*codes, (0.0, 0.0, 0.0)])
    seconds = np.cumsum(np.random.default_rng(seed).uniform(0.01, 0.1, len(codes)))
    kept = simplified(seconds, codes, count)
    assert kept[0] == 0
    assert kept[-1] == len(codes) - 1
    assert len(kept) <= max(count, 2)
    assert all(before < after for before, after in itertools.pairwise(kept))
    assert len(kept) == count or off(seconds, codes, kept).max() <= SAME
    more = simplified(seconds, codes, count + 1)
    assert set(kept) <= set(more)
    assert off(seconds, codes, simplified(seconds, codes, len(codes))).max() <= SAME


def test_a_simplified_path_finds_the_corners_of_one_that_has_few():
    corners = np.array([0, 17, 18, 60, 99])
    seconds, path = np.arange(100) * 0.02, np.random.default_rng(4).normal(size=(5, 10))
    codes = np.stack([np.interp(np.arange(100), corners, column) for column in path.T], axis=1)
    assert simplified(seconds, codes, 32) == corners.tolist()


def test_a_simplified_walk_is_nearer_than_one_of_evenly_spaced_points():
    rng = np.random.default_rng(1)
    for _ in range(10):
        codes = np.cumsum(rng.standard_t(2, (400, 4)), axis=0)
        seconds = np.arange(400) * 0.02
        even = np.linspace(0, 399, 20).astype(int)
        assert off(seconds, codes, simplified(seconds, codes, 20)).max() < off(seconds, codes, even).max()


def test_the_preset_rests_at_a_frame_of_the_sound_and_has_the_knobs_of_a_bare_model(pair, sound_of, tmp_path):
    samples = noise(30_300) * np.linspace(0.1, 1, 30_300, dtype=np.float32)
    output = tmp_path / "made.toml"
    told = recover(sound_of(samples), pair, output)
    preset, codes = read_preset(output), in_closed_form(samples)
    distances = np.linalg.norm(codes - np.median(codes, axis=0), axis=1)
    assert preset.latent.values == pytest.approx(codes[distances.argmin()], abs=1e-5)
    assert preset.cc == open_patch(str(pair.path)).preset.cc
    assert preset.motion == []
    assert told.warnings == ()
    figures = json.loads((tmp_path / "made.json").read_text())
    away = np.median(np.linalg.norm((codes - 0.5) / 0.25, axis=1))  # the card's one landmark is in the middle
    assert told.summary == (
        f"{output}: 115 of 115 frames in 1.4 s sound; half of their codes lie within {away:.2f} deviations of a "
        f"training code\n{tmp_path / 'made.json'}: log-mel distance {figures['log_mel_db']:.1f} dB, spectrogram MSE "
        f"{figures['spectrogram_mse']:.2g}, SSIM {figures['ssim']:.3f}, {figures['nearest']['deviations']:.2f} "
        "deviations from training code 'middle'"
    )


def test_the_preset_finds_its_model_from_its_own_folder_and_plays(pair, sound_of, tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    shutil.copy(pair.path, tmp_path)
    shutil.copy(encoder_path(pair.path), tmp_path)
    sound = sound_of(noise(9000))
    monkeypatch.chdir(tmp_path)
    recover(sound, Model(tmp_path / "model.onnx"), tmp_path / "deep" / "made.toml")
    assert read_preset(tmp_path / "deep" / "made.toml").model == "../model.onnx"
    monkeypatch.chdir("/")
    patch = open_patch(str(tmp_path / "deep" / "made.toml"))
    assert patch.warnings == ()
    assert patch.model.sha256 == pair.sha256


@pytest.mark.parametrize("labels", [("middle", "other"), ("some", "other")])
def test_a_recovered_sound_is_as_loud_as_notes_of_what_it_is_nearest_to(pair, sound_of, tmp_path, labels):
    homes = {labels[0]: [1.0, 1.0], labels[1]: [0.1, 0.1]}  # the sound's code is about 0.1; its landmark is "middle"
    ways = [{"label": label, "home": home, "notes": [note()]} for label, home in homes.items()]
    model = with_gestures(pair.path, tmp_path / "own.onnx", gestures(instruments=ways))
    shutil.copy(encoder_path(pair.path), encoder_path(model.path))
    recover(sound_of(0.2 * noise(9000)), model, tmp_path / "made.toml")
    gesture = read_preset(tmp_path / "made.toml").gesture
    assert gesture.codes == 0
    assert gesture.instrument == ("middle" if "middle" in labels else None)


@pytest.mark.parametrize(("fall_db_second", "loudness"), [(0.0, 0.0), (60.0, 1.0)])
def test_a_sustained_sound_does_not_decay_as_the_notes_of_a_struck_instrument(
    pair, sound_of, tmp_path, fall_db_second, loudness
):
    struck = note(levels=[0.0, -6.0, -12.0, -30.0], fall_db_second=60.0)
    model = with_gestures(pair.path, tmp_path / "own.onnx", gestures(struck))
    shutil.copy(encoder_path(pair.path), encoder_path(model.path))
    fall = 10 ** (-fall_db_second / 20 * np.arange(RATE) / RATE)
    tone = np.sign(np.sin(2 * np.pi * 261.6 * np.arange(RATE) / RATE))
    recover(sound_of(0.2 * fall * tone), model, tmp_path / "made.toml")
    assert read_preset(tmp_path / "made.toml").gesture.loudness == loudness
    written, _ = soundfile.read(tmp_path / "made.wav")
    early, late = (np.sqrt(np.square(part).mean()) for part in (written[4000:6000], written[16000:18000]))
    assert 20 * np.log10(early / late) == pytest.approx(fall_db_second * 12000 / RATE, abs=3)


@pytest.mark.parametrize("seconds", [29, 31])
def test_a_sound_longer_than_the_note_that_is_rendered_is_warned_of(pair, sound_of, tmp_path, seconds):
    told = recover(sound_of(noise(seconds * RATE)), pair, tmp_path / "made.toml")
    warning = f"{tmp_path / 'made.wav'} and the figures are of 30 s of the sound's {seconds}.0 s"
    assert told.warnings == ((warning,) if seconds > 30 else ())
    assert soundfile.info(tmp_path / "made.wav").duration == pytest.approx(min(seconds, 30), abs=0.1)


def test_a_path_follows_the_sound(pair, sound_of, tmp_path):
    seconds = np.arange(4 * RATE) / RATE
    swell = 0.2 + 0.15 * np.sin(2 * np.pi * 0.5 * seconds)  # slower than what the path smoothes away
    samples = swell * np.sign(np.sin(2 * np.pi * 441 * seconds))
    told = recover(sound_of(samples), pair, tmp_path / "made.toml", points=24)
    preset = read_preset(tmp_path / "made.toml")
    [path] = preset.motion
    assert len(path.path) == len(path.times) == 24
    assert "a path of 24 codes follows them within 0.0" in told.summary
    latents = Latents(preset.latent_values(pair.card), pair.card, preset.motion)
    played = np.array([latents.row(int(time)) for time in range(RATE // 4, 15 * RATE // 4, 999)])
    expected = np.interp(np.arange(RATE // 4, 15 * RATE // 4, 999) / RATE, seconds, swell)
    assert played[:, 0] == pytest.approx(expected, abs=0.015)


def test_a_path_begins_with_the_sound_and_not_with_the_silence_before_it(pair, sound_of, tmp_path):
    square = 0.2 * np.sign(np.sin(2 * np.pi * 441 * np.arange(2 * RATE) / RATE))
    swell = square * np.linspace(0.5, 1.5, 2 * RATE)
    paths = []
    for silence in (0, RATE):
        recover(sound_of(np.concatenate([np.zeros(silence), swell])), pair, tmp_path / f"{silence}.toml", points=8)
        [path] = read_preset(tmp_path / f"{silence}.toml").motion
        paths.append(path.times)
    assert paths[1][-1] == pytest.approx(paths[0][-1], abs=0.1)
    assert paths[1][0] < 0.1


def test_a_path_leaves_out_what_flickers_for_less_than_a_tenth_of_a_second(pair, sound_of, tmp_path):
    samples = 0.2 * np.sign(np.sin(2 * np.pi * 441 * np.arange(2 * RATE) / RATE))
    samples[RATE : RATE + 600] *= 4
    recover(sound_of(samples), pair, tmp_path / "made.toml", points=32)
    [path] = read_preset(tmp_path / "made.toml").motion
    assert np.array(path.path) == pytest.approx(0.2, abs=1e-3)
    assert len(path.times) == 2


def test_a_warning_names_three_latents_outside_and_counts_the_others():
    card = SimpleNamespace(latents=[SimpleNamespace(name=name, low=-1.0, high=1.0) for name in "abcde"])
    assert latents_outside(np.array([2.0, 0.0, 2.0, -2.0, 0.0]), card) == "a, c, d"
    assert latents_outside(np.array([2.0, 2.0, 2.0, 2.0, -2.0]), card) == "a, b, c and 2 more"
    assert latents_outside(np.zeros(5), card) == ""


def test_a_sound_whose_code_the_model_does_not_span_is_warned_of(make_pair, sound_of, tmp_path):
    model = make_pair(scale=8.0)
    told = recover(sound_of(noise(30_000)), model, tmp_path / "made.toml", points=4)
    assert told.warnings == (
        f"{tmp_path / 'sound.wav'} is unlike the training sounds: its code lies outside the span of latent 0, latent 1",
        "4 of 4 codes of the path lie outside the latents' spans, where playing keeps them",
    )
    assert min(read_preset(tmp_path / "made.toml").latent.values) > 1.5  # kept as it is


@pytest.mark.parametrize(("scale", "said"), [(np.nan, "that are not finite"), (1e30, r"of up to \de\+\d\d;")])
def test_codes_that_are_no_codes_are_said_to_be_the_encoders_fault(make_pair, sound_of, tmp_path, scale, said):
    with pytest.raises(Failure, match=rf"model\.encoder\.onnx gives latents {said}"):
        recover(sound_of(noise(9000)), make_pair(scale=scale), tmp_path / "made.toml")
    assert not (tmp_path / "made.toml").exists()


def test_a_note_of_a_shipped_model_is_found_again(make_instrument, sound_of, tmp_path, play):
    model = Model(shipped_models()["gm-chroma-8"])
    default = [latent.default for latent in model.card.latents]
    lowest = 12 * (model.card.chroma.octave + 1)

    def alike(code, other, pitch_class):
        one, two = model.decode(np.array([code, other], np.float32), np.array([pitch_class] * 2))
        return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))

    found = []
    for mark in model.card.landmarks[::100]:
        instrument = make_instrument(44100, model, latent={"values": mark.latent}, gesture={"amount": 0.0})
        note = play(instrument, [NoteOn(0, 0, lowest + mark.chroma, 100)], 44100)
        recover(sound_of(note, 44100), model, tmp_path / "made.toml", overwrite=True)
        preset = read_preset(tmp_path / "made.toml")
        assert preset.model == "gm-chroma-8"
        found.append(alike(mark.latent, preset.latent.values, mark.chroma))
        assert found[-1] > max(0.95, alike(mark.latent, default, mark.chroma))
    assert np.median(found) > 0.98


@pytest.fixture(scope="module")
def shelf(analytic, tmp_path_factory):
    """A folder of sounds and models of which most cannot be recovered from."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, samples in {
        "good": noise(30_000),
        "short": noise(LENGTH - 1),
        "frame": noise(LENGTH),
        "none": noise(0),
        "silent": noise(30_000) * 0,
        "faint": noise(30_000) * 1e-4,
        "nan": noise(30_000) * np.nan,
    }.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", noise(30_000), 10)
    (folder / "text.wav").write_text("no sound", encoding="utf-8")
    for name in ("model", "alone", "mixed-up", "misfit", "untold", "listed", "wordy", "greedy"):
        analytic().save(folder / f"{name}.onnx")
        save_encoder(encoder_path(folder / f"{name}.onnx"))
    encoder_path(folder / "alone.onnx").unlink()
    save_encoder(encoder_path(folder / "mixed-up.onnx"), model="strings")
    save_encoder(encoder_path(folder / "listed.onnx"), text="[1, 2]")
    save_encoder(encoder_path(folder / "wordy.onnx"), text="an encoder")
    save_encoder(encoder_path(folder / "greedy.onnx"), greedy=True)
    analytic(frame_length=2048).save(folder / "misfit.onnx")
    shutil.copy(folder / "model.onnx", encoder_path(folder / "untold.onnx"))
    (folder / "old.toml").write_text("kept", encoding="utf-8")
    return folder


WRONG = {
    "gone.wav --model model.onnx": "cannot read gone.wav: there is no such file",
    "text.wav --model model.onnx": "cannot read text.wav",
    ". --model model.onnx": "cannot read .: it is a folder; give a sound file",
    "none.wav --model model.onnx": "none.wav: it holds no sound",
    "short.wav --model model.onnx": "short.wav lasts 0.0464 s, and a frame of model 'analytic' 0.0464 s; give a longer",
    "silent.wav --model model.onnx": "silent.wav is silent, no frame is louder than -80 dB",
    "faint.wav --model model.onnx": "faint.wav is silent",
    "nan.wav --model model.onnx": "nan.wav: it holds samples that are not finite",
    "slow.wav --model model.onnx": "slow.wav claims a rate of 10 Hz; give a sound of 1000 or more",
    "frame.wav --path --model model.onnx": "frame.wav has one frame that sounds, and a path needs two",
    "good.wav --path --points 1 --model model.onnx": "'--points'",
    "good.wav": "'--model'",
    "good.wav --model gone.onnx": "model gone.onnx does not exist",
    "good.wav --model alone.onnx --method hybrid": "begins at a network's code, and alone.onnx has no encoder; give",
    "good.wav --model alone.onnx --method gradient --path": "has no encoder, whose codes a path goes through",
    "good.wav --model model.onnx --method newton": "'--method'",
    "good.wav --model alone.onnx --method network": "alone.onnx has no encoder: alone.encoder.onnx does not exist",
    "good.wav --model model.encoder.onnx": "without a timbrel card",
    "good.wav --model mixed-up.onnx": "mixed-up.encoder.onnx is the encoder of another model, 'strings', not of",
    "good.wav --model misfit.onnx": "misfit.encoder.onnx is the encoder of another model",
    "good.wav --model untold.onnx": "untold.encoder.onnx is no encoder that timbrel wrote; export the model again",
    "good.wav --model listed.onnx": "listed.encoder.onnx: what it says of itself is not a JSON object; export the",
    "good.wav --model wordy.onnx": "wordy.encoder.onnx: what it says of itself is not a JSON object; export the",
    "good.wav --model greedy.onnx": "greedy.encoder.onnx cannot be run (it asks for 137 GB of memory",
    "good.wav --model model.onnx -o old.toml": "old.toml exists; give another name, or --overwrite",
    "good.wav --model model.onnx -o new.onnx": "-o new.onnx must be a preset's name, such as new.toml",
    "good.wav --model model.onnx -o gone/new.toml": "folder gone does not exist; make it first",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_recovered_is_refused_in_a_line_and_nothing_is_written(shelf, timbrel, monkeypatch, line):
    monkeypatch.chdir(shelf)
    before = {path: path.read_bytes() for path in shelf.iterdir()}
    ended = timbrel("recover", *line.split(), *([] if "-o" in line.split() else ["-o", "new.toml"]))
    assert (ended.status, ended.out) == (2, ""), ended
    [said] = ended.err.splitlines()
    assert WRONG[line] in said
    assert {path: path.read_bytes() for path in shelf.iterdir()} == before


def test_an_encoder_that_cannot_be_run_is_refused_when_it_is_opened(shelf):
    with pytest.raises(UserError, match=r"greedy\.encoder\.onnx cannot be run"):
        Encoder(Model(shelf / "greedy.onnx"))


def test_the_command_writes_the_preset_that_it_tells_of(shelf, timbrel, tmp_path):
    arguments = ["recover", shelf / "good.wav", "--model", shelf / "model.onnx", "-o", tmp_path / "new.toml"]
    plain = timbrel(*arguments)
    assert (plain.status, plain.err) == (0, "")
    assert plain.out.startswith(f"{tmp_path / 'new.toml'}: 114 of 114 frames in 1.4 s sound; ")
    assert "motion" not in tomllib.loads((tmp_path / "new.toml").read_text())
    assert timbrel(*arguments).status == 2
    moving = timbrel(*arguments, "--path", "--points", 5, "--overwrite")
    assert (moving.status, len(moving.out.splitlines())) == (0, 2)
    [motion] = tomllib.loads((tmp_path / "new.toml").read_text())["motion"]
    assert len(motion["path"]) == len(motion["times"]) <= 5


def test_a_model_that_has_no_encoder_is_refused_before_the_sound_is_read(shelf):
    with pytest.raises(UserError, match="has no encoder"):
        follow(shelf / "text.wav", Model(shelf / "alone.onnx"))
