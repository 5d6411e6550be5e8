"""Opens the door to a panel: its address is printed before the screen begins, for other machines as a QR code too."""

import contextlib
import functools
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..panel.launch import has_display, leading_to, missing

if TYPE_CHECKING:
    from ..panel.process import PanelProcess


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
    if (line := missing()) is not None:
        raise UserError(line)
    from ..panel.process import PanelProcess

    with PanelProcess(lan, port or 0, report=report) as panel:
        print(f"panel: {panel.url()}", flush=True)
        if lan:
            _invite(panel)
        with leading_to(panel.url()) if browse and has_display() else contextlib.nullcontext() as address:
            if address is not None:  # opened once the page has something to show
                panel.begun = functools.partial(webbrowser.open, address)
            yield panel


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
