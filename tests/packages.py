"""Installed packages in folders: what pip writes of a wheel, without one."""

import hashlib
import importlib
import sys
from contextlib import contextmanager

from timbrel.export.families import FAMILIES as EXPORTED
from timbrel.export.kinds.table import KINDS as EXPORTED_KINDS
from timbrel.host import extensions
from timbrel.host.kinds.table import KINDS
from timbrel.host.preset.preset import _with_tables
from timbrel.train.families import FAMILIES, RECIPES


def install(folder, name, entries, modules, version="1.0"):
    """Write a package: entry points by group, and texts of modules by file name."""
    for earlier in folder.glob(f"{name}-*.dist-info"):
        earlier.rename(folder / f"gone-{earlier.name}.bak")
    facts = folder / f"{name}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = "".join(
        f"[{group}]\n" + "".join(f"{entry} = {place}\n" for entry, place in places.items())
        for group, places in entries.items()
    )
    (facts / "entry_points.txt").write_text(groups)
    for file, text in modules.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    record = "".join(f"{file},{hashlib.sha256(text.encode()).hexdigest()},\n" for file, text in modules.items())
    (facts / "RECORD").write_text(record)
    importlib.invalidate_caches()


@contextmanager
def only_for_now(patch, folder):
    """Packages in a folder are installed; what the process knows of them goes again."""
    tables = (KINDS, EXPORTED_KINDS, FAMILIES, EXPORTED, RECIPES)
    _with_tables.cache_clear()
    before, modules = [set(table) for table in tables], set(sys.modules)
    patch.syspath_prepend(folder)
    patch.setattr(extensions, "_allowed", set())
    yield folder
    for table, names in zip(tables, before, strict=True):
        for name in set(table) - names:
            del table[name]
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
