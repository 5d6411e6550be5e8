"""Builds wheels: with compiled plugins for this platform if they can be compiled, else without."""

import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

NATIVE = Path(__file__).resolve().parent / "host/plugin/native"


class Wheel(bdist_wheel):
    """Compiles the plugins first; they contain no Python, so the wheel suits any Python 3."""

    def run(self) -> None:
        if sys.platform == "linux":
            _compile()
        self.root_is_pure = not any((NATIVE / "build").glob("timbrel.*"))
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        python, interface, platform = super().get_tag()
        return (python, interface, platform) if self.root_is_pure else ("py3", "none", platform)


def _compile() -> None:
    make = shutil.which("make")
    failed = make is None or subprocess.run([make, "--keep-going", "-C", str(NATIVE)]).returncode != 0
    if failed:
        print("warning: not all plugins could be built; 'timbrel plugin status' says what is missing", file=sys.stderr)


# The root is the package, without this script: setuptools excludes it if it knows its name.
setup(script_name="setup.py", cmdclass={"bdist_wheel": Wheel})
