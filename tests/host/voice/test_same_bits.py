"""The core's bits do not depend on the compiler's optimisation; a sanitizer finds no fault in its C."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from timbrel.host import voice_library as library
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.voice import core_voices

from .rigs import rack_of, sound_of

CORE = [Path(library.__file__).parent / "voice" / "core" / name for name in ("core.c", "unattended.c", "grains.c")]
FLAGS = ["-std=c11", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]
QUIET = ["-Wno-psabi", "-Wno-maybe-uninitialized"]
EVENTS = [
    *(NoteOn(300 * place, 0, key, 90) for place, key in enumerate((36, 48, 55, 60, 64, 100))),
    *(PitchBend(2000 + 500 * step, 0, 1000 * step) for step in range(8)),
    *(ControlChange(5000 + 200 * step, 0, 70 + step % 8, 9 * step) for step in range(14)),
    NoteOff(9000, 0, 48),
]

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


def compiled(folder, *flags):
    path = folder / f"core{len(list(folder.iterdir()))}.so"
    subprocess.run(["gcc", *FLAGS, *QUIET, *flags, *map(str, CORE), "-o", str(path), "-lm"], check=True)
    return path


def test_optimisation_changes_no_bit(make_patch, recorded, tmp_path, monkeypatch):
    patch = make_patch(recorded, play={"unison": 2, "width": 0.5}, gesture={"variety": 1.0})
    sounds = []
    for flags in (["-O0"], ["-O1"], ["-O3", "-march=native"]):
        core = library.load_library(compiled(tmp_path, *flags))
        monkeypatch.setattr(core_voices, "voice_library", lambda core=core: core)
        sounds.append(sound_of(rack_of("core", {0: patch}, 44_100), EVENTS, 16_000))
    assert np.abs(sounds[0]).max() > 0.01
    assert np.array_equal(sounds[0], sounds[1])
    assert np.array_equal(sounds[0], sounds[2])


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host import voice_library as library
from timbrel.host.engines.grain import sources
from timbrel.host.voice import core_voices
core = library.load_library(Path(sys.argv[1]))
core_voices.voice_library = sources.voice_library = lambda: core
for name in ("gm-keys", "gm-strings", "gm-pad", "lakeside-walk"):
    for mode in ("poly", "mono", "chord")[: 2 if name == "lakeside-walk" else 3]:
        patch = open_patch(name)
        vars(patch.preset.play).update(mode=mode, unison=2, width=0.5)
        rack = Rack({0: patch}, 44100)
        events = [NoteOn(10, 0, key, 100) for key in (1, 48, 60, 126)] + [PitchBend(900, 0, 8000), NoteOff(3000, 0, 60)]
        for size in (1, 500, 3000, 16384):
            start = rack.played
            assert np.isfinite(rack.process([e for e in events if start <= e.time < start + size], size)[0]).all()
            rack.prepare()
print("ends")
"""


def test_sanitizers_find_no_fault(tmp_path):
    path = compiled(tmp_path, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    if not Path(runtime.stdout.strip()).exists():
        pytest.skip("needs gcc's sanitizers")
    environment = os.environ | {"LD_PRELOAD": runtime.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-c", SCRIPT, str(path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout == "ends\n", run.stderr[-3000:]
