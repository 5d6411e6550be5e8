"""The invert family: trained on the clips of the gan family, after a generator and a classifier."""

from collections.abc import Mapping

import torch

from ....host.arrays import Array
from ....host.errors import UserError
from ...corpus.store import Corpus
from ...recipe import Recipe
from ..classifier.recipe import ClassifierRecipe
from ..family import side_by_side
from ..gan.data import PieceFamily
from ..gan.recipe import DCGANRecipe, GANRecipe, HalvesRecipe
from .network import Inverter
from .recipe import InvertRecipe


class InvertFamily(PieceFamily[InvertRecipe, Inverter]):
    network = Inverter
    reads = ("generator", "judge")

    def complete(self, recipe: InvertRecipe, corpus: Corpus) -> InvertRecipe:
        """Return the recipe: the generator provides the labels."""
        return recipe

    def follow(self, recipe: InvertRecipe, recipes: Mapping[str, Recipe]) -> InvertRecipe:
        """Return the recipe with its generator's frames and labels.

        Raises:
            UserError: the others are not an adversarial clip generator and a classifier.
        """
        generator_recipe, classifier_recipe = recipes["generator"], recipes["judge"]
        if not isinstance(generator_recipe, GANRecipe | DCGANRecipe) or isinstance(generator_recipe, HalvesRecipe):
            raise UserError(
                f"--generator is a run of {generator_recipe.name}, which makes no clips of codes in a contest; give "
                "one of clip-wavegan or clip-dcgan"
            )
        if not isinstance(classifier_recipe, ClassifierRecipe):
            raise UserError(
                f"--classifier is a run of {classifier_recipe.name}, which tells no labels; give one of "
                "digits-classifier"
            )
        words = list(getattr(generator_recipe.network, "words", []))
        network_settings = recipe.network.model_copy(update={"words": words})
        return recipe.model_copy(update={"frames": generator_recipe.frames, "network": network_settings})

    def preview(self, network: Inverter, recipe: InvertRecipe, batch: list[torch.Tensor]) -> list[Array]:
        return side_by_side(batch[0].cpu().numpy(), network.reconstruct(*batch).cpu().numpy())
