"""Makes sound of clips that are given as magnitudes and a loudness curve: finds phases that fit both.

Phases begin as the logarithm of the magnitudes tells their slopes (for a Gaussian window exactly, else nearly: Prusa,
Balazs and Soendergaard, "A noniterative method for reconstruction of phase from STFT magnitude", IEEE/ACM TASLP 25:5,
2017, equations 5 and 6), integrated from bin to bin in the loudest spectrum and from there in time, which needs no
order of bins. Then the sound is given the loudness curve and the spectra the magnitudes, in turns (Griffin and Lim,
"Signal estimation from modified short-time Fourier transform", IEEE TASSP 32:2, 1984, with a second constraint), each
of which goes on in the direction of the one before (Perraudin, Balazs and Soendergaard, "A fast Griffin-Lim algorithm",
WASPAA 2013): so attacks stand where they stood in the recording, not where a window smears them. In the end only the
loudness of ten milliseconds is set right, half a period of the lowest kicks: what is finer would tear a low note that
does not fit to the bottom.
"""

import numpy as np
import numpy.typing as npt

from ...dsp import window
from ..spectrum.causal_phase import GAUSSIAN

Array = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]

TURNS = 10  # of fitting: kicks and words then lie 1 to 2 dB from their recordings, and no nearer after twelve
MOMENTUM = np.float32(0.9)  # of a turn in the next: without it, short kicks are 3 dB farther off after as many turns
AUDIBLE = np.float32(3e-4)  # of the loudest magnitude, -70 dB: networks learn -80 dB for silence, and give about that
FEWEST = 2  # spectra: between their middles lies the sound
LEAST_COVER = np.float32(1e-3)  # of windows, squared, that overlap: at the ends they do not
POOLED = 5  # parts of the loudness curve: some ten milliseconds
DEEPEST = np.float32(1e-6)  # of the loudest magnitude: softer ones say nothing of phases
QUIETEST = np.float32(1e-7)  # root mean square of a part: a softer one cannot be given a level
MOST_GAIN = np.float32(4.0)  # 12 dB: what one turn changes a part's level by


class SpectraSound:
    """Gives the sound of clips, one after another; the same bytes for the same frame, always."""

    def __init__(self, length: int, transform: int, hop: int, points: int, turns: int = TURNS) -> None:
        """Make its tables.

        Args:
            length: of a clip, in samples: a multiple of ``hop`` and of ``points``.
            transform: of each spectrum, in samples; even, a multiple of ``hop``, four of these at least.
            hop: from spectrum to spectrum, in samples.
            points: of the loudness curve; 0 if there is none.
            turns: of fitting phases, 1 or more; fewer where sounds are only measured in bands.
        """
        self._turns = turns
        self._transform, self._hop, self._length = transform, hop, length
        self._count, self._points = length // hop + 1, points
        self._bins = self._transform // 2 + 1
        self._window = window("hann", self._transform)
        self._part = length // points if points else length
        self._trims = self._hop % self._part == 0  # the loudness curve ends where a spectrum does

    def __call__(self, frames: Array) -> Array:
        """Return the clips of frames, [clips, length].

        Args:
            frames: magnitudes of each spectrum and then the loudness curve, as a card of kind clip has them (see
                `Card.frame_width`), [clips, frame_width].
        """
        return np.stack([self._sound(frame) for frame in frames])

    def _sound(self, frame: Array) -> Array:
        """Return the clip of a frame, [length]; what comes after its last spectrum that is heard is silence."""
        magnitudes, levels = self._heard(frame)
        sound = np.zeros(self._length, np.float32)
        made = self._levelled(self._added(magnitudes * self._fitted(magnitudes, levels)), levels, POOLED)
        sound[: len(made)] = made
        return sound

    def held(self, frames: Array, phasors: Spectra) -> Array:
        """Return the clips of frames whose phases are given instead of found, [clips, length]: smooth in the frames.

        Args:
            frames: as for a call.
            phasors: of all clips, [spectra, bins]; after the last of them is silence.
        """
        bins, count = self._bins * self._count, len(phasors)
        magnitudes = frames[:, :bins].reshape(len(frames), self._count, self._bins)[:, :count]
        sounds = np.zeros((len(frames), self._length), np.float32)
        for sound, made, levels in zip(sounds, self._added(magnitudes * phasors), frames[:, bins:], strict=True):
            sound[: len(made)] = self._levelled(made, levels[: len(made) // self._part], POOLED)
        return sounds

    def phasors(self, frame: Array) -> Spectra:
        """Return the phases that the spectra of a frame are given, of length 1, [spectra that are heard, bins]."""
        return self._fitted(*self._heard(frame))

    def own_phasors(self, sound: Array) -> Spectra:
        """Return the phases of the spectra of a clip, [length] → [spectra, bins]."""
        spectra = self._transformed(sound)
        phasors: Spectra = (spectra / np.maximum(np.abs(spectra), np.float32(1e-12))).astype(np.complex64, copy=False)
        return phasors

    def _heard(self, frame: Array) -> tuple[Array, Array]:
        """Return the magnitudes of a frame as far as they are heard, and the loudness curve up to there."""
        spectra = self._bins * self._count
        magnitudes, levels = frame[:spectra].reshape(self._count, self._bins), frame[spectra:]
        if self._trims:
            heard = np.flatnonzero(magnitudes.max(1) > AUDIBLE * magnitudes.max())
            count = max(int(heard[-1]) + 1 if len(heard) else 0, FEWEST)
            magnitudes, levels = magnitudes[:count], levels[: (count - 1) * self._hop // self._part]
        return magnitudes, levels

    def _fitted(self, magnitudes: Array, levels: Array) -> Spectra:
        """Return phasors that fit magnitudes and a loudness curve, as many as there are magnitudes."""
        fitted: Spectra = magnitudes * self._first_phases(magnitudes)
        before: Spectra | None = None
        for _ in range(self._turns):
            given = self._transformed(self._levelled(self._added(fitted), levels))
            led = given if before is None else given + MOMENTUM * (given - before)
            phasors = (led / np.maximum(np.abs(led), np.float32(1e-12))).astype(np.complex64, copy=False)
            fitted, before = magnitudes * phasors, given
        return phasors

    def _first_phases(self, magnitudes: Array) -> Spectra:
        """Return phasors whose slopes in time and frequency are those that go with the magnitudes."""
        level = np.log(np.maximum(magnitudes, max(magnitudes.max() * DEEPEST, np.float32(1e-20))))
        width = GAUSSIAN * self._transform * self._transform
        across = np.zeros_like(level)
        across[:, 1:-1] = (level[:, 2:] - level[:, :-2]) / 2
        along = np.gradient(level, axis=0)
        bins = np.arange(self._bins)
        step = self._hop * self._transform / width * across + 2 * np.pi * self._hop / self._transform * bins
        slope = -width / (self._hop * self._transform) * along
        loudest = int(np.square(magnitudes).sum(1).argmax())
        phase = np.zeros(magnitudes.shape)
        phase[loudest, 1:] = np.cumsum((slope[loudest, 1:] + slope[loudest, :-1]) / 2)
        steps = (step[1:] + step[:-1]) / 2
        phase[loudest + 1 :] = phase[loudest] + np.cumsum(steps[loudest:], 0)
        phase[:loudest] = phase[loudest] - np.cumsum(steps[:loudest][::-1], 0)[::-1]
        phasors: Spectra = np.exp(1j * (phase + np.pi * (bins % 2))).astype(np.complex64)  # from a window's beginning
        return phasors

    def _added(self, spectra: Spectra) -> Array:
        """Return sounds of spectra, [..., spectra, bins], from the middle of the first to that of the last."""
        pieces = np.fft.irfft(spectra, self._transform).astype(np.float32, copy=False) * self._window
        overlap, count = self._transform // self._hop, spectra.shape[-2]
        rows = np.zeros((*spectra.shape[:-2], count + overlap - 1, self._hop), np.float32)
        cover = np.zeros(rows.shape[-2:], np.float32)
        for part, share in enumerate(np.square(self._window).reshape(overlap, self._hop)):
            rows[..., part : part + count, :] += pieces[..., part * self._hop : (part + 1) * self._hop]
            cover[part : part + count] += share
        rows /= np.maximum(cover, LEAST_COVER)
        first = self._transform // 2
        sound: Array = rows.reshape(*spectra.shape[:-2], -1)[..., first : first + (count - 1) * self._hop]
        return sound

    def _transformed(self, sound: Array) -> Spectra:
        padded = np.pad(sound, self._transform // 2)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, self._transform)[:: self._hop]
        return np.fft.rfft(pieces * self._window).astype(np.complex64, copy=False)

    def _levelled(self, sound: Array, levels: Array, pooled: int = 1) -> Array:
        """Return a sound with the root mean squares of its parts as they should be, as far as `MOST_GAIN` goes.

        Those of ``pooled`` parts together, where that is odd and more than 1: of the part and those around it.
        """
        if not self._points:
            return sound
        found = np.sqrt(np.square(sound).reshape(len(levels), self._part).mean(1))
        if pooled > 1:
            around = np.ones(pooled) / pooled
            found, levels = (np.sqrt(np.convolve(np.square(level), around, "same")) for level in (found, levels))
        gains = np.log(np.clip(levels / np.maximum(found, QUIETEST), 1 / MOST_GAIN, MOST_GAIN))
        middles = (np.arange(len(levels)) + 0.5) * self._part
        raised: Array = sound * np.exp(np.interp(np.arange(len(sound)), middles, gains)).astype(np.float32)
        return raised
