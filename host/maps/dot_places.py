"""Dots of a map: near their codes' nearest nodes, off nodes and each other."""

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..contract.map import AT_ONCE, CodeMap

RADIUS = 2.5  # nodes: of the window around the nearest node; without it, folds of the plane draw dots to their middle
NEAREST = 20  # nodes of the window that share the weight
ROUNDS = 6  # of settling; more lower trustworthiness
NEIGHBOURS = 12  # in the codes, to which a dot is drawn
DRAWN = 0.1  # of the way to them in a round
REACH = 0.08  # of the map: neighbours farther than this do not draw
MOST_SETTLED = 5000  # dots; more overlap anyway
GOLDEN = np.pi * (3 - np.sqrt(5))  # radians between directions of dots on one place


def dot_places(plane: CodeMap) -> Array:
    """Places of a map's codes, [dots, 2], exact for one or two latents. Deterministic."""
    if len(plane.scale) <= 2:
        return plane.place_of(plane.codes)
    codes = (plane.codes * plane.scale).astype(np.float32)
    nodes = plane.surface * plane.scale
    parts = [_between_nodes(codes[first : first + AT_ONCE], nodes) for first in range(0, len(codes), AT_ONCE)]
    places = np.concatenate(parts)
    return places if len(places) > MOST_SETTLED else _settled(places, codes)


def _between_nodes(codes: Array, nodes: Array) -> Array:
    side = len(nodes)
    flat = nodes.reshape(side * side, -1)
    far = np.square(flat).sum(1) - 2 * codes @ flat.T
    best = far.argmin(1)
    steps = np.arange(-round(2 * RADIUS), round(2 * RADIUS) + 1)
    down, across = (step.ravel() for step in np.meshgrid(steps, steps, indexing="ij"))
    row, column = (best // side)[:, None] + down, (best % side)[:, None] + across
    inside = (np.minimum(row, column) >= 0) & (np.maximum(row, column) < side)
    gap = np.take_along_axis(far, np.clip(row, 0, side - 1) * side + np.clip(column, 0, side - 1), 1)
    gap = np.where(inside, gap - far.min(1)[:, None], np.float32(np.inf))
    width = np.sort(gap, axis=1)[:, [min(NEAREST, side * side) - 1]]
    window = np.exp((np.square(down) + np.square(across)) / (-2 * RADIUS**2))
    weight = window * np.exp(-gap / np.maximum(width, 1e-12))
    mean = np.stack([(weight * column).sum(1), (weight * row).sum(1)], 1) / weight.sum(1, keepdims=True)
    places: Array = (mean / (side - 1)).astype(np.float32)
    return places


def _settled(places: Array, codes: Array) -> Array:
    """Dots repel each other; dots of similar codes attract."""
    count = len(places)
    if count == 1:
        return places
    far = 1 / np.sqrt(count)  # between dots, were they even
    similar = _similar(codes, min(NEIGHBOURS, count - 1))
    for _ in range(ROUNDS):
        move = np.zeros_like(places)
        one, other = _near_pairs(places, far)
        way = places[one] - places[other]
        apart = np.hypot(*way.T)[:, None]
        turn = GOLDEN * np.arange(len(way))
        way = np.where(apart > 1e-9, way / np.maximum(apart, 1e-9), np.stack([np.cos(turn), np.sin(turn)], 1))
        push = way * np.maximum(far - apart, 0) / 4
        np.add.at(move, one, push)
        np.add.at(move, other, -push)
        move += (np.maximum(far / 2 - places, 0) - np.maximum(places + far / 2 - 1, 0)) / 2  # off the rim
        way = places[similar] - places[:, None]
        near = np.hypot(*way.transpose(2, 0, 1)) < REACH
        move += DRAWN * (way * near[..., None]).sum(1) / np.maximum(near.sum(1), 1)[:, None]
        places = np.clip(places + move, 0, 1).astype(np.float32)
    return places


def _similar(codes: Array, count: int) -> npt.NDArray[np.intp]:
    half = np.square(codes).sum(1) / 2
    found = []
    for first in range(0, len(codes), AT_ONCE):
        part = codes[first : first + AT_ONCE]
        far = half - part @ codes.T
        far[np.arange(len(part)), first + np.arange(len(part))] = np.inf
        found.append(np.argpartition(far, count - 1, axis=1)[:, :count])
    return np.concatenate(found)


def _near_pairs(places: Array, far: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """And some others, by cells of width ``far``."""
    column, row = np.floor(places / far).astype(np.intp).T
    wide = column.max() + 3  # so that no row reaches into the next
    cell = row * wide + column
    order = np.argsort(cell, kind="stable")
    cell, index = cell[order], np.arange(len(places))
    pairs = []
    for step in (0, 1, wide - 1, wide, wide + 1):
        first = index + 1 if step == 0 else np.searchsorted(cell, cell + step)
        count = np.searchsorted(cell, cell + step, "right") - first
        ends = np.cumsum(count)
        other = np.arange(ends[-1]) + np.repeat(first - (ends - count), count)
        pairs.append(order[np.stack([np.repeat(index, count), other])])
    one, other = np.concatenate(pairs, axis=1)
    return one, other
