"""HTML report page of a chroma run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from ....host.units import PITCH_CLASSES
from ...fidelity import pages
from ...knobs import pages as knobs
from ...reports.number_format import minus, percent
from ...reports.page import faint, likeness, listening, measure_cell, paragraphs, pressed, report_page, shown, table
from ...reports.picture import Picture
from ...reports.report import Figures

MEASURES = {
    "mean_square": ("Mean square error", "The publication’s measure, over all bins of frames whose maximum is 1."),
    "relative_error": (
        "Relative error",
        "Squared error against that of always answering the mean spectrum of the pitch class: 1 has learned nothing.",
    ),
    "spectral_convergence_db": (
        "Spectral convergence, dB",
        "Energy of the error against that of the sound; every −6 dB halves the error.",
    ),
    "log_spectral_distance_db": (
        "Log-spectral distance, dB",
        "How far levels are off on average, over all bins down to −80 dB: quiet partials and noise count as well.",
    ),
}

SETS = {
    "train": "Training frames",
    "reconstruction": "Decoded frames of the split",
    "generated": "Random codes of the knobs’ spans, on the keys of the training frames above",
}


def page(
    found: Figures,
    pictures: Sequence[Picture],
    instrument: Path | None = None,
    notes: Mapping[str, str] = MappingProxyType({}),
    heard: str | None = None,
) -> str:
    of, compared = shown(pictures), "notes" in found
    listen = listening(heard, found["sounds"])
    return report_page(
        found,
        {
            "The instrument": listen["The instrument"],
            "Notes beside recordings": pages.notes_section(found["notes"], notes, of) if compared else "",
            "The network": listen["The network"] + of("spectrogram"),
        },
        {
            "Notes beside recordings": pages.figures_section(found["notes"]) if compared else "",
            "Keys": _keys(found) + of("keys", "square"),
            "Knobs": knobs.section(found["knobs"]) + pressed(of, instrument),
        },
        {
            "Sound": _sound(found) + of("reconstructions") + likeness(found["spectral_distance"], SETS, "frames"),
            "Latents": latents(found) + of("histograms", "correlation"),
            "Training": of("loss"),
        },
    )


def _sound(found: Figures) -> Markup:
    columns = {"same_key": "Same key", "another_key": "Another key"}
    names = [name for name in columns if name in found["reconstruction"]]
    rows = []
    for measure, (label, meaning) in MEASURES.items():
        cells = [found["reconstruction"][name][measure] for name in names]
        rows.append([label, *(measure_cell(cell, measure) for cell in cells), meaning])
    note = "Below each figure: mean ± standard deviation of the clips’ own."
    if len(names) > 1:
        note += " Another key: the sound is encoded on its own key and must come out on another one."
    header = ["", *(columns[name] for name in names), "What it says"]
    return table(header, rows, len(names), "told") + faint(note)


def _keys(found: Figures) -> Markup:
    keys = found["keys"]
    if keys is None:
        return paragraphs(["The decoder has no chroma input, so there is nothing to ask for."])
    places = {"training_codes": "Sounds of the corpus", "mesh": "Wherever the knobs stand"}
    rows = []
    for place, label in places.items():
        sounding = keys[place]["sounding"] or {"pitch_class": None, "octave": None}
        shares = [keys[place]["strongest"]["overall"], sounding["pitch_class"], sounding["octave"]]
        rows.append([label, str(keys[place]["codes"]), *map(_share, shares)])
    shares_table = table(["", "Codes", "Strongest pitch class", "Note heard", "Note and octave heard"], rows, 4)
    notes = keys["mesh"]["sounding"]
    heard = (
        f"the pitch found in {notes['notes']} notes as they are played" if notes else "not asked without clear pitch"
    )
    each = [
        [label, *(_bare_percent(keys[place]["strongest"]["by_pitch_class"][name]) for name in PITCH_CLASSES)]
        for place, label in places.items()
    ]
    return (
        shares_table
        + faint(
            "Every code is decoded on every pitch class heard in training. Strongest pitch class: the publication’s "
            f"measure, on the decoded frame alone. Note heard: {heard}."
        )
        + table(["Strongest, %", *PITCH_CLASSES], each, 12, "narrow")
    )


def latents(found: Figures) -> Markup:
    told = found["latents"]
    variational = "divergence" in told["dimensions"][0]
    header = ["Latent", "Low (1 %)", "High (99 %)", "Mean", "Deviation", *(["Divergence"] * variational), ""]
    rows = []
    for i, dimension in enumerate(told["dimensions"]):
        cells = [dimension["low"], dimension["high"], dimension["mean"], dimension["std"]]
        if variational:
            cells.append(dimension["divergence"])
        rows.append([str(i), *(minus(f"{cell:.3f}") for cell in cells), "dead" if dimension["dead"] else ""])
    note = (
        f"Codes of {told['codes']} training frames. A knob spans from low to high. Largest correlation of two: "
        f"{told['largest_correlation']:.2f}."
    )
    if variational:
        note += " Divergence: from the standard normal distribution, in nats; near 0 the latent carries nothing."
    return table(header, rows, 4 + variational) + faint(note)


def _share(share: float | None) -> str:
    return "–" if share is None else percent(share)


def _bare_percent(share: float | None) -> str:
    return _share(share).removesuffix(" %")
