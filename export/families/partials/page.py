"""HTML report page of a partials run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ...fidelity import pages
from ...knobs import pages as knobs
from ...reports.page import likeness, listening, pressed, report_page, shown, table
from ...reports.picture import Picture
from ...reports.report import Figures
from ..chroma.page import latents

MEASURES = {
    "bands_db": ("Mel bands, dB", "Each frame decoded from its own code: the difference in 64 bands, as of notes."),
    "harmonics_db": ("Harmonics, dB", "The difference of the heights of those within 80 dB of the frame."),
    "noise_db": ("Noise, dB", "The difference of the noise between harmonics, over its bands."),
}

SETS = {
    "train": "Training frames, moved to the pitches of the split",
    "reconstruction": "Decoded frames of the split",
    "generated": "Random codes of the knobs’ spans, at the pitches of the split",
}


def page(
    found: Figures,
    pictures: Sequence[Picture],
    instrument: Path | None = None,
    notes: Mapping[str, str] = MappingProxyType({}),
    heard: str | None = None,
) -> str:
    of = shown(pictures)
    rows = [[label, f"{found['reconstruction'][name]:.1f}", told] for name, (label, told) in MEASURES.items()]
    return report_page(
        found,
        {
            "The instrument": listening(heard, found["sounds"])["The instrument"],
            "Notes beside recordings": pages.notes_section(found["notes"], notes, of),
        },
        {
            "Notes beside recordings": pages.figures_section(found["notes"]),
            "Knobs": knobs.section(found["knobs"]) + pressed(of, instrument),
        },
        {
            "Frames": table(["", "Root mean square", "What it says"], rows, 1, "told")
            + likeness(found["spectral_distance"], SETS, "frames"),
            "Latents": latents(found) + of("histograms", "correlation"),
            "Training": of("loss"),
        },
    )
