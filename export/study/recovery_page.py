"""The recovery study's page: its tables beside the publication's."""

from collections.abc import Mapping
from dataclasses import replace

from markupsafe import Markup

from ...host.arrays import Array
from ..reports.figures.clips import spectrograms, waveforms
from ..reports.page import document, faint, figure, joined, noted, table
from ..reports.report import Figures, Picture

DRAWN = {"asked": "asked for", "network": "network", "gradient": "gradient", "hybrid": "hybrid"}
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
COLUMNS = {
    "inception_score": ("Score", ".2f"),
    "mse": ("MSE", ".5f"),
    "spectrogram_mse": ("MSE, spectra", ".6f"),
    "ssim": ("SSIM", ".4f"),
    "log_mel_db": ("Log-mel, dB", ".1f"),
    "accuracy": ("Digit", ".1%"),
    "share": ("Of its own", ".1%"),
    "found_again": ("Code", ".0%"),
    "seconds": ("Seconds", ".2f"),
}
TITLES = {"generated": "Table 1: generated sounds", "recorded": "Table 2: recordings"}


def pictures(name: str, what: str, rows: Mapping[str, Array], rate: int) -> list[Picture]:
    shown = {told: rows[row] for row, told in DRAWN.items()}
    caption = f"{what[0].upper()}{what[1:]} above; below, what came of their codes by network, gradient and hybrid"
    return [
        replace(waveforms(shown, rate), name=f"{name}-waveforms", caption=f"{caption}: waveforms, in seconds."),
        replace(spectrograms(shown, rate), name=f"{name}-spectrograms", caption=f"{caption}: levels of mel bands."),
    ]


def page(found: Figures) -> str:
    sections = {TITLES[name]: _table_of_rows(name, rows, found["rows"]) for name, rows in found["tables"].items()}
    sections["Examples"] = joined(figure(path, caption) for path, caption in found["pictures"].items())
    return document(f"recovery on {found['corpus']}", _verdict(found), _basis(found), sections, "study.json")


def _verdict(found: Figures) -> str:
    rows = found["tables"]["recorded"]
    network, ours = rows["network"], rows["perceptual"]
    share = ours["spectrogram_mse"][0] / network["spectrogram_mse"][0]
    heard = f"Of recordings the network keeps {network['accuracy'][0]:.0%} of the digits"
    return f"{heard}, our refinement {ours['accuracy'][0]:.0%} at {share:.2f} of its error."


def _basis(found: Figures) -> str:
    steps = " and ".join(f"{name} for {count} steps" for name, count in found["steps"].items())
    trained = f"networks were trained once, {steps}" if steps else "nothing was trained for it"
    return (
        f"{found['sounds']} sounds a table with each of {found['seeds']} seeds; {trained}. "
        "The publication has speech commands at 16 kHz (SC09), here are the digits of the corpus."
    )


def _table_of_rows(name: str, rows: Mapping[str, Figures], told: Mapping[str, str]) -> Markup:
    columns = [key for key in COLUMNS if any(key in row for row in rows.values())]
    header = ["", *(COLUMNS[key][0] for key in columns)]
    body = []
    for row, words in told.items():
        cells = [words]
        for key in columns:
            own, form = rows[row].get(key), COLUMNS[key][1]
            there = PUBLISHED[name].get(row, {}).get(key)
            if row == "asked" and key not in ("inception_score", "accuracy"):
                own = None
            cell = "–" if own is None else f"{own[0]:{form}} ± {own[1]:{form}}"
            cells.append(cell if there is None else noted(cell, f"{there:{form}}"))
        body.append(cells)
    note = (
        "Means over seeds and their deviations; below in grey, the publication's. Score: inception score of what the "
        "classifier takes sounds for. MSE: of samples, and of spectrograms whose largest value is 1. SSIM: mean "
        "structural similarity of these. Digit: sounds taken for the digit that they are, and how many these are of "
        "those that are so taken as they are asked for. Code: codes whose correlation with the true ones is "
        ".99 or more. Seconds: of one sound, all of a seed's searched in one batch."
    )
    return table(header, body, len(columns), "narrow") + faint(note)
