"""The table of studies."""

from collections.abc import Callable
from typing import Any

from ...host.errors import UserError, nearest
from ...host.progress import Display
from ..families.chroma.study import study as chroma_study
from ..families.gan.study import study as gan_study
from ..families.grain.study import study as grain_study
from ..families.sequence.study import study as sequence_study
from .recovery import study as recovery_study

# By name: what makes a study of what its module's settings ask for, and says whether it came to its end.
STUDIES: dict[str, Callable[[Any, Display], bool]] = {
    "chroma": chroma_study,
    "grain": grain_study,
    "gan": gan_study,
    "recovery": recovery_study,
    "sequence": sequence_study,
}


def study(name: str, asked: Any, display: Display) -> bool:
    """Make a study anew in its folder, or go on with it; False where Ctrl-C stopped it, with all that was done saved.

    Raises:
        UserError: no such study, or it cannot be made of what was given.
        Failure: a run diverged, or the disk is full.
    """
    if name not in STUDIES:
        raise UserError(f"no study is named {name!r}{nearest(name, STUDIES)}")
    return STUDIES[name](asked, display)
