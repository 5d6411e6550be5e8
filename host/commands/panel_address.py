"""Starts the web panel, prints its address and QR code, opens the browser."""

import contextlib
import functools
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..session.panel_page import has_display, leading_to, missing

if TYPE_CHECKING:
    from ..session.panel_process import PanelProcess


@contextlib.contextmanager
def served(
    asked: bool, lan: bool = False, port: int | None = None, browse: bool = False, report: Path | None = None
) -> "Iterator[PanelProcess | None]":
    """The panel's process after printing its address; None unless ``asked``.

    ``port``: None for a free one. ``report``: folder of a report to show.

    Raises:
        UserError: missing dependency, taken port, or an option without a panel.
    """
    if not asked:
        if lan or port is not None:
            raise UserError(f"{'--lan' if lan else f'--port {port}'} goes with --panel; add that")
        yield None
        return
    if (line := missing()) is not None:
        raise UserError(line)
    from ..panel.process import run
    from ..session.panel_process import PanelProcess

    with PanelProcess(run, lan, port or 0, report=report) as panel:
        print(f"panel: {panel.url()}", flush=True)
        if lan:
            _invite(panel)
        with leading_to(panel.url()) if browse and has_display() else contextlib.nullcontext() as address:
            if address is not None:  # opened once the page has content
                panel.begun = functools.partial(webbrowser.open, address)
            yield panel


def _invite(panel: "PanelProcess") -> None:
    import segno

    if not panel.addresses:
        print("no network is here: only this machine can open the panel", flush=True)
        return
    print("anybody with one of these addresses can play here and save presets; the connection is not encrypted:")
    for address in panel.addresses:
        print(f"  {panel.url(address)}")
    segno.make(panel.url(panel.addresses[0]), micro=False).terminal(compact=True)
    sys.stdout.flush()
