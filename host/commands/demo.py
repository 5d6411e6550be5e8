"""`timbrel demo`: renders a shipped tune and its picture."""

from pathlib import Path

import numpy as np

from ..arrays import Array
from ..audio.sound_files import read_sound
from ..events import NoteOn
from ..midi.files import Performance, read_performance
from ..play.rack import Rack
from ..play.render import blocks, render
from ..preset.library import open_patch
from ..preset.shipped import DEMO, PARTS, shipped_tunes
from ..resynthesis.picture import draw_performance

RATE = 44100
LATENT_BLOCK = 1024  # samples per point of the latent path


def demo(folder: Path, name: str) -> tuple[Path, Path]:
    """Replace and return both files; ``name`` is of `shipped_tunes`."""
    tune = shipped_tunes()[name]
    performance = read_performance(tune, RATE)
    if name in PARTS:
        patches = {channel - 1: open_patch(preset) for channel, preset in PARTS[name].items()}
    else:
        patches = dict.fromkeys(performance.channels, open_patch(name))
    stem = "demo" if name == DEMO else name
    sound, picture = folder / f"{stem}.wav", folder / f"{stem}.png"
    render(patches, performance, sound, sample_rate=RATE, overwrite=True)
    audio, _ = read_sound(sound)
    paths = _latent_paths(Rack(patches, RATE), performance)
    most = max(paths, key=lambda channel: float(np.ptp(paths[channel], axis=0).max()))
    names = [latent.name for latent in patches[most].model.card.latents]
    notes = sum(isinstance(event, NoteOn) for event in performance.events)
    models = dict.fromkeys(patch.model.card.name for patch in patches.values())
    title = f"{name}: {notes} notes, model{'s' * (len(models) > 1)} {', '.join(models)}"
    draw_performance(picture, audio, RATE, performance.events, paths[most], names, title, overwrite=True)
    return sound, picture


def _latent_paths(rack: Rack, performance: Performance) -> dict[int, Array]:
    rows: dict[int, list[list[float]]] = {channel: [] for channel in performance.channels}
    for _ in blocks(rack, performance, 0.0, RATE, LATENT_BLOCK):
        for channel, row in rows.items():
            row.append(rack.latent_values(channel))
    return {channel: np.array(row, np.float32) for channel, row in rows.items()}
