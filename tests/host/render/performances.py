"""Short performances."""

from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.midi.files import Performance

RATE = 44100
SHORT = {"attack_seconds": 0.0, "release_seconds": 0.05}


def performance(events, seconds, channels=(0,)):
    return Performance(list(events), round(seconds * RATE), list(channels), [])


def note(key=60, on=0, off=None, channel=0, velocity=100):
    pair = [NoteOn(on, channel, key, velocity)]
    return pair if off is None else [*pair, NoteOff(off, channel, key)]
