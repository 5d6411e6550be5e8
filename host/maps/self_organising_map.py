"""Self-organising map: fits a plane to points."""

from collections.abc import Iterator

import numpy as np

from ..arrays import Array
from ..contract.map import nearest

ROUNDS = 60  # half as many shorten the map's reach by .02 deviations
EASED = 200  # maximum rounds of easing; one or two are usual
WIDEST = 0.5  # of a side: the neighbourhood's initial radius
NARROWEST = 0.5  # of the node distance: final radius; .7 shortens the map's reach by .1 deviations
EMPTY = 1e-12  # weight of points below which a node does not move


def unfolding(points: Array, side: int) -> Iterator[Array]:
    """Yield planes, [side, side, n], from nearly flat to closely fitted to points, [points, n]. Deterministic.

    Batch map (Kohonen, Self-Organizing Maps, 1995, section 3.6) from the plane of the two principal axes: all points
    move all nodes at once. Distances are Euclidean; ``side`` is at least 2.
    """
    nodes = _flat(points, side)
    at = np.arange(side)
    apart = np.square(at[:, None] - at)
    for radius in np.geomspace(max(WIDEST * side, NARROWEST), NARROWEST, ROUNDS):
        near = np.exp(apart / (-2 * radius**2))
        best = nearest(points, nodes.reshape(side * side, -1))
        count = np.bincount(best, minlength=side * side)
        total = np.stack([np.bincount(best, column, side * side) for column in points.T], axis=-1)
        weight = near @ count.reshape(side, side) @ near
        moved = np.tensordot(near, total.reshape(side, side, -1), 1)
        moved = np.einsum("ab,cbn->can", near, moved, optimize=True)
        bent = moved / np.maximum(weight, EMPTY)[..., None]
        nodes = np.where(weight[..., None] > EMPTY, bent, nodes).astype(np.float32)
        yield nodes


def eased(nodes: Array, longest: float) -> Array:
    """A plane, [side, side, n], with neighbours at most ``longest`` apart.

    Both move equally; a node with several such neighbours moves by the mean.
    """
    nodes = nodes.copy()
    for _ in range(EASED):
        moves, drawn, far = np.zeros_like(nodes), np.zeros(nodes.shape[:2], np.float32), False
        for axis in (0, 1):
            way = np.diff(nodes, axis=axis)
            apart = np.sqrt(np.square(way).sum(-1))
            over = apart > longest
            far |= bool(over.any())
            # Overshoot by a hundredth, or the last steps would become ever smaller.
            half = way * np.where(over, (1 - 0.99 * longest / np.maximum(apart, EMPTY)) / 2, 0)[..., None]
            before, after = [slice(None)] * 2, [slice(None)] * 2
            before[axis], after[axis] = slice(None, -1), slice(1, None)
            moves[*before] += half
            moves[*after] -= half
            drawn[*before] += over
            drawn[*after] += over
        if not far:
            break
        nodes += moves / np.maximum(drawn, 1)[..., None]
    return nodes


def _flat(points: Array, side: int) -> Array:
    """As wide as uniform points of equal deviation."""
    mean = points.mean(0)
    _, sizes, axes = np.linalg.svd(points - mean, full_matrices=False)
    sizes, axes = np.append(sizes, 0.0)[:2], np.concatenate([axes, np.zeros_like(axes[:1])])[:2]
    along = axes * (np.sqrt(3.0) * sizes / np.sqrt(len(points)))[:, None]
    steps = np.linspace(-1.0, 1.0, side)
    flat: Array = (mean + steps[:, None, None] * along[1] + steps[None, :, None] * along[0]).astype(np.float32)
    return flat
