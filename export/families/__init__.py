"""Network families for export by name, and the limits of training by `make`.

A family's module is imported when it is asked for.
"""

from typing import TYPE_CHECKING, NamedTuple

from ...host import extensions
from ...host.errors import UserError
from ...train.families import class_of

if TYPE_CHECKING:
    from ...train.network import Network
    from ...train.recipe import Recipe
    from .family import ExportFamily


class MadeFamily(NamedTuple):
    """A family that `make` can train; ``called``: its name for users; ``alone``: a single sound is enough."""

    called: str
    alone: bool = False


MADE = {
    "chroma": MadeFamily("chroma"),
    "partials": MadeFamily("partials"),
    "grain": MadeFamily("grain", alone=True),
    "clip": MadeFamily("clip"),
    "loops": MadeFamily("sequence"),
}
AUTO = "auto"  # chooses by the sounds
# Defaults of `make`: sounds with a pitch, sounds without one, hits and words, and loops.
TONAL, TEXTURE, SHORT, LOOPS = "partials", "grain", "clip", "loops"
MINUTES = 5.0  # of training, by default


def choices() -> list[str]:
    """Return the names for users of timbrel's families that `make` trains, after ``auto``."""
    return [AUTO, *(made_family.called for made_family in MADE.values())]


def name_for_users(family: str) -> str:
    """Return a family's name for users: a package's own is one."""
    return MADE[family].called if family in MADE else family


def family_named(name: str) -> str:
    """Return the family with a name for users, an installed package's family, or ``auto``.

    Raises:
        UserError: none has this name.
    """
    for family, made_family in MADE.items():
        if made_family.called == name:
            return family
    if name != AUTO and extensions.find(extensions.FAMILIES, name) is None:
        raise UserError(
            f"--family {name!r} is unknown; give {', '.join(choices())}, or a family of an installed package"
        )
    return name


def check_minutes(option: str, minutes: float) -> None:
    """Raise `UserError` for training minutes outside 0 to `MOST_MINUTES`."""
    from ...train.recipe import MOST_MINUTES  # pydantic, which the command line's help needs not

    if not 0 < minutes <= MOST_MINUTES:
        raise UserError(
            f"{option} {minutes:g} must be above 0, and {MOST_MINUTES} at most; give the minutes to train, such as "
            f"{MINUTES:g}"
        )


class _Families(dict[str, "ExportFamily[Recipe, Network]"]):
    def __missing__(self, family: str) -> "ExportFamily[Recipe, Network]":
        from .family import ExportFamily  # torch

        export_class = class_of(family, "export", __name__ + ".{}", "Export", ExportFamily)
        with extensions.loading(extensions.FAMILIES, family):
            export_family: ExportFamily[Recipe, Network] = export_class()
        return self.setdefault(family, export_family)


FAMILIES = _Families()
