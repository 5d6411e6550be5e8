"""Panel of a plugin instance on its own thread; imported when opened."""

import contextlib
import threading
import time
import traceback
import webbrowser
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import wait

from ..config import own_folder
from ..errors import TimbrelError
from ..events import Event, ParameterChange
from ..preset.shipped import Draft
from ..session.messages import Command, Events, Heard, LiveStatus, Load, Pace, Playing, Refused, Report, View
from ..session.meters import Meters, last_moved, status, status_at_rest
from ..session.panel_process import PACE_SECONDS, PanelMain, PanelProcess, has_display, leading_to
from ..session.realtime import hurry_no_more
from .audio_thread import AudioThread
from .patch_loader import CHANNEL, LoadedPatch, MacroTurned, PatchLoader
from .wire import Message, ToServer

NAME = "plugin"  # shown as the audio device
REST_SECONDS = 1.0  # without parameter changes before the project is updated: a pause within a gesture is shorter
APART_SECONDS = 3.0  # between project updates: a host may count each as a change of the project
PATIENCE_SECONDS = 0.3  # for the panel to exit


class PluginPanel:
    """An instance's panel process, for any number of pages; `open`, `follow` and `refuse` are thread-safe."""

    def __init__(self, loader: PatchLoader, audio: AudioThread, main: PanelMain) -> None:
        """Open its page in a browser if there is a display."""
        self._loader, self._audio, self._main = loader, audio, main
        self._loaded = loader.loaded  # shown on the panel
        self._meters = Meters(CHANNEL)
        self._outcomes: deque[LoadedPatch | Refused] = deque([self._loaded])  # of loads, for the panel to show
        self._closing = False
        self._page_wanted = threading.Event()  # set until the page is opened
        self._page_wanted.set()
        self._unsaved_change_time: float | None = None  # of the last parameter change not in the project's state yet
        self._project_updated = 0.0
        self._thread = threading.Thread(target=self._run, name="panel", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def open(self) -> None:
        self._page_wanted.set()

    def follow(self, loaded: LoadedPatch) -> None:
        self._outcomes.append(loaded)

    def refuse(self, request: str | Draft | None, error_lines: Sequence[str]) -> None:
        """Report a failed load of ``request`` from the panel, or of another's request (None)."""
        self._outcomes.append(Refused({None: request}, error_lines))

    def close(self) -> None:
        self._closing = True
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        """Serve the panel until closed; a fault ends it, never the sound."""
        try:
            preset_folder = own_folder("presets")
            with contextlib.suppress(OSError):  # saving there reports the error
                preset_folder.mkdir(parents=True, exist_ok=True)
            with (
                PanelProcess(self._main, say=self._loader.requests.put, home=preset_folder) as panel_process,
                leading_to(panel_process.url()) as redirect_url,
            ):
                self._audio.meters = self._meters
                self._serve(panel_process, redirect_url)
        except TimbrelError as error:
            self._loader.requests.put(f"panel: {error}")
        except Exception as error:
            traceback.print_exc()
            self._loader.requests.put(f"panel: internal error: {type(error).__name__}: {error}")
        finally:
            self._audio.meters = None

    def _serve(self, panel_process: PanelProcess, redirect_url: str) -> None:
        """Pass commands, loads and reports on, and open the page in a browser."""
        pace_seconds, next_report_time = PACE_SECONDS, time.monotonic()
        while not self._closing:
            wait(panel_process.waitables(), max(0.0, next_report_time - time.monotonic()))
            for command in panel_process.commands():
                pace_seconds = self._apply_command(command, pace_seconds)
            while self._outcomes:
                self._show_outcome(panel_process, self._outcomes.popleft())
            if (now := time.monotonic()) >= next_report_time:
                next_report_time = now + pace_seconds
                self._report(panel_process)
                self._update_project(now)
            if self._page_wanted.is_set():
                self._page_wanted.clear()
                self._open(panel_process.url(), redirect_url)

    def _show_outcome(self, panel: PanelProcess, outcome: LoadedPatch | Refused) -> None:
        if isinstance(outcome, LoadedPatch):
            self._loaded = outcome
            panel.show(Playing({None: outcome.view.name}))
            panel.show(View(outcome.view))
        else:
            panel.show(outcome)

    def _apply_command(self, command: Command, pace_seconds: float) -> float:
        """Apply a page's command; return the seconds between reports from now on."""
        match command:
            case Events(events):
                if any(isinstance(event, ParameterChange) for event in events):
                    self._unsaved_change_time = time.monotonic()
                self._play(events)
            case Load():
                self._loader.requests.put(command)
            case Pace(seconds):
                return seconds
        return pace_seconds

    def _play(self, events: Sequence[Event]) -> None:
        """Ignored during a bounce, which renders the project as saved."""
        loaded_patch = self._loader.loaded
        if self._loader.mode.offline:
            return
        targets = {control.target for control in loaded_patch.view.controls}
        turned_values = {
            event.target: event.value
            for event in events
            if isinstance(event, ParameterChange) and event.target in targets
        }
        loaded_patch.panel_values.update(turned_values)
        for macro_index, slot in enumerate(loaded_patch.slots):
            if slot.target in turned_values:
                self._loader.requests.put(MacroTurned(macro_index))
        self._audio.play(events)

    def _report(self, panel: PanelProcess) -> None:
        if midi_events := self._meters.take_events():
            panel.show(Heard(midi_events))
        panel.show(Report(report(self._loaded, self._meters)))

    def _update_project(self, now: float) -> None:
        """Send the plugin its state, once changed parameters have rested."""
        if self._unsaved_change_time is None or now < max(
            self._unsaved_change_time + REST_SECONDS, self._project_updated + APART_SECONDS
        ):
            return
        self._unsaved_change_time, self._project_updated = None, now
        self._loader.requests.put(Message(ToServer.SAVE, 0, b""))

    def _open(self, url: str, redirect_url: str) -> None:
        """Name the page's URL, and open the file that leads there in a browser."""
        self._loader.requests.put(f"panel: {url}")
        if has_display():
            threading.Thread(target=_browse, args=(redirect_url,), name="browser", daemon=True).start()


def report(loaded: LoadedPatch, meters: Meters) -> LiveStatus:
    """A patch's status; at rest until the host requests sound."""
    patch, last_block = loaded.patch, meters.last_block
    if last_block is None or last_block.patch is not patch:
        return replace(
            status_at_rest(loaded.view, NAME),
            values={control.target: control.rest for control in loaded.view.controls} | loaded.panel_values,
        )
    playing_status = status(loaded.view, NAME, last_block.player, meters, last_block.sample_rate, last_block.samples)
    last_move_text = (
        "" if meters.last is None else last_moved(meters.last, patch, last_block.player.rack.latent_values(CHANNEL))
    )
    return replace(playing_status, last=last_move_text, spectrum_db=meters.spectrum_db())


def _browse(redirect_url: str) -> None:
    hurry_no_more()  # a browser started here would inherit this process's high priority
    webbrowser.open(redirect_url)
