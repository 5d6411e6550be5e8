"""Demo performances: a scale, a walk between landmarks, a drum pattern or a loop, by kind of model."""

from collections.abc import Callable, Sequence

import numpy as np

from ...host.events import ControlChange, Event, NoteOff, NoteOn
from ...host.kinds.clip.kind import ClipKind
from ...host.kinds.grain.kind import GrainKind
from ...host.kinds.partials.kind import PartialsKind
from ...host.kinds.spectrum.kind import SpectrumKind
from ...host.kinds.stream.kind import StreamKind
from ...host.midi.file import Performance
from ...host.patch.library import Patch

RATE = 44100
VELOCITY = 100  # default
MIDDLE_C = 60
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
NOTE_SECONDS = 0.5
WALK_STEPS, STEP_SECONDS = 8, 1.5  # of a texture, between landmarks
BARS = 8  # of a loop
HIT_SECONDS = 0.2  # of a step in a kit's bar
BAR_STEPS, REST_STEPS = 16, 8
# Parts of a kit's bar: candidate keys (the first available plays), steps, and relative velocity.
PATTERN: Sequence[tuple[tuple[int, ...], tuple[int, ...], float]] = (
    ((36, 35), (0, 3, 8, 10), 1.0),
    ((38, 40, 39, 37), (4, 12), 1.0),
    ((42, 44), (0, 2, 4, 6, 8, 10, 12, 14), 0.6),
    ((46, 51, 49, 39), (7, 15), 0.8),
)


def demo(patch: Patch, velocity: int = VELOCITY) -> Performance:
    """Return an instrument's demo: a major scale, a walk, a kit's keys and a bar, or eight bars."""
    events, samples = DEMOS[patch.model.card.kind](patch, velocity)
    return Performance(events=events, length=samples, channels=[0], warnings=[])


def keys_of(patch: Patch) -> list[int]:
    """Return the keys of an instrument's demo in ascending order; none for a single held key."""
    if patch.model.card.kind in HELD:
        return []
    return sorted({event.key for event in demo(patch).events if isinstance(event, NoteOn)})


def _scale(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    card = patch.model.card
    lowest = 12 * ((card.chroma.octave if card.chroma else 4) + 1)
    if card.partials is not None:
        lowest = 12 * round((card.partials.low + card.partials.high - 12) / 24)
    length = round(NOTE_SECONDS * RATE)
    events: list[Event] = []
    for index, step in enumerate(SCALE):
        events.append(NoteOn(index * length, 0, lowest + step, velocity))
        events.append(NoteOff((index + 1) * length - length // 8, 0, lowest + step))
    return events, len(SCALE) * length


def _walk(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    step = round(STEP_SECONDS * RATE)
    marks = patch.model.card.landmarks
    events: list[Event] = [NoteOn(0, 0, MIDDLE_C, velocity)]
    for index, mark in enumerate(np.linspace(0, len(marks) - 1, WALK_STEPS).astype(int).tolist() if marks else []):
        for knob in patch.preset.cc:
            number = knob.target.removeprefix("latent.")
            if knob.number is not None and number.isdecimal():
                low, high = knob.ends
                place = round(127 * (marks[mark].latent[int(number)] - low) / (high - low))
                events.append(ControlChange(index * step, 0, knob.number, min(max(place, 0), 127)))
    events.append(NoteOff(WALK_STEPS * step, 0, MIDDLE_C))
    return events, WALK_STEPS * step


def _hits(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    step = round(HIT_SECONDS * RATE)
    keys = sorted(entry.key for entry in patch.preset.keys) or [MIDDLE_C]
    hits = [(2 * place, key, velocity) for place, key in enumerate(keys)]
    bar = 2 * len(keys)
    for part, (drums, beats, softer) in enumerate(PATTERN):
        key = next((drum for drum in drums if drum in keys), keys[part % len(keys)])
        hits += [(bar + beat, key, max(1, round(softer * velocity))) for beat in beats]
    events: list[Event] = []
    for beat, key, loud in sorted(hits):
        events += [NoteOn(beat * step, 0, key, loud), NoteOff(beat * step + step // 2, 0, key)]
    return events, (bar + BAR_STEPS + REST_STEPS) * step


def _loop(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    stream = patch.model.card.stream
    assert stream is not None
    length = round(BARS * stream.beats_per_bar * 60 / patch.preset.tempo_bpm * RATE)
    return [NoteOn(0, 0, MIDDLE_C, velocity), NoteOff(length, 0, MIDDLE_C)], length


DEMOS: dict[str, Callable[[Patch, int], tuple[list[Event], int]]] = {
    SpectrumKind.name: _scale,
    PartialsKind.name: _scale,
    GrainKind.name: _walk,
    ClipKind.name: _hits,
    StreamKind.name: _loop,
}
HELD = {GrainKind.name, StreamKind.name}  # kinds whose demo is one held key
