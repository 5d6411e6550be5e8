"""Model cards: JSON in ONNX metadata that hosts need to play a model."""

import json

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError, field_validator, model_validator

from ..errors import UserError
from ..kinds.card_fields import CardFields
from ..kinds.table import CLASSES, is_known, kind_of

METADATA_KEY = "timbrel.card"
FORMAT = 1


class Card(CardFields):
    """Model metadata. Rates in Hz, lengths in samples at the model's rate."""

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, name: str) -> str:
        if not is_known(name):
            raise ValueError(
                f"{name!r} is unknown; known: {', '.join(CLASSES)}; a newer timbrel or a package that is not installed "
                "may know it"
            )
        return name

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        n = len(self.latents)
        if self.hop_length > self.frame_length:
            raise ValueError(f"hop_length {self.hop_length} must not exceed frame_length {self.frame_length}")
        for landmark in self.landmarks:
            if len(landmark.latent) != n:
                raise ValueError(f"landmark {landmark.label!r} has {len(landmark.latent)} latents, the model has {n}")
        for recording in self.recordings:
            if len(recording.latent) != n:
                raise ValueError(f"recording {recording.name!r} has {len(recording.latent)} latents, the model has {n}")
        if len({recording.name for recording in self.recordings}) < len(self.recordings):
            raise ValueError("recordings must have names that differ from each other")
        for direction in self.directions:
            if len(direction.latent) != n:
                raise ValueError(f"direction {direction.name!r} has {len(direction.latent)} latents, the model has {n}")
        if len({direction.name for direction in self.directions}) < len(self.directions):
            raise ValueError("directions must have names that differ from each other")
        kind_of(self).check(self)
        if self.envelope_points == 1:
            raise ValueError("envelope_points 1 has no last point; give 0, or 2 and more")
        if self.labels and self.chroma is not None:
            raise ValueError("labels and chroma do not go together; leave one out")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ from each other")
        self._check_reference()
        return self

    def _check_reference(self) -> None:
        """Check that reference values fit together, and the model."""
        reference, row_count = self.reference, len(self.reference.latent)
        if any(len(row) != len(self.latents) for row in reference.latent):
            raise ValueError(f"reference: a row of latent must have {len(self.latents)} numbers, one a latent")
        if not all(0 <= point < self.frame_width for point in reference.points):
            raise ValueError(f"reference: points must lie in a frame, 0 to {self.frame_width - 1}")
        if len(reference.frame) != row_count or any(len(row) != len(reference.points) for row in reference.frame):
            raise ValueError(f"reference: frame must have {row_count} rows of {len(reference.points)} points")
        if self.chroma is not None and len(reference.chroma or []) != row_count:
            raise ValueError(f"reference: chroma must have {row_count} pitch classes, one a row")
        if self.partials is not None and len(reference.key or []) != row_count:
            raise ValueError(f"reference: key must have {row_count} MIDI notes, one a row")
        if self.labels and (len(reference.label or []) != row_count or max(reference.label or []) >= len(self.labels)):
            raise ValueError(f"reference: label must have {row_count} numbers of labels, one a row")
        if reference.steps > 1 and not self.state:
            raise ValueError(f"reference: {reference.steps} steps need a state that goes from one to the next; give 1")
        if reference.peaks is not None:
            reference.unpack_peaks(self.frame_width)


def read_card(text: str, source: str) -> Card:
    """Parse a card; ``source`` names the file in errors.

    Raises:
        UserError: not JSON, of a newer timbrel, or invalid.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, a number with too many digits, or too deeply nested
        raise UserError(f"{source}: its card is not JSON ({error}); export the model again") from None
    if not isinstance(fields, dict):
        raise UserError(f"{source}: its card is not a JSON object; export the model again")
    format_version = fields.get("format")
    if isinstance(format_version, int) and format_version > FORMAT:
        raise UserError(
            f"{source}: card format {format_version} is newer than this timbrel reads ({FORMAT}); update timbrel"
        )
    try:
        return Card.model_validate(fields)
    except UserError as error:  # of a package's kind
        raise UserError(f"{source}: {error}") from error
    except ValidationError as error:
        raise UserError(f"{source}: its card is not valid: {first_complaint(error)}; export the model again") from None


def in_deviations(card: Card) -> npt.NDArray[np.float64]:
    """Factors from codes to standard deviations, [n_latents]; 0 for constant latents."""
    deviations = np.array([latent.std for latent in card.latents])
    return np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0)


def unknown_fields(part: BaseModel, prefix: str = "") -> list[str]:
    """Fields of a newer timbrel, as ``part.field``, each once."""
    field_names = dict.fromkeys(f"{prefix}{field_name}" for field_name in part.model_extra or {})
    for field_name, field_value in part:
        for inner_part in field_value if isinstance(field_value, list) else [field_value]:
            if isinstance(inner_part, BaseModel):
                field_names |= dict.fromkeys(unknown_fields(inner_part, f"{prefix}{field_name}."))
    return list(field_names)


def first_complaint(error: ValidationError) -> str:
    """Pydantic's first error as ``where: what (got value)``."""
    error_detail = error.errors(include_url=False)[0]
    key_path = ".".join(str(part) for part in error_detail["loc"])
    message = error_detail["msg"].removeprefix("Value error, ")
    input_text = repr(error_detail.get("input"))
    if len(input_text) > 60:
        input_text = input_text[:57] + "..."
    complaint = f"{message} (got {input_text})" if key_path else message
    return f"{key_path}: {complaint}" if key_path else complaint
