"""Evaluates generators of sample clips."""

from collections.abc import Callable
from typing import Any

import torch

from ....host.arrays import Array, Integers
from ....train.corpus.clip_table import Split
from ....train.corpus.store import Corpus
from ....train.families.gan.data import places
from ....train.families.gan.dcgan import Halves
from ....train.families.gan.generator import ClipGenerator
from ....train.families.gan.recipe import ClipFrames
from ....train.families.invert.network import Inverter
from ....train.run import Run
from ....train.sampling import evenly_spaced
from ..clip.report import ClipReporter, SplitSample, most, report_with

BATCH = 32  # clips per encoding batch
FITTED = (
    "This network has no prior: its random codes are drawn from a normal distribution fitted to the codes of training "
    "clips."
)


def generator_reporter(network: ClipGenerator | Halves | Inverter, run: Run) -> ClipReporter:
    recipe: Any = run.recipe
    settings, words = recipe.frames, list(getattr(recipe.network, "words", []))
    assert isinstance(settings, ClipFrames)

    def sample(corpus: Corpus, split: Split) -> SplitSample:
        found = places(corpus, split, settings, words)
        chosen = evenly_spaced(len(found), most(settings.frame_length))
        recordings = found.of(chosen)
        clips = found.take_clips(corpus, chosen, settings.normalised)
        names = [found.clips[recording].name for recording in recordings]
        return SplitSample(split, clips, names, found.labels[recordings], len(found))

    if isinstance(network, Inverter):
        generate, reconstruct = _from_prior(network.generator), _inverted(network)
        weights = sum(p.numel() for p in network.network.parameters())
        return ClipReporter(sample, words, generate, reconstruct, recipe.loss, weights, of_samples=True)
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if isinstance(network, Halves):
        generate, reconstruct = _fitted(network, lambda: sample(run.corpus(), "train").clips), _reconstructed(network)
        return ClipReporter(
            sample, words, generate, reconstruct, recipe.loss, parameters, of_samples=True, drawn=FITTED
        )
    return ClipReporter(
        sample, words, _from_prior(network), None, recipe.loss, parameters, of_samples=True, sides=network.sides
    )


report = report_with(generator_reporter)


def _from_prior(network: ClipGenerator) -> Callable[[Integers, int], Array]:
    @torch.no_grad()
    def generate(labels: Integers, seed: int) -> Array:
        codes = network.draw(len(labels), torch.Generator().manual_seed(seed))
        return network.decode(codes, network.rows(torch.from_numpy(labels))).numpy()

    return generate


def _fitted(network: Halves, known: Callable[[], Array]) -> Callable[[Integers, int], Array]:
    """Sums of training codes' deviations times normal numbers have the codes' covariance."""
    codes: list[torch.Tensor] = []

    @torch.no_grad()
    def generate(labels: Integers, seed: int) -> Array:
        if not codes:
            codes.extend(network.encode(part) for part in torch.split(torch.from_numpy(known()), BATCH))
        trained = torch.cat(codes)
        mean = trained.mean(0)
        shares = torch.randn(len(labels), len(trained), generator=torch.Generator().manual_seed(seed))
        return network.decode(mean + shares @ (trained - mean) / max(len(trained) - 1, 1) ** 0.5).numpy()

    return generate


def _reconstructed(network: Halves) -> Callable[[Array, Integers], Array]:
    @torch.no_grad()
    def reconstruct(clips: Array, labels: Integers) -> Array:
        return network.decode(network.encode(torch.from_numpy(clips))).numpy()

    return reconstruct


def _inverted(network: Inverter) -> Callable[[Array, Integers], Array]:
    @torch.no_grad()
    def reconstruct(clips: Array, labels: Integers) -> Array:
        pairs = zip(*(torch.split(torch.from_numpy(part), BATCH) for part in (clips, labels)), strict=True)
        return torch.cat([network.again(*pair) for pair in pairs]).numpy()

    return reconstruct
