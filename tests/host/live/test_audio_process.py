"""The process of sound plays, passes on events, and reports."""

import threading
import time
from dataclasses import replace
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn, ParameterChange
from timbrel.host.live import audio_process
from timbrel.host.live.audio_process import HeardInputs, ProcessState, report
from timbrel.host.live.render_loop import ForwardedEvents
from timbrel.host.midi.ports import Timed
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.session.messages import (
    DriverCall,
    Events,
    Pace,
    Playing,
    PresetLines,
    Ready,
    Report,
    Say,
    Setup,
    Stop,
    View,
)
from timbrel.host.session.meters import Meters

from ...patience import PATIENCE_SECONDS, until
from .serving import StandingLoop


def test_what_the_parent_passes_on_comes_in_its_order_with_the_moment_at_which_it_came():
    passed, before = ForwardedEvents(threading.Event()), time.perf_counter()
    events = [NoteOn(9, 0, 60, 100), ParameterChange(5, 0, "pan", 0.25), NoteOff(1, 0, 60)]
    passed.play(events[:2])
    between = time.perf_counter()
    passed.play(events[2:])
    timed = passed.poll()
    assert [each.event for each in timed] == events
    assert before <= timed[0].seconds == timed[1].seconds <= between <= timed[2].seconds <= time.perf_counter()
    assert passed.poll() == []


@pytest.fixture
def state(monkeypatch):
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    made = ProcessState(setup=Setup("gm-keys"), pipe=None, loop=StandingLoop(), rate=48000)
    made.presets.activate({None: "gm-keys"}, made.presets.opened({None: "gm-keys"}))
    return made


def test_a_preset_that_is_loaded_is_told_to_the_parent_which_begins_with_it_again(state):
    audio_process._load(state, {None: "gm-pad"})
    assert Playing({None: "gm-pad"}) in state.outbox
    assert len(state.loop.swapped) == 1


def test_a_rack_that_is_swapped_in_has_decoded_what_its_first_keys_need(state, monkeypatch):
    decoded, run = [], Model.step
    monkeypatch.setattr(
        Model, "step", lambda self, latent, *others: decoded.append(latent) or run(self, latent, *others)
    )
    audio_process._load(state, {None: "gm-pad"})
    (rack,) = state.loop.swapped
    assert len(decoded) > 0
    decoded.clear()
    rack.process([NoteOn(rack.played, 0, 64, 100)], 128)
    assert decoded == []


def test_phases_that_take_their_time_are_refused_live_and_what_sounds_goes_on(state, tmp_path):
    path = tmp_path / "slow.toml"
    path.write_text('format = 1\nmodel = "gm-chroma-8"\n[play]\nphase = "best"\n')
    audio_process._load(state, {None: str(path)})
    [message] = state.outbox
    assert isinstance(message, PresetLines)
    [line] = message.lines
    assert state.loop.swapped == []
    assert "play.phase = 'best'" in line
    assert "'coherent'" in line


def test_a_program_change_ends_one_wait_for_commands(state):
    parent, state.pipe = Pipe()
    state.loop.program_arrival.set()
    assert list(audio_process._commands(state, PATIENCE_SECONDS)) == []
    assert not state.loop.program_arrival.wait(0)
    assert list(audio_process._commands(state, 0.0)) == []
    state.loop.program_arrival.set()
    parent.send([Stop()])
    assert list(map(type, audio_process._commands(state, PATIENCE_SECONDS))) == [Stop]
    assert not state.loop.program_arrival.wait(0)


def test_commands_that_never_cease_are_taken_and_reports_go_on(served, presets, monkeypatch):
    """Each command is followed by another: the pipe is never empty."""
    taken = threading.Event()
    with served(presets[0], report_seconds=0.0) as playing:
        pipe = playing._ours

        def take(events):
            taken.set()
            pipe.send([Events(events)])

        monkeypatch.setattr(playing.loop.forwarded, "play", take)
        pipe.send([Events([ParameterChange(0, 0, "pan", 0.0)])])
        while not taken.is_set():  # reports are read all the while: a full pipe would keep the process waiting
            assert pipe.poll(PATIENCE_SECONDS)
            pipe.recv()
        playing._state.outbox.append(Events([NoteOn(0, 0, 60, 1)]))
        kinds = set()
        while not {Report, Events} <= kinds:
            assert pipe.poll(PATIENCE_SECONDS)
            kinds.add(type(pipe.recv()))


def test_reports_come_at_the_pace_of_the_setup(served, presets):
    with served(presets[0], report_seconds=1000.0) as playing:
        assert playing._ours.poll(PATIENCE_SECONDS)
        assert isinstance(playing._ours.recv(), Report)
        looks = playing.looks
        until(lambda: playing.looks >= looks + 10, "ten looks at files, which take longer than three usual reports")
        assert playing.loop.meters.look_seconds == 1000.0
        while playing._ours.poll(0):
            assert not isinstance(playing._ours.recv(), Report)


def test_reports_come_at_the_pace_that_is_asked(served, presets):
    with served(presets[0], report_seconds=1000.0) as playing:
        playing._ours.send([Pace(0.01)])
        reports = 0
        while reports < 5:
            assert playing._ours.poll(PATIENCE_SECONDS)
            reports += isinstance(playing._ours.recv(), Report)
        assert playing.loop.meters.look_seconds == 0.01


def test_midi_input_passes_the_meters_unchanged():
    came = [Timed(0.5, Clock(0, "tick")), Timed(0.5, ControlChange(0, 0, 20, 3))]
    meters = Meters(0)
    source = HeardInputs(SimpleNamespace(poll=lambda: came), (), meters)
    assert source.poll() == came
    assert meters.take_events() == [came[1].event]


def test_a_process_plays_what_it_is_set_up_with_and_hears_all_channels_but_the_silent(presets, monkeypatch):
    first, second = presets
    coming = [NoteOn(0, 9, 60, 100), NoteOn(0, 3, 62, 100), NoteOn(0, 4, 64, 100)]

    class Port:
        whole_blocks, announced, open = False, False, ["port"]

        def poll(self):
            return [Timed(time.perf_counter(), coming.pop(0)) for _ in range(len(coming))]

    monkeypatch.setattr(audio_process, "Inputs", lambda names, api, arrival: Port())
    monkeypatch.setattr(audio_process, "hurry", lambda priority: None)
    knob = ControlChange(0, 4, 7, 50)
    setup = Setup(str(first), null=True, recording=True, block=1024, channels=((4, str(second)),), silent=(9,))
    state = ProcessState(replace(setup, state_events=[knob], panel=True), None)
    sounding = threading.Thread(target=audio_process._sound, args=(state,), daemon=True)
    sounding.start()
    assert state.ready.wait(PATIENCE_SECONDS)
    assert state.problem is None

    def heard():
        return [event for message in list(state.outbox) if isinstance(message, Events) for event in message.events]

    until(lambda: len(heard()) >= 2, "two notes")
    shown = report(state)
    state.loop.stop()
    sounding.join(PATIENCE_SECONDS)
    assert [(event.channel, event.key) for event in heard()] == [(3, 62), (4, 64)]
    assert (shown.presets, shown.held, shown.ports) == ({None: "a", 4: "b"}, [62, 64], ["port"])
    assert state.loop.standing == [knob]
    assert [event.key for event in state.loop.meters.take_events()] == [62, 64]
    assert (shown.channel, shown.values["pan"], shown.values["latent.0"]) == (0, 0.0, shown.latents[0])


def test_a_preset_that_takes_its_time_to_be_ready_is_described_after_ready(presets, monkeypatch):
    """The parent reads only lines to print until then: sent sooner, the panel stayed empty.

    All three go one way, so that none can pass another.
    """
    asked, gate = threading.Event(), threading.Event()

    class SlowRack(Rack):
        ready = property(lambda self: asked.set() or gate.is_set())

    monkeypatch.setattr(audio_process, "Rack", SlowRack)
    monkeypatch.setattr(audio_process, "hurry", lambda priority: None)
    monkeypatch.setattr(audio_process, "Inputs", lambda names, api, arrival: None)
    state = ProcessState(Setup(str(presets[0]), null=True, panel=True), None)
    thread = threading.Thread(target=audio_process._sound, args=(state,), daemon=True)

    def told():
        return [type(message) for message in list(state.outbox) if not isinstance(message, Say | DriverCall)]

    thread.start()
    assert asked.wait(PATIENCE_SECONDS)
    assert told() == []
    gate.set()
    assert state.ready.wait(PATIENCE_SECONDS)
    assert told() == [Ready, View, PresetLines]
    state.loop.stop()
    thread.join(PATIENCE_SECONDS)


@pytest.mark.parametrize(("without_card", "error"), [(False, UserError), (True, audio_process.NoCard)])
def test_a_card_that_is_missing_ends_a_session_unless_it_may_start_without(monkeypatch, without_card, error):
    def find_card(name):
        raise UserError("no sound card was found")

    monkeypatch.setattr(audio_process, "find_card", find_card)
    setup = Setup("good", without_card=without_card)
    with pytest.raises(UserError) as raised:
        audio_process._open_sink(SimpleNamespace(setup=setup))
    assert type(raised.value) is error
    playing = SimpleNamespace(setup=replace(setup, null=True, card_fault="no sound card was found"))
    assert isinstance(audio_process._open_sink(playing), audio_process.NullSink)
    assert playing.device == "nowhere (no card)"
