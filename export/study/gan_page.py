"""HTML page and pictures of the study of clip generators."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ...host.arrays import Array
from ..reports.figures.clips import spectrograms, waveforms
from ..reports.page import basis, document, faint, figure, joined, noted, players, run_link, table
from ..reports.report import WIDTH, Figures, Picture, Theme


def over_epochs(name: str, rows: Mapping[str, Array], rate: int) -> list[Picture]:
    """Draw clips [clips, samples], a row for each name."""
    told = "recordings, and clips of the same codes after the first and after the last epoch"
    return [
        replace(waveforms(rows, rate), name=f"{name}-waveforms", caption=f"Waveforms of {told}, in seconds."),
        replace(spectrograms(rows, rate), name=f"{name}-spectrograms", caption=f"Levels of mel bands of {told}."),
    ]


def losses(name: str, logged: Mapping[str, Any], epoch: int) -> Picture:
    epochs = np.array(logged["steps"]) / epoch

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        for (side, values), colour in zip(logged["sides"].items(), (theme.second, theme.first), strict=True):
            axes.plot(epochs, values, ".-", color=colour, linewidth=1.2, label=side)
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        figure.legend(loc="outside upper right", ncols=2)
        return figure

    return Picture(f"{name}-losses", "Losses of both sides on validation clips, over epochs.", draw)


def page(found: Figures, report: Figures) -> str:
    sections = {
        "Networks": _networks(found),
        "Sounds": players(found["sounds"]),
        "Pictures": joined(figure(path, caption) for path, caption in found["pictures"].items()),
    }
    return document(f"clips on {found['corpus']}", _verdict(found), _basis(report), sections, "study.json")


def _basis(report: Figures) -> str:
    return f"{basis(report)} That is of {report['run']['recipe']}; each network has its own report."


def _verdict(found: Figures) -> str:
    fallen = [network["name"] for network in found["networks"] if network["collapsed"]]
    standing = [network for network in found["networks"] if not network["collapsed"]]
    told = f"{' and '.join(fallen)} {'has' if len(fallen) == 1 else 'have'} collapsed." if fallen else ""
    if not standing:
        return told
    best = min(standing, key=lambda network: float(network["frechet_ratio"]))
    near = f"Random codes of {best['name']} come nearest to the recordings: {best['frechet_ratio']:.3g} times as far"
    return f"{near} as these are from each other. {told}".strip()


def _networks(found: Figures) -> Markup:
    judged = any(network["inception_score"] for network in found["networks"])
    header = ["Network", "Fréchet, dB²", "Nearest, dB", "Diversity, dB", "Back, dB", "Error"]
    header += ["Score", "Features", "Label"] if judged else []
    header += ["Steps", "Seconds", "Weights"]
    rows = []
    for network in found["networks"]:
        seconds = network["seconds"]
        cells: list[str] = [
            run_link(network["name"]) + (" (collapsed)" if network["collapsed"] else ""),
            _beside(network["frechet_db2"], ".0f"),
            _beside(network["nearest_db"], ".1f"),
            _beside(network["diversity_db"], ".1f"),
            _or_dash(network["log_mel_db"], ".1f"),
            _or_dash(network["relative_error"], ".2f"),
        ]
        if judged:
            cells += [_scores(network["inception_score"]), _beside(network["frechet_features"], ".1f")]
            cells.append(_or_dash(network["accuracy"], ".0%"))
        rows.append([*cells, str(network["steps"]), _or_dash(seconds, ".0f"), f"{network['parameters'] / 1e6:.2f} M"])
    note = (
        "Figures are of clips of random codes; below each stands that of recordings, cut to the network's clip length. "
        "Fréchet: distance on log-mel frames to unheard clips, below it that of as many training clips. Nearest: the "
        "median distance to the nearest training clip; where it is less than the recordings' own, some are remembered. "
        "Diversity: how far clips lie apart. Back: how far recordings lie from what is decoded of their codes; Error: "
        "its energy against theirs, sample by sample. Steps: up to the best checkpoint; Seconds: of all training. "
    )
    if judged:
        note += (
            "Score: inception score and its deviation. Features: Fréchet distance on the classifier's. Label: clips "
            "that are taken for the label that was asked for. "
        )
    return table(header, rows, len(header) - 1, "narrow") + faint(f"{note}Each name leads to its report.")


def _beside(values: list[float] | None, form: str) -> str:
    if values is None:
        return "–"
    return noted(f"{values[0]:{form}}", f"{values[1]:{form}}")


def _scores(values: list[list[float]] | None) -> str:
    if values is None:
        return "–"
    own, real = (f"{score:.2f} ± {deviation:.2f}" for score, deviation in values)
    return noted(own, real)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"
