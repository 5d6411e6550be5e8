"""Code maps: 2-D planes of codes in ONNX metadata."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from ..arrays import Array, Indices
from ..errors import UserError
from ..kinds.card_fields import MetadataPart
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

    def place_of(self, codes: Array) -> Array:
        """Nearest position, [..., 2], of each code, [..., n_latents].

        Searches nodes, in standard deviations, then the cells around the nearest.
        """
        leading_shape = codes.shape[:-1]
        scaled_codes = (codes * self.scale).reshape(-1, codes.shape[-1]).astype(np.float32)
        place_batches = [
            self._places(scaled_codes[batch_start : batch_start + BATCH_CODES])
            for batch_start in range(0, len(scaled_codes), BATCH_CODES)
        ]
        return np.concatenate(place_batches or [np.zeros((0, 2), np.float32)]).reshape(*leading_shape, 2)

    def _places(self, scaled_codes: Array) -> Array:
        """Nearest positions of codes in standard deviations, [codes, 2]."""
        scaled_nodes = (self.surface * self.scale).astype(np.float32)
        side = len(scaled_nodes)
        nearest_node_indices = nearest(scaled_codes, scaled_nodes.reshape(side * side, -1))
        # [codes, 4 cells]
        cell_rows = np.clip(nearest_node_indices[:, None] // side - (0, 0, 1, 1), 0, side - 2)
        cell_columns = np.clip(nearest_node_indices[:, None] % side - (0, 1, 0, 1), 0, side - 2)
        corner_codes = scaled_nodes[cell_rows, cell_columns]
        right_edges, down_edges = (
            scaled_nodes[cell_rows, cell_columns + 1] - corner_codes,
            scaled_nodes[cell_rows + 1, cell_columns] - corner_codes,
        )
        twists = scaled_nodes[cell_rows + 1, cell_columns + 1] - scaled_nodes[cell_rows, cell_columns + 1] - down_edges
        corner_offsets = scaled_codes[:, None] - corner_codes
        v = (nearest_node_indices[:, None] // side - cell_rows).astype(np.float32)
        for _ in range(SWEEPS):
            u = _along(corner_offsets - v[..., None] * down_edges, right_edges + v[..., None] * twists)
            v = _along(corner_offsets - u[..., None] * right_edges, down_edges + u[..., None] * twists)
        residuals = (
            corner_offsets - u[..., None] * right_edges - v[..., None] * down_edges - (u * v)[..., None] * twists
        )
        best_cells = np.square(residuals).sum(-1).argmin(1)
        code_indices = np.arange(len(scaled_codes))
        places = np.stack(
            [(cell_columns + u)[code_indices, best_cells], (cell_rows + v)[code_indices, best_cells]], 1
        ) / (side - 1)
        return places.astype(np.float32)

    def thinned(self, dots: int) -> "CodeMap":
        """A map of evenly chosen dots, at most ``dots``."""
        dot_indices = np.unique(np.linspace(0, len(self.codes) - 1, min(dots, len(self.codes))).astype(np.intp))
        used_label_indices, label_indices = np.unique(self.label[dot_indices], return_inverse=True)
        return CodeMap(
            self.surface,
            self.places[dot_indices],
            self.codes[dot_indices],
            self.notes[dot_indices],
            self.brightness[dot_indices],
            label_indices.astype(np.intp),
            tuple(self.labels[label_index] for label_index in used_label_indices),
            self.loudness[dot_indices],
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
        packed_bytes = zlib.compress(b"".join(array.tobytes() for array in arrays), 9)
        fields = {
            "format": FORMAT,
            "side": len(self.surface),
            "dots": len(self.codes),
            "labels": self.labels,
            "arrays": base64.b64encode(packed_bytes).decode("ascii"),
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    def summary(self) -> str:
        dot_count, side, n = len(self.codes), len(self.surface), len(self.scale)
        labels_text = f" of {len(self.labels)} labels" if len(self.labels) > 1 else ""
        plane_text = f"{side} x {side} nodes" if n > 2 else "the latents themselves" if n == 2 else "the latent itself"
        return f"{dot_count} training code{'s' * (dot_count != 1)}{labels_text} on {plane_text}"

    def message(self) -> bytes:
        """Arrays for the panel's page, little-endian.

        Four uint32: nodes a side, latents, dots, 0. Then float32: surface [side, side, latents], places [dots, 2],
        codes [dots, latents], notes [dots], brightness [dots]; int32: label [dots]; float32: loudness [dots] and scale
        [latents].
        """
        header_numbers = np.array([len(self.surface), self.surface.shape[-1], len(self.codes), 0], "<u4")
        float_arrays = (self.surface, self.places, self.codes, self.notes, self.brightness)
        message_arrays = [header_numbers, *(array.astype("<f4") for array in float_arrays), self.label.astype("<i4")]
        message_arrays += [self.loudness.astype("<f4"), self.scale.astype("<f4")]
        return b"".join(message_array.tobytes() for message_array in message_arrays)


def nearest(points: Array, nodes: Array) -> Indices:
    """Index of the nearest node, [nodes, n], for each point, [points, n]."""
    # Half the squared distance, without the point's own square: that moves no minimum.
    half_squares = np.square(nodes).sum(1) / 2
    index_batches = [
        (half_squares - points[batch_start : batch_start + BATCH_CODES] @ nodes.T).argmin(1)
        for batch_start in range(0, len(points), BATCH_CODES)
    ]
    return np.concatenate(index_batches)


def _along(offset: Array, segment: Array) -> Array:
    """Position, 0 to 1, on ``segment`` nearest to ``offset``; both start at one corner."""
    squared_length = np.square(segment).sum(-1)
    return np.clip((offset * segment).sum(-1) / np.maximum(squared_length, np.float32(1e-20)), 0, 1)


def within_spans(codes: Array, card: Card) -> Array:
    """Clamp codes, [..., n_latents], to the latents' ranges."""
    low_ends, high_ends = np.array(card.spans, np.float32).T
    return np.clip(codes, low_ends, high_ends).astype(np.float32, copy=False)


class StoredMap(MetadataPart):
    """A map in metadata: codes at ``side`` x ``side`` nodes of a plane, and training codes as ``dots``.

    ``arrays``: base64 of zlib of arrays one after the other, little-endian: codes of nodes, float16 [side, side,
    latents], rows from the top; places of dots, uint16 [dots, 2], 65535 is 1 (right, bottom); codes of dots, float16
    [dots, latents]; pitch classes, int8 [dots], -1 without; brightness, uint8 [dots], 255 is 1; index of the label in
    ``labels``, uint16 [dots].
    """

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
    error_subject = f"{source}: its map ({MAP_KEY})"
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # as in `read_card`
        raise UserError(f"{error_subject} is not JSON ({error}); export the model again") from None
    format_version = fields.get("format") if isinstance(fields, dict) else None
    if isinstance(format_version, int) and format_version > FORMAT:
        raise UserError(
            f"{error_subject} has format {format_version}, newer than this timbrel reads ({FORMAT}); update timbrel"
        )
    try:
        stored_map = StoredMap.model_validate(fields)
        surface, places, dot_codes, notes, brightness, label_indices = _unpacked(stored_map, len(card.latents))
    except ValidationError as error:
        raise UserError(f"{error_subject} is not valid: {first_complaint(error)}; export the model again") from None
    except ValueError as error:
        raise UserError(f"{error_subject} is not valid: {error}; export the model again") from None
    return CodeMap(
        surface=within_spans(surface.astype(np.float32), card),
        places=places.astype(np.float32) / LARGEST_PLACE,
        codes=within_spans(dot_codes.astype(np.float32), card),
        notes=notes.astype(np.intp),
        brightness=brightness.astype(np.float32) / LARGEST_BRIGHTNESS,
        label=label_indices.astype(np.intp),
        labels=tuple(stored_map.labels),
        loudness=np.full(stored_map.dots, 0.5, np.float32),
        scale=in_deviations(card).astype(np.float32),
    )


def _unpacked(stored: StoredMap, n: int) -> Sequence[npt.NDArray[np.generic]]:
    """Arrays of a stored map: surface, places, codes, notes, brightness and label."""
    side, dots = stored.side, stored.dots
    array_formats = [("<f2", (side, side, n)), ("<u2", (dots, 2)), ("<f2", (dots, n)), ("i1", (dots,)), ("u1", (dots,))]
    array_formats += [("<u2", (dots,))]
    byte_sizes = [int(np.dtype(dtype_text).itemsize * np.prod(shape)) for dtype_text, shape in array_formats]
    try:
        packed_bytes = base64.b64decode(stored.arrays, validate=True)
        unpacked_bytes = zlib.decompressobj().decompress(packed_bytes, sum(byte_sizes) + 1)
    except (ValueError, zlib.error):
        raise ValueError("arrays are not base64 of zlib") from None
    if len(unpacked_bytes) != sum(byte_sizes):
        raise ValueError(f"arrays must be those of {side} x {side} nodes and {dots} dots of {n} latents")
    byte_ends = np.cumsum(byte_sizes)
    arrays = [
        np.frombuffer(unpacked_bytes[byte_end - byte_size : byte_end], dtype_text).reshape(shape)
        for (dtype_text, shape), byte_size, byte_end in zip(array_formats, byte_sizes, byte_ends, strict=True)
    ]
    surface, _, codes, notes, _, label_indices = arrays
    if not (np.isfinite(surface).all() and np.isfinite(codes).all()):
        raise ValueError("codes must be finite numbers")
    if notes.min() < NO_NOTE or notes.max() > 11:
        raise ValueError(f"notes must lie in 0 to 11, or be {NO_NOTE} where there is none")
    if label_indices.max() >= len(stored.labels):
        raise ValueError(f"label must be a number below {len(stored.labels)}, of one of the labels")
    return arrays
