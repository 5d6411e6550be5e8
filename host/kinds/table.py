"""A row for each kind of model that this host knows: its object, and the table of a preset that is for it alone."""

from typing import Any

from .clip.kind import ClipKind, ClipSections
from .grain.kind import GrainKind, GrainSettings
from .kind import Kind, KindCard
from .partials.kind import PartialsKind
from .spectrum.kind import GestureSettings, SpectrumKind
from .stream.kind import StreamKind, StreamSettings

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (SpectrumKind(), PartialsKind(), GrainKind(), ClipKind(), StreamKind())
}


class Sections(ClipSections):
    """The tables of a preset that are for one kind alone; their names are in its `Kind.sections`."""

    gesture: GestureSettings | None = None
    grain: GrainSettings | None = None
    stream: StreamSettings | None = None

    def of_kind(self, kind: Kind) -> Any:
        """Return what is for a kind alone, as its `Kind.own` gives it."""
        return kind.own(self)


def kind_of(card: KindCard) -> Kind:
    """Return the kind of a model by its card."""
    return KINDS[card.kind]
