"""Strikes of keys: takes of a key and velocity, rendered, cut, looped, and arranged as layers."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array
from ...host.events import Event, NoteOff, NoteOn, ParameterChange
from ...host.kinds.table import kind_of
from ...host.midi.files import Performance
from ...host.model.card import in_deviations
from ...host.model.gesture import instrument_of
from ...host.play.render import render_samples
from ...host.preset.library import Patch

WIDE_KEYS = (36, 96)  # of models that name no range
SETTLED_SECONDS = 0.8  # the attack, before which no loop begins
SHORTEST_SECONDS = 1.0  # a shorter loop is heard to repeat
WINDOW_SECONDS = 0.1  # compared at both places: some periods of the lowest keys
FADE_SECONDS = 0.25
ENDS = 24  # places tried
END_SECONDS = 0.6  # before the end of the sound, within which loops end
LEVEL_WEIGHT = 0.05  # of likeness, per dB between the places
TOO_QUIET = 1e-5


def recorded_keys(patch: Patch) -> tuple[int, int]:
    """Return the lowest and the highest recorded key."""
    card, preset, gestures = patch.model.card, patch.preset, patch.model.gestures
    if gestures is not None:
        resting_code = np.array(preset.latent_values(card), np.float64)
        instrument_label = None if preset.gesture is None else preset.gesture.instrument
        note_keys = instrument_of(gestures, resting_code, in_deviations(card), instrument_label).in_tune
        return round(note_keys.min()), round(note_keys.max())
    if card.partials is not None:
        return round(card.partials.low), round(card.partials.high)
    return max(WIDE_KEYS[0], min(patch.tuning)), min(WIDE_KEYS[1], max(patch.tuning))


class Loop(NamedTuple):
    """Repeats samples ``start`` to ``end`` - 1; ``likeness`` is the correlation of the joined places."""

    start: int
    end: int
    likeness: float


def find_loop(sound: Array, rate: int) -> Loop | None:
    """Return the loop of the most alike places of a held note, [channels, n]; None if it is too short or silent.

    Likeness is the normalised cross-correlation of samples before, less a term for levels.
    """
    mono = sound.mean(axis=0, dtype=np.float64)
    window_samples, earliest_start = round(WINDOW_SECONDS * rate), round(SETTLED_SECONDS * rate)
    shortest_samples = round(SHORTEST_SECONDS * rate)
    best_loop: Loop | None = None
    best_score = -np.inf
    for loop_end in np.linspace(len(mono) - END_SECONDS * rate, len(mono), ENDS).astype(int):
        if loop_end - shortest_samples < earliest_start + window_samples:
            continue
        pattern, region = mono[loop_end - window_samples : loop_end], mono[earliest_start : loop_end - shortest_samples]
        likenesses, level_differences_db = _likeness(pattern, region)
        scores = likenesses - LEVEL_WEIGHT * np.abs(level_differences_db)
        best_offset = int(scores.argmax())
        if scores[best_offset] > best_score:
            best_score = float(scores[best_offset])
            best_loop = Loop(
                earliest_start + best_offset + window_samples, int(loop_end), float(likenesses[best_offset])
            )
    return best_loop


def joined(sound: Array, loop: Loop, rate: int) -> Array:
    """Return the sound up to the loop's end, crossfaded into the samples before the loop's start.

    By the parts' correlation, alike ones fade by amplitude, unlike ones by power.
    """
    fade_samples = min(round(FADE_SECONDS * rate), loop.start, loop.end - loop.start)
    looped_sound = sound[:, : loop.end].copy()
    loop_tail, lead_in = looped_sound[:, -fade_samples:], sound[:, loop.start - fade_samples : loop.start]
    energies = float(np.square(loop_tail).sum()), float(np.square(lead_in).sum())
    correlation = float((loop_tail * lead_in).sum()) / max(np.sqrt(energies[0] * energies[1]), TOO_QUIET**2)
    rise_gains = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade_samples) + 1) / fade_samples)
    fall_gains = 1 - rise_gains
    gain_scales = np.sqrt(rise_gains**2 + fall_gains**2 + 2 * rise_gains * fall_gains * np.clip(correlation, 0, 1))
    looped_sound[:, -fade_samples:] = ((fall_gains * loop_tail + rise_gains * lead_in) / gain_scales).astype(np.float32)
    return looped_sound


def _likeness(pattern: npt.NDArray[np.float64], region: npt.NDArray[np.float64]) -> tuple[Array, Array]:
    """Return the likeness of a pattern at each place of a region, and the level difference in dB."""
    fft_length = 1 << int(np.ceil(np.log2(len(region) + len(pattern))))
    correlations = np.fft.irfft(np.fft.rfft(region, fft_length) * np.conj(np.fft.rfft(pattern, fft_length)), fft_length)
    correlations = correlations[: len(region) - len(pattern) + 1]
    cumulative_energies = np.concatenate([[0.0], np.cumsum(np.square(region))])
    window_energies = np.maximum(
        cumulative_energies[len(pattern) :] - cumulative_energies[: -len(pattern)], TOO_QUIET**2
    )
    pattern_energy = max(float(np.square(pattern).sum()), TOO_QUIET**2)
    return (correlations / np.sqrt(window_energies * pattern_energy)).astype(np.float32), (
        10 * np.log10(window_energies / pattern_energy)
    ).astype(np.float32)


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
    """``knobs``: targets and values, set before; ``rest_seconds``: between strikes."""

    patch: Patch
    key: int
    velocity: int
    knobs: Sequence[tuple[str, float]] = ()
    rest_seconds: float = REST_SECONDS


def takes_of(strike: Strike, count: int, hold_seconds: float) -> list[Sample]:
    """Return the first ``count`` strikes, as `render` plays them, all looped or none as the first one lasts or fades.

    ``hold_seconds``: of one that lasts.
    """
    sounds = strikes(strike, count, hold_seconds)
    lasts = not strike.patch.preset.keys and _lasts(sounds[0])
    loops = [find_loop(sound, RATE) if lasts else None for sound in sounds]
    if lasts and all(loops):
        return [
            Sample(joined(_narrow(sound), loop, RATE), loop) for sound, loop in zip(sounds, loops, strict=True) if loop
        ]
    if _levels(sounds[0])[-1] > 10 ** (FALLEN_DB / 20) * np.abs(sounds[0]).max():
        sounds = strikes(strike, count, LONGEST_SECONDS)
    return [Sample(_trim_silence(_narrow(sound)), None) for sound in sounds]


def strikes(strike: Strike, count: int, hold_seconds: float) -> list[Array]:
    """Return strikes of ``hold_seconds``, each [2, n] up to its end."""
    length_samples, step_samples = round(hold_seconds * RATE), round((hold_seconds + strike.rest_seconds) * RATE)
    events: list[Event] = [ParameterChange(0, 0, target, value) for target, value in strike.knobs]
    for strike_index in range(count):
        events += _strike_events(strike.patch, strike.key, strike.velocity, strike_index * step_samples, length_samples)
    performance = Performance(events, count * step_samples, [0], [])
    sound = render_samples({0: strike.patch}, performance, sample_rate=RATE, tail_seconds=0.0)
    sound = np.pad(sound, ((0, 0), (0, max(0, count * step_samples - sound.shape[1]))))
    return [
        sound[:, strike_index * step_samples : strike_index * step_samples + length_samples]
        for strike_index in range(count)
    ]


def release_seconds(patch: Patch, key: int, velocity: int) -> float:
    """Return the time after note-off in which a key falls by 60 dB."""
    held_samples = RATE
    performance = Performance(_strike_events(patch, key, velocity, 0, held_samples), held_samples, [0], [])
    sound = render_samples({0: patch}, performance, sample_rate=RATE, tail_seconds=30.0)
    tail_levels = _levels(sound[:, held_samples:], FRAME // 8)
    if not len(tail_levels) or not tail_levels[0]:
        return 0.01
    audible_frames = np.flatnonzero(tail_levels > 10 ** (RELEASED_DB / 20) * tail_levels[0])
    return max(0.01, float((audible_frames[-1] + 1) * (FRAME // 8) / RATE))


def _strike_events(patch: Patch, key: int, velocity: int, start_sample: int, length_samples: int) -> list[Event]:
    """A latched note is ended by a second strike."""
    events: list[Event] = [NoteOn(start_sample, 0, key, velocity), NoteOff(start_sample + length_samples, 0, key)]
    preset, kind = patch.preset, kind_of(patch.model.card)
    if kind.keying(kind.select_section(preset), preset.play).holds:
        events += [
            NoteOn(start_sample + length_samples, 0, key, velocity),
            NoteOff(start_sample + length_samples + 1, 0, key),
        ]
    return events


def _lasts(sound: Array) -> bool:
    """Return whether a held note hardly falls between its third and its fifth second."""
    levels_db = 20 * np.log10(_levels(sound) + 1e-9)
    frame_seconds = FRAME / RATE
    late_levels_db, early_levels_db = (
        levels_db[round(start_seconds / frame_seconds) : round((start_seconds + 0.5) / frame_seconds)]
        for start_seconds in (4.0, 2.0)
    )
    return bool(
        early_levels_db.mean() - late_levels_db.mean() < FALL_DB and late_levels_db.mean() > levels_db.max() - 30
    )


def _levels(sound: Array, frame_length: int = FRAME) -> Array:
    """Return the root mean square of each frame."""
    frame_count = sound.shape[1] // frame_length
    frames = sound[:, : frame_count * frame_length].reshape(len(sound), frame_count, frame_length)
    levels: Array = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=(0, 2))).astype(np.float32)
    return levels


def _trim_silence(sound: Array) -> Array:
    """Up to where the sound has fallen by 70 dB."""
    floor_level = 10 ** (FALLEN_DB / 20) * float(np.abs(sound).max(initial=0))
    audible_samples = np.flatnonzero(np.abs(sound).max(axis=0) > floor_level)
    end_sample = min(sound.shape[1], (int(audible_samples[-1]) if len(audible_samples) else 0) + FRAME)
    trimmed_sound = sound[:, :end_sample].copy()
    fade_samples = min(FRAME, end_sample)
    trimmed_sound[:, end_sample - fade_samples :] *= np.linspace(1, 0, fade_samples, dtype=np.float32)
    return trimmed_sound


def _narrow(sound: Array) -> Array:
    """Return one channel if both are equal."""
    return sound[:1] if np.array_equal(sound[0], sound[1]) else sound


MIDDLE_C = 60
LAST_CC = 127
SAME_SEMITONES = 1e-4


class KeyZone(NamedTuple):
    """Keys ``low`` to ``high`` play the sample of ``key``, transposed if ``tracked``; ``name`` is a kit's clip's."""

    key: int
    low: int
    high: int
    tracked: bool = True
    name: str = ""


class VelocityZone(NamedTuple):
    """Velocities ``low`` to ``high`` play the sample of ``high`` at their level."""

    low: int
    high: int


@dataclass(frozen=True)
class KnobLayer:
    """A sample at ``positions``, 0 to 1 of each knob.

    It sounds where controllers are at ``cc_values``, and fades towards its neighbours, at ``lower_cc_values`` and
    ``upper_cc_values``.
    """

    positions: tuple[float, ...] = ()
    cc_values: tuple[int, ...] = ()
    lower_cc_values: tuple[int | None, ...] = ()
    upper_cc_values: tuple[int | None, ...] = ()

    @property
    def suffix(self) -> str:
        return "".join(f"-{value:03d}" for value in self.cc_values)


def key_zones(patch: Patch, every: int, alike: bool) -> list[KeyZone]:
    """Return zones of ``every`` semitones; of a kit each key alone, of a sound that keys do not change one.

    They span recorded notes, where known, and half a zone around. Without equal semitones, each key is sampled.
    """
    if patch.preset.keys:
        return [KeyZone(entry.key, entry.key, entry.key, False, entry.sound) for entry in patch.preset.keys]
    if alike:
        return [KeyZone(MIDDLE_C, 0, 127, tracked=False)]
    lowest_recorded_key, highest_recorded_key = recorded_keys(patch)
    if not _is_equal(patch):
        return [
            KeyZone(key, key, key, tracked=False)
            for key, pitch in sorted(patch.tuning.items())
            if lowest_recorded_key - 0.5 <= pitch <= highest_recorded_key + 0.5
        ]
    sampled_keys = list(range(lowest_recorded_key, highest_recorded_key + 1, every))
    if sampled_keys[-1] != highest_recorded_key and highest_recorded_key - sampled_keys[-1] > every // 2:
        sampled_keys.append(highest_recorded_key)
    middle_keys = [
        (lower_sampled_key + upper_key) // 2 for lower_sampled_key, upper_key in itertools.pairwise(sampled_keys)
    ]
    lowest_keys = [max(0, lowest_recorded_key - every // 2), *(middle + 1 for middle in middle_keys)]
    return [
        KeyZone(*zone)
        for zone in zip(
            sampled_keys, lowest_keys, [*middle_keys, min(127, highest_recorded_key + every // 2)], strict=True
        )
    ]


def velocity_zones(count: int) -> list[VelocityZone]:
    """Return zones of about equal width up to 127."""
    top_velocities = [round(127 * number / count) for number in range(1, count + 1)]
    return [VelocityZone(low + 1, high) for low, high in zip([0, *top_velocities[:-1]], top_velocities, strict=True)]


def knob_layers(resting_positions: Sequence[float]) -> list[KnobLayer]:
    """Return layers at the ends and rest of each knob, in all combinations; a rest near an end is that end."""
    layers = [KnobLayer()]
    for resting_position in resting_positions:
        positions_by_cc_value = {0: 0.0, LAST_CC: 1.0, controller_value(resting_position): resting_position}
        cc_values = sorted(positions_by_cc_value)
        layers = [
            KnobLayer(
                (*layer.positions, positions_by_cc_value[cc_value]),
                (*layer.cc_values, cc_value),
                (*layer.lower_cc_values, cc_values[value_index - 1] if value_index else None),
                (*layer.upper_cc_values, cc_values[value_index + 1] if value_index + 1 < len(cc_values) else None),
            )
            for layer in layers
            for value_index, cc_value in enumerate(cc_values)
        ]
    return layers


def controller_value(position: float) -> int:
    return round(LAST_CC * position)


def _is_equal(patch: Patch) -> bool:
    """Return whether all keys are semitones apart, as samplers transpose them."""
    offset_semitones = [pitch - key for key, pitch in patch.tuning.items()]
    return max(offset_semitones) - min(offset_semitones) < SAME_SEMITONES
