"""Floors beside rows: tables of pages and of the terminal, and sentences of verdicts."""

import json
import operator
from collections.abc import Collection, Mapping

from markupsafe import Markup

from .measure import NONE, Measure, Sentence, formatted, measures_across
from .page import faint, joined, noted
from .report import Figures

FLOORS = {
    "silence": "silence",
    "mean": "the mean training sound",
    "class_mean": "the mean of the pitch class",
    "noise": "white noise",
    "another": "another sound of the set",
    "repeated": "its first frame repeated",
    "shifted": "the recording shifted",
    "chance": "chance",
    "random_walk": "a random walk",
    "autoregression": "a vector autoregression",
    "shuffled": "shuffled codes",
    "prior": "the prior",
}
REFERENCES = {
    "nearest": "the nearest training sound",
    "components": "principal components",
    "take": "a second take",
    "another": "other sounds of the set",
    "own": "its own codes",
}
# Headings of the terminal's columns.
SHORT = {"silence": "silence", "mean": "mean", "class_mean": "class", "noise": "noise", "another": "another"}
SHORT |= {"random_walk": "walk", "autoregression": "VAR", "shuffled": "shuffled", "own": "own"}
SHORT |= {"chance": "chance", "prior": "prior", "nearest": "nearest", "components": "PCA", "take": "take"}
NOTE = (
    "Floors are answers that know nothing of a sound: silence, means of the training sounds, white noise of their "
    "level, a random one of them, guesses. A row that is not better than its best floor by more than its deviation "
    "says so, and no verdict is drawn from it. References are no condition. Deviations are over seeds; with one seed "
    "over the test sounds, by leaving out one of ten groups of clips at a time."
)


def floors_table(rows: Mapping[str, Figures]) -> Markup:
    """Return tables of rows' figures by measure, as `compare_row` returns them, above their floors and references.

    Rows with the same floors share a table. ``rows`` are by name; nothing without any.
    """
    groups: dict[str, dict[str, Figures]] = {}
    for name, row in rows.items():
        sounds = {key: [figures["floors"], figures["references"]] for key, figures in row.items()}
        groups.setdefault(json.dumps(sounds), {})[name] = row
    tables = [_table(group, next(iter(group.values()))) for group in groups.values()]
    return joined([*tables, faint(NOTE)]) if tables else Markup()


def answers_table(floored: Figures, note: str) -> Markup:
    """Return a table of floors and references by measure, below rows that have a table of their own."""
    return joined([_table({}, floored), faint(note)])


def _table(rows: Mapping[str, Figures], first: Figures) -> Markup:
    """Return one table of rows that share their floors, those of ``first``."""
    table_rows = [
        {"name": name} | {measure: row_cell(figures) for measure, figures in row.items()} for name, row in rows.items()
    ]
    for part, names in (("floors", FLOORS), ("references", REFERENCES)):
        for key, name in names.items():
            if any(key in figures[part] for figures in first.values()):
                cells = {measure: _answer_cell(figures, part, key) for measure, figures in first.items()}
                table_rows.append({"name": _answer_name(name, first, key)} | cells)
    columns = [Measure(figures["label"], operator.itemgetter(measure)) for measure, figures in first.items()]
    return measures_across([Measure("", "name"), *columns], table_rows, kind="narrow")


def _answer_name(name: str, row: Figures, key: str) -> str:
    """Return a floor's or reference's name with the number of components."""
    return f"{next(iter(row.values()))['numbers']} {name}" if key == "components" else name


def row_cell(figures: Figures) -> str:
    """Return a row's figure with its deviation, and below it the floor that it is not better than."""
    text = _formatted(figures, figures["value"], figures["deviation"])
    floor = figures["not_better_than"]
    return text if floor is None else noted(text, f"not better than {FLOORS[floor]}")


def _answer_cell(figures: Figures, part: str, key: str) -> str:
    """Return a floor or a reference, with the deviation of a floor over draws if there is one."""
    return _formatted(figures, figures[part].get(key), figures.get("deviations", {}).get(key))


def _formatted(figures: Figures, value: float | None, value_deviation: float | None = None) -> str:
    if value is None:
        return NONE
    text = formatted(float(value), figures["form"])
    return text if value_deviation is None else f"{text} ± {formatted(float(value_deviation), figures['form'])}"


def floors_text(row: Figures) -> str:
    """Return lines for the terminal: a row for each measure, its figure, floors and references across."""
    parts = [("floors", key) for key in FLOORS] + [("references", key) for key in REFERENCES]
    parts = [(part, key) for part, key in parts if any(key in figures[part] for figures in row.values())]
    lines = [["", "network", *(SHORT[key] for _, key in parts)]]
    for figures in row.values():
        lines.append(
            [
                figures["label"],
                _formatted(figures, figures["value"]),
                *(_formatted(figures, figures[part].get(key)) for part, key in parts),
            ]
        )
    table = [f"{label:34}{''.join(f'{cell:>10}' for cell in cells)}" for label, *cells in lines]
    return "\n".join([*table, *floor_sentences(row)])


def floor_sentences(row: Figures, measures: Collection[str] | None = None) -> list[str]:
    """Return a sentence for each measure, or each of some, in which a row is not better than a floor."""
    return [
        f"{figures['label'].partition(',')[0]}: not better than {FLOORS[figures['not_better_than']]}."
        for measure, figures in row.items()
        if (measures is None or measure in measures) and figures["not_better_than"] is not None
    ]


def above_floor(figures: Figures, measure: str, sentence: Sentence) -> Sentence:
    """Return a verdict's sentence on a measure, or that the row is not better than a floor, if it is not.

    ``figures`` are those of a report.
    """
    floored = floor_sentences(figures["floors"], [measure])
    return Sentence(floored[0], False) if floored else sentence
