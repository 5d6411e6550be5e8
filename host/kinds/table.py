"""A row for each kind of model that this host knows: its object, and the table of a preset that is for it alone."""

from typing import Any

from ..settings import Part
from .grain import Grain, GrainSettings
from .kind import Kind, Unknown
from .spectrum import Spectrum

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Spectrum(), Grain())}
OTHER = Unknown()  # stands for each kind that a card names and this host does not know


class Sections(Part):
    """The tables of a preset that are for one kind alone; each has the name that is its `Kind.section`."""

    grain: GrainSettings | None = None

    def of_kind(self, kind: Kind) -> Any:
        """Return the table that is for a kind alone; None where it is left out, or the kind has none."""
        return None if kind.section is None else getattr(self, kind.section)


def kind_of(card: object) -> Kind:
    """Return the kind of a model by its card."""
    return KINDS.get(getattr(card, "kind", ""), OTHER)
