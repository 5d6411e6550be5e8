"""Fields of model cards, without the checks that need the table of kinds."""

import base64
import itertools
import math
import zlib
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

PITCH_CLASSES = 12
KEYS = 128  # of MIDI
MOST_STRETCHED = 0.1  # B of a stiff string: a hundred times the value of a piano's highest key
LONGEST_NAME = 32  # of a direction, to fit the screen and the plugin
MOST_LABELS = 1024  # of a model, so that one-hot rows stay small
MOST_RECORDINGS = 4096  # in a file
UNKNOWN_LICENCE = "unknown"  # of a card without a stated one

Window = Literal["hann", "blackman", "rectangular"]
PitchClass = Annotated[int, Field(ge=0, le=11)]  # 0 is C


class MetadataPart(BaseModel):
    """A part of a model file's metadata."""

    # Fields of a later timbrel are kept and reported by `unknown_fields`, not rejected.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class DeclaredDomain(MetadataPart):
    """Numbers of a frame of an installed package's kind.

    ``width``: numbers of a frame. ``meaning``: of these, in words: quantity, unit, order, scale.
    """

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,63}$")]
    width: Annotated[int, Field(ge=1, le=1 << 22)]
    meaning: Annotated[str, Field(min_length=1, max_length=1024)]

    def __str__(self) -> str:
        return self.name


DOMAINS = ("samples", "magnitude", "magnitude_phase", "real_imag", "partials")  # timbrel's own


def _check_domain(domain: str | DeclaredDomain) -> str | DeclaredDomain:
    name = domain if isinstance(domain, str) else domain.name
    if isinstance(domain, str) == (name in DOMAINS):
        return domain
    known_text = " or ".join(map(repr, DOMAINS))
    if isinstance(domain, str):
        raise ValueError(f"give {known_text}, or a name, width and meaning")
    raise ValueError(f"{name!r} is a domain of timbrel's own; give the name alone")


Domain = Annotated[
    Annotated[str, Tag("name"), WithJsonSchema({"enum": list(DOMAINS), "type": "string"})]
    | Annotated[DeclaredDomain, Tag("declared")],
    Discriminator(lambda domain: "name" if isinstance(domain, str) else "declared"),
    AfterValidator(_check_domain),
]


class Latent(MetadataPart):
    """Range, default and training distribution of one latent.

    ``moves``: measured effect of its ends, if any. ``unnamed``: why its name is only a number.
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
    def remark(self) -> str:
        return "; ".join(phrase for phrase in (self.moves, self.unnamed and f"no name: {self.unnamed}") if phrase)

    @model_validator(mode="after")
    def _ordered(self) -> "Latent":
        if not self.low < self.high:
            raise ValueError(f"latent {self.name!r}: low {self.low} must be below high {self.high}")
        if not self.low <= self.default <= self.high:
            raise ValueError(f"latent {self.name!r}: default {self.default} must lie in [{self.low}, {self.high}]")
        return self


class UniformPrior(MetadataPart):
    uniform: tuple[float, float]  # low and high


class NormalPrior(MetadataPart):
    normal: tuple[float, float]  # mean and standard deviation


class Chroma(MetadataPart):
    """Trained pitch classes, and the octave of decoded frames (4 has middle C).

    ``folded``: training transposed other octaves into it.
    """

    trained: list[PitchClass]
    octave: int
    folded: bool = False


class PartialsLayout(MetadataPart):
    """A frame of partials at the pitch of the graph's input ``pitch``.

    ``harmonics`` magnitudes: peaks in a spectrum of ``frame_length`` samples under the card's window. In training
    frames their squares sum to 1. Then noise: root mean square magnitude of bins between peaks, in bands between
    ``edges_hz``. ``low``, ``high``: range of recorded MIDI notes.

    Partial k of key p has k sqrt((1 + B k^2) / (1 + B)) times the frequency of the first, B = exp(``stretch[0]`` +
    ``stretch[1]`` p), 0 without ``stretch`` (Fletcher, as in `partials.stretched`).
    """

    harmonics: Annotated[int, Field(ge=1, le=400)]
    edges_hz: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=257)]
    low: Annotated[float, Field(ge=0, le=127.5)]
    high: Annotated[float, Field(ge=0, le=127.5)]
    stretch: tuple[float, float] | None = None

    @property
    def bands(self) -> int:
        return len(self.edges_hz) - 1

    @model_validator(mode="after")
    def _rises(self) -> "PartialsLayout":
        if any(upper_hz <= lower_hz for lower_hz, upper_hz in itertools.pairwise(self.edges_hz)):
            raise ValueError("partials: edges_hz must rise")
        if self.stretch is not None and not all(
            self.stretch[0] + self.stretch[1] * midi_key <= math.log(MOST_STRETCHED) for midi_key in (0, KEYS - 1)
        ):
            raise ValueError(f"partials: stretch must keep B at {MOST_STRETCHED} or below for every key")
        if self.low > self.high:
            raise ValueError(f"partials: low {self.low} must not exceed high {self.high}")
        return self

    def inharmonicity(self, pitch: float) -> float:
        return 0.0 if self.stretch is None else math.exp(self.stretch[0] + self.stretch[1] * pitch)


class RecurrentState(MetadataPart):
    """Graph input ``name`` and output ``name_next``, [voice, *shape]."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=1, le=1 << 20)]], Field(min_length=1, max_length=4)]


class Scaling(MetadataPart):
    """Mean and deviation of training frames: one number, or one a component."""

    mean: float | list[float]
    deviation: float | list[float]


class StreamLayout(MetadataPart):
    """Timing of a stream's frames.

    ``step_length``: samples between frame starts; the rest of ``frame_length`` is crossfaded. A musical step starts at
    the crossfade's end. ``steps_per_beat``: the frames' grid, if any. ``noise``: normal numbers a step, before scaling
    by the heat. ``levels_db``: minimum and maximum root mean square of training frames, dB of full scale.
    """

    step_length: Annotated[int, Field(ge=16, le=1 << 20)]
    steps_per_beat: Annotated[float, Field(gt=0, le=256)] | None = None
    beats_per_bar: Annotated[int, Field(ge=1, le=32)] = 4
    noise: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    levels_db: tuple[float, float]


class Landmark(MetadataPart):
    """Code of a training frame; drawn from the prior without an encoder."""

    latent: list[float]
    chroma: PitchClass | None
    label: str


PATH_CODES, PATH_BANDS = 3, 8  # of the path on which recordings are verified
PathLevels = Annotated[list[float], Field(min_length=PATH_BANDS, max_length=PATH_BANDS)]


class Recording(MetadataPart):
    """A recording in the model's file, its code and label.

    Layers and takes of one sound have its name as ``sound``; ``velocity``: of its layer. ``gain_db`` gives it the level
    of decoded clips. ``sha256``: of its FLAC, in hex. ``path_levels_db``: levels of bands at each code of its path, by
    another decoder than the one that plays; None in older files.
    """

    name: Annotated[str, Field(min_length=1, max_length=255)]
    label: str
    sound: str = ""
    velocity: Annotated[int, Field(ge=1, le=127)] | None = None
    latent: list[float]
    gain_db: Annotated[float, Field(ge=-120, le=120)]
    sha256: str
    path_levels_db: Annotated[list[PathLevels], Field(min_length=PATH_CODES, max_length=PATH_CODES)] | None = None


class Direction(MetadataPart):
    """A macro's direction: ``latent`` is added at its upper end, subtracted at its lower.

    ``raises``: a quantity that rises in a share ``holds`` of steps from training codes.
    """

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    latent: list[float]
    raises: str = ""
    holds: float = 0.0


class Provenance(MetadataPart):
    recipe: str
    steps: int
    seed: int
    corpus: str
    clips: int
    seconds: float
    validation: dict[str, float]
    versions: dict[str, str]
    hardware: str


class Parity(MetadataPart):
    """Largest differences between torch and onnxruntime."""

    absolute: float
    relative: float
    batch_sizes: list[int]


class Reference(MetadataPart):
    """Inputs and expected frames for `Model.verify`.

    ``points``: positions stored in ``frame``. ``peaks``: each output once, in the row of its largest magnitude: base64
    of zlib of these rows, a byte an output, then of the values, little-endian float16. Older cards lack them, so most
    outputs are unchecked. ``key``: MIDI notes for partials. Models with state run ``steps`` times from zeros; ``frame``
    is the last step's.
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
        """Rows, [width] bytes, and values, [width] float16, of ``peaks``.

        Raises:
            ValueError: not ``width`` outputs, or a row out of range.
        """
        try:
            packed_bytes = base64.b64decode(self.peaks or "", validate=True)
            unpacked_bytes = zlib.decompressobj().decompress(packed_bytes, 3 * width + 1)
        except (ValueError, zlib.error):
            raise ValueError("reference: peaks are not base64 of zlib") from None
        if len(unpacked_bytes) != 3 * width or max(unpacked_bytes[:width]) >= len(self.latent):
            raise ValueError(f"reference: peaks must hold {width} rows below {len(self.latent)} and as many float16")
        return unpacked_bytes[:width], unpacked_bytes[width:]


def pack_peaks(rows: bytes, values: bytes) -> str:
    return base64.b64encode(zlib.compress(rows + values, 9)).decode("ascii")


class LearnedPathLayout(MetadataPart):
    """The file of a learned path beside the model: a graph that takes steps of ``step_length`` samples.

    It reads a code, ``state`` numbers and ``noise`` normal numbers. ``sha256``: of the file, in hex.
    """

    step_length: Annotated[int, Field(ge=16, le=1 << 20)]
    state: Annotated[int, Field(ge=1, le=1 << 16)]
    noise: Annotated[int, Field(ge=1, le=1 << 16)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


IMAGE_BANDS = 32
ImageBand = tuple[Annotated[float, Field(ge=-64, le=64)], Annotated[float, Field(ge=-1, le=1)]]


class CardFields(MetadataPart):
    """A card's fields, and the sizes that follow from them; `model.card.Card` checks them against its kind."""

    format: Literal[1]
    name: str
    description: str
    license: str
    credits: str
    created: str
    kind: str
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
    image: Annotated[list[ImageBand], Field(min_length=IMAGE_BANDS, max_length=IMAGE_BANDS)] | None = None
    directions: Annotated[list[Direction], Field(max_length=16)] = []
    recordings: Annotated[list[Recording], Field(max_length=MOST_RECORDINGS)] = []
    learned_path: LearnedPathLayout | None = None

    @property
    def conditions(self) -> int:
        """Pitch classes, labels or keys; 0 without."""
        if self.partials is not None:
            return KEYS
        return PITCH_CLASSES if self.chroma is not None else len(self.labels)

    @property
    def keyed(self) -> bool:
        return self.chroma is not None or self.partials is not None

    @property
    def spans(self) -> list[tuple[float, float]]:
        return [(latent.low, latent.high) for latent in self.latents]

    @property
    def latent_targets(self) -> list[str]:
        return [f"latent.{index}" for index in range(len(self.latents))]

    @property
    def spectra(self) -> int:
        """Spectra a frame, 1 except for clips."""
        return 1 if self.transform_length is None else self.frame_length // self.hop_length + 1

    @property
    def frame_width(self) -> int:
        """Length of a row of the output ``frame``.

        By domain: ``frame_length`` samples; ``bins = frame_length // 2 + 1`` magnitudes; or magnitudes and as many
        phases in radians, or real and imaginary parts. Partials: as in `PartialsLayout`. A `DeclaredDomain` states it.

        Grains: the rfft of unwindowed samples. Magnitudes alone are of noise, ``E|X|^2 = m^2``, new in each grain.
        ``envelope_points`` follow, linear from first to last sample.

        Clips: samples, or with ``transform_length`` ``spectra`` of ``transform_length // 2 + 1`` magnitudes: rffts of
        windowed frames, centred at multiples of ``hop_length`` from the first sample, that overlap-add to the clip
        without scaling. ``envelope_points`` follow: root mean squares of as many equal parts.
        """
        domain_width = self.domain.width if isinstance(self.domain, DeclaredDomain) else WIDTHS[self.domain](self)
        return domain_width + self.envelope_points


def _bins(card: CardFields) -> int:
    return card.spectra * ((card.transform_length or card.frame_length) // 2 + 1)


def _partials_width(card: CardFields) -> int:
    return 0 if card.partials is None else card.partials.harmonics + card.partials.bands


WIDTHS: dict[str, Callable[[CardFields], int]] = {  # of frames without an envelope, by timbrel's own domains
    "samples": lambda card: card.frame_length,
    "magnitude": _bins,
    "magnitude_phase": lambda card: 2 * _bins(card),  # phases in radians follow
    "real_imag": lambda card: 2 * _bins(card),  # imaginary parts follow
    "partials": _partials_width,
}

# Of a card's fields, for its JSON schema.
MEANINGS = {
    "format": "of the card; a reader refuses a higher one",
    "name": "of the model",
    "description": "one line",
    "license": "of the model, its corpus included",
    "credits": "who made the sounds",
    "created": "date, YYYY-MM-DD",
    "kind": "how frames become sound: spectrum, partials, grain, clip or stream; an outside package may add others",
    "domain": "numbers of a frame: sound; magnitudes; magnitudes, then phases in radians; real, then imaginary parts; "
    "heights of partials, then levels of noise",
    "sample_rate": "Hz",
    "frame_length": "samples of a frame, at sample_rate",
    "hop_length": "samples from one frame to the next; of a clip, from one spectrum to the next",
    "window": "of the frames' transform, periodic",
    "latents": "one a number of the input latent, in its order",
    "prior": "the distribution that training drew codes to; null without",
    "chroma": "of a graph with the input chroma, [voice, 12], C first, one-hot; null without",
    "state": "of recurrent models: graph inputs, zero at first, whose next values are outputs",
    "scaling": "of training frames: decoded frame * deviation + mean is the frame; null without",
    "loudness_lufs": "of a note at full velocity and the default code, before the gain 10^((-20 - loudness_lufs) / 20)",
    "landmarks": "codes of training frames",
    "training": "where the model comes from",
    "parity": "how far the graph was from the trained network",
    "reference": "inputs with the frames that they must give on any machine",
    "envelope_points": "numbers at the end of a frame: an envelope or a loudness curve; 0 without",
    "transform_length": "samples of a transform, where a frame holds several spectra; null elsewhere",
    "labels": "of a graph with the input label, [voice, labels], shares that sum to 1; empty without",
    "stream": "timing of a stream's frames; null elsewhere",
    "partials": "layout of frames of partials; null elsewhere",
    "image": "of stereo sounds, by mel band: level of the left side over the right in dB, and correlation; or null",
    "directions": "of macros through the codes",
    "recordings": "sounds in the file, as FLAC in the metadata timbrel.recordings",
    "learned_path": "the file of a learned path beside the model; null without",
}
