"""MIDI learn in the panel: binds the next controller that moves to the target."""

from collections.abc import Callable

from ..events import Event
from ..patch.midi_learn import LearnedKnob, MovedKnob
from ..play.controller_state import ControllerReader


class MidiLearn:
    def __init__(self, bind: Callable[[LearnedKnob, str], str], changed: Callable[[], None]) -> None:
        """``bind(knob, target)`` binds a controller and returns a message; ``changed()`` is called on changes."""
        self._bind, self._changed = bind, changed
        self.target: str | None = None
        self.said = ""
        self._reader = ControllerReader()
        self._knob = MovedKnob({}, self._pass_over)

    def want(self, target: str | None) -> None:
        self.target, self.said = target, ""
        self._knob = MovedKnob({}, self._pass_over)
        self._changed()

    def add_event(self, seconds: float, event: Event | None) -> None:
        """Process an event, or None as time passes."""
        if event is not None:
            event = self._reader.knob(event)  # some select their NRPN once, before the user chooses a target
        if self.target is None:
            return
        knob = self._knob.add_event(seconds, event)
        if knob is not None:
            target, self.target = self.target, None
            self.said = self._bind(knob, target)
            self._changed()

    def _pass_over(self, line: str) -> None:
        self.said = line
        self._changed()
