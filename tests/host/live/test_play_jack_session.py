"""`timbrel play --panel` over JACK: pages change its settings and record while it plays."""

import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from timbrel.host.events import NoteOn
from timbrel.host.midi.files import read_performance

from ...patience import until
from ..panel.client import Client
from .jack_play import off, on, play, realtime

pytestmark = pytest.mark.usefixtures("portaudio", "jack_server")


@pytest.fixture
def page(preset, tmp_path, monkeypatch):
    """A page of the panel that plays."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with play(preset, "--panel") as played:
        until(lambda: any("panel: " in line for line in played.lines), "the panel's address")
        address = re.search(r":(\d+)/#(\S+)", next(line for line in played.lines if "panel: " in line))
        with Client(SimpleNamespace(port=int(address[1]), token=address[2])) as found:
            found.see("sound", lambda sound: sound["rate"])
            found.see("session", bool)
            yield found
        assert played.end(signal.SIGINT) < 1.0


def loudness(jack_rig):
    """The peak of a note played by MIDI, as the card gets it."""
    with jack_rig(10) as rig:
        rig.connect()
        start = rig.play([on(0, 60), off(9600, 60)])
        rig.wait(start + 24_000)
        return np.abs(rig.sound[:, start : start + 24_000]).max()


@realtime
def test_another_block_plays_on_with_unsaved_knobs_and_a_card_that_is_not_there_leaves_what_plays(page, jack_rig):
    page.say("devices")
    cards = page.wait("devices")["cards"]
    assert page.state["sound"]["device"] in cards
    page.say("set", values={"latent.0": 0.25})
    page.see("preset", lambda preset: preset["dirty"])
    page.say("settings", block=256, lowest_latency=True)
    page.see("sound", lambda sound: sound["block"] == 256)
    page.see("session", lambda session: session["lowest_latency"] and not session["restarting"])
    assert loudness(jack_rig) > 0.01
    page.wait("meters", lambda meters: abs(meters["code"][0] - 0.25) < 1e-6)
    page.say("settings", device="a card that is not there")
    told = page.wait("say", lambda message: "the settings before play on" in message["line"])
    line, kind = told["line"], told["kind"]
    assert kind == "warning"
    assert "no sound card is named 'a card that is not there'" in line
    page.see("session", lambda session: not session["restarting"])
    assert loudness(jack_rig) > 0.01
    page.wait("meters", lambda meters: abs(meters["code"][0] - 0.25) < 1e-6)
    assert page.state["preset"]["dirty"]


@realtime
def test_a_channel_alone_and_no_port_are_what_is_heard(page, jack_rig):
    page.say("settings", channel=1)  # the second, and notes are on the first
    page.see("session", lambda session: session["channel"] == 1 and not session["restarting"])
    assert loudness(jack_rig) == 0
    page.say("settings", channel=None)
    page.see("session", lambda session: session["channel"] is None and not session["restarting"])
    assert loudness(jack_rig) > 0.01
    page.say("settings", ports=None)
    page.see("session", lambda session: session["ports"] is None and not session["restarting"])
    page.see("sound", lambda sound: sound["ports"] == [])


@realtime
def test_a_recording_holds_what_was_played_by_midi_between_record_and_stop(page, jack_rig, tmp_path):
    loudness(jack_rig)
    page.say("record", on=True)
    page.see("session", lambda session: session["recording"] == "on")
    heard = loudness(jack_rig)
    page.say("record", on=False)
    files = page.see("session", lambda session: session["files"])["files"]
    sound, midi = (tmp_path / "timbrel" / "recordings" / name for name in files)
    assert np.abs(soundfile.read(sound)[0]).max() == pytest.approx(heard, rel=1e-3)
    assert [event.key for event in read_performance(midi, 48000).events if isinstance(event, NoteOn)] == [60]
