"""HTML report pages, from the templates beside this file.

Text is escaped; `Markup` is HTML already.
"""

import functools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from .report import WIDTH, Picture

Row = Sequence[str]

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)

TRIAL = " of a trial that learned without them; the instrument learned all sounds after it"
SPLITS = {
    "test": "the test split",
    "val": "the validation split (the corpus has no test split)",
    "held_out": "the ends of training clips, which were not trained on (the corpus has no other split)",
    "train": "the training split (the corpus has no other): expect worse on sounds it has not heard",
}


def rendered(template: str, **values: Any) -> str:
    return _TEMPLATES.get_template(template).render(values)


def document(
    title: str,
    verdict: str,
    basis: str,
    sections: Mapping[str, str],
    figures: str = "report.json",
    shortcomings: Sequence[str] = (),
) -> str:
    """Return a page of sections by heading, empty ones excluded."""
    return rendered(
        "report.html",
        title=title,
        verdict=verdict,
        basis=basis,
        sections=sections,
        figures=figures,
        shortcomings=shortcomings,
    )


def report_page(
    report_figures: Mapping[str, Any],
    listen: Mapping[str, str],
    figures: Mapping[str, str],
    research: Mapping[str, str],
    measured_on: str = "",
) -> str:
    """Return the page of a report, from its figures and three groups of sections."""
    run_figures = report_figures["run"]
    groups_by_heading = {
        "Listen": _parts(listen),
        "Figures": based(measured_on or basis(report_figures), "report.json") + _parts(figures),
        "Research": _parts(research),
    }
    title = f"{run_figures['recipe']} on {run_figures['corpus']}"
    other_shortcomings = [
        shortcoming for shortcoming in report_figures["shortcomings"] if shortcoming not in report_figures["verdict"]
    ]
    return document(title, report_figures["verdict"], "", groups_by_heading, shortcomings=other_shortcomings)


def listening(demo: str | None, sounds: Mapping[str, str]) -> dict[str, Markup]:
    """Return players of the demo and of the network's sounds, by heading."""
    demo_player = players({demo: "The instrument, as its preset plays it."}) if demo else Markup()
    return {"The instrument": demo_player, "The network": players(sounds)}


def pressed(render_pictures: Callable[..., Markup], instrument: Path | None) -> Markup:
    """Return the picture of codes, with the command that makes its dots playable."""
    picture_html = render_pictures("embedding")
    if not picture_html or instrument is None:
        return picture_html
    return picture_html + _part("press", f"timbrel panel {shlex.quote(str(instrument))}")


def _parts(parts: Mapping[str, str]) -> Markup:
    return _part("sections", parts, "h3")


def based(basis: str, figures: str) -> Markup:
    """Return the line on what was measured, with a link to the figures."""
    return _part("based", basis, figures)


def basis(figures: Mapping[str, Any]) -> str:
    """Return a sentence on the measured frames, clips and split."""
    run_figures = figures["run"]
    return (
        f"Measured on {figures['frames']} of {figures['frames_in_split']} frames from {figures['clips']} clips of "
        f"{SPLITS[figures['split']]}, with the {run_figures['checkpoint']} checkpoint (step {run_figures['step']})"
        f"{TRIAL * run_figures['trial']}."
    )


def picture_renderer(pictures: Sequence[Picture]) -> Callable[..., Markup]:
    """Return a function from picture names to HTML."""
    html_by_name = {picture.name: figure(picture.name, picture.caption, picture.width) for picture in pictures}

    def render_pictures(*names: str) -> Markup:
        return joined(html_by_name[name] for name in names if name in html_by_name)

    return render_pictures


def players(sounds: Mapping[str, str]) -> Markup:
    return _part("players", sounds)


def table(header: Row, rows: Sequence[Row], numbers: int, kind: str = "") -> Markup:
    """``numbers`` columns after the first are numeric."""
    return _part("table", header, rows, numbers, kind)


def figure(path: str, caption: str, width: float = WIDTH) -> Markup:
    """``path`` has no suffix."""
    return _part("figure", path, caption, f"{width / WIDTH:.0%}")


def faint(text: str) -> Markup:
    return _part("faint", text)


def paragraphs(lines: Sequence[str]) -> Markup:
    return _part("paragraphs", lines)


def lines(texts: Sequence[str]) -> Markup:
    return _part("lines", texts)


def noted(value: str, note: str) -> Markup:
    return _part("noted", value, note)


def aside(value: str, note: str) -> Markup:
    return _part("aside", value, note)


def bold(text: str) -> Markup:
    return _part("bold", text)


def run_link(name: str, folder: str = "runs") -> Markup:
    return _part("run_link", name, folder)


def heard_notes(abx: str, notes: Sequence[tuple[str, Markup]]) -> Markup:
    return _part("notes", abx, [{"title": title, "html": html} for title, html in notes])


def joined(parts: Iterable[str]) -> Markup:
    return Markup().join(parts)


def _part(macro: str, *values: Any) -> Markup:
    return Markup(getattr(_macros(), macro)(*values))


@functools.cache
def _macros() -> Any:
    return _TEMPLATES.get_template("parts.html").module
