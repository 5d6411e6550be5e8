"""`timbrel play --panel` from its address to its sound."""

import contextlib
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from ...patience import PATIENCE_SECONDS, until
from .client import PATIENT, Client

PROGRAM = f"{PATIENT}; from timbrel.__main__ import main; main()"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are killed otherwise there")


class Playing:
    """A command that plays, with its panel's address."""

    def __init__(self, folder, *options, **environs):
        environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "play", "gm-keys", "--null", "--plain", "--panel", *options],
            cwd=folder,
            env=environment | {"OMP_NUM_THREADS": "1"} | environs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        line = next(line for line in self.process.stdout if line.startswith("panel: "))
        address, self.token = line.removeprefix("panel: http://127.0.0.1:").strip().split("/#")
        self.port = int(address)

    def page(self):
        return Client(SimpleNamespace(port=self.port, token=self.token))

    def child(self, panel):
        """The panel's process, which alone listens for pages, or that which sounds."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "resource_tracker" not in " ".join(child.cmdline()) and self._serves(child) == panel:
                    return child
        return None

    def _serves(self, child):
        return any(one.laddr.port == self.port and not one.raddr for one in child.net_connections("tcp"))

    def close(self):
        """End it by Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=PATIENCE_SECONDS)[0]
        assert "Traceback" not in said


@pytest.fixture(scope="module")
def playing(tmp_path_factory):
    # Without MIDI: another's knobs would turn this one's, and its ports stand in the way of another's.
    nowhere = {"JACK_DEFAULT_SERVER": "timbrel_there_is_none", "JACK_NO_START_SERVER": "1"}
    playing = Playing(tmp_path_factory.mktemp("panel"), "--record-midi", "take.mid", **nowhere)
    yield playing
    playing.close()
    assert (playing.folder / "take.mid").stat().st_size > 0


def named(name):
    """Return whether it is a preset of that name, as its file has it."""
    return lambda preset: preset["name"] == name and not preset["dirty"]


def sounding(page):
    """Wait until gm-keys plays, as its file has it; return where targets rest."""
    page.see("controls", bool)
    page.say("load", name="gm-keys")
    page.wait("state", lambda message: "controls" in message["state"])
    page.see("preset", named("gm-keys"))
    page.wait("meters")
    return {control["target"]: control["value"] for control in page.state["controls"]}


def test_a_key_is_held_while_it_is_down_and_sounds(playing):
    with playing.page() as page:
        sounding(page)
        shed = None

        def sounds(meters):
            nonlocal shed
            if meters["shed"] != shed:  # first, or a busy machine has stolen the voice
                shed = meters["shed"]
                page.say("note", key=60, velocity=100)
            # A report is read while the sound goes on: its parts may be of two blocks.
            return (meters["held"], meters["voices"]) == ([60], 1) and max(meters["peaks_db"]) > -60

        page.wait("meters", sounds)
        page.say("note", key=60, velocity=0)
        page.wait("meters", lambda meters: (meters["held"], meters["voices"]) == ([], 0))


def test_a_target_that_is_turned_is_where_the_sound_is_and_an_undo_takes_it_back(playing):
    with playing.page() as page:
        rest = sounding(page)["latent.2"]
        page.say("set", values={"latent.2": 0.125})
        page.wait("meters", lambda meters: abs(meters["code"][2] - 0.125) < 1e-6)
        page.say("undo")
        page.wait("meters", lambda meters: abs(meters["code"][2] - rest) < 1e-6)


def test_an_effect_is_added_turned_saved_with_the_presets_comments_and_gone_with_another_preset(playing):
    with playing.page() as page:
        sounding(page)
        page.say("effect", do="add", plugin="Reverb")
        controls = page.see("controls", lambda controls: any(one["effect"] == 0 for one in controls))
        wet = next(one for one in controls if one["target"] == "effects.0.wet_level")
        assert wet["value"] == pytest.approx(0.33)  # where pedalboard begins
        page.say("set", values={"effects.0.wet_level": 0.5, "latent.1": 0.25})
        page.say("save", name="hall of mine")
        page.see("preset", named("hall of mine"))
        text = (playing.folder / "hall of mine.toml").read_text()
        assert text.startswith("# ")
        fields = tomllib.loads(text)
        assert fields["effects"] == [{"plugin": "Reverb", "wet_level": 0.5}]
        assert fields["latent"]["values"][1] == 0.25
        page.say("presets")
        names = [one["name"] for one in page.wait("presets")["list"]]
        assert names[0] == "hall of mine"
        page.say("load", name="gm-pad")
        page.see("preset", named("gm-pad"))
        page.say("save", name="../gm-pad")
        assert "no name" in page.wait("say", lambda message: message["kind"] == "error")["line"]
        assert [path.name for path in Path(playing.folder).glob("*.toml")] == ["hall of mine.toml"]


def mapped(control):
    return {"target": control["target"], "sources": [entry["source"] for entry in control["maps"]]}


def test_a_knob_that_is_moved_while_a_target_waits_turns_it_from_then_on(jack_rig, tmp_path):
    with jack_rig(60.0) as rig:
        others = rig.midi_inputs()  # of tests before this one
        playing = Playing(tmp_path, "--midi-port", "virtual", "--midi-api", "jack")
        with contextlib.closing(playing), playing.page() as page:
            sounding(page)
            [own] = rig.midi_inputs() - others
            rig.connect(midi=own, audio=())
            page.say("learn", target="latent.5")
            page.see("learn", lambda learn: learn["target"] == "latent.5")

            def turned():  # again and again: a JACK server that is kept waiting drops what is sent
                rig.play([(1000 * step, bytes([0xB0, 21, 8 * step])) for step in range(16)])
                with contextlib.suppress(AssertionError):
                    return page.see("learn", lambda learn: learn["said"], seconds=6)

            until(turned, "a knob that is learned")
            assert page.state["learn"]["said"].startswith("CC 21 moves ")
            sources = {"target": "latent.5", "sources": ["CC 21"]}
            page.see("controls", lambda controls: sources in map(mapped, controls))
            low = next(one["low"] for one in page.state["controls"] if one["target"] == "latent.5")

            def stands(meters):
                rig.play([(0, bytes([0xB0, 21, 0]))])
                return abs(meters["code"][5] - low) < 1e-3

            page.wait("meters", stands)


def test_a_panel_that_is_killed_leaves_no_note_and_comes_back_with_the_sound_going_on(playing):
    with playing.page() as page:
        sounding(page)
        page.say("note", key=72, velocity=100)
        page.wait("meters", lambda meters: meters["held"] == [72])
        sound = playing.child(panel=False)
        playing.child(panel=True).kill()
    with playing.page() as page:
        sounding(page)
        page.wait("meters", lambda meters: meters["held"] == [])
        assert playing.child(panel=False) == sound


def test_a_sound_that_is_killed_comes_back_where_targets_stood_and_the_page_goes_on(playing):
    with playing.page() as page:
        sounding(page)
        page.say("set", values={"latent.3": 0.375})
        page.wait("meters", lambda meters: abs(meters["code"][3] - 0.375) < 1e-6)
        page.wait("meters")
        killed = playing.child(panel=False)
        killed.kill()
        until(lambda: playing.child(panel=False) not in (None, killed), "another process that sounds")

        def holds(meters):
            page.say("note", key=60, velocity=100)  # until the sound is back nobody hears it
            return meters["held"] == [60] and abs(meters["code"][3] - 0.375) < 1e-6  # after a ramp of milliseconds

        page.wait("meters", holds)
