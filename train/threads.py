"""How many threads torch computes with: as many as are of use beside what else the machine does.

Torch's threads share each sum and wait for each other many times a step, so where other work wants the same processors,
all are as slow as the one that is held up most. Which of two counts is faster can be measured, while there is a
processor for one thread at least. Where there is not, a second one takes its time from the first: the system shares
processors among programs, not threads, and over seconds, so that a short comparison would flatter it.
"""

import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

TURN_SECONDS = 0.05  # of steps with one count: longer than a scheduler lets others go first
PAIRS = 9  # of turns, the last of two counts: their median decides, for any turn may have been held up
FEWEST_PAIRS = 3  # that decide in the beginning
BETTER = 0.97  # what takes less than this part of the time is kept; between, both are the same
HELD_UP = 1.1  # times as long as its work: a single thread that takes this has no processor for itself
SHARE = 50  # a trial may lose one part in so many of the time until the next
SOONEST_SECONDS, LATEST_SECONDS = 1.0, 10.0  # from one trial to the next


@dataclass
class _Trial:
    """Turns of two counts: the other's, then that of the count which is kept."""

    other: int  # by its place in the list of all
    turn: list[tuple[float, float]] = field(
        default_factory=list
    )  # of each step of the present turn: see `Threads.step`
    theirs: float | None = None  # seconds a step, once the other has had its turn
    held_up: bool = False  # a single thread was, in this pair
    pairs: int = 0
    spent: float = 0.0  # seconds in turns of the other


class Threads:
    """Keeps the count of threads that is the fastest now: torch's own, or that halved once or more.

    Now and then it tries a neighbour for a turn, the sooner again the less that cost, and for more turns while the
    neighbour is faster. A single thread stays alone while it is held up. ``OMP_NUM_THREADS``, if set, is obeyed.
    """

    def __init__(
        self,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
        work: Callable[[], float] = time.thread_time,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        """Begin with as many threads as torch has now.

        Args:
            device: that computes; on others than the CPU, threads do not matter.
            clock: in seconds.
            work: seconds of a processor that this thread has had.
            use: told the count for the steps that follow.
        """
        self._clock, self._work, self._use = clock, work, use
        self._counts = [torch.get_num_threads()]
        if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            while self._counts[-1] > 1:
                self._counts.append(self._counts[-1] // 2)
        self._place = 0  # of the count that is kept
        self._trial: _Trial | None = None
        # By place, how many times as long a step takes with the next lower count.
        self._ratios = [deque[float](maxlen=PAIRS) for _ in self._counts]
        self._tried = 0  # trials so far
        self._alone: list[tuple[float, float]] = []  # steps since the last trial
        self._next = clock() + SOONEST_SECONDS  # a run's first steps are slow for other reasons

    def close(self) -> None:
        """Give torch all its threads back."""
        self._take(0)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Go around a step of training, and nothing else: the time that it takes, and its work, decide."""
        began, worked = self._clock(), self._work()
        yield
        now = self._clock()
        step = (now - began, self._work() - worked)
        if len(self._counts) == 1:
            return
        if self._trial is not None:
            self._judge(self._trial, step, now)
            return
        self._alone.append(step)
        if now >= self._next:
            if self._counts[self._place] == 1 and _held_up(self._alone):
                self._wait(now, SOONEST_SECONDS)
            else:
                self._begin()

    def _wait(self, now: float, seconds: float) -> None:
        self._next, self._alone = now + seconds, []

    def _begin(self) -> None:
        beside = [place for place in (self._place + 1, self._place - 1) if 0 <= place < len(self._counts)]
        self._trial = _Trial(beside[self._tried % len(beside)])
        self._tried += 1
        self._take(self._trial.other)

    def _judge(self, trial: _Trial, step: tuple[float, float], now: float) -> None:
        trial.turn.append(step)
        seconds = sum(seconds for seconds, _ in trial.turn)
        if seconds < TURN_SECONDS:
            return
        a_step = seconds / len(trial.turn)
        place = trial.other if trial.theirs is None else self._place
        trial.held_up |= self._counts[place] == 1 and _held_up(trial.turn)
        trial.turn = []
        if trial.theirs is None:
            trial.theirs = a_step
            trial.spent += seconds
            self._take(self._place)
        else:
            self._compare(trial, trial.theirs / a_step, now)

    def _compare(self, trial: _Trial, ratio: float, now: float) -> None:
        """Go on while the other is faster, and keep it once that is known."""
        fewer = trial.other > self._place
        if trial.held_up:
            ratio = min(ratio, 1 / HELD_UP) if fewer else max(ratio, HELD_UP)
        ratios = self._ratios[min(trial.other, self._place)]
        ratios.append(ratio if fewer else 1 / ratio)
        trial.theirs, trial.held_up = None, False
        trial.pairs += 1
        usual = statistics.median(ratios) if fewer else 1 / statistics.median(ratios)
        better = usual < BETTER and len(ratios) >= FEWEST_PAIRS
        if ratio < BETTER and not better and trial.pairs < PAIRS:
            self._take(trial.other)
            return
        if better:
            self._place = trial.other
            self._take(self._place)
        lost = trial.spent * (1 - 1 / usual)  # seconds
        self._trial = None
        self._wait(now, min(max(SHARE * lost, SOONEST_SECONDS), LATEST_SECONDS))

    def _take(self, place: int) -> None:
        if len(self._counts) > 1:
            self._use(self._counts[place])


def _held_up(steps: Sequence[tuple[float, float]]) -> bool:
    return sum(seconds for seconds, _ in steps) > HELD_UP * sum(worked for _, worked in steps)
