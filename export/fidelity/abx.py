"""ABX listening test page: X is randomly A or B."""

from collections.abc import Sequence
from typing import NamedTuple

from ..reports.page import rendered


class AbxTrial(NamedTuple):
    """A note of the test, with sound files; ``other`` is the rendition."""

    title: str
    recording: str
    other: str


def abx_page(name: str, trials: Sequence[AbxTrial]) -> str:
    """Return the page of at least one trial; it needs only the sounds beside it."""
    notes = [{"a": trial.recording, "b": trial.other} for trial in trials]
    return rendered("abx.html", title=f"{name}: can you tell it from the recordings?", trials=trials, notes=notes)
