"""The core and the numpy voice, side by side."""

import numpy as np
import pytest
from timbrel.host.play import rack as rack_module
from timbrel.host.play.rack import Rack
from timbrel.host.voice_library import load_library

needs_core = pytest.mark.skipif(load_library() is None, reason="the core is not compiled")


def rack_of(voice, patches, rate, **options):
    """A rack whose instruments are played by this voice, "core" or "numpy"."""
    chosen = rack_module.core_for
    if voice == "numpy":
        rack_module.core_for = lambda patch: None
    try:
        rack = Rack(patches, rate, **options)
    finally:
        rack_module.core_for = chosen
    for channel in patches if voice == "core" else ():
        assert type(rack._instruments[channel]._synthesis).__name__ == "CoreSynthesis"
    return rack


def sound_of(rack, events, count, sizes=(512,), prepares=False):
    """The sum before the limiter, [2, count], in blocks of these sizes in turn."""
    parts, at, turn = [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        _, channels = rack.process([event for event in events if at <= event.time < at + size], size)
        parts.append(sum(channels.values()))
        if prepares:
            rack.prepare()
        at, turn = at + size, turn + 1
    return np.concatenate(parts, axis=1)
