"""The partials family: its ONNX graphs, and its report on notes beside recordings."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...host.arrays import Doubles
from ...host.errors import UserError
from ...host.kinds.card_fields import PITCH_CLASSES
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.families.partials.data import PartialsRows, measure_levels, pieces, rows, shifted
from ...train.families.partials.network import PartialsAutoencoder, magnitudes
from ...train.families.partials.recipe import PartialsFrames, PartialsRecipe
from ...train.frames import sources
from ...train.sampling import random_indices
from ..fidelity.comparison import NOTES, Comparison, compare_notes
from ..fidelity.images import corpus_image
from ..fidelity.page import figures_section, notes_parts
from ..gestures.build import gestures_of
from ..gestures.code_fitting import PitchedCodeFitter
from ..graphs import CODES, SEED, EncodedFrames, Graphs, velocities_of
from ..knobs import effects
from ..knobs.code_turn import PRIOR
from ..knobs.naming import arranged_partials, checked, pitched_ground
from ..measures import codes as latent_statistics
from ..measures.sounds import recordings, silence_message
from ..reports import frame_figures
from ..reports.floor_tables import above_floor, floors_table
from ..reports.measure import (
    CAME_BACK_DB,
    Measure,
    Verdict,
    alive,
    dead,
    knobs_in_use,
    latents_table,
    left_out,
    likeness,
    measures_down,
    set_distances,
    unlike,
    verdict_of,
)
from ..reports.page import report_page
from ..reports.report import SEED as REPORT_SEED
from ..reports.report import Figures, Report, ReportRequest, evaluated_split, judged, losses
from .family import ExportFamily
from .partials_floors import partials_floors


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
        band_levels = self.network.bands.of_power(spectrum.square().sum(-1))
        return self.network.encode_levels(band_levels, pitch[:, 0])


MEL_BANDS = Measure(
    "Mel bands, dB",
    "bands_db",
    ".1f",
    "Each frame decoded from its own code: the difference in 64 bands, as of notes.",
    most=CAME_BACK_DB,
)
RECONSTRUCTION = (
    MEL_BANDS,
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
REPORT_CODES = 4096  # training frames to encode
NEAREST = 8  # the nearest 1 / NEAREST of training frames in pitch may stand beside a test frame
QUIETEST_DB = -60.0  # below a frame's highest band: softer bands are masked by it


def _decoding_errors(network: PartialsAutoencoder, levels: torch.Tensor, pitches: torch.Tensor) -> Figures:
    """Return the errors of decoded test frames, in dB."""
    decoded_frames = network.decode(network.encode(levels, pitches), pitches)
    target_bands, decoded_bands = (network.bands(frames, pitches) for frames in (magnitudes(levels), decoded_frames))
    errors_db = 20 * torch.log10(decoded_frames.clamp_min(1e-6)) - levels.clamp_min(-120.0)
    harmonic_count = network.harmonics
    audible = (levels[:, :harmonic_count] > -80.0) & network.bands.below_nyquist(pitches)
    return {
        "bands_db": float((decoded_bands - target_bands).square().mean(1).sqrt().mean()),
        "harmonics_db": float(errors_db[:, :harmonic_count][audible].square().mean().sqrt()),
        "noise_db": float(errors_db[:, harmonic_count:].square().mean(1).sqrt().mean()),
    }


def _distance(
    network: PartialsAutoencoder, train: PartialsRows, test: PartialsRows, split: Split, frames: PartialsFrames
) -> Figures:
    """Return Fréchet distances to the test frames.

    Training frames, from the eighth nearest in pitch, are resampled to the test pitch, as in a sampler.
    """
    rng, test_count = np.random.default_rng(REPORT_SEED), len(test.pitches)
    neighbour_count = max(1, len(train.pitches) // NEAREST)
    pitch_order = np.argsort(train.pitches, kind="stable")
    first_neighbours = np.clip(
        np.searchsorted(train.pitches[pitch_order], test.pitches) - neighbour_count // 2,
        0,
        len(pitch_order) - neighbour_count,
    )
    picked_indices = pitch_order[first_neighbours + rng.integers(neighbour_count, size=test_count)]
    shifted_levels = shifted(train.levels[picked_indices], test.pitches - train.pitches[picked_indices], frames)
    frame_levels, test_pitches = test.tensors()
    test_codes = network.encode(frame_levels, test_pitches)
    training_codes = network.encode(*train.tensors()).numpy()
    low_ends, high_ends = np.percentile(training_codes, latent_statistics.SPAN, axis=0)
    random_codes = torch.from_numpy(rng.uniform(low_ends, high_ends, test_codes.shape).astype(np.float32))
    frames_by_set = {
        "train": (magnitudes(torch.from_numpy(shifted_levels)), test_pitches),
        "reconstruction": (network.decode(test_codes, test_pitches), test_pitches),
        "generated": (network.decode(random_codes, test_pitches), test_pitches),
    }
    test_band_levels = _levels(network, magnitudes(frame_levels), test_pitches)
    levels_by_set = {name: _levels(network, *pitched_frames) for name, pitched_frames in frames_by_set.items()}
    return set_distances(levels_by_set, test_band_levels, split != "train")


def _levels(network: PartialsAutoencoder, frames: torch.Tensor, pitches: torch.Tensor) -> Doubles:
    """Return mel-band levels in dB below each frame's highest, at least -60."""
    band_levels = network.bands(frames, pitches).numpy().astype(np.float64)
    band_levels -= band_levels.max(1, keepdims=True)
    floored_levels: Doubles = np.maximum(band_levels, QUIETEST_DB)
    return floored_levels


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on reconstructed frames and knobs, and the shortcomings."""
    if not alive(figures):
        return verdict_of([dead(figures)])
    came_back_sentence = MEL_BANDS.sentence(
        MEL_BANDS.read(figures["reconstruction"]),
        f"Frames of {'recordings' if figures['split'] == 'train' else 'unheard recordings'} come back {{:.1f}} dB off",
        ": train longer, or with more recordings",
    )
    came_back_sentence = above_floor(figures, "bands_db", came_back_sentence)
    return verdict_of([came_back_sentence, knobs_in_use(figures)], [*unlike(figures), *left_out(figures)])


class PartialsExport(ExportFamily[PartialsRecipe, PartialsAutoencoder]):
    recipe = "tuned-partials"
    purpose = "keys will choose the note, knobs the colour"
    demo = "scale.wav"
    keyed = True
    played = True

    def graphs(self, network: PartialsAutoencoder, recipe: PartialsRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        frame_settings = recipe.frames
        training_origins = list(sources(corpus, "train", frame_settings, tonal=True))
        if not training_origins:
            raise UserError(silence_message(corpus, "training frame"))
        encoded_origins = [
            training_origins[i] for i in random_indices(len(training_origins), CODES, np.random.default_rng(SEED))
        ]
        ordered_latents = arranged_partials(network, recipe, corpus)
        network = ordered_latents.network
        pitches = np.array([origin.note for origin in encoded_origins], np.float32)
        with torch.no_grad():
            levels = torch.from_numpy(
                measure_levels(pieces(corpus, encoded_origins, frame_settings), pitches, frame_settings)
            )
            training_codes = network.encode(levels, torch.from_numpy(pitches)).numpy()
        lowest_pitch, highest_pitch = frame_settings.span
        middle_pitch = torch.tensor([(lowest_pitch + highest_pitch) / 2])
        decoder, encoder = PartialsDecoder(network), PartialsEncoder(network, recipe)

        @torch.no_grad()
        def sound(codes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            middle_pitches = middle_pitch.expand(len(codes))
            band_levels: npt.NDArray[np.float32] = network.bands(
                network.decode(torch.from_numpy(codes), middle_pitches), middle_pitches
            ).numpy()
            return band_levels

        encoded_frames = EncodedFrames(
            training_codes,
            [origin.clip.label or origin.clip.name for origin in encoded_origins],
            np.round(pitches).astype(np.int64) % PITCH_CLASSES,
            names=ordered_latents.names,
            moves={name: knob.moves for name, knob in zip(ordered_latents.names, ordered_latents.knobs, strict=True)},
            sound=sound,
            notes=pitches.astype(np.float64),
            velocities=velocities_of(origin.clip for origin in encoded_origins),
            instruments=[origin.clip.label for origin in encoded_origins],
        )
        return Graphs(
            decoder=decoder,
            encoder=encoder,
            pitched=True,
            codes=encoded_frames,
            gestures=lambda model: gestures_of(
                corpus, PitchedCodeFitter(encoder, decoder, model.card, network.bands), model
            ),
            card={
                "kind": "partials",
                "domain": "partials",
                "hop_length": frame_settings.hop_length,
                "window": "hann",
                "prior": PRIOR,
                "chroma": None,
                "partials": frame_settings.layout,
                "image": corpus_image(corpus),
            },
        )

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys choose the note" if tonal else "keys choose the colour"

    def report(self, request: ReportRequest) -> Report:
        """Report how a network decodes unseen frames, and how an instrument's notes compare with recordings."""
        run, network, progress, trial = request.run, request.network, request.progress, request.trial
        recipe, corpus = run.recipe, run.corpus()
        assert isinstance(recipe, PartialsRecipe)
        progress(0.0, "taking frames apart")
        tested_corpus = corpus if trial is None else trial.corpus
        report_frame_settings = recipe.frames.model_copy(update={"rows": REPORT_CODES})
        no_frames_message = silence_message(corpus, "training frame")
        split, test_rows = evaluated_split(
            lambda split: rows(tested_corpus, split, report_frame_settings),
            no_frames_message,
            len,
        )
        training_rows = rows(corpus, "train", report_frame_settings)
        if not len(training_rows):
            raise UserError(no_frames_message)
        ordered_latents = arranged_partials(network, recipe, corpus)
        network = ordered_latents.network
        with torch.no_grad():
            training_codes = network.encode(*training_rows.tensors()).numpy()
            tested_network = network if trial is None else trial.network
            decoding_errors = _decoding_errors(tested_network, *test_rows.tensors())
            learned_rows = training_rows if trial is None else rows(tested_corpus, "train", report_frame_settings)
            floor_figures = partials_floors(tested_network, learned_rows, test_rows, split, recipe.frames)
            distance_figures = _distance(tested_network, learned_rows, test_rows, split, recipe.frames)
        latent_figures, loss_figures = latent_statistics.latent_figures(training_codes, None), losses(run, recipe.loss)
        knob_ground = pitched_ground(network, test_rows, (ordered_latents.ground.low, ordered_latents.ground.high))
        figures = judged(
            verdict,
            run=request.origin(),
            split=split,
            clips=len(tested_corpus.clips(split)),
            frames=len(test_rows),
            frames_in_split=sum(1 for _ in sources(tested_corpus, split, recipe.frames, tonal=True)),
            sounds={},
            recordings=recordings(corpus),
            reconstruction=decoding_errors,
            floors=floor_figures,
            spectral_distance=distance_figures,
            latents=latent_figures,
            knobs=checked(ordered_latents, knob_ground, split),
            loss=loss_figures,
        )
        notes = Comparison()
        if request.exported is not None and alive(figures):
            notes = compare_notes(
                request.exported(),
                tested_corpus,
                REPORT_SEED,
                lambda share, description: progress(0.3 + 0.7 * share, description),
                NOTES,
                None if trial is None else trial.exported(),
            )
        figures["notes"] = notes.figures
        pitch_classes = np.floor(training_rows.pitches + 0.5).astype(np.int64) % PITCH_CLASSES
        pictures = [
            *frame_figures.latent_pictures(training_codes, pitch_classes, latent_figures),
            *frame_figures.loss_curve(loss_figures, request.step),
            *notes.pictures,
        ]
        page = report_page(
            request,
            figures,
            pictures,
            {
                "Notes beside recordings": [figures_section(notes.figures)],
                "Knobs": [effects.section(figures["knobs"]), "embedding"],
            },
            {
                "Frames": [
                    measures_down(RECONSTRUCTION, {"Root mean square": decoding_errors}),
                    floors_table({"This network": floor_figures}),
                    likeness(distance_figures, SETS, "frames"),
                ],
                "Latents": [latents_table(latent_figures), "histograms", "correlation"],
                "Training": ["loss"],
            },
            notes=notes_parts(notes),
        )
        return Report(figures, pictures, notes.sounds, page, notes.pages)
