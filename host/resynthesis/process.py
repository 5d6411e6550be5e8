"""Processes a sound file through a model into another file."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from ..arrays import Array
from ..audio.sound_files import RATES, mono_or_sides, sound_reader, sound_writer
from ..errors import UserError
from ..events import Event, Timing
from ..kinds.table import kind_of
from ..model.card import first_complaint
from ..play.player import SILENCE, Succession, Successor
from ..play.render import SILENT_SECONDS, programmed
from ..preset.library import Patch, open_patch
from ..preset.preset import ProcessSettings
from ..preset.shipped import preset_file, shipped_presets
from ..progress import warn_if_slow
from .codes import silent, too_short
from .frame_stream import Fit
from .processor import CHANNEL, EffectRack, Processor

BLOCK = 16_384  # samples: long blocks are encoded in large batches
LONGEST_TAIL_SECONDS = 30.0


class Processed(NamedTuple):
    seconds: float
    latency_seconds: float  # of live processing
    fit: Fit | None  # None if codes were transformed
    of_magnitudes: bool

    @property
    def summary(self) -> str:
        text = (
            f"{self.seconds:.1f} s; live it would come {1000 * self.latency_seconds:.1f} ms late, and the card's time"
        )
        if self.fit is not None:
            text += f"; spectral convergence {self.fit.convergence:.3f}"
            text += f", mean square error {self.fit.mean_square:.2e}" if self.of_magnitudes else ""
        return text


def process(
    sound: Path,
    patch: Patch,
    output: Path,
    *,
    sample_rate: int | None = None,
    events: Callable[[int], Sequence[Event]] | None = None,
    programs: Sequence[str] = (),
    opening: Callable[[str], Patch] = open_patch,
    say: Callable[[str], None] = print,
    freeze_seconds: float | None = None,
    as_float: bool = False,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Processed:
    """Process a sound file through a model, in constant memory.

    Args:
        sound: any format and rate. Two channels that sound and differ keep their image; others are mixed to mono.
        output: ``.wav``, ``.flac`` or ``.ogg``, of exactly the input's length, mono or with the input's image; with
            effects stereo, with up to 30 s of their tail.
        sample_rate: of the output, Hz; default: the input's.
        events: returns events in samples at the rate it receives.
        programs: presets that program changes select on any channel; without any, these are skipped.
        say: receives warnings about program changes and clipped samples.
        freeze_seconds: start of the freeze.
        as_float: 32-bit float; ``.wav`` only.
        progress: receives 0 to 1.

    Raises:
        UserError: as `codes.follow`; the model cannot process sound; the preset does not fit it; the freeze is not
            within the sound; the output exists or cannot be written.
        Failure: a code is not finite, or the output cannot be written.
    """
    card = patch.model.card
    with sound_reader(sound) as reader:
        if not RATES[0] <= reader.sample_rate <= RATES[1]:
            raise UserError(
                f"{sound} has a rate of {reader.sample_rate} Hz; give a sound of {RATES[0]} to {RATES[1]} Hz"
            )
        rate = sample_rate or reader.sample_rate
        expected_length = reader.length * rate / reader.sample_rate
        timed_events = [] if events is None else events(rate)
        input_channels = 2 if reader.has_sides() else 1
        effects = _Effects(patch, timed_events, programs, rate, input_channels, freeze_seconds, opening, say)
        fit = effects.first.measure() if not timed_events and _plain(patch) and freeze_seconds is None else None
        channel_count = 2 if effects.any_effects else input_channels
        written_length = 0
        with (
            sound_writer(output, rate, channel_count, overwrite, as_float) as writer,
            warn_if_slow(lambda: written_length / rate),
        ):
            for block in _process_blocks(effects, _split_blocks(mono_or_sides(reader, rate)), timed_events):
                writer.write(block[:channel_count])
                written_length += block.shape[1]
                if progress is not None:
                    progress(min(1.0, written_length / max(1, expected_length)))
            if written_length * card.sample_rate < card.frame_length * rate:
                raise too_short(sound, written_length / rate, card)
            if freeze_seconds is not None and freeze_seconds >= written_length / rate:
                raise UserError(
                    f"--freeze {freeze_seconds:g} is not within {sound}, which lasts {written_length / rate:.3g} s; "
                    "give an earlier second"
                )
            if not effects.heard_any:
                raise silent(sound)
            if effects.any_effects:
                for block in _tail(effects, rate):
                    writer.write(block)
            clip_lines = writer.clip_remarks(f"lower the level of {sound}")
    for line in clip_lines:
        say(line)
    return Processed(written_length / rate, effects.first.latency_samples / rate, fit, kind_of(card).of_magnitudes)


def with_options(patch: Patch, scales: Sequence[str], shifts: Sequence[str], options: Mapping[str, Any]) -> Patch:
    """A patch with [process] settings from the command line; UserError for a faulty option.

    Args:
        scales, shifts: ``N=V`` for latent N; a scale without ``N=`` is for all.
        options: by the names of `ProcessSettings`; None is ignored. ``to`` may be a preset in the working folder.
    """
    process_settings, latent_count = patch.preset.process, len(patch.model.card.latents)
    changed_settings = {
        setting_key: value_text for setting_key, value_text in options.items() if value_text is not None
    }
    landmark_labels, target_name = {mark.label for mark in patch.model.card.landmarks}, changed_settings.get("to", "")
    if (
        target_name
        and target_name not in landmark_labels | set(shipped_presets())
        and (preset_path := preset_file(target_name)) is not None
    ):
        changed_settings["to"] = str(preset_path.resolve())
    if "amount" in changed_settings and (changed_settings.get("to") or process_settings.to) is None:
        raise UserError(
            f"--amount {changed_settings['amount']:g} of which way? give --to, a landmark's label or a preset"
        )
    if common_scales := [option_text for option_text in scales if "=" not in option_text]:
        changed_settings["scale"] = _option("--scale", common_scales[-1], common_scales[-1])
    for option, setting_key, option_texts, default_value in (
        ("--scale", "scales", scales, 1.0),
        ("--shift", "shift", shifts, 0.0),
    ):
        latent_values = list(getattr(process_settings, setting_key) or [default_value] * latent_count)
        for option_text in option_texts:
            index_text, equals, value_text = option_text.partition("=")
            if not equals and setting_key == "scales":
                continue
            if not index_text.isdecimal() or int(index_text) >= latent_count:
                raise UserError(
                    f"{option} {option_text}: model {patch.model.card.name!r} has {latent_count} latents; give N=V, "
                    f"N from 0 to {latent_count - 1}"
                )
            latent_values[int(index_text)] = _option(option, option_text, value_text)
            changed_settings[setting_key] = latent_values
    try:
        new_settings = ProcessSettings.model_validate(
            process_settings.model_dump(exclude_unset=True) | changed_settings
        )
    except ValidationError as error:
        raise UserError(f"process.{first_complaint(error)}") from None
    return replace(patch, preset=patch.preset.model_copy(update={"process": new_settings}))


def _option(option: str, option_text: str, number_text: str) -> float:
    """Return the number of an option, whose whole text is for the error."""
    try:
        return float(number_text)
    except ValueError:
        raise UserError(f"{option} {option_text}: {number_text!r} is no number; give one, such as 0.5") from None


def _split_blocks(sound_blocks: Iterator[Array]) -> Iterator[Array]:
    """Split blocks, [channels, n], into blocks of at most `BLOCK` samples."""
    for block in sound_blocks:
        for start in range(0, block.shape[1], BLOCK):
            yield block[:, start : start + BLOCK]


class _Effects:
    """The effect racks of a file's presets, which follow each other; also their source of input sound."""

    def __init__(
        self,
        patch: Patch,
        events: Sequence[Event],
        programs: Sequence[str],
        sample_rate: int,
        input_channels: int,
        freeze_seconds: float | None,
        opening: Callable[[str], Patch],
        say: Callable[[str], None],
    ) -> None:
        self.heard = np.zeros((input_channels, 0), np.float32)  # the current block of input
        self._rate, self._freeze_seconds = sample_rate, freeze_seconds
        self._waiting_sound = self.heard
        self._racks: list[EffectRack] = []
        successors: list[Successor] = []
        if programs:  # all channels play one effect
            merged_events = [
                event if isinstance(event, Timing) else replace(event, channel=CHANNEL) for event in events
            ]

            def opened(name: str) -> Patch:
                chosen_patch = opening(name)
                Processor(chosen_patch, sample_rate)  # raises if it cannot process sound
                return chosen_patch

            patch_by_channel, successors = programmed({CHANNEL: patch}, merged_events, programs, say, opened)
            patch = patch_by_channel[CHANNEL]
        patches = [patch, *(successor.patches[CHANNEL] for successor in successors)]
        self.any_effects = any(candidate.preset.effects for candidate in patches)
        self.latency_samples = 0
        if successors:  # each preset's sound stays in step with the file
            self.latency_samples = max(Processor(candidate, sample_rate).latency_samples for candidate in patches)
        first_rack = self._make({CHANNEL: patch})
        self.first, self.latency_samples = first_rack.processor, first_rack.latency_samples
        self.succession = Succession(first_rack, successors, sample_rate, self._make, listen=self._listen)

    @property
    def heard_any(self) -> bool:
        return any(rack.processor.stream.heard_any for rack in self._racks)

    def process(self, events: Sequence[Event], sound: Array) -> Array:
        """Return the next block, [2, n], for a block of input, [channels, n]."""
        self._waiting_sound = sound
        return self.succession.process(events, sound.shape[1])[0]

    def _listen(self, count: int) -> None:
        """Take the rack's next samples of input into `heard`."""
        self.heard, self._waiting_sound = self._waiting_sound[:, :count], self._waiting_sound[:, count:]

    def _make(self, patches: Mapping[int, Patch]) -> EffectRack:
        """Make a rack that starts now; later ones fade in."""
        patch, start_seconds = patches[CHANNEL], self.succession.played / self._rate if self._racks else 0.0
        freeze_seconds = None if self._freeze_seconds is None else max(0.0, self._freeze_seconds - start_seconds)
        fades, latency_samples = bool(self._racks), self.latency_samples
        rack = EffectRack(patch, self._rate, self, fades=fades, latency=latency_samples, freeze_seconds=freeze_seconds)
        self._racks.append(rack)
        return rack


def _process_blocks(effects: _Effects, sound_blocks: Iterator[Array], events: Sequence[Event]) -> Iterator[Array]:
    """Yield the processed blocks, [2, n], without the latency before them."""
    event_index, read_length, latency_samples = 0, 0, effects.latency_samples
    silent_blocks = (
        np.zeros((len(effects.heard), min(BLOCK, latency_samples - start)), np.float32)
        for start in range(0, latency_samples, BLOCK)
    )
    for block in itertools.chain(sound_blocks, silent_blocks):
        block_end = read_length + block.shape[1]
        event_end_index = bisect_left(events, block_end, lo=event_index, key=lambda event: event.time)
        output = effects.process(events[event_index:event_end_index], block)
        skipped_count = max(0, latency_samples - read_length)
        event_index, read_length = event_end_index, block_end
        if skipped_count < block.shape[1]:
            yield output[:, skipped_count:]


def _tail(effects: _Effects, sample_rate: int) -> Iterator[Array]:
    """Yield the effects' sound after the end, until silence."""
    silent_blocks: list[Array] = []  # dropped unless sound returns
    for _ in range(math.ceil(LONGEST_TAIL_SECONDS * sample_rate / BLOCK)):
        silent_blocks.append(effects.process([], np.zeros((len(effects.heard), BLOCK), np.float32)))
        if float(np.abs(silent_blocks[-1]).max()) >= SILENCE:
            yield from silent_blocks
            silent_blocks.clear()
        elif len(silent_blocks) * BLOCK >= (SILENT_SECONDS + effects.succession.pause_seconds) * sample_rate:
            return


def _plain(patch: Patch) -> bool:
    """Return whether a preset leaves codes as they are."""
    process_settings, default_settings = patch.preset.process, ProcessSettings()
    is_unmoved = all(
        getattr(process_settings, setting_name) == getattr(default_settings, setting_name)
        for setting_name in ("scale", "smooth_seconds", "freeze")
    )
    return is_unmoved and not (
        process_settings.scales or process_settings.shift or process_settings.to or patch.preset.motion
    )
