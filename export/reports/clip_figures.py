"""Draws the pictures of a report on clips: waveforms and spectrograms of recordings and of what a network makes."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...train.metrics.levels import log_mel
from .picture import WIDTH, Picture, Theme

Array = npt.NDArray[np.float32]
Drawing = Callable[[Theme], Figure]

DEEPEST_DB = -80.0  # of what spectrograms show
WAVE_COLUMNS = 600  # pairs of least and largest sample a waveform: more than its picture has


def pictures(asked: Array, again: Array | None, made: Array, rate: int) -> list[Picture]:
    """Return the pictures of some clips: recordings, what comes back of them, and random codes.

    Args:
        asked, again, made: [clips, samples], as many of each; ``again`` is None of a network without encoder.
        rate: in Hz.
    """
    rows = {"recording": asked} | ({} if again is None else {"decoded": again}) | {"random code": made}
    return [
        Picture(
            "waveforms", "Waveforms: recordings above, clips of the network below, in seconds.", _waves(rows, rate)
        ),
        Picture(
            "spectrograms",
            "Levels of 64 mel bands over time, 80 dB deep: recordings above, clips of the network below.",
            _spectrograms(rows, rate),
        ),
    ]


def loss(steps: Sequence[int], terms: Mapping[str, Sequence[float]], at: int) -> Picture:
    """Return the validation losses of a run; ``at`` is the checkpoint's step."""

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        colours = matplotlib.colormaps["viridis"](np.linspace(0.15, 0.85, len(terms)))
        for (name, values), colour in zip(terms.items(), colours, strict=True):
            axes.plot(steps, values, ".-", color=colour, linewidth=1.2, label=name.replace("_", " "))
        axes.axvline(at, color=theme.second, linewidth=1, linestyle=":")
        axes.set_xlabel("step")
        axes.grid(axis="y")
        figure.legend(loc="outside upper right", ncols=5)
        return figure

    return Picture("loss", "The losses on validation clips, as weighted. The dotted line is this checkpoint.", draw)


def _waves(rows: Mapping[str, Array], rate: int) -> Drawing:
    def draw(theme: Theme) -> Figure:
        figure, grid = _grid(rows)
        for line, (name, clips) in zip(grid, rows.items(), strict=True):
            for axes, clip in zip(line, clips, strict=False):
                width = max(1, len(clip) // WAVE_COLUMNS)
                parts = clip[: len(clip) // width * width].reshape(-1, width) / max(float(np.abs(clip).max()), 1e-9)
                seconds = np.arange(len(parts)) * width / rate
                axes.fill_between(seconds, parts.min(1), parts.max(1), color=theme.first, linewidth=0)
                axes.set_ylim(-1.05, 1.05)
                axes.set_yticks([])
            line[0].set_ylabel(name)
        return figure

    return draw


def _spectrograms(rows: Mapping[str, Array], rate: int) -> Drawing:
    def draw(theme: Theme) -> Figure:
        figure, grid = _grid(rows)
        for line, (name, clips) in zip(grid, rows.items(), strict=True):
            for axes, levels, clip in zip(line, log_mel(clips, rate), clips, strict=False):
                axes.imshow(
                    levels.T,
                    origin="lower",
                    aspect="auto",
                    vmin=DEEPEST_DB,
                    vmax=0,
                    cmap="magma",
                    extent=(0, len(clip) / rate, 0, levels.shape[1]),
                )
                axes.set_yticks([])
            line[0].set_ylabel(name)
        return figure

    return draw


def _grid(rows: Mapping[str, Array]) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure((WIDTH, 1.25 * len(rows) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), len(next(iter(rows.values()))), sharex=True, squeeze=False)
    return figure, [list(line) for line in grid]
