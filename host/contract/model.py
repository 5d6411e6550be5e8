"""A model file: an onnxruntime session and its card."""

import functools
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import UserError
from ..files import stamp
from .card import METADATA_KEY, Card, read_card, unknown_fields
from .gesture import GESTURE_KEY, Gestures, read_gestures
from .graph import NotONNX, graph_of, leads_out
from .map import MAP_KEY, CodeMap, read_map

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[np.float32]
States = dict[str, Array]  # the state that a decoder carries from step to step, by name, [voice, *shape]


class ParityResult(NamedTuple):
    """The distance of a model's outputs from those its card promises: the largest difference, and the tolerance.

    ``told`` of ``width`` outputs are in the card. A difference in a faint one weighs up to 1 / `FAINT` as much.
    """

    difference: float
    tolerance: float
    told: int
    width: int

    @property
    def passed(self) -> bool:
        """Return whether the difference is within the tolerance; NaN never is."""
        return self.difference <= self.tolerance


class Model:
    """A decoder that plays: latents (and chroma) in, frames out.

    One intra-op thread, sequential, no spinning, denormals as zero: a run never waits for another core, and costs the
    same beside a busy machine. Rows of a batch do not influence each other, to the bit.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        """Open and check a model.

        Args:
            path: of its file.
            data: what would be in the file, where there is none; then ``path`` is but a name.

        Raises:
            UserError: missing, unreadable, not ONNX, without card, or with a graph, gestures or map that do not fit it.
        """
        self.path, self._data = path, data
        # Taken before the file is read, so that a change meanwhile is noticed.
        self.stamp = stamp(path) if data is None else None
        self.session = open_session(path, data=data)
        about = metadata(self.session, path)
        text = about.get(METADATA_KEY)
        if text is None:
            raise UserError(f"{path} is an ONNX file without a timbrel card; make one with 'timbrel export'")
        self.card: Card = read_card(text, str(path))
        self.warnings = _card_warnings(self.card, path)
        self._one_hot = np.eye(self.card.conditions, dtype=np.float32)
        self._outputs = {"frame": [self.card.frame_width]} | {f"{s.name}_next": s.shape for s in self.card.state}
        self._noise = self.card.stream.noise if self.card.stream else 0
        self._check_graph()
        self._try_ends()
        ways = about.get(GESTURE_KEY)
        self.gestures: Gestures | None = None if ways is None else read_gestures(ways, self.card, str(path))
        plane = about.get(MAP_KEY)
        self.map: CodeMap | None = None if plane is None else read_map(plane, self.card, str(path))

    def __reduce__(self) -> tuple[type["Model"], tuple[Path, bytes | None]]:
        """A copy in another process opens the file anew."""
        return Model, (self.path, self._data)

    def read_bytes(self) -> bytes:
        """Return the bytes of the file."""
        return self.path.read_bytes() if self._data is None else self._data

    @functools.cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the file in hex, as presets carry it."""
        return hashlib.sha256(self.read_bytes()).hexdigest()

    @functools.cached_property
    def graph_sha256(self) -> str:
        """Return the SHA-256 of the graph alone, in hex: another card leaves it as it is."""
        return hashlib.sha256(graph_of(self.read_bytes())).hexdigest()

    def decode(self, latent: Array, condition: npt.NDArray[np.intp] | Array) -> Array:
        """Return the frames of a batch, [voice, frame_width], of a model without state; otherwise as `step`."""
        return self.step(latent, condition, {})[0]

    def step(
        self,
        latent: Array,
        condition: npt.NDArray[np.intp] | Array,
        state: States,
        noise: Array | None = None,
    ) -> tuple[Array, States]:
        """Return the next frame of each voice, [voice, frame_width], and the state after it.

        Args:
            latent: [voice, n_latents].
            condition: pitch class 0-11 of each row, [voice], or how much there is of each, [voice, 12]; of a model
                with labels the number of the label, or how much there is of each, [voice, labels]; of one of partials
                the MIDI note, [voice], which may have a fraction. Ignored by models without any of these.
            state: what the step before gave, by name, [voice, *shape]; `at_rest` at first.
            noise: normal numbers times the heat, [voice, noise], of a model whose `Stream` takes some; None for zeros.

        Raises:
            UserError: the graph cannot be run, or gives something else.
        """
        feeds = {"latent": latent} | state | self.told(condition)
        if self._noise:
            feeds["noise"] = np.zeros((len(latent), self._noise), np.float32) if noise is None else noise
        frame, *after = run(self.session, self.path, self._outputs, feeds)
        return frame, dict(zip(state, after, strict=True))

    def told(self, condition: npt.NDArray[np.intp] | Array) -> dict[str, Array]:
        """Return what the graph takes beside latents, by name, for a ``condition`` as in `step`."""
        if self.card.partials is not None:
            return {"pitch": condition.astype(np.float32)[:, np.newaxis]}
        if not self.card.conditions:
            return {}
        weights = self._one_hot[condition] if condition.ndim == 1 else condition.astype(np.float32, copy=False)
        return {"chroma" if self.card.chroma is not None else "label": weights}

    def at_rest(self, voices: int) -> States:
        """Return the state before a first step: zeros, [voices, *shape], by name; empty for models without state."""
        return {state.name: np.zeros((voices, *state.shape), np.float32) for state in self.card.state}

    def after(self, steps: int, latent: Array, condition: npt.NDArray[np.intp]) -> Array:
        """Return the frames, [voice, frame_width], of the last of some steps with the same inputs, from rest."""
        state = self.at_rest(len(latent))
        for _ in range(steps):
            frame, state = self.step(latent, condition, state)
        return frame

    def verify(self) -> ParityResult:
        """Run the card's reference on this machine, and compare."""
        reference = self.card.reference
        latent = np.asarray(reference.latent, np.float32)
        told = reference.chroma or reference.label or reference.key or [0] * len(latent)
        condition = np.asarray(told, np.intp)
        frame, width = self.after(reference.steps, latent, condition), self.card.frame_width
        differences = np.abs(frame[:, reference.points] - np.asarray(reference.frame, np.float32))
        points = len(set(reference.points))
        if reference.peaks is not None:
            rows, values = reference.unpack_peaks(width)
            expected = np.frombuffer(values, "<f2").astype(np.float32)
            apart = np.abs(frame[np.frombuffer(rows, np.uint8), np.arange(width)] - expected)
            size = np.abs(expected)
            apart = np.maximum(apart - size * HALF_ROUNDS - HALF_STEPS, 0.0)
            differences = np.append(differences, apart / np.minimum(size / max(size.max(), HALF_STEPS) + FAINT, 1.0))
            points = width
        return ParityResult(float(differences.max()), reference.tolerance, points, width)

    def _check_graph(self) -> None:
        card, path = self.card, self.path
        check_types(self.session, path)
        inputs = {i.name: i.shape for i in self.session.get_inputs()}
        outputs = {o.name: o.shape for o in self.session.get_outputs()}
        expected_inputs: dict[str, list[int]] = {"latent": [len(card.latents)]}
        told = self.told(np.zeros(1, np.intp))
        expected_inputs |= {name: list(given.shape[1:]) for name, given in told.items()}
        if self._noise:
            expected_inputs["noise"] = [self._noise]
        expected_inputs |= {state.name: state.shape for state in card.state}
        for what, found, expected in (("inputs", inputs, expected_inputs), ("outputs", outputs, self._outputs)):
            shapes = {name: list(shape[1:]) for name, shape in found.items()}
            if shapes != expected:
                raise UserError(f"{path}: its graph's {what} {shapes} are not the card's {expected}; export it again")
            fixed = [name for name, shape in found.items() if isinstance(shape[0], int)]
            if fixed:
                raise UserError(f"{path}: the voice axis of {fixed[0]!r} is fixed, it must be dynamic; export it again")

    def _try_ends(self) -> None:
        """Decode the ends of all knobs once: a graph need not give what it declares."""
        ends = [[latent.low for latent in self.card.latents], [latent.high for latent in self.card.latents]]
        self.after(1, np.array(ends, np.float32), np.zeros(len(ends), np.intp))


FILE_BYTES = 1 << 31  # of the largest model file: protobuf holds no more
# The most that rounding to float16 changes: a number by this part of itself, a subnormal one by this much.
HALF_ROUNDS, HALF_STEPS = 2.0**-11, 2.0**-25
# The tolerance of an output that is never large, in parts of that of the largest; processors differ by less than a
# tenth of it.
FAINT = 0.03
RUN_BYTES = 1 << 30  # that all models of a process may use together; those that ship use a hundredth of it

ONE_HOT: Array = np.eye(12, dtype=np.float32)


def _card_warnings(card: Card, path: Path) -> tuple[str, ...]:
    unknown = [name[:40] for name in unknown_fields(card)]
    if not unknown:
        return ()
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return (
        f"{path}: its card has fields that this timbrel does not know ({', '.join(unknown[:5])}{more}); "
        "they are ignored, update timbrel to use them",
    )


def open_session(path: Path, threads: int = 1, data: bytes | None = None) -> "onnxruntime.InferenceSession":
    """Open an ONNX file, or its ``data``, for steady real-time use; it must hold all its weights itself.

    Raises:
        UserError: missing, a folder, unreadable, not ONNX, or with weights in other files.
    """
    if data is None:
        _check_file(path)
    else:
        _check_bytes(path, data)
    onnxruntime = _load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # fatal only: what fails is raised and said in our words
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # whatever the suffix: as it was checked
    try:
        # Without its fallback, which prints on standard output and tries the same again.
        return onnxruntime.InferenceSession(data or str(path), options, ["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime raises a class of its own for each way a file can be broken
        raise _not_onnx(path, _reason(error)) from None


def metadata(session: "onnxruntime.InferenceSession", path: Path) -> dict[str, str]:
    """Return an ONNX file's metadata, by key.

    Raises:
        UserError: they are not UTF-8.
    """
    try:
        found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise _not_onnx(path, "its metadata are no UTF-8") from None
    return found


def run(
    session: "onnxruntime.InferenceSession",
    path: Path,
    outputs: Mapping[str, Sequence[int]],
    feeds: Mapping[str, Array],
) -> list[Array]:
    """Return the outputs of a graph, each [rows, *shape], for feeds of as many rows; ``path`` is for messages.

    Args:
        outputs: their shapes, by name.

    Raises:
        UserError: the graph cannot be run, such as where it asks for too much memory, or gives another shape.
    """
    try:
        given: list[Array] = session.run(list(outputs), feeds)
    except Exception as error:  # as in `open_session`
        raise UserError(f"{path} cannot be run ({_reason(error)}); export it again") from None
    rows = len(next(iter(feeds.values())))
    for (name, shape), found in zip(outputs.items(), given, strict=True):
        if found.shape != (rows, *shape):
            raise UserError(
                f"{path}: its graph gives a {name} of shape {list(found.shape)} where it says {[rows, *shape]}; "
                "export it again"
            )
    return given


def check_types(session: "onnxruntime.InferenceSession", path: Path) -> None:
    """Refuse a graph with inputs or outputs other than float32 tensors of known rank.

    Raises:
        UserError: naming the first input or output that is not one.
    """
    try:
        puts = [(put.name, put.type, put.shape) for put in (*session.get_inputs(), *session.get_outputs())]
    except UnicodeDecodeError:
        raise _not_onnx(path, "a name in its graph is no UTF-8") from None
    for name, kind, shape in puts:
        if kind != "tensor(float)" or not shape:
            raise UserError(f"{path}: {name!r} of its graph is no batch of float32 numbers; export it again")


@functools.cache
def _load_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry off and the memory of all sessions bounded.

    Telemetry is on in PyPI's wheels for Linux: it starts threads, writes to the user's cache and looks up a host on the
    internet. Memory is bounded since a graph may request more than there is.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime reads it once, as it is imported
    import onnxruntime

    onnxruntime.create_and_register_allocator(
        onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        ),
        onnxruntime.OrtArenaCfg({"max_mem": RUN_BYTES}),
    )
    return onnxruntime


def _check_file(path: Path) -> None:
    """Refuse an incomplete model before onnxruntime sees it: some versions open the files that a graph points at."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the .onnx file in it")
    if not path.exists():
        raise UserError(f"model {path} does not exist; check the path, or list shipped models with 'timbrel presets'")
    if not os.access(path, os.R_OK):
        raise UserError(f"model {path} cannot be read: no right to read it")
    if not path.is_file() or path.stat().st_size > FILE_BYTES:
        raise _not_onnx(path, f"it is no file of at most {FILE_BYTES >> 30} GiB")
    _check_bytes(path, path.read_bytes())


def _check_bytes(path: Path, data: bytes) -> None:
    """Refuse what is no ONNX file, or has weights in other files."""
    try:
        elsewhere = leads_out(data)
    except NotONNX as problem:
        raise _not_onnx(path, str(problem)) from None
    if elsewhere:
        raise UserError(
            f"{path} keeps weights in other files (ONNX external data), and a model must be one file; "
            "export it again with its weights in it"
        )


def _not_onnx(path: Path, reason: str) -> UserError:
    return UserError(f"{path} cannot be opened as an ONNX model ({reason}); copy or export it again")


def _reason(error: Exception) -> str:
    """Return the first line of onnxruntime's message, without its codes in brackets and between colons."""
    asked = re.search(r"requested bytes of (\d+)", str(error))  # its arena's message, among lines of C++
    if asked:
        return f"it asks for {int(asked[1]) / 1e9:.3g} GB of memory, all models have {RUN_BYTES / 1e9:.3g} GB together"
    return (str(error).splitlines() or [""])[0].rsplit(" : ", 1)[-1][:120]
