"""Checks presets against their model: faults, values outside training, and ends of maps."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from ..audio.effect_ranges import RANGES
from ..audio.effects import EffectChain, effect_faults
from ..audio.plugin_trust import PLUGINS
from ..errors import UserError, nearest, printable
from ..kinds.table import KINDS, kind_of
from ..model.card import Card, Latent
from ..model.model import Model
from ..settings import Fault
from ..units import Range
from .controls import NoteSettings, macro_targets, snapshot_faults
from .loading import seconds_hint
from .motions import MotionSettings
from .preset import ENVELOPE_CONTROLS, MORPH, NO_MORPH, PLAY_CONTROLS, PROCESS_CONTROLS, CCMap, Preset

ROUNDED = 0.01  # of a range: values may lie this far outside, because ends are written with two digits
ANY_RATE = 48_000  # Hz for querying the effects' ranges, which do not depend on the rate


def faults(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> Iterator[Fault]:
    """Faults for a model; ``effects``: ranges of effects' targets, None if unknown."""
    yield from _value_faults(preset, card)
    yield from _kind_faults(preset, card)
    for index, effect in enumerate(preset.effects):
        for key, complaint in effect_faults(effect):
            yield Fault(("effects", index, key), f"[[effects]] {index + 1} ({effect.plugin}): {complaint}")
    yield from _map_faults(preset, card, effects)
    yield from _macro_faults(preset, card, effects)
    for index, motion in enumerate(preset.motion):
        for inner_path, complaint in _motion_faults(motion, card, preset.morph is not None):
            yield Fault(("motion", index, *inner_path), f"[[motion]] {index + 1}: {complaint}")
    for index, note in enumerate(preset.note):
        for complaint in _note_faults(note, card):
            yield Fault(("note", index, "target"), f"[[note]] {index + 1}: {complaint}")
    target_ranges = ranges(preset, card) | dict(effects)
    for index, snapshot in enumerate(preset.snapshot):
        for target, complaint in snapshot_faults(snapshot, card, target_ranges):
            yield Fault(("snapshot", index, "values", target), f"[[snapshot]] {index + 1}: {complaint}")


def gesture_faults(preset: Preset, model: Model) -> Iterator[Fault]:
    """Yield a fault for an unknown ``gesture.instrument``."""
    name = None if preset.gesture is None else preset.gesture.instrument
    if name is None or model.gestures is None:
        return
    labels = {instrument.label for instrument in model.gestures.instruments}
    if name not in labels:
        hint = nearest(name, labels) if labels != {""} else "; its recordings are of one, without a name: leave it out"
        yield Fault(
            ("gesture", "instrument"),
            f"gesture.instrument {name!r} is none of those whose gestures model {model.card.name!r} has{hint}",
        )


def check(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> None:
    """Raise `UserError` with a line a fault."""
    if all_faults := list(faults(preset, card, effects)):
        raise UserError(*(fault.message for fault in all_faults))


def check_real_time(preset: Preset, name: str, purpose: str) -> None:
    """Raise `UserError` for phases that take longer than their sound."""
    if preset.play.phase == "best":
        raise UserError(f"preset {name!r}: play.phase = 'best' takes its time; set 'coherent' to {purpose}")


def strays(preset: Preset, card: Card) -> Iterator[Fault]:
    """Values and map ends of latents outside the training range, as warnings."""
    names = card.latent_targets
    for key, values in (("latent", preset.latent.values), ("morph", preset.morph and preset.morph.values)):
        for index, (value, latent) in enumerate(zip(values or [], card.latents, strict=False)):
            if not _in_range(value, latent):
                complaint = f"{key}.values: its number {index + 1}, {value:g}, is outside {_span_label(index, latent)}"
                yield Fault((key, "values", index), complaint)
    for index, entry in enumerate(_with_targets(preset, card)):
        if entry.target not in names:
            continue
        latent = card.latents[names.index(entry.target)]
        for end, end_value in (("low", entry.low), ("high", entry.high)):
            if end_value is not None and not _in_range(end_value, latent):
                complaint = (
                    f"{_map_label(index, entry)}: {end} = {end_value:g} is outside "
                    f"{_span_label(names.index(entry.target), latent)}"
                )
                yield Fault(("cc", index, end), complaint)


def fitted(preset: Preset, card: Card, folder: Path, files: Mapping[str, bytes] = MappingProxyType({})) -> Preset:
    """Preset with ``knobs`` as maps, omitted ends of maps filled in and their targets' names resolved.

    Only an omitted end loads plugins.

    Raises:
        UserError: the plugin cannot be used, or has no such parameter.
    """
    knob_maps = [CCMap(number=number, target=f"latent.{index}") for index, number in enumerate(preset.knobs)]
    cc = [*knob_maps, *_with_targets(preset, card)]
    target_ranges = ranges(preset, card) | known_effects(preset)
    open_ends = [entry for entry in cc if None in (entry.low, entry.high)]
    if any(target_ranges.get(entry.target) is None for entry in open_ends):
        target_ranges |= EffectChain(preset.effects, ANY_RATE, folder, files).targets()
    return preset.model_copy(update={"cc": [_with_ends(entry, target_ranges) for entry in cc], "knobs": []})


def ranges(preset: Preset, card: Card) -> dict[str, Range | None]:
    """Range of each target except effects'."""
    target_ranges: dict[str, Range | None] = dict(zip(card.latent_targets, card.spans, strict=True))
    for control in (*PLAY_CONTROLS.values(), *PROCESS_CONTROLS.values()):
        target_ranges[control.name] = (control.low, control.high)
    kind = kind_of(card)
    target_ranges |= kind.targets(preset.of_kind(kind), card)
    if preset.morph is not None:
        target_ranges[MORPH] = (0.0, 1.0)
    return target_ranges | dict.fromkeys(macro_targets(preset.macro), (0.0, 1.0))


def names_by_target(preset: Preset, card: Card) -> dict[str, str]:
    """Names of latents and macros, by target."""
    names = {f"latent.{number}": latent.name for number, latent in enumerate(card.latents)}
    names |= {f"macro.{number}": macro.name for number, macro in enumerate(preset.macro)}
    return {target: printable(name) for target, name in names.items() if name != target.replace(".", " ")}


def targets_by_name(preset: Preset, card: Card) -> dict[str, str]:
    """Targets of latents and macros by a name that no other has."""
    names = {f"latent.{number}": latent.name for number, latent in enumerate(card.latents)}
    names |= {f"macro.{number}": macro.name for number, macro in enumerate(preset.macro)}
    target_ranges, all_names = ranges(preset, card), list(names.values())
    return {name: target for target, name in names.items() if all_names.count(name) == 1 and name not in target_ranges}


def titled(target: str, preset: Preset, card: Card) -> str:
    name = names_by_target(preset, card).get(target)
    return target if name is None else f"{target} ({name})"


def reach(preset: Preset, card: Card, effects: Mapping[str, Range]) -> dict[str, Range]:
    """Range of each target, widened by the preset's values and map ends."""
    target_ranges = {target: span for target, span in ranges(preset, card).items() if span is not None} | dict(effects)
    ends = [(entry.target, end) for entry in preset.cc for end in (entry.low, entry.high) if end is not None]
    rests = [(f"latent.{index}", value) for index, value in enumerate(preset.latent_values(card))]
    for target, value in (*rests, *ends):
        if target in target_ranges:
            low, high = target_ranges[target]
            target_ranges[target] = (min(low, value), max(high, value))
    return target_ranges


def known_effects(preset: Preset) -> dict[str, Range | None]:
    """Ranges of effects' targets before plugins are loaded; None for plugins'."""
    target_ranges: dict[str, Range | None] = {}
    of_plugins = {str(index) for index, effect in enumerate(preset.effects) if effect.plugin.endswith(PLUGINS)}
    for index, effect in enumerate(preset.effects):
        target_ranges |= {f"effects.{index}.{name}": span for name, span in RANGES.get(effect.plugin, {}).items()}
    stored = (target for snapshot in preset.snapshot for target in snapshot.values)
    for target in (*(entry.target for entry in preset.cc), *preset.macro_targets, *stored):
        kind, _, suffix = target.partition(".")
        number = suffix.partition(".")[0]
        if kind == "effects" and number in of_plugins:
            target_ranges[target] = None
    return target_ranges


def _with_targets(preset: Preset, card: Card) -> list[CCMap]:
    """Maps with names of targets resolved."""
    names = targets_by_name(preset, card)
    return [
        entry.model_copy(update={"target": names[entry.target]}) if entry.target in names else entry
        for entry in preset.cc
    ]


def _with_ends(entry: CCMap, target_ranges: Mapping[str, Range | None]) -> CCMap:
    span = target_ranges.get(entry.target)
    if span is None:
        return entry
    low, high = (
        range_end if preset_end is None else preset_end
        for preset_end, range_end in zip((entry.low, entry.high), span, strict=True)
    )
    return entry.model_copy(update={"low": low, "high": high})


def _map_label(index: int, entry: CCMap) -> str:
    return f"[[cc]] {index + 1}, {entry.source} to {entry.target!r}"


def _in_range(value: float, latent: Latent) -> bool:
    slack = ROUNDED * (latent.high - latent.low)
    return latent.low - slack <= value <= latent.high + slack


def _span_label(index: int, latent: Latent) -> str:
    return f"[{latent.low:.4g}, {latent.high:.4g}], what the training sounds fill of latent.{index}"


def _value_faults(preset: Preset, card: Card) -> Iterator[Fault]:
    try:
        preset.latent_values(card)
    except UserError as error:
        yield Fault(("latent", "values"), str(error))
    if len(preset.knobs) > len(card.latents):
        yield Fault(
            ("knobs",),
            f"knobs has {len(preset.knobs)} controllers, model {card.name!r} has {len(card.latents)} latents; "
            f"give {len(card.latents)} or less",
        )


def _kind_faults(preset: Preset, card: Card) -> Iterator[Fault]:
    model_kind = kind_of(card)
    other_kinds = [kind for kind in reversed(KINDS.values()) if kind is not model_kind]  # the first kind wins
    sections = {
        section: other_kind
        for other_kind in other_kinds
        for section in other_kind.sections
        if section not in model_kind.sections
    }
    for section, other_kind in sections.items():
        settings = getattr(preset, section)
        if settings is not None and settings != []:
            table = f"[[{section}]]" if isinstance(settings, list) else f"[{section}]"
            yield Fault(
                (section,),
                f"{table} is for models of kind {other_kind.name!r}, {card.name!r} is of kind {card.kind!r}; "
                f"remove {table} or choose another model",
            )
    played = {
        name: other_kind for other_kind in other_kinds for name in other_kind.played if name not in model_kind.played
    }
    for name, other_kind in played.items():
        if name in preset.play.model_fields_set:
            yield Fault(
                ("play", name),
                f"play.{name} is for models of kind {other_kind.name!r}, {card.name!r} is of kind {card.kind!r}; "
                f"remove it{model_kind.replacement_hint}",
            )
    yield from model_kind.faults(preset.of_kind(model_kind), preset.play, preset.tuning, card)


def _map_faults(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> Iterator[Fault]:
    target_ranges = ranges(preset, card) | dict(effects)
    set_values = preset.effect_values()
    for index, entry in enumerate(_with_targets(preset, card)):
        name = _map_label(index, entry)
        if entry.target == MORPH and preset.morph is None:
            yield Fault(("cc", index, "target"), f"{name}: {NO_MORPH}")
            continue
        if entry.target not in target_ranges:
            names = targets_by_name(preset, card)
            complaint = (
                f"{name}: target {entry.target!r} does not exist{nearest(entry.target, [*target_ranges, *names])}"
            )
            yield Fault(("cc", index, "target"), complaint)
            continue
        allowed = None if entry.target.startswith("latent.") else target_ranges[entry.target]
        for end, value in (("low", entry.low), ("high", entry.high)):
            if allowed is not None and value is not None and not allowed[0] <= value <= allowed[1]:
                hint = seconds_hint(value, allowed[1]) if entry.target.endswith("_seconds") else ""
                complaint = f"{name}: {end} = {value:g} is out of range [{allowed[0]:g}, {allowed[1]:g}]{hint}"
                yield Fault(("cc", index, end), complaint)
        if entry.takeover != "jump" and entry.target in effects and entry.target not in set_values:
            _, number, parameter = entry.target.split(".", 2)
            yield Fault(
                ("cc", index, "takeover"),
                f"{name}: takeover = {entry.takeover!r} needs to know where it starts; set {parameter} in [[effects]] "
                f"{int(number) + 1}",
            )


def _macro_faults(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> Iterator[Fault]:
    target_ranges, macro_names = ranges(preset, card) | dict(effects), macro_targets(preset.macro)
    set_values = preset.effect_values()
    for place, macro in enumerate(preset.macro):
        for number, entry in enumerate(macro.targets):
            path: tuple[str | int, ...] = ("macro", place, "targets", number)
            name = f"[[macro]] {place + 1}, {macro.name!r} to {entry.target!r}"
            if entry.target in macro_names:
                yield Fault(path, f"{name}: a macro moves no macro; give it that one's targets")
            elif entry.target == MORPH and preset.morph is None:
                yield Fault(path, f"{name}: {NO_MORPH}")
            elif entry.target not in target_ranges:
                candidates = [target for target in target_ranges if target not in macro_names]
                yield Fault(path, f"{name}: target {entry.target!r} does not exist{nearest(entry.target, candidates)}")
            elif entry.target in effects and entry.target not in set_values:
                _, effect, parameter = entry.target.split(".", 2)
                complaint = f"it is added to what that is; set {parameter} in [[effects]] {int(effect) + 1}"
                yield Fault(path, f"{name}: {complaint}")


def _motion_faults(motion: MotionSettings, card: Card, morphs: bool) -> Iterator[tuple[tuple[str | int, ...], str]]:
    names = card.latent_targets
    if motion.target == MORPH and not morphs:
        yield ("target",), f"target {MORPH!r}: {NO_MORPH}"
    if motion.target not in (None, MORPH, *names):
        yield (
            ("target",),
            f"target {motion.target!r} is no latent of model {card.name!r}{nearest(motion.target or '', names)}",
        )
    if motion.walk is not None and not (card.landmarks and any(latent.std > 0 for latent in card.latents)):
        yield (
            ("walk",),
            f"a walk stays near training codes, and the card of model {card.name!r} holds none (its landmarks and "
            "deviations); export it again, or give a path",
        )
    if motion.start == "note" and not kind_of(card).decodes_notes:
        yield (
            ("start",),
            f"start 'note': model {card.name!r} is of kind {card.kind!r}, whose sounds are made before their keys go "
            "down, so that no path can begin with them; leave start out",
        )
    for point, code in enumerate(motion.path or []):
        if len(code) != len(names):
            yield (
                ("path", point),
                f"code {point + 1} of path has {len(code)} numbers, model {card.name!r} has {len(names)} latents; give "
                f"{len(names)}",
            )


def _note_faults(note: NoteSettings, card: Card) -> Iterator[str]:
    kind = kind_of(card)
    latents = card.latent_targets
    targets = [*latents, *ENVELOPE_CONTROLS, *kind.of_notes]
    if note.target not in targets:
        yield f"target {note.target!r} is none that a note has for itself{nearest(note.target, targets)}"
    if note.target in latents and not kind.decodes_notes:
        yield (
            f"target {note.target!r}: model {card.name!r} is of kind {card.kind!r}, whose sounds are made before their "
            f"keys go down, so that no {note.source} moves them; give a target of the envelope, or remove this [[note]]"
        )
