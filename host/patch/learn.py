"""`timbrel learn`: the knob that is moved is bound to the target that is named, in the preset file."""

import contextlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Array

from ..audio.effects import EffectChain
from ..controls import RESERVED_CC
from ..errors import Failure, UserError, nearest
from ..events import ControlChange, Event
from ..files import check_output, replacing
from ..settings import Range
from ..shelf import preset_file, shipped_models, shipped_presets
from .agreement import ANY_RATE, check, named, ranges, titled
from .library import Patch, open_patch
from .preset import MORPH, NO_MORPH
from .reading import Statement, read_preset, statements

Moment = tuple[float, Event | None]  # seconds, and what came in then; None where only time went on

REST_SECONDS = 0.7  # without a move: the hand has found its knob
TOGETHER_SECONDS = 0.25  # between the ends of two moves that belong to one grip
LEAST_TRAVEL = 8  # of 127: a brushed knob moves less
FLICKER = 1  # what a worn knob at rest goes back and forth by
OF_A_KNOB = ("number", "bits", "nrpn", "channel")  # what a map says of the knob itself
MEANINGS = {
    0: "bank select",
    6: "data entry",
    32: "bank select, fine",
    38: "data entry, fine",
    64: "the sustain pedal",
    96: "data increment",
    97: "data decrement",
    98: "the number of an NRPN, fine",
    99: "the number of an NRPN",
    100: "the number of an RPN, fine",
    101: "the number of an RPN",
    120: "all sound off",
    121: "reset all controllers",
    122: "local control",
    123: "all notes off",
    124: "omni mode off",
    125: "omni mode on",
    126: "mono mode",
    127: "poly mode",
}
CC_HEADER = re.compile(r"""\s*\[\[\s*(cc|"cc"|'cc')\s*\]\]\s*(#.*)?""")


def learn(
    preset: str, target: str | None, moments: Iterable[Moment], say: Callable[[str], None], folder: Path = Path()
) -> list[str]:
    """Bind moved knobs to one target, or to all latents in turn, and write each binding as soon as it is found.

    What ships is left as it is: a copy, NAME.toml in ``folder``, is written instead. A target that has a knob already
    gets the new one in its place and keeps its range and curve; else it spans the target's whole range. Comments and
    layout stay. In turn, no knob is taken for two latents.

    Args:
        preset: a preset or a model, as in `open_patch`.
        target: ``latent.N``, ``macro.N``, ``morph``, a play control or ``effects.N.parameter``; None for ``latent.0``,
            ``latent.1`` and so on.
        moments: what comes in, in order of time, and a moment without an event every tenth of a second or so, by which
            a rest is noticed. Not asked for before all else has been checked.
        say: told what to do and what was done, a line at a time.

    Returns:
        What was bound, one line each: fewer than were asked for, if the moments ended first or Ctrl-C was pressed.

    Raises:
        UserError: the preset or the target cannot be used, or the copy would replace a file.
        Failure: the file cannot be written.
    """
    patch = open_patch(preset)
    ranges = _ranges(patch)
    if target == MORPH and target not in ranges:
        raise UserError(f"target {target!r}: {NO_MORPH}")
    if target is not None and target not in ranges:
        raise UserError(f"target {target!r} does not exist{nearest(target, ranges)}")
    file = _open(preset, patch, folder)
    wanted = [f"latent.{index}" for index in range(len(patch.model.card.latents))] if target is None else [target]
    incoming = iter(moments)
    learned: list[str] = []
    taken: dict[int, str] = {}
    with contextlib.suppress(KeyboardInterrupt):  # wherever it strikes: each binding is written whole, or not
        for place, name in enumerate(wanted):
            title = titled(name, patch.preset, patch.model.card)
            say(f"{title}: move the knob for it")
            number = _moved(incoming, taken, say)
            if number is None:
                break
            others = [other for other in file.bind(number, name, ranges[name]) if other not in wanted[place:]]
            taken[number] = name
            learned.append(f"CC {number} moves {title}")
            say(f"{learned[-1]}{''.join(f', and {other} as before' for other in others)} ({file.path})")
    return learned


def _ranges(patch: Patch) -> dict[str, Range]:
    """Return what a knob can move, and how far."""
    card, effects = patch.model.card, EffectChain(patch.preset.effects, ANY_RATE, patch.folder).targets()
    check(patch.preset, card, effects)
    return {target: span for target, span in ranges(patch.preset, card).items() if span is not None} | effects


@dataclass
class _Turn:
    """A controller's move: how far, and when last; ``stands`` is its value but for flicker."""

    low: int
    high: int
    stands: int
    seconds: float

    @property
    def travel(self) -> int:
        return self.high - self.low

    def move(self, value: int, seconds: float) -> None:
        self.low, self.high = min(self.low, value), max(self.high, value)
        if abs(value - self.stands) > FLICKER:
            self.stands, self.seconds = value, seconds


def _moved(moments: Iterator[Moment], taken: Mapping[int, str], say: Callable[[str], None]) -> int | None:
    """Return the controller that was moved last and has rested since; None if the moments end before any was."""
    turns: dict[int, _Turn] = {}  # in the order of their last events
    for seconds, event in moments:
        if _rested(turns, seconds):
            number = _choose(turns, taken, say)
            if number is not None:
                return number
            turns.clear()
        if isinstance(event, ControlChange):
            turn = turns.pop(event.number, None) or _Turn(event.value, event.value, event.value, seconds)
            turn.move(event.value, seconds)
            turns[event.number] = turn
    return _choose(turns, taken, say)


def _rested(turns: Mapping[int, _Turn], now: float) -> bool:
    moves = [turn.seconds for turn in turns.values() if turn.travel >= LEAST_TRAVEL]
    return bool(moves) and now - max(moves) >= REST_SECONDS


def _choose(turns: Mapping[int, _Turn], taken: Mapping[int, str], say: Callable[[str], None]) -> int | None:
    """Choose the one that was moved farthest of those moved together at the end, or the last of these."""
    wide = {number: turn for number, turn in turns.items() if turn.travel >= LEAST_TRAVEL}
    end = max((turn.seconds for turn in wide.values()), default=0.0)
    together = {number: turn for number, turn in wide.items() if end - turn.seconds <= TOGETHER_SECONDS}
    coarse = [number for number in together if number - 32 not in together or number >= 64]  # not half of a 14-bit knob
    free = [number for number in coarse if number not in RESERVED_CC and number not in taken]
    ranked = sorted(free or coarse, key=lambda number: together[number].travel)  # stable: of equals the last stays last
    if free:
        return ranked[-1]
    if ranked:
        number = ranked[-1]
        why = f"moves {taken[number]} already" if number in taken else f"is {MEANINGS[number]} in MIDI, not for maps"
        say(f"CC {number} {why}; move another knob")
    return None


@dataclass
class _File:
    """A preset file to be edited; ``copy`` is what it begins with where it does not exist yet."""

    path: Path
    copy: str | None

    def bind(self, number: int, target: str, span: Range) -> list[str]:
        """Write that CC ``number`` moves ``target``, and tell what else it moves."""
        if self.copy is None:
            read_preset(self.path)  # which may have been edited meanwhile
        text = self.copy if self.copy is not None else self.path.read_bytes().decode()
        edited = _edit(text, number, target, span)
        entries = _checked(tomllib.loads(text), edited, number, target)
        if entries is None:
            raise Failure(
                f"cannot edit {self.path} without changing more of it; add a [[cc]] of number = {number} and "
                f"target = {target!r} to it by hand"
            )
        with replacing(self.path.resolve(), overwrite=self.copy is None) as temporary:
            temporary.write_bytes(edited.encode())
            read_preset(temporary)
        self.copy = None
        return [entry["target"] for entry in entries if entry.get("number") == number and entry["target"] != target]


def _open(preset: str, patch: Patch, folder: Path) -> _File:
    """Return the file to be edited for a preset."""
    given, shipped = Path(preset), shipped_presets()
    source = shipped.get(preset) or next((path for path in shipped.values() if path == given.resolve()), None)
    if source is not None:
        copy = source.read_bytes().decode()
    elif preset in shipped_models() or given.suffix == ".onnx":
        model = preset if preset in shipped_models() else os.path.relpath(given, folder)
        names = named(patch.preset, patch.model.card)
        copy = patch.preset.model_copy(update={"model": model}).to_toml(names=names)
    else:
        file = preset_file(preset) or given
        check_output(file.resolve(), overwrite=True)
        return _File(file, None)
    path = folder / f"{patch.name}.toml"
    if path.exists():
        raise UserError(
            f"{preset!r} is never changed, and its copy {path} exists: 'timbrel learn {path}' goes on with it"
        )
    check_output(path)
    return _File(path, copy)


def _is_of(entry: Mapping[str, Any], target: str) -> bool:
    """Return whether it is a knob's map to the target; pressure may move the same besides."""
    return entry.get("target") == target and "pressure" not in entry


def _edit(text: str, number: int, target: str, span: Range) -> str:
    """The preset's text with the binding: a line changed in the target's own map, or a map added behind the last."""
    fresh = {"number": number, "target": target, "low": float(span[0]), "high": float(span[1])}
    document = tomlkit.parse(text)
    place = _knob_of(document, target)
    if place is not None:
        return _with_knob(text, place, number)
    maps = document.get("cc")
    if isinstance(maps, Array):
        own = [place for place, entry in enumerate(maps) if _is_of(entry, target)]
        for place in reversed(own[1:]):
            del maps[place]
        if own:
            _turn_over(maps[own[0]], number)
        else:
            table = tomlkit.inline_table()
            table.update(fresh)
            maps.append(table)
        return tomlkit.dumps(document)
    lines = text.split("\n")
    blocks = list(_blocks(lines))
    parsed = [tomlkit.parse("\n".join(lines[start:end]) + "\n") for start, end in blocks]
    owned = [(block, part) for block, part in zip(blocks, parsed, strict=True) if _is_of(part["cc"][0], target)]
    for (start, end), _ in reversed(owned[1:]):
        while start and not lines[start - 1].strip():
            start -= 1
        del lines[start:end]
    if owned:
        (start, end), part = owned[0]
        _turn_over(part["cc"][0], number)
        lines[start:end] = tomlkit.dumps(part).rstrip("\n").split("\n")
    else:
        end = blocks[-1][1] if blocks else len(text.rstrip().split("\n"))
        written = ["", "[[cc]]", *(f"{key} = {tomlkit.item(value).as_string()}" for key, value in fresh.items())]
        lines[end:end] = [line + "\r" for line in written] if "\r\n" in text else written
    return "\n".join(lines)


def _blocks(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where each ``[[cc]]`` begins and ends, with the comments right below it that no other header claims."""
    for start, line in enumerate(lines):
        if not CC_HEADER.fullmatch(line):
            continue
        end = below = start + 1
        while below < len(lines) and not lines[below].lstrip().startswith("["):
            below += 1
            if lines[below - 1].strip() and not lines[below - 1].lstrip().startswith("#"):
                end = below
        comments = end
        while comments < len(lines) and lines[comments].lstrip().startswith("#"):
            comments += 1
        yield start, comments if comments == len(lines) or not lines[comments].strip() else end


def _with_knob(text: str, place: int, number: int) -> str:
    """Return the text with another number in its list of ``knobs``, and all else as it was."""
    lines = text.split("\n")
    for part in statements(text):
        if isinstance(part, Statement) and not part.text.startswith("[") and "knobs" in part.fields:
            lines_of_it = slice(part.number - 1, part.number + part.text.count("\n"))
            edited = tomlkit.parse("\n".join(lines[lines_of_it]))
            edited.get("knobs", [])[place] = number
            lines[lines_of_it] = tomlkit.dumps(edited).split("\n")
            break
    return "\n".join(lines)


def _knob_of(fields: Mapping[str, Any], target: str) -> int | None:
    """Return the place of a latent in a preset's ``knobs``, if it has one there."""
    places = [f"latent.{index}" for index in range(len(fields.get("knobs", [])))]
    return places.index(target) if target in places else None


def _turn_over(entry: MutableMapping[str, Any], number: int) -> None:
    """Give a map to another knob."""
    for key in OF_A_KNOB[1:]:
        entry.pop(key, None)
    entry["number"] = number


def _checked(before: dict[str, Any], edited: str, number: int, target: str) -> list[dict[str, Any]] | None:
    """Return the maps of the edited text, if the binding is all that has changed."""
    after = tomllib.loads(edited)
    place = _knob_of(before, target)
    if place is not None:
        before["knobs"][place] = number
        return before.get("cc", []) if after == before else None
    maps: list[dict[str, Any]] = after.pop("cc", [])
    kept = [entry for entry in before.pop("cc", []) if not _is_of(entry, target)]
    own = [entry for entry in maps if _is_of(entry, target)]
    right = (
        after == before
        and kept == [entry for entry in maps if not _is_of(entry, target)]
        and [entry["number"] for entry in own] == [number]
    )
    return maps if right else None
