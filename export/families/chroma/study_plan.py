"""Options and runs of the chroma study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ....host.errors import UserError, nearest
from ....train.families.chroma.recipe import ChromaRecipe
from .study_claims import OCTAVE, OCTAVES, VIOLIN, Named

CORPORA = (OCTAVE, OCTAVES, VIOLIN)
SIDES = {2: 350, 3: 50, 8: 5}  # points along each latent, by the number of latents: section V-A
LARGEST_MESH = 10_000_000  # points: 320 MB of codes


def _rows(corpora: Sequence[str], *recipes: str) -> tuple[Named, ...]:
    return tuple((corpus, recipe) for corpus in corpora for recipe in recipes)


# By name: corpus and recipe of each row, with a tuned recipe beside the paper's. The paper has no beta-VAE table.
TABLES: dict[str, tuple[Named, ...]] = {
    "1": _rows([OCTAVES], "chroma-8-lrelu-none", "chroma-8-lrelu-difference", "chroma-8-lrelu", "tuned-8"),
    "2": _rows([OCTAVE], "chroma-2-lrelu-noskip", "chroma-2-lrelu", "chroma-2-noskip", "chroma-2", "tuned-2"),
    "3": _rows([VIOLIN], "chroma-2-lrelu-noskip", "chroma-2-lrelu", "chroma-2-noskip", "chroma-2", "tuned-2"),
    "4": _rows([OCTAVE, VIOLIN], "chroma-3-noskip", "chroma-3", "tuned-3"),
    "5": _rows([OCTAVE, VIOLIN], "chroma-2", "chroma-3", "chroma-8", "tuned-2", "tuned-3", "tuned-8"),
    "vae": _rows([OCTAVE], "chroma-8-vae-noskip", "chroma-8-vae", "chroma-8", "tuned-8"),
}
EMBEDDINGS = {2: ("2", OCTAVE), 3: ("3", VIOLIN)}  # by figure: table and corpus
ACCOUNTS = {4: OCTAVE, 5: VIOLIN}
PANELS = {
    "chroma-2-lrelu-noskip": (0, 0, "LReLU, no skip"),
    "chroma-2-lrelu": (0, 1, "LReLU, skip"),
    "chroma-2-noskip": (1, 0, "sigmoid, no skip"),
    "chroma-2": (1, 1, "sigmoid, skip"),
    "tuned-2": (1, 2, "tuned-2"),
}


@dataclass(frozen=True)
class ChromaStudyOptions:
    """Settings of the chroma study.

    Args:
    corpora: folders by role, from `CORPORA`.
    changes: ``key=value``, for all recipes.
    seeds: trainings per network, with seeds from 0.
    epochs: per network; the paper's by default.
    ray: a training cluster's address.
    """

    corpora: Mapping[str, Path]
    folder: Path
    tables: Sequence[str] = tuple(TABLES)
    changes: Sequence[str] = ()
    seeds: int = 3
    epochs: int = 300
    sides: Mapping[int, int] = field(default_factory=lambda: SIDES)
    accelerator: str = "auto"
    devices: int = 1
    ray: str | None = None


class Job(NamedTuple):
    """``meshed``: in Table V."""

    corpus: str
    recipe: ChromaRecipe
    folder: Path
    meshed: bool

    @property
    def seed(self) -> int:
        return self.recipe.training.seed


def parse_corpora(given: Sequence[str]) -> dict[str, Path]:
    """Parse folders by role from ``"octave=DIR"`` and similar.

    Raises:
        UserError: wrong syntax, an unknown role, or a role given twice.
    """
    corpora: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not folder or name not in CORPORA:
            raise UserError(
                f"--corpus {text!r} must be PART=FOLDER, PART one of {', '.join(CORPORA)}{nearest(name, CORPORA)}"
            )
        if name in corpora:
            raise UserError(f"--corpus {name} is given twice, as {corpora[name]} and {folder}; give it once")
        corpora[name] = Path(folder)
    return corpora


def parse_tables(text: str) -> list[str]:
    """Parse tables from ``"1,2"``.

    Raises:
        UserError: a table is unknown or named twice.
    """
    names = [part.strip() for part in text.split(",")]
    for number, name in enumerate(names):
        if name not in TABLES:
            raise UserError(f"--tables {text!r}: no table is named {name!r}; choose from {','.join(TABLES)}")
        if name in names[:number]:
            raise UserError(f"--tables {text!r} names {name} twice; name it once")
    return names


def parse_mesh(text: str) -> dict[int, int]:
    """Parse mesh sides of two, three and eight latents from ``"350,50,5"``.

    Raises:
        UserError: not three integers of at least 2, or a mesh too large for memory.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != len(SIDES) or not all(part.isdecimal() and len(part) < 6 and int(part) >= 2 for part in parts):
        raise UserError(
            f"--mesh {text!r} must be three whole numbers from 2 on: points along each of 2, 3 and 8 latents, "
            "such as 350,50,5"
        )
    sides = dict(zip(SIDES, map(int, parts), strict=True))
    for latents, side in sides.items():
        if side**latents > LARGEST_MESH:
            raise UserError(
                f"--mesh {text!r}: {side} points along {latents} latents are {side**latents} in all, "
                f"{LARGEST_MESH} are allowed; give fewer"
            )
    return sides
