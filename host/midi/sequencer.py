"""Connections of ALSA's sequencer, which RtMidi does not report."""

import re
from pathlib import Path

LISTING = Path("/proc/asound/seq/clients")
CLIENT_LINE = re.compile(r'Client +\d+ : "(?P<name>.*)" \[')
ADDRESS = re.compile(r"\b\d+:\d+\b")  # client and port; flags of a connection are in brackets: [r:0]
FROM = "Connected From:"


def is_connected(port_name: str, client_prefix: str) -> bool | None:
    """Return whether a port sends to a client; None if the system does not say.

    Args:
        port_name: as RtMidi lists it; it ends with the port's address.
        client_prefix: of the receiving clients' names.
    """
    address = re.search(r"\d+:\d+$", port_name)
    try:
        lines = LISTING.read_text(errors="replace").splitlines()
    except OSError:
        return None
    is_listed = is_ours = False
    senders: set[str] = set()
    for line in lines:
        if client := CLIENT_LINE.match(line):
            is_ours = client["name"].startswith(client_prefix)
            is_listed |= is_ours
        elif is_ours and line.strip().startswith(FROM):
            senders.update(ADDRESS.findall(line))
    return address[0] in senders if address and is_listed else None
