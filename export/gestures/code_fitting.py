"""Fits codes to recorded frames, by gradient search from the encoder's codes, and measures the residual.

Encoders trained on steady sound map breath and room sound around a note to dark codes. A frame at the breath contains
the following tone, so only its middle half counts. The target is the shape and brightness of `timbrel evaluate`.

A network blurs notes that differ, and codes of some moments miss fast movement. Gains of bands give both back.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy
import soxr
import torch
from torch import Tensor, nn

from ...host.arrays import Array, Doubles
from ...host.kinds.card_fields import PITCH_CLASSES
from ...host.model.card import Card
from ...host.model.gesture import MOST_POINTS, NO_MODES, RESIDUAL_DB, placed_modes
from ...host.model.model import Model
from ...host.model.partials import in_bins, orders, summed
from ...host.signal import white_noise
from ...host.spectra import mel_edges_hz, mel_triangles
from ...host.units import semitones_to_ratio
from ...train.families.partials.network import Bands
from ...train.network import centroids
from ..fidelity.measures import BANDS, FLOOR_DB, FRAME, HOP, OVERLAP, SpectralCourse, course, mel
from ..fidelity.notes import RecordedNote, SingleNote, tuned

MEL_BANDS = 64
FLOOR = 1e-6  # of a frame's power, -60 dB: a softer band counts as empty
SEARCH_STEPS, FIRST_STEP = 12, 0.2  # the first step in deviations; 16 steps gained 0.1 dB of a clarinet's shape
OFFSET_WEIGHT = 10.0  # dB^2 of shape: required gain per squared deviation from the encoder's code
OCTAVE_WEIGHT = 100.0  # dB^2 of shape: the weight of an octave of brightness
BATCH_ROWS = 512  # per network batch


class CodeFitter:
    """Fits codes to frames, for networks conditioned on a chroma."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, card: Card) -> None:
        self._encoder, self._decoder, self.card = encoder, decoder, card
        length, rate = card.frame_length, card.sample_rate
        self._mel = torch.from_numpy(mel_triangles(rate, length, MEL_BANDS).astype(np.float32).T.copy())
        self._hertz = torch.fft.rfftfreq(length, 1 / rate)
        half_window = torch.hann_window(length // 2, periodic=True)
        self._window = nn.functional.pad(half_window, (length // 4, length - length // 4 - length // 2))

    def resample_note(self, sound: Array, single: SingleNote) -> tuple[Array, float]:
        """Resample a note to the octave of training; return samples and speed ratio."""
        chroma = self.card.chroma
        assert chroma is not None
        target_pitch = PITCH_CLASSES * (chroma.octave + 1) + single.key % PITCH_CLASSES
        ratio = semitones_to_ratio(target_pitch - single.pitch)
        return soxr.resample(sound, self.card.sample_rate * ratio, self.card.sample_rate).astype(np.float32), ratio

    def condition(self, single: SingleNote) -> float:
        return single.key % PITCH_CLASSES

    @torch.no_grad()
    def encoded(self, frames: Array, conditions: Doubles) -> Array:
        """Encode frames, [rows, frame_length], under conditions, [rows], to codes, [rows, n_latents]."""
        batches = [
            self._encoder(
                torch.from_numpy(frames[start : start + BATCH_ROWS]),
                self._condition(conditions[start : start + BATCH_ROWS]),
            ).numpy()
            for start in range(0, len(frames), BATCH_ROWS)
        ]
        return np.concatenate(batches) if batches else np.zeros((0, len(self.card.latents)), np.float32)

    def fitted(self, frames: Array, conditions: Doubles) -> Array:
        """Fit codes within the latents' spans; shapes as in `encoded`."""
        batches = [
            self._fit(frames[start : start + BATCH_ROWS], conditions[start : start + BATCH_ROWS]).numpy()
            for start in range(0, len(frames), BATCH_ROWS)
        ]
        return np.concatenate(batches)

    @torch.enable_grad()
    def _fit(self, frames: Array, conditions: Doubles) -> Tensor:
        initial_codes, network_condition = (
            torch.from_numpy(self.encoded(frames, conditions)),
            self._condition(conditions),
        )
        latents = self.card.latents
        low, high, scale = (
            torch.tensor([getattr(latent, name) for latent in latents]) for name in ("low", "high", "std")
        )
        with torch.no_grad():
            spectra = torch.fft.rfft(torch.from_numpy(frames) * self._window).abs()
            target_shape, target_brightness = self._shape(spectra), self._brightness(spectra)
        offsets = torch.zeros_like(initial_codes, requires_grad=True)
        optimiser = torch.optim.Rprop([offsets], lr=FIRST_STEP)  # rows are independent, and so are Rprop's step sizes
        for _ in range(SEARCH_STEPS):
            decoded = self._decoder(torch.clamp(initial_codes + offsets * scale, low, high), network_condition)
            decoded_shape, decoded_brightness = self._descriptors(decoded, network_condition)
            losses = (decoded_shape - target_shape).square().mean(1) + OCTAVE_WEIGHT * (
                decoded_brightness - target_brightness
            ).square()
            losses = losses + OFFSET_WEIGHT * offsets.square().sum(1)
            (offsets.grad,) = torch.autograd.grad(losses.sum(), offsets)
            optimiser.step()
        codes: Tensor = torch.clamp(initial_codes + offsets.detach() * scale, low, high)
        return codes

    def _condition(self, conditions: Doubles) -> Tensor:
        """Return conditions as the network's input, [rows, columns]."""
        return torch.eye(PITCH_CLASSES)[torch.from_numpy(conditions.astype(np.int64))]

    def _descriptors(self, decoded: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shape, [rows, bands], and the brightness, [rows], of decoded frames."""
        return self._shape(decoded), self._brightness(decoded)

    def _shape(self, spectra: Tensor) -> Tensor:
        """Return the levels of mel bands relative to the frame's power in dB, [rows, bands]."""
        power = spectra.square()
        shares = power @ self._mel / power.sum(1, keepdim=True).clamp_min(1e-20)
        return 10 * torch.log10(shares + FLOOR)

    def _brightness(self, spectra: Tensor) -> Tensor:
        """Return the spectral centroid in octaves, [rows]."""
        return torch.log2(centroids(spectra, self._hertz).clamp_min(1.0))


class PitchedCodeFitter(CodeFitter):
    """Fits codes to frames, for networks of partials and noise conditioned on pitch."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, card: Card, bands: Bands) -> None:
        super().__init__(encoder, decoder, card)
        self._bands = bands

    def resample_note(self, sound: Array, single: SingleNote) -> tuple[Array, float]:
        return sound, 1.0

    def condition(self, single: SingleNote) -> float:
        return single.pitch

    def _condition(self, conditions: Doubles) -> Tensor:
        return torch.from_numpy(conditions.astype(np.float32))[:, None]

    def _descriptors(self, decoded: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        pitches = condition[:, 0]
        shares = self._bands.shares(decoded, pitches)
        return 10 * torch.log10(shares + FLOOR), torch.log2(self._bands.centroid(decoded, pitches).clamp_min(1.0))


Steps = npt.NDArray[np.int8]

LONGEST_SECONDS = 2.0  # of stored movement: a note that is held for longer goes back and forth in it
RELEASE_SECONDS = 0.5  # of a release's
MOST_DB = 60.0  # of movement: its steps hold no more
MEAN_DB = 15.0  # of a frame in the mean: more is a band that only one of the two fills
LOUD_DB = 30.0  # below the note's loudest frame: the frames of the mean
SOFT_DB = 45.0  # below it: those of the movement; attacks begin here, softer frames are the room's
SILENT_DB = -70.0  # of a frame's power: a band below it in both spectra counts as equal
SLOW_MOMENTS = 9  # moments, 0.1 s at 44.1 kHz, of the mean that attacks and releases leave
ONSET_FRAME, ONSET_MOMENTS = 1024, 33  # samples; 190 ms at 44.1 kHz
ONSET_HOP = ONSET_FRAME // OVERLAP
NOISE_SECONDS = 6  # of white noise, to measure its fluctuation


def band_middles(rate: int) -> list[float]:
    """Return the middles of the bands of `residuals_of`, in Hz."""
    middles: list[float] = mel_edges_hz(rate, BANDS)[1:-1].tolist()
    return middles


Codes = Callable[[Doubles], Doubles]  # from seconds, [moments], to codes, [moments, n_latents]


class Residuals(NamedTuple):
    """Recorded less decoded shapes in steps of `RESIDUAL_DB`, as in `NoteWay`.

    Attributes:
        held: the mean, then the movement around it, [1 + moments, BANDS].
        released: the movement of the release, [moments, BANDS].
        onset: that of the first 190 ms in short windows, [moments, BANDS].
    """

    held: Steps
    released: Steps
    onset: Steps


def residuals_of(
    note: RecordedNote, held_codes: Codes, released_codes: Codes | None, model: Model, modes: Doubles
) -> Residuals:
    """Return a note's residuals.

    ``held_codes`` and ``released_codes`` are the codes that the model of partials plays, by seconds after note-on and
    note-off. Without ``released_codes`` the release has none. ``modes``: as in `NoteWay`.
    """
    rate = model.card.sample_rate
    sound = tuned(note, rate).sound
    recorded_course = course(sound, rate)
    frame_count = max(1, 1 + (len(sound) - FRAME // 2) // HOP)  # a frame beyond the end has a click's spectrum
    note_off_frame = round(note.held_seconds * rate / HOP)
    # Later frames hear the release.
    held_end_frame = note_off_frame if released_codes is None else note_off_frame - FRAME // 2 // HOP
    most_frames = min(1 + round(LONGEST_SECONDS * rate / HOP), MOST_POINTS - 1)
    held_frames = np.arange(max(1, min(1 + held_end_frame, most_frames, frame_count)))
    differences, noise_shares = _shape_differences(
        recorded_course, held_frames, held_codes(held_frames * HOP / rate), note.single.key, model, modes
    )
    is_loud = recorded_course.levels[held_frames] > recorded_course.levels.max() - LOUD_DB
    no_steps = np.zeros((0, BANDS), np.int8)
    if not is_loud.any():
        return Residuals(no_steps, no_steps, no_steps)
    mean_db = np.clip(differences[is_loud], -MEAN_DB, MEAN_DB).mean(0)
    is_audible = recorded_course.levels[held_frames] > recorded_course.levels.max() - SOFT_DB
    moves_db = np.where(is_audible[:, np.newaxis], differences - mean_db, 0.0)
    # The host's noise fluctuates as any noise does: this part of the movement is left out.
    noise_variance = np.square(noise_shares.mean(0) * noise_fluctuation(rate))
    note_shares = np.sqrt(
        np.clip(1 - noise_variance / np.maximum(np.square(_fast(moves_db))[is_loud].mean(0), 1e-9), 0.0, 1.0)
    )
    release_steps = no_steps
    if released_codes is not None:
        release_frames = np.arange(
            note_off_frame, min(note_off_frame + min(round(RELEASE_SECONDS * rate / HOP), MOST_POINTS - 1), frame_count)
        )
        release_frames = release_frames[
            np.logical_and.accumulate(recorded_course.levels[release_frames] > recorded_course.levels.max() - SOFT_DB)
        ]
        differences, _ = _shape_differences(
            recorded_course,
            release_frames,
            released_codes((release_frames - note_off_frame) * HOP / rate),
            note.single.key,
            model,
            modes,
        )
        release_steps = _steps(_sharpened(_steadied(differences - mean_db, note_shares)))
    onset_db = _onset(sound, rate, held_codes, note.single.key, model, modes) - mean_db
    return Residuals(
        _steps(np.concatenate([mean_db[np.newaxis], _sharpened(_steadied(moves_db, note_shares))])),
        release_steps,
        _steps(np.clip(onset_db, -MOST_DB, MOST_DB)),
    )


def _onset(sound: Array, rate: int, held_codes: Codes, key: int, model: Model, modes: Doubles) -> Doubles:
    """Return recorded less decoded shapes of a note's first 190 ms in short windows, in dB, [moments, BANDS]."""
    opening = sound[: ONSET_MOMENTS * ONSET_HOP + ONSET_FRAME]
    frame_count = max(1, min(ONSET_MOMENTS, 1 + (len(opening) - ONSET_FRAME // 2) // ONSET_HOP))
    short_course, frames = course(opening, rate, ONSET_FRAME), np.arange(frame_count)
    codes = held_codes(frames * ONSET_HOP / rate)
    differences, _ = _shape_differences(short_course, frames, codes, key, model, modes, ONSET_FRAME)
    return differences


def _fast(moves: Doubles) -> Doubles:
    """Return movement less its mean over `SLOW_MOMENTS`, [moments, bands]."""
    if not len(moves):
        return moves
    fast: Doubles = moves - scipy.ndimage.uniform_filter1d(moves, SLOW_MOMENTS, axis=0, mode="nearest")
    return fast


def _steadied(moves: Doubles, note_shares: Doubles) -> Doubles:
    """Keep only a note's share of the fast movement of each band."""
    return moves - _fast(moves) * (1 - note_shares)


def _sharpened(moves: Doubles) -> Doubles:
    """Undo the smoothing of movement, [moments, bands], by the windows that measured it.

    Squares of Hann windows weight successive moments by 1/6, 4/6 and 1/6. The filter is that of quadratic B-splines,
    1/8, 6/8 and 1/8: partials that beat within a band move already as they are played.
    """
    if len(moves) < 2:
        return moves
    sharp: Doubles = scipy.ndimage.spline_filter1d(moves, 2, axis=0, mode="mirror")
    return np.clip(sharp, -MOST_DB, MOST_DB)


def _shape_differences(
    recorded: SpectralCourse,
    frame_indices: npt.NDArray[np.intp],
    codes: Doubles,
    key: int,
    model: Model,
    modes: Doubles,
    frame_length: int = FRAME,
) -> tuple[Doubles, Doubles]:
    """Return recorded less decoded shapes in dB, and the share of noise in the decoded ones, [rows, BANDS] both."""
    if not len(frame_indices):
        return np.zeros((0, BANDS)), np.zeros((0, BANDS))
    keys, recorded_levels = np.full(len(frame_indices), key, np.intp), recorded.shapes[frame_indices]
    decoded = model.decode(codes.astype(np.float32), keys)
    decoded_levels, noise_shares = decoded_shapes(decoded, keys, model.card, modes, frame_length)
    differences = np.clip(recorded_levels - decoded_levels, -MOST_DB, MOST_DB)
    differences[(recorded_levels < SILENT_DB) & (decoded_levels < SILENT_DB)] = 0.0
    return differences, noise_shares


def _steps(decibels: Doubles) -> Steps:
    """Round decibels to steps of `RESIDUAL_DB`."""
    steps: Steps = np.round(decibels / RESIDUAL_DB).astype(np.int8)
    return steps


def decoded_shapes(
    frames: Array, keys: npt.NDArray[np.intp], card: Card, modes: Doubles = NO_MODES, frame_length: int = FRAME
) -> tuple[Doubles, Doubles]:
    """Return expected `SpectralCourse.shapes` of decoded frames, and the share of noise in each band, 0 to 1.

    Both [rows, BANDS]. Frames of `measures` are shorter than the card's: noise is stronger in them beside partials.
    """
    layout = card.partials
    assert layout is not None
    short_card = card.model_copy(update={"frame_length": frame_length})
    partial_amplitudes, band_power = (
        frames[:, : layout.harmonics],
        np.square(frames[:, layout.harmonics :], dtype=np.float64),
    )
    partial_bins = in_bins(keys, short_card)[:, np.newaxis] * orders(layout, keys)
    if len(modes):  # of one key
        placement = placed_modes(modes, orders(layout, keys[:1])[0], card, float(keys[0]))
        partial_amplitudes, band_power = placement.applied(partial_amplitudes, band_power)
        partial_bins = in_bins(keys, short_card)[:, np.newaxis] * placement.orders
    band_power = band_power * (card.frame_length / frame_length)
    total_power, noise_power = (
        np.square(summed(short_card, amplitudes, partial_bins, band_power), dtype=np.float64)
        for amplitudes in (partial_amplitudes, np.zeros_like(partial_amplitudes))
    )
    filters = mel(card.sample_rate, frame_length)
    band_power = total_power @ filters
    power_shares = band_power / np.maximum(total_power.sum(1, keepdims=True), 1e-30)
    noise_shares = (noise_power @ filters) / np.maximum(band_power, 1e-30)
    return 10 * np.log10(np.maximum(power_shares, 10 ** (FLOOR_DB / 10))), noise_shares


@functools.cache
def noise_fluctuation(rate: int) -> Doubles:
    """Return the standard deviation of white noise's levels in each band, in dB, [BANDS]."""
    shapes = course(white_noise(NOISE_SECONDS * rate), rate).shapes
    deviations: Doubles = _fast(shapes)[SLOW_MOMENTS:-SLOW_MOMENTS].std(0)
    return deviations
