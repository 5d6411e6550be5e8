"""Clips given as magnitudes, as they sound: what a host makes of them, with slopes.

Magnitudes that a decoder gives fit no sound exactly, and phases are found for what comes nearest; so a recording is not
compared with magnitudes, but with the spectra of the sound that is made of them. How phases follow from magnitudes has
no slopes that lead anywhere. So they are held: at those that the host finds for a code, or at the recording's own.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...host.contract.card import Card
from ...host.engines.clips.spectra import LEAST_COVER, MOST_GAIN, POOLED, QUIETEST, SpectraSound
from .views import Array, Heard, View, hann, short_spectra, sizes


class Sounding(View):
    """The sounds of clips given as magnitudes; as frames of a view, [rows, frame_length] samples."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length
        self._host = SpectraSound(card.frame_length, self.length, card.hop_length, card.envelope_points)
        self._window = hann(self.length)

    def heard(self, frames: Array) -> Heard:
        """See `View.heard`."""
        sounds = torch.from_numpy(frames)
        envelope = self.envelope(sounds)
        return Heard(self.decoded(sounds)[0], None, None if envelope is None else envelope[0])

    def decoded(self, frames: Tensor) -> Tensor:
        """See `View.decoded`."""
        return sizes(short_spectra(frames, self.length, self.card.hop_length))

    def envelope(self, frames: Tensor) -> Tensor | None:
        """See `View.envelope`: as smooth as a host sets it."""
        points = self.card.envelope_points
        return _pooled(frames.view(len(frames), points, -1).square().mean(2)) if points else None

    def played(self, frames: Tensor) -> Tensor:
        """Return the sounds that a host makes of decoded frames, [rows, frame_length]; without slopes."""
        return torch.from_numpy(self._host(frames.numpy()))

    def phasors(self, frame: Tensor) -> Tensor:
        """Return the phases that a host finds for a decoded frame, [spectra that are heard, bins]."""
        return torch.from_numpy(self._host.phasors(frame.numpy()))

    def own_phasors(self, sound: Tensor) -> Tensor:
        """Return the phases of a recording, [samples] → [spectra, bins]."""
        spectra = short_spectra(sound[None], self.length, self.card.hop_length)[0]
        phasors: Tensor = spectra / spectra.abs().clamp_min(1e-12)
        return phasors

    def made(self, frames: Tensor, phasors: Tensor, levelled: bool = True) -> Tensor:
        """Return the sounds of decoded frames with given phases, as `played` has them where these are their own.

        Args:
            frames: [rows, frame_width].
            phasors: of all rows, [spectra, bins]; after the last of them is silence.
            levelled: whether they get the levels that are decoded beside the magnitudes.
        """
        card, rows, count = self.card, len(frames), len(phasors)
        bins, hop = self.length // 2 + 1, card.hop_length
        magnitudes = frames[:, : card.spectra * bins].view(rows, card.spectra, bins)[:, :count]
        spectra = torch.complex(magnitudes * phasors.real, magnitudes * phasors.imag)
        sound = self._added(torch.fft.irfft(spectra, self.length) * self._window)
        if levelled and card.envelope_points:
            sound = self._levelled(sound, frames[:, card.spectra * bins :])
        return F.pad(sound, (0, card.frame_length - (count - 1) * hop))

    def _added(self, pieces: Tensor) -> Tensor:
        """Return overlapping pieces as sounds, [rows, count, length] → [rows, (count - 1) * hop]."""
        hop, count = self.card.hop_length, pieces.shape[1]
        places = range(0, self.length, hop)

        def summed(parts: Tensor) -> Tensor:
            shares = [parts[:, :, place : place + hop].reshape(len(parts), -1) for place in places]
            moved = [F.pad(share, (at, self.length - hop - at)) for at, share in zip(places, shares, strict=True)]
            return torch.stack(moved).sum(0)

        cover = summed(self._window.square().expand(1, count, -1)).clamp_min(float(LEAST_COVER))
        first = self.length // 2
        return (summed(pieces) / cover)[:, first : first + (count - 1) * hop]

    def _levelled(self, sounds: Tensor, levels: Tensor) -> Tensor:
        """Return sounds at the levels that a host sets last, [rows, samples]."""
        part = self.card.frame_length // self.card.envelope_points
        levels = levels[:, : sounds.shape[1] // part]
        found = _pooled(sounds.view(len(sounds), -1, part).square().mean(2))
        gains = (_pooled(levels.square()) / found).clamp(1 / float(MOST_GAIN), float(MOST_GAIN)).log()
        gains = F.interpolate(gains[:, None], scale_factor=part, mode="linear", align_corners=False)[:, 0]
        return sounds * gains.exp()


def _pooled(power: Tensor) -> Tensor:
    """Return root mean squares of some parts around each, of the power of parts, [rows, parts]."""
    mean = F.avg_pool1d(power[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return (mean + float(QUIETEST) ** 2).sqrt()
