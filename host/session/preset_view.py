"""The panel's view of a preset. Light import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class MapView(NamedTuple):
    """A controller of a control; ``key``: its key in the file, ``number``, ``nrpn`` or ``pressure``, with its value.

    ``channel``: 1 to 16, None for all.
    """

    source: str
    takeover: str
    low: float
    high: float
    curve: float
    key: tuple[str, int | str]
    channel: int | None = None

    @property
    def controller(self) -> dict[str, int | str | None]:
        """Keys that identify it among a target's maps."""
        return dict([self.key]) | {"channel": self.channel}


class SourceView(NamedTuple):
    """As `Modulation`, which needs numpy."""

    name: str
    way: str
    low: float
    high: float


@dataclass(frozen=True)
class ControlView:
    """``low``, ``high`` and ``rest`` are in ``unit``.

    ``place``: keys of its rest value in the file, empty without. ``choices``: names that the file has for numbers.
    ``about``: description of a latent. ``sources``: modulations.
    """

    target: str
    title: str
    group: str
    low: float
    high: float
    rest: float
    unit: str
    place: tuple[str | int, ...]
    maps: tuple[MapView, ...]
    choices: tuple[str, ...] = ()
    about: str = ""
    sources: tuple[SourceView, ...] = ()


@dataclass(frozen=True)
class PresetView:
    """``file``: None for a bare model. ``text``: of the file, or of a new one, with paths relative to ``folder``.

    ``channel``: 0 to 15. ``latents``: title, low, high, default, mean, std. ``card``: labels and texts. ``chroma``:
    trained pitch classes. ``keys``: playable ones, each with its [[keys]] label or none. ``files``: unsaved files, by
    name. ``draft``: no file has the text.
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
    keys: Mapping[int, str]
    controls: Sequence[ControlView]
    warnings: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    draft: bool = False

    @property
    def model_data(self) -> bytes | None:
        return self.files.get(self.model.name)
