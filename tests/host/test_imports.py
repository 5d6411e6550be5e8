"""The host room is light: what it imports, starts and says when it is imported, looked at in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path

import timbrel.host

HEAVY = [
    "torch",
    "lightning_fabric",
    "timbrel.train",
    "timbrel.export",
    "pedalboard",
    "onnxruntime",
    "onnx",
    "matplotlib",
    "rich",
    "scipy",
    "librosa",
    "mido",
    "sounddevice",
    "rtmidi",
]
LOOK = """
import importlib, json, logging, pkgutil, sys, threading
import timbrel.host
names = [found.name for found in pkgutil.walk_packages(timbrel.host.__path__, "timbrel.host.")]
for name in names:
    importlib.import_module(name)
print(json.dumps({
    "names": names,
    "loaded": sorted(sys.modules),
    "threads": threading.active_count(),
    "handlers": len(logging.getLogger().handlers),
}))
"""


def test_importing_every_host_module_loads_nothing_heavy_starts_nothing_and_says_nothing():
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    seen = json.loads(done.stdout)
    folder = Path(timbrel.host.__file__).parent
    files = {path for path in folder.rglob("*.py") if path != folder / "__init__.py"}
    assert len(seen["names"]) == len(files) >= 20
    assert [name for name in HEAVY if name in seen["loaded"]] == []
    assert (seen["threads"], seen["handlers"]) == (1, 0)


def test_help_loads_nothing_heavy():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['timbrel', '--help']\n"
        "try: runpy.run_module('timbrel', run_name='__main__')\n"
        "finally: print('LOADED', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = done.stdout.rsplit("LOADED", 1)[1].split()
    assert done.returncode == 0
    assert "typer" in loaded
    rooms = {"timbrel.train", "timbrel.export"}
    ours = {name for name in loaded if name.startswith(tuple(rooms))}
    lists = {"timbrel.export.families", "timbrel.train.families"}
    studies = {"timbrel.export.study", "timbrel.export.study.commands"}
    # A command imports its work when it runs.
    assert ours == rooms | {f"{room}.commands" for room in rooms} | lists | studies
    assert [name for name in [*HEAVY, "numpy", "pydantic", "soundfile"] if name in loaded and name not in rooms] == []
