"""Starts the panel in a browser: checks packages and display, hides the URL's token."""

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..extras import MODULES, how_to_install


def missing() -> str | None:
    """How to install a missing package."""
    return next((how_to_install(module) for module in MODULES["panel"] if not importlib.util.find_spec(module)), None)


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
