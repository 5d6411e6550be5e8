"""Compiled plugins (LV2, VST3, CLAP): build requirements, status, and installation in the folders that hosts search.

Presets for the browsers of LV2 and CLAP hosts are written beside them.
"""

import filecmp
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ... import __version__
from ..errors import Failure, UserError
from ..files import remove_at_once, replacing_folder

NATIVE = Path(__file__).resolve().parent / "native"
BUILT = NATIVE / "build"
INTERPRETER = "interpreter"  # file beside a plugin's binary; its one line is the path of the Python that serves it
PLUGIN = "urn:timbrel:instrument"  # as in native/manifest.ttl
NAME = f"{PLUGIN}#preset"  # the property that carries a preset's name to native/lv2.c
PREFIXES = """
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix state: <http://lv2plug.in/ns/ext/state#> .
"""


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


def add_presets(bundle: Path) -> None:
    """Add presets to the manifest, their data to presets.ttl."""
    from ..preset.loading import described_presets  # reads all kinds; the status needs none

    manifest_texts, preset_texts = [PREFIXES], [PREFIXES]
    for _, name, description in described_presets():
        preset_uri = f"<urn:timbrel:preset:{quote(name)}>"
        manifest_texts.append(
            f"{preset_uri}\n\ta pset:Preset ;\n\tlv2:appliesTo <{PLUGIN}> ;\n\trdfs:seeAlso <presets.ttl> .\n"
        )
        preset_texts.append(
            f"{preset_uri}\n\ta pset:Preset ;\n\tlv2:appliesTo <{PLUGIN}> ;\n\trdfs:label {_text(name)} ;\n"
            f"\trdfs:comment {_text(description)} ;\n\tstate:state [ <{NAME}> {_text(name)} ] .\n"
        )
    with (bundle / "manifest.ttl").open("a", encoding="utf-8") as manifest_file:
        manifest_file.write("\n".join(manifest_texts))
    (bundle / "presets.ttl").write_text("\n".join(preset_texts), encoding="utf-8")


def _text(text: str) -> str:
    """A string of Turtle, quoted."""
    return json.dumps(text, ensure_ascii=False)


LIST = "presets"  # as in native/clap_presets.c


def list_presets(folder: Path) -> None:
    """Lines of ``shipped`` or ``own``, name and description, separated by tabs."""
    from ..preset.loading import described_presets  # reads all kinds; the status needs none

    preset_rows = [[origin, name, " ".join(description.split())] for origin, name, description in described_presets()]
    (folder / LIST).write_text("".join("\t".join(row) + "\n" for row in preset_rows), encoding="utf-8")


def install() -> list[Bundle]:
    """Copy each built plugin into the user's folder of its format; return the installed ones.

    Replaces each folder as a whole. A running host keeps the old binary.

    Raises:
        UserError: no plugin is built, or a folder of that name is not ours and stays.
        Failure: a folder cannot be written.
    """
    built_bundles = [bundle for bundle in bundles() if bundle.built_binary.is_file()]
    if not built_bundles:
        raise UserError(f"no plugin is built that could be installed: {how_to_build()}")
    for bundle in built_bundles:
        _check_place(bundle)
    for bundle in built_bundles:
        _install(bundle)
    return built_bundles


def uninstall() -> list[Bundle]:
    """Remove and return the plugins that `install` installed; Failure if one cannot be removed."""
    our_bundles = [bundle for bundle in bundles() if bundle.is_ours]
    for bundle in our_bundles:
        remove_at_once(bundle.installed)
    return our_bundles


def _check_place(bundle: Bundle) -> None:
    """Raise UserError if the install folder is not ours."""
    install_folder = bundle.installed
    if (install_folder.exists() or install_folder.is_symlink()) and not bundle.is_ours:
        raise UserError(
            f"{install_folder} was not put there by 'timbrel plugin install'; remove it, or give it another name"
        )


def _install(bundle: Bundle) -> None:
    """Copy a built bundle, its interpreter's path and its presets to the install folder."""
    try:
        bundle.installed.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot make {bundle.installed.parent}: {error.strerror}; nothing was put there") from None
    with replacing_folder(bundle.installed) as new_folder:
        if bundle.built.is_dir():
            shutil.copytree(bundle.built, new_folder, copy_function=shutil.copy, dirs_exist_ok=True)
        else:
            shutil.copy(bundle.built, new_folder)
        interpreter_path = Path(sys.executable).absolute()  # not resolved: the link identifies a virtual environment
        (new_folder / bundle.binary).with_name(INTERPRETER).write_text(f"{interpreter_path}\n", encoding="utf-8")
        if bundle.format == "LV2":
            add_presets(new_folder)
        if bundle.format == "CLAP":
            list_presets(new_folder)
