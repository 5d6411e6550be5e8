"""Writes the files of a study: figures, page, pictures and sounds."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...host.arrays import Array
from ...host.audio.sound_files import sound_writer
from ...host.files import replacing
from ..reports.report import Figures, Picture, as_json


def write_text(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as file:
        file.write_text(text, encoding="utf-8")


def write_json(path: Path, figures: Figures) -> None:
    write_text(path, as_json(figures))


def write_study(folder: Path, figures: Figures, page: str) -> None:
    write_json(folder / "study.json", figures)
    write_text(folder / "index.html", page)


def save_pictures(folder: Path, pictures: Iterable[Picture]) -> dict[str, str]:
    """Draw pictures into the study's folder; return their captions by name."""
    captions = {}
    for picture in pictures:
        picture.save(folder)
        captions[picture.name] = picture.caption
    return captions


def write_sound(path: Path, samples: Array, rate: int) -> None:
    """Write a sound of one channel, [samples]."""
    with sound_writer(path, rate, channels=1, overwrite=True) as file:
        file.write(samples[np.newaxis].astype(np.float32))
