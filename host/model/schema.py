"""The metadata of a model as one JSON document, and its JSON schema, which docs/model.schema.json holds."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from ..kinds.card_fields import MEANINGS
from .card import Card
from .gesture import GESTURE_KEY, Gestures, NoteWay
from .gesture_tables import TABLE_FORMAT, TYPES, Table
from .learned_path import LearnedPath, PathCard, path_file
from .map import MAP_KEY, StoredMap
from .model import Model, metadata

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCES = "#/$defs/{model}"
PACKED = "base64 of zlib of int8; empty without"  # texts that hold numbers


def document(model: Model) -> dict[str, Any]:
    """Return a model's card with its ``gesture``, ``map`` and ``path`` as the files have them, where there are some.

    Raises:
        UserError: the learned path beside the model is damaged.
    """
    texts = metadata(model.session, model.path)
    parts = {name: json.loads(texts[key]) for name, key in (("gesture", GESTURE_KEY), ("map", MAP_KEY)) if key in texts}
    if model.card.learned_path is not None and path_file(model.path).exists():
        parts["path"] = LearnedPath(model).card.model_dump(mode="json")
    return model.card.model_dump(mode="json") | parts


def schema() -> dict[str, Any]:
    """Return the JSON schema of `document`."""
    card = _schema_of(Card)
    definitions = card.pop("$defs")
    for part in (Gestures, StoredMap, PathCard, Table):
        definition = _schema_of(part)
        definitions |= definition.pop("$defs", {}) | {part.__name__: definition}
    for name, meaning in MEANINGS.items():
        card["properties"][name]["description"] = meaning
    _allow_tables(definitions)
    parts = {"gesture": Gestures, "map": StoredMap, "path": PathCard}
    card["properties"] |= {name: {"$ref": REFERENCES.format(model=part.__name__)} for name, part in parts.items()}
    title = {
        "$schema": DIALECT,
        "title": "timbrel model",
        "description": " ".join((document.__doc__ or "").split("\n")[:1]),
    }
    return title | {name: card[name] for name in ("type", "properties", "required")} | {"$defs": definitions}


def schema_text() -> str:
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


class _Generator(GenerateJsonSchema):
    def render_warning_message(self, kind: JsonSchemaWarningKind, detail: str) -> str | None:
        """Return None, for no warning, where a default is an array, which JSON lacks."""
        return None if kind == "non-serializable-default" else super().render_warning_message(kind, detail)


def _schema_of(part: type[BaseModel]) -> dict[str, Any]:
    """Return a part's schema, without the titles that repeat names, with one line a description."""
    fields: dict[str, Any] = _plain(
        part.model_json_schema(ref_template=REFERENCES, schema_generator=_Generator, mode="validation")
    )
    return fields


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _plain(value) for name, value in node.items() if not (name == "title" and isinstance(value, str))}
    if isinstance(plain.get("description"), str):
        plain["description"] = " ".join(plain["description"].split())
    return plain


def _allow_tables(definitions: dict[str, Any]) -> None:
    """Describe both formats of gestures: lists in notes, or tables beside them."""
    note, gestures = definitions[NoteWay.__name__], definitions[Gestures.__name__]
    for field in note["properties"].values():
        if field.get("type") == "string":
            field["description"] = PACKED
    listed = [name for name in note["required"] if name in TYPES]
    note["required"] = [name for name in note["required"] if name not in TYPES]
    table = {"$ref": REFERENCES.format(model=Table.__name__)}
    gestures["properties"]["tables"] = {
        "type": "object",
        "properties": dict.fromkeys(TYPES, table),
        "required": listed,
    }
    notes_have_lists = {"items": {"properties": {"notes": {"items": {"required": listed}}}}}
    notes_have_none = {
        "items": {"properties": {"notes": {"items": {"not": {"anyOf": [{"required": [name]} for name in TYPES]}}}}}
    }
    gestures["oneOf"] = [
        {"properties": {"format": {"const": TABLE_FORMAT - 1}, "instruments": notes_have_lists}},
        {
            "properties": {"format": {"const": TABLE_FORMAT}, "instruments": notes_have_none},
            "required": ["tables"],
        },
    ]
