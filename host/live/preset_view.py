"""The sheet of a preset, which a panel shows: light to import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Dial:
    """A target of the preset on show, as a panel draws it.

    ``low``, ``high`` and ``rest`` are in its ``unit``, which may be empty. ``place`` are the keys that lead to its rest
    in the preset's file; empty where the file has no such place, as of a morph. ``maps`` are the controllers that move
    it, each with its takeover. Where it chooses one of several things by number, ``choices`` are their names, which the
    file has in place of numbers. ``about`` says what is known of a latent beside these.
    """

    target: str
    title: str
    group: str
    low: float
    high: float
    rest: float
    unit: str
    place: tuple[str | int, ...]
    maps: tuple[tuple[str, str], ...]
    choices: tuple[str, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class PresetView:
    """The preset on show, as a panel is told of it.

    ``file`` is its file, None for a bare model; ``text`` what that holds, or what a file of it would hold, with paths
    that begin in ``folder``; ``files`` are those that lie nowhere, by the names by which the text calls them.
    ``channel`` (0 to 15) is where it hears. ``latents`` have title, low, high, default, mean and std each; ``card`` are
    pairs of a label and a text; ``chroma`` are the pitch classes of the training set, if the model knows such; ``keys``
    the lowest and the highest key that sounds.
    """

    name: str
    file: Path | None
    folder: Path
    text: str
    channel: int
    model: Path
    model_name: str
    kind: str
    description: str
    latents: Sequence[tuple[str, float, float, float, float, float]]
    chroma: Sequence[int] | None
    card: Sequence[tuple[str, str]]
    keys: tuple[int, int]
    dials: Sequence[Dial]
    warnings: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def model_data(self) -> bytes | None:
        """Return the bytes of the model, where it lies nowhere."""
        return self.files.get(self.model.name)
