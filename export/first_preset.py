"""Makes a new model's preset and demo sound, and measures loudness (ITU-R BS.1770) and peaks before the limiter."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..host.arrays import Array
from ..host.engines.engine import VOICE_LUFS
from ..host.errors import printable
from ..host.events import Event, NoteOff, NoteOn, nearest_key
from ..host.kinds.card_fields import UNKNOWN_LICENCE
from ..host.kinds.clip import recordings_of
from ..host.kinds.spectrum import GestureSettings
from ..host.kinds.table import kind_of
from ..host.midi.files import Performance
from ..host.model.card import Card
from ..host.model.model import Model
from ..host.play.rack import ChannelInstrument
from ..host.play.render import render
from ..host.play.trajectory import LOUDEST_TAKE_DB
from ..host.preset.library import Patch
from ..host.preset.preset import Preset
from ..host.preset.validation import names_by_target
from ..host.progress import Display
from ..host.units import MIDDLE_C, gain_to_db
from .kinds.clip import key_table
from .kinds.kind import RATE
from .kinds.table import KINDS

VELOCITY = 100  # default


def demo(patch: Patch, velocity: int = VELOCITY) -> Performance:
    """Return the notes that show an instrument."""
    events, sample_count = KINDS[patch.model.card.kind].demo(patch, velocity)
    return Performance(events=events, length=sample_count, channels=[0], warnings=[])


def keys_of(patch: Patch) -> list[int]:
    """Return ascending keys; none for a single held key."""
    if KINDS[patch.model.card.kind].holds_one_key:
        return []
    return sorted({nearest_key(event.key) for event in demo(patch).events if isinstance(event, NoteOn)})


BLOCK = 8192  # samples at a time
FULL_VELOCITY = 127
HIGHEST_DBFS = -1.0  # of a single key at full velocity: leaves 1 dB for intersample peaks
HELD_SECONDS, RINGS_SECONDS = 1.0, 0.5  # of a single key
LIFT_DB = 60.0  # a bare frame is far below the meter's gate at -70 LUFS
SILENT_LUFS = -120.0
PLAIN_LUFS = VOICE_LUFS  # a card with this loudness makes the host play at gain 1


def demo_loudness_lufs(patch: Patch, velocity: int = VELOCITY) -> float:
    """Return the `demo`'s integrated loudness (BS.1770-4), -120 LUFS for silence."""
    import pyloudnorm

    performance = demo(patch, velocity)
    sound = played(patch, performance.events, performance.length).astype(np.float64)
    loudness_lufs = pyloudnorm.Meter(RATE).integrated_loudness(sound.T * 10 ** (LIFT_DB / 20)) - LIFT_DB
    return float(max(loudness_lufs, SILENT_LUFS))


def peaks_dbfs(patch: Patch, keys: Sequence[int] = ()) -> dict[int, float]:
    """Return each key's peak in dBFS at full velocity, of its loudest take, for ``keys`` or the demo's.

    A held key's demo is rendered whole, as its peak may come late.
    """
    measured_keys = list(keys) or keys_of(patch)
    if not measured_keys:
        performance = demo(patch, FULL_VELOCITY)
        return {MIDDLE_C: _peak_dbfs(played(patch, performance.events, performance.length))}
    return {key: _peak_dbfs(single(patch, key, FULL_VELOCITY)) + _louder_take_db(patch) for key in measured_keys}


def single(patch: Patch, key: int, velocity: int) -> Array:
    """Render a key held for a second, or a whole clip, [2, samples]."""
    card = patch.model.card
    rendered_seconds = HELD_SECONDS + RINGS_SECONDS
    if kind_of(card).of_clips:
        rendered_seconds = max(rendered_seconds, _longest_clip(patch, key) / card.sample_rate)
    events: list[Event] = [NoteOn(0, 0, key, velocity), NoteOff(round(HELD_SECONDS * RATE), 0, key)]
    return played(patch, events, round(rendered_seconds * RATE))


def _longest_clip(patch: Patch, key: int) -> int:
    """Return samples of the model's clips, or of the key's longest recording."""
    card, recordings = patch.model.card, patch.model.recordings
    entries = [entry for entry in patch.preset.keys if entry.key == key]
    indices = [index for entry in entries for index in recordings_of(entry, card)]
    return max([card.frame_length, *(recordings.shape(index)[1] for index in indices if recordings is not None)])


def played(patch: Patch, events: Sequence[Event], sample_count: int) -> Array:
    """Render events before the limiter, [2, samples] at `RATE`."""
    instrument = ChannelInstrument(patch, RATE)
    length_samples = sample_count + instrument.latency_samples
    instrument.schedule(sorted(events, key=lambda event: event.time), length_samples)
    blocks = [
        instrument.read(min(BLOCK, length_samples - block_start)) for block_start in range(0, length_samples, BLOCK)
    ]
    return np.concatenate(blocks, axis=1)[:, instrument.latency_samples :]


def _louder_take_db(patch: Patch) -> float:
    """Return how much louder than the measured take the loudest may be."""
    gestures = patch.model.gestures
    if gestures is None or not any(len(instrument.takes) for instrument in gestures.instruments):
        return 0.0
    return LOUDEST_TAKE_DB * (patch.preset.gesture or GestureSettings()).variety


def _peak_dbfs(sound: Array) -> float:
    return max(gain_to_db(float(np.abs(sound).max(initial=0.0))), SILENT_LUFS)


def first_preset(model: Model) -> Preset:
    """Make a model's preset; keys of kits that would peak above -1 dBFS at full velocity get a gain."""
    preset = untrimmed(model)
    if not preset.keys:
        return preset
    peaks_by_key = peaks_dbfs(Patch("measured", preset, model, model.path.parent))
    gains_db = {
        key: math.floor(10 * (HIGHEST_DBFS - peak_dbfs)) / 10
        for key, peak_dbfs in peaks_by_key.items()
        if peak_dbfs > HIGHEST_DBFS
    }
    key_settings = [
        entry.model_copy(update={"gain_db": gains_db[entry.key]} if entry.key in gains_db else {})
        for entry in preset.keys
    ]
    return preset.model_copy(update={"keys": key_settings})


def untrimmed(model: Model) -> Preset:
    """Make a preset without gains of keys."""
    return KINDS[model.card.kind].preset(model)


def model_loudness_lufs(model: Model) -> float:
    """Return the loudness for a model's card: of its first preset's demo at full velocity.

    Key peaks over -1 dBFS are added, except for kits. ``model``'s card must state `PLAIN_LUFS`.
    """
    patch = Patch("measured", untrimmed(model), model, Path())
    loudness_lufs = demo_loudness_lufs(patch) - gain_to_db(patch.preset.play.velocity_gain(VELOCITY))
    if patch.preset.keys:
        return loudness_lufs
    return max(loudness_lufs, max(peaks_dbfs(patch).values()) - HIGHEST_DBFS + VOICE_LUFS)


def as_text(preset: Preset, card: Card) -> str:
    """Return a preset as TOML, with comments on its knobs, the nearest landmark, and a stated licence and credits."""
    latent_values = preset.latent_values(card)
    nearest_landmark = min(
        card.landmarks, key=lambda landmark: float(np.sum(np.square(np.subtract(landmark.latent, latent_values))))
    )
    heading_lines = [f"Starts from a moment of {nearest_landmark.label}; each knob spans what the recordings span."]
    if card.license != UNKNOWN_LICENCE:
        heading_lines.append(printable(f"Licence: {card.license}"))
    if card.credits:
        heading_lines.append(printable(f"Credits: {card.credits}"))
    return preset.to_toml("\n".join(heading_lines), names_by_target(preset, card))


def rendered(model: Model, demo_file: Path, display: Display) -> Preset:
    """Make a preset, render its demo to ``demo_file``, and show a kit's keys."""
    display.stage("rendering")
    preset = first_preset(model)
    patch = Patch("preset", preset, model, demo_file.parent)
    render({0: patch}, demo(patch), demo_file, sample_rate=RATE, overwrite=True)
    if preset.keys:
        display.say(key_table(preset.keys, model.card))
    return preset
