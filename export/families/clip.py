"""The clip family: its ONNX graphs, and the report of all families that make clips."""

import functools
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

import numpy as np
import torch
from markupsafe import Markup
from pydantic import BaseModel
from torch import Tensor, nn

from ...host.arrays import Array, Integers
from ...host.engines.clip.synthesis import SpectraSound
from ...host.errors import UserError
from ...host.kinds.card_fields import NormalPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...host.resynthesis.distance import distance_db
from ...host.spectra import log_mel
from ...train.corpus.clip_table import Clip, Split
from ...train.corpus.file_names import hit_layers, takes
from ...train.corpus.store import Corpus
from ...train.families.clip.data import hit_changes, hits
from ...train.families.clip.network import ClipAutoencoder
from ...train.families.clip.recipe import ClipRecipe
from ...train.families.gan.health import ALIKE, REMEDY, collapsed
from ...train.metrics.clips import Recordings, attack_seconds, envelope_distance_db, scored_indices
from ...train.run import Run
from ...train.sampling import evenly_spaced, random_indices
from ..graphs import CODES, LANDMARKS, SEED, EncodedFrames, Graphs
from ..measures.clips import ClipSet, clip_floors, scaled
from ..measures.loudest_moment import LoudestMoment, loudness_of
from ..measures.sounds import silence_message
from ..recordings import RecordedClip
from ..reports import clip_figures
from ..reports.floor_tables import above_floor, floors_table
from ..reports.measure import (
    CAME_BACK_DB,
    NOTHING,
    Measure,
    Sentence,
    Verdict,
    figure_at,
    likeness_sentence,
    measures_down,
    verdict_of,
)
from ..reports.page import report_page
from ..reports.report import SEED as REPORT_SEED
from ..reports.report import (
    Figures,
    Report,
    ReportRequest,
    ReportSound,
    evaluated_split,
    judged,
    listed,
    losses,
    peak_sounds,
)
from .family import ExportFamily

ENCODED_BATCH = 256  # clips encoded at a time
CLIP_LEVEL = 0.1  # its root mean square, the level of voices in a host: -20 dB
# Elements of a matrix: smaller ones, as of the latents' mapping and its inverse, keep single precision.
EXACT_ELEMENTS = 1 << 14


class ClipDecoder(nn.Module):
    """latent [voice, n] (, label [voice, words]) → frame [voice, width].

    Training leaves kicks 20 dB softer than hats; here the loudest 0.4 s, BS.1770-weighted, have one level.
    """

    def __init__(self, network: ClipAutoencoder) -> None:
        super().__init__()
        features = network.features
        self.network = network
        self.loudest = LoudestMoment(
            features.length, features.sample_rate, features.transform, features.hop, features.points
        )

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        frame = self.network.decode(latent, label)
        level: Tensor = self.loudest(frame) / CLIP_LEVEL
        return frame / level


def recorded_clips(
    corpus: Corpus, clips: Sequence[Clip], codes: Array, words: Sequence[str], gains: Sequence[float]
) -> list[RecordedClip]:
    """Return a model's recordings: training clips with their codes, [clips, n_latents], and gains.

    ``words``: its labels.
    """
    names = short_names([clip.name for clip in clips])
    layers = hit_layers(corpus.clips().names)
    velocities = [clip.velocity or layers.get(clip.name) for clip in clips]
    sounds = takes(dict(zip(names, velocities, strict=True)))
    return [
        RecordedClip(
            name,
            clip.label if words else "",
            sounds.get(name, ""),
            velocity,
            code,
            functools.partial(_sides, corpus, clip),
            gain,
        )
        for name, clip, velocity, code, gain in zip(names, clips, velocities, codes, gains, strict=True)
    ]


class ClipEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], and if ``labelled`` label scores, [batch, words]."""

    def __init__(self, network: ClipAutoencoder, labelled: bool) -> None:
        super().__init__()
        self.network, self.labelled = network, labelled

    def forward(self, audio: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.network.features(audio)[0]
        latent = self.network.encode(features)
        return (latent, self.network.label_probabilities(features)) if self.labelled else latent


def _sides(corpus: Corpus, clip: Clip) -> Array:
    """Return a clip's samples, [1 or 2, samples]."""
    return np.array(corpus.sides(clip))[: corpus.channels(clip)]


def short_names(names: Sequence[str]) -> list[str]:
    """Return files' names without folder and suffix, or whole where others have the same."""
    stems = [PurePosixPath(name).stem for name in names]
    stem_counts = Counter(stems)
    return [stem if stem_counts[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]


LOG_MEL = Measure(
    "Log-mel distance, dB",
    "log_mel_db",
    ".2f",
    "Levels of 64 mel bands, where the recording is above −40 dB.",
    most=CAME_BACK_DB,
)
RECONSTRUCTION = (
    LOG_MEL,
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
GENERATED = {  # by label: the paths of figures of random codes and of recordings, and their format
    "Fréchet distance on log-mel frames, dB²": ("likeness.made", "likeness.train", ".0f"),
    "Nearest training clip, median dB": ("nearest.median", "test_nearest.median", ".2f"),
    "Nearest training clip, the nearest tenth, dB": ("nearest.closest", "test_nearest.closest", ".2f"),
    "Diversity, dB": ("diversity_db", "test_diversity_db", ".2f"),
    "Diversity within a label, dB": ("label_diversity_db", "test_label_diversity_db", ".2f"),
    "Silent time": ("silent_share", "test_silent_share", ".0%"),
    "Inception score": ("told.score", "told.real_score", ".2f"),
    "Clips in the score": ("told.scored", "told.scored", "d"),
    "Fréchet distance on a classifier’s features": ("told.likeness.made", "told.likeness.train", ".1f"),
    "Heard as their label": ("told.accuracy", None, ".0%"),
}


def _errors_table(error_figures: Figures) -> Markup:
    """Return the table of reconstruction errors."""
    clip_errors, columns = dict(error_figures), {}
    relative_error = clip_errors.pop("relative_error", None)
    for heading, statistic, energy in (("Median", "median", relative_error), ("Nine of ten", "ninth_decile", "")):
        columns[heading] = {name: error[statistic] for name, error in clip_errors.items()} | {"relative_error": energy}
    measures = RECONSTRUCTION if relative_error is None else [*RECONSTRUCTION, RELATIVE_ERROR]
    return measures_down(measures, columns)


def _generated_table(generated: Figures, code_note: str) -> Markup:
    """Return the table that compares clips of random codes with recordings."""
    rows = {label: row for label, row in GENERATED.items() if figure_at(generated, row[0]) is not None}
    columns = {
        heading: {label: path and figure_at(generated, path) for label, path in paths.items()}
        for heading, paths in (
            ("Random codes", {label: path for label, (path, _, _) in rows.items()}),
            ("Recordings", {label: path for label, (_, path, _) in rows.items()}),
        )
    }
    measures = [Measure(label, operator.itemgetter(label), form) for label, (_, _, form) in rows.items()]
    table_note = (
        "Beside each figure, that of recordings: of as many training clips for the Fréchet distances, of as many clips "
        "of the split and of training for the inception score, and of the clips of the split for the others. A nearest "
        "clip nearer than theirs would be one that is remembered."
    )
    return measures_down(measures, columns, f"{table_note} {code_note}".strip())


MOST_CLIPS = 1024  # clips measured per split: medians to a part in a hundred
MOST_SAMPLES = 1 << 25  # in total, at most: 134 MB
FEWEST_CLIPS = 2  # training clips, for a spread
SHOWN_CLIPS = 6  # clips drawn and played on the page
GENERATED_BATCH = 64  # clips at a time
SCORED_SEED = REPORT_SEED + (1 << 16)  # of clips for the score, unlike those of the other figures
HEALTH = ("estimate", "diversity", "frechet")  # metrics that adversarial training logs beside its losses


@dataclass(frozen=True)
class SplitSample:
    """Evenly spaced clips of a split, [clips, samples].

    Args:
        labels: their numbers, [clips].
        clips_in_split: how many, before sampling.
    """

    split: Split
    clips: Array
    names: list[str]
    labels: Integers
    clips_in_split: int


@dataclass(frozen=True)
class ClipReporter:
    """A network's functions for a clip report.

    Args:
        words: labels of a conditional network, else empty.
        generate: returns clips of random codes, [clips, length], for label numbers [clips] and a seed.
        reconstruct: encodes and decodes clips; None without encoder.
        of_samples: reconstructions should match sample by sample.
        sides: loss terms per side of adversarial training.
        code_note: a sentence on the distribution of random codes, if not the training prior.
    """

    sample: Callable[[Corpus, Split], SplitSample]
    words: list[str]
    generate: Callable[[Integers, int], Array]
    reconstruct: Callable[[Array, Integers], Array] | None
    loss_weights: BaseModel
    parameters: int
    latents: int
    of_samples: bool = False
    sides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    code_note: str = ""


def most_clips(length: int) -> int:
    """Return the most clips of a length in samples that are measured."""
    return min(MOST_CLIPS, max(FEWEST_CLIPS, MOST_SAMPLES // length))


def clip_reporter(network: ClipAutoencoder, run: Run) -> ClipReporter:
    """Return the functions with which a clip report tests an autoencoder."""
    recipe = run.recipe
    assert isinstance(recipe, ClipRecipe)
    latent_count, words, features = recipe.network.latents, recipe.network.words, network.features
    synthesize = SpectraSound(features.length, features.transform, features.hop, features.points)

    def sample(corpus: Corpus, split: Split) -> SplitSample:
        split_hits = hits(corpus, split, words)
        hit_indices = evenly_spaced(len(split_hits.clips), most_clips(features.length))
        clips, clip_names = (
            split_hits.take_clips(corpus, hit_indices, features.length),
            [split_hits.clips[hit_index].name for hit_index in hit_indices],
        )
        return SplitSample(split, clips, clip_names, split_hits.labels[hit_indices], len(split_hits.clips))

    def one_hot(labels: Integers) -> torch.Tensor | None:
        return torch.nn.functional.one_hot(torch.from_numpy(labels), len(words)).float() if words else None

    @torch.no_grad()
    def generate(labels: Integers, seed: int) -> Array:
        codes = torch.randn(len(labels), latent_count, generator=torch.Generator().manual_seed(seed))
        return synthesize(network.decode(codes, one_hot(labels)).numpy())

    @torch.no_grad()
    def reconstruct(clips: Array, labels: Integers) -> Array:
        return synthesize(network.decode(network.encode(features(torch.from_numpy(clips))[0]), one_hot(labels)).numpy())

    parameter_count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return ClipReporter(sample, words, generate, reconstruct, recipe.loss, parameter_count, latent_count)


def clip_report(request: ReportRequest, reporter: ClipReporter) -> Report:
    """Compare a network's clips with recordings of an unseen split."""
    run, progress, judge = request.run, request.progress, request.judge
    progress(0.0, "reading clips")
    corpus = run.corpus()
    training_sample, test_sample = reporter.sample(corpus, "train"), evaluated_clips(corpus, reporter, FEWEST_CLIPS)
    test_clips, test_labels = test_sample.clips, test_sample.labels
    progress(0.2, "making clips")
    generated_clips = _in_parts(
        lambda batch_indices: reporter.generate(test_labels[batch_indices], REPORT_SEED + int(batch_indices[0])),
        len(test_clips),
    )
    clips_in_score = scored_clips(reporter, training_sample, test_sample) if judge else None
    known_labels = test_labels if reporter.words else None
    generated_figures = Recordings(training_sample.clips, test_clips, corpus.rate, judge, known_labels).figures(
        generated_clips, known_labels, clips_in_score
    )
    decoded_clips, error_figures = None, None
    if (reconstruct := reporter.reconstruct) is not None:
        progress(0.4, "encoding and decoding clips")
        decoded_clips = _in_parts(
            lambda batch_indices: reconstruct(test_clips[batch_indices], test_labels[batch_indices]), len(test_clips)
        )
        error_figures = _decoding_errors(test_clips, decoded_clips, corpus.rate, reporter.of_samples)
    progress(0.6, "comparing with floors")
    training_set, test_set = (
        ClipSet(sample.split, sample.clips, sample.names, sample.labels) for sample in (training_sample, test_sample)
    )
    floor_figures = clip_floors(
        corpus,
        training_set,
        test_set,
        reporter.latents,
        decoded_clips,
        generated_clips,
        of_samples=reporter.of_samples,
        judge=judge,
        scored=clips_in_score,
        labelled=known_labels is not None,
    )
    shown_indices = evenly_spaced(len(test_clips), SHOWN_CLIPS)
    shown_clips = (
        test_clips[shown_indices],
        None if decoded_clips is None else decoded_clips[shown_indices],
        generated_clips[shown_indices],
    )
    sounds = _sounds([test_sample.names[index] for index in shown_indices], *shown_clips, corpus.rate)
    figures = judged(
        verdict,
        run=request.training_origin(reporter.parameters) | {"tonal": run.info.tonal},
        split=test_sample.split,
        clips=len(set(test_sample.names)),
        frames=len(test_clips),
        frames_in_split=test_sample.clips_in_split,
        trained=training_sample.clips_in_split,
        labels=reporter.words,
        drawn=reporter.code_note,
        reconstruction=error_figures,
        floors=floor_figures,
        generated=asdict(generated_figures) | {"ratio": generated_figures.likeness.ratio},
        loss=_loss_figures(run, reporter),
        collapsed=bool(generated_figures.test_diversity_db)
        and collapsed(generated_figures.diversity_db / generated_figures.test_diversity_db),
        sounds=listed(sounds),
    )
    pictures = [
        *clip_figures.pictures(*shown_clips, corpus.rate, zoomed=reporter.of_samples),
        *clip_figures.loss(figures["loss"], request.step),
    ]
    clip_pictures = ["waveforms", "spectrograms"]
    page = report_page(
        request,
        figures,
        pictures,
        {
            "Recordings come back": [_errors_table(error_figures), *clip_pictures, "zoom"] if error_figures else [],
            "Clips": [] if error_figures else clip_pictures,
            "Random codes": [_generated_table(figures["generated"], reporter.code_note)],
            "Floors": [floors_table({"This network": floor_figures})],
        },
        {"Training": ["loss"]},
    )
    return Report(figures, pictures, sounds, page)


def scored_clips(reporter: ClipReporter, training_sample: SplitSample, test_sample: SplitSample) -> Array:
    """Return clips of random codes for the inception score, [clips, samples], with labels as recordings have them."""
    recorded_labels = np.concatenate([test_sample.labels, training_sample.labels])
    labels = recorded_labels[scored_indices(len(recorded_labels))]
    return _in_parts(
        lambda batch_indices: reporter.generate(labels[batch_indices], SCORED_SEED + int(batch_indices[0])), len(labels)
    )


def _decoding_errors(recordings: Array, decoded: Array, rate: int, of_samples: bool) -> Figures:
    """Return `reconstruction`, and with ``of_samples`` also the relative error of samples."""
    error_figures = reconstruction(recordings, decoded, rate)
    if not of_samples:
        return error_figures
    error_energy, recorded_energy = (
        np.square(clips, dtype=np.float64).sum() for clips in (recordings - decoded, recordings)
    )
    return error_figures | {"relative_error": float(error_energy / max(recorded_energy, 1e-12))}


def _loss_figures(run: Run, reporter: ClipReporter) -> Figures:
    """Return logged losses, summed by side of adversarial training, apart from other metrics."""
    loss_figures = losses(run, reporter.loss_weights)
    loss_terms = loss_figures["terms"]
    health_metrics = {metric_name: loss_terms.pop(metric_name) for metric_name in HEALTH if metric_name in loss_terms}
    losses_by_side = {
        side: np.sum([loss_terms[term_name] for term_name in term_names if term_name in loss_terms], axis=0).tolist()
        for side, term_names in reporter.sides.items()
        if any(term_name in loss_terms for term_name in term_names)
    }
    return loss_figures | {"sides": losses_by_side, "health": health_metrics}


def reconstruction(recordings: Array, decoded: Array, rate: int) -> Figures:
    """Return errors of ``decoded`` clips for their ``recordings``, [clips, samples] each: medians and ninth deciles.

    Clips are scaled to their recordings' energy.
    """
    decoded = scaled(decoded, recordings)
    errors_by_measure = {
        "log_mel_db": distance_db(log_mel(recordings, rate), log_mel(decoded, rate)),
        "attack_ms": 1000 * np.abs(attack_seconds(recordings, rate) - attack_seconds(decoded, rate)),
        "envelope_db": envelope_distance_db(recordings, decoded, rate),
    }
    return {
        measure_name: {"median": float(np.median(clip_errors)), "ninth_decile": float(np.quantile(clip_errors, 0.9))}
        for measure_name, clip_errors in errors_by_measure.items()
    }


def evaluated_clips(corpus: Corpus, reporter: ClipReporter, fewest: int) -> SplitSample:
    """Return clips, at least ``fewest`` except from the training split."""
    _, sample = evaluated_split(
        lambda split: reporter.sample(corpus, split),
        silence_message(corpus, "clip", "add louder sounds"),
        lambda sample: len(sample.clips) >= (1 if sample.split == "train" else fewest),
    )
    return sample


def _in_parts(make_clips: Callable[[Integers], Array], count: int) -> Array:
    """Make clips in batches, each from its indices below ``count``."""
    return np.concatenate(
        [
            make_clips(np.arange(batch_start, min(batch_start + GENERATED_BATCH, count)))
            for batch_start in range(0, count, GENERATED_BATCH)
        ]
    )


def _sounds(
    names: list[str], recordings: Array, decoded: Array | None, generated: Array, rate: int
) -> list[ReportSound]:
    """Return recordings, decoded clips and random clips for the page, with peaks of 1."""
    captioned_clips: list[tuple[str, str, Array]] = []
    for clip_index, name in enumerate(names):
        captioned_clips.append((f"recording-{clip_index + 1}", f"Recording {name}", recordings[clip_index]))
        if decoded is not None:
            captioned_clips.append((f"decoded-{clip_index + 1}", f"Its code, decoded ({name})", decoded[clip_index]))
    captioned_clips += [
        (f"random-{clip_index + 1}", f"Random code {clip_index + 1}", clip) for clip_index, clip in enumerate(generated)
    ]
    return peak_sounds(captioned_clips, rate)


LABEL_DIVERSITY = 0.5  # of recordings' within a label: with less, knobs change little


def _came_back_sentence(errors: Figures) -> Sentence:
    """Return a sentence on the reconstruction of recordings."""
    energy_text = (
        f", with {errors['relative_error']:.0%} of their energy in error" if "relative_error" in errors else ""
    )
    return LOG_MEL.sentence(
        errors["log_mel_db"]["median"],
        f"The network brings recordings back {{:.1f}} dB off{energy_text}",
        f"; more than {CAME_BACK_DB:g} dB is another sound. Train longer, or give more sounds",
    )


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on reconstructions and random clips beside recordings, and the shortcomings."""
    generated_figures, error_figures = figures["generated"], figures["reconstruction"]
    sentences, worst_shortcomings, other_shortcomings = [], [], []
    if error_figures is not None:
        sentences.append(above_floor(figures, "log_mel_db", _came_back_sentence(error_figures)))
        if error_figures.get("relative_error", 0.0) > NOTHING:
            worst_shortcomings.append(
                "It has learned nothing: silence would be nearer to the recordings. Train longer."
            )
    if figures["collapsed"]:
        distances_text = (
            f"random codes lie {generated_figures['diversity_db']:.1f} dB apart, recordings "
            f"{generated_figures['test_diversity_db']:.1f} dB"
        )
        collapse_text = f"It has collapsed: whatever the code, it makes {ALIKE} ({distances_text})"
        sentences.append(Sentence(f"{collapse_text}; train longer, {REMEDY}.", False))
    else:
        ratio = None if figures["split"] == "train" else generated_figures["ratio"]
        sentences.append(above_floor(figures, "frechet", likeness_sentence(ratio)))
        other_shortcomings = _clip_shortcomings(generated_figures)
    if figures["trained"] < FEWEST_CLIPS:
        other_shortcomings.append("It was trained on one recording, and can make no other.")
    return verdict_of(sentences, other_shortcomings, worst_shortcomings)


def _clip_shortcomings(generated_figures: Figures) -> list[str]:
    """Return the shortcomings of clips of random codes that differ from each other."""
    shortcomings = []
    diversity_db, recorded_db = (generated_figures[name] for name in ("label_diversity_db", "test_label_diversity_db"))
    if None not in (diversity_db, recorded_db) and diversity_db < LABEL_DIVERSITY * recorded_db:
        distances_text = f"clips of one label lie {diversity_db:.1f} dB apart, recordings {recorded_db:.1f} dB"
        shortcomings.append(f"Its codes change little: {distances_text}.")
    if generated_figures["nearest"]["median"] < generated_figures["test_nearest"]["median"]:
        shortcomings.append(
            "Random codes come nearer to training clips than unheard recordings do: some are remembered."
        )
    return shortcomings


class ClipExport(ExportFamily[ClipRecipe, ClipAutoencoder]):
    recipe = "tuned-clip"
    purpose = "a kit, with hits or words on its keys and knobs that bend them"
    demo = "kit.wav"
    judged = True
    whole_clips = True

    @torch.no_grad()
    def graphs(self, network: ClipAutoencoder, recipe: ClipRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        words, features = recipe.network.words, network.features
        training_hits = hits(corpus, "train", words)
        if not training_hits.clips:
            raise UserError(silence_message(corpus, "training clip", "add louder sounds"))
        hit_indices = random_indices(len(training_hits.clips), CODES, np.random.default_rng(SEED))
        codes = np.concatenate(
            [
                network.encode(
                    network.features(
                        torch.from_numpy(training_hits.take_clips(corpus, batch_indices, recipe.frames.frame_length))
                    )[0]
                ).numpy()
                for batch_indices in np.array_split(hit_indices, -(-len(hit_indices) // ENCODED_BATCH))
            ]
        )
        encoded_clips = [training_hits.clips[hit_index] for hit_index in hit_indices]
        loudness = loudness_of(features.length, features.sample_rate, features.transform, features.hop, features.points)
        gains = [CLIP_LEVEL / loudness(corpus.samples(clip)) for clip in encoded_clips]
        are_all_landmarks = len(codes) <= LANDMARKS  # each is a landmark, and knobs reach it
        return Graphs(
            decoder=ClipDecoder(network),
            encoder=ClipEncoder(network, bool(words)),
            encoder_labels=bool(words),
            exact=EXACT_ELEMENTS,
            codes=EncodedFrames(
                codes,
                [clip.label for clip in encoded_clips] if words else short_names([clip.name for clip in encoded_clips]),
                span=(codes.min(0), codes.max(0)) if are_all_landmarks else None,
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
            recordings=recorded_clips(corpus, encoded_clips, codes, words, gains),
        )

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        key_names = [key_settings.key for key_settings in preset.keys]
        played = "recordings" if model.card.recordings else "clips"
        return f"{len(key_names)} keys from {key_names[0]} to {key_names[-1]} play its {played}, knobs bend them"

    def changes(self, corpus: Corpus) -> list[str]:
        return hit_changes(corpus)

    def report(self, request: ReportRequest) -> Report:
        """Report how an autoencoder's clips compare with recordings."""
        return clip_report(request, clip_reporter(request.network, request.run))
