"""The compiled plugins: what each format is built from, what lies where, and where hosts look for it."""

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NATIVE = Path(__file__).resolve().parent / "native"
BUILT = NATIVE / "build"
INTERPRETER = "interpreter"  # the file beside a plugin's binary whose one line is the path of the Python that serves it


@dataclass(frozen=True)
class Bundle:
    """A plugin of one format: a folder with a binary, and all that its format wants beside it."""

    format: str
    built: Path  # what the compiler made: a folder, or the binary alone
    place: Path  # the folder that becomes ours, below the user's home
    binary: Path  # below both, where `built` is a folder

    @property
    def built_binary(self) -> Path:
        """The binary that is copied; there may be none."""
        return self.built if self.built.suffix == self.binary.suffix else self.built / self.binary

    @property
    def installed(self) -> Path:
        """The folder in which hosts find it."""
        return Path.home() / self.place

    @property
    def interpreter(self) -> Path:
        """The file that names the interpreter, of the installed plugin."""
        return (self.installed / self.binary).with_name(INTERPRETER)

    @property
    def is_ours(self) -> bool:
        """Return whether what is installed there was installed by `timbrel plugin install`."""
        return self.interpreter.is_file()


def bundles() -> tuple[Bundle, ...]:
    """Return the plugins of this system's formats, built or not."""
    module = Path("Contents", f"{platform.machine()}-linux", "timbrel.so")  # as the VST3 format wants it
    return (
        Bundle("LV2", BUILT / "timbrel.lv2", Path(".lv2/timbrel.lv2"), Path("timbrel.so")),
        Bundle("VST3", BUILT / "timbrel.vst3", Path(".vst3/timbrel.vst3"), module),
        Bundle("CLAP", BUILT / "timbrel.clap", Path(".clap/timbrel"), Path("timbrel.clap")),
    )


def how_to_build() -> str:
    """Return what to do where a plugin is not built, in a few words: what is missing, and what to run then."""
    if sys.platform != "linux":
        return "it is built on Linux alone"
    missing = list(_missing())
    packages = f"install {', '.join(missing)} (Debian's names), then " if missing else ""
    again = "run 'make plugin'" if (NATIVE / "Makefile").is_file() else "install timbrel again, from its source"
    return packages + again


def _missing() -> Iterator[str]:
    """The Debian packages of the tools and headers that building needs and that are not found."""
    if shutil.which("cc") is None:
        yield "gcc"
    if shutil.which("make") is None:
        yield "make"
    if not any(Path(root, "include/lv2").is_dir() for root in ("/usr", "/usr/local")):
        yield "lv2-dev"
    if not Path("/usr/share/dpf/distrho").is_dir():
        yield "dpf-source"
