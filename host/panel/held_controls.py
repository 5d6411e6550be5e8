"""Held keys, pedal and parameters by page: released once no page holds them."""

from collections.abc import Callable, Hashable, Iterable, Mapping

from ..events import ControlChange, Event, NoteOff, NoteOn, ParameterTouch

SUSTAIN = 64
PANIC = (SUSTAIN, 123, 120)  # the pedal up, all notes off, all sound off
HOLD = "hold"  # in place of a page: the button that all pages share


class HeldControls:
    def __init__(self, play: Callable[[Event], None]) -> None:
        self._play = play
        self.channel = 0
        self._keys: dict[Hashable, set[int]] = {}
        self._pedals: set[Hashable] = set()
        self._holds: dict[Hashable, dict[str, float]] = {}  # with a target's value at the time of the grab

    def key(self, page: Hashable, key: int, velocity: int) -> None:
        """Velocity 0 releases the key."""
        own = self._keys.setdefault(page, set())
        if velocity:
            own.add(key)
            self._play(NoteOn(0, self.channel, key, velocity))
        elif key in own:
            own.remove(key)
            if not any(key in keys for keys in self._keys.values()):
                self._play(NoteOff(0, self.channel, key))

    def pedal(self, page: Hashable, down: bool) -> None:
        before = bool(self._pedals)
        if down:
            self._pedals.add(page)
        else:
            self._pedals.discard(page)
        if bool(self._pedals) != before:
            self._play(ControlChange(0, self.channel, SUSTAIN, 127 * bool(self._pedals)))

    @property
    def holding(self) -> bool:
        return HOLD in self._pedals

    def panic(self) -> None:
        self._keys.clear()
        self._pedals.clear()
        for number in PANIC:
            self._play(ControlChange(0, self.channel, number, 0))

    def grab(self, page: Hashable, values: Mapping[str, float]) -> None:
        own = self._holds.setdefault(page, {})
        for target, value in values.items():
            if not self.held(target):
                self._play(ParameterTouch(0, self.channel, target, True))
            own.setdefault(target, value)

    def drop(self, page: Hashable, targets: Iterable[str]) -> dict[str, float]:
        """Release targets; return their values when grabbed."""
        own, before = self._holds.get(page, {}), {}
        for target in targets:
            if target in own:
                before[target] = own.pop(target)
                if not self.held(target):
                    self._play(ParameterTouch(0, self.channel, target, False))
        return before

    def release_keys(self, page: Hashable) -> None:
        for key in sorted(self._keys.get(page, ())):
            self.key(page, key, 0)

    def leave(self, page: Hashable) -> dict[str, float]:
        """Release all controls of a page; return as `drop`."""
        self.release_keys(page)
        self.pedal(page, False)
        before = self.drop(page, list(self._holds.get(page, {})))
        self._keys.pop(page, None)
        self._holds.pop(page, None)
        return before

    def holds(self, page: Hashable, target: str) -> bool:
        return target in self._holds.get(page, {})

    def held(self, target: str) -> bool:
        return any(target in own for own in self._holds.values())

    def again(self, targets: Iterable[str], channel: int) -> None:
        """Touch held targets again in another rack; forget those that it lacks."""
        self.channel = channel
        known = set(targets)
        for own in self._holds.values():
            for target in [target for target in own if target not in known]:
                del own[target]
        for target in sorted({target for own in self._holds.values() for target in own}):
            self._play(ParameterTouch(0, channel, target, True))

    def forget_keys(self) -> None:
        self._keys.clear()
        self._pedals.clear()
