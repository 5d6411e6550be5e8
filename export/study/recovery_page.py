"""The recovery study's page: its tables beside the publication's."""

import functools
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ...host.arrays import Array
from ..reports.clip_figures import spectrograms, waveforms
from ..reports.measure import Measure, measures_across
from ..reports.page import document, figure, joined
from ..reports.report import Figures, Picture

ROW_LABELS = {"asked": "asked for", "network": "network", "gradient": "gradient", "hybrid": "hybrid"}
# Tables 1 and 2 of the publication: inception score, mean squared error of raw audio, SSIM, accuracy.
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "generated": {
        "asked": {"inception_score": 7.23},
        "gradient": {"inception_score": 3.96, "mse": 0.00489, "ssim": 0.9618},
        "network": {"inception_score": 7.50, "mse": 0.00196, "ssim": 0.9731},
        "hybrid": {"inception_score": 7.23, "mse": 0.00003, "ssim": 0.9979},
    },
    "recorded": {
        "asked": {"inception_score": 9.20, "accuracy": 0.9541},
        "gradient": {"inception_score": 2.20, "mse": 0.00959, "ssim": 0.953, "accuracy": 0.1717},
        "network": {"inception_score": 7.93, "mse": 0.01176, "ssim": 0.946, "accuracy": 0.7106},
        "hybrid": {"inception_score": 3.89, "mse": 0.00887, "ssim": 0.954, "accuracy": 0.3693},
    },
}
MEASURES = {
    "inception_score": ("Score", ".2f", "inception score of what the classifier takes sounds for."),
    "mse": ("MSE", ".5f", "of samples."),
    "spectrogram_mse": ("MSE, spectra", ".6f", ""),
    "ssim": ("SSIM", ".4f", "mean structural similarity of spectrograms whose largest value is 1, as for their MSE."),
    "log_mel_db": ("Log-mel, dB", ".1f", ""),
    "accuracy": ("Digit", ".1%", "sounds taken for the digit that they are."),
    "share": ("Of its own", ".1%", "how many these are of those that are so taken as they are asked for."),
    "found_again": ("Code", ".0%", "codes whose correlation with the true ones is .99 or more."),
    "seconds": ("Seconds", ".2f", "of one sound, all of a seed's searched in one batch."),
}
TITLES = {"generated": "Table 1: generated sounds", "recorded": "Table 2: recordings"}


def pictures(name: str, subject: str, sounds_by_row: Mapping[str, Array], rate: int) -> list[Picture]:
    sounds_by_label = {label: sounds_by_row[row] for row, label in ROW_LABELS.items()}
    caption = (
        f"{subject[0].upper()}{subject[1:]} above; below, what came of their codes by network, gradient and hybrid"
    )
    return [
        waveforms(sounds_by_label, rate, f"{name}-waveforms", f"{caption}: waveforms, in seconds."),
        spectrograms(sounds_by_label, rate, f"{name}-spectrograms", f"{caption}: levels of mel bands."),
    ]


def page(figures: Figures) -> str:
    sections = {TITLES[name]: _table_of_rows(name, rows, figures["rows"]) for name, rows in figures["tables"].items()}
    sections["Examples"] = joined(figure(path, caption) for path, caption in figures["pictures"].items())
    return document(f"recovery on {figures['corpus']}", _verdict(figures), _basis(figures), sections, "study.json")


def _verdict(figures: Figures) -> str:
    figures_by_row = figures["tables"]["recorded"]
    network_figures, our_figures = figures_by_row["network"], figures_by_row["perceptual"]
    error_ratio = our_figures["spectrogram_mse"][0] / network_figures["spectrogram_mse"][0]
    opening = f"Of recordings the network keeps {network_figures['accuracy'][0]:.0%} of the digits"
    return f"{opening}, our refinement {our_figures['accuracy'][0]:.0%} at {error_ratio:.2f} of its error."


def _basis(figures: Figures) -> str:
    steps_text = " and ".join(f"{name} for {step_count} steps" for name, step_count in figures["steps"].items())
    training_text = f"networks were trained once, {steps_text}" if steps_text else "nothing was trained for it"
    return (
        f"{figures['sounds']} sounds a table with each of {figures['seeds']} seeds; {training_text}. "
        "The publication has speech commands at 16 kHz (SC09), here are the digits of the corpus."
    )


def _table_of_rows(name: str, figures_by_row: Mapping[str, Figures], labels: Mapping[str, str]) -> Markup:
    def measured_and_published(row: str, key: str) -> Any:
        measured_figure, published_figure = figures_by_row[row].get(key), PUBLISHED[name].get(row, {}).get(key)
        if row == "asked" and key not in ("inception_score", "accuracy"):
            measured_figure = None
        return measured_figure if published_figure is None else (measured_figure, published_figure)

    measures = [
        Measure(label, functools.partial(measured_and_published, key=key), f"±{number_format}", explanation)
        for key, (label, number_format, explanation) in MEASURES.items()
        if any(key in row for row in figures_by_row.values())
    ]
    note = "Means over seeds and their deviations; below in grey, the publication's."
    return measures_across([Measure("", labels.__getitem__), *measures], list(labels), note, kind="narrow")
