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
    tracks, scale = [follow(s, model, _part(progress, i)) for i, s in enumerate((first, second))], in_deviations(card)
    ends = [track.codes[medoid(track.codes * scale)] for track in tracks]
    note = key if key is not None else _note_of(first) if card.keyed else MIDDLE_C
    codes = np.stack(ends)
    if way == "dense":
        nodes = np.concatenate([codes[:1], landmark_codes(card), codes[1:]])
        codes = nodes[dense_way(nodes * scale)]
    preset = _preset(model, codes, scale, way, seconds, tracks[0].label)
    patch = Patch(output.stem, preset, model, output.parent)
    render(
        {0: patch},
        _held_note(note, seconds),
        output,
        sample_rate=RATE,
        overwrite=overwrite,
        progress=_part(progress, 2),
    )
    path_codes = _played_path(preset, card, seconds)
    if picture is not None:
        names = [(sound.stem, track.codes) for sound, track in zip((first, second), tracks, strict=True)]
        draw_way(picture, card, names, path_codes, f"{way}, {seconds:g} s, in {card.name}", overwrite)
    text = f"{output}: {seconds:g} s on {note_name(note)}, {_path_summary(path_codes, card)}"
    via = f", by way of {len(codes) - 2} training codes" if way == "dense" else ""
    return Morphed(text + via, tuple(_warnings(zip((first, second), ends, strict=True), card)))


def _check(card: Card, path_kind: str, output: Path, picture: Path | None, overwrite: bool) -> None:
    check_output(output, overwrite)
    if picture is not None:
        check_picture(picture)
        check_output(picture, overwrite)
    if path_kind == "dense" and not card.landmarks:
        raise UserError(
            f"--way dense goes through training codes, and the card of model {card.name!r} holds none; choose linear "
            "or spherical, or export the model again"
        )


def _held_note(note: int, seconds: float) -> Performance:
    length = round(seconds * RATE)
    events: list[Event] = [NoteOn(0, 0, note, VELOCITY), NoteOff(length, 0, note)]
    return Performance(events=events, length=length, channels=[0], warnings=[])


def _warnings(ends: Iterable[tuple[Path, Doubles]], card: Card) -> Iterator[str]:
    for sound, end in ends:
        if names := latents_outside(end, card):
            location = f"its code lies outside the span of {names}, where playing keeps it"
            yield f"{sound} is unlike the training sounds: {location}"


def dense_way(codes: Doubles) -> list[int]:
    """Path through dense regions from the first code to the last, as indices of [codes, n] in deviations.

    Minimises the sum of squared steps, and so avoids gaps (Dijkstra, A note on two problems in connexion with graphs,
    1959, on the complete graph). Needs at least two codes.
    """
    count = len(codes)
    costs, predecessors = np.full(count, np.inf), np.zeros(count, np.intp)
    costs[0] = 0.0
    open_ends = np.ones(count, bool)
    while open_ends[-1]:
        nearest = int(np.where(open_ends, costs, np.inf).argmin())
        open_ends[nearest] = False
        candidate_costs = costs[nearest] + np.square(codes - codes[nearest]).sum(axis=1)
        shorter = open_ends & (candidate_costs < costs)
        costs[shorter], predecessors[shorter] = candidate_costs[shorter], nearest
    route = [count - 1]
    while route[-1] != 0:
        route.append(int(predecessors[route[-1]]))
    return route[::-1]


def _preset(model: Model, codes: Doubles, scale: Doubles, path_kind: str, seconds: float, label: str | None) -> Preset:
    """Latents follow codes at constant speed in deviations."""
    steps = np.sqrt(np.square(np.diff(codes, axis=0) * scale).sum(axis=1))
    vertices = [0, *(np.flatnonzero(steps[:-1] > 0) + 1).tolist(), len(codes) - 1]  # repeated codes add no step
    travelled = np.cumsum(np.concatenate([[0.0], steps]))[vertices]
    fractions = travelled / travelled[-1] if travelled[-1] > 0 else np.linspace(0.0, 1.0, len(vertices))
    times = seconds * (REST_SHARE + (1 - 2 * REST_SHARE) * fractions)
    path = MotionSettings(
        path=codes[vertices].tolist(), times=times.tolist(), legs="spherical" if path_kind == "spherical" else "linear"
    )
    preset = Preset(format=1, model=str(model.path), latent=LatentSettings(values=codes[0].tolist()), motion=[path])
    return preset.model_copy(update=dict(kind_of(model.card).tables(label, sustained=True)))


def _note_of(sound: Path) -> int:
    with sound_reader(sound) as reader:
        blocks: list[npt.NDArray[np.float32]] = []
        for block in mono(reader, reader.sample_rate):
            blocks.append(block)
            if sum(map(len, blocks)) >= LISTENED_SECONDS * reader.sample_rate:
                break
        return round(sounding_note(np.concatenate(blocks), reader.sample_rate))


def _played_path(preset: Preset, card: Card, seconds: float) -> Doubles:
    latents = Latents(preset.latent_values(card), card, preset.motion)
    times = np.linspace(0, seconds * card.sample_rate, POINTS).astype(np.int64)
    return latents.at(times).astype(np.float64)


def _path_summary(path_codes: Doubles, card: Card) -> str:
    scale = in_deviations(card)
    length = np.sqrt(np.square(np.diff(path_codes, axis=0) * scale).sum(axis=1)).sum()
    text = f"a way of {length:.2f} deviations"
    if card.landmarks:
        deviations = distances(path_codes * scale, landmark_codes(card) * scale)
        text += f", on average {deviations.mean():.2f} from a training code"
    return text


def _part(progress: Callable[[float], None] | None, number: int) -> Callable[[float], None] | None:
    return None if progress is None else lambda fraction: progress((number + fraction) / 3)
