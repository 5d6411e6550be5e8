"""Pictures, each drawn once for light pages and once for dark ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from .dots import Dots

WIDTH = 9.0  # inches
DPI = 140  # 1260 pixels a picture: sharp on a page of 960


@dataclass(frozen=True)
class Theme:
    """Colours for one kind of page. ``span`` is the part of the pitch-class map that stands out from ``paper``."""

    paper: str
    ink: str
    faint: str
    first: str
    second: str
    span: tuple[float, float]

    def settings(self) -> dict[Any, Any]:
        """Matplotlib's settings."""
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
        """Return a colour a pitch class from a perceptually uniform map: C is darkest, B lightest."""
        return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(*self.span, 12)))


LIGHT = Theme("#ffffff", "#24292f", "#a8b0ba", "#2f6f9f", "#d9822b", (0.0, 0.95))
DARK = Theme("#1d2026", "#dfe3e8", "#626b78", "#6cb2e0", "#f0a04b", (0.13, 1.0))
THEMES = {"": LIGHT, "-dark": DARK}  # by the end of the file's name


@dataclass(frozen=True)
class Picture:
    """A picture on the page: ``name`` of its file, a caption that says how to read it, and its width in inches.

    ``dots`` are training codes that it shows, where pages are to find them.
    """

    name: str
    caption: str
    draw: Callable[[Theme], Figure]
    width: float = WIDTH
    dots: Dots | None = None

    def save(self, folder: Path) -> None:
        """Write ``name.png`` and ``name-dark.png``, and of what has dots ``name.json``, which holds for both."""
        for suffix, theme in THEMES.items():
            with matplotlib.rc_context(theme.settings()):
                figure = self.draw(theme)
                figure.savefig(folder / f"{self.name}{suffix}.png", dpi=DPI)
        if self.dots is not None:
            (folder / f"{self.name}.json").write_text(self.dots.text(figure), encoding="utf-8")
