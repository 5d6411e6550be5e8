"""Every kind of model that this host knows, by the name that cards have for it."""

from .grain import Grain
from .kind import Kind
from .spectrum import Spectrum

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Spectrum(), Grain())}
OTHER = Kind()  # what a kind is asked that a card names and this host does not know


def kind_of(card: object) -> Kind:
    """Return the kind of a model by its card."""
    return KINDS.get(getattr(card, "kind", ""), OTHER)
