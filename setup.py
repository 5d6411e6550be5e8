"""Builds wheels: with the compiled parts and plugins for this platform where they can be compiled, else without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
NATIVE = ROOT / "host/plugin/native"
CORE, JACK_CORE, CLOCK = "host/voice/core", "host/midi/core/jack_input", "host/midi/core/clock.h"
# The same bits everywhere: no fused or reordered additions. Symbols are those that core.h exports.
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-fast-math",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wno-psabi",
    "-g0",
]


class CoreLibrary(build_ext):
    """Compiles a plain shared library, which ctypes loads: it contains no Python."""

    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")) + (".dll" if sys.platform == "win32" else ".so.1")  # noqa: PTH118

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []


class Wheel(bdist_wheel):
    """Compiles core and plugins first; they contain no Python, so the wheel suits any Python 3."""

    def run(self) -> None:
        if sys.platform == "linux":
            _compile()
        self.run_command("build_ext")
        outputs = self.get_finalized_command("build_ext").get_outputs()
        self.distribution.ext_modules = [
            module for module, path in zip(self.distribution.ext_modules, outputs, strict=True) if Path(path).exists()
        ]
        self.root_is_pure = not self.distribution.ext_modules and not any((NATIVE / "build").glob("timbrel.*"))
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        python, interface, platform = super().get_tag()
        return (python, interface, platform) if self.root_is_pure else ("py3", "none", platform)


def _compile() -> None:
    make = shutil.which("make")
    failed = make is None or subprocess.run([make, "--keep-going", "-C", str(NATIVE)]).returncode != 0
    if failed:
        print("warning: not all plugins could be built; 'timbrel plugin status' says what is missing", file=sys.stderr)


LIBRARIES = [
    Extension(
        "timbrel.host.voice.voice_core",
        [f"{CORE}/{name}.c" for name in ("core", "unattended", "grains")],
        depends=[f"{CORE}/{name}.h" for name in ("core", "dense", "kernels", "maths", "state", "unattended", "grains")]
        + [CLOCK],
        extra_compile_args=FLAGS,
        optional=True,  # without it, numpy plays
    )
]
if sys.platform == "linux":
    LIBRARIES.append(
        Extension(
            "timbrel.host.midi.jack_core",
            [f"{JACK_CORE}.c"],
            depends=[f"{JACK_CORE}.h", CLOCK],
            extra_compile_args=FLAGS,
            optional=True,  # without it, JACK's thread calls Python
        )
    )


def _package_dir() -> dict[str, str]:
    """Return where the packages are: the root is the package timbrel.

    For an editable installation they are behind a link, so that it is a folder on Python's path, in which type checkers
    find the package too. Where links are refused, setuptools installs a hook, which Python alone follows.
    """
    link = ROOT / ".types" / "timbrel"
    if "editable_wheel" in sys.argv:
        try:
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink():
                link.symlink_to("..", target_is_directory=True)
            return {"": link.parent.name}
        except OSError as error:
            print(f"warning: no link at {link} ({error}); type checkers will not find timbrel", file=sys.stderr)
    return {"timbrel": "."}


# Without this script in the package: setuptools excludes it if it knows its name.
setup(
    script_name="setup.py",
    package_dir=_package_dir(),
    cmdclass={"bdist_wheel": Wheel, "build_ext": CoreLibrary},
    ext_modules=LIBRARIES,
)
