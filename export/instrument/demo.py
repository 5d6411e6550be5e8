"""Demo performances of instruments, by kind of model."""

from ...host.events import NoteOn
from ...host.midi.performance import Performance
from ...host.patch.library import Patch
from ..kinds.table import KINDS

VELOCITY = 100  # default


def demo(patch: Patch, velocity: int = VELOCITY) -> Performance:
    events, samples = KINDS[patch.model.card.kind].demo(patch, velocity)
    return Performance(events=events, length=samples, channels=[0], warnings=[])


def keys_of(patch: Patch) -> list[int]:
    """Return ascending keys; none for a single held key."""
    if KINDS[patch.model.card.kind].held:
        return []
    return sorted({event.key for event in demo(patch).events if isinstance(event, NoteOn)})
