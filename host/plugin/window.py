"""The panel of a plugin's instance, on a thread of its own: it is imported when somebody asks for it."""

import contextlib
import threading
import time
import traceback
import webbrowser
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Protocol

from ..errors import TimbrelError
from ..events import Event, ParameterChange
from ..live.messages import Command
from ..live.realtime import hurry_no_more
from ..panel.launch import has_display, leading_to
from ..panel.process import PACE_SECONDS, PanelProcess
from ..shipped import Draft
from .audio_thread import AudioThread
from .loaded import LoadedPatch
from .meters import Meters
from .user_data import own_folder

REST_SECONDS = 1.0  # that nothing was turned before a project is told of it: a hand that pauses goes on sooner
APART_SECONDS = 3.0  # between two times that it is: a host may take each for a change of the project
PATIENCE_SECONDS = 0.3  # that a panel may take to end


class Instance(Protocol):
    """The instance of a plugin to which a panel belongs. Nothing here may wait."""

    def say(self, line: str) -> None:
        """Say a line to people."""
        ...

    def play(self, events: Iterable[Event]) -> None:
        """Play events as they come, and keep what they turn."""
        ...

    def load(self, preset: str | Draft) -> None:
        """Load another preset; the panel follows as to any other, or is told why not."""
        ...

    def tell_state(self) -> None:
        """Tell the plugin unasked what a project is to save."""
        ...


class Window:
    """The panel of an instance: one process, as long as the server lives, however often it is opened."""

    def __init__(self, instance: Instance, sounding: AudioThread, loaded: LoadedPatch) -> None:
        """Begin, and open the page in a browser where there is one."""
        self._instance, self._sounding = instance, sounding
        self._loaded = loaded  # that the panel shows
        self._meters = Meters()
        self._followed: deque[LoadedPatch] = deque([loaded])
        self._refused: deque[tuple[Mapping[None, str | Draft | None], Sequence[str]]] = deque()
        self._closing = False
        self._openings = 1  # that are still to come
        self._turned: float | None = None  # when a target was turned last that no project has been told of
        self._state_told = 0.0
        self._thread = threading.Thread(target=self._run, name="panel", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Return whether it can be opened no more, since it could not begin or go on."""
        return not self._thread.is_alive()

    def open(self) -> None:
        """Open the page again; any thread may call this."""
        self._openings += 1

    def follow(self, loaded: LoadedPatch) -> None:
        """Show what is loaded now; any thread may call this."""
        self._followed.append(loaded)

    def refuse(self, wanted: str | Draft | None, why: Sequence[str]) -> None:
        """Say why what is wanted, by the panel or else by None, was not loaded; any thread may call this."""
        self._refused.append(({None: wanted}, why))

    def close(self) -> None:
        """End it."""
        self._closing = True
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        try:
            home = own_folder("presets")
            with contextlib.suppress(OSError):  # who saves there is told
                home.mkdir(parents=True, exist_ok=True)
            with PanelProcess(say=self._instance.say, home=home) as panel, leading_to(panel.url()) as address:
                self._sounding.watcher = self._meters
                self._serve(panel, address)
        except TimbrelError as error:
            self._instance.say(f"panel: {error}")
        except Exception as error:
            traceback.print_exc()
            self._instance.say(f"panel: internal error: {type(error).__name__}: {error}")
        finally:
            self._sounding.watcher = None

    def _serve(self, panel: PanelProcess, address: str) -> None:
        """Pass on what is asked and what is to be told, until it is to end."""
        pace, next_report = PACE_SECONDS, time.monotonic()
        while not self._closing:
            wait(panel.waited(), max(0.0, next_report - time.monotonic()))
            for command in panel.asked():
                pace = self._obey(command, pace)
            while self._followed:
                self._loaded = self._followed.popleft()
                panel.hear("playing", {None: self._loaded.sheet.name})
                panel.hear("sheet", self._loaded.sheet)
            while self._refused:
                panel.hear("refused", self._refused.popleft())
            if (now := time.monotonic()) >= next_report:
                next_report = now + pace
                self._report(panel)
                self._tell_state(now)
            while self._openings:
                self._openings -= 1
                self._open(panel.url(), address)

    def _obey(self, command: Command, pace: float) -> float:
        """Do what the panel asks; return the seconds between reports."""
        match command:
            case "events", events:
                if any(isinstance(event, ParameterChange) for event in events):
                    self._turned = time.monotonic()
                self._instance.play(events)
            case "load", wanted:
                for preset in wanted.values():
                    self._instance.load(preset)
            case "pace", seconds:
                return float(seconds)
        return pace

    def _report(self, panel: PanelProcess) -> None:
        if heard := self._meters.heard():
            panel.hear("heard", heard)
        panel.hear("report", self._meters.report(self._loaded))

    def _tell_state(self, now: float) -> None:
        """Have the project told of what hands have turned, once they rest."""
        if self._turned is None or now < max(self._turned + REST_SECONDS, self._state_told + APART_SECONDS):
            return
        self._turned, self._state_told = None, now
        self._instance.tell_state()

    def _open(self, url: str, address: str) -> None:
        self._instance.say(f"panel: {url}")
        if has_display():
            threading.Thread(target=_browse, args=(address,), name="browser", daemon=True).start()


def _browse(address: str) -> None:
    hurry_no_more()  # a browser that this begins would otherwise go before others, as this process does
    webbrowser.open(address)
