"""Normalizing flow between normally distributed codes and the latents of an autoencoder.

So every code sounds like the corpus: the second stage of Dai and Wipf (ICLR 2019). Affine couplings (Dinh et al., "Real
NVP", ICLR 2017), trained by maximum likelihood, follow each label's mean and covariance. A rotation sorts codes by mean
squared gradients (Constantine et al., SIAM Journal on Scientific Computing 36:4, 2014).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

COUPLINGS = 4
HIDDEN = 96  # of a coupling: enough for thousands of clips, without overfitting hundreds
LEAK = 0.1
STEEPEST = 1.5  # nepers, largest scale of a coupling: keeps the map invertible in half precision
SLOWNESS = 0.01  # weight of a step in running means, over about a hundred steps
LEAST = 1e-4  # variance: smaller ones are not scaled up to 1
SHARED = 0.1  # share of all labels' covariance in each label's, as some have few clips
REACH = 3.0  # deviations beyond √n, the distance of most normal codes: one in ten thousand lies farther
PROBES = 32  # codes at which gradients are measured
PROBE = 0.5  # deviations: step of the finite differences, the scale of a knob


class Flow(nn.Module):
    """Maps latents to codes and back.

    Shapes: latents, codes [batch, n]; told [batch, words], weights of labels, or ones [batch, 1].
    """

    middles: Tensor
    covariance: Tensor
    root: Tensor
    inverse: Tensor
    axes: Tensor
    steps: Tensor

    def __init__(self, n: int, words: int) -> None:
        super().__init__()
        self.reach = math.sqrt(n) + REACH
        self.register_buffer("middles", torch.zeros(words, n))
        for name in ("covariance", "root", "inverse"):
            self.register_buffer(name, torch.eye(n).repeat(words, 1, 1))
        self.register_buffer("axes", torch.eye(n))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        generator = torch.Generator().manual_seed(0)
        self.couplings = nn.ModuleList(
            Coupling(torch.randperm(n, generator=generator), words) for _ in range(COUPLINGS if n > 1 else 0)
        )

    @torch.no_grad()
    def note(self, latents: Tensor, labels: Tensor) -> None:
        """Update each label's running mean and covariance; labels are indices, [batch]."""
        share = max(SLOWNESS, 1 / (1 + int(self.steps)))
        self.steps += 1
        for label in set(labels.tolist()):
            these = latents[labels == label]
            self.middles[label].lerp_(these.mean(0), share)
            beside = these - self.middles[label]
            self.covariance[label].lerp_(beside.T @ beside / len(beside), share)
        least = LEAST * torch.eye(latents.shape[1]).to(latents)
        whole = (1 - SHARED) * self.covariance + SHARED * self.covariance.mean(0) + least
        root = torch.linalg.cholesky(whole)
        self.root.copy_(root)
        self.inverse.copy_(torch.linalg.inv(root))

    @torch.no_grad()
    def turn(self, decoded: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Rotate codes: the first changes ``decoded(latents, told)`` most."""
        generator, (words, n) = torch.Generator().manual_seed(0), self.middles.shape
        codes = torch.randn(PROBES, n, generator=generator).to(self.middles)
        told = torch.eye(words).to(codes)[torch.arange(PROBES) % words]
        here = decoded(self._placed(codes, told), told)
        slopes = [decoded(self._placed(codes + PROBE * axis, told), told) - here for axis in torch.eye(n).to(codes)]
        moved = torch.stack(slopes).flatten(1)
        axes = torch.linalg.eigh(moved @ moved.T)[1].flip(1)
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        self.axes.copy_(axes * largest.sign())

    def surprise(self, latents: Tensor, told: Tensor) -> Tensor:
        """Return the mean negative log density in nats, up to a constant."""
        normal, volume = self._normal(latents, told)
        surprise: Tensor = (0.5 * normal.square().sum(1) - volume).mean()
        return surprise

    def codes(self, latents: Tensor, told: Tensor) -> Tensor:
        return self._normal(latents, told)[0] @ self.axes

    def latents(self, codes: Tensor, told: Tensor) -> Tensor:
        """Return latents, clamped to radius ``reach``."""
        far = codes.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)
        near = codes * (self.reach / far).clamp_max(1)
        return self._placed(near @ self.axes.T, told)

    def _normal(self, latents: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        values, volume = _by(self.inverse, latents - told @ self.middles, told), latents.new_zeros(())
        for coupling in self.couplings:
            values, stretched = coupling(values, told)
            volume = volume + stretched
        return values, volume

    def _placed(self, normal: Tensor, told: Tensor) -> Tensor:
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            normal = coupling.back(normal, told)
        return _by(self.root, normal, told) + told @ self.middles


def _by(matrices: Tensor, values: Tensor, told: Tensor) -> Tensor:
    chosen = (told @ matrices.flatten(1)).view(-1, *matrices.shape[1:])
    return (chosen @ values[:, :, None])[:, :, 0]


class Coupling(nn.Module):
    """Affine coupling (Dinh et al., eq. 7 and 8) that keeps the first half of the indices in ``order``."""

    stays: Tensor
    moves: Tensor
    places: Tensor

    def __init__(self, order: Tensor, words: int) -> None:
        super().__init__()
        half = len(order) // 2
        self.register_buffer("stays", order[:half], persistent=False)
        self.register_buffer("moves", order[half:], persistent=False)
        self.register_buffer("places", order.argsort(), persistent=False)
        last = nn.Linear(HIDDEN, 2 * (len(order) - half))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.told = nn.Sequential(
            nn.Linear(half + words, HIDDEN), nn.LeakyReLU(LEAK), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(LEAK), last
        )

    def forward(self, values: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and log determinant, [batch]."""
        kept = values[:, self.stays]
        stretch, shift = self._change(kept, told)
        moved = (values[:, self.moves] - shift) * torch.exp(-stretch)
        return torch.cat([kept, moved], 1)[:, self.places], -stretch.sum(1)

    def back(self, values: Tensor, told: Tensor) -> Tensor:
        kept = values[:, self.stays]
        stretch, shift = self._change(kept, told)
        return torch.cat([kept, values[:, self.moves] * torch.exp(stretch) + shift], 1)[:, self.places]

    def _change(self, kept: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        stretch, shift = self.told(torch.cat([kept, told], 1)).chunk(2, 1)
        return STEEPEST * torch.tanh(stretch / STEEPEST), shift
