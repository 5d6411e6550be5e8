"""Latent map: draws codes and a path among the training codes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Doubles
from ..contract.card import Card, in_deviations
from ..files import replacing
from ..picture import DOTS_PER_INCH, FAINT, INK, PATHS, check_picture, style
from .code_range import distances, landmark_codes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

INCHES = (8.0, 8.0)
CODES, NAMES = "#b9bfc4", "#6b747d"
LEFT, RIGHT = 0.09, 0.96  # of the page
MARKS = 9  # along the path, evenly spaced in time: they show its speed
LONGEST_NAME = 60  # letters, before names are shortened to fit
DOT = 7.0  # pixels, radius of the largest dot on the path
NAME_DOTS = 24  # letters of the name beside a training code


class LatentPlane:
    """Two latents as they are, else the training codes' principal axes."""

    def __init__(self, card: Card) -> None:
        names = [latent.name for latent in card.latents]
        marks = landmark_codes(card)
        self._centre, self._axes, self.labels = np.zeros(len(names)), np.eye(len(names)), names
        if len(names) != 2:
            scale = in_deviations(card)
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
        """Project codes, [rows, n_latents], to [rows, 2]."""
        places: Doubles = (codes - self._centre) @ self._axes
        return places


def draw_way(
    path: Path, card: Card, sounds: Sequence[tuple[str, Doubles]], way: Doubles, title: str, overwrite: bool = False
) -> None:
    """Draw a PNG of 1200 by 1200 pixels: training codes with their sounds' names, the sounds' codes, and a path.

    Args:
        sounds: names and frames' codes, [frames, n_latents]; the heading names the first and last.
        way: codes evenly spaced in time, [rows, n_latents].

    Raises:
        UserError: as `picture.check_picture` and `host.files.check_output`.
        Failure: the file cannot be written.
    """
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    plane = LatentPlane(card)
    with replacing(path, overwrite) as temporary, rc_context(style()):
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH)
        axes = figure.add_axes((LEFT, 0.08, RIGHT - LEFT, 0.84))
        heading = figure.text(LEFT, 0.956, "", fontsize=12, weight="bold", parse_math=False)
        _fit(heading, [sounds[0][0], sounds[-1][0]], " to ")
        _fit(figure.text(LEFT, 0.932, "", fontsize=9, parse_math=False), [title], "")
        marks = plane.places(landmark_codes(card))
        axes.scatter(marks[:, 0], marks[:, 1], s=20, color=CODES, linewidths=0, label="training codes")
        line = plane.places(way)
        for (name, codes), colour in zip(sounds, PATHS[1::2], strict=False):
            places = plane.places(codes)
            axes.scatter(places[:, 0], places[:, 1], s=7, color=colour, alpha=0.35, linewidths=0)
            shown = shortened(name, LONGEST_NAME // 2).replace("$", r"\$")
            axes.plot([], [], "o", color=colour, label=shown, markersize=5)
        axes.plot(line[:, 0], line[:, 1], color=INK, linewidth=1.6)
        dots = line[np.linspace(0, len(line) - 1, MARKS).round().astype(int)]
        sizes = np.linspace(18, 60, MARKS)
        axes.scatter(dots[:, 0], dots[:, 1], s=sizes, color=INK, zorder=3, label="the way, larger as time goes by")
        axes.set_xlabel(plane.labels[0])
        axes.set_ylabel(plane.labels[1])
        axes.grid(color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.margins(0.05)
        legend = axes.legend(loc="best", frameon=True, framealpha=0.85, edgecolor=FAINT, handletextpad=0.2)
        figure.draw_without_rendering()  # computes the layout
        taken = [legend.get_window_extent(), *(_box_of_dot(place) for place in axes.transData.transform(dots))]
        _name(axes, marks, [mark.label for mark in card.landmarks], line, taken)
        figure.savefig(temporary, format="png")


def shortened(name: str, letters: int) -> str:
    if len(name) <= letters:
        return name
    end = (letters - 1) // 2
    return f"{name[: letters - 1 - end]}…{name[len(name) - end :]}"


def _fit(text: "Text", names: Sequence[str], between: str) -> None:
    assert text.figure is not None
    room = RIGHT * text.figure.bbox.width
    for letters in range(LONGEST_NAME * 3 // (1 + len(names)), 3, -1):
        text.set_text(between.join(shortened(name, letters) for name in names))
        if text.get_window_extent().x1 <= room:
            return


def _box_of_dot(place: Doubles) -> "Bbox":
    from matplotlib.transforms import Bbox

    return Bbox([place - DOT, place + DOT])


def _name(axes: "Axes", marks: Doubles, labels: Sequence[str], line: Doubles, taken: "list[Bbox]") -> None:
    """Each training sound once, at its mark nearest to the path, where space is free."""
    away = distances(marks, line) if len(marks) else np.zeros(0)
    named: set[str] = set()
    for number in np.argsort(away).tolist():
        if labels[number] in named or not labels[number]:
            continue
        text = axes.annotate(
            shortened(labels[number], NAME_DOTS), tuple(marks[number]), (4, 3), textcoords="offset points", fontsize=7,
            color=NAMES, parse_math=False,
        )  # fmt: skip
        box = text.get_window_extent().padded(2)
        if box.x1 > axes.bbox.x1 or box.y1 > axes.bbox.y1 or any(box.overlaps(other) for other in taken):
            text.remove()
            continue
        named.add(labels[number])
        taken.append(box)
