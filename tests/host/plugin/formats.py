"""Builds a plugin's format for tests: over the fake core, with the compiler's sanitizers, beside a host of its own."""

import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ...patience import PATIENCE_SECONDS

HERE = Path(__file__).parent
NATIVE = HERE.parents[2] / "host" / "plugin" / "native"
DPF = Path("/usr/share/dpf/distrho/src")
FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fPIC"]
BLOCK = 64  # samples, where a test says none
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SHARED = ("instance.c", "parameters.c", "fake_core.c")
WRAPPERS = {
    "clap": ("clap.c", "clap_presets.c", *SHARED),
    "vst3": ("vst3.c", "vst3_controller.c", "vst3_events.c", "utf16.c", *SHARED),
}
BINARIES = {"clap": "timbrel.clap", "vst3": "timbrel.so"}


def need():
    """Skip where there is no compiler, or not the headers of both formats."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler (Debian: gcc)")
    if not (DPF / "clap").is_dir():
        pytest.skip("no headers of CLAP and VST3 (Debian: dpf-source)")


def machine():
    """The folder of a VST3 bundle that has the binary for this machine."""
    return f"{platform.machine()}-linux"


def compile_c(to, *sources, extra=()):
    """Compile files of the plugin, or of these tests, into one program or library."""
    include = ["-I", str(NATIVE), "-isystem", str(DPF), '-DTIMBREL_VERSION="test"', "-fms-extensions"]
    paths = [str(next(folder / name for folder in (NATIVE, HERE) if (folder / name).exists())) for name in sources]
    command = ["cc", *FLAGS, *include, *extra, "-o", str(to), *paths, "-lm", "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, done.stderr


def build_fake(name, folder):
    """Build a format's plugin over the fake core, and its host, with the compiler's sanitizers."""
    compile_c(folder / BINARIES[name], *WRAPPERS[name], extra=["-shared", *SANITIZED])
    compile_c(folder / "host", f"{name}_host.c", extra=SANITIZED)


def calls(folder):
    """What the wrapper asked of the fake core, a line each, without how often it said what the core passes over."""
    lines, rolling, bpm = [], "0", None
    for line in (folder / "calls").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[0] == "transport":
            if words[2] == rolling and words[2:4] != ["1", "1"]:
                continue
            rolling = words[2]
        if words[0] == "tempo":
            if words[2] == bpm:
                continue
            bpm = words[2]
        lines.append(line)
    return lines


def middle(lines):
    """The calls between activation and deactivation."""
    return [line for line in lines if line.split()[0] in ("midi", "set", "tempo", "transport", "offline")]


def playing(name, built, folder):
    """A function that plays events, a line each, in the host of a format, into a plugin over the fake core.

    It returns what the host printed, the core's calls and the sound [samples, 2]; where ``refused`` are the host's last
    words, no sound. The binary is copied into the folder.
    """
    binary = BINARIES[name]
    shutil.copy(built / binary, folder)

    def play(*events, samples=4 * BLOCK, blocks=(BLOCK,), refused=None, **options):
        (folder / "events").write_text("".join(f"{event}\n" for event in events), encoding="utf-8")
        (folder / "calls").unlink(missing_ok=True)
        words = [f"{name}={value}" for name, value in options.items()]
        words += [f"samples={samples}", f"blocks={','.join(map(str, blocks))}", f"events={folder / 'events'}"]
        command = [built / "host", folder / binary, folder / "out", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        if refused is not None:
            assert (done.returncode, done.stderr.splitlines()[-1:]) == (1, [refused]), done.stderr
            return done.stdout.splitlines(), calls(folder), None
        assert done.returncode == 0, done.stderr
        sound = np.fromfile(folder / "out", np.float32).reshape(-1, 2)
        return done.stdout.splitlines(), calls(folder), sound

    return play
