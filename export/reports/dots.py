"""Tells where the dots of a picture lie: written beside it, so that a page can find which one is pressed."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

FORMAT = 1
MOST = 2000  # dots of one picture that are told: any place among thousands has one within a few pixels
PLACE_DIGITS = 4  # of a part of the picture: a tenth of a pixel
CODE_DIGITS = 5  # codes lie about 1 from each other


@dataclass(frozen=True)
class Dots:
    """Dots [dots, 2] in the units of each of a figure's first axes, their codes [dots, latents] and pitch classes."""

    points: tuple[npt.NDArray[np.float32], ...]
    codes: npt.NDArray[np.float32]
    pitch_classes: npt.NDArray[np.int64]

    def text(self, figure: Figure) -> str:
        """Return JSON: ``places`` [axes][dots][x, y], ``codes`` and ``pitch_classes``, of at most `MOST` of the dots.

        Args:
            figure: that was saved, so that its axes have their places.

        x and y are parts of the whole picture, from its left and its upper end.
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
