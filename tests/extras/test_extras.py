"""The base alone plays, and each missing package is named with the extra that installs it."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import typer
from timbrel.__main__ import command_line
from timbrel.host import errors

from . import attempts

ROOT = Path(__file__).parents[2]
DEVELOPERS = {"dev", "mutants"}  # extras of this repository's developers alone


def declared():
    """The distributions of each extra, without those of the extras that it includes."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {extra: {re.split(r"[^\w-]", line)[0] for line in lines} for extra, lines in tables.items()}
    return {extra: found - {"timbrel"} for extra, found in names.items() if extra not in DEVELOPERS}


def command_names(command, name=""):
    """All commands of the command line by their words."""
    if not hasattr(command, "commands"):
        return {name.strip()}
    return {found for part, below in command.commands.items() for found in command_names(below, f"{name} {part}")}


def test_without_any_extra_names_and_commands_work_or_name_theirs(tmp_path):
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, attempts.__file__, "--quick", "--hide"]
    ended = subprocess.run(command, cwd=tmp_path, env=os.environ | home, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_command_is_tried():
    lines = attempts.COMMANDS | attempts.SLOW
    names = command_names(typer.main.get_command(command_line()))
    assert len(names) > 20
    assert {name for name in names if not any(f"{line} ".startswith(f"{name} ") for line in lines)} == set()


@pytest.mark.parametrize("extra", sorted(declared()))
def test_each_package_of_an_extra_is_named_with_an_extra_that_declares_it(extra):
    owners = metadata.packages_distributions()
    for distribution in declared()[extra]:
        modules = {name for name, found in owners.items() if distribution.lower() in map(str.lower, found)}
        named = {one: re.search(r"\[(\w+)\]'$", errors.how_to_install(one)) for one in modules if known(one)}
        assert named, distribution
        for module, match in named.items():
            assert distribution in declared()[match[1]], module


def known(module):
    return any(module in modules for modules in errors.MODULES.values())


def test_a_package_of_no_extra_comes_with_timbrel():
    assert errors.how_to_install("rich.table") == "rich is not installed; install it with: pip install 'timbrel'"
