"""The publications that studies repeat, with their commands and hours of one core, as docs/internals has them."""

from typing import NamedTuple


class Publication(NamedTuple):
    study: str
    title: str
    core_hours: str  # of its trainings and figures
    options: str  # of the command
    page: str  # of docs/internals, with the corpora and settings


PUBLICATIONS = (
    Publication(
        "chroma",
        "Colonel and Keene, Conditioning Autoencoder Latent Spaces (2020)",
        "42, of three seeds and 300 epochs",
        "--corpus octave=octave --corpus five-octaves=five-octaves --corpus violin=violin -o study",
        "chroma-study.md",
    ),
    Publication(
        "grain",
        "Ambisynth, 10 gruesome images of adversarial networks fighting to the death",
        "0.7",
        "--corpus lakeside -o study",
        "grains.md",
    ),
    Publication(
        "gan",
        "Alencar, Audio Generation with GANs (2019), and WaveGAN (2019)",
        "0.4 with the page's settings; WaveGAN as published trains for weeks",
        "--corpus violin -o study",
        "clips.md",
    ),
    Publication(
        "recovery",
        "Keyes et al., Latent Vector Recovery of Audio GANs (2020)",
        "1, after 3.4 of the generator",
        "--corpus digits -o study --generator generator --classifier judge --classifier judge-2",
        "recovery.md",
    ),
    Publication(
        "sequence",
        "Deep Learning and Sound ~ 02 (2015), after GRUV (2015)",
        "0.3",
        "--corpus loop=loop --corpus kicks=kicks808 --corpus kicks=fluidr3 --corpus kicks=hydrogen -o study",
        "sequences.md",
    ),
)


def command(row: Publication) -> str:
    return f"timbrel study {row.study} {row.options}"


def table() -> str:
    """Return the publications as lines for a terminal."""
    lines = (
        (row.title, f"core hours: {row.core_hours} (docs/internals/{row.page})", command(row)) for row in PUBLICATIONS
    )
    return "\n".join(
        f"{row.study:<10}" + f"\n{'':<10}".join(row_lines) for row, row_lines in zip(PUBLICATIONS, lines, strict=True)
    )
