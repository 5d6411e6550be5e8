"""Presets of the panel: lists them, edits their text, saves into the folder, with undo and redo."""

import contextlib
import functools
import itertools
import json
import os
import re
import time
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import UNSET

from ..config import own_folder
from ..errors import Failure, UserError
from ..files import read_regular, replacing
from ..model.onnx_bytes import NotONNX, card_of
from ..model.pack import BY_DIGEST, digest_of
from ..preset import midi_learn
from ..preset import text as editing
from ..preset.shipped import (
    LONGEST_PRESET,
    MADE,
    MOST_LISTED,
    PRESETS,
    current_presets,
    earlier_presets,
    own_presets,
    preset_text,
    shipped_models,
    shipped_presets,
)
from ..preset.text import with_words, words_in
from ..session.view import ControlView, MapView
from . import contents, messages

NAME = re.compile(r"\w[\w .+#-]{0,63}")  # valid in every file system, and not a path
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # by Windows
LISTED_SECONDS = 1.0  # for which a list is kept: a page may ask a thousand times, and reading takes milliseconds


@dataclass(frozen=True)
class Listed:
    name: str
    description: str
    model: str
    shipped: bool
    fits: bool
    path: str
    kind: str = ""  # of the model; "" if unknown
    favourite: bool = False


class PresetFolder:
    def __init__(self, folder: Path, home: Path) -> None:
        """Use ``folder``, or ``home`` in place of shipped presets' and packs' folders."""
        folder = folder.resolve()
        is_read_only = folder == PRESETS or digest_of(folder / MADE) is not None
        self.folder = home.resolve() if is_read_only else folder
        self._list: list[Listed] = []
        # The list is read again once it expires, or when one of its folders changes.
        self._list_expires, self._folder_mtimes = 0.0, [0]

    def listed(self) -> list[Listed]:
        """Loadable presets: the folder's and the user's own, each sorted by name, the shipped ones, earlier ones."""
        folders = (self.folder, own_folder("presets"), _favourites())
        now, mtimes_ns = time.monotonic(), [_mtime_ns(folder) for folder in folders]
        if now >= self._list_expires or mtimes_ns != self._folder_mtimes:
            self._list, self._list_expires, self._folder_mtimes = self._read(), now + LISTED_SECONDS, mtimes_ns
        return self._list

    def _read(self) -> list[Listed]:
        """Read the list anew."""
        entries = []
        for path in sorted(self.folder.glob("*.toml"))[:MOST_LISTED]:
            entry = _listed(path, path.stem, shipped=False)
            if entry is not None and path.stem not in shipped_presets():
                entries.append(entry)
        folder_names = {entry.name for entry in entries}
        for name, path in own_presets().items():
            entry = _listed(path, name, shipped=False)
            if entry is not None and name not in folder_names:
                entries.append(replace(entry, name=name))
        shipped_files, earlier_descriptions = shipped_presets(), earlier_presets()
        for name in [*current_presets(), *earlier_descriptions]:
            entry = _listed(shipped_files[name], name, shipped=True)
            if entry is not None:
                entries.append(replace(entry, description=earlier_descriptions.get(name, entry.description)))
        favourite_names = _favourite_names()
        return [replace(entry, favourite=entry.name in favourite_names) for entry in entries]

    def favour(self, name: str, favourite: bool) -> None:
        """Keep or forget a favourite, for all browsers and sessions of this user.

        Raises:
            UserError: the list has no such preset.
            Failure: cannot be written.
        """
        self.find(name)
        favourite_names = _favourite_names() - {name} | ({name} if favourite else set())
        favourites_folder = _favourites().parent
        try:
            favourites_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(f"favourites cannot be kept in {favourites_folder}: {error.strerror or error}") from None
        with replacing(_favourites(), overwrite=True) as file:
            file.write_text("".join(f"{name}\n" for name in sorted(favourite_names)), encoding="utf-8")
        self._list_expires = 0.0

    def find(self, name: str) -> str:
        """Path or name that loads a preset; UserError if the list lacks it."""
        for entry in self.listed():
            if entry.name == name:
                return entry.path
        raise UserError(f"no preset of the list is named {name!r}; choose one of them")

    def save(self, name: str, text: str, overwrite: bool, files: Mapping[str, bytes]) -> tuple[Path, str]:
        """Write a preset into the folder atomically; return its file and final text.

        ``files`` named in the text are written beside it under free names, and renamed in the text. No other file is
        overwritten.

        Raises:
            UserError: as `place`, or the file exists and ``overwrite`` is off.
            Failure: cannot be written.
        """
        path = self.place(name)
        if path.exists() and not overwrite:
            raise UserError(f"{name!r} exists in {self.folder}; give another name, or replace it")
        data_by_path: dict[Path, bytes] = {}
        new_names: dict[str, str] = {}  # only where it differs from the text's
        model_name, unshipped_files = tomllib.loads(text).get("model"), files.keys() - shipped_presets().keys()
        # The model comes first: other files name it, and need its new name.
        for file_name in sorted(words_in(text) & unshipped_files, key=lambda file: (file != model_name, file)):
            file_data = _rename_files(files[file_name], new_names)
            file_path = self._place_beside(file_name, file_data, {path, *data_by_path})
            data_by_path[file_path] = file_data
            if file_path.name != file_name:
                new_names[file_name] = file_path.name
        text = with_words(text, new_names)
        self._list_expires = 0.0
        with contextlib.ExitStack() as replacement_stack:
            replacement_stack.enter_context(replacing(path, overwrite)).write_bytes(text.encode())
            for file_path, file_data in data_by_path.items():
                if not file_path.exists():
                    replacement_stack.enter_context(replacing(file_path)).write_bytes(file_data)
        return path, text

    def _place_beside(self, name: str, data: bytes, claimed_paths: Collection[Path]) -> Path:
        """With a number if other data has the untrusted name."""
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            name = "file"
        if name in shipped_models():  # another model of that name would be found instead
            name = f"{name}.onnx"
        stem, suffix = Path(name).stem, Path(name).suffix
        candidate_paths = (
            self.folder / (name if file_number == 1 else f"{stem}-{file_number}{suffix}")
            for file_number in itertools.count(1)
        )
        free_paths = (
            candidate_path
            for candidate_path in candidate_paths
            if not os.path.lexists(candidate_path) or _has_content(candidate_path, data)
        )
        return next(candidate_path for candidate_path in free_paths if candidate_path not in claimed_paths)

    def place(self, name: str) -> Path:
        """A preset's file in the folder; UserError for an invalid name or a shipped one."""
        name = name.strip().removesuffix(".toml").rstrip(" .")
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            raise UserError(f"{name!r} is no name for a preset; use letters, digits, spaces, and . + # - _ inside")
        if name in shipped_presets() or name in shipped_models():
            raise UserError(f"{name!r} ships and is never changed; give another name")
        return self.folder / f"{name}.toml"


def _favourites() -> Path:
    """A page's address, and so its browser's memory, is another in each session."""
    return own_folder("models").parent / "favourites.txt"


def _favourite_names() -> set[str]:
    """Names of the user's favourites."""
    try:
        return set(read_regular(_favourites(), LONGEST_PRESET).decode().splitlines())
    except (UserError, OSError, ValueError):
        return set()


@functools.lru_cache(maxsize=MOST_LISTED)
def _kind(model: Path, mtime_ns: int) -> str:
    """Kind of a model's file, by its time of change; empty if unknown."""
    try:
        kind = json.loads(card_of(model)).get("kind", "")
    except (UserError, OSError, ValueError, RecursionError, NotONNX, AttributeError):
        return ""
    return kind if isinstance(kind, str) else ""


def _mtime_ns(folder: Path) -> int:
    """Time of a folder's or file's last change; 0 if missing."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _rename_files(data: bytes, names: Mapping[str, str]) -> bytes:
    """Renames files in presets; other data stay."""
    try:
        return with_words(data.decode(), names).encode()
    except ValueError:
        return data


def _has_content(path: Path, data: bytes) -> bool:
    """Return whether a file holds these bytes."""
    try:
        return read_regular(path, len(data)) == data
    except (UserError, OSError):
        return False


def _listed(path: Path, name: str, shipped: bool) -> Listed | None:
    """List entry of a preset's file; None for a file that is no preset."""
    try:
        preset_fields = tomllib.loads(preset_text(path))
    except (UserError, ValueError, RecursionError):  # loading it reports the error
        return None
    model_name, description = preset_fields.get("model"), preset_fields.get("description", "")
    if not isinstance(model_name, str) or not isinstance(description, str):
        return None
    has_model = (
        model_name in shipped_models() or model_name.startswith(BY_DIGEST) or (path.parent / model_name).is_file()
    )
    title = path.resolve().parent.name if path.name == MADE else name
    model_path = shipped_models().get(model_name, path.parent / model_name)
    model_kind = _kind(model_path, _mtime_ns(model_path))
    return Listed(
        title, description, Path(model_name).stem, shipped, has_model, name if shipped else str(path), model_kind
    )


MOST_STEPS = 200  # undoable

Values = Mapping[str, float]


class PresetState(NamedTuple):
    """A preset's text, its targets' defaults there, and their current values."""

    text: str
    rests: Values
    values: Values


class HistoryEntry(NamedTuple):
    state_before: PresetState | Values
    state_after: PresetState | Values


@dataclass
class History:
    undo_steps: list[HistoryEntry] = field(default_factory=list)
    redo_steps: list[HistoryEntry] = field(default_factory=list)

    def add(self, step: HistoryEntry) -> None:
        self.undo_steps.append(step)
        del self.undo_steps[:-MOST_STEPS]
        self.redo_steps.clear()

    def forget(self, text: str | None) -> None:
        """Remove the last step if it led to this unplayable text."""
        if (
            self.undo_steps
            and isinstance(self.undo_steps[-1].state_after, PresetState)
            and self.undo_steps[-1].state_after.text == text
        ):
            self.undo_steps.pop()

    def undo(self) -> PresetState | Values | None:
        """The state before the last step; None without one."""
        if not self.undo_steps:
            return None
        self.redo_steps.append(self.undo_steps.pop())
        return self.redo_steps[-1].state_before

    def redo(self) -> PresetState | Values | None:
        """The state after the step undone last; None without one."""
        if not self.redo_steps:
            return None
        self.undo_steps.append(self.redo_steps.pop())
        return self.undo_steps[-1].state_after


EFFECTS = "effects."
STEEPEST = 16.0  # curve of a [[cc]] table
GAIN = "gain"  # which no snapshot holds: a recall must not be louder than the player has set it
LENGTHS = {"seconds": (0.05, 3600.0), "beats": (0.125, 4096.0)}  # of a path; presets allow 20 rounds a second


def baked(state: PresetState, targets: Collection[str], controls: Mapping[str, ControlView]) -> str:
    """Text with current values of ``targets`` as defaults, where the file has a key for them.

    ``controls`` are of the preset on the panel; keys of other effects follow from their number.

    Raises:
        UserError: the text cannot be edited without changing more.
    """
    values_by_key_path: dict[tuple[str | int, ...], float | str] = {}
    for target in targets:
        value, control = state.values[target], controls.get(target)
        key_path = editing.effect_place(target) if control is None else control.place
        if key_path and value != state.rests.get(target, value):
            values_by_key_path[key_path] = (
                control.choices[round(value)] if control is not None and control.choices else value
            )
    latent_defaults = [state.rests[target] for target in state.rests if target.startswith("latent.")]
    return editing.with_values(state.text, values_by_key_path, latent_defaults)


def with_range(text: str, message: messages.BindingMessage, control: ControlView) -> str:
    """Set a controller's range and curve.

    Raises:
        UserError: a number is out of range, or the control has no such controller.
    """
    binding = _map(message, control)
    for end_name, end in (("low", message.low), ("high", message.high)):
        if not control.low <= end <= control.high:
            range_text = f"[{control.low:g}, {control.high:g}] {control.unit}".rstrip()
            raise UserError(f"{end_name} {end:g} of {binding.source} is out of range {range_text}; give a value in it")
    if not 0 < message.curve <= STEEPEST:
        raise UserError(
            f"curve {message.curve:g} of {binding.source} is out of range (0, {STEEPEST:g}]; give 1 for a straight line"
        )
    old_shape, new_shape = (
        {name: getattr(mapping, name) for name in ("low", "high", "curve")} for mapping in (binding, message)
    )
    return midi_learn.shaped(text, message.target, binding.controller, old_shape, new_shape)


def without_map(text: str, message: messages.UnlearnMessage, control: ControlView) -> str:
    """Remove a control's controller; errors as in `with_range`."""
    return midi_learn.unbound(text, message.target, _map(message, control).controller)


def _map(message: messages.BindingMessage | messages.UnlearnMessage, control: ControlView) -> MapView:
    """The controller of a control that a message names; UserError without."""
    for map_view in control.maps:
        if (map_view.source, map_view.channel) == (message.source, message.channel):
            return map_view
    raise UserError(f"{message.source} does not move {control.title}; choose one of its controllers")


def stored(values: Values, controls: Mapping[str, ControlView]) -> dict[str, float | str]:
    """Values of a snapshot: all controls except gain, choices by name, as many as one message recalls."""
    targets = [target for target in controls if target != GAIN][: messages.MOST_TARGETS]
    choices_by_target = {target: controls[target].choices for target in targets}
    return {
        target: choices_by_target[target][round(values[target])] if choices_by_target[target] else values[target]
        for target in targets
    }


def with_path(text: str, message: messages.PathMessage, latents: int) -> str:
    """Set or change the path; a new length keeps the rhythm of its times.

    Raises:
        UserError: a point has another number of latents, the length is out of range, or no path is there to change.
    """
    if message.points is None:
        return editing.with_path(text, None)
    for unit, (shortest, longest) in LENGTHS.items():
        length = getattr(message, unit)
        if length is not None and not shortest <= length <= longest:
            raise UserError(
                f"a path of {length:g} {unit} is out of range [{shortest:g}, {longest:g}]; give a length in it"
            )
    if message.points is UNSET:
        base_motion = contents.path_motion(tomllib.loads(text))
        if base_motion is None:
            raise UserError("the preset has no path; draw one on the map")
    elif any(len(point) != latents for point in message.points):
        raise UserError(f"a code of the path needs {latents} numbers, one a latent")
    else:
        base_motion = {"path": message.points, "beats": 1.0}
    motion: dict[str, Any] = {key: base_motion[key] for key in ("path", "legs") if key in base_motion}
    base_path = contents.path(base_motion)
    loops = base_path["loop"] if message.loop is None else message.loop
    if message.beats is not None:
        return editing.with_path(text, motion | {"beats": message.beats})
    if message.seconds is None and ("beats" in base_path or loops == base_path["loop"]):
        return text
    path_seconds = base_path["seconds"] if message.seconds is None else message.seconds
    motion["times"] = _times(base_motion.get("times", ()), path_seconds, len(base_motion["path"]) - (not loops))
    start_field = {"start": base_motion["start"]} if "start" in base_motion else {}
    return editing.with_path(text, motion | start_field | ({"loop": True} if loops else {}))


def _times(old_times: Sequence[float], seconds: float, count: int) -> list[float]:
    """Legs keep the rhythm of ``old_times``."""
    leg_lengths = [end - begin for begin, end in itertools.pairwise(old_times)] or [1.0]
    leg_lengths = (leg_lengths + [sum(leg_lengths) / len(leg_lengths)] * count)[:count]
    scale, start_time = seconds / sum(leg_lengths), old_times[0] if old_times else 0.0
    return [round(start_time + scale * time, 6) for time in itertools.accumulate(leg_lengths, initial=0.0)]


def with_effect(text: str, message: messages.EffectMessage) -> str:
    """Raises UserError for an unavailable effect or an index out of range."""
    effect_count = len(tomllib.loads(text).get("effects", []))
    if message.do == "add":
        if message.plugin not in contents.available_effects():
            raise UserError(f"effect {message.plugin!r} cannot be added; choose one of the list")
        return editing.with_effect(text, message.plugin)
    if max(message.index, message.to if message.do == "move" else 0) >= effect_count:
        raise UserError(f"the preset has {effect_count} effects; choose one of them")
    match message.do:
        case "remove":
            return editing.without_effect(text, message.index)
        case "move":
            return editing.with_effect_moved(text, message.index, message.to)
        case _:
            return editing.with_effect_on(text, message.index, message.on)
