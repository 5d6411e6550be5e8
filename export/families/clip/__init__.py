"""The clip family."""

from .. import MadeFamily

MADE = {"clip": MadeFamily("clip")}
