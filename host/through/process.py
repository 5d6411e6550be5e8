"""A sound sent through a model, its codes bent on the way: live, block by block, or from file to file."""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from ..audio.effects import EffectChain, Resampler
from ..audio.files import RATES, SoundReader, sound_reader, sound_writer
from ..audio.output import ROUNDING, Output
from ..contract.card import Card, first_complaint
from ..controls import RAMP_SECONDS, Ramp
from ..dsp import limit
from ..errors import UserError, nearest
from ..events import ChannelPressure, Clock, ControlChange, Event, KeyPressure, NoteOff, NoteOn
from ..patch.agreement import check
from ..patch.library import Patch, code_of, morph_end
from ..patch.preset import ProcessSettings
from ..patch.tuning import tuned_keys
from ..play.desk import ALL_OFF
from ..play.mapping import Mapper
from ..play.motion import Latents
from ..progress import told_if_slow
from ..render import SILENCE, SILENT_SECONDS
from ..shelf import preset_file, shipped_presets
from .codes import Fit, Through, Times, hop_of, latency_of
from .recover import medoid

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

WET = "process.wet"
BLOCK = 16_384  # samples: long blocks are encoded in large batches
LONGEST_TAIL_SECONDS = 30.0
HELD = 0.5  # of the freeze knob, from which on the code is held


class Codes:
    """Bends codes by what a preset says and knobs turn; times are in samples at the model's rate."""

    def __init__(self, patch: Patch, freeze_seconds: float | None = None) -> None:
        """From ``freeze_seconds`` on, the code is held.

        Raises:
            UserError: what the preset says of [process] or [morph] does not fit its model.
        """
        preset, card = patch.preset, patch.model.card
        settings, rate = preset.process, card.sample_rate
        ramp = round(RAMP_SECONDS * rate)
        self.knobs = Latents(preset, card, rate, morph_end(preset, card, patch.folder))
        self.ramps = {name: Ramp(value, ramp) for name, value in settings.values().items() if name != WET}
        self._rest = np.array(preset.latent_values(card))
        self._centre = np.array([latent.mean for latent in card.latents])
        if preset.latent.values is not None:
            self._centre = self._rest
        self._scales = _of_latents(settings.scales, "scales", card, 1.0)
        self._shift = _of_latents(settings.shift, "shift", card, 0.0)
        self._far: Doubles | None = None
        if settings.to is not None:
            self._far = np.array(far_code(settings.to, card, patch.folder))
        self._low = np.array([latent.low for latent in card.latents])
        self._high = np.array([latent.high for latent in card.latents])
        self._hop_seconds = hop_of(card) / rate
        self._freeze_at = math.inf if freeze_seconds is None else freeze_seconds * rate
        self._at: Doubles | None = None  # where the sound's own code is, smoothed or held
        self._tuning = tuned_keys(preset.tuning, patch.folder)
        self._keys: list[tuple[int, float | None]] = [(-(1 << 62), None)]  # the pitch that is played from when on
        self.down: list[int] = []  # keys, the newest last
        self.last: list[float] = self._rest.tolist()  # the code that was decoded last

    def codes(self, codes: Array, sounding: npt.NDArray[np.bool_], times: Times) -> Array:
        """As `through.Bend.codes`."""
        moments = np.maximum(times, 0)
        own = np.empty(codes.shape)
        for row, (time, sounds) in enumerate(zip(moments.tolist(), sounding.tolist(), strict=True)):
            own[row] = self._follow(codes[row].astype(np.float64), sounds, time)
        scale = self.ramps["process.scale"].at(moments)[:, np.newaxis] * self._scales
        bent = self._centre + scale * (own - self._centre) + self._shift + (self.knobs.at(moments) - self._rest)
        if self._far is not None:
            bent += self.ramps["process.amount"].at(moments)[:, np.newaxis] * (self._far - bent)
        # Bending leads out of no span; a sound that lies beyond it may stay there.
        bent = np.clip(bent, np.minimum(self._low, own), np.maximum(self._high, own))
        self.last = bent[-1].tolist()
        given: Array = bent.astype(np.float32)
        return given

    def pitches(self, heard: Doubles, times: Times) -> Doubles:
        """As `through.Bend.pitches`: that of the newest key that is down, or as heard where none is."""
        if len(self._keys) == 1 and self._keys[0][1] is None:
            return heard
        chosen = heard.copy()
        for row, time in enumerate(times.tolist()):
            _, pitch = self._keys[bisect_right(self._keys, time, key=lambda entry: entry[0]) - 1]
            if pitch is not None:
                chosen[row] = pitch
        return chosen

    def press(self, time: int, key: int, down: bool) -> None:
        """A key goes down or comes up; times never go back."""
        heard = down and key in self._tuning  # a keymap leaves keys out
        self.down = [other for other in self.down if other != key] + ([key] if heard else [])
        self._played(time)

    def release_all(self, time: int) -> None:
        """All keys come up."""
        self.down = []
        self._played(time)

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        self.knobs.forget(time)
        for ramp in self.ramps.values():
            ramp.forget(time)
        while len(self._keys) > 1 and self._keys[1][0] <= time:
            del self._keys[0]

    def _played(self, time: int) -> None:
        self._keys.append((time, self._tuning[self.down[-1]] if self.down else None))

    def _follow(self, code: Doubles, sounds: bool, time: int) -> Doubles:
        """The sound's own code: of silence the last one that sounded, since its own says nothing."""
        if self._at is None:
            if sounds:
                self._at = code
            return code
        if sounds and time < self._freeze_at and self.ramps["process.freeze"].value(time) < HELD:
            seconds = self.ramps["process.smooth_seconds"].value(time)
            kept = math.exp(-self._hop_seconds / seconds) if seconds > 0 else 0.0
            self._at = kept * self._at + (1.0 - kept) * code
        return self._at


def _of_latents(values: list[float] | None, key: str, card: Card, default: float) -> Doubles:
    count = len(card.latents)
    if values is not None and len(values) != count:
        raise UserError(
            f"process.{key} has {len(values)} numbers, model {card.name!r} has {count} latents; give {count}"
        )
    return np.full(count, default) if values is None else np.array(values)


def far_code(name: str, card: Card, folder: Path) -> list[float]:
    """The code of the landmarks of that label, the one in their middle; or where a preset's knobs rest.

    Raises:
        UserError: there is neither, or the preset does not fit the model.
    """
    codes = [mark.latent for mark in card.landmarks if mark.label == name]
    if codes:
        return codes[medoid(np.array(codes))]
    presets = shipped_presets()
    if name in presets or preset_file(str(folder / name)) is not None:
        return code_of(name, card, folder, "process.to")
    known = sorted({mark.label for mark in card.landmarks} | set(presets))
    raise UserError(f"process.to {name!r} is no landmark of model {card.name!r} and no preset{nearest(name, known)}")


class _Dials:
    """What knobs turn where a sound goes through; their times are at the output's rate.

    Apart from the processor, which has the maps that turn it: so nothing leads in a circle, and all of it ends with its
    last holder where no collector runs.
    """

    def __init__(
        self, patch: Patch, codes: Codes, wet: Ramp, output: Output, rate: int, delays: tuple[int, int]
    ) -> None:
        """Begin where the preset says.

        Args:
            codes, wet, output: what is turned.
            rate: the output's.
            delays: from what is heard to where it is mixed, in the output's samples; and to the effects, in the
                model's.
        """
        self._codes, self._wet, self._output, self._effects = codes, wet, output, patch.preset.effect_values()
        self._rates, self._delays = (patch.model.card.sample_rate, rate), delays

    def present(self, target: str) -> float:
        """Where a target is heading; a parameter of an effect that was neither set nor moved is not known, and 0."""
        if target == WET:
            return self._wet.target
        for ramps in (self._codes.ramps, self._codes.knobs.targets):
            if target in ramps:
                return ramps[target].target
        return self._effects.get(target, 0.0)

    def turn(self, time: int, target: str, value: float) -> None:
        """Send a target to a value."""
        own = round(time * self._rates[0] / self._rates[1])
        if target == WET:
            self._wet.move(time + self._delays[0], value)
        elif target in self._codes.ramps:
            self._codes.ramps[target].move(own, value)
        elif target in self._codes.knobs.targets:
            self._codes.knobs.turn(own, target, value)
        else:
            self._effects[target] = value
            self._output.set_effect(own + self._delays[1], target, value)


class Processor:
    """Sound in, sound out, at any rate; events turn the preset's knobs, and keys choose the chroma.

    An event acts on what was heard at its own time, and with it comes out `latency_samples` later.
    """

    def __init__(self, patch: Patch, sample_rate: int, freeze_seconds: float | None = None) -> None:
        """Make it ready.

        Args:
            sample_rate: of the sound that comes and goes, Hz.
            freeze_seconds: from when on the code is held.

        Raises:
            UserError: the model has no encoder or a kind that takes no sound, or the preset does not fit it.
        """
        preset, model = patch.preset, patch.model
        effects = EffectChain(preset.effects, sample_rate, patch.folder)
        check(preset, model.card, effects.targets())
        self._card = model.card
        self._rate, self._own_rate = sample_rate, model.card.sample_rate
        self._resampler = Resampler(sample_rate, self._own_rate, 1) if sample_rate != self._own_rate else None
        self._output = Output(self._own_rate, sample_rate, effects)
        self._codes = Codes(patch, freeze_seconds)
        self._ahead, late = self._lined_up(self._output.latency_samples - effects.latency_samples)
        self._through = Through(model, self._codes, preset.process.phase, -self._ahead)
        self.latency_samples = late + effects.latency_samples
        self._wet = Ramp(preset.process.wet, round(RAMP_SECONDS * sample_rate))
        self._waiting = np.zeros(self._ahead, np.float32)
        self._dry = np.zeros(self.latency_samples, np.float32)
        self._now = 0
        delays = (self.latency_samples, self._ahead + latency_of(model.card))
        dials = _Dials(patch, self._codes, self._wet, self._output, sample_rate, delays)
        known = {WET, *self._codes.ramps, *self._codes.knobs.targets, *effects.targets()}
        self.knobs = Mapper([entry for entry in preset.cc if entry.target in known], dials.present, dials.turn)

    @property
    def pause_seconds(self) -> float:
        """How long its effects may be silent before they sound again, as `EffectChain.pause_seconds`."""
        return self._output.pause_seconds

    @property
    def heard_any(self) -> bool:
        """Whether a frame was louder than silence."""
        return self._through.heard_any

    def measure(self) -> Fit:
        """From now on, how near frames are to those heard is added up in what is given back."""
        self._through.fit = Fit()
        return self._through.fit

    def latent_values(self) -> list[float]:
        """Where each knob of a latent is heading."""
        return [knob.target for knob in self._codes.knobs.knobs]

    def current_latents(self) -> list[float]:
        """The code that was decoded last."""
        return self._codes.last

    def process(self, events: Sequence[Event], sound: Array) -> Array:
        """The next block.

        Args:
            events: those that fall into this block, in order of time, in samples from the very beginning.
            sound: [count].

        Returns:
            [2, count]; what went through the model is limited.
        """
        for event in events:
            self._apply(event)
        start, count = self._now, len(sound)
        self._now += count
        taken = sound if self._resampler is None else self._resampler.process(sound[np.newaxis])[0]
        self._waiting = np.concatenate([self._waiting, taken])
        wet = limit(self._output.read(count, self._synthesize))
        self._codes.forget(max(0, self._through.earliest))
        self._dry = np.concatenate([self._dry, sound])
        dry, self._dry = self._dry[:count], self._dry[count:]
        share = self._wet.block(start, count)
        self._wet.forget(self._now)
        mixed: Array = dry + share * (wet - dry)
        return mixed

    def _lined_up(self, pulled: int) -> tuple[int, int]:
        """How much silence goes before the sound, so that none is missing when it is asked for, and what it comes to.

        The output asks ``pulled`` of its own samples ahead. All that makes the sound late is to be a whole number of
        samples at both rates: what did not go through the model then lines up with what did.

        Returns:
            Samples at the model's rate; and, with all that makes it late but effects, at the sound's.
        """
        ratio, late, after = self._own_rate / self._rate, float(latency_of(self._card)), 0.0
        held = pulled * ratio
        if self._resampler is not None:
            held += self._resampler.latency * ratio + ROUNDING
            late += self._resampler.late
            after = Resampler(self._own_rate, self._rate, 1).late
        least = math.ceil(held)
        step = self._own_rate // math.gcd(self._own_rate, self._rate)
        totals = (least + np.arange(step) + late) / ratio + after
        best = int(np.abs(totals - np.round(totals)).argmin())
        return least + best, round(totals[best])

    def _synthesize(self, events: Sequence[Event], count: int) -> Array:
        """What went through the model, at its rate, [2, count]."""
        assert count <= len(self._waiting)
        sound, self._waiting = self._waiting[:count], self._waiting[count:]
        wet = self._through.process(sound)
        return np.stack([wet, wet])

    def _apply(self, event: Event) -> None:
        time = round(event.time * self._own_rate / self._rate)
        match event:
            case NoteOn(_, channel, key):
                self._codes.press(time, key, True)
                self.knobs.note_on(channel, key)
            case NoteOff(_, channel, key):
                self._codes.press(time, key, False)
                self.knobs.note_off(event.time, channel, key)
            case ControlChange(_, channel, number, value):
                if not self.knobs.control(event.time, channel, number, value) and number in ALL_OFF:
                    self._codes.release_all(time)
            case ChannelPressure(_, channel, value):
                self.knobs.channel_pressure(event.time, channel, value)
            case KeyPressure(_, channel, key, value):
                self.knobs.key_pressure(event.time, channel, key, value)
            case Clock():
                self._codes.knobs.clock(Clock(time, event.message))


class Listening(Protocol):
    """What hears."""

    heard: Array  # the block that is under way


class Insert:
    """A `Processor` in a rack's place: what is heard goes through it, and fades in when it begins."""

    listens = True
    sounding = 0  # it has no voices

    def __init__(self, patch: Patch, sample_rate: int, ear: Listening) -> None:
        """Make it ready, as `Processor`.

        Raises:
            UserError: as `Processor`; the preset is named.
        """
        try:
            self._processor = Processor(patch, sample_rate)
        except UserError as error:
            raise UserError(*(f"preset {patch.name!r}: {line}" for line in error.args)) from None
        self._ear = ear
        self._fade, self._now = max(1, round(RAMP_SECONDS * sample_rate)), 0

    @property
    def latency_samples(self) -> int:
        """Samples between what is heard and what comes out."""
        return self._processor.latency_samples

    @property
    def knobs(self) -> dict[int, Mapper]:
        """What knobs turn, under the first channel."""
        return {0: self._processor.knobs}

    def latent_values(self, channel: int) -> list[float]:
        """Where each knob of a latent is heading."""
        return self._processor.latent_values()

    def current_latents(self, channel: int) -> list[float]:
        """The code that was decoded last."""
        return self._processor.current_latents()

    def shed(self, time: int) -> bool:
        """There is nothing to give up."""
        return False

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """The next ``count`` samples, [2, count], and the same as the part of the first channel."""
        sound = self._ear.heard
        assert len(sound) == count
        if self._now < self._fade:
            sound = sound * np.clip(np.arange(self._now, self._now + count) / self._fade, 0, 1).astype(np.float32)
        self._now += count
        given = self._processor.process(events, sound)
        return given, {0: given}


class Processed(NamedTuple):
    """What to tell people of a sound that was written."""

    seconds: float
    latency_seconds: float  # that the same would have live
    fit: Fit | None  # None where the code was bent
    of_spectra: bool

    @property
    def summary(self) -> str:
        """One line."""
        told = (
            f"{self.seconds:.1f} s; live it would come {1000 * self.latency_seconds:.1f} ms late, and the card's time"
        )
        if self.fit is not None:
            told += f"; spectral convergence {self.fit.convergence:.3f}"
            told += f", mean square error {self.fit.mean_square:.2e}" if self.of_spectra else ""
        return told


def process(
    sound: Path,
    patch: Patch,
    output: Path,
    *,
    events: Callable[[int], Sequence[Event]] | None = None,
    freeze_seconds: float | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Processed:
    """Send a sound file through a model, in memory that its length does not move.

    Args:
        sound: of any format, rate and number of channels; they are mixed.
        patch: its preset's [process] says how codes are bent.
        output: ``.wav``, ``.flac`` or ``.ogg``; of the sound's own rate and length, to the sample, and one channel. If
            the preset has effects it has two, and goes on until they are silent, for 30 s at most.
        events: gives what is played meanwhile, in samples at the rate that it is told.
        freeze_seconds: from when on the code is held.
        progress: told the part that is done, 0 to 1.

    Raises:
        UserError: the sound cannot be read, is silent or shorter than a frame, the model has no encoder of its own or a
            kind that takes no sound, the preset does not fit it, or the output exists or cannot be written.
        Failure: a code is not finite, or the output cannot be written.
    """
    card = patch.model.card
    with sound_reader(sound) as reader:
        rate = reader.sample_rate
        if not RATES[0] <= rate <= RATES[1]:
            raise UserError(f"{sound} has a rate of {rate} Hz; give a sound of {RATES[0]} to {RATES[1]} Hz")
        processor = Processor(patch, rate, freeze_seconds)
        played = [] if events is None else events(rate)
        fit = processor.measure() if not played and _plain(patch) and freeze_seconds is None else None
        channels = 2 if patch.preset.effects else 1
        length = 0
        with sound_writer(output, rate, channels, overwrite) as writer, told_if_slow(lambda: length / rate):
            for block in _through(processor, _mono(reader), played):
                writer.write(block[:channels])
                length += block.shape[1]
                if progress is not None:
                    progress(min(1.0, length / max(1, reader.length)))
            if length * card.sample_rate < card.frame_length * rate:
                raise UserError(
                    f"{sound} lasts {length / rate:.3g} s, and a frame of model {card.name!r} "
                    f"{card.frame_length / card.sample_rate:.3g} s; give a longer sound"
                )
            if not processor.heard_any:
                raise UserError(f"{sound} is silent, no frame is louder than -80 dB; give a sound that can be heard")
            if patch.preset.effects:
                for block in _tail(processor, rate):
                    writer.write(block)
    return Processed(length / rate, processor.latency_samples / rate, fit, card.kind == "spectrum")


def with_options(patch: Patch, scales: Sequence[str], shifts: Sequence[str], others: Mapping[str, Any]) -> Patch:
    """A patch with what was given on the command line in place of what its preset says of [process].

    Args:
        scales, shifts: ``N=V`` for latent N; of scales also one number for all.
        others: by the names of `ProcessSettings`; None where nothing was given. A preset of ``to`` lies in the working
            folder.

    Raises:
        UserError: naming the option that cannot be used.
    """
    settings, count = patch.preset.process, len(patch.model.card.latents)
    changes = {key: value for key, value in others.items() if value is not None}
    labels, to = {mark.label for mark in patch.model.card.landmarks}, changes.get("to", "")
    if to not in labels | set(shipped_presets()) and (file := preset_file(to)) is not None:
        changes["to"] = str(file.resolve())
    if "amount" in changes and (changes.get("to") or settings.to) is None:
        raise UserError(f"--amount {changes['amount']:g} of which way? give --to, a landmark's label or a preset")
    if whole := [text for text in scales if "=" not in text]:
        changes["scale"] = _option("--scale", whole[-1], whole[-1])
    for option, key, texts, default in (("--scale", "scales", scales, 1.0), ("--shift", "shift", shifts, 0.0)):
        values = list(getattr(settings, key) or [default] * count)
        for text in texts:
            number, equals, value = text.partition("=")
            if not equals and key == "scales":
                continue
            if not number.isdecimal() or int(number) >= count:
                raise UserError(
                    f"{option} {text}: model {patch.model.card.name!r} has {count} latents; give N=V, N from 0 to "
                    f"{count - 1}"
                )
            values[int(number)] = _option(option, text, value)
            changes[key] = values
    try:
        process = ProcessSettings.model_validate(settings.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        raise UserError(f"process.{first_complaint(error)}") from None
    return replace(patch, preset=patch.preset.model_copy(update={"process": process}))


def _option(option: str, text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"{option} {text}: {value!r} is no number; give one, such as 0.5") from None


def _mono(reader: SoundReader) -> Iterator[Array]:
    """The mean of all channels, in blocks of at most `BLOCK`."""
    for block in reader:
        mix = block.mean(axis=0)
        for start in range(0, len(mix), BLOCK):
            yield mix[start : start + BLOCK]


def _through(processor: Processor, sound: Iterator[Array], events: Sequence[Event]) -> Iterator[Array]:
    """A sound as it comes out, [2, count] a block, its latency taken off."""
    at, taken, late = 0, 0, processor.latency_samples
    silence = (np.zeros(min(BLOCK, late - start), np.float32) for start in range(0, late, BLOCK))
    for block in itertools.chain(sound, silence):
        due = bisect_left(events, taken + len(block), lo=at, key=lambda event: event.time)
        given = processor.process(events[at:due], block)
        skip = max(0, late - taken)
        at, taken = due, taken + len(block)
        if skip < len(block):
            yield given[:, skip:]


def _tail(processor: Processor, sample_rate: int) -> Iterator[Array]:
    """What effects still sound when the sound is over, without the silence after it."""
    held: list[Array] = []  # silent blocks, given only if sound returns
    for _ in range(math.ceil(LONGEST_TAIL_SECONDS * sample_rate / BLOCK)):
        held.append(processor.process([], np.zeros(BLOCK, np.float32)))
        if float(np.abs(held[-1]).max()) >= SILENCE:
            yield from held
            held.clear()
        elif len(held) * BLOCK >= (SILENT_SECONDS + processor.pause_seconds) * sample_rate:
            return


def _plain(patch: Patch) -> bool:
    """Whether codes are decoded as they are."""
    settings, plain = patch.preset.process, ProcessSettings()
    unmoved = all(getattr(settings, name) == getattr(plain, name) for name in ("scale", "smooth_seconds", "freeze"))
    return unmoved and not (settings.scales or settings.shift or settings.to or patch.preset.motion)
