"""Types and figures that all reports share, pictures for light and dark pages, and dots that pages play."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from pydantic import BaseModel

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.preset.library import Patch
from ...host.resynthesis.picture import DRAWING
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.metrics.clips import Judge
from ...train.run import NO_VALIDATION, Run

FORMAT = 3  # of report.json; 1 had no floors, and inception scores of ten parts, 2 no silent time of clips
DOTS_FORMAT = 1
MOST_DOTS = 2000  # dots per picture: enough for one within a few pixels of any position
PLACE_DIGITS = 4  # of the picture's size: a tenth of a pixel
CODE_DIGITS = 5  # codes are about 1 apart


@dataclass(frozen=True)
class Dots:
    """Dots [dots, 2] in a figure's data units, with codes [dots, latents] and pitch classes."""

    points: tuple[npt.NDArray[np.float32], ...]
    codes: npt.NDArray[np.float32]
    pitch_classes: npt.NDArray[np.int64]

    def text(self, figure: Figure) -> str:
        """Return JSON of at most `MOST_DOTS` dots: ``places`` [axes][dots][x, y], ``codes`` and ``pitch_classes``.

        x and y are shares of the picture from left and top. Save ``figure`` first, to lay out its axes.
        """
        dot_indices = np.unique(
            np.linspace(0, len(self.codes) - 1, min(MOST_DOTS, len(self.codes))).round().astype(int)
        )
        dots_document: dict[str, Any] = {
            "format": DOTS_FORMAT,
            "places": [
                _rounded(
                    axes.transData.transform(axes_points[dot_indices]) / figure.bbox.size * (1, -1) + (0, 1),
                    PLACE_DIGITS,
                )
                for axes, axes_points in zip(figure.axes, self.points, strict=False)
            ],
            "codes": _rounded(self.codes[dot_indices], CODE_DIGITS),
            "pitch_classes": self.pitch_classes[dot_indices].tolist(),
        }
        return json.dumps(dots_document, separators=(",", ":"), allow_nan=False) + "\n"


def _rounded(numbers: npt.NDArray[Any], digits: int) -> list[list[float]]:
    rounded_rows: list[list[float]] = np.asarray(numbers, np.float64).round(digits).tolist()
    return rounded_rows


WIDTH = 9.0  # inches
DPI = 140  # 1260 pixels per picture: sharp on a page of 960


@dataclass(frozen=True)
class Theme:
    """``span`` of the colormap contrasts with ``paper``."""

    paper: str
    ink: str
    faint: str
    first: str
    second: str
    span: tuple[float, float]

    def settings(self) -> dict[Any, Any]:
        return {
            "figure.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.faint,
            "axes.labelcolor": self.ink,
            "axes.titlelocation": "left",
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "font.size": 9,
            "grid.color": self.faint,
            "grid.alpha": 0.35,
            "grid.linewidth": 0.5,
            "legend.frameon": False,
            "text.color": self.ink,
            "xtick.color": self.faint,
            "xtick.labelcolor": self.ink,
            "ytick.color": self.faint,
            "ytick.labelcolor": self.ink,
        }

    def pitch_classes(self) -> ListedColormap:
        return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(*self.span, 12)))


LIGHT = Theme("#ffffff", "#24292f", "#a8b0ba", "#2f6f9f", "#d9822b", (0.0, 0.95))
DARK = Theme("#1d2026", "#dfe3e8", "#626b78", "#6cb2e0", "#f0a04b", (0.13, 1.0))
THEMES = {"": LIGHT, "-dark": DARK}  # by file name suffix


def line_colours(count: int) -> Any:
    """Return distinct colours, [count, 4]."""
    return matplotlib.colormaps["viridis"](np.linspace(0.15, 0.85, count))


def panels(
    count: int, columns: int, row_inches: float, more_inches: float = 0.0, width: float = WIDTH, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure, and its axes in rows of ``columns``; ``options`` of `Figure.subplots` say what they share."""
    row_count = -(-count // columns)
    figure = Figure((width, row_inches * row_count + more_inches), layout="constrained")
    axes_grid: list[Axes] = list(figure.subplots(row_count, columns, squeeze=False, **options).ravel())
    for axes in axes_grid[count:]:
        axes.set_visible(False)
    return figure, axes_grid[:count]


@dataclass(frozen=True)
class Picture:
    """``width`` is in inches; ``dots`` are playable training codes."""

    name: str
    caption: str
    draw: Callable[[Theme], Figure]
    width: float = WIDTH
    dots: Dots | None = None

    def save(self, folder: Path) -> None:
        """Write ``name.png``, ``name-dark.png``, and with dots ``name.json``."""
        for suffix, theme in THEMES.items():
            with DRAWING, matplotlib.rc_context(theme.settings()):
                figure = self.draw(theme)
                figure.savefig(folder / f"{self.name}{suffix}.png", dpi=DPI)
        if self.dots is not None:
            (folder / f"{self.name}.json").write_text(self.dots.text(figure), encoding="utf-8")


SEED = 2020  # of all random draws: the same run returns the same figures
EVALUATED_SPLITS: tuple[Split, ...] = ("test", "val", "train")  # the first with data: from the least used in training

Found = TypeVar("Found")
Progress = Callable[[float, str], None]
Figures = dict[str, Any]


class ReportSound(NamedTuple):
    """[samples] at ``rate`` in Hz."""

    name: str
    caption: str
    samples: Array
    rate: int


class Report(NamedTuple):
    """``figures`` are those of report.json, ``pages`` further pages by name."""

    figures: Figures
    pictures: Sequence[Picture]
    sounds: Sequence[ReportSound]
    page: str
    pages: Mapping[str, str] = MappingProxyType({})


class HeldOutRun(NamedTuple):
    """A run without the test split, for instruments of the whole corpus."""

    corpus: Corpus
    network: Any
    exported: Callable[[], Patch]


@dataclass(frozen=True)
class ReportRequest:
    """A trained run, and the things that its report may compare with.

    Args:
        checkpoint: name, best or last.
        progress: receives the share, 0 to 1, and a description.
        judge: a classifier; its first posteriors are of ``labels``.
        exported: opens the run's first preset.
        instrument: the report's future folder, as typed, for the page's commands.
        demo: file of a demo, beside the page.
        trial: the run that held keys out.
    """

    run: Run
    network: Any
    checkpoint: str
    step: int
    progress: Progress
    judge: Judge | None = None
    labels: Sequence[str] = ()
    exported: Callable[[], Patch] | None = None
    instrument: Path | None = None
    demo: str | None = None
    trial: HeldOutRun | None = None

    def origin(self) -> Figures:
        return {
            "recipe": self.run.recipe.name,
            "corpus": self.run.info.corpus_name,
            "checkpoint": self.checkpoint,
            "step": self.step,
            "trial": self.run.is_trial,
        }

    def training_origin(self, parameters: int) -> Figures:
        """Return `origin` with the number of weights and the seconds of training."""
        log_lines = self.run.logged()
        training_seconds = log_lines[-1]["seconds"] if log_lines else None
        return {**self.origin(), "parameters": parameters, "seconds": training_seconds}


def as_json(figures: Figures) -> str:
    return json.dumps(figures, indent=1, allow_nan=False) + "\n"


def listed(sounds: Sequence[ReportSound]) -> dict[str, str]:
    return {f"{sound.name}.wav": sound.caption for sound in sounds}


def peak_sounds(captioned_sounds: Sequence[tuple[str, str, Array]], rate: int) -> list[ReportSound]:
    """Return sounds of names, captions and samples, with peaks of 1."""
    return [
        ReportSound(name, caption, sound / max(float(np.abs(sound).max()), 1e-9), rate)
        for name, caption, sound in captioned_sounds
    ]


def evaluated_split(
    take: Callable[[Split], Found], missing_message: str, enough: Callable[[Found], bool | int] = bool
) -> tuple[Split, Found]:
    """Return the first split of test, validation and training with enough data, and the data.

    Raises:
        UserError: ``missing_message``, if no split has enough.
    """
    for split in EVALUATED_SPLITS:
        if enough(split_rows := take(split)):
            return split, split_rows
    raise UserError(missing_message)


def judged(verdict: Callable[[Figures], tuple[str, list[str]]], **figures: Any) -> Figures:
    """Return figures under their format, verdict and shortcomings."""
    report_figures: Figures = {"format": FORMAT, "verdict": "", "shortcomings": [], **figures}
    report_figures["verdict"], report_figures["shortcomings"] = verdict(report_figures)
    return report_figures


def losses(run: Run, weighted: BaseModel) -> Figures:
    """Return weighted validation losses, by default with weight 1."""
    log_lines = run.logged()
    if not log_lines:
        return {"steps": [], "terms": {}}
    loss_weights = weighted.model_dump()
    no_terms = (*NO_VALIDATION, "total")
    shared_names = [
        name for name in log_lines[0] if name not in no_terms and all(name in log_line for log_line in log_lines)
    ]
    weighted_terms = {
        n: [loss_weights.get(n, 1.0) * log_line[n] for log_line in log_lines]
        for n in shared_names
        if loss_weights.get(n, 1.0)
    }
    weighted_terms["total"] = [log_line["total"] for log_line in log_lines]
    return {"steps": [log_line["step"] for log_line in log_lines], "terms": weighted_terms}
