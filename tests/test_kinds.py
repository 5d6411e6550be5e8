"""Kinds of models and families of networks are asked, never compared by name: their names stand in few files."""

import ast
import importlib
from pathlib import Path

import pytest
from timbrel.host.kinds.table import CLASSES, KINDS, kind_of
from timbrel.host.preset.preset import Preset
from timbrel.train.families import FOLDERS

ROOT = Path(__file__).parents[1]
# Where the names are given: by a kind's or a family's own files, by the tables of rows, and by the format of cards.
OF_KINDS = ("host/kinds/", "host/model/card.py", "export/families/")
OF_FAMILIES = ("train/families/", "export/families/", "export/study/", "export/commands.py")


def strings(path):
    """Every string of a file but those that document, the names of fields asked for by string, and numpy's modes."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modes = [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "mode"]
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in modes:
            yield node.value, node.lineno


def compared(path):
    """The value of each constant, a file's own or one that it imports, that is compared or matched there."""
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
    module = importlib.import_module(".".join(("timbrel", *parts)))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Compare():
                sides = [node.left, *node.comparators]
            case ast.MatchValue():
                sides = [node.value]
            case _:
                continue
        for side in sides:
            for each in side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]:
                value = constant(module, each)
                if isinstance(value, str):
                    yield value, each.lineno


def constant(module, node):
    """What a name, or a name's attribute, stands for in a module; None where it is no constant."""
    match node:
        case ast.Name():
            return vars(module).get(node.id)
        case ast.Attribute(value=ast.Name(id=owner)):
            return getattr(vars(module).get(owner), node.attr, None)
    return None


def found(names, allowed, tops, said=strings):
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(allowed):
                yield from (f"{name}:{line} {text!r}" for text, line in said(path) if text in names)


def test_no_other_file_of_the_host_names_a_kind():
    assert list(found(set(CLASSES), OF_KINDS, ["host"])) == []


def test_no_other_file_names_a_family():
    """`chroma` is an input of decoders too, and a way to augment encoders: those are not families."""
    families = set(FOLDERS) - {"chroma"}
    assert list(found(families, OF_FAMILIES + OF_KINDS, ["train", "export"])) == []


def test_no_file_but_tables_compares_with_a_constant_that_is_such_a_name():
    names = {*CLASSES, *FOLDERS}
    assert list(found(names, OF_FAMILIES + OF_KINDS, ["host", "train", "export"], compared)) == []


@pytest.mark.parametrize("name", CLASSES)
def test_a_preset_has_the_tables_of_each_kind(name):
    assert set(KINDS[name].sections) <= set(Preset.model_fields)


@pytest.mark.parametrize("name", CLASSES)
def test_a_card_s_kind_is_found_by_its_name(name):
    class Card:
        kind = name

    assert kind_of(Card()) is KINDS[name]
