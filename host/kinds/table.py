"""All model kinds, and the preset tables of single kinds."""

from typing import TYPE_CHECKING

from pydantic import create_model

from .card_fields import CardFields
from .clip import ClipKind, ClipSections
from .grain import GrainKind
from .kind import Kind
from .spectrum import GestureSections, PartialsKind, SpectrumKind
from .stream import StreamKind

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (SpectrumKind(), PartialsKind(), GrainKind(), ClipKind(), StreamKind())
}

if TYPE_CHECKING:

    class Sections(ClipSections, GestureSections): ...  # those that other modules read
else:
    _settings = {kind.settings for kind in KINDS.values()}
    # pydantic reads bases from the last on: the tables come in the order of their names.
    _bases = sorted(_settings, key=lambda table: list(table.model_fields), reverse=True)
    Sections = create_model("Sections", __base__=tuple(_bases), __module__=__name__)


def kind_of(card: CardFields) -> Kind:
    return KINDS[card.kind]
