"""Files for nn~ in Max and Pd, whose sound is compared with the model's by an emulator.

The emulator loads and runs TorchScript files as nn~ does.
"""

import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ..host.arrays import Array, Times
from ..host.commands.options import opened_model
from ..host.engines.engine import voice_gain
from ..host.errors import Failure, UserError
from ..host.files import check_output, replacing
from ..host.kinds.card_fields import KEYS, PITCH_CLASSES
from ..host.model.card import METADATA_KEY
from ..host.model.encoder import encoder_path
from ..host.model.learned_path import path_file
from ..host.model.model import Model
from ..train.run import Run
from .export import LabelInput, export
from .graphs import Weights
from .kinds.player import engine_of_notes, script
from .kinds.table import KINDS, known_kinds
from .meaning import check_name as check_meaning_name
from .meaning import write_meaning
from .onnx_to_torch import RebuiltDecoder
from .recordings import holding

BOOL, INT, FLOAT, STRING = range(4)  # type numbers of attribute values in ``NAME_params``
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # number at the start of a word, as C++ parses it
BATCHES = (1, 2, 7, 64)  # rows per comparison: one, few, an odd number, many
FRAME_TOLERANCE = 2e-5  # of the frames' range: single precision, summed in different orders
SOUND_TOLERANCE = 1e-5  # of full scale: -100 dB
BLOCK = 1000  # samples per block, not a power of two
NOTE, SECONDS, SILENCE = 57.25, 0.5, 0.02  # between keys, so that pitches move; preceded by silence


class NnRefusal(Exception):
    """nn~ would refuse a file or crash."""


class Backend:
    """A file opened in nn~; raises `NnRefusal` for files and messages that nn~ cannot use."""

    def __init__(self, path: Path) -> None:
        try:
            with quiet():
                self.module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise NnRefusal(f"it does not load ({str(error).splitlines()[0]})") from None
        if not self.methods():
            raise NnRefusal("it has no method with METHOD_params")

    def methods(self) -> list[str]:
        if self._has_method("get_methods"):
            return [str(name) for name in self.module.get_methods()]
        names: list[str] = self.module._c._method_names()
        return [name for name in names if hasattr(self.module, f"{name}_params")]

    def attributes(self) -> list[str]:
        if self._has_method("get_attributes"):
            return [str(name) for name in self.module.get_attributes()]
        names = {name for name, _ in (*self.module.named_buffers(), *self.module.named_parameters())}
        return sorted(name.removesuffix("_params") for name in names if name.endswith("_params"))

    def params(self, method: str) -> tuple[int, int, int, int]:
        """Return channels in, ratio in, channels out and ratio out."""
        if method not in self.methods():
            raise NnRefusal(f"it has no method {method!r}")
        channels_in, ratio_in, channels_out, ratio_out = self._numbers(f"{method}_params", 4)
        return channels_in, ratio_in, channels_out, ratio_out

    def get(self, name: str) -> str:
        """Return an attribute's values as text."""
        type_numbers = self._types(name)
        values = self._call(f"get_{name}")
        if not isinstance(values, list | tuple) or len(values) < len(type_numbers):
            raise NnRefusal(f"get_{name} gives {values!r}, no list of {len(type_numbers)}")
        return " ".join(_printed(value, type_number) for value, type_number in zip(values, type_numbers, strict=False))

    def set(self, name: str, *words: str) -> None:
        """Set an attribute to values in text."""
        type_numbers = self._types(name)
        if len(words) != len(type_numbers):
            raise NnRefusal(f"{name} takes {len(type_numbers)} values, {len(words)} were given")
        status_code = self._call(
            f"set_{name}", *(_read(word, type_number) for word, type_number in zip(words, type_numbers, strict=True))
        )
        if isinstance(status_code, bool) or status_code != 0:
            raise NnRefusal(f"set_{name} gives {status_code!r} in place of 0")

    def perform(self, signals: Array, method: str = "forward") -> Array:
        """Render [batch, channels in, samples] to [batch, channels out, samples]."""
        channels_in, ratio_in, channels_out, ratio_out = self.params(method)
        batch_size, _, sample_count = signals.shape
        if sample_count % ratio_in:
            raise NnRefusal(f"blocks of {sample_count} samples are no multiple of its ratio {ratio_in}")
        with torch.inference_mode():
            model_input = torch.from_numpy(np.ascontiguousarray(signals[:, :channels_in], np.float32))
            # nn~ passes the last sample of each stretch of ratio_in samples on
            model_input = model_input.reshape(batch_size, channels_in, sample_count // ratio_in, ratio_in)[..., -1]
            model_output = self._call(method, model_input)
            if (
                not isinstance(model_output, torch.Tensor)
                or model_output.numel() * ratio_out != batch_size * channels_out * sample_count
            ):
                raise NnRefusal(f"{method} does not give {channels_out} channels of {sample_count} samples")
            upsampled = model_output.repeat_interleave(ratio_out).reshape(batch_size, channels_out, sample_count)
        rendered_signals: Array = upsampled.numpy()
        return rendered_signals

    def _has_method(self, method: str) -> bool:
        return method in self.module._c._method_names()

    def _call(self, method: str, *arguments: Any) -> Any:
        if not self._has_method(method):
            raise NnRefusal(f"it has no {method}")
        try:
            return getattr(self.module, method)(*arguments)
        except RuntimeError as error:
            raise NnRefusal(f"{method} fails ({str(error).strip().splitlines()[-1]})") from None

    def _types(self, name: str) -> list[int]:
        """Return the type number of each of an attribute's values."""
        type_numbers = self._numbers(f"{name}_params")
        for type_number in type_numbers:
            if type_number not in (BOOL, INT, FLOAT, STRING):
                raise NnRefusal(f"{name}_params has the unknown type {type_number}")
        return type_numbers

    def _numbers(self, name: str, count: int | None = None) -> list[int]:
        """Return a tensor of the module as integers."""
        number_tensor = getattr(self.module, name, None)
        if (
            not isinstance(number_tensor, torch.Tensor)
            or number_tensor.ndim != 1
            or count not in (None, len(number_tensor))
        ):
            raise NnRefusal(f"it has no {name}, or not as numbers in a row")
        return [int(number) for number in number_tensor]


def quiet() -> AbstractContextManager[object]:
    """nn~ requires TorchScript, which is deprecated."""
    return warnings.catch_warnings(action="ignore")


def _printed(value: Any, type_number: int) -> str:
    """Return a value as nn~ prints it."""
    python_type = (bool, int, float, str)[type_number]
    if type(value) is not python_type:
        raise NnRefusal(f"a getter gives {value!r} where its type is {python_type.__name__}")
    return f"{value:.6f}" if type_number == FLOAT else str(value).lower() if type_number == BOOL else str(value)


def _read(word: str, type_number: int) -> bool | int | float | str:
    """Parse a value as nn~ does."""
    if type_number == STRING:
        return word
    if type_number == BOOL:
        return word.lower() == "true"
    number_match = NUMBER.match(word)
    if number_match is None:
        raise NnRefusal(f"{word!r} is no number")
    return int(float(number_match[0])) if type_number == INT else float(np.float32(number_match[0]))


class ParityInputs:
    """Codes [latents, samples] as a `Motion` for engines."""

    own_codes = True

    def __init__(self, codes: Array) -> None:
        self._codes = codes

    def latents(self, voices: list[int], times: Times, own_times: Times | None = None) -> Array:
        return np.ascontiguousarray(self._codes[:, times].T)

    def residual(self, voices: list[int], times: Times, ahead: int) -> None:
        return None

    def decoded_keys(self, voices: list[int]) -> list[None]:
        return [None] * len(voices)

    def bend_semitones(self, voices: list[int], times: Times) -> npt.NDArray[np.float64]:
        return np.zeros(len(times))


def check_parity(model: Model, file: Path) -> None:
    """Raise `NnRefusal` if nn~ would refuse a file, `Failure` if frames or sound differ from the model's."""
    backend = Backend(file)
    for attribute_name in backend.attributes():
        attribute_text = backend.get(attribute_name)
        backend.set(attribute_name, *attribute_text.split())
        if backend.get(attribute_name) != attribute_text:
            raise NnRefusal(
                f"attribute {attribute_name} is {backend.get(attribute_name)} where {attribute_text} was set"
            )
    model_frames, rebuilt_frames = _frames(model, file)
    relative_difference = float(np.abs(rebuilt_frames - model_frames).max()) / max(float(np.ptp(model_frames)), 1e-9)
    if not relative_difference <= FRAME_TOLERANCE:
        raise Failure(
            f"{model.path}: rebuilt, its frames differ by {relative_difference:.2g} of their range; no file was kept"
        )
    signals, host_sound = note(model, SECONDS)
    backend_blocks = [
        backend.perform(signals[:, :, block_start : block_start + BLOCK])
        for block_start in range(0, signals.shape[2], BLOCK)
    ]
    sound_difference = float(np.abs(np.concatenate(backend_blocks, axis=2)[0] - host_sound).max())
    if not sound_difference <= SOUND_TOLERANCE * max(1.0, float(np.abs(host_sound).max())):
        raise Failure(
            f"{model.path}: in nn~ a note would differ from the host's by {sound_difference:.2g}; no file was kept"
        )


def _frames(model: Model, file: Path) -> tuple[Array, Array]:
    """Return frames of random codes: the model's, and those of the file's decoder."""
    rng, model_frames, rebuilt_frames = np.random.default_rng(0), [], []
    low, high = ([getattr(knob, field_name) for knob in model.card.latents] for field_name in ("low", "high"))
    decoder = torch.jit.load(str(file)).eval().decoder  # type: ignore[no-untyped-call]
    for batch_size in BATCHES:
        codes = rng.uniform(low, high, (batch_size, len(low))).astype(np.float32)
        conditions = rng.integers(KEYS if model.card.partials is not None else PITCH_CLASSES, size=batch_size)
        model_frames.append(model.decode(codes, conditions))
        try:
            rebuilt_frames.append(decoder(torch.from_numpy(codes), condition_tensor(model, conditions)).numpy())
        except RuntimeError:  # TorchScript's message has many lines
            raise Failure(
                f"{model.path}: its graph gives {batch_size} rows no frames in torch; no file was kept"
            ) from None
    return np.concatenate(model_frames), np.concatenate(rebuilt_frames)


def condition_tensor(model: Model, notes: npt.NDArray[np.intp]) -> torch.Tensor:
    """Return pitch classes or keys as a decoder's condition, [rows]."""
    (condition,) = model.condition_inputs(notes).values() or [np.eye(PITCH_CLASSES, dtype=np.float32)[notes]]
    return torch.from_numpy(condition)


def note(model: Model, seconds: float) -> tuple[Array, Array]:
    """Return signals, [1, latents + 2, samples], and the engine's sound, [channels, samples]."""
    card = model.card
    onset_sample, sample_count = round(SILENCE * card.sample_rate), round(seconds * card.sample_rate)
    default_codes, low, high = (
        np.array([[getattr(knob, field_name)] for knob in card.latents], np.float32)
        for field_name in ("default", "low", "high")
    )
    half_turns = np.linspace(0.0, np.arange(1, len(default_codes) + 1), sample_count, axis=1)
    code_offsets = (low + (high - low) * (0.5 - 0.5 * np.cos(np.pi * half_turns)) - default_codes).astype(np.float32)
    level_signal = (np.arange(sample_count) >= onset_sample).astype(np.float32)
    signals = np.concatenate([code_offsets, np.full((1, sample_count), NOTE, np.float32), level_signal[np.newaxis]])[
        np.newaxis
    ]
    engine = engine_of_notes(model)
    motion: Any = ParityInputs(
        np.clip(code_offsets + default_codes, low, high)
    )  # the part of a `Motion` that engines of these kinds use
    voice_stream = engine.start_stream(NOTE, onset_sample, round(NOTE))
    block_starts = range(0, sample_count, BLOCK)
    blocks = [
        engine.render([voice_stream], motion, block_start, min(BLOCK, sample_count - block_start))[0].copy()
        for block_start in block_starts
    ]
    sound = np.concatenate(blocks, axis=1) * np.float32(voice_gain(card.loudness_lufs))
    return signals, sound


FOLDER = "timbrel"  # in the archive; any name works


def check_name(path: Path, overwrite: bool) -> None:
    """Raise `UserError` unless a name ends in .ts and can be written."""
    if path.suffix != ".ts":
        raise UserError(f"--nn {path} must end in .ts, such as {path.stem or 'model'}.ts")
    check_output(path, overwrite)


def write(model: Model, path: Path, overwrite: bool = False) -> None:
    """Write ``path`` atomically.

    Raises:
        UserError: as `check_name`, or nn~ cannot play the model's kind.
        Failure: the file's output differs from the model's.
    """
    check_name(path, overwrite)
    card = model.card
    if (player := KINDS[card.kind].player) is None:
        kind_names = ", ".join(name for name, kind in known_kinds().items() if kind.player is not None)
        raise UserError(
            f"{model.path} is a model of kind {card.kind}, and nn~ plays {kind_names} alone; "
            "render its notes to sound files, and play these there"
        )
    with replacing(path, overwrite) as temporary_file, torch.no_grad(), quiet():
        example_inputs = torch.zeros(3, len(card.latents)), condition_tensor(model, np.arange(3))
        traced_decoder = torch.jit.trace(RebuiltDecoder(model).eval(), example_inputs)  # type: ignore[no-untyped-call]
        scripted_player = script(player(model, traced_decoder).eval())
        torch.jit.save(scripted_player, str(temporary_file), _extra_files={METADATA_KEY: card.model_dump_json()})
        _pack_anew(temporary_file)
        try:
            check_parity(model, temporary_file)
        except NnRefusal as refusal:
            raise Failure(f"nn~ would not play what was written of {model.path}: {refusal}; no file was kept") from None


def _pack_anew(file: Path) -> None:
    """Remove this machine's source paths and the temporary name."""
    contents_by_name = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if not name.endswith(".debug_pkl"):
                contents_by_name[name.partition("/")[2]] = archive.read(name)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents_by_name.items():
            archive.writestr(zipfile.ZipInfo(f"{FOLDER}/{name}"), content)


def written(
    source: str,
    output: Path | None,
    nn: Path | None,
    meaning: Path | None,
    *,
    labels: LabelInput,
    which: Literal["best", "last"],
    weights: Weights,
    recordings: bool,
    overwrite: bool,
) -> Iterator[str]:
    """Write the requested files; yield a message after each. A model of clips holds its ``recordings`` if asked to.

    Args:
        source: a run folder; without ``output`` also a folder of `make`, or a model for `find_model`.

    Raises:
        UserError, Failure: as `export` and `write`; or a model lacks a file.
    """
    if output is None and nn is None and meaning is None:
        raise UserError(
            f"nothing to write of {source}: give -o MODEL.onnx, --nn MODEL.ts, --json MODEL.json, or several"
        )
    if nn is not None:
        check_name(nn, overwrite)
    if meaning is not None:
        check_meaning_name(meaning, overwrite)
    model_file = Path(source) / "model.onnx"  # in a folder of `make`
    if (nn or meaning) is not None and (model_file.is_file() or not Path(source).is_dir()):
        if output is not None:
            raise UserError(f"-o {output} is written of a run, and {source} is no run folder; leave -o out")
        if labels != LabelInput():
            raise UserError(
                f"{source} is a model, whose card has its own texts; leave --name, --description, --license and "
                "--credits out"
            )
        if (which, weights, recordings) != ("best", "float16", True):
            raise UserError(
                f"{source} is a model, with weights and recordings of its own; leave --checkpoint, --weights and "
                "--no-recordings out"
            )
        yield from _beside(opened_model(str(model_file) if model_file.is_file() else source), nn, meaning, overwrite)
        return
    with tempfile.TemporaryDirectory() as temporary_folder:
        named_file = nn or meaning
        onnx_path = output or Path(temporary_folder) / f"{named_file.stem if named_file else ''}.onnx"
        card = export(
            Run.open(Path(source)),
            onnx_path,
            labels=labels,
            which=which,
            weights=weights,
            recordings=recordings,
            overwrite=overwrite,
        )
        if output is not None:
            yield f"{output}: {len(card.latents)} latents, within {card.parity.relative:.1e} of torch"
            if card.recordings:
                yield f"{output}: {holding(card)}"
            if encoder_path(output).exists():
                yield f"{encoder_path(output)}: its encoder"
            if card.learned_path is not None:
                yield f"{path_file(output)}: its learned path"
        yield from _beside(Model(onnx_path), nn, meaning, overwrite)


def _beside(model: Model, nn: Path | None, meaning: Path | None, overwrite: bool) -> Iterator[str]:
    """Write the requested files of a model; yield a message after each."""
    if nn is not None:
        write(model, nn, overwrite)
        yield f"{nn}: for nn~ in Max and Pd, {len(model.card.latents)} latents, a pitch and a level as signals"
    if meaning is not None:
        write_meaning(model, meaning, overwrite)
        yield f"{meaning}: the meaning of its inputs and frames, and the steps to its sound, for programs"
