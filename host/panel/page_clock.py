"""Finds a page's late notes: a link that hung delivers them at once."""

from collections import deque

LATE_SECONDS = 0.5  # beyond the quickest of the last pings: such a note disturbs more than it plays
PINGS = 8  # two seconds: more than a page sends before it gives up a link, and soon past a jump of its clock


class PageClock:
    """Compares times of a page's messages, in ms, with their arrival, in seconds of this machine."""

    def __init__(self) -> None:
        self._offsets: deque[float] = deque(maxlen=PINGS)

    def add_ping(self, at_ms: float, now: float) -> None:
        self._offsets.append(now - at_ms / 1000)

    def is_late(self, at_ms: float | None, now: float) -> bool:
        """Never without a time, nor before the first ping."""
        return at_ms is not None and now - at_ms / 1000 - min(self._offsets, default=float("inf")) > LATE_SECONDS
