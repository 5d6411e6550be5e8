"""Controllers' messages mean the same as in a reading of all earlier ones; no other module reads them."""

import ast
from itertools import takewhile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from timbrel import host
from timbrel.host.events import (
    NULL_PARAMETER,
    AllOff,
    Clock,
    ControlChange,
    ControllersReset,
    DataEntry,
    NoteOn,
    PitchBend,
)
from timbrel.host.midi.controllers import ControllerReader

HOST = Path(host.__file__).parent
PARTS = {6: "coarse", 38: "fine", 96: "up", 97: "down"}
OFF = {120: True, 123: False, 124: False, 125: False, 126: False, 127: False}
MEANT = [*PARTS, *OFF, 98, 99, 100, 101, 121]
CONTROLS = st.builds(
    ControlChange,
    st.just(7),
    st.integers(0, 1),
    st.sampled_from([*MEANT, 98, 99, 100, 101, 6]),
    st.sampled_from([0, 2, 127]),
)


def selected(before):
    """Return whether the parameter is registered that messages of one channel have selected, and its number."""
    since = list(takewhile(lambda event: event.number != 121, reversed(before)))
    halves = [event for event in since if event.number in (98, 99, 100, 101)]
    registered = bool(halves) and halves[0].number in (100, 101)
    kind = (101, 100) if registered else (99, 98)
    alike = list(takewhile(lambda event: event.number in kind, halves))
    coarse, fine = (next((event.value for event in alike if event.number == number), 127) for number in kind)
    return registered, coarse * 128 + fine


@given(st.lists(CONTROLS, max_size=30))
def test_messages_mean_what_all_before_them_on_their_channel_make_of_them(messages):
    reader = ControllerReader()
    for index, message in enumerate(messages):
        registered, parameter = selected([event for event in messages[:index] if event.channel == message.channel])
        time, channel, number = message.time, message.channel, message.number
        expected = None
        if number in PARTS and parameter != NULL_PARAMETER:
            expected = DataEntry(time, channel, registered, parameter, PARTS[number], message.value)
        elif number == 121:
            expected = ControllersReset(time, channel)
        elif number in OFF:
            expected = AllOff(time, channel, OFF[number])
        assert reader.read(message) == expected


@given(st.integers(0, 127).filter(lambda number: number not in MEANT), st.integers(0, 127))
def test_all_other_messages_mean_themselves(number, value):
    for event in (
        ControlChange(3, 2, number, value),
        NoteOn(3, 2, number, 1),
        Clock(3, "tick"),
        PitchBend(3, 2, value),
    ):
        assert ControllerReader().read(event) is event


def told_apart(tree):
    """Integers that a value is compared or matched with, or with which a controller is made to speak."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.MatchValue):
            yield from ast.walk(node)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ControlChange":
            yield from node.args[2:3]


def test_only_the_controller_state_knows_the_numbers_of_controllers_that_mean_something_else():
    knows = {HOST / "midi" / "controllers.py"}
    hearing = {path for path in HOST.rglob("*.py") if "ControlChange" in path.read_text(encoding="utf-8")} - knows
    assert len(hearing) >= 8
    for path in hearing:
        for node in told_apart(ast.parse(path.read_text(encoding="utf-8"))):
            value = getattr(node, "value", None)
            assert type(value) is not int or value not in {*MEANT, 122}, f"{path}, line {node.lineno}: {value}"
