"""Fetched packs: proved, and kept among the user's presets."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..config import own_folder
from ..errors import UserError
from ..files import replacing
from ..model.fetch import HUB, fetch
from ..model.pack import SUFFIX, read_manifest
from .library import open_patch
from .shipped import own_preset, shipped_models, shipped_presets


class KeptPack(NamedTuple):
    name: str
    file: Path
    description: str
    licence: str


@contextlib.contextmanager
def _arriving(url: str, progress: Callable[[float], None]) -> Iterator[Path]:
    """Yield the pack's file: one on this machine stays where it is, a fetched one is removed."""
    if (local_file := Path(url)).suffix == SUFFIX and not url.startswith(HUB) and "://" not in url:
        if not local_file.is_file():
            raise UserError(f"pack {url} does not exist; check the path, or give an address of https://")
        yield local_file
        return
    fetched_file = fetch(url, progress)
    try:
        yield fetched_file
    finally:
        fetched_file.unlink(missing_ok=True)


def arrive(url: str, overwrite: bool, progress: Callable[[float], None]) -> KeptPack:
    """Fetch, prove and keep a pack as NAME.timbrel in the user's folder ``presets``; ``url`` may be a file.

    A name that ships gets a part of the pack's digest.

    Raises:
        UserError: as `fetch`; the pack is damaged, fails its proof, or its name is taken.
        Failure: as `fetch`.
    """
    with _arriving(url, progress) as fetched_file:
        manifest = read_manifest(fetched_file)
        name = manifest.name
        if name in shipped_presets() | shipped_models():  # which its name would open
            name += f"-{hashlib.sha256(fetched_file.read_bytes()).hexdigest()[:6]}"
        pack_file = own_folder("presets") / f"{name}{SUFFIX}"
        if pack_file.exists() and not overwrite and pack_file.read_bytes() != fetched_file.read_bytes():
            raise UserError(f"{pack_file} exists, and is another pack; --overwrite replaces it")
        namesake_file = own_preset(name) if not pack_file.exists() else None
        if namesake_file is not None:
            raise UserError(f"{namesake_file} has the name {name!r} already; rename it, then get the pack again")
        open_patch(str(fetched_file))
        pack_file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(pack_file, overwrite=True) as new_file:  # perhaps on another disk
            shutil.copyfile(fetched_file, new_file)
    metadata = manifest.metadata
    return KeptPack(name, pack_file, metadata.get("description", ""), metadata.get("licence") or "not told")
