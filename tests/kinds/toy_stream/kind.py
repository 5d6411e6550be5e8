"""Describes the kind: it carries a state from frame to frame."""

from timbrel.host.kinds.kind import Kind


class ToyStreamKind(Kind):
    name = "toy-stream"
    engines = __package__
    carries_state = True
