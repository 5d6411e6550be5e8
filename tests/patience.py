"""Waiting for a condition, never for a time."""

import time

PATIENCE_SECONDS = 600.0  # a process that gets a hundredth of a processor needs minutes to begin


def until(true, what="the condition"):
    """Wait until a function returns something true, and return that."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.002)
    return found
