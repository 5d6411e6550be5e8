"""Session notes in MIDI recordings: options, initial presets, and presets loaded since."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from ..model.card import first_complaint
from .library import LiveOptions, Patch, open_patch
from .shipped import Draft


class LoadedPreset(BaseModel):
    """A preset loaded for a channel or all others; without ``text``, a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    text: str | None = None
    folder: str = ""

    @classmethod
    def from_patch(cls, patch: Patch, requested: str | Draft, slot: int | None) -> "LoadedPreset":
        """``slot``: channel, 0 to 15; None for all others."""
        name = requested if patch.text is None and isinstance(requested, str) else patch.name
        channel = None if slot is None else slot + 1
        return cls(name=name, channel=channel, text=patch.text, folder=str(patch.folder.resolve()))

    @property
    def slot(self) -> int | None:
        """Channel, 0 to 15; None for all others."""
        return None if self.channel is None else self.channel - 1

    def open(self) -> Patch:
        """Errors as in `open_patch`."""
        return open_patch(self.name if self.text is None else Draft(self.name, self.text, Path(self.folder)))


class Swap(BaseModel):
    """Presets loaded together, after ``primed`` samples of silence, in a session of this ``block`` size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: Annotated[list[LoadedPreset], Field(min_length=1, max_length=17)]
    primed: Annotated[int, Field(ge=0, le=1 << 24)]
    block: Annotated[int, Field(ge=1, le=1 << 16)]


class Opening(BaseModel):
    """An initial preset, for a channel or all others, with `Patch.digest`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RecordingNotes(BaseModel):
    """Initial options and presets, or a later swap."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fitting: LiveOptions | None = None
    opening: Annotated[list[Opening], Field(max_length=17)] = []
    swap: Swap | None = None

    def text(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


class Notes(NamedTuple):
    fitting: LiveOptions
    swaps: list[tuple[int, Swap]]  # with their samples
    opening: Sequence[Opening] = ()  # initial presets, which older recordings lack


def read_notes(notes: Sequence[tuple[int, str]], file: str) -> Notes:
    """Parse a recording's `RecordingNotes` with their samples.

    Raises:
        UserError: invalid notes.
    """
    try:
        timed_notes = [(sample_position, RecordingNotes.model_validate_json(text)) for sample_position, text in notes]
    except ValidationError as error:
        raise UserError(
            f"cannot read {file}: what it says of how it was played is broken: {first_complaint(error)}"
        ) from None
    fittings = [note.fitting for _, note in timed_notes if note.fitting is not None]
    return Notes(
        fittings[-1] if fittings else LiveOptions(),
        [(sample_position, note.swap) for sample_position, note in timed_notes if note.swap is not None],
        tuple(opening for _, note in timed_notes for opening in note.opening),
    )


def edits(notes: Notes, default: Patch, channel_patches: Mapping[int, Patch]) -> list[str]:
    """A line for each preset changed since a recording; ``channel_patches``: by channel, 0 to 15."""
    lines = []
    for opening in notes.opening:
        patch = default if opening.channel is None else channel_patches.get(opening.channel - 1)
        if patch is None or patch.digest == opening.digest:
            continue
        channel_text = "" if opening.channel is None else f" on channel {opening.channel}"
        if patch.name == opening.name:
            lines.append(
                f"preset {patch.name!r} or its model was changed since it was played{channel_text}: it sounds different"
            )
        else:
            lines.append(f"it was played with {opening.name!r}{channel_text}, and {patch.name!r} sounds different here")
    return lines


def differences(fitting: LiveOptions, channel_presets: Mapping[int, str]) -> list[str]:
    """A line if presets by channel (1 to 16) differ from a recording's."""
    if fitting.presets == dict(channel_presets):
        return []
    channel_options = " ".join(f"--channel {channel}={name!r}" for channel, name in fitting.presets.items())
    return [
        f"it was played {f'with {channel_options}' if channel_options else 'without --channel'}, "
        "and sounds different here"
    ]
