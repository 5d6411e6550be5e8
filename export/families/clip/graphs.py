"""ONNX graphs of a clip autoencoder (whole short sounds)."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....host.errors import UserError
from ....host.model.card import NormalPrior
from ....train.corpus.store import Corpus
from ....train.families.clip.data import hits
from ....train.families.clip.network import ClipAutoencoder
from ....train.families.clip.recipe import HitRecipe
from ....train.sampling import random_indices
from ...graphs import CODES, LANDMARKS, SEED, EncodedFrames, Graphs
from ...measures.sounds import silence_message

ROWS = 256  # clips encoded at a time
MOMENT_SECONDS = 0.4  # the window that sets a clip's loudness: BS.1770's momentary loudness
CLIP_LEVEL = 0.1  # its root mean square, the level of voices in a host: -20 dB
LEAST = 1e-12  # power of a clip that is silent
EXACT = 1 << 14  # elements of a matrix: smaller ones, as of the latents' mapping and its inverse, keep single precision


class ClipDecoder(nn.Module):
    """latent [voice, n] (, label [voice, words]) → frame [voice, width].

    Training leaves kicks 20 dB softer than hats; here the loudest 0.4 s, BS.1770-weighted, have one level.
    """

    weights: Tensor

    def __init__(self, network: ClipAutoencoder) -> None:
        super().__init__()
        self.network = network
        seen, rate = network.features, network.features.sample_rate
        hertz = np.arange(seen.transform // 2 + 1) * rate / seen.transform
        self.register_buffer("weights", torch.from_numpy(k_weights(hertz)).float())
        self.hops = max(1, round(MOMENT_SECONDS * rate / seen.hop))

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        frame = self.network.decode(latent, label)
        return frame / (self._loudest(frame) / CLIP_LEVEL)

    def _loudest(self, frame: Tensor) -> Tensor:
        seen = self.network.features
        hops = seen.spectra - 1
        power = frame[:, : -seen.points].reshape(-1, seen.spectra, len(self.weights))[:, :-1].square()
        audible = (power @ self.weights) / power.sum(2).clamp_min(LEAST)
        parts = frame[:, -seen.points :].reshape(-1, hops, seen.points // hops).square().mean(2)
        moment = min(self.hops, hops)
        moments = F.avg_pool1d((parts * audible)[:, None], moment, 1)[:, 0] * (moment / self.hops)
        loudest: Tensor = moments.amax(1, keepdim=True).clamp_min(LEAST).sqrt()
        return loudest


def k_weights(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return BS.1770's K-weighting of power at frequencies in Hz, within 0.05 dB from 20 Hz to 20 kHz."""
    high_pass = np.square(np.square(hertz) / (np.square(hertz) + 38.1**2))
    shelf = 1 + 1.51 * hertz**4 / (hertz**4 + 1700.0**4)
    weights: npt.NDArray[np.float64] = high_pass * shelf
    return weights


class ClipEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], and if ``labelled`` label scores, [batch, words]."""

    def __init__(self, network: ClipAutoencoder, labelled: bool) -> None:
        super().__init__()
        self.network, self.labelled = network, labelled

    def forward(self, audio: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.network.features(audio)[0]
        latent = self.network.encode(features)
        return (latent, self.network.label_probabilities(features)) if self.labelled else latent


def short_names(names: Sequence[str]) -> list[str]:
    """Return files' names without folder and suffix, or whole where others have the same."""
    stems = [PurePosixPath(name).stem for name in names]
    counts = Counter(stems)
    return [stem if counts[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]


@torch.no_grad()
def clip_graphs(network: ClipAutoencoder, recipe: HitRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    words = recipe.network.words
    found = hits(corpus, "train", words)
    if not found.clips:
        raise UserError(silence_message(corpus, "training clip", "add louder sounds"))
    places = random_indices(len(found.clips), CODES, np.random.default_rng(SEED))
    codes = np.concatenate(
        [
            network.encode(
                network.features(torch.from_numpy(found.take_clips(corpus, part, recipe.frames.frame_length)))[0]
            ).numpy()
            for part in np.array_split(places, -(-len(places) // ROWS))
        ]
    )
    clips = [found.clips[index] for index in places]
    few = len(codes) <= LANDMARKS  # each is a landmark, and knobs reach it
    return Graphs(
        decoder=ClipDecoder(network),
        encoder=ClipEncoder(network, bool(words)),
        encoder_labels=bool(words),
        exact=EXACT,
        decoder_chroma=False,
        encoder_chroma=False,
        codes=EncodedFrames(
            codes,
            [clip.label for clip in clips] if words else short_names([clip.name for clip in clips]),
            span=(codes.min(0), codes.max(0)) if few else None,
        ),
        card={
            "kind": "clip",
            "domain": "magnitude",
            "hop_length": network.features.hop,
            "transform_length": network.features.transform,
            "envelope_points": network.features.points,
            "window": "hann",
            "prior": NormalPrior(normal=(0.0, 1.0)),
            "chroma": None,
            "labels": words,
        },
    )
