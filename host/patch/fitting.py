"""Presets as they are played live: with what the player asks for beside them, and what a recording says of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..contract.card import first_complaint
from ..errors import UserError
from ..progress import clock
from .controllers import Controller, bindings
from .library import Patch
from .preset import CCMap

TOLD = 3  # presets that were loaded meanwhile, of any number


class Fitting(BaseModel):
    """The wishes of a player beside a preset: at most so many voices, and a controller's knobs on the latents.

    ``presets`` are the names of those that have a channel (1 to 16) to themselves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    voices: Annotated[int, Field(ge=1, le=64)] | None = None
    controller: Controller | None = None
    presets: dict[Annotated[int, Field(ge=1, le=16)], str] = {}

    def fit(self, patch: Patch) -> Patch:
        """Return the patch with that beside it."""
        preset = patch.preset
        if self.voices is not None:
            preset = preset.model_copy(update={"play": preset.play.model_copy(update={"voices": self.voices})})
        if self.controller is not None:
            preset = preset.model_copy(update={"cc": [*preset.cc, *_knobs(patch, self.controller)]})
        return replace(patch, preset=preset)


def _knobs(patch: Patch, controller: Controller) -> list[CCMap]:
    """A controller's knobs on the latents: with the range and curve of the preset's own map, where a latent has one.

    Numbers that the preset itself maps stay its own.
    """
    own = [entry for entry in patch.preset.cc if entry.number is not None]
    taken = {entry.number for entry in own} | {(entry.number or 0) + 32 for entry in own if entry.bits == 14}
    maps = {entry.target: entry for entry in reversed(own)}
    return [
        maps.get(entry.target, entry).model_copy(update={"number": entry.number, "bits": 7, "channel": None})
        for entry in bindings(controller, patch.model.card)
        if entry.number not in taken
    ]


class Note(BaseModel):
    """A note in a recording: how presets were fitted, or that one was loaded meanwhile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fitting: Fitting | None = None
    loaded: str | None = None

    def text(self) -> str:
        """Return the note as it is written into the file."""
        return self.model_dump_json(exclude_defaults=True)


def read_notes(notes: Sequence[tuple[int, str]], file: str) -> tuple[Fitting, list[tuple[int, str]]]:
    """Return how a recording's presets were fitted, and which were loaded meanwhile, with the sample.

    Args:
        notes: texts of `Note` with their samples, as `host.midi.file.Performance` has them.
        file: the recording, for the complaint.

    Raises:
        UserError: they are no such texts.
    """
    try:
        read = [(time, Note.model_validate_json(text)) for time, text in notes]
    except ValidationError as error:
        raise UserError(
            f"cannot read {file}: what it says of how it was played is broken: {first_complaint(error)}"
        ) from None
    fittings = [note.fitting for _, note in read if note.fitting is not None]
    return fittings[-1] if fittings else Fitting(), [(time, note.loaded) for time, note in read if note.loaded]


def differences(
    fitting: Fitting, loaded: Collection[tuple[int, str]], preset: str, given: Mapping[int, str], sample_rate: int
) -> list[str]:
    """Return what a recording was played with and is not rendered with, a line each.

    Args:
        fitting, loaded: as `read_notes`.
        preset: the name of the one it is rendered with.
        given: names of those that have a channel (1 to 16) to themselves.
        sample_rate: of the samples, Hz.
    """
    lines = []
    if fitting.presets != dict(given):
        played = " ".join(f"--channel {channel}={name!r}" for channel, name in fitting.presets.items())
        lines.append(f"it was played {f'with {played}' if played else 'without --channel'}, and sounds different here")
    if loaded:
        told = ", ".join(f"{name!r} at {clock(time / sample_rate)}" for time, name in list(loaded)[:TOLD])
        more = f" and {len(loaded) - TOLD} more" if len(loaded) > TOLD else ""
        lines.append(f"presets were loaded while it was played ({told}{more}); {preset} plays all of it here")
    return lines
