"""The map of a model's codes: a plane to play them on, in the ONNX file's metadata."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from .card import Card, first_complaint, in_deviations

MAP_KEY = "timbrel.map"
FORMAT = 1
MOST_NODES = 256  # a side
MOST_DOTS = 1 << 16
LARGEST_PLACE = np.float32(65535)  # what a place's 0 to 1 is kept as
LARGEST_BRIGHTNESS = np.float32(255)
NO_NOTE = -1
AT_ONCE = 1024  # codes whose distances to all nodes are taken together: 7 MB of them
SWEEPS = 8  # of the two ways across a cell: these stand nearly at right angles, and each halves what is left at least

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class CodeMap:
    """A plane of codes, and where real ones lie on it, its dots. Places are 0 to 1: x from the left, y from the top.

    Attributes:
        surface: codes at the nodes, [side, side, n_latents], rows from the top; between nodes they are blended.
        places: of the dots, [dots, 2]: where the plane comes nearest to each.
        codes: of the dots, [dots, n_latents].
        notes: pitch classes of what the dots were encoded from, [dots], 0 is C; `NO_NOTE` where there is none.
        brightness: of what the dots sound like, [dots], 0 for the darkest, 1 for the brightest.
        label: which of ``labels`` each has, [dots].
        labels: what the dots are called.
        scale: what codes are multiplied by to be counted in deviations, [n_latents].
    """

    surface: Array
    places: Array
    codes: Array
    notes: Ints
    brightness: Array
    label: Ints
    labels: tuple[str, ...]
    scale: Array

    def code_at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Array:
        """Return the code at a place, [n_latents], or of arrays of places [..., n_latents]; bilinear between nodes.

        What lies outside of the plane is brought to its edge.
        """
        last = len(self.surface) - 1
        across, down = (np.clip(np.asarray(at, np.float64), 0.0, 1.0) * last for at in (x, y))
        column, row = (np.minimum(at.astype(np.intp), last - 1) for at in (across, down))
        u, v = (across - column)[..., None], (down - row)[..., None]
        above, below = (
            self.surface[row + step, column] * (1 - u) + self.surface[row + step, column + 1] * u for step in (0, 1)
        )
        code: Array = (above * (1 - v) + below * v).astype(np.float32)
        return code

    def place_of(self, codes: Array) -> Array:
        """Return the place where the plane comes nearest to a code, [2], or to each of [..., n_latents]: [..., 2].

        Distances are in deviations. The nearest node is found first, then the nearest place in the cells around it.
        """
        shape = codes.shape[:-1]
        wanted = (codes * self.scale).reshape(-1, codes.shape[-1]).astype(np.float32)
        parts = [self._places(wanted[first : first + AT_ONCE]) for first in range(0, len(wanted), AT_ONCE)]
        return np.concatenate(parts or [np.zeros((0, 2), np.float32)]).reshape(*shape, 2)

    def _places(self, wanted: Array) -> Array:
        scaled = (self.surface * self.scale).astype(np.float32)
        side = len(scaled)
        node = nearest(wanted, scaled.reshape(side * side, -1))
        # [codes, 4 cells]
        row = np.clip(node[:, None] // side - (0, 0, 1, 1), 0, side - 2)
        column = np.clip(node[:, None] % side - (0, 1, 0, 1), 0, side - 2)
        corner = scaled[row, column]
        right, down = scaled[row, column + 1] - corner, scaled[row + 1, column] - corner
        twist = scaled[row + 1, column + 1] - scaled[row, column + 1] - down
        away = wanted[:, None] - corner
        v = (node[:, None] // side - row).astype(np.float32)
        for _ in range(SWEEPS):
            u = _along(away - v[..., None] * down, right + v[..., None] * twist)
            v = _along(away - u[..., None] * right, down + u[..., None] * twist)
        left = away - u[..., None] * right - v[..., None] * down - (u * v)[..., None] * twist
        best = np.square(left).sum(-1).argmin(1)
        of = np.arange(len(wanted))
        place = np.stack([(column + u)[of, best], (row + v)[of, best]], 1) / (side - 1)
        return place.astype(np.float32)

    def largest_step(self, pixels: int) -> float:
        """Return by how many deviations codes of neighbouring pixels differ at most, of ``pixels`` a side."""
        return largest_step(self.surface * self.scale, pixels)

    def thinned(self, dots: int) -> "CodeMap":
        """Return the map with as many dots, from all over those that there are."""
        kept = np.unique(np.linspace(0, len(self.codes) - 1, min(dots, len(self.codes))).astype(np.intp))
        used, label = np.unique(self.label[kept], return_inverse=True)
        return CodeMap(
            self.surface,
            self.places[kept],
            self.codes[kept],
            self.notes[kept],
            self.brightness[kept],
            label.astype(np.intp),
            tuple(self.labels[index] for index in used),
            self.scale,
        )

    def text(self) -> str:
        """Return the map as metadata: JSON, its arrays as float16 and whole numbers in base64 of zlib."""
        arrays = (
            self.surface.astype("<f2"),
            np.round(self.places * LARGEST_PLACE).astype("<u2"),
            self.codes.astype("<f2"),
            self.notes.astype("i1"),
            np.round(self.brightness * LARGEST_BRIGHTNESS).astype("u1"),
            self.label.astype("<u2"),
        )
        packed = zlib.compress(b"".join(array.tobytes() for array in arrays), 9)
        fields = {
            "format": FORMAT,
            "side": len(self.surface),
            "dots": len(self.codes),
            "labels": self.labels,
            "arrays": base64.b64encode(packed).decode("ascii"),
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    def said(self) -> str:
        """Return what this map is, in words."""
        dots, side, n = len(self.codes), len(self.surface), len(self.scale)
        labels = f" of {len(self.labels)} labels" if len(self.labels) > 1 else ""
        plane = f"{side} x {side} nodes" if n > 2 else "the latents themselves" if n == 2 else "the latent itself"
        return f"{dots} training code{'s' * (dots != 1)}{labels} on {plane}"

    def message(self) -> bytes:
        """Return the arrays as they go to a page, little-endian.

        Four uint32: nodes a side, latents, dots, 0. Then float32: surface [side, side, latents], places [dots, 2],
        codes [dots, latents], notes [dots], brightness [dots]; and int32: label [dots].
        """
        head = np.array([len(self.surface), self.surface.shape[-1], len(self.codes), 0], "<u4")
        floats = (self.surface, self.places, self.codes, self.notes, self.brightness)
        parts = [head, *(array.astype("<f4") for array in floats), self.label.astype("<i4")]
        return b"".join(part.tobytes() for part in parts)


def nearest(points: Array, nodes: Array) -> Ints:
    """Return which of the nodes, [nodes, n], is nearest to each of the points, [points, n]."""
    half = np.square(nodes).sum(1) / 2
    parts = [(half - points[first : first + AT_ONCE] @ nodes.T).argmin(1) for first in range(0, len(points), AT_ONCE)]
    return np.concatenate(parts)


def largest_step(surface: Array, pixels: int) -> float:
    """Return how far apart two neighbouring pixels, of ``pixels`` a side, lie at most on a surface, [side, side, n]."""
    between = max(float(np.sqrt(np.square(np.diff(surface, axis=axis)).sum(-1)).max()) for axis in (0, 1))
    return between * (len(surface) - 1) / pixels


def _along(away: Array, way: Array) -> Array:
    """Return how far along a way, 0 to 1, comes nearest to a point: both from the way's beginning, [..., n]."""
    length = np.square(way).sum(-1)
    part: Array = np.clip((away * way).sum(-1) / np.maximum(length, np.float32(1e-20)), 0, 1)
    return part


def within(codes: Array, card: Card) -> Array:
    """Return codes, [..., n_latents], led inside the knobs' spans, so that every one of them can be turned to."""
    low, high = np.array([[latent.low, latent.high] for latent in card.latents], np.float32).T
    inside: Array = np.clip(codes, low, high).astype(np.float32, copy=False)
    return inside


class _Stored(BaseModel):
    # As in cards, fields that a later timbrel adds are kept.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    format: Literal[1]
    side: Annotated[int, Field(ge=2, le=MOST_NODES)]
    dots: Annotated[int, Field(ge=1, le=MOST_DOTS)]
    labels: Annotated[list[str], Field(min_length=1, max_length=MOST_DOTS)]
    arrays: str


def read_map(text: str, card: Card, source: str) -> CodeMap:
    """Parse the map of a model with this card; ``source`` names the file in errors.

    Codes are led inside the knobs' spans, from which rounding may have moved them.

    Raises:
        UserError: not JSON, written by a newer timbrel, or no map of such a model.
    """
    what = f"{source}: its map ({MAP_KEY})"
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # as in `read_card`
        raise UserError(f"{what} is not JSON ({error}); export the model again") from None
    version = fields.get("format") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"{what} has format {version}, newer than this timbrel reads ({FORMAT}); update timbrel")
    try:
        stored = _Stored.model_validate(fields)
        surface, places, codes, notes, brightness, label = _unpacked(stored, len(card.latents))
    except ValidationError as error:
        raise UserError(f"{what} is not valid: {first_complaint(error)}; export the model again") from None
    except ValueError as error:
        raise UserError(f"{what} is not valid: {error}; export the model again") from None
    return CodeMap(
        surface=within(surface.astype(np.float32), card),
        places=places.astype(np.float32) / LARGEST_PLACE,
        codes=within(codes.astype(np.float32), card),
        notes=notes.astype(np.intp),
        brightness=brightness.astype(np.float32) / LARGEST_BRIGHTNESS,
        label=label.astype(np.intp),
        labels=tuple(stored.labels),
        scale=in_deviations(card).astype(np.float32),
    )


def _unpacked(stored: _Stored, n: int) -> Sequence[npt.NDArray[np.generic]]:
    """Return the arrays as they are stored: surface, places, codes, notes, brightness and label.

    Raises:
        ValueError: they are not of this many nodes, dots and latents, or not within their ranges.
    """
    side, dots = stored.side, stored.dots
    shapes = [("<f2", (side, side, n)), ("<u2", (dots, 2)), ("<f2", (dots, n)), ("i1", (dots,)), ("u1", (dots,))]
    shapes += [("<u2", (dots,))]
    sizes = [int(np.dtype(kind).itemsize * np.prod(shape)) for kind, shape in shapes]
    try:
        packed = base64.b64decode(stored.arrays, validate=True)
        data = zlib.decompressobj().decompress(packed, sum(sizes) + 1)
    except (ValueError, zlib.error):
        raise ValueError("arrays are not base64 of zlib") from None
    if len(data) != sum(sizes):
        raise ValueError(f"arrays must be those of {side} x {side} nodes and {dots} dots of {n} latents")
    ends = np.cumsum(sizes)
    found = [
        np.frombuffer(data[end - size : end], kind).reshape(shape)
        for (kind, shape), size, end in zip(shapes, sizes, ends, strict=True)
    ]
    surface, _, codes, notes, _, label = found
    if not (np.isfinite(surface).all() and np.isfinite(codes).all()):
        raise ValueError("codes must be finite numbers")
    if notes.min() < NO_NOTE or notes.max() > 11:
        raise ValueError(f"notes must lie in 0 to 11, or be {NO_NOTE} where there is none")
    if label.max() >= len(stored.labels):
        raise ValueError(f"label must be a number below {len(stored.labels)}, of one of the labels")
    return found
