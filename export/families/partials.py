"""The partials family: its ONNX graphs, and its report on notes beside recordings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...host.arrays import Doubles
from ...host.errors import UserError
from ...host.model.card import PITCH_CLASSES, UniformPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.families.partials.data import PartialsRows, measure_levels, pieces, rows, shifted
from ...train.families.partials.network import PartialsAutoencoder, magnitudes
from ...train.families.partials.recipe import PartialsFrames, PartialsRecipe
from ...train.frames import sources
from ...train.metrics.clips import frechet
from ...train.sampling import random_indices
from ..fidelity import page as pages
from ..fidelity.comparison import NOTES, compare_notes, with_notes
from ..gestures.build import gestures_of
from ..gestures.code_fitting import PitchedCodeFitter
from ..graphs import CODES, SEED, EncodedFrames, Graphs
from ..knobs import sensitivity as knobs
from ..knobs.naming import arranged_partials, checked, pitched_ground
from ..measures import codes as latent_statistics
from ..measures.sounds import recordings, silence_message
from ..reports.figures import frames as frame_figures
from ..reports.measure import Measure, latents_table, likeness, measures_down
from ..reports.page import listening, picture_renderer, pressed, report_page
from ..reports.report import (
    SEED as REPORT_SEED,
)
from ..reports.report import (
    Figures,
    Picture,
    Report,
    ReportRequest,
    evaluated_split,
    judged,
    losses,
)
from ..reports.verdict import (
    CAME_BACK_DB,
    Sentence,
    Verdict,
    alive,
    dead,
    knobs_in_use,
    left_out,
    unlike,
    verdict_of,
)
from .family import ExportFamily


class PartialsDecoder(nn.Module):
    """latent [voice, n], pitch [voice, 1] → frame [voice, harmonics + bands]."""

    def __init__(self, network: PartialsAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, pitch: Tensor) -> Tensor:
        return self.network.decode(latent, pitch[:, 0])


class PartialsEncoder(nn.Module):
    """audio [batch, frame_length], pitch [batch, 1] → latent [batch, n]."""

    def __init__(self, network: PartialsAutoencoder, recipe: PartialsRecipe) -> None:
        super().__init__()
        self.network = network
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(recipe.frames.frame_length, periodic=True))

    def forward(self, audio: Tensor, pitch: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft(audio * self.window))
        levels = self.network.bands.of_power(spectrum.square().sum(-1))
        return self.network.encode_levels(levels, pitch[:, 0])


RECONSTRUCTION = (
    Measure(
        "Mel bands, dB",
        "bands_db",
        ".1f",
        "Each frame decoded from its own code: the difference in 64 bands, as of notes.",
    ),
    Measure(
        "Harmonics, dB", "harmonics_db", ".1f", "The difference of the heights of those within 80 dB of the frame."
    ),
    Measure("Noise, dB", "noise_db", ".1f", "The difference of the noise between harmonics, over its bands."),
)

SETS = {
    "train": "Training frames, moved to the pitches of the split",
    "reconstruction": "Decoded frames of the split",
    "generated": "Random codes of the knobs’ spans, at the pitches of the split",
}


def page(
    figures: Figures,
    pictures: Sequence[Picture],
    instrument: Path | None = None,
    notes: Mapping[str, str] = MappingProxyType({}),
    demo: str | None = None,
) -> str:
    render_pictures = picture_renderer(pictures)
    return report_page(
        figures,
        {
            "The instrument": listening(demo, figures["sounds"])["The instrument"],
            "Notes beside recordings": pages.notes_section(figures["notes"], notes, render_pictures),
        },
        {
            "Notes beside recordings": pages.figures_section(figures["notes"]),
            "Knobs": knobs.section(figures["knobs"]) + pressed(render_pictures, instrument),
        },
        {
            "Frames": measures_down(RECONSTRUCTION, {"Root mean square": figures["reconstruction"]})
            + likeness(figures["spectral_distance"], SETS, "frames"),
            "Latents": latents_table(figures["latents"]) + render_pictures("histograms", "correlation"),
            "Training": render_pictures("loss"),
        },
    )


REPORT_CODES = 4096  # training frames to encode
NEAREST = 8  # the nearest 1 / NEAREST of training frames in pitch may stand beside a test frame
QUIETEST_DB = -60.0  # below a frame's highest band: softer bands are masked by it


def _decoding_errors(network: PartialsAutoencoder, levels: torch.Tensor, pitches: torch.Tensor) -> Figures:
    decoded = network.decode(network.encode(levels, pitches), pitches)
    target_bands, decoded_bands = (network.bands(frames, pitches) for frames in (magnitudes(levels), decoded))
    errors_db = 20 * torch.log10(decoded.clamp_min(1e-6)) - levels.clamp_min(-120.0)
    harmonics = network.harmonics
    audible = (levels[:, :harmonics] > -80.0) & network.bands.below_nyquist(pitches)
    return {
        "bands_db": float((decoded_bands - target_bands).square().mean(1).sqrt().mean()),
        "harmonics_db": float(errors_db[:, :harmonics][audible].square().mean().sqrt()),
        "noise_db": float(errors_db[:, harmonics:].square().mean(1).sqrt().mean()),
    }


def _distance(
    network: PartialsAutoencoder, train: PartialsRows, test: PartialsRows, split: Split, frames: PartialsFrames
) -> Figures:
    """Training frames, from the eighth nearest in pitch, are resampled to the test pitch, as in a sampler."""
    rng, count = np.random.default_rng(REPORT_SEED), len(test.pitches)
    neighbours = max(1, len(train.pitches) // NEAREST)
    order = np.argsort(train.pitches, kind="stable")
    first = np.clip(np.searchsorted(train.pitches[order], test.pitches) - neighbours // 2, 0, len(order) - neighbours)
    picked_rows = order[first + rng.integers(neighbours, size=count)]
    shifted_levels = shifted(train.levels[picked_rows], test.pitches - train.pitches[picked_rows], frames)
    levels, pitches = map(torch.from_numpy, test)
    codes = network.encode(levels, pitches)
    training_codes = network.encode(*map(torch.from_numpy, train)).numpy()
    low, high = np.percentile(training_codes, latent_statistics.SPAN, axis=0)
    random_codes = torch.from_numpy(rng.uniform(low, high, codes.shape).astype(np.float32))
    sets = {
        "train": (magnitudes(torch.from_numpy(shifted_levels)), pitches),
        "reconstruction": (network.decode(codes, pitches), pitches),
        "generated": (network.decode(random_codes, pitches), pitches),
    }
    test_levels = _levels(network, magnitudes(levels), pitches)
    distances: Figures = {
        name: frechet(_levels(network, *pitched_frames), test_levels) for name, pitched_frames in sets.items()
    }
    distances["ratio"] = (
        distances["generated"] / distances["train"] if split != "train" and distances["train"] else None
    )
    return distances


def _levels(network: PartialsAutoencoder, frames: torch.Tensor, pitches: torch.Tensor) -> Doubles:
    """In dB below each frame's highest, at least -60."""
    levels = network.bands(frames, pitches).numpy().astype(np.float64)
    levels -= levels.max(1, keepdims=True)
    floored_levels: Doubles = np.maximum(levels, QUIETEST_DB)
    return floored_levels


def verdict(figures: Figures) -> Verdict:
    if not alive(figures):
        return verdict_of([dead(figures)])
    error_db = figures["reconstruction"]["bands_db"]
    statement = (
        f"Frames of {'recordings' if figures['split'] == 'train' else 'unheard recordings'} come back "
        f"{error_db:.1f} dB off"
    )
    good = error_db <= CAME_BACK_DB
    came_back = Sentence(f"{statement}." if good else f"{statement}: train longer, or with more recordings.", good)
    return verdict_of([came_back, knobs_in_use(figures)], [*unlike(figures), *left_out(figures)])


class PartialsExport(ExportFamily[PartialsRecipe, PartialsAutoencoder]):
    recipe = "tuned-partials"
    purpose = "keys will choose the note, knobs the colour"
    demo = "scale.wav"
    keyed = True
    played = True

    def graphs(self, network: PartialsAutoencoder, recipe: PartialsRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        frames = recipe.frames
        training_frames = list(sources(corpus, "train", frames, tonal=True))
        if not training_frames:
            raise UserError(silence_message(corpus, "training frame"))
        encoded_frames = [
            training_frames[i] for i in random_indices(len(training_frames), CODES, np.random.default_rng(SEED))
        ]
        knobs = arranged_partials(network, recipe, corpus)
        network = knobs.network
        pitches = np.array([source.note for source in encoded_frames], np.float32)
        with torch.no_grad():
            levels = torch.from_numpy(measure_levels(pieces(corpus, encoded_frames, frames), pitches, frames))
            latents = network.encode(levels, torch.from_numpy(pitches)).numpy()
        low, high = frames.span
        middle = torch.tensor([(low + high) / 2])
        decoder, encoder = PartialsDecoder(network), PartialsEncoder(network, recipe)

        @torch.no_grad()
        def sound(codes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            pitch = middle.expand(len(codes))
            levels: npt.NDArray[np.float32] = network.bands(
                network.decode(torch.from_numpy(codes), pitch), pitch
            ).numpy()
            return levels

        codes = EncodedFrames(
            latents,
            [source.clip.label or source.clip.name for source in encoded_frames],
            np.round(pitches).astype(np.int64) % PITCH_CLASSES,
            names=knobs.names,
            moves={name: knob.moves for name, knob in zip(knobs.names, knobs.knobs, strict=True)},
            sound=sound,
        )
        return Graphs(
            decoder=decoder,
            encoder=encoder,
            decoder_chroma=False,
            encoder_chroma=False,
            pitched=True,
            codes=codes,
            gestures=lambda model: gestures_of(
                corpus, PitchedCodeFitter(encoder, decoder, model.card, network.bands), model
            ),
            card={
                "kind": "partials",
                "domain": "partials",
                "hop_length": frames.hop_length,
                "window": "hann",
                "prior": UniformPrior(uniform=(0.0, 1.0)),
                "chroma": None,
                "directions": knobs.directions,
                "partials": frames.layout,
            },
        )

    def report(self, request: ReportRequest) -> Report:
        run, network, progress = request.run, request.network, request.progress
        trial = request.trial
        recipe, corpus = run.recipe, run.corpus()
        assert isinstance(recipe, PartialsRecipe)
        progress(0.0, "taking frames apart")
        tested_corpus = corpus if trial is None else trial.corpus
        report_frames = recipe.frames.model_copy(update={"rows": REPORT_CODES})
        no_frames_message = silence_message(corpus, "training frame")
        split, test = evaluated_split(
            lambda split: rows(tested_corpus, split, report_frames),
            no_frames_message,
            lambda split_rows: len(split_rows.pitches),
        )
        train = rows(corpus, "train", report_frames)
        if not len(train.pitches):
            raise UserError(no_frames_message)
        knobs = arranged_partials(network, recipe, corpus)
        network = knobs.network
        with torch.no_grad():
            codes = network.encode(*map(torch.from_numpy, train)).numpy()
            tested_network = network if trial is None else trial.network
            decoding_errors = _decoding_errors(tested_network, *map(torch.from_numpy, test))
            learned_rows = train if trial is None else rows(tested_corpus, "train", report_frames)
            distance = _distance(tested_network, learned_rows, test, split, recipe.frames)
        latents, loss = latent_statistics.latent_figures(codes, None), losses(run, recipe.loss)
        pictures = frame_figures.latent_pictures(
            codes, np.floor(train.pitches + 0.5).astype(np.int64) % PITCH_CLASSES, latents
        )
        if loss["steps"]:
            pictures.append(frame_figures.loss_curve(loss["steps"], loss["terms"], request.step))
        figures = judged(
            verdict,
            run=request.origin(),
            split=split,
            clips=len(tested_corpus.clips(split)),
            frames=len(test[1]),
            frames_in_split=sum(1 for _ in sources(tested_corpus, split, recipe.frames, tonal=True)),
            sounds={},
            recordings=recordings(corpus),
            reconstruction=decoding_errors,
            spectral_distance=distance,
            latents=latents,
            knobs=checked(knobs, pitched_ground(network, *test, (knobs.ground.low, knobs.ground.high)), split),
            loss=loss,
        )
        notes = None
        if request.exported is not None and alive(figures):
            notes = compare_notes(
                request.exported(),
                tested_corpus,
                REPORT_SEED,
                lambda share, description: progress(0.3 + 0.7 * share, description),
                NOTES,
                None if trial is None else trial.exported(),
            )
        figures["notes"] = None if notes is None else notes.figures
        return with_notes(
            Report(figures, pictures, [], ""), notes, page, instrument=request.instrument, demo=request.demo
        )

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys choose the note" if tonal else "keys choose the colour"
