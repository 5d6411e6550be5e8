"""HTML report pages for light and dark screens."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .picture import WIDTH, Picture
from .verdict import ALIKE

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
h3 { margin: 2.25rem 0 0.5rem; font-size: 1.05rem; }
h4 { margin: 1.5rem 0 0.5rem; font-size: 0.95rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--mark); }
.verdict { margin: 0.6rem 0 1rem; font-size: 1.5rem; line-height: 1.35; text-wrap: pretty; }
.less { max-width: 46rem; padding-left: 1.2rem; }
audio { display: block; width: min(100%, 30rem); margin: 0.3rem 0 1rem; }
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

SPLITS = {
    "test": "the test split",
    "val": "the validation split (the corpus has no test split)",
    "held_out": "the ends of training clips, which were not trained on (the corpus has no other split)",
    "train": "the training split (the corpus has no other): expect worse on sounds it has not heard",
}


def document(
    title: str,
    verdict: str,
    basis: str,
    sections: Mapping[str, str],
    figures: str = "report.json",
    shortcomings: Sequence[str] = (),
) -> str:
    """Return a page of HTML sections by heading; empty sections and an empty ``basis`` are omitted."""
    less = "".join(f"<li>{escape(line)}</li>\n" for line in shortcomings)
    body = "\n".join(f"<h2>{escape(heading)}</h2>\n{html}" for heading, html in sections.items() if html)
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
<p class="verdict">{escape(verdict)}</p>
{f'<ul class="less">{less}</ul>' if less else ""}
{based(basis, figures) if basis else ""}{body}
</body>
</html>
"""


def report_page(
    found: Mapping[str, Any],
    listen: Mapping[str, str],
    figures: Mapping[str, str],
    research: Mapping[str, str],
    measured_on: str = "",
) -> str:
    """Return a run's report page: sounds, figures, research.

    Args:
        found: the report's figures.
        listen, figures, research: HTML by heading; empty parts are omitted.
        measured_on: a sentence on the measured clips; default `basis`.
    """
    run = found["run"]
    sections = {
        "Listen": _parts(listen),
        "Figures": based(measured_on or basis(found), "report.json") + _parts(figures),
        "Research": _parts(research),
    }
    title = f"{run['recipe']} on {run['corpus']}"
    more = [line for line in found["shortcomings"] if line not in found["verdict"]]
    return document(title, found["verdict"], "", sections, shortcomings=more)


def listening(heard: str | None, sounds: Mapping[str, str]) -> dict[str, str]:
    """Return audio players by heading: the preset's rendered sound, and the report's sounds."""
    first = players({heard: "The instrument, as its preset plays it."}) if heard else ""
    return {"The instrument": first, "The network": players(sounds)}


def pressed(of: Callable[..., str], instrument: Path | None) -> str:
    """Return the embedding picture, with the panel command that makes its dots playable.

    Args:
        of: returns the HTML of pictures by name.
        instrument: preset folder of the page.
    """
    picture = of("embedding")
    if not picture or instrument is None:
        return picture
    command = escape(f"timbrel panel {shlex.quote(str(instrument))}")
    return picture + f'<p class="faint" id="press">Press its dots to hear them: <code>{command}</code></p>\n'


def _parts(parts: Mapping[str, str]) -> str:
    return "\n".join(f"<h3>{escape(heading)}</h3>\n{html}" for heading, html in parts.items() if html)


def based(basis: str, figures: str) -> str:
    """Return a paragraph on the measured clips, with a link to all figures."""
    return f'<p class="faint">{escape(basis)} All figures: <a href="{figures}">{figures}</a>.</p>\n'


def basis(found: Mapping[str, Any]) -> str:
    """Describe the measured clips."""
    run = found["run"]
    return (
        f"Measured on {found['frames']} of {found['frames_in_split']} frames from {found['clips']} clips of "
        f"{SPLITS[found['split']]}, with the {run['checkpoint']} checkpoint (step {run['step']})."
    )


def shown(pictures: Sequence[Picture]) -> Callable[..., str]:
    """Return a function from picture names to HTML; it skips missing ones."""
    html = {picture.name: figure(picture.name, picture.caption, picture.width) for picture in pictures}

    def of(*names: str) -> str:
        return "".join(html[name] for name in names if name in html)

    return of


def players(sounds: Mapping[str, str]) -> str:
    """Return audio players; ``sounds`` are captions by file."""
    return "".join(
        f'<p>{escape(caption)}<audio controls preload="none" src="{escape(file)}"></audio></p>\n'
        for file, caption in sounds.items()
    )


def table(header: Row, rows: Sequence[Row], numbers: int, kind: str = "") -> str:
    """Return a table of HTML cells; ``numbers`` columns after the first are numeric."""

    def line(tag: str, cells: Row) -> str:
        kinds = [' class="number"' if 1 <= i <= numbers else "" for i in range(len(cells))]
        return f"<tr>{''.join(f'<{tag}{k}>{cell}</{tag}>' for k, cell in zip(kinds, cells, strict=True))}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    head = f"<thead>{line('th', header)}</thead>"
    return f'<div class="wide"><table class="{kind}">\n{head}\n<tbody>{body}</tbody>\n</table></div>\n'


def figure(path: str, caption: str, width: float = WIDTH) -> str:
    """Return a light and dark picture; ``path`` has no suffix."""
    path, caption = escape(path), escape(caption)
    return (
        f'<figure><picture><source srcset="{path}-dark.png" media="(prefers-color-scheme: dark)">'
        f'<img src="{path}.png" alt="{caption}" style="width: {width / WIDTH:.0%}"></picture>\n'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def faint(text: str) -> str:
    return f'<p class="faint">{text}</p>\n'


def likeness(distance: Mapping[str, Any], names: Mapping[str, str], pieces: str) -> str:
    """Return a table of distances between sets of sounds and the split.

    Args:
        distance: Fréchet distances, and ``ratio``, None without sounds to compare with.
        names: label of each set, in row order.
        pieces: name of the parts of sounds.
    """
    train = distance["train"] if distance["ratio"] is not None else None
    times = {name: f"{distance[name] / train:.2f} ×" if train else "–" for name in names}
    rows = [[label, f"{distance[name]:.0f}", times[name]] for name, label in names.items()]
    note = (
        "Fréchet distance on levels of 40 mel bands, in dB², to the sounds of the split: 0 if they were spread alike. "
        f"Random codes are taken for the recordings up to {ALIKE:g} times what training {pieces} have."
    )
    return table(["", "Distance", "Against training"], rows, 2) + faint(note)
