"""Which ports are connected to which, where the MIDI system tells it: JACK does."""

from typing import Any, Protocol

from ..errors import UserError


class Wires(Protocol):
    """What is known of connections between MIDI ports."""

    def ports(self, client: str) -> set[str]:
        """Names of the inputs of clients whose names begin so."""
        ...

    def into(self, port: str | None) -> set[str] | None:
        """Names of the ports that send to an input; None if that cannot be known."""
        ...


class Unknown:
    """Where the system does not tell."""

    def ports(self, client: str) -> set[str]:
        """None."""
        return set()

    def into(self, port: str | None) -> set[str] | None:
        """Not known."""
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
        """As `Wires.ports`."""
        return {port.name for port in self._client.get_ports(f"^{client}", is_midi=True, is_input=True)}

    def into(self, port: str | None) -> set[str] | None:
        """As `Wires.into`; empty for an input that is no longer there."""
        if port is None:
            return None
        try:
            return {other.name for other in self._client.get_all_connections(self._client.get_port_by_name(port))}
        except self._jack.JackError:
            return set()


def _silent(error: Exception) -> UserError:
    return UserError(f"JACK does not answer ({error}); start it, or give --midi-api or --keys")
