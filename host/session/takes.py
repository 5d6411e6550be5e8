"""Recordings of a session: all of it, by an option, or takes that pages begin and end."""

import contextlib
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from ..errors import TimbrelError
from ..user_folders import own_folder
from .messages import LiveStatus, Setup, Take
from .recorder import Recording, SessionRecorder

FOLDER = "recordings"  # of the user's
UNFIT = re.compile(r"[^\w .+#-]")  # letters of preset names that some file systems refuse


class Takes:
    """One recording at a time; a fault ends a take, never the sound."""

    def __init__(
        self, recording: Recording, overwrite: bool, say: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        """``recording``: files for all that is played; without them pages may record."""
        self.state: Literal["off", "coming", "on", "option"] = "option" if recording else "off"
        self.since = 0.0  # when the take began, by time.monotonic
        self.files: tuple[str, ...] = ()  # names of the last take's
        self._recording, self._overwrite, self._say, self._warn = recording, overwrite, say, warn
        self._recorder: SessionRecorder | None = None

    @property
    def writing(self) -> bool:
        return self.state in ("on", "option")

    def ask(self, on: bool, send: Callable[[str, Any], None] | None) -> None:
        """Begin or end a take; ``send`` takes commands to the audio process, None while there is none."""
        if self.state == "option":
            self._say("--record writes all that is played, until timbrel ends")
        elif send is None:
            if on:
                self._say("nothing plays now: press Record once the sound is there")
            elif self.state == "on":
                self.end(None)
        elif on and self.state == "off":
            self.state = "coming"
            send("record", True)
        elif not on and self.state == "on":
            send("record", False)

    def ready(self, setup: Setup, status: LiveStatus) -> None:
        if self._recorder is not None:
            self._recorder.go_on()
        elif self.state == "option":
            self._recorder = SessionRecorder(self._recording, setup, status, self._overwrite).__enter__()
        elif self.state == "coming":
            self.end("nothing was recorded: the sound began again before; press Record once more")

    def begin(self, take: Take, setup: Setup, status: LiveStatus) -> None:
        preset = UNFIT.sub("_", next(iter(status.presets.values())))
        name = f"{datetime.now():%Y-%m-%d %H.%M.%S} {preset}"
        try:
            folder = own_folder(FOLDER)
            with contextlib.suppress(OSError):  # writing there reports the error
                folder.mkdir(parents=True, exist_ok=True)
            self._recording = Recording(folder / f"{name}.wav", folder / f"{name}.mid")
            self._recorder = SessionRecorder(self._recording, setup, status, False, take).__enter__()
        except (TimbrelError, OSError) as error:
            self.end(f"cannot record: {error}")
            return
        self.state, self.since, self.files = "on", time.monotonic(), ()

    def record(self, kind: str, data: Any) -> None:
        """``kind`` is in `RECORDED`."""
        if self._recorder is None:
            return
        try:
            self._recorder.record(kind, data)
        except (TimbrelError, OSError) as error:
            if self.state == "option":
                raise
            self.end(f"the recording has ended: {_reason(error)}; playing goes on")

    def end(self, line: str | None) -> None:
        """Close a take's files; say where they are, after ``line`` if it ends by a fault."""
        recorder, self._recorder, self.state = self._recorder, None, "off"
        try:
            if recorder is not None:
                recorder.__exit__()
        except (TimbrelError, OSError) as error:
            line = line or f"the recording is not whole: {_reason(error)}"
        if line is not None:
            self._warn(line)
        if recorder is not None:
            self.files = tuple(path.name for path in self._recording.paths if path.exists())
            if self.files:
                self._say(f"recorded {' and '.join(self.files)} in {own_folder(FOLDER)}")

    def __enter__(self) -> "Takes":
        return self

    def __exit__(self, *error: Any) -> None:
        if self.state == "option" and self._recorder is not None:
            self._recorder.__exit__()
        elif self._recorder is not None:
            self.end(None)


def _reason(error: Exception) -> str:
    cause = error.__cause__
    return cause.strerror or str(cause) if isinstance(cause, OSError) else str(error)
