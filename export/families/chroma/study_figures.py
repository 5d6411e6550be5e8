"""Pictures of the chroma study: Figures 2 to 5 of Colonel & Keene (2020)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from ...reports.figures.frames import pitch_class_bar, square
from ...reports.picture import WIDTH, Picture, Theme
from .study_measures import Answers, TrainingCodes

ROWS, COLUMNS = 2, 3


@dataclass(frozen=True)
class LatentPanel:
    row: int
    column: int
    title: str
    codes: TrainingCodes


def embeddings(number: int, caption: str, panels: Sequence[LatentPanel]) -> Picture:
    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 6.0), layout="constrained")
        grid = figure.subplots(ROWS, COLUMNS, squeeze=False)
        for axes in grid.ravel():
            axes.set_visible(False)
        for panel in panels:
            axes = grid[panel.row, panel.column]
            axes.set_visible(True)
            axes.scatter(
                *panel.codes.latents.T, c=panel.codes.notes, cmap=theme.pitch_classes(), vmin=-0.5, vmax=11.5, s=2,
                alpha=0.7, linewidths=0,
            )  # fmt: skip
            axes.set_title(panel.title)
        figure.supxlabel("latent 0", fontsize=9)
        figure.supylabel("latent 1", fontsize=9)
        pitch_class_bar(figure, list(grid.ravel()), theme)
        return figure

    return Picture(f"figure-{number}", caption, draw)


def accounting(name: str, caption: str, answers: dict[int, Answers]) -> Picture:
    heard = {asked: found.astype(np.int64) for asked, found in answers.items()}
    return replace(square(heard, [0.0, 0.0], [1.0, 1.0]), name=name, caption=caption)
