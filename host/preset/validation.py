"""Checks presets against their model: faults, values outside training, and ends of maps."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from ..audio.effect_ranges import RANGES
from ..audio.effects import EffectChain, effect_faults
from ..audio.plugins import PLUGINS
from ..errors import UserError, nearest, printable
from ..kinds.card_fields import Latent
from ..kinds.kind import IMAGE
from ..kinds.table import kind_of, known_kinds
from ..model.card import Card
from ..model.model import Model
from ..settings import Fault
from ..units import Range
from .controls import NoteSettings, macro_targets, snapshot_faults, target_absence
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
    target_ranges, no_image = ranges(preset, card) | dict(effects), kind_of(card).no_image(preset.play, card)
    for index, snapshot in enumerate(preset.snapshot):
        for target, complaint in snapshot_faults(snapshot, card, target_ranges, no_image):
            yield Fault(("snapshot", index, "values", target), f"[[snapshot]] {index + 1}: {complaint}")


def gesture_faults(preset: Preset, model: Model) -> Iterator[Fault]:
    """Yield a fault for an unknown ``gesture.instrument``."""
    instrument_label = None if preset.gesture is None else preset.gesture.instrument
    if instrument_label is None or model.gestures is None:
        return
    labels = {instrument.label for instrument in model.gestures.instruments}
    if instrument_label not in labels:
        hint = (
            nearest(instrument_label, labels)
            if labels != {""}
            else "; its recordings are of one, without a name: leave it out"
        )
        yield Fault(
            ("gesture", "instrument"),
            f"gesture.instrument {instrument_label!r} is none of those whose gestures model {model.card.name!r} "
            f"has{hint}",
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
    latent_targets = card.latent_targets
    for table_name, values in (("latent", preset.latent.values), ("morph", preset.morph and preset.morph.values)):
        for index, (value, latent) in enumerate(zip(values or [], card.latents, strict=False)):
            if not _in_range(value, latent):
                complaint = (
                    f"{table_name}.values: its number {index + 1}, {value:g}, is outside {_span_label(index, latent)}"
                )
                yield Fault((table_name, "values", index), complaint)
    for index, cc_map in enumerate(_with_targets(preset, card)):
        if cc_map.target not in latent_targets:
            continue
        latent = card.latents[latent_targets.index(cc_map.target)]
        for end_name, end_value in (("low", cc_map.low), ("high", cc_map.high)):
            if end_value is not None and not _in_range(end_value, latent):
                complaint = (
                    f"{_map_label(index, cc_map)}: {end_name} = {end_value:g} is outside "
                    f"{_span_label(latent_targets.index(cc_map.target), latent)}"
                )
                yield Fault(("cc", index, end_name), complaint)


def fitted(preset: Preset, card: Card, folder: Path, files: Mapping[str, bytes] = MappingProxyType({})) -> Preset:
    """Preset with ``knobs`` as maps, omitted ends of maps filled in and their targets' names resolved.

    Only an omitted end loads plugins.

    Raises:
        UserError: the plugin cannot be used, or has no such parameter.
    """
    knob_maps = [CCMap(number=cc_number, target=f"latent.{index}") for index, cc_number in enumerate(preset.knobs)]
    cc_maps = [*knob_maps, *_with_targets(preset, card)]
    target_ranges = ranges(preset, card) | known_effects(preset)
    open_maps = [cc_map for cc_map in cc_maps if None in (cc_map.low, cc_map.high)]
    if any(target_ranges.get(cc_map.target) is None for cc_map in open_maps):
        target_ranges |= EffectChain(preset.effects, ANY_RATE, folder, files).targets()
    return preset.model_copy(update={"cc": [_with_ends(cc_map, target_ranges) for cc_map in cc_maps], "knobs": []})


def ranges(preset: Preset, card: Card) -> dict[str, Range | None]:
    """Range of each target except effects'."""
    target_ranges: dict[str, Range | None] = dict(zip(card.latent_targets, card.spans, strict=True))
    for control in (*PLAY_CONTROLS.values(), *PROCESS_CONTROLS.values()):
        target_ranges[control.name] = (control.low, control.high)
    kind = kind_of(card)
    if kind.no_image(preset.play, card):
        del target_ranges[IMAGE]
    target_ranges |= kind.targets(kind.select_section(preset), card)
    if preset.morph is not None:
        target_ranges[MORPH] = (0.0, 1.0)
    return target_ranges | dict.fromkeys(macro_targets(preset.macro), (0.0, 1.0))


def names_by_target(preset: Preset, card: Card) -> dict[str, str]:
    """Names of latents and macros, by target."""
    name_by_target = {f"latent.{index}": latent.name for index, latent in enumerate(card.latents)}
    name_by_target |= {f"macro.{index}": macro.name for index, macro in enumerate(preset.macro)}
    return {target: printable(name) for target, name in name_by_target.items() if name != target.replace(".", " ")}


def targets_by_name(preset: Preset, card: Card) -> dict[str, str]:
    """Targets of latents and macros by a name that no other has."""
    name_by_target = {f"latent.{index}": latent.name for index, latent in enumerate(card.latents)}
    name_by_target |= {f"macro.{index}": macro.name for index, macro in enumerate(preset.macro)}
    target_ranges, all_names = ranges(preset, card), list(name_by_target.values())
    return {
        name: target
        for target, name in name_by_target.items()
        if all_names.count(name) == 1 and name not in target_ranges
    }


def titled(target: str, preset: Preset, card: Card) -> str:
    name = names_by_target(preset, card).get(target)
    return target if name is None else f"{target} ({name})"


def reach(preset: Preset, card: Card, effects: Mapping[str, Range]) -> dict[str, Range]:
    """Range of each target, widened by the preset's values and map ends."""
    target_ranges = {target: span for target, span in ranges(preset, card).items() if span is not None} | dict(effects)
    map_ends = [
        (cc_map.target, map_end) for cc_map in preset.cc for map_end in (cc_map.low, cc_map.high) if map_end is not None
    ]
    rest_values = [(f"latent.{index}", value) for index, value in enumerate(preset.latent_values(card))]
    for target, value in (*rest_values, *map_ends):
        if target in target_ranges:
            low, high = target_ranges[target]
            target_ranges[target] = (min(low, value), max(high, value))
    return target_ranges


def known_effects(preset: Preset) -> dict[str, Range | None]:
    """Ranges of effects' targets before plugins are loaded; None for plugins'."""
    target_ranges: dict[str, Range | None] = {}
    plugin_numbers = {str(index) for index, effect in enumerate(preset.effects) if effect.plugin.endswith(PLUGINS)}
    for index, effect in enumerate(preset.effects):
        target_ranges |= {f"effects.{index}.{name}": span for name, span in RANGES.get(effect.plugin, {}).items()}
    snapshot_targets = (target for snapshot in preset.snapshot for target in snapshot.values)
    for target in (*(cc_map.target for cc_map in preset.cc), *preset.macro_targets, *snapshot_targets):
        section, _, number_and_parameter = target.partition(".")
        effect_number = number_and_parameter.partition(".")[0]
        if section == "effects" and effect_number in plugin_numbers:
            target_ranges[target] = None
    return target_ranges


def _with_targets(preset: Preset, card: Card) -> list[CCMap]:
    """Maps with names of targets resolved."""
    target_by_name = targets_by_name(preset, card)
    return [
        cc_map.model_copy(update={"target": target_by_name[cc_map.target]})
        if cc_map.target in target_by_name
        else cc_map
        for cc_map in preset.cc
    ]


def _with_ends(entry: CCMap, target_ranges: Mapping[str, Range | None]) -> CCMap:
    """A map with omitted ends from its target's range."""
    target_range = target_ranges.get(entry.target)
    if target_range is None:
        return entry
    low, high = (
        range_end if preset_end is None else preset_end
        for preset_end, range_end in zip((entry.low, entry.high), target_range, strict=True)
    )
    return entry.model_copy(update={"low": low, "high": high})


def _map_label(index: int, entry: CCMap) -> str:
    return f"[[cc]] {index + 1}, {entry.source} to {entry.target!r}"


def _in_range(value: float, latent: Latent) -> bool:
    """Return whether a value lies in a latent's range, or just outside."""
    margin = ROUNDED * (latent.high - latent.low)
    return latent.low - margin <= value <= latent.high + margin


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
    if preset.play.mode == "chord" and not card.keyed:
        yield Fault(
            ("play", "mode"),
            f"play.mode 'chord' needs a model whose keys choose the note, those of {card.name!r} do not; use 'poly' or "
            "'mono', or a model of notes",
        )


def _kind_faults(preset: Preset, card: Card) -> Iterator[Fault]:
    """Faults of tables and keys that are for models of other kinds."""
    model_kind = kind_of(card)
    other_kinds = [kind for kind in reversed(known_kinds().values()) if kind is not model_kind]  # the first kind wins
    kind_by_section = {
        section: other_kind
        for other_kind in other_kinds
        for section in other_kind.sections
        if section not in model_kind.sections
    }
    for section, other_kind in kind_by_section.items():
        section_settings = getattr(preset, section, None)  # a package's table is in presets of its kind alone
        if section_settings is not None and section_settings != []:
            table_text = f"[[{section}]]" if isinstance(section_settings, list) else f"[{section}]"
            yield Fault(
                (section,),
                f"{table_text} is for models of kind {other_kind.name!r}, {card.name!r} is of kind {card.kind!r}; "
                f"remove {table_text} or choose another model",
            )
    kind_by_play_key = {
        play_key: other_kind
        for other_kind in other_kinds
        for play_key in other_kind.played
        if play_key not in model_kind.played
    }
    for play_key, other_kind in kind_by_play_key.items():
        if play_key in preset.play.model_fields_set:
            yield Fault(
                ("play", play_key),
                f"play.{play_key} is for models of kind {other_kind.name!r}, {card.name!r} is of kind {card.kind!r}; "
                f"remove it{model_kind.replacement_hint}",
            )
    yield from model_kind.faults(model_kind.select_section(preset), preset.play, preset.tuning, card)


def _map_faults(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> Iterator[Fault]:
    """Faults of ``[[cc]]`` tables."""
    target_ranges, no_image = ranges(preset, card) | dict(effects), kind_of(card).no_image(preset.play, card)
    set_values = preset.effect_values()
    for index, cc_map in enumerate(_with_targets(preset, card)):
        map_label = _map_label(index, cc_map)
        if cc_map.target == MORPH and preset.morph is None:
            yield Fault(("cc", index, "target"), f"{map_label}: {NO_MORPH}")
            continue
        if cc_map.target not in target_ranges:
            known_targets = [*target_ranges, *targets_by_name(preset, card)]
            complaint = target_absence(cc_map.target, known_targets, no_image)
            yield Fault(("cc", index, "target"), f"{map_label}: {complaint}")
            continue
        allowed_range = None if cc_map.target.startswith("latent.") else target_ranges[cc_map.target]
        for end_name, end_value in (("low", cc_map.low), ("high", cc_map.high)):
            if (
                allowed_range is not None
                and end_value is not None
                and not allowed_range[0] <= end_value <= allowed_range[1]
            ):
                hint = seconds_hint(end_value, allowed_range[1]) if cc_map.target.endswith("_seconds") else ""
                complaint = (
                    f"{map_label}: {end_name} = {end_value:g} is out of range "
                    f"[{allowed_range[0]:g}, {allowed_range[1]:g}]{hint}"
                )
                yield Fault(("cc", index, end_name), complaint)
        if cc_map.takeover != "jump" and cc_map.target in effects and cc_map.target not in set_values:
            _, effect_number, parameter = cc_map.target.split(".", 2)
            yield Fault(
                ("cc", index, "takeover"),
                f"{map_label}: takeover = {cc_map.takeover!r} needs to know where it starts; set {parameter} "
                f"in [[effects]] {int(effect_number) + 1}",
            )


def _macro_faults(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> Iterator[Fault]:
    """Faults of ``[[macro]]`` tables."""
    target_ranges, all_macro_targets = ranges(preset, card) | dict(effects), macro_targets(preset.macro)
    no_image = kind_of(card).no_image(preset.play, card)
    set_values = preset.effect_values()
    for macro_index, macro in enumerate(preset.macro):
        for target_index, macro_target in enumerate(macro.targets):
            fault_keys: tuple[str | int, ...] = ("macro", macro_index, "targets", target_index)
            target_label = f"[[macro]] {macro_index + 1}, {macro.name!r} to {macro_target.target!r}"
            if macro_target.target in all_macro_targets:
                yield Fault(fault_keys, f"{target_label}: a macro moves no macro; give it that one's targets")
            elif macro_target.target == MORPH and preset.morph is None:
                yield Fault(fault_keys, f"{target_label}: {NO_MORPH}")
            elif macro_target.target not in target_ranges:
                candidate_targets = [target for target in target_ranges if target not in all_macro_targets]
                complaint = target_absence(macro_target.target, candidate_targets, no_image)
                yield Fault(fault_keys, f"{target_label}: {complaint}")
            elif macro_target.target in effects and macro_target.target not in set_values:
                _, effect_number, parameter = macro_target.target.split(".", 2)
                complaint = f"it is added to what that is; set {parameter} in [[effects]] {int(effect_number) + 1}"
                yield Fault(fault_keys, f"{target_label}: {complaint}")


def _motion_faults(motion: MotionSettings, card: Card, morphs: bool) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Paths of faulty keys in a ``[[motion]]`` table, and complaints."""
    latent_targets = card.latent_targets
    if motion.target == MORPH and not morphs:
        yield ("target",), f"target {MORPH!r}: {NO_MORPH}"
    if motion.target not in (None, MORPH, *latent_targets):
        yield (
            ("target",),
            f"target {motion.target!r} is no latent of model {card.name!r}"
            f"{nearest(motion.target or '', latent_targets)}",
        )
    if motion.walk is not None and not (card.landmarks and any(latent.std > 0 for latent in card.latents)):
        yield (
            ("walk",),
            f"a walk stays near training codes, and the card of model {card.name!r} holds none (its landmarks and "
            "deviations); export it again, or give a path",
        )
    if motion.learned is not None and card.learned_path is None:
        yield (
            ("learned",),
            f"a learned path is a file beside its model, and the card of model {card.name!r} names none; take a model "
            "of recipe grain-path, or give a walk",
        )
    if motion.start == "note" and not kind_of(card).decodes_notes:
        yield (
            ("start",),
            f"start 'note': model {card.name!r} is of kind {card.kind!r}, whose sounds are made before their keys go "
            "down, so that no path can begin with them; leave start out",
        )
    for code_index, code in enumerate(motion.path or []):
        if len(code) != len(latent_targets):
            yield (
                ("path", code_index),
                f"code {code_index + 1} of path has {len(code)} numbers, model {card.name!r} "
                f"has {len(latent_targets)} latents; give {len(latent_targets)}",
            )


def _note_faults(note: NoteSettings, card: Card) -> Iterator[str]:
    """Complaints about a ``[[note]]`` table."""
    kind = kind_of(card)
    latent_targets = card.latent_targets
    allowed_targets = [*latent_targets, *ENVELOPE_CONTROLS, *kind.of_notes]
    if note.target not in allowed_targets:
        yield f"target {note.target!r} is none that a note has for itself{nearest(note.target, allowed_targets)}"
    if note.target in latent_targets and not kind.decodes_notes:
        yield (
            f"target {note.target!r}: model {card.name!r} is of kind {card.kind!r}, whose sounds are made before their "
            f"keys go down, so that no {note.source} moves them; give a target of the envelope, or remove this [[note]]"
        )
