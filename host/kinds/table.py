"""Table of all model kinds, and the preset tables of single kinds."""

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
    gesture: GestureSettings | None = None
    grain: GrainSettings | None = None
    stream: StreamSettings | None = None

    def of_kind(self, kind: Kind) -> Any:
        return kind.own(self)


def kind_of(card: KindCard) -> Kind:
    return KINDS[card.kind]
