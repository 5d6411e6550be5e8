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


def pictures(recordings: Array, decoded: Array | None, generated: Array, rate: int, *, zoomed: bool) -> list[Picture]:
    """Draw clips [clips, samples], ``zoomed`` also sample by sample."""
    rows = {"recording": recordings} | ({} if decoded is None else {"decoded": decoded}) | {"random code": generated}
    clip_pictures = [waveforms(rows, rate), spectrograms(rows, rate)]
    return clip_pictures if decoded is None or not zoomed else [*clip_pictures, zoom(recordings, decoded, rate)]


def waveforms(rows: Mapping[str, Array], rate: int, name: str = "waveforms") -> Picture:
    caption = "Waveforms: recordings above, clips of the network below, in seconds."
    return Picture(name, caption, _waves(rows, rate))


def spectrograms(rows: Mapping[str, Array], rate: int, name: str = "spectrograms") -> Picture:
    caption = "Levels of 64 mel bands over time, 80 dB deep: recordings above, clips of the network below."
    return Picture(name, caption, _spectrograms(rows, rate))


def zoom(recordings: Array, decoded: Array, rate: int) -> Picture:
    """Draw periods around each clip's loudest sample, [clips, samples]."""
    zoomed_clips, length = slice(0, ZOOMED), round(ZOOM_SECONDS * rate)

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        for axes, clip, decoded_clip in zip(
            np.ravel(figure.subplots(1, ZOOMED)), recordings[zoomed_clips], decoded[zoomed_clips], strict=False
        ):
            start = int(np.clip(np.abs(clip).argmax() - length // 2, 0, max(0, len(clip) - length)))
            part = slice(start, start + length)
            seconds = np.arange(len(clip))[part] / rate
            axes.plot(seconds, clip[part], linewidth=1, color=theme.first, label="recording")
            axes.plot(seconds, decoded_clip[part], linewidth=1, color=theme.second, label="decoded")
            axes.locator_params(axis="x", nbins=4)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return figure

    caption = (
        "Twenty milliseconds around the loudest sample: recordings, and what is decoded of their codes, in seconds."
    )
    return Picture("zoom", caption, draw)


def loss(loss_figures: Mapping[str, Any], checkpoint_step: int) -> Picture:
    """Draw losses together, and health metrics separately; a dotted line marks ``checkpoint_step``.

    ``loss_figures`` has ``steps``, ``terms`` or adversarial ``sides``, and ``health``.
    """
    panels = [
        loss_figures["sides"] or loss_figures["terms"],
        *({name: values} for name, values in loss_figures["health"].items()),
    ]

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 1.3 * len(panels) + 1.3), layout="constrained")
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, lines in zip(grid, panels, strict=True):
            for (name, values), colour in zip(lines.items(), line_colours(len(lines)), strict=True):
                label = name.replace("_", " ")
                axes.plot(loss_figures["steps"], values, ".-", color=colour, linewidth=1.2, label=label)
            axes.axvline(checkpoint_step, color=theme.second, linewidth=1, linestyle=":")
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

CODE_TERMS = ("adjudication", "adversarial")  # terms of the codes, not of the sound
FEWEST_VALIDATIONS = 9  # validations for a plot in three parts
WAVE_POINTS = 3000  # pairs of minimum and maximum sample: more than the picture has columns
DYNAMIC_DB = 80.0  # range below the maximum
ALL_LATENTS = 11  # latents up to which each has its own histogram


def loss_parts(steps: Sequence[int], terms: Mapping[str, Sequence[float]], checkpoint_step: int) -> Picture:
    """Draw losses in three parts (Figure 4); a dotted line marks ``checkpoint_step``."""
    rows = [[n for n in terms if n not in (*CODE_TERMS, "total")], [n for n in terms if n in CODE_TERMS]]
    rows = [names for names in rows if names]
    ends = np.linspace(0, len(steps), 4).astype(int) if len(steps) >= FEWEST_VALIDATIONS else np.array([0, len(steps)])

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 1.9 * len(rows) + 0.5), layout="constrained")
        grid = figure.subplots(len(rows), len(ends) - 1, sharex="col", squeeze=False)
        colours = dict(zip(terms, line_colours(len(terms)), strict=True))
        for names, line in zip(rows, grid, strict=True):
            for axes, begin, end in zip(line, ends, ends[1:], strict=False):
                for name in names:
                    # parts share a point, so that the curve has no gap
                    points = slice(max(begin - 1, 0), end)
                    label = name.replace("_", " ") if begin == 0 else None
                    axes.plot(steps[points], terms[name][points], ".-", color=colours[name], linewidth=1.2, label=label)
                if steps[max(begin - 1, 0)] <= checkpoint_step <= steps[end - 1]:
                    axes.axvline(checkpoint_step, color=theme.second, linewidth=1, linestyle=":")
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


def grain_waveforms(sources: Array, decoded: Array, sample_rate: int, name: str, caption: str) -> Picture:
    """Draw windows before and after (Figures 2, 7 and 10)."""

    def draw(theme: Theme) -> Figure:
        columns = min(2, len(sources))
        rows = -(-len(sources) // columns)
        figure = Figure((WIDTH, 1.35 * rows + 0.6), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
        milliseconds = 1000 * np.arange(sources.shape[1]) / sample_rate
        for axes, source, output in zip(grid, sources, decoded, strict=False):
            axes.plot(milliseconds, source, color=theme.second, linewidth=0.7, alpha=0.85, label="in")
            axes.plot(milliseconds, output, color=theme.first, linewidth=0.9, label="out")
            axes.set_xlim(0, milliseconds[-1])
            axes.locator_params(axis="y", nbins=3)
        for axes in grid[len(sources) :]:
            axes.set_visible(False)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.supxlabel("ms", fontsize=9)
        return figure

    return Picture(name, caption, draw)


def code_histograms(codes: Mapping[str, Array], normal: CodeDistribution) -> Picture:
    """Draw codes [codes, latents] with the normal density (Figure 5)."""
    n = len(normal.mean)
    single_latents = list(range(n)) if n <= ALL_LATENTS else []
    reach = 4 * float(normal.deviation.max()) + float(np.abs(normal.mean).max())
    ends = np.linspace(-reach, reach, 61)

    def curve(latents: Sequence[int]) -> Doubles:
        mean, deviation = normal.mean[latents, None], np.maximum(normal.deviation[latents, None], reach / 60)
        density = np.exp(-0.5 * np.square((ends - mean) / deviation)) / (deviation * np.sqrt(2 * np.pi))
        average: Doubles = density.mean(0)
        return average

    def draw_histogram(axes: Axes, latents: Sequence[int], title: str, theme: Theme) -> None:
        for (name, part_codes), colour in zip(codes.items(), (theme.first, theme.second), strict=False):
            values = np.clip(part_codes[:, latents].ravel(), ends[0], ends[-1])
            axes.hist(values, ends.tolist(), density=True, histtype="step", color=colour, linewidth=1.2, label=name)
        axes.plot(ends, curve(latents), color=theme.ink, linewidth=1, linestyle="--", label="normal")
        axes.set_title(title)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)

    def draw(theme: Theme) -> Figure:
        columns = min(4, 1 + len(single_latents))
        rows = -(-(1 + len(single_latents)) // columns)
        figure = Figure((WIDTH, 1.5 * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
        draw_histogram(grid[0], range(n), "all latents", theme)
        for axes, latent in zip(grid[1:], single_latents, strict=False):
            draw_histogram(axes, [latent], f"latent {latent}", theme)
        for axes in grid[1 + len(single_latents) :]:
            axes.set_visible(False)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
        return figure

    origin = "that they were trained toward" if normal.prior else "fitted to training codes, as none was trained toward"
    return Picture("codes", f"How codes are spread; dashed, the normal distribution {origin}.", draw)


def resynthesis(source: Array, remade: Array, sample_rate: int) -> Picture:
    """Draw a sound [samples] and its reconstruction (Figure 8)."""

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 3.0), layout="constrained")
        pair = figure.subplots(2, 1, sharex=True, sharey=True)
        for axes, sound, name, colour in zip(
            pair, (remade, source), ("out", "in"), (theme.first, theme.second), strict=True
        ):
            step = max(1, len(sound) // WAVE_POINTS)
            parts = sound[: len(sound) // step * step].reshape(-1, step)
            seconds = np.arange(len(parts)) * step / sample_rate
            axes.fill_between(seconds, parts.min(1), parts.max(1), color=colour, linewidth=0.3)
            axes.set_title(name)
        pair[1].set_xlabel("seconds")
        pair[1].set_xlim(0, len(source) / sample_rate)
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


def phases(source: tuple[Array, Array], decoded: tuple[Array, Array], hz: Floats, waves: Sequence[Array]) -> Picture:
    """Draw a window's magnitudes, unwrapped phases [bins] and waveforms (Figure 11)."""

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 4.2), layout="constrained")
        panels = figure.subplot_mosaic([["magnitude", "phase, radians"], ["waveform", "waveform"]])
        for title, source_curve, decoded_curve in zip(("magnitude", "phase, radians"), source, decoded, strict=True):
            axes = panels[title]
            axes.plot(hz / 1000, source_curve, color=theme.second, linewidth=0.9)
            axes.plot(hz / 1000, decoded_curve, color=theme.first, linewidth=0.9)
            axes.set_title(title)
            axes.set_xlabel("kHz")
        axes = panels["waveform"]
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
    principal_axes = axes_of[:, ::-1][:, :2] if codes.shape[1] > 1 else np.array([[1.0, 0.0]])
    kinds = sorted(set(sounds))
    kind_of = np.array([kinds.index(sound) for sound in sounds])

    def draw(theme: Theme) -> Figure:
        figure = Figure((6.4, 4.6), layout="constrained")
        axes = figure.subplots()
        points = (codes - centre) @ principal_axes
        colours = matplotlib.colormaps["viridis"](np.linspace(theme.span[0], 0.8, max(2, len(kinds))))
        for number, kind in enumerate(kinds):
            kind_points = points[kind_of == number]
            axes.scatter(
                kind_points[:, 0], kind_points[:, 1], s=4, linewidths=0, alpha=0.6, color=colours[number], label=kind
            )
        path_points = (path - centre) @ principal_axes
        axes.plot(path_points[:, 0], path_points[:, 1], color=theme.second, linewidth=1.4)
        axes.plot(*path_points[0], "o", color=theme.second, label="a recording’s way")
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
