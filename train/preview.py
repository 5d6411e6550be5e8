"""Writes audible previews of a run during training, and draws grids of clips."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..host.arrays import Array
from ..host.audio.sound_files import sound_writer
from ..host.files import replacing
from ..host.resynthesis.distance import HOP, log_mel

COLUMNS = 6  # clips in a row
INCHES = (2.0, 2.4)  # of a clip
DOTS_PER_INCH = 80
FLOOR_DB = -60.0  # under a clip's loudest, where the picture is black


def draw_grid(path: Path, sounds: Sequence[Array], rate: int, titles: Sequence[str]) -> bool:
    """Draw sounds [samples] at ``rate`` Hz as a PNG; return False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    rows = -(-len(sounds) // COLUMNS)
    columns = min(COLUMNS, len(sounds))
    figure = Figure(figsize=(INCHES[0] * columns, INCHES[1] * rows), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False, gridspec_kw={"height_ratios": [1, 2] * rows})
    for axis in axes.flat:
        axis.set_axis_off()
    for place, (sound, title) in enumerate(zip(sounds, titles, strict=True)):
        row, column = divmod(place, COLUMNS)
        wave, image = axes[2 * row, column], axes[2 * row + 1, column]
        wave.plot(np.arange(len(sound)) / rate, sound, linewidth=0.4, color="#2c5f7c")
        wave.set_xlim(0, len(sound) / rate)
        wave.set_title(title, fontsize=8)
        levels = log_mel(sound[None], rate)[0]
        extent = (0.0, len(levels) * HOP / rate, 0.0, float(levels.shape[1]))
        image.imshow(levels.T, origin="lower", aspect="auto", vmin=FLOOR_DB, vmax=0, cmap="magma", extent=extent)
    with replacing(path, overwrite=True) as file:
        figure.savefig(file, format="png")
    return True


SECONDS = 0.7  # of a sound that a single frame makes
PEAK = 0.5


def write_preview(folder: Path, sounds: Sequence[Array], rate: int, step: int, *, pictured: bool = False) -> Path:
    """Write sounds [samples] at ``rate`` Hz as ``step-N.wav``, whole sounds also as a picture."""
    folder.mkdir(exist_ok=True)
    mono = np.concatenate([sound / max(float(np.abs(sound).max()), 1e-9) * PEAK for sound in sounds])
    path = folder / f"step-{step:07d}.wav"
    with sound_writer(path, rate, channels=1, overwrite=True) as file:
        file.write(mono[None].astype(np.float32))
    if pictured:
        draw_grid(path.with_suffix(".png"), sounds, rate, [str(n + 1) for n in range(len(sounds))])
    return path
