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
    """A file on this machine stays where it is."""
    if (local := Path(url)).suffix == SUFFIX and not url.startswith(HUB) and "://" not in url:
        if not local.is_file():
            raise UserError(f"pack {url} does not exist; check the path, or give an address of https://")
        yield local
        return
    fetched = fetch(url, progress)
    try:
        yield fetched
    finally:
        fetched.unlink(missing_ok=True)


def arrive(url: str, overwrite: bool, progress: Callable[[float], None]) -> KeptPack:
    """Fetch, prove and keep a pack as NAME.timbrel in the user's folder ``presets``; ``url`` may be a file.

    A name that ships gets a part of the pack's digest.

    Raises:
        UserError: as `fetch`; the pack is damaged, fails its proof, or its name is taken.
        Failure: as `fetch`.
    """
    with _arriving(url, progress) as fetched:
        manifest = read_manifest(fetched)
        name = manifest.name
        if name in shipped_presets() | shipped_models():  # which its name would open
            name += f"-{hashlib.sha256(fetched.read_bytes()).hexdigest()[:6]}"
        pack_file = own_folder("presets") / f"{name}{SUFFIX}"
        if pack_file.exists() and not overwrite and pack_file.read_bytes() != fetched.read_bytes():
            raise UserError(f"{pack_file} exists, and is another pack; --overwrite replaces it")
        namesake = own_preset(name) if not pack_file.exists() else None
        if namesake is not None:
            raise UserError(f"{namesake} has the name {name!r} already; rename it, then get the pack again")
        open_patch(str(fetched))
        pack_file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(pack_file, overwrite=True) as file:  # perhaps on another disk
            shutil.copyfile(fetched, file)
    metadata = manifest.metadata
    return KeptPack(name, pack_file, metadata.get("description", ""), metadata.get("licence") or "not told")
