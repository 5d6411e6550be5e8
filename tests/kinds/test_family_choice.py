"""A family that `make` can train is offered by the command once its folder is listed: no other file names it."""

import subprocess
import sys

from timbrel.export import families
from timbrel.export.families.table import FAMILIES, family_named, name_for_users

from ..patience import PATIENCE_SECONDS

TOY = """from timbrel.export.families import MadeFamily
MADE = {"toy": MadeFamily("toy-sound")}
"""
LISTED = """from timbrel.export.families import FOLDERS
FOLDERS.append("toy_family")
from timbrel.__main__ import main
main()
"""


def command(folder, *arguments):
    """Run the command line in a process where ``folder`` has a family of its own."""
    (folder / "toy_family.py").write_text(TOY, encoding="utf-8")
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{LISTED}"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_make_offers_a_new_family_and_goes_on_to_the_sounds(tmp_path):
    offered = "".join(command(tmp_path, "make", "--help").stdout.split())
    assert "--family<auto|chroma|partials|grain|clip|sequence|toy-sound>" in offered
    ended = command(tmp_path, "make", "no-sounds", "-o", "out", "--family", "toy-sound")
    assert "no-sounds" in ended.stderr
    assert "--family" not in ended.stderr
    refused = command(tmp_path, "make", "no-sounds", "-o", "out", "--family", "toy")
    assert "--family" in refused.stderr
    assert refused.returncode == 2


def test_make_finds_a_new_family_by_its_name_for_users(tmp_path, monkeypatch):
    (tmp_path / "toy_family_here.py").write_text(TOY, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(families, "FOLDERS", [*families.FOLDERS, "toy_family_here"])
    assert family_named("toy-sound") == "toy"
    assert name_for_users("toy") == "toy-sound"
    assert family_named("sequence") == "loops"
    assert family_named("auto") == "auto"


def test_families_that_are_offered_are_those_with_a_recipe_to_make():
    assert set(families.made_families()) == {name for name, row in FAMILIES.items() if row.recipe}


def test_help_of_make_imports_no_torch(tmp_path):
    program = "import sys; sys.argv = ['timbrel', 'make', '--help']\nfrom timbrel.__main__ import main\n"
    program += "try: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.stderr.strip() == "False"
