"""Reports on networks of grains: unseen windows, random codes, sides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.preset.library import Patch
from ...train.corpus.store import Corpus
from ...train.families.grain.data import overlapped
from ...train.families.grain.network import GrainAutoencoder, MagnitudePhase
from ...train.families.grain.recipe import GrainRecipe
from ...train.metrics.clips import Judge
from ...train.run import Run
from ...train.sampling import evenly_spaced
from ..fidelity.textures import along, mean_sides_distance
from ..measures import codes as latent_statistics
from ..measures import grains as textures
from ..measures.codes import CodeDistribution, distribution, fitted, prior, reweighted_deviations
from ..measures.grain_words import word_floors
from ..measures.grains import GrainSample, Part, decode, draw, encode, filtered, sequence, stretch
from ..measures.sounds import recordings, silence_message
from ..reports import clip_figures as grain_figures
from ..reports import frame_figures
from ..reports.floor_tables import floors_table
from ..reports.measure import (
    set_distances,
)
from ..reports.page import report_page
from ..reports.report import SEED as REPORT_SEED
from ..reports.report import Figures, Picture, Report, ReportRequest, ReportSound, judged, listed, losses
from .grain_tables import (
    bands_table,
    codes_table,
    distances_table,
    errors_table,
    latent_distances_table,
    phases_text,
    sides_table,
    verdict,
)

TRAINING_WINDOWS = 4096  # percentiles to a part in a hundred, covariances of 40 bands to a part in fifty
TEST_WINDOWS = 2048  # deviations over clips need clips more than windows
HELD_WINDOWS = 16384  # only for codes: their means to a hundredth of a deviation
PICTURED_WINDOWS = 6
PICTURED_SECONDS = 10.0  # as in the post
SIDES_SECONDS = 30.0  # mean spectra of noise to a few tenths of a decibel
PATH_PLACES = 24  # of the path of codes that the sound of a picture takes
OVERLAP = 4  # overlapping grains in the sounds
FEWEST_WINDOWS = 2  # for a covariance
FALLBACKS: tuple[Part, ...] = ("test", "val", "held_out")


@dataclass(frozen=True)
class _ReportInputs:
    """Inputs of all parts of a report: the run, its network, windows drawn from the corpus, and training codes."""

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


def _prepare(run: Run, network: GrainAutoencoder) -> _ReportInputs:
    """Draw the windows of the report, and encode the training windows."""
    recipe = run.recipe
    assert isinstance(recipe, GrainRecipe)
    corpus, frame_settings, rng = run.corpus(), recipe.frames, np.random.default_rng(REPORT_SEED)
    training_sample = draw(corpus, "train", frame_settings, TRAINING_WINDOWS, rng)
    if training_sample is None or len(training_sample) < FEWEST_WINDOWS:
        raise UserError(silence_message(corpus, "training window"))
    window_counts = {part: HELD_WINDOWS if part == "held_out" else TEST_WINDOWS for part in FALLBACKS}
    samples_by_part = {part: draw(corpus, part, frame_settings, count, rng) for part, count in window_counts.items()}
    large_samples = (
        sample for sample in samples_by_part.values() if sample is not None and len(sample) >= FEWEST_WINDOWS
    )
    test_sample = next(large_samples, training_sample)
    training_codes = encode(network, training_sample.samples)
    is_adversarial = bool(recipe.network.adjudicator)
    code_distribution = (
        prior(training_codes.shape[1], recipe.network.deviation) if is_adversarial else fitted(training_codes)
    )
    return _ReportInputs(
        run,
        recipe,
        corpus,
        network,
        training_sample,
        samples_by_part["held_out"],
        test_sample,
        training_codes,
        code_distribution,
        rng,
    )


def _reconstruction(inputs: _ReportInputs, decoded: Array) -> tuple[Figures, Figures]:
    """Return reconstruction errors and bands of decoded test windows, unfiltered and filtered."""
    test_sample, rate = inputs.test, inputs.recipe.frames.sample_rate
    grains_by_filter = {"unfiltered": decoded, "filtered": filtered(decoded)}
    keeps_waveform = inputs.recipe.network.domain != "noise"
    return (
        {
            filter_name: textures.reconstruction(test_sample.samples, grains, test_sample.clips, rate)
            for filter_name, grains in grains_by_filter.items()
        },
        {
            filter_name: textures.bands(test_sample.samples, grains, test_sample.clips, rate, keeps_waveform)
            for filter_name, grains in grains_by_filter.items()
        },
    )


def _relative_error(inputs: _ReportInputs, decoded: Array) -> float:
    """Return the squared error of mel levels, as a share of that of the training mean."""
    rate = inputs.recipe.frames.sample_rate
    train_levels, test_levels, decoded_levels = (
        textures.log_mel(sounds, rate) for sounds in (inputs.train.samples, inputs.test.samples, decoded)
    )
    return float(np.square(test_levels - decoded_levels).sum() / np.square(test_levels - train_levels.mean(0)).sum())


def _words(inputs: _ReportInputs, judge: Judge, labels: Sequence[str]) -> Figures:
    """Return the share of rebuilt recordings that a classifier hears as their label, beside floors."""
    split = "train" if inputs.test.part == "held_out" else inputs.test.part
    return word_floors(
        inputs.corpus,
        split,
        inputs.train,
        lambda windows: inputs.decoded(encode(inputs.network, windows)),
        judge,
        labels,
        inputs.codes.shape[1],
        strangers=inputs.recipe.network.domain == "noise",
    )


def _spectral_distance(inputs: _ReportInputs, decoded: Array, generated: Array) -> Figures:
    """Return Fréchet distances to the test windows."""
    rate = inputs.recipe.frames.sample_rate
    test_levels = textures.log_mel(inputs.test.samples, rate)
    sounds_by_set = {
        "train": inputs.train.samples,
        "reconstruction": decoded,
        "filtered": filtered(decoded),
        "generated": generated,
    }
    levels_by_set = {set_name: textures.log_mel(sounds, rate) for set_name, sounds in sounds_by_set.items()}
    distances = set_distances(levels_by_set, test_levels, inputs.test is not inputs.train)
    return distances | {"drawn_from": "prior" if inputs.normal.prior else "fit"}


def _sides(inputs: _ReportInputs, exported: Callable[[], Patch]) -> Figures | None:
    """Return distances of the instrument's sides to the recordings', in stereo and in mono; None of a mono corpus."""
    corpus, part, frame_settings = inputs.corpus, inputs.test.part, inputs.recipe.frames
    if all(corpus.channels(clip) == 1 for clip in corpus.clips("train")):
        return None
    patch = exported()
    recording = stretch(corpus, part, frame_settings, SIDES_SECONDS, sides=True)
    mono_mix = stretch(corpus, part, frame_settings, SIDES_SECONDS)
    return {
        name: mean_sides_distance(recording, along(patch, mono_mix, image), corpus.rate)._asdict()
        for name, image in (("image", 1.0), ("mono", 0.0))
    }


def _codes(inputs: _ReportInputs, test_codes: Array) -> tuple[Figures, list[Picture]]:
    """Compare codes with their normal distribution; return figures and pictures."""
    coded_samples = {inputs.test.part: (test_codes, inputs.test)}
    if inputs.held_out is not None:
        coded_samples = {
            "held_out": (encode(inputs.network, inputs.held_out.samples), inputs.held_out),
            **coded_samples,
        }
    code_figures: Figures = {
        part: distribution(part_codes, sample.clips, inputs.normal, inputs.rng)
        for part, (part_codes, sample) in coded_samples.items()
    }
    training_levels = _levels(inputs.train.samples)
    for part, (_, sample) in coded_samples.items():
        latent_deviations = reweighted_deviations(inputs.codes, training_levels, _levels(sample.samples))
        code_figures[part]["as_loud"] = {
            "smallest_std": float(latent_deviations.min()),
            "largest_std": float(latent_deviations.max()),
        }
    code_figures["normal"] = {
        "prior": inputs.normal.prior,
        "mean": inputs.normal.mean.tolist(),
        "deviation": inputs.normal.deviation.tolist(),
    }
    labels_by_part = {
        "held_out": "ends of training clips",
        "test": "test clips",
        "val": "validation clips",
        "train": "training",
    }
    codes_by_label = {labels_by_part[part]: part_codes for part, (part_codes, _) in coded_samples.items()}
    sound_kinds = [_kind(inputs.corpus.clips("train")[clip_index].name) for clip_index in inputs.train.clips]
    frame_length = inputs.recipe.frames.frame_length
    pictured_sound = stretch(inputs.corpus, inputs.test.part, inputs.recipe.frames, PICTURED_SECONDS)
    code_path = encode(inputs.network, sequence(pictured_sound, frame_length, frame_length))
    path_sections = np.array_split(code_path, min(PATH_PLACES, len(code_path)))
    smoothed_path = np.stack([section.mean(0) for section in path_sections])
    return code_figures, [
        grain_figures.code_histograms(codes_by_label, inputs.normal),
        grain_figures.code_space(inputs.codes, sound_kinds, smoothed_path),
    ]


def _levels(samples: Array) -> Array:
    """Return root mean squares of windows, [windows]."""
    levels: Array = np.sqrt(np.square(samples).mean(1))
    return levels


def _kind(name: str) -> str:
    """Return the first word of a sound's name."""
    words = "".join(character if character.isalpha() else " " for character in name).split()
    return words[0].lower() if words else name


@torch.no_grad()
def _phases(inputs: _ReportInputs) -> tuple[Figures | None, list[Picture]]:
    """Compare neighbouring phases before and after the network; return figures and a picture, if it has phases."""
    domain = inputs.network.domain
    if not isinstance(domain, MagnitudePhase):
        return None, []
    test_windows = torch.from_numpy(inputs.test.samples)
    source_frames = domain.frame(domain.features(test_windows)).numpy()
    decoded_frames = inputs.network.decode(inputs.network.encode(test_windows)).numpy()
    far_apart_shares = {
        sound_name: float(np.mean(np.abs(np.diff(frames[:, domain.bins :])) > np.pi / 2))
        for sound_name, frames in (("source", source_frames), ("reconstruction", decoded_frames))
    }
    typical_index = _typical_window(inputs)
    source_pair, decoded_pair = (
        (frames[typical_index, : domain.bins], frames[typical_index, domain.bins :])
        for frames in (source_frames, decoded_frames)
    )
    decoded_wave = np.fft.irfft(decoded_pair[0] * np.exp(1j * decoded_pair[1]), domain.length)
    bins_hz = np.fft.rfftfreq(domain.length, 1 / inputs.recipe.frames.sample_rate)
    waveforms = [inputs.test.samples[typical_index], decoded_wave]
    return {"far_apart": far_apart_shares}, [grain_figures.phases(source_pair, decoded_pair, bins_hz, waveforms)]


def _typical_window(inputs: _ReportInputs) -> int:
    """Return the index of the test window of median energy."""
    window_energies = np.square(inputs.test.samples).sum(1)
    return int(np.argsort(window_energies)[len(window_energies) // 2])


def _report_sounds(inputs: _ReportInputs, generated: Array) -> list[ReportSound]:
    """Return a stretch of the split, its reconstruction, and random grains."""
    frame_settings = inputs.recipe.frames
    hop = frame_settings.frame_length // OVERLAP
    source_sound = stretch(inputs.corpus, inputs.test.part, frame_settings, PICTURED_SECONDS)
    decoded_grains = inputs.decoded(encode(inputs.network, sequence(source_sound, frame_settings.frame_length, hop)))
    is_noise = inputs.recipe.network.domain == "noise"
    captioned_sounds = {
        "source": ("The source.", source_sound),
        "remade": (
            "The model’s reconstruction: each grain encoded and decoded.",
            overlapped(decoded_grains, hop, "hann", is_noise),
        ),
        "random": (
            "Grains of random codes: the sound of random knob positions.",
            overlapped(generated[: len(decoded_grains)], hop, "hann", True),
        ),
    }
    return [
        ReportSound(name, caption, samples, frame_settings.sample_rate)
        for name, (caption, samples) in captioned_sounds.items()
    ]


def _sound_pictures(inputs: _ReportInputs, decoded: Array, generated: Array) -> list[Picture]:
    """Draw waveforms and spectra of test windows, decoded windows and random grains."""
    test_sample, frame_settings = inputs.test, inputs.recipe.frames
    rate, frame_length = frame_settings.sample_rate, frame_settings.frame_length
    pictured_indices = _pictured_windows(test_sample)
    source_sound = stretch(inputs.corpus, test_sample.part, frame_settings, PICTURED_SECONDS)
    resynthesis = resynthesised(inputs.network, inputs.recipe, source_sound, inputs.rng)
    bins_hz = np.fft.rfftfreq(textures.transform_length(frame_length), 1 / rate)
    typical_index = _typical_window(inputs)
    typical_grains = {
        "in": test_sample.samples[typical_index : typical_index + 1],
        "out": decoded[typical_index : typical_index + 1],
    }
    sounds_by_name = {"source": test_sample.samples, "reconstruction": decoded, "random codes": generated}
    return [
        grain_figures.grain_waveforms(
            test_sample.samples[pictured_indices],
            decoded[pictured_indices],
            rate,
            "waveforms",
            "Windows of the split, of as many clips as there are: what went in, and what came out.",
        ),
        grain_figures.grain_waveforms(
            test_sample.samples[pictured_indices],
            filtered(decoded[pictured_indices]),
            rate,
            "filtered",
            "The same windows, the upper 85 % of the bins of what came out set to zero, as the post did.",
        ),
        grain_figures.resynthesis(source_sound[: len(resynthesis)], resynthesis, rate),
        grain_figures.spectra(
            {sound_name: textures.powers(x)[0] for sound_name, x in typical_grains.items()},
            bins_hz,
            "grain_spectrum",
            "Spectrum of one window of middling level, in and out, in dB under the loudest bin that went in.",
        ),
        grain_figures.spectra(
            {sound_name: textures.powers(x).mean(0) for sound_name, x in sounds_by_name.items()},
            bins_hz,
            "average_spectrum",
            "Mean spectra of all measured windows, of what is decoded of them, and of what random codes give.",
        ),
    ]


def resynthesised(network: GrainAutoencoder, recipe: GrainRecipe, sound: Array, rng: np.random.Generator) -> Array:
    """Encode and decode windows without overlap: [samples]."""
    frame_length = recipe.frames.frame_length
    return decode(network, encode(network, sequence(sound, frame_length, frame_length)), recipe, rng).ravel()


def _pictured_windows(sample: GrainSample) -> list[int]:
    """Return indices of a few windows, each of another clip."""
    clip_indices = np.unique(sample.clips)
    window_indices_by_clip = (
        np.flatnonzero(sample.clips == clip_indices[i]) for i in evenly_spaced(len(clip_indices), PICTURED_WINDOWS)
    )
    return [int(clip_window_indices[len(clip_window_indices) // 2]) for clip_window_indices in window_indices_by_clip]


def grain_report(request: ReportRequest) -> Report:
    """Report how a network decodes unseen windows, how random codes sound, and how codes are spread."""
    request.progress(0.0, "cutting windows")
    inputs = _prepare(request.run, request.network)
    request.progress(0.3, "decoding the test windows")
    test_sample, log_lines = inputs.test, inputs.run.logged()
    test_codes = encode(inputs.network, test_sample.samples)
    decoded_grains = inputs.decoded(test_codes)
    generated_grains = inputs.decoded(inputs.normal.sample(TRAINING_WINDOWS, inputs.rng))
    reconstruction_figures, band_figures = _reconstruction(inputs, decoded_grains)
    request.progress(0.5, "comparing textures")
    distance_figures = _spectral_distance(inputs, decoded_grains, generated_grains)
    floor_figures = textures.grain_floors(
        inputs.train,
        test_sample,
        decoded_grains,
        generated_grains,
        inputs.codes.shape[1],
        inputs.recipe.frames.sample_rate,
    )
    request.progress(0.6, "comparing codes")
    if request.judge is not None:
        floor_figures["words"] = _words(inputs, request.judge, request.labels)
    code_figures, code_pictures = _codes(inputs, test_codes)
    latent_figures = latent_statistics.latent_figures(inputs.codes, None)
    loss_figures = losses(inputs.run, inputs.recipe.loss)
    phase_figures, phase_pictures = _phases(inputs)
    request.progress(0.65, "comparing sides")
    assert request.exported is not None
    sides_figures = _sides(inputs, request.exported)
    sounds = _report_sounds(inputs, generated_grains)
    figures = judged(
        verdict,
        run={
            **request.origin(),
            "tonal": inputs.run.info.tonal,
            "domain": inputs.recipe.network.domain,
            "adversarial": inputs.normal.prior,
            "parameters": sum(p.numel() for p in inputs.network.parameters()),
            "seconds": log_lines[-1]["seconds"] if log_lines else None,
        },
        split=test_sample.part,
        clips=len(np.unique(test_sample.clips)),
        frames=len(test_sample),
        frames_in_split=test_sample.windows_in_part,
        sounds=listed(sounds),
        recordings=recordings(inputs.corpus),
        relative_error=_relative_error(inputs, decoded_grains),
        reconstruction=reconstruction_figures,
        floors=floor_figures,
        bands=band_figures,
        spectral_distance=distance_figures,
        codes=code_figures,
        phases=phase_figures,
        sides=sides_figures,
        latents=latent_figures,
        loss=loss_figures,
    )
    pictures = [
        *_sound_pictures(inputs, decoded_grains, generated_grains),
        *code_pictures,
        *phase_pictures,
        *grain_figures.loss_parts(loss_figures, request.step),
        *([frame_figures.correlation(latent_figures["correlation"])] if inputs.codes.shape[1] > 1 else []),
    ]
    page = report_page(
        request,
        figures,
        pictures,
        {
            "Sound": ["waveforms", "resynthesis"],
            "Bands": [bands_table(band_figures), "average_spectrum", "grain_spectrum", "filtered"],
            "Texture": [distances_table(distance_figures)],
            "Sides": [sides_table(sides_figures, "The instrument plays the codes of the recordings.")]
            if sides_figures
            else [],
            "Knobs": [latent_distances_table(latent_figures, code_figures), "correlation"],
        },
        {
            "Reconstruction": [errors_table(figures), floors_table({"This network": floor_figures})],
            "Codes": [codes_table(code_figures), "codes", "code_space"],
            "Phases": [phases_text(phase_figures), "phases"] if phase_figures else [],
            "Training": ["loss"],
        },
    )
    return Report(figures, pictures, sounds, page)
