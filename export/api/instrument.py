"""Instruments from Python: render, encode, decode, recover, process, play."""

import contextlib
import functools
import html
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arguments import (
    check_flag,
    check_main_thread,
    check_text,
    elements,
    location,
    locations,
    mapping,
    number,
    value_text,
    whole_number,
)
from ...host.arrays import Array, Doubles
from ...host.audio.sound_card import check_block
from ...host.audio.sound_files import RATES as FILE_RATES
from ...host.audio.sound_files import read_sound, sound_reader, sound_writer
from ...host.commands.live import RATES as CARD_RATES
from ...host.errors import TimbrelError, UserError, naming_extras
from ...host.events import Event, NoteOff, NoteOn, ParameterChange, PitchBend
from ...host.kinds.spectrum import GestureSettings
from ...host.kinds.table import kind_of
from ...host.midi.files import LONGEST_SECONDS, Performance
from ...host.model.card import Card
from ...host.play.rack import ChannelInstrument
from ...host.play.render import RATES, arrange, render_samples
from ...host.preset.library import Patch, open_patch
from ...host.preset.loading import read_preset
from ...host.preset.plugin_consent import ask_for
from ...host.preset.preset import LatentSettings, Preset
from ...host.preset.shipped import preset_file, shipped_presets
from ...host.processors import FreeProcessors
from ...host.resynthesis.codes import follow
from ...host.resynthesis.process import process, with_options
from ...host.resynthesis.recover import recover
from ...host.session.messages import Setup
from ...host.session.view_builder import controls
from ..recovery.method import chosen_method
from .automation import KnobRange, Points, bend_events, hold_bends, knob_changes
from .live import LivePlayer
from .notes import Music, Note, performance_of_music
from .sound import MOST_CHANNELS, Sound

PathLike = str | os.PathLike[str]
Recording = Array | PathLike  # samples [samples] or [channels, samples], or a sound file

RATE = 44_100  # Hz, of sounds by default
LONGEST_TAIL_SECONDS = 600.0


class RecoveredSound(NamedTuple):
    """The code of a recording, as `Instrument.recover` finds it.

    Attributes:
        code: float32 [latents].
        label: of a clip, if the model has labels; else None.
        sound: the code, played again.
        figures: as in the file beside a recovered preset, such as ``log_mel_db``, the distance in dB.
    """

    code: Array
    label: str | None
    sound: Sound
    figures: Mapping[str, Any]


class Landmark(NamedTuple):
    """A sound of the model's training data: its ``label``, and its ``code``, float32 [latents]."""

    label: str
    code: Array


class Instrument:
    """An opened preset with its model; `timbrel.open` makes one.

    Every call begins from rest, so equal calls return equal samples. ``render``, ``render_many``, ``encode``,
    ``decode``, ``recover`` and ``process`` may run in several threads.
    """

    def __init__(self, name: str, patch: Patch) -> None:
        """Use `timbrel.open`."""
        self._opened, self._patch = name, patch

    @property
    def name(self) -> str:
        """The preset's name, or the bare model's."""
        return self._patch.name

    @property
    def description(self) -> str:
        """The preset's description in one line; without one, the model's."""
        return self._patch.preset.description or self._patch.model.card.description

    @property
    def kind(self) -> str:
        """The model's kind: spectrum, partials, grain, clip or stream."""
        return self._patch.model.card.kind

    @property
    def card(self) -> dict[str, Any]:
        """The model's card, as `timbrel info --json` prints it: plain dictionaries, lists, texts and numbers.

        ``card["latents"]`` has the range of each latent, ``low`` to ``high``. Each access makes a new dictionary.
        """
        return self._patch.model.card.model_dump(mode="json")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that `decode` takes, of models of labelled clips; empty for others."""
        return tuple(self._patch.model.card.labels)

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Sounds of the training data with their codes; several may have one label."""
        return tuple(
            Landmark(landmark.label, np.array(landmark.latent, np.float32))
            for landmark in self._patch.model.card.landmarks
        )

    @property
    def hop_seconds(self) -> float:
        """Seconds from a code of `encode` to the next; of a model of clips the length of a clip, which has one code."""
        card = self._patch.model.card
        return (card.frame_length if kind_of(card).of_clips else card.hop_length) / card.sample_rate

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latents in the order of codes, ``latent N`` for nameless ones."""
        return tuple(
            latent.name or f"latent {latent_index}"
            for latent_index, latent in enumerate(self._patch.model.card.latents)
        )

    @property
    def knobs(self) -> Mapping[str, KnobRange]:
        """All knobs with their ranges, by name; further ones of the same name by target.

        Latents, macros, the envelope, effects, and the controls of the model's kind.
        """
        return MappingProxyType(self._ranges_by_name)

    @functools.cached_property
    def _ranges_by_name(self) -> dict[str, KnobRange]:
        """`knobs`, as a dictionary: pickle takes no proxy of one."""
        ranges_by_name: dict[str, KnobRange] = {}
        knob_values = ChannelInstrument(self._patch, RATE).knobs
        for control in controls(self._patch.preset, self._patch.model, knob_values):
            name = control.title if control.title not in ranges_by_name else control.target
            ranges_by_name[name] = KnobRange(control.target, control.low, control.high, control.rest, control.unit)
        return ranges_by_name

    def render(
        self,
        music: Music,
        sample_rate: int = RATE,
        *,
        seconds: float | None = None,
        knobs: Mapping[str, Points] | None = None,
        bend: Points | None = None,
        channels: "Mapping[int, PathLike | Instrument | None] | None" = None,
        tail_seconds: float = 30.0,
    ) -> Sound:
        """Play music: the samples that `timbrel render --float` writes of a MIDI file.

        Args:
            music: a MIDI file's path; a `Note`, or several in any order, of which a restruck key is released first; a
                ``mido.MidiFile``, or mido's messages whose ``time`` is in seconds from the beginning; notes or
                instruments of the shape of pretty_midi's, each instrument on a channel of its own, drums on channel 10.
            sample_rate: 16000 to 96000 Hz, a whole number.
            seconds: the sound's exact length, 0 to 36000: it is cut, or padded with silence, to the nearest sample, and
                its last 5 ms fade out. Without it the sound ends when it is silent.
            knobs: positions, 0 to 1 of a knob's range, by the names of ``knobs`` or targets of presets: one; or
                (seconds, position) pairs that lines join, also as an array [points, 2]; or an array with one position
                a sample, of which one in 5 ms counts.
            bend: semitones, -24 to 24, that all its notes are bent by, as ``knobs`` takes positions. Resets and bend
                ranges in the music do not change it; bends of the music's own are refused.
            channels: other presets by MIDI channel, 1 to 16; None mutes one. Knobs and bend leave them alone.
            tail_seconds: the longest that sound may ring on, 0 to 600; unused with ``seconds``.

        Returns:
            float32 [2, samples], within ±1.

        Raises:
            UserError: a file, note, message, knob, bend or preset cannot be used, or a value is out of range.
        """
        sample_rate = _checked_rate(sample_rate)
        if not 0 <= number("tail_seconds", tail_seconds) <= LONGEST_TAIL_SECONDS:
            raise UserError(f"tail_seconds {tail_seconds!r} is out of range; give 0 to {LONGEST_TAIL_SECONDS:g}")
        if seconds is not None and not 0 <= number("seconds", seconds) <= LONGEST_SECONDS:
            raise UserError(f"seconds {seconds!r} is out of range; give 0 to {LONGEST_SECONDS}")
        performance, music_name = performance_of_music(music, sample_rate)
        arranged = arrange(performance, self._patch, music_name, sample_rate, _channels(channels))
        _warn(arranged.warnings)
        performance = arranged.performance
        own_channels = [channel for channel, patch in arranged.patches.items() if patch.preset is self._patch.preset]
        bends: list[Event] = []
        if bend is not None:
            _check_unbent(performance.events, own_channels, music_name)
            bends = bend_events(bend, own_channels, sample_rate)
        changes = [] if knobs is None else knob_changes(knobs, self.knobs, own_channels, sample_rate)
        # stable: knobs move first
        sorted_events = sorted([*bends, *changes, *performance.events], key=lambda event: event.time)
        limiter_lines: list[str] = []
        samples = render_samples(
            arranged.patches,
            performance._replace(events=list(hold_bends(sorted_events, bends))),
            sample_rate=sample_rate,
            tail_seconds=tail_seconds,
            omni=performance.recorded,
            successors=arranged.successors,
            length_samples=None if seconds is None else round(seconds * sample_rate),
            say=limiter_lines.append,
        )
        _warn(limiter_lines)
        return Sound(samples, sample_rate)

    def render_many(
        self,
        notes: Iterable[Music],
        sample_rate: int = RATE,
        *,
        seconds: float | None = None,
        knobs: Mapping[str, Points] | None = None,
        bend: Points | None = None,
    ) -> list[Sound]:
        """Play each note apart, on all free processors: the samples of `render` for each, in the order of ``notes``.

        Args:
            notes: notes, or other music of `render`, each of which becomes a sound.
            sample_rate, seconds, knobs, bend: as `render`, for each sound.

        Raises:
            UserError: as `render`.
        """
        if isinstance(notes, Note | str):
            raise UserError(f"notes {value_text(notes)} is one sound's music; give a list, or call render")
        play = functools.partial(self.render, sample_rate=sample_rate, seconds=seconds, knobs=knobs, bend=bend)
        with ThreadPoolExecutor(FreeProcessors().count()) as pool:
            return list(pool.map(play, elements("notes", notes)))

    def encode(self, recording: Recording, sample_rate: int | None = None) -> Array:
        """Find the codes of a recording with the model's encoder.

        Args:
            recording: a sound file's path, a `Sound`, or floats within ±1, [samples] or [channels, samples], of 1 to 8
                channels.
            sample_rate: of samples that are no `Sound`, 6000 to 192000 Hz; with a `Sound` or a file, its own rate.

        Returns:
            float32 [frames, latents], one each ``hop_seconds``; of a model of clips [1, latents]. Frames without sound
            repeat the code before them. Codes may lie outside the latents' ranges.

        Raises:
            UserError: the model has no encoder; the recording is silent, too short or unreadable, or has another rate
                than ``sample_rate``.
        """
        self._check_codes()
        with _file(recording, sample_rate) as path:
            code_track = follow(path, self._patch.model)
        if code_track.clip is not None:
            return code_track.codes.astype(np.float32)
        card = self._patch.model.card
        frame_indices = np.rint(
            (code_track.seconds * card.sample_rate - card.frame_length / 2) / card.hop_length
        ).astype(int)
        newest_code_indices = np.searchsorted(frame_indices, np.arange(code_track.frame_count), side="right") - 1
        return code_track.codes[np.maximum(newest_code_indices, 0)].astype(np.float32)

    def decode(
        self, codes: npt.ArrayLike, key: float = 60, *, velocity: int = 100, label: str | None = None,
        sample_rate: int = RATE, clamp: bool = False,
    ) -> Sound:  # fmt: skip
        """Play codes as a note without gesture, effects and envelope of the preset.

        Lines join frames at the model's hop. A single code is held for a second; a clip has one code and its own
        length.

        Args:
            codes: [latents] or [frames, latents], each within its latent's range, ``low`` to ``high`` in ``card``.
            key: as of a `Note`, 0 to 127; velocity: 1 to 127.
            label: one of ``labels``, for models of labelled clips; the preset's first without it.
            sample_rate: 16000 to 96000 Hz, a whole number.
            clamp: move codes that lie outside to the ends of their ranges, in place of the error.

        Returns:
            float32 [2, samples], within ±1.

        Raises:
            UserError: codes of another shape, not finite, or outside their ranges; a key, velocity or rate out of
                range; an unknown label.
        """
        self._check_codes()
        check_flag("clamp", clamp)
        sample_rate = _checked_rate(sample_rate)
        model, card = self._patch.model, self._patch.model.card
        try:
            code_frames = np.atleast_2d(np.asarray(codes, np.float64))
        except (TypeError, ValueError):
            raise UserError(f"codes {value_text(codes)} are no numbers; give [frames, {len(card.latents)}]") from None
        if (
            code_frames.ndim != 2
            or code_frames.shape[1] != len(card.latents)
            or not len(code_frames)
            or not np.isfinite(code_frames).all()
        ):
            raise UserError(
                f"codes of shape {np.shape(codes)}: model {card.name!r} takes finite numbers, "
                f"[frames, {len(card.latents)}]"
            )
        if label is not None and label not in card.labels:
            raise UserError(
                f"label {value_text(label)}: model {card.name!r} has {', '.join(card.labels) or 'no labels'}"
            )
        is_clip = kind_of(card).of_clips
        if is_clip and len(code_frames) > 1:
            raise UserError(f"{len(code_frames)} codes: a clip of model {card.name!r} has one; decode them one by one")
        hop_seconds = self.hop_seconds if is_clip or len(code_frames) > 1 else 1.0  # a single code is held
        note = Note(key, 0.0, len(code_frames) * hop_seconds, velocity)
        if not clamp:
            _check_spans(code_frames, card)
        resting_code = np.clip(code_frames[0], *np.transpose(card.spans)).tolist()
        preset_tables = dict(kind_of(card).tables(label, sustained=not is_clip))
        if model.gestures is not None:  # the codes have the note's movement already
            preset_tables["gesture"] = GestureSettings(amount=0.0)
        preset = Preset(format=1, model=str(model.path), latent=LatentSettings(values=resting_code)).model_copy(
            update=preset_tables
        )
        events: list[Event] = [NoteOn(0, 0, note.key, note.velocity)]
        for frame_index, frame_code in enumerate(code_frames[1:], 1):
            time_samples = round(frame_index * hop_seconds * sample_rate)
            events += [
                ParameterChange(time_samples, 0, f"latent.{latent_index}", value)
                for latent_index, value in enumerate(frame_code.tolist())
            ]
        length_samples = round(note.duration * sample_rate)
        events.append(NoteOff(length_samples, 0, note.key))
        patch = Patch(self.name, preset, model, self._patch.folder)
        return Sound(
            render_samples({0: patch}, Performance(events, length_samples, [0], []), sample_rate=sample_rate),
            sample_rate,
        )

    def recover(
        self, recording: Recording, sample_rate: int | None = None, *, method: str | None = None
    ) -> RecoveredSound:
        """Find the code of a recording, as `timbrel recover`.

        Args:
            recording, sample_rate: as `encode`.
            method: network (the model's encoder), gradient (a search) or hybrid (both); the last by default where
                timbrel[train] is installed.

        Raises:
            UserError: the recording or the method cannot be used.
        """
        note_lines: list[str] = []
        with tempfile.TemporaryDirectory() as folder, _file(recording, sample_rate) as path:
            recovered_file = Path(folder) / "recovered.toml"
            recovery = recover(
                path,
                self._patch.model,
                recovered_file,
                method=chosen_method(method, self._patch.model, note_lines.append),
            )
            preset, card = read_preset(recovered_file), self._patch.model.card
            sound, rate = read_sound(recovered_file.with_suffix(".wav"))
            figures = json.loads(recovered_file.with_suffix(".json").read_text(encoding="utf-8"))
        _warn([*note_lines, *recovery.warnings])
        label = figures.get("label")
        return RecoveredSound(np.array(preset.latent_values(card), np.float32), label, Sound(sound, rate), figures)

    def process(
        self,
        recording: Recording,
        sample_rate: int | None = None,
        *,
        to: PathLike | None = None,
        amount: float | None = None,
        smooth_seconds: float | None = None,
        wet: float | None = None,
    ) -> Sound:
        """Send a recording through the encoder and the decoder, as `timbrel process`.

        Args:
            recording, sample_rate: as `encode`.
            to: lead codes to a landmark's label, or to another preset.
            amount: how much of that way, 0 to 1.
            smooth_seconds: in which codes follow the recording.
            wet: how much of the sound went through the model, 0 to 1.

        Returns:
            [1, samples] of the recording's length at its rate, [2, samples] of a stereo one; with effects [2, samples],
            with their tail.

        Raises:
            UserError: the recording, a setting or the model cannot be used.
        """
        preset_options: dict[str, Any] = {"to": None if to is None else location("to", to)}
        for name, value in (("smooth_seconds", smooth_seconds), ("amount", amount), ("wet", wet)):
            preset_options[name] = None if value is None else number(name, value)
        patch = with_options(self._patch, [], [], preset_options)
        warning_lines: list[str] = []
        with tempfile.TemporaryDirectory() as folder, _file(recording, sample_rate) as path:
            processed_file = Path(folder) / "processed.wav"
            process(path, patch, processed_file, say=warning_lines.append, as_float=True)
            sound, rate = read_sound(processed_file)
        _warn(warning_lines)
        return Sound(sound, rate)

    def _check_codes(self) -> None:
        """Raise UserError if no code of a sound can be found."""
        if reason_text := kind_of(self._patch.model.card).finds_no_code:
            raise UserError(f"{self.name}: models of kind {self.kind!r} have no codes of sounds: {reason_text}")

    def __repr__(self) -> str:
        return f"<timbrel.Instrument {self.name!r}: {self.kind}, {len(self.latents)} latents>"

    def _repr_html_(self) -> str:
        table_rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(knob.target)}</td>"
            f"<td>{knob.low:g} to {knob.high:g} {html.escape(knob.unit)}</td><td>{knob.rest:g}</td></tr>"
            for name, knob in self.knobs.items()
        )
        return (
            f"<b>{html.escape(self.name)}</b> {html.escape(self.description)}"
            f"<table><tr><th>knob</th><th>target</th><th>range</th><th>at rest</th></tr>{table_rows}</table>"
        )


def open(name: PathLike, *, trust: bool = False) -> Instrument:
    """Open an instrument.

    Args:
        name: of a preset or model that `preset_names` and `model_names` list; or the path of a ``.toml`` preset, a
            folder that `make` wrote, a pack, or an ``.onnx`` model.
        trust: let its plugins, and the package of its model's kind, run; without it, new ones are asked about, or
            refused without a terminal.

    Raises:
        UserError: unknown name, or it cannot be used.
    """
    name_or_path = location("name", name)
    check_flag("trust", trust)
    if Path(name_or_path).exists() and preset_file(name_or_path) not in shipped_presets().values():
        name_or_path = str(Path(name_or_path).absolute())  # playing it live works from any folder
    ask_for([name_or_path], trust)
    patch = open_patch(name_or_path)
    _warn(patch.warnings)
    return Instrument(name_or_path, patch)


def make(
    sounds: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    minutes: float | None = None,
    more_minutes: float | None = None,
    family: str = "auto",
    label: str | None = None,
    recordings: bool = True,
    license: str | None = None,
    credits: str | None = None,
) -> Instrument:
    """Make an instrument of sounds, as `timbrel make`, and open it; needs timbrel[train], and the main thread.

    Args:
        sounds: sound files and folders.
        output: the instrument, a new folder.
        minutes: how long to train; 5 by default.
        more_minutes: train the finished instrument ``output`` so much longer, or a pack with its run, given as
            ``sounds``, into a new ``output``.
        family: auto chooses by the sounds; or one that `timbrel make --help` lists, or an installed package's.
        label: of hits or words: ``"folder"``, or a regular expression on files' names.
        recordings: of hits or words, whether the model's file contains them.
        license, credits: of the sounds; they stand in its card, its preset and packs of it.

    Raises:
        UserError: the sounds or a value cannot be used, or a package of timbrel[train] is missing.
        Failure: the instrument cannot be trained or written.
    """
    check_main_thread("make")
    sound_paths, folder = locations("sounds", sounds), Path(location("output", output))
    for argument_name, budget_minutes in {"minutes": minutes, "more_minutes": more_minutes}.items():
        if budget_minutes is not None:
            number(argument_name, budget_minutes)
    for argument_name, text in {"label": label, "license": license, "credits": credits}.items():
        if text is not None:
            check_text(argument_name, text)
    check_text("family", family)
    check_flag("recordings", recordings)
    with naming_extras():
        from .making import make_instrument

        make_instrument(
            sound_paths,
            folder,
            minutes=minutes,
            more_minutes=more_minutes,
            family=family,
            label=label,
            recordings=recordings,
            license=license,
            credits=credits,
        )
    return open(folder)


def play(
    instrument: Instrument | PathLike,
    *,
    device: str | None = None,
    null: bool = False,
    rate: int | None = None,
    block: int = 128,
    midi_ports: str | Sequence[str] = (),
) -> LivePlayer:
    """Play live, without blocking: MIDI inputs and the player's methods play. Needs timbrel[live].

    Args:
        instrument: an opened one, or a name or path that `timbrel.open` takes.
        device: the sound card, by any part of its name.
        null: play to nowhere, in time.
        rate: 8000 to 192000 Hz; the card's own by default.
        block: samples that the card takes at a time, 16 to 8192.
        midi_ports: by any part of their names; all by default.

    Returns:
        A player, to be closed, or used by ``with``.

    Raises:
        UserError: the card, a port or the preset cannot be used.
    """
    opened_instrument = instrument if isinstance(instrument, Instrument) else open(instrument)
    check_flag("null", null)
    check_block(whole_number("block", block, 1))
    if rate is not None:
        whole_number("rate (Hz):", rate, *CARD_RATES)
    if device is not None:
        check_text("device", device)
    port_names = (midi_ports,) if isinstance(midi_ports, str) else tuple(elements("midi_ports", midi_ports))
    for port_name in port_names:
        check_text("midi_ports:", port_name)
    setup = Setup(
        preset=opened_instrument._opened, device=device, null=null, rate=rate, block=block, midi_ports=port_names
    )
    return LivePlayer(setup, opened_instrument.knobs)


def _checked_rate(rate: float) -> int:
    if not RATES[0] <= number("sample_rate", rate) <= RATES[1] or rate != int(rate):
        raise UserError(f"a sample rate of {rate} Hz: give {RATES[0]} to {RATES[1]}, a whole number")
    return int(rate)


def _check_unbent(events: Iterable[Event], channels: Sequence[int], music_name: str) -> None:
    """Raise UserError if events bend channels."""
    bent_channel = next((e.channel for e in events if isinstance(e, PitchBend) and e.channel in channels), None)
    if bent_channel is not None:
        raise UserError(f"{music_name}: channel {bent_channel + 1} has bends of its own; leave bend out")


def _channels(presets_by_channel: Mapping[int, PathLike | Instrument | None] | None) -> dict[int, str | None]:
    """Return names of presets by channel, counted from 0; None mutes one."""
    names_by_channel: dict[int, str | None] = {}
    for channel, preset in mapping("channels", presets_by_channel).items():
        name = preset._opened if isinstance(preset, Instrument) else preset
        name_or_path = None if name is None else location(f"channels[{value_text(channel)}]", name)
        names_by_channel[whole_number("channel", channel, 1, 16) - 1] = name_or_path
    return names_by_channel


def _check_spans(code_frames: Doubles, card: Card) -> None:
    """Raise UserError for codes, [frames, latents], outside their ranges by more than float32 rounds."""
    low, high = np.transpose(card.spans)
    lowest, highest = np.minimum(low, low.astype(np.float32)), np.maximum(high, high.astype(np.float32))
    outside = np.argwhere((code_frames < lowest) | (code_frames > highest))
    if len(outside):
        frame_index, latent_index = outside[0].tolist()
        raise UserError(
            f"codes[{frame_index}]: latent {latent_index} is {code_frames[frame_index, latent_index]:g}; give "
            f"{low[latent_index]:g} to {high[latent_index]:g}, or clamp=True"
        )


@contextlib.contextmanager
def _file(recording: Recording, sample_rate: int | None) -> Iterator[Path]:
    """Yield the file of a recording; samples are written to a temporary one."""
    if isinstance(recording, str | os.PathLike):
        if sample_rate is not None:
            with sound_reader(Path(recording)) as reader:
                _check_own_rate(sample_rate, reader.sample_rate)
        yield Path(recording)
        return
    try:
        samples = np.atleast_2d(np.asarray(recording))
    except ValueError:
        samples = np.zeros((0, 0), object)  # rows of unequal lengths
    if samples.dtype.kind != "f" or samples.ndim != 2 or np.ndim(recording) == 0:
        is_array = isinstance(recording, np.ndarray)
        recording_text = f"of {samples.dtype}, {samples.ndim} dimensions" if is_array else value_text(recording)
        raise UserError(
            f"a recording {recording_text}: give a sound file's path, or floats within ±1, [samples] or "
            "[channels, samples]"
        )
    own_rate = getattr(recording, "sample_rate", 0) or None
    rate = own_rate if sample_rate is None else sample_rate
    if rate is None:
        raise UserError("samples have no rate of their own; give their sample_rate in Hz")
    if not FILE_RATES[0] <= number("sample_rate", rate) <= FILE_RATES[1] or rate != int(rate):
        raise UserError(f"a sample rate of {rate} Hz: give {FILE_RATES[0]} to {FILE_RATES[1]}, a whole number")
    if own_rate is not None:
        _check_own_rate(rate, own_rate)
    if not 1 <= len(samples) <= MOST_CHANNELS:
        raise UserError(f"a recording of {len(samples)} channels: give [channels, samples], such as recording.T")
    if not np.isfinite(samples).all():
        raise UserError("the recording has samples that are not finite; give numbers")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.wav"
        with sound_writer(path, int(rate), len(samples), as_float=True) as writer:
            writer.write(samples.astype(np.float32))
        try:
            yield path
        except TimbrelError as error:  # users know no such file
            raise type(error)(*(str(line).replace(str(path), "the recording") for line in error.args)) from None


def _check_own_rate(rate: float, own_rate: int) -> None:
    """Raise UserError if a given rate is not the recording's own."""
    if number("sample_rate", rate) != own_rate:
        raise UserError(f"sample_rate {rate}: the recording has {own_rate} Hz of its own; leave sample_rate out")


def _warn(lines: Iterable[str]) -> None:
    """Warn the caller of the public function."""
    for line in lines:
        warnings.warn(line, stacklevel=3)
