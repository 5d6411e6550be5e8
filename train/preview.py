"""Writes audible previews of a run during training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..host.audio.sound_files import sound_writer
from ..host.dsp import overlap_add, window
from ..host.kinds.clip.magnitude_synthesis import SpectraSound
from ..host.kinds.spectrum.causal_phase import CausalPhase
from .clip_picture import draw_grid
from .families.chroma.network import ChromaAutoencoder
from .families.chroma.recipe import ChromaRecipe
from .families.clip.network import ClipAutoencoder
from .families.gan.dcgan import Halves
from .families.gan.generator import ClipGenerator
from .families.grain.network import GrainAutoencoder
from .families.grain.recipe import GrainRecipe
from .families.invert.network import Inverter
from .families.sequence.batches import joined
from .families.sequence.network import RecurrentNetwork
from .families.sequence.recipe import SequenceRecipe
from .grain_synthesis import grains, overlapped
from .network import Network
from .recipes.base import Recipe
from .training_data import Data

Array = npt.NDArray[np.float32]
Held = Callable[[Any, Any, list[torch.Tensor]], list[Array]]

SOUNDS = 6  # spread over the validation frames
CLIPS = 12  # of an adversarial network, from fixed codes
SECONDS = 0.7  # each
PEAK = 0.5


@torch.no_grad()
def write_preview(folder: Path, network: Network, recipe: Recipe, data: Data, held: Held, step: int) -> Path:
    """Write decoded validation frames as ``step-N.wav``, whole clips also as a picture."""
    folder.mkdir(exist_ok=True)
    device = next(network.parameters()).device
    sounds = held(network, recipe, [part.to(device) for part in data.validation(SOUNDS)[0]])
    mono = np.concatenate([sound / max(float(np.abs(sound).max()), 1e-9) * PEAK for sound in sounds])
    path = folder / f"step-{step:07d}.wav"
    with sound_writer(path, recipe.frames.sample_rate, channels=1, overwrite=True) as file:
        file.write(mono[None].astype(np.float32))
    if held in PICTURED:
        draw_grid(path.with_suffix(".png"), sounds, recipe.frames.sample_rate, [str(n + 1) for n in range(len(sounds))])
    return path


def held_spectra(network: ChromaAutoencoder, recipe: ChromaRecipe, batch: list[torch.Tensor]) -> list[Array]:
    frames, chroma, *_ = batch
    length, hop = recipe.frames.frame_length, recipe.frames.hop_length
    phase = CausalPhase(length, hop)
    sounds = []
    for frame in network.decode(network.encode(frames, chroma), chroma).cpu().numpy():
        count = int(SECONDS * recipe.frames.sample_rate / hop)
        spectra = phase.apply(np.repeat(frame[None], count, 0), [phase.start_state()] * count)
        sounds.append(overlap_add(np.fft.irfft(spectra) * window("hann", length), hop))
    return sounds


def held_hits(network: ClipAutoencoder, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    features, _, labels = batch
    features, words = features.float(), len(network.settings.words)
    told = torch.nn.functional.one_hot(labels, words).to(features) if words else None
    taken = network.features
    sound = SpectraSound(taken.length, taken.transform, taken.hop, taken.points)
    asked, made = taken.frames(features), network.decode(network.encode(features), told)
    pairs = zip(sound(asked.cpu().numpy()), sound(made.cpu().numpy()), strict=True)
    return [clip for pair in pairs for clip in pair]


def held_grains(network: GrainAutoencoder, recipe: GrainRecipe, batch: list[torch.Tensor]) -> list[Array]:
    length, rng = recipe.frames.frame_length, np.random.default_rng(0)
    count = max(1, int(SECONDS * recipe.frames.sample_rate / (length // 4)))
    frames = network.decode(network.encode(*batch)).cpu().numpy()
    return [overlapped(grains(np.repeat(f[None], count, 0), recipe, rng), length // 4, "blackman") for f in frames]


def held_clips(network: ClipGenerator, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    codes = network.draw(CLIPS, torch.Generator().manual_seed(0)).to(batch[0])
    label = network.rows(torch.arange(CLIPS, device=codes.device) % max(1, network.words))
    return list(network.decode(codes, label).cpu().numpy())


def held_reconstructions(network: Halves, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    made = network.decode(network.encode(batch[0])).cpu().numpy()
    return [sound for pair in zip(batch[0].cpu().numpy(), made, strict=True) for sound in pair]


def held_inversions(network: Inverter, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    made = network.again(*batch).cpu().numpy()
    return [sound for pair in zip(batch[0].cpu().numpy(), made, strict=True) for sound in pair]


def held_sequences(network: RecurrentNetwork, recipe: SequenceRecipe, batch: list[torch.Tensor]) -> list[Array]:
    sounds, counts, numbers = batch
    frames = network.standard(sounds)
    made = network.continued(frames[:, :1], network.codes(numbers), frames.shape[1])
    heard = zip(sounds, network.standard.back(made), counts.tolist(), strict=True)
    pairs = ((part[:count].cpu().numpy() for part in parts) for *parts, count in heard)
    return [joined(part, recipe.frames.hop_length) for pair in pairs for part in pair]


PICTURED = (
    held_clips,
    held_reconstructions,
    held_inversions,
    held_sequences,
)  # families of whole sounds, which fit side by side in a picture
