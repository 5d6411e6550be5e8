"""Makes a stream's frames, one after another: a step of the decoder, and the sound of what it gives."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...contract.card import Card
from ...contract.model import Model, States
from ...files import Stamp
from ...units import db_to_gain
from ..clip.octaves import OCTAVES, ResampledClip
from ..clip.reading import ONE, Stretch, read
from ..clip.spectra import SpectraSound
from .kind import FED, PLACE

Array = npt.NDArray[np.float32]

FINEST = 1e-9  # of a ratio of lengths: nearer to 1, nothing is stretched


class FrameInputs(NamedTuple):
    """Everything that a frame is made of.

    ``state``: what the frame before left. ``code``: [n_latents]. ``noise``: normal numbers times the heat, [noise], or
    None for none. ``keeps``: the memory stays as it is. ``history``: the frames before as the decoder took them and
    their places in the bar, if the memory is made anew of them; empty: of none; None: it goes on. ``first``: the place
    in the frame of the sound's first sample, in samples. ``length``: of the sound in samples. ``ratio``: by which its
    pitch is raised.
    """

    state: States
    code: Array
    noise: Array | None
    keeps: bool
    history: Sequence[States] | None
    first: float
    length: int
    ratio: float


class Made(NamedTuple):
    """A frame's sound, [length], and the state that it leaves."""

    sound: Array
    state: States


class FrameMaker:
    """Makes frames of one model as a preset asks for them."""

    def __init__(self, model: Model, *, restore: bool = True, limit: bool = True) -> None:
        """``restore`` and ``limit`` are as [stream] has them."""
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
        """Return the stamp of the model's file, when it was read."""
        return self._model.stamp

    def make(self, step: FrameInputs) -> Made:
        """Return the next frame of a stream.

        Raises:
            UserError: the decoder cannot be run.
        """
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
        return Made(sound, after)

    def _anew(self, step: FrameInputs, code: Array) -> States:
        """Return the state whose memory is of the frames of a history alone; the bar goes on."""
        assert step.history is not None
        state = self._model.at_rest(1)
        for given in step.history[:-1]:  # the last one is what the step itself takes
            _, state = self._model.step(code, np.zeros(1, np.intp), state | given)
        kept = (FED, PLACE) if step.history else (PLACE,)
        return state | {name: step.state[name] for name in kept if name in step.state}

    def _gain(self, sound: Array) -> float:
        """Return by what a sound is multiplied, so that its energy is not beyond that of the training frames."""
        level = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
        return self._loudest / level if level > self._loudest else 1.0

    def _sound(self, frame: Array, step: FrameInputs) -> Array:
        """Return the sound of a frame, [length]: spectra are stretched to it, samples are read as far as it goes."""
        card, length = self._card, step.length
        if card.domain == "magnitude":
            sound = self._of_spectra(frame, round(length * step.ratio))
            return _read(sound, 0.0, len(sound) / length, length)
        if card.domain == "real_imag":
            real, imaginary = frame.reshape(2, -1)
            frame = np.fft.irfft(real + 1j * imaginary, card.frame_length).astype(np.float32)
        return _read(frame, step.first, step.ratio, length)

    def _of_spectra(self, frame: Array, length: int) -> Array:
        """Return the sound of the magnitudes of many spectra, and of a loudness curve, stretched to a length."""
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
    """Return the mean and the deviation that frames are given back, [frame_width] or numbers."""
    if card.scaling is None:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    given = (card.scaling.mean, card.scaling.deviation)
    mean, deviation = (np.atleast_1d(np.array(value, np.float32)) for value in given)
    return mean, deviation


def _rows(rows: Array, places: npt.NDArray[np.floating[Any]]) -> Array:
    """Return rows at places between them, straight lines from one to the next; beyond the ends, the ends."""
    places = np.clip(places, 0, len(rows) - 1)
    first = np.minimum(places.astype(np.intp), max(0, len(rows) - 2))
    if np.all(np.abs(places - np.round(places)) < FINEST):
        whole: Array = rows[np.round(places).astype(np.intp)]
        return whole
    share = (places - first).astype(np.float32)[:, np.newaxis]
    between: Array = rows[first] + share * (rows[np.minimum(first + 1, len(rows) - 1)] - rows[first])
    return between


def _read(sound: Array, first: float, ratio: float, length: int) -> Array:
    """Return a sound from a place in it on, [length], so much faster; what is too high for that is left out."""
    if ratio == 1.0 and first == int(first) and first + length <= len(sound):
        whole: Array = sound[int(first) : int(first) + length]
        return whole
    pace = min(max(round(ratio * ONE), ONE >> OCTAVES), ONE << OCTAVES)
    return read([Stretch(ResampledClip(sound), round(first * ONE), pace, length)])[0]
