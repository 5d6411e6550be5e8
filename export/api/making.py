"""Makes an instrument from sounds, for the command and from Python."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...host.errors import UserError
from ...host.files import building_folder, check_new_folder
from ...host.model.pack import SUFFIX
from ...host.preset.shipped import preset_file
from ...host.progress import Display
from ...train.corpus.content import survey_sounds
from ...train.corpus.remote import is_address
from ..families import MADE, MINUTES, check_minutes, family_named


def make_instrument(
    sounds: Sequence[str | os.PathLike[str]],
    output: Path,
    *,
    minutes: float | None = None,
    more_minutes: float | None = None,
    family: str = "auto",
    label: str | None = None,
    recordings: bool = True,
    license: str | None = None,
    credits: str | None = None,
) -> str:
    """Check the sounds, make the instrument as `make.make`, with progress on standard error; return its summary.

    With ``more_minutes``, ``sounds`` may be a pack with a run, unpacked into the new folder ``output``.

    Raises:
        UserError, Failure, MakeStopped: as `make.make`.
    """
    family_named(family)  # raises before sounds are read
    if any(is_address(os.fspath(sound)) for sound in sounds):
        raise UserError("make reads files and folders, no addresses; fetch the sounds, or read them by 'corpus build'")
    paths, budget_minutes = [Path(sound) for sound in sounds], MINUTES if minutes is None else minutes
    with Display() as display:
        if paths and more_minutes is None and not output.exists():
            check_minutes("--minutes", budget_minutes)
            check_new_folder(output)
            display.stage("checking the sounds")
            families_by_name = {row.called: row for row in MADE.values()}
            display.say(survey_sounds(paths, alone=family in families_by_name and families_by_name[family].alone))
        if more_minutes is not None and [path.suffix for path in paths] == [SUFFIX]:
            _unpack(paths.pop(), output)
        from ..make import make  # importing torch takes seconds: unusable sounds are rejected before

        return make(
            paths,
            output,
            minutes=budget_minutes,
            more_minutes=more_minutes,
            family=family,
            label=label,
            recordings=recordings,
            license=license,
            credits=credits,
            display=display,
        )


def _unpack(pack: Path, output: Path) -> None:
    """Copy the instrument of a pack, with its run, into a new folder."""
    pack_preset_file = preset_file(str(pack))
    assert pack_preset_file is not None
    if not (pack_preset_file.parent / "run").is_dir():
        raise UserError(f"{pack} holds no run to go on from; ask its maker for one of 'timbrel pack --run'")
    with building_folder(output) as folder:
        shutil.copytree(pack_preset_file.parent, folder, dirs_exist_ok=True)
