"""Measures the effect of single knobs on timbre descriptors of decoded frames.

Brightness is the spectral centroid; fundamental and body are the tristimulus of Pollard and Jansson (Acustica 51,
1982), as in G. Peeters, "A large set of audio features for sound description" (Ircam, 2004).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from ...host.arrays import Doubles
from ...host.model.partials import HANN_ENERGY
from ...host.units import A4_HZ
from ...train.families.partials.network import Bands
from ..measures.frames import ROWS
from ..reports.measure import Measure, measures_across
from ..reports.verdict import minus, percent, two_digits

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


STEP = 0.25  # of a knob's span: a typical turn, large enough to be audible
PLACES = 5  # positions of a knob from end to end, for its correlation with descriptors


@dataclass(frozen=True)
class Ground(ABC):
    """A network, test codes [codes, latents], and the knobs' ends, [latents] each."""

    network: Any
    codes: Tensor
    low: Tensor
    high: Tensor

    @abstractmethod
    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Return differentiable descriptors, [rows, descriptors], and mel-band levels in dB, [rows, 64]."""

    @torch.no_grad()
    def measure(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        parts = [
            self.sound(codes[at : at + ROWS], slice(at, min(at + ROWS, len(codes))))
            for at in range(0, len(codes), ROWS)
        ]
        descriptors, levels = zip(*parts, strict=True)
        return torch.cat(descriptors), torch.cat(levels)


@dataclass(frozen=True)
class ChromaGround(Ground):
    """``classes`` are pitch classes to decode on, [codes]."""

    timbre: Timbre
    classes: Tensor

    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        classes = self.classes[rows]
        frames = self.network.decode(codes, torch.eye(12)[classes])
        return self.timbre(frames, classes), self.network.levels(frames)


@dataclass(frozen=True)
class PitchedGround(Ground):
    """``pitches`` are MIDI notes to decode at, [codes]."""

    pitches: Tensor

    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        pitches, bands = self.pitches[rows], self.network.bands
        frames = self.network.decode(codes, pitches)
        return of_partials(bands, frames, pitches), bands(frames, pitches)


class Turnable(Protocol):
    @property
    def codes(self) -> Tensor: ...
    @property
    def low(self) -> Tensor: ...
    @property
    def high(self) -> Tensor: ...
    def measure(self, codes: Tensor) -> tuple[Tensor, Tensor]: ...


def stepped(ground: Turnable, way: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes after a step along ``way`` [latents], and the mask of whole steps, [codes]."""
    after = ground.codes + way
    inside = ((after >= ground.low) & (after <= ground.high))[:, way != 0].all(1)
    return torch.minimum(torch.maximum(after, ground.low), ground.high), inside if inside.any() else inside | True


@dataclass(frozen=True)
class KnobEffect:
    """Effects of single knobs, [latents, descriptors].

    Args:
        change_db: mean level change of bands per deviation, [latents].
        rise: mean rise per step up.
        share: of steps that move a descriptor in the knob's direction.
        correlation: Pearson's, of knob positions and descriptors.
        ends: means at a knob's low and high end, [2, latents, descriptors].
        spread: deviations of descriptors over the codes, [descriptors].
    """

    change_db: Doubles
    rise: Doubles
    share: Doubles
    correlation: Doubles
    ends: Doubles
    spread: Doubles

    @property
    def score(self) -> Doubles:
        """In deviations over the codes, [latents, descriptors]."""
        score: Doubles = np.abs(self.rise) / np.maximum(self.spread, 1e-9)
        return score


def turned(ground: Turnable) -> KnobEffect:
    """Move each knob alone, a step up and down and over its span."""
    rest, levels = ground.measure(ground.codes)
    deviation = ground.codes.std(0, correction=0)
    rows = []
    for number in range(ground.codes.shape[1]):
        changes, rises = [], []
        for side in (-STEP, STEP):
            way = torch.zeros(len(deviation))
            way[number] = side * (ground.high - ground.low)[number]
            after, whole = stepped(ground, way)
            there, at_level = ground.measure(after)
            rises.append((there - rest)[whole] * np.sign(side))
            apart = (at_level - levels)[whole].abs().mean(1)
            changes.append(apart * deviation[number] / way[number].abs())
        risen = torch.cat(rises).double()
        rows.append((torch.cat(changes).mean(), risen.mean(0), (risen > 0).double().mean(0), *_swept(ground, number)))
    parts = [torch.stack(part).double().numpy() for part in zip(*rows, strict=True)]
    change, rise, share, correlation, ends = parts
    return KnobEffect(change, rise, share, correlation, ends.swapaxes(0, 1), rest.double().std(0, correction=0).numpy())


def _swept(ground: Turnable, number: int) -> tuple[Tensor, Tensor]:
    places = torch.linspace(0, 1, PLACES)
    heard = []
    for place in places:
        codes = ground.codes.clone()
        codes[:, number] = ground.low[number] + place * (ground.high - ground.low)[number]
        heard.append(ground.measure(codes)[0].double())
    values = torch.stack(heard)  # [places, codes, descriptors]
    away = values - values.mean((0, 1))
    stands = (places - places.mean()).double()
    together = torch.einsum("p,pcd->d", stands, away)
    scale = (stands.square().sum() * values.shape[1] * away.square().sum((0, 1))).sqrt().clamp_min(1e-12)
    return together / scale, torch.stack([values[0].mean(0), values[-1].mean(0)])


def held(ground: Turnable, way: Tensor, descriptor: int) -> float:
    """Return the share of steps along ``way`` [latents], both ways, that move a descriptor in the same direction.

    Steps along one latent count only where its span has room.
    """
    single = int((way != 0).sum()) == 1
    rest, right = ground.measure(ground.codes)[0][:, descriptor], []
    for side in (-1.0, 1.0):
        after, whole = stepped(ground, side * way)
        risen = side * (ground.measure(after)[0][:, descriptor] - rest) > 0
        right.append(risen[whole] if single else risen)
    return float(torch.cat(right).double().mean())


Figures = dict[str, Any]


LATENT = (
    Measure("Knob", lambda row: f"{row['number']}: {row['name'] or '–'}"),
    Measure(
        "Change",
        "change_db",
        ".1f",
        "of levels in 64 mel bands, for a deviation of the latent, in dB; the first changes the sound most.",
    ),
    Measure("Holds in training", lambda row: row["training"] if row["name"] else None, "percent"),
)


def section(found: Figures | None) -> Markup:
    if found is None:
        return Markup()
    rows = [{"number": number, **row} for number, row in enumerate(found["latents"])]
    rows += [
        {"number": "macro", "change_db": None, "moves": f"raises {row['raises']}", **row} for row in found["directions"]
    ]
    measures = (
        *LATENT,
        Measure(f"Holds in {found['split']}", lambda row: row["holds"] if row["name"] else None, "percent"),
        Measure("What it moves, from end to end", lambda row: minus(row["moves"])),
    )
    note = (
        "Holds: the share of steps, a quarter of the knob’s range up or down, in which the named quality moved as "
        f"named, at training codes and at {found['codes']} codes of the {found['split']} split, on all keys in turn."
    )
    return measures_across(measures, rows, note, texts=1, kind="told")


def as_text(found: Figures | list[Figures] | None) -> str:
    """Return a line: the share of steps where each named knob holds, or for loops each knob's correlation."""
    if found is None:
        return ""
    if isinstance(found, list):
        correlations = ", ".join(f"{row['name']} {two_digits(row['correlation'])}" for row in found)
        return f"knobs move their quality, by correlation: {correlations}"
    named = [row for row in (*found["latents"], *found["directions"]) if row["name"]]
    holds = ", ".join(f"{row['name']} {percent(row['holds'])}" for row in named)
    return f"knobs and macros hold, at codes of the {found['split']} split: {holds or 'none has a name'}"
