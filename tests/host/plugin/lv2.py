"""The LV2 plugin as a host has it: a bundle of its own for each test, and a host that plays lists of events into it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from .native import HERE, LONG, make

URI = "urn:timbrel:instrument"


def needs(*packages):
    """The flags that the compiler needs for some packages; the test is skipped where one is missing."""
    for tool in ("cc", "make", "pkg-config"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    done = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the headers of {' and '.join(packages)}")
    return done.stdout.split()


def build(folder, flags):
    """The bundle and lilv_host in a folder."""
    make("lv2", folder)
    host = [str(HERE / "lilv_host.c"), "-o", str(folder / "lilv_host")]
    subprocess.run(["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *host, *flags], check=True)


@dataclass
class Played:
    """The sound, [2, samples], the values of the plugin's ports at the end, and its lines on standard error."""

    sound: np.ndarray
    latency: int
    late: int
    status: int
    said: str


class Lv2:
    """A bundle, and hosts that load it."""

    def __init__(self, built, folder):
        self.built, self.folder = built, folder
        self.bundle = folder / "bundles" / "timbrel.lv2"
        shutil.copytree(built / "timbrel.lv2", self.bundle)

    @property
    def environment(self):
        return {**os.environ, "LV2_PATH": str(self.bundle.parent), "XDG_STATE_HOME": str(self.folder)}

    def play(self, events, samples, *words, blocks=(1024,), rate=48000):
        """Plays lines of events, as lilv_host.c has them, into a new instance."""
        lines, out = self.folder / "events.txt", self.folder / "out.f32"
        lines.write_text("".join(f"{line}\n" for line in events))
        host = [self.built / "lilv_host", URI, str(rate), ",".join(map(str, blocks)), str(samples), lines, out, *words]
        told = subprocess.run(host, env=self.environment, capture_output=True, text=True, check=True, timeout=LONG)
        ports = dict(line.split() for line in told.stdout.splitlines())
        sound = np.fromfile(out, np.float32).reshape(-1, 2).T
        assert sound.shape == (2, samples)
        return Played(sound, *(int(ports[name]) for name in ("latency", "late", "status")), told.stderr)

    def state(self, name, content):
        """A file of a state with the given property: what to load."""
        folder = Path(self.folder / name)
        folder.mkdir()
        head = "@prefix lv2: <http://lv2plug.in/ns/lv2core#> .\n@prefix pset: <http://lv2plug.in/ns/ext/presets#> .\n"
        head += "@prefix state: <http://lv2plug.in/ns/ext/state#> .\n"
        file = folder / "state.ttl"
        file.write_text(f"{head}<> a pset:Preset ; lv2:appliesTo <{URI}> ; state:state [ {content} ] .\n")
        return file
