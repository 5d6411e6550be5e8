"""Builds the panel's view of a preset: controls, card, file."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ..errors import printable
from ..kinds.spectrum import VIBRATO
from ..kinds.table import kind_of
from ..model.card import Card
from ..model.model import Model
from ..model.pack import digest_of
from ..play.controllers import Mapper
from ..preset.cc_binding import with_targets
from ..preset.library import Patch
from ..preset.modulation import Modulation, modulations
from ..preset.preset import ENVELOPE_CONTROLS, MORPH, PROCESS_CONTROLS, SOURCES, CCMap, PlaySettings, Preset
from ..preset.shipped import Draft, preset_file, preset_text, shipped_models
from ..preset.text import effect_place
from ..preset.validation import names_by_target, targets_by_name
from ..settings import Control, controls_of
from .channel_presets import Slot, by_channel
from .view import ControlView, MapView, PresetView, SourceView

UNITS = {"hz": "Hz", "db": "dB", "ms": "ms", "seconds": "s", "semitones": "semitones"}  # by a name's suffix


def view_of(
    names: Mapping[Slot, str | Draft], patches: Mapping[Slot, Patch], knobs: Mapping[int, Mapper]
) -> PresetView:
    """`view_of_patch` of the preset of all other channels, or of the first."""
    place, patch = next(iter(by_channel(patches).items()))
    return view_of_patch(names[place if place in patches else None], patch, place, knobs[place])


def view_of_patch(name: str | Draft, patch: Patch, channel: int, knobs: Mapper, home: Path = Path()) -> PresetView:
    """View of a patch opened from ``name``, on a rack channel, 0 to 15, with ``knobs`` at rest."""
    preset, card = patch.preset, patch.model.card
    file, folder, text = _source(name, patch, home)
    labels = {entry.key: printable(entry.label or "") for entry in preset.keys}
    return PresetView(
        name=patch.name,
        file=file,
        folder=folder,
        text=with_targets(text, targets_by_name(preset, card)),
        channel=channel,
        model=patch.model.path,
        model_name=printable(card.name),
        kind=card.kind,
        description=printable(card.description),
        latents=[
            (printable(latent.name), latent.low, latent.high, latent.default, latent.mean, latent.std)
            for latent in card.latents
        ],
        chroma=None if card.chroma is None else list(card.chroma.trained),
        card=_card(card),
        keys={key: labels.get(key, "") for key in sorted(patch.tuning)},
        controls=list(controls(preset, patch.model, knobs, modulations(patch))),
        warnings=patch.warnings,
        files=patch.draft_files,
        draft=isinstance(name, Draft),
    )


def controls(
    preset: Preset, model: Model, knobs: Mapper, sources: Mapping[str, Sequence[Modulation]] = MappingProxyType({})
) -> Iterator[ControlView]:
    """Controls in display order; those of gestures only if the model has any, of vibrato likewise."""
    card = model.card
    idle = kind_of(card).of_notes if model.gestures is None else {} if model.gestures.vibrates else {VIBRATO}
    reach = {target: span for target, span in knobs.reach.items() if target not in idle}
    places, titles, choices = _places(preset, card), names_by_target(preset, card), kind_of(card).choices(card)
    descriptions = {f"latent.{number}": printable(latent.remark) for number, latent in enumerate(card.latents)}
    for target, (low, high) in sorted(reach.items(), key=lambda entry: _order(entry[0], places)):
        group, control, place = places.get(target, ("effects", None, effect_place(target)))
        yield ControlView(
            target=target,
            title=titles.get(target) or _title(target, preset),
            group=group,
            low=low,
            high=high,
            rest=knobs.at(target),
            unit=_unit(target) if control is None else control.unit,
            place=place,
            choices=tuple(choices.get(target, ())),
            maps=tuple(_map(entry) for entry in preset.cc if entry.target == target),
            description=descriptions.get(target, ""),
            sources=tuple(SourceView(*source) for source in sources.get(target, ())),
        )


def _map(entry: CCMap) -> MapView:
    (key,) = ((name, value) for name in SOURCES if (value := getattr(entry, name)) is not None)
    return MapView(entry.source, entry.takeover, *entry.ends, entry.curve, key, entry.channel)


Place = tuple[str, Control | None, tuple[str | int, ...]]  # a target's group, its declaration, its keys in the file


def _places(preset: Preset, card: Card) -> dict[str, Place]:
    kind = kind_of(card)
    places: dict[str, Place] = {
        f"latent.{number}": ("latent", None, ("latent", "values", number)) for number in range(len(card.latents))
    }
    places |= {f"macro.{number}": ("macro", None, ("macro", number, "position")) for number in range(len(preset.macro))}
    places[MORPH] = ("morph", None, ("morph", "position"))
    tables = {"play": controls_of(PlaySettings), "envelope": ENVELOPE_CONTROLS, "process": PROCESS_CONTROLS}
    if kind.sections:
        tables[kind.sections[0]] = dict(kind.controls)
    for table, controls in tables.items():
        places |= {name: (table, control, (table, control.field)) for name, control in controls.items()}
    for name in kind.choices(card):
        table, _, field = name.partition(".")
        places[name] = (table, None, (table, field))
    return places


def _order(target: str, places: Mapping[str, Place]) -> tuple[int, tuple[str | int, ...]]:
    if target in places:
        return list(places).index(target), ()
    return len(places), effect_place(target)[1:2]


def _title(target: str, preset: Preset) -> str:
    name = target.rpartition(".")[2]
    if target.startswith("latent."):
        return f"latent {name}"
    words = name.split("_")
    return " ".join(words[:-1] if len(words) > 1 and words[-1] in UNITS else words)


def _unit(target: str) -> str:
    return UNITS.get(target.rpartition("_")[2], "") if target.startswith("effects.") else ""


def _card(card: Card) -> list[tuple[str, str]]:
    training = card.training
    lines = [
        ("licence", card.license),
        ("credits", card.credits),
        ("made", f"{card.created}, recipe {training.recipe}, {training.steps} steps"),
        ("corpus", f"{training.corpus}: {training.clips} clips, {training.seconds:.0f} s"),
        *kind_of(card).frames(card),
    ]
    return [(label, printable(text)) for label, text in lines if text]


def _source(name: str | Draft, patch: Patch, home: Path) -> tuple[Path | None, Path, str]:
    if isinstance(name, Draft):
        return None, name.folder, name.text
    path = Path(name)
    file = preset_file(name)
    if file is None and name not in shipped_models() and path.suffix != ".onnx":
        file = path
    if file is not None and digest_of(file) is not None and patch.text is not None:
        return file, file.parent, patch.text
    if file is not None:
        return file, file.parent, preset_text(file)
    model = name if name in shipped_models() else os.path.relpath(path, home)
    return (
        None,
        home,
        patch.preset.model_copy(update={"model": model}).to_toml(names=names_by_target(patch.preset, patch.model.card)),
    )
