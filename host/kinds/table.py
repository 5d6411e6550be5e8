"""A row for each kind of model that this host knows: its object, and the table of a preset that is for it alone."""

from typing import Any

from .clip import Clip, ClipSections
from .grain import Grain, GrainSettings
from .kind import Kind, Unknown
from .spectrum import Spectrum

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Spectrum(), Grain(), Clip())}
OTHER = Unknown()  # stands for each kind that a card names and this host does not know


class Sections(ClipSections):
    """The tables of a preset that are for one kind alone; their names are in its `Kind.sections`."""

    grain: GrainSettings | None = None

    def of_kind(self, kind: Kind) -> Any:
        """Return what is for a kind alone, as its `Kind.own` gives it."""
        return kind.own(self)


def kind_of(card: object) -> Kind:
    """Return the kind of a model by its card."""
    return KINDS.get(getattr(card, "kind", ""), OTHER)
