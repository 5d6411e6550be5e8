"""The chroma family: its ONNX graphs, and its report on an unseen split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor, nn

from ...host.arrays import Array, Integers
from ...host.errors import UserError
from ...host.model.card import Chroma, NormalPrior, UniformPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...host.units import PITCH_CLASSES, midi_to_hz, note_name, octave_of
from ...train.corpus.clip_table import Clip
from ...train.corpus.store import Corpus
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.frames import is_tonal, sources
from ...train.metrics.clips import frechet
from ...train.run import Run
from ...train.sampling import evenly_spaced, random_indices
from ..fidelity import page as pages
from ..fidelity.comparison import NOTES, compare_notes, with_notes
from ..fidelity.notes import HELD_OUT
from ..gestures.build import gestures_of
from ..gestures.code_fitting import CodeFitter
from ..graphs import CODES, SEED, EncodedFrames, Graphs
from ..knobs import sensitivity as knobs
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
from ..reports.figures import frames as frame_figures
from ..reports.measure import Measure, latents_table, likeness, measures_across, measures_down
from ..reports.page import (
    listening,
    paragraphs,
    picture_renderer,
    pressed,
    report_page,
)
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
    left_out,
    percent,
    short_events,
    unlike,
    verdict_of,
)
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
        frames = magnitude / magnitude.amax(1, keepdim=True).clamp_min(DIVISOR)
        return self.network.encode(frames, chroma if chroma is not None else audio.new_zeros(audio.shape[0], 12))


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


def page(
    figures: Figures,
    pictures: Sequence[Picture],
    instrument: Path | None = None,
    notes: Mapping[str, str] = MappingProxyType({}),
    demo: str | None = None,
) -> str:
    render_pictures, has_notes = picture_renderer(pictures), "notes" in figures
    players_by_title = listening(demo, figures["sounds"])
    return report_page(
        figures,
        {
            "The instrument": players_by_title["The instrument"],
            "Notes beside recordings": pages.notes_section(figures["notes"], notes, render_pictures)
            if has_notes
            else "",
            "The network": players_by_title["The network"] + render_pictures("spectrogram"),
        },
        {
            "Notes beside recordings": pages.figures_section(figures["notes"]) if has_notes else "",
            "Keys": _key_rows(figures) + render_pictures("keys", "square"),
            "Knobs": knobs.section(figures["knobs"]) + pressed(render_pictures, instrument),
        },
        {
            "Sound": _sound(figures)
            + render_pictures("reconstructions")
            + likeness(figures["spectral_distance"], SETS, "frames"),
            "Latents": latents_table(figures["latents"]) + render_pictures("histograms", "correlation"),
            "Training": render_pictures("loss"),
        },
    )


def _sound(figures: Figures) -> Markup:
    headings = {"same_key": "Same key", "another_key": "Another key"}
    columns = {headings[name]: errors for name, errors in figures["reconstruction"].items() if name in headings}
    note = "Below each figure: mean ± standard deviation of the clips’ own."
    if len(columns) > 1:
        note += " Another key: the sound is encoded on its own key and must come out on another one."
    return measures_down(RECONSTRUCTION, columns, note)


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


def _key_rows(figures: Figures) -> Markup:
    keys = figures["keys"]
    if keys is None:
        return paragraphs(["The decoder has no chroma input, so there is nothing to ask for."])
    labels = {"training_codes": "Sounds of the corpus", "mesh": "Wherever the knobs stand"}
    rows = [{"label": label} | keys[code_set] for code_set, label in labels.items()]
    sounded = keys["mesh"]["sounding"]
    pitch_basis = (
        f"the pitch found in {sounded['notes']} notes as they are played"
        if sounded
        else "not asked without clear pitch"
    )
    note = (
        "Every code is decoded on every pitch class heard in training. Strongest pitch class: the publication’s "
        f"measure, on the decoded frame alone. Note heard: {pitch_basis}."
    )
    return measures_across(KEYS, rows, note) + measures_across(KEYS_BY_CLASS, rows, kind="narrow")


TRAINING_FRAMES = 4096  # percentiles to a part in a hundred
TEST_FRAMES = 2048  # a deviation over clips needs clips more than frames
KEY_CODES = 512  # training codes decoded on every key: with twelve keys, shares to 0.2 %
MESH_POINTS = 4096  # codes sampled over the latents' spans; approximate for a regular mesh
HEARD_CODES = 32  # codes analysed on every key: with twelve keys, shares to 1 %
PICTURED_FRAMES = 8
PICTURED_SECONDS = 8.0  # of a clip: a longer picture is too narrow to read


@dataclass(frozen=True)
class _Work:
    run: Run
    recipe: ChromaRecipe
    corpus: Corpus
    network: ChromaAutoencoder
    folded: bool
    train: FrameSample
    test: FrameSample
    rng: np.random.Generator
    knobs: OrderedLatents | None


def _prepare(run: Run, network: ChromaAutoencoder) -> _Work:
    recipe = run.recipe
    assert isinstance(recipe, ChromaRecipe)
    corpus, settings, rng = run.corpus(), recipe.frames, np.random.default_rng(REPORT_SEED)
    folded = settings.fold is not None and run.info.tonal
    train = draw(corpus, "train", settings, folded, TRAINING_FRAMES, rng)
    if train is None:
        raise UserError(silence_message(corpus, "training frame"))
    test_samples = (draw(corpus, split, settings, folded, TEST_FRAMES, rng) for split in HELD_OUT)
    test = next((sample for sample in test_samples if sample is not None), None)
    if test is None:
        test_sources = [train.sources[i] for i in random_indices(len(train), TEST_FRAMES, rng)]
        test = cut(corpus, "train", test_sources, settings, folded, train.frames_in_split)
    knobs = arranged(network, recipe, corpus, run.info.tonal)
    network = network if knobs is None else knobs.network
    return _Work(run, recipe, corpus, network, folded, train, test, rng, knobs)


def _figures(work: _Work, request: ReportRequest) -> tuple[Figures, list[Picture], list[ReportSound]]:
    reconstruction, pictures, sounds = _reconstruction(work)
    codes = encode(work.network, work.train.spectra, work.train.pitch_classes)
    latents = latent_statistics.latent_figures(codes, _divergence(work))
    distance = _spectral_distance(work, latents)
    request.progress(0.4, "trying the keys")
    key_figures, key_pictures = _keys(work, codes, latents)
    loss = losses(work.run, work.recipe.loss)
    loss_pictures = [frame_figures.loss_curve(loss["steps"], loss["terms"], request.step)] if loss["steps"] else []
    latent_pictures = frame_figures.latent_pictures(codes, work.train.pitch_classes, latents)
    test = work.test
    figures = judged(
        verdict,
        run={
            **request.origin(),
            "tonal": work.run.info.tonal,
            "octave": work.recipe.frames.fold if work.folded else None,
        },
        split=test.split,
        clips=int(test.clips.max()) + 1,
        frames=len(test),
        frames_in_split=test.frames_in_split,
        sounds=listed(sounds),
        recordings=recordings(work.corpus),
        reconstruction=reconstruction,
        spectral_distance=distance,
        keys=key_figures,
        latents=latents,
        knobs=_knob_figures(work),
        loss=loss,
    )
    return figures, [*pictures, *key_pictures, *latent_pictures, *loss_pictures], sounds


def _knob_figures(work: _Work) -> Figures | None:
    if work.knobs is None:
        return None
    ends = work.knobs.ground.low, work.knobs.ground.high
    return checked(work.knobs, ground(work.network, work.recipe, work.test, ends), work.test.split)


def _reconstruction(work: _Work) -> tuple[Figures, list[Picture], list[ReportSound]]:
    settings, network, test = work.recipe.frames, work.network, work.test
    means = _means(work)
    latents = encode(network, test.spectra, test.pitch_classes)
    decoded = decode(network, latents, test.pitch_classes)
    errors = {
        "same_key": measures.reconstruction(test.spectra, decoded, test.clips, means[test.pitch_classes]),
    }
    if _transposes_frames(work):
        other_classes = (test.pitch_classes + work.rng.integers(1, 12, len(test))) % 12
        target_spectra = on_keys(work.corpus, test.sources, other_classes, settings)
        errors["another_key"] = measures.reconstruction(
            target_spectra, decode(network, latents, other_classes), test.clips, means[other_classes]
        )
    pictured_frames = _pictured_frames(test)
    titles = [_title(test, i, work.folded) for i in pictured_frames]
    clip = _typical_clip(work, decoded)
    pictures = [
        frame_figures.reconstructions(
            test.spectra[pictured_frames], decoded[pictured_frames], titles, settings.sample_rate
        ),
        _spectrogram(work, clip),
    ]
    return errors, pictures, _sounds(work, clip)


def _transposes_frames(work: _Work) -> bool:
    return work.folded and work.recipe.frames.views > 1 and work.network.conditioned


def _means(work: _Work) -> Array:
    """Folded corpora count every frame on a second key too."""
    train = work.train
    if not _transposes_frames(work):
        return measures.mean_spectra(train.spectra, train.pitch_classes)
    second_classes = (train.pitch_classes + work.rng.integers(1, 12, len(train))) % 12
    transposed_spectra = on_keys(work.corpus, train.sources, second_classes, work.recipe.frames)
    return measures.mean_spectra(
        np.concatenate([train.spectra, transposed_spectra]), np.concatenate([train.pitch_classes, second_classes])
    )


def _pictured_frames(sample: FrameSample) -> list[int]:
    indices_by_sound: dict[tuple[str, int], list[int]] = {}
    for i, source in enumerate(sample.sources):
        note = round(source.note) if np.isfinite(source.note) else -1
        indices_by_sound.setdefault((source.clip.label or source.clip.name, note), []).append(i)
    middle_frames = [indices[len(indices) // 2] for indices in indices_by_sound.values()]
    return [middle_frames[i] for i in evenly_spaced(len(middle_frames), PICTURED_FRAMES)]


def _title(sample: FrameSample, index: int, folded: bool) -> str:
    source = sample.sources[index]
    key = PITCH_CLASSES[sample.pitch_classes[index]]
    note = note_name(round(source.note)) if np.isfinite(source.note) else key
    transposition = f", moved to {key}" if folded else ""
    return f"{_short(source.clip.label or source.clip.name)} · {note}{transposition}"


def _short(name: str, longest: int = 30) -> str:
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def _typical_clip(work: _Work, decoded: Array) -> Clip:
    test = work.test
    errors = np.bincount(test.clips, np.square(test.spectra - decoded).mean(1)) / np.bincount(test.clips)
    middle = int(np.argsort(errors)[len(errors) // 2])
    return test.sources[int(np.argmax(test.clips == middle))].clip


def _sounds(work: _Work, clip: Clip) -> list[ReportSound]:
    settings = work.recipe.frames
    pair = resynthesised(work.corpus, clip, work.network, settings, work.folded, PICTURED_SECONDS)
    transposition = " and moved back to its pitch" if work.folded else ""
    captions = {
        "source": f"The source: {clip.label or clip.name}, whose error is the median of all clips’.",
        "remade": f"What the model made of it: encoded, decoded{transposition}, with the source’s levels and phases.",
    }
    return [
        ReportSound(name, caption, sound, settings.sample_rate)
        for (name, caption), sound in zip(captions.items(), pair, strict=True)
    ]


def _spectrogram(work: _Work, clip: Clip) -> Picture:
    settings, test = work.recipe.frames, work.test
    last_start = PICTURED_SECONDS * settings.sample_rate - settings.frame_length
    split_frames = sources(work.corpus, test.split, settings, tonal=work.folded)
    clip_frames = [
        source for source in split_frames if source.clip.name == clip.name and source.start <= max(last_start, 0)
    ]
    sample = cut(work.corpus, test.split, clip_frames, settings, work.folded, test.frames_in_split)
    decoded = decode(work.network, encode(work.network, sample.spectra, sample.pitch_classes), sample.pitch_classes)
    times = np.array([source.start for source in clip_frames]) / settings.sample_rate
    hop_seconds = settings.hop_length / settings.sample_rate
    title = _short(clip.label or clip.name)
    return frame_figures.spectrogram(sample.spectra, decoded, times, hop_seconds, title, settings.sample_rate)


@torch.no_grad()
def _divergence(work: _Work) -> Array | None:
    one_hot = np.eye(12, dtype=np.float32)[work.train.pitch_classes]
    mean, log_variance = work.network.distribution(torch.from_numpy(work.train.spectra), torch.from_numpy(one_hot))
    if log_variance is None:
        return None
    divergence: Array = (0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)).mean(0).numpy()
    return divergence


def _spectral_distance(work: _Work, latents: Figures) -> Figures:
    """Pitch classes are equal, as the ratio would otherwise compare keys."""
    rate, test = work.recipe.frames.sample_rate, work.test
    low, high = frame_figures.knob_ends(latents)
    random_codes = work.rng.uniform(low, high, (len(test), len(low))).astype(np.float32)
    train_indices = work.rng.integers(len(work.train), size=len(test))
    if work.folded:
        classes = test.pitch_classes
        train = on_keys(work.corpus, [work.train.sources[i] for i in train_indices], classes, work.recipe.frames)
    else:
        train, classes = work.train.spectra[train_indices], work.train.pitch_classes[train_indices]
    sets = {
        "train": train,
        "reconstruction": decode(
            work.network, encode(work.network, test.spectra, test.pitch_classes), test.pitch_classes
        ),
        "generated": decode(work.network, random_codes, classes),
    }
    test_levels = mel_levels(test.spectra, rate)
    distances: Figures = {name: frechet(mel_levels(spectra, rate), test_levels) for name, spectra in sets.items()}
    distances["ratio"] = (
        distances["generated"] / distances["train"] if test.split != "train" and distances["train"] else None
    )
    return distances


def _keys(work: _Work, codes: Array, latents: Figures) -> tuple[Figures | None, list[Picture]]:
    if not work.network.conditioned:
        return None, []
    settings = work.recipe.frames
    low, high = frame_figures.knob_ends(latents)
    training_codes = codes[random_indices(len(codes), KEY_CODES, work.rng)]
    mesh_codes = mesh(np.array(low), np.array(high), MESH_POINTS, work.rng)
    tested_classes = trained_classes(work.train.pitch_classes, settings, work.folded)
    key_figures: Figures = {"trained": [PITCH_CLASSES[k] for k in tested_classes]}
    answers: dict[int, Integers] = {}
    for code_set, points in (("training_codes", training_codes), ("mesh", mesh_codes)):
        answers = {k: strongest(work.network, points, k, settings) for k in tested_classes}
        sounded_codes = points[random_indices(len(points), HEARD_CODES, work.rng)]
        tonal = work.run.info.tonal
        key_figures[code_set] = {
            "codes": len(points),
            "strongest": obedience(answers),
            "sounding": sounding(work.network, sounded_codes, tested_classes, settings, work.folded) if tonal else None,
        }
    shares = [key_figures[code_set]["strongest"]["by_pitch_class"] for code_set in ("training_codes", "mesh")]
    pictures = [frame_figures.key_bars(*shares)]
    if len(low) == 2 and all(end > start for start, end in zip(low, high, strict=True)):
        pictures.append(frame_figures.square(answers, low, high))
    return key_figures, pictures


SHIFT_SEMITONES = 3  # semitones from an octave: a shift this small keeps the timbre
# Of the notes: one wrong in twenty is noticed now and then, one in five all the time.
SHARE_OBEYED, SHARE_MOSTLY_OBEYED = 0.95, 0.8


def _keys_obeyed(figures: Figures) -> Sentence:
    if not figures["run"]["tonal"]:
        return Sentence("The recordings have no clear pitch: keys choose colour, not pitch.")
    if figures["keys"] is None:
        return Sentence(
            "Keys do nothing here: this network decodes without a chroma, so the knobs alone choose pitch and colour."
        )
    corpus_notes, anywhere = (figures["keys"][place]["sounding"] for place in ("training_codes", "mesh"))
    shares = [place[name] for place in (corpus_notes, anywhere) for name in ("pitch_class", "octave")]
    smallest_share = min(share for share in shares if share is not None)
    obedience_text = (
        "obeyed"
        if smallest_share >= SHARE_OBEYED
        else "mostly obeyed"
        if smallest_share >= SHARE_MOSTLY_OBEYED
        else "not obeyed"
    )
    help_ = "" if smallest_share >= SHARE_OBEYED else " Train longer, or give recordings of single notes."
    return Sentence(
        f"Keys are {obedience_text}: the note is the key's in {_share_in_words(corpus_notes)} on sounds of the corpus, "
        f"and in {_share_in_words(anywhere)} wherever the knobs stand.{help_}",
        smallest_share >= SHARE_OBEYED,
    )


def _octave(figures: Figures) -> list[str]:
    """A shift down loses nothing."""
    octave, note = figures["run"]["octave"], figures["recordings"]["note"]
    if octave is None or note is None:
        return []
    lowest, median_octave = 12 * (octave + 1), octave_of(round(note))
    if note >= lowest - SHIFT_SEMITONES:
        return []
    octaves = octave - median_octave
    return [
        f"The recordings lie around {note_name(round(note))} ({midi_to_hz(note):.0f} Hz), and were moved "
        f"{'an octave' if octaves == 1 else f'{octaves} octaves'} up, into {note_name(lowest)} to "
        f"{note_name(lowest + 11)}, where "
        f"{'their highest octave has' if octaves == 1 else f'their {octaves} highest octaves have'} no room; "
        f"'timbrel train' with --set frames.octave={median_octave} leaves them where they are."
    ]


def _share_in_words(sounding: Figures) -> str:
    share, octave = sounding["pitch_class"], sounding["octave"]
    if octave is None:
        return f"{percent(share)} of cases"
    return f"{percent(share)} of cases ({'' if octave == share else f'{percent(octave)} '}octave included)"


def verdict(figures: Figures) -> Verdict:
    if not alive(figures):
        return verdict_of([dead(figures)])
    error = figures["reconstruction"]["same_key"]["relative_error"]["value"]
    worst = learned(error, "spectra of the recordings are no nearer than their mean would be")
    short = short_events(figures, "a key holds one moment of a sound, and knobs go from colour to colour")
    more = [*unlike(figures), *short, *_octave(figures), *(left_out(figures) if figures["run"]["tonal"] else [])]
    return verdict_of([_keys_obeyed(figures), knobs_in_use(figures)], more, worst)


class ChromaExport(ExportFamily[ChromaRecipe, ChromaAutoencoder]):
    recipe = "tuned-8"
    purpose = "keys will choose the note, knobs the colour"
    demo = "scale.wav"
    played = True
    unpitched = "the recordings have no clear pitch: keys will choose the colour of the sound, not its note"

    def graphs(self, network: ChromaAutoencoder, recipe: ChromaRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        """Return the graphs; `arranged` sorts and names latents where keys choose the note."""
        folded = recipe.frames.fold is not None and tonal
        sample = draw(corpus, "train", recipe.frames, folded, CODES, np.random.default_rng(SEED))
        if sample is None:
            raise UserError(silence_message(corpus, "training frame"))
        knobs = arranged(network, recipe, corpus, tonal)
        network = network if knobs is None else knobs.network
        octaves = [octave_of(round(s.note)) if np.isfinite(s.note) else MIDDLE_OCTAVE for s in sample.sources]
        labels = [source.clip.label or source.clip.name for source in sample.sources]
        octave = recipe.frames.fold if folded and recipe.frames.fold is not None else int(np.median(octaves))
        decoder, encoder = ChromaDecoder(network), ChromaEncoder(network, recipe)
        chroma = Chroma(
            trained=trained_classes(sample.pitch_classes, recipe.frames, folded), octave=octave, folded=folded
        )
        codes = EncodedFrames(
            encode(network, sample.spectra, sample.pitch_classes),
            labels,
            sample.pitch_classes,
            names=[] if knobs is None else knobs.names,
            moves={}
            if knobs is None
            else {name: knob.moves for name, knob in zip(knobs.names, knobs.knobs, strict=True)},
            sound=lambda codes: network.levels(torch.from_numpy(decode(network, codes, chroma.trained[0]))).numpy(),
        )
        return Graphs(
            decoder=decoder,
            encoder=encoder,
            decoder_chroma=network.conditioned,
            encoder_chroma=network.settings.augmentation == "chroma",
            codes=codes,
            gestures=lambda model: (
                gestures_of(corpus, CodeFitter(encoder, decoder, model.card), model) if folded else None
            ),
            card={
                "kind": "spectrum",
                "domain": "magnitude",
                "hop_length": recipe.frames.hop_length,
                "window": "hann",
                "prior": _prior(network),
                "chroma": chroma if network.conditioned else None,
                "directions": [] if knobs is None else knobs.directions,
            },
        )

    def report(self, request: ReportRequest) -> Report:
        run, network, progress = request.run, request.network, request.progress
        progress(0.0, "cutting frames")
        work = _prepare(run, network)
        progress(0.3, "decoding the test frames")
        figures, pictures, sounds = _figures(work, request)
        notes = None
        if request.exported is not None and work.folded and network.conditioned and alive(figures):
            notes = compare_notes(
                request.exported(),
                work.corpus,
                REPORT_SEED,
                lambda share, description: progress(0.5 + 0.25 * share, description),
                NOTES,
            )
            figures["notes"] = None if notes is None else notes.figures
        return with_notes(
            Report(figures, pictures, sounds, ""), notes, page, instrument=request.instrument, demo=request.demo
        )

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys choose the note" if tonal else "keys choose the colour"

    def changes(self, corpus: Corpus) -> list[str]:
        return [] if is_tonal(corpus) else ["loss.consistency=0.0"]  # it would force a pitch
