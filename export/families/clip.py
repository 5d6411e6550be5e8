"""The clip family: its ONNX graphs, and the report of all families that make clips."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from markupsafe import Markup
from pydantic import BaseModel
from torch import Tensor, nn

from ...host.arrays import Array, Integers
from ...host.engines.clip.synthesis import SpectraSound
from ...host.errors import UserError
from ...host.model.card import NormalPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...host.resynthesis.distance import distance_db, log_mel
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.families.clip.data import hit_changes, hits
from ...train.families.clip.network import ClipAutoencoder
from ...train.families.clip.recipe import ClipRecipe
from ...train.families.gan.health import ALIKE, REMEDY, collapsed
from ...train.metrics.clips import Recordings, attack_seconds, envelope_distance_db
from ...train.run import Run
from ...train.sampling import evenly_spaced, random_indices
from ..graphs import CODES, LANDMARKS, SEED, EncodedFrames, Graphs
from ..measures.sounds import silence_message
from ..reports.figures import clips as clip_figures
from ..reports.measure import Measure, measures_down
from ..reports.page import listening, report_page, shown
from ..reports.report import (
    SEED as REPORT_SEED,
)
from ..reports.report import (
    Figures,
    Picture,
    Report,
    ReportRequest,
    ReportSound,
    evaluated_split,
    judged,
    listed,
    losses,
)
from ..reports.verdict import CAME_BACK_DB, NOTHING, Sentence, Verdict, likeness_sentence, verdict_of
from .family import ExportFamily

ROWS = 256  # clips encoded at a time
MOMENT_SECONDS = 0.4  # the window that sets a clip's loudness: BS.1770's momentary loudness
CLIP_LEVEL = 0.1  # its root mean square, the level of voices in a host: -20 dB
LEAST = 1e-12  # power of a clip that is silent
EXACT = 1 << 14  # elements of a matrix: smaller ones, as of the latents' mapping and its inverse, keep single precision


class ClipDecoder(nn.Module):
    """latent [voice, n] (, label [voice, words]) → frame [voice, width].

    Training leaves kicks 20 dB softer than hats; here the loudest 0.4 s, BS.1770-weighted, have one level.
    """

    weights: Tensor

    def __init__(self, network: ClipAutoencoder) -> None:
        super().__init__()
        self.network = network
        seen, rate = network.features, network.features.sample_rate
        hertz = np.arange(seen.transform // 2 + 1) * rate / seen.transform
        self.register_buffer("weights", torch.from_numpy(k_weights(hertz)).float())
        self.hops = max(1, round(MOMENT_SECONDS * rate / seen.hop))

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        frame = self.network.decode(latent, label)
        return frame / (self._loudest(frame) / CLIP_LEVEL)

    def _loudest(self, frame: Tensor) -> Tensor:
        seen = self.network.features
        hops = seen.spectra - 1
        power = frame[:, : -seen.points].reshape(-1, seen.spectra, len(self.weights))[:, :-1].square()
        audible = (power @ self.weights) / power.sum(2).clamp_min(LEAST)
        parts = frame[:, -seen.points :].reshape(-1, hops, seen.points // hops).square().mean(2)
        moment = min(self.hops, hops)
        moments = F.avg_pool1d((parts * audible)[:, None], moment, 1)[:, 0] * (moment / self.hops)
        loudest: Tensor = moments.amax(1, keepdim=True).clamp_min(LEAST).sqrt()
        return loudest


def k_weights(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return BS.1770's K-weighting of power at frequencies in Hz, within 0.05 dB from 20 Hz to 20 kHz."""
    high_pass = np.square(np.square(hertz) / (np.square(hertz) + 38.1**2))
    shelf = 1 + 1.51 * hertz**4 / (hertz**4 + 1700.0**4)
    weights: npt.NDArray[np.float64] = high_pass * shelf
    return weights


class ClipEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], and if ``labelled`` label scores, [batch, words]."""

    def __init__(self, network: ClipAutoencoder, labelled: bool) -> None:
        super().__init__()
        self.network, self.labelled = network, labelled

    def forward(self, audio: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.network.features(audio)[0]
        latent = self.network.encode(features)
        return (latent, self.network.label_probabilities(features)) if self.labelled else latent


def short_names(names: Sequence[str]) -> list[str]:
    """Return files' names without folder and suffix, or whole where others have the same."""
    stems = [PurePosixPath(name).stem for name in names]
    counts = Counter(stems)
    return [stem if counts[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]


RECONSTRUCTION = (
    Measure(
        "Log-mel distance, dB", "log_mel_db", ".2f", "Levels of 64 mel bands, where the recording is above −40 dB."
    ),
    Measure(
        "Attack, ms", "attack_ms", ".2f", "How far the moment is off at which a clip comes within 3 dB of its loudest."
    ),
    Measure(
        "Loudness, dB", "envelope_db", ".2f", "How far the loudness of 10 ms is off from moment to moment, over 50 dB."
    ),
)
RELATIVE_ERROR = Measure(
    "Relative error", "relative_error", ".3f", "Of samples, all clips together; 1 is what silence has."
)
GENERATED = (
    Measure("Fréchet distance on log-mel frames, dB²", "frechet", ".0f"),
    Measure("Nearest training clip, median dB", "nearest.median", ".2f"),
    Measure("Nearest training clip, the nearest tenth, dB", "nearest.closest", ".2f"),
    Measure("Diversity, dB", "diversity", ".2f"),
    Measure("Diversity within a label, dB", "label_diversity", ".2f"),
    Measure("Inception score", "score"),
    Measure("Fréchet distance on a classifier’s features", "features", ".1f"),
    Measure("Heard as their label", "accuracy", ".0%"),
)


def page(found: Figures, pictures: Sequence[Picture], heard: str | None = None) -> str:
    of = shown(pictures)
    return report_page(
        found,
        listening(heard, found["sounds"]),
        {
            "Recordings come back": _reconstruction_text(found, of),
            "Clips": "" if found["reconstruction"] else of("waveforms", "spectrograms"),
            "Random codes": _generated(found["generated"], found["drawn"]),
        },
        {"Training": of("loss")},
    )


def _reconstruction_text(found: Figures, of: Callable[..., Markup]) -> Markup:
    again = found["reconstruction"]
    if again is None:
        return Markup()
    measures = [*RECONSTRUCTION, RELATIVE_ERROR] if "relative_error" in again else RECONSTRUCTION
    columns = {
        heading: {name: of_clips[which] if isinstance(of_clips, dict) else of_clips for name, of_clips in again.items()}
        for heading, which in (("Median", "median"), ("Nine of ten", "ninth_decile"))
    }
    columns["Nine of ten"]["relative_error"] = ""
    return measures_down(measures, columns) + of("waveforms", "spectrograms", "zoom")


def _generated(made: Figures, drawn: str) -> Markup:
    own = {
        "frechet": made["likeness"]["made"],
        "nearest": made["nearest"],
        "diversity": made["diversity_db"],
        "label_diversity": made["label_diversity_db"],
    }
    real = {
        "frechet": made["likeness"]["train"],
        "nearest": made["test_nearest"],
        "diversity": made["test_diversity_db"],
        "label_diversity": made["test_label_diversity_db"],
    }
    told = made["told"] or {
        "score": None,
        "real_score": None,
        "likeness": {"made": None, "train": None},
        "accuracy": None,
    }
    for column, score, features in ((own, "score", "made"), (real, "real_score", "train")):
        column["score"] = told[score] and "{:.2f} ± {:.2f}".format(*told[score])
        column["features"] = told["likeness"][features]
    own["accuracy"], real["accuracy"] = told["accuracy"], None
    measures = [measure for measure in GENERATED if measure.of(own) is not None]
    note = (
        "Beside each figure, that of recordings: of as many training clips for the Fréchet distances, and of the clips "
        "of the split for the others. A nearest clip nearer than theirs would be one that is remembered."
    )
    return measures_down(measures, {"Random codes": own, "Recordings": real}, f"{note} {drawn}".strip())


MOST = 1024  # clips measured per split: medians to a part in a hundred
SAMPLES = 1 << 25  # in total, at most: 134 MB
FEWEST = 2  # training clips, for a spread
SHOWN = 6  # clips drawn and played on the page
TOGETHER = 64  # clips at a time
HEALTH = ("estimate", "diversity", "frechet")  # metrics that adversarial training logs beside its losses


@dataclass(frozen=True)
class SplitSample:
    """Evenly spaced clips of a split, [clips, samples].

    Args:
        labels: their numbers, [clips].
        found: clips in the split.
    """

    split: Split
    clips: Array
    names: list[str]
    labels: Integers
    found: int


@dataclass(frozen=True)
class ClipReporter:
    """A network's functions for a clip report.

    Args:
        words: labels of a conditional network, else empty.
        generate: returns clips of random codes, [clips, length], for label numbers [clips] and a seed.
        reconstruct: encodes and decodes clips; None without encoder.
        of_samples: reconstructions should match sample by sample.
        sides: loss terms per side of adversarial training.
        drawn: distribution of random codes, if not the training prior.
    """

    sample: Callable[[Corpus, Split], SplitSample]
    words: list[str]
    generate: Callable[[Integers, int], Array]
    reconstruct: Callable[[Array, Integers], Array] | None
    loss_weights: BaseModel
    parameters: int
    of_samples: bool = False
    sides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drawn: str = ""


def most(length: int) -> int:
    return min(MOST, max(FEWEST, SAMPLES // length))


def clip_reporter(network: ClipAutoencoder, run: Run) -> ClipReporter:
    recipe = run.recipe
    assert isinstance(recipe, ClipRecipe)
    latents, words, seen = recipe.network.latents, recipe.network.words, network.features
    synthesize = SpectraSound(seen.length, seen.transform, seen.hop, seen.points)

    def sample(corpus: Corpus, split: Split) -> SplitSample:
        found = hits(corpus, split, words)
        chosen = evenly_spaced(len(found.clips), most(seen.length))
        clips, names = found.take_clips(corpus, chosen, seen.length), [found.clips[index].name for index in chosen]
        return SplitSample(split, clips, names, found.labels[chosen], len(found.clips))

    def one_hot(labels: Integers) -> torch.Tensor | None:
        return torch.nn.functional.one_hot(torch.from_numpy(labels), len(words)).float() if words else None

    @torch.no_grad()
    def generate(labels: Integers, seed: int) -> Array:
        codes = torch.randn(len(labels), latents, generator=torch.Generator().manual_seed(seed))
        return synthesize(network.decode(codes, one_hot(labels)).numpy())

    @torch.no_grad()
    def reconstruct(clips: Array, labels: Integers) -> Array:
        return synthesize(network.decode(network.encode(seen(torch.from_numpy(clips))[0]), one_hot(labels)).numpy())

    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return ClipReporter(sample, words, generate, reconstruct, recipe.loss, parameters)


def clip_report(request: ReportRequest, reporter: ClipReporter) -> Report:
    run, say, judge = request.run, request.say, request.judge
    say(0.0, "reading clips")
    corpus = run.corpus()
    train, test = reporter.sample(corpus, "train"), evaluated_clips(corpus, reporter, FEWEST)
    asked, labels = test.clips, test.labels
    say(0.2, "making clips")
    made = _in_parts(lambda part: reporter.generate(labels[part], REPORT_SEED + int(part[0])), len(asked))
    told = labels if reporter.words else None
    figures = Recordings(train.clips, asked, corpus.rate, judge, told).figures(made, told)
    again = None
    if (reconstruct := reporter.reconstruct) is not None:
        say(0.4, "encoding and decoding clips")
        again = _in_parts(lambda part: reconstruct(asked[part], labels[part]), len(asked))
    found = judged(
        verdict,
        run=request.about(reporter.parameters) | {"tonal": run.info.tonal},
        split=test.split,
        clips=len(set(test.names)),
        frames=len(asked),
        frames_in_split=test.found,
        trained=train.found,
        labels=reporter.words,
        drawn=reporter.drawn,
        reconstruction=None if again is None else _came_back(asked, again, corpus.rate, reporter.of_samples),
        generated=asdict(figures) | {"ratio": figures.likeness.ratio},
        loss=_logged(run, reporter),
        collapsed=bool(figures.test_diversity_db) and collapsed(figures.diversity_db / figures.test_diversity_db),
    )
    some = evenly_spaced(len(asked), SHOWN)
    seen = (asked[some], None if again is None else again[some], made[some])
    pictures = clip_figures.pictures(*seen, corpus.rate, zoomed=reporter.of_samples)
    if found["loss"]["steps"]:
        pictures.append(clip_figures.loss(found["loss"], request.step))
    sounds = _sounds([test.names[index] for index in some], *seen, corpus.rate)
    found["sounds"] = listed(sounds)
    return Report(found, pictures, sounds, page(found, pictures, request.heard))


def _came_back(asked: Array, given: Array, rate: int, of_samples: bool) -> Figures:
    found = reconstruction(asked, given, rate)
    if not of_samples:
        return found
    error, energy = (np.square(part, dtype=np.float64).sum() for part in (asked - given, asked))
    return found | {"relative_error": float(error / max(energy, 1e-12))}


def _logged(run: Run, reporter: ClipReporter) -> Figures:
    found = losses(run, reporter.loss_weights)
    terms = found["terms"]
    health = {name: terms.pop(name) for name in HEALTH if name in terms}
    sides = {
        side: np.sum([terms[name] for name in names if name in terms], axis=0).tolist()
        for side, names in reporter.sides.items()
        if any(name in terms for name in names)
    }
    return found | {"sides": sides, "health": health}


def reconstruction(asked: Array, given: Array, rate: int) -> Figures:
    """Return errors of clips ``given`` for recordings ``asked``, [clips, samples] each: medians and ninth deciles.

    Clips are scaled to their recordings' energy.
    """
    energies = [np.sqrt(np.square(part, dtype=np.float64).sum(1)) for part in (asked, given)]
    given = (given * (energies[0] / np.maximum(energies[1], 1e-12))[:, None]).astype(np.float32)
    columns = {
        "log_mel_db": distance_db(log_mel(asked, rate), log_mel(given, rate)),
        "attack_ms": 1000 * np.abs(attack_seconds(asked, rate) - attack_seconds(given, rate)),
        "envelope_db": envelope_distance_db(asked, given, rate),
    }
    return {
        name: {"median": float(np.median(values)), "ninth_decile": float(np.quantile(values, 0.9))}
        for name, values in columns.items()
    }


def evaluated_clips(corpus: Corpus, reporter: ClipReporter, fewest: int) -> SplitSample:
    """Return clips, at least ``fewest`` except from the training split."""
    _, sample = evaluated_split(
        lambda split: reporter.sample(corpus, split),
        silence_message(corpus, "clip", "add louder sounds"),
        lambda sample: len(sample.clips) >= (1 if sample.split == "train" else fewest),
    )
    return sample


def _in_parts(of: Callable[[Integers], Array], count: int) -> Array:
    return np.concatenate([of(np.arange(first, min(first + TOGETHER, count))) for first in range(0, count, TOGETHER)])


def _sounds(names: list[str], asked: Array, again: Array | None, made: Array, rate: int) -> list[ReportSound]:
    rows: list[tuple[str, str, Array]] = []
    for number, name in enumerate(names):
        rows.append((f"recording-{number + 1}", f"Recording {name}", asked[number]))
        if again is not None:
            rows.append((f"decoded-{number + 1}", f"Its code, decoded ({name})", again[number]))
    rows += [(f"random-{number + 1}", f"Random code {number + 1}", clip) for number, clip in enumerate(made)]
    return [
        ReportSound(file, caption, clip / max(float(np.abs(clip).max()), 1e-9), rate) for file, caption, clip in rows
    ]


LABEL_DIVERSITY = 0.5  # of recordings' within a label: with less, knobs change little


def _came_back_sentence(again: Figures) -> Sentence:
    off = again["log_mel_db"]["median"]
    error = f", with {again['relative_error']:.0%} of their energy in error" if "relative_error" in again else ""
    good = off <= CAME_BACK_DB
    far = "" if good else f"; more than {CAME_BACK_DB:g} dB is another sound. Train longer, or give more sounds"
    return Sentence(f"Recordings come back {off:.1f} dB off{error}{far}.", good)


def verdict(found: Figures) -> Verdict:
    made, again, said, worst, more = found["generated"], found["reconstruction"], [], [], []
    if again is not None:
        said.append(_came_back_sentence(again))
        if again.get("relative_error", 0.0) > NOTHING:
            worst.append("It has learned nothing: silence would be nearer to the recordings. Train longer.")
    if found["collapsed"]:
        apart = f"random codes lie {made['diversity_db']:.1f} dB apart, recordings {made['test_diversity_db']:.1f} dB"
        collapse = f"It has collapsed: whatever the code, it makes {ALIKE} ({apart})"
        said.append(Sentence(f"{collapse}; train longer, {REMEDY}.", False))
    else:
        said.append(likeness_sentence(None if found["split"] == "train" else made["ratio"]))
        own, real = made["label_diversity_db"], made["test_label_diversity_db"]
        if own is not None and real is not None and own < LABEL_DIVERSITY * real:
            apart = f"clips of one label lie {own:.1f} dB apart, recordings {real:.1f} dB"
            more.append(f"Its codes change little: {apart}.")
        if made["nearest"]["median"] < made["test_nearest"]["median"]:
            more.append("Random codes come nearer to training clips than unheard recordings do: some are remembered.")
    if found["trained"] < FEWEST:
        more.append("It was trained on one recording, and can make no other.")
    return verdict_of(said, more, worst)


class ClipExport(ExportFamily[ClipRecipe, ClipAutoencoder]):
    recipe = "tuned-clip"
    purpose = "a kit, with hits or words on its keys and knobs that bend them"
    demo = "kit.wav"
    judged = True
    whole = True

    @torch.no_grad()
    def graphs(self, network: ClipAutoencoder, recipe: ClipRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        words = recipe.network.words
        found = hits(corpus, "train", words)
        if not found.clips:
            raise UserError(silence_message(corpus, "training clip", "add louder sounds"))
        places = random_indices(len(found.clips), CODES, np.random.default_rng(SEED))
        codes = np.concatenate(
            [
                network.encode(
                    network.features(torch.from_numpy(found.take_clips(corpus, part, recipe.frames.frame_length)))[0]
                ).numpy()
                for part in np.array_split(places, -(-len(places) // ROWS))
            ]
        )
        clips = [found.clips[index] for index in places]
        few = len(codes) <= LANDMARKS  # each is a landmark, and knobs reach it
        return Graphs(
            decoder=ClipDecoder(network),
            encoder=ClipEncoder(network, bool(words)),
            encoder_labels=bool(words),
            exact=EXACT,
            decoder_chroma=False,
            encoder_chroma=False,
            codes=EncodedFrames(
                codes,
                [clip.label for clip in clips] if words else short_names([clip.name for clip in clips]),
                span=(codes.min(0), codes.max(0)) if few else None,
            ),
            card={
                "kind": "clip",
                "domain": "magnitude",
                "hop_length": network.features.hop,
                "transform_length": network.features.transform,
                "envelope_points": network.features.points,
                "window": "hann",
                "prior": NormalPrior(normal=(0.0, 1.0)),
                "chroma": None,
                "labels": words,
            },
        )

    def report(self, request: ReportRequest) -> Report:
        return clip_report(request, clip_reporter(request.network, request.run))

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        keys = [entry.key for entry in preset.keys]
        return f"{len(keys)} keys from {keys[0]} to {keys[-1]} play its clips, knobs bend them"

    def changes(self, corpus: Corpus) -> list[str]:
        return hit_changes(corpus)
