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
        for key, what in effect_faults(effect):
            yield Fault(("effects", index, key), f"[[effects]] {index + 1} ({effect.plugin}): {what}")
    yield from _map_faults(preset, card, effects)
    yield from _macro_faults(preset, card, effects)
    for index, motion in enumerate(preset.motion):
        for inside, what in _motion_faults(motion, card, preset.morph is not None):
            yield Fault(("motion", index, *inside), f"[[motion]] {index + 1}: {what}")
    for index, note in enumerate(preset.note):
        for what in _note_faults(note, card):
            yield Fault(("note", index, "target"), f"[[note]] {index + 1}: {what}")
    known = ranges(preset, card) | dict(effects)
    for index, snapshot in enumerate(preset.snapshot):
        for target, what in snapshot_faults(snapshot, card, known):
            yield Fault(("snapshot", index, "values", target), f"[[snapshot]] {index + 1}: {what}")


def gesture_faults(preset: Preset, model: Model) -> Iterator[Fault]:
    """Yield a fault for an unknown ``gesture.instrument``."""
    name = None if preset.gesture is None else preset.gesture.instrument
    if name is None or model.gestures is None:
        return
    labels = {one.label for one in model.gestures.instruments}
    if name not in labels:
        hint = nearest(name, labels) if labels != {""} else "; its recordings are of one, without a name: leave it out"
        yield Fault(
            ("gesture", "instrument"),
            f"gesture.instrument {name!r} is none of those whose gestures model {model.card.name!r} has{hint}",
        )


def check(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> None:
    """Raise `UserError` with a line a fault."""
    if found := list(faults(preset, card, effects)):
        raise UserError(*(fault.what for fault in found))


def check_real_time(preset: Preset, name: str, purpose: str) -> None:
    """Raise `UserError` for phases that take longer than their sound."""
    if preset.play.phase == "best":
        raise UserError(f"preset {name!r}: play.phase = 'best' takes its time; set 'coherent' to {purpose}")


def strays(preset: Preset, card: Card) -> Iterator[Fault]:
    """Values and map ends of latents outside the training range, as warnings."""
    names = card.latent_targets
    for key, values in (("latent", preset.latent.values), ("morph", preset.morph and preset.morph.values)):
        for index, (value, latent) in enumerate(zip(values or [], card.latents, strict=False)):
            if not _within(value, latent):
                what = f"{key}.values: its number {index + 1}, {value:g}, is outside {_span(index, latent)}"
                yield Fault((key, "values", index), what)
    for index, entry in enumerate(_with_targets(preset, card)):
        if entry.target not in names:
            continue
        latent = card.latents[names.index(entry.target)]
        for end, place in (("low", entry.low), ("high", entry.high)):
            if place is not None and not _within(place, latent):
                what = f"{_map(index, entry)}: {end} = {place:g} is outside {_span(names.index(entry.target), latent)}"
                yield Fault(("cc", index, end), what)


def fitted(preset: Preset, card: Card, folder: Path, files: Mapping[str, bytes] = MappingProxyType({})) -> Preset:
    """Preset with ``knobs`` as maps, omitted ends of maps filled in and their targets' names resolved.

    Only an omitted end loads plugins.

    Raises:
        UserError: the plugin cannot be used, or has no such parameter.
    """
    own = [CCMap(number=number, target=f"latent.{index}") for index, number in enumerate(preset.knobs)]
    cc = [*own, *_with_targets(preset, card)]
    known = ranges(preset, card) | known_effects(preset)
    open_ends = [entry for entry in cc if None in (entry.low, entry.high)]
    if any(known.get(entry.target) is None for entry in open_ends):
        known |= EffectChain(preset.effects, ANY_RATE, folder, files).targets()
    return preset.model_copy(update={"cc": [_with_ends(entry, known) for entry in cc], "knobs": []})


def ranges(preset: Preset, card: Card) -> dict[str, Range | None]:
    """Range of each target except effects'."""
    known: dict[str, Range | None] = dict(zip(card.latent_targets, card.spans, strict=True))
    for control in (*PLAY_CONTROLS.values(), *PROCESS_CONTROLS.values()):
        known[control.name] = (control.low, control.high)
    kind = kind_of(card)
    known |= kind.targets(preset.of_kind(kind), card)
    if preset.morph is not None:
        known[MORPH] = (0.0, 1.0)
    return known | dict.fromkeys(macro_targets(preset.macro), (0.0, 1.0))


def named(preset: Preset, card: Card) -> dict[str, str]:
    """Names of latents and macros, by target."""
    names = {f"latent.{number}": latent.name for number, latent in enumerate(card.latents)}
    names |= {f"macro.{number}": macro.name for number, macro in enumerate(preset.macro)}
    return {target: printable(name) for target, name in names.items() if name != target.replace(".", " ")}


def targets_by_name(preset: Preset, card: Card) -> dict[str, str]:
    """Targets of latents and macros by a name that no other has."""
    names = {f"latent.{number}": latent.name for number, latent in enumerate(card.latents)}
    names |= {f"macro.{number}": macro.name for number, macro in enumerate(preset.macro)}
    known, all_names = ranges(preset, card), list(names.values())
    return {name: target for target, name in names.items() if all_names.count(name) == 1 and name not in known}


def titled(target: str, preset: Preset, card: Card) -> str:
    name = named(preset, card).get(target)
    return target if name is None else f"{target} ({name})"


def reach(preset: Preset, card: Card, effects: Mapping[str, Range]) -> dict[str, Range]:
    """Range of each target, widened by the preset's values and map ends."""
    known = {target: span for target, span in ranges(preset, card).items() if span is not None} | dict(effects)
    ends = [(entry.target, end) for entry in preset.cc for end in (entry.low, entry.high) if end is not None]
    rests = [(f"latent.{index}", value) for index, value in enumerate(preset.latent_values(card))]
    for target, place in (*rests, *ends):
        if target in known:
            low, high = known[target]
            known[target] = (min(low, place), max(high, place))
    return known


def known_effects(preset: Preset) -> dict[str, Range | None]:
    """Ranges of effects' targets before plugins are loaded; None for plugins'."""
    known: dict[str, Range | None] = {}
    of_plugins = {str(index) for index, effect in enumerate(preset.effects) if effect.plugin.endswith(PLUGINS)}
    for index, effect in enumerate(preset.effects):
        known |= {f"effects.{index}.{name}": span for name, span in RANGES.get(effect.plugin, {}).items()}
    stored = (target for snapshot in preset.snapshot for target in snapshot.values)
    for target in (*(entry.target for entry in preset.cc), *preset.macro_targets, *stored):
        kind, _, rest = target.partition(".")
        number = rest.partition(".")[0]
        if kind == "effects" and number in of_plugins:
            known[target] = None
    return known


def _with_targets(preset: Preset, card: Card) -> list[CCMap]:
    """Maps with names of targets resolved."""
    names = targets_by_name(preset, card)
    return [
        entry.model_copy(update={"target": names[entry.target]}) if entry.target in names else entry
        for entry in preset.cc
    ]


def _with_ends(entry: CCMap, known: Mapping[str, Range | None]) -> CCMap:
    span = known.get(entry.target)
    if span is None:
        return entry
    low, high = (own if given is None else given for given, own in zip((entry.low, entry.high), span, strict=True))
    return entry.model_copy(update={"low": low, "high": high})


def _map(index: int, entry: CCMap) -> str:
    return f"[[cc]] {index + 1}, {entry.source} to {entry.target!r}"


def _within(value: float, latent: Latent) -> bool:
    slack = ROUNDED * (latent.high - latent.low)
    return latent.low - slack <= value <= latent.high + slack


def _span(index: int, latent: Latent) -> str:
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
    own = kind_of(card)
    others = [kind for kind in reversed(KINDS.values()) if kind is not own]  # the first kind wins
    sections = {section: other for other in others for section in other.sections if section not in own.sections}
    for section, other in sections.items():
        given = getattr(preset, section)
        if given is not None and given != []:
            table = f"[[{section}]]" if isinstance(given, list) else f"[{section}]"
            yield Fault(
                (section,),
                f"{table} is for models of kind {other.name!r}, {card.name!r} is of kind {card.kind!r}; "
                f"remove {table} or choose another model",
            )
    played = {name: other for other in others for name in other.played if name not in own.played}
    for name, other in played.items():
        if name in preset.play.model_fields_set:
            yield Fault(
                ("play", name),
                f"play.{name} is for models of kind {other.name!r}, {card.name!r} is of kind {card.kind!r}; "
                f"remove it{own.instead}",
            )
    yield from own.faults(preset.of_kind(own), preset.play, preset.tuning, card)


def _map_faults(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> Iterator[Fault]:
    known = ranges(preset, card) | dict(effects)
    set_values = preset.effect_values()
    for index, entry in enumerate(_with_targets(preset, card)):
        name = _map(index, entry)
        if entry.target == MORPH and preset.morph is None:
            yield Fault(("cc", index, "target"), f"{name}: {NO_MORPH}")
            continue
        if entry.target not in known:
            names = targets_by_name(preset, card)
            what = f"{name}: target {entry.target!r} does not exist{nearest(entry.target, [*known, *names])}"
            yield Fault(("cc", index, "target"), what)
            continue
        allowed = None if entry.target.startswith("latent.") else known[entry.target]
        for end, value in (("low", entry.low), ("high", entry.high)):
            if allowed is not None and value is not None and not allowed[0] <= value <= allowed[1]:
                hint = seconds_hint(value, allowed[1]) if entry.target.endswith("_seconds") else ""
                what = f"{name}: {end} = {value:g} is out of range [{allowed[0]:g}, {allowed[1]:g}]{hint}"
                yield Fault(("cc", index, end), what)
        if entry.takeover != "jump" and entry.target in effects and entry.target not in set_values:
            _, number, parameter = entry.target.split(".", 2)
            yield Fault(
                ("cc", index, "takeover"),
                f"{name}: takeover = {entry.takeover!r} needs to know where it starts; set {parameter} in [[effects]] "
                f"{int(number) + 1}",
            )


def _macro_faults(preset: Preset, card: Card, effects: Mapping[str, Range | None]) -> Iterator[Fault]:
    known, own = ranges(preset, card) | dict(effects), macro_targets(preset.macro)
    set_values = preset.effect_values()
    for place, macro in enumerate(preset.macro):
        for number, entry in enumerate(macro.targets):
            where: tuple[str | int, ...] = ("macro", place, "targets", number)
            name = f"[[macro]] {place + 1}, {macro.name!r} to {entry.target!r}"
            if entry.target in own:
                yield Fault(where, f"{name}: a macro moves no macro; give it that one's targets")
            elif entry.target == MORPH and preset.morph is None:
                yield Fault(where, f"{name}: {NO_MORPH}")
            elif entry.target not in known:
                others = [target for target in known if target not in own]
                yield Fault(where, f"{name}: target {entry.target!r} does not exist{nearest(entry.target, others)}")
            elif entry.target in effects and entry.target not in set_values:
                _, effect, parameter = entry.target.split(".", 2)
                what = f"it is added to what that is; set {parameter} in [[effects]] {int(effect) + 1}"
                yield Fault(where, f"{name}: {what}")


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
    known = [*latents, *ENVELOPE_CONTROLS, *kind.of_notes]
    if note.target not in known:
        yield f"target {note.target!r} is none that a note has for itself{nearest(note.target, known)}"
    if note.target in latents and not kind.decodes_notes:
        yield (
            f"target {note.target!r}: model {card.name!r} is of kind {card.kind!r}, whose sounds are made before their "
            f"keys go down, so that no {note.source} moves them; give a target of the envelope, or remove this [[note]]"
        )
