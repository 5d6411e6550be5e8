"""Model files: a decoder in an onnxruntime session, its card, gestures and map, described for users."""

import functools
import hashlib
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..errors import UserError, printable
from ..files import stamp
from ..kinds.card_fields import LearnedPathLayout, NormalPrior, UniformPrior
from ..kinds.table import kind_of
from ..units import PITCH_CLASSES, note_name
from .card import METADATA_KEY, Card, read_card, unknown_fields
from .gesture import GESTURE_KEY, Gestures, read_gestures
from .map import MAP_KEY, CodeMap, read_map
from .onnx_bytes import FILE_BYTES, NotONNX, graph_of, leads_out, repeats
from .recordings import RECORDINGS_KEY, Recordings, read_recordings

COLUMNS = 100  # of a line of labels


if TYPE_CHECKING:
    import onnxruntime

States = dict[str, Array]  # recurrent state of a decoder, by name, [voice, *shape]


class ParityResult(NamedTuple):
    """Largest difference from the card's reference, which has ``points`` of ``width`` outputs.

    Faint outputs' differences weigh up to 1 / `FAINT` times as much.
    """

    difference: float
    tolerance: float
    points: int
    width: int

    @property
    def passed(self) -> bool:
        """False for NaN."""
        return self.difference <= self.tolerance


class Model:
    """A decoder. Rows of a batch are independent to the bit.

    A run uses one thread, without spinning, with denormals as zero: it never waits for another core.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        """Open and check a model file, or its bytes ``data``; ``path`` then only names it.

        Raises:
            UserError: as `open_session`; no card; or graph, gestures, map or recordings contradict it.
        """
        self.path, self._data = path, data
        # Stamped before reading, so that a change while reading is detected.
        self.stamp = stamp(path) if data is None else None
        self.session = open_session(path, data)
        file_metadata = metadata(self.session, path)
        card_text = file_metadata.get(METADATA_KEY)
        if card_text is None:
            raise UserError(f"{path} is an ONNX file without a timbrel card; make one with 'timbrel export'")
        self.card: Card = read_card(card_text, str(path))
        self.warnings = _card_warnings(self.card, path)
        self._one_hot = np.eye(self.card.conditions, dtype=np.float32)
        self._outputs = {"frame": [self.card.frame_width]} | {f"{s.name}_next": s.shape for s in self.card.state}
        self._noise = self.card.stream.noise if self.card.stream else 0
        self._check_graph()
        self._try_ends()
        gesture_text = file_metadata.get(GESTURE_KEY)
        self.gestures: Gestures | None = (
            None if gesture_text is None else read_gestures(gesture_text, self.card, str(path))
        )
        map_text = file_metadata.get(MAP_KEY)
        self.map: CodeMap | None = None if map_text is None else read_map(map_text, self.card, str(path))
        self.recordings: Recordings | None = read_recordings(file_metadata.get(RECORDINGS_KEY), self.card, str(path))

    def __reduce__(self) -> tuple[type["Model"], tuple[Path, bytes | None]]:
        return Model, (self.path, self._data)

    def read_bytes(self) -> bytes:
        return self.path.read_bytes() if self._data is None else self._data

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.read_bytes()).hexdigest()

    @functools.cached_property
    def graph_sha256(self) -> str:
        """Hex SHA-256 of the graph without metadata."""
        return hashlib.sha256(graph_of(self.read_bytes())).hexdigest()

    def decode(self, latent: Array, condition: npt.NDArray[np.intp] | Array) -> Array:
        """`step` of a model without state; returns frames alone."""
        return self.step(latent, condition, {})[0]

    def step(
        self, latent: Array, condition: npt.NDArray[np.intp] | Array, state: States, noise: Array | None = None
    ) -> tuple[Array, States]:
        """Each voice's next frame, [voice, frame_width], and state.

        Args:
            latent: [voice, n_latents].
            condition: pitch classes 0-11 or label numbers, [voice], or weights, [voice, 12 or labels]; MIDI notes of
                partials, [voice], fractions allowed; else ignored.
            state: of the previous step, by name, [voice, *shape]; `at_rest` at first.
            noise: normal numbers times the heat, [voice, noise]; None for zeros.

        Raises:
            UserError: as `run`.
        """
        feeds = {"latent": latent} | state | self.condition_inputs(condition)
        if self._noise:
            feeds["noise"] = np.zeros((len(latent), self._noise), np.float32) if noise is None else noise
        frames, *next_states = run(self.session, self.path, self._outputs, feeds)
        return frames, dict(zip(state, next_states, strict=True))

    def condition_inputs(self, condition: npt.NDArray[np.intp] | Array) -> dict[str, Array]:
        """Graph inputs, by name, of a ``condition`` as in `step`."""
        if self.card.partials is not None:
            return {"pitch": condition.astype(np.float32)[:, np.newaxis]}
        if not self.card.conditions:
            return {}
        weights = self._one_hot[condition] if condition.ndim == 1 else condition.astype(np.float32, copy=False)
        return {"chroma" if self.card.chroma is not None else "label": weights}

    def at_rest(self, voices: int) -> States:
        """Zero states, by name, of as many ``voices``."""
        return {
            recurrent_state.name: np.zeros((voices, *recurrent_state.shape), np.float32)
            for recurrent_state in self.card.state
        }

    def after(self, steps: int, latent: Array, condition: npt.NDArray[np.intp]) -> Array:
        """Last frames, [voice, frame_width], of ``steps`` steps with equal inputs."""
        state = self.at_rest(len(latent))
        for _ in range(steps):
            frames, state = self.step(latent, condition, state)
        return frames

    def verify(self) -> ParityResult:
        """Compare decoded frames with those of the card's reference, after decoding all recordings.

        Raises:
            UserError: a recording is damaged, as `Recordings.sides`.
        """
        if self.recordings is not None:
            for index in range(len(self.card.recordings)):
                self.recordings.sides(index)
        reference = self.card.reference
        latent = np.asarray(reference.latent, np.float32)
        reference_conditions = reference.chroma or reference.label or reference.key or [0] * len(latent)
        condition = np.asarray(reference_conditions, np.intp)
        frames, frame_width = self.after(reference.steps, latent, condition), self.card.frame_width
        differences = np.abs(frames[:, reference.points] - np.asarray(reference.frame, np.float32))
        point_count = len(set(reference.points))
        if reference.peaks is not None:
            peak_row_bytes, peak_bytes = reference.unpack_peaks(frame_width)
            expected_peaks = np.frombuffer(peak_bytes, "<f2").astype(np.float32)
            peak_errors = np.abs(
                frames[np.frombuffer(peak_row_bytes, np.uint8), np.arange(frame_width)] - expected_peaks
            )
            expected_magnitudes = np.abs(expected_peaks)
            peak_errors = np.maximum(peak_errors - expected_magnitudes * HALF_ROUNDS - HALF_STEPS, 0.0)
            differences = np.append(
                differences,
                peak_errors / np.minimum(expected_magnitudes / max(expected_magnitudes.max(), HALF_STEPS) + FAINT, 1.0),
            )
            point_count = frame_width
        return ParityResult(float(differences.max()), reference.tolerance, point_count, frame_width)

    def _check_graph(self) -> None:
        """Check that the graph's inputs and outputs have the card's shapes, with any number of voices."""
        card, path = self.card, self.path
        check_types(self.session, path)
        input_shapes = {i.name: i.shape for i in self.session.get_inputs()}
        output_shapes = {o.name: o.shape for o in self.session.get_outputs()}
        expected_input_shapes: dict[str, list[int]] = {"latent": [len(card.latents)]}
        condition_feeds = self.condition_inputs(np.zeros(1, np.intp))
        expected_input_shapes |= {name: list(feed.shape[1:]) for name, feed in condition_feeds.items()}
        if self._noise:
            expected_input_shapes["noise"] = [self._noise]
        expected_input_shapes |= {state.name: state.shape for state in card.state}
        for direction, graph_shapes, expected_shapes in (
            ("inputs", input_shapes, expected_input_shapes),
            ("outputs", output_shapes, self._outputs),
        ):
            unbatched_shapes = {name: list(shape[1:]) for name, shape in graph_shapes.items()}
            if unbatched_shapes != expected_shapes:
                raise UserError(
                    f"{path}: its graph's {direction} {unbatched_shapes} are not the card's {expected_shapes}; "
                    "export it again"
                )
            fixed_names = [name for name, shape in graph_shapes.items() if isinstance(shape[0], int)]
            if fixed_names:
                raise UserError(
                    f"{path}: the voice axis of {fixed_names[0]!r} is fixed, it must be dynamic; export it again"
                )

    def _try_ends(self) -> None:
        """Decode the latents' ends: a graph need not return its declared shapes."""
        end_codes = [[latent.low for latent in self.card.latents], [latent.high for latent in self.card.latents]]
        self.after(1, np.array(end_codes, np.float32), np.zeros(len(end_codes), np.intp))


# Largest rounding error of float16: relative for normal numbers, absolute for subnormal ones.
HALF_ROUNDS, HALF_STEPS = 2.0**-11, 2.0**-25
# The tolerance of faint outputs, relative to that of the largest output; processors differ by less than a
# tenth of it.
FAINT = 0.03
RUN_BYTES = 1 << 30  # for all models of a process together; shipped models use a hundredth of it

ONE_HOT: Array = np.eye(12, dtype=np.float32)


def _card_warnings(card: Card, path: Path) -> tuple[str, ...]:
    """A warning that names at most five unknown fields; empty if all are known."""
    unknown_names = [name[:40] for name in unknown_fields(card)]
    if not unknown_names:
        return ()
    more_text = f" and {len(unknown_names) - 5} more" if len(unknown_names) > 5 else ""
    return (
        f"{path}: its card has fields that this timbrel does not know ({', '.join(unknown_names[:5])}{more_text}); "
        "they are ignored, update timbrel to use them",
    )


def open_session(path: Path, data: bytes | None = None) -> "onnxruntime.InferenceSession":
    """Open an ONNX file, or its ``data``, for real-time use.

    Raises:
        UserError: missing, a folder, unreadable, not ONNX, or with weights in other files.
    """
    if data is None:
        _check_file(path)
    else:
        _check_bytes(path, data)
    onnxruntime = _load_onnxruntime()
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 1
    session_options.inter_op_num_threads = 1
    session_options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    session_options.log_severity_level = 4  # fatal only: failures are raised with our messages
    session_options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session_options.add_session_config_entry("session.use_env_allocators", "1")
    # Independent of the suffix, as in the check.
    session_options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        # Without its fallback, which prints to standard output and retries the same provider.
        return onnxruntime.InferenceSession(
            data or str(path), session_options, ["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # onnxruntime raises a different class for each kind of broken file
        raise _not_onnx(path, _reason(error)) from None


def metadata(session: "onnxruntime.InferenceSession", path: Path) -> dict[str, str]:
    """Metadata of an ONNX file by key.

    Raises:
        UserError: not UTF-8.
    """
    try:
        text_by_key: dict[str, str] = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise _not_onnx(path, "its metadata are no UTF-8") from None
    return text_by_key


def run(
    session: "onnxruntime.InferenceSession",
    path: Path,
    outputs: Mapping[str, Sequence[int]],
    feeds: Mapping[str, Array],
) -> list[Array]:
    """Run a graph on ``feeds``, [rows, ...]; return its outputs, each [rows, *shape].

    Raises:
        UserError: the graph cannot run, such as for lack of memory, or returns another shape.
    """
    try:
        arrays: list[Array] = session.run(list(outputs), feeds)
    except Exception as error:  # as in `open_session`
        raise UserError(f"{path} cannot be run ({_reason(error)}); export it again") from None
    row_count = len(next(iter(feeds.values())))
    for (name, shape), array in zip(outputs.items(), arrays, strict=True):
        if array.shape != (row_count, *shape):
            raise UserError(
                f"{path}: its graph gives a {name} of shape {list(array.shape)} where it says {[row_count, *shape]}; "
                "export it again"
            )
    return arrays


def check_types(session: "onnxruntime.InferenceSession", path: Path) -> None:
    """Check that inputs and outputs are float32 tensors of known rank.

    Raises:
        UserError: names the first that is not.
    """
    try:
        ports = [(port.name, port.type, port.shape) for port in (*session.get_inputs(), *session.get_outputs())]
    except UnicodeDecodeError:
        raise _not_onnx(path, "a name in its graph is no UTF-8") from None
    for name, tensor_type, shape in ports:
        if tensor_type != "tensor(float)" or not shape:
            raise UserError(f"{path}: {name!r} of its graph is no batch of float32 numbers; export it again")


@functools.cache
def _load_onnxruntime() -> Any:
    """Without telemetry: PyPI's Linux wheels write to the user's cache and look up an internet host."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, on import
    import onnxruntime

    # One bound for all sessions together: a graph may request more memory than exists.
    onnxruntime.create_and_register_allocator(
        onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        ),
        onnxruntime.OrtArenaCfg({"max_mem": RUN_BYTES}),
    )
    return onnxruntime


def _check_file(path: Path) -> None:
    """Some versions open files that a graph references: check first."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; give an .onnx file")
    if not path.exists():
        raise UserError(f"model {path} does not exist; check the path, or list shipped models with 'timbrel presets'")
    if not os.access(path, os.R_OK):
        raise UserError(f"model {path} cannot be read: no right to read it")
    if not path.is_file() or path.stat().st_size > FILE_BYTES:
        raise _not_onnx(path, f"it is no file of at most {FILE_BYTES >> 30} GiB")
    _check_bytes(path, path.read_bytes())


def _check_bytes(path: Path, data: bytes) -> None:
    """Refuse bytes that are not ONNX, refer to other files, or may run forever."""
    try:
        has_external_data, may_not_end = leads_out(data), repeats(data)
    except NotONNX as problem:
        raise _not_onnx(path, str(problem)) from None
    if has_external_data:
        raise UserError(
            f"{path} keeps weights in other files (ONNX external data), and a model must be one file; "
            "export it again with its weights in it"
        )
    if may_not_end:
        raise _not_onnx(path, "it has functions, or a node with a graph of its own such as Loop, which may never end")


def _not_onnx(path: Path, reason: str) -> UserError:
    return UserError(f"{path} cannot be opened as an ONNX model ({reason}); copy or export it again")


def _reason(error: Exception) -> str:
    """One line of an onnxruntime error."""
    memory_request = re.search(r"requested bytes of (\d+)", str(error))  # the arena's message, among lines of C++
    if memory_request:
        return (
            f"it asks for {int(memory_request[1]) / 1e9:.3g} GB of memory, "
            f"all models have {RUN_BYTES / 1e9:.3g} GB together"
        )
    return (str(error).splitlines() or [""])[0].rsplit(" : ", 1)[-1][:120]


def describe(
    card: Card,
    size_bytes: int,
    gestures: Gestures | None = None,
    plane: CodeMap | None = None,
    recordings: Recordings | None = None,
) -> str:
    """Lines of a title and a text each, for a card, its gestures, map and recordings; then a line for each latent."""
    kind = kind_of(card)
    chroma_text = f"none: keys move the {kind.moved_property}"
    if card.chroma is not None:
        trained_text = (
            "all twelve" if len(card.chroma.trained) == 12 else " ".join(PITCH_CLASSES[p] for p in card.chroma.trained)
        )
        chroma_text = f"{trained_text} pitch classes, sounding in octave {card.chroma.octave}"
    if (partials := card.partials) is not None:
        lowest_and_highest = [note_name(round(note)) for note in (partials.low, partials.high)]
        chroma_text = f"none: keys choose the pitch; recorded from {lowest_and_highest[0]} to {lowest_and_highest[1]}"
    match card.prior:
        case UniformPrior(uniform=(low, high)):
            prior_text = f"uniform on [{low:g}, {high:g}]"
        case NormalPrior(normal=(mean, deviation)):
            prior_text = f"normal, mean {mean:g}, deviation {deviation:g}"
        case None:
            prior_text = "none"
    training = card.training
    validation_text = ", ".join(f"{name} {value:.4g}" for name, value in training.validation.items())
    titled_lines = [
        ("name", card.name),
        ("what", card.description),
        ("licence", card.license + (f" ({card.credits})" if card.credits else "")),
        ("made", f"{card.created}, recipe {training.recipe}, {training.steps} steps on {training.hardware}"),
        ("corpus", f"{training.corpus}: {training.clips} clips, {training.seconds:.0f} s"),
        ("validation", validation_text or "none"),
        *kind.frames(card),
        ("chroma", chroma_text),
        ("prior", prior_text),
        ("loudness", f"{card.loudness_lufs:.1f} LUFS as decoded; players bring it to -20 LUFS at full velocity"),
        *([("stereo", "as recorded, by play.image")] if card.image else []),
        ("parity", f"{card.parity.relative:.1e} of the output's range, batches of {card.parity.batch_sizes}"),
        ("landmarks", _landmarks_line(card)),
        *([("macros", ", ".join(direction.name for direction in card.directions))] if card.directions else []),
        *([("gestures", gestures.summary()), *_instrument_lines(gestures)] if gestures else []),
        *([("path", _path_line(card, card.learned_path))] if card.learned_path else []),
        ("map", _map_line(card, plane)),
        *(
            [("recordings", f"{len(card.recordings)} in the file, {recordings.megabytes:.1f} MB of it")]
            if recordings
            else []
        ),
        ("file", f"{size_bytes / 1e6:.1f} MB"),
    ]
    titled_text = "\n".join(f"{name:<11}{printable(value)}" for name, value in titled_lines)
    name_columns = max(12, *(len(latent.name) + 1 for latent in card.latents))
    latent_text = "\n".join(
        f"  {index:>2}  {printable(latent.name):<{name_columns}}{latent.low:8.3f} to {latent.high:7.3f}   "
        f"default {latent.default:7.3f}{printable(latent.remark and f'   {latent.remark}')}"
        for index, latent in enumerate(card.latents)
    )
    return f"{titled_text}\nlatents\n{latent_text}"


def _instrument_lines(gestures: Gestures) -> list[tuple[str, str]]:
    """Labels of all instruments, in titled lines of limited length."""
    labels = sorted(instrument.label for instrument in gestures.instruments if instrument.label)
    return [
        ("" if line_index else "of", line) for line_index, line in enumerate(textwrap.wrap(", ".join(labels), COLUMNS))
    ]


def _map_line(card: Card, plane: CodeMap | None) -> str:
    if plane is None:
        return "made of the landmarks when it is shown" if card.landmarks else "none"
    return plane.summary()


def _path_line(card: Card, layout: LearnedPathLayout) -> str:
    return f"learned, {card.sample_rate / layout.step_length:.1f} steps a second, in a file beside the model"


def _landmarks_line(card: Card) -> str:
    """Number of landmarks, and the label of the first."""
    count = len(card.landmarks)
    if not count:
        return "none"
    first_label = card.landmarks[0].label
    return f"{count} {'code' if count == 1 else 'codes'}{f', such as that of {first_label!r}' if first_label else ''}"
