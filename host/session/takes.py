"""Recordings of a session, of sound and MIDI: all of it, by an option, or takes that pages begin and end."""

import contextlib
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..config import own_folder
from ..errors import TimbrelError, UserError
from ..events import ParameterTouch, retimed
from ..files import check_output
from ..midi.controllers import HeldEvents, hands_off
from .frontends import Frontends
from .messages import Events, LiveStatus, Record, Recorded, Say, Setup, Sound, Swapped, Take, Warn

if TYPE_CHECKING:
    from ..audio.sound_files import SoundWriter
    from ..midi.recorder import Recorder

CHANNELS = 2
MIDI_SUFFIXES = (".mid", ".midi")
SPILL_SECONDS = 1.0


@dataclass
class Recording:
    sound: Path | None = None
    midi: Path | None = None

    @property
    def paths(self) -> list[Path]:
        return [path for path in (self.sound, self.midi) if path is not None]

    def __bool__(self) -> bool:
        return bool(self.paths)

    def check(self, overwrite: bool) -> None:
        """Check the files before playing.

        Raises:
            UserError: unsupported suffix, or as `check_output`.
        """
        for path in self.paths:
            check_output(path, overwrite)
        if self.sound is not None:
            from ..audio.sound_files import FORMATS

            if self.sound.suffix.lower() not in FORMATS:
                raise UserError(f"--record {self.sound} must end in {', '.join(FORMATS)}; give such a name")
        if self.midi is not None and self.midi.suffix.lower() not in MIDI_SUFFIXES:
            raise UserError(f"--record-midi {self.midi} must end in {', '.join(MIDI_SUFFIXES)}; give such a name")


class SessionRecorder:
    """Writes sound and events, without the instrument's latency."""

    def __init__(
        self, recording: Recording, setup: Setup, ready: LiveStatus, overwrite: bool, take: Take | None = None
    ) -> None:
        """``take``: where it begins, if not with the audio process."""
        self._recording, self._setup, self._ready, self._overwrite = recording, setup, ready, overwrite
        self._take = take
        self._skip = round(ready.latency_ms["instrument"] * ready.rate / 1000) if take is None else take.latency_samples
        self._sound_file, self._midi_file = contextlib.ExitStack(), contextlib.ExitStack()
        self._sound: SoundWriter | None = None
        self._midi: Recorder | None = None
        self._samples = 0
        self._began = 0 if take is None else -take.time  # sample of the recording at which the audio process started
        self._next_spill = 0.0
        self._holds = HeldEvents()

    def __enter__(self) -> "SessionRecorder":
        from ..audio.sound_files import sound_writer
        from ..midi.recorder import Recorder
        from ..preset.library import LiveOptions
        from ..preset.recording_notes import Opening, RecordingNotes

        setup, ready_status = self._setup, self._ready
        if self._recording.sound is not None:
            self._sound = self._sound_file.enter_context(
                sound_writer(self._recording.sound, ready_status.rate, CHANNELS, self._overwrite, keeps_start=True)
            )
        if self._recording.midi is not None:
            preset_names = {slot + 1: name for slot, name in ready_status.presets.items() if slot is not None}
            opening_presets = [
                Opening(name=ready_status.presets[slot], channel=None if slot is None else slot + 1, digest=digest)
                # a take notes its texts
                for slot, digest in ({} if self._take is not None else ready_status.digests).items()
            ]
            live_options = LiveOptions(voices=setup.voices, controller=setup.controller, presets=preset_names)
            recording_notes = RecordingNotes(fitting=live_options, opening=opening_presets)
            self._midi = self._midi_file.enter_context(
                Recorder(self._recording.midi, ready_status.rate, self._overwrite, recording_notes.text())
            )
            if self._take is not None:
                self.record(Swapped(self._take.time, self._take.swap))
                self.record(Events([retimed(event, self._take.time) for event in self._take.standing]))
        return self

    def __exit__(self, *error: Any) -> None:
        with contextlib.ExitStack() as closing:  # files are kept after an error, too, and each after one of the other
            closing.callback(self._midi_file.close)
            if self._midi is not None:
                closing.callback(self._midi.spill, self._samples)
            closing.callback(self._sound_file.close)  # first: it gives back the space that it holds
            if self._sound is not None:
                closing.callback(self._sound.finish)

    def go_on(self) -> None:
        """Continue with a restarted process, which counts from 0 without held keys."""
        self._began = self._samples
        if self._midi is not None:
            touch_releases = [event for event in self._holds.take_releases(()) if isinstance(event, ParameterTouch)]
            self._midi.add(retimed(event, self._began) for event in (*touch_releases, *hands_off()))

    def record(self, message: Recorded) -> None:
        """Write sound, events or a swap to the files."""
        match message:
            case Sound(data):
                self._record_sound(data)
            case Events(events) if self._midi is not None:
                self._midi.add(retimed(event, event.time + self._began) for event in events)
                for event in events:
                    self._holds.apply(event)
            case Swapped(sample, swap) if self._midi is not None:
                from ..preset.recording_notes import RecordingNotes

                self._midi.note(sample + self._began, RecordingNotes(swap=swap).text())

    def _record_sound(self, data: bytes) -> None:
        """Write samples except the instrument's latency."""
        import numpy as np

        sound = np.frombuffer(data, np.float32).reshape(-1, CHANNELS).T
        self._samples += sound.shape[1]
        skipped_samples, self._skip = min(self._skip, sound.shape[1]), max(0, self._skip - sound.shape[1])
        if self._sound is not None and skipped_samples < sound.shape[1]:
            self._sound.write(sound[:, skipped_samples:])
        if self._midi is not None and time.monotonic() > self._next_spill:
            self._next_spill = time.monotonic() + SPILL_SECONDS
            self._midi.spill(self._samples)


FOLDER = "recordings"  # of the user's
UNFIT = re.compile(r"[^\w .+#-]")  # letters of preset names that some file systems refuse


class Takes:
    """One recording at a time; a fault ends a take, never the sound."""

    def __init__(self, recording: Recording, overwrite: bool, frontends: Frontends) -> None:
        """``recording``: files for all that is played; without them pages may record."""
        self.state: Literal["off", "coming", "on", "option"] = "option" if recording else "off"
        self.start_time = 0.0  # when the take began, by time.monotonic
        self.files: tuple[str, ...] = ()  # names of the last take's
        self._recording, self._overwrite, self._frontends = recording, overwrite, frontends
        self._recorder: SessionRecorder | None = None

    @property
    def writing(self) -> bool:
        return self.state in ("on", "option")

    def ask(self, active: bool, is_playing: bool) -> Record | None:
        """Begin or end a take; return the command to the audio process, which there is while ``is_playing``."""
        if self.state == "option":
            self._frontends.show(Say("--record writes all that is played, until timbrel ends"))
        elif active and not is_playing:
            self._frontends.show(Say("nothing plays now: press Record once the sound is there"))
        elif active and self.state == "off":
            self.state = "coming"
            return Record(True)
        elif not active and self.state == "on":
            if is_playing:
                return Record(False)
            self.end(None)
        return None

    def ready(self, setup: Setup, status: LiveStatus) -> None:
        """Begin the recording of an option, or continue after a restart."""
        if self._recorder is not None:
            self._recorder.go_on()
        elif self.state == "option":
            self._recorder = SessionRecorder(self._recording, setup, status, self._overwrite).__enter__()
        elif self.state == "coming":
            self.end("nothing was recorded: the sound began again before; press Record once more")

    def begin(self, take: Take, setup: Setup, status: LiveStatus) -> None:
        """Begin to write a page's take, named by time and preset."""
        preset_name = UNFIT.sub("_", next(iter(status.presets.values())))
        file_stem = f"{datetime.now():%Y-%m-%d %H.%M.%S} {preset_name}"
        try:
            recordings_folder = own_folder(FOLDER)
            with contextlib.suppress(OSError):  # writing there reports the error
                recordings_folder.mkdir(parents=True, exist_ok=True)
            self._recording = Recording(recordings_folder / f"{file_stem}.wav", recordings_folder / f"{file_stem}.mid")
            self._recorder = SessionRecorder(self._recording, setup, status, False, take).__enter__()
        except (TimbrelError, OSError) as error:
            self.end(f"cannot record: {error}")
            return
        self.state, self.start_time, self.files = "on", time.monotonic(), ()

    def record(self, message: Recorded) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.record(message)
        except (TimbrelError, OSError) as error:
            self.end(f"the recording has ended: {_reason(error)}; playing goes on")

    def end(self, line: str | None) -> None:
        """Close the files; say where they are, after ``line`` if the recording ends by a fault."""
        is_take, recorder, self._recorder, self.state = self.state != "option", self._recorder, None, "off"
        try:
            if recorder is not None:
                recorder.__exit__()
        except (TimbrelError, OSError) as error:
            line = line or f"the recording is not whole: {_reason(error)}"
        if line is not None:
            self._frontends.show(Warn(line))
        if recorder is not None:
            kept_paths = [path for path in self._recording.paths if path.exists()]
            if is_take:
                self.files = tuple(path.name for path in kept_paths)
            if kept_paths:
                place_text = f" in {own_folder(FOLDER)}" if is_take else ""
                names_text = " and ".join(path.name if is_take else str(path) for path in kept_paths)
                self._frontends.show(Say(f"recorded {names_text}{place_text}"))

    def __enter__(self) -> "Takes":
        return self

    def __exit__(self, *error: Any) -> None:
        if self.state == "option" and self._recorder is not None:
            self._recorder.__exit__()
        elif self._recorder is not None:
            self.end(None)


def _reason(error: Exception) -> str:
    """The system's reason, or the error's text."""
    cause = error.__cause__
    return cause.strerror or str(cause) if isinstance(cause, OSError) else str(error)
