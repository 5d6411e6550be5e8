"""Voice: a note's stream of sound, its envelope, expression and gesture, until it ends or is stolen."""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..engines.engine import VoiceSound
from ..ramps import Ramp
from .envelope import Envelope
from .gestures import NO_OFFSETS, Note, NoteOffsets
from .mpe import NoteExpression
from .trajectory import Gesture

STEAL_SECONDS = 0.005  # fade of a stolen voice: too short to hear, long enough not to click


@dataclass(slots=True, eq=False)
class Voice:
    """An engine's stream × envelope × velocity; ``offsets``: from velocity and key.

    Pedals and all notes off apply to one `MpeChannels.group`, volume, pan, choke groups and melodies to one ``bus``:
    `MpeChannels.bus` of its channel when it began.
    ``lower``: semitones below the engine's lowest pitch for which its stream's end has been put off.
    ``down``: its own key press lasts. ``replaced_at``: its key was struck again while a pedal held it.
    """

    note: Note
    bus: int
    part: int
    gain: Ramp
    envelope: Envelope
    stream: VoiceSound
    touch: NoteExpression | None = None
    gesture: Gesture | None = None
    offsets: NoteOffsets = NO_OFFSETS
    lower: float = 0.0
    down: bool = True
    replaced_at: int | None = None
    stolen_at: int | None = None

    @property
    def key(self) -> float:
        return self.note[1]

    @property
    def spare_since(self) -> int | None:
        """Its release, or the next strike of its key: the earliest such voice is stolen first."""
        return self.replaced_at if self.envelope.off is None else self.envelope.off

    def end(self, steal: int) -> int | None:
        """First silent sample; None while open."""
        end = self.envelope.end
        if self.stream.over is not None and (end is None or end > self.stream.over):
            end = self.stream.over
        if self.stolen_at is None:
            return end
        stolen = self.stolen_at + steal
        return stolen if end is None else min(stolen, end)

    def shape(self, level: Array, start: int, steal: int) -> None:
        """Multiply the envelope over a block, [count], by velocity, touch, gesture and a steal's fade."""
        count = len(level)
        level *= self.gain.block(start, count)
        if self.touch is not None:
            level *= self.touch.level.block(start, count)
        if self.gesture is not None:
            level *= self.gesture.gain(start, count)
        if self.stolen_at is not None and self.stolen_at < start + count:
            left = np.clip((self.stolen_at + steal - np.arange(start, start + count)) / steal, 0.0, 1.0)
            level *= (left * left * left).astype(np.float32)

    def release(self, time: int, samples: int) -> None:
        """Release it within ``samples``, or as its gesture does."""
        envelope = self.envelope
        envelope.off, envelope.release = time, samples
        if self.gesture is not None:
            envelope.release, envelope.closes = self.gesture.release(time, samples)

    def forget(self, time: int) -> None:
        self.gain.forget(time)
        if self.touch is not None:
            self.touch.forget(time)
        if self.gesture is not None:
            self.gesture.forget(time)
        if self.stream.pitch is not None:
            self.stream.pitch.forget(time)
        if self.stream.chord is not None:
            self.stream.chord.forget(time)
