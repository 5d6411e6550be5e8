"""Measures print alike in tables of pages and of the terminal: numbers in their format, and what has none as a dash."""

import pytest
from timbrel.export.reports.measure import (
    Measure,
    latents_table,
    likeness,
    measures_across,
    measures_as_text,
    measures_down,
)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, ".1f", "–"),
        (-1.25, ".1f", "−1.2"),
        (0.5, "+.2f", "+0.50"),
        (7, "d", "7"),
        (0.987, "percent", "98.7 %"),
        (0.9999, "bare percent", "99.9"),
        ("a name", "", "a name"),
    ],
)
def test_a_number_has_its_format_and_a_real_minus_and_none_is_a_dash(value, form, text):
    assert Measure("", "share", form).cell({"share": value}) == text


def test_a_pair_a_spread_and_an_interval_have_the_second_part_below():
    plain = Measure("", "figure", ".1f")
    assert str(plain.cell({"figure": (1.0, None)})).split("<")[0] == "1.0"
    assert "−3.0 ± 0.5" in plain.cell({"figure": {"value": 2.0, "mean": -3.0, "deviation": 0.5}})
    assert "1.0 to 4.0" in plain.cell({"figure": {"value": 2.0, "low": 1.0, "high": 4.0}})


def test_a_path_of_keys_goes_into_nested_figures_and_stops_where_there_are_none():
    deep = Measure("", "notes.shape.median", ".0f")
    assert deep.cell({"notes": {"shape": {"median": 3.0}}}) == "3"
    assert deep.cell({"notes": None}) == "–"
    with pytest.raises(KeyError):  # a misspelt key is no missing figure
        deep.cell({"notes": {"shapes": {}}})


SHAPE = Measure("Shape, dB", "shape", ".1f", "how far bands lie.")
RATE = Measure("Rate", lambda row: row["shape"] * 2, ".0f")


def test_meanings_stand_in_the_last_column_of_rows_and_in_the_note_under_columns():
    down = measures_down([SHAPE, RATE], {"Ours": {"shape": 2.0}, "Theirs": {"shape": 3.0}}, "A note.")
    assert down.index("What it says") < down.index("how far bands lie.") < down.index("A note.")
    assert down.count('class="number"') == 2 * 3  # header and two rows; labels and meanings are no numbers
    across = measures_across([Measure("Name", "name"), SHAPE], [{"name": "a", "shape": 2.0}], "All of them.", texts=0)
    assert "Shape: how far bands lie. All of them." in across
    assert across.count('class="number"') == 2
    assert "faint" not in measures_across([RATE], [{"shape": 1.0}])


def test_the_terminal_has_the_same_cells_in_columns():
    lines = measures_as_text([SHAPE, RATE], ["ours", "theirs"], [{"shape": 2.0}, {"shape": 3.5}]).splitlines()
    assert [line.split() for line in lines] == [["ours", "theirs"], ["Shape,", "dB", "2.0", "3.5"], ["Rate", "4", "7"]]
    assert len({len(line) for line in lines}) == 1


def test_dead_latents_are_named_and_divergence_stands_where_it_was_measured():
    latent = {"low": 0.0, "high": 1.0, "mean": 0.5, "std": 0.25, "dead": False}
    figures = {"codes": 9, "largest_correlation": 0.125, "dimensions": [latent, latent | {"dead": True}]}
    table = latents_table(figures)
    assert table.count("dead") == 1
    assert "Divergence" not in table
    variational = [one | {"divergence": 0.001} for one in figures["dimensions"]]
    assert "0.001" in latents_table(figures | {"dimensions": variational})


def test_a_likeness_is_against_training_where_there_are_other_sounds():
    distance = {"train": 2.0, "generated": 5.0, "ratio": 2.5}
    names = {"train": "Training frames", "generated": "Random codes"}
    assert "2.50 ×" in likeness(distance, names, "frames")
    assert "×" not in likeness(distance | {"ratio": None}, names, "frames")
