"""Encoder files: sound to latents of their model."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..errors import Failure, UserError
from ..kinds.stream import PREVIOUS_FRAME
from ..signal import chroma, window
from .model import ONE_HOT, Model, check_types, metadata, open_session, run

ENCODER_KEY = "timbrel.encoder"
LARGEST = 1e6  # of an output; the squares of frames decoded from larger codes overflow, and no training reaches them
SILENT = 10 ** (-80 / 20)  # standard deviation of a frame, -80 dB of full scale; quieter frames have no own code


def encoder_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.encoder.onnx")


class Encoder:
    def __init__(self, model: Model) -> None:
        """Open and check the encoder beside a model.

        Raises:
            UserError: missing, unusable, or of another model.
        """
        self.path = encoder_path(model.path)
        if not self.path.exists():
            raise UserError(
                f"{model.path} has no encoder: {self.path} does not exist; put it there, or export the model again"
            )
        self._session = open_session(self.path)
        self._card, self._model = model.card, model
        self._wants_chroma, self._outputs = self._check()
        silent_frames = np.zeros((2, model.card.frame_length), np.float32)
        self.encode(silent_frames, np.zeros(2, np.intp))  # reject a wrong graph early

    def encode(self, frames: Array, condition: npt.NDArray[np.intp] | npt.NDArray[np.float64] | None = None) -> Array:
        """Latents, [frames, n_latents], of unwindowed samples, [frames, frame_length], at the model's rate.

        ``condition``: pitch classes, [frames]; default: each frame's strongest, as in training (Colonel & Keene 2020,
        section III-B). Models of partials need MIDI notes, fractions allowed.

        Raises:
            UserError: as `run`.
            Failure: an output is not finite, or exceeds `LARGEST`.
        """
        return self.encode_with_labels(frames, condition)[0]

    def encode_with_labels(
        self, frames: Array, condition: npt.NDArray[np.intp] | npt.NDArray[np.float64] | None = None
    ) -> tuple[Array, Array | None]:
        """`encode`, and label probabilities, [frames, labels], None without labels."""
        outputs = self._run(frames, condition)
        return outputs["latent"], outputs.get("label")

    def encode_with_states(self, frames: Array) -> tuple[Array, Array]:
        """`encode`, and the decoder's state ``previous`` after each frame, [frames, *shape].

        A clip's code is the mean of its frames.
        """
        outputs = self._run(frames, None)
        return outputs["latent"], outputs[PREVIOUS_FRAME]

    def _run(self, frames: Array, condition: npt.NDArray[np.intp] | npt.NDArray[np.float64] | None) -> dict[str, Array]:
        """Outputs of the graph, by name, checked to be finite and not huge."""
        feeds = {"audio": np.ascontiguousarray(frames)}
        if self._wants_chroma:
            feeds["chroma"] = ONE_HOT[self._strongest_classes(frames) if condition is None else condition]
        if self._card.partials is not None:
            assert condition is not None
            feeds["pitch"] = condition.astype(np.float32)[:, np.newaxis]
        outputs = dict(zip(self._outputs, run(self._session, self.path, self._outputs, feeds), strict=True))
        for name, output_array in outputs.items():
            if not np.isfinite(output_array).all():
                raise Failure(f"{self.path} gives {name}s that are not finite; export the model again")
            if (largest_magnitude := float(np.abs(output_array).max(initial=0.0))) > LARGEST:
                raise Failure(f"{self.path} gives {name}s of up to {largest_magnitude:.1g}; export the model again")
        return outputs

    def _strongest_classes(self, frames: Array) -> npt.NDArray[np.intp]:
        frame_length = self._card.frame_length
        magnitudes = np.abs(np.fft.rfft(frames * window(self._card.window, frame_length)))
        return chroma(magnitudes, self._card.sample_rate, frame_length).argmax(1)

    def _check(self) -> tuple[bool, dict[str, list[int]]]:
        """Check that graph and card fit; return whether it takes chroma, and output shapes by name."""
        card, card_text = self._card, metadata(self._session, self.path).get(ENCODER_KEY)
        if card_text is None:
            raise UserError(f"{self.path} is no encoder that timbrel wrote; export the model again")
        try:
            encoder_card = json.loads(card_text)
        except (ValueError, RecursionError):
            encoder_card = None
        if not isinstance(encoder_card, dict):
            raise UserError(f"{self.path}: what it says of itself is not a JSON object; export the model again")
        check_types(self._session, self.path)
        input_shapes, output_shapes = (
            {port.name: list(port.shape[1:]) for port in ports}
            for ports in (self._session.get_inputs(), self._session.get_outputs())
        )
        decoder_digest = encoder_card.get("decoder_sha256")  # older encoders have none
        wants_chroma = input_shapes.pop("chroma", None) == [12]
        expected_output_shapes = {"latent": [len(card.latents)]} | {
            state.name: state.shape for state in card.state if state.name == PREVIOUS_FRAME
        }
        if "label" in output_shapes:
            expected_output_shapes["label"] = [len(card.labels)]
        expected_input_shapes = {"audio": [card.frame_length]} | ({"pitch": [1]} if card.partials is not None else {})
        shapes_fit = input_shapes == expected_input_shapes and output_shapes == expected_output_shapes
        if not shapes_fit or (encoder_card.get("model"), encoder_card.get("sample_rate")) != (
            card.name,
            card.sample_rate,
        ):
            raise UserError(
                f"{self.path} is the encoder of another model, {encoder_card.get('model')!r}, not of {card.name!r}; "
                "export the model again"
            )
        if decoder_digest is not None and decoder_digest != self._model.graph_sha256:
            raise UserError(
                f"{self.path} places sounds for another decoder than {self._model.path}, of the same name; "
                "export both from one run again"
            )
        return wants_chroma, expected_output_shapes
