"""Pictures of reports on clips: waveforms, spectrograms and losses."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ....host.arrays import Array
from ....host.resynthesis.log_mel import log_mel
from ..picture import WIDTH, Picture, Theme, line_colours

Drawing = Callable[[Theme], Figure]

DEEPEST_DB = -80.0  # lower end of spectrograms
ZOOMED, ZOOM_SECONDS = 3, 0.02  # clips, and seconds of each: a few periods reveal the shape of a wave
WAVE_COLUMNS = 600  # pairs of minimum and maximum sample per waveform: more than its picture has columns


def pictures(asked: Array, again: Array | None, made: Array, rate: int, *, zoomed: bool) -> list[Picture]:
    """Draw clips [clips, samples], ``zoomed`` also sample by sample."""
    rows = {"recording": asked} | ({} if again is None else {"decoded": again}) | {"random code": made}
    drawn = [waveforms(rows, rate), spectrograms(rows, rate)]
    return drawn if again is None or not zoomed else [*drawn, zoom(asked, again, rate)]


def waveforms(rows: Mapping[str, Array], rate: int, name: str = "waveforms") -> Picture:
    caption = "Waveforms: recordings above, clips of the network below, in seconds."
    return Picture(name, caption, _waves(rows, rate))


def spectrograms(rows: Mapping[str, Array], rate: int, name: str = "spectrograms") -> Picture:
    caption = "Levels of 64 mel bands over time, 80 dB deep: recordings above, clips of the network below."
    return Picture(name, caption, _spectrograms(rows, rate))


def zoom(asked: Array, again: Array, rate: int) -> Picture:
    """Draw periods around each clip's loudest sample, [clips, samples]."""
    some, length = slice(0, ZOOMED), round(ZOOM_SECONDS * rate)

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        for axes, clip, back in zip(np.ravel(figure.subplots(1, ZOOMED)), asked[some], again[some], strict=False):
            start = int(np.clip(np.abs(clip).argmax() - length // 2, 0, max(0, len(clip) - length)))
            part = slice(start, start + length)
            seconds = np.arange(len(clip))[part] / rate
            axes.plot(seconds, clip[part], linewidth=1, color=theme.first, label="recording")
            axes.plot(seconds, back[part], linewidth=1, color=theme.second, label="decoded")
            axes.locator_params(axis="x", nbins=4)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return figure

    caption = (
        "Twenty milliseconds around the loudest sample: recordings, and what is decoded of their codes, in seconds."
    )
    return Picture("zoom", caption, draw)


def loss(logged: Mapping[str, Any], at: int) -> Picture:
    """Draw losses together, and health metrics separately; ``at`` is the checkpoint's step.

    ``logged`` has ``steps``, ``terms`` or adversarial ``sides``, and ``health``.
    """
    panels = [logged["sides"] or logged["terms"], *({name: values} for name, values in logged["health"].items())]

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 1.3 * len(panels) + 1.3), layout="constrained")
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, lines in zip(grid, panels, strict=True):
            for (name, values), colour in zip(lines.items(), line_colours(len(lines)), strict=True):
                shown = name.replace("_", " ")
                axes.plot(logged["steps"], values, ".-", color=colour, linewidth=1.2, label=shown)
            axes.axvline(at, color=theme.second, linewidth=1, linestyle=":")
            axes.grid(axis="y")
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6)
        grid[-1].set_xlabel("step")
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
