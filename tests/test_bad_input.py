"""What cannot be used is refused in one line that names it, and nothing is written or lost."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x40\x64\x83\x60\x80\x40\x00"  # E4 for half a second at 120 BPM


def midi(track=NOTE + END, tracks=1, kind=0, division=480):
    head = b"MThd" + (6).to_bytes(4) + kind.to_bytes(2) + tracks.to_bytes(2) + division.to_bytes(2)
    return head + tracks * (b"MTrk" + len(track).to_bytes(4) + track)


def preset(**keys):
    """A preset's text for the pantry's model, with these keys (TOML text) in place of its own."""
    lines = {"format": "1", "model": '"model.onnx"', **keys}
    return "".join(f"{key} = {value}\n" for key, value in lines.items() if value)


def stock_sounds(folder):
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "notes.txt").write_text("no sound", encoding="utf-8")
    (folder / "text.wav").write_text("this is no sound", encoding="utf-8")
    (folder / "zero.wav").write_bytes(b"")
    noise = 0.1 * np.random.default_rng(0).standard_normal(44100)
    soundfile.write(folder / "frameless.wav", noise[:0], 44100)
    soundfile.write(folder / "three.wav", noise[:3], 44100)
    soundfile.write(folder / "nan.wav", noise * np.nan, 44100, subtype="FLOAT")
    soundfile.write(folder / "silent.wav", noise * 0, 44100)
    soundfile.write(folder / "good.wav", noise, 44100)


def stock_training(folder, corpus, run):
    shutil.copytree(corpus, folder / "corpus")
    shutil.copytree(corpus, folder / "corpus-of-tomorrow")
    manifest = folder / "corpus-of-tomorrow" / "corpus.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 2}), encoding="utf-8")
    shutil.copytree(corpus, folder / "corpus-cut-off")
    os.truncate(folder / "corpus-cut-off" / "audio.f32", 1000)
    for name in ("run", "run-untrained", "run-of-tomorrow", "run-damaged", "run-foreign", "run-mixed-up"):
        shutil.copytree(run, folder / name)
        info = json.loads((folder / name / "run.json").read_text())
        (folder / name / "run.json").write_text(json.dumps({**info, "corpus": "../corpus"}), encoding="utf-8")
    for name in ("best.ckpt", "last.ckpt"):
        (folder / "run-untrained" / name).unlink()
        (folder / "run-damaged" / name).write_bytes((folder / "run" / name).read_bytes()[:1000])
        torch.save({"state_dict": {}}, folder / "run-foreign" / name)
        content = torch.load(folder / "run" / name, weights_only=True)
        content["model"]["output.bias"] = torch.zeros(7)
        torch.save(content, folder / "run-mixed-up" / name)
    info = json.loads((folder / "run" / "run.json").read_text())
    (folder / "run-of-tomorrow" / "run.json").write_text(json.dumps({**info, "format": 2}), encoding="utf-8")
    (folder / "wrong.toml").write_text('base = "chroma-8"\nnetwork.latnts = 3\n', encoding="utf-8")


def stock_models(folder, model):
    shutil.copy(model, folder / "model.onnx")
    (folder / "text.onnx").write_text("this is no model", encoding="utf-8")
    (folder / "zero.onnx").write_bytes(b"")
    (folder / "cut-off.onnx").write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    shutil.copy(model.with_name("small.encoder.onnx"), folder / "foreign.onnx")
    for name, change in (
        ("of-tomorrow.onnx", {"format": 2}),
        ("of-another-graph.onnx", {"kind": "stream", "state": [{"name": "h", "shape": [4]}]}),
        ("of-another-kind.onnx", {"kind": "clip"}),
        ("without-license.onnx", {"license": None}),
    ):
        changed = onnx.load(folder / "model.onnx")
        card = json.loads(changed.metadata_props[0].value)
        card = {key: value for key, value in {**card, **change}.items() if key not in change or value is not None}
        changed.metadata_props[0].value = json.dumps(card)
        onnx.save(changed, folder / name)


def stock_music(folder):
    (folder / "good.mid").write_bytes(midi())
    (folder / "zero.mid").write_bytes(b"")
    (folder / "text.mid").write_text("this is no music", encoding="utf-8")
    (folder / "cut-off.mid").write_bytes(midi()[:-6])
    (folder / "good.toml").write_text(preset(), encoding="utf-8")
    for name, keys in {
        "wrong-key": {"modle": '"x"'},
        "wrong-part": {"play": "{ vioces = 8 }"},
        "wrong-length": {"latent": "{ values = [0.1, 0.2] }"},
        "wrong-cc": {"cc": '[{ number = 200, target = "latent.0", low = 0, high = 1 }]'},
        "wrong-target": {"cc": '[{ number = 74, target = "latent.9", low = 0, high = 1 }]'},
        "wrong-effect": {"effects": '[{ plugin = "Reverbb" }]'},
        "wrong-type": {"play": '{ voices = "many" }'},
        "missing-model": {"model": '"gone.onnx"'},
        "modelless": {"model": ""},
        "of-tomorrow": {"format": "2"},
    }.items():
        (folder / f"{name}.toml").write_text(preset(**keys), encoding="utf-8")
    (folder / "text.toml").write_text("this is no preset", encoding="utf-8")
    (folder / "old.wav").write_bytes(b"an old recording")
    (folder / "old.onnx").write_bytes(b"an old model")


@pytest.fixture(scope="module")
def stocked(small_run, small_model, tone_corpus, tmp_path_factory):
    """A folder full of things that cannot be used, and a few that can."""
    folder = tmp_path_factory.mktemp("pantry")
    stock_sounds(folder)
    stock_training(folder, tone_corpus, small_run)
    stock_models(folder, small_model)
    stock_music(folder)
    return folder


def contents(folder):
    """Every file in a folder and what it holds."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def pantry(stocked, monkeypatch):
    """The folder as working folder; whatever a test does, it must be left as it was."""
    before = contents(stocked)
    monkeypatch.chdir(stocked)
    yield stocked
    after = contents(stocked)
    assert after.keys() == before.keys()
    assert after == before


def one_line(ended, status=2):
    assert ended.status == status, ended
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("timbrel: ")
    assert "internal error" not in lines[0]
    return lines[0]


RENDER = "render model.onnx good.mid -o new.wav"
BAD = {
    # missing files
    "corpus build none.wav -o new": ["none.wav does not exist", "give sound files or folders"],
    "corpus build good.wav none -o new": ["none does not exist"],
    "corpus build good.wav -o new --split none.json": ["none.json does not exist"],
    "corpus soundfont none.sf2 -o new": ["none.sf2"],
    "train tuned-8 --corpus none -o new": ["corpus none does not exist", "timbrel corpus build"],
    "train none.toml --corpus corpus -o new": ["none.toml does not exist"],
    "train tuned-8 --corpus corpus -o none --resume": ["run none does not exist", "timbrel train"],
    "evaluate none": ["run none does not exist"],
    "export none -o new.onnx": ["run none does not exist"],
    "make none -o new": ["none does not exist"],
    "info none.onnx": ["none.onnx does not exist", "timbrel presets"],
    "verify none.onnx": ["none.onnx does not exist"],
    "render none good.mid -o new.wav": ["'none'"],
    "render none.toml good.mid -o new.wav": ["none.toml does not exist"],
    "render none.onnx good.mid -o new.wav": ["none.onnx does not exist"],
    "render model.onnx none.mid -o new.wav": ["none.mid"],
    f"{RENDER} --channel 2=nothing": ["'nothing'"],
    # sounds
    "corpus build empty -o new": ["no sounds in empty", "give files or folders"],
    "corpus build texts -o new": ["no sounds in texts"],
    "corpus build text.wav -o new": ["text.wav", "1 unreadable"],
    "corpus build zero.wav -o new": ["zero.wav", "1 unreadable"],
    "corpus build frameless.wav -o new": ["frameless.wav", "1 too short", "4096 samples"],
    "corpus build three.wav -o new": ["three.wav", "1 too short", "4096 samples"],
    "corpus build nan.wav -o new": ["nan.wav", "1 unreadable"],
    "corpus build silent.wav -o new": ["silent.wav", "1 silent"],
    "corpus build text.wav nan.wav three.wav silent.wav -o new": ["2 unreadable", "1 silent", "1 too short"],
    "make empty -o new": ["no sounds in empty"],
    "make text.wav -o new": ["text.wav", "1 unreadable"],
    "make nan.wav -o new": ["nan.wav", "1 unreadable"],
    "corpus build good.wav -o new --rate 100": ["rate 100 Hz", "8000 to 192000"],
    "corpus build good.wav -o new --split 0.5/0.6/0.1": ["0.5/0.6/0.1", "sum to 1"],
    "corpus build good.wav -o new --group (": ["'('", "regular expression"],
    "corpus soundfont text.wav -o new": ["text.wav"],
    "corpus soundfont text.wav -o new --notes 60-200": ["200"],
    # corpora, recipes and runs
    "train tuned-8 --corpus corpus-of-tomorrow -o new": ["corpus-of-tomorrow", "format 2", "format 1", "again"],
    "train tuned-8 --corpus corpus-cut-off -o new": ["audio.f32 has 1000 bytes", "again"],
    "train tuned-8 --corpus empty -o new": ["empty is no corpus"],
    "train tuned-8 --corpus good.wav -o new": ["good.wav is no corpus"],
    "train tund-8 --corpus corpus -o new": ["'tund-8'", "did you mean 'tuned-8'"],
    "train wrong.toml --corpus corpus -o new": ["'network.latnts'", "did you mean 'latents'"],
    "train text.toml --corpus corpus -o new": ["text.toml", "TOML"],
    "train tuned-8 --corpus corpus -o new --set training.stepps=5": ["'training.stepps'", "did you mean 'steps'"],
    "train tuned-8 --corpus corpus -o new --set training.steps": ["'training.steps'", "key=value"],
    "train tuned-8 --corpus corpus -o new --set training.steps=0": [
        "training.steps",
        "greater than or equal to 1",
        "0",
    ],
    "train tuned-8 --corpus corpus -o new --set network.bottleneck=tanh": ["network.bottleneck", "'tanh'", "'lrelu'"],
    "train tuned-8 --corpus corpus -o new --minutes 0": ["training.minutes", "greater than 0"],
    "train tuned-8 --corpus corpus -o new --set frames.sample_rate=48000": ["44100 Hz", "wants 48000", "--rate 48000"],
    "train tuned-8 --corpus corpus -o new --accelerator abacus": ["--accelerator abacus"],
    "train chroma-8 --corpus corpus -o run --resume": ["run run was trained with another recipe", "run/recipe.toml"],
    "train tuned-8 --corpus corpus -o run-of-tomorrow --resume": ["format 2", "reads 1"],
    "train run-damaged/recipe.toml --corpus corpus -o run-damaged --resume": ["last.ckpt is damaged"],
    "make good.wav -o new --minutes 0": ["training.minutes", "greater than 0"],
    "make good.wav -o new --minutes nan": ["training.minutes"],
    "evaluate run-untrained": ["has no checkpoint", "train it first"],
    "evaluate run-of-tomorrow": ["format 2"],
    "evaluate run-damaged": ["is damaged"],
    "evaluate run-foreign": ["not of format 1"],
    "evaluate run-mixed-up": ["best.ckpt does not fit the recipe beside it"],
    "evaluate empty": ["empty is not a run"],
    "export run-untrained -o new.onnx": ["has no checkpoint", "train it first"],
    "export run-damaged -o new.onnx": ["best.ckpt is damaged"],
    "export run-foreign -o new.onnx": ["not of format 1"],
    "export run-mixed-up -o new.onnx": ["best.ckpt does not fit the recipe beside it"],
    "export empty -o new.onnx": ["empty is not a run"],
    "export run -o new.wav": ["new.wav", "new.onnx"],
    "export run -o new.encoder.onnx": ["new.encoder.onnx", "new.onnx"],
    # models
    "info text.onnx": ["text.onnx cannot be opened as an ONNX model"],
    "info zero.onnx": ["zero.onnx"],
    "info cut-off.onnx": ["cut-off.onnx cannot be opened"],
    "info foreign.onnx": ["foreign.onnx is an ONNX file without a timbrel card", "timbrel export"],
    "info of-tomorrow.onnx": ["card format 2 is newer", "update timbrel"],
    "info of-another-graph.onnx": ["of-another-graph.onnx", "are not the card's"],
    "info without-license.onnx": ["without-license.onnx", "license"],
    "info corpus": ["corpus is a folder"],
    "verify cut-off.onnx": ["cut-off.onnx cannot be opened"],
    "render foreign.onnx good.mid -o new.wav": ["without a timbrel card"],
    "render of-another-kind.onnx good.mid -o new.wav": ["'clip'", "spectrum"],
    # presets
    "render wrong-key.toml good.mid -o new.wav": ["wrong-key.toml", "'modle'", "did you mean 'model'"],
    "render wrong-part.toml good.mid -o new.wav": ["wrong-part.toml", "'play.vioces'", "did you mean 'voices'"],
    "render wrong-length.toml good.mid -o new.wav": ["wrong-length.toml", "2 numbers", "8 latents", "give 8"],
    "render wrong-cc.toml good.mid -o new.wav": ["wrong-cc.toml", "200", "127"],
    "render wrong-target.toml good.mid -o new.wav": ["'latent.9'", "did you mean 'latent."],
    "render wrong-effect.toml good.mid -o new.wav": ["'Reverbb'", "Reverb"],
    "render wrong-type.toml good.mid -o new.wav": ["wrong-type.toml", "play.voices", "'many'"],
    "render missing-model.toml good.mid -o new.wav": ["'gone.onnx'", "does not exist"],
    "render modelless.toml good.mid -o new.wav": ["modelless.toml", "model"],
    "render of-tomorrow.toml good.mid -o new.wav": ["of-tomorrow.toml", "format 2", "update timbrel"],
    "render text.toml good.mid -o new.wav": ["text.toml is not TOML"],
    "render corpus good.mid -o new.wav": ["corpus is a folder"],
    "render good.wav good.mid -o new.wav": ["good.wav"],
    # MIDI files
    "render model.onnx zero.mid -o new.wav": ["zero.mid", "empty"],
    "render model.onnx text.mid -o new.wav": ["text.mid", "not a MIDI file"],
    "render model.onnx cut-off.mid -o new.wav": ["cut-off.mid", "cut off"],
    "render model.onnx corpus -o new.wav": ["corpus", "folder"],
    # outputs
    "corpus build good.wav -o none/new": ["none does not exist", "make it first"],
    "corpus build good.wav -o empty/../corpus": ["corpus exists and is not empty"],
    "corpus build good.wav -o good.wav": ["good.wav", "a file has that name"],
    "train tuned-8 --corpus corpus -o none/new": ["none does not exist"],
    "train tuned-8 --corpus corpus -o corpus": ["corpus exists and is not empty"],
    "train tuned-8 --corpus corpus -o old.wav": ["old.wav", "a file has that name"],
    "export run -o none/new.onnx": ["none does not exist", "make it first"],
    "export run -o old.onnx": ["old.onnx exists", "--overwrite"],
    "make good.wav -o none/new": ["none does not exist"],
    "make good.wav -o corpus": ["corpus exists and is not empty"],
    "make good.wav -o old.wav": ["old.wav", "a file has that name"],
    "render model.onnx good.mid -o none/new.wav": ["none does not exist", "make it first"],
    "render model.onnx good.mid -o old.wav": ["old.wav exists", "--overwrite"],
    "render model.onnx good.mid -o empty": ["empty"],
    "render model.onnx good.mid -o new.mp9": ["new.mp9", ".wav, .flac, .ogg"],
    "render model.onnx good.mid -o new": ["new", "without suffix"],
    f"{RENDER} --rate 22050": ["--rate 22050", "44100, 48000, 96000"],
    f"{RENDER} --channel 17=model.onnx": ["'17=model.onnx'", "1 to 16"],
    f"{RENDER} --channel model.onnx": ["'model.onnx'", "NUMBER=PRESET"],
    # playing live
    "play good.toml --null --block 0": ["--block 0", "[16, 8192]", "128 or 256"],
    "play good.toml --null --block 100000": ["--block 100000", "[16, 8192]"],
    "play good.toml --null --rate 0": ["--rate 0", "[8000, 192000]", "card's own"],
    "play good.toml --null --rate -48000": ["--rate -48000"],
    "play good.toml --null --device system": ["--null and --device system"],
    "play good.toml --null --input default": ["--null has no input, but --input default asks for one; leave one"],
    "play good.toml --null --keys": ["--keys needs a terminal", "MIDI"],
    "play good.toml --null --channel 17=gm-keys": ["--channel '17=gm-keys'", "NUMBER from 1 to 16"],
    "play good.toml --null --channel 2=gm-kays": ["'gm-kays'", "did you mean 'gm-keys'"],
    "play good.toml --null --channel 2=none --channel 2=none": ["--channel '2=none' is the second for channel 2"],
    "play good.toml --input default --channel 2=gm-keys": ["--input goes through one preset", "leave one of them out"],
    "play good.toml --null --controller knobs": ["'knobs'", "did you mean 'eight-knobs'"],
    "play good.toml --null --controller xyz": ["'xyz'", "eight-knobs, launch-control-xl, midi-mix, nanokontrol2"],
    "play good.toml --null --controller none.toml": ["none.toml cannot be read"],
    "play good.toml --null --set none": ["--set none is not a folder"],
    "play good.toml --null --set empty": ["--set empty holds no preset"],
    "play good.toml --null --record old.wav": ["old.wav exists", "--overwrite"],
    "play good.toml --null --record none/new.wav": ["none does not exist", "make it first"],
    "play good.toml --null --record new.mp9": ["--record new.mp9", ".wav, .flac, .ogg"],
    "play good.toml --null --record-midi good.mid": ["good.mid exists", "--overwrite"],
    "play good.toml --null --record-midi none/new.mid": ["none does not exist"],
    "play good.toml --null --record-midi new.wav": ["--record-midi new.wav", ".mid"],
    "play none --null": ["'none'"],
    "play wrong-part.toml --null": ["wrong-part.toml", "'play.vioces'", "did you mean 'voices'"],
    "play of-another-kind.onnx --null": ["'clip'", "spectrum"],
    "play good.toml --null --midi-api abacus": ["--midi-api 'abacus'", "alsa, jack, coremidi, winmm"],
    "learn none": ["'none'"],
    "learn wrong-key.toml": ["wrong-key.toml", "'modle'"],
    "learn good.toml --target latent.9": ["'latent.9'", "did you mean 'latent."],
    "learn good.toml --target volume": ["'volume'", "latent.0"],
    "learn good.toml --midi-api abacus": ["--midi-api 'abacus'", "alsa, jack, coremidi, winmm"],
}


@pytest.mark.parametrize("line", BAD)
def test_what_cannot_be_used_is_refused_in_a_line(pantry, timbrel, line):
    said = one_line(timbrel(*line.split()))
    for words in BAD[line]:
        assert words in said


CARDS = """
import os
default = type("", (), {"device": (-1, -1)})
class PortAudioError(Exception):
    pass
def query_hostapis():
    return [{"name": "ALSA", "default_output_device": 0, "default_input_device": 0}]
def query_devices():
    card = {"name": "Wave 9", "hostapi": 0, "default_samplerate": 48000.0, "max_output_channels": 2}
    card["max_input_channels"] = 0 if os.environ["TROUBLE"] == "no input" else 1
    return [] if os.environ["TROUBLE"] == "no card" else [card]
def check_output_settings(samplerate, **settings):
    if os.environ["TROUBLE"] == "rates" and samplerate not in (44100, 48000):
        raise PortAudioError("Invalid sample rate")
"""
MIXER = """
import sounddevice
def Mixer(**settings):
    raise sounddevice.PortAudioError("Device unavailable")
MixerAndRecorder = Mixer
"""
TROUBLES = {
    "missing": ("", ["needs more packages", "pip install 'timbrel[live]'"]),
    "no library": ("", ["PortAudio library is missing", "apt install libportaudio2", "--null"]),
    "no card": ("", ["no sound card was found", "JACK", "--null"]),
    "no such card": ("--device Wive", ["no sound card is named 'Wive'", "did you mean 'Wave 9'"]),
    "no input": ("--input default", ["--input default: no sound input was found; connect one"]),
    "no such input": ("--input Wive", ["no sound input is named 'Wive'", "did you mean 'Wave 9'"]),
    "busy input": (
        "--input default",
        ["'Wave 9' with input 'Wave 9' (ALSA) cannot be opened", "in use", "same system"],
    ),
    "rates": ("--rate 96000", ["--rate 96000", "'Wave 9'", "44100, 48000 Hz", "leave --rate out"]),
    "busy": ("", ["'Wave 9' cannot be opened: Device unavailable", "in use"]),
    "no mixer": ("", ["rtmixer is not installed", "pip install 'timbrel[live]'"]),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_with_the_sound_card_is_a_line_that_says_what_to_do(pantry, tmp_path, trouble):
    """With stand-ins for the packages that open cards, in all processes of the command."""
    options, words = TROUBLES[trouble]
    broken = {"missing": "raise ImportError", "no library": "raise OSError('PortAudio library not found')"}
    (tmp_path / "sounddevice.py").write_text(broken.get(trouble, CARDS), encoding="utf-8")
    mixer = "raise ModuleNotFoundError('no', name='rtmixer')" if trouble == "no mixer" else MIXER
    (tmp_path / "rtmixer.py").write_text(mixer, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "timbrel", "play", "good.toml", *options.split()],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TROUBLE": trouble},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("timbrel: ")
    for word in words:
        assert word in line


PORTS = """
API_LINUX_ALSA, API_UNIX_JACK, API_MACOSX_CORE, API_WINDOWS_MM = range(4)
class RtMidiError(Exception):
    pass
SystemError = RtMidiError
def get_compiled_api():
    return [API_WINDOWS_MM]
class MidiIn:
    def __init__(self, *arguments, **settings):
        pass
    def ignore_types(self, **types):
        pass
    def get_ports(self):
        return ["Knobs 0"]
    def open_port(self, *arguments, **settings):
        raise RtMidiError("error creating Windows MM MIDI input port")
    def open_virtual_port(self, name):
        raise NotImplementedError
"""


@pytest.mark.parametrize(
    ("ports", "options", "words"),
    [
        (PORTS, "--midi-port knobs", ["'Knobs 0' cannot be opened", "close the program that uses it"]),
        (PORTS, "--midi-port knebs", ["'knebs'", "did you mean 'Knobs 0'"]),
        (PORTS, "--midi-port virtual", ["virtual MIDI port cannot be opened", "name a port instead"]),
        (PORTS, "--midi-api coremidi", ["--midi-api coremidi", "here: winmm"]),
        ("raise ImportError", "--midi-port knobs", ["needs more packages", "pip install 'timbrel[live]'"]),
    ],
    ids=["busy", "misspelt", "virtual", "api", "missing"],
)
@pytest.mark.parametrize("command", ["play good.toml --null", "learn good.toml"])
def test_trouble_with_a_midi_port_is_a_line_that_says_what_to_do(pantry, tmp_path, command, ports, options, words):
    (tmp_path / "rtmidi.py").write_text(ports, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "timbrel", *command.split(), *options.split()],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("timbrel: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    "ports",
    [
        PORTS.replace("**settings):\n        pass", "**settings):\n        raise RtMidiError"),
        PORTS.replace("[API_WINDOWS_MM]", "[]"),
    ],
    ids=["no client", "no system"],
)
def test_learn_without_midi_advises_the_keyboard_by_the_command_that_has_it(pantry, timbrel, monkeypatch, ports):
    module = types.ModuleType("rtmidi")
    exec(ports, module.__dict__)
    monkeypatch.setitem(sys.modules, "rtmidi", module)
    said = one_line(timbrel("learn", "good.toml"))
    assert "start JACK" in said
    assert "'timbrel play PRESET --keys'" in said


def test_a_line_ends_a_process_with_status_2_and_without_a_traceback(pantry):
    """In a process of its own: what no test in this one would see, such as a warning at exit."""
    done = subprocess.run(
        [sys.executable, "-m", "timbrel", "info", "cut-off.onnx"], capture_output=True, text=True, cwd=pantry
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        "corpus build good.wav -o /proc/new",
        "train tuned-8 --corpus corpus -o /proc/new",
        "export run -o /proc/new.onnx",
        "make good.wav -o /proc/new",
        RENDER.replace("new.wav", "/proc/new.wav"),
    ],
)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
def test_a_folder_that_cannot_be_written_is_said_in_a_line(pantry, timbrel, line):
    ended = timbrel(*line.split())
    assert ended.status in (1, 2)
    assert "/proc" in one_line(ended, ended.status)


@pytest.mark.parametrize(
    "line",
    [
        "corpus build good.wav -o new",
        "train tuned-8 --corpus corpus -o new",
        "export run -o new.onnx",
        "make good.wav -o new",
        RENDER,
    ],
)
def test_a_folder_without_the_right_to_write_is_named(pantry, timbrel, monkeypatch, line):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # who tests as root may write anywhere
    assert "no right to write in" in one_line(timbrel(*line.split()))


# ---- a full disk


@contextlib.contextmanager
def full_disk(limit):
    """No file grows beyond ``limit`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        (RENDER, 10_000),
        (RENDER.replace(".wav", ".flac"), 1_000),
        (f"{RENDER} --stems", 10_000),
        ("corpus build good.wav -o new", 10_000),
        ("corpus build good.wav -o new", 100),
        ("export run -o new.onnx", 10_000),
        ("make good.wav -o new", 10_000),
    ],
)
def test_a_full_disk_is_said_in_a_line_and_leaves_nothing(pantry, timbrel, line, limit):
    with full_disk(limit):
        ended = timbrel(*line.split())
    said = one_line(ended, 1)
    assert "cannot write" in said
    assert "too large" in said


def test_training_on_a_full_disk_is_said_in_a_line(pantry, timbrel, small, tmp_path):
    changes = [part for change in small for part in ("--set", change)]
    with full_disk(20_000):
        ended = timbrel("train", "tuned-8", "--corpus", "corpus", "-o", tmp_path / "run", *changes)
    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith(f"timbrel: cannot write {tmp_path / 'run'}")
    assert not list((tmp_path / "run").glob("*.ckpt"))


# ---- odd, but valid


@pytest.mark.parametrize(
    ("name", "content", "warning"),
    [
        ("without-notes.mid", midi(END), "no notes: the output is silence"),
        ("unreleased.mid", midi(b"\x00\x90\x40\x64\x83\x60" + END[1:]), "without a note-off"),
        ("type-2.mid", midi(kind=2, tracks=2), "type 2"),
    ],
)
def test_odd_music_is_rendered_with_a_warning(stocked, timbrel, tmp_path, name, content, warning):
    (tmp_path / name).write_bytes(content)
    ended = timbrel("render", stocked / "good.toml", tmp_path / name, "-o", tmp_path / "new.wav", "--tail", "0.5")
    assert ended.status == 0, ended.err
    assert ended.out == f"{tmp_path / 'new.wav'}\n"
    assert ended.err.startswith("warning: ")
    assert warning in ended.err
    assert soundfile.info(tmp_path / "new.wav").samplerate == 44100


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("without-tempo.mid", midi()),
        ("smpte.mid", midi(division=(256 - 25) << 8 | 40)),
        ("thousands.mid", midi(tracks=3000, kind=1)),
    ],
)
def test_odd_music_without_doubt_is_rendered_without_a_word(stocked, timbrel, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    ended = timbrel("render", stocked / "good.toml", tmp_path / name, "-o", tmp_path / "new.wav", "--tail", "0.5")
    assert (ended.status, ended.err) == (0, "")
    assert np.abs(soundfile.read(tmp_path / "new.wav")[0]).max() > 0.01


def test_a_model_path_may_go_through_a_parent_folder(stocked, timbrel, tmp_path):
    (tmp_path / "deep" / "presets").mkdir(parents=True)
    shutil.copy(stocked / "model.onnx", tmp_path / "deep")
    text = preset(model='"../../deep/model.onnx"')
    (tmp_path / "deep" / "presets" / "mine.toml").write_text(text, encoding="utf-8")
    ended = timbrel(
        *("render", tmp_path / "deep" / "presets" / "mine.toml", stocked / "good.mid", "-o", tmp_path / "new.wav")
    )
    assert (ended.status, ended.err) == (0, "")


def test_another_model_under_the_presets_name_is_warned_of_and_played(stocked, timbrel, tmp_path):
    shutil.copy(stocked / "model.onnx", tmp_path)
    text = preset(model_sha256=f'"{"0" * 64}"')
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    ended = timbrel("render", tmp_path / "mine.toml", stocked / "good.mid", "-o", tmp_path / "new.wav")
    assert ended.status == 0
    assert ended.err.startswith("warning: preset 'mine' was made for another model")
    assert (tmp_path / "new.wav").exists()


def test_overwriting_is_done_when_it_is_asked_for(stocked, timbrel, tmp_path):
    (tmp_path / "old.wav").write_bytes(b"an old recording")
    arguments = ["render", stocked / "good.toml", stocked / "good.mid", "-o", tmp_path / "old.wav"]
    assert timbrel(*arguments).status == 2
    assert (tmp_path / "old.wav").read_bytes() == b"an old recording"
    assert timbrel(*arguments, "--overwrite").status == 0
    assert soundfile.info(tmp_path / "old.wav").duration > 0.4
