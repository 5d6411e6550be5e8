"""Recordings in ONNX metadata: FLAC in base64, decoded on request."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from ..arrays import Array
from ..audio.sound_files import flac_samples, flac_shape
from ..errors import UserError
from ..kinds.card_fields import MetadataPart
from ..units import db_to_gain
from .card import Card, first_complaint

RECORDINGS_KEY = "timbrel.recordings"
FORMAT = 1
MOST_SECONDS = 30.0  # of a recording
AGAIN = "export the model again"


class _Sounds(MetadataPart):
    format: Literal[1]
    flac: list[str]


@dataclass(frozen=True)
class Recordings:
    """The sounds of a card's recordings, in its order; errors name ``source``."""

    card: Card
    flacs: Sequence[str]
    source: str

    def shape(self, index: int) -> tuple[int, int]:
        """Channels, 1 or 2, and samples.

        Raises:
            UserError: not the FLAC that the card names, or not at the model's rate.
        """
        return self._checked(index)[1]

    def sides(self, index: int) -> Array:
        """Samples, [channels, samples], at the model's rate and the level of decoded clips.

        Raises:
            UserError: as `shape`, or the FLAC is damaged.
        """
        flac, shape = self._checked(index)
        samples = flac_samples(flac)
        if samples is None or samples.shape != shape:
            raise UserError(f"{self._subject(index)} is a damaged FLAC; {AGAIN}")
        return samples * db_to_gain(self.card.recordings[index].gain_db)

    def _checked(self, index: int) -> tuple[bytes, tuple[int, int]]:
        """The FLAC, and its channels and samples."""
        sample_rate, most_samples = self.card.sample_rate, round(MOST_SECONDS * self.card.sample_rate)
        try:
            flac = base64.b64decode(self.flacs[index], validate=True)
        except ValueError:
            raise UserError(f"{self._subject(index)} is not base64; {AGAIN}") from None
        if hashlib.sha256(flac).hexdigest() != self.card.recordings[index].sha256:
            raise UserError(f"{self._subject(index)} is not the one that its card names; {AGAIN}")
        shape = flac_shape(flac, sample_rate)
        if shape is None or shape[0] > 2 or not 0 < shape[1] <= most_samples:
            raise UserError(
                f"{self._subject(index)} is no FLAC of one or two channels at {sample_rate} Hz, {MOST_SECONDS:g} s at "
                f"most; {AGAIN}"
            )
        return flac, shape

    def _subject(self, index: int) -> str:
        return f"{self.source}: its recording {self.card.recordings[index].name!r}"

    @property
    def megabytes(self) -> float:
        """Size in the file."""
        return sum(map(len, self.flacs)) / 1e6


def recordings_text(flacs: Sequence[bytes]) -> str:
    """Metadata of FLAC files, in the order of the card's recordings."""
    return _Sounds(format=1, flac=[base64.b64encode(flac).decode("ascii") for flac in flacs]).model_dump_json()


def read_recordings(text: str | None, card: Card, source: str) -> Recordings | None:
    """Parse a model's recordings, decoding none; None without.

    Raises:
        UserError: not JSON, of a newer timbrel, or not as many as the card's.
    """
    if text is None and not card.recordings:
        return None
    subject = f"{source}: its recordings ({RECORDINGS_KEY})"
    try:
        sounds = _Sounds.model_validate_json(text or "{}")
    except ValidationError as error:
        format_version = next((detail["input"] for detail in error.errors() if detail["loc"] == ("format",)), None)
        if isinstance(format_version, int) and format_version > FORMAT:
            raise UserError(
                f"{subject} have format {format_version}, newer than this timbrel reads ({FORMAT}); update timbrel"
            ) from None
        raise UserError(f"{subject} are not valid: {first_complaint(error)}; {AGAIN}") from None
    if len(sounds.flac) != len(card.recordings):
        raise UserError(f"{subject} are {len(sounds.flac)}, the card's {len(card.recordings)}; {AGAIN}")
    return Recordings(card, sounds.flac, source)
