"""Gestures: code and loudness trajectories of recorded notes, with modes of struck bodies, as JSON in ONNX metadata."""

import base64
import itertools
import json
import zlib
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, core_schema

from ..arrays import Array, Doubles, Indices
from ..errors import UserError
from ..kinds.card_fields import IMAGE_BANDS, MetadataPart
from ..signal import mean_deviation
from ..units import midi_to_hz, note_name
from ..velocity import LOUDEST, VelocityLevels
from .card import Card, first_complaint
from .gesture_tables import TABLE_FORMAT, into_tables, out_of_tables
from .partials import HANN_ENERGY

GESTURE_KEY = "timbrel.gesture"
MOST_NOTES = 1024  # of a file: each onset searches all
MOST_POINTS = 256  # of a trajectory
MOST_BANDS = 128  # of a residual
MOST_TAKES = 64  # pairs of an instrument
MOST_MODES = 64  # of a note
IMAGE_STEPS = np.array([0.5, 1 / 127])  # of an image's levels in dB and of its correlations
IN_TUNE = 0.1  # semitones: nearer notes hardly take from their neighbours
LEAST_AGREEMENT = 0.5  # of notes on a tuning: a standard deviation of 19 cents
LEAST_EVIDENCE = 3.5  # nepers: chance reaches it in 3 %
RESIDUAL_DB = 0.5  # of a residual's steps
VIBRATO_CENTS = 0.5  # of the steps of a vibrato: 64 cents at most


class _ArrayOf(NamedTuple):
    lists: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            _array,
            handler.generate_schema(self.lists),
            serialization=core_schema.plain_serializer_function_ser_schema(np.ndarray.tolist),
        )


def _array(lists: list[Any]) -> npt.NDArray[np.float64]:
    """Array of nested lists, whose rows must be equally long."""
    if lists and isinstance(lists[0], list) and len({len(row) for row in lists}) > 1:
        raise ValueError("its points must have equally many numbers")
    return np.array(lists, np.float64)


class _PackedBytes:
    """Signed bytes as base64 of zlib: a twentieth of a list of decimals."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            _unpacked, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(packed)
        )


def packed(numbers: npt.NDArray[np.int8]) -> Any:
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode() if numbers.size else ""


def _unpacked(text: str) -> npt.NDArray[np.int8]:
    """Signed bytes of a text that `packed` wrote."""
    most_numbers = MOST_POINTS * MOST_BANDS
    if not text:
        return np.zeros(0, np.int8)
    decompressor = zlib.decompressobj()
    try:
        unpacked_bytes = decompressor.decompress(base64.b64decode(text, validate=True), most_numbers + 1)
    except (ValueError, zlib.error):
        raise ValueError("it must be compressed bytes in base64") from None
    if not decompressor.eof and len(unpacked_bytes) <= most_numbers:
        raise ValueError("it must be compressed bytes in base64, and whole")
    if len(unpacked_bytes) > most_numbers:
        raise ValueError(f"it has more than {most_numbers} numbers")
    return np.frombuffer(unpacked_bytes, np.int8)


Residual = Annotated[npt.NDArray[np.int8], _PackedBytes()]
Seconds = Annotated[list[Annotated[float, Field(ge=0, le=600)]], Field(min_length=1, max_length=MOST_POINTS)]
Decibels = Annotated[Doubles, _ArrayOf(list[Annotated[float, Field(ge=-200, le=60)]])]
CodePath = Annotated[Doubles, _ArrayOf(list[list[float]])]
Code = Annotated[Doubles, _ArrayOf(list[float])]
ReleaseLength = tuple[Annotated[int, Field(ge=1, le=LOUDEST)], Annotated[float, Field(ge=0.01, le=100)]]
Mode = tuple[Annotated[float, Field(gt=0, le=1000)], Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0, le=1)]]
Modes = Annotated[Doubles, _ArrayOf(Annotated[list[Mode], Field(max_length=MOST_MODES)])]


def _rising(lengths: list[ReleaseLength]) -> list[ReleaseLength]:
    if any(next_velocity <= velocity for (velocity, _), (next_velocity, _) in itertools.pairwise(lengths)):
        raise ValueError("velocities must rise from pair to pair")
    return lengths


class Grid(MetadataPart):
    """Seconds from note-on and note-off, from 0."""

    levels: Seconds
    codes: Seconds
    release_levels: Seconds
    release_codes: Seconds

    @model_validator(mode="after")
    def _rises(self) -> "Grid":
        for name, moments in self:
            if moments[0] != 0 or any(next_moment <= moment for moment, next_moment in itertools.pairwise(moments)):
                raise ValueError(f"{name} must begin with 0 and rise")
        return self


class Wander(MetadataPart):
    """Random motion of held notes: root mean squares, and rates of new values; ``codes`` are per direction."""

    level_db: Annotated[float, Field(ge=0, le=24)]
    level_hz: Annotated[float, Field(gt=0, le=100)]
    codes: list[Annotated[float, Field(ge=0)]]
    codes_hz: list[Annotated[float, Field(gt=0, le=100)]]


class NoteWay(MetadataPart):
    """Trajectory of a recorded note.

    ``code``: median of its codes. ``levels``: dB below its loudest moment, minus the level change from decoding its
    code there relative to ``home``; they then fall by ``fall_db_second``. ``codes``: [points, directions], relative to
    ``code``. ``release_levels``: dB below the level at note-off, empty if it rings out. ``residual``: the recorded
    spectrum less the decoded one, in steps of half a decibel, flat [1 + moments, bands]: the mean, then the movement
    around it while held; empty if unknown. ``release_residual``: that of the release, [moments, bands]. ``modes``: of
    models of partials, [modes, 3]: frequency ratio to the key, harmonic that moves there or 0, and its share of its
    band's noise. ``vibrato``: movement of the pitch around the key while held, in steps of half a cent, [moments];
    empty if steady or unknown. ``loudness``: of the level, in steps of half a decibel. ``key``: its pitch; ``tuning``:
    how far that lies off the key that plays it, in semitones; None in older files. ``onset``: the first movement of
    ``residual`` in short windows, [moments, bands], which fades into it. ``image``: of a stereo recording, as in
    `image_curves`, flat [32, 2]: levels in steps of half a decibel, correlations in 127ths.
    """

    key: Annotated[float, Field(ge=0, le=127.5)]
    tuning: Annotated[float, Field(ge=-1, le=1)] | None = None
    velocity: Annotated[int, Field(ge=1, le=127)]
    held_seconds: Annotated[float, Field(gt=0, le=600)]
    code: Code
    levels: Decibels
    codes: CodePath
    fall_db_second: Annotated[float, Field(ge=0, le=1000)] = 0.0
    release_levels: Decibels = np.zeros(0)
    release_codes: CodePath = np.zeros((0, 0))
    residual: Residual = np.zeros(0, np.int8)
    release_residual: Residual = np.zeros(0, np.int8)
    modes: Modes = np.zeros((0, 3))
    vibrato: Residual = np.zeros(0, np.int8)
    loudness: Residual = np.zeros(0, np.int8)
    onset: Residual = np.zeros(0, np.int8)
    image: Residual = np.zeros(0, np.int8)

    @property
    def stereo_image(self) -> Doubles:
        """As in `image_curves`, [32, 2]."""
        return self.image.reshape(IMAGE_BANDS, 2) * IMAGE_STEPS


def tuning_of(pitches: Doubles) -> float:
    """Return how far an instrument's notes lie off keys, in semitones; 0 within `IN_TUNE`, and where they disagree.

    ``pitches``, [notes], are keys with fractions. Notes agree if chance seldom has them so (Rayleigh's test of a
    direction: n R² has an exponential distribution).
    """
    deviation, agreement = mean_deviation(pitches)
    agree = agreement > LEAST_AGREEMENT and len(pitches) * agreement**2 > LEAST_EVIDENCE
    return deviation if agree and abs(deviation) > IN_TUNE else 0.0


def image_steps(image: Doubles) -> npt.NDArray[np.int8]:
    """Steps of `NoteWay.image` for an image, [32, 2]."""
    steps: npt.NDArray[np.int8] = np.clip(np.rint(image / IMAGE_STEPS), -127, 127).astype(np.int8)
    return steps


class InstrumentNotes(MetadataPart):
    """A note's offset from the preset's code is its code minus ``home``.

    In the distance between notes, ``velocity_steps`` count as 1.5 semitones. ``takes``: differences of two recordings
    of one key and velocity, in steps of half a decibel, flat [pairs, 1 + bands]: level, then mean residual.
    ``transposed``: keys without notes transpose the nearest key's, since inharmonic partials keep their ratios but
    cross the model's bands. ``velocity_levels``: how loud they are by velocity, if known, for a first preset.
    ``release_lengths``: by velocity, relative to the loudest one's; empty if equal or unknown. A note of another
    velocity than the recorded one has its release stretched by the ratio of both lengths.
    """

    label: str
    home: list[float]
    velocity_steps: Annotated[float, Field(ge=0.1, le=1000)] = 6.0
    takes: Residual = np.zeros(0, np.int8)
    transposed: bool = False
    velocity_levels: VelocityLevels = Field(default_factory=list)
    release_lengths: Annotated[list[ReleaseLength], Field(max_length=LOUDEST), AfterValidator(_rising)] = Field(
        default_factory=list
    )
    notes: Annotated[list[NoteWay], Field(min_length=1)]

    def release_length(self, velocity: float) -> float:
        """Return a release's length at a velocity, relative to the loudest one's: linear between pairs."""
        if not self.release_lengths:
            return 1.0
        velocities, lengths = zip(*self.release_lengths, strict=True)
        return float(np.interp(velocity, velocities, lengths))

    @property
    def is_mono(self) -> bool:
        """Return whether both sides of every note are alike: no amount of its image changes it."""
        alike = image_steps(np.array([0.0, 1.0]))
        return all(len(note.image) and (note.image.reshape(-1, 2) == alike).all() for note in self.notes)

    @property
    def in_tune(self) -> Doubles:
        """Keys of the notes less their tuning, near whole numbers: [notes]."""
        keys = np.array([note.key for note in self.notes])
        tunings = [note.tuning for note in self.notes if note.tuning is not None]
        return keys - (tunings if len(tunings) == len(keys) else tuning_of(keys))


class Gestures(MetadataPart):
    """Trajectories of recorded notes along ``directions``, [directions, n_latents].

    Residuals have bands around ``bands_hz``, and a moment every ``residual_seconds``, as vibratos; of onsets, one every
    ``onset_seconds``. In format 2 the lists of notes are in ``tables`` (`gesture_tables`).
    """

    format: Literal[1, 2]
    grid: Grid
    directions: Annotated[list[list[float]], Field(min_length=1, max_length=64)]
    wander: Wander
    bands_hz: Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=MOST_BANDS)] = Field(default_factory=list)
    residual_seconds: Annotated[float, Field(ge=0.001, le=1)] = 0.01
    onset_seconds: Annotated[float, Field(ge=0.001, le=1)] = 0.005
    instruments: Annotated[list[InstrumentNotes], Field(min_length=1, max_length=256)]

    @model_validator(mode="before")
    @classmethod
    def _unpacked(cls, fields: Any) -> Any:
        return out_of_tables(fields) if isinstance(fields, dict) and fields.get("format") == TABLE_FORMAT else fields

    @model_validator(mode="after")
    def _consistent(self) -> "Gestures":
        n, k = len(self.directions[0]), len(self.directions)
        if any(len(direction) != n for direction in self.directions):
            raise ValueError("directions must be of one length")
        if len(self.wander.codes) != k or len(self.wander.codes_hz) != k:
            raise ValueError(f"wander must have {k} numbers, one a direction")
        if len(self.bands_hz) == 1 or any(
            upper_hz <= lower_hz for lower_hz, upper_hz in itertools.pairwise(self.bands_hz)
        ):
            raise ValueError("bands_hz must be two or more numbers that rise")
        if sum(len(instrument.notes) for instrument in self.instruments) > MOST_NOTES:
            raise ValueError(f"more than {MOST_NOTES} notes")
        for instrument in self.instruments:
            if len(instrument.home) != n:
                raise ValueError(f"home of {instrument.label!r} must have {n} numbers, one a latent")
            take_width = 1 + len(self.bands_hz)
            if instrument.takes.size % take_width or instrument.takes.size > MOST_TAKES * take_width:
                raise ValueError(
                    f"takes of {instrument.label!r} must have rows of {take_width} numbers, {MOST_TAKES} at most"
                )
            for note in instrument.notes:
                self._check(note, n, k)
        return self

    def _check(self, note: NoteWay, n: int, k: int) -> None:
        """Check a note's lengths against the grid, bands, ``n`` latents and ``k`` directions."""
        grid = self.grid
        if len(note.code) != n:
            raise ValueError(f"code of a note must have {n} numbers, one a latent")
        required_points = {"levels": len(grid.levels), "codes": len(grid.codes)}
        if len(note.release_levels) or len(note.release_codes):
            required_points |= {"release_levels": len(grid.release_levels), "release_codes": len(grid.release_codes)}
        for name, point_count in required_points.items():
            if len(getattr(note, name)) != point_count:
                raise ValueError(f"{name} of a note must have {point_count} points, as the grid has")
        band_count = len(self.bands_hz)
        if any(
            residual.size and (not band_count or residual.size % band_count)
            for residual in (note.residual, note.release_residual, note.onset)
        ):
            raise ValueError(f"residuals of a note must have rows of {band_count} numbers, one a band")
        if len(note.image) not in (0, 2 * IMAGE_BANDS):
            raise ValueError(f"image of a note must have {IMAGE_BANDS} pairs of level and correlation")
        for name in ("vibrato", "loudness"):
            if len(getattr(note, name)) > MOST_POINTS:
                raise ValueError(f"{name} of a note must have {MOST_POINTS} points at most")
        if any(code_path.size != len(code_path) * k for code_path in (note.codes, note.release_codes)):
            raise ValueError(f"a point of a note's codes must have {k} numbers, one a direction")

    def text(self) -> str:
        """JSON, with the lists of notes in tables."""
        fields = into_tables(self.model_dump(mode="json", exclude_unset=True))
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @property
    def vibrates(self) -> bool:
        return any(len(note.vibrato) for instrument in self.instruments for note in instrument.notes)

    def summary(self) -> str:
        notes = [note for instrument in self.instruments for note in instrument.notes]
        keys = np.rint(np.concatenate([instrument.in_tune for instrument in self.instruments])).astype(int).tolist()
        instruments_text = f" of {len(self.instruments)} instruments" if len(self.instruments) > 1 else ""
        velocities = [note.velocity for note in notes]
        count_text = f"{len(notes)} recorded note{'s' * (len(notes) > 1)}{instruments_text}"
        return (
            f"{count_text}, {note_name(min(keys))} to {note_name(max(keys))}, "
            f"velocity {min(velocities)} to {max(velocities)}"
        )


def instrument_of(gestures: Gestures, rest_code: Doubles, scale: Doubles, label: str | None = None) -> InstrumentNotes:
    """Return the instrument ``label``; None: that with the home nearest to the code ``rest_code``, [n_latents].

    ``scale``, [n_latents], weights the distance.
    """
    candidates = [instrument for instrument in gestures.instruments if label in (None, instrument.label)]
    return min(
        candidates, key=lambda instrument: float(np.square((np.array(instrument.home) - rest_code) * scale).sum())
    )


def read_gestures(text: str, card: Card, source: str) -> Gestures:
    """Parse a model's gestures; errors name ``source``.

    Raises:
        UserError: not JSON, of a newer timbrel, or invalid.
    """
    error_subject = f"{source}: its gestures ({GESTURE_KEY})"
    try:
        # A call for each object lets other threads have the interpreter lock: a megabyte at once makes playing late.
        fields = json.loads(text, object_hook=lambda each: each)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{error_subject} are not JSON ({error}); export the model again") from None
    try:
        gestures = Gestures.model_validate(fields)
    except ValidationError as error:
        format_version = next(
            (error_detail["input"] for error_detail in error.errors() if error_detail["loc"] == ("format",)), None
        )
        if isinstance(format_version, int) and format_version > TABLE_FORMAT:
            raise UserError(
                f"{error_subject} have format {format_version}, newer than this timbrel reads ({TABLE_FORMAT}); "
                "update timbrel"
            ) from None
        raise UserError(f"{error_subject} are not valid: {first_complaint(error)}; export the model again") from None
    highest_harmonic = 0 if card.partials is None else card.partials.harmonics
    for note in (note for instrument in gestures.instruments for note in instrument.notes if len(note.modes)):
        replaced_harmonics = note.modes[note.modes[:, 1] > 0, 1]
        if replaced_harmonics.max(initial=0) > highest_harmonic or len(np.unique(replaced_harmonics)) < len(
            replaced_harmonics
        ):
            requirement_text = f"modes must replace one of {highest_harmonic} harmonics each"
            raise UserError(f"{error_subject} are not valid: {requirement_text}; export the model again")
    if not card.keyed or len(gestures.directions[0]) != len(card.latents):
        requirement_text = "keys that choose the note" if not card.keyed else f"{len(gestures.directions[0])} latents"
        raise UserError(
            f"{error_subject} are of a model with {requirement_text}, this one has another card; export the model again"
        )
    return gestures


NO_MODES = np.zeros((0, 3))


class PlacedModes(NamedTuple):
    orders: Doubles  # frequency ratios to the first partial, [partials]: harmonics or modes in their place, other modes
    takers: Indices  # partials that take power from noise, as places in ``orders``, [takers]
    bands: Indices  # from which they take it, [takers]
    energy: Array  # squared height of their lobes, relative to the band's squared level, [takers]
    noise_shares: Array  # share of each band's power that remains noise, [bands]

    def applied(self, heights: Array, power: Array) -> tuple[Array, Array]:
        """Magnitudes of partials, [rows, partials], and powers of noise.

        ``heights``: of harmonics, [rows, harmonics]; ``power``: of noise, [rows, bands].
        """
        extra_partial_count = len(self.orders) - heights.shape[1]
        partial_magnitudes = np.pad(heights, ((0, 0), (0, extra_partial_count)))
        taker_heights = partial_magnitudes[:, self.takers]
        partial_magnitudes[:, self.takers] = np.sqrt(taker_heights * taker_heights + self.energy * power[:, self.bands])
        return partial_magnitudes, power * self.noise_shares


def placed_modes(modes: Doubles, orders: Doubles, card: Card, key: float) -> PlacedModes:
    """Place a note's modes (`NoteWay`), [modes, 3], at a key.

    ``orders``: the key's frequency ratios of harmonics, [harmonics].
    """
    layout = card.partials
    assert layout is not None
    mode_harmonics = modes[:, 1].astype(np.intp)
    partial_indices = np.where(mode_harmonics > 0, mode_harmonics - 1, len(orders) + np.cumsum(mode_harmonics == 0) - 1)
    all_partial_orders = np.concatenate([orders, modes[mode_harmonics == 0, 0]])
    all_partial_orders[partial_indices] = modes[:, 0]
    band_indices = np.searchsorted(layout.edges_hz, modes[:, 0] * midi_to_hz(key), side="right") - 1
    taking_mode_indices = np.flatnonzero((modes[:, 2] > 0) & (band_indices >= 0) & (band_indices < layout.bands))
    band_indices, mode_shares = band_indices[taking_mode_indices], modes[taking_mode_indices, 2]
    band_shares = np.bincount(band_indices, mode_shares, layout.bands)
    energy = mode_shares / np.maximum(band_shares[band_indices], 1.0) * band_energy(card)[band_indices]
    noise_shares = 1 - np.minimum(band_shares, 1.0)
    return PlacedModes(
        all_partial_orders,
        partial_indices[taking_mode_indices],
        band_indices,
        energy.astype(np.float32),
        noise_shares.astype(np.float32),
    )


def band_energy(card: Card) -> Doubles:
    """Squared height of the lobe with a band's power, relative to its squared level, [bands]."""
    assert card.partials is not None
    # Narrow bands have one bin.
    band_width_bins = np.diff(card.partials.edges_hz) * card.frame_length / card.sample_rate
    return np.maximum(band_width_bins, 1.0) / HANN_ENERGY
