"""A card is lost where its driver hangs or takes nothing, and never where a machine is slow."""

import math
import threading
import time
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
from timbrel.host.audio.sound_card import LOST_SECONDS, ProgressWatch
from timbrel.host.errors import Failure, UserError
from timbrel.host.live import audio_process, session
from timbrel.host.live.audio_process import ProcessState
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.session.messages import DriverCall, Fault, Lost, Ready, Say, Setup, Standing

from ..fake_card import FakeSink
from .playing import player_of
from .serving import StandingLoop

LONG_AGO = -1e9  # seconds, by time.monotonic


class ActiveSink(FakeSink):
    """A card that its system calls active; its callback stops after so many seconds."""

    def __init__(self, hours, stops, **settings):
        super().__init__(hours, blocks=10**6, **settings)
        self.stops, self.watch = stops, ProgressWatch()

    @property
    def taken(self):
        stopped = self.began + self.stops
        periods = int((min(self.hours.now, stopped) - self.began) * self.rate / self.block)
        return (min(periods, self.written // self.block + self.depth) - self.depth) * self.block

    @property
    def alive(self):
        self.watch.look(self.taken, self.hours.now)
        return not self.watch.stuck


@pytest.mark.parametrize("block", [64, 8192])
def test_a_loop_ends_a_second_after_the_last_callback_of_a_card_that_is_called_active(make_patch, hours, block):
    sink = ActiveSink(hours, stops=1.0, block=block)
    RenderLoop(player_of(make_patch, 48000), sink, []).run()
    late = hours.now - sink.began - 1.0
    assert LOST_SECONDS - block / 48000 < late < 4 * LOST_SECONDS
    if block < 1024:
        assert late < 1.2 * LOST_SECONDS


@pytest.mark.parametrize(("stuck", "line"), [(True, "a card takes no more sound"), (False, "a card has gone")])
def test_the_parent_is_told_how_a_card_was_lost(stuck, line):
    ours, theirs = Pipe()
    loop, ended = StandingLoop(), threading.Thread(target=lambda: None)
    loop.sink.stuck = stuck
    ended.start()
    ended.join()
    audio_process._serve(ProcessState(Setup("p"), theirs, loop=loop, device="a card"), ended)
    assert ours.recv() == Standing(())
    assert ours.recv() == Lost(line)


def test_a_card_that_never_starts_is_lost(monkeypatch):
    monkeypatch.setattr(audio_process, "START_SECONDS", -1.0)
    ours, theirs = Pipe()
    loop = StandingLoop()
    loop.started = False
    audio_process._serve(ProcessState(Setup("p"), theirs, loop=loop, device="a card"), threading.current_thread())
    assert ours.recv() == Standing(())
    assert ours.recv() == Lost("a card does not start")


def test_a_process_may_take_its_time_except_within_calls_of_a_driver():
    audio = object.__new__(session._AudioProcess)
    audio._pipe, process = Pipe()
    audio._last_message_time, audio._patience, audio.setup = LONG_AGO, math.inf, Setup("p")
    assert list(audio.messages()) == []
    process.send(DriverCall(audio_process.START_SECONDS))
    process.send(Say("hello"))
    assert list(audio.messages()) == [Say("hello")]
    assert list(audio.messages()) == []
    audio._last_message_time = time.monotonic() - audio_process.START_SECONDS - 1
    with pytest.raises(session._Lost, match="no longer answers"):
        list(audio.messages())
    process.send(DriverCall(None))
    assert list(audio.messages()) == []
    audio._last_message_time = LONG_AGO
    assert list(audio.messages()) == []


def test_an_error_of_a_process_that_has_played_for_a_while_is_told_as_a_loss_and_another_follows():
    audio = object.__new__(session._AudioProcess)
    audio._pipe, process = Pipe()
    audio._patience, audio._steady_time, audio.setup = math.inf, math.inf, Setup("p")
    error, refusal = Fault(["internal error: KeyError: 3"], 1), Fault(["no such card"], 2)
    process.send(error)
    with pytest.raises(Failure, match=r"^internal error: KeyError: 3$"):
        list(audio.messages())
    process.send(Ready(None))
    silent_frontends = SimpleNamespace(keep=lambda queue: True)
    began = time.monotonic()
    assert audio.wait_until_ready(threading.Event(), silent_frontends, None) is None
    assert began + session.STEADY_SECONDS <= audio._steady_time < math.inf
    process.send(error)
    with pytest.raises(Failure):
        list(audio.messages())
    audio._steady_time = LONG_AGO
    process.send(error)
    with pytest.raises(session._Lost, match="the sound process has failed: internal error: KeyError: 3"):
        list(audio.messages())
    process.send(refusal)
    with pytest.raises(UserError, match="no such card"):
        list(audio.messages())


def test_a_process_says_when_it_calls_a_driver(monkeypatch, presets):
    calls = []
    state = ProcessState(Setup(str(presets[0]), null=True), None)
    state.outbox = calls
    monkeypatch.setattr(audio_process, "hurry", lambda priority: None)
    for name, made in (
        ("NullSink", audio_process.NullSink),
        ("Inputs", lambda *_: SimpleNamespace(whole_blocks=False)),
    ):
        monkeypatch.setattr(audio_process, name, lambda *a, make=made, name=name: calls.append(name) or make(*a))
    monkeypatch.setattr(audio_process, "HeardInputs", lambda *_: calls.append("sources") or 1 / 0)
    audio_process._sound(state)
    begin, end = DriverCall(audio_process.START_SECONDS), DriverCall(None)
    assert calls == [begin, "NullSink", end, begin, "Inputs", end, "sources"]
