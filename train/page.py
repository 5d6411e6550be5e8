"""The page of a report: one HTML file, plain, for light and dark screens, with its pictures beside it."""

from collections.abc import Sequence
from html import escape
from typing import Any

from ..host.units import PITCH_CLASSES
from .picture import WIDTH, Picture
from .verdict import percent

Figures = dict[str, Any]
Row = Sequence[str]

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #24292f; --faint: #65707d; --line: #dde1e6; --mark: #2f6f9f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #1d2026; --ink: #dfe3e8; --faint: #9aa4b1; --line: #363c46; --mark: #6cb2e0; } }
body { margin: 0 auto; padding: 3rem 1.25rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1rem; font-weight: 600; color: var(--faint); }
h2 { margin: 3.5rem 0 0.75rem; font-size: 1.25rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--mark); }
.verdict { margin: 0.6rem 0 1rem; font-size: 1.5rem; line-height: 1.35; text-wrap: pretty; }
.faint, figcaption { color: var(--faint); font-size: 0.9rem; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 0.925rem; font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: left; color: var(--faint); }
th, td { padding: 0.4rem 0.9rem 0.4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th.number, td.number { text-align: right; white-space: nowrap; padding-right: 1.75rem; }
td:first-child { white-space: nowrap; }
table.narrow { font-size: 0.85rem; }
table.narrow .number { padding-right: 0; padding-left: 0.6rem; }
table.told td:last-child { min-width: 15rem; }
figure { margin: 1.75rem 0; }
figcaption { margin-top: 0.35rem; max-width: 46rem; }
img { display: block; min-width: min(100%, 16rem); height: auto; }
"""

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
SPLITS = {
    "test": "the test split",
    "val": "the validation split (the corpus has no test split)",
    "train": "the training split (the corpus has no other): expect worse on sounds it has not heard",
}


def page(found: Figures, pictures: Sequence[Picture]) -> str:
    """The page that shows these figures and pictures."""
    shown = {picture.name: _figure(picture) for picture in pictures}

    def of(*names: str) -> str:
        return "".join(shown[name] for name in names if name in shown)

    run = found["run"]
    title = f"{run['recipe']} on {run['corpus']}"
    keys = _keys(found) + of("keys", "square")
    loss = of("loss")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="verdict">{escape(found["verdict"])}</p>
<p class="faint">{escape(_basis(found))} All figures: <a href="report.json">report.json</a>.</p>
<h2>Sound</h2>
{_sound(found)}{of("reconstructions", "spectrogram")}
<h2>Keys</h2>
{keys}
<h2>Knobs</h2>
{_latents(found)}{of("embedding", "histograms", "correlation")}
{f"<h2>Training</h2>{loss}" if loss else ""}
</body>
</html>
"""


def _basis(found: Figures) -> str:
    run = found["run"]
    return (
        f"Measured on {found['frames']} of {found['frames_in_split']} frames from {found['clips']} clips of "
        f"{SPLITS[found['split']]}, with the {run['checkpoint']} checkpoint (step {run['step']})."
    )


def _sound(found: Figures) -> str:
    columns = {"same_key": "Same key", "another_key": "Another key"}
    names = [name for name in columns if name in found["reconstruction"]]
    rows = []
    for measure, (label, meaning) in MEASURES.items():
        cells = [found["reconstruction"][name][measure] for name in names]
        rows.append([label, *(_cell(cell, measure) for cell in cells), meaning])
    note = "Below each figure: mean ± standard deviation of the clips’ own."
    if len(names) > 1:
        note += " Another key: the sound is encoded on its own key and must come out on another one."
    header = ["", *(columns[name] for name in names), "What it says"]
    return _table(header, rows, len(names), "told") + _faint(note)


def _cell(figure: dict[str, float], measure: str) -> str:
    digits = ".1f" if measure.endswith("_db") else ".3g"
    value, mean, deviation = (f"{figure[name]:{digits}}".replace("-", "−") for name in ("value", "mean", "deviation"))
    return f'{value}<br><span class="faint">{mean} ± {deviation}</span>'


def _keys(found: Figures) -> str:
    keys = found["keys"]
    if keys is None:
        return "<p>The decoder has no chroma input, so there is nothing to ask for.</p>"
    places = {"training_codes": "Sounds of the corpus", "mesh": "Wherever the knobs stand"}
    rows = []
    for place, label in places.items():
        sounding = keys[place]["sounding"] or {"pitch_class": None, "octave": None}
        shares = [keys[place]["strongest"]["overall"], sounding["pitch_class"], sounding["octave"]]
        rows.append([label, str(keys[place]["codes"]), *map(_share, shares)])
    table = _table(["", "Codes", "Strongest pitch class", "Note heard", "Note and octave heard"], rows, 4)
    notes = keys["mesh"]["sounding"]
    heard = (
        f"the pitch found in {notes['notes']} notes as they are played" if notes else "not asked without clear pitch"
    )
    each = [
        [label, *(_hundredths(keys[place]["strongest"]["by_pitch_class"][name]) for name in PITCH_CLASSES)]
        for place, label in places.items()
    ]
    return (
        table
        + _faint(
            "Every code is decoded on every pitch class heard in training. Strongest pitch class: the publication’s "
            f"measure, on the decoded frame alone. Note heard: {heard}."
        )
        + _table(["Strongest, %", *PITCH_CLASSES], each, 12, "narrow")
    )


def _latents(found: Figures) -> str:
    latents = found["latents"]
    variational = "divergence" in latents["dimensions"][0]
    header = ["Latent", "Low (1 %)", "High (99 %)", "Mean", "Deviation", *(["Divergence"] * variational), ""]
    rows = []
    for i, dimension in enumerate(latents["dimensions"]):
        cells = [dimension["low"], dimension["high"], dimension["mean"], dimension["std"]]
        if variational:
            cells.append(dimension["divergence"])
        rows.append([str(i), *(f"{cell:.3f}".replace("-", "−") for cell in cells), "dead" if dimension["dead"] else ""])
    note = (
        f"Codes of {latents['codes']} training frames. A knob spans from low to high. Largest correlation of two: "
        f"{latents['largest_correlation']:.2f}."
    )
    if variational:
        note += " Divergence: from the standard normal distribution, in nats; near 0 the latent carries nothing."
    return _table(header, rows, 4 + variational) + _faint(note)


def _table(header: Row, rows: Sequence[Row], numbers: int, kind: str = "") -> str:
    """A table whose cells are HTML; ``numbers`` columns after the first are numbers."""

    def line(tag: str, cells: Row) -> str:
        kinds = [' class="number"' if 1 <= i <= numbers else "" for i in range(len(cells))]
        return f"<tr>{''.join(f'<{tag}{k}>{cell}</{tag}>' for k, cell in zip(kinds, cells, strict=True))}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    head = f"<thead>{line('th', header)}</thead>"
    return f'<div class="wide"><table class="{kind}">\n{head}\n<tbody>{body}</tbody>\n</table></div>\n'


def _figure(picture: Picture) -> str:
    name, caption, width = picture.name, escape(picture.caption), f"{picture.width / WIDTH:.0%}"
    return (
        f'<figure><picture><source srcset="{name}-dark.png" media="(prefers-color-scheme: dark)">'
        f'<img src="{name}.png" alt="{caption}" style="width: {width}"></picture>\n'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _faint(text: str) -> str:
    return f'<p class="faint">{text}</p>\n'


def _share(share: float | None) -> str:
    return "–" if share is None else percent(share)


def _hundredths(share: float | None) -> str:
    return _share(share).removesuffix(" %")
