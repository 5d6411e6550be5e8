"""MIDI inputs over JACK: named by any part, several at once, found again, and let go when they vanish."""

import contextlib
import gc
import threading
import time
from itertools import pairwise

import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import ChannelPressure, ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.midi.ports import Inputs, port_names

jack = pytest.importorskip(
    "jack", reason="JACK-Client is not installed, or finds no libjack", exc_type=(ImportError, OSError)
)


SETTLED = 0.3  # seconds
PATIENCE = 30.0  # seconds, for a server to let a client go


@pytest.fixture(autouse=True)
def rtmidi(jack_server):
    """The library; inputs that a test leaves open are closed behind it, for others look for ports of that name."""
    yield pytest.importorskip("rtmidi")
    gc.collect()


def listen(names, api="jack"):
    """Inputs that are plugged in: a connection counts from the server's next cycles on."""
    inputs = Inputs(names, api)
    time.sleep(SETTLED)
    return inputs


def client_of(name, tries=5):
    """A JACK client; a server that is kept busy may not answer the first time."""
    for _ in range(tries - 1):
        with contextlib.suppress(jack.JackOpenError):
            return jack.Client(name, no_start_server=True)
        time.sleep(SETTLED)
    return jack.Client(name, no_start_server=True)


def left(client):
    """Leave the server; one that hangs, as a server may that was kept waiting, fails a test and not all of them."""
    leaving = threading.Thread(target=client.close, daemon=True)
    leaving.start()
    leaving.join(PATIENCE)
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

    client.set_process_callback(process)
    client.activate()
    try:
        yield waiting.append
    finally:
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


def look(inputs, seconds=10.0):
    """What is said by the first look that finds something new: on a busy machine JACK connects late."""
    said, until = [], time.monotonic() + seconds
    while not said and time.monotonic() < until:
        time.sleep(0.05)
        said = inputs.rescan()
    return said


def settle(inputs, seconds=10.0):
    """Look until all that is listened to is connected."""
    until = time.monotonic() + seconds
    while any(port.patience for port in inputs._ports if port.name != "virtual") and time.monotonic() < until:
        time.sleep(0.05)
        assert inputs.rescan() == []


def heard(inputs, count, seconds=3.0):
    """The first events that come in."""
    arrived, until = [], time.monotonic() + seconds
    while len(arrived) < count and time.monotonic() < until:
        arrived += inputs.poll()
        time.sleep(0.005)
    return [timed.event for timed in arrived]


def test_a_port_is_named_by_any_part_of_its_name_and_no_other_is_heard():
    with controller("Keystation 49") as keys, controller("nanoKONTROL2") as knobs:
        assert {"Keystation 49:out", "nanoKONTROL2:out"} <= set(port_names("jack"))
        inputs = listen(["STATION"])
        assert inputs.open == ["Keystation 49:out"]
        knobs(b"\xb0\x10\x05")
        keys(b"\x90\x3c\x64")
        assert heard(inputs, 1) == [NoteOn(0, 0, 60, 100)]
        assert heard(inputs, 1, 0.2) == []


def test_several_ports_are_heard_at_once_and_all_of_them_where_none_is_named():
    with controller("Keystation 49") as keys, controller("nanoKONTROL2") as knobs:
        for names in ([], ["keystation", "nano"]):
            inputs = listen(names)
            assert {"Keystation 49:out", "nanoKONTROL2:out"} <= set(inputs.open)
            assert ("virtual" in inputs.open) == (not names)
            keys(b"\x90\x3c\x64")
            knobs(b"\xb0\x10\x05")
            assert sorted(heard(inputs, 2), key=str) == [
                ControlChange(0, 0, 16, 5),
                NoteOn(0, 0, 60, 100),
            ]
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
        inputs = listen(names)
        keys(b"\x90\x3c\x64\x92\x40\x64")
        keys(b"\x90\x43\x64")
        keys(b"\x80\x43\x00")
        down = heard(inputs, 4)
        assert down == [
            NoteOn(0, 0, 60, 100),
            NoteOn(0, 2, 64, 100),
            NoteOn(0, 0, 67, 100),
            NoteOff(0, 0, 67),
        ]
    assert "MIDI port 'Keystation 49:out' has gone; its notes are released" in inputs.rescan()
    assert "Keystation 49:out" not in inputs.open
    assert heard(inputs, 2) == [NoteOff(0, 0, 60), NoteOff(0, 2, 64)]
    assert inputs.rescan() == []
    with controller("Keystation 49") as keys:
        assert "MIDI port 'Keystation 49:out' is here" in inputs.rescan()
        time.sleep(SETTLED)
        keys(b"\x90\x30\x01")
        assert heard(inputs, 1) == [NoteOn(0, 0, 48, 1)]
        assert inputs.rescan() == []


def test_a_port_that_vanishes_and_returns_between_two_looks_is_let_go_and_heard_again():
    with controller("Keystation 49") as keys:
        inputs = listen([])
        settle(inputs)
        keys(b"\x90\x3c\x64")
        assert len(heard(inputs, 1)) == 1
    with controller("Keystation 49") as keys:
        assert inputs.rescan() == [
            "MIDI port 'Keystation 49:out' has gone; its notes are released",
            "MIDI port 'Keystation 49:out' is here",
        ]
        settle(inputs)
        keys(b"\x90\x30\x01")
        assert heard(inputs, 3, 0.5) == [NoteOff(0, 0, 60), NoteOn(0, 0, 48, 1)]
        assert inputs.rescan() == []


@pytest.mark.parametrize("to", [0, 1], ids=["virtual", "another's"])
def test_a_sender_that_is_connected_by_hand_as_well_is_heard_once_and_its_keys_stay_down(to):
    with controller("First"), Hands() as patchbay:
        inputs = listen([])  # the virtual port, and that of the first
        with controller("Keystation 49") as keys:
            assert look(inputs) == ["MIDI port 'Keystation 49:out' is here"]
            settle(inputs)
            keys(b"\x90\x3c\x64")
            assert heard(inputs, 1) == [NoteOn(0, 0, 60, 100)]
            patchbay.connect("Keystation 49:out", inputs._ports[to].place)
            line = "MIDI port 'Keystation 49:out' is connected by hand as well; it is heard there alone"
            assert look(inputs) == [line]
            assert inputs.rescan() == []
            assert "Keystation 49:out" in inputs.open
            keys(b"\x90\x40\x64")
            assert heard(inputs, 2, 0.5) == [NoteOn(0, 0, 64, 100)]
        assert look(inputs) == ["MIDI port 'Keystation 49:out' has gone; its notes are released"]
        assert heard(inputs, 2) == [NoteOff(0, 0, 60), NoteOff(0, 0, 64)]
        assert "Keystation 49:out" not in inputs.open


def test_a_sender_that_is_disconnected_by_hand_is_heard_by_itself_again():
    with controller("Keystation 49") as keys, Hands() as patchbay:
        inputs = listen([])
        virtual = inputs._ports[0].place
        patchbay.connect("Keystation 49:out", virtual)
        assert "by hand" in look(inputs)[0]
        patchbay.disconnect("Keystation 49:out", virtual)
        assert look(inputs)[-1] == "MIDI port 'Keystation 49:out' is here"
        settle(inputs)
        keys(b"\x90\x30\x01")
        assert heard(inputs, 2, 0.5) == [NoteOn(0, 0, 48, 1)]


def test_a_controller_that_goes_leaves_no_pedal_down_and_nothing_bent_but_what_another_one_holds():
    with controller("Other") as other:
        inputs = listen([])
        with controller("Keystation 49") as keys:
            inputs.rescan()
            time.sleep(SETTLED)
            keys(b"\x90\x3c\x64\x91\x3e\x64")
            keys(b"\xb0\x40\x7f\x42\x7f\xb1\x40\x7f\x07\x20")
            keys(b"\xe0\x00\x7f\xd1\x30")
            other(b"\x91\x3e\x64\xb1\x40\x7f")
            assert len(heard(inputs, 10)) == 10
        assert "MIDI port 'Keystation 49:out' has gone; its notes are released" in inputs.rescan()
        assert heard(inputs, 5, 0.5) == [
            NoteOff(0, 0, 60),
            ControlChange(0, 0, 64, 0),
            ControlChange(0, 0, 66, 0),
            PitchBend(0, 0, 0),
            ChannelPressure(0, 1, 0),
        ]
    inputs.rescan()
    assert heard(inputs, 2, 0.5) == [NoteOff(0, 1, 62), ControlChange(0, 1, 64, 0)]


def test_a_controller_that_comes_later_is_found():
    inputs = listen([])
    with controller("Late") as late:
        assert inputs.rescan() == ["MIDI port 'Late:out' is here"]
        time.sleep(SETTLED)
        late(b"\x90\x30\x01")
        assert heard(inputs, 1) == [NoteOn(0, 0, 48, 1)]


def test_what_has_gone_is_closed_once_the_thread_that_plays_has_let_it_go_and_serves_the_next():
    """The one that plays has no time to close it, and a JACK server no room for inputs that nobody closes."""
    with controller("Keystation 49"):
        inputs = listen(["Keystation"])
        (port,) = inputs._ports
    inputs.rescan()
    inputs.rescan()
    assert port.source.is_port_open()
    inputs.poll()
    assert port.source.is_port_open()
    inputs.rescan()
    assert not port.source.is_port_open()
    with controller("Keystation 61") as keys:
        inputs.rescan()
        (again,) = inputs._ports
        assert again.source is port.source
        settle(inputs)
        keys(b"\x90\x30\x01")
        assert heard(inputs, 1) == [NoteOn(0, 0, 48, 1)]


def test_moments_of_arrival_keep_their_distance_however_late_they_are_looked_at():
    with controller("Clock") as send:
        inputs = listen(["Clock"])
        send(bytes([0xB0, 20, 127]))
        assert len(heard(inputs, 1)) == 1  # from here on the port's clock is known
        for _ in range(5):  # a server that is kept waiting drops what is sent
            sent = []
            for turn in range(12):
                send(bytes([0xB0, 20, turn]))
                sent.append(time.perf_counter())
                time.sleep(0.02)
            arrived = inputs.poll()  # all at once, a quarter of a second after the first
            if len(arrived) == len(sent):
                break
        assert [timed.event.value for timed in arrived] == list(range(12))
        gaps = [b.seconds - a.seconds for a, b in pairwise(arrived)]
        expected = [b - a for a, b in pairwise(sent)]
        assert gaps == pytest.approx(expected, abs=0.015)
