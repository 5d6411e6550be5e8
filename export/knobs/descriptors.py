"""Differentiable timbre descriptors of decoded frames, used to name knobs.

Brightness is the spectral centroid; fundamental and body are the tristimulus of Pollard and Jansson (Acustica 51,
1982), as in G. Peeters, "A large set of audio features for sound description" (Ircam, 2004).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...host.contract.partials import HANN_ENERGY
from ...host.units import A4_HZ
from ...train.families.partials.network import Bands

REACH = 2.5  # bins: half the main lobe of a Hann window, two, and a margin for mistuned partials
SOFTEST = 1e-8  # of a frame's power, -80 dB: softer parts are masked
ODD, EVEN = (3, 5, 7, 9), (2, 4, 6, 8)  # partials; the fundamental would mask the odd ones
BODY = (2, 3, 4)  # the second tristimulus
PRESENCE_HZ = 2000.0
AIR_HZ = 5000.0


class Descriptor(NamedTuple):
    name: str
    unit: str


DESCRIPTORS = (
    Descriptor("brightness", "octaves over 1 Hz"),  # spectral centroid of magnitudes, as in measures of notes
    Descriptor("noise", "dB to partials"),
    Descriptor("odd partials", "dB to even ones"),
    Descriptor("fundamental", "dB to all else"),
    Descriptor("body", "dB to all else"),  # partials 2 to 4
    Descriptor("presence", "dB of all"),  # 2 to 5 kHz
    Descriptor("air", "dB of all"),  # above 5 kHz
)
NAMES = tuple(descriptor.name for descriptor in DESCRIPTORS)


class Timbre:
    def __init__(self, sample_rate: int, frame_length: int, octave: int) -> None:
        self._hertz = torch.fft.rfftfreq(frame_length, 1 / sample_rate)
        keys = torch.arange(12) + 12 * (octave + 1)
        fundamental = A4_HZ * 2.0 ** ((keys - 69) / 12)
        place = self._hertz / fundamental[:, None]
        number = place.round()
        near = (place - number).abs() <= REACH * sample_rate / frame_length / fundamental[:, None]
        partial = torch.where(near, number, 0.0)  # [12, bins], 0: no partial

        def of(*numbers: int) -> Tensor:
            return torch.isin(partial, torch.tensor(numbers, dtype=partial.dtype))

        bands = [
            torch.ones_like(near),
            partial > 0,
            (partial == 0) & (place > 0.5),  # hum and rumble below the fundamental are not noise of the note
            of(*ODD),
            of(*EVEN),
            of(1),
            of(*BODY),
            ((self._hertz >= PRESENCE_HZ) & (self._hertz < AIR_HZ)).expand_as(near),
            (self._hertz >= AIR_HZ).expand_as(near),
        ]
        self._bands = torch.stack(bands, 2).float()  # [12, bins, bands]

    def __call__(self, frames: Tensor, classes: Tensor) -> Tensor:
        """Return descriptors, [frames, DESCRIPTORS], of magnitudes [frames, bins] and pitch classes [frames]."""
        order, power = classes.argsort(stable=True), frames.square()
        parts = torch.split(power[order], torch.bincount(classes, minlength=12).tolist())
        summed = torch.cat([part @ bands for part, bands in zip(parts, self._bands, strict=True)])
        centroid = (frames @ self._hertz) / frames.sum(1).clamp_min(1e-20)
        return _described(centroid, summed[order.argsort()])


def of_partials(bands: Bands, frames: Tensor, pitches: Tensor) -> Tensor:
    """Return descriptors, [frames, DESCRIPTORS], of partials and noise at MIDI notes, [frames]."""
    power = HANN_ENERGY * frames[:, : bands.harmonics].square() * bands.inside(pitches)
    noise = frames[:, bands.harmonics :].square() @ bands.spread
    hertz, places = torch.arange(noise.shape[1]) / bands.a_hertz, bands.places(pitches) / bands.a_hertz
    number = bands.numbers

    def of(*numbers: int) -> Tensor:
        return (power * torch.isin(number, torch.tensor(numbers, dtype=number.dtype))).sum(1)

    def above(low: float, high: float = torch.inf) -> Tensor:
        inside = ((places >= low) & (places < high)).float()
        return (power * inside).sum(1) + noise @ ((hertz >= low) & (hertz < high)).float()

    between = (noise * (hertz > places[:, :1] / 2)).sum(1)
    partials = power.sum(1)
    whole = partials + noise.sum(1)
    parts = [whole, partials, between, of(*ODD), of(*EVEN), of(1), of(*BODY)]
    parts += [above(PRESENCE_HZ, AIR_HZ), above(AIR_HZ)]
    return _described(bands.centroid(frames, pitches), torch.stack(parts, 1))


def _described(centroid: Tensor, summed: Tensor) -> Tensor:
    whole, partials, between, odd, even, fundamental, body, presence, air = summed.unbind(1)
    least = SOFTEST * whole.clamp_min(1e-20)

    def ratio(part: Tensor, other: Tensor) -> Tensor:
        return 10 * torch.log10((part.clamp_min(0.0) + least) / (other.clamp_min(0.0) + least))

    return torch.stack(
        [
            torch.log2(centroid.clamp_min(1.0)),
            ratio(between, partials),
            ratio(odd, even),
            ratio(fundamental, whole - fundamental),
            ratio(body, whole - body),
            ratio(presence, whole),
            ratio(air, whole),
        ],
        1,
    )
