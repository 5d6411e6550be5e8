"""A preset is followed through few files: from the command to the hands, and no further."""

import ast
import re
from pathlib import Path

import pytest

HOST = Path(__file__).parents[1] / "host"
BELOW = ("audio", "contract", "engines", "kinds", "play")  # rooms that a patch is given to, and those that these use
WHOLE = re.compile(r"\b(Preset|Patch)\b")
NAMES = {"preset", "presets", "patch", "patches"}


def takes_a_whole_preset(text):
    """Whether a function in the text of a module has a preset or a patch as an argument."""
    return any(
        node.arg in NAMES or (node.annotation is not None and WHOLE.search(ast.unparse(node.annotation)))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.arg)
    )


def modules(*rooms):
    files = [path for room in rooms for path in (HOST / room).glob("*.py")]
    return {path.relative_to(HOST).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_no_part_of_an_instrument_below_the_hands_takes_a_whole_preset():
    found = {name for name, text in modules(*BELOW).items() if takes_a_whole_preset(text)}
    assert found == {"play/succession.py", "play/rack.py", "play/worker.py", "play/instrument.py", "play/hands.py"}


def test_only_an_instrument_and_its_hands_ask_again_what_fits_a_preset():
    found = {name for name, text in modules(*BELOW).items() if "patch.agreement" in text}
    assert found == {"play/instrument.py", "play/hands.py"}


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("def f(preset): pass", True),
        ("def f(given: 'Mapping[int, Patch]'): pass", True),
        ("class C:\n    def __init__(self, *, of: Preset | None = None): pass", True),
        ("def f(play: PlaySettings, card: Card): pass", False),
    ],
)
def test_a_whole_preset_is_noticed(text, whole):
    assert takes_a_whole_preset(text) == whole
