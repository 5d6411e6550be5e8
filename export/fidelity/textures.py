"""Textures beside recordings: an instrument plays along their codes; distances of the sides' mean spectra."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import scipy.signal

from ...host.arrays import Array, Doubles, Times
from ...host.engines.engine import MAX_BLOCK, EngineRequest, Motion, engine_of
from ...host.kinds.table import kind_of
from ...host.model.encoder import Encoder
from ...host.preset.library import Patch
from ...host.units import MIDDLE_C
from .images import FLOOR_DB, SidesDistance

HOPS = 4  # codes in a frame of the model
LOWEST_HZ, BANDS_AN_OCTAVE = 50.0, 3
HIGHEST = 0.9  # of half the rate
FRAME_SECONDS = 0.1  # of a spectrum: a few bins in the lowest band
LEAST_POWER = 1e-20


class RecordedCodes:
    """The part of a `Motion` that grains read: codes, [moments, n_latents], ``hop`` samples apart, without bends."""

    def __init__(self, codes: Array, hop: int) -> None:
        self._codes, self._hop = codes, hop

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        return self._codes[np.minimum(times // self._hop, len(self._codes) - 1)]

    def bend_semitones(self, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        return np.zeros(len(voices))


def along(patch: Patch, sound: Array, image: float = 1.0) -> Array:
    """Render a texture at middle C with the codes of a sound, [samples] at the model's rate: [2, samples].

    ``image``: as `play.image`. The sound has the model's own level, without envelope and gain; codes have no jitter.

    Raises:
        UserError: the model has no encoder.
    """
    card, preset = patch.model.card, patch.preset
    hop = card.frame_length // HOPS
    padded_sound = np.pad(sound, (0, max(0, card.frame_length - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(padded_sound, card.frame_length)[::hop]
    motion = cast(Motion, RecordedCodes(Encoder(patch.model).encode(np.ascontiguousarray(windows)), hop))
    play = preset.play.model_copy(update={"image": image})
    section = kind_of(card).select_section(preset).model_copy(update={"code_jitter": 0.0})
    engine = engine_of(patch.model, EngineRequest(preset.latent_values(card), play, section, 0.0))
    stream = engine.start_stream(MIDDLE_C, 0, MIDDLE_C)
    blocks = [
        engine.render([stream], motion, start, min(MAX_BLOCK, len(sound) - start))[0].copy()
        for start in range(0, len(sound), MAX_BLOCK)
    ]
    return np.concatenate(blocks, axis=1)


def mean_sides_distance(recording: Array, rendition: Array, rate: int) -> SidesDistance:
    """Return the distances of mean spectra of both sides, [2, samples] each, and of their mid and side.

    Root mean squares over thirds of octaves, from 50 Hz to nine tenths of half the rate, of level differences in dB;
    levels are at least 60 dB below the mean power of the recording's band.
    """
    recorded_powers, played_powers = (_third_octave_powers(sides, rate) for sides in (recording, rendition))
    floor = (recorded_powers[0] + recorded_powers[1]).mean() * 10 ** (FLOOR_DB / 10) + LEAST_POWER
    ratios = np.maximum(played_powers, floor) / np.maximum(recorded_powers, floor)
    distances = np.sqrt(np.square(10 * np.log10(ratios)).mean(1)).tolist()
    left_db, right_db, mid_db, side_db = distances
    return SidesDistance(left_db, right_db, mid_db, side_db, float(np.mean(distances)))


def _third_octave_powers(sides: Array, rate: int) -> Doubles:
    """Mean powers of left, right, mid and side by band, [4, bands]."""
    left, right = sides.astype(np.float64)
    signals = np.stack([left, right, (left + right) * np.sqrt(0.5), (left - right) * np.sqrt(0.5)])
    hz, spectra = scipy.signal.welch(signals, rate, nperseg=min(round(FRAME_SECONDS * rate), signals.shape[1]))
    edges_hz = LOWEST_HZ * 2 ** (np.arange(0, np.log2(HIGHEST * rate / 2 / LOWEST_HZ), 1 / BANDS_AN_OCTAVE))
    edge_bins = np.searchsorted(hz, edges_hz)
    powers: Doubles = np.add.reduceat(spectra, edge_bins, axis=1)[:, :-1]
    return powers
