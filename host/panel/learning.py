"""Learning by click: a target waits, and the next knob that is moved is its own."""

from collections.abc import Callable

from ..events import Event
from ..patch.midi_learn import MovedKnob


class Learning:
    """The target that waits for a knob, if one does."""

    def __init__(self, bind: Callable[[int, str], str], changed: Callable[[], None]) -> None:
        """``bind(number, target)`` gives a target its controller and says what came of it; ``changed`` is told."""
        self._bind, self._changed = bind, changed
        self.target: str | None = None
        self.said = ""
        self._knob = MovedKnob({}, self._pass_over)

    def want(self, target: str | None) -> None:
        """Let a target wait, or none."""
        self.target, self.said = target, ""
        self._knob = MovedKnob({}, self._pass_over)
        self._changed()

    def hear(self, seconds: float, event: Event | None) -> None:
        """Take what came in at a time, or that only time went on."""
        if self.target is None:
            return
        number = self._knob.hear(seconds, event)
        if number is not None:
            target, self.target = self.target, None
            self.said = self._bind(number, target)
            self._changed()

    def _pass_over(self, line: str) -> None:
        self.said = line
        self._changed()
