"""HTML page of the chroma study, with Figures 2 to 5 of Colonel & Keene (2020)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ...host.units import PITCH_CLASSES
from ..reports.figures.frames import pitch_class_bar, square
from ..reports.measure import Measure, measures_across
from ..reports.page import aside, bold, document, faint, lines, noted, paragraphs, picture_renderer, table
from ..reports.report import WIDTH, Figures, Picture, Theme
from ..reports.verdict import minus, two_digits
from .chroma_measures import OCTAVE, OCTAVES, VERDICTS, VIOLIN, Answers, RunKey, TrainingCodes, Values

Runs = Mapping[RunKey, Sequence[Figures]]

TITLES = {"1": "Table I", "2": "Table II", "3": "Table III", "4": "Table IV", "5": "Table V", "vae": "The beta-VAE"}
LABELS = {
    "chroma-8-lrelu-none": "nothing appended",
    "chroma-8-lrelu-difference": "first-order difference",
    "chroma-8-lrelu": "one-hot chroma",
    "chroma-2-lrelu-noskip": "LReLU, no skip",
    "chroma-2-lrelu": "LReLU, skip",
    "chroma-2-noskip": "sigmoid, no skip",
    "chroma-2": "sigmoid, skip",
    "chroma-3-noskip": "3 latents, no skip",
    "chroma-3": "3 latents, skip",
    "chroma-8": "8 latents, skip",
    "chroma-8-vae-noskip": "beta-VAE, not conditioned",
    "chroma-8-vae": "beta-VAE, chroma",
}
# Training minutes in the paper: the ratios of Table II are all 1.
MINUTES: dict[str, dict[RunKey, float]] = {
    "1": {
        (OCTAVES, "chroma-8-lrelu-none"): 35,
        (OCTAVES, "chroma-8-lrelu-difference"): 44,
        (OCTAVES, "chroma-8-lrelu"): 37,
    },
    "2": {(OCTAVE, name): 8 for name in ("chroma-2-lrelu-noskip", "chroma-2-lrelu", "chroma-2-noskip", "chroma-2")},
    "3": {
        (VIOLIN, "chroma-2-lrelu-noskip"): 41,
        (VIOLIN, "chroma-2-lrelu"): 58,
        (VIOLIN, "chroma-2-noskip"): 43,
        (VIOLIN, "chroma-2"): 43,
    },
    "4": {
        (OCTAVE, "chroma-3-noskip"): 8,
        (OCTAVE, "chroma-3"): 8,
        (VIOLIN, "chroma-3-noskip"): 44,
        (VIOLIN, "chroma-3"): 45,
    },
}
SCALE = 1e4  # of errors in tables


def page(figures: Figures, runs: Runs, pictures: Sequence[Picture]) -> str:
    render = picture_renderer(pictures)
    tables: dict[str, list[RunKey]] = {name: [(c, r) for c, r in rows] for name, rows in figures["tables"].items()}
    sections = {"Claims": _claims(figures)}
    for name, rows in tables.items():
        sections[TITLES[name]] = _accuracies(rows, runs) if name == "5" else _errors(name, rows, runs)
        if name == "vae":
            sections[TITLES[name]] += _posteriors(rows, runs) + _pitch_changes(rows, runs)
    for number, table_name in ((2, "2"), (3, "3")):
        if table_name in tables:
            sections[f"Figure {number}"] = render(f"figure-{number}") + _embeddings(tables[table_name], runs)
    sections |= {f"Figure {n}": render(f"figure-{n}", f"figure-{n}-tuned") for n in (4, 5)}
    return document("Colonel & Keene (2020) on other corpora", _verdict(figures), _basis(figures), sections)


def _verdict(figures: Figures) -> str:
    counts = {verdict: sum(claim["verdict"] == verdict for claim in figures["claims"]) for verdict in VERDICTS}
    holds, ties, failures = (counts[verdict] for verdict in VERDICTS)
    text = f"Of {len(figures['claims'])} claims of the paper {holds} held and {failures} did not"
    return f"{text}; {ties} are within the deviation over seeds." if figures["seeds"] > 1 else f"{text}, with one seed."


def _basis(figures: Figures) -> str:
    corpora = "; ".join(
        f"{name}: {corpus['seconds'] / 60:.0f} minutes, {'/'.join(str(n) for n in corpus['patches'].values())} patches"
        for name, corpus in figures["corpora"].items()
    )
    long = f"for {_count(figures['epochs'], 'epoch')} " if figures["epochs"] else ""
    once = "" if figures["seeds"] > 1 else " With one seed there is no deviation, and no verdict can be within it."
    left_out = "".join(f" T{line[1:]}." for line in figures["left_out"])
    return (
        f"Each network was trained {long}with {_count(figures['seeds'], 'seed')} on {corpora} (training/"
        "validation/test). Values of the paper’s tables are lost in the copy at hand, so orderings are compared; its "
        f"times are kept.{once}{left_out}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"


def _claims(figures: Figures) -> Markup:
    rows = []
    for claim in figures["claims"]:
        compared = lines([f"{_side(pair['below'])} < {_side(pair['above'])}" for pair in claim["compared"]])
        rows.append([claim["verdict"], aside(claim["claim"], claim["place"]), noted(f"{claim['figure']}:", compared)])
    text = table(["Verdict", "Claim", "What it says must hold of"], rows, 0)
    if figures["undecided"]:
        text += faint("Not decided by the tables made: " + " ".join(figures["undecided"]))
    return text


def _side(side: Figures) -> str:
    value = f"{side['mean']:.3g}"
    if side["name"] == value:
        return value
    deviation = "" if side["deviation"] is None else f" ± {side['deviation']:.1g}"
    return f"{side['name']} {value}{deviation}"


def _errors(name: str, rows: Sequence[RunKey], runs: Runs) -> Markup:
    first: dict[str, RunKey] = {}
    for row in rows:
        first.setdefault(row[0], row)
    minutes = MINUTES.get(name, {})

    def seconds(row: RunKey) -> float:
        return float(np.mean([run["seconds"] for run in runs[row]]))

    def network(row: RunKey) -> Markup:
        dead = sum(run["dead"] for run in runs[row])
        return _label(row) + (" " + bold(f"dead: {dead} of {len(runs[row])}") if dead else "")

    def ratios(row: RunKey) -> Markup:
        return _value([run["seconds"] / seconds(first[row[0]]) for run in runs[row]], ".2f")

    measures = (
        Measure("Network", network),
        Measure("Corpus", lambda row: row[0]),
        Measure(
            "Test MSE",
            lambda row: _value([SCALE * run["mean_square"] for run in runs[row]], ".2f"),
            "",
            "in 10⁻⁴, over all bins of all test frames, of the checkpoint that is best on the validation split; mean "
            "and deviation over seeds.",
        ),
        Measure("Time", ratios, "", "of training, against the corpus’s first row."),
        Measure(
            "Paper’s",
            lambda row: minutes[row] / minutes[first[row[0]]] if row in minutes else None,
            ".2f",
            "from its minutes.",
        ),
        Measure("Minutes", lambda row: seconds(row) / 60, ".1f"),
    )
    note = "Test frames of tuned recipes are moved into one octave, so their errors compare only roughly."
    return measures_across(measures, rows, note)


def _accuracies(rows: Sequence[RunKey], runs: Runs) -> Markup:
    def meshes(row: RunKey) -> list[Figures]:
        return [run["mesh"] for run in runs[row] if run["mesh"]]

    def overall(row: RunKey) -> Markup | None:
        return _value([100 * mesh["overall"] for mesh in meshes(row)], ".1f") if meshes(row) else None

    def of_class(key: str) -> Callable[[RunKey], str]:
        return lambda row: _mean_percent([mesh["by_pitch_class"][key] for mesh in meshes(row)])

    measures = (
        Measure("Network", lambda row: aside(f"{len(runs[row][0]['bounds'])} latents", row[1])),
        Measure("Corpus", lambda row: row[0]),
        Measure("Mesh", lambda row: str(meshes(row)[0]["mesh"]) if meshes(row) else "dead"),
        Measure("All", overall),
        *(Measure(key, of_class(key)) for key in PITCH_CLASSES),
    )
    note = (
        "How often, in %, the strongest chroma bin of a decoded frame is the asked one, over a regular mesh of so many "
        "points along each latent, from 0 to 1: all rows went through the exported ONNX file. – is not among the "
        "corpus’s notes."
    )
    return measures_across(measures, rows, note, kind="narrow")


def _mean_percent(shares: Sequence[float | None]) -> str:
    known_shares = [share for share in shares if share is not None]
    return f"{100 * np.mean(known_shares):.0f}" if known_shares else "–"


POSTERIOR = (
    Measure("First seed", lambda latent: f"latent {latent['number']}{' (collapsed)' if latent['collapsed'] else ''}"),
    Measure("Divergence", "divergence", ".3f"),
    Measure("Means", "mean", ".2f"),
    Measure("Variance", "variance", ".3f"),
)


def _posteriors(rows: Sequence[RunKey], runs: Runs) -> Markup:
    text = Markup()
    for row in rows:
        seeds = [run["posterior"] for run in runs[row] if run["posterior"]]
        if not seeds:
            continue
        counts = [sum(latent["collapsed"] for latent in seed) for seed in seeds]
        text += paragraphs([_label(row) + ": " + _value(counts, ".1f") + f" of {len(seeds[0])} latents collapsed."])
        latents = [{"number": number, **latent} for number, latent in enumerate(seeds[0])]
        text += measures_across(POSTERIOR, latents, kind="narrow")
    note = (
        "Divergence of the encoder’s distribution from the standard normal prior, in nats, a mean over training "
        "frames: below 0.01 a latent has collapsed onto the prior and says nothing. Means: their root mean square; the "
        "prior’s variance is 1."
    )
    return text + faint(note) if text else text


def _pitch_changes(rows: Sequence[RunKey], runs: Runs) -> Markup:
    def of_latent(number: int) -> Callable[[RunKey], str]:
        return lambda row: _mean_percent([run["moved"][number] for run in runs[row]])

    latents = max(len(run["moved"]) for row in rows for run in runs[row])
    note = (
        "Of training codes, how many change their strongest pitch class somewhere as one latent alone goes through its "
        "span (1 % to 99 %) and the chroma stays."
    )
    measures = [Measure(f"latent {number}", of_latent(number)) for number in range(latents)]
    return measures_across([Measure("Pitch changes, %", _label), *measures], rows, note, kind="narrow")


def _embeddings(rows: Sequence[RunKey], runs: Runs) -> Markup:
    def bounds(number: int) -> Callable[[RunKey], str]:
        return lambda row: " to ".join(map(two_digits, runs[row][0]["bounds"][number]))

    measures = (
        Measure("Network", _label),
        Measure("Latent 0", bounds(0)),
        Measure("Latent 1", bounds(1)),
        Measure("Correlation", lambda row: _value([run["latents"]["correlation"][0][1] for run in runs[row]], ".2f")),
        Measure(
            "Filled",
            lambda row: _value([100 * run["filled"] for run in runs[row]], ".0f"),
            "",
            "cells, in %, of a grid of 32 × 32 over the latents’ spans (1 % to 99 %) in which a training code lies: a "
            "dense embedding fills most.",
        ),
    )
    return measures_across(measures, rows, "Bounds are of the first seed’s training codes.")


def _label(row: RunKey) -> Markup:
    return aside(LABELS[row[1]], row[1]) if row[1] in LABELS else bold(row[1])


def _value(seeds: Sequence[float], digits: str) -> Markup:
    values = Values("", list(seeds))
    mean = minus(f"{values.mean:{digits}}")
    return Markup(mean) if values.deviation is None else aside(mean, f"± {values.deviation:{digits}}")


ROWS, COLUMNS = 2, 3


@dataclass(frozen=True)
class LatentPanel:
    row: int
    column: int
    title: str
    codes: TrainingCodes


def embeddings(number: int, caption: str, panels: Sequence[LatentPanel]) -> Picture:
    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 6.0), layout="constrained")
        grid = figure.subplots(ROWS, COLUMNS, squeeze=False)
        for axes in grid.ravel():
            axes.set_visible(False)
        for panel in panels:
            axes = grid[panel.row, panel.column]
            axes.set_visible(True)
            axes.scatter(
                *panel.codes.latents.T, c=panel.codes.notes, cmap=theme.pitch_classes(), vmin=-0.5, vmax=11.5, s=2,
                alpha=0.7, linewidths=0,
            )  # fmt: skip
            axes.set_title(panel.title)
        figure.supxlabel("latent 0", fontsize=9)
        figure.supylabel("latent 1", fontsize=9)
        pitch_class_bar(figure, list(grid.ravel()), theme)
        return figure

    return Picture(f"figure-{number}", caption, draw)


def accounting(name: str, caption: str, answers: dict[int, Answers]) -> Picture:
    classes = {pitch_class: answer.astype(np.int64) for pitch_class, answer in answers.items()}
    return replace(square(classes, [0.0, 0.0], [1.0, 1.0]), name=name, caption=caption)
