"""First frames of streams, made before their keys are struck."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from .decode_worker import StreamDecodeWorker
from .frame_maker import FrameInputs, Made

MOST = 32  # first frames that are kept


class FirstFrame(NamedTuple):
    """The first frame of a seed at a pitch, and what it is made of."""

    slot: int
    pitch: float
    samples: float  # from its step of the music to the next
    step: FrameInputs

    @property
    def name(self) -> tuple[int, float, int, bytes]:
        """Return what tells it from others."""
        return self.slot, self.pitch, self.step.length, self.step.code.tobytes()


@dataclass(slots=True)
class _Kept:
    first: FirstFrame
    made: "Future[Made]"
    said: int  # the last sample at which the knobs asked for it


class Firsts:
    """Has first frames made, one at a time, so that frames that are due are not kept waiting."""

    def __init__(self, aside: StreamDecodeWorker) -> None:
        self.aside = aside
        self._kept: dict[tuple[int, float, int, bytes], _Kept] = {}
        self._asked: object = ()
        self._wanted: list[_Kept] = []  # of what is asked for, from the first on

    @property
    def any_ready(self) -> bool:
        """Return whether one has been made."""
        return any(kept.made.done() for kept in self._kept.values())

    @property
    def idle(self) -> bool:
        """Return whether none is being made."""
        return all(kept.made.done() for kept in self._kept.values())

    def want(self, asked: object, firsts: Sequence[Callable[[], FirstFrame]], time: int) -> None:
        """Have the first one of these made that has not been; the knobs ask for them at sample ``time``.

        What is ``asked`` for is the same where it equals what was asked before: then none is looked at that is there.
        """
        if asked != self._asked:
            self._asked, self._wanted = asked, []
        for kept in self._wanted:
            kept.said = time
        while len(self._wanted) < len(firsts) and self.idle:
            first = firsts[len(self._wanted)]()
            if first.name not in self._kept:
                self._keep(first, time)
            self._wanted.append(self._kept[first.name])

    def take(self, first: FirstFrame, time: int) -> "tuple[FirstFrame, Future[Made], int]":
        """Return a first frame for a note: the one asked for, or what its key had last; and how old that is, samples.

        One that was never made for its key is being made, and late.
        """
        if first.name not in self._kept:
            others = [kept for name, kept in self._kept.items() if name[:2] == first.name[:2] and kept.made.done()]
            if others:
                newest = max(others, key=lambda kept: kept.said)
                return newest.first, newest.made, max(0, time - newest.said)
            self._keep(first, time)
        kept = self._kept[first.name]
        return kept.first, kept.made, 0

    def _keep(self, first: FirstFrame, time: int) -> None:
        self._kept[first.name] = _Kept(first, self.aside.ask(first.step), time)
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]
