"""Dot positions of scatter plots as JSON, for pages that play dots."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

FORMAT = 1
MOST = 2000  # dots per picture: enough for one within a few pixels of any position
PLACE_DIGITS = 4  # of the picture's size: a tenth of a pixel
CODE_DIGITS = 5  # codes are about 1 apart


@dataclass(frozen=True)
class Dots:
    """Dots [dots, 2] in a figure's data units, with codes [dots, latents] and pitch classes."""

    points: tuple[npt.NDArray[np.float32], ...]
    codes: npt.NDArray[np.float32]
    pitch_classes: npt.NDArray[np.int64]

    def text(self, figure: Figure) -> str:
        """Return JSON of at most `MOST` dots: ``places`` [axes][dots][x, y], ``codes`` and ``pitch_classes``.

        x and y are shares of the picture from left and top. Save ``figure`` first, to lay out its axes.
        """
        some = np.unique(np.linspace(0, len(self.codes) - 1, min(MOST, len(self.codes))).round().astype(int))
        told: dict[str, Any] = {
            "format": FORMAT,
            "places": [
                _rounded(axes.transData.transform(points[some]) / figure.bbox.size * (1, -1) + (0, 1), PLACE_DIGITS)
                for axes, points in zip(figure.axes, self.points, strict=False)
            ],
            "codes": _rounded(self.codes[some], CODE_DIGITS),
            "pitch_classes": self.pitch_classes[some].tolist(),
        }
        return json.dumps(told, separators=(",", ":"), allow_nan=False) + "\n"


def _rounded(numbers: npt.NDArray[Any], digits: int) -> list[list[float]]:
    rounded: list[list[float]] = np.asarray(numbers, np.float64).round(digits).tolist()
    return rounded
