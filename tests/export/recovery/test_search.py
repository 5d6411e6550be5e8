"""Codes are found again: of what models of every kind decode, by both searches; and sounds come nearer than before."""

import importlib.util
import itertools
import json
import shutil
import sys
import tomllib

import numpy as np
import pytest
import soundfile
import soxr
import torch
from timbrel.export.recovery import search
from timbrel.export.recovery.search import CodeSearcher, SearchOptions, SearchStage
from timbrel.host.engines.clip.synthesis import SpectraSound
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.model.encoder import Encoder
from timbrel.host.model.model import Model
from timbrel.host.model.partials import spectra
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.resynthesis import reconstruction
from timbrel.host.resynthesis.recover import RecoveryMethod, recover
from timbrel.host.resynthesis.refinement import SearchTarget

MODELS = sorted(name for name, path in shipped_models().items() if not Model(path).card.state)
# Share of a sound that a found code misses: 1e-5 to .01 here, where a search ends depends on the processor's rounding.
MISSED = 0.1
FEW = ("gm-chroma-2", "lakeside-10")  # of which a code is found from anywhere in a second


def opened(name):
    return Model(shipped_models()[name])


def ends(card):
    return (np.array([getattr(latent, end) for latent in card.latents]) for end in ("low", "high"))


def decoded(model, count, seed=0):
    """Return landmarks of a model [count, n], the labels or pitch classes beside them, and what is decoded of them.

    Of clips of magnitudes that is what a host makes of these, their sounds; of partials their spectra at a key.
    """
    card = model.card
    marks = [card.landmarks[i] for i in np.random.default_rng(seed).choice(len(card.landmarks), count, replace=False)]
    codes = np.array([mark.latent for mark in marks])
    named = [mark.label.partition(" no. ")[0] for mark in marks]  # of a generator's
    labels = np.array(
        [card.labels.index(n) if card.labels else m.chroma or 0 for n, m in zip(named, marks, strict=True)]
    )
    if card.partials is not None:
        labels = 60 + labels
    frames = model.decode(codes.astype(np.float32), labels)
    if card.partials is not None:
        frames = spectra(card, frames, labels)
    if card.transform_length is not None:
        frames = SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)(frames)
    return codes, labels, frames


class Given(CodeSearcher):
    """A searcher that is given decoded frames in place of sounds, and their pitch classes; of clips their sounds."""

    def __init__(self, model, labels, options=None):
        super().__init__(model, options)
        told = itertools.cycle(labels)
        view = self._view
        if view is not self._played:
            return

        def heard(frames):
            frame, key = torch.from_numpy(frames), int(next(told)) if model.card.keyed else None
            envelope = view.envelope(frame)
            return search.TargetSound(view.decoded(frame)[0], key, None if envelope is None else envelope[0])

        view.target_sound = heard


def correlation(found, code, card):
    low, high = ends(card)
    return np.corrcoef((found - low) / (high - low), (code - low) / (high - low))[0, 1]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "gm-drums")) for n in MODELS])
def test_the_code_of_a_decoded_frame_is_found_from_one_nearby(name):
    model = opened(name)
    codes, labels, frames = decoded(model, 1 if name == "gm-drums" else 3)  # whose clips are long
    low, high = ends(model.card)
    near = np.clip(codes + 0.1 * (high - low) * np.random.default_rng(1).standard_normal(codes.shape), low, high)
    sought = [
        SearchTarget(frame[None], code, int(label)) for frame, code, label in zip(frames, near, labels, strict=True)
    ]
    for found, code in zip(Given(model, labels).hybrid(sought), codes, strict=True):
        assert found.settled
        if model.card.transform_length is None:
            assert found.missed < min(MISSED, 0.5 * found.encoder_missed)
        if name not in (
            "gm-drums",
            "gm-kit",
            "digits-gan",
        ):  # cymbals' noise and a GAN's words sound alike of several codes
            assert correlation(found.code, code, model.card) > 0.95


def test_a_code_of_a_gan_is_found_from_afar_too(monkeypatch):
    model = opened("digits-gan")
    codes, labels, clips = decoded(model, 2)
    sought = [
        SearchTarget(clip[None], code, int(label)) for clip, code, label in zip(clips, -codes, labels, strict=True)
    ]
    found = [one.missed for one in search.hybrid(model, sought)]
    monkeypatch.setattr(search, "RESTARTS", 0)
    alone = [one.missed for one in search.hybrid(model, sought)]
    assert max(found) < MISSED
    assert max(alone) > 4 * MISSED


def test_a_label_that_no_network_tells_is_the_one_with_which_the_code_comes_nearest():
    model = opened("digits-spoken")
    codes, labels, frames = decoded(model, 3)
    sought = [SearchTarget(frame[None], code, None) for frame, code in zip(frames, codes, strict=True)]
    assert [found.label for found in Given(model, labels).hybrid(sought)] == labels.tolist()


@pytest.mark.parametrize("name", FEW)
def test_the_code_and_the_label_of_a_decoded_frame_are_found_from_nowhere(name):
    model = opened(name)
    codes, labels, frames = decoded(model, 2)
    told = []
    found = Given(model, labels).gradient([SearchTarget(frame[None], None, None) for frame in frames], told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    for one, code, label in zip(found, codes, labels, strict=True):
        assert one.missed < 0.01
        assert one.label == (label if model.card.labels else None)
        assert correlation(one.code, code, model.card) > 0.98


def test_a_search_that_is_cut_short_says_so_and_keeps_the_best():
    model = opened("digits-spoken")
    _, labels, frames = decoded(model, 1)
    short = SearchOptions(stages=[SearchStage(3, 4, 4), SearchStage(3, 1, 1)], starts=10)
    [found] = Given(model, labels, short).gradient([SearchTarget(frames, None, None)])
    assert not found.settled
    assert np.isfinite(found.missed)


def test_the_same_seed_finds_the_same():
    model = opened("gm-chroma-2")
    _, labels, frames = decoded(model, 1)
    short = [SearchOptions(seed, [SearchStage(5, 1, 2), SearchStage(5, 1, 1)]) for seed in (0, 0, 1)]
    codes = [Given(model, labels, options).gradient([SearchTarget(frames, None, None)])[0].code for options in short]
    assert np.array_equal(codes[0], codes[1])
    assert not np.array_equal(codes[0], codes[2])


@pytest.mark.parametrize("note", [45, 64, 79])
def test_a_note_of_any_octave_is_looked_for_at_the_key_that_the_model_knows(make_tone, note):
    model = opened("gm-chroma-8")
    searcher, length = CodeSearcher(model), model.card.frame_length
    sound = make_tone(note, 1.5, 44100)
    frames = np.stack([sound[start : start + 7 * length] for start in (9000, 18000, 30000)])
    heard = searcher._view.target_sound(frames)
    assert heard.condition == note % 12
    octave = model.card.chroma.octave
    strongest = float(heard.amplitudes[0].argmax()) * 44100 / length
    hz = 440 * 2 ** ((12 * (octave + 1) + note % 12 - 69) / 12)
    assert min(abs(strongest - hz * harmonic) for harmonic in (1, 2)) < 44100 / length


def test_of_two_notes_equally_long_one_is_looked_for_and_not_a_pitch_between_them(make_tone):
    searcher = CodeSearcher(opened("gm-chroma-8"))
    two_frames = 14 * searcher._view.card.frame_length
    tones = [make_tone(note, 1.0, 44100)[9000:][:two_frames].reshape(2, -1) for note in (69, 76)]
    assert searcher._view.target_sound(np.concatenate(tones)).condition == 69 % 12


def played(name, code, key, seconds=0.5, label=None):
    """Return what a preset of a shipped model at a code plays, [samples] at the model's rate."""
    model = opened(name)
    tables = {"latent": {"values": code}} | ({"clip": {"label": label}} if label else {})
    patch = Patch("one", Preset.model_validate({"format": 1, "model": name, **tables}), model, model.path.parent)
    length = round(seconds * model.card.sample_rate)
    rack = Rack({0: patch}, model.card.sample_rate)
    events = [NoteOn(0, 0, key, 100), NoteOff(length - 1, 0, key)]
    return rack.process(events, length)[0][0], model.card.sample_rate


@pytest.fixture
def sound_of(tmp_path):
    def write(name, samples, rate):
        soundfile.write(tmp_path / name, samples, rate, subtype="FLOAT")
        return tmp_path / name

    return write


@pytest.fixture
def no_picture(monkeypatch):
    """Leave the picture out, for tests of sounds and words."""
    monkeypatch.setattr(reconstruction, "draw_spectrograms", lambda *_: None)


@pytest.fixture
def mark():
    """A landmark of gm-chroma-8, and its note."""
    mark = opened("gm-chroma-8").card.landmarks[60]
    return mark.latent, 60 + mark.chroma


@pytest.mark.usefixtures("no_picture")
def test_a_note_comes_nearer_than_its_encoders_code_and_the_preset_sounds_it(
    sound_of, tmp_path, mark, timbrel, monkeypatch
):
    short = SearchOptions(stages=[SearchStage(3, 1, 1)], starts=2)
    monkeypatch.setattr(search, "gradient", lambda model, *asked: CodeSearcher(model, short).gradient(*asked))
    code, key = mark
    sound = sound_of("note.wav", *played("gm-chroma-8", code, key, 0.8))
    figures = {}
    for method in ("network", "hybrid", "gradient"):
        output = tmp_path / f"{method}.toml"
        ended = timbrel("recover", sound, "--model", "gm-chroma-8", "--method", method, "-o", output)
        assert ended.status == 0, ended.err
        figures[method] = json.loads(output.with_suffix(".json").read_text())
    assert figures["hybrid"]["log_mel_db"] < figures["network"]["log_mel_db"]
    assert figures["hybrid"]["missed"] < figures["hybrid"]["missed_by_network"]
    assert figures["gradient"]["missed_by_network"] is None
    again, rate = soundfile.read(tmp_path / "hybrid.wav")
    spectrum = np.abs(np.fft.rfft(again * np.hanning(len(again))))
    hz = np.fft.rfftfreq(len(again), 1 / rate)
    wanted = 440 * 2 ** ((key - 69) / 12)
    places = [spectrum[np.abs(hz - harmonic * wanted) < 3].max() for harmonic in (1, 2)]
    assert max(places) > 0.2 * spectrum.max()


def test_four_files_appear_and_the_preset_is_where_they_say(sound_of, tmp_path, mark, timbrel):
    sound = sound_of("note.wav", *played("gm-chroma-8", *mark))
    ended = timbrel("recover", sound, "--model", "gm-chroma-8", "-o", tmp_path / "made.toml")
    assert (ended.status, ended.err) == (0, "")
    assert {path.name for path in tmp_path.glob("made.*")} == {"made.toml", "made.wav", "made.png", "made.json"}
    figures = json.loads((tmp_path / "made.json").read_text())
    preset = tomllib.loads((tmp_path / "made.toml").read_text())
    assert figures["code"] == preset["latent"]["values"]
    assert (figures["method"], figures["model"]) == ("hybrid", "gm-chroma-8")
    assert figures["settled"]
    for told in (f"log-mel distance {figures['log_mel_db']:.1f} dB", f"SSIM {figures['ssim']:.3f}", "training code"):
        assert told in ended.out
    assert (tmp_path / "made.png").read_bytes().startswith(b"\x89PNG")
    again = timbrel("recover", sound, "--model", "gm-chroma-8", "-o", tmp_path / "made.toml")
    assert again.status == 2
    (tmp_path / "made.toml").unlink()
    again = timbrel("recover", sound, "--model", "gm-chroma-8", "-o", tmp_path / "made.toml")
    assert again.status == 2
    assert "made.wav exists" in again.err


@pytest.mark.usefixtures("no_picture")
def test_the_sound_itself_is_never_written_over(sound_of, tmp_path, mark, timbrel):
    sound = sound_of("note.wav", *played("gm-chroma-8", *mark))
    before = sound.read_bytes()
    for _ in range(2):
        out = ["--method", "network", "-o", tmp_path / "note.toml", "--overwrite"]
        assert timbrel("recover", sound, "--model", "gm-chroma-8", *out).status == 0
    assert sound.read_bytes() == before
    assert (tmp_path / "note-recovered.wav").exists()


def test_without_matplotlib_the_picture_is_left_out_and_that_is_said(sound_of, tmp_path, mark, timbrel, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    sound = sound_of("note.wav", *played("gm-chroma-8", *mark))
    ended = timbrel("recover", sound, "--model", "gm-chroma-8", "--method", "network", "-o", tmp_path / "made.toml")
    assert ended.status == 0
    assert "made.png is left out: a picture needs matplotlib" in ended.err
    assert not (tmp_path / "made.png").exists()


@pytest.mark.usefixtures("no_picture")
def test_a_clip_has_its_label_and_comes_nearer_and_a_folder_of_clips_is_a_kit(sound_of, tmp_path, timbrel):
    card = opened("digits-spoken").card
    (tmp_path / "words").mkdir()
    one, other = card.landmarks[20], card.landmarks[200]
    seconds = card.frame_length / card.sample_rate
    for number, (mark, label) in enumerate([(one, one.label), (other, other.label), (other, one.label)]):
        sound_of(f"words/{number}.wav", *played("digits-spoken", mark.latent, 60, seconds, label))
    distances = {}
    for method in ("network", "hybrid"):
        out = tmp_path / f"{method}.toml"
        ended = timbrel("recover", tmp_path / "words", "--model", "digits-spoken", "--method", method, "-o", out)
        assert ended.status == 0, ended.err
        figures = json.loads(out.with_suffix(".json").read_text())
        assert [key["label"] for key in figures["keys"]] == [one.label, other.label, one.label]
        assert [key["nearest"]["label"] for key in figures["keys"]] == [one.label, other.label, one.label]
        distances[method] = [key["log_mel_db"] for key in figures["keys"]]
        assert soundfile.info(out.with_suffix(".wav")).frames == 3 * card.frame_length
    assert np.mean(distances["hybrid"]) < np.mean(distances["network"])


@pytest.mark.usefixtures("no_picture")
def test_a_path_is_refined_where_it_is_bent(sound_of, tmp_path, mark):
    model = opened("gm-chroma-8")
    sound = sound_of("note.wav", *played("gm-chroma-8", *mark, 0.6))
    searcher = CodeSearcher(model)
    asked = []

    def counted(model, sounds, progress=None):
        asked.append(len(sounds))
        return searcher.hybrid(sounds, progress)

    recover(sound, model, tmp_path / "p.toml", method=RecoveryMethod("hybrid", counted, True), points=4)
    [path] = tomllib.loads((tmp_path / "p.toml").read_text())["motion"]
    assert asked == [1, len(path["path"])]


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("lacking", ["torch", "onnx"])
def test_without_torch_the_network_is_used_and_that_is_said(sound_of, tmp_path, mark, timbrel, monkeypatch, lacking):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == lacking else found(name, *rest))
    sound, out = sound_of("note.wav", *played("gm-chroma-8", *mark)), tmp_path / "made.toml"
    ended = timbrel("recover", sound, "--model", "gm-chroma-8", "-o", out)
    assert ended.status == 0
    assert "torch is not installed: pip install 'timbrel[train]'; the network's code is not refined" in ended.err
    assert json.loads(out.with_suffix(".json").read_text())["method"] == "network"
    for method in ("hybrid", "gradient"):
        ended = timbrel("recover", sound, "--model", "gm-chroma-8", "--method", method, "-o", tmp_path / "x.toml")
        assert (ended.status, ended.out) == (2, "")
        assert f"method {method} searches, and torch is not installed" in ended.err
        assert not (tmp_path / "x.toml").exists()


@pytest.mark.usefixtures("no_picture")
def test_a_model_without_an_encoder_is_searched_by_gradient_alone_and_that_is_said(tmp_path, timbrel, monkeypatch):
    card = opened("lakeside-10").card
    shutil.copy(shipped_models()["lakeside-10"], tmp_path / "rain.onnx")
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * card.frame_length)
    soundfile.write(tmp_path / "noise.wav", noise, card.sample_rate)
    short = SearchOptions(stages=[SearchStage(3, 1, 1)], starts=2)
    monkeypatch.setattr(search, "gradient", lambda model, *asked: CodeSearcher(model, short).gradient(*asked))
    out = tmp_path / "made.toml"
    ended = timbrel("recover", tmp_path / "noise.wav", "--model", tmp_path / "rain.onnx", "-o", out)
    assert ended.status == 0
    assert "rain.onnx has no encoder: its code is searched by gradient alone" in ended.err
    assert "noise.wav: the search did not come to its end; this is the best code that it met" in ended.err
    figures = json.loads(out.with_suffix(".json").read_text())
    assert (figures["method"], figures["settled"], figures["missed_by_network"]) == ("gradient", False, None)


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize(("rate", "channels"), [(22050, 2), pytest.param(48000, 1, marks=pytest.mark.slow)])
def test_a_sound_at_another_rate_and_in_stereo_has_nearly_the_same_code(sound_of, tmp_path, channels, rate):
    model = opened("digits-spoken")
    card = model.card
    mark = card.landmarks[20]
    sound, own = played("digits-spoken", mark.latent, 60, card.frame_length / card.sample_rate, mark.label)
    searcher = CodeSearcher(model)
    codes = []
    for name, samples, at in (("a", sound, own), ("b", soxr.resample(sound, own, rate), rate)):
        path = sound_of(f"{name}.wav", np.stack([samples] * channels, 1), at)
        done = RecoveryMethod("hybrid", lambda model, sounds, progress=None: searcher.hybrid(sounds, progress), True)
        recover(path, model, tmp_path / f"out-{name}.toml", method=done)
        codes.append(tomllib.loads((tmp_path / f"out-{name}.toml").read_text())["latent"]["values"])
    deviations = np.array([latent.std for latent in card.latents])
    # Where a search ends depends on the processor: 0.36 on one, less than 0.3 on others. At a wrong rate it is 1.3.
    assert np.abs((np.array(codes[0]) - codes[1]) / deviations).mean() < 0.5
    assert Encoder(model).path.exists()
