"""Exports a run to verified ONNX decoder and encoder files."""

import contextlib
import datetime
import json
import logging
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from .. import __version__
from ..host.arrays import Array
from ..host.engines.engine import recordings_off
from ..host.errors import Failure, UserError
from ..host.files import check_output, replacing
from ..host.kinds.card_fields import PITCH_CLASSES, UNKNOWN_LICENCE, Parity, Provenance, Reference
from ..host.kinds.stream import PREVIOUS_FRAME
from ..host.model.card import METADATA_KEY, Card
from ..host.model.encoder import ENCODER_KEY, encoder_path
from ..host.model.gesture import GESTURE_KEY
from ..host.model.learned_path import path_file
from ..host.model.map import MAP_KEY, NO_NOTE
from ..host.model.map_layout import text_of
from ..host.model.model import ONE_HOT, Model, open_session
from ..host.model.recordings import RECORDINGS_KEY, recordings_text
from ..host.preset.shipped import BESIDE
from ..train.corpus.store import Corpus
from ..train.families import FAMILIES as TRAINED
from ..train.network import Network
from ..train.run import NO_VALIDATION, Run, trained
from .families import FAMILIES
from .first_preset import PLAIN_LUFS, model_loudness_lufs
from .graphs import EncodedFrames, Graphs, Weights, landmarks, latents, save, starting_point, store_half, trace
from .knobs.ends import named_by_ends
from .knobs.naming import explained
from .learned_paths import name_in_card, write_path
from .meaning import describe_graph
from .measures.codes import DEAD
from .parity import STEPS, reference
from .recordings import packed, with_path_levels

Proof = TypeVar("Proof")

BATCHES = (1, 2, 7, 64)  # batch sizes of the parity test: one, few, an odd number, many
# Largest differences, of the output's range. Half-precision weights keep 11 bits, eight layers add up to about 1e-3.
TOLERANCES: dict[Weights, float] = {"float16": 5e-3, "float32": 2e-5}
STEPPED_TOLERANCE = 1e-4  # at least, of a stateful model: rounding differences are fed back 16 times
SILENT_LUFS = -90.0  # silence measures below -110, the softest instruments above -50
# The two libraries' transforms differ by 1e-7 of a spectrum's peak, so roots of values at -60 dB differ by 1e-4.
ENCODER_TOLERANCES: dict[Weights, float] = {"float16": 5e-3, "float32": 5e-4}

LOWER_RATE = "train again with a lower training.learning_rate"

log = logging.getLogger(__name__)


class Inexact(Failure):
    """A file differs from its network by more than its weights' precision allows."""


@dataclass(frozen=True)
class LabelInput:
    """Texts for a model's card, in place of the run's."""

    name: str | None = None
    description: str | None = None
    license: str | None = None
    credits: str | None = None


def export(
    run: Run,
    path: Path,
    *,
    labels: LabelInput | None = None,
    which: Literal["best", "last"] = "best",
    weights: Weights = "float16",
    recordings: bool = True,
    knob_names: bool = True,
    overwrite: bool = False,
) -> Card:
    """Write ``path``, and the network's encoder and learned path, if any: all or none.

    A model of clips holds its ``recordings``, unless they are left out. Without ``knob_names``, latents that training
    has not named stay so: the names of a hundred latents of clips take a hundred thousand decoded clips.

    A file that is inexact in float16 is written in float32. A warning says so, and says that latents do not vary.

    Raises:
        UserError: no checkpoint, the corpus is missing, the output is not writable, or the network makes no sound.
        Failure: onnxruntime's results differ from torch's in float32 too, or the model is silent or not finite.
    """
    if path.suffix != ".onnx" or path.name.endswith(BESIDE):
        raise UserError(f"-o {path} must be a model's name, such as {path.name.partition('.')[0] or 'model'}.onnx")
    if not TRAINED[run.recipe.family].exported:
        raise UserError(
            f"run {run.folder} is of family {run.recipe.family}, whose networks make no sound and are not exported; "
            f"timbrel evaluate {shlex.quote(str(run.folder))} says what it came to"
        )
    check_output(path, overwrite)
    check_output(encoder_path(path), overwrite)
    check_output(path_file(path), overwrite)
    network, _, training_step = trained(run, which)
    corpus = run.corpus()
    graphs = FAMILIES[run.recipe.family].graphs(network, run.recipe, corpus, run.info.tonal)
    if not recordings:
        graphs = replace(graphs, recordings=())
    source = _Source(run, graphs, corpus, training_step, knob_names=knob_names and training_step > 0)
    return _write(source, path, labels or LabelInput(), weights, overwrite)


def export_untrained(run: Run, network: Network, path: Path, labels: LabelInput) -> Card:
    """Write the model of a network before its first step, which plays the recordings of all splits; no encoder.

    Its latents have no names. An existing file is replaced.

    Raises:
        Failure: as `export`.
    """
    corpus = run.corpus().all_for_training()
    graphs = FAMILIES[run.recipe.family].graphs(network, run.recipe, corpus, run.info.tonal)
    source = _Source(run, replace(graphs, encoder=None), corpus, 0, knob_names=False)
    return _write(source, path, labels, "float16", overwrite=True)


@dataclass(frozen=True)
class _Source:
    """Inputs of a model's files."""

    run: Run
    graphs: Graphs
    corpus: Corpus
    step: int
    knob_names: bool


def _write(source: _Source, path: Path, labels: LabelInput, weights: Weights, overwrite: bool) -> Card:
    """Write the decoder, the encoder and the learned path, if any, as `export`."""
    run, graphs, corpus = source.run, source.graphs, source.corpus
    if not np.isfinite(graphs.codes.latents).all():
        raise Failure(f"run {run.folder}: its codes are not finite; {LOWER_RATE}")
    if len(graphs.codes.latents) > 1 and np.all(graphs.codes.latents.std(0) < DEAD):
        log.warning(
            "run %s: every sound has the same code, so its knobs do nothing; train longer, or again with another "
            "training.seed or a lower learning rate",
            run.folder,
        )
    with (
        contextlib.ExitStack() as stack,
        torch.no_grad(),
    ):
        decoder_file = stack.enter_context(replacing(path, overwrite))
        card = _write_decoder(source, labels, weights, decoder_file, path)
        if graphs.encoder is not None:
            encoder_file = stack.enter_context(replacing(encoder_path(path), overwrite))
            _write_encoder(graphs, graphs.encoder, corpus, weights, encoder_file, path, Model(decoder_file))
        if graphs.path is not None:
            learned_file = stack.enter_context(replacing(path_file(path), overwrite))
            layout = write_path(graphs.path, Model(decoder_file), learned_file, f"{path_file(path)}")
            name_in_card(decoder_file, layout)
            card = card.model_copy(update={"learned_path": layout})
    if graphs.path is None:
        path_file(path).unlink(missing_ok=True)  # of the previous model
    if graphs.encoder is None:
        encoder_path(path).unlink(missing_ok=True)  # of the previous model
    return card


def _write_decoder(
    source: _Source, card_texts: LabelInput, weights: Weights, temporary_file: Path, target_path: Path
) -> Card:
    """Write the decoder with its card, prove it, and return the card."""
    run, graphs, corpus, codes = source.run, source.graphs, source.corpus, source.graphs.codes
    latent_count = codes.latents.shape[1]
    example_inputs = {"latent": torch.rand(3, latent_count)} | (
        {"chroma": torch.eye(12)[:3]} if graphs.decoder_chroma else {}
    )
    if graphs.pitched:
        example_inputs["pitch"] = 60 + torch.rand(3, 1)
    if label_words := graphs.card.get("labels"):
        example_inputs["label"] = torch.rand(3, len(label_words))
    if noise_count := _noise(graphs):
        example_inputs["noise"] = torch.rand(3, noise_count)
    example_inputs |= {state.name: torch.rand(3, *state.shape) for state in graphs.state}
    graph = trace(graphs.decoder, example_inputs, ["frame", *(f"{state.name}_next" for state in graphs.state)], "voice")
    card_landmarks = landmarks(codes, label_words or ())
    card_latents = latents(codes, starting_point(codes, card_landmarks))
    recipe = run.recipe
    card_recordings, flacs = packed(graphs.recordings, recipe.frames.sample_rate)
    card = Card(
        format=1,
        name=card_texts.name or target_path.stem,
        description=card_texts.description or f"{recipe.description}; trained on {run.info.corpus_name}",
        license=card_texts.license or corpus.licence or UNKNOWN_LICENCE,
        credits=card_texts.credits or "",
        created=datetime.date.today().isoformat(),
        sample_rate=recipe.frames.sample_rate,
        frame_length=recipe.frames.frame_length,
        latents=card_latents,
        loudness_lufs=PLAIN_LUFS,
        landmarks=card_landmarks,
        training=_training(run, source.step),
        parity=Parity(absolute=0.0, relative=0.0, batch_sizes=list(BATCHES)),
        reference=Reference(
            latent=[[0.0] * latent_count], chroma=[0], label=[0], key=[0], points=[0], frame=[[0.0]], tolerance=0.0
        ),
        state=list(graphs.state),
        recordings=card_recordings,
        **graphs.card,
    )
    describe_graph(graph, card, "A decoder: code in, frame out.")
    recorded = {RECORDINGS_KEY: recordings_text(flacs)} if flacs else {}

    def prove(graph: onnx.ModelProto, weights: Weights) -> tuple[onnx.ModelProto, Model, Parity]:
        save(graph, temporary_file, {METADATA_KEY: card.model_dump_json()} | recorded)
        model = Model(temporary_file)  # the file as written, as hosts load it
        return graph, model, _parity(graphs, model, weights)

    graph, model, parity = _proven(graph, weights, graphs.exact, f"{target_path}", prove)
    named_latents = named_by_ends(explained(model), codes) if source.knob_names else card.latents
    card = card.model_copy(update={"parity": parity, "reference": reference(model), "latents": named_latents})
    card = card.model_copy(update={"recordings": with_path_levels(model)})
    extra_metadata = _beside_the_card(graphs, model) | recorded
    save(graph, temporary_file, {METADATA_KEY: card.model_dump_json()} | extra_metadata)
    loudness_lufs = model_loudness_lufs(Model(temporary_file))  # with gestures
    if loudness_lufs < SILENT_LUFS:
        raise Failure(f"run {run.folder}: its model is silent; train it longer, or again with louder sounds")
    card = card.model_copy(update={"loudness_lufs": round(loudness_lufs, 2)})
    save(graph, temporary_file, {METADATA_KEY: card.model_dump_json()} | extra_metadata)
    written_model = Model(temporary_file)
    verdict, faulty_names = written_model.verify(), recordings_off(written_model)
    if not verdict.passed:
        raise Failure(f"{target_path}: the file does not give its own reference (off by {verdict.difference:.2g})")
    if faulty_names:
        raise Failure(f"{target_path}: its recordings {', '.join(faulty_names)} differ from those of torch's decoder")
    return card


def _proven(
    graph: onnx.ModelProto,
    weights: Weights,
    largest_exact_size: int,
    file_name: str,
    prove: Callable[[onnx.ModelProto, Weights], Proof],
) -> Proof:
    """Prove the graph with ``weights``, or in float32 if float16 is inexact: networks choose how well they round."""
    if weights == "float16":
        half_graph = onnx.ModelProto()
        half_graph.CopyFrom(graph)
        store_half(half_graph, largest_exact_size)
        try:
            return prove(half_graph, "float16")
        except Inexact as error:
            log.warning("%s: with float16 weights %s; it has float32 weights, twice the file", file_name, error)
    try:
        return prove(graph, "float32")
    except Inexact as error:
        raise Failure(
            f"{file_name}: {error}; no file was kept, the run is; train it further and export it again"
        ) from None


def _beside_the_card(graphs: Graphs, model: Model) -> dict[str, str]:
    """Return a model's gestures and map as metadata."""
    codes, metadata = graphs.codes, {}
    if (gestures := graphs.gestures(model)) is not None:
        metadata[GESTURE_KEY] = gestures.text()
    pitch_classes = np.full(len(codes.labels), NO_NOTE) if codes.pitch_classes is None else codes.pitch_classes
    return metadata | {MAP_KEY: text_of(model, codes.latents, codes.labels, pitch_classes)}


def _training(run: Run, training_step: int) -> Provenance:
    """Return the card's account of the training up to a step."""
    log_entries = [entry for entry in run.logged() if entry["step"] <= training_step]
    validation_figures = (
        {k: round(float(v), 6) for k, v in log_entries[-1].items() if k not in NO_VALIDATION} if log_entries else {}
    )
    return Provenance(
        recipe=run.recipe.name,
        steps=training_step,
        seed=run.recipe.training.seed,
        corpus=run.info.corpus_name,
        clips=run.info.clips,
        seconds=round(run.info.seconds, 1),
        validation=validation_figures,
        versions={**run.info.versions, "onnx": version("onnx"), "timbrel": __version__},
        hardware=run.info.hardware,
    )


def probes(
    codes: EncodedFrames, count: int, seed: int, condition_count: int = PITCH_CLASSES
) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return latents, inside and at the range's edges, [count, n], and conditions, [count]."""
    rng = np.random.default_rng(seed)
    low, high = codes.latents.min(0), codes.latents.max(0)
    interior_codes = rng.uniform(low, high, (count, len(low)))
    is_edge_latent = rng.random((count, len(low))) < 0.5
    is_edge_code = rng.random(count) < 0.5
    corner_codes = np.where(rng.random((count, len(low))) < 0.5, low, high)
    probe_codes = np.where(is_edge_latent & is_edge_code[:, None], corner_codes, interior_codes).astype(np.float32)
    return probe_codes, rng.integers(condition_count, size=count).astype(np.intp)


def _parity(graphs: Graphs, model: Model, weights: Weights) -> Parity:
    """Return how far the file's frames are from torch's; raise `Inexact` beyond the tolerance."""
    frame_differences, output_range = [], 0.0
    for batch_size in BATCHES:
        for seed in range(1 if graphs.state else max(1, 64 // batch_size)):  # stateful models run many steps instead
            for torch_frames, file_frames in _step_pairs(
                graphs, model, batch_size, seed, together=weights == "float16"
            ):
                frame_differences += np.abs(file_frames - torch_frames).max(1).tolist()
                output_range = max(output_range, float(np.ptp(torch_frames)))
    sorted_differences = np.sort(frame_differences)  # NaN last
    absolute_error = float(
        sorted_differences[
            -1 - math.floor(graphs.strays * np.isfinite(sorted_differences).all() * len(sorted_differences))
        ]
    )
    relative_error = absolute_error / max(output_range, 1e-9)
    tolerance = max(TOLERANCES[weights], STEPPED_TOLERANCE if graphs.state else 0.0)
    if not relative_error <= tolerance:
        raise Inexact(
            f"onnxruntime differs from torch by {relative_error:.2g} of the output's range, {tolerance:g} is allowed"
        )
    return Parity(absolute=absolute_error, relative=relative_error, batch_sizes=list(BATCHES))


def _step_pairs(
    graphs: Graphs, model: Model, batch_size: int, seed: int, *, together: bool
) -> Iterator[tuple[Array, Array]]:
    """With ``together`` the file steps from torch's states: rounded weights diverge."""
    file_states = model.at_rest(batch_size)
    torch_states = [torch.from_numpy(state) for state in file_states.values()]
    for step in range(STEPS if graphs.state else 1):
        condition_count = model.card.conditions
        probe_codes, condition_indices = probes(
            graphs.codes, batch_size, seed + step * len(BATCHES) * 64, condition_count or PITCH_CLASSES
        )
        decoder_inputs = [probe_codes, *model.condition_inputs(condition_indices).values()]
        noise = np.random.default_rng([seed, step]).standard_normal((batch_size, _noise(graphs)), np.float32)
        if noise.size:
            decoder_inputs.append(noise)
        decoder_outputs = graphs.decoder(*map(torch.from_numpy, decoder_inputs), *torch_states)
        torch_frames, *torch_states = decoder_outputs if graphs.state else (decoder_outputs,)
        if not torch.isfinite(torch_frames).all():
            raise Failure(f"the network's frames are not finite; {LOWER_RATE}")
        file_frames, file_states = model.step(probe_codes, condition_indices, file_states, noise)
        yield torch_frames.numpy(), file_frames
        if together:
            file_states = {name: state.numpy() for name, state in zip(file_states, torch_states, strict=True)}


def _noise(graphs: Graphs) -> int:
    """Return how many noise inputs a stream's decoder reads."""
    stream = graphs.card.get("stream")
    return stream.noise if stream else 0


def _write_encoder(
    graphs: Graphs,
    encoder: nn.Module,
    corpus: Corpus,
    weights: Weights,
    temporary_file: Path,
    target_path: Path,
    decoder_model: Model,
) -> None:
    """Write the encoder of a decoder's model, and prove it."""
    card, frame_length = decoder_model.card, decoder_model.card.frame_length
    example_inputs = {"audio": torch.rand(3, frame_length)} | (
        {"chroma": torch.eye(12)[:3]} if graphs.encoder_chroma else {}
    )
    if graphs.pitched:
        example_inputs["pitch"] = 60 + torch.rand(3, 1)
    output_names = ["latent", *(state.name for state in graphs.state if state.name == PREVIOUS_FRAME)]
    output_names += ["label"] if graphs.encoder_labels else []
    graph = trace(encoder, example_inputs, output_names, "batch")
    encoder_card = {
        "format": 1,
        "model": card.name,
        "sample_rate": card.sample_rate,
        "frame_length": frame_length,
        "latents": len(card.latents),
        "license": card.license,
        "decoder_sha256": decoder_model.graph_sha256,
    }
    describe_graph(graph, card, "An encoder: sound in, code out.")
    encoded_pairs = list(_encoded_pairs(graphs, encoder, corpus, frame_length))

    def prove(graph: onnx.ModelProto, weights: Weights) -> None:
        save(graph, temporary_file, {ENCODER_KEY: json.dumps(encoder_card)})
        _check_encoder(graphs, open_session(temporary_file), output_names, encoded_pairs, ENCODER_TOLERANCES[weights])

    _proven(graph, weights, graphs.exact, f"{encoder_path(target_path)}", prove)


def _encoded_pairs(
    graphs: Graphs, encoder: nn.Module, corpus: Corpus, frame_length: int
) -> Iterator[tuple[dict[str, Array], tuple[Array, ...]]]:
    """Yield an encoder's inputs by name, and torch's outputs."""
    for batch_size in BATCHES:
        inputs_by_name = {"audio": _sounds(corpus, frame_length, batch_size)}
        if graphs.encoder_chroma:
            inputs_by_name["chroma"] = ONE_HOT[np.arange(batch_size) % 12]
        if graphs.pitched:
            inputs_by_name["pitch"] = np.linspace(40, 90, batch_size, dtype=np.float32)[:, np.newaxis]
        encoder_output = encoder(*map(torch.from_numpy, inputs_by_name.values()))
        yield (
            inputs_by_name,
            tuple(
                output.numpy()
                for output in (encoder_output if isinstance(encoder_output, tuple) else (encoder_output,))
            ),
        )


def _check_encoder(
    graphs: Graphs,
    session: Any,
    output_names: Sequence[str],
    encoded_pairs: Sequence[tuple[dict[str, Array], tuple[Array, ...]]],
    tolerance: float,
) -> None:
    """Raise `Inexact` if the file's outputs differ from torch's by more than the tolerance."""
    latent_range = float(np.ptp(graphs.codes.latents))
    for inputs_by_name, torch_outputs in encoded_pairs:
        for name, torch_output, file_output in zip(
            output_names, torch_outputs, session.run(output_names, inputs_by_name), strict=True
        ):
            sorted_differences = np.sort(np.abs(file_output - torch_output).max(1))
            ranges_by_output = {"latent": latent_range, "label": 1.0}  # shares of labels sum to 1
            output_range = max(ranges_by_output.get(name, float(np.ptp(torch_output))), 1e-9)
            relative_error = (
                float(sorted_differences[-1 - math.floor(graphs.strays * len(sorted_differences))]) / output_range
            )
            if not relative_error <= tolerance:
                raise Inexact(
                    f"the encoder in onnxruntime differs from torch by {relative_error:.2g} of the {name}s' range, "
                    f"{tolerance:g} is allowed"
                )


def _sounds(corpus: Corpus, length: int, count: int) -> Array:
    """Return excerpts of random training clips, [count, length]."""
    rng = np.random.default_rng(count)
    clips = corpus.clips("train")
    excerpts = np.zeros((count, length), np.float32)
    for excerpt in excerpts:
        samples = corpus.samples(clips[int(rng.integers(len(clips)))])
        start_sample = int(rng.integers(max(1, len(samples) - length)))
        clip_excerpt = samples[start_sample : start_sample + length]
        excerpt[: len(clip_excerpt)] = clip_excerpt
    return excerpts
