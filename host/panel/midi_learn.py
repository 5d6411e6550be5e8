"""MIDI learn in the panel: binds the next controller that moves to the target."""

from collections.abc import Callable

from ..events import Event
from ..patch.midi_learn import MovedKnob


class MidiLearn:
    def __init__(self, bind: Callable[[int, str], str], changed: Callable[[], None]) -> None:
        """``bind(number, target)`` binds a controller and returns a message; ``changed()`` is called on changes."""
        self._bind, self._changed = bind, changed
        self.target: str | None = None
        self.said = ""
        self._knob = MovedKnob({}, self._pass_over)

    def want(self, target: str | None) -> None:
        self.target, self.said = target, ""
        self._knob = MovedKnob({}, self._pass_over)
        self._changed()

    def add_event(self, seconds: float, event: Event | None) -> None:
        """Process an event, or None as time passes."""
        if self.target is None:
            return
        number = self._knob.add_event(seconds, event)
        if number is not None:
            target, self.target = self.target, None
            self.said = self._bind(number, target)
            self._changed()

    def _pass_over(self, line: str) -> None:
        self.said = line
        self._changed()
