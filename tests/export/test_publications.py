"""The list of publications: a line for each study, with its page and a command that exists."""

import shlex
from pathlib import Path

import pytest
from timbrel.export.study.commands import STUDIES
from timbrel.export.study.publications import PUBLICATIONS, command

ROOT = Path(__file__).parents[2]


def test_each_study_repeats_a_publication():
    assert [row.study for row in PUBLICATIONS] == [study.__name__ for study in STUDIES]


@pytest.mark.parametrize("row", PUBLICATIONS, ids=lambda row: row.study)
def test_its_page_exists_and_has_a_command_of_the_study(row):
    page = (ROOT / "docs/internals" / row.page).read_text(encoding="utf-8")
    assert f"timbrel study {row.study} --corpus" in page
    parts = shlex.split(command(row))
    assert parts[:4] == ["timbrel", "study", row.study, "--corpus"]
    assert parts.count("-o") == 1


def test_the_command_line_lists_them_with_their_hours(timbrel):
    printed = timbrel("study", "--list").out
    for row in PUBLICATIONS:
        assert f"{row.title}\n" in printed
        assert f"core hours: {row.core_hours}" in printed
        assert f"  {command(row)}\n" in f"{printed}\n"
