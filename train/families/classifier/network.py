"""Classifier of labelled clips: ResNet-18 over log-mel spectrograms, and its batches.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), table 1, option B shortcuts, one input channel.
Batch normalisation precedes ReLU; weights start as in section 3.4 of He et al. (ICCV 2015).
"""

import numpy as np
import soxr
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....host.arrays import Array
from ....host.spectra import mel_filters
from ...metrics.clips import JudgedClips
from ...network import Network, Objective, constant
from .recipe import ClassifierRecipe

BLOCKS = 2  # of each stage
STAGES = 4  # each with twice the channels and half the resolution of the one before
SOFTEST_DB = -80.0  # below a clip's loudest cell: the noise floor of 16 bits
CENTRE_DB, SPREAD_DB = -40.0, 20.0  # typical levels of recordings: scales inputs to about 1
SILENT = 1e-10  # power of a cell in a silent clip
CLIP_BATCH = 64  # clips judged at a time


class Spectrogram(nn.Module):
    """Standardised mel band levels relative to a clip's maximum, [batch, samples] → [batch, 1, bands, frames]."""

    def __init__(self, rate: int, frame_length: int, hop_length: int, bands: int) -> None:
        super().__init__()
        self.frame_length, self.hop_length = frame_length, hop_length
        self.mel = constant(mel_filters(rate, frame_length, bands))
        self.window = nn.Buffer(torch.hann_window(frame_length), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        padded_audio = F.pad(audio, (self.frame_length // 2, self.frame_length // 2))
        windowed_frames = padded_audio.unfold(1, self.frame_length, self.hop_length) * self.window
        real_imaginary = torch.view_as_real(torch.fft.rfft(windowed_frames))  # torch.stft cannot be exported to ONNX
        band_powers = self.mel @ (real_imaginary * real_imaginary).sum(-1).transpose(1, 2)
        loudest_power = band_powers.amax((1, 2), keepdim=True).clamp_min(SILENT)
        levels_db = 10 * (band_powers / loudest_power).clamp_min(10 ** (SOFTEST_DB / 10)).log10()
        return ((levels_db - CENTRE_DB) / SPREAD_DB)[:, None]


class Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(in_channels, out_channels, 3, stride)
        self.second = _convolution(out_channels, out_channels, 3, 1)
        same_shape = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same_shape else _convolution(in_channels, out_channels, 1, stride)

    def forward(self, pictures: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(pictures))) + self.shortcut(pictures))


class Classifier(Network):
    """Predicts labels of clips.

    Shapes: audio [batch, clip_length], samples; label indices [batch]; scores [batch, labels], logits.
    """

    objectives = (Objective("classification"),)

    def __init__(self, recipe: ClassifierRecipe) -> None:
        super().__init__()
        frame_settings, width = recipe.frames, recipe.network.width
        self.weights = recipe.loss
        self.words, self.rate, self.clip_length = (
            recipe.network.words,
            frame_settings.sample_rate,
            frame_settings.clip_length,
        )
        self.spectrogram = Spectrogram(
            frame_settings.sample_rate, frame_settings.frame_length, frame_settings.hop_length, frame_settings.bands
        )
        self.stem, self.blocks, feature_count = resnet(width)
        self.scores = nn.Linear(feature_count, len(self.words))
        initialise_weights(self)

    def features(self, audio: Tensor) -> list[Tensor]:
        """Return blocks' activations, [batch, channels, bands, frames], then the last's means, [batch, features]."""
        feature_maps = self.stem(self.spectrogram(audio))
        block_maps = []
        for block in self.blocks:
            feature_maps = block(feature_maps)
            block_maps.append(feature_maps)
        return [*block_maps, feature_maps.mean((2, 3))]

    def classification(self, audio: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the cross entropy and accuracy of predicted labels."""
        scores = self.scores(self.features(audio)[-1])
        accuracy = (scores.argmax(1) == labels).float().mean()
        return {"cross_entropy": F.cross_entropy(scores, labels), "accuracy": accuracy.detach()}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the cross entropy; accuracy is informative only."""
        return terms["cross_entropy"]

    @torch.no_grad()
    def judge(self, clips: Array, rate: int) -> JudgedClips:
        """Return label probabilities and penultimate features of clips, [clips, samples]."""
        device = next(self.parameters()).device
        posterior_batches, feature_batches = [], []
        for batch_start in range(0, len(clips), CLIP_BATCH):
            audio = torch.from_numpy(self.resampled(clips[batch_start : batch_start + CLIP_BATCH], rate)).to(device)
            penultimate_features = self.features(audio)[-1]
            posterior_batches.append(self.scores(penultimate_features).softmax(1).cpu().numpy())
            feature_batches.append(penultimate_features.cpu().numpy())
        return JudgedClips(np.concatenate(posterior_batches), np.concatenate(feature_batches))

    def resampled(self, clips: Array, rate: int) -> Array:
        """Return [clips, clip_length] at the network's rate, cut or zero-padded."""
        if rate != self.rate:
            clips = soxr.resample(clips.T, rate, self.rate).T
        trimmed_clips = clips[:, : self.clip_length]
        return np.pad(trimmed_clips, ((0, 0), (0, self.clip_length - trimmed_clips.shape[1]))).astype(np.float32)


def resnet(width: int) -> tuple[nn.Sequential, nn.ModuleList, int]:
    """Return the first layers, the blocks, and the number of output channels."""
    stem = nn.Sequential(_convolution(1, width, 7, 2), nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
    blocks, channel_count = [], width
    for stage_index in range(STAGES):
        for block_index in range(BLOCKS):
            out_channels = width << stage_index
            blocks.append(Block(channel_count, out_channels, 2 if stage_index and not block_index else 1))
            channel_count = out_channels
    return stem, nn.ModuleList(blocks), channel_count


def initialise_weights(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _convolution(in_channels: int, out_channels: int, size: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))
