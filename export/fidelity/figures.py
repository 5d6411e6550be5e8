"""Plots mel spectrograms of a note and its recording."""

from collections.abc import Mapping

import librosa
import numpy as np
from matplotlib.figure import Figure

from ...host.arrays import Array, Doubles
from ..reports.picture import WIDTH, Picture, Theme
from .measures import BANDS, HOP, SpectralCourse, course

LOWEST_DB = -80.0  # below a sound's loudest cell
MARKED_HZ = {200: "200", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10000: "10k"}


def note_picture(name: str, title: str, sounds: Mapping[str, Array], rate: int) -> Picture:
    """Plot mel bands of sounds, [samples] each."""
    images = {who: levels(course(sound, rate)) for who, sound in sounds.items()}
    longest = max(len(image) for image in images.values()) * HOP / rate
    bands = librosa.mel_frequencies(BANDS + 2, fmin=0.0, fmax=rate / 2)[1:-1]
    marked = {hz: text for hz, text in MARKED_HZ.items() if bands[0] <= hz <= bands[-1]}

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.7), layout="constrained")
        row = figure.subplots(1, len(images), sharey=True, squeeze=False)[0]
        for axes, (who, image) in zip(row, images.items(), strict=True):
            extent = (0, len(image) * HOP / rate, -0.5, BANDS - 0.5)
            shown = axes.imshow(
                image.T, cmap="magma", vmin=LOWEST_DB, vmax=0, aspect="auto", origin="lower", extent=extent
            )
            axes.set(xlim=(0, longest), xlabel="seconds", title=who)
            axes.set_yticks(np.interp(list(marked), bands, np.arange(BANDS)), list(marked.values()))
        row[0].set_ylabel("Hz")
        figure.colorbar(shown, ax=list(row), label="dB", pad=0.01).outline.set_visible(False)
        return figure

    return Picture(name, f"{title}: 64 mel bands, in dB under each sound’s loudest.", draw)


def levels(measured: SpectralCourse) -> Doubles:
    """Return band levels in dB below a sound's loudest, -80 at least: [frames, 64]."""
    found = measured.shapes + measured.levels[:, np.newaxis]
    under: Doubles = np.maximum(found - found.max(), LOWEST_DB)
    return under
