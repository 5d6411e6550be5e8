"""`timbrel demo`: renders a shipped tune and its picture."""

import os
from pathlib import Path

import numpy as np

from ..arrays import Array
from ..audio.sound_files import read_sound
from ..errors import UserError
from ..events import NoteOn
from ..files import check_output
from ..midi.files import Performance, read_performance
from ..play.rack import Rack
from ..play.render import blocks, render
from ..preset.library import open_patch
from ..preset.shipped import DEMO, PARTS, shipped_tunes
from ..resynthesis.picture import draw_performance

RATE = 44100
LATENT_BLOCK = 1024  # samples per point of the latent path


def demo(folder: Path, name: str, overwrite: bool) -> tuple[Path, Path]:
    """Write and return both files; ``name`` is of `shipped_tunes`.

    Raises:
        UserError: a file exists and ``overwrite`` is false, or as `check_output`; nothing was rendered.
    """
    file_stem = "demo" if name == DEMO else name
    sound_file, picture_file = folder / f"{file_stem}.wav", folder / f"{file_stem}.png"
    for file in (sound_file, picture_file):
        if not overwrite and os.path.lexists(file):
            raise UserError(f"{file} exists; give --overwrite to replace it, or go to another folder")
        check_output(file, overwrite)
    tune_file = shipped_tunes()[name]
    performance = read_performance(tune_file, RATE)
    if name in PARTS:
        patches = {channel - 1: open_patch(preset) for channel, preset in PARTS[name].items()}
    else:
        patches = dict.fromkeys(performance.channels, open_patch(name))
    render(patches, performance, sound_file, sample_rate=RATE, overwrite=overwrite)
    samples, _ = read_sound(sound_file)
    paths_by_channel = _latent_paths(Rack(patches, RATE), performance)
    most_moved_channel = max(
        paths_by_channel, key=lambda channel: float(np.ptp(paths_by_channel[channel], axis=0).max())
    )
    latent_names = [latent.name for latent in patches[most_moved_channel].model.card.latents]
    note_count = sum(isinstance(event, NoteOn) for event in performance.events)
    model_names = dict.fromkeys(patch.model.card.name for patch in patches.values())
    title = f"{name}: {note_count} notes, model{'s' * (len(model_names) > 1)} {', '.join(model_names)}"
    draw_performance(
        picture_file,
        samples,
        RATE,
        performance.events,
        paths_by_channel[most_moved_channel],
        latent_names,
        title,
        overwrite=overwrite,
    )
    return sound_file, picture_file


def _latent_paths(rack: Rack, performance: Performance) -> dict[int, Array]:
    """Return the latents of each channel, one point a block."""
    points_by_channel: dict[int, list[list[float]]] = {channel: [] for channel in performance.channels}
    for _ in blocks(rack, performance, 0.0, RATE, LATENT_BLOCK):
        for channel, latent_points in points_by_channel.items():
            latent_points.append(rack.latent_values(channel))
    return {channel: np.array(row, np.float32) for channel, row in points_by_channel.items()}
