"""Measures an instrument's loudness (ITU-R BS.1770) and peaks, before the limiter."""

from collections.abc import Sequence

import numpy as np

from ...host.arrays import Array
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.spectrum.kind import GestureSettings
from ...host.kinds.table import kind_of
from ...host.patch.library import Patch
from ...host.play.gestures.trajectory import LOUDEST_TAKE_DB
from ...host.play.instrument import ChannelInstrument
from ...host.units import MIDDLE_C, gain_to_db
from ..kinds.kind import RATE
from .demo import VELOCITY, demo, keys_of

BLOCK = 8192  # samples at a time
FULL_VELOCITY = 127
HIGHEST_DBFS = -1.0  # of a single key at full velocity: leaves 1 dB for intersample peaks
HELD_SECONDS, RINGS_SECONDS = 1.0, 0.5  # of a single key
LIFT_DB = 60.0  # a bare frame is far below the meter's gate at -70 LUFS
SILENT_LUFS = -120.0


def loudness_lufs(patch: Patch, velocity: int = VELOCITY) -> float:
    """Return the `demo`'s integrated loudness (BS.1770-4), -120 LUFS for silence."""
    import pyloudnorm

    performance = demo(patch, velocity)
    sound = played(patch, performance.events, performance.length).astype(np.float64)
    level = pyloudnorm.Meter(RATE).integrated_loudness(sound.T * 10 ** (LIFT_DB / 20)) - LIFT_DB
    return float(max(level, SILENT_LUFS))


def peaks_dbfs(patch: Patch, keys: Sequence[int] = ()) -> dict[int, float]:
    """Return each key's peak in dBFS at full velocity, of its loudest take, for ``keys`` or the demo's.

    A held key's demo is rendered whole, as its peak may come late.
    """
    asked = list(keys) or keys_of(patch)
    if not asked:
        performance = demo(patch, FULL_VELOCITY)
        return {MIDDLE_C: _peak_dbfs(played(patch, performance.events, performance.length))}
    return {key: _peak_dbfs(single(patch, key, FULL_VELOCITY)) + _louder_take_db(patch) for key in asked}


def single(patch: Patch, key: int, velocity: int) -> Array:
    """Render a key held for a second, or a whole clip, [2, samples]."""
    card = patch.model.card
    seconds = HELD_SECONDS + RINGS_SECONDS
    if kind_of(card).of_clips:
        seconds = max(seconds, card.frame_length / card.sample_rate)
    events: list[Event] = [NoteOn(0, 0, key, velocity), NoteOff(round(HELD_SECONDS * RATE), 0, key)]
    return played(patch, events, round(seconds * RATE))


def played(patch: Patch, events: Sequence[Event], samples: int) -> Array:
    """Render events before the limiter, [2, samples] at `RATE`."""
    instrument = ChannelInstrument(patch, RATE)
    length = samples + instrument.latency_samples
    instrument.schedule(sorted(events, key=lambda event: event.time), length)
    blocks = [instrument.read(min(BLOCK, length - first)) for first in range(0, length, BLOCK)]
    return np.concatenate(blocks, axis=1)[:, instrument.latency_samples :]


def _louder_take_db(patch: Patch) -> float:
    gestures = patch.model.gestures
    if gestures is None or not any(len(instrument.takes) for instrument in gestures.instruments):
        return 0.0
    return LOUDEST_TAKE_DB * (patch.preset.gesture or GestureSettings()).variety


def _peak_dbfs(sound: Array) -> float:
    return max(gain_to_db(float(np.abs(sound).max(initial=0.0))), SILENT_LUFS)
