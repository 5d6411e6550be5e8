"""Compiled plugins (LV2, VST3, CLAP): files, build requirements and install folders."""

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    module = Path("Contents", f"{platform.machine()}-linux", "timbrel.so")  # as the VST3 format requires
    return (
        Bundle("LV2", BUILT / "timbrel.lv2", Path(".lv2/timbrel.lv2"), Path("timbrel.so")),
        Bundle("VST3", BUILT / "timbrel.vst3", Path(".vst3/timbrel.vst3"), module),
        Bundle("CLAP", BUILT / "timbrel.clap", Path(".clap/timbrel"), Path("timbrel.clap")),
    )


def how_to_build() -> str:
    if sys.platform != "linux":
        return "it is built on Linux alone"
    missing = list(_missing())
    packages = f"install {', '.join(missing)} (Debian's names), then " if missing else ""
    again = "run 'make plugin'" if (NATIVE / "Makefile").is_file() else "install timbrel again, from its source"
    return packages + again


def _missing() -> Iterator[str]:
    if shutil.which("cc") is None:
        yield "gcc"
    if shutil.which("make") is None:
        yield "make"
    if not any(Path(root, "include/lv2").is_dir() for root in ("/usr", "/usr/local")):
        yield "lv2-dev"
    if not Path("/usr/share/dpf/distrho").is_dir():
        yield "dpf-source"
