"""MIDI inputs over JACK: named by any part, several at once, found again, and let go when they vanish."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import ChannelPressure, ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.midi import jack_input, ports
from timbrel.host.midi.decode import MidiDecoder
from timbrel.host.midi.ports import Inputs, port_names

from ...patience import PATIENCE_SECONDS, until
from ..jack_server import Process

jack = pytest.importorskip(
    "jack", reason="JACK-Client is not installed, or finds no libjack", exc_type=(ImportError, OSError)
)


LOST_SECONDS = 10.0  # what has not come then was dropped: it is sent again


@pytest.fixture(autouse=True)
def rtmidi(jack_server, monkeypatch):
    """The library; all that a test opens is closed behind it, for others look for ports of that name."""
    library, opened, opens = pytest.importorskip("rtmidi"), [], ports._client

    def kept(*asked):
        opened.append(opens(*asked))
        return opened[-1]

    monkeypatch.setattr(ports, "_client", kept)
    yield library
    for client in opened:
        client.delete()


def client_of(name):
    """A JACK client; a server that is kept busy may not answer the first time."""

    def opened():
        with contextlib.suppress(jack.JackOpenError):
            return jack.Client(name, no_start_server=True)

    return until(opened, "a client of the JACK server")


def left(client):
    """Leave the server; one that hangs, as a server may that was kept waiting, fails a test and not all of them."""
    leaving = threading.Thread(target=client.close, daemon=True)
    leaving.start()
    leaving.join(PATIENCE_SECONDS)
    assert not leaving.is_alive(), "the JACK server does not let its client go"


@contextlib.contextmanager
def controller(name):
    """A JACK client with one MIDI output, and a function that sends bytes from it."""
    client = client_of(name)
    port, waiting = client.midi_outports.register("out"), []

    def process(frames):
        port.clear_buffer()
        while waiting:
            port.write_midi_event(0, waiting.pop(0))

    calls = Process(client, process)
    client.activate()
    try:
        yield waiting.append
    finally:
        calls.end()
        left(client)


class Hands:
    """A JACK client that connects and disconnects ports, as people do in a patch bay."""

    def __enter__(self):
        self._client = client_of("hands")
        self._client.activate()  # what idle clients connect is connected to nothing
        return self

    def __exit__(self, *error):
        left(self._client)

    def connect(self, sender, to):
        self._client.connect(sender, to)

    def disconnect(self, sender, to):
        self._client.disconnect(sender, to)


def look(inputs):
    """What is said by the first look that finds something new: on a busy machine JACK connects late."""
    return until(inputs.rescan, "something new")


def settle(inputs):
    """Wait until each port that is listened to is connected, and look at that."""
    for port in inputs._ports:
        if port.name not in (None, "virtual"):
            until(lambda port=port: port.name in inputs._wires.into(port.place), f"a connection from {port.name}")
    assert inputs.rescan() == []


def heard(inputs, count):
    """The first events that come in."""
    arrived = []
    until(lambda: arrived.extend(inputs.poll()) or len(arrived) >= count, f"{count} events")
    return [timed.event for timed in arrived]


def comes(inputs, *sent):
    """The events that come of messages, each as often as it is sent again: JACK drops some, and knows late who hears.

    ``sent`` are functions that send, with bytes. No event comes that is not of these.
    """
    events = []
    for send, data in sent:
        decoded, found = MidiDecoder().feed(data, 0), []
        while not set(decoded) <= set(found):
            send(data)
            found += first(inputs, lambda found, wanted=decoded: set(wanted) <= set(found))
        events += decoded
        assert set(found) <= set(events)
    return events


def comes_once(inputs, send):
    """Return whether each of a few different messages comes once, if JACK does not drop it.

    A late client may read one cycle twice, so the second of two tries counts, too.
    """
    return any(_come_once(inputs, send) for _ in range(2))


def _come_once(inputs, send):
    values = []
    for value in range(128):
        send(bytes([0xB0, 20, value]))
        values += [event.value for event in first(inputs, len)]
        if len(values) > 3:  # what comes twice comes in one cycle of the server
            return values == sorted(set(values))
    raise AssertionError("JACK drops all that is sent")


def first(inputs, enough):
    """What comes until it is enough, or is taken to be lost."""
    found, end = [], time.monotonic() + LOST_SECONDS
    while not enough(found) and time.monotonic() < end:
        found += [timed.event for timed in inputs.poll()]
        time.sleep(0.002)
    return found


def test_a_port_is_named_by_any_part_of_its_name_and_no_other_is_heard():
    with controller("Keystation 49") as keys, controller("nanoKONTROL2") as knobs:
        assert {"Keystation 49:out", "nanoKONTROL2:out"} <= set(port_names("jack"))
        inputs = Inputs(["STATION"], "jack")
        assert inputs.open == ["Keystation 49:out"]
        for value in range(100):
            knobs(bytes([0xB0, 16, value]))
        assert comes(inputs, (keys, b"\x90\x3c\x64")) == [NoteOn(0, 0, 60, 100)]


def test_several_ports_are_heard_at_once_and_all_of_them_where_none_is_named():
    with controller("Keystation 49") as keys, controller("nanoKONTROL2") as knobs:
        for names in ([], ["keystation", "nano"]):
            inputs = Inputs(names, "jack")
            assert {"Keystation 49:out", "nanoKONTROL2:out"} <= set(inputs.open)
            assert ("virtual" in inputs.open) == (not names)
            assert comes(inputs, (keys, b"\x90\x3c\x64"), (knobs, b"\xb0\x10\x05"))
            del inputs


def test_an_unknown_name_lists_the_nearest():
    with (
        controller("Keystation 49"),
        pytest.raises(UserError, match=r"^no MIDI port is named 'Keystatoin 49:out'.*Key"),
    ):
        Inputs(["Keystatoin 49:out"], "jack")


def test_an_api_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"^--midi-api 'oss' is not one of alsa, jack, coremidi, winmm"):
        Inputs([], "oss")
    with pytest.raises(UserError, match=r"^--midi-api winmm does not work on this machine; here: .*jack"):
        Inputs([], "winmm")


@pytest.mark.parametrize("names", [[], ["Keystation"]], ids=["all", "named"])
def test_a_controller_that_goes_is_let_go_and_when_it_comes_back_it_is_heard_again(names):
    with controller("Keystation 49") as keys:
        inputs = Inputs(names, "jack")
        assert comes(inputs, (keys, b"\x90\x3c\x64\x92\x40\x64"), (keys, b"\x90\x43\x64"), (keys, b"\x80\x43\x00")) == [
            NoteOn(0, 0, 60, 100),
            NoteOn(0, 2, 64, 100),
            NoteOn(0, 0, 67, 100),
            NoteOff(0, 0, 67),
        ]
    assert "MIDI port 'Keystation 49:out' has gone; its notes are released" in look(inputs)
    assert "Keystation 49:out" not in inputs.open
    assert heard(inputs, 2) == [NoteOff(0, 0, 60), NoteOff(0, 2, 64)]
    assert inputs.rescan() == []
    with controller("Keystation 49") as keys:
        assert "MIDI port 'Keystation 49:out' is here" in look(inputs)
        assert comes(inputs, (keys, b"\x90\x30\x01")) == [NoteOn(0, 0, 48, 1)]
        assert inputs.rescan() == []


def test_a_port_that_vanishes_and_returns_between_two_looks_is_let_go_and_heard_again():
    with controller("Keystation 49") as keys:
        inputs = Inputs([], "jack")
        settle(inputs)
        assert len(comes(inputs, (keys, b"\x90\x3c\x64"))) == 1
    with controller("Keystation 49") as keys:
        assert inputs.rescan() == [
            "MIDI port 'Keystation 49:out' has gone; its notes are released",
            "MIDI port 'Keystation 49:out' is here",
        ]
        settle(inputs)
        assert heard(inputs, 1) == [NoteOff(0, 0, 60)]
        assert comes(inputs, (keys, b"\x90\x30\x01")) == [NoteOn(0, 0, 48, 1)]
        assert inputs.rescan() == []


@pytest.mark.parametrize("to", [0, 1], ids=["virtual", "another's"])
def test_a_sender_that_is_connected_by_hand_as_well_is_heard_once_and_its_keys_stay_down(to):
    with controller("First"), Hands() as patchbay:
        inputs = Inputs([], "jack")  # the virtual port, and that of the first
        with controller("Keystation 49") as keys:
            assert look(inputs) == ["MIDI port 'Keystation 49:out' is here"]
            settle(inputs)
            assert comes(inputs, (keys, b"\x90\x3c\x64")) == [NoteOn(0, 0, 60, 100)]
            patchbay.connect("Keystation 49:out", inputs._ports[to].place)
            line = "MIDI port 'Keystation 49:out' is connected by hand as well; it is heard there alone"
            assert look(inputs) == [line]
            assert inputs.rescan() == []
            assert "Keystation 49:out" in inputs.open
            assert comes_once(inputs, keys)
            assert comes(inputs, (keys, b"\x90\x40\x64")) == [NoteOn(0, 0, 64, 100)]
        assert look(inputs) == ["MIDI port 'Keystation 49:out' has gone; its notes are released"]
        assert heard(inputs, 2) == [NoteOff(0, 0, 60), NoteOff(0, 0, 64)]
        assert "Keystation 49:out" not in inputs.open


def test_a_sender_that_is_disconnected_by_hand_is_heard_by_itself_again():
    with controller("Keystation 49") as keys, Hands() as patchbay:
        inputs = Inputs([], "jack")
        settle(inputs)
        virtual = inputs._ports[0].place
        patchbay.connect("Keystation 49:out", virtual)
        assert "by hand" in look(inputs)[0]
        patchbay.disconnect("Keystation 49:out", virtual)
        assert look(inputs)[-1] == "MIDI port 'Keystation 49:out' is here"
        settle(inputs)
        assert comes_once(inputs, keys)


def test_a_controller_that_goes_leaves_no_pedal_down_and_nothing_bent_but_what_another_one_holds():
    with controller("Other") as other:
        inputs = Inputs([], "jack")
        with controller("Keystation 49") as keys:
            inputs.rescan()
            played = [b"\x90\x3c\x64\x91\x3e\x64", b"\xb0\x40\x7f\x42\x7f\xb1\x40\x7f\x07\x20", b"\xe0\x00\x7f\xd1\x30"]
            assert comes(inputs, *((keys, data) for data in played), (other, b"\x91\x3e\x64\xb1\x40\x7f"))
        assert "MIDI port 'Keystation 49:out' has gone; its notes are released" in look(inputs)
        assert heard(inputs, 5) == [
            NoteOff(0, 0, 60),
            ControlChange(0, 0, 64, 0),
            ControlChange(0, 0, 66, 0),
            PitchBend(0, 0, 0),
            ChannelPressure(0, 1, 0),
        ]
    inputs.rescan()
    assert heard(inputs, 2) == [NoteOff(0, 1, 62), ControlChange(0, 1, 64, 0)]


def test_a_controller_that_comes_later_is_found():
    inputs = Inputs([], "jack")
    with controller("Late") as late:
        until(lambda: inputs.rescan() == ["MIDI port 'Late:out' is here"], "the controller")
        assert comes(inputs, (late, b"\x90\x30\x01")) == [NoteOn(0, 0, 48, 1)]


def test_an_input_stays_registered_when_its_sender_goes_and_serves_the_next_once_its_notes_are_released():
    """JACK crashes a process that unregisters a port while the graph changes, and has no room for endless inputs."""
    with controller("Keystation 49"):
        inputs = Inputs(["Keystation"], "jack")
        (port,) = inputs._ports
    inputs.rescan()
    with controller("Keystation 37"):
        until(lambda: inputs.rescan() == ["MIDI port 'Keystation 37:out' is here"], "the controller")
        assert port.name is None  # its sender's notes are not released yet
        assert len(inputs._ports) == 2
    inputs.poll()
    until(lambda: not inputs.rescan() and inputs.open == [], "its end")
    inputs.poll()
    assert {port.place for port in inputs._ports} <= inputs._wires.ports()
    for _ in range(3):
        with controller("Keystation 61") as keys:
            until(lambda: inputs.rescan() == ["MIDI port 'Keystation 61:out' is here"], "the controller")
            assert comes(inputs, (keys, b"\x90\x30\x01")) == [NoteOn(0, 0, 48, 1)]
        until(lambda: not inputs.rescan() and inputs.open == [], "its end")
        assert heard(inputs, 1) == [NoteOff(0, 0, 48)]
    assert len(inputs._ports) == 2


def test_a_sender_that_is_connected_by_hand_to_an_input_without_sender_is_heard():
    with Hands() as patchbay:
        with controller("Keystation 49"):
            inputs = Inputs(["Keystation"], "jack")
            settle(inputs)
        until(inputs.rescan, "its end")
        inputs.poll()
        with controller("Other") as other:
            patchbay.connect("Other:out", inputs._ports[0].place)
            until(lambda: not inputs.rescan() and inputs.open == ["Other:out"], "the connection")
            assert comes(inputs, (other, b"\x90\x30\x01")) == [NoteOn(0, 0, 48, 1)]
        assert look(inputs) == ["MIDI port 'Other:out' has gone; its notes are released"]
        assert heard(inputs, 1) == [NoteOff(0, 0, 48)]


@pytest.mark.skipif(jack_input._load_core() is None, reason="the queue is not compiled")
def test_a_sender_that_a_patchbay_connects_again_between_two_looks_holds_no_notes():
    with Hands() as patchbay:
        with controller("Keystation 49") as keys:
            inputs = Inputs(["virtual"], "jack")
            virtual = inputs._ports[0]
            patchbay.connect("Keystation 49:out", virtual.place)
            until(lambda: not inputs.rescan() and inputs.open[1:] == ["Keystation 49:out"], "the connection")
            assert comes(inputs, (keys, b"\x90\x3c\x64")) == [NoteOn(0, 0, 60, 100)]
        with controller("Keystation 49") as keys:
            patchbay.connect("Keystation 49:out", virtual.place)
            until(lambda: "Keystation 49:out" in inputs._wires.into(virtual.place), "the connection")
            assert look(inputs) == ["MIDI port 'Keystation 49:out' was away; its notes are released"]
            assert heard(inputs, 1) == [NoteOff(0, 0, 60)]
            assert inputs.rescan() == []
            assert comes(inputs, (keys, b"\x90\x30\x01")) == [NoteOn(0, 0, 48, 1)]
            assert inputs.rescan() == []


def test_a_connection_that_exists_may_be_asked_for_again_and_one_that_cannot_be_is_refused_in_a_line():
    with controller("Keystation 49"):
        inputs = Inputs(["Keystation"], "jack")
        settle(inputs)
        place = inputs._ports[0].place
        inputs._wires.connect("Keystation 49:out", place)
        assert inputs._wires.into(place) == {"Keystation 49:out"}
        with pytest.raises(UserError, match=r"^JACK does not connect it: .*Nobody:out"):
            inputs._wires.connect("Nobody:out", place)


def test_one_client_has_all_inputs_and_each_hears_its_own_sender():
    with controller("Left hand") as left_hand, controller("Right hand") as right_hand:
        inputs = Inputs([], "jack")
        comes(inputs, (left_hand, b"\xb0\x14\x01"), (right_hand, b"\xb0\x15\x02"))
        assert inputs._wires.ports() == {f"timbrel-midi-in:{name}" for name in ("in", "in-2", "in-3")}
        senders = [inputs._wires.into(port.place) for port in inputs._ports]
        assert sorted(senders, key=len) == [set(), {"Left hand:out"}, {"Right hand:out"}]


class Queue:
    """RtMidi's, with messages and their seconds since the one before."""

    def __init__(self):
        self.messages = []

    def get_message(self):
        return self.messages.pop(0) if self.messages else None


def test_moments_of_arrival_keep_their_distance_however_late_they_are_looked_at(monkeypatch):
    queue, now = Queue(), [100.0]
    monkeypatch.setattr(ports.time, "perf_counter", lambda: now[0])
    port = ports._Port("Clock", queue)
    queue.messages = [([0xB0, 20, 127], 0.0)]
    assert [timed.seconds for timed in port.poll()] == [100.0]  # from here on the port's clock is known
    since = [0.05, 0.02, 0.021, 0.003, 0.0, 0.07]
    queue.messages = [([0xB0, 20, turn], seconds) for turn, seconds in enumerate(since)]
    now[0] = 100.4  # all at once, and late
    arrived = port.poll()
    assert [timed.event.value for timed in arrived] == list(range(len(since)))
    assert [b.seconds - a.seconds for a, b in pairwise(arrived)] == pytest.approx(since[1:], abs=1e-9)
    assert arrived[0].seconds == pytest.approx(100.05, abs=0.01)


@pytest.mark.realtime
def test_moments_of_arrival_over_jack_are_those_of_sending():
    with controller("Clock") as send:
        inputs = Inputs(["Clock"], "jack")
        comes(inputs, (send, bytes([0xB0, 20, 127])))
        sent = []
        for turn in range(12):
            send(bytes([0xB0, 20, turn]))
            sent.append(time.perf_counter())
            time.sleep(0.02)
        arrived = inputs.poll()  # all at once, a quarter of a second after the first
        assert [timed.event.value for timed in arrived] == list(range(12))
        gaps = [b.seconds - a.seconds for a, b in pairwise(arrived)]
        assert gaps == pytest.approx([b - a for a, b in pairwise(sent)], abs=0.015)


STALLED = """
import time
from timbrel.host.midi.ports import Inputs
inputs, events, began = Inputs(["Flood"], "jack"), 0, time.monotonic()
print("ready", flush=True)
while inputs.poll() or time.monotonic() - began < 1.5:
    time.sleep(0.001)
while not (arrived := inputs.poll()):
    time.sleep(0.001)
print(arrived[0].event.number, flush=True)
"""


def test_a_process_that_stalled_hears_again():
    """JACK keeps no events for a late client, and RtMidi crashes on those that are not there."""
    with controller("Flood") as flood:
        process = subprocess.Popen([sys.executable, "-c", STALLED], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        for _ in range(25):
            for value in range(20):
                flood(bytes([0xB0, value, 64]))
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.03)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.02)
        until(lambda: flood(b"\xb0\x63\x40") or process.poll() is not None, "an event after the pauses")
    assert process.returncode == 0
    assert int(process.stdout.readline()) in (*range(20), 0x63)


CLOSED_BESIDE_PYTHON = """
import sys, threading, time
from timbrel.host.midi import jack_input
from timbrel.host.midi.arrival import Arrival

if sys.argv[1] == "python":
    jack_input._load_core = lambda: None


def spin():
    while True:
        pass

for _ in range(2):  # JACK's thread waits for the interpreter most of the time
    threading.Thread(target=spin, daemon=True).start()
for number in range(10):
    client = jack_input.open_jack_midi(f"closing{number}", Arrival())
    sources = [client.open_input("in"), client.open_input("in-2")]
    time.sleep(0.02)
    del client, sources
print("closed", flush=True)
"""


@pytest.mark.usefixtures("jack_server")
@pytest.mark.parametrize("queue", ["compiled", "python"])
def test_inputs_close_while_other_threads_compute(queue):
    """JACK cancels its thread wherever it is, also while it holds the interpreter: all of Python would stand still."""
    command = [sys.executable, "-c", CLOSED_BESIDE_PYTHON, queue]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == ("closed\n", "")


def test_a_port_that_leaves_while_ports_are_listed_is_no_error(rtmidi):
    class Leaving:
        def __init__(self, times):
            self.times = times

        def get_ports(self):
            self.times -= 1
            if self.times >= 0:
                raise rtmidi.InvalidPortError("MidiInJack::getPortName: no ports available!")
            return ["Keystation 49:out"]

    assert ports._listed(Leaving(0)) == ports._listed(Leaving(3)) == ["Keystation 49:out"]
    with pytest.raises(rtmidi.InvalidPortError):
        ports._listed(Leaving(100))
