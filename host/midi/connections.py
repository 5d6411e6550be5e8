"""Finds which ports are connected to which, where the MIDI system tells it: JACK does."""

from typing import Any, Protocol

from ..errors import UserError


class Wires(Protocol):
    """The connections between MIDI ports, as far as they are known."""

    def ports(self, client: str) -> set[str]:
        """Names of the inputs of clients whose names begin so."""
        ...

    def into(self, port: str | None) -> set[str] | None:
        """Names of the ports that send to an input; None if that cannot be known."""
        ...


class Unknown:
    """Connections of a system that does not tell them."""

    def ports(self, client: str) -> set[str]:
        """Return no ports."""
        return set()

    def into(self, port: str | None) -> set[str] | None:
        """Return None: it is not known."""
        return None


class JackWires:
    """JACK's, asked by a client of its own that takes no part in the graph."""

    def __init__(self, name: str) -> None:
        """``name`` is the client's.

        Raises:
            UserError: JACK-Client is missing, or no server runs.
        """
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

    def ports(self, client: str) -> set[str]:
        """See `Wires.ports`."""
        return {port.name for port in self._client.get_ports(f"^{client}", is_midi=True, is_input=True)}

    def into(self, port: str | None) -> set[str] | None:
        """See `Wires.into`; empty for an input that is no longer there."""
        if port is None:
            return None
        try:
            return {other.name for other in self._client.get_all_connections(self._client.get_port_by_name(port))}
        except self._jack.JackError:
            return set()


def _silent(error: Exception) -> UserError:
    return UserError(f"JACK does not answer ({error}); start it, or give --midi-api or --keys")
