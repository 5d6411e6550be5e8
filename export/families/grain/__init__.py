"""The grain family."""

from .. import MadeFamily

MADE = {"grain": MadeFamily("grain", alone=True)}
