"""A family that `make` can train is offered by the command once it is listed: no other file names it."""

import subprocess
import sys

from timbrel.export.families import FAMILIES, MADE, MadeFamily, family_named, name_for_users
from timbrel.train.families import FOLDERS

from ..patience import PATIENCE_SECONDS

LISTED = """from timbrel.export.families import MADE, MadeFamily
MADE["toy"] = MadeFamily("toy-sound")
from timbrel.__main__ import main
main()
"""


def command(folder, *arguments):
    """Run the command line in a process that has a family of its own."""
    return subprocess.run(
        [sys.executable, "-c", LISTED, *arguments],
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


def test_make_finds_a_new_family_by_its_name_for_users(monkeypatch):
    monkeypatch.setitem(MADE, "toy", MadeFamily("toy-sound"))
    assert family_named("toy-sound") == "toy"
    assert name_for_users("toy") == "toy-sound"
    assert family_named("sequence") == "loops"
    assert family_named("auto") == "auto"


def test_families_that_are_offered_are_those_with_a_recipe_to_make():
    assert set(MADE) == {name for name in FOLDERS if FAMILIES[name].recipe}


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
