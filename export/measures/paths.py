"""Paths of codes beside those of recordings: step sizes, dwell times and spectra of levels; and their rivals."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...host.arrays import Doubles
from .floors import Figures, compare_row, jackknife_deviation

LOWEST_HZ = 0.2  # of the spectra of levels: one swing of a recording of five seconds
ORDERS = (1, 2, 4, 8, 16)  # of vector autoregressions
QUANTILES = (np.arange(100) + 0.5) / 100
LEAST_STEP = 1e-3  # deviations
LEAST_POWER = 1e-6  # of a spectrum, dB²: a level that hardly moves
SEED = 2020

Levels = Callable[[Doubles], Doubles]  # codes [steps, n] → levels of their grains, dB, [steps]
Walker = Callable[[Doubles, int], Doubles]  # codes of a recording, number of the walk → as many codes that follow


class PathFeatures(NamedTuple):
    """Quantiles of step sizes, dB of a deviation, and of dwell times, octaves of a step; spectrum of levels, dB."""

    steps: Doubles
    dwell: Doubles
    levels: Doubles


def features(codes: Doubles, deviations: Doubles, levels: Levels, step_hz: float) -> PathFeatures:
    """Return the features of a path of ``codes``, [steps, n]."""
    scaled_codes = codes / deviations
    return PathFeatures(
        np.quantile(step_sizes_db(scaled_codes), QUANTILES),
        np.quantile(np.log2(dwell_steps(scaled_codes)), QUANTILES),
        10 * np.log10(level_power(levels(codes), step_hz) + LEAST_POWER),
    )


def step_sizes_db(scaled_codes: Doubles) -> Doubles:
    """Return the distances of successive codes, [steps - 1], in dB of a deviation a latent."""
    sizes = np.sqrt(np.square(np.diff(scaled_codes, axis=0)).mean(1))
    step_sizes: Doubles = 20 * np.log10(np.maximum(sizes, LEAST_STEP))
    return step_sizes


def dwell_steps(scaled_codes: Doubles) -> Doubles:
    """Return for each code but the last the steps until the path is a deviation a latent away, or ends."""
    count = len(scaled_codes)
    distances = np.sqrt(np.square(scaled_codes[:, None] - scaled_codes).mean(2))
    has_left = np.triu(distances > 1.0, 1)
    first_steps = np.where(has_left.any(1), has_left.argmax(1), count)
    return (first_steps - np.arange(count))[:-1].astype(np.float64)


def level_power(levels_db: Doubles, step_hz: float) -> Doubles:
    """Return the power of levels in octaves from 0.2 Hz to half the rate of steps, [octaves], NaN without a bin."""
    window = np.hanning(len(levels_db) + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft((levels_db - levels_db.mean()) * window))) / np.square(window).sum()
    bins_hz = np.fft.rfftfreq(len(levels_db), 1 / step_hz)
    octaves = np.floor(np.log2(np.maximum(bins_hz, 1e-9) / LOWEST_HZ) + 1e-6)
    octave_count = int(np.ceil(np.log2(step_hz / 2 / LOWEST_HZ)))
    powers = [power[octaves == octave] for octave in range(octave_count)]
    return np.array([octave_power.mean() if len(octave_power) else np.nan for octave_power in powers])


def differences(recording: PathFeatures, walks: Sequence[PathFeatures]) -> dict[str, Doubles]:
    """Return how walks differ from a recording, by measure: steps in dB, dwell times in octaves, levels in dB.

    Those of steps and of dwell times are distances of distributions, mean differences of quantiles (Wasserstein's),
    [1]; those of levels are differences of spectra, by octave.
    """
    return {
        name: np.array([np.mean([np.abs(getattr(walk, name) - getattr(recording, name)).mean() for walk in walks])])
        for name in ("steps", "dwell")
    } | {"levels": np.mean([walk.levels for walk in walks], 0) - recording.levels}


def mean_distance(differences: Doubles) -> float:
    """Return the root mean square over columns of the mean over recordings, of [recordings, columns].

    A single recording has one bin in the lowest octave, whose power varies by chance by 5.6 dB; the mean does less.
    """
    return float(np.sqrt(np.square(differences.mean(0)).mean()))


class Autoregression(NamedTuple):
    """x(t) = [x(t - 1), ..., x(t - p), 1] ``weights`` + noise, whose covariance has the ``factor``."""

    order: int
    weights: Doubles  # [p * n + 1, n]
    factor: Doubles  # lower Cholesky factor, [n, n]

    def log_likelihood(self, paths: Sequence[Doubles]) -> float:
        """Return the mean log likelihood of a code of ``paths``, [steps, n]."""
        residuals = np.concatenate([targets - rows @ self.weights for rows, targets in _lagged(paths, self.order)])
        whitened = np.linalg.solve(self.factor, residuals.T)
        log_determinant = np.log(np.diag(self.factor)).sum()
        return float(-np.square(whitened).sum(0).mean() / 2 - log_determinant - len(whitened) / 2 * np.log(2 * np.pi))


def autoregression(train: Sequence[Doubles], val: Sequence[Doubles]) -> Autoregression:
    """Return the vector autoregression by least squares, of the order that is likeliest on ``val``."""
    shortest = min(map(len, [*train, *val]))
    fits = [_fit(train, order) for order in ORDERS if order < shortest]
    return max(fits, key=lambda fit: fit.log_likelihood(val))


def _fit(paths: Sequence[Doubles], order: int) -> Autoregression:
    rows, targets = (np.concatenate(arrays) for arrays in zip(*_lagged(paths, order), strict=True))
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return Autoregression(order, weights, _factor(targets - rows @ weights))


def _lagged(paths: Sequence[Doubles], order: int) -> list[tuple[Doubles, Doubles]]:
    return [
        (
            np.hstack([path[order - 1 - lag : len(path) - 1 - lag] for lag in range(order)] + [ones_of(path, order)]),
            path[order:],
        )
        for path in paths
    ]


def ones_of(path: Doubles, order: int) -> Doubles:
    return np.ones((len(path) - order, 1))


def _factor(rows: Doubles) -> Doubles:
    """Return the Cholesky factor of the covariance of rows, [n, n]."""
    covariance = np.atleast_2d(np.cov(rows.T))
    return np.linalg.cholesky(covariance + 1e-9 * np.trace(covariance) * np.eye(len(covariance)))


def autoregressive_walker(fit: Autoregression, spans: tuple[Doubles, Doubles]) -> Walker:
    def walk(codes: Doubles, number: int) -> Doubles:
        rng, past, walked = np.random.default_rng([SEED, number]), list(codes[-fit.order :]), []
        for _ in range(len(codes)):
            mean = np.concatenate([*past[::-1], [1.0]]) @ fit.weights
            walked.append(np.clip(mean + fit.factor @ rng.standard_normal(len(mean)), *spans))
            past = [*past[1:], walked[-1]]
        return np.array(walked)

    return walk


def random_walker(train: Sequence[Doubles], spans: tuple[Doubles, Doubles]) -> Walker:
    """Return random walks whose steps have the covariance of training's, reflected at the spans."""
    factor = _factor(np.concatenate([np.diff(path, axis=0) for path in train]))
    low, high = spans

    def walk(codes: Doubles, number: int) -> Doubles:
        rng, code, walked = np.random.default_rng([SEED, number]), codes[-1], []
        for _ in range(len(codes)):
            code = code + factor @ rng.standard_normal(len(code))
            code = np.where(code > high, 2 * high - code, np.where(code < low, 2 * low - code, code))
            code = np.clip(code, low, high)
            walked.append(code)
        return np.array(walked)

    return walk


def shuffled(codes: Doubles, number: int) -> Doubles:
    return np.random.default_rng([SEED, number]).permutation(codes)


MEASURES = {"steps": ("Steps, dB", ".2f"), "dwell": ("Dwell times, octaves", ".2f"), "levels": ("Levels, dB", ".1f")}


def path_rows(differences_by_name: Mapping[str, Mapping[str, Doubles]], name: str, numbers: int) -> Figures:
    """Return the row ``name`` beside the others, its floors, by measure, of differences [recordings, columns].

    Columns without a number, of octaves without a bin, are left out.
    """
    rows = {}
    for measure, (label, form) in MEASURES.items():
        columns = {
            other: terms[measure][:, ~np.isnan(differences_by_name[name][measure]).any(0)]
            for other, terms in differences_by_name.items()
        }
        own_terms = columns.pop(name)
        floored = {
            "label": label,
            "form": form,
            "rises": False,
            "numbers": numbers,
            "floors": {other: mean_distance(terms) for other, terms in columns.items()},
            "references": {"own": 0.0},
        }
        deviation = jackknife_deviation(mean_distance, own_terms, np.arange(len(own_terms)))
        rows[measure] = compare_row(floored, mean_distance(own_terms), deviation)
    return rows
