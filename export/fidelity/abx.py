"""ABX listening test page: A, B, and X, which is randomly one of the two."""

from collections.abc import Sequence
from typing import NamedTuple

from ..reports.page import rendered


class AbxTrial(NamedTuple):
    """A note of the test: its title, and the sound files of the recording and the rendition."""

    title: str
    recording: str
    other: str


def abx_page(name: str, trials: Sequence[AbxTrial]) -> str:
    """Return the page; it needs only the sounds beside it.

    Args:
        name: the instrument's.
        trials: at least one.
    """
    notes = [{"a": trial.recording, "b": trial.other} for trial in trials]
    return rendered("abx.html", title=f"{name}: can you tell it from the recordings?", trials=trials, notes=notes)
