"""Pictures of reports on clips and on grains: waveforms, spectrograms and losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...host.arrays import Array, Doubles
from ...host.spectra import log_mel
from ..measures.codes import CodeDistribution
from .report import WIDTH, Picture, Theme, line_colours, panels

DEEPEST_DB = -80.0  # lower end of spectrograms
ZOOMED, ZOOM_SECONDS = 3, 0.02  # clips, and seconds of each: a few periods reveal the shape of a wave
WAVE_COLUMNS = 600  # pairs of minimum and maximum sample per waveform: more than its picture has columns


def pictures(recordings: Array, decoded: Array | None, generated: Array, rate: int, *, zoomed: bool) -> list[Picture]:
    """Draw clips [clips, samples], ``zoomed`` also sample by sample."""
    clips_by_row = (
        {"recording": recordings} | ({} if decoded is None else {"decoded": decoded}) | {"random code": generated}
    )
    clip_pictures = [waveforms(clips_by_row, rate), spectrograms(clips_by_row, rate)]
    return clip_pictures if decoded is None or not zoomed else [*clip_pictures, zoom(recordings, decoded, rate)]


def waveforms(
    rows: Mapping[str, Array],
    rate: int,
    name: str = "waveforms",
    caption: str = "Waveforms: recordings above, clips of the network below, in seconds.",
) -> Picture:
    """Draw the waveforms of rows of clips, by row name."""

    def draw(theme: Theme) -> Figure:
        figure, axes_grid = _grid(rows)
        for row_axes, clips in zip(axes_grid, rows.values(), strict=True):
            for axes, clip in zip(row_axes, clips, strict=False):
                extremes = _extremes(clip / max(float(np.abs(clip).max()), 1e-9), WAVE_COLUMNS, rate)
                axes.fill_between(*extremes, color=theme.first, linewidth=0)
                axes.set_ylim(-1.05, 1.05)
        return figure

    return Picture(name, caption, draw)


def spectrograms(
    rows: Mapping[str, Array],
    rate: int,
    name: str = "spectrograms",
    caption: str = "Levels of 64 mel bands over time, 80 dB deep: recordings above, clips of the network below.",
) -> Picture:
    """Draw the mel bands of rows of clips, by row name."""

    def draw(theme: Theme) -> Figure:
        figure, axes_grid = _grid(rows)
        for row_axes, clips in zip(axes_grid, rows.values(), strict=True):
            for axes, band_levels, clip in zip(row_axes, log_mel(clips, rate), clips, strict=False):
                axes.imshow(
                    band_levels.T,
                    origin="lower",
                    aspect="auto",
                    vmin=DEEPEST_DB,
                    vmax=0,
                    cmap="magma",
                    extent=(0, len(clip) / rate, 0, band_levels.shape[1]),
                )
        return figure

    return Picture(name, caption, draw)


def _grid(rows: Mapping[str, Array]) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with named rows of axes, for each clip of each row."""
    column_count = len(next(iter(rows.values())))
    figure, clip_axes = panels(len(rows) * column_count, column_count, 1.25, 0.3, sharex=True)
    axes_grid = [clip_axes[start : start + column_count] for start in range(0, len(clip_axes), column_count)]
    for row_axes, row_name in zip(axes_grid, rows, strict=True):
        row_axes[0].set_ylabel(row_name)
        for axes in row_axes:
            axes.set_yticks([])
    return figure, axes_grid


def _extremes(sound: Array, columns: int, rate: int) -> tuple[Doubles, Array, Array]:
    """Return the seconds, lowest and highest samples of a sound's blocks, one a column of a picture."""
    block_samples = max(1, len(sound) // columns)
    sample_blocks = sound[: len(sound) // block_samples * block_samples].reshape(-1, block_samples)
    return np.arange(len(sample_blocks)) * block_samples / rate, sample_blocks.min(1), sample_blocks.max(1)


def zoom(recordings: Array, decoded: Array, rate: int) -> Picture:
    """Draw periods around each clip's loudest sample, [clips, samples]."""
    zoom_samples = round(ZOOM_SECONDS * rate)

    def draw(theme: Theme) -> Figure:
        figure, panel_axes = panels(ZOOMED, ZOOMED, 2.6)
        for axes, clip, decoded_clip in zip(panel_axes, recordings, decoded, strict=False):
            start_sample = int(np.clip(np.abs(clip).argmax() - zoom_samples // 2, 0, max(0, len(clip) - zoom_samples)))
            sample_slice = slice(start_sample, start_sample + zoom_samples)
            sample_seconds = np.arange(len(clip))[sample_slice] / rate
            axes.plot(sample_seconds, clip[sample_slice], linewidth=1, color=theme.first, label="recording")
            axes.plot(sample_seconds, decoded_clip[sample_slice], linewidth=1, color=theme.second, label="decoded")
            axes.locator_params(axis="x", nbins=4)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return figure

    caption = (
        "Twenty milliseconds around the loudest sample: recordings, and what is decoded of their codes, in seconds."
    )
    return Picture("zoom", caption, draw)


def loss(loss_figures: Mapping[str, Any], checkpoint_step: int) -> list[Picture]:
    """Draw losses together, and health metrics separately; a dotted line marks ``checkpoint_step``.

    ``loss_figures`` has ``steps``, ``terms`` or adversarial ``sides``, and ``health``; nothing without logged steps.
    """
    if not loss_figures["steps"]:
        return []
    panel_curves = [
        loss_figures["sides"] or loss_figures["terms"],
        *({metric_name: metric_values} for metric_name, metric_values in loss_figures["health"].items()),
    ]

    def draw(theme: Theme) -> Figure:
        figure, panel_axes = panels(len(panel_curves), 1, 1.3, 1.3, sharex=True)
        for axes, curves in zip(panel_axes, panel_curves, strict=True):
            for (curve_name, curve_values), colour in zip(curves.items(), line_colours(len(curves)), strict=True):
                curve_label = curve_name.replace("_", " ")
                axes.plot(loss_figures["steps"], curve_values, ".-", color=colour, linewidth=1.2, label=curve_label)
            axes.axvline(checkpoint_step, color=theme.second, linewidth=1, linestyle=":")
            axes.grid(axis="y")
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6)
        panel_axes[-1].set_xlabel("step")
        return figure

    return [Picture("loss", "The losses on validation clips, as weighted. The dotted line is this checkpoint.", draw)]


Floats = npt.NDArray[np.floating[Any]]

CODE_TERMS = ("adjudication", "adversarial")  # terms of the codes, not of the sound
FEWEST_VALIDATIONS = 9  # validations for a plot in three parts
WAVE_POINTS = 3000  # pairs of minimum and maximum sample: more than the picture has columns
DYNAMIC_DB = 80.0  # range below the maximum
ALL_LATENTS = 11  # latents up to which each has its own histogram


def loss_parts(loss_figures: Mapping[str, Any], checkpoint_step: int) -> list[Picture]:
    """Draw losses in three parts (Figure 4); a dotted line marks ``checkpoint_step``; nothing without logged steps."""
    steps, terms = loss_figures["steps"], loss_figures["terms"]
    if not steps:
        return []
    term_rows = [
        [term for term in terms if term not in (*CODE_TERMS, "total")],
        [term for term in terms if term in CODE_TERMS],
    ]
    term_rows = [row_terms for row_terms in term_rows if row_terms]
    part_ends = (
        np.linspace(0, len(steps), 4).astype(int) if len(steps) >= FEWEST_VALIDATIONS else np.array([0, len(steps)])
    )

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 1.9 * len(term_rows) + 0.5), layout="constrained")
        axes_grid = figure.subplots(len(term_rows), len(part_ends) - 1, sharex="col", squeeze=False)
        colours_by_term = dict(zip(terms, line_colours(len(terms)), strict=True))
        for row_terms, row_axes in zip(term_rows, axes_grid, strict=True):
            for axes, part_begin, part_end in zip(row_axes, part_ends, part_ends[1:], strict=False):
                for term in row_terms:
                    # parts share a point, so that the curve has no gap
                    part_slice = slice(max(part_begin - 1, 0), part_end)
                    curve_label = term.replace("_", " ") if part_begin == 0 else None
                    axes.plot(
                        steps[part_slice],
                        terms[term][part_slice],
                        ".-",
                        color=colours_by_term[term],
                        linewidth=1.2,
                        label=curve_label,
                    )
                if steps[max(part_begin - 1, 0)] <= checkpoint_step <= steps[part_end - 1]:
                    axes.axvline(checkpoint_step, color=theme.second, linewidth=1, linestyle=":")
                axes.grid(axis="y")
        for axes in axes_grid[-1]:
            axes.set_xlabel("step")
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    parts_text = "in three parts of the training, each on its own scale" if len(part_ends) > 2 else "while it trained"
    caption = (
        f"The losses on validation sounds {parts_text}: the sound’s, and below, where codes are judged, the "
        "adjudicator’s and the encoder’s against it. The dotted line is this checkpoint."
    )
    return [Picture("loss", caption, draw)]


def grain_waveforms(sources: Array, decoded: Array, sample_rate: int, name: str, caption: str) -> Picture:
    """Draw windows before and after (Figures 2, 7 and 10)."""

    def draw(theme: Theme) -> Figure:
        figure, window_axes = panels(len(sources), min(2, len(sources)), 1.35, 0.6, sharex=True)
        milliseconds = 1000 * np.arange(sources.shape[1]) / sample_rate
        for axes, source_window, decoded_window in zip(window_axes, sources, decoded, strict=True):
            axes.plot(milliseconds, source_window, color=theme.second, linewidth=0.7, alpha=0.85, label="in")
            axes.plot(milliseconds, decoded_window, color=theme.first, linewidth=0.9, label="out")
            axes.set_xlim(0, milliseconds[-1])
            axes.locator_params(axis="y", nbins=3)
        figure.legend(*window_axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.supxlabel("ms", fontsize=9)
        return figure

    return Picture(name, caption, draw)


def code_histograms(codes: Mapping[str, Array], normal: CodeDistribution) -> Picture:
    """Draw codes [codes, latents] with the normal density (Figure 5)."""
    n = len(normal.mean)
    single_latents = list(range(n)) if n <= ALL_LATENTS else []
    largest_code = 4 * float(normal.deviation.max()) + float(np.abs(normal.mean).max())
    bin_edges = np.linspace(-largest_code, largest_code, 61)

    def curve(latents: Sequence[int]) -> Doubles:
        latent_means, latent_deviations = (
            normal.mean[latents, None],
            np.maximum(normal.deviation[latents, None], largest_code / 60),
        )
        latent_densities = np.exp(-0.5 * np.square((bin_edges - latent_means) / latent_deviations)) / (
            latent_deviations * np.sqrt(2 * np.pi)
        )
        mean_density: Doubles = latent_densities.mean(0)
        return mean_density

    def draw_histogram(axes: Axes, latents: Sequence[int], title: str, theme: Theme) -> None:
        for (part_name, part_codes), colour in zip(codes.items(), (theme.first, theme.second), strict=False):
            clipped_codes = np.clip(part_codes[:, latents].ravel(), bin_edges[0], bin_edges[-1])
            axes.hist(
                clipped_codes,
                bin_edges.tolist(),
                density=True,
                histtype="step",
                color=colour,
                linewidth=1.2,
                label=part_name,
            )
        axes.plot(bin_edges, curve(latents), color=theme.ink, linewidth=1, linestyle="--", label="normal")
        axes.set_title(title)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)

    def draw(theme: Theme) -> Figure:
        panel_count = 1 + len(single_latents)
        figure, (first_axes, *latent_axes) = panels(panel_count, min(4, panel_count), 1.5, 0.5, sharex=True)
        draw_histogram(first_axes, range(n), "all latents", theme)
        for axes, latent_index in zip(latent_axes, single_latents, strict=True):
            draw_histogram(axes, [latent_index], f"latent {latent_index}", theme)
        figure.legend(*first_axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
        return figure

    origin = "that they were trained toward" if normal.prior else "fitted to training codes, as none was trained toward"
    return Picture("codes", f"How codes are spread; dashed, the normal distribution {origin}.", draw)


def resynthesis(source: Array, remade: Array, sample_rate: int) -> Picture:
    """Draw a sound [samples] and its reconstruction (Figure 8)."""

    def draw(theme: Theme) -> Figure:
        figure, axes_pair = panels(2, 1, 1.5, sharex=True, sharey=True)
        for axes, sound, side_name, colour in zip(
            axes_pair, (remade, source), ("out", "in"), (theme.first, theme.second), strict=True
        ):
            axes.fill_between(*_extremes(sound, WAVE_POINTS, sample_rate), color=colour, linewidth=0.3)
            axes.set_title(side_name)
        axes_pair[1].set_xlabel("seconds")
        axes_pair[1].set_xlim(0, len(source) / sample_rate)
        return figure

    return Picture(
        "resynthesis",
        "Sound of the split, and the same encoded and decoded in windows that follow each other without overlap.",
        draw,
    )


def spectra(levels: Mapping[str, Doubles], hz: Floats, name: str, caption: str) -> Picture:
    """Draw power spectra [bins] in dB under the first's maximum (Figure 9)."""
    top_db = 10 * np.log10(max(float(next(iter(levels.values())).max()), 1e-30))

    def draw(theme: Theme) -> Figure:
        figure, [axes] = panels(1, 1, 2.9)
        colours = (theme.second, theme.first, theme.faint, theme.ink)
        line_styles = ("-", "-", "-", ":")
        for (label, powers), colour, line_style in zip(levels.items(), colours, line_styles, strict=False):
            levels_db = 10 * np.log10(np.maximum(powers, 1e-30)) - top_db
            axes.plot(
                hz / 1000, np.maximum(levels_db, -DYNAMIC_DB), line_style, color=colour, linewidth=1.1, label=label
            )
        axes.set(xlim=(0, hz[-1] / 1000), ylim=(-DYNAMIC_DB, 10), xlabel="kHz", ylabel="dB")
        axes.grid(axis="y")
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    return Picture(name, caption, draw)


def phases(source: tuple[Array, Array], decoded: tuple[Array, Array], hz: Floats, waves: Sequence[Array]) -> Picture:
    """Draw a window's magnitudes, unwrapped phases [bins] and waveforms (Figure 11)."""

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 4.2), layout="constrained")
        axes_by_title = figure.subplot_mosaic([["magnitude", "phase, radians"], ["waveform", "waveform"]])
        for title, source_curve, decoded_curve in zip(("magnitude", "phase, radians"), source, decoded, strict=True):
            axes = axes_by_title[title]
            axes.plot(hz / 1000, source_curve, color=theme.second, linewidth=0.9)
            axes.plot(hz / 1000, decoded_curve, color=theme.first, linewidth=0.9)
            axes.set_title(title)
            axes.set_xlabel("kHz")
        axes = axes_by_title["waveform"]
        for waveform, colour, label in zip(waves, (theme.second, theme.first), ("in", "out"), strict=True):
            axes.plot(waveform, color=colour, linewidth=0.9, label=label)
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
    mean_code = codes.mean(0)
    _, eigenvectors = np.linalg.eigh(np.atleast_2d(np.cov(codes.T)))
    principal_axes = eigenvectors[:, ::-1][:, :2] if codes.shape[1] > 1 else np.array([[1.0, 0.0]])
    kind_names = sorted(set(sounds))
    kind_indices = np.array([kind_names.index(sound) for sound in sounds])

    def draw(theme: Theme) -> Figure:
        figure, [axes] = panels(1, 1, 4.6, width=6.4)
        code_points = (codes - mean_code) @ principal_axes
        kind_colours = matplotlib.colormaps["viridis"](np.linspace(theme.span[0], 0.8, max(2, len(kind_names))))
        for kind_index, kind_name in enumerate(kind_names):
            kind_points = code_points[kind_indices == kind_index]
            axes.scatter(
                kind_points[:, 0],
                kind_points[:, 1],
                s=4,
                linewidths=0,
                alpha=0.6,
                color=kind_colours[kind_index],
                label=kind_name,
            )
        path_points = (path - mean_code) @ principal_axes
        axes.plot(path_points[:, 0], path_points[:, 1], color=theme.second, linewidth=1.4)
        axes.plot(*path_points[0], "o", color=theme.second, label="a recording’s way")
        axes.set(xlabel="component 1", ylabel="component 2")
        figure.legend(loc="outside upper right", ncols=min(4, len(kind_names) + 1), markerscale=1.5)
        return figure

    return Picture(
        "code_space",
        "Codes of training windows by the first word of their sound’s name, in their two principal components, and the "
        "way that ten seconds of the split take through them.",
        draw,
        6.4,
    )
