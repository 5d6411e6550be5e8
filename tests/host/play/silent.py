"""Voices that make no sound, and what each of them does."""

from types import SimpleNamespace

from timbrel.host.play.parameters import Envelope
from timbrel.host.play.voices import Makers, MonoAssignment, PolyAssignment

RATE = 44100
STEAL = 220  # 5 ms
RELEASE = 4000
EQUAL = {key: float(key) for key in range(128)}


def make(limit=4, mode="poly", sustain=1.0, legato=False, release=RELEASE, tuning=EQUAL):
    makers = Makers(
        start_stream=lambda pitch, time, key: SimpleNamespace(key=pitch, on=time, over=None, pitch=None, chord=None),
        shape=lambda time, added: Envelope(on=time, attack=10, decay=100, sustain=sustain, release=1),
        release=lambda added: release,
        touch=lambda channel: None,
        group=lambda channel: channel,
        bus=lambda channel: channel,
        tuning=tuning,
    )
    return (
        PolyAssignment(limit, {}, RATE, makers)
        if mode == "poly"
        else MonoAssignment(legato, mode == "chord", RATE, makers)
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
