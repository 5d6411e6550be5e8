"""Waiting for a condition, never for a time; and lines of commands without those that time adds."""

import re
import time

PATIENCE_SECONDS = 600.0  # a process that gets a hundredth of a processor needs minutes to begin


def until(true, what="the condition"):
    """Wait until a function returns something true, and return that."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.002)
    return found


def besides_progress(stderr: str) -> list[str]:
    """Lines of a command, without its progress and the warning of slow rendering, which a busy machine adds."""
    by_time = re.compile(r"\w+: (\d+ %|.* so far$)|warning: [\d.]+ s of sound took \d+ s to render; ")
    return [line for line in stderr.splitlines() if not by_time.match(line)]
