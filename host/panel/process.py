"""Main function of the panel process."""

import contextlib
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from ..session.realtime import hurry_no_more

NICE = 10  # audio before display


def run(
    pipe: Connection,
    sockets: Sequence[socket.socket],
    token: str,
    hosts: Sequence[str],
    home: Path,
    report: Path | None,
) -> None:
    """Arguments as in `server.serve`."""
    for signal_name in ("SIGINT", "SIGHUP"):  # Ctrl-C also reaches the parent, which closes the pipe
        if hasattr(signal, signal_name):
            signal.signal(getattr(signal, signal_name), signal.SIG_IGN)
    hurry_no_more()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    import asyncio

    from .server import serve

    asyncio.run(serve(pipe, sockets, token, hosts, home, report))
    for helper_process in multiprocessing.active_children():  # computing a map that is no longer needed
        helper_process.kill()
    os._exit(0)
