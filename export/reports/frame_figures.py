"""Pictures of reports on frames: spectra, keys, latents and losses."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...host.arrays import Array, Integers
from ...host.units import PITCH_CLASSES
from ..measures.frames import LOWEST_DB, spectrum_db
from .measure import percent, two_digits
from .report import WIDTH, Dots, Picture, Theme, line_colours, panels

LOWEST_HZ = 40.0  # lower end of spectra
FREQUENCIES_HZ = {50: "50", 100: "100", 200: "200", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10000: "10k"}
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
LOWEST_TERM = 1e-3  # of the total: smaller terms of the loss would clutter the axis
LARGEST_TABLE = 12  # latents up to which a correlation matrix has room for its numbers


def reconstructions(targets: Array, decoded: Array, titles: Sequence[str], sample_rate: int) -> Picture:
    """Draw spectra [frames, bins] before and after."""

    def draw(theme: Theme) -> Figure:
        bins_hz = np.linspace(0, sample_rate / 2, targets.shape[1])
        figure, frame_axes = panels(len(targets), min(2, len(targets)), 1.45, 0.6, sharex=True, sharey=True)
        for axes, target_spectrum, decoded_spectrum, title in zip(frame_axes, targets, decoded, titles, strict=True):
            axes.fill_between(
                bins_hz, LOWEST_DB, spectrum_db(target_spectrum), color=theme.faint, alpha=0.75, linewidth=0, label="in"
            )
            axes.plot(bins_hz, spectrum_db(decoded_spectrum), color=theme.second, linewidth=0.8, label="out")
            axes.set_title(_literal(title))
            axes.set_xscale("log")
            axes.set(xlim=(LOWEST_HZ, sample_rate / 2), ylim=(LOWEST_DB, 6), yticks=(-80, -60, -40, -20, 0))
            ticks_hz = [tick_hz for tick_hz in (100, 1000, 10000) if tick_hz < sample_rate / 2]
            axes.set_xticks(ticks_hz, [FREQUENCIES_HZ[tick_hz] for tick_hz in ticks_hz])
        figure.legend(*frame_axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.supxlabel("Hz", fontsize=9)
        figure.supylabel("dB", fontsize=9)
        return figure

    return Picture(
        "reconstructions",
        "Frames of the split, spread over it: what went in (grey) and what came out (line), in dB under the maximum.",
        draw,
    )


def spectrogram(
    targets: Array, decoded: Array, times: npt.NDArray[np.float64], hop_seconds: float, title: str, sample_rate: int
) -> Picture:
    """Draw a clip [frames, bins] before and after; ``times`` are frame starts in seconds."""
    duration_seconds = float(times[-1]) + hop_seconds
    column_seconds = np.linspace(0, duration_seconds, 480, endpoint=False)
    frame_indices = np.maximum(np.searchsorted(times, column_seconds, side="right") - 1, 0)
    is_left_out = (column_seconds < times[frame_indices]) | (column_seconds > times[frame_indices] + 1.5 * hop_seconds)
    row_octaves = np.linspace(np.log2(LOWEST_HZ), np.log2(sample_rate / 2), 320)
    bins_hz = np.linspace(0, sample_rate / 2, targets.shape[1])

    def image(spectra: Array) -> Array:
        levels_db = np.stack(
            [np.interp(2**row_octaves, bins_hz, frame_levels_db) for frame_levels_db in spectrum_db(spectra)]
        )[frame_indices]
        levels_db[is_left_out] = LOWEST_DB
        return levels_db.T

    def draw(theme: Theme) -> Figure:
        figure, axes_pair = panels(2, 2, 3.3, sharey=True)
        extent = (0, duration_seconds, row_octaves[0], row_octaves[-1])
        for axes, side_magnitudes, side_name in zip(axes_pair, (targets, decoded), ("in", "out"), strict=True):
            axes_image = axes.imshow(
                image(side_magnitudes),
                cmap="magma",
                vmin=LOWEST_DB,
                vmax=0,
                aspect="auto",
                origin="lower",
                extent=extent,
            )
            axes.set_title(_literal(f"{title}: {side_name}"))
            axes.set_xlabel("seconds")
            ticks_hz = [tick_hz for tick_hz in FREQUENCIES_HZ if LOWEST_HZ <= tick_hz <= sample_rate / 2]
            axes.set_yticks(np.log2(ticks_hz), [FREQUENCIES_HZ[tick_hz] for tick_hz in ticks_hz])
        axes_pair[0].set_ylabel("Hz")
        figure.colorbar(axes_image, ax=axes_pair, label="dB", pad=0.01).outline.set_visible(False)
        return figure

    return Picture(
        "spectrogram",
        "A clip of the split whose error is the median of all: what went in and what came out, each frame in dB under "
        "its maximum; black is what was left out as too quiet or without pitch.",
        draw,
    )


def key_bars(codes: dict[str, float | None], mesh: dict[str, float | None]) -> Picture:
    """Draw the shares of obeyed keys by pitch class, for training codes and codes of a mesh."""

    def draw(theme: Theme) -> Figure:
        figure, [axes] = panels(1, 1, 2.5)
        bar_positions = np.arange(12)
        for bar_offset, shares_by_class, colour, label in (
            (-0.2, codes, theme.first, "training codes"),
            (0.2, mesh, theme.second, "mesh"),
        ):
            bar_heights = [shares_by_class[class_name] or 0.0 for class_name in PITCH_CLASSES]
            axes.bar(bar_positions + bar_offset, bar_heights, 0.38, color=colour, label=label)
        for class_index, class_name in enumerate(PITCH_CLASSES):
            if codes[class_name] is None:
                axes.text(class_index, 0.02, "–", ha="center")
        axes.set_xticks(bar_positions, PITCH_CLASSES)
        axes.tick_params(axis="x", length=0)
        axes.set(ylim=(0, 1), xlim=(-0.6, 11.6))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper right", ncols=2)
        return figure

    return Picture(
        "keys",
        "How often the strongest pitch class of a decoded frame is the asked one; – was not heard in training.",
        draw,
    )


def square(answers: dict[int, Integers], low: Sequence[float], high: Sequence[float]) -> Picture:
    """Draw the strongest pitch class over two latents (Figures 4 and 5)."""

    def draw(theme: Theme) -> Figure:
        figure, class_axes = panels(len(answers), 4, 2.05, 0.35, sharex=True, sharey=True)
        extent = (low[0], high[0], low[1], high[1])
        for axes, (pitch_class, strongest_classes) in zip(class_axes, answers.items(), strict=True):
            side_points = round(len(strongest_classes) ** 0.5)
            axes.imshow(
                # .T puts the first latent on x
                np.ma.masked_less(strongest_classes.reshape(side_points, side_points).T, 0),
                cmap=theme.pitch_classes(),
                vmin=-0.5,
                vmax=11.5,
                origin="lower",
                extent=extent,
                aspect="auto",
                interpolation="nearest",
            )
            is_wrong = (strongest_classes != pitch_class).reshape(side_points, side_points).T
            if is_wrong.any():
                hatched_areas = axes.contourf(
                    is_wrong, [0.5, 1.5], colors="none", hatches=["////"], origin="lower", extent=extent
                )
                hatched_areas.set_edgecolor(theme.second)
                hatched_areas.set_linewidth(0)
            axes.set_title(
                f"{PITCH_CLASSES[pitch_class]} asked: {percent(float(np.mean(strongest_classes == pitch_class)))} right"
            )
        figure.supxlabel("latent 0", fontsize=9)
        figure.supylabel("latent 1", fontsize=9)
        pitch_class_bar(figure, theme)
        return figure

    return Picture(
        "square",
        "The strongest pitch class all over the two latents, for each pitch class asked (the publication's Figures 4 "
        "and 5): a key that is obeyed everywhere fills its square with one colour; mismatches are hatched.",
        draw,
    )


def latent_pictures(codes: Array, pitch_classes: Integers, latent_figures: Mapping[str, Any]) -> list[Picture]:
    """Draw training codes [frames, latents]; a single latent has only a histogram."""
    pictures = [histograms(codes, *knob_ends(latent_figures))]
    if codes.shape[1] > 1:
        pictures = [embedding(codes, pitch_classes), *pictures, correlation(latent_figures["correlation"])]
    return pictures


def knob_ends(latent_figures: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Return the low ends and the high ends of knobs."""
    dimensions = latent_figures["dimensions"]
    return [dimension["low"] for dimension in dimensions], [dimension["high"] for dimension in dimensions]


def embedding(latents: Array, pitch_classes: Integers) -> Picture:
    """Draw codes [frames, latents] by two latents, or beyond three by principal components."""
    n = latents.shape[1]
    if n > 3:
        coordinates, axis_names, projection_text = (
            _principal(latents),
            ["component 1", "component 2"],
            "their two principal components",
        )
    else:
        coordinates, axis_names, projection_text = latents, [f"latent {i}" for i in range(n)], "two latents at a time"

    axis_pairs = list(combinations(range(coordinates.shape[1]), 2))
    width, height = (5.6, 4.4) if len(axis_pairs) == 1 else (WIDTH, 3.0)
    dots = Dots(tuple(coordinates[:, axis_pair] for axis_pair in axis_pairs), latents, pitch_classes)

    def draw(theme: Theme) -> Figure:
        figure, pair_axes = panels(len(axis_pairs), len(axis_pairs), height, width=width)
        for axes, (x, y) in zip(pair_axes, axis_pairs, strict=True):
            axes.scatter(
                coordinates[:, x], coordinates[:, y], c=pitch_classes, cmap=theme.pitch_classes(), vmin=-0.5, vmax=11.5,
                s=5, alpha=0.8, linewidths=0,
            )  # fmt: skip
            axes.set(xlabel=axis_names[x], ylabel=axis_names[y])
        pitch_class_bar(figure, theme)
        return figure

    return Picture(
        "embedding",
        f"Training codes, by {projection_text}, coloured by pitch class. Where keys decide the pitch, colours mix; "
        "islands of one colour mean that the latents hold the pitch too.",
        draw,
        width,
        dots,
    )


def histograms(latents: Array, low: Sequence[float], high: Sequence[float]) -> Picture:
    """Draw codes [frames, latents] with knob ends."""

    def draw(theme: Theme) -> Figure:
        n = latents.shape[1]
        figure, latent_axes = panels(n, min(4, n), 1.35, 0.3)
        for i, axes in enumerate(latent_axes):
            axes.hist(latents[:, i], 48, color=theme.first)
            for knob_end in (low[i], high[i]):
                axes.axvline(knob_end, color=theme.second, linewidth=1)
            axes.set_title(f"latent {i}")
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        return figure

    return Picture(
        "histograms",
        "How training codes are spread over each latent; the lines are the ends of its knob (1 % and 99 %).",
        draw,
    )


def correlation(matrix: Sequence[Sequence[float]]) -> Picture:
    """Draw the correlation matrix of latents."""
    n = len(matrix)
    width = min(5.0, 1.6 + 0.42 * n)

    def draw(theme: Theme) -> Figure:
        figure, [axes] = panels(1, 1, width - 0.9, width=width)
        colour_map = LinearSegmentedColormap.from_list("sides", [theme.first, theme.paper, theme.second])
        matrix_image = axes.imshow(matrix, cmap=colour_map, vmin=-1, vmax=1)
        if n <= LARGEST_TABLE:
            for (row, column), matrix_value in np.ndenumerate(np.array(matrix)):
                is_dark = np.dot(matrix_image.to_rgba(matrix_value)[:3], LUMINANCE) < 0.5
                text_colour, number_text = "white" if is_dark else "black", two_digits(matrix_value)
                axes.text(column, row, number_text, ha="center", va="center", fontsize=7, color=text_colour)
            axes.set_xticks(range(n))
            axes.set_yticks(range(n))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.colorbar(matrix_image, ax=axes).outline.set_visible(False)
        return figure

    return Picture(
        "correlation", "Correlation of the latents: near 0, each knob does something of its own.", draw, width
    )


def loss_curve(loss_figures: Mapping[str, Any], checkpoint_step: int) -> list[Picture]:
    """Draw weighted terms, and a dotted line at ``checkpoint_step``; nothing without logged steps."""
    steps, terms = loss_figures["steps"], loss_figures["terms"]
    if not steps:
        return []

    def draw(theme: Theme) -> Figure:
        figure, [axes] = panels(1, 1, 2.8)
        term_names = [term_name for term_name in terms if term_name != "total"] if len(terms) > 2 else []
        for term_name, colour in zip(term_names, line_colours(len(term_names)), strict=True):
            axes.plot(
                steps, terms[term_name], color=colour, linewidth=1.2, label=term_name.replace("_", " "), marker="."
            )
        axes.plot(steps, terms["total"], color=theme.ink, linewidth=2, label="total", marker="o", markersize=3)
        axes.axvline(checkpoint_step, color=theme.second, linewidth=1, linestyle=":", label="this checkpoint")
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(axes.get_ylim()[0], LOWEST_TERM * min(terms["total"])))
        axes.set_xlabel("step")
        axes.grid(axis="y")
        figure.legend(loc="outside right center")
        return figure

    return [Picture("loss", "The loss on the validation split while it trained, and the weighted terms of it.", draw)]


def _literal(text: str) -> str:
    return text.replace("$", r"\$")


def _principal(latents: Array) -> Array:
    """Return the first two principal components of codes; the largest weight is positive: runs are not mirrored."""
    centred_codes = latents - latents.mean(0)
    _, eigenvectors = np.linalg.eigh(centred_codes.T @ centred_codes)  # ascending order
    principal_axes = eigenvectors[:, :-3:-1]
    components: Array = centred_codes @ (
        principal_axes * np.sign(principal_axes[np.abs(principal_axes).argmax(0), [0, 1]])
    )
    return components


def pitch_class_bar(figure: Figure, theme: Theme) -> None:
    """Draw the colour bar of pitch classes beside a figure's axes."""
    colour_scale = ScalarMappable(BoundaryNorm(np.arange(-0.5, 12), 12), theme.pitch_classes())
    colour_bar = figure.colorbar(colour_scale, ax=figure.axes, ticks=range(12), pad=0.01, aspect=30)
    colour_bar.ax.set_yticklabels(PITCH_CLASSES)
    colour_bar.ax.tick_params(length=0)
    colour_bar.outline.set_visible(False)
