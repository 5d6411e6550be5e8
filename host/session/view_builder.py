"""Builds the view of a preset: controls, card, file."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ..errors import printable
from ..kinds.kind import IMAGE
from ..kinds.spectrum import VIBRATO
from ..kinds.table import kind_of
from ..model.card import Card
from ..model.model import Model
from ..model.pack import digest_of
from ..play.controllers import Mapper
from ..preset.library import Patch
from ..preset.midi_learn import with_targets
from ..preset.modulation import Modulation, modulations, played_instrument
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
    rack_channel, patch = next(iter(by_channel(patches).items()))
    return view_of_patch(
        names[rack_channel if rack_channel in patches else None], patch, rack_channel, knobs[rack_channel]
    )


def view_of_patch(name: str | Draft, patch: Patch, channel: int, knobs: Mapper, home: Path = Path()) -> PresetView:
    """View of a patch opened from ``name``, on a rack channel, 0 to 15, with ``knobs`` at rest."""
    preset, card = patch.preset, patch.model.card
    file, folder, text = _source(name, patch, home)
    labels_by_key = {key_settings.key: printable(key_settings.sound) for key_settings in preset.keys}
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
        keys={key: labels_by_key.get(key, "") for key in sorted(patch.tuning)},
        controls=list(controls(preset, patch.model, knobs, modulations(patch))),
        macros=[macro.name for macro in preset.macro],
        ahead_ms=_ahead_ms(preset, card),
        warnings=patch.warnings,
        files=patch.draft_files,
        draft=isinstance(name, Draft),
    )


def controls(
    preset: Preset, model: Model, knobs: Mapper, sources: Mapping[str, Sequence[Modulation]] = MappingProxyType({})
) -> Iterator[ControlView]:
    """Controls in display order; those of gestures, of vibrato and of the image only if they change a note.

    Maps down to the last of a latent come first, in the file's order: so a preset chooses the first knobs of panels and
    plugins.
    """
    card = model.card
    idle_targets = _idle_targets(preset, model)
    spans_by_target = {target: span for target, span in knobs.ranges.items() if target not in idle_targets}
    mapped_targets = [cc_map.target for cc_map in preset.cc]
    while mapped_targets and not mapped_targets[-1].startswith("latent."):
        mapped_targets.pop()
    places_by_target, titles_by_target = _places(preset, card), names_by_target(preset, card)
    choices_by_target = kind_of(card).choices(card)
    display_order = dict.fromkeys([*mapped_targets, *(target for target in places_by_target if target != IMAGE)])
    # Effects come last, by number, but for the image: plugins number parameters, and had none of it.
    order = {target: index for index, target in enumerate(display_order)}
    descriptions_by_target = {
        f"latent.{latent_index}": printable(latent.remark) for latent_index, latent in enumerate(card.latents)
    }

    def place_in_order(target: str) -> tuple[int, bool, tuple[str | int, ...]]:
        return order.get(target, len(order)), target == IMAGE, effect_place(target)[1:2]

    for target in sorted(spans_by_target, key=place_in_order):
        low, high = spans_by_target[target]
        group, control, key_path = places_by_target.get(target, ("effects", None, effect_place(target)))
        yield ControlView(
            target=target,
            title=titles_by_target.get(target) or _title(target, preset),
            group=group,
            low=low,
            high=high,
            rest=knobs.at(target),
            unit=_unit(target) if control is None else control.unit,
            place=key_path,
            choices=tuple(choices_by_target.get(target, ())),
            maps=tuple(_map(cc_map) for cc_map in preset.cc if cc_map.target == target),
            description=descriptions_by_target.get(target, ""),
            sources=tuple(SourceView(*source) for source in sources.get(target, ())),
        )


def _idle_targets(preset: Preset, model: Model) -> set[str]:
    """Return targets of the model's kind that change no note of this model, or of the instrument played."""
    if model.gestures is None:
        return set(kind_of(model.card).of_notes)
    plays_image = preset.play.image_bands or not played_instrument(preset, model, model.gestures).is_mono
    return {target for target, moves in ((VIBRATO, model.gestures.vibrates), (IMAGE, plays_image)) if not moves}


def _ahead_ms(preset: Preset, card: Card) -> float | None:
    """Lookahead; None if frames are independent."""
    kind = kind_of(card)
    ahead_seconds = kind.ahead_seconds(kind.select_section(preset), card, preset.tempo_bpm)
    return None if ahead_seconds is None else 1000 * ahead_seconds


def _map(cc_map: CCMap) -> MapView:
    """View of a preset's controller map."""
    (source_key,) = ((name, value) for name in SOURCES if (value := getattr(cc_map, name)) is not None)
    return MapView(cc_map.source, cc_map.takeover, *cc_map.ends, cc_map.curve, source_key, cc_map.channel)


Place = tuple[str, Control | None, tuple[str | int, ...]]  # a target's group, its declaration, its keys in the file


def _places(preset: Preset, card: Card) -> dict[str, Place]:
    """Group, declaration and file keys of each target, in display order."""
    model_kind = kind_of(card)
    places_by_target: dict[str, Place] = {
        f"latent.{index}": ("latent", None, ("latent", "values", index)) for index in range(len(card.latents))
    }
    places_by_target |= {
        f"macro.{index}": ("macro", None, ("macro", index, "position")) for index in range(len(preset.macro))
    }
    places_by_target[MORPH] = ("morph", None, ("morph", "position"))
    controls_by_table = {"play": controls_of(PlaySettings), "envelope": ENVELOPE_CONTROLS, "process": PROCESS_CONTROLS}
    if model_kind.sections:
        controls_by_table[model_kind.sections[0]] = dict(model_kind.controls)
    for table_name, table_controls in controls_by_table.items():
        places_by_target |= {
            target: (table_name, control, (table_name, control.field)) for target, control in table_controls.items()
        }
    for target in model_kind.choices(card):
        table_name, _, field_name = target.partition(".")
        places_by_target[target] = (table_name, None, (table_name, field_name))
    return places_by_target


def _title(target: str, preset: Preset) -> str:
    """Title of an unnamed target."""
    last_part = target.rpartition(".")[2]
    if target.startswith("latent."):
        return f"latent {last_part}"
    words = last_part.split("_")
    return " ".join(words[:-1] if len(words) > 1 and words[-1] in UNITS else words)


def _unit(target: str) -> str:
    return UNITS.get(target.rpartition("_")[2], "") if target.startswith("effects.") else ""


def _card(card: Card) -> list[tuple[str, str]]:
    """Labels and texts of the card, without empty ones."""
    training = card.training
    card_lines = [
        ("licence", card.license),
        ("credits", card.credits),
        ("made", f"{card.created}, recipe {training.recipe}, {training.steps} steps"),
        ("corpus", f"{training.corpus}: {training.clips} clips, {training.seconds:.0f} s"),
        *kind_of(card).frames(card),
    ]
    return [(label, printable(text)) for label, text in card_lines if text]


def _source(name: str | Draft, patch: Patch, home: Path) -> tuple[Path | None, Path, str]:
    """File, folder and text of the preset that ``name`` opened; no file for drafts and bare models."""
    if isinstance(name, Draft):
        return None, name.folder, name.text
    named_path = Path(name)
    file_path = preset_file(name)
    if file_path is None and name not in shipped_models() and named_path.suffix != ".onnx":
        file_path = named_path
    if file_path is not None and digest_of(file_path) is not None and patch.text is not None:
        return file_path, file_path.parent, patch.text
    if file_path is not None:
        return file_path, file_path.parent, preset_text(file_path)
    model_name = name if name in shipped_models() else os.path.relpath(named_path, home)
    return (
        None,
        home,
        patch.preset.model_copy(update={"model": model_name}).to_toml(
            names=names_by_target(patch.preset, patch.model.card)
        ),
    )
