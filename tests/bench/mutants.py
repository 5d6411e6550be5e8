"""Breaks the code in many places, one at a time, and says which breaks no test notices.

A mutant is a row of `mutants.toml`: a file, the text that is replaced, what replaces it, and the tests that ought to
fail. Each is tried on a copy of the checkout, so that nothing here changes. ``--only WORD`` takes those whose name or
file has the word, ``--jobs`` runs some beside each other. Exit status 1 if one survives.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT_SECONDS = 600.0  # a mutant that makes its tests hang is noticed too


@dataclass(frozen=True)
class Mutant:
    """A break in the code, and the tests that ought to notice it."""

    name: str
    file: str
    old: str
    new: str
    tests: str  # pytest's arguments: files, tests by their ids, -k


def mutants() -> list[Mutant]:
    """Return the rows of `mutants.toml`."""
    return [Mutant(**row) for row in tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]]


def copy_of_checkout(folder: Path) -> Path:
    """Copy what git knows of to a package of its own under ``folder``, and return its root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    root = folder / "timbrel"
    for name in filter(None, listed.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    return root


def failure(root: Path, tests: str) -> str | None:
    """Run tests in a copy of the checkout; return the line that names the first to fail, None if all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *shlex.split(tests)]
    # The copy is found before an installed timbrel, and no bytecode of one mutant is mistaken for the next.
    environment = os.environ | {"PYTHONPATH": str(root.parent), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=LIMIT_SECONDS, text=True)
    except subprocess.TimeoutExpired:
        return f"{tests} take more than {LIMIT_SECONDS:g} s"
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode in (0, 1):
        return next((line for line in lines if line.startswith(("FAILED", "ERROR"))), None)
    if done.returncode == 2:  # a module that cannot be imported any more
        return lines[-1]
    sys.exit(f"{tests}: {lines[-1]}")


def survives(root: Path, mutant: Mutant) -> bool:
    """Return whether all tests of a mutant pass although the code is broken."""
    path = root / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(
            f"{mutant.name}: {mutant.file} has {mutant.old!r} {text.count(mutant.old)} times; bring its row up to date"
        )
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        return failure(root, mutant.tests) is None
    finally:
        path.write_text(text)


def main() -> None:
    """Try all mutants that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    chosen = [mutant for mutant in mutants() if arguments.only in f"{mutant.name} {mutant.file}"]
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        roots: Queue[Path] = Queue()
        for job in range(arguments.jobs):
            roots.put(copy_of_checkout(Path(folder) / str(job)))
        root = roots.get()
        for tests in sorted({mutant.tests for mutant in chosen}):
            if (failed := failure(root, tests)) is not None:
                sys.exit(f"without any mutant, {failed}: mend that first")
        roots.put(root)

        def attempt(mutant: Mutant) -> None:
            root = roots.get()
            survived = survives(root, mutant)
            roots.put(root)
            print(f"{'SURVIVES' if survived else 'noticed':<9} {mutant.file}: {mutant.name}", flush=True)
            if survived:
                survivors.append(mutant)

        with ThreadPoolExecutor(arguments.jobs) as jobs:
            list(jobs.map(attempt, chosen))
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants are noticed by their tests")
    if survivors:
        sys.exit(1)


if __name__ == "__main__":
    main()
