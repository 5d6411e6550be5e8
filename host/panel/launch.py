"""The door to a panel: whether what serves it is installed, and a browser that opens its page."""

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

NEEDED = ("starlette", "uvicorn", "websockets", "msgspec", "segno")


def missing() -> str | None:
    """Return a line that says what is not installed, and how to install it; None if a panel can be served."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; install it with: pip install 'timbrel[panel]'"
    return None


def has_display() -> bool:
    """Return whether a browser has somewhere to open."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def leading_to(url: str) -> Iterator[str]:
    """Give the address of a file that leads to a page, and that only this user can read; it goes away at the end.

    A browser is told of this one: on its command line, other users of the machine would see the token.
    """
    leads = f'<meta http-equiv="refresh" content="0; url={url}">'
    with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:  # of mode 700
        page = Path(folder, "panel.html")
        page.touch(0o600)
        page.write_text(f"<!doctype html><title>timbrel</title>{leads}\n")
        yield page.as_uri()
