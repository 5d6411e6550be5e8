"""Pictures of the study of clip generators."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ....host.arrays import Array
from ...reports.figures.clips import spectrograms, waveforms
from ...reports.picture import WIDTH, Picture, Theme


def over_epochs(name: str, rows: Mapping[str, Array], rate: int) -> list[Picture]:
    """Draw clips [clips, samples], a row for each name."""
    told = "recordings, and clips of the same codes after the first and after the last epoch"
    return [
        replace(waveforms(rows, rate), name=f"{name}-waveforms", caption=f"Waveforms of {told}, in seconds."),
        replace(spectrograms(rows, rate), name=f"{name}-spectrograms", caption=f"Levels of mel bands of {told}."),
    ]


def losses(name: str, logged: Mapping[str, Any], epoch: int) -> Picture:
    epochs = np.array(logged["steps"]) / epoch

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        for (side, values), colour in zip(logged["sides"].items(), (theme.second, theme.first), strict=True):
            axes.plot(epochs, values, ".-", color=colour, linewidth=1.2, label=side)
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        figure.legend(loc="outside upper right", ncols=2)
        return figure

    return Picture(f"{name}-losses", "Losses of both sides on validation clips, over epochs.", draw)
