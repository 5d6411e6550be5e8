"""Shared options of the commands of `timbrel study`."""

from pathlib import Path

import pytest
import typer
from timbrel.export.study.commands import comma_separated, run_study


def test_a_study_that_was_stopped_ends_as_shells_expect_and_prints_no_page(capsys):
    with pytest.raises(typer.Exit) as ended:
        run_study(lambda options, display: False, "options", Path("page.html"))
    assert ended.value.exit_code == 130
    run_study(lambda options, display: options == "options", "options", Path("page.html"))
    assert capsys.readouterr().out == "page.html\n"


def test_names_may_have_spaces_between_them():
    assert comma_separated("grain-plain, grain-noise ") == ["grain-plain", "grain-noise"]
    assert comma_separated(None) is None
