"""Endless encoders: decodes relative controller values, and recognises an encoder by the values that it sends."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, get_args

# Named by the values of one step up and one step down; a fast turn sends larger steps: 66, 67 ...
Encoder = Literal["65/63", "1/127", "1/65"]
ENCODERS: tuple[Encoder, ...] = get_args(Encoder)
FASTEST = 20  # steps in one message; 15 is the most that controllers send
LEAST_MESSAGES = 5
REPEATS = 0.25  # least share of repeated values: a knob with a position repeats none
_STEPS: Mapping[Encoder, Callable[[int], int]] = {
    "65/63": lambda value: value - 64,  # offset binary
    "1/127": lambda value: value if value < 64 else value - 128,  # two's complement
    "1/65": lambda value: value if value < 64 else 64 - value,  # sign and magnitude
}


def encoder_steps(encoder: Encoder, value: int) -> int:
    """Steps, -64 to 63, of a controller's ``value``, 0 to 127."""
    return _STEPS[encoder](value)


def possible_encoders(values: Sequence[int]) -> list[Encoder]:
    """Encoders that send such values, one after the other; none for a knob with a position.

    Turned one way, two encoders send the same values.
    """
    if len(values) < LEAST_MESSAGES:
        return []
    return [encoder for encoder in ENCODERS if _sends(encoder, values)]


def _sends(encoder: Encoder, values: Sequence[int]) -> bool:
    """Return whether an encoder may send such values."""
    steps = [encoder_steps(encoder, value) for value in values]
    if not all(0 < abs(step) <= FASTEST for step in steps):
        return False
    # Between up and down.
    has_leaps = any(abs(next_value - value) > 2 * FASTEST for value, next_value in pairwise(values))
    repeat_count = sum(value == next_value for value, next_value in pairwise(values))
    return has_leaps or repeat_count >= REPEATS * (len(steps) - 1)
