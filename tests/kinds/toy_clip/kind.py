"""Describes the kind: clips whose pitch keys do not move."""

from timbrel.host.kinds.kind import Kind


class ToyClipKind(Kind):
    name = "toy-clip"
    engines = __package__
    moved_property = "nothing"
