"""Sounds that are whole clips: their codes, kits of folders, and the way from one to another."""

import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import NoteOn
from timbrel.host.model.encoder import Encoder, encoder_path
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.codes import whole_clip
from timbrel.host.resynthesis.morph import morph
from timbrel.host.resynthesis.recover import recover

from ..clips import LENGTH, RATE, noise, save_clips

MOVED = np.stack([noise(2), noise(3)])


@pytest.fixture(scope="module")
def model(save_encoder, tmp_path_factory):
    """A model whose clips are sums of two sounds, and the encoder that finds how much of each there is."""
    path = save_clips(tmp_path_factory.mktemp("clips") / "m.onnx", np.zeros(LENGTH), MOVED, name="analytic")
    nodes = [helper.make_node("MatMul", ["audio", "found"], ["latent"])]
    save_encoder(path, nodes, {"audio": LENGTH}, 2, {"found": np.linalg.pinv(MOVED)}, RATE)
    return Model(path)


def clip(first, second):
    return 0.05 * (first * MOVED[0] + second * MOVED[1])


def write(path, samples):
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


def code_of(path):
    return open_patch(str(path)).preset.latent.values


def test_a_clip_of_the_model_s_length_has_its_own_code(model, tmp_path):
    sound = write(tmp_path / "s.wav", clip(20, -10))
    told = recover(sound, model, tmp_path / "p.toml")
    assert code_of(tmp_path / "p.toml") == pytest.approx([1.0, -0.5], abs=1e-4)
    assert f"{tmp_path / 'p.toml'}: its 0.25 s\n" in told.summary


def test_a_shorter_sound_is_padded_and_that_is_said(model, tmp_path):
    sound = write(tmp_path / "s.wav", clip(20, -10)[:3500])
    told = recover(sound, model, tmp_path / "p.toml")
    assert code_of(tmp_path / "p.toml") == pytest.approx([1.0, -0.5], abs=0.05)
    assert "its 0.219 s, and silence up to the 0.25 s of the model's clips" in told.summary


def test_of_a_longer_sound_the_loudest_counts_from_where_it_begins(model, tmp_path):
    before, after = 0.1 * clip(0, 20), clip(20, -10)
    samples = np.concatenate([before, np.zeros(8000), after, np.zeros(2000)])
    told = recover(write(tmp_path / "s.wav", samples), model, tmp_path / "p.toml")
    assert code_of(tmp_path / "p.toml") == pytest.approx([1.0, -0.5], abs=1e-4)
    assert "of its 1.12 s the 0.25 s from 0.75 s on, where its loudest sound begins" in told.summary


@given(st.integers(1, 9000), st.integers(0, 3000), st.lists(st.integers(1, 3000), min_size=1, max_size=5))
def test_the_part_is_the_same_however_the_sound_comes_and_holds_its_loudest_moment(count, quiet, sizes):
    sound = np.concatenate([np.zeros(quiet), noise(count, count)]).astype(np.float32)
    blocks, at = [], 0
    while at < len(sound):
        blocks.append(sound[at : at + sizes[len(blocks) % len(sizes)]])
        at += len(blocks[-1])
    cut, whole = whole_clip(blocks, blocks, 2000, RATE), whole_clip([sound], [sound], 2000, RATE)
    assert (cut.first, cut.length) == (whole.first, whole.length)
    assert np.array_equal(cut.samples, whole.samples)
    expected = sound[whole.first : whole.first + 2000]
    assert np.array_equal(whole.samples[: len(expected)], expected)
    assert not whole.samples[len(expected) :].any()
    if len(sound) <= 2000:
        assert whole.first == 0
    steps = np.sqrt(np.square(np.pad(sound, (0, -len(sound) % 80)).reshape(-1, 80)).mean(axis=1))
    assert whole.first <= 80 * int(steps.argmax()) < whole.first + 2000


def test_silence_and_paths_are_refused(model, tmp_path):
    silent = write(tmp_path / "silent.wav", np.zeros(5000))
    with pytest.raises(UserError, match="is silent, no frame is louder than -80 dB"):
        recover(silent, model, tmp_path / "p.toml")
    sound = write(tmp_path / "s.wav", clip(20, -10))
    with pytest.raises(UserError, match="has one frame that sounds, and a path needs two; leave --path out"):
        recover(sound, model, tmp_path / "p.toml", points=8)
    assert not (tmp_path / "p.toml").exists()


def test_a_folder_becomes_a_kit_in_the_order_of_its_names(model, tmp_path):
    folder = tmp_path / "hits"
    folder.mkdir()
    write(folder / "b.wav", clip(0, 20))
    write(folder / "a.wav", clip(20, 0))
    (folder / "notes.txt").write_text("no sound")
    (folder / "._a.wav").write_text("of macOS, beside a.wav")
    told = recover(folder, model, tmp_path / "kit.toml")
    assert [line.split(": ")[1] for line in told.summary.splitlines()] == ["key 36 has a.wav", "key 37 has b.wav"]
    patch = open_patch(str(tmp_path / "kit.toml"))
    assert [entry.key for entry in patch.preset.keys] == [36, 37]
    sound = Rack({0: patch}, RATE).process([NoteOn(0, 0, 37, 20)], LENGTH)[0][0]
    assert np.corrcoef(sound, clip(0, 20))[0, 1] > 0.9999


def test_a_kit_leaves_out_sounds_that_cannot_be_used(model, tmp_path):
    folder = tmp_path / "hits"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"")
    write(folder / "b.wav", np.zeros(LENGTH))
    with pytest.raises(UserError) as refused:
        recover(folder, model, tmp_path / "kit.toml")
    assert ["a.wav" in line for line in refused.value.args] == [True, False]
    assert "b.wav is silent" in refused.value.args[1]
    write(folder / "c.wav", clip(20, 0))
    told = recover(folder, model, tmp_path / "kit.toml")
    assert "key 36 has c.wav" in told.summary
    assert told.warnings[:2] == tuple(f"left out: {line}" for line in refused.value.args)


def test_a_folder_without_sounds_or_for_another_kind_is_refused(model, tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds 0 sounds; a kit has 1 to 92"):
        recover(tmp_path / "empty", model, tmp_path / "p.toml")


@pytest.fixture(scope="module")
def told(save_encoder, tmp_path_factory):
    """A model of two labels, whose encoder takes a clip for the sound of which it holds more."""
    path = tmp_path_factory.mktemp("told") / "m.onnx"
    save_clips(path, np.zeros(LENGTH), MOVED, ["low", "high"], MOVED, name="analytic")
    nodes = [
        helper.make_node("MatMul", ["audio", "found"], ["latent"]),
        helper.make_node("Softmax", ["latent"], ["label"], axis=1),
    ]
    save_encoder(path, nodes, {"audio": LENGTH}, 2, {"found": np.linalg.pinv(MOVED)}, RATE, labels=2)
    return Model(path)


def test_an_encoder_tells_labels_beside_latents(told, model):
    clips = np.stack([clip(20, -10), clip(-20, 20)]).astype(np.float32)
    codes, labels = Encoder(told).encode_with_labels(clips)
    assert codes == pytest.approx(np.array([[1.0, -0.5], [-1.0, 1.0]]), abs=1e-4)
    assert labels == pytest.approx(np.exp(codes) / np.exp(codes).sum(1, keepdims=True), abs=1e-6)
    assert np.array_equal(Encoder(told).encode(clips), codes)
    assert Encoder(model).encode_with_labels(clips)[1] is None


def test_of_a_model_with_labels_the_preset_says_what_the_sound_was_taken_for(told, tmp_path):
    sound = write(tmp_path / "s.wav", clip(-20, 20))
    said = recover(sound, told, tmp_path / "p.toml")
    assert f"{tmp_path / 'p.toml'}: its 0.25 s, taken for 'high' (88%)\n" in said.summary  # 1 / (1 + exp(-2))
    patch = open_patch(str(tmp_path / "p.toml"))
    assert patch.preset.clip.label == "high"
    sound = Rack({0: patch}, RATE).process([NoteOn(0, 0, 60, 20)], LENGTH)[0][0]
    assert np.corrcoef(sound, -MOVED[0] + 2 * MOVED[1])[0, 1] > 0.9999  # the code's, and the label's own


def test_keys_of_a_kit_have_the_labels_of_their_sounds(told, tmp_path):
    (tmp_path / "hits").mkdir()
    write(tmp_path / "hits" / "a.wav", clip(20, 0))
    write(tmp_path / "hits" / "b.wav", clip(0, 20))
    recover(tmp_path / "hits", told, tmp_path / "kit.toml")
    keys = open_patch(str(tmp_path / "kit.toml")).preset.keys
    assert [entry.label for entry in keys] == ["low", "high"]
    assert np.array([entry.code for entry in keys]) == pytest.approx(np.eye(2), abs=1e-4)


def test_a_morph_keeps_the_label_of_the_first_sound(told, tmp_path):
    """Which adds half of `MOVED`'s second here, where the codes alone would give none of it in the end."""
    one, other = write(tmp_path / "a.wav", clip(0, 20)), write(tmp_path / "b.wav", clip(0, -20))
    shares = {}
    for name, sounds in {"high": (one, other), "low": (other, one)}.items():
        morph(*sounds, told, tmp_path / f"{name}.wav", seconds=2.0)
        sound, rate = soundfile.read(tmp_path / f"{name}.wav")
        begin = sound[: round(0.2 * rate), 0]
        parts = [np.interp(np.arange(len(begin)) * RATE / rate, np.arange(LENGTH), part) for part in MOVED]
        shares[name] = np.linalg.lstsq(np.array(parts).T, begin, rcond=None)[0]
    assert abs(shares["high"][0]) < 0.2 * abs(shares["high"][1])  # twice its own sound, nothing of the other
    assert shares["low"][0] == pytest.approx(-shares["low"][1], rel=0.3)  # codes of (0, -1), and (1, 0) of its label


@pytest.mark.parametrize("labels", [[], ["low", "high", "other"]])
def test_an_encoder_of_other_labels_is_of_another_model(told, tmp_path, labels):
    path = save_clips(tmp_path / "m.onnx", np.zeros(LENGTH), MOVED, labels, MOVED[[0] * len(labels)], name="analytic")
    shutil.copy(encoder_path(told.path), encoder_path(path))
    with pytest.raises(UserError, match="is the encoder of another model"):
        Encoder(Model(path))


def test_labels_that_are_no_numbers_are_the_encoders_fault(told, save_encoder, tmp_path):
    path = tmp_path / "m.onnx"
    shutil.copy(told.path, path)
    nodes = [
        helper.make_node("MatMul", ["audio", "found"], ["latent"]),
        helper.make_node("Div", ["latent", "zero"], ["label"]),
    ]
    constants = {"found": np.linalg.pinv(MOVED), "zero": [0.0]}
    save_encoder(path, nodes, {"audio": LENGTH}, 2, constants, RATE, labels=2)
    with pytest.raises(Failure, match=r"m\.encoder\.onnx gives labels that are not finite"):
        Encoder(Model(path))


def test_the_command_recovers_and_morphs_clips(model, timbrel, tmp_path):
    one, other = write(tmp_path / "a.wav", clip(20, 0)), write(tmp_path / "b.wav", clip(0, 20))
    assert timbrel("recover", one, "--model", model.path, "-o", tmp_path / "p.toml").status == 0
    assert timbrel("process", one, "--preset", tmp_path / "p.toml", "-o", tmp_path / "x.wav").status == 2
    ended = timbrel("morph", one, other, "--model", model.path, "-o", tmp_path / "m.wav", "--seconds", "2")
    assert ended.status == 0


def test_a_morph_is_held_and_goes_from_one_clip_to_the_other(model, tmp_path):
    one, other = write(tmp_path / "a.wav", clip(20, 0)), write(tmp_path / "b.wav", clip(0, 20))
    morph(one, other, model, tmp_path / "m.wav", seconds=2.0)
    sound, rate = soundfile.read(tmp_path / "m.wav")
    assert rate == 44_100
    period = (LENGTH - 320) / RATE  # the loop's crossfade is 20 ms
    plain = [np.fft.irfft(np.fft.rfft(part), round(LENGTH * rate / RATE)) for part in MOVED]

    def like(begin, which):
        first = round(begin * rate)
        piece = sound[first : first + 4000, 0]
        return max(abs(np.corrcoef(piece, plain[which][at : at + 4000])[0, 1]) for at in range(1200, 1400))

    assert like(0.03, 0) > 0.9
    assert like(0.03 + 8 * period, 1) > 0.9
    assert like(0.03 + 8 * period, 0) < 0.3
