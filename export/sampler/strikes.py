"""Strikes of keys: takes of a key and velocity, rendered, cut and, where they last, looped."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...host.arrays import Array
from ...host.events import Event, NoteOff, NoteOn, ParameterChange
from ...host.kinds.table import kind_of
from ...host.midi.performance import Performance
from ...host.patch.library import Patch
from ...host.render import render_samples
from .loop import Loop, find_loop, joined

RATE = 44_100  # Hz
HELD_SECONDS = 5.0  # of a note that may last
TEXTURE_SECONDS = 15.0  # of a sound for all keys, whose repetition is heard sooner
LONGEST_SECONDS = 20.0  # of a note that fades
REST_SECONDS = 3.0  # between strikes, for releases and echoes
FALL_DB = 3.0  # over two seconds: a note that falls faster fades, and is not looped
FALLEN_DB = -70.0  # of the peak: the end of a note that fades
RELEASED_DB = -60.0
FRAME = 2048  # samples of a level


class Sample(NamedTuple):
    """``sound`` [channels, n] at `RATE`, one channel if equal; ``loop``: None for fading notes."""

    sound: Array
    loop: Loop | None


class Strike(NamedTuple):
    """``knobs``: targets and values, set before; ``rest``: seconds between strikes."""

    patch: Patch
    key: int
    velocity: int
    knobs: Sequence[tuple[str, float]] = ()
    rest: float = REST_SECONDS


def takes_of(strike: Strike, count: int, held: float) -> list[Sample]:
    """Return the first ``count`` strikes, as `render` plays them, all looped or none as the first one lasts or fades.

    ``held``: seconds of one that lasts.
    """
    sounds = strikes(strike, count, held)
    lasts = not strike.patch.preset.keys and _lasts(sounds[0])
    loops = [find_loop(sound, RATE) if lasts else None for sound in sounds]
    if lasts and all(loops):
        return [
            Sample(joined(_narrow(sound), loop, RATE), loop) for sound, loop in zip(sounds, loops, strict=True) if loop
        ]
    if _levels(sounds[0])[-1] > 10 ** (FALLEN_DB / 20) * np.abs(sounds[0]).max():
        sounds = strikes(strike, count, LONGEST_SECONDS)
    return [Sample(_ended(_narrow(sound)), None) for sound in sounds]


def strikes(strike: Strike, count: int, held: float) -> list[Array]:
    """Return strikes of ``held`` seconds, each [2, n] up to its end."""
    length, step = round(held * RATE), round((held + strike.rest) * RATE)
    events: list[Event] = [ParameterChange(0, 0, target, value) for target, value in strike.knobs]
    for number in range(count):
        events += _struck(strike.patch, strike.key, strike.velocity, number * step, length)
    performance = Performance(events, count * step, [0], [])
    sound = render_samples({0: strike.patch}, performance, sample_rate=RATE, tail_seconds=0.0)
    sound = np.pad(sound, ((0, 0), (0, max(0, count * step - sound.shape[1]))))
    return [sound[:, number * step : number * step + length] for number in range(count)]


def release_seconds(patch: Patch, key: int, velocity: int) -> float:
    """Return the time after note-off in which a key falls by 60 dB."""
    length = RATE
    performance = Performance(_struck(patch, key, velocity, 0, length), length, [0], [])
    sound = render_samples({0: patch}, performance, sample_rate=RATE, tail_seconds=30.0)
    tail = _levels(sound[:, length:], FRAME // 8)
    if not len(tail) or not tail[0]:
        return 0.01
    heard = np.flatnonzero(tail > 10 ** (RELEASED_DB / 20) * tail[0])
    return max(0.01, float((heard[-1] + 1) * (FRAME // 8) / RATE))


def _struck(patch: Patch, key: int, velocity: int, start: int, length: int) -> list[Event]:
    """A latched note is ended by a second strike."""
    events: list[Event] = [NoteOn(start, 0, key, velocity), NoteOff(start + length, 0, key)]
    preset, kind = patch.preset, kind_of(patch.model.card)
    if kind.keying(preset.of_kind(kind), preset.play).holds:
        events += [NoteOn(start + length, 0, key, velocity), NoteOff(start + length + 1, 0, key)]
    return events


def _lasts(sound: Array) -> bool:
    levels = 20 * np.log10(_levels(sound) + 1e-9)
    seconds = FRAME / RATE
    late, early = (levels[round(start / seconds) : round((start + 0.5) / seconds)] for start in (4.0, 2.0))
    return bool(early.mean() - late.mean() < FALL_DB and late.mean() > levels.max() - 30)


def _levels(sound: Array, frame: int = FRAME) -> Array:
    count = sound.shape[1] // frame
    frames = sound[:, : count * frame].reshape(len(sound), count, frame)
    levels: Array = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=(0, 2))).astype(np.float32)
    return levels


def _ended(sound: Array) -> Array:
    """Up to where the sound has fallen by 70 dB."""
    floor = 10 ** (FALLEN_DB / 20) * float(np.abs(sound).max(initial=0))
    heard = np.flatnonzero(np.abs(sound).max(axis=0) > floor)
    end = min(sound.shape[1], (int(heard[-1]) if len(heard) else 0) + FRAME)
    ended = sound[:, :end].copy()
    fade = min(FRAME, end)
    ended[:, end - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return ended


def _narrow(sound: Array) -> Array:
    return sound[:1] if np.array_equal(sound[0], sound[1]) else sound
