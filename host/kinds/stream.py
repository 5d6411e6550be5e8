"""The kind ``stream``: recurrent models that predict frames; its [stream] table."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..settings import Fault, Knob, SettingsSection, Switch, Whole, controls_of
from .card_fields import CardFields
from .kind import PHASES, FramePart, Kind, sequence_parts

PREVIOUS_FRAME = "previous"  # state: the previous frame, as decoder input
PLACE = "place"  # state: the position in the bar, 0 to 1
MOST_SEED = 512  # frames of a seed: earlier ones are forgotten, and a note must not wait for minutes
MOST_TRIMMED = 64  # maximum frames that rebuild a memory


class StreamSettings(SettingsSection):
    """The [stream] table: how frames follow from a seed.

    Attributes:
        seed_sound: file beside the preset that notes continue. Default, without ``seed_landmark``: silence.
        keys: ``transpose`` from middle C; ``seed`` assigns a landmark to each key, the first to middle C.
        restore_scaling: restore the mean and deviation that training removed.
        limit: limit frames to the energy of training.
        trim: at 0.5 rebuilds the memory from the last ``trim_frames``; ``reset`` clears it.
        seed: equal seeds make performances identical to the byte.
    """

    seed_sound: str | None = None
    seed_landmark: str | None = None
    keys: Literal["transpose", "seed"] = "transpose"
    restore_scaling: bool = True
    limit: bool = True
    follow_tempo: bool = True
    heat: Annotated[float, Field(ge=0, le=4), Knob("of that in training")] = 0.0
    freeze: Annotated[Switch, Field(ge=0, le=1), Knob("the memory stands from 0.5 on")] = 0.0
    reset: Annotated[Switch, Field(ge=0, le=1), Knob("empties the memory at 0.5")] = 0.0
    trim: Annotated[Switch, Field(ge=0, le=1), Knob("makes the memory anew at 0.5")] = 0.0
    trim_frames: Annotated[Whole, Field(ge=1, le=MOST_TRIMMED)] = 8
    seed: Annotated[Whole, Field(ge=0, lt=1 << 63)] = 0

    @model_validator(mode="after")
    def _one_seed(self) -> "StreamSettings":
        if self.seed_sound is not None and self.seed_landmark is not None:
            raise ValueError("seed_sound and seed_landmark, which both say what a note begins with; give one of them")
        if self.keys == "seed" and (self.seed_sound or self.seed_landmark):
            raise ValueError("keys 'seed' gives each key a seed of its own; remove seed_sound and seed_landmark")
        return self

    def values(self) -> dict[str, float]:
        return {name: float(getattr(self, name.removeprefix("stream."))) for name in CONTROLS}


class StreamSections(SettingsSection):
    stream: StreamSettings | None = None


CONTROLS = controls_of(StreamSettings, "stream")


def followed_grid(settings: StreamSettings, card: CardFields) -> float | None:
    """Steps a beat of frames that follow the tempo: only magnitudes stretch."""
    assert card.stream is not None
    return card.stream.steps_per_beat if settings.follow_tempo and card.domain == "magnitude" else None


class StreamKind(Kind):
    name = "stream"
    moved_property = "sound in pitch"
    settings = StreamSections
    sound_key = ("stream", "seed_sound")
    played = ("image", "image_bands")
    controls = CONTROLS
    decodes_notes = False
    replacement_hint = " ([stream] has what streams can do)"
    carries_state = True
    domains = ("samples", "magnitude", "real_imag")
    enveloped = ("magnitude",)
    most_envelope_points = 1 << 16
    of_clips = True
    attack_seconds = 0.0
    takes_no_sound = "it continues a sound and does not follow one; give the sound as stream.seed_sound of a preset"
    not_sampled = "it goes on and never repeats, while samples begin anew; render loops of it with 'timbrel render'"
    finds_no_code = "it continues a sound, which no code alone restores; give the sound as stream.seed_sound"

    def check(self, card: CardFields) -> None:
        super().check(card)
        if card.stream is None:
            raise ValueError("stream must be given with kind 'stream': how its frames follow one another")
        if PREVIOUS_FRAME not in [state.name for state in card.state]:
            raise ValueError(
                f"state has no {PREVIOUS_FRAME!r}, the frame before, and a stream's frames follow from one another"
            )
        if card.chroma is not None:
            raise ValueError("chroma must be null with kind 'stream', whose keys move the pitch")
        if (card.domain == "magnitude") != (card.transform_length is not None):
            raise ValueError("transform_length goes with domain 'magnitude' of kind 'stream', and with no other")
        if not card.frame_length // 2 <= card.stream.step_length <= card.frame_length:
            raise ValueError(
                f"stream.step_length {card.stream.step_length} must be half of frame_length {card.frame_length} to all"
            )

    def faults(self, section: StreamSettings | None, play: Any, tuning: Any, card: CardFields) -> Iterator[Fault]:
        landmark_labels = [landmark.label for landmark in card.landmarks]
        if section is not None and section.seed_landmark is not None and section.seed_landmark not in landmark_labels:
            yield Fault(
                ("stream", "seed_landmark"),
                f"stream.seed_landmark {section.seed_landmark!r} is no landmark of model {card.name!r}; "
                "timbrel info lists them",
            )

    def sound(self, section: StreamSettings | None) -> str | None:
        return None if section is None else section.seed_sound

    def sound_samples(self, card: CardFields) -> tuple[int, int]:
        assert card.stream is not None
        return card.stream.step_length, MOST_SEED * card.stream.step_length

    def ahead_seconds(self, section: StreamSettings | None, card: CardFields, tempo_bpm: float) -> float:
        assert card.stream is not None
        steps_per_beat = followed_grid(section or StreamSettings(), card)
        return (
            card.stream.step_length / card.sample_rate if steps_per_beat is None else 60 / (tempo_bpm * steps_per_beat)
        )

    def frames(self, card: CardFields) -> list[tuple[str, str]]:
        sample_rate, card_stream = card.sample_rate, card.stream
        assert card_stream is not None
        step_ms = 1000 * card_stream.step_length / sample_rate
        descriptions = [
            ("kind", f"stream of {card.domain} frames, {sample_rate} Hz"),
            ("frame", f"{card.frame_length} samples ({1000 * card.frame_length / sample_rate:.0f} ms)"),
            ("step", f"{card_stream.step_length} samples ({step_ms:.0f} ms)"),
            ("delay", f"frames are made one ahead: a knob is heard after {step_ms:.0f} to {2 * step_ms:.0f} ms"),
        ]
        if card_stream.steps_per_beat:
            trained_bpm = 60 * sample_rate / (card_stream.step_length * card_stream.steps_per_beat)
            descriptions.append(
                ("grid", f"{card_stream.steps_per_beat:g} steps a beat, {trained_bpm:.2f} BPM as trained")
            )
        return descriptions

    def frame_parts(self, card: CardFields) -> list[FramePart]:
        bin_count = card.frame_length // 2 + 1
        match card.domain:
            case "magnitude":
                return sequence_parts(card)
            case "real_imag":
                meaning = "part of the transform of frame_length samples, linear"
                return [FramePart(name, (bin_count,), f"{name} {meaning}") for name in ("real", "imaginary")]
        return [FramePart("samples", (card.frame_length,), "sound of a frame, linear")]

    def formulas(self, card: CardFields) -> list[str]:
        assert card.stream is not None
        fade = card.frame_length - card.stream.step_length
        weights = "sin(pi / 2 s)" if card.domain == "magnitude" else "s"
        steps = {
            "magnitude": PHASES,
            "real_imag": ("sound of a frame = irfft(real + i imaginary)",),
            "samples": ("sound of a frame = samples",),
        }[str(card.domain)]
        return [
            "states are 0 at first; each frame's outputs NAME_next are the next frame's inputs NAME",
            "noise = heat times normal numbers, 0 at rest",
            "frame = decoded deviation + mean, where the card has scaling",
            *steps,
            f"a frame louder than {card.stream.levels_db[1]:g} dB of full scale (root mean square) is scaled to that",
            f"frames start each {card.stream.step_length} samples; {fade} samples fade by {weights}, "
            f"s = (t + 1/2) / {fade}; of a note's first frame, the {fade} first samples are left out",
            "key k reads frames 2^((k - 60) / 12) times as fast",
        ]

    def plain_tables(self, card: CardFields) -> dict[str, dict[str, Any]]:
        return super().plain_tables(card) | {"stream": {"follow_tempo": False}}
