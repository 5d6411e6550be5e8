"""Mutation testing: mutmut changes modules in one place at a time, and each change must fail one of their tests.

    python tests/mutants/mutants.py [--only WORD] [--jobs N]

`mutants.toml` names the modules, the tests of each, and the survivors that are accepted, each with its reason. Exit
status 1 where a change survives that is not accepted, or an accepted one no longer does. mutmut changes what functions
do, but no constants of modules, no decorated functions and no C. It works on a copy of the checkout, in a folder that
has the package's name: there the names of modules are those that tests import.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NOTICED = {"killed", "timeout", "segfault"}  # mutmut limits the processor's time, which other work does not take
PYTEST = ["-q", "-c", "pyproject.toml", "--rootdir", ".", "-p", "no:cacheprovider"]


class Survivor(NamedTuple):
    """A change that no test notices: in which function, and what its lines become."""

    function: str
    becomes: str


@dataclass(frozen=True)
class Module:
    """A module, the arguments of pytest that choose its tests, and its accepted survivors with their reasons."""

    file: str
    tests: Sequence[str]
    accepted: dict[Survivor, str]

    @property
    def name(self) -> str:
        """The name under which tests import it."""
        return "timbrel." + self.file.removesuffix(".py").replace("/", ".")


def modules() -> list[Module]:
    """Read `mutants.toml`."""
    return [
        Module(
            row["file"],
            row["tests"],
            {Survivor(one["function"], one["becomes"].strip()): one["reason"] for one in row.get("accepted", [])},
        )
        for row in tomllib.loads((HERE / "mutants.toml").read_text(encoding="utf-8"))["module"]
    ]


def complaints(module: Module, survivors: Iterable[Survivor]) -> list[str]:
    """Return a line for each survivor that is not accepted, and for each accepted one that does not survive."""
    found = set(survivors)
    return [
        *(
            f"{module.file}, {one.function}: no test notices: {one.becomes}"
            for one in sorted(found - {*module.accepted})
        ),
        *(
            f"{module.file}, {one.function}: noticed or gone, remove its row: {one.becomes}"
            for one in sorted({*module.accepted} - found)
        ),
    ]


def function_of(mutant: str) -> str:
    """Return the function of a mutant: Wheel.follow of timbrel.host.play.mpe.xǁWheelǁfollow__mutmut_3."""
    mangled = mutant.rpartition(".")[2].rpartition("__mutmut_")[0]
    return mangled.removeprefix("xǁ").replace("ǁ", ".") if mangled.startswith("xǁ") else mangled.removeprefix("x_")


def change_of(diff: str) -> str:
    """Return the lines of a unified diff that are new, or where there is none, those that go."""
    lines = [line for line in diff.splitlines() if re.match(r"[+-](?!--|\+\+)", line)]
    new = [line[1:].strip() for line in lines if line[0] == "+"]
    return "\n".join(new or [f"(without) {line[1:].strip()}" for line in lines])


def copy_of_checkout(folder: Path) -> None:
    """Copy what git knows of to a package under ``folder``."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / "timbrel" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "timbrel" / name)


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in a folder; return its output."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"mutmut {' '.join(arguments)}:\n{done.stdout[-3000:]}")
    return done.stdout


def survivors_of(module: Module, folder: Path, jobs: int) -> tuple[list[Survivor], int]:
    """Try all mutants of a module in a copy of the checkout; return those that survive, and how many there are."""
    shutil.rmtree(folder / "mutants", ignore_errors=True)
    settings = {
        "source_paths": ["timbrel"],
        "only_mutate": [f"timbrel/{module.file}"],
        "pytest_add_cli_args": PYTEST,
        "pytest_add_cli_args_test_selection": [
            f"timbrel/{word}" if word.startswith("tests/") else word for word in module.tests
        ],
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    lines += ["use_git_change_detection = false", "track_dependencies = false"]
    own = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text("\n".join([own, "[tool.mutmut]", *lines, ""]), encoding="utf-8")
    mutmut(folder, "run", "--max-children", str(jobs))
    listed = re.findall(r"^\s*(\S+): (.+)$", mutmut(folder, "results", "--all", "true"), re.MULTILINE)
    states = {name: state for name, state in listed if name.startswith(f"{module.name}.x")}
    if not states:
        sys.exit(f"{module.file}: mutmut finds nothing to change")
    alive = [name for name, state in states.items() if state not in NOTICED]
    return [Survivor(function_of(name), change_of(mutmut(folder, "show", name))) for name in alive], len(states)


def main() -> None:
    """Try the mutants of all modules that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="modules whose path has this word")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at once")
    arguments = parser.parse_args()
    told = []
    with tempfile.TemporaryDirectory() as name:
        copy_of_checkout(Path(name))
        for module in modules():
            if arguments.only in module.file:
                found, count = survivors_of(module, Path(name), arguments.jobs)
                told += complaints(module, found)
                print(f"{module.file}: {count} mutants, {len(found)} survive", flush=True)
    for line in told:
        print(line)
    sys.exit(bool(told))


if __name__ == "__main__":
    main()
