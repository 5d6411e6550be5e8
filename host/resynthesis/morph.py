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
from .codes import distances, follow, landmark_codes, outside
from .picture import check_picture, draw_way

RATE = 44_100  # Hz, of the output
VELOCITY = 100
AT_ENDS = 0.1  # of the time: the codes rest so long at each end
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
        met = np.concatenate([codes[:1], landmark_codes(card), codes[1:]])
        codes = met[dense_way(met * scale)]
    preset = _preset(model, codes, scale, way, seconds, tracks[0].label)
    patch = Patch(output.stem, preset, model, output.parent)
    render({0: patch}, _held(note, seconds), output, sample_rate=RATE, overwrite=overwrite, progress=_part(progress, 2))
    drawn = _played(preset, card, seconds)
    if picture is not None:
        names = [(sound.stem, track.codes) for sound, track in zip((first, second), tracks, strict=True)]
        draw_way(picture, card, names, drawn, f"{way}, {seconds:g} s, in {card.name}", overwrite)
    text = f"{output}: {seconds:g} s on {note_name(note)}, {_about(drawn, card)}"
    by = f", by way of {len(codes) - 2} training codes" if way == "dense" else ""
    return Morphed(text + by, tuple(_warnings(zip((first, second), ends, strict=True), card)))


def _check(card: Card, way: str, output: Path, picture: Path | None, overwrite: bool) -> None:
    check_output(output, overwrite)
    if picture is not None:
        check_picture(picture)
        check_output(picture, overwrite)
    if way == "dense" and not card.landmarks:
        raise UserError(
            f"--way dense goes through training codes, and the card of model {card.name!r} holds none; choose linear "
            "or spherical, or export the model again"
        )


def _held(note: int, seconds: float) -> Performance:
    length = round(seconds * RATE)
    events: list[Event] = [NoteOn(0, 0, note, VELOCITY), NoteOff(length, 0, note)]
    return Performance(events=events, length=length, channels=[0], warnings=[])


def _warnings(ends: Iterable[tuple[Path, Doubles]], card: Card) -> Iterator[str]:
    for sound, end in ends:
        if names := outside(end, card):
            where = f"its code lies outside the span of {names}, where playing keeps it"
            yield f"{sound} is unlike the training sounds: {where}"


def dense_way(codes: Doubles) -> list[int]:
    """Path through dense regions from the first code to the last, as indices of [codes, n] in deviations.

    Minimises the sum of squared steps, and so avoids gaps (Dijkstra, A note on two problems in connexion with graphs,
    1959, on the complete graph). Needs at least two codes.
    """
    count = len(codes)
    costs, before = np.full(count, np.inf), np.zeros(count, np.intp)
    costs[0] = 0.0
    open_ends = np.ones(count, bool)
    while open_ends[-1]:
        nearest = int(np.where(open_ends, costs, np.inf).argmin())
        open_ends[nearest] = False
        through = costs[nearest] + np.square(codes - codes[nearest]).sum(axis=1)
        shorter = open_ends & (through < costs)
        costs[shorter], before[shorter] = through[shorter], nearest
    way = [count - 1]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    return way[::-1]


def _preset(model: Model, codes: Doubles, scale: Doubles, way: str, seconds: float, label: str | None) -> Preset:
    """Latents follow codes at constant speed in deviations."""
    steps = np.sqrt(np.square(np.diff(codes, axis=0) * scale).sum(axis=1))
    kept = [0, *(np.flatnonzero(steps[:-1] > 0) + 1).tolist(), len(codes) - 1]  # repeated codes add no step
    going = np.cumsum(np.concatenate([[0.0], steps]))[kept]
    parts = going / going[-1] if going[-1] > 0 else np.linspace(0.0, 1.0, len(kept))
    times = seconds * (AT_ENDS + (1 - 2 * AT_ENDS) * parts)
    path = MotionSettings(
        path=codes[kept].tolist(), times=times.tolist(), legs="spherical" if way == "spherical" else "linear"
    )
    preset = Preset(format=1, model=str(model.path), latent=LatentSettings(values=codes[0].tolist()), motion=[path])
    return preset.model_copy(update=dict(kind_of(model.card).tables(label, held=True)))


def _note_of(sound: Path) -> int:
    with sound_reader(sound) as reader:
        heard: list[npt.NDArray[np.float32]] = []
        for block in mono(reader, reader.sample_rate):
            heard.append(block)
            if sum(map(len, heard)) >= LISTENED_SECONDS * reader.sample_rate:
                break
        return round(sounding_note(np.concatenate(heard), reader.sample_rate))


def _played(preset: Preset, card: Card, seconds: float) -> Doubles:
    latents = Latents(preset.latent_values(card), card, preset.motion)
    times = np.linspace(0, seconds * card.sample_rate, POINTS).astype(np.int64)
    return latents.at(times).astype(np.float64)


def _about(way: Doubles, card: Card) -> str:
    scale = in_deviations(card)
    length = np.sqrt(np.square(np.diff(way, axis=0) * scale).sum(axis=1)).sum()
    text = f"a way of {length:.2f} deviations"
    if card.landmarks:
        away = distances(way * scale, landmark_codes(card) * scale)
        text += f", on average {away.mean():.2f} from a training code"
    return text


def _part(progress: Callable[[float], None] | None, number: int) -> Callable[[float], None] | None:
    return None if progress is None else lambda done: progress((number + done) / 3)
