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
from ..reports.figures import frames as figures
from ..reports.measure import Measure, latents_table, likeness, measures_across, measures_down
from ..reports.page import faint, listening, noted, paragraphs, report_page, shown, table
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

UNWRAPPED = 0.1  # of windows: one of 500 phases, half a turn from its predecessor, unwraps the other way
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


def page(found: Figures, pictures: Sequence[Picture], heard: str | None = None) -> str:
    of = shown(pictures)
    return report_page(
        found,
        listening(heard, found["sounds"]),
        {
            "Sound": of("waveforms", "resynthesis"),
            "Bands": _bands(found) + of("average_spectrum", "grain_spectrum", "filtered"),
            "Texture": _texture(found),
            "Knobs": _latents(found) + of("correlation"),
        },
        {
            "Reconstruction": _sound(found),
            "Codes": _code_rows(found) + of("codes", "code_space"),
            "Phases": _phase_rows(found) + of("phases"),
            "Training": of("loss"),
        },
    )


def _sound(found: Figures) -> Markup:
    ways = {"As decoded": found["reconstruction"]["unfiltered"], "Filtered": found["reconstruction"]["filtered"]}
    note = (
        f"Relative error on levels of 40 mel bands: {found['relative_error']:.2f}, where 1 has learned nothing. Below "
        "each figure: mean ± standard deviation of the clips’ own. Filtered: without the upper 85 % of the bins, as "
        "the post did."
    )
    return measures_down(RECONSTRUCTION, ways, note)


BANDS = (
    Measure("kHz", "name"),
    Measure("Level", "level_db.mean", "+.1f", "against the sound’s own in the band."),
    Measure("Added", lambda band: _least(band["excess_db"]), "", "power beyond the sound’s own, in pieces of 100 Hz."),
    Measure("Added, filtered", lambda band: _least(band["filtered"]["excess_db"])),
    Measure(
        "Noise",
        lambda band: _least(band["noise_db"]) if band["noise_db"] else None,
        "",
        "power that is no filtered copy of the sound’s waveform; networks that decode a filter for noise give nothing "
        "else, and have no figure.",
    ),
)


def _bands(found: Figures) -> Markup:
    pairs = zip(found["bands"]["unfiltered"], found["bands"]["filtered"], strict=True)
    rows = [{**plain, "name": _band_name(plain), "filtered": shaped} for plain, shaped in pairs]
    rows[-1]["name"] = f"All above {rows[-1]['name'].split(' ')[0]}"
    return measures_across(BANDS, rows, "Mean over clips, in dB.")


def _band_name(band: Figures) -> str:
    return f"{band['low_hz'] / 1000:g} – {band['high_hz'] / 1000:.3g}"


def signed(level: float) -> str:
    return minus(f"{level:+.1f}")


def _least(figure: dict[str, float]) -> str:
    return "≤ −40" if figure["mean"] <= LEAST_DB else signed(figure["mean"])


def _texture(found: Figures) -> Markup:
    distance = found["spectral_distance"]
    drawn = "the prior" if distance["drawn_from"] == "prior" else "a normal distribution fitted to training codes"
    names = {
        "train": "Training windows",
        "reconstruction": "Decoded windows of the split",
        "filtered": "The same, filtered",
        "generated": f"Random codes, drawn from {drawn}",
    }
    return likeness(distance, names, "windows")


def _code_rows(found: Figures) -> Markup:
    codes = found["codes"]
    parts = [part for part in PARTS if part in codes]
    normal = codes["normal"]
    figures = {
        "largest_mean": "Largest mean of a latent",
        "smallest_std": "Smallest deviation",
        "largest_std": "Largest deviation",
        "largest_correlation": "Largest correlation of two",
        "kolmogorov_smirnov": "Kolmogorov–Smirnov distance, worst latent",
        "energy": "Energy coefficient, jointly",
    }
    rows = []
    for name, label in figures.items():
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
    what = (
        f"the prior, mean 0 and deviation {normal['deviation'][0]:g}"
        if normal["prior"]
        else "a normal distribution fitted to training codes: no prior was trained toward"
    )
    return shares + faint(
        f"95 % intervals are a bootstrap over clips ({clips}). Distances are to {what}; 0 is the same, 1 is apart. "
        "By chance: the distance of truly normal codes, one a clip."
    )


def _interval(figure: dict[str, float], digits: int) -> str:
    value, low, high = (minus(f"{figure[name]:.{digits}f}") for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _latents(found: Figures) -> Markup:
    part = next(part for part in PARTS if part in found["codes"])
    distances = [dimension["kolmogorov_smirnov"]["value"] for dimension in found["codes"][part]["dimensions"]]
    told = f"Kolmogorov–Smirnov, {PARTS[part].lower()}."
    distance = Measure("Distance", lambda latent: distances[int(latent["number"])], ".3f", told)
    return latents_table(found["latents"], "windows", [distance])


def _phase_rows(found: Figures) -> Markup:
    if found["phases"] is None:
        return Markup()
    share = found["phases"]["far_apart"]
    source, reconstruction = (percent(share[name]) for name in ("source", "reconstruction"))
    told = (
        f"After unwrapping, {source} of neighbouring phases of the sounds are more than π/2 apart, and "
        f"{reconstruction} of those that come out. The post wants none; multiples of 2π can only bring neighbours "
        "within π, and those of noise lie anywhere."
    )
    return paragraphs([told])


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
    parts = {part: draw(corpus, part, settings, count, rng) for part, count in counts.items()}
    enough = (sample for sample in parts.values() if sample is not None and len(sample) >= FEWEST_WINDOWS)
    test = next(enough, train)
    latents = encode(network, train.samples)
    adversarial = bool(recipe.network.adjudicator)
    normal = prior(latents.shape[1], recipe.network.deviation) if adversarial else fitted(latents)
    return _Work(run, recipe, corpus, network, train, parts["held_out"], test, latents, normal, rng)


def _figures(work: _Work, request: ReportRequest) -> tuple[Figures, list[Picture], list[ReportSound]]:
    test, logged = work.test, work.run.logged()
    test_codes = encode(work.network, test.samples)
    given = work.decoded(test_codes)
    generated = work.decoded(work.normal.sample(TRAINING_WINDOWS, work.rng))
    reconstruction, bands = _reconstruction(work, given)
    request.say(0.5, "comparing textures")
    distance = _spectral_distance(work, given, generated)
    request.say(0.6, "comparing codes")
    distributions, code_pictures = _codes(work, test_codes)
    latents = latent_statistics.latent_figures(work.codes, None)
    loss = losses(work.run, work.recipe.loss)
    loss_pictures = [grain_figures.loss_parts(loss["steps"], loss["terms"], request.step)] if loss["steps"] else []
    phases, phase_pictures = _phases(work)
    heard = _report_sounds(work, generated)
    found = judged(
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
        grain_figures.grain_waveforms(
            test.samples[few],
            given[few],
            rate,
            "waveforms",
            "Windows of the split, of as many clips as there are: what went in, and what came out.",
        ),
        grain_figures.grain_waveforms(
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


DULL_DB = 6.0  # half of the amplitude missing is clearly audible
NOISY_DB = 6.0  # noise at this level below the sound is audible
NEAR, CORRELATED = 0.05, 0.15  # of the prior's deviation; of two latents: a walk then reaches every trained sound


def _faults(found: Figures) -> list[str]:
    high = found["bands"]["unfiltered"][-1]
    level, added = high["level_db"]["mean"], high["excess_db"]["mean"]
    dull = [f"dull ({-level:.0f} dB too quiet above 3 kHz)"] if level <= -DULL_DB else []
    return dull + ([f"noisy ({_side(added)} above 3 kHz)"] if added >= -NOISY_DB else [])


def _side(added: float) -> str:
    return f"added power {abs(added):.0f} dB {'over' if added >= 0 else 'under'} the sound’s own"


def _space(found: Figures) -> Sentence:
    if not found["run"]["adversarial"]:
        return Sentence("Codes were trained toward no prior: play those of sounds, as drawn ones may lie between them.")
    codes = found["codes"]
    part = next(part for part in ("held_out", found["split"]) if part in codes)
    spread, wanted = codes[part], codes["normal"]["deviation"][0]
    mean, correlation = spread["largest_mean"]["value"], spread["largest_correlation"]["value"]
    low, high = spread["smallest_std"]["value"], spread["largest_std"]["value"]
    near = mean <= NEAR * wanted and low >= (1 - NEAR) * wanted and high <= (1 + NEAR) * wanted
    good = near and correlation <= CORRELATED
    fills = "Codes fill" if good else "Codes do not quite fill"
    return Sentence(f"{fills} the prior: deviations of {low:.2f} to {high:.2f} where {wanted:g} is wanted.", good)


def verdict(found: Figures) -> Verdict:
    if not alive(found):
        return verdict_of([dead(found)])
    worst = learned(found["relative_error"], "grains of the recordings are no nearer than their mean would be")
    more = short_events(found, "grains keep the colour of a sound and scatter its moments")
    if found["run"]["tonal"]:
        pitched = percent(found["recordings"]["pitched"])
        more.append(f"Melodies are lost: {pitched} of the sound has a pitch, and keys do not choose it.")
    likeness = likeness_sentence(found["spectral_distance"]["ratio"], _faults(found))
    return verdict_of([likeness, _space(found), knobs_in_use(found)], more, worst)


class GrainExport(ExportFamily[GrainRecipe, GrainAutoencoder]):
    recipe = "texture-10"
    purpose = "a texture of grains, which keys move and knobs walk"
    demo = "texture.wav"
    completing = ("frames.held_out=0",)

    @torch.no_grad()
    def graphs(self, network: GrainAutoencoder, recipe: GrainRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        found = windows(corpus, "train", recipe.frames)
        places = random_indices(len(found), CODES, np.random.default_rng(SEED))
        sounds = torch.from_numpy(found.take_grains(corpus, places, recipe.frames.frame_length))
        clips = [found.clips[number] for number in found.places(places).clip.tolist()]
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
            strays=UNWRAPPED if network.settings.domain == "magnitude_phase" else 0.0,
        )

    def report(self, request: ReportRequest) -> Report:
        run, network, say = request.run, request.network, request.say
        say(0.0, "cutting windows")
        work = _prepare(run, network)
        say(0.3, "decoding the test windows")
        found, pictures, sounds = _figures(work, request)
        return Report(found, pictures, sounds, page(found, pictures, request.heard))

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys move its grains in pitch, knobs walk its sounds"
