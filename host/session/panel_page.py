"""Starts the panel in a browser: checks packages and display, hides the URL's token."""

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

NEEDED = ("starlette", "uvicorn", "websockets", "msgspec", "segno")


def missing() -> str | None:
    """How to install a missing package."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; install it with: pip install 'timbrel[panel]'"
    return None


def has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def leading_to(url: str) -> Iterator[str]:
    """Yield the URL of a private temporary file that redirects to ``url``.

    Other users could read the token on the browser's command line.
    """
    leads = f'<meta http-equiv="refresh" content="0; url={url}">'
    with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:  # mode 700
        page = Path(folder, "panel.html")
        page.touch(0o600)
        page.write_text(f"<!doctype html><title>timbrel</title>{leads}\n")
        yield page.as_uri()
