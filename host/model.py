"""A model file: an onnxruntime session and its card."""

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from .card import METADATA_KEY, Card, read_card
from .errors import UserError
from .files import stamp

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[np.float32]


class Verdict(NamedTuple):
    """How far a model's outputs are from those its card promises: largest difference, and what is allowed."""

    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """NaN never passes."""
        return self.difference <= self.tolerance


class Model:
    """A decoder that plays: latents (and chroma) in, frames out.

    One intra-op thread, sequential, no spinning, denormals as zero: a run never waits for another core, and costs the
    same beside a busy machine. Rows of a batch do not influence each other, to the bit.
    """

    def __init__(self, path: Path) -> None:
        """Open and check a model.

        Raises:
            UserError: missing, unreadable, not ONNX, without card, or with a graph that is not what the card says.
        """
        self.path = path
        self.stamp = stamp(path)  # from before it is read: what is written meanwhile is another
        self.session = open_session(path)
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise UserError(f"{path} is an ONNX file without a timbrel card; make one with 'timbrel export'")
        self.card: Card = read_card(text, str(path))
        self._check_graph()

    def __reduce__(self) -> tuple[type["Model"], tuple[Path]]:
        """A copy in another process opens the file anew."""
        return Model, (self.path,)

    @functools.cached_property
    def sha256(self) -> str:
        """Hex digest of the file, as presets carry it."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def decode(self, latent: Array, chroma: npt.NDArray[np.intp] | Array) -> Array:
        """Frames of a batch.

        Args:
            latent: [voice, n_latents].
            chroma: pitch class 0-11 of each row, [voice], or how much there is of each, [voice, 12]; ignored by
                models without chroma.

        Returns:
            [voice, frame_width].
        """
        feeds = {"latent": latent}
        if self.card.chroma is not None:
            feeds["chroma"] = ONE_HOT[chroma] if chroma.ndim == 1 else chroma.astype(np.float32, copy=False)
        frame: Array = self.session.run(["frame"], feeds)[0]
        return frame

    def verify(self) -> Verdict:
        """Run the card's reference on this machine."""
        reference = self.card.reference
        latent = np.asarray(reference.latent, np.float32)
        chroma = np.asarray(reference.chroma or [0] * len(latent), np.intp)
        frame = self.decode(latent, chroma)[:, reference.points]
        difference = float(np.abs(frame - np.asarray(reference.frame, np.float32)).max())
        return Verdict(difference, reference.tolerance)

    def _check_graph(self) -> None:
        card, path = self.card, self.path
        inputs = {i.name: i.shape for i in self.session.get_inputs()}
        outputs = {o.name: o.shape for o in self.session.get_outputs()}
        expected_inputs: dict[str, list[int]] = {"latent": [len(card.latents)]}
        if card.chroma is not None:
            expected_inputs["chroma"] = [12]
        expected_outputs = {"frame": [card.frame_width]}
        for state in card.state:
            expected_inputs[state.name] = state.shape
            expected_outputs[f"{state.name}_next"] = state.shape
        for what, found, expected in (("inputs", inputs, expected_inputs), ("outputs", outputs, expected_outputs)):
            shapes = {name: list(shape[1:]) for name, shape in found.items()}
            if shapes != expected:
                raise UserError(f"{path}: its graph's {what} {shapes} are not the card's {expected}; export it again")
            fixed = [name for name, shape in found.items() if isinstance(shape[0], int)]
            if fixed:
                raise UserError(f"{path}: the voice axis of {fixed[0]!r} is fixed, it must be dynamic; export it again")


ONE_HOT: Array = np.eye(12, dtype=np.float32)


def open_session(path: Path, threads: int = 1) -> "onnxruntime.InferenceSession":
    """Open an ONNX file for steady real-time use.

    Raises:
        UserError: missing, a folder, unreadable or not ONNX.
    """
    import onnxruntime

    if path.is_dir():
        raise UserError(f"{path} is a folder; give the .onnx file in it")
    if not path.exists():
        raise UserError(f"model {path} does not exist; check the path, or list shipped models with 'timbrel presets'")
    if not os.access(path, os.R_OK):
        raise UserError(f"model {path} cannot be read: no right to read it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # fatal only: what fails is raised and said in our words
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each way a file can be broken
        reason = str(error).splitlines()[0].rsplit(" : ", 1)[-1][:120]
        raise UserError(f"{path} cannot be opened as an ONNX model ({reason}); copy or export it again") from None
