"""Transforms codes before decoding: scale, shift, smoothing, freeze, controllers and keys."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Times
from ..engines.engine import hop_of
from ..errors import UserError
from ..model.card import Card
from ..play.motions import Latents
from ..play.mpe import ChannelWheels, NoteExpression, mpe_channels_of
from ..preset.library import Patch
from ..ramps import RAMP_SECONDS, Ramp

WET = "process.wet"
FREEZE_THRESHOLD = 0.5  # position of the freeze knob that starts the freeze


class HeldKey(NamedTuple):
    channel: int  # 0 to 15
    key: int  # 0 to 127
    pitch: float  # 69.0 for 440 Hz
    touch: NoteExpression | None  # inside MPE zones
    tuning: Ramp | None  # in semitones, outside

    def bend(self, time: int) -> float:
        """Semitones."""
        if self.touch is not None:
            return self.touch.bent(time)
        return 0.0 if self.tuning is None else self.tuning.value(time)


class CodeTransform:
    """A `Bend` by [process] settings and controllers; times are in samples at the model's rate."""

    def __init__(self, patch: Patch, freeze_seconds: float | None = None) -> None:
        """Raise UserError if the preset's [process] does not fit the model."""
        preset, card = patch.preset, patch.model.card
        process_settings, rate = preset.process, card.sample_rate
        ramp_samples = round(RAMP_SECONDS * rate)
        rest_values = preset.latent_values(card)
        self.knobs = Latents(rest_values, card, preset.motion, preset.tempo_bpm, patch.morph)
        self.ramps = {
            name: Ramp(value, ramp_samples) for name, value in process_settings.values().items() if name != WET
        }
        self._rest_code = np.array(rest_values)
        self._centre_code = np.array([latent.mean for latent in card.latents])
        if preset.latent.values is not None:
            self._centre_code = self._rest_code
        self._scales = _per_latent(process_settings.scales, "scales", card, 1.0)
        self._shift = _per_latent(process_settings.shift, "shift", card, 0.0)
        self._end_code = None if patch.process_end is None else np.array(patch.process_end)
        self._low, self._high = np.array(card.spans).T
        self._hop_seconds = hop_of(card) / rate
        self._freeze_time = math.inf if freeze_seconds is None else freeze_seconds * rate
        self._smoothed_code: Doubles | None = None  # the sound's own code, smoothed or frozen
        self._pitch_by_key = patch.tuning
        self.mpe = mpe_channels_of(preset.mpe, preset.play.bend_range_semitones, card)
        self.wheels = ChannelWheels(0.0, ramp_samples, self.mpe.master_tuning)
        # The newest pressed key, each from its sample on; without one, the detected pitch counts.
        self._played: list[tuple[int, HeldKey | None]] = [(-(1 << 62), None)]
        self.down: list[HeldKey] = []  # the newest last
        self.last: list[float] = self._rest_code.tolist()  # the code decoded last

    def codes(self, codes: Array, sounding: npt.NDArray[np.bool_], times: Times) -> Array:
        sample_times = np.maximum(times, 0)
        smoothed_codes = np.empty(codes.shape)
        for row, (time, is_sounding) in enumerate(zip(sample_times.tolist(), sounding.tolist(), strict=True)):
            smoothed_codes[row] = self._follow(codes[row].astype(np.float64), is_sounding, time)
        latent_scales = self.ramps["process.scale"].values(sample_times)[:, np.newaxis] * self._scales
        bent_codes = (
            self._centre_code
            + latent_scales * (smoothed_codes - self._centre_code)
            + self._shift
            + (self.knobs.at(sample_times) - self._rest_code)
        )
        if self._end_code is not None:
            bent_codes += self.ramps["process.amount"].values(sample_times)[:, np.newaxis] * (
                self._end_code - bent_codes
            )
        if any(key is not None and key.touch is not None for _, key in self._played):
            self._express(bent_codes, sample_times.tolist())
        # The transform never leaves the span; a sound that lies beyond it may stay there.
        bent_codes = np.clip(bent_codes, np.minimum(self._low, smoothed_codes), np.maximum(self._high, smoothed_codes))
        self.last = bent_codes[-1].tolist()
        return bent_codes.astype(np.float32)

    def pitches(self, detected_pitches: Doubles, times: Times) -> Doubles:
        if len(self._played) == 1 and self._played[0][1] is None:
            return detected_pitches
        pitches = detected_pitches.copy()
        for row, time in enumerate(times.tolist()):
            if (key := self._key_at(time)) is not None:
                pitches[row] = key.pitch + key.bend(time)
        return pitches

    def press(self, time: int, channel: int, key: int, touch: NoteExpression | None) -> None:
        """Times never decrease."""
        if key in self._pitch_by_key:  # keymaps may leave keys unmapped
            tuning_ramp = self.wheels.of(channel).bend if touch is None else None
            self.down.append(HeldKey(channel, key, self._pitch_by_key[key], touch, tuning_ramp))
        self._note_key(time)

    def release(self, time: int, channel: int, key: int) -> None:
        self.down = [pressed for pressed in self.down if (pressed.channel, pressed.key) != (channel, key)]
        self._note_key(time)

    def release_all(self, time: int, group_channel: int) -> None:
        """Release the keys of a zone, named by its master, or of a channel."""
        self.down = [key for key in self.down if self.mpe.group(key.channel) != group_channel]
        self._note_key(time)

    def touches(self, channel: int) -> list[NoteExpression]:
        return [key.touch for key in self.down if key.channel == channel and key.touch is not None]

    def forget(self, time: int) -> None:
        """Discard the history before ``time``."""
        self.knobs.forget(time)
        self.mpe.forget(time)
        self.wheels.forget(time)
        for _, key in self._played:
            if key is not None and key.touch is not None:
                key.touch.forget(time)
        for parameter_ramp in self.ramps.values():
            parameter_ramp.forget(time)
        while len(self._played) > 1 and self._played[1][0] <= time:
            del self._played[0]

    def _key_at(self, time: int) -> HeldKey | None:
        """The key that plays at a sample, if any."""
        return self._played[bisect_right(self._played, time, key=lambda entry: entry[0]) - 1][1]

    def _note_key(self, time: int) -> None:
        """Record the newest pressed key, which plays from ``time`` on."""
        self._played.append((time, self.down[-1] if self.down else None))

    def _express(self, codes: Doubles, times: Sequence[int]) -> None:
        """Add the keys' expression to codes, in place."""
        for row, time in enumerate(times):
            if (key := self._key_at(time)) is not None and key.touch is not None:
                self.mpe.express(codes[row], key.touch, time)

    def _follow(self, code: Doubles, is_sounding: bool, time: int) -> Doubles:
        """Smooth or freeze the sound's own code; in silence, return the last one."""
        if self._smoothed_code is None:
            if is_sounding:
                self._smoothed_code = code
            return code
        if is_sounding and time < self._freeze_time and self.ramps["process.freeze"].value(time) < FREEZE_THRESHOLD:
            smoothing_seconds = self.ramps["process.smooth_seconds"].value(time)
            decay = math.exp(-self._hop_seconds / smoothing_seconds) if smoothing_seconds > 0 else 0.0
            self._smoothed_code = decay * self._smoothed_code + (1.0 - decay) * code
        return self._smoothed_code


def _per_latent(values: list[float] | None, setting_key: str, card: Card, default: float) -> Doubles:
    """A setting's numbers, [n_latents], or the default for all."""
    latent_count = len(card.latents)
    if values is not None and len(values) != latent_count:
        raise UserError(
            f"process.{setting_key} has {len(values)} numbers, model {card.name!r} has {latent_count} latents; "
            f"give {latent_count}"
        )
    return np.full(latent_count, default) if values is None else np.array(values)
