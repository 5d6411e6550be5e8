"""What a plain machine meets: what `make` says and installs, and with what around them CI runs the tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLAIN = {"PATH", "HOME", "LANG", "CI"}
SHELLS = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}  # what a shell sets itself

pytestmark = pytest.mark.skipif(not shutil.which("make") or not shutil.which("bash"), reason="needs make and bash")


@pytest.fixture
def stand_in(tmp_path):
    """A function that puts a script of a name before all others on the path."""
    (tmp_path / "bin").mkdir()

    def write(name, script, folder=None):
        path = (folder or tmp_path / "bin") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    return write


@pytest.fixture
def run(tmp_path):
    """A function that runs a command in a folder with the repository's make and CI; gives status and what was said."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run", ".ci/install.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def start(*command, **variables):
        env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        return subprocess.run(
            command, cwd=tmp_path, env=env | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def packages(run, stand_in):
    """The packages that are missing where none is installed, in order."""
    stand_in("dpkg", "exit 1")
    stand_in("id", "echo 1000")
    named = run("make", "system").stdout.removeprefix("not installed: ").partition(";")[0]
    return named.split()


def test_a_system_package_that_cannot_be_had_leaves_the_others_installed(run, stand_in, tmp_path):
    first, absent, *others = packages(run, stand_in)
    stand_in("id", "echo 0")
    stand_in("dpkg", f'[ "$2" = {first} ]')
    stand_in("apt-get", f'case "$*" in *{absent}*) exit 100;; *install*) echo "$*" >> installed;; esac')
    done = run("make", "system")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"== installing {' '.join([absent, *others])}",
        f"could not install {absent}: tests that need it are skipped",
    ]
    installed = [line.split()[-1] for line in (tmp_path / "installed").read_text().splitlines()]
    assert installed == others


@pytest.mark.parametrize("installed", ["gcc", "all"])
def test_what_cannot_be_compiled_is_told_with_the_packages_that_are_missing(run, stand_in, tmp_path, installed):
    stand_in("dpkg", f'[ "$2" = {installed} ] || [ {installed} = all ]')
    native = tmp_path / "host/plugin/native"
    native.mkdir(parents=True)
    (native / "Makefile").write_text("all: lv2 clap\nlv2:\n\tfalse\nclap:\n\ttouch timbrel.clap\n")
    done = run("make", "plugin")
    assert done.returncode == 2
    told = {
        "gcc": "not all plugins could be compiled; not installed, as Debian calls them: libc6-dev lv2-dev dpf-source",
        "all": "not all plugins could be compiled; see above",
    }
    assert told[installed] in done.stdout.splitlines()
    assert (native / "timbrel.clap").exists()
    (native / "Makefile").write_text("all:\n")
    assert run("make", "plugin").returncode == 0


def test_torchs_size_is_told_before_anything_is_fetched_and_once(run, stand_in, tmp_path):
    stand_in("uname", "echo Linux")
    stand_in(
        "python",
        'case "$*" in *"import torch"*) test -e torch;; *install.py*) echo fetching; touch torch;; esac',
        tmp_path / ".venv/bin",
    )
    (tmp_path / ".venv/python.done").touch()
    first = run("make", ".venv/dev.done").stdout
    assert 0 < first.index("5 GB") < first.index("fetching")
    assert "PIP_FIND_LINKS=FOLDER make test" in first
    (tmp_path / ".venv/dev.done").unlink()
    again = run("make", ".venv/dev.done").stdout
    assert "fetching" in again
    assert "5 GB" not in again


@pytest.mark.parametrize("ci", [{}, {"CI": "yes"}], ids=["by hand", "in CI"])
def test_ci_runs_the_tests_with_nothing_around_them_and_lets_pip_alone_know_its_settings(run, stand_in, tmp_path, ci):
    stand_in("git", 'mkdir -p "$4"')
    stand_in("make", 'env > "$(echo "$*" | tr -c "a-z\\n" _)"')
    hidden = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "2", "PIP_FIND_LINKS": "/some where"}
    assert run(".ci/run", **hidden, **ci).returncode == 0
    [clone] = (tmp_path / "build").iterdir()
    assert " " in clone.name
    around = {
        path.name: dict(line.split("=", 1) for line in path.read_text().splitlines()) for path in clone.glob("*_done_*")
    } | {"test": dict(line.split("=", 1) for line in (clone / "test").read_text().splitlines())}
    assert len(around) == 2
    wanted = PLAIN - ({"CI"} - ci.keys())
    for command, variables in around.items():
        piped = {"PIP_FIND_LINKS"} if command != "test" else set()
        assert variables.keys() - SHELLS == wanted | piped, command
        assert all(variables[name] == value for name, value in ci.items())


def test_ci_fails_where_the_tests_fail(run, stand_in):
    stand_in("git", 'mkdir -p "$4"')
    stand_in("make", '[ "$*" != test ]')
    assert run(".ci/run").returncode != 0
