"""Makes maps of a model's codes: a self-organising map, and dots off each other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from .card import Card, in_deviations
from .code_timbre import timbre
from .map import BATCH_CODES, NO_NOTE, CodeMap, nearest, within_spans
from .model import Model

RADIUS = 2.5  # nodes: of the window around the nearest node; without it, folds of the plane draw dots to their middle
NEAREST = 20  # nodes of the window that share the weight
SETTLING_ROUNDS = 6  # of settling; more lower trustworthiness
NEIGHBOURS = 12  # in the codes, to which a dot is drawn
ATTRACTION = 0.1  # of the way to them in a round
REACH = 0.08  # of the map: neighbours farther than this do not draw
MOST_SETTLED = 5000  # dots; more overlap anyway
GOLDEN = np.pi * (3 - np.sqrt(5))  # radians between directions of dots on one place


def dot_places(plane: CodeMap) -> Array:
    """Places of a map's codes, [dots, 2], exact for one or two latents. Deterministic."""
    if len(plane.scale) <= 2:
        return plane.place_of(plane.codes)
    codes = (plane.codes * plane.scale).astype(np.float32)
    nodes = plane.surface * plane.scale
    batches = [_between_nodes(codes[first : first + BATCH_CODES], nodes) for first in range(0, len(codes), BATCH_CODES)]
    places = np.concatenate(batches)
    return places if len(places) > MOST_SETTLED else _settled(places, codes)


def _between_nodes(codes: Array, nodes: Array) -> Array:
    side = len(nodes)
    flat = nodes.reshape(side * side, -1)
    distances = np.square(flat).sum(1) - 2 * codes @ flat.T  # squared, less the code's own square: moves no minimum
    nearest_nodes = distances.argmin(1)
    steps = np.arange(-round(2 * RADIUS), round(2 * RADIUS) + 1)
    row_steps, column_steps = (step.ravel() for step in np.meshgrid(steps, steps, indexing="ij"))
    row, column = (nearest_nodes // side)[:, None] + row_steps, (nearest_nodes % side)[:, None] + column_steps
    on_plane = (np.minimum(row, column) >= 0) & (np.maximum(row, column) < side)
    gap = np.take_along_axis(distances, np.clip(row, 0, side - 1) * side + np.clip(column, 0, side - 1), 1)
    gap = np.where(on_plane, gap - distances.min(1)[:, None], np.float32(np.inf))
    widest_gap = np.sort(gap, axis=1)[:, [min(NEAREST, side * side) - 1]]
    window = np.exp((np.square(row_steps) + np.square(column_steps)) / (-2 * RADIUS**2))
    weight = window * np.exp(-gap / np.maximum(widest_gap, 1e-12))
    mean = np.stack([(weight * column).sum(1), (weight * row).sum(1)], 1) / weight.sum(1, keepdims=True)
    places: Array = (mean / (side - 1)).astype(np.float32)
    return places


def _settled(places: Array, codes: Array) -> Array:
    """Dots repel each other; dots of similar codes attract."""
    count = len(places)
    if count == 1:
        return places
    spacing = 1 / np.sqrt(count)  # between dots, were they even
    similar = _similar(codes, min(NEIGHBOURS, count - 1))
    for _ in range(SETTLING_ROUNDS):
        move = np.zeros_like(places)
        dots, partners = _near_pairs(places, spacing)
        offsets = places[dots] - places[partners]
        distances = np.hypot(*offsets.T)[:, None]
        angles = GOLDEN * np.arange(len(offsets))
        offsets = np.where(
            distances > 1e-9, offsets / np.maximum(distances, 1e-9), np.stack([np.cos(angles), np.sin(angles)], 1)
        )
        push = offsets * np.maximum(spacing - distances, 0) / 4
        np.add.at(move, dots, push)
        np.add.at(move, partners, -push)
        move += (np.maximum(spacing / 2 - places, 0) - np.maximum(places + spacing / 2 - 1, 0)) / 2  # off the rim
        offsets = places[similar] - places[:, None]
        in_reach = np.hypot(*offsets.transpose(2, 0, 1)) < REACH
        move += ATTRACTION * (offsets * in_reach[..., None]).sum(1) / np.maximum(in_reach.sum(1), 1)[:, None]
        places = np.clip(places + move, 0, 1).astype(np.float32)
    return places


def _similar(codes: Array, count: int) -> npt.NDArray[np.intp]:
    half_squares = np.square(codes).sum(1) / 2
    neighbours = []
    for first in range(0, len(codes), BATCH_CODES):
        batch = codes[first : first + BATCH_CODES]
        distances = half_squares - batch @ codes.T
        distances[np.arange(len(batch)), first + np.arange(len(batch))] = np.inf
        neighbours.append(np.argpartition(distances, count - 1, axis=1)[:, :count])
    return np.concatenate(neighbours)


def _near_pairs(places: Array, spacing: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """And some others, by cells of width ``spacing``."""
    column, row = np.floor(places / spacing).astype(np.intp).T
    row_length = column.max() + 3  # so that no row reaches into the next
    cell = row * row_length + column
    order = np.argsort(cell, kind="stable")
    cell, index = cell[order], np.arange(len(places))
    pairs = []
    # Each pair of adjacent cells once: the cell itself, the next one, and three of the next row.
    for step in (0, 1, row_length - 1, row_length, row_length + 1):
        first = index + 1 if step == 0 else np.searchsorted(cell, cell + step)
        count = np.searchsorted(cell, cell + step, "right") - first
        ends = np.cumsum(count)
        partners = np.arange(ends[-1]) + np.repeat(first - (ends - count), count)
        pairs.append(order[np.stack([np.repeat(index, count), partners])])
    dots, partners = np.concatenate(pairs, axis=1)
    return dots, partners


MAP_ROUNDS = 60  # half as many shorten the map's reach by .02 deviations
MOST_EASING_ROUNDS = 200  # one or two are usual
WIDEST = 0.5  # of a side: the neighbourhood's initial radius
NARROWEST = 0.5  # of the node distance: final radius; .7 shortens the map's reach by .1 deviations
EMPTY = 1e-12  # weight of points below which a node does not move


def unfolding(points: Array, side: int) -> Iterator[Array]:
    """Yield planes, [side, side, n], from nearly flat to closely fitted to points, [points, n]. Deterministic.

    Batch map (Kohonen, Self-Organizing Maps, 1995, section 3.6) from the plane of the two principal axes: all points
    move all nodes at once. Distances are Euclidean; ``side`` is at least 2.
    """
    nodes = _flat(points, side)
    indices = np.arange(side)
    squared_distances = np.square(indices[:, None] - indices)
    for radius in np.geomspace(max(WIDEST * side, NARROWEST), NARROWEST, MAP_ROUNDS):
        kernel = np.exp(squared_distances / (-2 * radius**2))
        nearest_nodes = nearest(points, nodes.reshape(side * side, -1))
        node_counts = np.bincount(nearest_nodes, minlength=side * side)
        node_sums = np.stack([np.bincount(nearest_nodes, column, side * side) for column in points.T], axis=-1)
        weight = kernel @ node_counts.reshape(side, side) @ kernel
        # A Gaussian of the plane is one along rows times one along columns.
        weighted_sums = np.tensordot(kernel, node_sums.reshape(side, side, -1), 1)
        weighted_sums = np.einsum("ab,cbn->can", kernel, weighted_sums, optimize=True)
        means = weighted_sums / np.maximum(weight, EMPTY)[..., None]
        nodes = np.where(weight[..., None] > EMPTY, means, nodes).astype(np.float32)
        yield nodes


def eased(nodes: Array, longest: float) -> Array:
    """A plane, [side, side, n], with neighbours at most ``longest`` apart.

    Both move equally; a node with several such neighbours moves by the mean.
    """
    nodes = nodes.copy()
    for _ in range(MOST_EASING_ROUNDS):
        moves, pull_counts, any_long = np.zeros_like(nodes), np.zeros(nodes.shape[:2], np.float32), False
        for axis in (0, 1):
            differences = np.diff(nodes, axis=axis)
            lengths = np.sqrt(np.square(differences).sum(-1))
            too_long = lengths > longest
            any_long |= bool(too_long.any())
            # Overshoot by a hundredth, or the last steps would become ever smaller.
            half_excess = (
                differences * np.where(too_long, (1 - 0.99 * longest / np.maximum(lengths, EMPTY)) / 2, 0)[..., None]
            )
            lower_nodes, upper_nodes = [slice(None)] * 2, [slice(None)] * 2
            lower_nodes[axis], upper_nodes[axis] = slice(None, -1), slice(1, None)
            moves[*lower_nodes] += half_excess
            moves[*upper_nodes] -= half_excess
            pull_counts[*lower_nodes] += too_long
            pull_counts[*upper_nodes] += too_long
        if not any_long:
            break
        nodes += moves / np.maximum(pull_counts, 1)[..., None]
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


SIDE = 40  # nodes a side: 15 pixels apart on a map of 600; finer is not visible
LARGEST_STEP = 0.14  # standard deviations a pixel of 600: larger steps are audible jumps in a drag
PIXELS = 600
LONG_SHARE = 0.01  # share of steps that may be longer while the plane is fitted; they are shortened afterwards
DOTS = 3000  # in a file; more would overlap
BYTES = 160_000  # of the map in a file, as text
SURFACE_BYTES = 60_000  # of these, for the nodes before compression: models of many latents have fewer nodes
SOUND_WEIGHT = 0.5  # weight of sound relative to codes: with .3, the largest step is .8 dB a pixel, not .6
SOUND_COMPONENTS = 8  # principal components of the levels: 97 % of their variance for gm-chroma-8
LOWEST, HIGHEST = 2.0, 98.0  # percentiles of brightness and loudness that are shown as 0 and 1


def map_of(model: Model) -> CodeMap | None:
    """The file's map, or one of its landmarks; None without either."""
    if model.map is not None:
        return updated_map(model, model.map)
    marks = model.card.landmarks
    if not marks:
        return None
    notes = np.array([NO_NOTE if mark.chroma is None else mark.chroma for mark in marks], np.intp)
    codes = np.array([mark.latent for mark in marks], np.float32)
    return make_code_map(model, codes, [mark.label for mark in marks], notes)


def make_code_map(model: Model, codes: Array, labels: Sequence[str], notes: npt.NDArray[np.intp]) -> CodeMap:
    """Map all codes, [codes, n_latents], at least one. Deterministic.

    Two latents are the plane, the second upward; one runs from left to right. More are fitted to codes and timbre, with
    bounded steps. ``notes``: pitch classes or `NO_NOTE`, [codes].
    """
    card = model.card
    codes = within_spans(codes, card)
    timbres = timbre(model, codes, _conditions(card, labels))
    surface = (
        _latents(card)
        if len(card.latents) <= 2
        else _fitted_surface(card, codes, None if timbres is None else timbres.levels)
    )
    unique_labels, label = np.unique(np.array(labels), return_inverse=True)
    bare = CodeMap(
        surface=within_spans(surface, card),
        places=np.zeros((len(codes), 2), np.float32),
        codes=codes,
        notes=notes,
        brightness=_scaled(np.zeros(len(codes), np.float32) if timbres is None else timbres.brightness),
        label=label.astype(np.intp),
        labels=tuple(unique_labels.tolist()),
        loudness=_scaled(np.zeros(len(codes), np.float32) if timbres is None else timbres.loudness),
        scale=in_deviations(card).astype(np.float32),
    )
    return replace(bare, places=dot_places(bare))


def updated_map(model: Model, read: CodeMap) -> CodeMap:
    """A file's map with loudness, and places by this timbrel's method."""
    labels = [read.labels[index] for index in read.label]
    timbres = timbre(model, read.codes, _conditions(model.card, labels))
    return replace(
        read, places=dot_places(read), loudness=read.loudness if timbres is None else _scaled(timbres.loudness)
    )


def text_of(model: Model, codes: Array, labels: Sequence[str], notes: npt.NDArray[np.intp]) -> str:
    """Text of a map, at most `BYTES`, of evenly chosen codes."""
    indices = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), DOTS)).astype(np.intp))
    plane = make_code_map(model, codes[indices], [labels[index] for index in indices], notes[indices])
    text = plane.text()
    while len(text.encode()) > BYTES:
        plane = plane.thinned(len(plane.codes) * 9 // 10)
        text = plane.text()
    return text


def _conditions(card: Card, labels: Sequence[str]) -> npt.NDArray[np.intp]:
    if card.partials is not None:
        return np.full(len(labels), round((card.partials.low + card.partials.high) / 2), np.intp)
    if card.chroma is not None:
        return np.full(len(labels), card.chroma.trained[0] if card.chroma.trained else 0, np.intp)
    number = {label: index for index, label in enumerate(card.labels)}
    return np.array([number.get(label, 0) for label in labels], np.intp)


def _latents(card: Card) -> Array:
    corners = np.tile(np.array([0.0, 1.0], np.float32), (2, 1))
    positions = np.stack([corners, 1 - corners.T], axis=-1)[..., : len(card.latents)]
    low, high = np.array(card.spans, np.float32).T
    plane: Array = low + positions * (high - low)
    return plane


def _fitted_surface(card: Card, codes: Array, levels: Array | None) -> Array:
    n = codes.shape[1]
    side = int(np.clip(np.sqrt(SURFACE_BYTES / (2 * n)), 2, SIDE))
    mean, scale = codes.mean(0), in_deviations(card)
    points = (codes - mean) * scale
    if levels is not None:
        code_rms = np.sqrt(np.square(points).sum(1).mean())
        points = np.concatenate([points, SOUND_WEIGHT * code_rms * _principal(levels)], axis=1)
    longest = LARGEST_STEP * PIXELS / (side - 1)
    plane = np.zeros((side, side, n), np.float32)
    for nodes in unfolding(points.astype(np.float32), side):
        step_lengths = [np.sqrt(np.square(np.diff(nodes[..., :n], axis=axis)).sum(-1)).ravel() for axis in (0, 1)]
        if np.mean(np.concatenate(step_lengths) > longest) <= LONG_SHARE:
            plane = nodes[..., :n]
    deviations = np.array([latent.std for latent in card.latents], np.float32)
    surface: Array = mean + eased(plane, longest) * deviations
    return surface


def _principal(levels: Array) -> Array:
    centered = levels - levels.mean(0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    components: Array = centered @ axes[:, -SOUND_COMPONENTS:]
    component_rms = np.sqrt(np.square(components).sum(1).mean())
    return components / np.float32(max(component_rms, 1e-9))


def _scaled(numbers: Array) -> Array:
    low, high = np.percentile(numbers, (LOWEST, HIGHEST))
    if high <= low:
        return np.full(len(numbers), 0.5, np.float32)
    scaled: Array = np.clip((numbers - low) / (high - low), 0, 1).astype(np.float32)
    return scaled
