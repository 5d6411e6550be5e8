"""Report sections about knobs and macros."""

from typing import Any

from markupsafe import Markup

from ..reports.number_format import minus, percent, two_digits
from ..reports.page import faint, table

Figures = dict[str, Any]


def section(found: Figures | None) -> Markup:
    if found is None:
        return Markup()
    rows = [
        [
            f"{number}: {row['name'] or '–'}",
            f"{row['change_db']:.1f}",
            percent(row["training"]) if row["name"] else "–",
            percent(row["holds"]) if row["name"] else "–",
            minus(row["moves"]),
        ]
        for number, row in enumerate(found["latents"])
    ] + [
        [f"macro: {row['name']}", "–", percent(row["training"]), percent(row["holds"]), f"raises {row['raises']}"]
        for row in found["directions"]
    ]
    note = (
        "Change: of levels in 64 mel bands, for a deviation of the latent, in dB; the first changes the sound most. "
        "Holds: the share of steps, a quarter of the knob’s range up or down, in which the named quality moved as "
        f"named, at training codes and at {found['codes']} codes of the {found['split']} split, on all keys in turn."
    )
    header = ["Knob", "Change", "Holds in training", f"Holds in {found['split']}", "What it moves, from end to end"]
    return table(header, rows, 3, "told") + faint(note)


def as_text(found: Figures | list[Figures] | None) -> str:
    """Return a line: the share of steps where each named knob holds, or for loops each knob's correlation."""
    if found is None:
        return ""
    if isinstance(found, list):
        correlations = ", ".join(f"{row['name']} {two_digits(row['correlation'])}" for row in found)
        return f"knobs move their quality, by correlation: {correlations}"
    named = [row for row in (*found["latents"], *found["directions"]) if row["name"]]
    holds = ", ".join(f"{row['name']} {percent(row['holds'])}" for row in named)
    return f"knobs and macros hold, at codes of the {found['split']} split: {holds or 'none has a name'}"
