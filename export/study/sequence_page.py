"""HTML page of the sequence study, with losses and waveforms."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ...host.arrays import Array
from ..reports import clip_figures
from ..reports.measure import Measure, measures_across
from ..reports.page import document, figure, joined, players, run_link
from ..reports.report import WIDTH, Figures, Picture, Theme


def losses(corpus: str, networks: Sequence[Figures], targets: Sequence[float]) -> Picture:
    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        for network, colour in zip(networks, (theme.first, theme.second, theme.ink, theme.faint) * 4, strict=False):
            loss_points = np.array(network["course"], float).reshape(-1, 2)
            axes.plot(loss_points[:, 0], loss_points[:, 1], color=colour, linewidth=1.2, label=network["name"])
        for target in targets:
            axes.axhline(target, color=theme.faint, linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        axes.set_xlabel("seconds")
        axes.set_ylabel("mean square error")
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    target_text = ", ".join(f"{target:g}" for target in targets)
    return Picture(f"{corpus}-losses", f"{corpus}: losses over seconds of training; dotted: {target_text}.", draw)


def waveforms(
    corpus: str, recordings: Sequence[Array], continued: Mapping[tuple[str, bool, int], Sequence[Array]], rate: int
) -> list[Picture]:
    longest_samples, pictures = max(map(len, recordings)), []
    for seed in sorted({seed for _, _, seed in continued}):
        sounds_by_label = {
            "recording": np.stack([np.pad(sound, (0, longest_samples - len(sound))) for sound in recordings])
        }
        first_sounds = {"recording": recordings[0][None]}
        for (name, restored, run_seed), sounds in continued.items():
            if run_seed == seed:
                label = name.removeprefix("sequence-") + ("" if restored else "\nunrestored")
                sounds_by_label[label] = np.stack([sound[:longest_samples] for sound in sounds])
                first_sounds[label] = sounds[0][None]
        frames_text = f"{seed} frame{'s' if seed > 1 else ''}"
        caption = (
            f"{corpus}: recordings, and what follows from {frames_text} of each, scaling put back or not, in seconds."
        )
        pictures.append(clip_figures.waveforms(sounds_by_label, rate, f"{corpus}-from-{seed}", caption))
        if seed == 1:
            beyond_caption = f"{corpus}: the first of these, and 600 frames after its end."
            pictures.append(clip_figures.waveforms(first_sounds, rate, f"{corpus}-beyond", beyond_caption))
    return pictures


def page(figures: Figures) -> str:
    sections = {}
    for corpus in figures["corpora"]:
        pictures = joined(figure(name, caption) for name, caption in corpus["pictures"].items())
        markups = [
            _errors(corpus, figures["targets"]),
            measures_across(CONTINUED, summed(corpus["continued"]), "Medians over recordings."),
            pictures,
        ]
        sections[f"{corpus['name']}, {corpus['clips']} sequences"] = joined([*markups, players(corpus["sounds"])])
    corpus_names = " and ".join(corpus["name"] for corpus in figures["corpora"])
    basis_text = "All networks give back what they were trained on; the rows say how long they stay near it."
    return document(f"sequences on {corpus_names}", _verdict(figures), basis_text, sections, "study.json")


def _verdict(figures: Figures) -> str:
    sentences = []
    for corpus in figures["corpora"]:
        best_network = min(corpus["networks"], key=lambda network: float(network["mean_square"]))
        sentences.append(
            f"{best_network['name']} learns {corpus['name']} to an error of {best_network['mean_square']:.3g}"
        )
    return f"{', '.join(sentences)}."


def _target_time(target_index: int) -> Callable[[Figures], Any]:
    return lambda network: network["reached"][target_index]


def _errors(corpus: Figures, targets: Sequence[float]) -> Markup:
    measures = (
        Measure("Network", lambda network: run_link(network["name"], f"{corpus['name']}/runs")),
        Measure(
            "Error",
            "mean_square",
            ".4f",
            "mean square error of standardised frames, predicted from all frames before them, over the training "
            "length.",
        ),
        Measure(
            "First", "first", ".2f", "that of the first frame, predicted from a code alone and in no other figure."
        ),
        *(
            Measure(f"Seconds to {target:g}", _target_time(target_index), ".0f")
            for target_index, target in enumerate(targets)
        ),
        Measure("Seconds", "seconds", ".0f", "of training; to an error, until a batch’s loss first was as small."),
        Measure("Steps", "steps", "d", "of training; also below the seconds to an error."),
        Measure("Weights", lambda network: f"{network['parameters'] / 1e6:.1f} M"),
    )
    return measures_across(measures, corpus["networks"], kind="narrow")


def summed(rows: Sequence[Figures]) -> list[Figures]:
    """Summarize each network, scaling and seed over recordings: medians, and the largest ``rise_db``.

    ``worst`` is the recording whose onsets agree least.
    """

    def group_key(row: Figures) -> tuple[str, bool, int]:
        return row["recipe"], not row["restored"], row["seed"]

    summaries = []
    for (recipe, unrestored, seed), group in groupby(sorted(rows, key=group_key), group_key):
        group_rows = list(group)
        medians = {
            name: float(np.median([row[name] for row in group_rows])) for name in ("correlation", "onsets", "edges_db")
        }
        rises_db = [row["tail_db"][1] - row["tail_db"][0] for row in group_rows]
        tail_levels_db = [row["tail_db"][1] - row["recording_db"] for row in group_rows]
        worst_row = min(group_rows, key=lambda row: float(row["onsets"]))
        summaries.append(
            {"recipe": recipe, "restored": not unrestored, "seed": seed, **medians}
            | {"rise_db": max(rises_db), "tail_db": float(np.median(tail_levels_db))}
            | {"worst": worst_row["name"], "worst_onsets": worst_row["onsets"]}
        )
    return summaries


CONTINUED = (
    Measure("Network", "recipe"),
    Measure("Scaling", lambda row: "put back" if row["restored"] else "not put back"),
    Measure("Seed", "seed", "d", "frames that were given."),
    Measure("Envelope", "correlation", ".3f", "correlation with the recording’s, in parts of 10 ms."),
    Measure("Onsets", "onsets", ".2f", "F-measure within 30 ms."),
    Measure(
        "Worst",
        lambda row: (f"{row['worst_onsets']:.2f}", row["worst"]),
        "",
        "that of the recording where it is least.",
    ),
    Measure(
        "Edges, dB",
        "edges_db",
        "+.1f",
        "how much louder above 10 kHz it is where frames meet than inside, less what the recording is.",
    ),
    Measure(
        "Tail, dB", "tail_db", "+.0f", "the level of the last 100 of 600 frames after the end, over the recording’s."
    ),
    Measure("Rise, dB", "rise_db", "+.1f", "by how much it has risen since the first 100, at the most."),
)
