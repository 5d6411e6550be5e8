"""The partials family."""

from .. import MadeFamily

MADE = {"partials": MadeFamily("partials")}
