"""Recordings bent by a decoder: at its own code a recording sounds as it is, at others as the network says it changes.

The recording's spectra are multiplied by the ratio of the decoder's magnitudes at the two codes, and the loudness of
ten milliseconds by that of its loudness curves, which keeps attacks sharp; phases stay. Without the second step, a hit
moved to the code of another is 1.5 dB farther from it, and some attacks are 58 ms off instead of 6
(``tests/bench/kit.py``). Far from every recording the decoder alone sounds.
"""

import math
from collections.abc import Callable

import numpy as np

from ...arrays import Array, Doubles
from ...model.card import in_deviations
from ...model.model import Model
from .morph import FADE_SECONDS, PACE_SECTIONS, even_shares, morph_length, morph_sides, onset_samples
from .synthesis import POOLED, SpectraSound

NEAR, FAR = 2.0, 3.0  # deviations from the nearest recording: up to the first it sounds alone, beyond the second not
MOST_RATIO_DB = 24.0
TINY = np.float32(1e-20)  # keeps divisors above 0, also of a silent frame
MOST_KEPT_BYTES = 1 << 25  # of recordings, and of frames at their codes: some twenty of each
FLOOR = np.float32(1e-4)  # of the largest magnitude or level, added to both: below it a network's ratio is noise


Decode = Callable[[Array], Array]  # from a code, [n_latents], to its frame, [frame_width]


def code_between(first: Array, second: Array, share: float) -> Array:
    """Codes on the straight line between two; both ends are exact."""
    codes: Array = first * np.float32(1 - share) + second * np.float32(share)
    return codes


class RecordedClips:
    def __init__(self, model: Model) -> None:
        self._model, card = model, model.card
        assert card.transform_length is not None
        self._synthesis = SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)
        self._spectrum_shape = card.spectra, card.transform_length // 2 + 1
        self._frame_length, self._hop, self._sample_rate = card.frame_length, card.hop_length, card.sample_rate
        self._has_levels = self._synthesis.has_levels
        self._scale = in_deviations(card)
        self._codes = np.array([recording.latent for recording in card.recordings], np.float32)
        self._shapes: dict[int, tuple[int, int]] = {}
        self._onsets: dict[int, int] = {}
        self._even_shares: dict[tuple[int, int], Doubles] = {}
        self._own_frames, self._sounds = _RecentArrays(), _RecentArrays()

    def shape(self, index: int) -> tuple[int, int]:
        """Channels and samples of a recording: a whole number of hops, no fewer than the model's clips have."""
        if index not in self._shapes:  # checking a digest takes the interpreter from the audio thread
            assert self._model.recordings is not None
            channel_count, length = self._model.recordings.shape(index)
            self._shapes[index] = channel_count, max(self._frame_length, math.ceil(length / self._hop) * self._hop)
        return self._shapes[index]

    def morph_shape(self, first: int, second: int) -> tuple[int, int]:
        """Channels and samples of all morphs of two recordings."""
        (first_channels, first_length), (second_channels, second_length) = self.shape(first), self.shape(second)
        length = morph_length((first_length, second_length), (self._onset(first), self._onset(second)))
        return max(first_channels, second_channels), math.ceil(length / self._hop) * self._hop

    def _onset(self, index: int) -> int:
        if index not in self._onsets:
            self._onsets[index] = onset_samples(self._sounds.get(index, self._padded), self._sample_rate)
        return self._onsets[index]

    def _padded(self, index: int) -> Array:
        assert self._model.recordings is not None
        recorded, (channel_count, length) = self._model.recordings.sides(index), self.shape(index)
        padded = np.zeros((channel_count, length), np.float32)
        padded[:, : recorded.shape[1]] = recorded
        return padded

    def bent(self, index: int, code: Array, decode: Decode) -> Array:
        """A recording moved to a ``code``, [n_latents]: [channels, samples], of its `shape`.

        ``decode`` uses the recording's label.
        """
        recorded, own_code = self._sounds.get(index, self._padded), self._codes[index]
        if np.array_equal(code, own_code):
            return recorded
        own_frame = self._own_frames.get(index, lambda _: decode(own_code))
        decoded_share, frame = self._decoded_share(code), decode(code)
        sound = self._filtered(recorded, own_frame, frame)
        if not decoded_share:
            return sound
        decoded = np.zeros(sound.shape[1], np.float32)
        decoded[: self._frame_length] = self._synthesis(frame[np.newaxis])[0]
        angle = decoded_share * math.pi / 2
        return np.float32(math.cos(angle)) * sound + np.float32(math.sin(angle)) * decoded

    def morph(self, first: int, second: int, share: float, code: Array, decoders: tuple[Decode, Decode]) -> Array:
        """A morph of two recordings, both moved as far as a ``code`` lies from the one between theirs: [channels,
        samples], of their `morph_shape`.

        ``decoders``: as ``decode`` of `bent`, under each recording's label.
        """
        offset = code - code_between(self._codes[first], self._codes[second], share)
        first_sides, second_sides = (
            self.bent(index, self._codes[index] + offset, decode)
            for index, decode in zip((first, second), decoders, strict=True)
        )
        if share not in (0, 1):
            share = self._even_share(first, second, share)
        return self._morph_sides(first, second, share, (first_sides, second_sides))

    def _morph_sides(self, first: int, second: int, share: float, recordings: tuple[Array, Array]) -> Array:
        return morph_sides(
            self._synthesis,
            recordings,
            (self._onset(first), self._onset(second)),
            share,
            self.morph_shape(first, second),
            round(FADE_SECONDS * self._sample_rate),
        )

    def _even_share(self, first: int, second: int, position: float) -> float:
        """The share at a position of a morph of two recordings, so that equal steps sound equal."""
        if (first, second) not in self._even_shares:
            recordings = self._sounds.get(first, self._padded), self._sounds.get(second, self._padded)
            self._even_shares[first, second] = even_shares(
                lambda share: self._morph_sides(first, second, share, recordings), self._sample_rate
            )
        positions = self._even_shares[first, second]
        return float(np.interp(position, positions, np.linspace(0, 1, PACE_SECTIONS + 1)))

    def _decoded_share(self, code: Array) -> float:
        """Share of the decoder's own sound at a code, 0 to 1."""
        deviations: Doubles = np.sqrt(np.square((self._codes - code) * self._scale).sum(1))
        return float(np.clip((deviations.min() - NEAR) / (FAR - NEAR), 0.0, 1.0))

    def _filtered(self, recorded: Array, own_frame: Array, frame: Array) -> Array:
        """Multiply a recording by the ratio of two frames; the last spectrum's ratio holds to the end."""
        spectrum_count, bin_count = self._spectrum_shape
        magnitude_count, hop_count = spectrum_count * bin_count, recorded.shape[1] // self._hop
        magnitude_ratios = _ratios(frame[:magnitude_count], own_frame[:magnitude_count]).reshape(-1, bin_count)
        spectrum_indices = np.minimum(np.arange(hop_count + 1), spectrum_count - 1)
        spectra = (
            np.stack([self._synthesis.transformed(side) for side in recorded]) * magnitude_ratios[spectrum_indices]
        )
        filtered = self._synthesis.added(spectra)
        if not self._has_levels:
            return filtered
        level_ratios = _ratios(frame[magnitude_count:], own_frame[magnitude_count:])
        recorded_levels = self._synthesis.levels(recorded)
        part_indices = np.minimum(np.arange(len(recorded_levels)), len(level_ratios) - 1)
        return self._synthesis.levelled(filtered, recorded_levels * level_ratios[part_indices], POOLED)


class _RecentArrays:
    """Arrays by recording: those that were last asked for."""

    def __init__(self) -> None:
        self._arrays: dict[int, Array] = {}

    def get(self, index: int, make: Callable[[int], Array]) -> Array:
        array = self._arrays.pop(index, None)
        if array is None:
            array = make(index)
        self._arrays[index] = array
        while len(self._arrays) > 1 and sum(recent.nbytes for recent in self._arrays.values()) > MOST_KEPT_BYTES:
            del self._arrays[next(iter(self._arrays))]
        return array


def _ratios(magnitudes: Array, own_magnitudes: Array) -> Array:
    """Ratios of magnitudes or levels, within `MOST_RATIO_DB`."""
    most_nepers = MOST_RATIO_DB / 20 * math.log(10)
    floored, own_floored = (values + max(FLOOR * values.max(), TINY) for values in (magnitudes, own_magnitudes))
    log_ratios = np.log(floored / own_floored)
    ratios: Array = np.exp(np.clip(log_ratios, -most_nepers, most_nepers)).astype(np.float32)
    return ratios
