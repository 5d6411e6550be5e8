"""Interface of adversarial clip generators, and fast strided convolutions.

Samples between strides become channels at stride 1. On GPUs a convolution is one product of matrices, and so are its
derivatives: cuDNN's are slow where a gradient penalty needs the second ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...network import Network
from ...shared_random import rand_examples


class ClipGenerator(Network, ABC):
    """Generates clips [batch, frame_length] from codes [batch, latents], against a judge.

    ``words`` counts labels. ``sides`` maps sides' names to loss terms, the judge first.
    """

    sides: ClassVar[Mapping[str, tuple[str, ...]]]
    latents: int
    words: int = 0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return uniform codes in ±1, [count, latents]."""
        return 2 * rand_examples(count, self.latents, generator=generator) - 1

    def rows(self, labels: Tensor) -> Tensor | None:
        """Return one-hot rows [batch, words] of label indices [batch]; None without labels."""
        return F.one_hot(labels, self.words).float() if self.words else None

    @abstractmethod
    def decode(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        """Return clips; rows of ``label`` [batch, words] sum to 1."""

    @abstractmethod
    def judge(self, clips: Tensor, label: Tensor | None) -> Tensor:
        """Return scores, [batch]; higher is more real."""


class _Strided:
    """Taps of a strided convolution at stride 1, over blocks of ``stride`` samples."""

    def __init__(self, kernel: int, stride: int, padding: int | None = None) -> None:
        self.stride, self.padding = stride, (kernel - stride + 1) // 2 if padding is None else padding
        self.left_padding = -self.padding % stride  # zeros that align the kernel with a stride
        self.reach = (self.padding + self.left_padding) // stride
        self.taps = 2 * self.reach + 1
        self.right_padding = self.taps * stride - kernel - self.left_padding

    def split_taps(self, weight: Tensor) -> Tensor:
        """Return kernels [.., channels, channels, kernel] as [.., taps, stride]."""
        return F.pad(weight, (self.left_padding, self.right_padding)).reshape(*weight.shape[:2], self.taps, self.stride)


class Shortening(nn.Conv1d):
    """[batch, in_channels, samples] → [batch, out_channels, samples / stride]; samples is a multiple of the stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        self._strided = _Strided(kernel, stride)
        super().__init__(in_channels, out_channels, kernel, stride, self._strided.padding)

    def forward(self, signal: Tensor) -> Tensor:
        stride = self._strided.stride
        if signal.is_cuda:
            return convolve_by_product(signal, self.weight, self.bias, stride, self._strided.padding)
        batch_size, channel_count, sample_count = signal.shape
        stride_phases = (
            signal.reshape(batch_size, channel_count, sample_count // stride, stride).transpose(2, 3).flatten(1, 2)
        )
        phase_weights = self._strided.split_taps(self.weight).transpose(2, 3).flatten(1, 2)
        return F.conv1d(stride_phases, phase_weights, self.bias, padding=self._strided.reach)


class Lengthening(nn.ConvTranspose1d):
    """[batch, in_channels, samples] → [batch, out_channels, samples × stride]: `Shortening` transposed.

    ``padding``: samples cut off before the first; by default half of the kernel's extra samples, rounded up.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, padding: int | None = None
    ) -> None:
        self._strided = _Strided(kernel, stride, padding)
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            self._strided.padding,
            max(0, stride - kernel + 2 * self._strided.padding),  # torch's own; `forward` needs none
        )

    def forward(self, signal: Tensor, output_size: list[int] | None = None) -> Tensor:
        stride = self._strided.stride
        phase_weights = self._strided.split_taps(self.weight).flip(2).permute(1, 3, 0, 2).flatten(0, 1)
        convolve = convolve_by_product if signal.is_cuda else F.conv1d
        stride_phases = convolve(signal, phase_weights, padding=self._strided.reach)
        batch_size, channel_count, sample_count = stride_phases.shape
        assert self.bias is not None
        sound = (
            stride_phases.reshape(batch_size, channel_count // stride, stride, sample_count).transpose(2, 3).flatten(2)
        )
        return sound + self.bias[:, None]


def convolve_by_product(
    signal: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """Return `torch.nn.functional.conv1d` of ``signal`` [batch, in_channels, samples] as a product of matrices.

    A row of the first matrix is the samples below the kernel at one place, a column of the second one output channel.
    """
    out_channels, _, kernel = weight.shape
    windows = F.pad(signal, (padding, padding)).unfold(2, kernel, stride)  # views, [batch, in_channels, places, kernel]
    batch_size, _, place_count, _ = windows.shape
    rows = windows.transpose(1, 2).reshape(batch_size * place_count, -1)
    products = F.linear(rows, weight.flatten(1), bias)
    return products.reshape(batch_size, place_count, out_channels).transpose(1, 2)
