"""Families that live in tests alone."""

import numpy as np
from timbrel.train.families import FAMILIES, FOLDERS, RECIPES
from timbrel.train.families.family import Family


class Toy(Family):
    """Any network on the data of another family, any corpus, previews of silence."""

    def __init__(self, network, like=None, reads=()):
        self.network, self.reads, self._like = network, reads, like

    def check(self, corpus, recipe):
        if self._like:
            FAMILIES[self._like].check(corpus, recipe)

    def data(self, corpus, recipe, folder):
        return FAMILIES[self._like].data(corpus, recipe, folder)

    def preview(self, network, recipe, batch):
        return [np.zeros(1, np.float32)]


def put(patch, name, recipe, family):
    """Put a family on the product's list, for as long as ``patch`` lasts."""
    patch.setitem(FOLDERS, name, ("", ""))
    patch.setitem(RECIPES, name, recipe)
    patch.setitem(FAMILIES, name, family)


def recipe_text(family, length):
    """Return the TOML of a short training on frames of ``length`` samples."""
    return f"""description = "a family that lives in a test"
family = "{family}"
[training]
steps = 20
batch_size = 8
learning_rate = 0.01
schedule = "constant"
l2 = 0.0
seed = 1
[frames]
sample_rate = 44100
frame_length = {length}
hop_length = {length}
"""
