"""Mutation testing names each survivor that is not accepted, and each row that holds no longer."""

import pytest

from .mutants import ROOT, Module, Survivor, change_of, complaints, function_of, modules

MODULE = Module("host/signal.py", ["tests/host/test_pitch.py"], {Survivor("f", "a = 1"): "the same"})


@pytest.mark.parametrize(
    ("survivors", "said"),
    [
        ([("f", "a = 1")], []),
        ([("f", "a = 1"), ("g", "a = 1")], ["host/signal.py, g: no test notices: a = 1"]),
        ([], ["host/signal.py, f: noticed or gone, remove its row: a = 1"]),
    ],
)
def test_survivors_and_accepted_ones_are_the_same_or_named(survivors, said):
    assert complaints(MODULE, [Survivor(*one) for one in survivors]) == said


@pytest.mark.parametrize(
    ("mutant", "function"),
    [
        ("timbrel.host.signal.x__at__mutmut_8", "_at"),
        ("timbrel.host.play.mpe.xǁNoteExpressionǁfollow__mutmut_12", "NoteExpression.follow"),
        ("timbrel.host.panel.held_controls.xǁHeldControlsǁ__init____mutmut_2", "HeldControls.__init__"),
    ],
)
def test_a_mutant_s_name_says_its_function(mutant, function):
    assert function_of(mutant) == function


@pytest.mark.parametrize(
    ("lines", "change"),
    [
        ([" if a:", "-    b = 1", "+    b = 2"], "b = 2"),
        ([" case 1:", "-    return a", "-case 2:"], "(without) return a\n(without) case 2:"),
    ],
)
def test_a_change_is_told_by_its_new_lines_or_by_those_that_go(lines, change):
    assert change_of("\n".join(["# name: survived", "--- a.py", "+++ a.py", "@@ -1,3 +1,3 @@", *lines])) == change


def test_all_files_of_the_table_exist_and_every_accepted_survivor_has_a_reason():
    for module in modules():
        for name in (module.file, *(word.partition("::")[0] for word in module.tests if word.startswith("tests/"))):
            assert (ROOT / name).is_file(), name
        assert all(module.accepted.values()), module.file
