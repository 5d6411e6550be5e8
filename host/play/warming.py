"""Machines that play unheard before they are heard, so that the first notes find in memory all that they need."""

from collections.abc import Iterable

from ..events import NoteOn
from .player import Machine

PRIMING_BLOCKS = 8  # of silence: the second and third still decode, all further ones idle
WARM_KEYS = range(36, 96, 5)  # all pitch classes, each of which has tables of its own
WARM_BLOCKS = 60


def prime(machine: Machine, block: int) -> None:
    """Have a machine play blocks of silence until it has decoded what its first keys need; they would take too long."""
    for _ in range(PRIMING_BLOCKS):
        machine.process([], block)
        machine.prepare()


def warm_up(machine: Machine, block: int, channels: Iterable[int]) -> None:
    """Have a machine, which is then used up, play blocks of soft notes: the next one like it finds all at hand.

    Memory and tables are those of the thread and the process that do so.
    """
    channels = list(channels)
    for count in range(WARM_BLOCKS):
        keys = [WARM_KEYS[count // 2]] if count % 2 == 0 and count // 2 < len(WARM_KEYS) else []
        machine.process([NoteOn(count * block, channel, key, 1) for key in keys for channel in channels], block)
        machine.prepare()
