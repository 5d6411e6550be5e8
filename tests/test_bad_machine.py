"""Sound cards, MIDI ports, folders and disks that fail are told of in one line that says what to do."""

import contextlib
import os
import resource
import sys
import types
from pathlib import Path

import pytest
from timbrel.host.audio import sound_card

from .pantry import RENDER, begin_quickly, one_line

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
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


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """A function that puts a module's source in the place of a package, in all processes of a command."""
    begin_quickly(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sound_card, "_portaudio", sound_card._portaudio.__wrapped__)

    def put(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
            monkeypatch.setitem(sys.modules, name, None)  # what is there now comes back
            del sys.modules[name]

    return put


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_with_the_sound_card_is_a_line_that_says_what_to_do(pantry, timbrel, stand_ins, monkeypatch, trouble):
    options, words = TROUBLES[trouble]
    broken = {"missing": "raise ImportError", "no library": "raise OSError('PortAudio library not found')"}
    mixer = "raise ModuleNotFoundError('no', name='rtmixer')" if trouble == "no mixer" else MIXER
    stand_ins(sounddevice=broken.get(trouble, CARDS), rtmixer=mixer)
    monkeypatch.setenv("TROUBLE", trouble)
    said = one_line(timbrel("play", "good.toml", *options.split()))
    for word in words:
        assert word in said


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
def test_trouble_with_a_midi_port_is_a_line_that_says_what_to_do(
    pantry, timbrel, stand_ins, command, ports, options, words
):
    stand_ins(rtmidi=ports)
    said = one_line(timbrel(*command.split(), *options.split()))
    for word in words:
        assert word in said


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


@pytest.mark.parametrize(
    "line",
    [
        "corpus build good.wav -o /proc/new",
        "train tuned-8 --corpus corpus -o /proc/new",
        "export run -o /proc/new.onnx",
        RENDER.replace("new.wav", "/proc/new.wav"),
    ],
)
@NEEDS_PROC
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
        ("pack gm-keys -o new.timbrel", 2_000),
    ],
)
def test_a_full_disk_is_said_in_a_line_and_leaves_nothing(pantry, timbrel, line, limit):
    with full_disk(limit):
        ended = timbrel(*line.split())
    said = one_line(ended, 1)
    assert "new" in said.split(":")[1]
    assert "too large" in said


@pytest.mark.parametrize("output", ["new", pytest.param("/proc/new", marks=NEEDS_PROC)])
def test_make_says_its_sounds_and_then_in_a_line_that_it_cannot_write(pantry, timbrel, output):
    with full_disk(10_000):
        ended = timbrel("make", "good.wav", "other.wav", "-o", output)
    sounds, stage, said = ended.err.splitlines()
    assert (sounds, stage) == ("2 sounds, 2.0 s, 44100 Hz", "reading sounds")
    assert said.startswith("timbrel: cannot ")
    assert output in said
    assert ended.status in (1, 2)


def test_training_on_a_full_disk_is_said_in_a_line(pantry, timbrel, small, tmp_path):
    changes = [part for change in small for part in ("--set", change)]
    with full_disk(20_000):
        ended = timbrel("train", "tuned-8", "--corpus", "corpus", "-o", tmp_path / "run", *changes)
    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith(f"timbrel: cannot write {tmp_path / 'run'}")
    assert not list((tmp_path / "run").glob("*.ckpt"))
