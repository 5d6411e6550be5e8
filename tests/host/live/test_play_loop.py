"""What the parent says and when, with a stand-in for the process that sounds."""

import signal
from pathlib import Path

import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.live import session as playing
from timbrel.host.live.session import changed, play
from timbrel.host.midi.controllers import hands_off
from timbrel.host.preset.shipped import Draft
from timbrel.host.session.messages import (
    Events,
    LiveStatus,
    Load,
    Lost,
    Playing,
    PresetLines,
    Ready,
    Refused,
    Report,
    Say,
    Session,
    Settings,
    Setup,
    Sound,
    Standing,
)
from timbrel.host.session.takes import Recording

REPORT = LiveStatus(
    **{"device": "AirPods", "rate": 48000, "block": 128, "latency_ms": {"instrument": 1.0}, "measured_ms": None},
    **{"load": (0.1, 0.2), "underruns": 2, "voices": 0, "shed": 0, "held": [], "latents": [], "spans": []},
    **{"peaks_db": (-100.0, -100.0), "limited": 0.0, "presets": {None: "p"}, "ports": [], "last": ""},
)


class Screen:
    """Remembers what it was told, and types what it is given."""

    def __init__(self, *typed):
        self.said, self.told, self.reports, self._typed = [], [], [], list(typed)

    def show(self, report):
        self.reports.append(report)

    def say(self, line):
        self.said.append(line)

    def show_preset_lines(self, lines):
        self.told.append(lines)

    def waitables(self):
        return []

    def typed_keys(self):
        return self._typed.pop(0) if self._typed else ["quit"]


class Sent(list):
    """Commands that processes got, and the presets with which they began."""

    def __init__(self):
        super().__init__()
        self.begun, self.openings, self.waited, self.setups = [], [], [], []


@pytest.fixture
def sounding(monkeypatch):
    """A function that lets processes report these lists in turn, an exception for one that is raised."""

    def script(*lives):
        left, sent = list(lives), Sent()
        begun = sent.begun

        class Stand:
            underruns, waited = 2, sent.waited

            def __init__(self, setup):
                self.waiting, self.setup = list(left.pop(0)), setup
                begun.append((setup.preset, *setup.channels))
                sent.openings.append(setup.state_events)
                sent.setups.append(setup)

            def wait_until_ready(self, stop, views, kept):
                message = next(self.messages())
                assert isinstance(message, Ready)
                return message.status

            def wait(self, seconds, others):
                self.waited.append(others)

            def messages(self):
                while self.waiting:
                    message = self.waiting.pop(0)
                    if isinstance(message, BaseException):
                        raise message
                    self.setup = playing._went_on(self.setup, message)
                    yield message

            def send(self, command):
                sent.append(command)

            def drain(self):
                return iter(())

            def end(self):
                sent.append("end")

        monkeypatch.setattr(playing, "_AudioProcess", Stand)
        monkeypatch.setattr(playing, "AGAIN_SECONDS", 0.1)
        monkeypatch.setattr(playing, "advice", lambda: ["the processor saves power"])
        return sent

    return script


READY, SHOWN = Ready(REPORT), Report(REPORT)


def go(screen, panel=None, **settings):
    play(Setup("p"), screen, Recording(**settings), False, panel)


class Panel:
    """Asks what it is given, a list at a time, and remembers what it heard."""

    def __init__(self, *asks):
        self.heard, self._asks = [], list(asks)

    def waitables(self):
        return ["its pipe"]

    def commands(self):
        return self._asks.pop(0) if self._asks else []

    def show(self, message):
        self.heard.append(message)

    def sessions(self):
        """The views of the session that it heard."""
        return [message.view for message in self.heard if isinstance(message, Session)]


def test_warnings_come_once_sound_does_and_only_once(sounding):
    sounding([READY, playing._Lost("the card has gone")], [UserError("no sound card")], [READY, SHOWN])
    screen = Screen([], [], [], [], [], [], [], [])
    go(screen)
    assert screen.said[0] == "the processor saves power"
    assert "Bluetooth" in screen.said[1]
    assert screen.said[2:] == ["the card has gone; waiting for it to come back", "AirPods is back"]
    assert [report.underruns for report in screen.reports] == [4]  # those before the card went are counted on


def test_what_a_program_change_chose_plays_on_when_the_card_is_back(sounding):
    chosen = [Playing({None: "q"}), Playing({1: "pad"}), Playing({1: "organ"})]
    sent = sounding([READY, *chosen, playing._Lost("the card has gone")], [READY, SHOWN])
    go(Screen([], [], [], [], []))
    assert sent.begun == [("p",), ("q", (1, "organ"))]


def test_a_draft_that_was_loaded_plays_on_when_the_card_is_back(sounding):
    draft = Draft("mine", "format = 1", Path())
    sent = sounding([READY, Playing({None: draft}), playing._Lost("the card has gone")], [READY, SHOWN])
    go(Screen([], [], [], [], []))
    assert sent.begun == [("p",), (draft,)]


def test_what_controllers_set_is_told_to_the_next_process_and_that_no_hand_is_on_them(sounding):
    knob, pedal = ControlChange(0, 0, 74, 100), ControlChange(0, 0, 64, 127)
    turn = ParameterChange(0, 0, "pan", 0.5)
    told = [Standing([knob]), Standing([knob, turn, pedal])]
    sent = sounding([READY, *told, playing._Lost("the card has gone")], [READY, SHOWN])
    go(Screen([], [], [], [], []))
    assert sent.openings == [(), [knob, turn, pedal, *hands_off()]]


def test_hands_that_held_targets_hold_none_in_the_next_process(sounding):
    hold, turn = ParameterTouch(0, 0, "latent.0", True), ParameterChange(0, 0, "latent.0", 0.5)
    sent = sounding([READY, Standing([hold, turn]), playing._Lost("the card has gone")], [READY, SHOWN])
    go(Screen([], [], [], [], []))
    assert sent.openings[1] == [turn, *hands_off()]


def test_what_is_refused_is_said_without_a_warning_in_front(sounding):
    sent = sounding([UserError("no preset")])
    screen = Screen()
    with pytest.raises(UserError, match="no preset"):
        go(screen)
    assert screen.said == []
    assert sent == ["end"]


def test_the_quit_key_works_while_the_card_is_away(sounding):
    sounding([READY, playing._Lost("the card has gone")])  # another process would have nothing to say
    go(Screen())


def test_keys_go_to_the_process_and_quit_ends_it(sounding):
    sent = sounding([READY])
    go(Screen([(60, True)], [(60, False), "quit", (61, True)]))
    assert sent == [Events([NoteOn(0, 0, 60, 100)]), Events([NoteOff(0, 0, 60)]), "end"]


def test_what_a_panel_asks_goes_to_the_process_and_it_hears_all_but_sound_and_what_is_recorded(sounding):
    turn, load = Events([ParameterChange(0, 0, "pan", 0.5)]), Load({None: "q"})
    sent = sounding([READY, Sound(b""), Events([]), Say("a port"), Playing({None: "q"}), SHOWN])
    panel = Panel([turn], [load])
    go(Screen([], []), panel)
    assert sent == [turn, load, "end"]
    assert sent.waited[0] == ["its pipe"]
    assert panel.heard[0] == READY
    assert panel.heard[-3:] == [Say("a port"), Playing({None: "q"}), SHOWN]
    assert set(map(type, panel.heard)) == {Ready, Session, Say, Playing, Report}


def test_what_a_panel_turns_while_the_card_is_away_is_turned_when_it_is_back_and_notes_are_dropped(sounding):
    turn, load, note = ParameterChange(0, 0, "pan", 0.5), Load({None: "q"}), NoteOn(0, 0, 60, 100)
    sent = sounding([READY, playing._Lost("the card has gone")], [READY])
    panel = Panel([], [Events([note, turn]), load], [Events([note])])
    go(Screen([], [], [], [], []), panel)
    assert sent == ["end", Events([turn]), load, "end"]
    assert Lost("the card has gone") in panel.heard


def settings(sent):
    return [(setup.device, setup.block, setup.only) for setup in sent.setups]


def test_another_card_is_chosen_while_the_one_before_is_away(sounding):
    sent = sounding([READY, playing._Lost("the card has gone")], [READY])
    screen = Screen(*[[]] * 5)
    go(screen, Panel([], [Settings({"device": "another", "channel": 2})]))
    assert settings(sent) == [(None, 128, None), ("another", 128, 2)]
    assert screen.said[-2:] == ["the card has gone; waiting for it to come back", "AirPods plays, in blocks of 128"]


def test_a_session_without_a_card_starts_without_sound_says_why_and_takes_the_card_that_is_chosen(sounding):
    sent = sounding([playing._NoCard("no sound card was found; connect one")], [READY], [READY])
    screen, panel = Screen(*[[]] * 5), Panel([], [Settings({"device": "another"})])
    go(screen, panel)
    assert [(setup.device, setup.null) for setup in sent.setups] == [(None, False), (None, True), ("another", False)]
    assert screen.said[0].startswith("no sound card was found; playing without sound: choose a card")
    faults = [view.card_fault for view in panel.sessions()]
    assert faults == ["no sound card was found", "", ""]


@pytest.mark.parametrize(
    "fault",
    [[UserError("no such card")], [playing.Failure("no sound")], [READY, playing._Lost("the card has gone")]],
    ids=["refused", "failed", "gone at once"],
)
def test_settings_that_fail_give_way_to_those_before_with_one_line(sounding, fault):
    """Also those whose card goes at once; later changes and held controls stay."""
    playing_q = Playing({None: "q"})
    sent = sounding([READY, playing_q], fault, [READY])
    screen, panel = Screen(*[[]] * 5), Panel([], [Settings({"block": 64})])
    go(screen, panel)
    assert settings(sent) == [(None, 128, None), (None, 64, None), (None, 128, None)]
    assert sent.begun == [("p",), ("q",), ("q",)]
    assert [line for line in screen.said if "the settings before play on" in line] == screen.said[-1:]
    assert not [message for message in panel.heard if isinstance(message, Lost)]
    restarting = [(view.block, view.restarting) for view in panel.sessions()]
    assert restarting == [(128, False), (64, True), *([(64, False)] if len(fault) == 2 else []), (128, False)]


def test_settings_that_are_the_present_ones_change_nothing(sounding):
    sent = sounding([READY])
    go(Screen(*[[]] * 3), Panel([Settings({"block": 128, "channel": None})]))
    assert len(sent.setups) == 1


def test_a_preset_that_was_being_loaded_is_loaded_by_the_next_process():
    setup = Setup("p", loading={None: "q", 2: "r"})
    assert playing._went_on(setup, Playing({None: "q"})).loading == {2: "r"}
    assert playing._went_on(setup, Playing({None: "s"})).loading == {None: "q", 2: "r"}
    assert playing._went_on(setup, Refused({2: "r"}, ["broken"])).loading == {None: "q"}


def test_what_is_told_of_the_preset_is_told_apart_from_what_else_happens(sounding):
    refused = "preset x: unknown key 'y'; the preset before plays on"
    sounding([READY, PresetLines([refused]), Say("MIDI port 'k' is here"), PresetLines(["preset 'x' is loaded"])])
    screen = Screen([], [])
    go(screen)
    assert screen.told == [[refused], ["preset 'x' is loaded"]]
    assert screen.said[2:] == ["MIDI port 'k' is here"]


class Raises(Screen):
    """Raises a signal when it is asked for keys the third time; quits where that was in vain."""

    LAST = 10

    def __init__(self, number):
        super().__init__()
        self.number, self.asked = number, 0

    def typed_keys(self):
        self.asked += 1
        if self.asked == 3:
            signal.raise_signal(self.number)
        return ["quit"] if self.asked == self.LAST else []


@pytest.fixture
def handled():
    """A function that sets a signal's handler for the test: what began the tests may have had it ignored."""
    before = {}

    def handle(number, handler):
        before[number] = signal.signal(number, handler)
        return handler

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_playing_at_once_and_the_handlers_are_as_before(sounding, handled, number):
    sounding([READY])
    own = handled(number, lambda *_: None)
    screen = Raises(number)
    go(screen)
    assert screen.asked == 3
    assert signal.getsignal(number) is own


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals do not hang up here")
def test_playing_goes_on_after_a_terminal_that_closes_where_nohup_asked_for_it(sounding, handled):
    sounding([READY])
    handled(signal.SIGHUP, signal.SIG_IGN)
    screen = Raises(signal.SIGHUP)
    go(screen)
    assert screen.asked == Raises.LAST


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sound": Path("a.mp9")}, "--record a.mp9"),
        ({"sound": Path("a")}, "--record a "),
        ({"midi": Path("a.wav")}, "--record-midi a.wav"),
        ({"midi": Path("none/a.mid")}, "none does not exist"),
    ],
)
def test_a_name_that_cannot_be_recorded_to_is_refused_at_once(sounding, monkeypatch, tmp_path, settings, words):
    monkeypatch.chdir(tmp_path)
    sent = sounding()
    with pytest.raises(UserError, match=words):
        go(Screen(), **settings)
    assert sent == []


def test_the_lowest_latency_has_one_block_in_hand_and_a_chosen_card_ends_null():
    setup = changed(Setup(preset="p", null=True), {"lowest_latency": True, "device": "hw"})
    assert (setup.depth, setup.device, setup.null) == (1, "hw", False)
    assert changed(setup, {"lowest_latency": False}).depth == 2
