"""Undo and redo history of the panel, for each side of an A/B comparison."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_STEPS = 200  # undoable

Values = Mapping[str, float]


class PresetState(NamedTuple):
    """A preset's text, its targets' defaults there, and their current values."""

    text: str
    rests: Values
    values: Values


class HistoryEntry(NamedTuple):
    before: PresetState | Values
    after: PresetState | Values


@dataclass
class History:
    done: list[HistoryEntry] = field(default_factory=list)
    undone: list[HistoryEntry] = field(default_factory=list)

    def add(self, step: HistoryEntry) -> None:
        self.done.append(step)
        del self.done[:-MOST_STEPS]
        self.undone.clear()

    def forget(self, text: str | None) -> None:
        """Remove the last step if it led to this unplayable text."""
        if self.done and isinstance(self.done[-1].after, PresetState) and self.done[-1].after.text == text:
            self.done.pop()

    def undo(self) -> PresetState | Values | None:
        if not self.done:
            return None
        self.undone.append(self.done.pop())
        return self.undone[-1].before

    def redo(self) -> PresetState | Values | None:
        if not self.undone:
            return None
        self.done.append(self.undone.pop())
        return self.done[-1].after
