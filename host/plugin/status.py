"""Plugin status: built and installed plugins, interpreters, and the end of the log."""

import filecmp
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ... import __version__
from .bundles import Bundle, bundles, how_to_build

LOG_LINES = 5  # the last ones
SERVER = "timbrel.host.plugin.server"  # the module that an interpreter must import
SERVE_SECONDS = 30.0  # a Python that imports the server slower than this is unfit for playing


def status() -> Iterator[str]:
    interpreters = set()
    for bundle in bundles():
        yield f"{bundle.format:<5} {_standing(bundle)}"
        if bundle.is_ours:
            interpreters.add(bundle.interpreter.read_text(encoding="utf-8", errors="replace").strip())
    for interpreter in sorted(interpreters):
        yield f"interpreter {interpreter}: {_served_by(interpreter)}"
    yield from _log()


def _standing(bundle: Bundle) -> str:
    built = bundle.built_binary.is_file()
    if not bundle.is_ours:
        if bundle.installed.exists():
            return f"{bundle.installed} was not put there by 'timbrel plugin install'"
        return "built, not installed: run 'timbrel plugin install'" if built else f"not built: {how_to_build()}"
    binary = bundle.installed / bundle.binary
    if not binary.is_file():
        return f"{bundle.installed} has lost {bundle.binary}; run 'timbrel plugin install'"
    if not built:
        return f"installed as {bundle.installed}; not built here: {how_to_build()}"
    if not filecmp.cmp(binary, bundle.built_binary, shallow=False):
        return f"installed as {bundle.installed}, another one than is built here; 'timbrel plugin install' replaces it"
    return f"installed as {bundle.installed}"


def _served_by(interpreter: str) -> str:
    if not os.access(interpreter, os.X_OK) or Path(interpreter).is_dir():
        return "is no program that can be run; 'timbrel plugin install' names this one"
    asks = f"import timbrel, {SERVER}; print(timbrel.__version__)"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    try:
        done = subprocess.run(
            [interpreter, "-I", "-c", asks],
            env=plain,
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
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return f"cannot serve them: {said[-1]}; install timbrel there, or run 'timbrel plugin install' here"
    version = done.stdout.strip()
    if version != __version__:
        return f"serves them with timbrel {version}, this is {__version__}; 'timbrel plugin install' names this one"
    return f"serves them with timbrel {version}"


def _log() -> Iterator[str]:
    path = log_path()
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        yield f"log {path}: none yet"
        return
    yield f"log {path}{':' if lines else ' is empty'}"
    yield from (f"  {line}" for line in lines[-LOG_LINES:])


def log_path() -> Path:
    """The file may not exist yet."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "")
    return (state if state.is_absolute() else Path.home() / ".local/state") / "timbrel" / "plugin.log"
