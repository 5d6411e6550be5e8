"""Turns a network's code space: latent 0 becomes brightness, latent 1 noise.

The turn is affine. It is folded into the decoder's first layer and follows the encoder's bottleneck, so frames decode
and encode as before, and hosts need not know of it.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch

from ...host.arrays import Doubles, Indices
from ...host.kinds.card_fields import NormalPrior
from ..measures.codes import DEAD
from .effects import NAMES, Ground

TURNED = ("brightness", "noise")  # descriptors of the first axes
MIDDLE = 0.5  # mean of turned codes, as of codes that fill a cube
DEVIATION = 12**-0.5  # of each turned latent, as of numbers uniform on 0 to 1: knobs keep their scale
LEAST_REMAINDER = 1e-3  # of a slope beside the earlier axes: a shorter one has no direction of its own
# Sums of uniform latents are nearly normal, and their box has corners that no recording reaches. Codes drawn from this
# law within the knobs' spans lie as near to recordings as codes drawn from the cube before the turn.
PRIOR = NormalPrior(normal=(MIDDLE, round(DEVIATION, 5)))


@dataclass(frozen=True)
class CodeTurn:
    """New codes are ``matrix`` @ code + ``offset``: [latents, latents], [latents]."""

    matrix: Doubles
    offset: Doubles

    def sorted(self, order: Indices, flipped: npt.NDArray[np.bool_]) -> "CodeTurn":
        """``order`` lists old indices; ``flipped`` new latents are 1 - x."""
        signs = np.where(flipped, -1.0, 1.0)
        return CodeTurn(self.matrix[order] * signs[:, np.newaxis], self.offset[order] * signs + flipped)

    def of(self, network: Any) -> Any:
        """Return a network with turned codes; its ``rotation`` follows the encoder's bottleneck."""
        network = copy.deepcopy(network)
        first_layer, latents = network.decoder[0], len(self.offset)
        assert isinstance(first_layer, torch.nn.Linear)
        network.rotation = torch.nn.Linear(latents, latents)
        with torch.no_grad():
            columns = first_layer.weight[:, :latents].double().numpy() @ np.linalg.inv(self.matrix)
            first_layer.weight[:, :latents] = torch.from_numpy(columns)
            first_layer.bias.sub_(torch.from_numpy(columns @ self.offset))
            network.rotation.weight.copy_(torch.from_numpy(self.matrix))
            network.rotation.bias.copy_(torch.from_numpy(self.offset))
        return network


def code_turn(ground: Ground) -> CodeTurn:
    """Return the turn after which each latent has mean `MIDDLE` and deviation `DEVIATION` over the ground's codes.

    In deviations it is a rotation. The first axes are the mean normalised slopes of `TURNED`, each made orthogonal to
    earlier ones; the others are the old axes nearest to their complement, so their knobs do almost as before.
    """
    codes = ground.codes.double().numpy()
    deviations = codes.std(0)
    deviations = np.where(deviations < DEAD, DEVIATION, deviations)  # codes that do not vary stay so
    axes = _axes(_slopes(ground, deviations)) / deviations
    turned_deviations = (codes @ axes.T).std(0)
    scale = DEVIATION / np.where(turned_deviations < DEAD, 1.0, turned_deviations)
    matrix = axes * scale[:, np.newaxis]
    return CodeTurn(matrix, MIDDLE - matrix @ codes.mean(0))


def _slopes(ground: Ground, deviations: Doubles) -> Doubles:
    """Return mean normalised slopes of descriptors, in deviations, [TURNED, latents]."""
    scale = torch.from_numpy(deviations).float()
    with torch.enable_grad():
        codes = ground.codes.clone().requires_grad_(True)
        descriptors, _ = ground.sound(codes, slice(None))
        descriptors = descriptors + 0 * codes.sum()  # keeps a graph of zero slopes, where a decoder ignores its codes
        slopes = [
            torch.autograd.grad(descriptors[:, NAMES.index(name)].sum(), codes, retain_graph=True)[0] for name in TURNED
        ]
    means = [torch.nn.functional.normalize(slope * scale, dim=1).mean(0) for slope in slopes]
    return torch.stack(means).double().numpy()


def _axes(slopes: Doubles) -> Doubles:
    """Return a rotation, [latents, latents], whose first axes are along ``slopes``, if these have a direction."""
    latents = slopes.shape[1]
    axes = np.zeros((0, latents))
    for slope in slopes[:latents]:
        remainder = slope - axes.T @ (axes @ slope)
        if (length := np.linalg.norm(remainder)) > LEAST_REMAINDER:
            axes = np.vstack([axes, remainder / length])
    complement = np.eye(latents) - axes.T @ axes
    _, _, old_indices = scipy.linalg.qr(complement, pivoting=True)  # old axes, those with most of the complement first
    left, _, right = np.linalg.svd(complement[:, old_indices[: latents - len(axes)]], full_matrices=False)
    rotation: Doubles = np.vstack([axes, (left @ right).T])  # symmetric orthogonalisation (Löwdin): the nearest axes
    return rotation
