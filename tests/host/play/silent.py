"""Voices that make no sound, and what each of them does."""

from types import SimpleNamespace

from timbrel.host.play.envelope import Envelope
from timbrel.host.play.mpe import MpeChannels
from timbrel.host.play.voice import Voice
from timbrel.host.play.voices import MonoAssignment, PolyAssignment
from timbrel.host.preset.tuning import pitch_of
from timbrel.host.ramps import Ramp

RATE = 44100
RAMP = 882  # 20 ms
STEAL = 220  # 5 ms
RELEASE = 4000
EQUAL = {key: float(key) for key in range(128)}


class SilentFactory:
    """A factory of voices without sound; ``over``: samples until they end by themselves."""

    def __init__(self, tuning=EQUAL, release=RELEASE, over=None, **envelope):
        self.mpe = MpeChannels(None, None, [], 1)
        self._tuning, self._release, self._over, self._envelope = tuning, release, over, envelope

    def pitch(self, key):
        return pitch_of(key, self._tuning)

    def start_voice(self, time, note, gain, bus, part):
        over = None if self._over is None else time + self._over
        stream = SimpleNamespace(key=self.pitch(note[1]), on=time, over=over, pitch=None, chord=None)
        return Voice(note, bus, part, Ramp(gain, RAMP), Envelope(on=time, release=1, **self._envelope), stream)

    def release_samples(self, voice):
        return self._release


def make(limit=4, mode="poly", sustain=1.0, legato=False, release=RELEASE, tuning=EQUAL):
    factory = SilentFactory(tuning, release, attack=10, decay=100, sustain=sustain)
    return (
        PolyAssignment(limit, {}, RATE, factory)
        if mode == "poly"
        else MonoAssignment(legato, mode == "chord", RATE, factory)
    )


def state(voices, time):
    """What each key does at a sample: held, released, stolen; ended voices left out."""
    found = []
    for voice in voices:
        end = voice.envelope.end
        if end is not None and time >= end:
            continue
        if voice.stolen_at is None:
            found.append((voice.key, "held" if voice.envelope.off is None else "released"))
        elif time < voice.stolen_at + STEAL:
            found.append((voice.key, "stolen"))
    return found


def held(voices, time):
    return [key for key, what in state(voices, time) if what == "held"]
