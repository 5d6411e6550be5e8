"""Warm-up: renders silent or soft blocks before playing, to fill caches."""

import time
from collections.abc import Iterable

from ..events import NoteOn
from .player import PlayableRack

PRIMING_BLOCKS = 8  # the second and third still decode, later ones idle
WARM_KEYS = range(36, 96, 5)  # all pitch classes: each has its own tables
WARM_BLOCKS = 60
READY_SECONDS = 0.002  # between checks whether a rack is ready


def wait_until_ready(rack: PlayableRack) -> None:
    while not rack.ready:
        time.sleep(READY_SECONDS)


def prime(machine: PlayableRack, block: int) -> None:
    """Render silence until the codes of likely first notes are decoded, too slow in real time."""
    for _ in range(PRIMING_BLOCKS):
        machine.process([], block)
        machine.prepare()


def warm_up(machine: PlayableRack, block: int, channels: Iterable[int]) -> None:
    """Render soft notes to fill caches of this thread and process; ``machine`` is useless afterwards."""
    channels = list(channels)
    for count in range(WARM_BLOCKS):
        keys = [WARM_KEYS[count // 2]] if count % 2 == 0 and count // 2 < len(WARM_KEYS) else []
        machine.process([NoteOn(count * block, channel, key, 1) for key in keys for channel in channels], block)
        machine.prepare()
