"""Makes an instrument from sounds, for the command and from Python."""

import os
from collections.abc import Sequence
from pathlib import Path

from ...host.files import check_new_folder
from ...host.progress import Display
from ...train.corpus.folder_check import surveyed
from ..families import made_families
from ..training_minutes import MINUTES, check_minutes


def make_instrument(
    sounds: Sequence[str | os.PathLike[str]],
    output: Path,
    *,
    minutes: float | None = None,
    more_minutes: float | None = None,
    family: str = "auto",
    label: str | None = None,
) -> str:
    """Check the sounds, then make the instrument as `make.make`; return its summary. Progress goes to standard error.

    Raises:
        UserError, Failure, MakeStopped: as `make.make`.
    """
    paths, budget = [Path(sound) for sound in sounds], MINUTES if minutes is None else minutes
    with Display() as display:
        if paths and more_minutes is None and not output.exists():
            check_minutes("--minutes", budget)
            check_new_folder(output)
            made = {row.called: row for row in made_families().values()}
            display.say(surveyed(paths, alone=family in made and made[family].alone))
        from ..make import make  # importing torch takes seconds: unusable sounds are rejected before

        return make(
            paths, output, minutes=budget, more_minutes=more_minutes, family=family, label=label, display=display
        )
