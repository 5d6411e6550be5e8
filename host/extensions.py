"""Extensions: families and kinds of installed packages, looked up by name among their entry points. Light import.

A package declares the groups ``timbrel.families`` and ``timbrel.kinds`` (docs/internals/extensions.md). A file gives a
name alone; which package has it is the installation's matter. Code that a file's kind needs runs only with the user's
consent, stored by package and digest as that of plugins is.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .approvals import approvals, approve
from .errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoints

FAMILIES, KINDS = "timbrel.families", "timbrel.kinds"
NOUNS = {FAMILIES: "family", KINDS: "kind"}
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")  # without a dot, behind which an entry names a part
_allowed = set[str]()  # packages that this process may run without an approval


def names(group: str) -> list[str]:
    """Sorted names of the families or kinds of installed packages."""
    return sorted({_stem(entry.name) for entry in _entries(group) if NAME.fullmatch(_stem(entry.name))})


def find(group: str, name: str) -> "Distribution | None":
    """The installed package that has a family or kind; None without one.

    Raises:
        UserError: two packages have it.
    """
    if not NAME.fullmatch(name):
        return None
    package_by_name = {
        entry.dist.name: entry.dist for entry in _entries(group) if entry.dist and _stem(entry.name) == name
    }
    if len(package_by_name) > 1:
        raise UserError(
            f"{NOUNS[group]} {name!r} is of two installed packages, {' and '.join(sorted(package_by_name))}; "
            "uninstall one of them"
        )
    return next(iter(package_by_name.values()), None)


def load(group: str, name: str, part: str = "") -> Any:
    """A family's or kind's object, or a ``part`` of it; None where its package has no such part.

    Loading a family lets its package run in this process: the user trains, evaluates or exports with it.

    Raises:
        UserError: no package has it, two have, a kind's has not run here before, or it cannot be loaded.
    """
    package = find(group, name)
    if package is None:
        raise UserError(f"{NOUNS[group]} {name!r} is neither timbrel's nor an installed package's")
    if group == FAMILIES:
        allow([package.name])
    elif not may_run(package):
        raise UserError(refusal(name, package))
    entry_name = f"{name}.{part}" if part else name
    entry = next((entry for entry in package.entry_points if (entry.group, entry.name) == (group, entry_name)), None)
    if entry is None:
        return None
    with loading(group, name):
        return entry.load()


@contextlib.contextmanager
def loading(group: str, name: str) -> Iterator[None]:
    """Turn errors of a package's code, which loads a family or kind, into a line; timbrel's own pass.

    Raises:
        UserError: the package's code raises any error, or exits.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # an import runs any code
        package = None if isinstance(error, UserError) else find(group, name)
        if package is None:
            raise
        reason = " ".join(str(error).split())
        raise UserError(
            f"{NOUNS[group]} {name!r} of package {title(package)} cannot be loaded: {type(error).__name__}: {reason}; "
            "install another version of the package, or remove it"
        ) from error


def refusal(kind_name: str, package: "Distribution") -> str:
    """Why a package does not run, and the next step."""
    return (
        f"kind {kind_name!r} is code of package {title(package)}, which has not run here before; if you know where the "
        "file is from, run 'timbrel info FILE' in a terminal, which asks, or with --trust"
    )


def title(package: "Distribution") -> str:
    return f"{package.name} {package.version}"


def may_run(package: "Distribution") -> bool:
    return package.name in _allowed or approvals().get(_key(package)) == _digest(package)


def let_run(package: "Distribution") -> None:
    """Store an approval; errors as `approve`."""
    approve(_key(package), _digest(package))


def allow(packages: Iterable[str]) -> None:
    """Let packages run in this process, by their names."""
    _allowed.update(packages)


def versions(group: str, of_names: Iterable[str]) -> dict[str, str]:
    """Versions by package, of the installed packages that have some families or kinds."""
    packages = [package for name in of_names if (package := find(group, name)) is not None]
    return {package.name: package.version for package in sorted(packages, key=lambda package: package.name)}


def all_versions(group: str) -> dict[str, str]:
    """Versions by package, of all installed packages that have families or kinds."""
    packages = {entry.dist.name: entry.dist for entry in _entries(group) if entry.dist}
    return {name: package.version for name, package in sorted(packages.items())}


def check_versions(group: str, of_names: Iterable[str], expected: Mapping[str, str]) -> None:
    """Compare `versions` with those of the process that gave this one its work.

    Raises:
        UserError: one differs, or a package is not installed.
    """
    installed = versions(group, of_names)
    for name, version in expected.items():
        if installed.get(name) != version:
            raise UserError(
                f"package {name} is {installed.get(name, 'not installed')} here and {version} at the start; install "
                "the same version"
            )


def _entries(group: str) -> "EntryPoints":
    from importlib.metadata import entry_points  # lazy: rendering with timbrel's own kinds needs none

    return entry_points(group=group)


def _stem(entry_name: str) -> str:
    return entry_name.partition(".")[0]


def _key(package: "Distribution") -> str:
    return f"package {package.name}"


def _digest(package: "Distribution") -> str:
    """SHA-256 of a package's name, version and record, which has the digests of its files."""
    record = package.read_text("RECORD") or package.read_text("METADATA") or ""
    return hashlib.sha256(f"{title(package)}\n{record}".encode()).hexdigest()
