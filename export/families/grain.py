"""The grain family: its ONNX graphs, and its report on unseen windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from markupsafe import Markup
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.model.card import NormalPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.store import Corpus
from ...train.families.grain.data import overlapped, windows
from ...train.families.grain.network import GrainAutoencoder, MagnitudePhase
from ...train.families.grain.recipe import GrainRecipe
from ...train.metrics.clips import frechet
from ...train.run import Run
from ...train.sampling import evenly_spaced, random_indices
from ..graphs import CODES, SEED, EncodedFrames, Graphs, NetworkDecoder
from ..measures import codes as latent_statistics
from ..measures import grains as textures
from ..measures.codes import CodeDistribution, distribution, fitted, prior, reweighted_deviations
from ..measures.grains import GrainSample, Part, decode, draw, encode, filtered, sequence, stretch
from ..measures.sounds import recordings, silence_message
from ..reports.figures import clips as grain_figures
from ..reports.figures import frames as frame_figures
from ..reports.measure import Measure, latents_table, likeness, measures_across, measures_down
from ..reports.page import faint, listening, noted, paragraphs, picture_renderer, report_page, table
from ..reports.report import SEED as REPORT_SEED
from ..reports.report import (
    Figures,
    Picture,
    Report,
    ReportRequest,
    ReportSound,
    judged,
    listed,
    losses,
)
from ..reports.verdict import (
    Sentence,
    Verdict,
    alive,
    dead,
    knobs_in_use,
    learned,
    likeness_sentence,
    minus,
    percent,
    short_events,
    verdict_of,
)
from .family import ExportFamily

UNWRAP_STRAYS = 0.1  # of windows: one of 500 phases, half a turn from its predecessor, unwraps the other way
HOPS = 4  # per grain, for cutting sounds to encode: training uses nearly every start position
DOMAINS = {"samples": "samples", "magnitude_phase": "magnitude_phase", "noise": "magnitude"}


class GrainEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n]."""

    def __init__(self, network: GrainAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor) -> Tensor:
        return self.network.encode(audio)


LEAST_DB = -40.0  # added power below this level is not distinguished
RECONSTRUCTION = (
    Measure("Mean square error of samples", "sample_mean_square", ".3g", "The post’s measure."),
    Measure(
        "The same against the sound’s energy, dB",
        "sample_error_db",
        ".1f",
        "0 is what silence has. Fresh noise of the right level has +3: of a network that decodes a filter for noise, "
        "both say nothing.",
    ),
    Measure(
        "Spectral convergence, dB",
        "spectral_convergence_db",
        ".1f",
        "Magnitudes: energy of the error against that of the sound. Perfect, but fresh, noise has about −3.",
    ),
    Measure(
        "Log-spectral distance, dB",
        "log_spectral_distance_db",
        ".1f",
        "How far levels of 40 mel bands are off on average: what counts for textures. Fresh noise of the right "
        "spectrum has 2 to 4.",
    ),
)
PARTS = {
    "held_out": "Ends of training clips",
    "test": "Test clips",
    "val": "Validation clips",
    "train": "Training windows",
}


def page(figures: Figures, pictures: Sequence[Picture], demo: str | None = None) -> str:
    render_pictures = picture_renderer(pictures)
    return report_page(
        figures,
        listening(demo, figures["sounds"]),
        {
            "Sound": render_pictures("waveforms", "resynthesis"),
            "Bands": _bands(figures) + render_pictures("average_spectrum", "grain_spectrum", "filtered"),
            "Texture": _texture(figures),
            "Knobs": _latents(figures) + render_pictures("correlation"),
        },
        {
            "Reconstruction": _sound(figures),
            "Codes": _code_rows(figures) + render_pictures("codes", "code_space"),
            "Phases": _phase_rows(figures) + render_pictures("phases"),
            "Training": render_pictures("loss"),
        },
    )


def _sound(figures: Figures) -> Markup:
    columns = {"As decoded": figures["reconstruction"]["unfiltered"], "Filtered": figures["reconstruction"]["filtered"]}
    note = (
        f"Relative error on levels of 40 mel bands: {figures['relative_error']:.2f}, where 1 has learned nothing. "
        "Below each figure: mean ± standard deviation of the clips’ own. Filtered: without the upper 85 % of the bins, "
        "as the post did."
    )
    return measures_down(RECONSTRUCTION, columns, note)


BANDS = (
    Measure("kHz", "name"),
    Measure("Level", "level_db.mean", "+.1f", "against the sound’s own in the band."),
    Measure(
        "Added", lambda band: _level_text(band["excess_db"]), "", "power beyond the sound’s own, in pieces of 100 Hz."
    ),
    Measure("Added, filtered", lambda band: _level_text(band["filtered"]["excess_db"])),
    Measure(
        "Noise",
        lambda band: _level_text(band["noise_db"]) if band["noise_db"] else None,
        "",
        "power that is no filtered copy of the sound’s waveform; networks that decode a filter for noise give nothing "
        "else, and have no figure.",
    ),
)


def _bands(figures: Figures) -> Markup:
    pairs = zip(figures["bands"]["unfiltered"], figures["bands"]["filtered"], strict=True)
    rows = [{**band, "name": _band_name(band), "filtered": filtered_band} for band, filtered_band in pairs]
    rows[-1]["name"] = f"All above {rows[-1]['name'].split(' ')[0]}"
    return measures_across(BANDS, rows, "Mean over clips, in dB.")


def _band_name(band: Figures) -> str:
    return f"{band['low_hz'] / 1000:g} – {band['high_hz'] / 1000:.3g}"


def signed(level: float) -> str:
    return minus(f"{level:+.1f}")


def _level_text(figure: dict[str, float]) -> str:
    return "≤ −40" if figure["mean"] <= LEAST_DB else signed(figure["mean"])


def _texture(figures: Figures) -> Markup:
    distance = figures["spectral_distance"]
    code_source = "the prior" if distance["drawn_from"] == "prior" else "a normal distribution fitted to training codes"
    names = {
        "train": "Training windows",
        "reconstruction": "Decoded windows of the split",
        "filtered": "The same, filtered",
        "generated": f"Random codes, drawn from {code_source}",
    }
    return likeness(distance, names, "windows")


def _code_rows(figures: Figures) -> Markup:
    codes = figures["codes"]
    parts = [part for part in PARTS if part in codes]
    normal = codes["normal"]
    labels = {
        "largest_mean": "Largest mean of a latent",
        "smallest_std": "Smallest deviation",
        "largest_std": "Largest deviation",
        "largest_correlation": "Largest correlation of two",
        "kolmogorov_smirnov": "Kolmogorov–Smirnov distance, worst latent",
        "energy": "Energy coefficient, jointly",
    }
    rows = []
    for name, label in labels.items():
        cells: list[str] = []
        for part in parts:
            by_chance = codes[part]["by_chance"]
            digits = 3 if name == "energy" else 2
            chance = f"{by_chance[name]:.{digits}f} by chance" if name in by_chance else ""
            cells.append(noted(_interval(codes[part][name], digits), chance))
        rows.append([label, *cells])
    deviations = [[f"{codes[part]['as_loud'][name]:.2f}" for name in ("smallest_std", "largest_std")] for part in parts]
    rows.append(["Deviations of training windows that are as loud", *(" to ".join(pair) for pair in deviations)])
    shares = table(["", *(PARTS[part] for part in parts)], rows, len(parts))
    clips = " and ".join(f"{codes[part]['clips']} {PARTS[part].lower()}" for part in parts)
    reference = (
        f"the prior, mean 0 and deviation {normal['deviation'][0]:g}"
        if normal["prior"]
        else "a normal distribution fitted to training codes: no prior was trained toward"
    )
    return shares + faint(
        f"95 % intervals are a bootstrap over clips ({clips}). Distances are to {reference}; 0 is the same, 1 is "
        "apart. By chance: the distance of truly normal codes, one a clip."
    )


def _interval(figure: dict[str, float], digits: int) -> str:
    value, low, high = (minus(f"{figure[name]:.{digits}f}") for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _latents(figures: Figures) -> Markup:
    part = next(part for part in PARTS if part in figures["codes"])
    distances = [dimension["kolmogorov_smirnov"]["value"] for dimension in figures["codes"][part]["dimensions"]]
    meaning = f"Kolmogorov–Smirnov, {PARTS[part].lower()}."
    distance = Measure("Distance", lambda latent: distances[int(latent["number"])], ".3f", meaning)
    return latents_table(figures["latents"], "windows", [distance])


def _phase_rows(figures: Figures) -> Markup:
    if figures["phases"] is None:
        return Markup()
    share = figures["phases"]["far_apart"]
    source, reconstruction = (percent(share[name]) for name in ("source", "reconstruction"))
    text = (
        f"After unwrapping, {source} of neighbouring phases of the sounds are more than π/2 apart, and "
        f"{reconstruction} of those that come out. The post wants none; multiples of 2π can only bring neighbours "
        "within π, and those of noise lie anywhere."
    )
    return paragraphs([text])


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


def _prepare(run: Run, network: GrainAutoencoder) -> _Work:
    recipe = run.recipe
    assert isinstance(recipe, GrainRecipe)
    corpus, settings, rng = run.corpus(), recipe.frames, np.random.default_rng(REPORT_SEED)
    train = draw(corpus, "train", settings, TRAINING_WINDOWS, rng)
    if train is None or len(train) < FEWEST_WINDOWS:
        raise UserError(silence_message(corpus, "training window"))
    counts = {part: HELD_WINDOWS if part == "held_out" else TEST_WINDOWS for part in FALLBACKS}
    samples_by_part = {part: draw(corpus, part, settings, count, rng) for part, count in counts.items()}
    large_samples = (
        sample for sample in samples_by_part.values() if sample is not None and len(sample) >= FEWEST_WINDOWS
    )
    test = next(large_samples, train)
    latents = encode(network, train.samples)
    adversarial = bool(recipe.network.adjudicator)
    normal = prior(latents.shape[1], recipe.network.deviation) if adversarial else fitted(latents)
    return _Work(run, recipe, corpus, network, train, samples_by_part["held_out"], test, latents, normal, rng)


def _figures(work: _Work, request: ReportRequest) -> tuple[Figures, list[Picture], list[ReportSound]]:
    test, logged = work.test, work.run.logged()
    test_codes = encode(work.network, test.samples)
    decoded = work.decoded(test_codes)
    generated = work.decoded(work.normal.sample(TRAINING_WINDOWS, work.rng))
    reconstruction, bands = _reconstruction(work, decoded)
    request.progress(0.5, "comparing textures")
    distance = _spectral_distance(work, decoded, generated)
    request.progress(0.6, "comparing codes")
    distributions, code_pictures = _codes(work, test_codes)
    latents = latent_statistics.latent_figures(work.codes, None)
    loss = losses(work.run, work.recipe.loss)
    loss_pictures = [grain_figures.loss_parts(loss["steps"], loss["terms"], request.step)] if loss["steps"] else []
    phases, phase_pictures = _phases(work)
    sounds = _report_sounds(work, generated)
    figures = judged(
        verdict,
        run={
            **request.origin(),
            "tonal": work.run.info.tonal,
            "domain": work.recipe.network.domain,
            "adversarial": work.normal.prior,
            "parameters": sum(p.numel() for p in work.network.parameters()),
            "seconds": logged[-1]["seconds"] if logged else None,
        },
        split=test.part,
        clips=len(np.unique(test.clips)),
        frames=len(test),
        frames_in_split=test.windows_in_part,
        sounds=listed(sounds),
        recordings=recordings(work.corpus),
        relative_error=_relative_error(work, decoded),
        reconstruction=reconstruction,
        bands=bands,
        spectral_distance=distance,
        codes=distributions,
        phases=phases,
        latents=latents,
        loss=loss,
    )
    pictures = [*_sound_pictures(work, decoded, generated), *code_pictures, *phase_pictures, *loss_pictures]
    if latents["codes"] and work.codes.shape[1] > 1:
        pictures.append(frame_figures.correlation(latents["correlation"]))
    return figures, pictures, sounds


def _reconstruction(work: _Work, decoded: Array) -> tuple[Figures, Figures]:
    test, rate = work.test, work.recipe.frames.sample_rate
    decodings = {"unfiltered": decoded, "filtered": filtered(decoded)}
    keeps_waveform = work.recipe.network.domain != "noise"
    return (
        {name: textures.reconstruction(test.samples, grains, test.clips, rate) for name, grains in decodings.items()},
        {
            name: textures.bands(test.samples, grains, test.clips, rate, keeps_waveform)
            for name, grains in decodings.items()
        },
    )


def _relative_error(work: _Work, decoded: Array) -> float:
    """1 means nothing learned."""
    rate = work.recipe.frames.sample_rate
    train_levels, test_levels, decoded_levels = (
        textures.log_mel(sounds, rate) for sounds in (work.train.samples, work.test.samples, decoded)
    )
    return float(np.square(test_levels - decoded_levels).sum() / np.square(test_levels - train_levels.mean(0)).sum())


def _spectral_distance(work: _Work, decoded: Array, generated: Array) -> Figures:
    rate = work.recipe.frames.sample_rate
    test_levels = textures.log_mel(work.test.samples, rate)
    sets = {
        "train": work.train.samples,
        "reconstruction": decoded,
        "filtered": filtered(decoded),
        "generated": generated,
    }
    distances: Figures = {name: frechet(textures.log_mel(x, rate), test_levels) for name, x in sets.items()}
    distances["ratio"] = distances["generated"] / distances["train"] if work.test is not work.train else None
    distances["drawn_from"] = "prior" if work.normal.prior else "fit"
    return distances


def _codes(work: _Work, test_codes: Array) -> tuple[Figures, list[Picture]]:
    samples = {work.test.part: (test_codes, work.test)}
    if work.held_out is not None:
        samples = {"held_out": (encode(work.network, work.held_out.samples), work.held_out), **samples}
    code_figures: Figures = {
        part: distribution(latents, sample.clips, work.normal, work.rng) for part, (latents, sample) in samples.items()
    }
    training = _levels(work.train.samples)
    for part, (_, sample) in samples.items():
        deviations = reweighted_deviations(work.codes, training, _levels(sample.samples))
        code_figures[part]["as_loud"] = {
            "smallest_std": float(deviations.min()),
            "largest_std": float(deviations.max()),
        }
    code_figures["normal"] = {
        "prior": work.normal.prior,
        "mean": work.normal.mean.tolist(),
        "deviation": work.normal.deviation.tolist(),
    }
    names = {"held_out": "ends of training clips", "test": "test clips", "val": "validation clips", "train": "training"}
    codes_by_label = {names[part]: latents for part, (latents, _) in samples.items()}
    kinds = [_kind(work.corpus.clips("train")[clip].name) for clip in work.train.clips]
    length = work.recipe.frames.frame_length
    sound = stretch(work.corpus, work.test.part, work.recipe.frames, PICTURED_SECONDS)
    path = encode(work.network, sequence(sound, length, length))
    return code_figures, [
        grain_figures.code_histograms(codes_by_label, work.normal),
        grain_figures.code_space(work.codes, kinds, _smoothed(path)),
    ]


def _levels(samples: Array) -> Array:
    levels: Array = np.sqrt(np.square(samples).mean(1))
    return levels


def _kind(name: str) -> str:
    letters = "".join(letter if letter.isalpha() else " " for letter in name).split()
    return letters[0].lower() if letters else name


def _smoothed(path: Array, places: int = 24) -> Array:
    return np.stack([section.mean(0) for section in np.array_split(path, min(places, len(path)))])


@torch.no_grad()
def _phases(work: _Work) -> tuple[Figures | None, list[Picture]]:
    domain = work.network.domain
    if not isinstance(domain, MagnitudePhase):
        return None, []
    windows = torch.from_numpy(work.test.samples)
    source_frames = domain.frame(domain.features(windows)).numpy()
    decoded_frames = work.network.decode(work.network.encode(windows)).numpy()
    share = {
        name: float(np.mean(np.abs(np.diff(frames[:, domain.bins :])) > np.pi / 2))
        for name, frames in (("source", source_frames), ("reconstruction", decoded_frames))
    }
    middle = _typical_window(work)
    waves = [work.test.samples[middle], np.fft.irfft(_complex(decoded_frames[middle], domain.bins), domain.length)]
    pair = [
        (frames[middle, : domain.bins], frames[middle, domain.bins :]) for frames in (source_frames, decoded_frames)
    ]
    hz = np.fft.rfftfreq(domain.length, 1 / work.recipe.frames.sample_rate)
    return {"far_apart": share}, [grain_figures.phases(pair[0], pair[1], hz, waves)]


def _complex(frame: Array, bins: int) -> npt.NDArray[Any]:
    spectrum: npt.NDArray[Any] = frame[:bins] * np.exp(1j * frame[bins:])
    return spectrum


def _typical_window(work: _Work) -> int:
    energy = np.square(work.test.samples).sum(1)
    return int(np.argsort(energy)[len(energy) // 2])


def _report_sounds(work: _Work, generated: Array) -> list[ReportSound]:
    frames = work.recipe.frames
    hop = frames.frame_length // OVERLAP
    sound = stretch(work.corpus, work.test.part, frames, PICTURED_SECONDS)
    decoded = work.decoded(encode(work.network, sequence(sound, frames.frame_length, hop)))
    noise = work.recipe.network.domain == "noise"
    captions = {
        "source": ("The source.", sound),
        "remade": (
            "What the model made of it: each grain encoded and decoded.",
            overlapped(decoded, hop, "hann", noise),
        ),
        "random": (
            "Grains of random codes: the sound of random knob positions.",
            overlapped(generated[: len(decoded)], hop, "hann", True),
        ),
    }
    return [ReportSound(name, caption, samples, frames.sample_rate) for name, (caption, samples) in captions.items()]


def _sound_pictures(work: _Work, decoded: Array, generated: Array) -> list[Picture]:
    test, frames = work.test, work.recipe.frames
    rate, length = frames.sample_rate, frames.frame_length
    pictured = _pictured_windows(test)
    sound = stretch(work.corpus, test.part, frames, PICTURED_SECONDS)
    remade = resynthesised(work.network, work.recipe, sound, work.rng)
    hz = np.fft.rfftfreq(textures.transform_length(length), 1 / rate)
    middle = _typical_window(work)
    grain = {"in": test.samples[middle : middle + 1], "out": decoded[middle : middle + 1]}
    means = {"source": test.samples, "reconstruction": decoded, "random codes": generated}
    return [
        grain_figures.grain_waveforms(
            test.samples[pictured],
            decoded[pictured],
            rate,
            "waveforms",
            "Windows of the split, of as many clips as there are: what went in, and what came out.",
        ),
        grain_figures.grain_waveforms(
            test.samples[pictured],
            filtered(decoded[pictured]),
            rate,
            "filtered",
            "The same windows, the upper 85 % of the bins of what came out set to zero, as the post did.",
        ),
        grain_figures.resynthesis(sound[: len(remade)], remade, rate),
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


def _pictured_windows(sample: GrainSample) -> list[int]:
    clips = np.unique(sample.clips)
    windows_per_clip = (np.flatnonzero(sample.clips == clips[i]) for i in evenly_spaced(len(clips), PICTURED_WINDOWS))
    return [int(clip_windows[len(clip_windows) // 2]) for clip_windows in windows_per_clip]


DULL_DB = 6.0  # half of the amplitude missing is clearly audible
NOISY_DB = 6.0  # noise at this level below the sound is audible
# Of the prior's deviation, and of two latents: a walk then reaches every trained sound.
DEVIATION_TOLERANCE, LARGEST_CORRELATION = 0.05, 0.15


def _faults(figures: Figures) -> list[str]:
    high_band = figures["bands"]["unfiltered"][-1]
    level_db, excess_db = high_band["level_db"]["mean"], high_band["excess_db"]["mean"]
    dull = [f"dull ({-level_db:.0f} dB too quiet above 3 kHz)"] if level_db <= -DULL_DB else []
    return dull + ([f"noisy ({_excess_text(excess_db)} above 3 kHz)"] if excess_db >= -NOISY_DB else [])


def _excess_text(excess_db: float) -> str:
    return f"added power {abs(excess_db):.0f} dB {'over' if excess_db >= 0 else 'under'} the sound’s own"


def _prior_sentence(figures: Figures) -> Sentence:
    if not figures["run"]["adversarial"]:
        return Sentence("Codes were trained toward no prior: play those of sounds, as drawn ones may lie between them.")
    codes = figures["codes"]
    part = next(part for part in ("held_out", figures["split"]) if part in codes)
    spread, prior_deviation = codes[part], codes["normal"]["deviation"][0]
    mean, correlation = spread["largest_mean"]["value"], spread["largest_correlation"]["value"]
    low, high = spread["smallest_std"]["value"], spread["largest_std"]["value"]
    near_prior = (
        mean <= DEVIATION_TOLERANCE * prior_deviation
        and low >= (1 - DEVIATION_TOLERANCE) * prior_deviation
        and high <= (1 + DEVIATION_TOLERANCE) * prior_deviation
    )
    good = near_prior and correlation <= LARGEST_CORRELATION
    fills = "Codes fill" if good else "Codes do not quite fill"
    return Sentence(
        f"{fills} the prior: deviations of {low:.2f} to {high:.2f} where {prior_deviation:g} is wanted.", good
    )


def verdict(figures: Figures) -> Verdict:
    if not alive(figures):
        return verdict_of([dead(figures)])
    worst = learned(figures["relative_error"], "grains of the recordings are no nearer than their mean would be")
    more = short_events(figures, "grains keep the colour of a sound and scatter its moments")
    if figures["run"]["tonal"]:
        pitched = percent(figures["recordings"]["pitched"])
        more.append(f"Melodies are lost: {pitched} of the sound has a pitch, and keys do not choose it.")
    likeness = likeness_sentence(figures["spectral_distance"]["ratio"], _faults(figures))
    return verdict_of([likeness, _prior_sentence(figures), knobs_in_use(figures)], more, worst)


class GrainExport(ExportFamily[GrainRecipe, GrainAutoencoder]):
    recipe = "texture-10"
    purpose = "a texture of grains, which keys move and knobs walk"
    demo = "texture.wav"
    completing = ("frames.held_out=0",)

    @torch.no_grad()
    def graphs(self, network: GrainAutoencoder, recipe: GrainRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        training_windows = windows(corpus, "train", recipe.frames)
        places = random_indices(len(training_windows), CODES, np.random.default_rng(SEED))
        sounds = torch.from_numpy(training_windows.take_grains(corpus, places, recipe.frames.frame_length))
        clips = [training_windows.clips[number] for number in training_windows.places(places).clip.tolist()]
        adversarial = bool(network.settings.adjudicator)
        return Graphs(
            decoder=NetworkDecoder(network),
            encoder=GrainEncoder(network),
            decoder_chroma=False,
            encoder_chroma=False,
            codes=EncodedFrames(network.encode(sounds).numpy(), [clip.label or clip.name for clip in clips]),
            card={
                "kind": "grain",
                "domain": DOMAINS[network.settings.domain],
                "hop_length": recipe.frames.frame_length // HOPS,
                "window": "blackman",
                "prior": NormalPrior(normal=(0.0, network.settings.deviation)) if adversarial else None,
                "chroma": None,
                "envelope_points": network.settings.envelope_points or 0,
            },
            strays=UNWRAP_STRAYS if network.settings.domain == "magnitude_phase" else 0.0,
        )

    def report(self, request: ReportRequest) -> Report:
        run, network, progress = request.run, request.network, request.progress
        progress(0.0, "cutting windows")
        work = _prepare(run, network)
        progress(0.3, "decoding the test windows")
        figures, pictures, sounds = _figures(work, request)
        return Report(figures, pictures, sounds, page(figures, pictures, request.demo))

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys move its grains in pitch, knobs walk its sounds"
