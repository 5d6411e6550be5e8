"""`timbrel devices` and `timbrel learn`, with stand-ins for the packages that open devices."""

import os
import signal
import subprocess
import sys
import tomllib

import pytest
from timbrel.host.audio import sound_card
from timbrel.host.commands.live import devices
from timbrel.host.errors import UserError
from timbrel.host.midi import ports

from .patience import PATIENCE_SECONDS

MIDI = """
import contextlib, os, time
API_LINUX_ALSA, API_UNIX_JACK, API_MACOSX_CORE, API_WINDOWS_MM = range(4)
class RtMidiError(Exception):
    pass
SystemError = RtMidiError
def get_compiled_api():
    return [API_WINDOWS_MM]
class MidiIn:
    def __init__(self, *arguments, **settings):
        os.write(2, b"what a library writes unasked\\n")
        self.knobs, self.began, self.last = [], None, None
    def ignore_types(self, **types):
        pass
    def get_ports(self):
        return os.environ["PORTS"].split(",") if os.environ["PORTS"] else []
    def open_port(self, *arguments, **settings):
        self.knobs = [(int(number), list(range(0, 128, 4))) for number in os.environ["KNOBS"].split()]
    def open_virtual_port(self, name):
        pass
    def get_message(self):
        if not self.knobs or not self.bound(self.last):  # a knob is turned when the one before is bound
            return None
        number, values = self.knobs[0]
        self.began = self.began or time.perf_counter()
        if time.perf_counter() - self.began < values[0] / 640:
            return None
        value = values.pop(0)
        if not values:
            self.knobs.pop(0)
            self.began, self.last = None, number
        return [0xB0, number, value], 0.0
    def bound(self, number):
        if number is None:
            return True
        with contextlib.suppress(FileNotFoundError):
            return f"number = {number}" in open("gm-keys.toml").read()
"""
CARDS = """
import os
default = type("", (), {"device": (-1, 1)})
def query_hostapis():
    default = {"default_input_device": 0}
    return [
        {"name": "MME", "default_output_device": 1, **default},
        {"name": "WASAPI", "default_output_device": 2, **default},
    ]
def query_devices():
    names = [("Mic", 0, 0), ("Speakers", 0, 2), ("Speakers", 1, 2), ("Wave 9", 1, 8)]
    return [
        {
            "name": name,
            "hostapi": api,
            "default_samplerate": 44100.0,
            "max_output_channels": channels,
            "max_input_channels": int(name == "Mic"),
        }
        for name, api, channels in names
    ]
"""


@pytest.fixture
def timbrel_with(tmp_path):
    """A function that starts the command line where ports and knobs are as it says, in a folder of its own."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "rtmidi.py").write_text(MIDI, encoding="utf-8")
    (tmp_path / "packages" / "sounddevice.py").write_text(CARDS, encoding="utf-8")

    def start(*arguments, ports="Knobs,Pads", knobs=""):
        return subprocess.Popen(
            [sys.executable, "-m", "timbrel", *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "packages"), "PORTS": ports, "KNOBS": knobs},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_devices_lists_what_to_type_for_cards_ports_and_controllers(timbrel_with):
    from timbrel.host.preset.library import shipped_controllers
    from timbrel.host.voice_library import voice_description

    process = timbrel_with("devices")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [
        'sound card  --device "Speakers (MME)"  MME, 44100 Hz, 2 channels  (default)',
        'sound card  --device "Speakers (WASAPI)"  WASAPI, 44100 Hz, 2 channels',
        'sound card  --device "Wave 9"  WASAPI, 44100 Hz, 8 channels',
        'sound input --input "Mic"  MME, 44100 Hz, 1 channels  (default)',
        'MIDI port   --midi-port "Knobs"',
        'MIDI port   --midi-port "Pads"',
        *(line for line in out.splitlines() if line.startswith("controller  --controller ")),
        f"voice       {voice_description()}",
    ]
    assert all(f"--controller {name} " in out for name in shipped_controllers())


def test_devices_says_what_is_missing_and_what_to_do_without_it(timbrel_with):
    out, _ = timbrel_with("devices", ports="").communicate()
    assert "no MIDI port was found; connect a controller, or 'timbrel play electric-piano --keys'\n" in out


def test_devices_says_once_that_packages_are_missing(monkeypatch, capsys):
    def refuse():
        raise UserError("playing live needs more packages; install them")

    monkeypatch.setattr(sound_card, "cards", refuse)
    monkeypatch.setattr(ports, "port_names", refuse)
    devices()
    assert capsys.readouterr().out.count("playing live needs more packages; install them\n") == 1


def test_learn_binds_the_knob_that_moves_to_the_target(timbrel_with, tmp_path):
    process = timbrel_with("learn", "gm-keys", "--target", "gain", ports="Knobs", knobs="21")
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [
        "listening to Knobs",
        "gain: move the knob for it",
        "CC 21 moves gain (gm-keys.toml)",
    ]
    [entry] = [cc for cc in tomllib.loads((tmp_path / "gm-keys.toml").read_text())["cc"] if cc["target"] == "gain"]
    assert entry["number"] == 21


def test_ctrl_c_ends_learning_and_what_was_bound_stays_bound(timbrel_with, tmp_path):
    process = timbrel_with("learn", "gm-keys", knobs="21 22")
    lines = [process.stdout.readline() for _ in range(6)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (0, "", "")
    assert lines[-2:] == ["CC 22 moves latent.1 (gm-keys.toml)\n", "latent.2 (noise): move the knob for it\n"]
    maps = {entry["target"]: entry["number"] for entry in tomllib.loads((tmp_path / "gm-keys.toml").read_text())["cc"]}
    assert [maps["latent.0"], maps["latent.1"], maps["latent.2"]] == [21, 22, 72]


def test_ctrl_c_before_any_knob_moved_leaves_no_file(timbrel_with, tmp_path):
    process = timbrel_with("learn", "gm-keys", ports="")
    assert process.stdout.readline() == "no controller is here yet; connect one\n"
    assert process.stdout.readline() == "latent.0 (brightness): move the knob for it\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, "timbrel: stopped\n")
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]
