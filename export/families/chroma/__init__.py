"""The chroma family."""

from .. import MadeFamily

MADE = {"chroma": MadeFamily("chroma")}
