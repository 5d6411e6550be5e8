"""A classifier of labelled clips: ResNet-18 over log-mel spectrograms.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016): table 1, with the shortcuts of
option B; the first layer sees one channel. Batch normalisation before each ReLU, weights begin as their section 3.4
has them (He et al., ICCV 2015).
"""

import librosa
import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...metrics.generated import Judged
from ...network import Network, Objective
from .recipe import ClassifierRecipe

Array = npt.NDArray[np.float32]

BLOCKS = 2  # of each stage
STAGES = 4  # each with twice the channels and half the resolution of the one before
SOFTEST_DB = -80.0  # under a clip's loudest cell: below lies the noise of 16 bits
CENTRE_DB, SPREAD_DB = -40.0, 20.0  # levels of recordings lie around these, so that the network sees numbers around 1
SILENT = 1e-10  # power of a cell: of a silent clip all lie there
TOGETHER = 64  # clips judged at a time


class Spectrogram(nn.Module):
    """Levels of mel bands under a clip's loudest cell, centred and scaled: the same at any gain.

    Args:
        rate: of samples, in Hz.
        frame_length, hop_length: of the Hann windows, in samples.
        bands: mel bands, up to half the rate.
    """

    mel: Tensor
    window: Tensor

    def __init__(self, rate: int, frame_length: int, hop_length: int, bands: int) -> None:
        super().__init__()
        self.frame_length, self.hop_length = frame_length, hop_length
        mel = librosa.filters.mel(sr=rate, n_fft=frame_length, n_mels=bands)
        self.register_buffer("mel", torch.from_numpy(mel), persistent=False)
        self.register_buffer("window", torch.hann_window(frame_length), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the spectrograms of clips, [batch, samples] → [batch, 1, bands, frames]."""
        padded = F.pad(audio, (self.frame_length // 2, self.frame_length // 2))
        pieces = padded.unfold(1, self.frame_length, self.hop_length) * self.window
        parts = torch.view_as_real(torch.fft.rfft(pieces))  # torch's own short-time transform goes into no ONNX file
        power = self.mel @ (parts * parts).sum(-1).transpose(1, 2)
        loudest = power.amax((1, 2), keepdim=True).clamp_min(SILENT)
        levels = 10 * (power / loudest).clamp_min(10 ** (SOFTEST_DB / 10)).log10()
        return ((levels - CENTRE_DB) / SPREAD_DB)[:, None]


class Block(nn.Module):
    """Two convolutions of 3 × 3 around which their input goes: a basic block, [batch, before, …] → [batch, after, …].

    With a ``stride`` of 2 the picture is halved.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(before, after, 3, stride)
        self.second = _convolution(after, after, 3, 1)
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else _convolution(before, after, 1, stride)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return what the block makes of pictures."""
        return F.relu(self.second(F.relu(self.first(pictures))) + self.shortcut(pictures))


class Classifier(Network):
    """Tells which of some labels a clip has.

    Shapes: audio [batch, clip_length] samples; labels [batch], numbers of the recipe's words; scores [batch, labels],
    whose softmax are probabilities.
    """

    turns = (Objective("classification"),)

    def __init__(self, recipe: ClassifierRecipe) -> None:
        super().__init__()
        frames, width = recipe.frames, recipe.network.width
        self.weights = recipe.loss
        self.words, self.rate, self.clip_length = recipe.network.words, frames.sample_rate, frames.clip_length
        self.spectrogram = Spectrogram(frames.sample_rate, frames.frame_length, frames.hop_length, frames.bands)
        self.stem, self.blocks, channels = resnet(width)
        self.scores = nn.Linear(channels, len(self.words))
        begin(self)

    def features(self, audio: Tensor) -> list[Tensor]:
        """Return what the network sees in clips: after each of its eight residual blocks, then the penultimate layer.

        [batch, channels, bands, frames] each, and [batch, features] last, the means over the last block's pictures.
        Keyes et al. ("Latent Vector Recovery of Audio GANs", 2020, section 3.2) compare sounds by such activations.
        """
        pictures = self.stem(self.spectrogram(audio))
        found = []
        for block in self.blocks:
            pictures = block(pictures)
            found.append(pictures)
        return [*found, pictures.mean((2, 3))]

    def classification(self, audio: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the cross entropy of what clips are taken for and what they are, and how many are right."""
        scores = self.scores(self.features(audio)[-1])
        right = (scores.argmax(1) == labels).float().mean()
        return {"cross_entropy": F.cross_entropy(scores, labels), "accuracy": right.detach()}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the cross entropy; the share of clips that are right is only told."""
        return terms["cross_entropy"]

    @torch.no_grad()
    def judge(self, clips: Array, rate: int) -> Judged:
        """Return what clips are taken for, and their penultimate features; of a network in evaluation mode.

        Args:
            clips: [clips, samples]; cut to the length of the network's, or followed by silence.
            rate: of the clips, in Hz; they are resampled to the network's.
        """
        device = next(self.parameters()).device
        posteriors, features = [], []
        for first in range(0, len(clips), TOGETHER):
            audio = torch.from_numpy(self.heard(clips[first : first + TOGETHER], rate)).to(device)
            seen = self.features(audio)[-1]
            posteriors.append(self.scores(seen).softmax(1).cpu().numpy())
            features.append(seen.cpu().numpy())
        return Judged(np.concatenate(posteriors), np.concatenate(features))

    def heard(self, clips: Array, rate: int) -> Array:
        """Return clips at the network's rate and of its length, [clips, clip_length]."""
        if rate != self.rate:
            clips = soxr.resample(clips.T, rate, self.rate).T
        kept = clips[:, : self.clip_length]
        padded: Array = np.pad(kept, ((0, 0), (0, self.clip_length - kept.shape[1]))).astype(np.float32)
        return padded


def resnet(width: int) -> tuple[nn.Sequential, nn.ModuleList, int]:
    """Return a ResNet-18's first layers, its blocks, and how many channels the last of them has."""
    stem = nn.Sequential(_convolution(1, width, 7, 2), nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
    blocks, channels = [], width
    for stage in range(STAGES):
        for place in range(BLOCKS):
            after = width << stage
            blocks.append(Block(channels, after, 2 if stage and not place else 1))
            channels = after
    return stem, nn.ModuleList(blocks), channels


def begin(network: nn.Module) -> None:
    """Draw the first weights of all convolutions."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _convolution(before: int, after: int, size: int, stride: int) -> nn.Module:
    """Return a convolution that keeps a picture's size, divided by ``stride``, and normalises by batch."""
    convolution = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after))
