"""Writes the file of a learned path, with its reference, and names it in its model's card."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch

from ..host.arrays import Array
from ..host.errors import Failure, UserError
from ..host.kinds.card_fields import LearnedPathLayout
from ..host.model.card import METADATA_KEY
from ..host.model.learned_path import LARGEST_BYTES, PATH_KEY, LearnedPath, PathCard, PathReference
from ..host.model.model import Model
from .graphs import PathGraph, save, trace
from .meaning import describe_graph

REFERENCE_STEPS, REFERENCE_SEED = 32, 1
TOLERANCE = 1e-3  # of codes' spans: rounding differences between processors are fed back, and stay far below
EXACT = 1e-4  # of codes' spans: the largest difference of a step from torch's
BATCH, STEPS = 7, 16  # of the comparison with torch


def write_path(graph: PathGraph, model: Model, file: Path, name: str) -> LearnedPathLayout:
    """Write ``file``, prove it, and return its fields in the card of ``model``; messages call it ``name``.

    Raises:
        UserError: the file is too large for a host.
        Failure: onnxruntime's steps differ from torch's.
    """
    latents = model.card.latents
    example_inputs = {
        "code": torch.rand(3, len(latents)),
        "state": torch.rand(3, graph.state),
        "noise": torch.rand(3, graph.noise),
    }
    traced = trace(graph.step, example_inputs, ["code_next", "state_next"], "voice")
    describe_graph(traced, model.card, "A learned path: code, state and noise in, the next code and state out.")
    start = [latent.default for latent in latents]
    card = PathCard(
        format=1,
        model=model.card.name,
        license=model.card.license,
        reference=PathReference(start=start, seed=REFERENCE_SEED, codes=[start], tolerance=0.0),
    )
    opened = _saved(traced, card, graph, model, file)
    _prove(graph, opened, name)
    walked = opened.walk(np.array(start, np.float32), REFERENCE_SEED)
    spans = [high - low for low, high in model.card.spans]
    reference = card.reference.model_copy(
        update={
            "codes": [[round(float(v), 5) for v in next(walked)] for _ in range(REFERENCE_STEPS)],
            "tolerance": round(TOLERANCE * max(spans), 6),
        }
    )
    opened = _saved(traced, card.model_copy(update={"reference": reference}), graph, model, file)
    if len(opened.data) > LARGEST_BYTES:
        raise UserError(
            f"{name} has {len(opened.data) / 1e6:.1f} MB, at most {LARGEST_BYTES / 1e6:g} are played; train it with a "
            "lower network.hidden or network.components"
        )
    verdict = opened.verify()
    if not verdict.passed:
        raise Failure(f"{name}: the file does not give its own reference (off by {verdict.difference:.2g})")
    return opened.layout


def name_in_card(decoder_file: Path, layout: LearnedPathLayout) -> None:
    """Add a learned path to the card of a model's file; its graph stays."""
    decoder, card = onnx.load(decoder_file), Model(decoder_file).card
    metadata = {entry.key: entry.value for entry in decoder.metadata_props}
    card = card.model_copy(update={"learned_path": layout})
    save(decoder, decoder_file, metadata | {METADATA_KEY: card.model_dump_json()})


def _saved(traced: onnx.ModelProto, card: PathCard, graph: PathGraph, model: Model, file: Path) -> LearnedPath:
    """Write the file with a card, and open it as the model's."""
    save(traced, file, {PATH_KEY: card.model_dump_json()})
    data = file.read_bytes()
    layout = LearnedPathLayout(
        step_length=graph.step_length,
        state=graph.state,
        noise=graph.noise,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    model.card = model.card.model_copy(update={"learned_path": layout})
    return LearnedPath(model, data)


@torch.no_grad()
def _prove(graph: PathGraph, opened: LearnedPath, name: str) -> None:
    """Compare the file's steps with torch's, each from torch's codes and states."""
    low, high = np.array(opened.model.card.spans, np.float32).T
    rng = np.random.default_rng(0)
    code: Array = rng.uniform(low, high, (BATCH, len(low))).astype(np.float32)
    state = np.zeros((BATCH, graph.state), np.float32)
    for step in range(STEPS):
        noise = rng.standard_normal((BATCH, graph.noise), np.float32)
        file_outputs = opened.run(code, state, noise)
        torch_outputs = [output.numpy() for output in graph.step(*map(torch.from_numpy, (code, state, noise)))]
        for file_output, torch_output, size in zip(
            file_outputs, torch_outputs, (float((high - low).max()), 1.0), strict=True
        ):
            difference = float(np.abs(file_output - torch_output).max()) / max(size, float(np.abs(torch_output).max()))
            if not difference <= EXACT:
                raise Failure(
                    f"{name}: onnxruntime differs from torch by {difference:.2g} in step {step}, {EXACT:g} is allowed; "
                    "no file was kept, the run is; train it further and export it again"
                )
        code, state = np.clip(torch_outputs[0], low, high), torch_outputs[1]
