"""Samples of a corpus's windows, and distances between grains: of waveforms, by frequency band, and as textures."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ...host.arrays import Array, Doubles, Integers
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.families.grain.data import grains, windows
from ...train.families.grain.network import GrainAutoencoder
from ...train.families.grain.recipe import GrainFrames, GrainRecipe
from ...train.sampling import evenly_spaced, random_indices
from .floors import (
    Rows,
    Scale,
    SoundSet,
    energies,
    energy_ratio_db,
    floors,
    mean_error,
    set_scale,
    squared_errors,
    take_of,
)
from .frames import decibels, in_batches, pooled
from .sounds import mel

EDGES_HZ = (0.0, 500.0, 1000.0, 3000.0, 6000.0)  # of the bands; the last extends to Nyquist
ABOVE_HZ = 3000.0  # one more row for all above: the range where the post's noise was audible
PIECE_HZ = 100.0  # of a band: as fine as spectra of a clip are compared, so that chance averages out
QUIETEST = 1e-10  # power per sample, -100 dB: below 16-bit noise
LEAST_DB = -40.0  # of added sound: less is masked
FEWEST_BINS = 2048  # samples that a window is zero-padded to: its narrowest mel band then holds a bin


def powers(sounds: Array) -> Doubles:
    """Return Hann-windowed power spectra, [grains, bins], of grains, [grains, frame_length].

    White noise of power 1 has mean 1.
    """
    spectra = _spectra(sounds)
    power_spectra: Doubles = (np.square(spectra.real) + np.square(spectra.imag)) / np.square(
        _window(sounds.shape[1])
    ).sum()
    return power_spectra


def _spectra(sounds: Array) -> npt.NDArray[Any]:
    return np.fft.rfft(sounds * _window(sounds.shape[1]), transform_length(sounds.shape[1]))


def _window(length: int) -> Doubles:
    return np.hanning(length + 1)[:-1]


def transform_length(length: int) -> int:
    return max(FEWEST_BINS, 1 << (length - 1).bit_length())


def log_mel(sounds: Array, sample_rate: int) -> Doubles:
    """Return 40 mel bands in dB re full-scale power per sample, -100 or more, [grains, 40]."""
    return 10 * np.log10(np.maximum(powers(sounds) @ mel(sample_rate, transform_length(sounds.shape[1])), QUIETEST))


def reconstruction(target: Array, decoded: Array, clips: Integers, sample_rate: int) -> dict[str, dict[str, float]]:
    """Return distances between grains, over all (``value``), and as mean and deviation over clips.

    ``sample_mean_square`` compares waveforms, [grains, frame_length]; ``sample_error_db`` is its ratio to the target's
    energy: 0 dB for silence, 3 dB for other noise of equal level. Neither applies to decoded noise filters.
    ``spectral_convergence_db`` is the energy of the magnitudes' difference over the target's.
    ``log_spectral_distance_db`` is the root mean square difference of `log_mel` bands, averaged over grains.
    """
    squared_errors = np.square(target - decoded, dtype=np.float64).sum(1)
    unit_weights = np.ones(len(target))
    target_magnitudes, decoded_magnitudes = np.sqrt(powers(target)), np.sqrt(powers(decoded))
    mean_squares_db = np.square(log_mel(target, sample_rate) - log_mel(decoded, sample_rate)).mean(1)
    return {
        "sample_mean_square": pooled(squared_errors, unit_weights * target.shape[1], clips),
        "sample_error_db": pooled(squared_errors, np.square(target, dtype=np.float64).sum(1), clips, decibels),
        "spectral_convergence_db": pooled(
            np.square(target_magnitudes - decoded_magnitudes).sum(1),
            np.square(target_magnitudes).sum(1),
            clips,
            decibels,
        ),
        "log_spectral_distance_db": pooled(np.sqrt(mean_squares_db), unit_weights, clips),
    }


def bands(
    target: Array, decoded: Array, clips: Integers, sample_rate: int, same_waveform: bool
) -> list[dict[str, Any]]:
    """Return the excess and loss of grains, [grains, frame_length], by band; the last is all above 3 kHz.

    Mean spectra per clip suit waveforms and noise alike. Values are means and deviations over clips, relative to the
    band's target power. ``level_db`` is the output power. ``excess_db`` is the power beyond the target in pieces of 100
    Hz, -40 or more. ``noise_db`` is the power incoherent with the target (1 - coherence, over a clip's windows), -40 or
    more; None unless the network reconstructs waveforms.
    """
    power_scale = 1 / np.square(_window(target.shape[1])).sum()
    bins_hz = np.fft.rfftfreq(transform_length(target.shape[1]), 1 / sample_rate)
    piece_powers_by_clip = []
    for clip_index in np.unique(clips):
        target_spectra, decoded_spectra = (_spectra(sounds[clips == clip_index]) for sounds in (target, decoded))
        target_power, decoded_power = (
            power_scale * np.square(np.abs(x)).mean(0) + QUIETEST for x in (target_spectra, decoded_spectra)
        )
        coherent_power = (
            power_scale
            * np.square(np.abs((target_spectra.conj() * decoded_spectra).mean(0)))
            * power_scale
            / target_power
        )
        piece_powers_by_clip.append(
            _by_piece(np.stack([target_power, decoded_power, np.maximum(decoded_power - coherent_power, 0)]), bins_hz)
        )
    piece_powers = np.stack(piece_powers_by_clip)  # [clips, (target, decoded, noise), pieces]
    band_edges_hz = _band_edges_hz(sample_rate)
    piece_starts_hz = np.arange(piece_powers.shape[2]) * PIECE_HZ
    band_figures = []
    for low_hz, high_hz in [*itertools.pairwise(band_edges_hz), (high_band_hz(sample_rate), sample_rate / 2)]:
        target_power, decoded_power, noise_power = np.moveaxis(
            piece_powers[..., (piece_starts_hz >= low_hz) & (piece_starts_hz < high_hz)], 1, 0
        )
        target_band_power = target_power.sum(1)
        excess_ratio = np.maximum(decoded_power - target_power, 0).sum(1) / target_band_power
        noise_ratio = noise_power.sum(1) / target_band_power
        band_figures.append(
            {
                "low_hz": low_hz,
                "high_hz": high_hz,
                "level_db": _spread(decibels(decoded_power.sum(1) / target_band_power)),
                "excess_db": _spread(np.maximum(decibels(excess_ratio), LEAST_DB)),
                "noise_db": _spread(np.maximum(decibels(noise_ratio), LEAST_DB)) if same_waveform else None,
            }
        )
    return band_figures


def _band_edges_hz(sample_rate: int) -> list[float]:
    return [*(edge_hz for edge_hz in EDGES_HZ if edge_hz < sample_rate / 2), sample_rate / 2]


def high_band_hz(sample_rate: int) -> float:
    """Return the lower end of the high frequencies: `ABOVE_HZ`, or lower where no band begins there."""
    return max(low_hz for low_hz in _band_edges_hz(sample_rate)[:-1] if low_hz <= ABOVE_HZ)


def _by_piece(spectra: Doubles, hz: npt.NDArray[Any]) -> Doubles:
    """Sum spectra over pieces of 100 Hz."""
    piece_start_bins = np.searchsorted(hz, np.arange(0, hz[-1], PIECE_HZ))
    return np.add.reduceat(spectra, piece_start_bins, axis=-1)


def _spread(values: Doubles) -> dict[str, float]:
    return {"mean": float(values.mean()), "deviation": float(values.std())}


Part = Literal["train", "val", "test", "held_out"]  # held_out: the ends of training clips

ROWS = 2048  # per network call
KEPT_BINS = 0.15  # of the bins, as in the post


@dataclass(frozen=True)
class GrainSample:
    """Windows of a part of the corpus, [windows, frame_length], and their clip indices, [windows].

    ``windows_in_part`` counts those that sound. ``takes`` are as in `SoundSet`, ``starts`` first samples, [windows].
    """

    part: Part
    windows_in_part: int
    samples: Array
    clips: Integers
    takes: Sequence[Hashable] = ()
    starts: Integers | None = None

    def __len__(self) -> int:
        return len(self.samples)


def draw(corpus: Corpus, part: Part, settings: GrainFrames, count: int, rng: np.random.Generator) -> GrainSample | None:
    """Sample up to ``count`` windows of a part, in order; None if none sounds."""
    part_windows = windows(corpus, _split(part), settings, held_out=part == "held_out")
    if not len(part_windows):
        return None
    window_indices = random_indices(len(part_windows), count, rng)
    samples = part_windows.take_grains(corpus, window_indices, settings.frame_length)
    clip_indices, starts, _ = part_windows.places(window_indices)
    takes = [take_of(part_windows.clips[clip_index]) for clip_index in clip_indices.tolist()]
    return GrainSample(part, len(part_windows), samples, clip_indices, takes, starts)


def stretch(corpus: Corpus, part: Part, settings: GrainFrames, seconds: float, *, sides: bool = False) -> Array:
    """Return up to ``seconds`` of evenly spaced clips, concatenated: [samples], or with ``sides`` [2, samples]."""
    clip_sounds = [corpus.sides(clip) if sides else corpus.samples(clip) for clip in corpus.clips(_split(part))]
    if part == "held_out":
        clip_sounds = [
            clip_sound[..., round(clip_sound.shape[-1] * (1 - settings.held_out)) :] for clip_sound in clip_sounds
        ]
    stretch_samples = round(seconds * corpus.rate)
    clip_count = -(-stretch_samples * len(clip_sounds) // sum(clip_sound.shape[-1] for clip_sound in clip_sounds))
    clip_indices = evenly_spaced(len(clip_sounds), clip_count)
    return np.concatenate([clip_sounds[i] for i in clip_indices], axis=-1)[..., :stretch_samples]


def sequence(sound: Array, length: int, hop: int) -> Array:
    """Return windows ``hop`` apart, zero-padded if short, [windows, length]."""
    padded_sound = np.pad(sound, (0, max(0, length - len(sound))))
    return np.lib.stride_tricks.sliding_window_view(padded_sound, length)[::hop].copy()


def encode(network: GrainAutoencoder, samples: Array) -> Array:
    """Return latents, [windows, latents]."""
    return in_batches(network.encode, ROWS, samples)


def decode(network: GrainAutoencoder, latents: Array, recipe: GrainRecipe, rng: np.random.Generator) -> Array:
    """Return unwindowed samples, [grains, frame_length]."""

    def samples(code_batch: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(
            grains(network.decode(code_batch).numpy(), recipe.frames.frame_length, recipe.network.domain, rng)
        )

    return in_batches(samples, ROWS, latents)


def filtered(sounds: Array) -> Array:
    """Keep the lower 15 % of bins, as in the post."""
    spectra = np.fft.rfft(sounds)
    spectra[:, round(KEPT_BINS * spectra.shape[1]) :] = 0
    return np.fft.irfft(spectra, sounds.shape[1]).astype(np.float32)


def _split(part: Part) -> Split:
    return "train" if part == "held_out" else part


OTHER_CLIPS = 1 << 32  # added to the numbers of clips that are not the training's


def grain_floors(
    training: GrainSample,
    test: GrainSample,
    decoded: Array | None,
    generated: Array | None,
    latents: int,
    sample_rate: int,
) -> dict[str, Any]:
    """Return `floors` of decoded test windows in the measures of `reconstruction`, and of as many random grains.

    Without these, floors alone. The measure of random grains, ``generated``, is the Fréchet distance to test windows
    on `log_mel` levels.
    """

    def levels(sounds: Array) -> Doubles:
        return log_mel(sounds, sample_rate)

    scales = {
        "sample_mean_square": Scale("Mean square error", ".3g", np.asarray, squared_errors, mean_error),
        "sample_error_db": Scale("Error, dB", ".1f", np.asarray, energies, energy_ratio_db),
        "spectral_convergence_db": Scale(
            "Spectral convergence, dB", ".1f", lambda sounds: np.sqrt(powers(sounds)), energies, energy_ratio_db
        ),
        "log_spectral_distance_db": Scale(
            "Log-spectral distance, dB",
            ".1f",
            levels,
            lambda targets, answers: np.sqrt(squared_errors(targets, answers)),
            mean_error,
        ),
    }
    scales |= _high_scales(test.clips, sample_rate)
    test_clips = test.clips + (0 if test.part == training.part else OTHER_CLIPS)
    training_set, test_set = (
        SoundSet(sample.samples, clips, takes=sample.takes, positions=sample.starts)
        for sample, clips in ((training, training.clips), (test, test_clips))
    )
    random_scale = {"generated": set_scale("Random codes, dB²", ".0f", levels, np.asarray)}
    random_grains = None if generated is None else generated[: len(test)]
    return floors(scales, training_set, test_set, latents, decoded) | floors(
        random_scale, training_set, test_set, latents, random_grains
    )


def _high_scales(clips: Integers, sample_rate: int) -> dict[str, Scale]:
    """Return the scales of the level and the added power of the high frequencies, means over ``clips``, [windows].

    They are those of `bands`; the level counts by its distance from the target's.
    """
    high_hz = high_band_hz(sample_rate)

    def high_powers(sounds: Array) -> Doubles:
        spectra = powers(sounds) + QUIETEST
        piece_powers = _by_piece(spectra, np.fft.rfftfreq(transform_length(sounds.shape[1]), 1 / sample_rate))
        return piece_powers[:, np.arange(piece_powers.shape[1]) * PIECE_HZ >= high_hz]

    def terms(targets: Rows, answers: Rows) -> Rows:
        clip_column = np.broadcast_to(clips[:, np.newaxis, np.newaxis], (len(clips), 2, 1))
        # Components may have negative powers.
        piece_powers = np.stack([targets, np.maximum(answers, QUIETEST)], 1)
        return np.concatenate([piece_powers, clip_column], 2)

    def over_clips(figure: Callable[[Doubles, Doubles], float]) -> Callable[[Rows], float]:
        def value(rows: Rows) -> float:
            clip_column = rows[:, 0, -1]
            means = [rows[clip_column == clip, :, :-1].mean(0) for clip in np.unique(clip_column)]
            return float(np.mean([figure(target, answer) for target, answer in means]))

        return value

    def level_db(target: Doubles, answer: Doubles) -> float:
        return abs(float(decibels(answer.sum() / target.sum())))

    def excess_db(target: Doubles, answer: Doubles) -> float:
        return max(float(decibels(np.maximum(answer - target, 0).sum() / target.sum())), LEAST_DB)

    place = f"above {high_hz / 1000:g} kHz, dB"
    return {
        "high_level_db": Scale(f"Level off {place}", ".1f", high_powers, terms, over_clips(level_db)),
        "high_excess_db": Scale(f"Added {place}", "+.1f", high_powers, terms, over_clips(excess_db)),
    }
