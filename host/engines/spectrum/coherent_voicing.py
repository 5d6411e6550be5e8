"""Coherent voicing: partials with continuous phases, plus shaped noise.

Frames split into partials and noise (`partial_analysis`), or are decoded so. A partial's phase advances by its
frequency, exactly the key's. Short frames of lobes and noise overlap-add (inverse-FFT synthesis: Rodet and Depalle,
"Spectral envelopes and inverse FFT synthesis", 93rd AES Convention, 1992). Lobes of the window sum to sinusoids, whose
strength and pitch may change per frame.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...arrays import Array, Doubles, Indices, Spectrum
from ...model.gesture import MOST_MODES
from ...model.image import COSINE, LEFT, MOVED_ROWS, OTHER, OWN, RIGHT, SINE, image_curves, moved_curves
from ...model.model import Model
from ...signal import BLACKMAN_HARRIS, LOBE_STEPS, FrameShape, from_middle, lobes, white_noise
from ...units import INAUDIBLE_HZ
from ..engine import Residual
from .frames import FrameDecoder, VoicingSettings, check_window, parts
from .noise_voicing import LOSS_DB, STRIDE, low_frames, tapered, white_frames
from .partial_analysis import HIGHEST_HARMONIC

FRAME_SECONDS = 0.0232  # 1024 samples at 44.1 kHz: bends and parameters act within 12 ms of its middle
APART = 97  # frames of the noise loop between left and right: they do not overlap, and are uncorrelated
TOP_BINS = 8  # fade-out of partials below half the rate: a bend past it does not click
FORMANT_DB = 30.0  # maximum gain or loss of a harmonic by kept formants
GOLDEN = 0.6180339887498949  # cycles between initial phases: multiples of the golden ratio spread most evenly
MOST_IMAGES = 257  # whose curves are kept: those of an instrument's notes, and the usual one
AROUND = np.array([-1, 0, 1])  # maximum move of a free partial between frames, in bins


class SplitFrames(NamedTuple):
    """Frequency ratios to the first partial, [rows, partials] or [partials]; magnitudes as in `Layout`."""

    orders: Doubles
    strengths: Array
    residue: Array
    low: Array


class CoherentState:
    """State of a voice; phases are in cycles.

    Attributes:
        turns: phases of the fundamental, [unison].
        first: last fundamental in bins; NaN if unpitched, None before the first frame.
        ratio: last pitch ratio; None before the first frame.
        free: phases of the last free partials around each decoded bin, [bins, unison].
        noise: index of the next noise frame.
        key: of the last frame's orders; None before the first frame.
        order_turns: added phases of harmonics, [harmonics, unison]; None while the key has always been the same.
    """

    __slots__ = ("first", "free", "key", "noise", "order_turns", "ratio", "turns")

    def __init__(self, turns: Doubles, free: Doubles, noise: int) -> None:
        self.turns, self.free, self.noise = turns, free, noise
        self.first: float | None = None
        self.ratio: float | None = None
        self.key: int | None = None
        self.order_turns: Doubles | None = None


class CoherentVoicing:
    """Synthesizes frames from decoded partials and noise.

    Attributes:
        noise_frames, low_noise: from `noise_voicing`.
        amplitude, hiss: factors of decoded partials and noise levels.
        harmonic_phases: initial, in cycles, [`HIGHEST_HARMONIC` + `MOST_MODES`].
    """

    together = 32  # small batches cost as many numpy calls as large ones; blocks without one can decode
    moments: tuple[int, ...] = (1, 3)
    parts = 4

    def __init__(self, model: Model, character: VoicingSettings, shape: FrameShape | None = None) -> None:
        """``shape`` None selects short frames, for real time.

        Raises:
            UserError: the model's window is not a Hann window.
        """
        card = model.card
        check_window(card, character.phase)
        short = 1 << round(math.log2(FRAME_SECONDS * card.sample_rate))
        shape = shape or FrameShape(short, overlap=4, terms=BLACKMAN_HARRIS, taps=4)  # even at a hop of a quarter
        self.shape = shape._replace(loop=64 * short)  # lasts as long at any rate
        self.frame_length = self.shape.length
        self.hop_length = self.frame_length // self.shape.overlap
        self.delay = card.hop_length  # time to decode new latents, a few rows at a time
        self._images: dict[int, tuple[Doubles, Array]] = {}  # curves, by the image's id
        bands = character.image_bands or card.image
        has_image = bands is not None and character.image is not None
        self.plays_note_images = has_image and not character.image_bands
        self.channels = 2 if character.width > 0 or has_image else 1
        self._character = character
        self.model_frame_length = card.frame_length
        self._model_bins = card.frame_length // 2 + 1
        self._scale = self.frame_length / card.frame_length  # from bins of the model to bins here
        self.amplitude = np.float32(4 / card.frame_length * 10 ** (-LOSS_DB / 20))
        self.hiss = np.float32(character.noise * math.sqrt(card.frame_length / 6)) * self.amplitude
        self.noise_frames, self.lobes = white_frames(self.shape), lobes(self.shape)
        self._bins = self.noise_frames.shape[1]
        self.lowest_bin = math.ceil(INAUDIBLE_HZ * self.frame_length / card.sample_rate)  # lowest audible one
        spread = np.linspace(-1.0, 1.0, character.unison) if character.unison > 1 else np.zeros(1)
        self.detune = np.exp2(spread * character.detune_cents / 1200)
        sides = np.stack([1 - character.width * spread, 1 + character.width * spread])
        self.gains = np.sqrt(sides / character.unison)[: self.channels].astype(np.float32)
        self.parts_of_frames = parts(card, self._bins, self._scale)
        self._layout = self.parts_of_frames.layout
        self.low_noise = low_frames(self.shape, self.parts_of_frames.low_edges) if self._layout.lows else None
        self.low_bins = round(self.parts_of_frames.low_edges[-1]) if self._layout.lows else 0
        self.harmonic_phases = white_noise(HIGHEST_HARMONIC + MOST_MODES).astype(np.float64)
        self.free_phases = white_noise(self._model_bins).astype(np.float64)  # initial phases of free partials
        self._sample_rate = card.sample_rate
        self.image = self.image_curves(np.array(bands)) if has_image else None  # [8, bins]
        signs = np.where(white_noise(2 * (HIGHEST_HARMONIC + MOST_MODES) + self._model_bins) > 0, 1, -1)
        signs = signs[HIGHEST_HARMONIC + MOST_MODES :].astype(np.float32)  # not those of the phases
        self.harmonic_signs, self.free_signs = np.split(signs, [HIGHEST_HARMONIC + MOST_MODES])
        self._decoder = FrameDecoder(model)
        self._voices_begun = 0

    def image_curves(self, image: Doubles) -> Array:
        """Curves of an image, [32, 2], at the preset's amount: [8, bins]."""
        entry = self._images.get(id(image))
        if entry is None:
            if len(self._images) >= MOST_IMAGES:
                del self._images[next(iter(self._images))]
            character = self._character
            assert character.image is not None
            curves = image_curves(image, character.image, 1 - character.width, self._sample_rate, self._bins)
            entry = self._images[id(image)] = image, curves
        return entry[1]

    def _curves_at(self, amounts: Doubles, residual: Residual | None) -> Array:
        """Curves of rows, [rows, 6, bins], at these amounts of their images."""
        usual_curves, differs = self.image, amounts != self._character.image
        assert usual_curves is not None
        count = len(usual_curves) if differs.any() else MOVED_ROWS
        notes = residual.images if residual is not None and self.plays_note_images else []
        if all(image is None for image in notes):  # also without any
            curves = np.broadcast_to(usual_curves[:count], (len(amounts), count, self._bins))
        else:
            images = [usual_curves if image is None else self.image_curves(image) for image in notes]
            curves = np.stack([each[:count] for each in images])
        if differs.any():
            recorded, curves = curves, curves[:, :MOVED_ROWS].copy()
            curves[differs] = moved_curves(recorded[differs], amounts[differs], 1 - self._character.width)
        return curves

    def start_state(self) -> CoherentState:
        """Initial phases differ, so that unisons do not add coherently."""
        self._voices_begun += 1
        return CoherentState(*self._beginning(self._voices_begun))

    def number_next(self, number: int) -> None:
        self._voices_begun = number - 1

    def _beginning(self, number: int) -> tuple[Doubles, Doubles, int]:
        unison = len(self.detune)
        turns = (number + np.arange(unison) / unison) * GOLDEN % 1.0
        return turns, np.add.outer(self.free_phases, turns), number * STRIDE % len(self.noise_frames)

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        return self._decoder.prepare(latents, chroma, self.parts_of_frames.rows)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        self._decoder.keep(latents, chroma)

    def let_go(self) -> None:
        self._decoder.let_go()

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: Doubles,
        states: Sequence[CoherentState],
        residual: Residual | None = None,
        amounts: Doubles | None = None,
    ) -> Array:
        """As `Voicing.make`. At an amount of 0 a frame is computed as without an image."""
        if self.image is None:
            return self._frames(latents, chroma, ratios, states, residual, None)
        if amounts is None:
            amounts = np.full(len(latents), self._character.image)
        are_flat = (amounts == 0).tolist()
        runs = [list(rows) for _, rows in itertools.groupby(range(len(are_flat)), key=are_flat.__getitem__)]
        if len(runs) < 2:
            return self._frames(latents, chroma, ratios, states, residual, amounts)
        parts = []
        for rows in runs:
            own_states, own_residual = [states[row] for row in rows], residual and residual.of_rows(rows)
            parts.append(
                self._frames(latents[rows], chroma[rows], ratios[rows], own_states, own_residual, amounts[rows])
            )
        return np.concatenate(parts)

    def _frames(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: Doubles,
        states: Sequence[CoherentState],
        residual: Residual | None,
        amounts: Doubles | None,
    ) -> Array:
        """Frames of rows whose images all have an amount, or all have none."""
        curves = None if amounts is None or not amounts.any() else self._curves_at(amounts, residual)
        spectra, noise, level = self.parts_of(latents, chroma, ratios, states, residual, curves)
        if self.hiss > 0:
            noise *= level[:, np.newaxis]
            spectra += noise
        spectra *= from_middle(self._bins)
        frames = np.fft.irfft(spectra, self.frame_length, axis=-1).astype(np.float32, copy=False)
        return frames if frames.shape[1] == self.channels else np.repeat(frames, self.channels, axis=1)

    def _sides(self, curves: Array | None) -> int:
        """Sides that are computed; where it is one, both are alike."""
        return 1 if curves is None and self._character.width == 0 else 2

    def parts_of(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: Doubles,
        states: Sequence[CoherentState],
        residual: Residual | None = None,
        curves: Array | None = None,
    ) -> tuple[Spectrum, Spectrum, Array]:
        """Partials with low noise, white noise of variance 1, [rows, sides, bins] both, and its level, [rows, bins].

        Phases are relative to each frame's middle. ``curves`` as from `_curves_at`; None plays no image.
        """
        rows = self._decoder.rows(latents, chroma, self.parts_of_frames.rows)
        first = self.parts_of_frames.fundamentals(chroma) * self._scale * ratios
        places, free = self._layout.free(rows)
        turns, free_turns = self._advance(states, first, ratios, places, free)
        strengths, formant_ratios = self._layout.harmonic(rows), self._formant_ratios(chroma, ratios)
        if self._layout.harmonics and not np.all(formant_ratios == 1.0):
            strengths = _keep_formants(strengths, formant_ratios)
        orders, residue, low = self.parts_of_frames.orders, self._layout.residue(rows), self._layout.low(rows)
        order_turns: list[Doubles | None] = [None] * len(rows)
        if orders.ndim > 1:
            order_turns = self._order_turns(states, chroma, turns, residual)
            orders = orders[chroma]
        split = SplitFrames(orders, strengths, residue, low)
        if residual is not None:
            split = self._recorded(
                residual, chroma, rows, first * formant_ratios / ratios, split
            )  # gains shift with noise
        orders, strengths, residue, low = split

        of_harmonic, number = np.nonzero(strengths)
        of_free, slot = np.nonzero(free)
        order = orders[number] if orders.ndim == 1 else orders[of_harmonic, number]
        harmonic = first[of_harmonic] * order
        frequency = np.concatenate([harmonic, places[of_free, slot] * self._scale * ratios[of_free]])
        turn = turns[of_harmonic] * order[:, np.newaxis] + self.harmonic_phases[number, np.newaxis]
        for row, added_turns in enumerate(order_turns):
            if added_turns is not None:
                turn[of_harmonic == row] += added_turns[number[of_harmonic == row]]
        turn = np.concatenate([turn, free_turns[of_free, slot]])
        strength = np.concatenate([strengths[of_harmonic, number], free[of_free, slot]])
        strength *= self.amplitude * np.float32(self.frame_length)
        signs = self.harmonic_signs[number], self.free_signs[np.rint(places[of_free, slot]).astype(np.intp)]
        partials = np.concatenate([of_harmonic, of_free]), frequency, turn, strength, np.concatenate(signs)
        spectra = self._sinusoids(len(rows), *partials, curves)
        noise_indices = self._next_noise(states)
        if self.low_noise is not None and self.hiss > 0:
            low_noise = self._low(noise_indices, low * self.hiss, curves)
            spectra[:, :, : low_noise.shape[2]] += low_noise
        return spectra, self._noise_spectra(noise_indices, curves), self._level(residue, ratios / formant_ratios)

    def _recorded(
        self, residual: Residual, chroma: Indices | Array, rows: Array, first: Doubles, split: SplitFrames
    ) -> SplitFrames:
        return split

    def _formant_ratios(self, chroma: Indices | Array, ratios: Doubles) -> Doubles:
        """Part of pitch ratios that leaves formants in place."""
        if self._character.keep_formants:
            return ratios
        return np.ones(len(ratios))

    def _advance(
        self, states: Sequence[CoherentState], first: Doubles, ratios: Doubles, places: Array, free: Array
    ) -> tuple[Doubles, Doubles]:
        """Cycles, [rows, unison] and [rows, FREE, unison]; frequencies are linear between the middles of two frames."""
        overlap, detune = self.shape.overlap, self.detune
        last_firsts, last_ratios = np.empty_like(first), np.empty_like(ratios)
        last_firsts[1:], last_ratios[1:] = first[:-1], ratios[:-1]
        runs = []  # rows of one voice, in time order
        starts = [row for row, state in enumerate(states) if row == 0 or state is not states[row - 1]]
        for start, end in zip(starts, [*starts[1:], len(states)], strict=True):
            state = states[start]
            last_firsts[start] = first[start] if state.first is None else state.first
            last_ratios[start] = ratios[start] if state.ratio is None else state.ratio
            runs.append((state, start, end))
        are_continued = np.isfinite(last_firsts) & np.isfinite(first)
        steps = np.where(are_continued, last_firsts + first, np.where(np.isfinite(first), 2 * first, 0.0)) / (
            2 * overlap
        )
        turns = np.multiply.outer(steps, detune)
        turns[starts] += np.array([state.turns for state, _, _ in runs])
        first_values, ratio_values = first.tolist(), ratios.tolist()
        for state, start, end in runs:
            if end - start > 1:
                np.cumsum(turns[start:end], axis=0, out=turns[start:end])
            state.turns, state.first, state.ratio = turns[end - 1].copy(), first_values[end - 1], ratio_values[end - 1]

        free_turns = np.zeros((*places.shape, len(detune)))
        if not places.shape[1]:
            return turns, free_turns
        middles = np.rint(places).astype(np.intp)
        neighbours = middles[:, :, np.newaxis] + AROUND
        moves = places * ((last_ratios + ratios) * (self._scale / overlap / 2))[:, np.newaxis]
        moves = np.multiply.outer(moves, detune)
        for row, count in enumerate(np.count_nonzero(free, axis=1).tolist()):
            if count:
                last = states[row].free
                sounding = last[middles[row, :count]]
                sounding += moves[row, :count]
                last[neighbours[row, :count]] = sounding[:, np.newaxis]
                free_turns[row, :count] = sounding
        return turns, free_turns

    def _order_turns(
        self, states: Sequence[CoherentState], keys: Indices | Array, turns: Doubles, residual: Residual | None
    ) -> list[Doubles | None]:
        """Each row's `CoherentState.order_turns`: a new key changes the orders of harmonics, not their phases.

        None with modes, whose orders no key changes.
        """
        order_turns = list[Doubles | None]()
        for row, (state, key) in enumerate(zip(states, keys.tolist(), strict=True)):
            if state.key not in (None, key):
                changes = self.parts_of_frames.orders[state.key] - self.parts_of_frames.orders[key]
                added_turns = np.multiply.outer(changes, turns[row])
                state.order_turns = added_turns if state.order_turns is None else state.order_turns + added_turns
            state.key = key
            has_modes = residual is not None and residual.modes[row] is not None
            order_turns.append(None if has_modes else state.order_turns)
        return order_turns

    def _sinusoids(
        self,
        count: int,
        row: Indices,
        frequency: Doubles,
        turn: Doubles,
        strength: Array,
        sign: Array,
        curves: Array | None,
    ) -> Spectrum:
        """``frequency``: bins; ``turn``: cycles at frames' middles; ``strength``: amplitude times ``frame_length``.

        ``sign``: of the left side's angle; ``curves`` as of `parts_of`.
        """
        bins, taps = self._bins, self.shape.taps
        width = bins + 2 * taps  # lobes reach below 0 and above the last bin
        tuned = np.multiply.outer(frequency, self.detune).ravel()
        angle = (2 * np.pi * (turn % 1.0)).astype(np.float32).ravel()
        top = bins - 1 - tuned
        unison = len(self.detune)
        faded = np.repeat(strength, unison) * np.clip(top / TOP_BINS, 0.0, 1.0).astype(np.float32)
        audible = np.flatnonzero(faded)
        tuned, angle, faded, voice = tuned[audible], angle[audible], faded[audible], audible % unison
        middle = np.rint(tuned)
        lobes = self.lobes.take(np.rint((tuned - middle + 0.5) * LOBE_STEPS).astype(np.intp), axis=0)
        of_row, middle_bins = row[audible // unison], middle.astype(np.intp)
        bin_indices = ((of_row * width + middle_bins)[:, np.newaxis] + np.arange(2 * taps + 1)).ravel()
        real, imaginary = faded * np.cos(angle), faded * np.sin(angle)
        row_curves = None if curves is None else curves[of_row, :, np.minimum(middle_bins, bins - 1)].T
        sides = sign[audible // unison], -sign[audible // unison]
        spectra = np.empty((count, self._sides(curves), width), np.complex64)
        for channel, gains in enumerate(self.gains[: spectra.shape[1]]):
            gain, values = gains[voice], (real, imaginary)
            if row_curves is not None:
                gain, cosine, sine = gain * row_curves[channel], row_curves[COSINE], row_curves[SINE] * sides[channel]
                values = real * cosine - imaginary * sine, imaginary * cosine + real * sine
            for part, value in zip((spectra.real, spectra.imag), values, strict=True):
                lobe = lobes * (value * gain)[:, np.newaxis]
                part[:, channel] = np.bincount(bin_indices, lobe.ravel(), count * width).reshape(count, width)
        mirrored = spectra[:, :, taps - 1 :: -1]  # fold the parts below 0 Hz back as their mirror image
        spectra[:, :, taps + 1 : 2 * taps + 1] += mirrored.conj()
        result = spectra[:, :, taps : taps + bins].copy()
        result[:, :, 0] *= 2
        return result

    def _next_noise(self, states: Sequence[CoherentState]) -> Indices:
        noise_indices = np.empty(len(states), np.intp)
        for row, state in enumerate(states):
            noise_indices[row] = state.noise
            state.noise = (state.noise + 1) % len(self.noise_frames)
        return noise_indices

    def _noise_spectra(self, noise_indices: Indices, curves: Array | None) -> Spectrum:
        if self._sides(curves) == 1:
            return self.noise_frames[noise_indices][:, np.newaxis]
        other_noise = self.noise_frames[(noise_indices + APART) % len(self.noise_frames)]
        return self._on_sides(self.noise_frames[noise_indices], other_noise, curves)

    def _low(self, noise_indices: Indices, levels: Array, curves: Array | None) -> Spectrum:
        assert self.low_noise is not None
        levels = levels[:, :, np.newaxis]
        low: Spectrum = (self.low_noise[noise_indices] * levels).sum(1)
        if self._sides(curves) == 1:
            return low[:, np.newaxis]
        return self._on_sides(
            low, (self.low_noise[(noise_indices + APART) % len(self.low_noise)] * levels).sum(1), curves
        )

    def _on_sides(self, noise: Spectrum, other_noise: Spectrum, curves: Array | None) -> Spectrum:
        if curves is not None:
            by_curve = curves[:, :, : noise.shape[1]].swapaxes(0, 1)
            own_part, other_part = by_curve[OWN] * noise, by_curve[OTHER] * other_noise
            sides = by_curve[LEFT] * (own_part + other_part), by_curve[RIGHT] * (own_part - other_part)
            return np.stack(sides, axis=1)
        alike = 1 - self._character.width
        return np.stack(
            [noise, np.float32(alike) * noise + np.float32(math.sqrt(1 - alike * alike)) * other_noise], axis=1
        )

    def _level(self, residue: Array, ratios: Doubles) -> Array:
        level = residue * self.hiss
        if self.low_noise is not None:
            level[:, : self.low_bins] = level[:, self.low_bins, np.newaxis]
        if not np.all(ratios == 1.0):
            level = _stretched(level, ratios)
        if self.low_noise is not None:
            level[:, : self.low_bins] = 0.0
        else:
            level[:, : self.lowest_bin] = level[:, self.lowest_bin, np.newaxis]
        return tapered(level)


def _stretched(level: Array, ratios: Doubles) -> Array:
    count, bins = level.shape
    from_bin = np.rint(np.arange(bins) / ratios[:, np.newaxis]).astype(np.intp)
    gain = (from_bin < bins) / np.sqrt(ratios)[:, np.newaxis].astype(np.float32)
    from_bin += np.arange(count)[:, np.newaxis] * bins
    stretched: Array = level.take(from_bin, mode="clip")  # bins beyond the last have gain 0
    stretched *= gain
    return stretched


def _keep_formants(strengths: Array, ratios: Doubles) -> Array:
    """The envelope's mean of three harmonics keeps odd and even ones different."""
    count = strengths.shape[1]
    power = np.pad(np.square(strengths), ((0, 0), (1, 1)), mode="edge")
    envelope = np.log(power[:, :-2] + power[:, 1:-1] + power[:, 2:] + np.float32(1e-20)) / 2
    positions = np.clip(np.arange(1, count + 1) * ratios[:, np.newaxis] - 1, 0, count - 1)
    low = np.minimum(positions.astype(np.intp), count - 2)
    share = positions - low
    rows = np.arange(len(strengths))[:, np.newaxis]
    moved_envelope = envelope[rows, low] * (1 - share) + envelope[rows, low + 1] * share
    limit = FORMANT_DB / 20 * math.log(10)
    strengths_kept: Array = (strengths * np.exp(np.clip(moved_envelope - envelope, -limit, limit))).astype(np.float32)
    return strengths_kept
