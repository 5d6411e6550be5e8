"""Exports a run to verified ONNX decoder and encoder files."""

import contextlib
import datetime
import json
import logging
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from ..host.errors import Failure, UserError
from ..host.files import check_output, replacing
from ..host.kinds.stream import PREVIOUS_FRAME
from ..host.model.card import METADATA_KEY, PITCH_CLASSES, Card, Parity, Provenance, Reference
from ..host.model.encoder import ENCODER_KEY, encoder_path
from ..host.model.gesture import GESTURE_KEY
from ..host.model.map import MAP_KEY, NO_NOTE
from ..host.model.map_layout import text_of
from ..host.model.model import ONE_HOT, Model, open_session
from ..train.corpus.store import Corpus
from ..train.run import Run, trained
from .families import FAMILIES
from .first_preset import PLAIN_LUFS, model_loudness_lufs
from .graphs import EncodedFrames, Graphs, Weights, landmarks, latents, save, starting_point, store_half, trace
from .knobs.naming import explained
from .measures.codes import DEAD
from .parity import STEPS, reference

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
    overwrite: bool = False,
) -> Card:
    """Write ``path`` and the network's encoder, if any: both or neither.

    A file that is inexact in float16 is written in float32. A warning says so, and says that latents do not vary.

    Raises:
        UserError: no checkpoint, the corpus is missing, the output is not writable, or the network makes no sound.
        Failure: onnxruntime's results differ from torch's in float32 too, or the model is silent or not finite.
    """
    if path.suffix != ".onnx" or path.name.endswith(".encoder.onnx"):
        raise UserError(f"-o {path} must be a model's name, such as {path.name.partition('.')[0] or 'model'}.onnx")
    family = FAMILIES[run.recipe.family]
    if not family.exported:
        raise UserError(
            f"run {run.folder} is of family {run.recipe.family}, whose networks make no sound and are not exported; "
            f"timbrel evaluate {shlex.quote(str(run.folder))} says what it came to"
        )
    check_output(path, overwrite)
    check_output(encoder_path(path), overwrite)
    network, _, step = trained(run, which)
    corpus = run.corpus()
    graphs = family.graphs(network, run.recipe, corpus, run.info.tonal)
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
        card = _write_decoder(run, graphs, corpus, labels or LabelInput(), step, weights, decoder_file, path)
        if graphs.encoder is not None:
            encoder_file = stack.enter_context(replacing(encoder_path(path), overwrite))
            _write_encoder(graphs, graphs.encoder, corpus, weights, encoder_file, path, Model(decoder_file))
    if graphs.encoder is None:
        encoder_path(path).unlink(missing_ok=True)  # of the previous model
    return card


def _write_decoder(
    run: Run,
    graphs: Graphs,
    corpus: Corpus,
    labels: LabelInput,
    step: int,
    weights: Weights,
    file: Path,
    target_path: Path,
) -> Card:
    codes = graphs.codes
    n = codes.latents.shape[1]
    inputs = {"latent": torch.rand(3, n)} | ({"chroma": torch.eye(12)[:3]} if graphs.decoder_chroma else {})
    if graphs.pitched:
        inputs["pitch"] = 60 + torch.rand(3, 1)
    if words := graphs.card.get("labels"):
        inputs["label"] = torch.rand(3, len(words))
    if noise := _noise(graphs):
        inputs["noise"] = torch.rand(3, noise)
    inputs |= {state.name: torch.rand(3, *state.shape) for state in graphs.state}
    graph = trace(graphs.decoder, inputs, ["frame", *(f"{state.name}_next" for state in graphs.state)], "voice")
    marks = landmarks(codes, words or ())
    knobs = latents(codes, starting_point(codes, marks))
    recipe = run.recipe
    card = Card(
        format=1,
        name=labels.name or target_path.stem,
        description=labels.description or f"{recipe.description}; trained on {run.info.corpus_name}",
        license=labels.license or corpus.licence or "unknown",
        credits=labels.credits or "",
        created=datetime.date.today().isoformat(),
        sample_rate=recipe.frames.sample_rate,
        frame_length=recipe.frames.frame_length,
        latents=knobs,
        loudness_lufs=PLAIN_LUFS,
        landmarks=marks,
        training=_training(run, step),
        parity=Parity(absolute=0.0, relative=0.0, batch_sizes=list(BATCHES)),
        reference=Reference(
            latent=[[0.0] * n], chroma=[0], label=[0], key=[0], points=[0], frame=[[0.0]], tolerance=0.0
        ),
        state=list(graphs.state),
        **graphs.card,
    )

    def prove(graph: onnx.ModelProto, weights: Weights) -> tuple[onnx.ModelProto, Model, Parity]:
        save(graph, file, {METADATA_KEY: card.model_dump_json()})
        model = Model(file)  # the file as written, as hosts load it
        return graph, model, _parity(graphs, model, weights)

    graph, model, parity = _proven(graph, weights, graphs.exact, f"{target_path}", prove)
    card = card.model_copy(update={"parity": parity, "reference": reference(model), "latents": explained(model)})
    extra_metadata = _beside_the_card(graphs, model)
    save(graph, file, {METADATA_KEY: card.model_dump_json()} | extra_metadata)
    lufs = model_loudness_lufs(Model(file))  # with gestures
    if lufs < SILENT_LUFS:
        raise Failure(f"run {run.folder}: its model is silent; train it longer, or again with louder sounds")
    card = card.model_copy(update={"loudness_lufs": round(lufs, 2)})
    save(graph, file, {METADATA_KEY: card.model_dump_json()} | extra_metadata)
    verdict = Model(file).verify()
    if not verdict.passed:
        raise Failure(f"{target_path}: the file does not give its own reference (off by {verdict.difference:.2g})")
    return card


def _proven(
    graph: onnx.ModelProto,
    weights: Weights,
    exact: int,
    name: str,
    prove: Callable[[onnx.ModelProto, Weights], Proof],
) -> Proof:
    """Prove the graph with ``weights``, or in float32 if float16 is inexact: networks choose how well they round."""
    if weights == "float16":
        half = onnx.ModelProto()
        half.CopyFrom(graph)
        store_half(half, exact)
        try:
            return prove(half, "float16")
        except Inexact as error:
            log.warning("%s: with float16 weights %s; it has float32 weights, twice the file", name, error)
    try:
        return prove(graph, "float32")
    except Inexact as error:
        raise Failure(f"{name}: {error}; no file was kept, the run is; train it further and export it again") from None


def _beside_the_card(graphs: Graphs, model: Model) -> dict[str, str]:
    codes, metadata = graphs.codes, {}
    if (gestures := graphs.gestures(model)) is not None:
        metadata[GESTURE_KEY] = gestures.model_dump_json(exclude_unset=True)
    notes = np.full(len(codes.labels), NO_NOTE) if codes.pitch_classes is None else codes.pitch_classes
    return metadata | {MAP_KEY: text_of(model, codes.latents, codes.labels, notes)}


def _training(run: Run, step: int) -> Provenance:
    log_entries = [entry for entry in run.logged() if entry["step"] <= step]
    validation = (
        {k: round(float(v), 6) for k, v in log_entries[-1].items() if k not in ("step", "seconds")}
        if log_entries
        else {}
    )
    return Provenance(
        recipe=run.recipe.name,
        steps=step,
        seed=run.recipe.training.seed,
        corpus=run.info.corpus_name,
        clips=run.info.clips,
        seconds=round(run.info.seconds, 1),
        validation=validation,
        versions={**run.info.versions, "onnx": version("onnx"), "timbrel": __version__},
        hardware=run.info.hardware,
    )


def probes(
    codes: EncodedFrames, count: int, seed: int, conditions: int = PITCH_CLASSES
) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return latents, inside and at the range's edges, [count, n], and conditions, [count]."""
    rng = np.random.default_rng(seed)
    low, high = codes.latents.min(0), codes.latents.max(0)
    interior = rng.uniform(low, high, (count, len(low)))
    edges = rng.random((count, len(low))) < 0.5
    at_edge = rng.random(count) < 0.5
    corner = np.where(rng.random((count, len(low))) < 0.5, low, high)
    latent = np.where(edges & at_edge[:, None], corner, interior).astype(np.float32)
    return latent, rng.integers(conditions, size=count).astype(np.intp)


def _parity(graphs: Graphs, model: Model, weights: Weights) -> Parity:
    differences, span = [], 0.0
    for batch in BATCHES:
        for seed in range(1 if graphs.state else max(1, 64 // batch)):  # stateful models run many steps instead
            for expected, file_frame in _step_pairs(graphs, model, batch, seed, together=weights == "float16"):
                differences += np.abs(file_frame - expected).max(1).tolist()
                span = max(span, float(np.ptp(expected)))
    deviations = np.sort(differences)  # NaN last
    absolute = float(deviations[-1 - math.floor(graphs.strays * np.isfinite(deviations).all() * len(deviations))])
    relative = absolute / max(span, 1e-9)
    tolerance = max(TOLERANCES[weights], STEPPED_TOLERANCE if graphs.state else 0.0)
    if not relative <= tolerance:
        raise Inexact(
            f"onnxruntime differs from torch by {relative:.2g} of the output's range, {tolerance:g} is allowed"
        )
    return Parity(absolute=absolute, relative=relative, batch_sizes=list(BATCHES))


def _step_pairs(
    graphs: Graphs, model: Model, batch: int, seed: int, *, together: bool
) -> Iterator[tuple[Array, Array]]:
    """With ``together`` the file steps from torch's states: rounded weights diverge."""
    file_states = model.at_rest(batch)
    torch_states = [torch.from_numpy(state) for state in file_states.values()]
    for step in range(STEPS if graphs.state else 1):
        conditions = model.card.conditions
        latent, condition = probes(graphs.codes, batch, seed + step * len(BATCHES) * 64, conditions or PITCH_CLASSES)
        inputs = [latent, *model.condition_inputs(condition).values()]
        noise = np.random.default_rng([seed, step]).standard_normal((batch, _noise(graphs)), np.float32)
        if noise.size:
            inputs.append(noise)
        outputs = graphs.decoder(*map(torch.from_numpy, inputs), *torch_states)
        frame, *torch_states = outputs if graphs.state else (outputs,)
        if not torch.isfinite(frame).all():
            raise Failure(f"the network's frames are not finite; {LOWER_RATE}")
        file_frame, file_states = model.step(latent, condition, file_states, noise)
        yield frame.numpy(), file_frame
        if together:
            file_states = {name: state.numpy() for name, state in zip(file_states, torch_states, strict=True)}


def _noise(graphs: Graphs) -> int:
    stream = graphs.card.get("stream")
    return stream.noise if stream else 0


def _write_encoder(
    graphs: Graphs, encoder: nn.Module, corpus: Corpus, weights: Weights, file: Path, target_path: Path, decoder: Model
) -> None:
    card, length = decoder.card, decoder.card.frame_length
    inputs = {"audio": torch.rand(3, length)} | ({"chroma": torch.eye(12)[:3]} if graphs.encoder_chroma else {})
    if graphs.pitched:
        inputs["pitch"] = 60 + torch.rand(3, 1)
    outputs = ["latent", *(state.name for state in graphs.state if state.name == PREVIOUS_FRAME)]
    outputs += ["label"] if graphs.encoder_labels else []
    graph = trace(encoder, inputs, outputs, "batch")
    encoder_card = {
        "format": 1,
        "model": card.name,
        "sample_rate": card.sample_rate,
        "frame_length": length,
        "latents": len(card.latents),
        "license": card.license,
        "decoder_sha256": decoder.graph_sha256,
    }
    pairs = list(_encoded_pairs(graphs, encoder, corpus, length))

    def prove(graph: onnx.ModelProto, weights: Weights) -> None:
        save(graph, file, {ENCODER_KEY: json.dumps(encoder_card)})
        _check_encoder(graphs, open_session(file), outputs, pairs, ENCODER_TOLERANCES[weights])

    _proven(graph, weights, graphs.exact, f"{encoder_path(target_path)}", prove)


def _encoded_pairs(
    graphs: Graphs, encoder: nn.Module, corpus: Corpus, length: int
) -> Iterator[tuple[dict[str, Array], tuple[Array, ...]]]:
    """Yield an encoder's inputs by name, and torch's outputs."""
    for batch in BATCHES:
        feeds = {"audio": _sounds(corpus, length, batch)}
        if graphs.encoder_chroma:
            feeds["chroma"] = ONE_HOT[np.arange(batch) % 12]
        if graphs.pitched:
            feeds["pitch"] = np.linspace(40, 90, batch, dtype=np.float32)[:, np.newaxis]
        encoded = encoder(*map(torch.from_numpy, feeds.values()))
        yield feeds, tuple(part.numpy() for part in (encoded if isinstance(encoded, tuple) else (encoded,)))


def _check_encoder(
    graphs: Graphs,
    session: Any,
    outputs: Sequence[str],
    pairs: Sequence[tuple[dict[str, Array], tuple[Array, ...]]],
    tolerance: float,
) -> None:
    span = float(np.ptp(graphs.codes.latents))
    for feeds, expected in pairs:
        for name, torch_output, file_output in zip(outputs, expected, session.run(outputs, feeds), strict=True):
            deviations = np.sort(np.abs(file_output - torch_output).max(1))
            ranges_by_output = {"latent": span, "label": 1.0}  # shares of labels sum to 1
            output_range = max(ranges_by_output.get(name, float(np.ptp(torch_output))), 1e-9)
            relative = float(deviations[-1 - math.floor(graphs.strays * len(deviations))]) / output_range
            if not relative <= tolerance:
                raise Inexact(
                    f"the encoder in onnxruntime differs from torch by {relative:.2g} of the {name}s' range, "
                    f"{tolerance:g} is allowed"
                )


def _sounds(corpus: Corpus, length: int, count: int) -> Array:
    rng = np.random.default_rng(count)
    clips = corpus.clips("train")
    pieces = np.zeros((count, length), np.float32)
    for row in pieces:
        samples = corpus.samples(clips[int(rng.integers(len(clips)))])
        start = int(rng.integers(max(1, len(samples) - length)))
        piece = samples[start : start + length]
        row[: len(piece)] = piece
    return pieces
