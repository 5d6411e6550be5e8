"""Kinds of models and families of networks are asked, never compared by name: their names stand in few files."""

import ast
from pathlib import Path

import pytest
from timbrel.host.kinds.table import KINDS, kind_of
from timbrel.train.families import FAMILIES as TRAINED

ROOT = Path(__file__).parents[1]
# Where the names are given: by a kind's or a family's own files, by the tables of rows, and by the format of cards.
OWN = tuple(f"export/{name}.py" for name in ("chroma", "clip", "gan", "grain"))
OF_KINDS = ("host/kinds/", "host/contract/card.py", *OWN)
OF_FAMILIES = ("train/families.py", "train/recipes/", "export/families.py", "export/study/", "export/commands.py")


def strings(path):
    """Every string of a file but those that document, the names of fields asked for by string, and numpy's modes."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modes = [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "mode"]
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in modes:
            yield node.value, node.lineno


def found(names, allowed, tops):
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(allowed):
                yield from (f"{name}:{line} {text!r}" for text, line in strings(path) if text in names)


def test_no_other_file_of_the_host_names_a_kind():
    assert list(found(set(KINDS), OF_KINDS, ["host"])) == []


def test_no_other_file_names_a_family():
    """`chroma` is an input of decoders too, and a way to augment encoders: those are not families."""
    families = set(TRAINED) - {"chroma"}
    assert list(found(families, OF_FAMILIES + OF_KINDS, ["train", "export"])) == []


@pytest.mark.parametrize("name", KINDS)
def test_a_card_s_kind_is_found_by_its_name(name):
    class Card:
        kind = name

    assert kind_of(Card()) is KINDS[name]
