"""Opens the door to a panel: its address is printed before the screen begins, for other machines as a QR code too."""

import contextlib
import functools
import importlib.util
import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from ..panel.process import PanelProcess

NEEDED = ("starlette", "uvicorn", "websockets", "msgspec", "segno")


@contextlib.contextmanager
def served(
    asked: bool, lan: bool = False, port: int | None = None, browse: bool = False, report: Path | None = None
) -> "Iterator[PanelProcess | None]":
    """Give the panel's process, with its address printed; None where none is ``asked`` for.

    Args:
        lan: other machines of the network are answered too.
        port: None for one that is free.
        browse: open the page in a browser, where there is one.
        report: the folder of a report that the page shows, if there is one.

    Raises:
        UserError: what it needs is not installed, or the port is taken, or an option is there without a panel.
    """
    if not asked:
        if lan or port is not None:
            raise UserError(f"{'--lan' if lan else f'--port {port}'} goes with --panel; add that")
        yield None
        return
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{package} is not installed; install it with: pip install 'timbrel[panel]'")
    from ..panel.process import PanelProcess

    with PanelProcess(lan, port or 0, report=report) as panel:
        print(f"panel: {panel.url()}", flush=True)
        if lan:
            _invite(panel)
        with _browsed(panel) if browse and _has_display() else contextlib.nullcontext():
            yield panel


@contextlib.contextmanager
def _browsed(panel: "PanelProcess") -> Iterator[None]:
    """Open the page in a browser once it has something to show, by a file that only this user can read.

    It goes away at the end. On the browser's command line, other users of the machine would see the token.
    """
    leads = f'<meta http-equiv="refresh" content="0; url={panel.url()}">'
    with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:  # of mode 700
        page = Path(folder, "panel.html")
        page.touch(0o600)
        page.write_text(f"<!doctype html><title>timbrel</title>{leads}\n")
        address = page.as_uri()
        panel.begun = functools.partial(webbrowser.open, address)
        yield


def _invite(panel: "PanelProcess") -> None:
    """Print what other machines open, what that lets them do, and a picture of it."""
    import segno

    if not panel.addresses:
        print("no network is here: only this machine can open the panel", flush=True)
        return
    print("whoever has one of these addresses can play here and save presets; what they send is not encrypted:")
    for address in panel.addresses:
        print(f"  {panel.url(address)}")
    segno.make(panel.url(panel.addresses[0]), micro=False).terminal(compact=True)
    sys.stdout.flush()


def _has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
