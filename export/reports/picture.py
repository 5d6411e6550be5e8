"""Picture: a figure saved for light and dark pages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from .dot_positions import Dots

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
            with matplotlib.rc_context(theme.settings()):
                figure = self.draw(theme)
                figure.savefig(folder / f"{self.name}{suffix}.png", dpi=DPI)
        if self.dots is not None:
            (folder / f"{self.name}.json").write_text(self.dots.text(figure), encoding="utf-8")
