"""Stream frames: initial states, decoder steps and their synthesis, here or in a separate process."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array
from ...errors import UserError
from ...files import Stamp
from ...kinds.stream import FED, MOST_SEED, PLACE, StreamSettings
from ...model.card import Card
from ...model.encoder import SILENT, Encoder
from ...model.model import Model, States
from ...units import db_to_gain
from ..clip.resampling import OCTAVES, ONE, ResampledClip, Stretch, read
from ..clip.synthesis import SpectraSound
from ..model_process import Away, ModelProcess

FINEST = 1e-9  # of a length ratio: nearer to 1, nothing is stretched


class FrameInputs(NamedTuple):
    state: States
    code: Array  # [n_latents]
    noise: Array | None  # normal numbers times the heat, [noise]
    keeps: bool  # freeze the memory
    history: Sequence[States] | None  # decoder inputs that rebuild the memory; empty clears it, None continues
    first: float  # of the sound in the frame, in samples, as ``length``
    length: int
    ratio: float


class MadeFrame(NamedTuple):
    """A frame's sound, [length], and the next state."""

    sound: Array
    state: States


class FrameMaker:
    def __init__(self, model: Model, *, restore: bool = True, limit: bool = True) -> None:
        card = model.card
        assert card.stream is not None
        self._model, self._card, self._restores = model, card, restore
        self._loudest = db_to_gain(card.stream.levels_db[1]) if limit else np.inf
        self._mean, self._deviation = _scaling(card)
        fed = next(state for state in card.state if state.name == FED)
        self._feeds_sound = card.domain != "magnitude" and fed.shape == [card.frame_width]
        self._spectra: dict[int, SpectraSound] = {}

    @property
    def stamp(self) -> Stamp | None:
        return self._model.stamp

    def make(self, step: FrameInputs) -> MadeFrame:
        """Raise UserError if the decoder fails."""
        code, none = step.code[np.newaxis], np.zeros(1, np.intp)
        state = step.state if step.history is None else self._anew(step, code)
        noise = None if step.noise is None else step.noise[np.newaxis]
        given, after = self._model.step(code, none, state, noise)
        if step.keeps:
            after = {name: value if name in (FED, PLACE) else state[name] for name, value in after.items()}
        frame = np.nan_to_num(given[0], nan=0.0, posinf=0.0, neginf=0.0)
        true = frame * self._deviation + self._mean
        shown = true if self._restores else frame * np.float32(np.sqrt(np.mean(np.square(self._deviation))))
        sound = self._sound(shown, step)
        gain = self._gain(sound if self._restores else self._sound(true, step))
        if gain < 1.0:
            sound = sound * np.float32(gain)
            if self._feeds_sound:
                after[FED] = after[FED] * np.float32(gain)
        return MadeFrame(sound, after)

    def _anew(self, step: FrameInputs, code: Array) -> States:
        """The bar position continues."""
        assert step.history is not None
        state = self._model.at_rest(1)
        for given in step.history[:-1]:  # the step itself reads the last one
            _, state = self._model.step(code, np.zeros(1, np.intp), state | given)
        kept = (FED, PLACE) if step.history else (PLACE,)
        return state | {name: step.state[name] for name in kept if name in step.state}

    def _gain(self, sound: Array) -> float:
        level = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
        return self._loudest / level if level > self._loudest else 1.0

    def _sound(self, frame: Array, step: FrameInputs) -> Array:
        card, length = self._card, step.length
        if card.domain == "magnitude":
            sound = self._of_spectra(frame, round(length * step.ratio))
            return _read(sound, 0.0, len(sound) / length, length)
        if card.domain == "real_imag":
            real, imaginary = frame.reshape(2, -1)
            frame = np.fft.irfft(real + 1j * imaginary, card.frame_length).astype(np.float32)
        return _read(frame, step.first, step.ratio, length)

    def _of_spectra(self, frame: Array, length: int) -> Array:
        card = self._card
        transform, hop, points = card.transform_length, card.hop_length, card.envelope_points
        assert transform is not None
        part = card.frame_length // points if points else hop
        count = max(2, -(-length // hop) + 1)
        unit = hop if not points else int(np.lcm(hop, part))
        whole = -(-(count - 1) * hop // unit) * unit
        count = whole // hop + 1
        bins = transform // 2 + 1
        scale = card.frame_length / length
        magnitudes = _rows(frame[: card.spectra * bins].reshape(card.spectra, bins), np.arange(count) * scale)
        levels = _rows(frame[card.spectra * bins :][:, np.newaxis], (np.arange(whole // part) + 0.5) * scale - 0.5)
        if whole not in self._spectra:
            self._spectra[whole] = SpectraSound(whole, transform, hop, whole // part if points else 0)
        given = np.concatenate([magnitudes.reshape(-1), levels[:, 0]] if points else [magnitudes.reshape(-1)])
        sound: Array = self._spectra[whole](given[np.newaxis])[0][:length]
        return sound


def _scaling(card: Card) -> tuple[Array, Array]:
    if card.scaling is None:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    given = (card.scaling.mean, card.scaling.deviation)
    mean, deviation = (np.atleast_1d(np.array(value, np.float32)) for value in given)
    return mean, deviation


def _rows(rows: Array, places: npt.NDArray[np.floating[Any]]) -> Array:
    places = np.clip(places, 0, len(rows) - 1)
    first = np.minimum(places.astype(np.intp), max(0, len(rows) - 2))
    if np.all(np.abs(places - np.round(places)) < FINEST):
        whole: Array = rows[np.round(places).astype(np.intp)]
        return whole
    share = (places - first).astype(np.float32)[:, np.newaxis]
    between: Array = rows[first] + share * (rows[np.minimum(first + 1, len(rows) - 1)] - rows[first])
    return between


def _read(sound: Array, first: float, ratio: float, length: int) -> Array:
    if ratio == 1.0 and first == int(first) and first + length <= len(sound):
        whole: Array = sound[int(first) : int(first) + length]
        return whole
    pace = min(max(round(ratio * ONE), ONE >> OCTAVES), ONE << OCTAVES)
    return read([Stretch(ResampledClip(sound), round(first * ONE), pace, length)])[0]


class Seed(NamedTuple):
    """State before the first frame, and an offset to the code, [n_latents]."""

    state: States
    offset: Array


def seeds_of(model: Model, settings: StreamSettings, sound: Array | None, rest: Sequence[float]) -> list[Seed]:
    """A preset's seeds: one, or one per landmark if keys select them.

    Raises:
        UserError: the sound is silent or shorter than a step, or the model has no encoder.
    """
    base, marks = np.array(rest, np.float32), model.card.landmarks
    at_rest = model.at_rest(1)
    if settings.keys == "seed":
        return [Seed(at_rest, np.array(mark.latent, np.float32) - base) for mark in marks] or [Seed(at_rest, 0 * base)]
    if settings.seed_landmark is not None:
        code = next(mark.latent for mark in marks if mark.label == settings.seed_landmark)
        return [Seed(at_rest, np.array(code, np.float32) - base)]
    if sound is not None:
        return [_seed(model, settings.seed_sound or "", sound, base)]
    return [Seed(at_rest, 0 * base)]


def _seed(model: Model, name: str, sound: Array, base: Array) -> Seed:
    card = model.card
    assert card.stream is not None
    step, length = card.stream.step_length, card.frame_length
    if len(sound) < step:
        raise UserError(
            f"stream.seed_sound {name!r} is {len(sound)} samples long at the model's rate, and a frame takes {step}; "
            "give a longer sound"
        )
    if float(sound.std()) < SILENT:
        raise UserError(f"stream.seed_sound {name!r} is silent; give a sound that is heard, or leave it out")
    sound = sound[-(len(sound) // step) * step :]
    padded = np.concatenate([np.zeros(length - step, np.float32), sound])
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::step][-MOST_SEED:]
    latents, fed = Encoder(model).fed(np.ascontiguousarray(frames))
    told = latents.mean(0)
    offset = told - base if np.any(latents) else 0 * base
    state, code = model.at_rest(1), (base + offset)[np.newaxis]
    for given in fed:
        _, state = model.step(code, np.zeros(1, np.intp), state)
        state[FED] = given[np.newaxis]
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
        self._maker, self._server = maker, ModelProcess("streams", maker, FrameMaker.make)

    def make(self, step: FrameInputs) -> MadeFrame:
        try:
            made: MadeFrame = self._server.ask(step)
        except Away:
            return self._maker.make(step)
        return made
