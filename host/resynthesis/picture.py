"""Draws performances as PNG (waveform, spectrogram, piano roll, latents), and codes among the training codes."""

import io
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles
from ..errors import UserError
from ..events import Event, NoteOff, NoteOn, nearest_key
from ..files import replacing
from ..model.card import Card, in_deviations
from ..units import note_name
from .codes import distances, landmark_codes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

DRAWING = threading.Lock()  # matplotlib's settings are those of the process: two threads would mix or lose them
INCHES, SIDE_BY_SIDE = (12.0, 8.5), (12.0, 4.5)
DOTS_PER_INCH, SMALL_DOTS_PER_INCH = 150, 64  # of files, and of pictures inside other files
COLUMNS = 1500  # of waveform and spectrogram: about a panel's width in pixels
ROWS = 400  # of the spectrogram
WINDOW_SECONDS = 0.09  # separates neighbouring keys from about C3 up
LOWEST_HZ = 30.0
RANGE_DB = 80.0
FREQUENCIES_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
LONGEST_NAME = 12  # letters of a latent's name that fit the legend
BLACK_KEYS = (1, 3, 6, 8, 10)

PAPER, INK, FAINT, WAVE = "#fcfbf8", "#33383f", "#dcdad4", "#3d7186"
LEVELS = (PAPER, "#cfe0e2", "#6fa5b1", "#2c5f7c", "#131f3c")  # soft to loud
VELOCITIES = ("#f2d6a2", "#e08e5b", "#bf4a4f", "#6b1f46")
PATHS = ("#2c5f7c", "#d9813f", "#5c9360", "#b8434e", "#7d6aa8", "#8a6a4f", "#c983ab", "#7d7d7d", "#a8a13a", "#47a3b3")


def draw_performance(
    path: Path,
    audio: Array,
    rate: int,
    events: Sequence[Event],
    latents: Array,
    latent_names: Sequence[str],
    title: str,
    overwrite: bool = False,
) -> None:
    """Draw a PNG of 1800 by 1275 pixels.

    Args:
        audio: [2, n].
        events: in samples of ``audio``.
        latents: [frames, n_latents], evenly spaced.

    Raises:
        UserError: as `check_picture` and `check_output`.
        Failure: the file cannot be written.
    """
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    assert latents.ndim == 2
    assert latents.shape[1] == len(latent_names)
    seconds = max(audio.shape[1], 1) / rate
    with replacing(path, overwrite) as temporary_path, DRAWING, rc_context(style()):
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH)
        grid = figure.add_gridspec(
            4, 2, width_ratios=(1, 0.012), height_ratios=(1, 2.7, 1.9, 1.5), wspace=0.02, hspace=0.16,
            left=0.065, right=0.915, top=0.925, bottom=0.065,
        )  # fmt: skip
        top_panel = figure.add_subplot(grid[0, 0])
        panels = [top_panel, *(figure.add_subplot(grid[row, 0], sharex=top_panel) for row in (1, 2, 3))]
        key_axes = [figure.add_subplot(grid[row, 1]) for row in range(4)]
        figure.text(0.065, 0.957, title, fontsize=14, weight="bold")
        _draw_waveform(panels[0], audio, seconds)
        _draw_spectrogram(panels[1], key_axes[1], audio, rate, seconds)
        _draw_keys(panels[2], key_axes[2], events, rate, audio.shape[1])
        _draw_latents(panels[3], latents, latent_names, seconds)
        for panel in panels[:3]:
            panel.tick_params(labelbottom=False)
        for unused_axes in (key_axes[0], key_axes[3]):
            unused_axes.set_axis_off()
        panels[3].set_xlabel("seconds")
        top_panel.set_xlim(0, seconds)
        figure.align_ylabels(panels)
        figure.savefig(temporary_path, format="png")


def draw_spectrograms(path: Path, sounds: Mapping[str, Array], rate: int, overwrite: bool = False) -> None:
    """Draw spectrograms of sounds, [n], side by side, 12 by 4.5 inches.

    Raises:
        UserError, Failure: as `draw_performance`.
    """
    check_picture(path)
    with replacing(path, overwrite) as temporary_path:
        temporary_path.write_bytes(spectrograms_png(sounds, rate))


def spectrograms_png(sounds: Mapping[str, Array], rate: int, dots_per_inch: int = DOTS_PER_INCH) -> bytes:
    """Return the file that `draw_spectrograms` writes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    png = io.BytesIO()
    with DRAWING, rc_context(style()):
        figure = Figure(figsize=SIDE_BY_SIDE, dpi=dots_per_inch, layout="constrained")
        *panels, key_axes = figure.subplots(1, len(sounds) + 1, width_ratios=[*[1.0] * len(sounds), 0.03])
        for panel, (title, sound) in zip(panels, sounds.items(), strict=True):
            panel.set_title(title, fontsize=10)
            panel.set_xlabel("seconds")
            _draw_spectrogram(panel, key_axes, sound[None], rate, max(len(sound), 1) / rate)
        figure.savefig(png, format="png")
    return png.getvalue()


def check_picture(path: Path) -> None:
    """Check before any work is done.

    Raises:
        UserError: matplotlib is missing, or the suffix is not .png.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UserError("a picture needs matplotlib; install it with: pip install 'timbrel[picture]'") from error
    if path.suffix.lower() != ".png":
        raise UserError(f"cannot draw {path}: give a name ending in .png")


def style() -> Any:
    """Matplotlib's settings for pictures."""
    from matplotlib import rcParamsDefault

    # The backend opens windows.
    default_settings = {
        setting_name: rcParamsDefault[setting_name]
        for setting_name in rcParamsDefault
        if not setting_name.startswith("backend")
    }
    return default_settings | {
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.labelsize": 9,
        "legend.fontsize": 8,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }


def _draw_waveform(panel: "Axes", audio: Array, seconds: float) -> None:
    """Draw peaks and RMS of a sound, [2, n]."""
    column_starts = np.unique(np.linspace(0, audio.shape[1], COLUMNS, endpoint=False).astype(int))
    if audio.shape[1]:
        column_highs = np.maximum.reduceat(audio.max(axis=0), column_starts)
        column_lows = np.minimum.reduceat(audio.min(axis=0), column_starts)
        column_counts = np.diff(column_starts, append=audio.shape[1])
        rms_levels = np.sqrt(
            np.add.reduceat(np.square(audio, dtype=np.float64).mean(axis=0), column_starts) / column_counts
        )
        column_seconds = column_starts * (seconds / audio.shape[1])
        panel.fill_between(column_seconds, column_lows, column_highs, color=WAVE, alpha=0.35, linewidth=0)
        panel.fill_between(column_seconds, -rms_levels, rms_levels, color=WAVE, linewidth=0)
    peak = max(float(np.abs(audio).max(initial=0)), 1e-3)
    panel.set_ylim(-1.05 * peak, 1.05 * peak)
    panel.set_ylabel("amplitude")
    panel.axhline(0, color=INK, linewidth=0.4, alpha=0.5)


def spectrogram(audio: Array, rate: int) -> npt.NDArray[np.float64]:
    """Levels in dB of maximum, -80 to 0, [ROWS, columns], in bands from 30 Hz to Nyquist, evenly spaced in pitch."""
    mono = audio.mean(axis=0)
    window_length = 2 ** round(np.log2(WINDOW_SECONDS * rate))
    column_count = min(COLUMNS, 1 + mono.size // (window_length // 32))
    centre_samples = np.linspace(0, mono.size, column_count, endpoint=False).astype(int)
    padded_sound = np.pad(mono, window_length // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded_sound, window_length)[centre_samples]
    power = np.abs(np.fft.rfft(frames * np.hanning(window_length).astype(np.float32))) ** 2
    edge_bins = np.geomspace(LOWEST_HZ, rate / 2, ROWS + 1) * (window_length / rate)  # in bins
    cumulative_power = np.pad(np.cumsum(power, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    # A bin reaches half a bin to either side.
    whole_edge_bins = np.floor(edge_bins + 0.5).astype(int).clip(max=window_length // 2)
    power_below_edges = cumulative_power[:, whole_edge_bins] + (edge_bins + 0.5 - whole_edge_bins) * (
        cumulative_power[:, whole_edge_bins + 1] - cumulative_power[:, whole_edge_bins]
    )
    band_power = np.diff(power_below_edges, axis=1).T / np.diff(edge_bins)[:, None]
    return 10 * np.log10(np.maximum(band_power / max(band_power.max(), 1e-12), 10 ** (-RANGE_DB / 10)))


def _draw_spectrogram(panel: "Axes", key_axes: "Axes", audio: Array, rate: int, seconds: float) -> None:
    """Draw a spectrogram, and its colours in ``key_axes``."""
    from matplotlib.colors import LinearSegmentedColormap

    image = panel.imshow(
        spectrogram(audio, rate),
        extent=(0, seconds, np.log2(LOWEST_HZ), np.log2(rate / 2)),
        origin="lower",
        aspect="auto",
        cmap=LinearSegmentedColormap.from_list("levels", LEVELS),
        vmin=-RANGE_DB,
        vmax=0,
    )
    tick_frequencies = [frequency for frequency in FREQUENCIES_HZ if frequency < rate / 2]
    panel.set_yticks(
        [float(np.log2(frequency)) for frequency in tick_frequencies],
        [f"{frequency // 1000}k" if frequency >= 1000 else str(frequency) for frequency in tick_frequencies],
    )
    panel.set_ylabel("Hz")
    colour_bar = panel.figure.colorbar(image, cax=key_axes, ticks=[-80, -60, -40, -20, 0])
    colour_bar.outline.set_visible(False)
    key_axes.set_ylabel("dB")


def note_spans(events: Sequence[Event], length: int) -> list[tuple[int, int, int, int]]:
    """(start, end, key, velocity) of notes, in samples; unreleased ones end at ``length``."""
    spans: list[tuple[int, int, int, int]] = []
    held_notes: dict[tuple[int, float], NoteOn] = {}
    for event in events:
        if isinstance(event, NoteOn | NoteOff):
            note_on = held_notes.pop((event.channel, event.key), None)
            if note_on is not None:
                spans.append((note_on.time, event.time, nearest_key(note_on.key), note_on.velocity))
            if isinstance(event, NoteOn):
                held_notes[event.channel, event.key] = event
    spans += [(note.time, length, nearest_key(note.key), note.velocity) for note in held_notes.values()]
    return sorted(spans)


def _draw_keys(panel: "Axes", key_axes: "Axes", events: Sequence[Event], rate: int, sample_count: int) -> None:
    """Draw a piano roll, and its velocities' colours in ``key_axes``."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.patches import Rectangle

    spans = note_spans(events, sample_count)
    keys = [key for _, _, key, _ in spans] or [60]
    lowest_key, highest_key = min(keys) - 3, max(keys) + 3
    for key in range(lowest_key, highest_key + 1):
        if key % 12 in BLACK_KEYS:
            panel.axhspan(key - 0.5, key + 0.5, color=FAINT, alpha=0.35, linewidth=0)
    velocity_colours = ScalarMappable(Normalize(1, 127), LinearSegmentedColormap.from_list("velocities", VELOCITIES))
    shortest_samples = 0.002 * sample_count  # keeps notes of no length visible
    bar_height = max(0.8, (highest_key - lowest_key) / 40)  # keys, keeps a wide keyboard legible
    note_boxes = [
        Rectangle((start / rate, key - bar_height / 2), max(end - start, shortest_samples) / rate, bar_height)
        for start, end, key, _ in spans
    ]
    face_colours = velocity_colours.to_rgba(np.array([velocity for _, _, _, velocity in spans], float))
    panel.add_collection(PatchCollection(note_boxes, facecolors=face_colours, edgecolors=PAPER, linewidths=0.4))
    natural_classes = [[0], [0, 7], [0, 4, 7], [0, 2, 4, 5, 7, 9, 11]]
    tick_choices = [
        [key for key in range(lowest_key, highest_key + 1) if key % 12 in pitch_classes]
        for pitch_classes in natural_classes
    ]
    tick_keys = next((tick_choice for tick_choice in tick_choices if len(tick_choice) >= 3), tick_choices[-1])
    panel.set_yticks(tick_keys, [note_name(key) for key in tick_keys])
    panel.set_ylim(lowest_key - 0.5, highest_key + 0.5)
    panel.set_ylabel("keys")
    colour_bar = panel.figure.colorbar(velocity_colours, cax=key_axes, ticks=[1, 32, 64, 96, 127])
    colour_bar.outline.set_visible(False)
    key_axes.set_ylabel("velocity")


def _draw_latents(panel: "Axes", latents: Array, latent_names: Sequence[str], seconds: float) -> None:
    """Draw latents, [frames, n_latents], over time."""
    frame_seconds = (np.arange(latents.shape[0]) + 0.5) * (seconds / max(latents.shape[0], 1))
    for latent_index in range(len(latent_names)):
        panel.plot(frame_seconds, latents[:, latent_index], color=PATHS[latent_index % len(PATHS)], linewidth=1.3)
    panel.set_ylabel("latents")
    panel.grid(axis="y", color=FAINT, linewidth=0.5)
    panel.margins(y=0.08)
    legend_labels = [
        latent_name if len(latent_name) <= LONGEST_NAME else f"{latent_name[: LONGEST_NAME - 1]}…"
        for latent_name in latent_names[: len(PATHS)]
    ]
    if len(latent_names) > len(PATHS):
        panel.plot([], [], " ")
        legend_labels.append(f"and {len(latent_names) - len(PATHS)} more")
    legend_lines = [*panel.lines[: len(PATHS)], *panel.lines[len(latent_names) :]]
    panel.legend(
        legend_lines, legend_labels, loc="center left", bbox_to_anchor=(1.012, 0.5), frameon=False, handlelength=1.2,
        labelspacing=0.25, borderaxespad=0,
    )  # fmt: skip


MAP_INCHES = (8.0, 8.0)
CODES, NAMES = "#b9bfc4", "#6b747d"
LEFT, RIGHT = 0.09, 0.96  # of the page
MARKS = 9  # along the path, evenly spaced in time: they show its speed
LONGEST_MAP_NAME = 60  # letters, before names are shortened to fit
DOT = 7.0  # pixels, radius of the largest dot on the path
NAME_DOTS = 24  # letters of the name beside a training code


class LatentPlane:
    """Two latents as they are, else the training codes' principal axes."""

    def __init__(self, card: Card) -> None:
        latent_names = [latent.name for latent in card.latents]
        training_codes = landmark_codes(card)
        self._centre, self._axes, self.labels = np.zeros(len(latent_names)), np.eye(len(latent_names)), latent_names
        if len(latent_names) != 2:
            latent_scales = in_deviations(card)
            self._centre = training_codes.mean(axis=0) if len(training_codes) else np.zeros(len(latent_names))
            _, singular_values, directions = np.linalg.svd((training_codes - self._centre) * latent_scales)
            principal_axes = np.pad(directions[:2], ((0, max(0, 2 - len(latent_names))), (0, 0)))
            self._axes = (principal_axes * latent_scales).T
            variance_shares = np.pad(np.square(singular_values), (0, 2))[:2] / max(
                float(np.square(singular_values).sum()), 1e-12
            )
            self.labels = [
                f"principal axis {axis_number}: {variance_share:.0%} of the training codes' variance, in deviations"
                for axis_number, variance_share in enumerate(variance_shares.tolist(), 1)
            ]

    def places(self, codes: Doubles) -> Doubles:
        """Project codes, [rows, n_latents], to [rows, 2]."""
        return (codes - self._centre) @ self._axes


def draw_way(
    path: Path,
    card: Card,
    sounds: Sequence[tuple[str, Doubles]],
    path_codes: Doubles,
    title: str,
    overwrite: bool = False,
) -> None:
    """Draw a PNG of 1200 by 1200 pixels: training codes with their sounds' names, the sounds' codes, and a path.

    Args:
        sounds: names and frames' codes, [frames, n_latents]; the heading names the first and last.
        path_codes: codes evenly spaced in time, [rows, n_latents].

    Raises:
        UserError: as `picture.check_picture` and `host.files.check_output`.
        Failure: the file cannot be written.
    """
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    plane = LatentPlane(card)
    with replacing(path, overwrite) as temporary_path, DRAWING, rc_context(style()):
        figure = Figure(figsize=MAP_INCHES, dpi=DOTS_PER_INCH)
        axes = figure.add_axes((LEFT, 0.08, RIGHT - LEFT, 0.84))
        heading = figure.text(LEFT, 0.956, "", fontsize=12, weight="bold", parse_math=False)
        _fit(heading, [sounds[0][0], sounds[-1][0]], " to ")
        _fit(figure.text(LEFT, 0.932, "", fontsize=9, parse_math=False), [title], "")
        training_points = plane.places(landmark_codes(card))
        axes.scatter(
            training_points[:, 0], training_points[:, 1], s=20, color=CODES, linewidths=0, label="training codes"
        )
        path_points = plane.places(path_codes)
        for (name, codes), colour in zip(sounds, PATHS[1::2], strict=False):
            sound_points = plane.places(codes)
            axes.scatter(sound_points[:, 0], sound_points[:, 1], s=7, color=colour, alpha=0.35, linewidths=0)
            legend_name = shortened(name, LONGEST_MAP_NAME // 2).replace("$", r"\$")
            axes.plot([], [], "o", color=colour, label=legend_name, markersize=5)
        axes.plot(path_points[:, 0], path_points[:, 1], color=INK, linewidth=1.6)
        time_dots = path_points[np.linspace(0, len(path_points) - 1, MARKS).round().astype(int)]
        dot_areas = np.linspace(18, 60, MARKS)
        axes.scatter(
            time_dots[:, 0], time_dots[:, 1], s=dot_areas, color=INK, zorder=3, label="the way, larger as time goes by"
        )
        axes.set_xlabel(plane.labels[0])
        axes.set_ylabel(plane.labels[1])
        axes.grid(color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.margins(0.05)
        legend = axes.legend(loc="best", frameon=True, framealpha=0.85, edgecolor=FAINT, handletextpad=0.2)
        figure.draw_without_rendering()  # computes the layout
        occupied_boxes = [
            legend.get_window_extent(),
            *(_box_of_dot(dot_pixels) for dot_pixels in axes.transData.transform(time_dots)),
        ]
        _name(axes, training_points, [mark.label for mark in card.landmarks], path_points, occupied_boxes)
        figure.savefig(temporary_path, format="png")


def shortened(name: str, letter_count: int) -> str:
    """Shorten a name in its middle to a number of letters."""
    if len(name) <= letter_count:
        return name
    end_count = (letter_count - 1) // 2
    return f"{name[: letter_count - 1 - end_count]}…{name[len(name) - end_count :]}"


def _fit(text: "Text", names: Sequence[str], separator: str) -> None:
    """Set a text to names, shortened until it fits the page."""
    assert text.figure is not None
    right_pixels = RIGHT * text.figure.bbox.width
    for letter_count in range(LONGEST_MAP_NAME * 3 // (1 + len(names)), 3, -1):
        text.set_text(separator.join(shortened(name, letter_count) for name in names))
        if text.get_window_extent().x1 <= right_pixels:
            return


def _box_of_dot(dot_pixels: Doubles) -> "Bbox":
    """Box around a dot, in pixels."""
    from matplotlib.transforms import Bbox

    return Bbox([dot_pixels - DOT, dot_pixels + DOT])


def _name(
    axes: "Axes", training_points: Doubles, labels: Sequence[str], path_points: Doubles, occupied_boxes: "list[Bbox]"
) -> None:
    """Each training sound once, at its mark nearest to the path, where space is free."""
    path_distances = distances(training_points, path_points) if len(training_points) else np.zeros(0)
    placed_labels: set[str] = set()
    for mark_index in np.argsort(path_distances).tolist():
        if labels[mark_index] in placed_labels or not labels[mark_index]:
            continue
        annotation = axes.annotate(
            shortened(labels[mark_index], NAME_DOTS), tuple(training_points[mark_index]), (4, 3),
            textcoords="offset points", fontsize=7, color=NAMES, parse_math=False,
        )  # fmt: skip
        annotation_box = annotation.get_window_extent().padded(2)
        if (
            annotation_box.x1 > axes.bbox.x1
            or annotation_box.y1 > axes.bbox.y1
            or any(annotation_box.overlaps(occupied_box) for occupied_box in occupied_boxes)
        ):
            annotation.remove()
            continue
        placed_labels.add(labels[mark_index])
        occupied_boxes.append(annotation_box)
