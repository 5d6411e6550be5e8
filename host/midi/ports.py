"""MIDI inputs by RtMidi or JACK-Client, reopened after replugging, and their connections.

Messages are queued on threads of their own.

RtMidi also reads events that JACK refuses to a late client, and crashes the process when the machine stalls.
"""

import contextlib
import errno
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..events import Event
from . import sequencer
from .arrival import Arrival
from .controllers import HeldEvents
from .decode import MidiDecoder
from .jack_input import QUEUE, JackMidi, load_jack, no_server_error, open_jack_midi


class JackConnections:
    """JACK's connections, by a client outside the graph.

    Inputs stay registered, and senders are connected to them and disconnected: JACK 2 reads a client's ports without a
    lock when it reports a changed graph (its issue 216), so unregistering a port in that moment crashes the process.
    """

    def __init__(self, name: str) -> None:
        """Raise UserError if JACK-Client is missing, or no server runs."""
        try:
            import jack
        except ImportError:
            raise UserError("MIDI over JACK needs JACK-Client; install it with: pip install 'timbrel[live]'") from None
        except OSError as error:  # the system's library
            raise no_server_error(error) from None
        self._jack: Any = jack
        try:
            self._client = jack.Client(name, no_start_server=True)
        except jack.JackOpenError as error:
            raise no_server_error(error) from None

    def get_ports(self) -> list[str]:
        """Names of all senders, as RtMidi lists them."""
        return [port.name for port in self._client.get_ports(is_midi=True, is_output=True)]

    def ports(self) -> set[str]:
        """Inputs of clients that begin with `CLIENT`."""
        return {port.name for port in self._client.get_ports(f"^{CLIENT}", is_midi=True, is_input=True)}

    def into(self, port: str | None) -> set[str] | None:
        """Senders; None if unknown."""
        if port is None:
            return None
        try:
            return {sender.name for sender in self._client.get_all_connections(self._client.get_port_by_name(port))}
        except self._jack.JackError:
            return set()

    def connect(self, sender: str, port: str | None) -> None:
        """Raise UserError if JACK refuses."""
        if port is None:
            raise UserError("JACK does not list our input")
        try:
            self._client.connect(sender, port)
        except self._jack.JackErrorCode as error:
            if error.code != errno.EEXIST:
                raise UserError(f"JACK does not connect it: {error}") from None

    def disconnect(self, sender: str, port: str | None) -> None:
        """Disconnect a sender, if connected."""
        with contextlib.suppress(self._jack.JackError):
            self._client.disconnect(sender, port)


CLIENT = "timbrel-midi"
VIRTUAL = "virtual"
APIS = ("alsa", "jack", "coremidi", "winmm")
PATIENCE_LOOKS = 5  # JACK connects in its next cycle, late on a busy machine
REFUSED_SCANS = 2  # before a message that a port cannot be opened: JACK still lists ports of a client that exits
LISTINGS = 8  # tries of a list from which ports leave
FORGET_SECONDS = 60.0  # time constant of the clock offset's drift
BY_HAND = "play on the computer's keyboard: 'timbrel play PRESET --keys'"
SEQUENCER = Path("/dev/snd/seq")  # ALSA's; without it, the library fails
THROUGH = "midi through"  # ALSA's loopback, which repeats other ports' events


@dataclass(frozen=True)
class Timed:
    """Arrival in seconds of `time.perf_counter`."""

    seconds: float
    event: Event


@dataclass(eq=False)
class _Port:
    """An input, its sender, and its clock."""

    name: str | None  # its sender's; None: an input without sender, where inputs stay registered
    source: Any
    place: str | None = None  # the input's own name, if connections are known
    leaving: str | None = None  # the last sender, until its connection has gone
    guests: frozenset[str] = frozenset()  # senders connected manually, at the last scan
    ended_connections: int = 0  # over JACK, at the last scan
    was_listed: bool = False  # as connected, by ALSA's sequencer
    patience: int = PATIENCE_LOOKS  # scans left to wait for its sender; 0 once connected
    decoder: MidiDecoder = field(default_factory=MidiDecoder)
    clock: float = 0.0  # seconds: sum of RtMidi's intervals between messages
    offset: float | None = None  # least difference of our clock to `clock`: of messages without delay
    last_time: float = 0.0
    holds: HeldEvents = field(default_factory=HeldEvents)

    def poll(self) -> list[Timed]:
        """Read the waiting messages' events."""
        timed_events: list[Timed] = []
        while (message := self.source.get_message()) is not None:
            message_bytes, interval_seconds = message
            now_seconds = time.perf_counter()
            self.clock += interval_seconds
            clock_lead = now_seconds - self.clock
            if self.offset is None or clock_lead < self.offset:
                self.offset = clock_lead
            else:
                self.offset += (clock_lead - self.offset) * min(1.0, (now_seconds - self.last_time) / FORGET_SECONDS)
            self.last_time = now_seconds
            for event in self.decoder.feed(bytes(message_bytes), 0):
                self.holds.apply(event)
                timed_events.append(Timed(self.clock + self.offset, event))
        return timed_events

    def released(self, ports: Sequence["_Port"]) -> list[Timed]:
        """Release what no other port holds."""
        now_seconds = time.perf_counter()
        events = self.holds.take_releases(port.holds for port in ports if port is not self)
        return [Timed(now_seconds, event) for event in events]


class Inputs:
    """`poll` in the rendering thread, never waiting; `rescan` in another, once a second."""

    def __init__(self, names: Sequence[str] = (), api: str | None = None, arrival: Arrival | None = None) -> None:
        """Open ports.

        Args:
            names: parts of port names, or ``virtual``; none: a virtual port and all others, present and future.
            api: None selects the first available.
            arrival: set with each message, if `announced`.

        Raises:
            UserError: no such API or port, or no permission.
        """
        self._rtmidi = _load()
        self._api = _choose(self._rtmidi, api)
        self._names = tuple(names)
        self._input_name = f"{CLIENT}-{os.getpid()}"  # two timbrels look for their own ports in ALSA's list
        self._arrival = arrival or Arrival()
        self._ports: tuple[_Port, ...] = ()
        self._departures: deque[tuple[_Port, _Port | None]] = deque()  # with the port that now receives its sender
        self._closing: list[_Port] = []  # until rendering has released them
        self._idle: list[Any] = []  # inputs to reuse: creating one blocks all threads for 25 ms
        self._refused: dict[str, tuple[str, int]] = {}  # ports that cannot be opened: message, scans in a row
        # None: the system reports no connections, and RtMidi opens and closes inputs.
        self._wires = JackConnections(f"{CLIENT}-wires") if self.whole_blocks else None
        self._jack_midi: JackMidi | None = None
        # RtMidi's client would have a thread that JACK wakes in each cycle.
        self._finder: Any = self._wires or _client(self._rtmidi, self._api, "list")
        if VIRTUAL in self._names or not self._names:
            self._open_virtual()
        present_names = self.present()
        for name in self._names:
            if name != VIRTUAL and not _fitting(name, present_names):
                raise UserError(f"no MIDI port is named {name!r}{nearest(name, [*present_names, VIRTUAL])}")
        self.rescan()
        if self._names and self._refused:
            raise UserError(next(iter(self._refused.values()))[0])

    @property
    def whole_blocks(self) -> bool:
        """True if timestamps resolve only the card's blocks."""
        return bool(self._api == self._rtmidi.API_UNIX_JACK)

    @property
    def announced(self) -> bool:
        """Return whether messages set ``arrival``."""
        return self._wires is not None

    @property
    def open(self) -> list[str]:
        """Names of open ports, then manually connected senders."""
        return [*(port.name for port in self._ports if port.name), *sorted(self._guests())]

    def present(self) -> list[str]:
        return [name for name in _listed(self._finder) if _foreign(name)]

    def poll(self) -> list[Timed]:
        """New events, in order of time per port."""
        timed_events: list[Timed] = []
        while self._departures:
            port, heir_port = self._departures.popleft()
            if heir_port is None:
                if port in self._ports:  # the input stays; read the sender's last messages first
                    timed_events += port.poll()
                timed_events += port.released(self._ports)
            else:
                heir_port.holds.join(port.holds)
                port.holds = HeldEvents()
        for port in self._ports:
            timed_events += port.poll()
        return timed_events

    def rescan(self) -> list[str]:
        """Open new ports and close removed ones; return a message for each.

        A port that vanished between scans counts as removed: its connection is lost. A sender connected manually to
        another of our inputs is read only there.
        """
        listed_names = _listed(self._finder)
        self._close()
        self._refused = {name: refusal for name, refusal in self._refused.items() if name in listed_names}
        messages = self._see_guests()
        for port in self._ports:
            if port.name in (VIRTUAL, None):
                continue
            host_port = next((candidate for candidate in self._ports if port.name in candidate.guests), None)
            wired_senders = self._senders(port)
            is_connected = wired_senders is None or port.name in wired_senders
            if port.name not in listed_names or (not is_connected and port.patience == 0):
                messages.append(self._drop(port, None))
            elif host_port is not None:
                messages.append(self._drop(port, host_port))
            port.patience = 0 if is_connected else max(0, port.patience - 1)
        for port_index, name in enumerate(listed_names):
            if _foreign(name) and self._is_selected(name) and name not in self.open:
                try:
                    self._open(name, port_index)
                except (UserError, self._rtmidi.SystemError, self._rtmidi.RtMidiError) as error:
                    refusal_line = f"MIDI port {name!r} cannot be opened ({error}); close the program that uses it"
                    scan_count = self._refused.get(name, ("", 0))[1] + 1
                    self._refused[name] = refusal_line, scan_count
                    if scan_count == REFUSED_SCANS:
                        messages.append(refusal_line)
                    continue
                self._refused.pop(name, None)
                messages.append(f"MIDI port {name!r} is here")
        return messages

    def _close(self) -> None:
        """Close ports, once rendering has released them."""
        releasing_ports = {port for port, _ in tuple(self._departures)}
        for port in [port for port in self._closing if port not in releasing_ports]:
            self._closing.remove(port)
            port.source.close_port()
            while port.source.get_message() is not None:
                pass  # discard late messages
            self._idle.append(port.source)

    def _see_guests(self) -> list[str]:
        """Note the senders connected by hand; return a message for each that has gone, also if it has come back."""
        messages: list[str] = []
        for port in self._ports:
            ended_connections = 0 if self._wires is None else port.source.ended_connections
            sender_names = frozenset(self._senders(port) or ())
            has_ended = ended_connections != port.ended_connections and port.leaving is None
            port.ended_connections = ended_connections
            if port.leaving not in sender_names:
                port.leaving = None
            guest_names = sender_names - {port.name, port.leaving}
            departed_names = sorted(port.guests - guest_names)
            port.guests = guest_names
            returned_names = sorted(sender_names) if has_ended and not departed_names else []
            if departed_names or returned_names:
                self._departures.append((port, None))
                messages += [_farewell(name) for name in departed_names]
                messages += [f"MIDI port {name!r} was away; its notes are released" for name in returned_names]
        return messages

    def _senders(self, port: _Port) -> set[str] | None:
        """Senders that are connected to a port; None if unknown."""
        if self._wires is not None:
            return self._wires.into(port.place)
        if self._api != self._rtmidi.API_LINUX_ALSA or port.name is None:
            return None
        is_connected = sequencer.is_connected(port.name, self._input_name)
        port.was_listed = port.was_listed or is_connected is True
        return set() if is_connected is False and port.was_listed else None

    def _guests(self) -> set[str]:
        return {name for port in self._ports for name in port.guests}

    def _drop(self, port: _Port, heir_port: _Port | None) -> str:
        """Disconnect a port's sender, which its heir may still read; return a message."""
        name = str(port.name)
        if self._wires is not None:
            self._wires.disconnect(name, port.place)
            port.name, port.leaving = None, name
        else:
            self._ports = tuple(open_port for open_port in self._ports if open_port is not port)
            self._closing.append(port)
        self._departures.append((port, heir_port))
        if heir_port is None:
            return _farewell(name)
        return f"MIDI port {name!r} is connected by hand as well; it is heard there alone"

    def _open(self, name: str, port_index: int) -> None:
        """Open a port for a sender, by its name or its index in RtMidi's list."""
        if self._wires is not None:
            port = self._free()
            self._wires.connect(name, port.place)
            port.name, port.patience, port.decoder = name, PATIENCE_LOOKS, MidiDecoder()
            return
        if not self._idle:
            self._idle.append(_client(self._rtmidi, self._api, "in"))
        self._idle[-1].open_port(port_index, name=self._input_name)
        self._ports += (_Port(name, self._idle.pop()),)

    def _free(self) -> _Port:
        """Return a registered input without a sender, or register one."""
        releasing_ports = {port for port, _ in tuple(self._departures)}
        for port in self._ports:
            if port.name is None and port.leaving is None and not port.guests and port not in releasing_ports:
                return port
        return self._register(None)

    def _register(self, name: str | None) -> _Port:
        """Register an input to which senders can be connected."""
        if self._wires is None:
            port = _Port(name, _client(self._rtmidi, self._api, "in"))
            port.source.open_virtual_port("in")
        else:
            ports_before = self._wires.ports()
            self._jack_midi = self._jack_midi or open_jack_midi(f"{CLIENT}-in", self._arrival)
            count = 1 + len(self._ports)  # of inputs, which stay registered
            port = _Port(name, self._jack_midi.open_input("in" if count == 1 else f"in-{count}"))
            port.place = min(self._wires.ports() - ports_before, default=None)
        self._ports += (port,)
        return port

    def _open_virtual(self) -> None:
        try:
            self._register(VIRTUAL)
        except (self._rtmidi.RtMidiError, NotImplementedError) as error:
            if self._names:
                raise UserError(f"a virtual MIDI port cannot be opened here: {error}; name a port instead") from None

    def _is_selected(self, name: str) -> bool:
        if not self._names:
            return True
        return any(name in _fitting(pattern, [name]) for pattern in self._names if pattern != VIRTUAL)


def port_names(api: str | None = None) -> list[str]:
    """Raise UserError without a MIDI system."""
    rtmidi = _load()
    client = _client(rtmidi, _choose(rtmidi, api), "list")
    return [name for name in _listed(client) if _foreign(name)]


def _listed(client: Any) -> list[str]:
    """Names of all ports; lists again if one leaves between rtmidi's count and its question for the name."""
    for _ in range(LISTINGS - 1):
        with contextlib.suppress(ValueError):  # its InvalidPortError is one
            return list(client.get_ports())
    return list(client.get_ports())


def _load() -> Any:
    """Import python-rtmidi."""
    load_jack()  # the libjack in rtmidi's wheel cannot reach JACK 2
    try:
        import rtmidi
    except ImportError:
        raise UserError("playing live needs more packages; install them with: pip install 'timbrel[live]'") from None
    return rtmidi


def _choose(rtmidi: Any, api: str | None) -> int:
    """Return RtMidi's number of an API, or of the first that works."""
    number_by_api = {
        "alsa": rtmidi.API_LINUX_ALSA,
        "jack": rtmidi.API_UNIX_JACK,
        "coremidi": rtmidi.API_MACOSX_CORE,
        "winmm": rtmidi.API_WINDOWS_MM,
    }
    compiled_numbers = rtmidi.get_compiled_api()
    available_apis = [
        name for name in APIS if number_by_api[name] in compiled_numbers and (name != "alsa" or SEQUENCER.exists())
    ]
    if api is not None:
        if api not in APIS:
            raise UserError(f"--midi-api {api!r} is not one of {', '.join(APIS)}; choose one of them")
        if api not in available_apis:
            raise UserError(
                f"--midi-api {api} does not work on this machine; here: {', '.join(available_apis) or 'none'}"
            )
        return int(number_by_api[api])
    if not available_apis:
        raise UserError(f"this machine has no MIDI system; start JACK, or {BY_HAND}")
    return int(number_by_api[available_apis[0]])


def _client(rtmidi: Any, api: int, role: str) -> Any:
    """Make an RtMidi input."""
    try:
        client = rtmidi.MidiIn(api, name=f"{CLIENT}-{role}", queue_size_limit=QUEUE)
    except (rtmidi.SystemError, rtmidi.RtMidiError) as error:
        raise UserError(f"no MIDI port can be opened ({error}); start JACK, give --midi-api, or {BY_HAND}") from None
    client.ignore_types(sysex=False, timing=False, active_sense=True)
    return client


def _farewell(name: str) -> str:
    return f"MIDI port {name!r} has gone; its notes are released"


def _foreign(name: str) -> bool:
    """Return whether a port is another program's, and no loopback."""
    return not name.startswith(CLIENT) and THROUGH not in name.casefold()


def _fitting(pattern: str, names: Sequence[str]) -> list[str]:
    """Names that contain ``pattern``."""
    return [name for name in names if pattern.casefold() in name.casefold()]
