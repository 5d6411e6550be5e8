"""Live options applied to presets."""

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .controllers import Controller, bindings
from .library import Patch
from .preset import CCMap


class LiveOptions(BaseModel):
    """Most voices, controller for the latents, and preset names by channel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voices: Annotated[int, Field(ge=1, le=64)] | None = None
    controller: Controller | None = None
    presets: dict[Annotated[int, Field(ge=1, le=16)], str] = {}

    def fit(self, patch: Patch) -> Patch:
        preset = patch.preset
        if self.voices is not None:
            preset = preset.model_copy(update={"play": preset.play.model_copy(update={"voices": self.voices})})
        if self.controller is not None:
            preset = preset.model_copy(update={"cc": [*preset.cc, *_knobs(patch, self.controller)]})
        return replace(patch, preset=preset)


def _knobs(patch: Patch, controller: Controller) -> list[CCMap]:
    own = [entry for entry in patch.preset.cc if entry.number is not None]
    taken = {entry.number for entry in own} | {(entry.number or 0) + 32 for entry in own if entry.bits == 14}
    maps = {entry.target: entry for entry in reversed(own)}
    return [
        maps.get(entry.target, entry).model_copy(
            update={"number": entry.number, "bits": 7, "relative": None, "channel": None}
        )
        for entry in bindings(controller, patch.model.card)
        if entry.number not in taken
    ]
