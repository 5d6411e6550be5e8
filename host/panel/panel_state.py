"""Panel state shared by all pages: parameter values, held controls, undo history. Independent of the server.

Input: messages of pages (`protocol`), and reports of the audio process. Output: an `PanelOutput`.
"""

import time
import tomllib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from ..errors import TimbrelError
from ..events import Event, ParameterChange
from ..live.messages import LiveStatus
from ..live.preset_view import Dial, PresetView
from ..patch.text import editing
from ..patch.text.binding import bound
from ..shipped import Draft
from . import preset_edits, protocol, serialize
from .held_controls import HeldControls
from .midi_learn import MidiLearn
from .presets import PresetFolder
from .undo_history import History, HistoryEntry, PresetState, Values

IN_FLIGHT_SECONDS = 0.5  # after which a report without the user's last change counts again


class PanelOutput(Protocol):
    """Outputs: to the audio process and to pages."""

    def play(self, event: Event) -> None: ...

    def turn(self, turns: Sequence[ParameterChange]) -> None:
        """Set parameters; of those pending for one target, only the last is sent."""
        ...

    def load(self, preset: str | Draft) -> None: ...

    def tell(self, message: Mapping[str, Any], page: Hashable | None = None) -> None:
        """Send a message to a page, or to all (None)."""
        ...

    def show_map(self, model: Path, data: bytes | None) -> None:
        """Show the map of a model's file, or of its ``data``, once computed; until then, none."""
        ...


class PanelState:
    """The preset on the panel, and the edits of its pages; a page is any hashable object."""

    def __init__(self, out: PanelOutput, home: Path) -> None:
        """``home`` is the preset folder for presets without one."""
        self._out, self._home = out, home
        self._presets = PresetFolder(home, home)
        self._hands = HeldControls(out.play)
        self._learning = MidiLearn(self._bind, lambda: self._tell(learn=self._learn_state()))
        self._sheet: PresetView | None = None
        self._dials: dict[str, Dial] = {}
        self._name, self._kept = "", ""  # preset name, text of its file
        self._text, self._rests = "", dict[str, float]()  # current text, and the targets' defaults in it
        self._asked: str | None = None  # text of a draft being loaded
        self._anew = True  # whether the next preset is a new one, or the same reloaded from its file
        self._values: dict[str, float] = {}
        self._defaults: dict[str, float] = {}
        self._waiting: dict[str, dict[str, float]] = {}  # by target and controller: the controller's position
        self._in_flight: dict[str, tuple[float, float]] = {}  # sent values, and until when reports may lack them
        self._histories = {"A": History(), "B": History()}
        self._side: Literal["A", "B"] = "A"
        self._other: PresetState | None = None
        self._status: LiveStatus | None = None
        self._away = True
        self._number = 0

    # messages of pages

    def hear(self, page: Hashable, word: protocol.PageMessage) -> None:
        """Process a page's message; errors are returned to the page."""
        try:
            self._do(page, word)
        except TimbrelError as error:
            for line in error.args:
                self._say(str(line), "error", page)

    def leave(self, page: Hashable) -> None:
        """Release the controls of a page that has disconnected."""
        self._step(self._hands.leave(page))

    def _do(self, page: Hashable, word: protocol.PageMessage) -> None:
        match word:
            case protocol.NoteMessage(key=key, velocity=velocity):
                self._hands.key(page, key, velocity)
            case protocol.SustainMessage(down=down):
                self._hands.pedal(page, down)
            case protocol.PanicMessage():
                self._hands.panic()
            case protocol.PresetsMessage():
                self._out.tell({"t": "presets", "list": [vars(one) for one in self._presets.listed()]}, page)
            case protocol.LoadMessage(name=name):
                self._out.load(self._presets.find(name))
                self._asked = None
            case _ if self._sheet is not None:
                self._change(page, word, self._sheet)

    def _change(self, page: Hashable, word: protocol.PageMessage, sheet: PresetView) -> None:
        match word:
            case protocol.GrabMessage(targets=targets):
                self._hands.grab(page, {target: self._values[target] for target in self._known(targets)})
            case protocol.MoveMessage(values=values):
                held = [target for target in self._known(values) if self._hands.holds(page, target)]
                self._turn({target: values[target] for target in held})
            case protocol.DropMessage(targets=targets):
                self._step(self._hands.drop(page, targets))
            case protocol.SetMessage(values=values):
                before = {target: self._values[target] for target in self._known(values)}
                self._turn({target: values[target] for target in before})
                self._step(before)
            case protocol.UndoMessage():
                self._go(self._history.undo())
            case protocol.RedoMessage():
                self._go(self._history.redo())
            case protocol.SideMessage(side=side):
                self._compare(side)
            case protocol.LearnMessage(target=target):
                self._learning.want(target if target in self._dials else None)
            case protocol.UnlearnMessage(target=target):
                self._edit(editing.without_maps(self._now(), target))
            case protocol.SaveMessage(name=name, overwrite=overwrite):
                self._save(name, overwrite, sheet.files)
            case protocol.PathMessage():
                self._edit(preset_edits.with_path(self._now(), word, len(sheet.latents)))
            case protocol.EffectMessage():
                self._edit(preset_edits.with_effect(self._now(), word))

    def _known(self, targets: Iterable[str]) -> list[str]:
        return [target for target in targets if target in self._dials]

    def _turn(self, values: Values) -> None:
        reached: dict[str, float] = {}
        until = time.monotonic() + IN_FLIGHT_SECONDS
        for target, value in values.items():
            dial = self._dials[target]
            reached[target] = min(max(value, dial.low), dial.high)
            self._in_flight[target] = reached[target], until
        if reached:
            self._out.turn(
                [ParameterChange(0, self._hands.channel, target, value) for target, value in reached.items()]
            )
        self._show(reached)

    def _show(self, values: Values) -> None:
        fresh = {target: value for target, value in values.items() if self._values.get(target) != value}
        if fresh:
            self._values.update(fresh)
            self._number += 1
            self._out.tell({"t": "values", "n": self._number, "values": fresh})

    # undo and redo

    @property
    def _history(self) -> History:
        return self._histories[self._side]

    def _step(self, before: Values) -> None:
        """Record a gesture with these start values, if it changed any."""
        changed = {target: value for target, value in before.items() if self._values.get(target, value) != value}
        if changed:
            self._history.add(HistoryEntry(changed, {target: self._values[target] for target in changed}))
            self._tell(preset=self._preset_state())

    def _state(self) -> PresetState:
        return PresetState(self._text, dict(self._rests), dict(self._values))

    def _go(self, to: PresetState | Values | None) -> None:
        if isinstance(to, PresetState):
            self._become(to)
        elif to is not None:
            self._turn({target: to[target] for target in self._known(to)})
        self._tell(preset=self._preset_state())

    def _compare(self, side: Literal["A", "B"]) -> None:
        """Switch between sides A and B; B begins as a copy of A."""
        if side == self._side:
            return
        here, there = self._state(), self._other
        self._side, self._other = side, here
        if there is not None:
            self._become(there)
        self._tell(preset=self._preset_state())

    def _become(self, state: PresetState) -> None:
        if state.text == self._text:
            self._turn({t: state.values[t] for t in self._known(state.values) if state.values[t] != self._values[t]})
        else:
            self._draft(self._baked(state))

    def _edit(self, text: str) -> None:
        if text == self._now():
            return
        before = self._state()
        self._draft(text)
        self._history.add(HistoryEntry(before, self._state()))
        self._tell(preset=self._preset_state())

    def _draft(self, text: str) -> None:
        """Request a text whose defaults are the current values."""
        assert self._sheet is not None
        self._text = self._asked = text
        self._rests = dict(self._values)
        self._out.load(Draft(self._name, text, self._sheet.folder))

    def _now(self) -> str:
        return self._baked(self._state())

    def _baked(self, state: PresetState) -> str:
        numbers_change = self._asked is not None  # of effects, while a draft is loading
        kept = {target for target in state.values if not (numbers_change and target.startswith(preset_edits.EFFECTS))}
        return preset_edits.baked(state, kept, self._dials)

    def _save(self, name: str, overwrite: bool, files: Mapping[str, bytes]) -> None:
        text = self._now()
        path, saved = self._presets.save(name, text, overwrite, files)
        if saved != text:  # with renamed files: earlier steps cannot be undone in it
            self._asked = None
            self._out.load(str(path))
            self._say(f"saved as {path}")
            return
        self._kept = self._text = self._asked = text
        self._rests = self._defaults = dict(self._values)
        self._name = path.stem
        self._out.load(str(path))
        self._say(f"saved as {path}")
        self._tell(preset=self._preset_state())

    def _bind(self, number: int, target: str) -> str:
        dial = self._dials.get(target)
        if dial is None:
            return f"{target} is gone"
        try:
            text, others = bound(self._now(), number, target, (dial.low, dial.high))
        except ValueError:
            return f"the preset cannot be edited for CC {number}; add a [[cc]] to its file by hand"
        self._edit(text)
        also = [self._dials[other].title if other in self._dials else other for other in others]
        return f"CC {number} moves {dial.title}{''.join(f', and {other} as before' for other in also)}"

    # reports of the audio process

    def take(self, kind: str, what: Any) -> None:
        match kind:
            case "ready":
                self._hands.forget_keys()
                self._hands.again(self._dials, what.channel)
                away = [target for target in self._known(what.values) if what.values[target] != self._values[target]]
                self._turn({target: self._values[target] for target in away})
                self._report(what)
            case "report":
                self._report(what)
            case "sheet":
                self._take_sheet(what)
            case "playing":
                self._anew = True
            case "refused":
                self._refused(*what)
            case "heard":
                for event in what:
                    self._learning.hear(time.monotonic(), event)
            case "say":
                self._say(what)
            case "lost":
                self._away = True
                self._say(what, "warning")
                self._tell(sound=serialize.sound(self._status, self._away))

    def _report(self, status: LiveStatus) -> None:
        before = serialize.sound(self._status, self._away)
        self._status, self._away = status, False
        self._hands.channel = status.channel
        if serialize.sound(status, self._away) != before:
            self._tell(sound=serialize.sound(status, self._away))
        now = time.monotonic()
        self._learning.hear(now, None)  # a controller that rests has been moved
        values = {}
        for target in self._known(status.values):
            value, until = self._in_flight.get(target, (None, 0.0))
            if value == status.values[target] or now >= until:
                self._in_flight.pop(target, None)
                if not self._hands.held(target):
                    values[target] = status.values[target]
        if self._asked is None:
            self._show(values)
        if (waiting := serialize.waiting(status)) != self._waiting:
            self._waiting = waiting
            self._tell(waiting=waiting)
        self._out.tell(serialize.meters(status))

    def _take_sheet(self, sheet: PresetView) -> None:
        if self._asked is not None and sheet.text != self._asked:
            return  # an earlier request
        asked = self._asked is not None
        own = asked or (sheet.text == self._text and not self._anew)
        before, model = self._sheet, (sheet.model, sheet.model_data)
        model_stays = before is not None and (before.model, before.model_data) == model
        self._sheet, self._asked, self._anew, self._text = sheet, None, False, sheet.text
        self._dials = {dial.target: dial for dial in sheet.dials}
        self._rests = {dial.target: dial.rest for dial in sheet.dials}
        if own:
            stays = {
                target: value for target, value in self._values.items() if not target.startswith(preset_edits.EFFECTS)
            }
            self._defaults = {target: self._defaults.get(target, rest) for target, rest in self._rests.items()}
        else:
            stays = {}
            self._name, self._kept, self._presets = sheet.name, sheet.text, PresetFolder(sheet.folder, self._home)
            self._histories, self._side, self._other = {"A": History(), "B": History()}, "A", None
            self._defaults = dict(self._rests)
        stays = {target: value for target, value in stays.items() if value != self._rests.get(target, value)}
        self._waiting = {}
        self._hands.again(self._dials, sheet.channel)
        if asked:
            self._values = dict(self._rests)
            self._turn(stays)
        else:  # of another process, not ready yet
            self._values = self._rests | stays
        if self._learning.target not in self._dials:
            self._learning.want(None)
        self._tell(**self.state())
        if not model_stays:
            self._tell(map=None)
            self._out.show_map(*model)

    def _refused(self, wanted: Mapping[Any, Any], lines: Iterable[str]) -> None:
        for line in lines:
            self._say(line, "error")
        texts = [preset.text for preset in wanted.values() if isinstance(preset, Draft)]
        if self._asked in texts and self._sheet is not None:
            self._history.forget(self._asked)
            self._asked, self._text = None, self._sheet.text
            self._rests = {dial.target: dial.rest for dial in self._sheet.dials}
            self._tell(preset=self._preset_state())

    # messages to pages

    def state(self) -> dict[str, Any]:
        """Return the panel's contents, except frequently changing values."""
        sheet = self._sheet
        fields = tomllib.loads(self._text)
        moving = serialize.moving(fields, self._dials)
        return {
            "model": None if sheet is None else serialize.model(sheet),
            "preset": self._preset_state(),
            "controls": [
                serialize.control(dial, self._values[target], self._defaults[target], target in moving)
                for target, dial in self._dials.items()
            ],
            "waiting": self._waiting,
            "effects": serialize.effects(fields),
            "available_effects": serialize.available_effects(),
            "keys": {"low": 0, "high": 127, "center": 60} if sheet is None else serialize.keys(sheet),
            "learn": self._learn_state(),
            "sound": serialize.sound(self._status, self._away),
        }

    def _preset_state(self) -> dict[str, Any]:
        fields = tomllib.loads(self._text)
        return {
            "name": self._name,
            "description": str(fields.get("description", "")),
            "dirty": self._text != self._kept or self._values != self._rests,
            "can_undo": bool(self._history.done),
            "can_redo": bool(self._history.undone),
            "side": self._side,
            "warnings": [] if self._sheet is None else list(self._sheet.warnings),
            "motion": bool(fields.get("motion")),
            "path": serialize.path(fields),
        }

    def _learn_state(self) -> dict[str, Any]:
        return {"target": self._learning.target, "said": self._learning.said}

    def _tell(self, **parts: Any) -> None:
        self._out.tell({"t": "state", "state": parts})

    def _say(self, line: str, kind: str = "note", page: Hashable | None = None) -> None:
        self._out.tell({"t": "say", "line": line, "kind": kind}, page)
