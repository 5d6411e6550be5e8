"""Pictures of the sequence study: losses and waveforms."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from ....host.arrays import Array
from ...reports.figures import clips as clip_figures
from ...reports.picture import WIDTH, Picture, Theme
from ...reports.report import Figures


def losses(corpus: str, networks: Sequence[Figures], targets: Sequence[float]) -> Picture:
    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        for network, colour in zip(networks, (theme.first, theme.second, theme.ink, theme.faint) * 4, strict=False):
            course = np.array(network["course"], float).reshape(-1, 2)
            axes.plot(course[:, 0], course[:, 1], color=colour, linewidth=1.2, label=network["name"])
        for target in targets:
            axes.axhline(target, color=theme.faint, linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        axes.set_xlabel("seconds")
        axes.set_ylabel("mean square error")
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    told = ", ".join(f"{target:g}" for target in targets)
    return Picture(f"{corpus}-losses", f"{corpus}: losses over seconds of training; dotted: {told}.", draw)


def waveforms(
    corpus: str, asked: Sequence[Array], continued: Mapping[tuple[str, bool, int], Sequence[Array]], rate: int
) -> list[Picture]:
    length, drawn = max(map(len, asked)), []
    for seed in sorted({seed for _, _, seed in continued}):
        rows = {"recording": np.stack([np.pad(sound, (0, length - len(sound))) for sound in asked])}
        tails = {"recording": asked[0][None]}
        for (name, restored, of), sounds in continued.items():
            if of == seed:
                label = name.removeprefix("sequence-") + ("" if restored else "\nunrestored")
                rows[label] = np.stack([sound[:length] for sound in sounds])
                tails[label] = sounds[0][None]
        frames = f"{seed} frame{'s' if seed > 1 else ''}"
        told = f"{corpus}: recordings, and what follows from {frames} of each, scaling put back or not, in seconds."
        drawn.append(replace(clip_figures.waveforms(rows, rate, f"{corpus}-from-{seed}"), caption=told))
        if seed == 1:
            beyond = f"{corpus}: the first of these, and 600 frames after its end."
            drawn.append(replace(clip_figures.waveforms(tails, rate, f"{corpus}-beyond"), caption=beyond))
    return drawn
