"""Learned paths: the file beside a model that walks through its codes step by step."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from ..arrays import Array
from ..errors import UserError
from ..files import Stamp, read_regular, stamp
from ..kinds.card_fields import MetadataPart
from ..signal import normals
from .card import first_complaint
from .model import Model, ParityResult, check_types, metadata, open_session, run

PATH_KEY = "timbrel.path"
LARGEST_BYTES = 1_000_000  # of a file, which projects of the plugin hold
NOISE_NOTE = 0  # in `normals`: engines draw for notes from 1 on
AGAIN = "copy both again, or export the model again"


class PathReference(MetadataPart):
    """The first codes of a walk, [steps, n_latents], from ``start`` by ``seed``, for `LearnedPath.verify`."""

    start: list[float]
    seed: Annotated[int, Field(ge=0)]
    codes: Annotated[list[list[float]], Field(min_length=1, max_length=1024)]
    tolerance: float


class PathCard(MetadataPart):
    format: Literal[1]
    model: str
    license: str
    reference: PathReference


def path_file(model: Path) -> Path:
    return model.with_name(f"{model.stem}.path.onnx")


class LearnedPath:
    """Its graph: code [voice, n], state [voice, s] and noise [voice, m] → code_next and state_next."""

    def __init__(self, model: Model, data: bytes | None = None) -> None:
        """Open and check the file beside a model, or its bytes ``data``.

        Raises:
            UserError: the model's card names none; or the file is missing, damaged or of another model.
        """
        self.path, self.model = path_file(model.path), model
        layout = model.card.learned_path
        if layout is None:
            raise UserError(f"model {model.path} has no learned path; give a walk, or a model with one")
        self.layout = layout
        self.stamp: Stamp | None = stamp(self.path) if data is None else None
        self.data = _read(self.path, model.path) if data is None else data
        if hashlib.sha256(self.data).hexdigest() != layout.sha256:
            raise UserError(
                f"{self.path} is not the learned path that the card of {model.path} names (its SHA-256 differs): it is "
                f"damaged, or of another model; {AGAIN}"
            )
        self._session = open_session(self.path, self.data)
        self._low, self._high = np.array(model.card.spans, np.float32).T
        self._outputs = {"code_next": [len(self._low)], "state_next": [layout.state]}
        self.card = self._check()

    def __reduce__(self) -> tuple[type["LearnedPath"], tuple[Model, bytes]]:
        return LearnedPath, (self.model, self.data)

    def at_rest(self) -> Array:
        """The state before the first step, [1, state]."""
        return np.zeros((1, self.layout.state), np.float32)

    def follow(self, code: Array, state: Array, seed: int, step: int) -> tuple[Array, Array]:
        """Code and state after step number ``step``, from code [1, n] and state [1, s]; codes stay in the spans.

        The noise depends on ``seed`` and ``step`` alone.

        Raises:
            UserError: as `run`, or the codes are not finite.
        """
        noise = normals(seed, NOISE_NOTE, step, self.layout.noise)[np.newaxis]
        next_code, next_state = self.run(code, state, noise)
        if not np.isfinite(next_code).all():
            raise UserError(f"{self.path} gives codes that are not finite; {AGAIN}")
        return np.clip(next_code, self._low, self._high), next_state

    def run(self, code: Array, state: Array, noise: Array) -> tuple[Array, Array]:
        """The graph's own outputs, of any number of rows."""
        feeds = {"code": code, "state": state, "noise": noise}
        next_code, next_state = run(self._session, self.path, self._outputs, feeds)
        return next_code, next_state

    def walk(self, start: Array, seed: int) -> Iterator[Array]:
        """Codes [n] of steps without end, from the code ``start``, [n]."""
        code, state, step = start[np.newaxis].astype(np.float32), self.at_rest(), 0
        while True:
            code, state = self.follow(code, state, seed, step)
            yield code[0]
            step += 1

    def verify(self) -> ParityResult:
        """Compare a walk with the file's reference."""
        reference = self.card.reference
        expected_codes = np.array(reference.codes, np.float32)
        walked = self.walk(np.array(reference.start, np.float32), reference.seed)
        codes = np.stack([next(walked) for _ in expected_codes])
        difference = float(np.abs(codes - expected_codes).max())
        return ParityResult(difference, reference.tolerance, expected_codes.size, expected_codes.size)

    def _check(self) -> PathCard:
        """Check that graph and reference fit the model; return the file's card."""
        check_types(self._session, self.path)
        latent_count = len(self._low)
        expected_inputs = {"code": [latent_count], "state": [self.layout.state], "noise": [self.layout.noise]}
        for ports, expected_shapes in (
            (self._session.get_inputs(), expected_inputs),
            (self._session.get_outputs(), self._outputs),
        ):
            shapes: dict[str, list[Any]] = {port.name: list(port.shape[1:]) for port in ports}
            if shapes != expected_shapes:
                raise UserError(f"{self.path}: its graph has {shapes}, the model's card {expected_shapes}; {AGAIN}")
        try:
            fields = json.loads(metadata(self._session, self.path).get(PATH_KEY, "null"))
            card = PathCard.model_validate(fields)
        except ValidationError as error:
            raise UserError(f"{self.path}: its card is not valid: {first_complaint(error)}; {AGAIN}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.path}: its card is not JSON ({error}); {AGAIN}") from None
        if any(len(code) != latent_count for code in (card.reference.start, *card.reference.codes)):
            raise UserError(f"{self.path}: codes of its reference have not {latent_count} numbers; {AGAIN}")
        return card


def _read(path: Path, model: Path) -> bytes:
    try:
        return read_regular(path, LARGEST_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist, the learned path of {model}; {AGAIN}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; {AGAIN}") from None
