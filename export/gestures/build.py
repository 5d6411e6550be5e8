"""Builds a model's gestures: compact trajectories of training notes."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Doubles
from ...host.kinds.card_fields import PITCH_CLASSES
from ...host.model.card import Card, in_deviations
from ...host.model.gesture import (
    MOST_POINTS,
    RESIDUAL_DB,
    Gestures,
    Grid,
    InstrumentNotes,
    NoteWay,
    Wander,
    image_steps,
    packed,
)
from ...host.model.image import measured_image
from ...host.model.model import Model
from ...host.model.partials import spectra
from ...host.play.blended_trajectory import KEY_SEMITONES, nearest
from ...host.spectra import MOMENT_SECONDS
from ...train.corpus.store import Corpus
from ..fidelity.measures import BANDS, HOP
from ..fidelity.notes import RecordedNote, SingleNote, loudest_db, note_of, sides_of, singles, velocity
from .code_fitting import LONGEST_SECONDS, ONSET_HOP, CodeFitter, Codes, band_middles, residuals_of
from .release_lengths import Release, release_lengths, release_of
from .selection import FEWEST_KEYS, distinct_notes, instrument_of, select_notes, with_attacks
from .trajectory import (
    CODES_AT,
    LEVELS_AT,
    RELEASE_CODES_AT,
    RELEASE_LEVELS_AT,
    STEADY_SECONDS,
    NoteCodes,
    NoteModes,
    NoteTrajectory,
    codes_of,
    measured_trajectory,
    modes_of,
    vibrato_of,
)
from .velocity_levels import velocity_levels

Steps = npt.NDArray[np.int8]

DIRECTIONS = 6  # of codes: those of the largest movement; keeps files small for any number of latents
# Share of notes' codes that key and velocity must predict to select them: near 1 for a flute, three quarters for a
# clarinet, none for many instruments in one folder. Below it, knobs select the code and notes only move it.
PREDICTED_SHARE = 0.4
VELOCITY_STEPS = (6.0, 3.0, 12.0, 24.0, 48.0, 96.0)  # that may equal 1.5 semitones; the first is the default
STRUCK_SHARE = 0.5  # share of notes that are: partials of blown and bowed ones drift
MOST_FREE_SHARE = 0.1  # share of partials' power off harmonics: strings and winds have less, bells more
NORMAL_MEDIAN = 0.6745  # of the absolute value, in standard deviations
MOST_TAKES, MOST_STEPS = 16, 40  # pairs of takes, and their largest difference: 20 dB
FEWEST_JUDGED_NOTES = 12  # minimum number of notes for this decision: fewer may fit by chance
SLOWEST_HZ, FASTEST_HZ = 0.2, 10.0  # of wander: slower is drift, faster is tremor
COARSE_SECONDS, MOST_MOVE_STEPS = 0.1, 12  # `LEVELS_AT` is coarse from here on; steps of 0.5 dB of movement around it
LOWEST_DB = -120.0  # level of silence
LEAST_POWER = 1e-9  # power of a silent decoded frame


def gestures_of(corpus: Corpus, coder: CodeFitter, model: Model) -> Gestures | None:
    """Return the gestures of training notes; None without audible single notes, or if keys choose no note.

    ``corpus`` has the model's sample rate.
    """
    training_notes = with_attacks(singles(corpus, "train"))
    if not training_notes or not model.card.keyed:
        return None
    corpus_peak_db = loudest_db(corpus, training_notes)
    selected_notes = select_notes(corpus, distinct_notes(corpus, training_notes))
    trajectories = [_measured(corpus, single, coder) for single in selected_notes]
    notes = _fit_codes([course for course in trajectories if course is not None], coder)
    if not notes:
        return None
    directions = _directions(notes, model.card)
    code_levels = _Levels(model, directions)
    note_levels: list[RecordedNote] = []
    releases: list[Release] = []
    for single in training_notes:
        note = note_of(corpus, single)
        note_levels.append(replace(note, sound=np.zeros(0, np.float32)))
        if (release := release_of(note, corpus.rate)) is not None:
            releases.append(release)
    instruments = [
        _instrument(label, group, home, corpus_peak_db, code_levels, note_levels, releases)
        for label, group, home in _groups(notes, model.card)
    ]
    return Gestures(
        format=1,
        grid=Grid(
            levels=LEVELS_AT.tolist(),
            codes=CODES_AT.tolist(),
            release_levels=RELEASE_LEVELS_AT.tolist(),
            release_codes=RELEASE_CODES_AT.tolist(),
        ),
        directions=_rounded(directions, 4),
        wander=_wander([note.course for note in notes], directions, coder),
        bands_hz=np.round(band_middles(model.card.sample_rate), 1).tolist() if model.card.partials else [],
        residual_seconds=HOP / model.card.sample_rate,
        onset_seconds=ONSET_HOP / model.card.sample_rate,
        instruments=instruments,
    )


def _measured(corpus: Corpus, single: SingleNote, coder: CodeFitter) -> NoteTrajectory | None:
    """Measure a note; its image too, if the model has one."""
    note = note_of(corpus, single)
    course = measured_trajectory(note, coder)
    if course is None or coder.card.image is None:
        return course
    return course._replace(image=measured_image(sides_of(corpus, note), corpus.rate))


class _Note(NamedTuple):
    course: NoteTrajectory
    codes: NoteCodes


def _fit_codes(courses: Sequence[NoteTrajectory], coder: CodeFitter) -> list[_Note]:
    if not courses:
        return []
    conditions = np.concatenate([np.full(len(course.frames), course.condition) for course in courses])
    codes = coder.fitted(np.concatenate([course.frames for course in courses]), conditions).astype(np.float64)
    frame_ends = np.cumsum([len(course.frames) for course in courses])
    codes_by_note = np.split(codes, frame_ends[:-1])
    return [
        _Note(course, codes_of(course, note_codes)) for course, note_codes in zip(courses, codes_by_note, strict=True)
    ]


def _directions(notes: Sequence[_Note], card: Card) -> Doubles:
    """Return principal directions of codes along notes, [directions, n_latents], of equal length in deviations."""
    offsets = [note.codes.held_offsets for note in notes]
    offsets += [note.codes.release_offsets for note in notes if note.codes.release_offsets is not None]
    scale = in_deviations(card)
    _, _, axes = np.linalg.svd(np.concatenate(offsets) * scale, full_matrices=False)
    deviations = np.array([latent.std for latent in card.latents])
    directions: Doubles = axes[:DIRECTIONS] * deviations
    return directions


def _project(codes: Doubles, directions: Doubles, card: Card) -> Doubles:
    """Return coordinates of codes along directions, [rows, directions]."""
    scale = in_deviations(card)
    coordinates: Doubles = (codes * scale) @ (directions * scale).T
    return coordinates


def _groups(notes: Sequence[_Note], card: Card) -> list[tuple[str, list[_Note], Doubles]]:
    """Return each instrument's name, notes and home code.

    The home is the notes' mean, or for the instrument nearest to it the default code.
    """
    notes_by_instrument: dict[tuple[str, int | None], list[_Note]] = {}
    for note in notes:
        notes_by_instrument.setdefault(instrument_of(note.course.note.single), []).append(note)
    distinct_key_counts = [
        len({note.course.note.single.key for note in group}) for group in notes_by_instrument.values()
    ]
    if len(notes_by_instrument) > 1 and np.median(distinct_key_counts) < FEWEST_KEYS:
        notes_by_instrument = {("", None): list(notes)}
    scale, default_code = in_deviations(card), np.array([latent.default for latent in card.latents])
    home_codes = {
        instrument: np.mean([note.codes.code for note in group], axis=0)
        for instrument, group in notes_by_instrument.items()
    }
    nearest_instrument = min(
        home_codes, key=lambda instrument: float(np.square((home_codes[instrument] - default_code) * scale).sum())
    )
    home_codes[nearest_instrument] = default_code
    return [(instrument[0], group, home_codes[instrument]) for instrument, group in notes_by_instrument.items()]


class _Levels:
    """Levels of decoded codes, to subtract from notes' levels, since codes also change the level."""

    def __init__(self, model: Model, directions: Doubles) -> None:
        self.card, self.directions = model.card, directions
        self._model = model
        self._low, self._high = np.array([[latent.low, latent.high] for latent in model.card.latents]).T

    def residuals(
        self, note: RecordedNote, held_codes: Codes, released_codes: Codes | None, modes: Doubles
    ) -> dict[str, Any]:
        """Return the fields of a note's residuals, modes and vibrato; none for other models than those of partials.

        Notes with modes have no vibrato: their partials beat, each at its own frequency.
        """
        if self.card.partials is None:
            return {}
        modes = np.round(modes, 4)
        residuals = residuals_of(note, held_codes, released_codes, self._model, modes)
        vibrato = np.zeros(0, np.int8) if len(modes) else vibrato_of(note, self.card.sample_rate)
        residual_fields = dict(
            zip(("residual", "release_residual", "onset", "vibrato"), map(packed, (*residuals, vibrato)), strict=True)
        )
        return residual_fields | {"modes": modes.tolist()}

    def loudness(self, course: NoteTrajectory, levels: Doubles, held_codes: Codes, home: Doubles) -> dict[str, Any]:
        """Return the field of a held note's loudness: its movement that levels and codes leave, in steps."""
        if self.card.partials is None:
            return {}
        hop_seconds = HOP / self.card.sample_rate
        moment_count = min(round(min(course.note.held_seconds, LONGEST_SECONDS) / hop_seconds), MOST_POINTS)
        moment_seconds = np.arange(moment_count, dtype=np.float64) * hop_seconds
        recorded_levels = np.interp(moment_seconds, MOMENT_SECONDS * np.arange(len(course.course)), course.course)
        decoded_levels = self.frame_levels(
            np.concatenate([held_codes(moment_seconds), home[np.newaxis]]), course.note.single.key
        )
        moves_db = (
            recorded_levels - np.interp(moment_seconds, LEVELS_AT, levels) - (decoded_levels[:-1] - decoded_levels[-1])
        )
        moves_db[moment_seconds < COARSE_SECONDS] = 0.0
        move_steps = np.clip(np.round(moves_db / RESIDUAL_DB), -MOST_MOVE_STEPS, MOST_MOVE_STEPS).astype(np.int8)
        return {"loudness": packed(move_steps if move_steps.any() else move_steps[:0])}

    def code_curve(self, code: Doubles, grid_seconds: Doubles, coordinates: Doubles) -> Codes:
        """Return codes by time, within knobs' spans: a note's ``code`` moved along directions.

        ``coordinates``, [times, directions], are interpolated on a grid.
        """
        offsets = coordinates @ self.directions
        return lambda moments: np.clip(
            code + np.stack([np.interp(moments, grid_seconds, column) for column in offsets.T], axis=1),
            self._low,
            self._high,
        )

    def frame_levels(self, codes: Doubles, key: int) -> Doubles:
        """Return levels of a key's frames in dB, [points]."""
        clipped_codes = np.clip(codes, self._low, self._high).astype(np.float32)
        conditions = np.full(len(clipped_codes), key if self.card.chroma is None else key % PITCH_CLASSES, np.intp)
        frames = spectra(self.card, self._model.decode(clipped_codes, conditions), conditions)
        levels: Doubles = 10 * np.log10(np.maximum(np.square(frames, dtype=np.float64).sum(1), LEAST_POWER))
        return levels


def _instrument(
    label: str,
    notes: Sequence[_Note],
    home: Doubles,
    corpus_peak_db: float,
    code_levels: _Levels,
    note_levels: Sequence[RecordedNote],
    releases: Sequence[Release],
) -> InstrumentNotes:
    """Build an instrument's notes around its home code.

    ``note_levels``: all training notes, also those that are not selected, without their sounds; ``releases``: theirs.
    """
    sources = {instrument_of(note.course.note.single) for note in notes}
    velocities = [velocity(note.course.note, corpus_peak_db) for note in notes]
    keys = [note.course.note.single.in_tune for note in notes]
    keys_and_velocities = np.array(list(zip(keys, velocities, strict=True)))
    scale = in_deviations(code_levels.card)
    scaled_codes = np.array([note.codes.code for note in notes]) * scale
    key_velocity_steps = velocity_steps(keys_and_velocities, scaled_codes)
    if neighbour_prediction(keys_and_velocities, scaled_codes, key_velocity_steps) < PREDICTED_SHARE:
        notes = [_Note(note.course, note.codes._replace(code=home)) for note in notes]
    modes_by_note = [modes_of(note.course.note, code_levels.card) for note in notes]
    if np.mean([note_modes.struck for note_modes in modes_by_note]) < STRUCK_SHARE:
        modes_by_note = [NoteModes() for _ in notes]
    else:
        notes = [_Note(_fading(note.course), note.codes) for note in notes]
    note_ways = [
        _note_way(note, home, note_velocity, code_levels, note_modes.modes)
        for note, note_velocity, note_modes in zip(notes, velocities, modes_by_note, strict=True)
    ]
    takes = take_differences(note_ways, [note.course.note.level_db for note in notes])
    return InstrumentNotes(
        label=label,
        home=_rounded(home, 4),
        velocity_steps=key_velocity_steps,
        takes=packed(takes),
        transposed=bool(np.median([note_modes.free for note_modes in modes_by_note]) > MOST_FREE_SHARE),
        velocity_levels=velocity_levels([note for note in note_levels if instrument_of(note.single) in sources]),
        release_lengths=release_lengths([release for release in releases if instrument_of(release.single) in sources]),
        notes=note_ways,
    )


def _fading(course: NoteTrajectory) -> NoteTrajectory:
    """Return a trajectory whose levels go on fading, as a struck note's do."""
    levels, fall = course.fading
    return course._replace(levels=levels, fall=fall)


def take_differences(notes: Sequence[NoteWay], note_levels_db: Sequence[float]) -> Steps:
    """Return `InstrumentNotes.takes`: differences of successive notes of one key and velocity."""
    takes_by_key: dict[tuple[int, int], list[Doubles]] = {}
    for note, level_db in zip(notes, note_levels_db, strict=True):
        if len(note.residual):
            take_row = np.concatenate([[level_db / RESIDUAL_DB], note.residual[:BANDS]])
            takes_by_key.setdefault((round(note.key - (note.tuning or 0.0)), note.velocity), []).append(take_row)
    differences = [
        next_row - earlier_row
        for take_rows in takes_by_key.values()
        for earlier_row, next_row in itertools.pairwise(take_rows)
    ]
    # Rounded up, the stride leaves at most `MOST_TAKES`.
    selected_differences = (
        np.array(differences[:: -(-len(differences) // MOST_TAKES)]) if differences else np.zeros((0, 1 + BANDS))
    )
    if differences:  # a few takes are much louder: a normal distribution of the same median
        level_differences = np.abs(selected_differences[:, 0])
        selected_differences[:, 0] *= (
            np.median(level_differences)
            / NORMAL_MEDIAN
            / max(float(np.sqrt(np.square(level_differences).mean())), 1e-9)
        )
    steps: Steps = np.clip(np.round(selected_differences), -MOST_STEPS, MOST_STEPS).astype(np.int8)
    return steps


def velocity_steps(places: Doubles, codes: Doubles) -> float:
    """Return the velocity steps that equal 1.5 semitones, by predictions from notes of other keys.

    Args:
        places: keys and velocities, [notes, 2].
        codes: in deviations, [notes, n_latents].
    """
    keys = np.floor(places[:, 0] + 0.5)
    if len(places) < FEWEST_JUDGED_NOTES or len(set(keys.tolist())) < 2:
        return VELOCITY_STEPS[0]
    other_keys = keys[:, np.newaxis] != keys
    error_by_steps = {}
    for steps in VELOCITY_STEPS:
        neighbour_indices, weights = nearest(np.where(other_keys, _squared_distances(places, steps), np.inf))
        error_by_steps[steps] = float(
            np.square(np.einsum("ij,ijk->ik", weights, codes[neighbour_indices]) - codes).sum(1).mean()
        )
    return min(error_by_steps, key=error_by_steps.__getitem__)


def _squared_distances(places: Doubles, steps: float) -> Doubles:
    offsets = (places[:, np.newaxis] - places) / (KEY_SEMITONES, steps)
    squares: Doubles = np.square(offsets).sum(2)
    return squares


def neighbour_prediction(places: Doubles, codes: Doubles, steps: float) -> float:
    """Return the least-squares factor from neighbours' blends to notes' codes, 0 to 1.

    It is near 0 where notes of several instruments are mixed.
    Arguments are as in `velocity_steps`, which returns ``steps``.
    """
    if len(places) < FEWEST_JUDGED_NOTES:
        return 1.0
    code_offsets = codes - codes.mean(0)
    distances = _squared_distances(places, steps)
    np.fill_diagonal(distances, np.inf)
    neighbour_indices, weights = nearest(distances)
    blended_offsets = np.einsum("ij,ijk->ik", weights, code_offsets[neighbour_indices])
    return float(
        np.clip((blended_offsets * code_offsets).sum() / max(np.square(blended_offsets).sum(), 1e-12), 0.0, 1.0)
    )


def _note_way(note: _Note, home: Doubles, note_velocity: int, code_levels: _Levels, modes: Doubles) -> NoteWay:
    """Build a note of an instrument; its levels are those that codes do not give already."""
    (course, note_codes), directions = note, code_levels.directions
    held_coordinates = _project(note_codes.held_offsets, directions, code_levels.card)
    held_codes = code_levels.code_curve(note_codes.code, CODES_AT, held_coordinates)
    decoded_levels = code_levels.frame_levels(
        np.concatenate([held_codes(LEVELS_AT), home[np.newaxis]]), course.note.single.key
    )
    release_fields: dict[str, Any] = {}
    released_codes = None
    if course.release_levels is not None and note_codes.release_offsets is not None:
        release_coordinates = _project(note_codes.release_offsets, directions, code_levels.card)
        if code_levels.card.partials is not None:  # codes come late after a note-off; the residual does not
            last_coordinates = [np.interp(course.note.held_seconds, CODES_AT, column) for column in held_coordinates.T]
            release_coordinates = np.tile(last_coordinates, (len(release_coordinates), 1))
        released_codes = code_levels.code_curve(note_codes.code, RELEASE_CODES_AT, release_coordinates)
        decoded_release_levels = code_levels.frame_levels(released_codes(RELEASE_LEVELS_AT), course.note.single.key)
        levels = np.clip(course.release_levels - (decoded_release_levels - decoded_release_levels[0]), LOWEST_DB, 0.0)
        release_fields = {"release_levels": _rounded(levels, 1), "release_codes": _rounded(release_coordinates, 3)}
    levels = np.maximum(course.levels - (decoded_levels[:-1] - decoded_levels[-1]), LOWEST_DB)
    return NoteWay(
        key=round(course.note.single.pitch, 2),
        tuning=round(course.note.single.tuning, 2),
        velocity=note_velocity,
        held_seconds=round(course.note.held_seconds, 3),
        code=_rounded(note_codes.code, 4),
        levels=_rounded(levels, 1),
        codes=_rounded(held_coordinates, 3),
        fall_db_second=round(course.fall, 1),
        **release_fields,
        **code_levels.residuals(course.note, held_codes, released_codes, modes),
        **code_levels.loudness(course, levels, held_codes, home),
        **({} if course.image is None else {"image": packed(image_steps(course.image))}),
    )


def _wander(courses: Sequence[NoteTrajectory], directions: Doubles, coder: CodeFitter) -> Wander:
    """Return medians over notes of how far and how fast levels and codes move while steady."""
    level_moves, code_moves = [], []
    for course in courses:
        if len(course.steady_levels) * MOMENT_SECONDS < STEADY_SECONDS:
            continue
        level_moves.append(_deviation_and_rate(course.steady_levels[:, np.newaxis], MOMENT_SECONDS))
        if len(course.steady_frames) > 2:
            conditions = np.full(len(course.steady_frames), course.condition)
            steady_codes = coder.encoded(course.steady_frames, conditions).astype(np.float64)
            code_moves.append(_deviation_and_rate(_project(steady_codes, directions, coder.card), course.frame_seconds))
    no_moves = np.stack([np.zeros(len(directions)), np.full(len(directions), 1.0)])
    median_level_move = np.median(level_moves, axis=0)[:, 0] if level_moves else np.array([0.0, 1.0])
    median_code_moves = np.median(code_moves, axis=0) if code_moves else no_moves
    return Wander(
        level_db=round(float(median_level_move[0]), 2),
        level_hz=round(float(median_level_move[1]), 2),
        codes=_rounded(median_code_moves[0], 4),
        codes_hz=_rounded(median_code_moves[1], 2),
    )


def _deviation_and_rate(series: Doubles, step_seconds: float) -> Doubles:
    """Return the deviation of each column from a straight line, and its speed in Hz, [2, columns].

    A sum of sines of deviation s, whose slope has deviation d, has a mean square frequency of (d / 2 pi s)^2.
    """
    centred_steps = np.arange(len(series)) - (len(series) - 1) / 2
    slope = centred_steps @ series / np.square(centred_steps).sum()
    residual = series - series.mean(0) - np.outer(centred_steps, slope)
    deviation = residual.std(0)
    slope_deviation = np.gradient(residual, step_seconds, axis=0).std(0)
    rate_hz = slope_deviation / (2 * np.pi * np.maximum(deviation, 1e-9))
    return np.stack([deviation, np.clip(rate_hz, SLOWEST_HZ, FASTEST_HZ)])


def _rounded(values: Doubles, digits: int) -> Any:
    return np.round(values, digits).tolist()
