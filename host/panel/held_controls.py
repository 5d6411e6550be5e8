"""Held keys, pedal and parameters by page: released once no page holds them."""

from collections.abc import Hashable, Iterable, Mapping

from ..events import ControlChange, Event, NoteOff, NoteOn, ParameterTouch
from ..session.messages import Events
from ..session.panel_process import PipeWriter

SUSTAIN = 64
PANIC = (SUSTAIN, 123, 120)  # the pedal up, all notes off, all sound off
HOLD = "hold"  # in place of a page: the button that all pages share


class HeldControls:
    def __init__(self, writer: PipeWriter) -> None:
        """``writer``: to the parent."""
        self._writer = writer
        self.channel = 0
        self._keys: dict[Hashable, set[int]] = {}
        self._pedals: set[Hashable] = set()
        self._holds: dict[Hashable, dict[str, float]] = {}  # with a target's value at the time of the grab

    def _play(self, event: Event) -> None:
        self._writer.put(Events([event]))

    def key(self, page: Hashable, key: int, velocity: int) -> None:
        """Velocity 0 releases the key."""
        page_keys = self._keys.setdefault(page, set())
        if velocity:
            page_keys.add(key)
            self._play(NoteOn(0, self.channel, key, velocity))
        elif key in page_keys:
            page_keys.remove(key)
            if not any(key in keys for keys in self._keys.values()):
                self._play(NoteOff(0, self.channel, key))

    def pedal(self, page: Hashable, down: bool) -> None:
        """Press or release the sustain pedal, which is down while any page holds it."""
        was_down = bool(self._pedals)
        if down:
            self._pedals.add(page)
        else:
            self._pedals.discard(page)
        if bool(self._pedals) != was_down:
            self._play(ControlChange(0, self.channel, SUSTAIN, 127 * bool(self._pedals)))

    @property
    def holding(self) -> bool:
        return HOLD in self._pedals

    def panic(self) -> None:
        """Release all keys and pedals, and silence all notes."""
        self._keys.clear()
        self._pedals.clear()
        for controller_number in PANIC:
            self._play(ControlChange(0, self.channel, controller_number, 0))

    def grab(self, page: Hashable, values: Mapping[str, float]) -> None:
        """Hold targets; ``values``: their present ones."""
        page_grabs = self._holds.setdefault(page, {})
        for target, value in values.items():
            if not self.is_held(target):
                self._play(ParameterTouch(0, self.channel, target, True))
            page_grabs.setdefault(target, value)

    def drop(self, page: Hashable, targets: Iterable[str]) -> dict[str, float]:
        """Release targets; return their values when grabbed."""
        page_grabs, grab_values = self._holds.get(page, {}), {}
        for target in targets:
            if target in page_grabs:
                grab_values[target] = page_grabs.pop(target)
                if not self.is_held(target):
                    self._play(ParameterTouch(0, self.channel, target, False))
        return grab_values

    def release_keys(self, page: Hashable) -> None:
        for key in sorted(self._keys.get(page, ())):
            self.key(page, key, 0)

    def leave(self, page: Hashable) -> dict[str, float]:
        """Release all controls of a page; return as `drop`."""
        self.release_keys(page)
        self.pedal(page, False)
        grab_values = self.drop(page, list(self._holds.get(page, {})))
        self._keys.pop(page, None)
        self._holds.pop(page, None)
        return grab_values

    def holds(self, page: Hashable, target: str) -> bool:
        return target in self._holds.get(page, {})

    def is_held(self, target: str) -> bool:
        return any(target in page_grabs for page_grabs in self._holds.values())

    def retouch(self, targets: Iterable[str], channel: int) -> None:
        """Touch held targets again in another rack; forget those that it lacks."""
        self.channel = channel
        rack_targets = set(targets)
        for page_grabs in self._holds.values():
            for target in [target for target in page_grabs if target not in rack_targets]:
                del page_grabs[target]
        for target in sorted({target for page_grabs in self._holds.values() for target in page_grabs}):
            self._play(ParameterTouch(0, channel, target, True))

    def forget_keys(self) -> None:
        self._keys.clear()
        self._pedals.clear()
