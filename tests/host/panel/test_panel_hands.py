"""Pages hold, release and undo drags, keys and pedals."""

from timbrel.host.events import ControlChange, NoteOff, ParameterChange, ParameterTouch
from timbrel.host.session.messages import Lost, Ready, Report, View

from .fakes import RESTS, TEXT, drag, status, view


def test_a_drag_is_held_turned_and_let_go_in_this_order_and_is_one_step(stage):
    _board, say, out = stage
    drag(say, "latent.0", 0.3, 0.6)
    assert out.events == [
        ParameterTouch(0, 0, "latent.0", True),
        ParameterChange(0, 0, "latent.0", 0.3),
        ParameterChange(0, 0, "latent.0", 0.6),
        ParameterTouch(0, 0, "latent.0", False),
    ]
    assert out.shown("preset")["can_undo"]
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)
    assert not out.shown("preset")["can_undo"]
    assert not out.shown("preset")["dirty"]
    say("redo")
    assert out.turns[-1] == ("latent.0", 0.6)


def test_a_gesture_that_ends_where_it_began_is_no_step_and_no_change(stage):
    board, say, out = stage
    say("grab", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    board.apply_report(Report(status(RESTS | {"latent.0": 0.9})))
    say("move", values={"latent.0": 0.25})
    say("drop", targets=["latent.0"])
    states = [message["state"] for _, message in out.told if message["t"] == "state"]
    assert not any(state.get("preset", {}).get("dirty") for state in states)
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)
    assert not out.shown("preset")["can_undo"]
    assert not out.shown("preset")["dirty"]


def test_a_target_that_is_grabbed_twice_goes_back_to_where_it_was_at_first(stage):
    _board, say, out = stage
    say("grab", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    drag(say, "latent.0", 0.6)
    assert [event.down for event in out.events if isinstance(event, ParameterTouch)] == [True, False]
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)


def test_a_target_that_is_let_go_where_it_was_leaves_no_step_and_no_change(stage):
    board, say, out = stage
    drag(say, "latent.0", 0.6, 0.25)
    board.apply_report(Report(status(RESTS)))
    assert not board.state()["preset"]["can_undo"]
    assert not board.state()["preset"]["dirty"]
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)


def test_what_was_undone_is_forgotten_once_something_else_is_done(stage):
    _board, say, out = stage
    drag(say, "latent.0", 0.2)
    say("undo")
    say("set", values={"latent.1": 0.7})
    preset = out.shown("preset")
    assert (preset["can_undo"], preset["can_redo"]) == (True, False)
    before = dict(out.values())
    say("redo")
    assert out.values() == before


def test_values_stay_in_range_and_what_is_no_target_is_passed_over(stage):
    _board, say, out = stage
    say("set", values={"gain": 99.0, "latent.9": 1.0, "envelope.sustain": -3.0})
    assert out.turns == [("gain", 12.0), ("envelope.sustain", 0.0)]


def test_a_page_moves_only_what_it_holds(stage):
    _board, say, out = stage
    say("move", values={"latent.0": 0.9})
    say("grab", "two", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    assert out.turns == []


def test_two_pages_believe_the_same_after_interleaved_moves(stage):
    _board, say, out = stage
    for page in ("one", "two"):
        say("grab", page, targets=["latent.0", "latent.1"])
    for step in range(40):
        say("move", ("one", "two")[step % 2], values={f"latent.{step % 3 % 2}": step / 40})
    assert all(page is None for page, message in out.told if message["t"] == "values")
    numbers = [message["n"] for _, message in out.told if message["t"] == "values"]
    assert numbers == sorted(set(numbers))
    assert {k: v for k, v in out.values().items() if k.startswith("latent")} == dict(out.turns[-10:])


def test_what_two_pages_hold_is_held_until_the_second_lets_go(stage):
    board, say, out = stage
    say("grab", "one", targets=["latent.0"])
    say("grab", "two", targets=["latent.0"])
    say("drop", "one", targets=["latent.0"])
    assert [event.down for event in out.events] == [True]
    board.leave("two")
    assert [event.down for event in out.events] == [True, False]


def test_a_page_that_goes_leaves_no_key_pedal_or_target_held(stage):
    board, say, out = stage
    say("note", key=60, velocity=100)
    say("note", "two", key=60, velocity=90)
    say("note", key=64, velocity=100)
    say("sustain", down=True)
    say("grab", targets=["latent.1"])
    out.events.clear()
    board.leave("one")
    assert out.events == [NoteOff(0, 0, 64), ControlChange(0, 0, 64, 0), ParameterTouch(0, 0, "latent.1", False)]
    board.leave("two")
    assert out.events[-1] == NoteOff(0, 0, 60)


def test_hold_is_one_for_all_pages_and_goes_with_the_last_of_them_a_panic_or_the_sound(stage):
    board, say, out = stage
    pedals = []

    def held():
        pedals[:] = [event.value for event in out.events if event == ControlChange(0, 0, 64, event.value)]
        return out.shown("hold"), board.state()["hold"]

    say("hold", down=True)
    say("hold", "two", down=True)
    assert (held(), pedals) == ((True, True), [127])
    board.leave("one")
    assert (held(), pedals) == ((True, True), [127])
    say("hold", "two", down=False)
    assert (held(), pedals) == ((False, False), [127, 0])
    say("hold", "two", down=True)
    say("panic", "three")
    assert (held(), pedals[-1]) == ((False, False), 0)
    assert (None, {"t": "panic"}) in out.told
    say("hold", "two", down=True)
    board.apply_report(Ready(status(RESTS)))
    assert held() == (False, False)
    say("hold", "two", down=True)
    board.leave("two", last=True)
    assert not board.state()["hold"]
    assert out.events[-1] == ControlChange(0, 0, 64, 0)


def test_panic_ends_all_sound_by_what_every_host_knows(stage):
    board, say, out = stage
    say("note", key=60, velocity=100)
    say("panic")
    assert {event.number for event in out.events if isinstance(event, ControlChange)} == {64, 120, 123}
    board.leave("one")
    assert not any(isinstance(event, NoteOff) for event in out.events)


def test_the_other_side_begins_as_a_copy_and_each_keeps_its_values_and_steps(stage):
    _board, say, out = stage
    drag(say, "latent.0", 0.6)
    say("side", side="B")
    assert out.values()["latent.0"] == 0.6
    say("set", values={"latent.0": 0.1})
    say("side", side="A")
    assert out.turns[-1] == ("latent.0", 0.6)
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)
    say("side", side="B")
    assert out.turns[-1] == ("latent.0", 0.1)
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.6)
    assert not out.shown("preset")["can_undo"]


def test_a_card_that_goes_is_told_and_a_process_that_comes_holds_what_hands_still_hold(stage):
    board, say, out = stage
    say("grab", targets=["latent.0"])
    say("note", key=60, velocity=100)
    say("set", values={"latent.1": 0.5})
    board.apply_report(Lost("the card has gone"))
    assert out.shown("sound")["away"]
    out.events.clear()
    board.apply_report(View(view(TEXT, folder=board._view.folder)))
    board.apply_report(Ready(status(RESTS)))
    assert ParameterTouch(0, 0, "latent.0", True) in out.events
    assert out.turns[-1] == ("latent.1", 0.5)  # which the process that ended had, and this one has not
    assert not out.shown("sound")["away"]
    say("note", key=60, velocity=0)
    assert not any(isinstance(event, NoteOff) for event in out.events)
