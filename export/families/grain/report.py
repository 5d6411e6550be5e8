"""Evaluates a grain run on unseen windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ....host.arrays import Array
from ....host.errors import UserError
from ....train.corpus.store import Corpus
from ....train.families.grain.network import GrainAutoencoder, MagnitudePhase
from ....train.families.grain.recipe import GrainRecipe
from ....train.grain_synthesis import overlapped
from ....train.metrics.distribution_distance import frechet
from ....train.run import Run
from ....train.sampling import evenly_spaced
from ...measures import grains as textures
from ...measures import latent_statistics
from ...measures.codes import CodeDistribution, distribution, fitted, prior, reweighted_deviations
from ...measures.grain_sample import GrainSample, Part, decode, draw, encode, filtered, sequence, stretch
from ...measures.recordings import recordings, silence_message
from ...reports.figures import frames as figures
from ...reports.figures import grains as grain_figures
from ...reports.picture import Picture
from ...reports.report import SEED, Figures, Progress, Report, ReportSound, judged, listed, losses, origin
from ...reports.verdict import grain as verdict
from .page import page

TRAINING_WINDOWS = 4096  # percentiles to a part in a hundred, covariances of 40 bands to a part in fifty
TEST_WINDOWS = 2048  # deviations over clips need clips more than windows
HELD_WINDOWS = 16384  # only for codes: their means to a hundredth of a deviation
PICTURED_WINDOWS = 6
PICTURED_SECONDS = 10.0  # as in the post
OVERLAP = 4  # overlapping grains in the sounds
FEWEST_WINDOWS = 2  # for a covariance
FALLBACKS: tuple[Part, ...] = ("test", "val", "held_out")


@dataclass(frozen=True)
class _Work:
    run: Run
    recipe: GrainRecipe
    corpus: Corpus
    network: GrainAutoencoder
    train: GrainSample
    held_out: GrainSample | None
    test: GrainSample
    codes: Array
    normal: CodeDistribution
    rng: np.random.Generator

    def decoded(self, latents: Array) -> Array:
        return decode(self.network, latents, self.recipe, self.rng)


def report(
    run: Run, network: GrainAutoencoder, checkpoint: str, step: int, say: Progress, heard: str | None = None
) -> Report:
    say(0.0, "cutting windows")
    work = _prepare(run, network)
    say(0.3, "decoding the test windows")
    found, pictures, sounds = _figures(work, checkpoint, step, say)
    return Report(found, pictures, sounds, page(found, pictures, heard))


def _prepare(run: Run, network: GrainAutoencoder) -> _Work:
    recipe = run.recipe
    assert isinstance(recipe, GrainRecipe)
    corpus, settings, rng = run.corpus(), recipe.frames, np.random.default_rng(SEED)
    train = draw(corpus, "train", settings, TRAINING_WINDOWS, rng)
    if train is None or len(train) < FEWEST_WINDOWS:
        raise UserError(silence_message(corpus, "training window"))
    counts = {part: HELD_WINDOWS if part == "held_out" else TEST_WINDOWS for part in FALLBACKS}
    parts = {part: draw(corpus, part, settings, count, rng) for part, count in counts.items()}
    enough = (sample for sample in parts.values() if sample is not None and len(sample) >= FEWEST_WINDOWS)
    test = next(enough, train)
    latents = encode(network, train.samples)
    adversarial = bool(recipe.network.adjudicator)
    normal = prior(latents.shape[1], recipe.network.deviation) if adversarial else fitted(latents)
    return _Work(run, recipe, corpus, network, train, parts["held_out"], test, latents, normal, rng)


def _figures(work: _Work, which: str, step: int, say: Progress) -> tuple[Figures, list[Picture], list[ReportSound]]:
    test, logged = work.test, work.run.logged()
    test_codes = encode(work.network, test.samples)
    given = work.decoded(test_codes)
    generated = work.decoded(work.normal.sample(TRAINING_WINDOWS, work.rng))
    reconstruction, bands = _reconstruction(work, given)
    say(0.5, "comparing textures")
    distance = _spectral_distance(work, given, generated)
    say(0.6, "comparing codes")
    distributions, code_pictures = _codes(work, test_codes)
    latents = latent_statistics.latent_figures(work.codes, None)
    loss = losses(work.run, work.recipe.loss)
    loss_pictures = [grain_figures.loss_parts(loss["steps"], loss["terms"], step)] if loss["steps"] else []
    phases, phase_pictures = _phases(work)
    heard = _report_sounds(work, generated)
    found = judged(
        verdict,
        run={
            **origin(work.run, which, step),
            "tonal": work.run.info.tonal,
            "domain": work.recipe.network.domain,
            "adversarial": work.normal.prior,
            "parameters": sum(p.numel() for p in work.network.parameters()),
            "seconds": logged[-1]["seconds"] if logged else None,
        },
        split=test.part,
        clips=len(np.unique(test.clips)),
        frames=len(test),
        frames_in_split=test.found,
        sounds=listed(heard),
        recordings=recordings(work.corpus),
        relative_error=_relative_error(work, given),
        reconstruction=reconstruction,
        bands=bands,
        spectral_distance=distance,
        codes=distributions,
        phases=phases,
        latents=latents,
        loss=loss,
    )
    pictures = [*_sounds(work, given, generated), *code_pictures, *phase_pictures, *loss_pictures]
    if latents["codes"] and work.codes.shape[1] > 1:
        pictures.append(figures.correlation(latents["correlation"]))
    return found, pictures, heard


def _reconstruction(work: _Work, given: Array) -> tuple[Figures, Figures]:
    test, rate = work.test, work.recipe.frames.sample_rate
    ways = {"unfiltered": given, "filtered": filtered(given)}
    follows = work.recipe.network.domain != "noise"
    return (
        {name: textures.reconstruction(test.samples, out, test.clips, rate) for name, out in ways.items()},
        {name: textures.bands(test.samples, out, test.clips, rate, follows) for name, out in ways.items()},
    )


def _relative_error(work: _Work, given: Array) -> float:
    """1 means nothing learned."""
    rate = work.recipe.frames.sample_rate
    train, asked, out = (textures.log_mel(sounds, rate) for sounds in (work.train.samples, work.test.samples, given))
    return float(np.square(asked - out).sum() / np.square(asked - train.mean(0)).sum())


def _spectral_distance(work: _Work, given: Array, generated: Array) -> Figures:
    rate = work.recipe.frames.sample_rate
    wanted = textures.log_mel(work.test.samples, rate)
    sets = {"train": work.train.samples, "reconstruction": given, "filtered": filtered(given), "generated": generated}
    found: Figures = {name: frechet(textures.log_mel(x, rate), wanted) for name, x in sets.items()}
    found["ratio"] = found["generated"] / found["train"] if work.test is not work.train else None
    found["drawn_from"] = "prior" if work.normal.prior else "fit"
    return found


def _codes(work: _Work, test_codes: Array) -> tuple[Figures, list[Picture]]:
    samples = {work.test.part: (test_codes, work.test)}
    if work.held_out is not None:
        samples = {"held_out": (encode(work.network, work.held_out.samples), work.held_out), **samples}
    found: Figures = {
        part: distribution(latents, sample.clips, work.normal, work.rng) for part, (latents, sample) in samples.items()
    }
    training = _levels(work.train.samples)
    for part, (_, sample) in samples.items():
        deviations = reweighted_deviations(work.codes, training, _levels(sample.samples))
        found[part]["as_loud"] = {"smallest_std": float(deviations.min()), "largest_std": float(deviations.max())}
    found["normal"] = {
        "prior": work.normal.prior,
        "mean": work.normal.mean.tolist(),
        "deviation": work.normal.deviation.tolist(),
    }
    names = {"held_out": "ends of training clips", "test": "test clips", "val": "validation clips", "train": "training"}
    shown = {names[part]: latents for part, (latents, _) in samples.items()}
    kinds = [_kind(work.corpus.clips("train")[clip].name) for clip in work.train.clips]
    length = work.recipe.frames.frame_length
    sound = stretch(work.corpus, work.test.part, work.recipe.frames, PICTURED_SECONDS)
    way = encode(work.network, sequence(sound, length, length))
    return found, [
        grain_figures.code_histograms(shown, work.normal),
        grain_figures.code_space(work.codes, kinds, _smoothed(way)),
    ]


def _levels(samples: Array) -> Array:
    levels: Array = np.sqrt(np.square(samples).mean(1))
    return levels


def _kind(name: str) -> str:
    letters = "".join(letter if letter.isalpha() else " " for letter in name).split()
    return letters[0].lower() if letters else name


def _smoothed(way: Array, places: int = 24) -> Array:
    return np.stack([part.mean(0) for part in np.array_split(way, min(places, len(way)))])


@torch.no_grad()
def _phases(work: _Work) -> tuple[Figures | None, list[Picture]]:
    domain = work.network.domain
    if not isinstance(domain, MagnitudePhase):
        return None, []
    windows = torch.from_numpy(work.test.samples)
    asked = domain.frame(domain.features(windows)).numpy()
    given = work.network.decode(work.network.encode(windows)).numpy()
    share = {
        name: float(np.mean(np.abs(np.diff(frames[:, domain.bins :])) > np.pi / 2))
        for name, frames in (("source", asked), ("reconstruction", given))
    }
    middle = _typical(work)
    waves = [work.test.samples[middle], np.fft.irfft(_complex(given[middle], domain.bins), domain.length)]
    pair = [(frames[middle, : domain.bins], frames[middle, domain.bins :]) for frames in (asked, given)]
    hz = np.fft.rfftfreq(domain.length, 1 / work.recipe.frames.sample_rate)
    return {"far_apart": share}, [grain_figures.phases(pair[0], pair[1], hz, waves)]


def _complex(frame: Array, bins: int) -> npt.NDArray[Any]:
    spectrum: npt.NDArray[Any] = frame[:bins] * np.exp(1j * frame[bins:])
    return spectrum


def _typical(work: _Work) -> int:
    energy = np.square(work.test.samples).sum(1)
    return int(np.argsort(energy)[len(energy) // 2])


def _report_sounds(work: _Work, generated: Array) -> list[ReportSound]:
    frames = work.recipe.frames
    hop = frames.frame_length // OVERLAP
    sound = stretch(work.corpus, work.test.part, frames, PICTURED_SECONDS)
    again = work.decoded(encode(work.network, sequence(sound, frames.frame_length, hop)))
    noise = work.recipe.network.domain == "noise"
    captions = {
        "source": ("The source.", sound),
        "remade": ("What the model made of it: each grain encoded and decoded.", overlapped(again, hop, "hann", noise)),
        "random": (
            "Grains of random codes: the sound of random knob positions.",
            overlapped(generated[: len(again)], hop, "hann", True),
        ),
    }
    return [ReportSound(name, what, samples, frames.sample_rate) for name, (what, samples) in captions.items()]


def _sounds(work: _Work, given: Array, generated: Array) -> list[Picture]:
    test, frames = work.test, work.recipe.frames
    rate, length = frames.sample_rate, frames.frame_length
    few = _spread(test)
    sound = stretch(work.corpus, test.part, frames, PICTURED_SECONDS)
    again = resynthesised(work.network, work.recipe, sound, work.rng)
    hz = np.fft.rfftfreq(textures.transform_length(length), 1 / rate)
    middle = _typical(work)
    grain = {"in": test.samples[middle : middle + 1], "out": given[middle : middle + 1]}
    means = {"source": test.samples, "reconstruction": given, "random codes": generated}
    return [
        grain_figures.waveforms(
            test.samples[few],
            given[few],
            rate,
            "waveforms",
            "Windows of the split, of as many clips as there are: what went in, and what came out.",
        ),
        grain_figures.waveforms(
            test.samples[few],
            filtered(given[few]),
            rate,
            "filtered",
            "The same windows, the upper 85 % of the bins of what came out set to zero, as the post did.",
        ),
        grain_figures.resynthesis(sound[: len(again)], again, rate),
        grain_figures.spectra(
            {name: textures.powers(x)[0] for name, x in grain.items()},
            hz,
            "grain_spectrum",
            "Spectrum of one window of middling level, in and out, in dB under the loudest bin that went in.",
        ),
        grain_figures.spectra(
            {name: textures.powers(x).mean(0) for name, x in means.items()},
            hz,
            "average_spectrum",
            "Mean spectra of all measured windows, of what is decoded of them, and of what random codes give.",
        ),
    ]


def resynthesised(network: GrainAutoencoder, recipe: GrainRecipe, sound: Array, rng: np.random.Generator) -> Array:
    """Encode and decode windows without overlap: [samples]."""
    length = recipe.frames.frame_length
    return decode(network, encode(network, sequence(sound, length, length)), recipe, rng).ravel()


def _spread(sample: GrainSample) -> list[int]:
    clips = np.unique(sample.clips)
    chosen = (np.flatnonzero(sample.clips == clips[i]) for i in evenly_spaced(len(clips), PICTURED_WINDOWS))
    return [int(windows[len(windows) // 2]) for windows in chosen]
