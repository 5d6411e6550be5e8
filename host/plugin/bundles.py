"""Compiled plugins (LV2, VST3, CLAP): files, build requirements, install folders and status."""

import filecmp
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ... import __version__

NATIVE = Path(__file__).resolve().parent / "native"
BUILT = NATIVE / "build"
INTERPRETER = "interpreter"  # file beside a plugin's binary; its one line is the path of the Python that serves it


@dataclass(frozen=True)
class Bundle:
    format: str
    built: Path  # compiler output: a folder, or the binary alone
    place: Path  # install folder, below the user's home
    binary: Path  # below both, if `built` is a folder

    @property
    def built_binary(self) -> Path:
        return self.built if self.built.suffix == self.binary.suffix else self.built / self.binary

    @property
    def installed(self) -> Path:
        return Path.home() / self.place

    @property
    def interpreter(self) -> Path:
        return (self.installed / self.binary).with_name(INTERPRETER)

    @property
    def is_ours(self) -> bool:
        return self.interpreter.is_file()


def bundles() -> tuple[Bundle, ...]:
    """A bundle for each format, built or not."""
    vst3_binary = Path("Contents", f"{platform.machine()}-linux", "timbrel.so")  # as the VST3 format requires
    return (
        Bundle("LV2", BUILT / "timbrel.lv2", Path(".lv2/timbrel.lv2"), Path("timbrel.so")),
        Bundle("VST3", BUILT / "timbrel.vst3", Path(".vst3/timbrel.vst3"), vst3_binary),
        Bundle("CLAP", BUILT / "timbrel.clap", Path(".clap/timbrel"), Path("timbrel.clap")),
    )


def how_to_build() -> str:
    """The next step to a built plugin, for messages."""
    if sys.platform != "linux":
        return "it is built on Linux alone"
    missing_packages = list(_missing())
    install_step = f"install {', '.join(missing_packages)} (Debian's names), then " if missing_packages else ""
    build_step = "run 'make plugin'" if (NATIVE / "Makefile").is_file() else "install timbrel again, from its source"
    return install_step + build_step


def _missing() -> Iterator[str]:
    """Yield Debian packages that the build lacks."""
    if shutil.which("cc") is None:
        yield "gcc"
    if shutil.which("make") is None:
        yield "make"
    if not any(Path(prefix, "include/lv2").is_dir() for prefix in ("/usr", "/usr/local")):
        yield "lv2-dev"
    if not Path("/usr/share/dpf/distrho").is_dir():
        yield "dpf-source"


LOG_LINES = 5  # the last ones
SERVER = "timbrel.host.plugin.server"  # the module that an interpreter must import
SERVE_SECONDS = 30.0  # a Python that imports the server slower than this is unfit for playing


def status() -> Iterator[str]:
    """Yield lines: each bundle, each interpreter, the end of the log."""
    interpreter_paths = set()
    for bundle in bundles():
        yield f"{bundle.format:<5} {_standing(bundle)}"
        if bundle.is_ours:
            interpreter_paths.add(bundle.interpreter.read_text(encoding="utf-8", errors="replace").strip())
    for interpreter_path in sorted(interpreter_paths):
        yield f"interpreter {interpreter_path}: {_served_by(interpreter_path)}"
    yield from _log()


def _standing(bundle: Bundle) -> str:
    """Return a line on a bundle: built or not, installed or not, the next step."""
    is_built = bundle.built_binary.is_file()
    if not bundle.is_ours:
        if bundle.installed.exists():
            return f"{bundle.installed} was not put there by 'timbrel plugin install'"
        return "built, not installed: run 'timbrel plugin install'" if is_built else f"not built: {how_to_build()}"
    installed_binary = bundle.installed / bundle.binary
    if not installed_binary.is_file():
        return f"{bundle.installed} has lost {bundle.binary}; run 'timbrel plugin install'"
    if not is_built:
        return f"installed as {bundle.installed}; not built here: {how_to_build()}"
    if not filecmp.cmp(installed_binary, bundle.built_binary, shallow=False):
        return f"installed as {bundle.installed}, another one than is built here; 'timbrel plugin install' replaces it"
    return f"installed as {bundle.installed}"


def _served_by(interpreter_path: str) -> str:
    """Return a line on an interpreter: able to serve plugins or not, the next step."""
    if not os.access(interpreter_path, os.X_OK) or Path(interpreter_path).is_dir():
        return "is no program that can be run; 'timbrel plugin install' names this one"
    probe_code = f"import timbrel, {SERVER}; print(timbrel.__version__)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    try:
        completed_probe = subprocess.run(
            [interpreter_path, "-I", "-c", probe_code],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SERVE_SECONDS,
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}; 'timbrel plugin install' names this one"
    except subprocess.TimeoutExpired:
        return f"does not answer within {SERVE_SECONDS:.0f} seconds"
    if completed_probe.returncode:
        error_lines = completed_probe.stderr.strip().splitlines() or [f"exit status {completed_probe.returncode}"]
        return f"cannot serve them: {error_lines[-1]}; install timbrel there, or run 'timbrel plugin install' here"
    served_version = completed_probe.stdout.strip()
    if served_version != __version__:
        return (
            f"serves them with timbrel {served_version}, this is {__version__}; 'timbrel plugin install' names this one"
        )
    return f"serves them with timbrel {served_version}"


def _log() -> Iterator[str]:
    """Yield the log's path and last lines."""
    log_file = log_path()
    try:
        log_lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        yield f"log {log_file}: none yet"
        return
    yield f"log {log_file}{':' if log_lines else ' is empty'}"
    yield from (f"  {log_line}" for log_line in log_lines[-LOG_LINES:])


def log_path() -> Path:
    """The file may not exist yet."""
    state_folder = Path(os.environ.get("XDG_STATE_HOME") or "")
    return (state_folder if state_folder.is_absolute() else Path.home() / ".local/state") / "timbrel" / "plugin.log"
