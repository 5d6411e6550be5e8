"""Verifies recordings: at their codes they are as recorded, and on a seeded path they have the levels of their card."""

from collections.abc import Callable

import numpy as np

from ...arrays import Array, Doubles, Indices
from ...kinds.card_fields import PATH_BANDS, PATH_CODES
from ...model.card import Card
from ...model.model import Model
from ...signal import uniforms
from ...spectra import mel_edges_hz
from .recorded import RecordedClips

PATH_SEED = 2020
LEVEL_TOLERANCE_DB = 0.1  # of a band: the decoders of torch and onnxruntime differ by .02 dB at most
LOWEST_DB = -60.0  # below the loudest band: where nothing sounds, rounding decides

DecodeCode = Callable[[Array, Indices], Array]  # codes, [1, n_latents], and a condition, [1], to frames


def recordings_off(model: Model) -> list[str]:
    """Return the names of recordings that are not as recorded at their own code, or not as they should on their path.

    There they have to sound, at the levels of bands that the card states, if it does.
    """
    assert model.recordings is not None
    clips, names = RecordedClips(model), []
    for index, recording in enumerate(model.card.recordings):
        sides = model.recordings.sides(index)
        own_sound, *path_sounds = sounds_on_path(clips, model.card, index, model.decode)
        is_right = np.array_equal(own_sound[:, : sides.shape[1]], sides)
        is_right &= all(np.isfinite(sound).all() and sound.any() for sound in path_sounds)
        if is_right and recording.path_levels_db is not None:
            levels_db = [band_levels_db(sound, model.card.sample_rate) for sound in path_sounds]
            is_right = bool(np.abs(np.subtract(levels_db, recording.path_levels_db)).max() <= LEVEL_TOLERANCE_DB)
        if not is_right:
            names.append(recording.name)
    return names


def sounds_on_path(clips: RecordedClips, card: Card, index: int, decode: DecodeCode) -> list[Array]:
    """Return a recording at its code and at those of its path, [channels, samples] each.

    The path has random codes within a deviation of each latent, the same in every call.
    """
    recording = card.recordings[index]
    deviations = np.array([latent.std for latent in card.latents])
    own_code = np.array(recording.latent, np.float32)
    directions = 2 * uniforms(PATH_SEED, index, 0, PATH_CODES, len(card.latents)) - 1
    condition = np.array([card.labels.index(recording.label) if recording.label in card.labels else 0], np.intp)

    def decode_code(code: Array) -> Array:
        frame: Array = decode(code[np.newaxis], condition)[0]
        return frame

    path_codes = own_code + (deviations * directions).astype(np.float32)
    return [clips.bent(index, code, decode_code) for code in (own_code, *path_codes)]


def band_levels_db(sound: Array, sample_rate: int) -> Doubles:
    """Return levels of mel bands of a sound, [channels, samples], over all its channels and samples, [`PATH_BANDS`].

    In dB of its root mean square; bands more than `LOWEST_DB` below the loudest have that level.
    """
    length, edges_hz = sound.shape[1], mel_edges_hz(sample_rate, PATH_BANDS - 1)
    powers = np.square(np.abs(np.fft.rfft(sound.astype(np.float64)))).sum(0) / (length * sound.size)
    powers[1 : (length + 1) // 2] *= 2  # of both signs of their frequencies
    bins = np.round(edges_hz * length / sample_rate).astype(np.intp)
    band_powers = np.add.reduceat(powers, bins[:-1])
    return 10 * np.log10(np.maximum(band_powers, 10 ** (LOWEST_DB / 10) * band_powers.max()))
