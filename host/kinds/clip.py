"""The kind ``clip``: one-shot sounds, decoded whole; its [clip] and [[keys]] tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ..errors import nearest
from ..settings import Fault, Knob, Misplaced, SettingsSection, Switch, Whole, controls_of
from ..signal import medoid
from ..units import MIDDLE_C, Range
from ..velocity import LOUDEST
from .card_fields import CardFields
from .general_midi_drums import drum_key
from .kind import PHASES, FramePart, Keying, Kind, sequence_parts

SPECTRA_A_TRANSFORM = 4  # minimum overlap for overlap-add
LABEL = "clip.label"


class ClipSettings(SettingsSection):
    """The [clip] table.

    Attributes:
        trigger: ``one-shot`` ignores key release, ``gated`` stops there. None: ``gated`` for loops and modes with one
            voice, else ``one-shot``.
        crossfade_seconds: equal-power crossfade of the loop's end into its start.
    """

    start: Annotated[float, Field(ge=0, le=0.99), Knob("of the clip")] = 0.0
    length: Annotated[float, Field(ge=0.001, le=1), Knob("of the clip")] = 1.0
    pitch: Annotated[float, Field(ge=-48, le=48), Knob("semitones")] = 0.0
    reverse: Annotated[Switch, Field(ge=0, le=1), Knob("backwards from 0.5 on")] = 0.0
    trigger: Literal["one-shot", "gated"] | None = None
    loop: bool = False
    loop_start: Annotated[float, Field(ge=0, le=0.99), Knob("of what is played")] = 0.0
    crossfade_seconds: Annotated[float, Field(ge=0, le=2), Knob("s")] = 0.02
    label: str | None = None

    @model_validator(mode="after")
    def _loops_where_it_says_how(self) -> "ClipSettings":
        if self.loop and self.trigger == "one-shot":
            raise ValueError("trigger 'one-shot' and loop, which would never end; use trigger = \"gated\"")
        loop_settings = [name for name in ("loop_start", "crossfade_seconds") if name in self.model_fields_set]
        if loop_settings and not self.loop:
            raise ValueError(f"{loop_settings[0]} without loop; add loop = true, or remove it")
        return self

    def values(self) -> dict[str, float]:
        targets = [target for target in CONTROLS if self.loop or target not in OF_LOOPS]
        return {target: float(getattr(self, target.removeprefix("clip."))) for target in targets}


CONTROLS = controls_of(ClipSettings, "clip")
OF_LOOPS = ("clip.loop_start", "clip.crossfade_seconds")


def _key_number(key: object) -> object:
    return drum_key(key) if isinstance(key, str) else key


class KeySettings(SettingsSection):
    """One of [[keys]]: a kit's key, by number or General MIDI drum name, and its clip.

    Attributes:
        code: one number per latent.
        label: of a landmark, or of the model; only the latter goes with ``code``.
        recording: name of a recording in the model's file, in place of both.
        morph_to: of another one, to which the morph leads from it.
    """

    key: Annotated[Whole, Field(ge=0, le=127), BeforeValidator(_key_number)]
    code: list[float] | None = None
    label: str | None = None
    recording: str | None = None
    morph_to: str | None = None
    pitch_semitones: Annotated[float, Field(ge=-48, le=48)] = 0.0
    gain_db: Annotated[float, Field(ge=-60, le=24)] = 0.0  # models may make a kick 22 dB softer than a hat
    choke: str | None = None

    @model_validator(mode="after")
    def _has_a_clip(self) -> "KeySettings":
        if self.code is None and self.label is None and self.recording is None:
            raise ValueError(f"key {self.key} has no clip; give it a recording, a code or a label")
        if self.recording is not None and not (self.code is None and self.label is None):
            raise ValueError(f"key {self.key} has a recording, which has its own code and label; remove the others")
        if self.morph_to is not None and self.recording is None:
            raise ValueError(f"key {self.key} has morph_to, which leads from a recording; give recording too")
        return self

    @property
    def sound(self) -> str:
        """Name of the recording, or the label, if one is stated."""
        return self.recording or self.label or ""


class ClipSections(SettingsSection):
    clip: ClipSettings | None = None
    keys: list[KeySettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_entry_a_key(self) -> "ClipSections":
        indices_by_key: dict[int, int] = {}
        for entry_index, entry in enumerate(self.keys):
            if entry.key in indices_by_key:
                raise Misplaced(
                    ("keys", entry_index),
                    f"key {entry.key} is in [[keys]] {indices_by_key[entry.key] + 1} too; keep one",
                )
            indices_by_key[entry.key] = entry_index
        return self


class Hit(NamedTuple):
    """A key's clip. None: ``code`` of the latents, ``label`` of target `LABEL`, no ``recording``.

    ``end``: the recording at the morph's end, if the key has one.
    """

    code: tuple[float, ...] | None
    label: int | None
    recording: int | None = None
    velocity: int = LOUDEST
    end: "Hit | None" = None


def recordings_of(entry: KeySettings, card: CardFields) -> list[int]:
    """Return the numbers of a key's recordings, layers and takes of one sound; empty if it has none.

    A label stands for the medoid of its recordings, also in presets of models that had none.
    """
    if entry.code is not None:
        return []
    if entry.recording is not None:
        return [index for index, known in enumerate(card.recordings) if known.name == entry.recording]
    indices = [
        index for index, known in enumerate(card.recordings) if entry.label in (known.label, known.sound, known.name)
    ]
    if not indices:
        return []
    middle = indices[medoid(np.array([card.recordings[index].latent for index in indices]))]
    sound = card.recordings[middle].sound
    return [index for index in indices if card.recordings[index].sound == sound] if sound else [middle]


def hits(keys: Sequence[KeySettings], card: CardFields) -> dict[int, list[Hit]]:
    """Return the clips of keys, one or more each."""
    hits_by_key = {}
    for entry in keys:
        hits_by_key[entry.key] = [_recorded_hit(index, card) for index in recordings_of(entry, card)] or [
            _decoded_hit(entry, card)
        ]
        if entry.morph_to is not None:
            names = [recording.name for recording in card.recordings]
            [hit] = hits_by_key[entry.key]
            hits_by_key[entry.key] = [hit._replace(end=_recorded_hit(names.index(entry.morph_to), card))]
    return hits_by_key


def _recorded_hit(index: int, card: CardFields) -> Hit:
    recording = card.recordings[index]
    return Hit(tuple(recording.latent), _label_index(recording.label, card), index, recording.velocity or LOUDEST)


def _decoded_hit(entry: KeySettings, card: CardFields) -> Hit:
    code = entry.code
    if code is None:
        landmark_codes = [landmark.latent for landmark in card.landmarks if landmark.label == entry.label]
        code = landmark_codes[medoid(np.array(landmark_codes))] if landmark_codes else None
    return Hit(None if code is None else tuple(code), _label_index(entry.label, card))


def _label_index(label: str | None, card: CardFields) -> int | None:
    return card.labels.index(label) if label in card.labels else None


def strikes(section: ClipSections, play: Any) -> bool:
    """Return whether notes play to their end."""
    clip_settings = section.clip or ClipSettings()
    if clip_settings.trigger is not None:
        return clip_settings.trigger == "one-shot"
    return bool(play.mode == "poly" and not clip_settings.loop)


class ClipKind(Kind):
    name = "clip"
    moved_property = "clip in pitch"
    settings = ClipSections
    decodes_notes = False
    controls = CONTROLS
    replacement_hint = " ([clip] has what clips can do)"
    domains = ("samples", "magnitude")
    enveloped = ("magnitude",)
    most_envelope_points = 1 << 16
    of_clips = True
    attack_seconds = 0.0
    takes_no_sound = "it encodes whole clips, not a sound as it goes on; 'timbrel recover' finds the code of a clip"

    def check(self, card: CardFields) -> None:
        super().check(card)
        if card.chroma is not None:
            raise ValueError("chroma must be null with kind 'clip', whose keys move the pitch")
        if card.domain == "samples":
            self._check_samples(card)
        else:
            self._check_magnitudes(card)

    def _check_samples(self, card: CardFields) -> None:
        if card.transform_length is not None:
            raise ValueError("transform_length does not go with clips of samples; leave it out")
        if card.hop_length != card.frame_length:
            raise ValueError(f"hop_length {card.hop_length} of a clip of samples must be its length, as frame_length")
        if card.window != "rectangular":
            raise ValueError(f"window {card.window!r} does not go with clips of samples, which are 'rectangular'")

    def _check_magnitudes(self, card: CardFields) -> None:
        transform_length, hop_length = card.transform_length, card.hop_length
        if transform_length is None or transform_length % 2 or transform_length < SPECTRA_A_TRANSFORM * hop_length:
            raise ValueError(
                f"transform_length {transform_length} of a clip of magnitudes must be even, and {SPECTRA_A_TRANSFORM} "
                f"times hop_length {hop_length} or more"
            )
        if card.frame_length % hop_length:
            raise ValueError(
                f"frame_length {card.frame_length} of a clip must be a multiple of hop_length {hop_length}"
            )
        if card.window != "hann":
            raise ValueError(f"window {card.window!r} does not go with clips of magnitudes, whose window is 'hann'")
        if card.envelope_points and card.frame_length % card.envelope_points:
            raise ValueError(
                f"envelope_points {card.envelope_points} of a clip must divide frame_length {card.frame_length}"
            )

    def select_section(self, sections: ClipSections) -> ClipSections:
        return ClipSections.model_construct(clip=sections.clip, keys=sections.keys)

    def targets(self, section: ClipSections, card: CardFields) -> dict[str, Range]:
        present_targets, control_ranges = (section.clip or ClipSettings()).values(), super().targets(section, card)
        ranges_by_target = {target: control_ranges[target] for target in present_targets}
        return ranges_by_target | ({LABEL: (0.0, len(card.labels) - 1.0)} if len(card.labels) > 1 else {})

    def choices(self, card: CardFields) -> Mapping[str, Sequence[str]]:
        return {LABEL: card.labels} if len(card.labels) > 1 else {}

    def faults(self, section: ClipSections, play: Any, tuning: Any, card: CardFields) -> Iterator[Fault]:
        clip_settings = section.clip or ClipSettings()
        if clip_settings.label is not None and clip_settings.label not in card.labels:
            hint = nearest(clip_settings.label, card.labels) if card.labels else ", which has none; remove it"
            yield Fault(
                ("clip", "label"), f"clip.label {clip_settings.label!r} is no label of model {card.name!r}{hint}"
            )
        if clip_settings.trigger == "one-shot" and play.mode != "poly":
            yield Fault(
                ("clip", "trigger"),
                f"clip.trigger 'one-shot' is for play.mode 'poly', where each key is a voice, not "
                f"{play.mode!r}; change one of them",
            )
        if not section.keys:
            return
        if play.mode != "poly":
            yield Fault(
                ("play", "mode"),
                f"play.mode {play.mode!r} has one voice for all keys, and [[keys]] give each its own; remove "
                "it (a choke group lets keys cut each other)",
            )
        if tuning.model_fields_set:
            yield Fault(("tuning",), "[tuning] says what keys sound, and so do [[keys]]; remove [tuning]")
        for entry_index, entry in enumerate(section.keys):
            for field_name, message in _key_faults(entry, card):
                yield Fault(("keys", entry_index, field_name), f"[[keys]] {entry_index + 1}: {message}")

    def keying(self, section: ClipSections, play: Any) -> Keying:
        chokes = {entry.key: entry.choke for entry in section.keys if entry.choke is not None}
        gains_db = {entry.key: entry.gain_db for entry in section.keys if entry.gain_db}
        return Keying(strikes=strikes(section, play), chokes=chokes, gains_db=gains_db)

    def pitches(self, section: ClipSections, tuned_pitches: Mapping[int, float]) -> Mapping[int, float]:
        return {entry.key: MIDDLE_C + entry.pitch_semitones for entry in section.keys} or tuned_pitches

    def label(self, section: ClipSections) -> str | None:
        return section.clip.label if section.clip else None

    def tables(self, label: str | None, sustained: bool) -> Mapping[str, Any]:
        label_setting = {} if label is None else {"label": label}
        loop_settings = {"loop": True, "trigger": "gated"} if sustained else {}
        return (
            {"clip": ClipSettings.model_validate(label_setting | loop_settings)}
            if label_setting or loop_settings
            else {}
        )

    def frames(self, card: CardFields) -> list[tuple[str, str]]:
        clip_seconds = card.frame_length / card.sample_rate
        frame_text = "as samples"
        if card.transform_length is not None:
            spectrum_count, bin_count = card.frame_length // card.hop_length + 1, card.transform_length // 2 + 1
            frame_text = (
                f"of {spectrum_count} spectra of {bin_count} magnitudes, "
                f"{1000 * card.hop_length / card.sample_rate:.1f} ms apart"
            )
        if card.envelope_points:
            frame_text += f", under an envelope of {card.envelope_points} points"
        descriptions = [
            ("kind", f"clip, {card.sample_rate} Hz"),
            ("clip", f"{card.frame_length} samples ({clip_seconds:.3g} s) {frame_text}"),
        ]
        return descriptions + ([("labels", ", ".join(card.labels))] if card.labels else [])

    def frame_parts(self, card: CardFields) -> list[FramePart]:
        if card.transform_length is not None:
            return sequence_parts(card)
        return [FramePart("samples", (card.frame_length,), "the sound, linear, at sample_rate")]

    def formulas(self, card: CardFields) -> list[str]:
        steps = PHASES if card.transform_length is not None else ("sound = samples",)
        return [*steps, "key k reads the sound 2^((k - 60) / 12) times as fast; it plays once, from its first sample"]


def _key_faults(entry: KeySettings, card: CardFields) -> Iterator[tuple[str, str]]:
    """Yield faults of an entry: the field, and a message."""
    latent_count, landmark_labels = len(card.latents), sorted({landmark.label for landmark in card.landmarks})
    recording_names = [recording.name for recording in card.recordings]
    for field_name, name in (("recording", entry.recording), ("morph_to", entry.morph_to)):
        if name is not None and name not in recording_names:
            hint = nearest(name, recording_names) if recording_names else ", which has none; give a code"
            yield field_name, f"{field_name} {name!r} is not in model {card.name!r}{hint}"
    if entry.code is not None and len(entry.code) != latent_count:
        yield (
            "code",
            f"code has {len(entry.code)} numbers, model {card.name!r} has {latent_count} latents; give {latent_count}",
        )
    if entry.label is None or entry.label in card.labels:
        return
    if recordings_of(entry, card):
        return
    known_labels: Sequence[str] = [*card.labels, *landmark_labels, *recording_names]
    if entry.label not in known_labels:
        hint = nearest(entry.label, known_labels) if known_labels else ", which has none; give a code"
        yield "label", f"label {entry.label!r} is no label or landmark of model {card.name!r}{hint}"
    elif entry.code is not None:
        yield "label", f"label {entry.label!r} of a landmark and code, which both say the code; give one of them"
