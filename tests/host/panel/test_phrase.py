"""A phrase on the panel: it plays in time, stops at once, and leaves the preset as it was."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import mido
import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.panel import phrase
from timbrel.host.session.messages import Report, View

from ...patience import PATIENCE_SECONDS
from .fakes import RESTS, status, view

RELEASED = [ControlChange(0, 0, 123, 0), ControlChange(0, 0, 121, 0)]


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """The phrase of the preset on the panel: a key that is held for .2 s and a knob, on channel 10."""
    monkeypatch.setattr(phrase, "TAIL_SECONDS", 0.0)
    file = tmp_path / "pad.mid"
    monkeypatch.setattr("timbrel.host.panel.state.shipped_tunes", lambda: {"pad": file})
    messages = [
        mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(60)),
        mido.Message("note_on", channel=9, note=60, velocity=100),
        mido.Message("control_change", channel=9, control=74, value=127, time=48),
        mido.Message("note_off", channel=9, note=60, time=48),
    ]
    mido.MidiFile(type=0, ticks_per_beat=480, tracks=[mido.MidiTrack(messages)]).save(file)
    return file


def run(coroutine):
    """In a thread of its own: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def until(true):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():
            await asyncio.sleep(0.001)


def test_it_plays_in_time_on_the_panels_channel_and_then_turns_its_knobs_back(stage, tune):
    board, say, out = stage

    async def listen():
        clock = asyncio.get_running_loop().time
        say("listen", on=True)
        assert out.shown("listening")
        await until(lambda: len(out.events) == 1)
        start = clock()
        await until(lambda: len(out.events) == 2)
        board.apply_report(Report(status(RESTS | {"latent.0": 1.0})))
        assert out.values()["latent.0"] == 1.0
        assert not out.shown("preset")["dirty"]
        await until(lambda: not out.shown("listening"))
        return clock() - start

    assert run(listen()) > 0.15
    played = [NoteOn(0, 0, 60, 100), ControlChange(0, 0, 74, 127), NoteOff(0, 0, 60), *RELEASED]
    assert out.events[:5] == played
    assert out.turns == [("latent.0", 0.25)]  # the only target that a controller moves
    assert out.values()["latent.0"] == 0.25
    assert not board.state()["preset"]["can_undo"]


@pytest.mark.parametrize(
    "ends",
    [
        ("listen", {"on": False}),
        ("panic", {}),
        ("load", {"name": "pad"}),
        ("set", {"values": {"latent.1": 0.5}}),
    ],
)
def test_it_stops_at_once_when_it_is_pressed_again_or_a_hand_or_another_preset_comes(stage, tune, ends):
    _, say, out = stage

    async def listen():
        say("listen", on=True)
        await until(lambda: out.events)
        word, fields = ends
        say(word, **fields)
        assert not out.shown("listening")
        assert out.events[1:3] == RELEASED
        await asyncio.sleep(0.3)

    run(listen())
    assert NoteOff(0, 0, 60) not in out.events


def test_it_stops_once_no_page_is_open_or_another_preset_is_loaded_whose_knobs_stay(stage, tune, tmp_path):
    board, say, out = stage

    async def listen(end):
        say("listen", on=True)
        await until(lambda: out.events)
        end()
        assert not board.state()["listening"]
        assert out.events[1:3] == RELEASED

    run(listen(lambda: board.leave("one", last=True)))
    out.events.clear()
    other = view(name="other", text="# other", rests=RESTS | {"latent.0": 0.9}, folder=tmp_path)
    run(listen(lambda: board.apply_report(View(other))))
    assert out.turns == []
    assert out.values()["latent.0"] == 0.9


def test_a_preset_without_a_phrase_plays_none(stage):
    _, say, out = stage
    say("listen", on=True)
    assert out.events == []
