"""First presets and demos of partials."""

from ....host.events import Event
from ....host.kinds.partials.kind import PartialsKind
from ....host.patch.library import Patch
from ..kind import ExportKind
from ..spectrum.kind import preset, scale
from .player import PartialsPlayer
from .search_view import PartialsView


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    partials = patch.model.card.partials
    assert partials is not None
    return scale(12 * round((partials.low + partials.high - 12) / 24), velocity)


KIND = ExportKind(PartialsKind.name, preset, _demo, view=PartialsView, player=PartialsPlayer)
