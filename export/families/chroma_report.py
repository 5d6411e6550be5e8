"""Reports on chroma networks: unseen frames, keys, knobs."""

from dataclasses import dataclass

import numpy as np
import torch

from ...host.arrays import Array, Integers
from ...host.errors import UserError
from ...host.units import PITCH_CLASSES, note_name
from ...train.corpus.clip_table import Clip
from ...train.corpus.store import Corpus
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.frames import sources
from ...train.run import Run
from ...train.sampling import evenly_spaced, random_indices
from ..fidelity.comparison import NOTES, Comparison, compare_notes
from ..fidelity.notes import HELD_OUT
from ..fidelity.page import figures_section, notes_parts
from ..knobs import effects
from ..knobs.naming import OrderedLatents, arranged, checked, ground
from ..measures import codes as latent_statistics
from ..measures import frames as measures
from ..measures.frames import (
    FrameSample,
    cut,
    decode,
    draw,
    encode,
    mesh,
    obedience,
    on_keys,
    resynthesised,
    sounding,
    strongest,
    trained_classes,
)
from ..measures.sounds import mel_levels, recordings, silence_message
from ..reports import frame_figures
from ..reports.floor_tables import floors_table
from ..reports.measure import (
    alive,
    latents_table,
    likeness,
    set_distances,
)
from ..reports.page import report_page
from ..reports.report import SEED as REPORT_SEED
from ..reports.report import Figures, Picture, Report, ReportRequest, ReportSound, judged, listed, losses
from .chroma_tables import SETS, errors_table, key_tables, verdict

TRAINING_FRAMES = 4096  # percentiles to a part in a hundred
TEST_FRAMES = 2048  # a deviation over clips needs clips more than frames
KEY_CODES = 512  # training codes decoded on every key: with twelve keys, shares to 0.2 %
MESH_POINTS = 4096  # codes sampled over the latents' spans; approximate for a regular mesh
HEARD_CODES = 32  # codes analysed on every key: with twelve keys, shares to 1 %
PICTURED_FRAMES = 8
LONGEST_NAME = 30  # characters of a picture's title
PICTURED_SECONDS = 8.0  # of a clip: a longer picture is too narrow to read


@dataclass(frozen=True)
class _ReportInputs:
    """Inputs of all parts of a report: the run, its network, and frames of training and of an unseen split."""

    run: Run
    recipe: ChromaRecipe
    corpus: Corpus
    network: ChromaAutoencoder
    folded: bool
    train: FrameSample
    test: FrameSample
    rng: np.random.Generator
    knobs: OrderedLatents | None


def _prepare(run: Run, network: ChromaAutoencoder) -> _ReportInputs:
    """Draw the frames of the report, and arrange the latents."""
    recipe = run.recipe
    assert isinstance(recipe, ChromaRecipe)
    corpus, frame_settings, rng = run.corpus(), recipe.frames, np.random.default_rng(REPORT_SEED)
    folded = frame_settings.fold is not None and run.info.tonal
    training_sample = draw(corpus, "train", frame_settings, folded, TRAINING_FRAMES, rng)
    if training_sample is None:
        raise UserError(silence_message(corpus, "training frame"))
    test_samples = (draw(corpus, split, frame_settings, folded, TEST_FRAMES, rng) for split in HELD_OUT)
    test_sample = next((sample for sample in test_samples if sample is not None), None)
    if test_sample is None:
        test_sources = [training_sample.sources[i] for i in random_indices(len(training_sample), TEST_FRAMES, rng)]
        test_sample = cut(corpus, "train", test_sources, frame_settings, folded, training_sample.frames_in_split)
    ordered_latents = arranged(network, recipe, corpus, run.info.tonal)
    network = network if ordered_latents is None else ordered_latents.network
    return _ReportInputs(run, recipe, corpus, network, folded, training_sample, test_sample, rng, ordered_latents)


def _knob_figures(inputs: _ReportInputs) -> Figures | None:
    """Return figures of the arranged knobs on test frames; None without arrangement."""
    if inputs.knobs is None:
        return None
    knob_ends = inputs.knobs.ground.low, inputs.knobs.ground.high
    return checked(inputs.knobs, ground(inputs.network, inputs.recipe, inputs.test, knob_ends), inputs.test.split)


def _reconstruction(inputs: _ReportInputs) -> tuple[Figures, Figures, list[Picture], list[ReportSound]]:
    """Decode the test frames on their own and on other keys; return errors, floors, pictures and sounds."""
    frame_settings, network, test_sample = inputs.recipe.frames, inputs.network, inputs.test
    class_means = _means(inputs)
    test_codes = encode(network, test_sample.spectra, test_sample.pitch_classes)
    decoded_spectra = decode(network, test_codes, test_sample.pitch_classes)
    error_figures = {
        "same_key": measures.reconstruction(
            test_sample.spectra, decoded_spectra, test_sample.clips, class_means[test_sample.pitch_classes]
        ),
    }
    if _transposes_frames(inputs):
        other_pitch_classes = (test_sample.pitch_classes + inputs.rng.integers(1, 12, len(test_sample))) % 12
        target_spectra = on_keys(inputs.corpus, test_sample.sources, other_pitch_classes, frame_settings)
        error_figures["another_key"] = measures.reconstruction(
            target_spectra,
            decode(network, test_codes, other_pitch_classes),
            test_sample.clips,
            class_means[other_pitch_classes],
        )
    floor_figures = measures.frame_floors(
        inputs.train, test_sample, decoded_spectra, network.settings.latents, conditioned=network.conditioned
    )
    pictured_indices = _pictured_frames(test_sample)
    frame_titles = [_title(test_sample, i, inputs.folded) for i in pictured_indices]
    typical_clip = _typical_clip(inputs, decoded_spectra)
    pictures = [
        frame_figures.reconstructions(
            test_sample.spectra[pictured_indices],
            decoded_spectra[pictured_indices],
            frame_titles,
            frame_settings.sample_rate,
        ),
        _spectrogram(inputs, typical_clip),
    ]
    return error_figures, floor_figures, pictures, _sounds(inputs, typical_clip)


def _transposes_frames(inputs: _ReportInputs) -> bool:
    return inputs.folded and inputs.recipe.frames.views > 1 and inputs.network.conditioned


def _means(inputs: _ReportInputs) -> Array:
    """Return mean spectra by pitch class; folded corpora count every frame on a second key too."""
    training_sample = inputs.train
    if not _transposes_frames(inputs):
        return measures.mean_spectra(training_sample.spectra, training_sample.pitch_classes)
    second_pitch_classes = (training_sample.pitch_classes + inputs.rng.integers(1, 12, len(training_sample))) % 12
    transposed_spectra = on_keys(inputs.corpus, training_sample.sources, second_pitch_classes, inputs.recipe.frames)
    return measures.mean_spectra(
        np.concatenate([training_sample.spectra, transposed_spectra]),
        np.concatenate([training_sample.pitch_classes, second_pitch_classes]),
    )


def _pictured_frames(sample: FrameSample) -> list[int]:
    """Return indices of a few frames, spread over the sounds of a sample."""
    indices_by_sound: dict[tuple[str, int], list[int]] = {}
    for i, origin in enumerate(sample.sources):
        midi_note = round(origin.note) if np.isfinite(origin.note) else -1
        indices_by_sound.setdefault((origin.clip.label or origin.clip.name, midi_note), []).append(i)
    middle_indices = [sound_indices[len(sound_indices) // 2] for sound_indices in indices_by_sound.values()]
    return [middle_indices[i] for i in evenly_spaced(len(middle_indices), PICTURED_FRAMES)]


def _title(sample: FrameSample, index: int, folded: bool) -> str:
    origin = sample.sources[index]
    key_name = PITCH_CLASSES[sample.pitch_classes[index]]
    note_text = note_name(round(origin.note)) if np.isfinite(origin.note) else key_name
    transposition_text = f", moved to {key_name}" if folded else ""
    return f"{_short(origin.clip.label or origin.clip.name)} · {note_text}{transposition_text}"


def _short(name: str) -> str:
    """Cut the start off a name that is too long."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def _typical_clip(inputs: _ReportInputs, decoded: Array) -> Clip:
    """Return the test clip whose error is the median."""
    test_sample = inputs.test
    clip_errors = np.bincount(test_sample.clips, np.square(test_sample.spectra - decoded).mean(1)) / np.bincount(
        test_sample.clips
    )
    median_clip_index = int(np.argsort(clip_errors)[len(clip_errors) // 2])
    return test_sample.sources[int(np.argmax(test_sample.clips == median_clip_index))].clip


def _sounds(inputs: _ReportInputs, clip: Clip) -> list[ReportSound]:
    """Return the start of a clip, and its reconstruction."""
    frame_settings = inputs.recipe.frames
    sound_pair = resynthesised(inputs.corpus, clip, inputs.network, frame_settings, inputs.folded, PICTURED_SECONDS)
    transposition_text = " and moved back to its pitch" if inputs.folded else ""
    captions = (
        f"The source: {clip.label or clip.name}, whose error is the median of all clips’.",
        f"The model’s reconstruction: encoded, decoded{transposition_text}, with the source’s levels and phases.",
    )
    return [
        ReportSound(name, caption, sound, frame_settings.sample_rate)
        for name, caption, sound in zip(("source", "remade"), captions, sound_pair, strict=True)
    ]


def _spectrogram(inputs: _ReportInputs, clip: Clip) -> Picture:
    """Draw the start of a clip before and after the network."""
    frame_settings, test_sample = inputs.recipe.frames, inputs.test
    last_start_sample = PICTURED_SECONDS * frame_settings.sample_rate - frame_settings.frame_length
    split_origins = sources(inputs.corpus, test_sample.split, frame_settings, tonal=inputs.folded)
    clip_origins = [
        origin
        for origin in split_origins
        if origin.clip.name == clip.name and origin.start <= max(last_start_sample, 0)
    ]
    sample = cut(
        inputs.corpus, test_sample.split, clip_origins, frame_settings, inputs.folded, test_sample.frames_in_split
    )
    decoded_spectra = decode(
        inputs.network, encode(inputs.network, sample.spectra, sample.pitch_classes), sample.pitch_classes
    )
    start_seconds = np.array([origin.start for origin in clip_origins]) / frame_settings.sample_rate
    hop_seconds = frame_settings.hop_length / frame_settings.sample_rate
    title = _short(clip.label or clip.name)
    return frame_figures.spectrogram(
        sample.spectra, decoded_spectra, start_seconds, hop_seconds, title, frame_settings.sample_rate
    )


@torch.no_grad()
def _divergence(inputs: _ReportInputs) -> Array | None:
    """Return latents' mean divergence from the prior over training frames, in nats; None unless variational."""
    one_hot_classes = np.eye(12, dtype=np.float32)[inputs.train.pitch_classes]
    mean, log_variance = inputs.network.distribution(
        torch.from_numpy(inputs.train.spectra), torch.from_numpy(one_hot_classes)
    )
    if log_variance is None:
        return None
    divergence: Array = (0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)).mean(0).numpy()
    return divergence


def _spectral_distance(inputs: _ReportInputs, latents: Figures) -> Figures:
    """Return Fréchet distances; pitch classes are equal, as the ratio would otherwise compare keys."""
    rate, test_sample = inputs.recipe.frames.sample_rate, inputs.test
    low_ends, high_ends = frame_figures.knob_ends(latents)
    random_codes = inputs.rng.uniform(low_ends, high_ends, (len(test_sample), len(low_ends))).astype(np.float32)
    training_indices = inputs.rng.integers(len(inputs.train), size=len(test_sample))
    if inputs.folded:
        pitch_classes = test_sample.pitch_classes
        training_spectra = on_keys(
            inputs.corpus, [inputs.train.sources[i] for i in training_indices], pitch_classes, inputs.recipe.frames
        )
    else:
        training_spectra, pitch_classes = (
            inputs.train.spectra[training_indices],
            inputs.train.pitch_classes[training_indices],
        )
    spectra_by_set = {
        "train": training_spectra,
        "reconstruction": decode(
            inputs.network,
            encode(inputs.network, test_sample.spectra, test_sample.pitch_classes),
            test_sample.pitch_classes,
        ),
        "generated": decode(inputs.network, random_codes, pitch_classes),
    }
    levels_by_set = {set_name: mel_levels(spectra, rate) for set_name, spectra in spectra_by_set.items()}
    return set_distances(levels_by_set, mel_levels(test_sample.spectra, rate), test_sample.split != "train")


def _keys(inputs: _ReportInputs, codes: Array, latents: Figures) -> tuple[Figures | None, list[Picture]]:
    """Decode training codes and a mesh of codes on every key; return figures and pictures."""
    if not inputs.network.conditioned:
        return None, []
    frame_settings = inputs.recipe.frames
    low_ends, high_ends = frame_figures.knob_ends(latents)
    training_codes = codes[random_indices(len(codes), KEY_CODES, inputs.rng)]
    mesh_codes = mesh(np.array(low_ends), np.array(high_ends), MESH_POINTS, inputs.rng)
    tested_pitch_classes = trained_classes(inputs.train.pitch_classes, frame_settings, inputs.folded)
    key_figures: Figures = {"trained": [PITCH_CLASSES[k] for k in tested_pitch_classes]}
    strongest_by_class: dict[int, Integers] = {}
    for code_set, set_codes in (("training_codes", training_codes), ("mesh", mesh_codes)):
        strongest_by_class = {k: strongest(inputs.network, set_codes, k, frame_settings) for k in tested_pitch_classes}
        sounded_codes = set_codes[random_indices(len(set_codes), HEARD_CODES, inputs.rng)]
        tonal = inputs.run.info.tonal
        key_figures[code_set] = {
            "codes": len(set_codes),
            "strongest": obedience(strongest_by_class),
            "sounding": sounding(inputs.network, sounded_codes, tested_pitch_classes, frame_settings, inputs.folded)
            if tonal
            else None,
        }
    class_shares = [key_figures[code_set]["strongest"]["by_pitch_class"] for code_set in ("training_codes", "mesh")]
    pictures = [frame_figures.key_bars(*class_shares)]
    if len(low_ends) == 2 and all(high_end > low_end for low_end, high_end in zip(low_ends, high_ends, strict=True)):
        pictures.append(frame_figures.square(strongest_by_class, low_ends, high_ends))
    return key_figures, pictures


def chroma_report(request: ReportRequest) -> Report:
    """Report how a network decodes unseen frames, obeys keys and moves with its knobs."""
    request.progress(0.0, "cutting frames")
    inputs = _prepare(request.run, request.network)
    test_sample = inputs.test
    request.progress(0.3, "decoding the test frames")
    reconstruction_figures, floor_figures, reconstruction_pictures, sounds = _reconstruction(inputs)
    training_codes = encode(inputs.network, inputs.train.spectra, inputs.train.pitch_classes)
    latent_figures = latent_statistics.latent_figures(training_codes, _divergence(inputs))
    distance_figures = _spectral_distance(inputs, latent_figures)
    request.progress(0.4, "trying the keys")
    key_figures, key_pictures = _keys(inputs, training_codes, latent_figures)
    loss_figures = losses(inputs.run, inputs.recipe.loss)
    figures = judged(
        verdict,
        run={
            **request.origin(),
            "tonal": inputs.run.info.tonal,
            "octave": inputs.recipe.frames.fold if inputs.folded else None,
        },
        split=test_sample.split,
        clips=int(test_sample.clips.max()) + 1,
        frames=len(test_sample),
        frames_in_split=test_sample.frames_in_split,
        sounds=listed(sounds),
        recordings=recordings(inputs.corpus),
        reconstruction=reconstruction_figures,
        floors=floor_figures,
        spectral_distance=distance_figures,
        keys=key_figures,
        latents=latent_figures,
        knobs=_knob_figures(inputs),
        loss=loss_figures,
    )
    notes, note_tables = Comparison(), []
    if request.exported is not None and inputs.folded and inputs.network.conditioned and alive(figures):
        notes = compare_notes(
            request.exported(),
            inputs.corpus,
            REPORT_SEED,
            lambda share, description: request.progress(0.5 + 0.25 * share, description),
            NOTES,
        )
        figures["notes"], note_tables = notes.figures, [figures_section(notes.figures)]
    pictures = [
        *reconstruction_pictures,
        *key_pictures,
        *frame_figures.latent_pictures(training_codes, inputs.train.pitch_classes, latent_figures),
        *frame_figures.loss_curve(loss_figures, request.step),
        *notes.pictures,
    ]
    page = report_page(
        request,
        figures,
        pictures,
        {
            "Notes beside recordings": note_tables,
            "Keys": [key_tables(key_figures), "keys", "square"],
            "Knobs": [effects.section(figures["knobs"]), "embedding"],
        },
        {
            "Sound": [
                errors_table(reconstruction_figures),
                floors_table({"This network": floor_figures}),
                "reconstructions",
                likeness(distance_figures, SETS, "frames"),
            ],
            "Latents": [latents_table(latent_figures), "histograms", "correlation"],
            "Training": ["loss"],
        },
        notes=notes_parts(notes),
        network=["spectrogram"],
    )
    return Report(figures, pictures, [*sounds, *notes.sounds], page, notes.pages)
