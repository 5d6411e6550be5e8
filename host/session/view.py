"""The view of a preset for the terminal, the panel and the plugin. Light import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class MapView(NamedTuple):
    source: str
    takeover: str
    low: float
    high: float
    curve: float
    key: tuple[str, int | str]  # its key in the file, ``number``, ``nrpn`` or ``pressure``, and value
    channel: int | None = None  # 1 to 16, None for all

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
    target: str
    title: str
    group: str
    low: float  # in ``unit``, as ``high`` and ``rest``
    high: float
    rest: float
    unit: str
    place: tuple[str | int, ...]  # keys of its rest value in the file, empty without
    maps: tuple[MapView, ...]
    choices: tuple[str, ...] = ()  # names that the file has for numbers
    description: str = ""  # description of a latent
    sources: tuple[SourceView, ...] = ()  # modulations


@dataclass(frozen=True)
class PresetView:
    name: str
    file: Path | None  # None for a bare model
    folder: Path
    text: str  # of the file, or of a new one, with paths relative to ``folder``
    channel: int  # 0 to 15
    model: Path
    model_name: str
    kind: str
    description: str
    latents: Sequence[tuple[str, float, float, float, float, float]]  # title, low, high, default, mean, std
    chroma: Sequence[int] | None  # trained pitch classes
    card: Sequence[tuple[str, str]]  # labels and texts
    keys: Mapping[int, str]  # playable ones, each with its [[keys]] label or none
    controls: Sequence[ControlView]
    macros: Sequence[str] = ()  # names
    ahead_ms: float | None = None  # lookahead of dependent frames
    warnings: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # unsaved, by name
    draft: bool = False  # no file has the text

    @property
    def model_data(self) -> bytes | None:
        return self.files.get(self.model.name)
