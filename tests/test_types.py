"""Type checkers see timbrel's types in a user's script, from a wheel and from an editable installation."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .installed import build, copy_checkout, make_environment
from .test_wheel import BUILDERS

SCRIPT = """\
import numpy as np
import timbrel

oboe: timbrel.Instrument = timbrel.open("gm-oboe")
sound = oboe.render([timbrel.Note(60.5, duration=1)], 48_000, seconds=1.0, bend=[(0, 2.0)])
names: list[str] = [*timbrel.preset_names(), sound.save("oboe.flac").name]
codes = oboe.decode(oboe.encode(np.asarray(sound), 48_000), key=61, clamp=True)
timbrel.open(5)
oboe.rendr("tune.mid")
seconds: str = sound.seconds
"""
WRONG = [8, 9, 10]  # lines

pytestmark = pytest.mark.skipif(max(BUILDERS, default=0) < 77, reason="needs setuptools 77, which builds wheels")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, but for its models and compiled files."""
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "a folder")


@pytest.fixture(scope="module", params=["wheel", "editable"])
def python(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with timbrel installed, and with the packages of this one."""
    folder = tmp_path_factory.mktemp(request.param)
    return make_environment(folder / "env", build(tree, folder, request.param))


def test_an_editable_installation_is_a_path(python: Path, tree: Path) -> None:
    asked = "import sys, timbrel; print(timbrel.__file__); print([type(one).__module__ for one in sys.meta_path])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True, env=environment)
    file, finders = found.stdout.splitlines()
    assert "timbrel" not in finders
    if "editable" in str(python):
        assert Path(file).resolve() == tree / "__init__.py"
    else:
        assert Path(file).is_relative_to(python.parents[1])


def wrong_lines(command: list[object], folder: Path, pattern: str) -> list[int]:
    (folder / "user.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [*map(str, command), "user.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1, found.stdout + found.stderr
    assert not re.search(r"import|stub|Any", found.stdout), found.stdout
    return [int(line) for line in re.findall(pattern, found.stdout)]


@pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="needs mypy")
def test_mypy_sees_the_types(python: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python]
    assert wrong_lines(command, tmp_path, r"user.py:(\d+): error:") == WRONG


def pyright_program() -> Path | None:
    """Return pyright's program for node, if its package holds it; None without pyright.

    The package's own command asks on the internet for a newer version, and would download a program that it lacks.
    """
    spec = importlib.util.find_spec("pyright")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "dist" / "index.js"
    return program if program.exists() else None


@pytest.mark.skipif(pyright_program() is None or shutil.which("node") is None, reason="needs pyright, node")
def test_pyright_sees_the_types(python: Path, tmp_path: Path) -> None:
    command = [shutil.which("node"), pyright_program(), "--pythonpath", python]
    assert wrong_lines(command, tmp_path, r"user.py:(\d+):\d+ - error:") == WRONG
