"""Morphs between two sounds: renders a note along a path between their codes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..arrays import Doubles
from ..audio.sound_files import mono, sound_reader
from ..errors import UserError
from ..events import Event, NoteOff, NoteOn
from ..files import check_output
from ..kinds.table import kind_of
from ..midi.files import Performance
from ..model.card import Card, in_deviations
from ..model.model import Model
from ..play.motions import Latents
from ..play.render import render
from ..preset.library import Patch
from ..preset.motions import MotionSettings
from ..preset.preset import LatentSettings, Preset
from ..signal import medoid, sounding_note
from ..units import MIDDLE_C, note_name
from .codes import distances, follow, landmark_codes, latents_outside
from .picture import check_picture, draw_way

RATE = 44_100  # Hz, of the output
VELOCITY = 100
REST_SHARE = 0.1  # of the time: the codes rest so long at each end
LISTENED_SECONDS = 10.0  # of a sound, to detect its note
POINTS = 200  # of the path, for the picture and its length


@dataclass(frozen=True)
class Morphed:
    summary: str
    warnings: tuple[str, ...]


def morph(
    first: Path,
    second: Path,
    model: Model,
    output: Path,
    *,
    way: str = "linear",
    seconds: float = 8.0,
    key: int | None = None,
    picture: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Morphed:
    """Render a note that moves from one sound's medoid code to another's, with the first one's label.

    Args:
        first, second: any format, rate and channels, mixed to mono.
        output: ``.wav``, ``.flac`` or ``.ogg``.
        way: ``linear``, ``spherical`` as in a preset's [morph], or ``dense``, through training codes.
        seconds: of the note; codes rest for its first and last tenth.
        key: default: the first sound's note where keys choose the model's note, else middle C.
        picture: a ``.png`` of the path among the training codes.
        progress: receives 0 to 1.

    Raises:
        UserError: as `follow`; the model has no training codes for ``dense``, or cannot be played; an output exists or
            cannot be written.
        Failure: a code is not finite, or an output cannot be written.
    """
    card = model.card
    _check(card, way, output, picture, overwrite)
    tracks, latent_scales = (
        [follow(sound, model, _part(progress, part_index)) for part_index, sound in enumerate((first, second))],
        in_deviations(card),
    )
    end_codes = [track.codes[medoid(track.codes * latent_scales)] for track in tracks]
    midi_note = key if key is not None else _note_of(first) if card.keyed else MIDDLE_C
    corner_codes = np.stack(end_codes)
    if way == "dense":
        candidate_codes = np.concatenate([corner_codes[:1], landmark_codes(card), corner_codes[1:]])
        corner_codes = candidate_codes[dense_way(candidate_codes * latent_scales)]
    preset = _preset(model, corner_codes, latent_scales, way, seconds, tracks[0].label)
    patch = Patch(output.stem, preset, model, output.parent)
    render(
        {0: patch},
        _held_note(midi_note, seconds),
        output,
        sample_rate=RATE,
        overwrite=overwrite,
        progress=_part(progress, 2),
    )
    path_codes = _played_path(preset, card, seconds)
    if picture is not None:
        named_codes = [(sound.stem, track.codes) for sound, track in zip((first, second), tracks, strict=True)]
        draw_way(picture, card, named_codes, path_codes, f"{way}, {seconds:g} s, in {card.name}", overwrite)
    summary = f"{output}: {seconds:g} s on {note_name(midi_note)}, {_path_summary(path_codes, card)}"
    via_text = f", by way of {len(corner_codes) - 2} training codes" if way == "dense" else ""
    return Morphed(summary + via_text, tuple(_warnings(zip((first, second), end_codes, strict=True), card)))


def _check(card: Card, path_kind: str, output: Path, picture: Path | None, overwrite: bool) -> None:
    """Check way and outputs before any work is done."""
    check_output(output, overwrite)
    if picture is not None:
        check_picture(picture)
        check_output(picture, overwrite)
    if path_kind == "dense" and not card.landmarks:
        raise UserError(
            f"--way dense goes through training codes, and the card of model {card.name!r} holds none; choose linear "
            "or spherical, or export the model again"
        )


def _held_note(midi_note: int, seconds: float) -> Performance:
    """A performance of one note."""
    sample_count = round(seconds * RATE)
    events: list[Event] = [NoteOn(0, 0, midi_note, VELOCITY), NoteOff(sample_count, 0, midi_note)]
    return Performance(events=events, length=sample_count, channels=[0], warnings=[])


def _warnings(sound_ends: Iterable[tuple[Path, Doubles]], card: Card) -> Iterator[str]:
    """Warn of sounds whose codes lie outside the latents' spans."""
    for sound, end_code in sound_ends:
        if latent_names := latents_outside(end_code, card):
            location = f"its code lies outside the span of {latent_names}, where playing keeps it"
            yield f"{sound} is unlike the training sounds: {location}"


def dense_way(codes: Doubles) -> list[int]:
    """Path through dense regions from the first code to the last, as indices of [codes, n] in deviations.

    Minimises the sum of squared steps, and so avoids gaps (Dijkstra, A note on two problems in connexion with graphs,
    1959, on the complete graph). Needs at least two codes.
    """
    code_count = len(codes)
    path_costs, predecessor_indices = np.full(code_count, np.inf), np.zeros(code_count, np.intp)
    path_costs[0] = 0.0
    is_unvisited = np.ones(code_count, bool)
    while is_unvisited[-1]:
        nearest_index = int(np.where(is_unvisited, path_costs, np.inf).argmin())
        is_unvisited[nearest_index] = False
        candidate_costs = path_costs[nearest_index] + np.square(codes - codes[nearest_index]).sum(axis=1)
        is_shorter = is_unvisited & (candidate_costs < path_costs)
        path_costs[is_shorter], predecessor_indices[is_shorter] = candidate_costs[is_shorter], nearest_index
    reversed_route = [code_count - 1]
    while reversed_route[-1] != 0:
        reversed_route.append(int(predecessor_indices[reversed_route[-1]]))
    return reversed_route[::-1]


def _preset(
    model: Model, codes: Doubles, latent_scales: Doubles, path_kind: str, seconds: float, label: str | None
) -> Preset:
    """Latents follow codes at constant speed in deviations."""
    step_lengths = np.sqrt(np.square(np.diff(codes, axis=0) * latent_scales).sum(axis=1))
    # Repeated codes add no step.
    vertex_indices = [
        0,
        *(np.flatnonzero(step_lengths[:-1] > 0) + 1).tolist(),
        len(codes) - 1,
    ]
    travelled_lengths = np.cumsum(np.concatenate([[0.0], step_lengths]))[vertex_indices]
    time_fractions = (
        travelled_lengths / travelled_lengths[-1]
        if travelled_lengths[-1] > 0
        else np.linspace(0.0, 1.0, len(vertex_indices))
    )
    vertex_seconds = seconds * (REST_SHARE + (1 - 2 * REST_SHARE) * time_fractions)
    motion_settings = MotionSettings(
        path=codes[vertex_indices].tolist(),
        times=vertex_seconds.tolist(),
        legs="spherical" if path_kind == "spherical" else "linear",
    )
    preset = Preset(
        format=1, model=str(model.path), latent=LatentSettings(values=codes[0].tolist()), motion=[motion_settings]
    )
    return preset.model_copy(update=dict(kind_of(model.card).tables(label, sustained=True)))


def _note_of(sound: Path) -> int:
    """MIDI note that a sound's first seconds sound."""
    with sound_reader(sound) as reader:
        blocks: list[npt.NDArray[np.float32]] = []
        for block in mono(reader, reader.sample_rate):
            blocks.append(block)
            if sum(map(len, blocks)) >= LISTENED_SECONDS * reader.sample_rate:
                break
        return round(sounding_note(np.concatenate(blocks), reader.sample_rate))


def _played_path(preset: Preset, card: Card, seconds: float) -> Doubles:
    """Codes of the path as played, evenly spaced in time, [points, n_latents]."""
    latents = Latents(preset.latent_values(card), card, preset.motion)
    sample_times = np.linspace(0, seconds * card.sample_rate, POINTS).astype(np.int64)
    return latents.codes_at(sample_times).astype(np.float64)


def _path_summary(path_codes: Doubles, card: Card) -> str:
    latent_scales = in_deviations(card)
    path_length = np.sqrt(np.square(np.diff(path_codes, axis=0) * latent_scales).sum(axis=1)).sum()
    summary = f"a way of {path_length:.2f} deviations"
    if card.landmarks:
        training_distances = distances(path_codes * latent_scales, landmark_codes(card) * latent_scales)
        summary += f", on average {training_distances.mean():.2f} from a training code"
    return summary


def _part(progress: Callable[[float], None] | None, part_index: int) -> Callable[[float], None] | None:
    """Progress of one of three equal parts of the work."""
    return None if progress is None else lambda fraction: progress((part_index + fraction) / 3)
