"""The first thing that a newcomer hears and sees."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from .audio.files import read_sound
from .events import NoteOn
from .midi.file import Performance, read_performance
from .patch.library import open_patch
from .picture import draw_performance
from .play.rack import Rack
from .render import blocks, render

RATE = 44100
LATENT_BLOCK = 1024  # samples between the points of the latent path in the picture


def demo(folder: Path, preset: str, tune: Path) -> tuple[Path, Path]:
    """Render a preset and a tune to a sound and its picture in ``folder``, named as the tune, replacing both.

    Returns:
        The two files.
    """
    patch = open_patch(preset)
    performance = read_performance(tune, RATE)
    patches = dict.fromkeys(performance.channels, patch)
    sound, picture = folder / f"{tune.stem}.wav", folder / f"{tune.stem}.png"
    render(patches, performance, sound, sample_rate=RATE, overwrite=True)
    audio, _ = read_sound(sound)
    path = _latent_path(Rack(patches, RATE), performance.channels[0], performance)
    names = [latent.name for latent in patch.model.card.latents]
    notes = sum(isinstance(event, NoteOn) for event in performance.events)
    title = f"{patch.name}: {notes} notes, model {patch.model.card.name}"
    draw_performance(picture, audio, RATE, performance.events, path, names, title, overwrite=True)
    return sound, picture


def _latent_path(rack: Rack, channel: int, performance: Performance) -> npt.NDArray[np.float32]:
    """Return where the knobs were heading, a row for every `LATENT_BLOCK` samples."""
    rows = [rack.latent_values(channel) for _ in blocks(rack, performance, 0.0, RATE, LATENT_BLOCK)]
    return np.array(rows, np.float32)
