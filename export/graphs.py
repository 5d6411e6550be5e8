"""A model's graphs and metadata as families give them, and ONNX files of torch modules."""

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ..host.arrays import Array, Doubles
from ..host.kinds.card_fields import Landmark, Latent, RecurrentState
from ..host.model.gesture import Gestures
from ..host.model.model import Model
from ..host.signal import medoid
from ..train.corpus.clip_table import Clip
from ..train.sampling import evenly_spaced
from .measures.codes import SPAN
from .recordings import RecordedClip

OPSET = 18

Weights = Literal["float16", "float32"]


def trace(
    module: nn.Module, inputs: Mapping[str, torch.Tensor], output_names: Sequence[str], axis: str
) -> onnx.ModelProto:
    """Return the graph of ``module(*inputs)``; its first axis, named ``axis``, is dynamic."""
    module.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of operators that are not in the graph
    dimension = torch.export.Dim(axis, min=1, max=1 << 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        onnx_program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(output_names),
            dynamic_shapes=tuple({0: dimension} for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            optimize=True,
        )
    assert onnx_program is not None
    return onnx_program.model_proto


def store_half(model: onnx.ModelProto, largest_exact_size: int = 0) -> None:
    """Store float32 matrices as float16, each with a Cast that onnxruntime folds at load.

    Vectors and matrices up to ``largest_exact_size`` elements stay float32: a rounded window leaks at -70 dB, and moves
    codes by a tenth of their range.
    """
    initializers, casts = [], []
    for tensor in model.graph.initializer:
        is_matrix = sum(size > 1 for size in tensor.dims) > 1
        if tensor.data_type != TensorProto.FLOAT or not is_matrix or math.prod(tensor.dims) <= largest_exact_size:
            initializers.append(tensor)
            continue
        half_tensor = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}.half")
        initializers.append(half_tensor)
        casts.append(helper.make_node("Cast", [half_tensor.name], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(initializers)
    model.graph.node.extend([*casts, *nodes])


def save(model: onnx.ModelProto, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a checked ONNX file without traces of this machine."""
    helper.set_model_props(model, dict(metadata))
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]  # traces of the exporting machine
    for value_info in model.graph.value_info:
        del value_info.metadata_props[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


CODES = 6000  # training frames encoded for the statistics: percentiles accurate to a hundredth
SEED = 0
LANDMARKS = 256  # a card's limit

FEWEST_CODES = 100  # codes for percentiles to exclude one; of fewer, each is a sound of its own, not an outlier
NARROWEST_SPAN = 1e-3  # a knob that spans less does nothing; the card still needs low < high


@dataclass(frozen=True)
class EncodedFrames:
    """Encoded training frames: latents [frames, n], labels and pitch classes [frames].

    Args:
        span: low and high ends of latents, [n] or common; None takes percentiles.
        moves: measured effect of a latent, by name.
        sound: maps codes [codes, n] to audible features [codes, numbers].
        notes, velocities: MIDI pitches and velocities, [frames]; None where frames have none.
        instruments: labels, [frames], empty where the recordings have none: ``labels`` are then their names; () if
            each recording is a sound of its own.
    """

    latents: Array
    labels: list[str]
    pitch_classes: npt.NDArray[np.int64] | None = None
    span: tuple[float | Array, float | Array] | None = None
    names: Sequence[str] = ()
    moves: Mapping[str, str] = field(default_factory=dict)
    sound: Callable[[Array], Array] | None = None
    notes: Doubles | None = None
    velocities: Doubles | None = None
    instruments: Sequence[str] = ()

    def ends(self) -> tuple[Array, Array]:
        """Return low and high ends of knobs, [n] each."""
        if self.span is None:
            low, high = np.percentile(self.latents, SPAN if len(self.latents) >= FEWEST_CODES else (0, 100), axis=0)
            return low, high
        latent_count = self.latents.shape[1]
        return np.full(latent_count, self.span[0]), np.full(latent_count, self.span[1])


def velocities_of(clips: Iterable[Clip]) -> Doubles | None:
    """Return MIDI velocities, [clips]; None unless all clips have one."""
    velocities = [clip.velocity for clip in clips]
    return None if None in velocities else np.array(velocities, np.float64)


def landmarks(codes: EncodedFrames, words: Sequence[str] = ()) -> list[Landmark]:
    """Return frames spread over the corpus, with codes inside all knobs' spans.

    Each of ``words`` labels one, clamped if its codes lie outside.
    """
    low, high = codes.ends()
    clamped_codes = np.clip(codes.latents, low, high)
    squared_excess = np.square((codes.latents - clamped_codes) / (high - low + NARROWEST_SPAN)).sum(1)
    candidate_rows = np.flatnonzero(squared_excess == 0)
    if not len(candidate_rows):
        candidate_rows, clamped_codes = np.arange(len(codes.latents)), codes.latents
    labels = np.array(codes.labels)
    rows_by_word = [np.flatnonzero(labels == word) for word in words if word in codes.labels][: LANDMARKS // 2]
    word_rows = [rows[squared_excess[rows].argmin()] for rows in rows_by_word]
    chosen_rows = {
        *word_rows,
        *candidate_rows[np.unique(evenly_spaced(len(candidate_rows), LANDMARKS - len(word_rows)))],
    }
    return [
        Landmark(
            latent=[round(float(v), 5) for v in clamped_codes[row]],
            chroma=None if codes.pitch_classes is None else int(codes.pitch_classes[row]),
            label=codes.labels[row],
        )
        for row in sorted(chosen_rows)
    ]


def starting_point(codes: EncodedFrames, marks: list[Landmark]) -> list[float]:
    """Return the landmark nearest to the median code, or with ``sound`` the medoid of the landmarks' sounds.

    Middle codes may sound unlike most recordings.
    """
    if codes.sound is not None:
        landmark_features = codes.sound(np.array([mark.latent for mark in marks], np.float32))
        return list(marks[medoid(landmark_features.astype(np.float64))].latent)
    median_code = np.median(codes.latents, axis=0)
    code_deviations = codes.latents.std(0) + 1e-9
    landmark_distances = [
        float(np.sum(np.square((np.array(mark.latent) - median_code) / code_deviations))) for mark in marks
    ]
    return list(marks[int(np.argmin(landmark_distances))].latent)


def latents(codes: EncodedFrames, defaults: list[float]) -> list[Latent]:
    """Return the card's latents, with spans and statistics of the codes."""
    low, high = codes.ends()
    middles = (low + high) / 2
    low, high = np.minimum(low, middles - NARROWEST_SPAN / 2), np.maximum(high, middles + NARROWEST_SPAN / 2)
    return [
        Latent(
            name=codes.names[latent_index] if codes.names else f"latent {latent_index}",
            low=round(float(low[latent_index]), 5),
            high=round(float(high[latent_index]), 5),
            default=float(np.clip(default, round(float(low[latent_index]), 5), round(float(high[latent_index]), 5))),
            mean=round(float(codes.latents[:, latent_index].mean()), 5),
            std=round(float(codes.latents[:, latent_index].std()), 5),
            moves=codes.moves.get(codes.names[latent_index], "") if codes.names else "",
        )
        for latent_index, default in enumerate(defaults)
    ]


class NetworkDecoder(nn.Module):
    """latent [voice, n] (, label [voice, labels]) → frame [voice, width], by a network's method."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        frame: Tensor = self.network.decode(latent) if label is None else self.network.decode(latent, label)
        return frame


@dataclass(frozen=True)
class PathGraph:
    """A step of a learned path: reads code [voice, n], ``state`` and ``noise`` numbers; returns code and state.

    Noise is normal. A step takes ``step_length`` samples.
    """

    step: nn.Module
    step_length: int
    state: int
    noise: int


@dataclass(frozen=True)
class Graphs:
    """A model's graphs by the contract, and the family's fields of its ``card``.

    Args:
        decoder: reads latents [voice, n], then, if the model has them, chroma [voice, 12], MIDI notes [voice, 1]
            (``pitched``), shares of labels [voice, labels], ``noise`` and each ``state`` of a stream. Returns frames,
            then each next state.
        encoder: reads audio [batch, frame_length], then chroma and notes as above. Returns latents, a stream's state
            ``previous``, and label shares (``encoder_labels``).
        strays: share of codes or frames that may differ from torch's: features step, and networks choose at the last
            bit.
        recordings: that the file may hold; its kit plays them.
        exact: matrices of at most so many elements stay in single precision.
        path: a learned path through the codes.
    """

    decoder: nn.Module
    encoder: nn.Module | None
    codes: EncodedFrames
    card: dict[str, Any]
    decoder_chroma: bool = False
    encoder_chroma: bool = False
    strays: float = 0.0
    exact: int = 0
    path: PathGraph | None = None
    encoder_labels: bool = False
    pitched: bool = False
    state: Sequence[RecurrentState] = ()
    recordings: Sequence[RecordedClip] = ()
    gestures: Callable[[Model], Gestures | None] = lambda model: None
