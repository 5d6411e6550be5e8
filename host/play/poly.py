"""Each key is a voice of its own."""

from collections.abc import Callable, Mapping

from ..engines.stream import Stream
from .envelope import Envelope
from .mpe import Touch
from .voices import Voices


class Poly(Voices):
    """A key is a voice; when all are in use the one released longest ago gives way, else the oldest."""

    def __init__(
        self,
        limit: int,
        sample_rate: int,
        begin: Callable[[float, int], Stream],
        shape: Callable[[int], Envelope],
        release: Callable[[], int],
        touch: Callable[[int], Touch | None],
        zone: Callable[[int], int | None],
        tuning: Mapping[int, float],
    ) -> None:
        """``limit``: voices that sound at a time, those that fade for another not counted."""
        super().__init__(sample_rate, begin, shape, release, touch, zone, tuning)
        self._limit = limit

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down: a voice begins, and one of the same key is released."""
        note = (channel, key)
        self._down.add(note)
        for voice in self._voices:
            if voice.note == note:
                self._let_go(voice, time)
        if len(self._sounding(time)) >= self._limit:
            self.shed(time)
        self._sound(time, note, gain)

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """A key comes up: its voice is released, or waits for a pedal."""
        note = (channel, key)
        self._down.discard(note)
        for voice in self._voices:
            if voice.note == note and voice.down:
                voice.down = False
                if not self._holds(note):
                    self._let_go(voice, time)

    def _settle(self, time: int) -> None:
        for voice in self._voices:
            if not voice.down and not self._holds(voice.note):
                self._let_go(voice, time)


class Latch(Poly):
    """A key begins a voice that goes on when it comes up; pressed again, it is as if it came up only then.

    Pedals hold what is let go, and all notes off (CC 123) lets go of every key.
    """

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down: its voice is released, on whatever channel it was begun, or one begins if none is held."""
        held = next((voice.note for voice in self._sounding(time) if voice.key == key and voice.down), None)
        if held is None:
            super().note_on(time, key, gain, channel)
        else:
            super().note_off(time, key, held[0])

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """A key comes up: nothing changes."""
