"""Connects to a Ray cluster on request, with messages for users."""

import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from .errors import UserError

CONNECTING_SECONDS = 5.0
ROOT = 0  # user number
RETRIES = 3  # of a task whose machine or process dies


def connect(address: str) -> Any:
    """The module ray, connected; call its `shutdown` in the end.

    Raises:
        UserError: Ray is missing, or no cluster is at ``address``, HOST:PORT or auto.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UserError("--ray needs Ray; install it with: pip install 'timbrel[scale]'") from None
    try:
        found = current_address() if address == "auto" else address
        host, colon, port = found.rpartition(":")
        if not colon:
            raise ValueError("an address is HOST:PORT, or auto")
        socket.create_connection((host, int(port)), timeout=CONNECTING_SECONDS).close()  # Ray tries for ten minutes
        before = signal.getsignal(signal.SIGTERM)
        ray.init(address=found, log_to_driver=False, logging_level=logging.ERROR)
        if threading.current_thread() is threading.main_thread():  # Ray's own handler would end without cleaning up
            signal.signal(signal.SIGTERM, before)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"no Ray cluster answers at {address!r} ({said}); start one with 'ray start --head'") from None
    return ray


def current_address() -> str:
    """Address of the cluster that Ray last started here; ValueError if it is none, or another user's."""
    # the file in which Ray itself looks for it
    if "RAY_ADDRESS" in os.environ:
        return os.environ["RAY_ADDRESS"]
    file = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
    try:
        if sys.platform != "win32" and file.lstat().st_uid not in (os.getuid(), ROOT):  # all may write into that folder
            raise ValueError(f"{file} is another user's; give HOST:PORT if you trust that cluster")
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        raise ValueError("none was started on this machine") from None


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def on_this_machine(error: Exception) -> list[str]:
    """An error's lines with this machine's name."""
    return [f"{socket.gethostname()}: {line}" for line in error.args]
