"""Stream frames: initial states, decoder steps and their synthesis, here or in a separate process."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Doubles
from ...kinds.card_fields import ImageBand
from ...kinds.stream import MOST_SEED, PLACE, PREVIOUS_FRAME, StreamSettings
from ...model.card import Card
from ...model.encoder import Encoder
from ...model.model import Model, States
from ...units import db_to_gain
from ..clip.resampling import OCTAVES, ONE, ResampledClip, Stretch, kernels, read
from ..clip.synthesis import SpectraSound
from ..model_process import Away, ModelProcess
from .side_filters import TAPS_SECONDS, SideFilters

FINEST = 1e-9  # of a length ratio: nearer to 1, nothing is stretched
MOST_FILTERS = 8  # kept: voices of one time have one amount


class FrameInputs(NamedTuple):
    state: States
    code: Array  # [n_latents]
    noise: Array | None  # normal numbers times the heat, [noise]
    keeps: bool  # freeze the memory
    history: Sequence[States] | None  # decoder inputs that rebuild the memory; empty clears it, None continues
    first: float  # of the sound in the frame, in samples, as ``length``
    length: int
    ratio: float
    image: float = 0.0  # amount of the model's stereo image, 0 to 2; at 0, and without one, the frame is mono
    before: Array | None = None  # mono sound of the frames before, [samples]: the filters of sides remember it


class MadeFrame(NamedTuple):
    """A frame's sound, [sides, length], the next state, and mono sound until the frame's end, [samples].

    The last is None of a model without an image.
    """

    sound: Array
    state: States
    ending: Array | None


class FrameMaker:
    def __init__(
        self,
        model: Model,
        *,
        restore: bool = True,
        limit: bool = True,
        image_bands: Sequence[ImageBand] | None = None,
    ) -> None:
        """``image_bands`` replace the model's image."""
        card = model.card
        assert card.stream is not None
        self.model, self._card, self._restores = model, card, restore
        self._loudest_level = db_to_gain(card.stream.levels_db[1]) if limit else np.inf
        self._mean, self._deviation = _scaling(card)
        previous_frame = next(state for state in card.state if state.name == PREVIOUS_FRAME)
        self._feeds_sound = card.domain != "magnitude" and previous_frame.shape == [card.frame_width]
        self._spectra: dict[int, SpectraSound] = {}
        bands = image_bands or card.image
        self._image: Doubles | None = None if bands is None else np.array(bands)
        self._side_filters: dict[float, SideFilters] = {}  # the last ones, by amount
        self._tap_samples = round(TAPS_SECONDS * card.sample_rate)

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """In a process of its own: the first frame of a note would wait 0.1 s for the low-passes."""
        vars(self).update(attributes)
        kernels()

    def make(self, step: FrameInputs) -> MadeFrame:
        """Raise UserError if the decoder fails."""
        code_row, label_indices = step.code[np.newaxis], np.zeros(1, np.intp)
        state = step.state if step.history is None else self._rebuilt_state(step, code_row)
        noise_row = None if step.noise is None else step.noise[np.newaxis]
        decoded, next_state = self.model.step(code_row, label_indices, state, noise_row)
        if step.keeps:
            next_state = {
                name: value if name in (PREVIOUS_FRAME, PLACE) else state[name] for name, value in next_state.items()
            }
        frame = np.nan_to_num(decoded[0], nan=0.0, posinf=0.0, neginf=0.0)
        restored_frame = frame * self._deviation + self._mean
        played_frame = (
            restored_frame if self._restores else frame * np.float32(np.sqrt(np.mean(np.square(self._deviation))))
        )
        sound = self._sound(played_frame, step)
        gain = self._gain(sound if self._restores else self._sound(restored_frame, step))
        if gain < 1.0:
            sound = sound * np.float32(gain)
            if self._feeds_sound:
                next_state[PREVIOUS_FRAME] = next_state[PREVIOUS_FRAME] * np.float32(gain)
        if self._image is None:
            return MadeFrame(sound[np.newaxis], next_state, None)
        past = sound if step.before is None else np.concatenate([step.before, sound])
        past_samples = self._tap_samples + max(self._card.frame_length, step.length)  # to the start of any next fade
        return MadeFrame(self._sides(sound, step), next_state, past[-past_samples:])

    def _sides(self, sound: Array, step: FrameInputs) -> Array:
        """A frame's sound, [sides, length]."""
        amount, image, filters = step.image, self._image, self._side_filters
        if image is None or amount == 0:
            return sound[np.newaxis]
        if amount not in filters:
            for last_amount in list(filters)[: max(0, len(filters) - MOST_FILTERS + 1)]:
                del filters[last_amount]
            filters[amount] = SideFilters(image, amount, self._card.sample_rate)
        return filters[amount](sound, step.before)

    def _rebuilt_state(self, step: FrameInputs, code_row: Array) -> States:
        """The state after the step's history; the bar position continues."""
        assert step.history is not None
        rebuilt_state = self.model.at_rest(1)
        for past_inputs in step.history[:-1]:  # the step itself reads the last one
            _, rebuilt_state = self.model.step(code_row, np.zeros(1, np.intp), rebuilt_state | past_inputs)
        carried_names = (PREVIOUS_FRAME, PLACE) if step.history else (PLACE,)
        return rebuilt_state | {name: step.state[name] for name in carried_names if name in step.state}

    def _gain(self, sound: Array) -> float:
        """Gain that limits a sound to the loudest level."""
        rms_level = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
        return self._loudest_level / rms_level if rms_level > self._loudest_level else 1.0

    def _sound(self, frame: Array, step: FrameInputs) -> Array:
        """Sound of a frame, [length]."""
        card, length = self._card, step.length
        if card.domain == "magnitude":
            sound = self._spectra_sound(frame, round(length * step.ratio))
            return _read(sound, 0.0, len(sound) / length, length)
        if card.domain == "real_imag":
            real, imaginary = frame.reshape(2, -1)
            frame = np.fft.irfft(real + 1j * imaginary, card.frame_length).astype(np.float32)
        return _read(frame, step.first, step.ratio, length)

    def _spectra_sound(self, frame: Array, length: int) -> Array:
        """Sound of a frame of magnitudes, stretched to ``length``."""
        card = self._card
        transform_length, hop_length, point_count = card.transform_length, card.hop_length, card.envelope_points
        assert transform_length is not None
        part_samples = card.frame_length // point_count if point_count else hop_length
        spectrum_count = max(2, -(-length // hop_length) + 1)
        # `SpectraSound` takes a length that both the hop and the curve's parts divide.
        length_unit = hop_length if not point_count else int(np.lcm(hop_length, part_samples))
        padded_length = -(-(spectrum_count - 1) * hop_length // length_unit) * length_unit
        spectrum_count = padded_length // hop_length + 1
        bin_count = transform_length // 2 + 1
        length_ratio = card.frame_length / length
        magnitudes = _rows(
            frame[: card.spectra * bin_count].reshape(card.spectra, bin_count), np.arange(spectrum_count) * length_ratio
        )
        levels = _rows(
            frame[card.spectra * bin_count :][:, np.newaxis],
            (np.arange(padded_length // part_samples) + 0.5) * length_ratio - 0.5,
        )
        if padded_length not in self._spectra:
            self._spectra[padded_length] = SpectraSound(
                padded_length, transform_length, hop_length, padded_length // part_samples if point_count else 0
            )
        spectra_frame = np.concatenate(
            [magnitudes.reshape(-1), levels[:, 0]] if point_count else [magnitudes.reshape(-1)]
        )
        return self._spectra[padded_length](spectra_frame[np.newaxis])[0][:length]


def _scaling(card: Card) -> tuple[Array, Array]:
    """Mean and deviation of training frames; 0 and 1 if they were not scaled."""
    if card.scaling is None:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    mean_and_deviation = (card.scaling.mean, card.scaling.deviation)
    mean, deviation = (np.atleast_1d(np.array(value, np.float32)) for value in mean_and_deviation)
    return mean, deviation


def _rows(rows: Array, row_positions: npt.NDArray[np.floating[Any]]) -> Array:
    """Interpolate rows at fractional positions."""
    row_positions = np.clip(row_positions, 0, len(rows) - 1)
    lower_rows = np.minimum(row_positions.astype(np.intp), max(0, len(rows) - 2))
    if np.all(np.abs(row_positions - np.round(row_positions)) < FINEST):
        return rows[np.round(row_positions).astype(np.intp)]
    upper_shares = (row_positions - lower_rows).astype(np.float32)[:, np.newaxis]
    return rows[lower_rows] + upper_shares * (rows[np.minimum(lower_rows + 1, len(rows) - 1)] - rows[lower_rows])


def _read(sound: Array, first: float, ratio: float, length: int) -> Array:
    """Read samples of a sound, ``ratio`` apart."""
    if ratio == 1.0 and first == int(first) and first + length <= len(sound):
        return sound[int(first) : int(first) + length]
    fixed_step = min(max(round(ratio * ONE), ONE >> OCTAVES), ONE << OCTAVES)
    return read([Stretch(ResampledClip(sound), round(first * ONE), fixed_step, length)])[0]


class Seed(NamedTuple):
    """State before the first frame, and an offset to the code, [n_latents]."""

    state: States
    offset: Array


def seeds_of(model: Model, settings: StreamSettings, sound: Array | None, rest_latents: Sequence[float]) -> list[Seed]:
    """A preset's seeds: one, or one per landmark if keys select them.

    Raises:
        UserError: the model has no encoder.
    """
    rest_code, landmarks = np.array(rest_latents, np.float32), model.card.landmarks
    rest_state = model.at_rest(1)
    if settings.keys == "seed":
        return [Seed(rest_state, np.array(mark.latent, np.float32) - rest_code) for mark in landmarks] or [
            Seed(rest_state, 0 * rest_code)
        ]
    if settings.seed_landmark is not None:
        landmark_code = next(mark.latent for mark in landmarks if mark.label == settings.seed_landmark)
        return [Seed(rest_state, np.array(landmark_code, np.float32) - rest_code)]
    if sound is not None:
        return [_seed(model, sound, rest_code)]
    return [Seed(rest_state, 0 * rest_code)]


def _seed(model: Model, sound: Array, rest_code: Array) -> Seed:
    """The seed of a sound's last frames."""
    card = model.card
    assert card.stream is not None
    step_length, frame_length = card.stream.step_length, card.frame_length
    sound = sound[-(len(sound) // step_length) * step_length :]
    padded_sound = np.concatenate([np.zeros(frame_length - step_length, np.float32), sound])
    frames = np.lib.stride_tricks.sliding_window_view(padded_sound, frame_length)[::step_length][-MOST_SEED:]
    frame_codes, fed_frames = Encoder(model).encode_with_states(np.ascontiguousarray(frames))
    mean_code = frame_codes.mean(0)
    offset = mean_code - rest_code if np.any(frame_codes) else 0 * rest_code
    state, code_row = model.at_rest(1), (rest_code + offset)[np.newaxis]
    for fed_frame in fed_frames:
        _, state = model.step(code_row, np.zeros(1, np.intp), state)
        state[PREVIOUS_FRAME] = fed_frame[np.newaxis]
    return Seed(state, offset)


class StreamDecodeWorker:
    """Decodes in request order, on its thread while the process starts or after it exits."""

    def __init__(self, maker: FrameMaker) -> None:
        self._work, self._thread = _Work(maker), ThreadPoolExecutor(1, "streams")

    def ask(self, step: FrameInputs) -> "Future[MadeFrame]":
        return self._thread.submit(self._work.make, step)


class _Work:
    """Has no reference to `StreamDecodeWorker`."""

    def __init__(self, maker: FrameMaker) -> None:
        self._maker, self._server = maker, ModelProcess("streams", maker.model, maker, FrameMaker.make)

    def make(self, step: FrameInputs) -> MadeFrame:
        try:
            frame: MadeFrame = self._server.ask(step)
        except Away:
            return self._maker.make(step)
        return frame
