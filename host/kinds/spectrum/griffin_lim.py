"""Finds the most consistent phases for spectra by iterating between spectra and sound, offline."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...contract.model import Model
from ...dsp import from_middle, window
from .coherent import CoherentState, CoherentVoicing
from .frames import Character, Indices
from .shape import FrameShape

Array = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

ROUNDS = 24  # from coherent phases, 16 reach a spectral convergence of -33 dB (tests/bench/phase.py)
OVERLAP = 8  # frames that sound at a time: of four, each would determine too little of the others' phases
HANN = (0.5, 0.5)  # terms of the window, a sum of cosines
LOBE_TAPS = 12  # bins on either side of a Hann lobe's centre: beyond them it is below -80 dB

# Alpha, beta and gamma of the publication, found on violin notes: 24 rounds come deeper than 32 of fast Griffin-Lim
# (0.99, 0.99, 1) from phases that are coherent already. With 1.3 and 1.4 for the last two it runs away.
SEEN, KEPT, STEP = np.float32(0.95), np.float32(1.1), np.float32(1.25)
LEAST_SHARE = 1e-4  # of the full overlap: a sample with less would be noise divided by almost nothing


def refine(
    magnitudes: Array,
    start: Spectrum,
    window: Array,
    hop_length: int,
    rounds: int,
    past: Array | None = None,
) -> Spectrum:
    """Return spectra of the given magnitudes whose phases are more consistent with each round.

    The accelerated Griffin-Lim algorithm (Nenov, Nguyen, Balazs and Bot, arXiv 2306.12504, 2023), after the fast one
    (Perraudin, Balazs and Soendergaard, WASPAA 2013): a round gives the spectra their magnitudes back, makes the sound
    whose spectra are nearest to them (Griffin and Lim 1984, equation 6), and goes on in the direction of its last
    steps. The publication adds and subtracts spectra of sounds; here the sounds are, which is the same and less work.
    How deep it comes depends on the phases it begins with: see `tests/bench/phase.py`.

    A long sound can be refined piece by piece: what the frames before a piece leave sounding is its ``past``, and
    frames that are refined beyond a piece's end, then left to the next one, let its end know what follows.

    Args:
        magnitudes: [frames, bins], ``bins = frame_length // 2 + 1``; frame t begins at sample ``t * hop_length``.
        start: [frames, bins]; only its phases matter.
        window: [frame_length], periodic; of the analysis, and of the synthesis too.
        hop_length: samples, at most ``frame_length``.
        rounds: 0 or more; 0 gives the phases of ``start``.
        past: [frame_length - hop_length], the sum of the earlier frames' inverse transforms times ``window``, not
            divided by anything, from the first sample of frame 0 on; zeros where silence sounded before. None: frame 0
            is the first, and nothing is known about the sound before it.

    Returns:
        [frames, bins].
    """
    frame_length = len(window)
    energy = np.square(window)
    cover = _overlap_add(np.broadcast_to(energy, (len(magnitudes), frame_length)), hop_length)
    before = np.zeros_like(cover)
    if past is not None:
        before[: len(past)] = past
        for earlier in range(hop_length, frame_length, hop_length):
            cover[: frame_length - earlier] += energy[earlier:]
    cover = np.maximum(cover, LEAST_SHARE * energy.sum() / hop_length)
    found = _with_magnitudes(start, magnitudes)
    kept: Array | None = None
    for _ in range(rounds):
        sounding = np.fft.irfft(found, frame_length, axis=-1).astype(np.float32, copy=False)
        sounding *= window
        nearest = (before + _overlap_add(sounding, hop_length)) / cover
        if kept is None:
            last = kept = nearest
        now = kept + STEP * (nearest - kept)
        kept = now + KEPT * (now - last)
        seen = now + SEEN * (now - last)
        last = now
        frames = np.lib.stride_tricks.sliding_window_view(seen, frame_length)[::hop_length]
        spectra: Spectrum = np.fft.rfft(frames * window, axis=-1).astype(np.complex64, copy=False)
        found = _with_magnitudes(spectra, magnitudes)
    return found


def _with_magnitudes(spectra: Spectrum, magnitudes: Array) -> Spectrum:
    """Return spectra with other magnitudes and the same phases; a bin that is 0 has no phase and stays 0."""
    turned: Spectrum = spectra * (magnitudes / np.maximum(np.abs(spectra), np.float32(1e-20)))
    return turned


def _overlap_add(frames: Array, hop_length: int) -> Array:
    """Return the sum of frames, [frames, frame_length], each ``hop_length`` samples after the one before."""
    count, frame_length = frames.shape
    hops = np.zeros((count - 1 - -frame_length // hop_length, hop_length), np.float32)
    for row, begin in enumerate(range(0, frame_length, hop_length)):
        part = frames[:, begin : begin + hop_length]
        hops[row : row + count, : part.shape[1]] += part
    return hops.reshape(-1)[: (count - 1) * hop_length + frame_length]


class BestState:
    """The state of a voice: that of its coherent voice, and the sum of earlier frames, [channels, samples]."""

    __slots__ = ("past", "voice")

    def __init__(self, voice: CoherentState, past: Array) -> None:
        self.voice, self.past = voice, past


class BestVoicing:
    """Makes frames for the engine: long frames of the coherent voice with refined phases; far too slow for real time.

    The noise that it begins with fluctuates from frame to frame; each bin is to be as strong as it was decoded.
    """

    delay = 0
    together = 4
    moments: tuple[int, ...] = (1,)
    parts = 2

    def __init__(self, model: Model, character: Character) -> None:
        """Make its tables.

        Raises:
            UserError: as `CoherentVoicing`.
        """
        length = model.card.frame_length - model.card.frame_length % OVERLAP
        self._voice = CoherentVoicing(model, character, FrameShape(length, OVERLAP, HANN, LOBE_TAPS))
        self.frame_length, self.hop_length = length, length // OVERLAP
        self.channels = self._voice.channels
        self._window = window("hann", length)
        energy = np.square(self._window).sum()
        self._overlap = np.float32(energy / self.hop_length)
        self._tone_scale = np.float32(OVERLAP * HANN[0])  # from frames that are added up, to spectra of their sum
        self._noise_scale = np.float32(np.sqrt(energy))
        self._middle = from_middle(length // 2 + 1)

    def begin(self) -> BestState:
        """Return the state of a new voice."""
        past = np.zeros((self.channels, self.frame_length - self.hop_length), np.float32)
        return BestState(self._voice.begin(), past)

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        """See `CoherentVoicing.prepare`."""
        return self._voice.prepare(latents, chroma)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        """Keep what is prepared until `let_go`, whatever is made meanwhile."""
        self._voice.keep(latents, chroma)

    def let_go(self) -> None:
        """Forget what is kept."""
        self._voice.let_go()

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: npt.NDArray[np.float64],
        states: Sequence[BestState],
    ) -> Array:
        """Return the next frame of each row's voice, [rows, channels, frame_length].

        Frames of one voice are refined together.
        """
        tones, noise, level = self._voice.parts_of(latents, chroma, ratios, [state.voice for state in states])
        whole = tones + noise * level[:, np.newaxis]
        start: Spectrum = (whole * (self._tone_scale * self._middle)).astype(np.complex64, copy=False)
        hiss = np.square(level * self._noise_scale)[:, np.newaxis]
        magnitudes = np.sqrt(np.square(np.abs(tones) * self._tone_scale) + hiss)
        made = np.empty((len(states), self.channels, self.frame_length), np.float32)
        for _, group in itertools.groupby(range(len(states)), key=lambda row: id(states[row])):
            rows = list(group)
            past = states[rows[0]].past
            for channel in range(self.channels):
                wanted, given = magnitudes[rows, channel], start[rows, channel]
                spectra = refine(wanted, given, self._window, self.hop_length, ROUNDS, past[channel])
                sounds = np.fft.irfft(spectra, self.frame_length, axis=-1).astype(np.float32, copy=False)
                sounds *= self._window
                together = _overlap_add(sounds, self.hop_length)
                together[: past.shape[1]] += past[channel]
                past[channel] = together[len(rows) * self.hop_length :]
                made[rows, channel] = sounds / self._overlap
        return made
