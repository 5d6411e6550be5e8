"""Renders a recovered preset, compares it with the original, and writes the files."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..audio.mono_mix import mix_to_mono
from ..audio.resampling import Resampler
from ..audio.sound_files import RATES, sound_writer
from ..errors import UserError
from ..events import Event, NoteOff, NoteOn
from ..files import check_output, replacing
from ..kinds.card_fields import KEYS
from ..midi.files import Performance
from ..model.card import Card
from ..model.model import Model
from ..play.rack import Rack
from ..play.render import blocks, fade_out
from ..preset.library import Patch
from ..preset.preset import Preset
from ..signal import sounding_note
from ..units import MIDDLE_C
from .codes import CodeTrack, part_of
from .distance import Measures, measures
from .picture import check_picture, draw_spectrograms

LONGEST_SECONDS = 30.0  # rendered from the start of a sound
VELOCITY = 100


class Reconstruction(NamedTuple):
    """A target sound, [samples], its reconstruction, [channels, samples], and their distance, in mono.

    A reconstruction has two channels if they differ.
    """

    target: Array
    rendition: Array
    measures: Measures


class Outputs(NamedTuple):
    preset: Path
    sound: Path
    picture: Path
    figures: Path

    @staticmethod
    def beside_preset(preset: Path, target: Path) -> "Outputs":
        """Files beside a preset; never the target's path."""
        sound = preset.with_suffix(".wav")
        if sound.resolve() == target.resolve():
            sound = preset.with_name(f"{preset.stem}-recovered.wav")
        return Outputs(preset, sound, preset.with_suffix(".png"), preset.with_suffix(".json"))

    def check(self, overwrite: bool) -> None:
        """As `host.files.check_output`."""
        for output_path in self:
            check_output(output_path, overwrite)

    def write(
        self,
        preset: Preset,
        reconstructions: Sequence[Reconstruction],
        card: Card,
        report: Mapping[str, object],
        overwrite: bool,
    ) -> list[str]:
        """Write all files or none; return warnings.

        Raises:
            UserError: as `check`.
            Failure: one cannot be written.
        """
        warnings = []
        target = np.concatenate([_levelled(reconstruction.target) for reconstruction in reconstructions])
        rendition = np.concatenate([_levelled(reconstruction.rendition) for reconstruction in reconstructions], axis=1)
        with contextlib.ExitStack() as stack:
            preset_file = stack.enter_context(replacing(self.preset, overwrite))
            preset_file.write_text(preset.to_toml(), encoding="utf-8")
            figures_file = stack.enter_context(replacing(self.figures, overwrite))
            figures_file.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            rate = int(np.clip(card.sample_rate, *RATES))
            writer = stack.enter_context(sound_writer(self.sound, rate, len(rendition), overwrite))
            writer.write(_at_rate(rendition, card.sample_rate, rate))
            writer.finish()
            try:
                check_picture(self.picture)
            except UserError as picture_error:
                warnings.append(f"{self.picture} is left out: {picture_error}")
            else:
                titles = ("as it was", f"as {card.name} plays it")
                mixes = (target, mix_to_mono(rendition, card.sample_rate))
                draw_spectrograms(self.picture, dict(zip(titles, mixes, strict=True)), card.sample_rate, overwrite)
        return warnings


def reconstruct(sound: Path, track: CodeTrack, preset: Preset, model: Model, output: Path) -> Reconstruction:
    """Render a preset's clip, or a note of the sound's length, at most 30 s.

    The note is the sound's own if the model is keyed, else middle C.
    """
    card = model.card
    if track.clip is not None:
        return reconstruct_kit([track], preset, model, output)[0]
    target = part_of(sound, card, *rendered_span(track, card))
    key = MIDDLE_C
    if card.keyed:
        key = int(np.clip(np.floor(sounding_note(target, card.sample_rate) + 0.5), 0, KEYS - 1))
    events: list[Event] = [NoteOn(0, 0, key, VELOCITY), NoteOff(len(target), 0, key)]
    rendition = _render(preset, model, output, events, len(target))
    fade_out(rendition, card.sample_rate)
    return _compare(target, rendition, card)


def rendered_span(track: CodeTrack, card: Card) -> tuple[float, float]:
    """Begin and end in seconds of the part of a sound that a note renders."""
    half_frame_seconds = card.frame_length / 2 / card.sample_rate
    begin_seconds, end_seconds = (
        float(track.seconds[0]) - half_frame_seconds,
        float(track.seconds[-1]) + half_frame_seconds,
    )
    return max(0.0, begin_seconds), min(end_seconds, begin_seconds + LONGEST_SECONDS)


def reconstruct_kit(tracks: Sequence[CodeTrack], preset: Preset, model: Model, output: Path) -> list[Reconstruction]:
    """Render a kit's clips, one after another."""
    card, clip_length = model.card, model.card.frame_length
    keys = [entry.key for entry in preset.keys] or [MIDDLE_C]
    events: list[Event] = []
    for key_index, key in enumerate(keys):
        events += [
            NoteOn(key_index * clip_length, 0, key, VELOCITY),
            NoteOff((key_index + 1) * clip_length - 1, 0, key),
        ]
    rendition = _render(preset, model, output, events, len(keys) * clip_length)
    reconstructions = []
    for track, clip_rendition in zip(tracks, np.split(rendition, len(keys), axis=1), strict=True):
        assert track.clip is not None
        reconstructions.append(_compare(track.clip, clip_rendition, card))
    return reconstructions


def _compare(target: Array, rendition: Array, card: Card) -> Reconstruction:
    """A reconstruction, [channels, samples], beside its target, [samples]."""
    mix = mix_to_mono(rendition, card.sample_rate)
    return Reconstruction(target, rendition, measures(target, mix, card.sample_rate))


def _render(preset: Preset, model: Model, output: Path, events: list[Event], length: int) -> Array:
    """Render events by a preset, [channels, length]; one channel if both are equal."""
    patch = Patch(output.stem, preset, model, output.parent)
    performance = Performance(events=events, length=length, channels=[0], warnings=[])
    with contextlib.closing(Rack({0: patch}, model.card.sample_rate)) as rack:
        mix_blocks = [mix for _, mix, _ in blocks(rack, performance, 0.0, model.card.sample_rate)]
    sound = np.concatenate([np.zeros((2, 0), np.float32), *mix_blocks], axis=1)[:, :length]
    sides = sound[:1] if np.array_equal(*sound) else sound
    return np.pad(sides, ((0, 0), (0, length - sides.shape[1])))


def _at_rate(sound: Array, rate: int, output_rate: int) -> Array:
    """Resample a sound, [channels, n]."""
    if rate == output_rate:
        return sound
    resampler = Resampler(rate, output_rate, len(sound))
    return np.concatenate([resampler.process(sound), resampler.flush()], axis=1)


def _levelled(sound: Array) -> Array:
    """Scale a sound to a peak of one half."""
    return (0.5 * sound / max(float(np.abs(sound).max()), 1e-9)).astype(np.float32)
