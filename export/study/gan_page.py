"""HTML page and pictures of the study of clip generators."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ...host.arrays import Array
from ..reports.clip_figures import spectrograms, waveforms
from ..reports.measure import Measure, measures_across
from ..reports.page import basis, document, figure, joined, players, run_link
from ..reports.report import WIDTH, Figures, Picture, Theme


def over_epochs(name: str, clips_by_name: Mapping[str, Array], rate: int) -> list[Picture]:
    """Draw clips [clips, samples], a row for each name."""
    subject = "recordings, and clips of the same codes after the first and after the last epoch"
    return [
        waveforms(clips_by_name, rate, f"{name}-waveforms", f"Waveforms of {subject}, in seconds."),
        spectrograms(clips_by_name, rate, f"{name}-spectrograms", f"Levels of mel bands of {subject}."),
    ]


def losses(name: str, logged: Mapping[str, Any], epoch_steps: int) -> Picture:
    logged_epochs = np.array(logged["steps"]) / epoch_steps

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        for (side, side_losses), colour in zip(logged["sides"].items(), (theme.second, theme.first), strict=True):
            axes.plot(logged_epochs, side_losses, ".-", color=colour, linewidth=1.2, label=side)
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        figure.legend(loc="outside upper right", ncols=2)
        return figure

    return Picture(f"{name}-losses", "Losses of both sides on validation clips, over epochs.", draw)


def page(figures: Figures, report: Figures) -> str:
    sections = {
        "Networks": _networks(figures),
        "Sounds": players(figures["sounds"]),
        "Pictures": joined(figure(path, caption) for path, caption in figures["pictures"].items()),
    }
    return document(f"clips on {figures['corpus']}", _verdict(figures), _basis(report), sections, "study.json")


def _basis(report: Figures) -> str:
    return f"{basis(report)} That is of {report['run']['recipe']}; each network has its own report."


def _verdict(figures: Figures) -> str:
    collapsed_names = [network["name"] for network in figures["networks"] if network["collapsed"]]
    standing_networks = [network for network in figures["networks"] if not network["collapsed"]]
    collapse_note = (
        f"{' and '.join(collapsed_names)} {'has' if len(collapsed_names) == 1 else 'have'} collapsed."
        if collapsed_names
        else ""
    )
    if not standing_networks:
        return collapse_note
    best = min(standing_networks, key=lambda network: float(network["frechet_ratio"]))
    text = f"Random codes of {best['name']} come nearest to the recordings: {best['frechet_ratio']:.3g} times as far"
    return f"{text} as these are from each other. {collapse_note}".strip()


NETWORK = (
    Measure("Network", lambda network: run_link(network["name"]) + (" (collapsed)" if network["collapsed"] else "")),
    Measure(
        "Fréchet, dB²",
        "frechet_db2",
        ".0f",
        "distance on log-mel frames to unheard clips, below it that of as many training clips.",
    ),
    Measure(
        "Nearest, dB",
        "nearest_db",
        ".1f",
        "the median distance to the nearest training clip; where it is less than the recordings' own, some are "
        "remembered.",
    ),
    Measure("Diversity, dB", "diversity_db", ".1f", "how far clips lie apart."),
    Measure("Back, dB", "log_mel_db", ".1f", "how far recordings lie from what is decoded of their codes."),
    Measure("Error", "relative_error", ".2f", "its energy against theirs, sample by sample."),
)
JUDGED = (
    Measure("Score", "inception_score", "±.2f", "inception score and its deviation."),
    Measure("Features", "frechet_features", ".1f", "Fréchet distance on the classifier's."),
    Measure("Label", "accuracy", ".0%", "clips that are taken for the label that was asked for."),
)
TRAINING = (
    Measure("Steps", "steps", "d", "up to the best checkpoint."),
    Measure("Seconds", "seconds", ".0f", "of all training."),
    Measure("Weights", lambda network: f"{network['parameters'] / 1e6:.2f} M"),
)


def _networks(figures: Figures) -> Markup:
    judged_measures = JUDGED if any(network["inception_score"] for network in figures["networks"]) else ()
    note = (
        "Figures are of clips of random codes; below each stands that of recordings, cut to the network's clip length. "
        "Each name leads to its report."
    )
    return measures_across([*NETWORK, *judged_measures, *TRAINING], figures["networks"], note, kind="narrow")
