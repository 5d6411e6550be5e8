"""Code maps: 2-D planes of codes in ONNX metadata."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..arrays import Array, Indices
from ..errors import UserError
from .card import Card, first_complaint, in_deviations

MAP_KEY = "timbrel.map"
FORMAT = 1
MOST_NODES = 256  # a side
MOST_DOTS = 1 << 16
LARGEST_PLACE = np.float32(65535)  # stored value of a position of 1
LARGEST_BRIGHTNESS = np.float32(255)
NO_NOTE = -1
BATCH_CODES = 1024  # codes a batch of distances to all nodes: 7 MB
SWEEPS = 8  # alternating over a cell's two axes: these are nearly orthogonal, so each sweep at least halves the error


@dataclass(frozen=True)
class CodeMap:
    """A plane of codes with training codes as dots. Positions are 0 to 1: x from left, y from top."""

    surface: Array  # codes at nodes, [side, side, n_latents], rows from the top
    places: Array  # of the dots, near those of ``codes``, [dots, 2]
    codes: Array  # [dots, n_latents]
    notes: Indices  # pitch classes, [dots], 0 is C; `NO_NOTE` without
    brightness: Array  # [dots], 0 to 1
    label: Indices  # indices into ``labels``, [dots]
    labels: tuple[str, ...]
    loudness: Array  # [dots], 0 to 1; files have none: 0.5
    scale: Array  # from codes to standard deviations, [n_latents]

    def code_at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Array:
        """Interpolate codes bilinearly, [..., n_latents], at positions clamped to the plane."""
        last = len(self.surface) - 1
        across, down = (np.clip(np.asarray(coordinate, np.float64), 0.0, 1.0) * last for coordinate in (x, y))
        column, row = (np.minimum(position.astype(np.intp), last - 1) for position in (across, down))
        u, v = (across - column)[..., None], (down - row)[..., None]
        top_edge, bottom_edge = (
            self.surface[row + step, column] * (1 - u) + self.surface[row + step, column + 1] * u for step in (0, 1)
        )
        code: Array = (top_edge * (1 - v) + bottom_edge * v).astype(np.float32)
        return code

    def place_of(self, codes: Array) -> Array:
        """Nearest position, [..., 2], of each code, [..., n_latents].

        Searches nodes, in standard deviations, then the cells around the nearest.
        """
        shape = codes.shape[:-1]
        scaled_codes = (codes * self.scale).reshape(-1, codes.shape[-1]).astype(np.float32)
        batches = [
            self._places(scaled_codes[first : first + BATCH_CODES])
            for first in range(0, len(scaled_codes), BATCH_CODES)
        ]
        return np.concatenate(batches or [np.zeros((0, 2), np.float32)]).reshape(*shape, 2)

    def _places(self, scaled_codes: Array) -> Array:
        scaled_nodes = (self.surface * self.scale).astype(np.float32)
        side = len(scaled_nodes)
        node = nearest(scaled_codes, scaled_nodes.reshape(side * side, -1))
        # [codes, 4 cells]
        row = np.clip(node[:, None] // side - (0, 0, 1, 1), 0, side - 2)
        column = np.clip(node[:, None] % side - (0, 1, 0, 1), 0, side - 2)
        corner = scaled_nodes[row, column]
        right, down = scaled_nodes[row, column + 1] - corner, scaled_nodes[row + 1, column] - corner
        twist = scaled_nodes[row + 1, column + 1] - scaled_nodes[row, column + 1] - down
        offset = scaled_codes[:, None] - corner
        v = (node[:, None] // side - row).astype(np.float32)
        for _ in range(SWEEPS):
            u = _along(offset - v[..., None] * down, right + v[..., None] * twist)
            v = _along(offset - u[..., None] * right, down + u[..., None] * twist)
        residual = offset - u[..., None] * right - v[..., None] * down - (u * v)[..., None] * twist
        best = np.square(residual).sum(-1).argmin(1)
        code_indices = np.arange(len(scaled_codes))
        place = np.stack([(column + u)[code_indices, best], (row + v)[code_indices, best]], 1) / (side - 1)
        return place.astype(np.float32)

    def thinned(self, dots: int) -> "CodeMap":
        indices = np.unique(np.linspace(0, len(self.codes) - 1, min(dots, len(self.codes))).astype(np.intp))
        used, label = np.unique(self.label[indices], return_inverse=True)
        return CodeMap(
            self.surface,
            self.places[indices],
            self.codes[indices],
            self.notes[indices],
            self.brightness[indices],
            label.astype(np.intp),
            tuple(self.labels[index] for index in used),
            self.loudness[indices],
            self.scale,
        )

    def text(self) -> str:
        """JSON, with float16 and integers as base64 of zlib."""
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

    def summary(self) -> str:
        dots, side, n = len(self.codes), len(self.surface), len(self.scale)
        labels = f" of {len(self.labels)} labels" if len(self.labels) > 1 else ""
        plane = f"{side} x {side} nodes" if n > 2 else "the latents themselves" if n == 2 else "the latent itself"
        return f"{dots} training code{'s' * (dots != 1)}{labels} on {plane}"

    def message(self) -> bytes:
        """Arrays for the panel's page, little-endian.

        Four uint32: nodes a side, latents, dots, 0. Then float32: surface [side, side, latents], places [dots, 2],
        codes [dots, latents], notes [dots], brightness [dots]; int32: label [dots]; float32: loudness [dots] and scale
        [latents].
        """
        head = np.array([len(self.surface), self.surface.shape[-1], len(self.codes), 0], "<u4")
        floats = (self.surface, self.places, self.codes, self.notes, self.brightness)
        parts = [head, *(array.astype("<f4") for array in floats), self.label.astype("<i4")]
        parts += [self.loudness.astype("<f4"), self.scale.astype("<f4")]
        return b"".join(part.tobytes() for part in parts)


def nearest(points: Array, nodes: Array) -> Indices:
    """Index of the nearest node, [nodes, n], for each point, [points, n]."""
    # Half the squared distance, without the point's own square: that moves no minimum.
    half_squares = np.square(nodes).sum(1) / 2
    batches = [
        (half_squares - points[first : first + BATCH_CODES] @ nodes.T).argmin(1)
        for first in range(0, len(points), BATCH_CODES)
    ]
    return np.concatenate(batches)


def _along(offset: Array, segment: Array) -> Array:
    """Position, 0 to 1, on ``segment`` nearest to ``offset``; both start at one corner."""
    squared_length = np.square(segment).sum(-1)
    position: Array = np.clip((offset * segment).sum(-1) / np.maximum(squared_length, np.float32(1e-20)), 0, 1)
    return position


def within_spans(codes: Array, card: Card) -> Array:
    """Clamp codes, [..., n_latents], to the latents' ranges."""
    low, high = np.array(card.spans, np.float32).T
    clamped: Array = np.clip(codes, low, high).astype(np.float32, copy=False)
    return clamped


class _Stored(BaseModel):
    # As in cards, fields of a later timbrel are kept.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    format: Literal[1]
    side: Annotated[int, Field(ge=2, le=MOST_NODES)]
    dots: Annotated[int, Field(ge=1, le=MOST_DOTS)]
    labels: Annotated[list[str], Field(min_length=1, max_length=MOST_DOTS)]
    arrays: str


def read_map(text: str, card: Card, source: str) -> CodeMap:
    """Parse a model's map; errors name ``source``.

    Clamps codes to the latents' ranges, which rounding may exceed.

    Raises:
        UserError: not JSON, of a newer timbrel, or invalid.
    """
    subject = f"{source}: its map ({MAP_KEY})"
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # as in `read_card`
        raise UserError(f"{subject} is not JSON ({error}); export the model again") from None
    version = fields.get("format") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"{subject} has format {version}, newer than this timbrel reads ({FORMAT}); update timbrel")
    try:
        stored = _Stored.model_validate(fields)
        surface, places, codes, notes, brightness, label = _unpacked(stored, len(card.latents))
    except ValidationError as error:
        raise UserError(f"{subject} is not valid: {first_complaint(error)}; export the model again") from None
    except ValueError as error:
        raise UserError(f"{subject} is not valid: {error}; export the model again") from None
    return CodeMap(
        surface=within_spans(surface.astype(np.float32), card),
        places=places.astype(np.float32) / LARGEST_PLACE,
        codes=within_spans(codes.astype(np.float32), card),
        notes=notes.astype(np.intp),
        brightness=brightness.astype(np.float32) / LARGEST_BRIGHTNESS,
        label=label.astype(np.intp),
        labels=tuple(stored.labels),
        loudness=np.full(stored.dots, 0.5, np.float32),
        scale=in_deviations(card).astype(np.float32),
    )


def _unpacked(stored: _Stored, n: int) -> Sequence[npt.NDArray[np.generic]]:
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
    arrays = [
        np.frombuffer(data[end - size : end], kind).reshape(shape)
        for (kind, shape), size, end in zip(shapes, sizes, ends, strict=True)
    ]
    surface, _, codes, notes, _, label = arrays
    if not (np.isfinite(surface).all() and np.isfinite(codes).all()):
        raise ValueError("codes must be finite numbers")
    if notes.min() < NO_NOTE or notes.max() > 11:
        raise ValueError(f"notes must lie in 0 to 11, or be {NO_NOTE} where there is none")
    if label.max() >= len(stored.labels):
        raise ValueError(f"label must be a number below {len(stored.labels)}, of one of the labels")
    return arrays
