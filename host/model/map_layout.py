"""Makes maps of a model's codes: a self-organising map, the timbre of codes, and dots off each other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..kinds.card_fields import DeclaredDomain
from ..kinds.table import kind_of
from .card import Card, in_deviations
from .map import BATCH_CODES, NO_NOTE, CodeMap, nearest, within_spans
from .model import Model
from .partials import spectra

BANDS = 32  # a quarter octave each: resolves timbres, not notes
LOWEST_HZ, HIGHEST_HZ = 40.0, 16000.0
PARTS = 4  # of a clip, in time order, from attack to end
FLOOR_DB = -60.0  # below the loudest band, which masks softer ones
BATCH_NUMBERS = 1 << 22  # of frames decoded in one batch: 17 MB
SILENT = 1e-20
RADIUS = 2.5  # nodes: of the window around the nearest node; without it, folds of the plane draw dots to their middle
NEAREST = 20  # nodes of the window that share the weight
SETTLING_ROUNDS = 6  # of settling; more lower trustworthiness
NEIGHBOURS = 12  # in the codes, to which a dot is drawn
ATTRACTION = 0.1  # of the way to them in a round
REACH = 0.08  # of the map: neighbours farther than this do not draw
MOST_SETTLED = 5000  # dots; more overlap anyway
GOLDEN = np.pi * (3 - np.sqrt(5))  # radians between directions of dots on one place


class Timbre(NamedTuple):
    levels: Array  # of bands in dB, [codes, numbers]
    brightness: Array  # octaves, [codes]
    loudness: Array  # dB, [codes]


def has_timbre(card: Card) -> bool:
    """False for models with state, whose output depends on earlier steps, and frames of unknown spectra."""
    if card.state or not isinstance(card.domain, DeclaredDomain):
        return not card.state
    return kind_of(card).power_spectra(card, np.zeros((0, card.frame_width), np.float32)) is not None


def timbre(model: Model, codes: Array, conditions: npt.NDArray[np.intp]) -> Timbre | None:
    """Timbre of codes, [codes, n_latents]; None without. ``conditions``: as in `Model.step`."""
    card = model.card
    if not has_timbre(card):
        return None
    batch_size = max(1, BATCH_NUMBERS // card.frame_width)
    batch_slices = (slice(batch_start, batch_start + batch_size) for batch_start in range(0, len(codes), batch_size))
    batch_timbres = (
        timbre_of(card, model.decode(codes[batch_slice], conditions[batch_slice]), conditions[batch_slice])
        for batch_slice in batch_slices
    )
    return Timbre(*(np.concatenate(quantity_batches) for quantity_batches in zip(*batch_timbres, strict=True)))


def timbre_of(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> Timbre:
    """Timbre of frames, [frames, frame_width], of a model that has one."""
    band_power, band_octaves = _bands(card, frames, conditions)
    loudest_power = np.maximum(band_power.max(axis=(1, 2), keepdims=True), SILENT)
    band_levels_db = 10 * np.log10(np.maximum(band_power / loudest_power, 10 ** (FLOOR_DB / 10)))
    band_amplitudes = np.sqrt(band_power.sum(1))
    brightness = (band_amplitudes * band_octaves).sum(1) / np.maximum(band_amplitudes.sum(1), SILENT)
    loudness = 10 * np.log10(np.maximum(band_power.sum(axis=(1, 2)), SILENT))
    return Timbre(
        band_levels_db.reshape(len(frames), -1).astype(np.float32),
        brightness.astype(np.float32),
        loudness.astype(np.float32),
    )


def _bands(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> tuple[Array, Array]:
    """Power of bands, [frames, parts, bands], and their centres in octaves, [bands]."""
    bin_power = _spectra(card, frames, conditions)
    bin_count, nyquist_hz = bin_power.shape[-1], card.sample_rate / 2
    edges_hz = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, nyquist_hz), BANDS + 1)
    edge_bins = np.unique(np.clip(np.round(edges_hz / nyquist_hz * (bin_count - 1)), 1, bin_count - 1).astype(np.intp))
    band_power = np.add.reduceat(
        bin_power[..., : edge_bins[-1] + 1], edge_bins[:-1] if len(edge_bins) > 1 else edge_bins, axis=-1
    )
    band_octaves = np.log2(edge_bins[:-1] + np.diff(edge_bins) / 2) if len(edge_bins) > 1 else np.log2(edge_bins)
    return band_power, band_octaves.astype(np.float32)


def _spectra(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> Array:
    """Power spectra of decoded frames, [frames, parts, bins]."""
    if card.partials is not None:
        return np.square(spectra(card, frames, conditions))[:, np.newaxis]
    if isinstance(card.domain, DeclaredDomain):
        declared_power = kind_of(card).power_spectra(card, frames)
        assert declared_power is not None
        return declared_power[:, np.newaxis]
    frames = frames[:, : card.frame_width - card.envelope_points]
    part_count = PARTS if kind_of(card).of_clips else 1
    if card.domain == "samples":
        part_length = frames.shape[1] // part_count
        part_samples = frames[:, : part_count * part_length].reshape(len(frames), part_count, part_length)
        return np.square(np.abs(np.fft.rfft(part_samples))).astype(np.float32)
    if card.domain == "magnitude":
        bin_power = np.square(frames).reshape(len(frames), card.spectra, -1)
        return np.stack(
            [part_power.mean(1) for part_power in np.array_split(bin_power, min(part_count, card.spectra), axis=1)],
            axis=1,
        )
    first_half, second_half = np.split(frames, 2, axis=1)
    bin_power = np.square(first_half)
    return (bin_power + np.square(second_half) if card.domain == "real_imag" else bin_power)[:, None]


def dot_places(plane: CodeMap) -> Array:
    """Places of a map's codes, [dots, 2], exact for one or two latents. Deterministic."""
    if len(plane.scale) <= 2:
        return plane.place_of(plane.codes)
    scaled_codes = (plane.codes * plane.scale).astype(np.float32)
    scaled_nodes = plane.surface * plane.scale
    place_batches = [
        _between_nodes(scaled_codes[batch_start : batch_start + BATCH_CODES], scaled_nodes)
        for batch_start in range(0, len(scaled_codes), BATCH_CODES)
    ]
    places = np.concatenate(place_batches)
    return places if len(places) > MOST_SETTLED else _settled(places, scaled_codes)


def _between_nodes(codes: Array, nodes: Array) -> Array:
    """Places of codes, [codes, 2]: weighted means of positions near the nearest of the nodes, [side, side, n]."""
    side = len(nodes)
    flat_nodes = nodes.reshape(side * side, -1)
    # Less the code's own square: that moves no minimum.
    squared_distances = np.square(flat_nodes).sum(1) - 2 * codes @ flat_nodes.T
    nearest_node_indices = squared_distances.argmin(1)
    window_steps = np.arange(-round(2 * RADIUS), round(2 * RADIUS) + 1)
    row_steps, column_steps = (
        step_grid.ravel() for step_grid in np.meshgrid(window_steps, window_steps, indexing="ij")
    )
    window_rows, window_columns = (
        (nearest_node_indices // side)[:, None] + row_steps,
        (nearest_node_indices % side)[:, None] + column_steps,
    )
    is_on_plane = (np.minimum(window_rows, window_columns) >= 0) & (np.maximum(window_rows, window_columns) < side)
    distance_gaps = np.take_along_axis(
        squared_distances, np.clip(window_rows, 0, side - 1) * side + np.clip(window_columns, 0, side - 1), 1
    )
    distance_gaps = np.where(is_on_plane, distance_gaps - squared_distances.min(1)[:, None], np.float32(np.inf))
    widest_gaps = np.sort(distance_gaps, axis=1)[:, [min(NEAREST, side * side) - 1]]
    window_weights = np.exp((np.square(row_steps) + np.square(column_steps)) / (-2 * RADIUS**2))
    node_weights = window_weights * np.exp(-distance_gaps / np.maximum(widest_gaps, 1e-12))
    mean_nodes = np.stack(
        [(node_weights * window_columns).sum(1), (node_weights * window_rows).sum(1)], 1
    ) / node_weights.sum(1, keepdims=True)
    return (mean_nodes / (side - 1)).astype(np.float32)


def _settled(places: Array, codes: Array) -> Array:
    """Dots repel each other; dots of similar codes attract."""
    dot_count = len(places)
    if dot_count == 1:
        return places
    spacing = 1 / np.sqrt(dot_count)  # between dots, were they even
    similar_indices = _similar(codes, min(NEIGHBOURS, dot_count - 1))
    for _ in range(SETTLING_ROUNDS):
        moves = np.zeros_like(places)
        dot_indices, partner_indices = _near_pairs(places, spacing)
        offsets = places[dot_indices] - places[partner_indices]
        distances = np.hypot(*offsets.T)[:, None]
        angles = GOLDEN * np.arange(len(offsets))
        offsets = np.where(
            distances > 1e-9, offsets / np.maximum(distances, 1e-9), np.stack([np.cos(angles), np.sin(angles)], 1)
        )
        pushes = offsets * np.maximum(spacing - distances, 0) / 4
        np.add.at(moves, dot_indices, pushes)
        np.add.at(moves, partner_indices, -pushes)
        moves += (np.maximum(spacing / 2 - places, 0) - np.maximum(places + spacing / 2 - 1, 0)) / 2  # off the rim
        offsets = places[similar_indices] - places[:, None]
        is_in_reach = np.hypot(*offsets.transpose(2, 0, 1)) < REACH
        moves += ATTRACTION * (offsets * is_in_reach[..., None]).sum(1) / np.maximum(is_in_reach.sum(1), 1)[:, None]
        places = np.clip(places + moves, 0, 1).astype(np.float32)
    return places


def _similar(codes: Array, count: int) -> npt.NDArray[np.intp]:
    """Indices of the ``count`` nearest other codes of each code, [codes, count]."""
    half_squares = np.square(codes).sum(1) / 2
    neighbour_batches = []
    for batch_start in range(0, len(codes), BATCH_CODES):
        batch_codes = codes[batch_start : batch_start + BATCH_CODES]
        half_distances = half_squares - batch_codes @ codes.T
        half_distances[np.arange(len(batch_codes)), batch_start + np.arange(len(batch_codes))] = np.inf
        neighbour_batches.append(np.argpartition(half_distances, count - 1, axis=1)[:, :count])
    return np.concatenate(neighbour_batches)


def _near_pairs(places: Array, spacing: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Two arrays of dots' indices: pairs nearer than ``spacing``, and others from adjacent cells of this width."""
    cell_columns, cell_rows = np.floor(places / spacing).astype(np.intp).T
    row_length = cell_columns.max() + 3  # so that no row reaches into the next
    cell_numbers = cell_rows * row_length + cell_columns
    dot_order = np.argsort(cell_numbers, kind="stable")
    cell_numbers, sorted_indices = cell_numbers[dot_order], np.arange(len(places))
    pair_batches = []
    # Each pair of adjacent cells once: the cell itself, the next one, and three of the next row.
    for cell_step in (0, 1, row_length - 1, row_length, row_length + 1):
        first_partners = (
            sorted_indices + 1 if cell_step == 0 else np.searchsorted(cell_numbers, cell_numbers + cell_step)
        )
        partner_counts = np.searchsorted(cell_numbers, cell_numbers + cell_step, "right") - first_partners
        pair_ends = np.cumsum(partner_counts)
        partner_indices = np.arange(pair_ends[-1]) + np.repeat(
            first_partners - (pair_ends - partner_counts), partner_counts
        )
        pair_batches.append(dot_order[np.stack([np.repeat(sorted_indices, partner_counts), partner_indices])])
    dot_indices, partner_indices = np.concatenate(pair_batches, axis=1)
    return dot_indices, partner_indices


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
    axis_indices = np.arange(side)
    squared_node_distances = np.square(axis_indices[:, None] - axis_indices)
    for radius_nodes in np.geomspace(max(WIDEST * side, NARROWEST), NARROWEST, MAP_ROUNDS):
        kernel = np.exp(squared_node_distances / (-2 * radius_nodes**2))
        nearest_node_indices = nearest(points, nodes.reshape(side * side, -1))
        point_counts = np.bincount(nearest_node_indices, minlength=side * side)
        point_sums = np.stack(
            [np.bincount(nearest_node_indices, coordinates, side * side) for coordinates in points.T], axis=-1
        )
        node_weights = kernel @ point_counts.reshape(side, side) @ kernel
        # A Gaussian of the plane is one along rows times one along columns.
        weighted_sums = np.tensordot(kernel, point_sums.reshape(side, side, -1), 1)
        weighted_sums = np.einsum("ab,cbn->can", kernel, weighted_sums, optimize=True)
        node_means = weighted_sums / np.maximum(node_weights, EMPTY)[..., None]
        nodes = np.where(node_weights[..., None] > EMPTY, node_means, nodes).astype(np.float32)
        yield nodes


def eased(nodes: Array, longest: float) -> Array:
    """A plane, [side, side, n], with neighbours at most ``longest`` apart.

    Both move equally; a node with several such neighbours moves by the mean.
    """
    nodes = nodes.copy()
    for _ in range(MOST_EASING_ROUNDS):
        moves, pull_counts, any_too_long = np.zeros_like(nodes), np.zeros(nodes.shape[:2], np.float32), False
        for axis in (0, 1):
            differences = np.diff(nodes, axis=axis)
            step_lengths = np.sqrt(np.square(differences).sum(-1))
            is_too_long = step_lengths > longest
            any_too_long |= bool(is_too_long.any())
            # Overshoot by a hundredth, or the last steps would become ever smaller.
            half_excess = (
                differences
                * np.where(is_too_long, (1 - 0.99 * longest / np.maximum(step_lengths, EMPTY)) / 2, 0)[..., None]
            )
            lower_slices, upper_slices = [slice(None)] * 2, [slice(None)] * 2
            lower_slices[axis], upper_slices[axis] = slice(None, -1), slice(1, None)
            moves[*lower_slices] += half_excess
            moves[*upper_slices] -= half_excess
            pull_counts[*lower_slices] += is_too_long
            pull_counts[*upper_slices] += is_too_long
        if not any_too_long:
            break
        nodes += moves / np.maximum(pull_counts, 1)[..., None]
    return nodes


def _flat(points: Array, side: int) -> Array:
    """A plane along the two principal axes, [side, side, n], as wide as uniform points of equal deviation."""
    mean_point = points.mean(0)
    _, singular_values, principal_axes = np.linalg.svd(points - mean_point, full_matrices=False)
    singular_values, principal_axes = (
        np.append(singular_values, 0.0)[:2],
        np.concatenate([principal_axes, np.zeros_like(principal_axes[:1])])[:2],
    )
    half_axes = principal_axes * (np.sqrt(3.0) * singular_values / np.sqrt(len(points)))[:, None]
    node_positions = np.linspace(-1.0, 1.0, side)
    return (
        mean_point + node_positions[:, None, None] * half_axes[1] + node_positions[None, :, None] * half_axes[0]
    ).astype(np.float32)


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
    landmarks = model.card.landmarks
    if not landmarks:
        return None
    pitch_classes = np.array(
        [NO_NOTE if landmark.chroma is None else landmark.chroma for landmark in landmarks], np.intp
    )
    codes = np.array([landmark.latent for landmark in landmarks], np.float32)
    return make_code_map(model, codes, [landmark.label for landmark in landmarks], pitch_classes)


def make_code_map(model: Model, codes: Array, labels: Sequence[str], notes: npt.NDArray[np.intp]) -> CodeMap:
    """Map all codes, [codes, n_latents], at least one. Deterministic.

    Two latents are the plane, the second upward; one runs from left to right. More are fitted to codes and timbre, with
    bounded steps. ``notes``: pitch classes or `NO_NOTE`, [codes].
    """
    card = model.card
    codes = within_spans(codes, card)
    code_timbre = timbre(model, codes, _conditions(card, labels))
    surface = (
        _latents(card)
        if len(card.latents) <= 2
        else _fitted_surface(card, codes, None if code_timbre is None else code_timbre.levels)
    )
    unique_labels, label_indices = np.unique(np.array(labels), return_inverse=True)
    unplaced_map = CodeMap(
        surface=within_spans(surface, card),
        places=np.zeros((len(codes), 2), np.float32),
        codes=codes,
        notes=notes,
        brightness=_scaled(np.zeros(len(codes), np.float32) if code_timbre is None else code_timbre.brightness),
        label=label_indices.astype(np.intp),
        labels=tuple(unique_labels.tolist()),
        loudness=_scaled(np.zeros(len(codes), np.float32) if code_timbre is None else code_timbre.loudness),
        scale=in_deviations(card).astype(np.float32),
    )
    return replace(unplaced_map, places=dot_places(unplaced_map))


def updated_map(model: Model, read: CodeMap) -> CodeMap:
    """A file's map with loudness, and places by this timbrel's method."""
    dot_labels = [read.labels[label_index] for label_index in read.label]
    code_timbre = timbre(model, read.codes, _conditions(model.card, dot_labels))
    return replace(
        read, places=dot_places(read), loudness=read.loudness if code_timbre is None else _scaled(code_timbre.loudness)
    )


def text_of(model: Model, codes: Array, labels: Sequence[str], notes: npt.NDArray[np.intp]) -> str:
    """Text of a map, at most `BYTES`, of evenly chosen codes."""
    dot_indices = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), DOTS)).astype(np.intp))
    code_map = make_code_map(model, codes[dot_indices], [labels[index] for index in dot_indices], notes[dot_indices])
    text = code_map.text()
    while len(text.encode()) > BYTES:
        code_map = code_map.thinned(len(code_map.codes) * 9 // 10)
        text = code_map.text()
    return text


def _conditions(card: Card, labels: Sequence[str]) -> npt.NDArray[np.intp]:
    """A condition for each code, as in `Model.step`: its label, or one note or pitch class for all."""
    if card.partials is not None:
        return np.full(len(labels), round((card.partials.low + card.partials.high) / 2), np.intp)
    if card.chroma is not None:
        return np.full(len(labels), card.chroma.trained[0] if card.chroma.trained else 0, np.intp)
    index_by_label = {label: index for index, label in enumerate(card.labels)}
    return np.array([index_by_label.get(label, 0) for label in labels], np.intp)


def _latents(card: Card) -> Array:
    """Codes at the corners of a plane of one or two latents, [2, 2, n_latents]."""
    corners = np.tile(np.array([0.0, 1.0], np.float32), (2, 1))
    corner_positions = np.stack([corners, 1 - corners.T], axis=-1)[..., : len(card.latents)]
    low_ends, high_ends = np.array(card.spans, np.float32).T
    return low_ends + corner_positions * (high_ends - low_ends)


def _fitted_surface(card: Card, codes: Array, levels: Array | None) -> Array:
    """Codes at nodes, [side, side, n_latents], fitted to codes and band levels."""
    n = codes.shape[1]
    side = int(np.clip(np.sqrt(SURFACE_BYTES / (2 * n)), 2, SIDE))
    mean_code, scale = codes.mean(0), in_deviations(card)
    weighted_points = (codes - mean_code) * scale
    if levels is not None:
        code_rms = np.sqrt(np.square(weighted_points).sum(1).mean())
        weighted_points = np.concatenate([weighted_points, SOUND_WEIGHT * code_rms * _principal(levels)], axis=1)
    step_limit = LARGEST_STEP * PIXELS / (side - 1)
    plane_nodes = np.zeros((side, side, n), np.float32)
    for fitted_nodes in unfolding(weighted_points.astype(np.float32), side):
        step_lengths = [
            np.sqrt(np.square(np.diff(fitted_nodes[..., :n], axis=axis)).sum(-1)).ravel() for axis in (0, 1)
        ]
        if np.mean(np.concatenate(step_lengths) > step_limit) <= LONG_SHARE:
            plane_nodes = fitted_nodes[..., :n]
    latent_deviations = np.array([latent.std for latent in card.latents], np.float32)
    return mean_code + eased(plane_nodes, step_limit) * latent_deviations


def _principal(levels: Array) -> Array:
    """Principal components of levels, [codes, components], with a root mean square of 1."""
    centered_levels = levels - levels.mean(0)
    _, principal_axes = np.linalg.eigh(centered_levels.T @ centered_levels)
    components: Array = centered_levels @ principal_axes[:, -SOUND_COMPONENTS:]
    component_rms = np.sqrt(np.square(components).sum(1).mean())
    return components / np.float32(max(component_rms, 1e-9))


def _scaled(numbers: Array) -> Array:
    """Numbers as shares, 0 to 1, of the range between two percentiles."""
    low_percentile, high_percentile = np.percentile(numbers, (LOWEST, HIGHEST))
    if high_percentile <= low_percentile:
        return np.full(len(numbers), 0.5, np.float32)
    return np.clip((numbers - low_percentile) / (high_percentile - low_percentile), 0, 1).astype(np.float32)
