"""Pictures of reports on clips and on grains: waveforms, spectrograms and losses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ....host.arrays import Array, Doubles
from ....host.resynthesis.distance import log_mel
from ...measures.codes import CodeDistribution
from ..report import WIDTH, Picture, Theme, line_colours

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


Floats = npt.NDArray[np.floating[Any]]

PHASED = ("adjudication", "adversarial")  # terms of the codes, not of the sound
FEWEST = 9  # validations for a plot in three parts
WAVE_POINTS = 3000  # pairs of minimum and maximum sample: more than the picture has columns
DYNAMIC_DB = 80.0  # range below the maximum
ALL_LATENTS = 11  # latents up to which each has its own histogram


def loss_parts(steps: Sequence[int], terms: Mapping[str, Sequence[float]], at: int) -> Picture:
    """Draw losses in three parts (Figure 4); ``at`` is the checkpoint's step."""
    rows = [[n for n in terms if n not in (*PHASED, "total")], [n for n in terms if n in PHASED]]
    rows = [names for names in rows if names]
    ends = np.linspace(0, len(steps), 4).astype(int) if len(steps) >= FEWEST else np.array([0, len(steps)])

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 1.9 * len(rows) + 0.5), layout="constrained")
        grid = figure.subplots(len(rows), len(ends) - 1, sharex="col", squeeze=False)
        colours = dict(zip(terms, line_colours(len(terms)), strict=True))
        for names, line in zip(rows, grid, strict=True):
            for axes, begin, end in zip(line, ends, ends[1:], strict=False):
                for name in names:
                    # parts share a point, so that the curve has no gap
                    shown = slice(max(begin - 1, 0), end)
                    label = name.replace("_", " ") if begin == 0 else None
                    axes.plot(steps[shown], terms[name][shown], ".-", color=colours[name], linewidth=1.2, label=label)
                if steps[max(begin - 1, 0)] <= at <= steps[end - 1]:
                    axes.axvline(at, color=theme.second, linewidth=1, linestyle=":")
                axes.grid(axis="y")
        for axes in grid[-1]:
            axes.set_xlabel("step")
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    parts = "in three parts of the training, each on its own scale" if len(ends) > 2 else "while it trained"
    return Picture(
        "loss",
        f"The losses on validation sounds {parts}: the sound’s, and below, where codes are judged, the adjudicator’s "
        "and the encoder’s against it. The dotted line is this checkpoint.",
        draw,
    )


def grain_waveforms(asked: Array, given: Array, sample_rate: int, name: str, caption: str) -> Picture:
    """Draw windows before and after (Figures 2, 7 and 10)."""

    def draw(theme: Theme) -> Figure:
        columns = min(2, len(asked))
        rows = -(-len(asked) // columns)
        figure = Figure((WIDTH, 1.35 * rows + 0.6), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
        milliseconds = 1000 * np.arange(asked.shape[1]) / sample_rate
        for axes, before, after in zip(grid, asked, given, strict=False):
            axes.plot(milliseconds, before, color=theme.second, linewidth=0.7, alpha=0.85, label="in")
            axes.plot(milliseconds, after, color=theme.first, linewidth=0.9, label="out")
            axes.set_xlim(0, milliseconds[-1])
            axes.locator_params(axis="y", nbins=3)
        for axes in grid[len(asked) :]:
            axes.set_visible(False)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.supxlabel("ms", fontsize=9)
        return figure

    return Picture(name, caption, draw)


def code_histograms(codes: Mapping[str, Array], normal: CodeDistribution) -> Picture:
    """Draw codes [codes, latents] with the normal density (Figure 5)."""
    n = len(normal.mean)
    shown = list(range(n)) if n <= ALL_LATENTS else []
    reach = 4 * float(normal.deviation.max()) + float(np.abs(normal.mean).max())
    ends = np.linspace(-reach, reach, 61)

    def curve(latents: Sequence[int]) -> Doubles:
        mean, deviation = normal.mean[latents, None], np.maximum(normal.deviation[latents, None], reach / 60)
        density = np.exp(-0.5 * np.square((ends - mean) / deviation)) / (deviation * np.sqrt(2 * np.pi))
        average: Doubles = density.mean(0)
        return average

    def one(axes: Axes, latents: Sequence[int], title: str, theme: Theme) -> None:
        for (name, found), colour in zip(codes.items(), (theme.first, theme.second), strict=False):
            values = np.clip(found[:, latents].ravel(), ends[0], ends[-1])
            axes.hist(values, ends.tolist(), density=True, histtype="step", color=colour, linewidth=1.2, label=name)
        axes.plot(ends, curve(latents), color=theme.ink, linewidth=1, linestyle="--", label="normal")
        axes.set_title(title)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)

    def draw(theme: Theme) -> Figure:
        columns = min(4, 1 + len(shown))
        rows = -(-(1 + len(shown)) // columns)
        figure = Figure((WIDTH, 1.5 * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
        one(grid[0], range(n), "all latents", theme)
        for axes, latent in zip(grid[1:], shown, strict=False):
            one(axes, [latent], f"latent {latent}", theme)
        for axes in grid[1 + len(shown) :]:
            axes.set_visible(False)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
        return figure

    what = "that they were trained toward" if normal.prior else "fitted to training codes, as none was trained toward"
    return Picture("codes", f"How codes are spread; dashed, the normal distribution {what}.", draw)


def resynthesis(asked: Array, given: Array, sample_rate: int) -> Picture:
    """Draw a sound [samples] and its reconstruction (Figure 8)."""

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 3.0), layout="constrained")
        pair = figure.subplots(2, 1, sharex=True, sharey=True)
        for axes, sound, name, colour in zip(
            pair, (given, asked), ("out", "in"), (theme.first, theme.second), strict=True
        ):
            step = max(1, len(sound) // WAVE_POINTS)
            parts = sound[: len(sound) // step * step].reshape(-1, step)
            seconds = np.arange(len(parts)) * step / sample_rate
            axes.fill_between(seconds, parts.min(1), parts.max(1), color=colour, linewidth=0.3)
            axes.set_title(name)
        pair[1].set_xlabel("seconds")
        pair[1].set_xlim(0, len(asked) / sample_rate)
        return figure

    return Picture(
        "resynthesis",
        "Sound of the split, and the same encoded and decoded in windows that follow each other without overlap.",
        draw,
    )


def spectra(levels: Mapping[str, Doubles], hz: Floats, name: str, caption: str) -> Picture:
    """Draw power spectra [bins] in dB under the first's maximum (Figure 9)."""
    top = 10 * np.log10(max(float(next(iter(levels.values())).max()), 1e-30))

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        colours = (theme.second, theme.first, theme.faint, theme.ink)
        styles = ("-", "-", "-", ":")
        for (label, power), colour, style in zip(levels.items(), colours, styles, strict=False):
            level = 10 * np.log10(np.maximum(power, 1e-30)) - top
            axes.plot(hz / 1000, np.maximum(level, -DYNAMIC_DB), style, color=colour, linewidth=1.1, label=label)
        axes.set(xlim=(0, hz[-1] / 1000), ylim=(-DYNAMIC_DB, 10), xlabel="kHz", ylabel="dB")
        axes.grid(axis="y")
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    return Picture(name, caption, draw)


def phases(asked: tuple[Array, Array], given: tuple[Array, Array], hz: Floats, waves: Sequence[Array]) -> Picture:
    """Draw a window's magnitudes, unwrapped phases [bins] and waveforms (Figure 11)."""

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 4.2), layout="constrained")
        places = figure.subplot_mosaic([["magnitude", "phase, radians"], ["waveform", "waveform"]])
        for title, before, after in zip(("magnitude", "phase, radians"), asked, given, strict=True):
            axes = places[title]
            axes.plot(hz / 1000, before, color=theme.second, linewidth=0.9)
            axes.plot(hz / 1000, after, color=theme.first, linewidth=0.9)
            axes.set_title(title)
            axes.set_xlabel("kHz")
        axes = places["waveform"]
        for wave, colour, label in zip(waves, (theme.second, theme.first), ("in", "out"), strict=True):
            axes.plot(wave, color=colour, linewidth=0.9, label=label)
        axes.set_title("waveform")
        axes.set_xlabel("sample")
        axes.legend(loc="upper right", ncols=2)
        return figure

    return Picture(
        "phases",
        "One window of the split: magnitudes, unwrapped phases and waveform, as they went in and came out.",
        draw,
    )


def code_space(codes: Array, sounds: Sequence[str], path: Array) -> Picture:
    """Draw codes [codes, latents] by kind of sound, with a path (Figure 6)."""
    centre = codes.mean(0)
    _, axes_of = np.linalg.eigh(np.atleast_2d(np.cov(codes.T)))
    two = axes_of[:, ::-1][:, :2] if codes.shape[1] > 1 else np.array([[1.0, 0.0]])
    kinds = sorted(set(sounds))
    kind_of = np.array([kinds.index(sound) for sound in sounds])

    def draw(theme: Theme) -> Figure:
        figure = Figure((6.4, 4.6), layout="constrained")
        axes = figure.subplots()
        places = (codes - centre) @ two
        colours = matplotlib.colormaps["viridis"](np.linspace(theme.span[0], 0.8, max(2, len(kinds))))
        for number, kind in enumerate(kinds):
            mine = places[kind_of == number]
            axes.scatter(mine[:, 0], mine[:, 1], s=4, linewidths=0, alpha=0.6, color=colours[number], label=kind)
        way = (path - centre) @ two
        axes.plot(way[:, 0], way[:, 1], color=theme.second, linewidth=1.4)
        axes.plot(*way[0], "o", color=theme.second, label="a recording’s way")
        axes.set(xlabel="component 1", ylabel="component 2")
        figure.legend(loc="outside upper right", ncols=min(4, len(kinds) + 1), markerscale=1.5)
        return figure

    return Picture(
        "code_space",
        "Codes of training windows by the first word of their sound’s name, in their two principal components, and the "
        "way that ten seconds of the split take through them.",
        draw,
        6.4,
    )
