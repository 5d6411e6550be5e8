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

from .report import WIDTH, Figures, Picture, ReportRequest

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


Parts = Sequence[Markup | str]  # HTML, and names of pictures; those that were not drawn are left out


def report_page(
    request: ReportRequest,
    report_figures: Figures,
    pictures: Sequence[Picture],
    figures: Mapping[str, Parts],
    research: Mapping[str, Parts],
    *,
    notes: Parts = (),
    network: Parts = (),
) -> str:
    """Return the page of a report in three groups of sections by heading: sounds, figures and research.

    Args:
        report_figures: of report.json.
        notes: of notes beside recordings.
        network: what stands under the network's sounds.
    """
    demo_captions = {request.demo: "The instrument, as its preset plays it."} if request.demo else {}
    listen = {
        "The instrument": [players(demo_captions)],
        "Notes beside recordings": notes,
        "The network": [players(report_figures.get("sounds", {})), *network],
    }
    render = parts_renderer(pictures, request.instrument)

    def render_sections(parts_by_heading: Mapping[str, Parts]) -> Markup:
        return _part("sections", {heading: render(parts) for heading, parts in parts_by_heading.items()}, "h3")

    groups_by_heading = {
        "Listen": render_sections(listen),
        "Figures": based(basis(report_figures), "report.json") + render_sections(figures),
        "Research": render_sections(research),
    }
    run_figures, verdict = report_figures["run"], report_figures["verdict"]
    other_shortcomings = [text for text in report_figures["shortcomings"] if text not in verdict]
    title = f"{run_figures['recipe']} on {run_figures['corpus']}"
    return document(title, verdict, "", groups_by_heading, shortcomings=other_shortcomings)


def based(basis: str, figures: str) -> Markup:
    """Return the line on what was measured, with a link to the figures."""
    return _part("based", basis, figures)


def basis(figures: Mapping[str, Any]) -> str:
    """Return a sentence on the measured frames, if any, clips and split."""
    run_figures = figures["run"]
    frames_text = f"{figures['frames']} of {figures['frames_in_split']} frames from " if "frames" in figures else ""
    return (
        f"Measured on {frames_text}{figures['clips']} clips of {SPLITS[figures['split']]}, with the "
        f"{run_figures['checkpoint']} checkpoint (step {run_figures['step']}){TRIAL * run_figures['trial']}."
    )


def parts_renderer(pictures: Sequence[Picture], instrument: Path | None = None) -> Callable[[Parts], Markup]:
    """Return a function from parts to HTML; dots have the command that makes an instrument play them."""
    html_by_name = {picture.name: figure(picture.name, picture.caption, picture.width) for picture in pictures}
    if instrument is not None:
        press_line = _part("press", f"timbrel panel {shlex.quote(str(instrument))}")
        html_by_name |= {picture.name: html_by_name[picture.name] + press_line for picture in pictures if picture.dots}

    def render(parts: Parts) -> Markup:
        return joined(part if isinstance(part, Markup) else html_by_name.get(part, "") for part in parts)

    return render


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


def heard_notes(abx: str) -> Markup:
    return _part("notes", abx)


def subheading(text: str) -> Markup:
    return _part("subheading", text)


def joined(parts: Iterable[str]) -> Markup:
    return Markup().join(parts)


def _part(macro: str, *values: Any) -> Markup:
    return Markup(getattr(_macros(), macro)(*values))


@functools.cache
def _macros() -> Any:
    return _TEMPLATES.get_template("parts.html").module
