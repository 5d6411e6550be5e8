"""`timbrel learn`: MIDI learn that writes controllers' bindings to a preset file."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..audio.effects import EffectChain
from ..errors import Failure, UserError
from ..events import Event
from ..files import check_output, replacing
from ..kinds.table import kind_of
from ..model.pack import digest_of
from ..units import Range
from .controls import target_absence
from .library import Patch, open_patch
from .loading import read_preset
from .midi_learn import LearnedKnob, MovedKnob, bound
from .preset import MORPH, NO_MORPH
from .shipped import preset_file, preset_text, shipped_models, shipped_presets
from .validation import ANY_RATE, check, names_by_target, ranges, targets_by_name, titled

Moment = tuple[float, Event | None]  # seconds, and the event received then; None if only time passed


def learn(preset: str, target: str | None, moments: Iterable[Moment], report: Callable[[str], None]) -> list[str]:
    """Bind a moved controller to a target, or one to each latent in turn; save each at once.

    Shipped presets and models are copied to NAME.toml in the working folder. Returns a line a binding, fewer if the
    moments end or on Ctrl-C.

    Args:
        target: ``latent.N``, ``macro.N``, the name of one of these, ``morph``, a play control or
            ``effects.N.parameter``.
        moments: timed events in order, from `ControllerReader.knob`, read after all checks; one without an event every
            0.1 s or so, to detect rest.

    Raises:
        UserError: the preset or target cannot be used, or the copy would replace a file.
        Failure: the file cannot be written.
    """
    patch = open_patch(preset)
    target_ranges, target_by_name = _ranges(patch), targets_by_name(patch.preset, patch.model.card)
    target = None if target is None else target_by_name.get(target, target)
    if target == MORPH and target not in target_ranges:
        raise UserError(f"target {target!r}: {NO_MORPH}")
    if target is not None and target not in target_ranges:
        no_image = kind_of(patch.model.card).no_image(patch.preset.play, patch.model.card)
        raise UserError(target_absence(target, [*target_ranges, *target_by_name], no_image))
    edited_file = _open(preset, patch)
    targets = patch.model.card.latent_targets if target is None else [target]
    timed_events = iter(moments)
    learned_lines: list[str] = []
    bound_targets: dict[str, str] = {}
    with contextlib.suppress(KeyboardInterrupt):  # safe at any point: each binding is written completely or not at all
        for target_index, moved_target in enumerate(targets):
            title = titled(moved_target, patch.preset, patch.model.card)
            report(f"{title}: move the knob for it")
            knob = _moved_knob(timed_events, MovedKnob(bound_targets, report))
            if knob is None:
                break
            other_targets = [
                other_target
                for other_target in edited_file.bind(knob, moved_target, target_ranges[moved_target], target_by_name)
                if other_target not in targets[target_index:]
            ]
            bound_targets[knob.source] = moved_target
            learned_lines.append(f"{knob} moves {title}")
            report(
                f"{learned_lines[-1]}{''.join(f', and {other_target} as before' for other_target in other_targets)}"
                f" ({edited_file.path})"
            )
    return learned_lines


def _ranges(patch: Patch) -> dict[str, Range]:
    """Range of each target, effects' included."""
    card, effect_ranges = patch.model.card, EffectChain(patch.preset.effects, ANY_RATE, patch.folder).targets()
    check(patch.preset, card, effect_ranges)
    return {target: span for target, span in ranges(patch.preset, card).items() if span is not None} | effect_ranges


def _moved_knob(moments: Iterator[Moment], knob: MovedKnob) -> LearnedKnob | None:
    """The controller that the user moves, None if the events end without one."""
    for seconds, event in moments:
        learned_knob = knob.add_event(seconds, event)
        if learned_knob is not None:
            return learned_knob
    return knob.choice()


@dataclass
class _File:
    """``copy``: initial text of a new file."""

    path: Path
    copy: str | None

    def bind(self, knob: LearnedKnob, target: str, span: Range, names: Mapping[str, str]) -> list[str]:
        """Bind a controller, and save the file; return the controller's other targets."""
        if self.copy is None:
            read_preset(self.path)  # the user may have edited it meanwhile
        text = self.copy if self.copy is not None else preset_text(self.path)
        try:
            edited_text, other_targets = bound(text, knob.keys, target, span, names)
        except UserError:
            raise Failure(
                f"cannot edit {self.path} without changing more of it; add a [[cc]] of {knob} and target = {target!r} "
                "to it by hand"
            ) from None
        with replacing(self.path.resolve(), overwrite=self.copy is None) as temporary_file:
            temporary_file.write_bytes(edited_text.encode())
            read_preset(temporary_file)
        self.copy = None
        return other_targets


def _open(preset: str, patch: Patch) -> _File:
    """The preset's file, or a copy to be made, with its text."""
    preset_path, shipped_files = Path(preset), shipped_presets()
    shipped_file = shipped_files.get(preset) or next(
        (path for path in shipped_files.values() if path == preset_path.resolve()), None
    )
    if shipped_file is not None:
        copied_text = preset_text(shipped_file)
    elif preset in shipped_models() or preset_path.suffix == ".onnx":
        model_name = preset if preset in shipped_models() else os.path.relpath(preset_path)
        name_by_target = names_by_target(patch.preset, patch.model.card)
        copied_text = patch.preset.model_copy(update={"model": model_name}).to_toml(names=name_by_target)
    elif (file := preset_file(preset) or preset_path) and digest_of(file) is not None and patch.text is not None:
        copied_text = patch.text
    else:
        check_output(file.resolve(), overwrite=True)
        return _File(file, None)
    copy_path = Path(f"{patch.name}.toml")
    if copy_path.exists():
        raise UserError(
            f"{preset!r} is never changed, and its copy {copy_path} exists: 'timbrel learn {copy_path}' goes on with it"
        )
    check_output(copy_path)
    return _File(copy_path, copied_text)
