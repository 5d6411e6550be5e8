"""MIDI port connections: finds an input's senders (JACK)."""

import contextlib
import errno
from typing import Any, Protocol

from ..errors import UserError


class PortConnections(Protocol):
    """``permanent``: inputs stay registered, and senders are connected to them and disconnected."""

    permanent: bool

    def ports(self, client: str) -> set[str]:
        """Inputs of clients with this prefix."""

    def into(self, port: str | None) -> set[str] | None:
        """Senders; None if unknown."""

    def connect(self, sender: str, port: str | None) -> None:
        """Raise UserError if the system refuses."""

    def disconnect(self, sender: str, port: str | None) -> None:
        """Disconnect a sender, if connected."""


class Unknown:
    """For systems that report no connections."""

    permanent = False

    def ports(self, client: str) -> set[str]:
        return set()

    def into(self, port: str | None) -> set[str] | None:
        return None

    def connect(self, sender: str, port: str | None) -> None:
        raise UserError("this system does not connect ports")

    def disconnect(self, sender: str, port: str | None) -> None:
        pass


class JackConnections:
    """JACK's connections, by a client outside the graph.

    Inputs are permanent: JACK 2 reads a client's ports without a lock when it reports a changed graph (its issue 216),
    so unregistering a port in that moment crashes the process.
    """

    permanent = True

    def __init__(self, name: str) -> None:
        """Raise UserError if JACK-Client is missing, or no server runs."""
        try:
            import jack
        except ImportError:
            raise UserError("MIDI over JACK needs JACK-Client; install it with: pip install 'timbrel[live]'") from None
        except OSError as error:  # the system's library
            raise _silent(error) from None
        self._jack: Any = jack
        try:
            self._client = jack.Client(name, no_start_server=True)
        except jack.JackOpenError as error:
            raise _silent(error) from None

    def get_ports(self) -> list[str]:
        """Names of all senders, as RtMidi lists them."""
        return [port.name for port in self._client.get_ports(is_midi=True, is_output=True)]

    def ports(self, client: str) -> set[str]:
        return {port.name for port in self._client.get_ports(f"^{client}", is_midi=True, is_input=True)}

    def into(self, port: str | None) -> set[str] | None:
        if port is None:
            return None
        try:
            return {other.name for other in self._client.get_all_connections(self._client.get_port_by_name(port))}
        except self._jack.JackError:
            return set()

    def connect(self, sender: str, port: str | None) -> None:
        if port is None:
            raise UserError("JACK does not list our input")
        try:
            self._client.connect(sender, port)
        except self._jack.JackErrorCode as error:
            if error.code != errno.EEXIST:
                raise UserError(f"JACK does not connect it: {error}") from None

    def disconnect(self, sender: str, port: str | None) -> None:
        with contextlib.suppress(self._jack.JackError):
            self._client.disconnect(sender, port)


def _silent(error: Exception) -> UserError:
    return UserError(f"JACK does not answer ({error}); start it, or give --midi-api or --keys")
