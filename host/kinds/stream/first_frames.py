"""First frames of streams, made before their note-ons."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from .decode_worker import StreamDecodeWorker
from .frame_maker import FrameInputs, MadeFrame

MOST = 32  # cached first frames


class FirstFrame(NamedTuple):
    slot: int
    pitch: float
    samples: float  # from its step of the music to the next
    step: FrameInputs

    @property
    def name(self) -> tuple[int, float, int, bytes]:
        return self.slot, self.pitch, self.step.length, self.step.code.tobytes()


@dataclass(slots=True)
class _Kept:
    first: FirstFrame
    made: "Future[MadeFrame]"
    said: int  # the last sample at which it was current


class FirstFrameCache:
    """Requests first frames one at a time, to not delay frames already due."""

    def __init__(self, aside: StreamDecodeWorker) -> None:
        self.aside = aside
        self._kept: dict[tuple[int, float, int, bytes], _Kept] = {}
        self._asked: object = ()
        self._wanted: list[_Kept] = []  # already requested of the list

    @property
    def any_ready(self) -> bool:
        return any(kept.made.done() for kept in self._kept.values())

    @property
    def idle(self) -> bool:
        return all(kept.made.done() for kept in self._kept.values())

    def want(self, asked: object, firsts: Sequence[Callable[[], FirstFrame]], time: int) -> None:
        """Request the next missing frame; mark requested ones as current at sample ``time``.

        A new value of ``asked`` restarts the list.
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

    def take_frame(self, first: FirstFrame, time: int) -> "tuple[FirstFrame, Future[MadeFrame], int]":
        """A note's first frame, or the newest ready one of its key, and its age in samples.

        A key without one gets a late frame.
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
