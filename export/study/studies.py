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

# By name: runs a study with its settings, and returns whether it finished.
STUDIES: dict[str, Callable[[Any, Display], bool]] = {
    "chroma": chroma_study,
    "grain": grain_study,
    "gan": gan_study,
    "recovery": recovery_study,
    "sequence": sequence_study,
}


def study(name: str, asked: Any, display: Display) -> bool:
    """Start or resume a study; False after Ctrl-C, with all progress saved.

    Raises:
        UserError: unknown study, or a recipe, a run, a corpus or the folder cannot be used.
        Failure: a run diverged, or the disk is full.
    """
    if name not in STUDIES:
        raise UserError(f"no study is named {name!r}{nearest(name, STUDIES)}")
    return STUDIES[name](asked, display)
