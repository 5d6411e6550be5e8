"""Panel state that pages share: parameter values, held controls, MIDI learn, undo history."""

import time
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET, structs

from ..errors import TimbrelError, UserError
from ..events import Event, ParameterChange
from ..midi.controllers import ControllerReader
from ..preset import text as editing
from ..preset.midi_learn import LearnedKnob, MovedKnob, bound
from ..preset.shipped import Draft, shipped_tunes
from ..session.messages import (
    Events,
    Heard,
    LiveStatus,
    Load,
    Lost,
    Message,
    Playing,
    Ready,
    Record,
    Refused,
    Report,
    Say,
    Session,
    SessionView,
    Settings,
    View,
    Warn,
)
from ..session.panel_process import PipeWriter
from ..session.view import ControlView, PresetView
from . import contents, messages, presets
from .held_controls import HOLD, HeldControls
from .pages import Page, Pages
from .phrase import PhrasePlayer
from .presets import History, HistoryEntry, PresetFolder, PresetState, Values


class MidiLearn:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.target: str | None = None
        self._status_line = ""
        self._reader = ControllerReader()
        self._knob = MovedKnob({}, self.report)

    def want(self, target: str | None) -> None:
        """Learn a controller for a target; None cancels."""
        self.target = target
        self._knob = MovedKnob({}, self.report)
        self.report("")

    def add_event(self, seconds: float, event: Event | None) -> tuple[LearnedKnob, str] | None:
        """Process an event, or None as time passes; return the controller and its target once both are known."""
        if event is not None:
            event = self._reader.knob(event)  # some select their NRPN once, before the user chooses a target
        if self.target is None:
            return None
        learned_knob = self._knob.add_event(seconds, event)
        if learned_knob is None:
            return None
        target, self.target = self.target, None
        return learned_knob, target

    def report(self, line: str) -> None:
        """Show pages a line about the controllers that have moved."""
        self._status_line = line
        self._pages.send_state(learn=self.state())

    def state(self) -> dict[str, Any]:
        """The part of the panel's state."""
        return {"target": self.target, "said": self._status_line}


STAY_SECONDS = 2.0  # for which a path or a walk leaves a code that was clicked or typed
IN_FLIGHT_SECONDS = 0.5  # after which a report without the user's last change counts again


class PanelState:
    """The preset on the panel, and its edits."""

    def __init__(self, writer: PipeWriter, pages: Pages, home: Path) -> None:
        """``writer``: of commands, to the parent."""
        self._writer, self._pages, self._home = writer, pages, home
        self._presets = PresetFolder(home, home)
        self.held = HeldControls(writer)
        self._learning = MidiLearn(pages)
        self._phrase = PhrasePlayer(lambda event: writer.put(Events([event])), self._restore)
        self._values_before_phrase: dict[str, float] | None = None  # None while no phrase plays
        self._view: PresetView | None = None
        self._controls: dict[str, ControlView] = {}
        self._name, self._saved_text = "", ""  # preset name, text of its file
        self._text, self._file_values = "", dict[str, float]()  # current text, and the targets' defaults in it
        self._draft_text: str | None = None  # text of a draft being loaded
        self._draft_silent = False  # whether that draft sounds as the text before
        self._next_is_new = True  # whether the next preset is a new one, or the same reloaded from its file
        self._values: dict[str, float] = {}
        self._defaults: dict[str, float] = {}
        self._stay_until = 0.0
        self._waiting: dict[str, dict[str, float]] = {}  # by target and controller: the controller's position
        self._in_flight: dict[str, tuple[float, float]] = {}  # sent values, and until when reports may lack them
        self._histories = {"A": History(), "B": History()}
        self._side: Literal["A", "B"] = "A"
        self._other_state: PresetState | None = None
        self._status: LiveStatus | None = None
        self._session: SessionView | None = None  # None in a plugin, whose host has the card
        self._lost_reason = ""  # "" while the sound plays
        self._number = 0

    # messages of pages

    def apply(self, page: Page, message: messages.PageMessage) -> None:
        """Process a page's message; return errors to it."""
        try:
            self._do(page, message)
        except TimbrelError as error:
            for line in error.args:
                self._pages.send_line(str(line), "error", page)

    def leave(self, page: Page, last: bool = False) -> None:
        """Release all that a page holds; with the ``last`` one, Hold."""
        self._step(self.held.leave(page))
        if last:
            self.held.pedal(HOLD, False)
            self._phrase.stop()

    def _do(self, page: Page, message: messages.PageMessage) -> None:
        match message:
            case messages.NoteMessage(key=key, velocity=velocity):
                self.held.key(page, key, velocity)
            case messages.SustainMessage(down=down):
                self.held.pedal(page, down)
            case messages.HoldMessage(down=down):
                self.held.pedal(HOLD, down)
                self._pages.send_state(hold=down)
            case messages.ListenMessage(on=on):
                self._phrase.stop()
                if on and self._name in shipped_tunes():
                    self._values_before_phrase = dict(self._values)
                    self._phrase.start(shipped_tunes()[self._name], self.held.channel)
                    self._pages.send_state(listening=True)
            case messages.PanicMessage():
                self._phrase.stop()
                self.held.panic()
                self._pages.send({"t": "panic"})
                self._pages.send_state(hold=False)
            case messages.PresetsMessage():
                self._list(page)
            case messages.FavouriteMessage(name=name, on=on):
                self._presets.favour(name, on)
                self._list()
            case messages.LoadMessage(name=name):
                self._phrase.stop()
                self._writer.put(Load({None: self._presets.find(name)}))
                self._draft_text = None
            case messages.DevicesMessage() if self._session is not None:
                self._pages.list_devices(page, self._session.midi_api)
            case messages.SettingsMessage() if self._session is not None:
                settings = structs.asdict(message)
                self._writer.put(Settings({name: value for name, value in settings.items() if value is not UNSET}))
            case messages.RecordMessage(on=on) if self._session is not None:
                self._writer.put(Record(on))
            case _ if self._view is not None:
                self._change(page, message, self._view)

    def _change(self, page: Page, message: messages.PageMessage, view: PresetView) -> None:
        """Apply a message about the preset; it ends a phrase."""
        self._phrase.stop()
        match message:
            case messages.GrabMessage(targets=targets):
                self.held.grab(page, {target: self._values[target] for target in self._present_targets(targets)})
            case messages.MoveMessage(values=values):
                grabbed_targets = [target for target in self._present_targets(values) if self.held.holds(page, target)]
                self._turn({target: values[target] for target in grabbed_targets})
            case messages.DropMessage(targets=targets):
                self._step(self.held.drop(page, targets))
            case messages.SetMessage(values=values):
                old_values = {target: self._values[target] for target in self._present_targets(values)}
                self._stay(old_values)
                self._turn({target: values[target] for target in old_values})
                self._step(old_values)
            case messages.UndoMessage():
                self._go(self._history.undo())
            case messages.RedoMessage():
                self._go(self._history.redo())
            case messages.SideMessage(side=side):
                self._compare(side)
            case messages.LearnMessage(target=target):
                self._learning.want(target if target in self._controls else None)
            case messages.UnlearnMessage(target=target, source=None):
                self._edit(editing.without_maps(self._now(), target))
            case messages.UnlearnMessage(target=target) if target in self._controls:
                self._edit(presets.without_map(self._now(), message, self._controls[target]))
            case messages.BindingMessage(target=target) if target in self._controls:
                self._edit(presets.with_range(self._now(), message, self._controls[target]))
            case messages.SaveMessage(name=name, overwrite=overwrite):
                self._save(name, overwrite, view.files)
            case messages.SnapshotMessage(slot=slot, clear=clear):
                self._store(slot, None if clear else presets.stored(self._values, self._controls))
            case messages.PathMessage():
                self._edit(presets.with_path(self._now(), message, len(view.latents)))
            case messages.EffectMessage():
                self._edit(presets.with_effect(self._now(), message))

    def _restore(self) -> None:
        """Turn knobs back to their values before a phrase."""
        values, self._values_before_phrase = self._values_before_phrase or {}, None
        self._turn({target: values[target] for target in self._present_targets(values) if self._controls[target].maps})
        self._pages.send_state(listening=False)

    def _stay(self, values: Values) -> None:
        """A path or walk would silence a click."""
        if contents.has_path_or_walk(tomllib.loads(self._text)):
            self.held.grab(self, {target: value for target, value in values.items() if target.startswith("latent.")})
            self._stay_until = time.monotonic() + STAY_SECONDS

    def _present_targets(self, targets: Iterable[str]) -> list[str]:
        return [target for target in targets if target in self._controls]

    def _turn(self, values: Values) -> None:
        """Play and show new values, within the controls' ranges."""
        clamped_values: dict[str, float] = {}
        expiry_time = time.monotonic() + IN_FLIGHT_SECONDS
        for target, value in values.items():
            control = self._controls[target]
            clamped_values[target] = min(max(value, control.low), control.high)
            self._in_flight[target] = clamped_values[target], expiry_time
        if clamped_values:
            channel = self.held.channel
            self._writer.put(
                Events([ParameterChange(0, channel, target, value) for target, value in clamped_values.items()])
            )
        self._show(clamped_values)

    def _show(self, values: Values) -> None:
        """Send pages the values that have changed."""
        changed_values = {target: value for target, value in values.items() if self._values.get(target) != value}
        if changed_values:
            self._values.update(changed_values)
            self._number += 1
            self._pages.send({"t": "values", "n": self._number, "values": changed_values})

    # undo and redo

    @property
    def _history(self) -> History:
        return self._histories[self._side]

    def _step(self, old_values: Values) -> None:
        """Add an undo step from these values to the present ones."""
        changed_values = {
            target: value for target, value in old_values.items() if self._values.get(target, value) != value
        }
        if changed_values:
            self._history.add(HistoryEntry(changed_values, {target: self._values[target] for target in changed_values}))
            self._pages.send_state(preset=self._preset_state())

    def _state(self) -> PresetState:
        return PresetState(self._text, dict(self._file_values), dict(self._values))

    def _go(self, to: PresetState | Values | None) -> None:
        """Go to a state or values of the history."""
        if isinstance(to, PresetState):
            self._become(to)
        elif to is not None:
            self._turn({target: to[target] for target in self._present_targets(to)})
        self._pages.send_state(preset=self._preset_state())

    def _compare(self, side: Literal["A", "B"]) -> None:
        """Show the other side of an A/B comparison."""
        if side == self._side:
            return
        this_state, other_state = self._state(), self._other_state
        self._side, self._other_state = side, this_state
        if other_state is not None:
            self._become(other_state)
        self._pages.send_state(preset=self._preset_state())

    def _become(self, state: PresetState) -> None:
        """Replace text and values; reload the preset only if it must sound otherwise."""
        is_same_text = state.text == self._text
        if is_same_text or (self._sounds_as(state.text) and state.rests == self._file_values):
            self._turn(
                {t: state.values[t] for t in self._present_targets(state.values) if state.values[t] != self._values[t]}
            )
            if not is_same_text:
                self._draft(state.text, silent=True)
        else:
            self._draft(self._baked(state))

    def _edit(self, text: str) -> None:
        """Play an edited text, as an undo step."""
        if text == self._now():
            return
        old_state = self._state()
        self._draft(text)
        self._history.add(HistoryEntry(old_state, self._state()))
        self._pages.send_state(preset=self._preset_state())

    def _draft(self, text: str, silent: bool = False) -> None:
        """Have a text played as an unsaved preset."""
        assert self._view is not None
        self._text = self._draft_text = text
        self._draft_silent = silent
        if not silent:
            self._file_values = dict(self._values)
        self._writer.put(Load({None: Draft(self._name, text, self._view.folder, silent=silent)}))

    def _sounds_as(self, text: str) -> bool:
        """Differs in snapshots alone, and the present text plays."""
        text_plays = self._draft_text is None or self._draft_silent
        return text_plays and editing.without_snapshots(text) == editing.without_snapshots(self._text)

    def _store(self, slot: int, values: Mapping[str, float | str] | None) -> None:
        """The sound stays, also of held notes; None clears the slot."""
        if self._draft_text is not None and not self._draft_silent:
            self._edit(editing.with_snapshot(self._now(), slot, values))
            return
        old_state = self._state()
        self._draft(editing.with_snapshot(self._text, slot, values), silent=True)
        self._history.add(HistoryEntry(old_state, self._state()))
        self._pages.send_state(preset=self._preset_state())

    def _now(self) -> str:
        """The text with present values as defaults."""
        return self._baked(self._state())

    def _baked(self, state: PresetState) -> str:
        """The state's text with its values as defaults."""
        effects_renumbered = self._draft_text is not None and not self._draft_silent  # while a draft is loading
        targets = {target for target in state.values if not (effects_renumbered and target.startswith(presets.EFFECTS))}
        return presets.baked(state, targets, self._controls)

    def _save(self, name: str, overwrite: bool, files: Mapping[str, bytes]) -> None:
        """Save the preset, and play it from its file."""
        text = self._now()
        path, saved_text = self._presets.save(name, text, overwrite, files)
        if saved_text != text:  # with renamed files: earlier steps cannot be undone in it
            self._draft_text = None
            self._writer.put(Load({None: str(path)}))
            self._pages.send_line(f"saved as {path}")
            return
        self._saved_text = self._text = self._draft_text = text
        self._file_values = self._defaults = dict(self._values)
        self._name = path.stem
        self._writer.put(Load({None: str(path)}))
        self._pages.send_line(f"saved as {path}")
        self._pages.send_state(preset=self._preset_state())

    def _learn(self, event: Event | None) -> None:
        """Bind the controller that an event completes, or the passing of time."""
        if (knob_and_target := self._learning.add_event(time.monotonic(), event)) is not None:
            self._learning.report(self._bind(*knob_and_target))

    def _bind(self, knob: LearnedKnob, target: str) -> str:
        """Bind a learned controller to a target; return a line about it."""
        target_control = self._controls.get(target)
        if target_control is None:
            return f"{target} is gone"
        try:
            bound_text, sibling_targets = bound(
                self._now(), knob.keys, target, (target_control.low, target_control.high)
            )
        except UserError:
            return f"the preset cannot be edited for {knob}; add a [[cc]] to its file by hand"
        self._edit(bound_text)
        sibling_titles = [
            self._controls[sibling].title if sibling in self._controls else sibling for sibling in sibling_targets
        ]
        return f"{knob} moves {target_control.title}{''.join(f', and {title} as before' for title in sibling_titles)}"

    # reports of the audio process

    def apply_report(self, message: Message) -> None:
        """Process a message of the audio process or the session."""
        match message:
            case Ready(status):
                self.held.forget_keys()
                self._pages.send_state(hold=False)
                self.held.retouch(self._controls, status.channel)
                targets = self._present_targets(status.values)
                self._turn(
                    {target: value for target in targets if status.values[target] != (value := self._values[target])}
                )
                self._report(status)
            case Report(status):
                self._report(status)
            case View(view, again):
                self._take_view(view)
                if again and view.draft:  # of the process before, which did not save it
                    self._saved_text = ""
                    self._pages.send_state(preset=self._preset_state())
            case Playing(played):  # also presets of other channels, which are not shown
                shown_slots = {None} if self._view is None else {None, self._view.channel}
                self._next_is_new = self._next_is_new or not shown_slots.isdisjoint(played)
            case Refused(presets, lines):
                self._refused(presets, lines)
            case Session(session):
                self._session = session
                self._pages.send_state(session=contents.session(session))
            case Heard(events):
                for event in events:
                    self._learn(event)
            case Say(line):
                self._pages.send_line(line)
            case Warn(line):
                self._pages.send_line(line, "warning")
            case Lost(reason):
                self._lost_reason = reason
                self._pages.send_state(sound=contents.sound(self._status, self._lost_reason))

    def _report(self, status: LiveStatus) -> None:
        """Show a status: values, controllers that have yet to take over, and meters."""
        old_sound_state = contents.sound(self._status, self._lost_reason)
        self._status, self._lost_reason = status, ""
        self.held.channel = status.channel
        if contents.sound(status, "") != old_sound_state:
            self._pages.send_state(sound=contents.sound(status, ""))
        now = time.monotonic()
        if now >= self._stay_until:
            self.held.leave(self)
        self._learn(None)  # a controller that rests has been moved
        reported_values = {}
        for target in self._present_targets(status.values):
            sent_value, expiry_time = self._in_flight.get(target, (None, 0.0))
            if sent_value == status.values[target] or now >= expiry_time:
                self._in_flight.pop(target, None)
                if not self.held.is_held(target):
                    reported_values[target] = status.values[target]
        if self._draft_text is None:
            was_dirty = self._is_dirty
            self._show(reported_values)
            if self._is_dirty != was_dirty:
                self._pages.send_state(preset=self._preset_state())
        if (waiting_positions := contents.waiting(status)) != self._waiting:
            self._waiting = waiting_positions
            self._pages.send_state(waiting=waiting_positions)
        self._pages.send(contents.meters(status))

    def _take_view(self, view: PresetView) -> None:
        """Show a loaded preset; a draft or reloaded one keeps values and undo steps."""
        if self._draft_text is not None and view.text != self._draft_text:
            return  # an earlier request
        is_draft, is_silent_draft = self._draft_text is not None, self._draft_text is not None and self._draft_silent
        is_same_preset = is_draft or (view.text == self._text and not self._next_is_new)
        old_view, model_and_data = self._view, (view.model, view.model_data)
        model_stays = old_view is not None and (old_view.model, old_view.model_data) == model_and_data
        self._view, self._draft_text, self._next_is_new, self._text = view, None, False, view.text
        self._controls = {control.target: control for control in view.controls}
        self._file_values = {control.target: control.rest for control in view.controls}
        if is_same_preset:
            kept_values = {
                target: value
                for target, value in self._values.items()
                if is_silent_draft or not target.startswith(presets.EFFECTS)
            }
            self._defaults = {
                target: self._defaults.get(target, default) for target, default in self._file_values.items()
            }
        else:
            kept_values, self._values_before_phrase = {}, None
            self._phrase.stop()
            self._name, self._saved_text, self._presets = view.name, view.text, PresetFolder(view.folder, self._home)
            self._histories, self._side, self._other_state = {"A": History(), "B": History()}, "A", None
            self._defaults = dict(self._file_values)
        kept_values = {
            target: value for target, value in kept_values.items() if value != self._file_values.get(target, value)
        }
        self._waiting = {}
        self.held.retouch(self._controls, view.channel)
        if is_draft and not is_silent_draft:
            self._values = dict(self._file_values)
            self._turn(kept_values)
        else:  # the same sound, or that of another process, not ready yet
            self._values = self._file_values | kept_values
        if not is_same_preset or (self._learning.target is not None and self._learning.target not in self._controls):
            self._learning.want(None)
        self._pages.send_state(**self.state())
        if not model_stays:
            self._pages.show_map(*model_and_data)

    def _refused(self, requested_presets: Mapping[Any, Any], lines: Iterable[str]) -> None:
        """Show why presets cannot be played; drop the draft if it is among them."""
        for line in lines:
            self._pages.send_line(line, "error")
        draft_texts = [preset.text for preset in requested_presets.values() if isinstance(preset, Draft)]
        if self._draft_text in draft_texts and self._view is not None:
            self._history.forget(self._draft_text)
            self._draft_text, self._text = None, self._view.text
            self._file_values = {control.target: control.rest for control in self._view.controls}
            self._pages.send_state(preset=self._preset_state())

    # messages to pages

    def state(self) -> dict[str, Any]:
        """The panel's contents, without meters."""
        view = self._view
        preset_fields = tomllib.loads(self._text)
        moving_targets = contents.moving(preset_fields, self._controls)
        return {
            "model": None if view is None else contents.model(view),
            "preset": self._preset_state(),
            "controls": [
                contents.control(control, self._values[target], self._defaults[target], target in moving_targets)
                for target, control in self._controls.items()
            ],
            "waiting": self._waiting,
            "effects": contents.effects(preset_fields),
            "available_effects": contents.available_effects(),
            "keys": None if view is None else contents.keys(view),
            "learn": self._learning.state(),
            "hold": self.held.holding,
            "listening": self._phrase.playing,
            "session": contents.session(self._session),
            "sound": contents.sound(self._status, self._lost_reason),
        }

    @property
    def _is_dirty(self) -> bool:
        values = self._values if self._values_before_phrase is None else self._values_before_phrase
        return self._text != self._saved_text or values != self._file_values

    def _preset_state(self) -> dict[str, Any]:
        """The preset's part of the state."""
        preset_fields = tomllib.loads(self._text)
        path_motion = contents.path_motion(preset_fields)
        return {
            "name": self._name,
            "description": str(preset_fields.get("description", "")),
            "dirty": self._is_dirty,
            "can_undo": bool(self._history.undo_steps),
            "can_redo": bool(self._history.redo_steps),
            "side": self._side,
            "warnings": [] if self._view is None else list(self._view.warnings),
            "motion": bool(preset_fields.get("motion")),
            "path": None if path_motion is None else contents.path(path_motion),
            "snapshots": contents.snapshots(preset_fields, self._controls),
        }

    def _list(self, page: Page | None = None) -> None:
        """Send the list of presets to a page; None for all."""
        self._pages.send({"t": "presets", "list": [vars(entry) for entry in self._presets.listed()]}, page)
