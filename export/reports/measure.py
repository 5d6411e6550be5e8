"""Measures as data: labels, formats, meanings and bounds; the tables, sentences and verdicts that reports make of them.

Verdicts are sentences of reports and of `make`; bad news is also a shortcoming.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from ...host.arrays import Doubles
from ...train.metrics.clips import frechet
from .page import faint, noted, table

MEANING = "What it says"
NONE = "–"
PERCENT = ("percent", "bare percent")


def percent(share: float) -> str:
    """Format a share; 100 % only if exactly 1."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def minus(text: str) -> str:
    """Replace hyphens by minus signs."""
    return text.replace("-", "−")


def two_digits(number: float) -> str:
    """Format with two digits, never −0.00."""
    return minus(f"{number:.2f}".replace("-0.00", "0.00"))


Figures = dict[str, Any]

ALIKE = 1.5  # times the distance between training and unheard windows; random codes up to it are alike
NOTHING = 1.0  # relative error of always answering the mean
SHORT_SECONDS = 0.5  # of an event: drums and words are shorter, held notes longer
LEAST_PITCHED = 0.8  # minimum pitched share of the sound: leaving out more is noticeable
CAME_BACK_DB = 6.0  # median of clips: five minutes reach 4 to 5, another recording of a spoken word is 6.4 away


class Verdict(NamedTuple):
    text: str
    shortcomings: list[str]


class Sentence(NamedTuple):
    text: str
    good: bool = True


def verdict_of(sentences: Sequence[Sentence], more: Sequence[str] = (), worst: Sequence[str] = ()) -> Verdict:
    """Join sentences to a verdict; its shortcomings are the worst, bad sentences, and more."""
    return Verdict(
        " ".join(sentence.text for sentence in sentences),
        [*worst, *(sentence.text for sentence in sentences if not sentence.good), *more],
    )


def good_news(figures: Figures) -> str:
    """Return a verdict without its bad sentences."""
    text = figures["verdict"]
    for shortcoming in figures["shortcomings"]:
        text = text.replace(shortcoming, "")
    return " ".join(text.split())


def learned(error: float, explanation: str) -> list[str]:
    """Return the shortcoming of a network that is no better than the mean, if it is."""
    if error < NOTHING:
        return []
    return [f"It has learned nothing: {explanation} (relative error {error:.2f}). Train longer, or give more sounds."]


def unlike(figures: Figures) -> list[str]:
    """Return the shortcoming of random codes that sound unlike the recordings, if they do."""
    distance_ratio = figures["spectral_distance"]["ratio"]
    return [] if sounds_alike(distance_ratio) else [likeness_sentence(distance_ratio).text]


def left_out(figures: Figures) -> list[str]:
    """Return the shortcoming of sound without pitch, if there is much."""
    unpitched_share = 1 - figures["recordings"]["pitched"]
    return (
        [f"What has no pitch is left out: {percent(unpitched_share)} of the sound."]
        if unpitched_share > 1 - LEAST_PITCHED
        else []
    )


def short_events(figures: Figures, explanation: str) -> list[str]:
    """Return the shortcoming of recordings whose sounds are too short, if they are."""
    event_seconds = figures["recordings"]["event_seconds"]
    if event_seconds >= SHORT_SECONDS:
        return []
    return [f"Hits and words are lost: the recordings' sounds last {event_seconds:.2f} s each, and {explanation}."]


def alive(figures: Figures) -> bool:
    return not all(dimension["dead"] for dimension in figures["latents"]["dimensions"])


def dead(figures: Figures) -> Sentence:
    has_divergence = "divergence" in figures["latents"]["dimensions"][0]
    remedy = "a smaller loss.divergence" if has_divergence else "another training.seed or learning rate"
    return Sentence(
        f"Its knobs do nothing: every sound gets the same code. Train longer, or again with {remedy}.", False
    )


def knobs_in_use(figures: Figures) -> Sentence:
    """Return a sentence on the knobs that change the sound."""
    dimensions = figures["latents"]["dimensions"]
    dead_latents = [str(i) for i, dimension in enumerate(dimensions) if dimension["dead"]]
    latent_count = len(dimensions)
    if dead_latents:
        return Sentence(
            f"{len(dead_latents)} of {latent_count} knobs do nothing (latent {', '.join(dead_latents)}).", False
        )
    return Sentence(
        {1: "The knob is in use.", 2: "Both knobs are in use."}.get(
            latent_count, f"All {latent_count} knobs are in use."
        )
    )


def sounds_alike(ratio: float | None) -> bool:
    return ratio is None or ratio <= ALIKE


def likeness_sentence(ratio: float | None, faults: Sequence[str] = ()) -> Sentence:
    faults_clause = f"; what it makes is {' and '.join(faults)}" if faults else ""
    is_good = sounds_alike(ratio) and not faults
    if ratio is None:
        return Sentence(f"There are no other sounds to compare with{faults_clause}.", is_good)
    verb = "sound" if sounds_alike(ratio) else "do not sound"
    distance_text = f"{ratio:.1f} times as far from unheard ones as training’s"
    return Sentence(f"Random codes {verb} like the recordings ({distance_text}){faults_clause}.", is_good)


@dataclass(frozen=True)
class Measure:
    """A figure of reports.

    Args:
        label: with its unit after a comma.
        value: a path of keys in nested figures, with dots, or a function of them.
        form: of numbers, as in format strings, or a function of them; ``percent``: shares, with or without the sign;
            ``±``: `formatted`.
        meaning: a sentence.
        least, most: the bounds of a good value.
    """

    label: str
    value: str | Callable[[Any], Any]
    form: str | Callable[[Any], str] = ""
    meaning: str = ""
    least: float = -math.inf
    most: float = math.inf

    def read(self, figures: Any) -> Any:
        return self.value(figures) if callable(self.value) else figure_at(figures, self.value)

    def cell(self, figures: Any) -> str:
        """Return the value in the measure's format, and below it the second of a pair, a spread or an interval."""
        return formatted(self.read(figures), self.form)

    def sentence(self, value: float, text: str, remedy: str = "") -> Sentence:
        """Return a verdict's sentence on a value, which fills the braces of ``text``; bad ones end with the remedy."""
        is_good = self.least <= value <= self.most
        return Sentence(f"{text.format(value)}{'' if is_good else remedy}.", is_good)


def figure_at(figures: Any, path: str) -> Any:
    """Return the figure at a path of keys; None where there are none."""
    for key in path.split("."):
        figures = None if figures is None else figures[key]
    return figures


def formatted(value: Any, form: str | Callable[[Any], str]) -> str:
    """Return a figure in a format; below it the second of a pair, or the spread or interval of a dictionary.

    With ``±`` before the format, a pair of numbers is a mean and a deviation.
    """
    if value is None:
        return NONE
    if callable(form):
        return form(value)
    match value:
        case str():
            return value
        case (float(mean), float(deviation)) if form.startswith("±"):
            return f"{formatted(mean, form)} ± {formatted(deviation, form)}"
        case (main, second):
            return noted(formatted(main, form), formatted(second, form))
        case {"value": main, "mean": mean, "deviation": deviation}:  # over clips
            return noted(formatted(main, form), f"{formatted(mean, form)} ± {formatted(deviation, form)}")
        case {"value": main, "low": low, "high": high}:
            return noted(formatted(main, form), f"{formatted(low, form)} to {formatted(high, form)}")
    if form in PERCENT:
        return percent(value).removesuffix(" %" if form == "bare percent" else "")
    return minus(f"{value:{form.removeprefix('±')}}")


def measures_down(measures: Sequence[Measure], columns: Mapping[str, Any], note: str = "") -> Markup:
    """Return a table with a row for each measure, and a column for the figures under each heading."""
    has_meanings = any(measure.meaning for measure in measures)
    table_rows = [
        [measure.label, *map(measure.cell, columns.values()), *[measure.meaning] * has_meanings] for measure in measures
    ]
    table_html = table(
        ["", *columns, *[MEANING] * has_meanings], table_rows, len(columns), "told" if has_meanings else ""
    )
    return table_html + faint(note) if note else table_html


def measures_across(
    measures: Sequence[Measure], rows: Sequence[Any], note: str = "", *, texts: int = 0, kind: str = ""
) -> Markup:
    """Return a table with a column for each measure, and a row for each figures; a note has the meanings.

    The first measure is the row's name; the last ``texts`` are no numbers.
    """
    table_cells = [[measure.cell(row_figures) for measure in measures] for row_figures in rows]
    meaning_texts = [f"{measure.label.partition(',')[0]}: {measure.meaning}" for measure in measures if measure.meaning]
    table_html = table([measure.label for measure in measures], table_cells, len(measures) - 1 - texts, kind)
    return table_html + faint(" ".join([*meaning_texts, note]).strip()) if note or meaning_texts else table_html


def measures_as_text(measures: Sequence[Measure], headings: Sequence[str], columns: Sequence[Any]) -> str:
    """Return lines for the terminal: a row for each measure, a column for each figures."""
    table_rows = [["", *headings], *([measure.label, *map(measure.cell, columns)] for measure in measures)]
    return "\n".join(f"{label:34}{''.join(f'{cell:>10}' for cell in cells)}" for label, *cells in table_rows)


LATENT = (
    Measure("Latent", "number"),
    Measure("Low (1 %)", "low", ".3f"),
    Measure("High (99 %)", "high", ".3f"),
    Measure("Mean", "mean", ".3f"),
    Measure("Deviation", "std", ".3f"),
)
DIVERGENCE = Measure(
    "Divergence",
    "divergence",
    ".3f",
    "from the standard normal distribution, in nats; near 0 the latent carries nothing.",
)
DEAD = Measure("", lambda latent: "dead" if latent["dead"] else "")


def latents_table(latents: Mapping[str, Any], frames: str = "frames", more: Sequence[Measure] = ()) -> Markup:
    """Return the spans of training codes of ``frames``, ``more`` measures of each latent, and those that are dead."""
    latent_rows = [
        {"number": str(latent_index), **dimension} for latent_index, dimension in enumerate(latents["dimensions"])
    ]
    if "divergence" in latent_rows[0]:
        more = [*more, DIVERGENCE]
    table_note = (
        f"Codes of {latents['codes']} training {frames}. A knob spans from low to high. Largest correlation of two: "
        f"{latents['largest_correlation']:.2f}."
    )
    return measures_across([*LATENT, *more, DEAD], latent_rows, table_note, texts=1)


def set_distances(levels_by_set: Mapping[str, Doubles], test_levels: Doubles, is_unseen: bool) -> dict[str, Any]:
    """Return Fréchet distances between levels of sets, [sounds, bands] each, and of the split.

    ``ratio`` is that of random codes to training's; None unless the split is unseen.
    """
    distances: dict[str, Any] = {set_name: frechet(levels, test_levels) for set_name, levels in levels_by_set.items()}
    distances["ratio"] = distances["generated"] / distances["train"] if is_unseen and distances["train"] else None
    return distances


def likeness(distance: Mapping[str, Any], names: Mapping[str, str], pieces: str) -> Markup:
    """Return a table of Fréchet distances between sets and the split.

    ``names`` are labels in row order. ``ratio`` is None without sounds to compare with.
    """
    training_distance = distance["train"] if distance["ratio"] is not None else None
    measures = (
        Measure("", lambda name: names[name]),
        Measure("Distance", lambda name: distance[name], ".0f"),
        Measure(
            "Against training",
            lambda name: f"{distance[name] / training_distance:.2f} ×" if training_distance else None,
        ),
    )
    table_note = (
        "Fréchet distance on levels of 40 mel bands, in dB², to the sounds of the split: 0 if they were spread alike. "
        f"Random codes are taken for the recordings up to {ALIKE:g} times what training {pieces} have."
    )
    return measures_across(measures, list(names), table_note)
