"""Writes audible previews of a run during training, and draws grids of clips."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..host.arrays import Array
from ..host.audio.sound_files import sound_writer
from ..host.files import replacing
from ..host.spectra import CLIP_HOP, log_mel

COLUMNS = 6  # clips in a row
INCHES = (2.0, 2.4)  # of a clip
DOTS_PER_INCH = 80
FLOOR_DB = -60.0  # under a clip's loudest, where the picture is black


def draw_grid(path: Path, sounds: Sequence[Array], rate: int, titles: Sequence[str]) -> bool:
    """Draw sounds [samples] at ``rate`` Hz as a PNG; return False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    row_count = -(-len(sounds) // COLUMNS)
    column_count = min(COLUMNS, len(sounds))
    figure = Figure(figsize=(INCHES[0] * column_count, INCHES[1] * row_count), dpi=DOTS_PER_INCH, layout="constrained")
    axes_grid = figure.subplots(
        2 * row_count, column_count, squeeze=False, gridspec_kw={"height_ratios": [1, 2] * row_count}
    )
    for axes in axes_grid.flat:
        axes.set_axis_off()
    for sound_index, (sound, title) in enumerate(zip(sounds, titles, strict=True)):
        row_index, column_index = divmod(sound_index, COLUMNS)
        wave_axes, image_axes = axes_grid[2 * row_index, column_index], axes_grid[2 * row_index + 1, column_index]
        wave_axes.plot(np.arange(len(sound)) / rate, sound, linewidth=0.4, color="#2c5f7c")
        wave_axes.set_xlim(0, len(sound) / rate)
        wave_axes.set_title(title, fontsize=8)
        levels_db = log_mel(sound[None], rate)[0]
        extent = (0.0, len(levels_db) * CLIP_HOP / rate, 0.0, float(levels_db.shape[1]))
        image_axes.imshow(
            levels_db.T, origin="lower", aspect="auto", vmin=FLOOR_DB, vmax=0, cmap="magma", extent=extent
        )
    with replacing(path, overwrite=True) as file:
        figure.savefig(file, format="png")
    return True


SECONDS = 0.7  # of a sound that a single frame makes
PEAK = 0.5


def write_preview(folder: Path, sounds: Sequence[Array], rate: int, step: int, *, pictured: bool = False) -> Path:
    """Write sounds [samples] at ``rate`` Hz as ``step-N.wav``, whole sounds also as a picture."""
    folder.mkdir(exist_ok=True)
    joined_sound = np.concatenate([sound / max(float(np.abs(sound).max()), 1e-9) * PEAK for sound in sounds])
    path = folder / f"step-{step:07d}.wav"
    with sound_writer(path, rate, channels=1, overwrite=True) as file:
        file.write(joined_sound[None].astype(np.float32))
    if pictured:
        draw_grid(path.with_suffix(".png"), sounds, rate, [str(n + 1) for n in range(len(sounds))])
    return path
