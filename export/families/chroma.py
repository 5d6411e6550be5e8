"""The chroma family: its ONNX graphs, and its report on an unseen split."""

from dataclasses import dataclass

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor, nn

from ...host.arrays import Array, Integers
from ...host.errors import UserError
from ...host.kinds.card_fields import Chroma, NormalPrior, UniformPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...host.units import PITCH_CLASSES, midi_to_hz, note_name, octave_of
from ...train.corpus.clip_table import Clip
from ...train.corpus.store import Corpus
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.frames import is_tonal, sources
from ...train.run import Run
from ...train.sampling import evenly_spaced, random_indices
from ..fidelity.comparison import NOTES, Comparison, compare_notes
from ..fidelity.images import corpus_image
from ..fidelity.notes import HELD_OUT
from ..fidelity.page import figures_section, notes_parts
from ..gestures.build import gestures_of
from ..gestures.code_fitting import CodeFitter
from ..graphs import CODES, SEED, EncodedFrames, Graphs, velocities_of
from ..knobs import effects
from ..knobs.code_turn import PRIOR
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
from ..reports.measure import (
    Measure,
    Sentence,
    Verdict,
    alive,
    dead,
    knobs_in_use,
    latents_table,
    learned,
    left_out,
    likeness,
    measures_across,
    measures_down,
    percent,
    set_distances,
    short_events,
    unlike,
    verdict_of,
)
from ..reports.page import paragraphs, report_page
from ..reports.report import SEED as REPORT_SEED
from ..reports.report import Figures, Picture, Report, ReportRequest, ReportSound, judged, listed, losses
from .family import ExportFamily

DIVISOR = 1e-12  # avoids dividing by the maximum of a silent frame, 0


class ChromaDecoder(nn.Module):
    """latent [voice, n] (, chroma [voice, 12]) → frame [voice, bins]."""

    def __init__(self, network: ChromaAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, chroma: Tensor | None = None) -> Tensor:
        return self.network.decode(latent, chroma if chroma is not None else latent.new_zeros(latent.shape[0], 12))


class ChromaEncoder(nn.Module):
    """audio [batch, frame_length] (, chroma [batch, 12]) → latent [batch, n]."""

    def __init__(self, network: ChromaAutoencoder, recipe: ChromaRecipe) -> None:
        super().__init__()
        self.network = network
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(recipe.frames.frame_length, periodic=True))

    def forward(self, audio: Tensor, chroma: Tensor | None = None) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft(audio * self.window))
        magnitude = spectrum.square().sum(-1).sqrt()
        normalised_frames = magnitude / magnitude.amax(1, keepdim=True).clamp_min(DIVISOR)
        return self.network.encode(
            normalised_frames, chroma if chroma is not None else audio.new_zeros(audio.shape[0], 12)
        )


MIDDLE_OCTAVE = octave_of(60)  # the nominal octave of unpitched sounds


def _prior(network: ChromaAutoencoder) -> UniformPrior | NormalPrior | None:
    if network.settings.variational:
        return NormalPrior(normal=(0.0, 1.0))
    return UniformPrior(uniform=(0.0, 1.0)) if network.settings.bottleneck == "sigmoid" else None


RECONSTRUCTION = (
    Measure(
        "Mean square error",
        "mean_square",
        ".3g",
        "The publication’s measure, over all bins of frames whose maximum is 1.",
    ),
    Measure(
        "Relative error",
        "relative_error",
        ".3g",
        "Squared error against that of always answering the mean spectrum of the pitch class: 1 has learned nothing.",
    ),
    Measure(
        "Spectral convergence, dB",
        "spectral_convergence_db",
        ".1f",
        "Energy of the error against that of the sound; every −6 dB halves the error.",
    ),
    Measure(
        "Log-spectral distance, dB",
        "log_spectral_distance_db",
        ".1f",
        "How far levels are off on average, over all bins down to −80 dB: quiet partials and noise count as well.",
    ),
)
SETS = {
    "train": "Training frames",
    "reconstruction": "Decoded frames of the split",
    "generated": "Random codes of the knobs’ spans, on the keys of the training frames above",
}


def _errors_table(errors_by_set: Figures) -> Markup:
    """Return the table of reconstruction errors."""
    headings_by_set = {"same_key": "Same key", "another_key": "Another key"}
    errors_by_heading = {headings_by_set[set_name]: set_errors for set_name, set_errors in errors_by_set.items()}
    table_note = "Below each figure: mean ± standard deviation of the clips’ own."
    if len(errors_by_heading) > 1:
        table_note += " Another key: the sound is encoded on its own key and must come out on another one."
    return measures_down(RECONSTRUCTION, errors_by_heading, table_note)


KEYS = (
    Measure("", lambda row: row["label"]),
    Measure("Codes", "codes", "d"),
    Measure("Strongest pitch class", "strongest.overall", "percent"),
    Measure("Note heard", "sounding.pitch_class", "percent"),
    Measure("Note and octave heard", "sounding.octave", "percent"),
)
KEYS_BY_CLASS = (
    Measure("Strongest, %", lambda row: row["label"]),
    *(Measure(name, f"strongest.by_pitch_class.{name}", "bare percent") for name in PITCH_CLASSES),
)


def _key_tables(key_figures: Figures | None) -> Markup:
    """Return the tables on how keys are obeyed."""
    if key_figures is None:
        return paragraphs(["The decoder has no chroma input, so there is nothing to ask for."])
    labels_by_code_set = {"training_codes": "Sounds of the corpus", "mesh": "Wherever the knobs stand"}
    table_rows = [{"label": label} | key_figures[code_set] for code_set, label in labels_by_code_set.items()]
    sounding_figures = key_figures["mesh"]["sounding"]
    pitch_basis = (
        f"the pitch found in {sounding_figures['notes']} notes as they are played"
        if sounding_figures
        else "not asked without clear pitch"
    )
    table_note = (
        "Every code is decoded on every pitch class heard in training. Strongest pitch class: the publication’s "
        f"measure, on the decoded frame alone. Note heard: {pitch_basis}."
    )
    return measures_across(KEYS, table_rows, table_note) + measures_across(KEYS_BY_CLASS, table_rows, kind="narrow")


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


def _reconstruction(inputs: _ReportInputs) -> tuple[Figures, list[Picture], list[ReportSound]]:
    """Decode the test frames on their own and on other keys; return errors, pictures and sounds."""
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
    return error_figures, pictures, _sounds(inputs, typical_clip)


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
        f"What the model made of it: encoded, decoded{transposition_text}, with the source’s levels and phases.",
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


SHIFT_SEMITONES = 3  # semitones from an octave: a shift this small keeps the timbre
# Of the notes: one wrong in twenty is noticed now and then, one in five all the time.
SHARE_OBEYED, SHARE_MOSTLY_OBEYED = 0.95, 0.8


def _keys_obeyed(figures: Figures) -> Sentence:
    """Return a sentence on the share of notes that have the pitch of their keys."""
    if not figures["run"]["tonal"]:
        return Sentence("The recordings have no clear pitch: keys choose colour, not pitch.")
    if figures["keys"] is None:
        return Sentence(
            "Keys do nothing here: this network decodes without a chroma, so the knobs alone choose pitch and colour."
        )
    corpus_sounding, mesh_sounding = (figures["keys"][code_set]["sounding"] for code_set in ("training_codes", "mesh"))
    shares = [
        sounding_figures[share_name]
        for sounding_figures in (corpus_sounding, mesh_sounding)
        for share_name in ("pitch_class", "octave")
    ]
    smallest_share = min(share for share in shares if share is not None)
    obedience_text = "mostly obeyed" if smallest_share >= SHARE_MOSTLY_OBEYED else "not obeyed"
    if smallest_share >= SHARE_OBEYED:
        obedience_text = "obeyed"
    help_text = "" if smallest_share >= SHARE_OBEYED else " Train longer, or give recordings of single notes."
    return Sentence(
        f"Keys are {obedience_text}: the note is the key's in {_share_in_words(corpus_sounding)} on sounds of the "
        f"corpus, and in {_share_in_words(mesh_sounding)} wherever the knobs stand.{help_text}",
        smallest_share >= SHARE_OBEYED,
    )


def _octave(figures: Figures) -> list[str]:
    """Return a line on recordings that were moved up by octaves; a shift down loses nothing."""
    trained_octave, median_note = figures["run"]["octave"], figures["recordings"]["note"]
    if trained_octave is None or median_note is None:
        return []
    lowest_note, median_octave = 12 * (trained_octave + 1), octave_of(round(median_note))
    if median_note >= lowest_note - SHIFT_SEMITONES:
        return []
    octaves_up = trained_octave - median_octave
    return [
        f"The recordings lie around {note_name(round(median_note))} ({midi_to_hz(median_note):.0f} Hz), and were moved "
        f"{'an octave' if octaves_up == 1 else f'{octaves_up} octaves'} up, into {note_name(lowest_note)} to "
        f"{note_name(lowest_note + 11)}, where "
        f"{'their highest octave has' if octaves_up == 1 else f'their {octaves_up} highest octaves have'} no room; "
        f"'timbrel train' with --set frames.octave={median_octave} leaves them where they are."
    ]


def _share_in_words(sounding: Figures) -> str:
    """Word the share of notes with the right pitch class, and that with the right octave too."""
    pitch_class_share, octave_share = sounding["pitch_class"], sounding["octave"]
    if octave_share is None:
        return f"{percent(pitch_class_share)} of cases"
    return (
        f"{percent(pitch_class_share)} of cases "
        f"({'' if octave_share == pitch_class_share else f'{percent(octave_share)} '}octave included)"
    )


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on keys and knobs, and the shortcomings."""
    if not alive(figures):
        return verdict_of([dead(figures)])
    return verdict_of(
        [_keys_obeyed(figures), knobs_in_use(figures)],
        [
            *unlike(figures),
            *short_events(figures, "a key holds one moment of a sound, and knobs go from colour to colour"),
            *_octave(figures),
            *(left_out(figures) if figures["run"]["tonal"] else []),
        ],
        learned(
            figures["reconstruction"]["same_key"]["relative_error"]["value"],
            "spectra of the recordings are no nearer than their mean would be",
        ),
    )


class ChromaExport(ExportFamily[ChromaRecipe, ChromaAutoencoder]):
    recipe = "tuned-8"
    purpose = "keys will choose the note, knobs the colour"
    demo = "scale.wav"
    played = True
    unpitched = "the recordings have no clear pitch: keys will choose the colour of the sound, not its note"

    def graphs(self, network: ChromaAutoencoder, recipe: ChromaRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        """Return the graphs; `arranged` sorts and names latents where keys choose the note."""
        folded = recipe.frames.fold is not None and tonal
        training_sample = draw(corpus, "train", recipe.frames, folded, CODES, np.random.default_rng(SEED))
        if training_sample is None:
            raise UserError(silence_message(corpus, "training frame"))
        names, moves, prior = [], {}, _prior(network)
        if (ordered_latents := arranged(network, recipe, corpus, tonal)) is not None:
            network, names, prior = ordered_latents.network, ordered_latents.names, PRIOR
            moves = {name: knob.moves for name, knob in zip(names, ordered_latents.knobs, strict=True)}
        frame_notes = np.array([source.note for source in training_sample.sources], np.float64)
        frame_octaves = [octave_of(round(note)) if np.isfinite(note) else MIDDLE_OCTAVE for note in frame_notes]
        frame_labels = [source.clip.label or source.clip.name for source in training_sample.sources]
        nominal_octave = (
            recipe.frames.fold if folded and recipe.frames.fold is not None else int(np.median(frame_octaves))
        )
        decoder, encoder = ChromaDecoder(network), ChromaEncoder(network, recipe)
        chroma_settings = Chroma(
            trained=trained_classes(training_sample.pitch_classes, recipe.frames, folded),
            octave=nominal_octave,
            folded=folded,
        )
        encoded_frames = EncodedFrames(
            encode(network, training_sample.spectra, training_sample.pitch_classes),
            frame_labels,
            training_sample.pitch_classes,
            names=names,
            moves=moves,
            notes=frame_notes if np.isfinite(frame_notes).all() else None,
            velocities=velocities_of(source.clip for source in training_sample.sources),
            instruments=[source.clip.label for source in training_sample.sources],
            sound=lambda codes: network.levels(
                torch.from_numpy(decode(network, codes, chroma_settings.trained[0]))
            ).numpy(),
        )
        return Graphs(
            decoder=decoder,
            encoder=encoder,
            decoder_chroma=network.conditioned,
            encoder_chroma=network.settings.augmentation == "chroma",
            codes=encoded_frames,
            gestures=lambda model: (
                gestures_of(corpus, CodeFitter(encoder, decoder, model.card), model) if folded else None
            ),
            card={
                "kind": "spectrum",
                "domain": "magnitude",
                "hop_length": recipe.frames.hop_length,
                "window": "hann",
                "prior": prior,
                "chroma": chroma_settings if network.conditioned else None,
                "image": corpus_image(corpus),
            },
        )

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys choose the note" if tonal else "keys choose the colour"

    def changes(self, corpus: Corpus) -> list[str]:
        return [] if is_tonal(corpus) else ["loss.consistency=0.0"]  # it would force a pitch

    def report(self, request: ReportRequest) -> Report:
        """Report how a network decodes unseen frames, obeys keys and moves with its knobs."""
        request.progress(0.0, "cutting frames")
        inputs = _prepare(request.run, request.network)
        test_sample = inputs.test
        request.progress(0.3, "decoding the test frames")
        reconstruction_figures, reconstruction_pictures, sounds = _reconstruction(inputs)
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
                "Keys": [_key_tables(key_figures), "keys", "square"],
                "Knobs": [effects.section(figures["knobs"]), "embedding"],
            },
            {
                "Sound": [
                    _errors_table(reconstruction_figures),
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
