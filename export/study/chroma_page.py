"""HTML page of the chroma study, with Figures 2 to 5 of Colonel & Keene (2020)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ...host.units import PITCH_CLASSES
from ..measures.codes import COLLAPSED_NATS
from ..measures.floors import compare_row
from ..reports.floor_tables import FLOORS, answers_table, floors_table, row_cell
from ..reports.frame_figures import pitch_class_bar, square
from ..reports.measure import Measure, measures_across, minus, percent, two_digits
from ..reports.page import aside, bold, document, faint, lines, noted, paragraphs, parts_renderer
from ..reports.report import WIDTH, Figures, Picture, Theme
from .chroma_claims import OCTAVE, OCTAVES, VERDICTS, VIOLIN, RunKey, Values, floors_over_seeds, used_latents
from .chroma_corpora import LOW_HZ
from .chroma_measures import ACCURACY, CORRELATION, FILLED, MEAN_SQUARE, SCALE, Answers, TrainingCodes

Runs = Mapping[RunKey, Sequence[Figures]]

TITLES = {
    "1": "Table I",
    "2": "Table II",
    "3": "Table III",
    "4": "Table IV",
    "5": "Table V",
    "vae": "The beta-VAE",
    "beta": "The beta-VAE over beta",
    "performances": "From notes to performances",
}
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
BINS = 2049  # of the publication's frames: the error is a mean over them, the divergence a sum over latents


def page(figures: Figures, runs: Runs, pictures: Sequence[Picture]) -> str:
    render = parts_renderer(pictures)
    tables: dict[str, list[RunKey]] = {
        name: [(c, r) for c, r in run_keys] for name, run_keys in figures["tables"].items()
    }
    sections = {"Claims": _claims(figures)}
    for name, run_keys in tables.items():
        sections[TITLES[name]] = _accuracies(run_keys, runs) if name == "5" else _errors(name, run_keys, runs)
        if name == "vae":
            sections[TITLES[name]] += _posteriors(run_keys, runs) + _pitch_changes(run_keys, runs)
        if name == "beta":
            sections[TITLES[name]] += _sweep(figures["sweep"], runs) + _latents_in_order(run_keys, runs)
    for figure_number, table_name in ((2, "2"), (3, "3")):
        if table_name in tables:
            sections[f"Figure {figure_number}"] = render([f"figure-{figure_number}"]) + _embeddings(
                tables[table_name], runs
            )
    sections |= {f"Figure {n}": render([f"figure-{n}", f"figure-{n}-tuned"]) for n in (4, 5)}
    return document("Colonel & Keene (2020) on other corpora", _verdict(figures), _basis(figures), sections)


def _verdict(figures: Figures) -> str:
    claim_counts = {verdict: sum(claim["verdict"] == verdict for claim in figures["claims"]) for verdict in VERDICTS}
    held_count, tied_count, failed_count, floored_count = (claim_counts[verdict] for verdict in VERDICTS)
    opening = (
        f"Of {len(figures['claims'])} claims of the paper {held_count} held and {failed_count} did not; "
        f"{floored_count} compare networks that are not better than a floor"
    )
    return (
        f"{opening}; {tied_count} are within the deviation over seeds."
        if figures["seeds"] > 1
        else f"{opening}, with one seed."
    )


def _basis(figures: Figures) -> str:
    corpora_text = "; ".join(
        f"{name}: {corpus['seconds'] / 60:.0f} minutes, {'/'.join(str(n) for n in corpus['patches'].values())} patches"
        for name, corpus in figures["corpora"].items()
    )
    duration_text = f"for {_count(figures['epochs'], 'epoch')} " if figures["epochs"] else ""
    one_seed_note = (
        "" if figures["seeds"] > 1 else " With one seed there is no deviation, and no verdict can be within it."
    )
    agreement_text = "; ".join(_agreement(name, corpus["chroma"]) for name, corpus in figures["corpora"].items())
    left_out_sentences = "".join(f" T{line[1:]}." for line in figures["left_out"])
    return (
        f"Each network was trained {duration_text}with {_count(figures['seeds'], 'seed')} on {corpora_text} (training/"
        "validation/test). Values of the paper’s tables are lost in the copy at hand, so orderings are compared; its "
        f"times are kept.{one_seed_note}{left_out_sentences} How often the strongest chroma bin has the pitch class of "
        f"the pitch track: {agreement_text}."
    )


def _agreement(name: str, agreement: Figures) -> str:
    """Word how often chroma agrees with pitch, and below the frequency from which bins part semitones."""
    low_text = "" if agreement["low"] is None else f" ({percent(agreement['low'])} below {LOW_HZ:g} Hz)"
    return f"{name} {percent(agreement['agrees'])}{low_text}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"


def _orderings(claim: Figures) -> Markup:
    orderings = [f"{_side(pair['below'])} < {_side(pair['above'])}" for pair in claim["compared"]]
    return noted(f"{claim['figure']}:", lines(orderings))


CLAIM = (
    Measure("Verdict", "verdict"),
    Measure("Claim", lambda claim: aside(claim["claim"], claim["place"])),
    Measure("What it says must hold of", _orderings),
)


def _claims(figures: Figures) -> Markup:
    undecided_text = " ".join(figures["undecided"])
    note = f"Not decided by the tables made: {undecided_text}" if undecided_text else ""
    return measures_across(CLAIM, figures["claims"], note, texts=2)


def _side(side: Figures) -> str:
    mean_text = f"{side['mean']:.3g}"
    if side["name"] == mean_text:
        return mean_text
    deviation_text = "" if side["deviation"] is None else f" ± {side['deviation']:.1g}"
    floor_text = "" if side["not_better_than"] is None else f" (not better than {FLOORS[side['not_better_than']]})"
    return f"{side['name']} {mean_text}{deviation_text}{floor_text}"


def _errors(table_name: str, run_keys: Sequence[RunKey], runs: Runs) -> Markup:
    """Return tables of errors on frames as they are and on frames moved into one octave, each above its floors."""
    markup = Markup()
    for is_folded in (False, True):
        if chosen_keys := [run_key for run_key in run_keys if runs[run_key][0]["folded"] == is_folded]:
            markup += _errors_table(table_name, chosen_keys, runs)
            markup += faint("Frames are moved into one octave.") if is_folded else Markup()
            markup += _floors(chosen_keys, runs, MEAN_SQUARE)
    return markup


def _floors(run_keys: Sequence[RunKey], runs: Runs, *measures: str) -> Markup:
    """Return the tables of networks' figures over seeds above their floors."""
    rows = {
        f"{recipe}, {corpus}": {
            measure: row
            for measure in measures
            if (row := floors_over_seeds(runs[corpus, recipe], measure)) is not None
        }
        for corpus, recipe in run_keys
    }
    return floors_table({name: row for name, row in rows.items() if row})


def _errors_table(table_name: str, run_keys: Sequence[RunKey], runs: Runs) -> Markup:
    first_by_corpus: dict[str, RunKey] = {}
    for run_key in run_keys:
        first_by_corpus.setdefault(run_key[0], run_key)
    paper_minutes = MINUTES.get(table_name, {})

    def mean_seconds(run_key: RunKey) -> float:
        return float(np.mean([run["seconds"] for run in runs[run_key]]))

    def network_markup(run_key: RunKey) -> Markup:
        dead_count = sum(run["dead"] for run in runs[run_key])
        return _label(run_key) + (" " + bold(f"dead: {dead_count} of {len(runs[run_key])}") if dead_count else "")

    def time_ratio(run_key: RunKey) -> Markup:
        return _value([run["seconds"] / mean_seconds(first_by_corpus[run_key[0]]) for run in runs[run_key]], ".2f")

    measures = (
        Measure("Network", network_markup),
        Measure("Corpus", lambda run_key: run_key[0]),
        Measure(
            "Test MSE",
            lambda run_key: _value([SCALE * run["mean_square"] for run in runs[run_key]], ".2f"),
            "",
            "in 10⁻⁴, over all bins of all test frames, of the checkpoint that is best on the validation split; mean "
            "and deviation over seeds.",
        ),
        Measure("Time", time_ratio, "", "of training, against the corpus’s first row."),
        Measure(
            "Paper’s",
            lambda run_key: (
                paper_minutes[run_key] / paper_minutes[first_by_corpus[run_key[0]]]
                if run_key in paper_minutes
                else None
            ),
            ".2f",
            "from its minutes.",
        ),
        Measure("Minutes", lambda run_key: mean_seconds(run_key) / 60, ".1f"),
    )
    return measures_across(measures, run_keys)


def _accuracies(run_keys: Sequence[RunKey], runs: Runs) -> Markup:
    def mesh_figures(run_key: RunKey) -> list[Figures]:
        return [run["mesh"] for run in runs[run_key] if run["mesh"]]

    def overall_percent(run_key: RunKey) -> Markup | None:
        return (
            _value([100 * mesh["overall"] for mesh in mesh_figures(run_key)], ".1f") if mesh_figures(run_key) else None
        )

    def of_class(class_name: str) -> Callable[[RunKey], str]:
        return lambda run_key: _mean_percent([mesh["by_pitch_class"][class_name] for mesh in mesh_figures(run_key)])

    measures = (
        Measure("Network", lambda run_key: aside(f"{len(runs[run_key][0]['bounds'])} latents", run_key[1])),
        Measure("Corpus", lambda run_key: run_key[0]),
        Measure("Mesh", lambda run_key: str(mesh_figures(run_key)[0]["mesh"]) if mesh_figures(run_key) else "dead"),
        Measure("All", overall_percent),
        *(Measure(class_name, of_class(class_name)) for class_name in PITCH_CLASSES),
    )
    note = (
        "How often, in %, the strongest chroma bin of a decoded frame is the asked one, over a regular mesh of so many "
        "points along each latent, from 0 to 1: all rows went through the exported ONNX file. – is not among the "
        "corpus’s notes."
    )
    return measures_across(measures, run_keys, note, kind="narrow") + _floors(run_keys, runs, ACCURACY)


def _mean_percent(shares: Sequence[float | None]) -> str:
    known_shares = [share for share in shares if share is not None]
    return f"{100 * np.mean(known_shares):.0f}" if known_shares else "–"


# Figures of a variational latent: label, format, whether the larger is the better, and that of the prior.
OF_PRIOR = {
    "divergence": ("Divergence", ".3f", True, 0.0),
    "mean": ("Means", ".2f", True, 0.0),
    "variance": ("Variance", ".3f", False, 1.0),
}


def _cell_beside_prior(name: str) -> Callable[[Figures], str]:
    return lambda latent: row_cell(latent["floors"][name])


POSTERIOR = (
    Measure("First seed", lambda latent: f"latent {latent['number']}{' (collapsed)' if latent['collapsed'] else ''}"),
    *(Measure(label, _cell_beside_prior(name)) for name, (label, _, _, _) in OF_PRIOR.items()),
)


def _beside_prior(latent: Figures) -> dict[str, Figures]:
    """Return a latent's figures beside those of the prior, from which a collapsed one does not differ."""
    return {
        name: compare_row(
            {
                "label": label,
                "form": form,
                "rises": rises,
                "floors": {"prior": of_prior},
                "deviations": {"prior": COLLAPSED_NATS if name == "divergence" else 0.0},
                "references": {},
            },
            latent[name],
            None,
        )
        for name, (label, form, rises, of_prior) in OF_PRIOR.items()
    }


def _posteriors(run_keys: Sequence[RunKey], runs: Runs) -> Markup:
    markup = Markup()
    for run_key in run_keys:
        seed_posteriors = [run["posterior"] for run in runs[run_key] if run["posterior"]]
        if not seed_posteriors:
            continue
        collapsed_counts = [sum(latent["collapsed"] for latent in seed_latents) for seed_latents in seed_posteriors]
        markup += paragraphs(
            [
                _label(run_key)
                + ": "
                + _value(collapsed_counts, ".1f")
                + f" of {len(seed_posteriors[0])} latents collapsed."
            ]
        )
        latent_rows = [
            {"number": latent_index, **latent, "floors": _beside_prior(latent)}
            for latent_index, latent in enumerate(seed_posteriors[0])
        ]
        markup += measures_across(POSTERIOR, latent_rows, kind="narrow")
        markup += answers_table(latent_rows[0]["floors"], "The prior is a code that says nothing of its frame.")
    note = (
        "Divergence of the encoder’s distribution from the standard normal prior, in nats, a mean over training "
        "frames: below 0.01 a latent has collapsed onto the prior and says nothing. Means: their root mean square; the "
        "prior’s variance is 1."
    )
    return markup + faint(note) if markup else markup


def _pitch_changes(run_keys: Sequence[RunKey], runs: Runs) -> Markup:
    def of_latent(latent_index: int) -> Callable[[RunKey], str]:
        return lambda run_key: _mean_percent([run["moved"][latent_index] for run in runs[run_key]])

    latent_count = max(len(run["moved"]) for run_key in run_keys for run in runs[run_key])
    note = (
        "Of training codes, how many change their strongest pitch class somewhere as one latent alone goes through its "
        "span (1 % to 99 %) and the chroma stays."
    )
    measures = [Measure(f"latent {latent_index}", of_latent(latent_index)) for latent_index in range(latent_count)]
    return measures_across([Measure("Pitch changes, %", _label), *measures], run_keys, note, kind="narrow")


SWEEP_CLAIMS = {
    "latents that collapsed": "Some collapsed, not all",
    "root mean square of the other latents’ means, least": "Others’ means above 1",
    "variance of the other latents, largest": "Others’ variances below 0.5",
    "share of codes whose pitch class a latent changes, least of the other latents": "Any other changes the pitch",
}


def _sweep(rows: Sequence[Figures], runs: Runs) -> Markup:
    """Return beta, the latents in use, the notes that they change, and verdicts, for each row of the sweep."""

    def run_key(row: Figures) -> RunKey:
        return row["corpus"], row["recipe"]

    def used_count(row: Figures) -> Markup:
        return _value([float(len(used_latents(run))) for run in runs[run_key(row)]], ".1f")

    def change_range(row: Figures) -> str | None:
        seed_shares = [[share for _, share in used_latents(run)] for run in runs[run_key(row)]]
        ends = [(min(shares), max(shares)) for shares in seed_shares if shares]
        return " to ".join(f"{100 * end:.0f}" for end in np.mean(ends, 0)) if ends else None

    def verdict_on(claim_figure: str) -> Callable[[Figures], str | None]:
        return lambda row: next((c["verdict"] for c in row["claims"] if c["figure"] == claim_figure), None)

    measures = (
        Measure("Network", lambda row: _label(run_key(row))),
        Measure("Beta", lambda row: f"{row['divergence'] * BINS:.2g}", "", "the weight times the bins of a frame."),
        Measure(
            "In use",
            used_count,
            "",
            "latents whose divergence from the prior is above 0.01 nats; the others collapsed.",
        ),
        Measure(
            "Pitch changes, %",
            change_range,
            "",
            "of training codes, how many change their strongest pitch class as one latent in use goes through its "
            "span: the share of the least effective latent, and of the most effective one.",
        ),
        *(Measure(label, verdict_on(claim_figure)) for claim_figure, label in SWEEP_CLAIMS.items()),
    )
    note = "Verdicts are on the paper’s claims; – has no latent that they are about."
    return measures_across(measures, rows, note, texts=len(SWEEP_CLAIMS), kind="narrow")


def _latents_in_order(run_keys: Sequence[RunKey], runs: Runs) -> Markup:
    """Return the pitch changes and divergence of each latent of the first seed, from the largest divergence on."""

    def latents_by_divergence(run_key: RunKey) -> list[tuple[float, float]]:
        run = runs[run_key][0]
        divergences = [latent["divergence"] for latent in run["posterior"]]
        return sorted(zip(divergences, run["moved"], strict=True), reverse=True)

    def cell(latent_index: int) -> Callable[[RunKey], Markup]:
        def text(run_key: RunKey) -> Markup:
            divergence, moved_share = latents_by_divergence(run_key)[latent_index]
            return aside(f"{100 * moved_share:.0f}", f"{divergence:.2g} nats")

        return text

    latent_count = len(latents_by_divergence(run_keys[0]))
    measures = [Measure(str(1 + latent_index), cell(latent_index)) for latent_index in range(latent_count)]
    note = (
        "Of the first seed, latents in the order of their divergence: the training codes, in %, that change their "
        "strongest pitch class as this latent alone goes through its span, and its divergence from the prior."
    )
    return measures_across([Measure("Pitch changes, %", _label), *measures], run_keys, note, kind="narrow")


EMBEDDING_NOTE = (
    "Cells filled and correlation describe codes alone: silence is a constant code here, white noise has normal ones, "
    "and fills most. Claims about them are judged by networks whose errors are better than their floors."
)


def _embeddings(run_keys: Sequence[RunKey], runs: Runs) -> Markup:
    def bounds(latent_index: int) -> Callable[[RunKey], str]:
        return lambda run_key: " to ".join(map(two_digits, runs[run_key][0]["bounds"][latent_index]))

    measures = (
        Measure("Network", _label),
        Measure("Latent 0", bounds(0)),
        Measure("Latent 1", bounds(1)),
        Measure(
            "Correlation", lambda run_key: _value([run["latents"]["correlation"][0][1] for run in runs[run_key]], ".2f")
        ),
        Measure(
            "Filled",
            lambda run_key: _value([100 * run["filled"] for run in runs[run_key]], ".0f"),
            "",
            "cells, in %, of a grid of 32 × 32 over the latents’ spans (1 % to 99 %) in which a training code lies: a "
            "dense embedding fills most.",
        ),
    )
    markup = measures_across(measures, run_keys, "Bounds are of the first seed’s training codes.")
    floors_markup = _floors(run_keys, runs, FILLED, CORRELATION)
    return markup + (floors_markup + faint(EMBEDDING_NOTE) if floors_markup else floors_markup)


def _label(run_key: RunKey) -> Markup:
    recipe_name = run_key[1].split()[0]
    return aside(LABELS[recipe_name], run_key[1]) if recipe_name in LABELS else bold(run_key[1])


def _value(seed_figures: Sequence[float], number_format: str) -> Markup:
    """Write the mean of a figure over seeds, and its deviation."""
    values = Values("", list(seed_figures))
    mean_text = minus(f"{values.mean:{number_format}}")
    return Markup(mean_text) if values.deviation is None else aside(mean_text, f"± {values.deviation:{number_format}}")


ROWS, COLUMNS = 2, 3


@dataclass(frozen=True)
class LatentPanel:
    row: int
    column: int
    title: str
    codes: TrainingCodes


def embeddings(figure_number: int, caption: str, panels: Sequence[LatentPanel]) -> Picture:
    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 6.0), layout="constrained")
        axes_grid = figure.subplots(ROWS, COLUMNS, squeeze=False)
        for axes in axes_grid.ravel():
            axes.set_visible(False)
        for panel in panels:
            axes = axes_grid[panel.row, panel.column]
            axes.set_visible(True)
            axes.scatter(
                *panel.codes.latents.T, c=panel.codes.notes, cmap=theme.pitch_classes(), vmin=-0.5, vmax=11.5, s=2,
                alpha=0.7, linewidths=0,
            )  # fmt: skip
            axes.set_title(panel.title)
        figure.supxlabel("latent 0", fontsize=9)
        figure.supylabel("latent 1", fontsize=9)
        pitch_class_bar(figure, theme)
        return figure

    return Picture(f"figure-{figure_number}", caption, draw)


def accounting(name: str, caption: str, answers: dict[int, Answers]) -> Picture:
    strongest_by_class = {pitch_class: answer.astype(np.int64) for pitch_class, answer in answers.items()}
    return replace(square(strongest_by_class, [0.0, 0.0], [1.0, 1.0]), name=name, caption=caption)
