"""Keeps what a player did with a preset, to be undone: on each side of a comparison by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_STEPS = 200  # that can be undone

Values = Mapping[str, float]


class PresetState(NamedTuple):
    """A preset as it stands: its text, where its targets rest in that, and where they stand."""

    text: str
    rests: Values
    values: Values


class HistoryEntry(NamedTuple):
    """A thing that was done: the state before it and after it, of values alone, or of the whole preset."""

    before: PresetState | Values
    after: PresetState | Values


@dataclass
class History:
    """The steps that can be undone, and those that were."""

    done: list[HistoryEntry] = field(default_factory=list)
    undone: list[HistoryEntry] = field(default_factory=list)

    def add(self, step: HistoryEntry) -> None:
        """Note that something was done: what was undone before is forgotten."""
        self.done.append(step)
        del self.done[:-MOST_STEPS]
        self.undone.clear()

    def forget(self, text: str | None) -> None:
        """Forget the last step, if it led to a text that cannot be played."""
        if self.done and isinstance(self.done[-1].after, PresetState) and self.done[-1].after.text == text:
            self.done.pop()

    def undo(self) -> PresetState | Values | None:
        """Return what was before the last step; None if there is none."""
        if not self.done:
            return None
        self.undone.append(self.done.pop())
        return self.undone[-1].before

    def redo(self) -> PresetState | Values | None:
        """Return what was after the step that was undone last; None if there is none."""
        if not self.undone:
            return None
        self.done.append(self.undone.pop())
        return self.done[-1].after
