"""MIDI ports that another program keeps for itself, or whose sender leaves, without a server of MIDI."""

from types import SimpleNamespace

import pytest
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.midi import ports
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
        client = SimpleNamespace(ignore_types=lambda **kinds: None, get_message=lambda: None)
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
