"""MIDI ports that another program keeps for itself, or whose sender leaves, without a server of MIDI."""

import os
from types import SimpleNamespace

import pytest
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.midi import ports, sequencer
from timbrel.host.midi.ports import Inputs


class Busy:
    """Stands for RtMidi where another program keeps a port for itself."""

    API_LINUX_ALSA, API_UNIX_JACK, API_MACOSX_CORE, API_WINDOWS_MM = 1, 2, 3, 4

    class RtMidiError(Exception):
        """What RtMidi raises."""

    SystemError = RtMidiError

    def __init__(self):
        self.listed, self.taken, self.closed = ["Keys"], True, 0

    def get_compiled_api(self):
        return [self.API_MACOSX_CORE]

    def MidiIn(self, api, name, queue_size_limit):
        client = SimpleNamespace(ignore_types=lambda **kinds: None, get_message=lambda: None, ended_connections=0)
        client.get_ports = lambda: list(self.listed)
        client.open_virtual_port = lambda name: None
        client.open_port = self.open
        client.close_port = self.close
        return client

    def open(self, index, name):
        if self.taken:
            raise self.RtMidiError("busy")

    def close(self):
        self.closed += 1


@pytest.fixture
def busy(monkeypatch):
    driver = Busy()
    monkeypatch.setattr(ports, "_load", lambda: driver)
    return driver


REFUSED = "MIDI port 'Keys' cannot be opened (busy); close the program that uses it"


def test_a_port_that_another_program_keeps_is_told_once(busy):
    inputs = Inputs()
    assert inputs.rescan() == [REFUSED]
    assert inputs.rescan() == []


def test_a_refused_port_that_went_and_came_back_is_told_again(busy):
    inputs = Inputs()
    assert inputs.rescan() == [REFUSED]
    busy.listed.clear()
    assert inputs.rescan() == []
    busy.listed.append("Keys")
    assert inputs.rescan() == []
    assert inputs.rescan() == [REFUSED]


def test_a_port_that_is_listed_once_more_as_its_program_exits_is_not_told(busy):
    """JACK lists it for a moment longer, and refuses to connect it."""
    busy.taken = False
    inputs = Inputs(["Keys"])
    wires = {"Keys"}
    inputs._senders = lambda port: wires
    assert inputs.rescan() == []
    wires.clear()
    busy.taken = True
    assert inputs.rescan() == ["MIDI port 'Keys' has gone; its notes are released"]
    busy.listed.clear()
    assert inputs.rescan() == []


def test_a_port_that_comes_back_at_once_and_is_refused_is_told_each_time(busy):
    """Between two looks it went and came back: it is listed, and no longer connected."""
    busy.taken = False
    inputs = Inputs(["Keys"])
    wires = {"Keys"}
    inputs._senders = lambda port: wires
    for _ in range(2):
        wires.add("Keys")
        assert inputs.rescan() == []
        wires.clear()
        busy.taken = True
        assert inputs.rescan() == ["MIDI port 'Keys' has gone; its notes are released"]
        assert inputs.rescan() == [REFUSED]
        busy.taken = False
        inputs.poll()
        assert inputs.rescan() == ["MIDI port 'Keys' is here"]


LISTING = f"""\
Client info
  cur  clients : 4
  peak clients : 4
  max  clients : 192

Client   0 : "System" [Kernel Legacy]
  Port   0 : "Timer" (Rwe-) [In/Out]
  Port   1 : "Announce" (R-e-) [Out]
    Connecting To: 129:0
Client  24 : "Keys [A]" [Kernel Legacy]
  Port   0 : "Keys MIDI 1" (RWeX) [In/Out]
    Connecting To: 129:0[r:0], 131:0, 132:0
  Output pool :
    Pool size          : 500
Client 128 : "timbrel-midi-list" [User Legacy]
Client 129 : "timbrel-midi-in" [User Legacy]
  Port   0 : "in" (-We-) [In]
    Connected From: 24:0
Client 130 : "timbrel-midi-in" [User Legacy]
  Port   0 : "timbrel-midi-{os.getpid()}" (-We-) [In]
    Connected From: 20:1, %s[r:0]
Client 131 : "timbrel-midi-in" [User Legacy]
  Port   0 : "timbrel-midi-{os.getppid()}" (-We-) [In]
    Connected From: 24:0
Client 132 : "Ardour" [User Legacy]
  Port   0 : "in" (-We-) [In]
    Connected From: 24:0
"""


def test_a_port_of_alsa_that_comes_back_between_two_looks_is_connected_again(busy, monkeypatch, tmp_path):
    """Its name and its address are the old ones, and another timbrel is connected to it."""
    listing = tmp_path / "clients"
    monkeypatch.setattr(sequencer, "LISTING", listing)
    monkeypatch.setattr(ports, "SEQUENCER", tmp_path)
    monkeypatch.setattr(busy, "get_compiled_api", lambda: [busy.API_LINUX_ALSA])
    busy.taken, busy.listed = False, ["Keys [A]:Keys MIDI 1 24:0"]
    inputs = Inputs()
    (first,) = (port for port in inputs._ports if port.name != ports.VIRTUAL)
    assert inputs.rescan() == []  # the system does not say
    others = LISTING.replace(f"timbrel-midi-{os.getpid()}", "another") % "24:1"
    for text in (LISTING % "124:0", LISTING % "24:0", "Client info\n", others):
        listing.write_text(text)
        assert inputs.rescan() == []
    listing.write_text(LISTING % "124:0")
    name = repr(busy.listed[0])
    assert inputs.rescan() == [f"MIDI port {name} has gone; its notes are released", f"MIDI port {name} is here"]
    assert inputs.open == [ports.VIRTUAL, *busy.listed]
    assert first not in inputs._ports
    listing.write_text(LISTING % "24:0")
    assert inputs.rescan() == []


def test_what_has_gone_is_closed_once_the_thread_that_plays_has_released_its_notes(busy):
    """The one that plays has no time to close it."""
    busy.taken = False
    inputs = Inputs(["Keys"])
    (port,) = inputs._ports
    busy.listed.clear()
    inputs.rescan()
    inputs.rescan()
    assert busy.closed == 0
    inputs.poll()
    assert busy.closed == 0
    inputs.rescan()
    assert busy.closed == 1
    busy.listed.append("Keys")
    inputs.rescan()
    assert inputs._ports[0].source is port.source


def test_a_note_that_a_sender_sent_before_it_left_is_heard_and_then_released(busy):
    """It was connected by hand to an input that stays."""
    busy.taken = False
    inputs = Inputs(["Keys"])
    wires, sent = {"Keys", "another"}, [([0x90, 64, 100], 0.0)]
    inputs._senders = lambda port: wires
    inputs.rescan()
    inputs._ports[0].source.get_message = lambda: sent.pop() if sent else None
    wires.remove("another")
    assert inputs.rescan() == ["MIDI port 'another' has gone; its notes are released"]
    assert [timed.event for timed in inputs.poll()] == [NoteOn(0, 0, 64, 100), NoteOff(0, 0, 64)]


def test_a_sender_that_left_an_input_that_stays_is_no_guest_while_its_connection_lingers(busy):
    """A busy JACK server disconnects late."""
    busy.taken = False
    inputs = Inputs(["Keys"])
    wires, cut = {"Keys"}, []
    inputs._wires = SimpleNamespace(
        into=lambda place: frozenset(wires), disconnect=lambda sender, place: cut.append(sender)
    )
    assert inputs.rescan() == []
    busy.listed.clear()
    assert inputs.rescan() == ["MIDI port 'Keys' has gone; its notes are released"]
    assert cut == ["Keys"]
    assert (inputs.open, inputs.rescan()) == ([], [])
    wires.clear()
    assert (inputs.open, inputs.rescan()) == ([], [])
    wires.add("Keys")  # by hand
    assert (inputs.rescan(), inputs.open) == ([], ["Keys"])
