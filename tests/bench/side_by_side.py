"""Timing of two things in turn, so that a machine whose speed drifts slows both."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Seconds of each round."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(0.99 * len(self.seconds)))]


def side_by_side(*functions: Callable[[], object], rounds: int, warm_up: int = 3) -> list[Times]:
    """Call the functions in turn, ``rounds`` times each; what they do in the warm-up is not counted."""
    seconds: list[list[float]] = [[] for _ in functions]
    for round_number in range(-warm_up, rounds):
        for times, function in zip(seconds, functions, strict=True):
            began = time.perf_counter()
            function()
            if round_number >= 0:
                times.append(time.perf_counter() - began)
    return [Times(times) for times in seconds]


def ratio(first: Times, second: Times) -> float:
    """Median over rounds of first / second."""
    return statistics.median(a / b for a, b in zip(first.seconds, second.seconds, strict=True))
