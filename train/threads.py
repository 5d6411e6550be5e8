"""How many threads torch computes with: as many as are of use beside what else the machine does.

Torch's threads share each sum and wait for each other many times a step, so where other work wants the same processors,
all are as slow as the one that is held up most. Who gets how much of a processor is the system's affair and cannot be
told from here; which of two counts is faster can.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

TURN_SECONDS = 0.05  # of steps with one count: longer than a scheduler lets others go first
TURNS = 3  # of each count in a trial, one after the other: the median forgives one that was held up
LOST = 1.25  # a count whose first turn takes this much longer is let go at once
BETTER = 0.97  # one that takes less than this is kept; between, both are the same
SHARE = 50  # a trial may lose one part in so many of the time until the next
SOONEST_SECONDS, LATEST_SECONDS = 1.0, 10.0  # from one trial to the next


@dataclass
class _Trial:
    """Turns of two counts, by their places in the list of all."""

    other: int
    turn: list[float] = field(default_factory=list)  # seconds of each step of the present turn
    mine: list[float] = field(default_factory=list)  # seconds a step, of each turn
    theirs: list[float] = field(default_factory=list)
    spent: float = 0.0  # seconds in turns of the other

    @property
    def decided(self) -> bool:
        return len(self.mine) == TURNS or (len(self.mine) == 1 and self.theirs[0] > LOST * self.mine[0])


class Threads:
    """Keeps the count of threads that is the fastest now: torch's own, or that halved once or more.

    Now and then it tries a neighbour for a few steps, the sooner again the less that cost. ``OMP_NUM_THREADS``, where
    it is set, is obeyed.
    """

    def __init__(
        self,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        """Begin with as many threads as torch has now.

        Args:
            device: that computes; on others than the CPU, threads do not matter.
            clock: in seconds.
            use: told the count for the steps that follow.
        """
        self._clock, self._use = clock, use
        self._counts = [torch.get_num_threads()]
        if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            while self._counts[-1] > 1:
                self._counts.append(self._counts[-1] // 2)
        self._place = 0  # of the count that is kept
        self._trial: _Trial | None = None
        self._tried = 0  # trials so far
        self._next = clock() + SOONEST_SECONDS  # a run's first steps are slow for other reasons

    def close(self) -> None:
        """Give torch all its threads back."""
        self._take(0)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Go around a step of training, and nothing else: the time that it takes decides."""
        began = self._clock()
        yield
        now = self._clock()
        if self._trial is not None:
            self._judge(self._trial, now - began, now)
        elif now >= self._next and len(self._counts) > 1:
            beside = [place for place in (self._place + 1, self._place - 1) if 0 <= place < len(self._counts)]
            self._trial = _Trial(beside[self._tried % len(beside)])
            self._tried += 1
            self._take(self._trial.other)

    def _judge(self, trial: _Trial, seconds: float, now: float) -> None:
        trial.turn.append(seconds)
        if sum(trial.turn) < TURN_SECONDS:
            return
        if len(trial.theirs) == len(trial.mine):
            trial.theirs.append(statistics.mean(trial.turn))
            trial.spent += sum(trial.turn)
            self._take(self._place)
        else:
            trial.mine.append(statistics.mean(trial.turn))
            if trial.decided:
                self._end(trial, now)
            else:
                self._take(trial.other)
        trial.turn = []

    def _end(self, trial: _Trial, now: float) -> None:
        ratio = statistics.median(trial.theirs) / statistics.median(trial.mine)
        if ratio < BETTER:
            self._place = trial.other
            self._take(self._place)
        lost = trial.spent * (1 - 1 / ratio)  # seconds
        self._next = now + min(max(SHARE * lost, SOONEST_SECONDS), LATEST_SECONDS)
        self._trial = None

    def _take(self, place: int) -> None:
        if len(self._counts) > 1:
            self._use(self._counts[place])
