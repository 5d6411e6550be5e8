"""The card: what a host must know to play a model, as JSON in the ONNX file's metadata."""

import base64
import itertools
import json
import math
import zlib
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import UserError
from ..kinds.table import KINDS, kind_of

METADATA_KEY = "timbrel.card"
FORMAT = 1
PITCH_CLASSES = 12
KEYS = 128  # of MIDI
MOST_STRETCHED = 0.1  # B of a stiff string: a hundred times that of a piano's highest key
LONGEST_NAME = 32  # of a direction: what a screen and a plugin show
MOST_LABELS = 1024  # of a model: one-hot rows stay small

Domain = Literal["samples", "magnitude", "magnitude_phase", "real_imag", "partials"]
Window = Literal["hann", "blackman", "rectangular"]
PitchClass = Annotated[int, Field(ge=0, le=11)]  # 0 is C


def _known_kind(name: str) -> str:
    if name not in KINDS:
        raise ValueError(f"{name!r} is unknown; known: {', '.join(KINDS)}; a newer timbrel may know it")
    return name


class _Part(BaseModel):
    # Fields that a later timbrel adds are kept and reported by `unknown_fields`, not refused.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Latent(_Part):
    """One knob: the span that the training set fills, where it rests, and how codes are distributed along it.

    ``moves``: what was measured at its ends, in words; empty where nothing was. ``unnamed``: why its name is but its
    number, in words; empty where it has a name of its own.
    """

    name: str
    low: float
    high: float
    default: float
    mean: float
    std: float
    moves: str = ""
    unnamed: str = ""

    @property
    def about(self) -> str:
        """Return what is known of the knob besides its numbers: what it moves, and why it has no name."""
        return "; ".join(part for part in (self.moves, self.unnamed and f"no name: {self.unnamed}") if part)

    @model_validator(mode="after")
    def _ordered(self) -> "Latent":
        if not self.low < self.high:
            raise ValueError(f"latent {self.name!r}: low {self.low} must be below high {self.high}")
        if not self.low <= self.default <= self.high:
            raise ValueError(f"latent {self.name!r}: default {self.default} must lie in [{self.low}, {self.high}]")
        return self


class UniformPrior(_Part):
    """Codes were trained toward a uniform distribution on [low, high]."""

    uniform: tuple[float, float]


class NormalPrior(_Part):
    """Codes were trained toward a normal distribution (mean, standard deviation)."""

    normal: tuple[float, float]


class Chroma(_Part):
    """The pitch classes (0 is C) heard in training, and the octave of its decoded frames (4 has middle C).

    Where it is ``folded``, sounds of other octaves were moved into this one, whole, before they were encoded.
    """

    trained: list[PitchClass]
    octave: int
    folded: bool = False


class PartialsLayout(_Part):
    """The layout of a frame of partials, at the pitch that the graph's input ``pitch`` says.

    First ``harmonics`` heights: the magnitudes at the middles of the lobes that harmonics 1, 2, … have in a spectrum of
    ``frame_length`` samples under the card's window, whose squares sum to 1 for a training frame. Then the noise: the
    root mean square magnitude of that spectrum's bins between lobes, in each of the bands between ``edges_hz``, which
    rise. ``low`` and ``high`` are the lowest and the highest MIDI note of the recordings.

    Strings are stiff: partial k of key p has k sqrt(1 + B k^2) times the frequency of the first, B = exp(``stretch[0]``
    + ``stretch[1]`` p) (Fletcher, "Normal vibration frequencies of a stiff piano string", 1964); None: B = 0.
    """

    harmonics: Annotated[int, Field(ge=1, le=400)]
    edges_hz: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=257)]
    low: Annotated[float, Field(ge=0, le=127.5)]
    high: Annotated[float, Field(ge=0, le=127.5)]
    stretch: tuple[float, float] | None = None

    @property
    def bands(self) -> int:
        """Return the number of bands of noise."""
        return len(self.edges_hz) - 1

    @model_validator(mode="after")
    def _rises(self) -> "PartialsLayout":
        if any(after <= before for before, after in itertools.pairwise(self.edges_hz)):
            raise ValueError("partials: edges_hz must rise")
        if self.stretch is not None and not all(
            self.stretch[0] + self.stretch[1] * key <= math.log(MOST_STRETCHED) for key in (0, KEYS - 1)
        ):
            raise ValueError(f"partials: stretch must keep B at {MOST_STRETCHED} or below for every key")
        if self.low > self.high:
            raise ValueError(f"partials: low {self.low} must not exceed high {self.high}")
        return self

    def inharmonicity(self, pitch: float) -> float:
        """Return B of a MIDI note."""
        return 0.0 if self.stretch is None else math.exp(self.stretch[0] + self.stretch[1] * pitch)


class RecurrentState(_Part):
    """A recurrent state: it goes in as ``name``, [voice, *shape], and comes out as ``name_next``."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=1, le=1 << 20)]], Field(min_length=1, max_length=4)]


class Scaling(_Part):
    """The mean and the deviation by which frames were standardised before training: of all numbers, or of each."""

    mean: float | list[float]
    deviation: float | list[float]


class StreamLayout(_Part):
    """The way in which a stream's frames follow one another.

    ``step_length``: samples at the model's rate from the beginning of a frame to that of the next; by the rest of their
    ``frame_length`` they overlap, and are crossfaded there. A step of the music falls where that ends.
    ``steps_per_beat``: of the grid that frames lie on, ``beats_per_bar`` of it; None: they lie on none.
    ``noise``: how many normal numbers the graph takes a step, as its input ``noise``; the host scales them by the heat.
    ``levels_db``: the least and the largest root mean square of a training frame, in dB of full scale.
    """

    step_length: Annotated[int, Field(ge=16, le=1 << 20)]
    steps_per_beat: Annotated[float, Field(gt=0, le=256)] | None = None
    beats_per_bar: Annotated[int, Field(ge=1, le=32)] = 4
    noise: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    levels_db: tuple[float, float]


class Landmark(_Part):
    """A code with a name: of a frame of the training set, or drawn from the prior of what encodes nothing."""

    latent: list[float]
    chroma: PitchClass | None
    label: str


class Direction(_Part):
    """A direction of codes for a macro: ``latent`` is what it adds at its upper end, and takes away at its lower.

    ``raises``: what was measured to rise along it; ``holds``: in what part of steps from training codes it did.
    """

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    latent: list[float]
    raises: str = ""
    holds: float = 0.0


class Provenance(_Part):
    """The origin of the weights: recipe, corpus, versions and hardware."""

    recipe: str
    steps: int
    seed: int
    corpus: str
    clips: int
    seconds: float
    validation: dict[str, float]
    versions: dict[str, str]
    hardware: str


class Parity(_Part):
    """The largest difference between torch and the file as onnxruntime runs it, over these batch sizes."""

    absolute: float
    relative: float
    batch_sizes: list[int]


class Reference(_Part):
    """Inputs and the frames that they must give.

    ``points`` are the positions in the frame that ``frame`` keeps of each row. ``peaks`` keeps every output once, at
    the row where its magnitude is largest: base64 of zlib of those rows, a byte an output, and of the values there,
    float16, little-endian. An older card has none: most outputs are then not in the reference. ``key`` are the MIDI
    notes of a model of partials. A model with state is
    stepped ``steps`` times with the same inputs, from a state of zeros, and gives the frames at the last step.
    """

    latent: Annotated[list[list[float]], Field(min_length=1, max_length=256)]
    chroma: list[PitchClass] | None
    label: list[Annotated[int, Field(ge=0)]] | None = None
    key: list[Annotated[int, Field(ge=0, lt=KEYS)]] | None = None
    points: Annotated[list[int], Field(min_length=1)]
    frame: list[list[float]]
    tolerance: float
    peaks: str | None = None
    steps: Annotated[int, Field(ge=1, le=1024)] = 1

    def unpack_peaks(self, width: int) -> tuple[bytes, bytes]:
        """Return the rows, [width] bytes, and the values, [width] float16, of ``peaks``.

        Raises:
            ValueError: they are not of ``width`` outputs, or of rows that there are.
        """
        try:
            packed = base64.b64decode(self.peaks or "", validate=True)
            data = zlib.decompressobj().decompress(packed, 3 * width + 1)
        except (ValueError, zlib.error):
            raise ValueError("reference: peaks are not base64 of zlib") from None
        if len(data) != 3 * width or max(data[:width]) >= len(self.latent):
            raise ValueError(f"reference: peaks must hold {width} rows below {len(self.latent)} and as many float16")
        return data[:width], data[width:]


def pack_peaks(rows: bytes, values: bytes) -> str:
    """Return rows and values as the text that `Reference.unpack_peaks` unpacks."""
    return base64.b64encode(zlib.compress(rows + values, 9)).decode("ascii")


class Card(_Part):
    """Everything about a model that is not in its graph. Rates in Hz, lengths in samples at the model's rate."""

    format: Literal[1]
    name: str
    description: str
    license: str
    credits: str
    created: str
    kind: Annotated[str, AfterValidator(_known_kind)]
    domain: Domain
    sample_rate: Annotated[int, Field(ge=4000, le=384000)]
    frame_length: Annotated[int, Field(ge=16, le=1 << 22)]
    hop_length: Annotated[int, Field(ge=1)]
    window: Window
    latents: Annotated[list[Latent], Field(min_length=1, max_length=4096)]
    prior: UniformPrior | NormalPrior | None
    chroma: Chroma | None
    state: list[RecurrentState] = []
    scaling: Scaling | None = None
    loudness_lufs: float
    landmarks: Annotated[list[Landmark], Field(max_length=256)]
    training: Provenance
    parity: Parity
    reference: Reference
    envelope_points: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    transform_length: Annotated[int, Field(ge=16, le=1 << 16)] | None = None
    labels: Annotated[list[str], Field(max_length=MOST_LABELS)] = []
    stream: StreamLayout | None = None
    partials: PartialsLayout | None = None
    directions: Annotated[list[Direction], Field(max_length=16)] = []

    @property
    def conditions(self) -> int:
        """Return how many things the graph can be told beside the latents: pitch classes, labels, or keys; or none."""
        if self.partials is not None:
            return KEYS
        return PITCH_CLASSES if self.chroma is not None else len(self.labels)

    @property
    def keyed(self) -> bool:
        """Return whether keys choose the note that is decoded, by its chroma or its pitch."""
        return self.chroma is not None or self.partials is not None

    @property
    def spectra(self) -> int:
        """Return how many spectra a frame holds: one, or those of a whole clip."""
        return 1 if self.transform_length is None else self.frame_length // self.hop_length + 1

    @property
    def frame_width(self) -> int:
        """Return how many numbers one row of the graph's ``frame`` output has.

        By domain: ``frame_length`` samples; ``bins = frame_length // 2 + 1`` magnitudes; or magnitudes and as many
        phases in radians, or real and imaginary parts. Of a grain these are of the rfft of its unwindowed samples, and
        magnitudes alone are of noise, ``E|X|^2 = m^2``, that begins anew in each grain; its amplitude is then an
        envelope of ``envelope_points``, which follow the magnitudes, the first at the grain's first sample, the last
        at its last, straight lines between them.

        A clip is given as samples, or with a ``transform_length`` as ``spectra`` of ``transform_length // 2 + 1``
        magnitudes, one after another. They are those of its rffts under the window, which add up to it (no part of a
        magnitude is the window's or the transform's), and have their middles at multiples of ``hop_length`` from its
        first sample on. After them come ``envelope_points``: its root mean square in as many equal parts of it.

        Partials are as `PartialsLayout` says.
        """
        if self.partials is not None:
            return self.partials.harmonics + self.partials.bands
        bins = self.spectra * ((self.transform_length or self.frame_length) // 2 + 1)
        width = {
            "samples": self.frame_length,
            "magnitude": bins,
            "magnitude_phase": 2 * bins,
            "real_imag": 2 * bins,
        }[self.domain]
        return width + self.envelope_points

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        n = len(self.latents)
        if self.hop_length > self.frame_length:
            raise ValueError(f"hop_length {self.hop_length} must not exceed frame_length {self.frame_length}")
        for mark in self.landmarks:
            if len(mark.latent) != n:
                raise ValueError(f"landmark {mark.label!r} has {len(mark.latent)} latents, the model has {n}")
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
        reference, rows = self.reference, len(self.reference.latent)
        if any(len(row) != len(self.latents) for row in reference.latent):
            raise ValueError(f"reference: a row of latent must have {len(self.latents)} numbers, one a latent")
        if not all(0 <= point < self.frame_width for point in reference.points):
            raise ValueError(f"reference: points must lie in a frame, 0 to {self.frame_width - 1}")
        if len(reference.frame) != rows or any(len(row) != len(reference.points) for row in reference.frame):
            raise ValueError(f"reference: frame must have {rows} rows of {len(reference.points)} points")
        if self.chroma is not None and len(reference.chroma or []) != rows:
            raise ValueError(f"reference: chroma must have {rows} pitch classes, one a row")
        if self.partials is not None and len(reference.key or []) != rows:
            raise ValueError(f"reference: key must have {rows} MIDI notes, one a row")
        if self.labels and (len(reference.label or []) != rows or max(reference.label or []) >= len(self.labels)):
            raise ValueError(f"reference: label must have {rows} numbers of labels, one a row")
        if reference.steps > 1 and not self.state:
            raise ValueError(f"reference: {reference.steps} steps need a state that goes from one to the next; give 1")
        if reference.peaks is not None:
            reference.unpack_peaks(self.frame_width)


def read_card(text: str, source: str) -> Card:
    """Parse a card; ``source`` names the file in errors.

    Raises:
        UserError: not JSON, written by a newer timbrel, or not a valid card.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, a number of too many digits, or too deep a nest
        raise UserError(f"{source}: its card is not JSON ({error}); export the model again") from None
    if not isinstance(fields, dict):
        raise UserError(f"{source}: its card is not a JSON object; export the model again")
    version = fields.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"{source}: card format {version} is newer than this timbrel reads ({FORMAT}); update timbrel")
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{source}: its card is not valid: {first_complaint(error)}; export the model again") from None


def in_deviations(card: Card) -> npt.NDArray[np.float64]:
    """Return what codes are multiplied by to be counted in deviations of the training codes, [n_latents].

    A latent that never varied in training counts for nothing.
    """
    deviations = np.array([latent.std for latent in card.latents])
    scale: npt.NDArray[np.float64] = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0)
    return scale


def unknown_fields(part: BaseModel, where: str = "") -> list[str]:
    """Return the fields that a card has beyond those of this timbrel, as ``part.field``, each once."""
    names = dict.fromkeys(f"{where}{name}" for name in part.model_extra or {})
    for name, value in part:
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, BaseModel):
                names |= dict.fromkeys(unknown_fields(inner, f"{where}{name}."))
    return list(names)


def first_complaint(error: ValidationError) -> str:
    """Return the first thing that pydantic found wrong, as ``where: what (got value)`` in one line."""
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    what = detail["msg"].removeprefix("Value error, ")
    got = repr(detail.get("input"))
    if len(got) > 60:
        got = got[:57] + "..."
    text = f"{what} (got {got})" if where else what
    return f"{where}: {text}" if where else text
