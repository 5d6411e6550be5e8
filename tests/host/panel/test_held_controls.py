"""Pages' presses, holds and releases are played as events, on the channel of the preset on show."""

from types import SimpleNamespace

import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterTouch
from timbrel.host.panel.held_controls import HeldControls


@pytest.fixture
def played():
    """The events that have been played."""
    return []


@pytest.fixture
def hands(played):
    return HeldControls(SimpleNamespace(put=lambda command: played.extend(command.events)))


@pytest.mark.parametrize("channel", [None, 5])
def test_keys_pedal_and_panic_are_events_of_this_moment_on_the_channel_of_the_preset(hands, played, channel):
    if channel is not None:
        hands.retouch([], channel)
    hands.key("one", 60, 100)
    hands.key("one", 60, 0)
    hands.pedal("one", True)
    hands.panic()
    on = channel or 0
    ends = [ControlChange(0, on, number, 0) for number in (64, 123, 120)]
    assert played == [NoteOn(0, on, 60, 100), NoteOff(0, on, 60), ControlChange(0, on, 64, 127), *ends]


def test_the_pedal_comes_up_with_the_last_page_that_pressed_it(hands, played):
    for page, down in (("one", True), ("two", True), ("one", False), ("two", False), ("two", False)):
        hands.pedal(page, down)
    assert played == [ControlChange(0, 0, 64, 127), ControlChange(0, 0, 64, 0)]


def test_a_page_that_leaves_returns_the_values_of_what_it_held_and_is_forgotten(hands, played):
    hands.key("one", 60, 100)
    hands.grab("one", {"gain": -3.0})
    hands.grab("two", {"gain": -2.0, "pan": 0.5})
    assert hands.leave("one") == {"gain": -3.0}
    assert not hands.holds("one", "gain")
    assert hands.leave("one") == hands.drop("none", ["gain"]) == {}
    assert hands.leave("two") == {"gain": -2.0, "pan": 0.5}
    assert not hands.is_held("gain")
    assert [event for event in played if isinstance(event, NoteOff)] == [NoteOff(0, 0, 60)]
    downs = [(event.target, event.down) for event in played if isinstance(event, ParameterTouch)]
    assert downs == [("gain", True), ("pan", True), ("gain", False), ("pan", False)]
