"""Where codes lie among the training codes, drawn on a plane."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .card import Card
from .files import replacing
from .picture import DOTS_PER_INCH, FAINT, INK, PATHS, check_picture, style

Doubles = npt.NDArray[np.float64]

INCHES = (8.0, 8.0)
CODES = "#b9bfc4"
MARKS = 9  # along the way, evenly spaced in time: where they lie close it is slow


class Plane:
    """Two latents as they are; of one or of more, the axes along which the training codes differ most."""

    def __init__(self, card: Card) -> None:
        names = [latent.name for latent in card.latents]
        marks = np.array([mark.latent for mark in card.landmarks]).reshape(-1, len(names))
        self._centre, self._axes, self.labels = np.zeros(len(names)), np.eye(len(names)), names
        if len(names) != 2:
            deviations = np.array([latent.std for latent in card.latents])
            scale = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0)
            self._centre = marks.mean(axis=0) if len(marks) else np.zeros(len(names))
            _, sizes, turned = np.linalg.svd((marks - self._centre) * scale)
            axes = np.pad(turned[:2], ((0, max(0, 2 - len(names))), (0, 0)))
            self._axes = (axes * scale).T
            shares = np.pad(np.square(sizes), (0, 2))[:2] / max(float(np.square(sizes).sum()), 1e-12)
            self.labels = [
                f"principal axis {number}: {share:.0%} of the training codes' variance, in deviations"
                for number, share in enumerate(shares.tolist(), 1)
            ]

    def places(self, codes: Doubles) -> Doubles:
        """Codes, [rows, n_latents], on the plane: [rows, 2]."""
        places: Doubles = (codes - self._centre) @ self._axes
        return places


def draw_way(
    path: Path,
    card: Card,
    sounds: Sequence[tuple[str, Doubles]],
    way: Doubles,
    title: str,
    overwrite: bool = False,
) -> None:
    """Draw a PNG of 1200 by 1200 dots: the training codes, those of sounds, and a way.

    Args:
        sounds: names, and the codes of their frames, [frames, n_latents].
        way: codes evenly spaced in time, [rows, n_latents].

    Raises:
        UserError: as `picture.check_picture` and `host.files.check_output`.
        Failure: the disk is full, or the file cannot be written for another reason.
    """
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    plane = Plane(card)
    with replacing(path, overwrite) as temporary, rc_context(style()):
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH)
        axes = figure.add_axes((0.09, 0.08, 0.87, 0.84))
        figure.text(0.09, 0.945, title, fontsize=12, weight="bold", parse_math=False)
        marks = plane.places(np.array([mark.latent for mark in card.landmarks]).reshape(-1, len(card.latents)))
        axes.scatter(marks[:, 0], marks[:, 1], s=20, color=CODES, linewidths=0, label="training codes")
        line = plane.places(way)
        for (name, codes), colour in zip(sounds, PATHS[1::2], strict=False):
            places = plane.places(codes)
            axes.scatter(places[:, 0], places[:, 1], s=7, color=colour, alpha=0.35, linewidths=0)
            axes.plot([], [], "o", color=colour, label=name.replace("$", r"\$"), markersize=5)
        axes.plot(line[:, 0], line[:, 1], color=INK, linewidth=1.6)
        dots = line[np.linspace(0, len(line) - 1, MARKS).round().astype(int)]
        axes.scatter(dots[:, 0], dots[:, 1], s=np.linspace(18, 60, MARKS), color=INK, zorder=3)
        axes.set_xlabel(plane.labels[0])
        axes.set_ylabel(plane.labels[1])
        axes.grid(color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.margins(0.05)
        axes.legend(loc="best", frameon=True, framealpha=0.85, edgecolor=FAINT, handletextpad=0.2)
        figure.savefig(temporary, format="png")
