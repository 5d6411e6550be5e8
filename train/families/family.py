"""Base class of network families, for training."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from ...host.arrays import Array
from ...host.errors import UserError
from ..corpus.store import Corpus
from ..data import Data, with_words
from ..network import Network
from ..recipe import Recipe

PREVIEW_FRAMES = 6  # spread over the validation frames

RecipeT = TypeVar("RecipeT", bound=Recipe)
NetworkT = TypeVar("NetworkT", bound=Network)


def side_by_side(sounds: Iterable[Array], reconstructions: Iterable[Array]) -> list[Array]:
    """Return each sound, followed by its reconstruction."""
    return [sound for pair in zip(sounds, reconstructions, strict=True) for sound in pair]


class Family(ABC, Generic[RecipeT, NetworkT]):
    """A family of networks that train alike; its objects have no state.

    Attributes:
        network: class of networks. An object receives a recipe, and the networks in ``reads`` by name. Objectives get
            a generator on the CPU.
        bfloat16: matrix products may be in bfloat16, which is faster.
        repeats_steps: CUDA graphs can replay its steps, which have the same shapes, draw by `shared_random` alone, and
            read no tensor back.
        measured: `initialise` measures parts that training does not adapt: after a trial, weights start anew.
        reads: names of other runs whose networks it uses.
        previewed: training writes sounds that its network makes.
        pictured: these are whole sounds, drawn side by side.
        exported: its networks make sound, and `timbrel export` writes them.
    """

    network: type[NetworkT]
    bfloat16: ClassVar[bool] = False
    repeats_steps: ClassVar[bool] = False
    measured: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ()
    previewed: ClassVar[bool] = True
    pictured: ClassVar[bool] = False
    exported: ClassVar[bool] = True

    @abstractmethod
    def check(self, corpus: Corpus, recipe: RecipeT) -> None:
        """Raise UserError for an unsuitable corpus."""

    @abstractmethod
    def data(self, corpus: Corpus, recipe: RecipeT, folder: Path) -> Data[Any]:
        """Return training data, with files in ``folder``; training clips replace missing validation clips."""

    def complete(self, recipe: RecipeT, corpus: Corpus) -> RecipeT:
        """Fill in missing values from the corpus: labels, where the network has words for them."""
        return with_words(recipe, corpus)

    def follow(self, recipe: RecipeT, recipes: Mapping[str, Recipe]) -> RecipeT:
        """Fill in values from the recipes of the runs in ``reads``, or raise UserError."""
        return recipe

    def read_pretrained(self, path: Path, recipe: RecipeT) -> "tuple[RecipeT, Callable[[NetworkT], None]]":
        """Read published weights: return the recipe that fits them, and a function that loads them into a network.

        Raises:
            UserError: the family has none, or they cannot be read.
        """
        raise UserError(
            f"--pretrained {path} is no option of recipe {recipe.name}: published weights are those of clip-wavegan; "
            "leave it out"
        )

    def measures_quality(self, network: NetworkT) -> bool:
        """Return whether validations compare: losses do, unless they compete, and the figures of `health`."""
        return not network.adversarial or type(self).health is not Family.health

    def describe(self, corpus: Corpus, recipe: RecipeT) -> str:
        """Summarise the use of a corpus in a line."""
        return "cutting frames"

    def health(self, network: NetworkT, data: Data[Any], sample_rate: int) -> dict[str, float]:
        """Measure adversarial training at a rate in Hz; no figures where losses suffice."""
        return {}

    def health_line(self, figures: dict[str, float]) -> str:
        """Return the figures of `health` in words."""
        return ""

    def preview(self, network: NetworkT, recipe: RecipeT, batch: list[torch.Tensor]) -> list[Array]:
        """Return sounds [samples] of a validation batch."""
        return []

    @torch.no_grad()
    def preview_sounds(self, network: NetworkT, recipe: RecipeT, data: Data[Any]) -> list[Array]:
        """Return sounds [samples] of validation frames."""
        device = next(network.parameters()).device
        return self.preview(
            network, recipe, [batch_tensor.to(device) for batch_tensor in next(data.validation(PREVIEW_FRAMES))]
        )
