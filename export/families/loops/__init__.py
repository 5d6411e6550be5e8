"""The loops family."""

from .. import MadeFamily

MADE = {"loops": MadeFamily("sequence")}
