"""Paths that pages draw, and clicks while a motion runs."""

import tomllib

import pytest
from timbrel.host.events import ParameterChange, ParameterTouch
from timbrel.host.session.messages import Report, View

from .fakes import RESTS, TEXT, played, status, view


def test_a_path_is_a_motion_of_the_draft_and_goes_away_again(stage):
    _board, say, out = stage
    say("path", points=[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], seconds=6.0, loop=True)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0], [1, 1]], "times": [0.0, 2.0, 4.0, 6.0], "loop": True}
    say("path", points=[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], seconds=6.0, loop=False)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0], [1, 1]], "times": [0.0, 3.0, 6.0]}
    say("path", points=[[0.0, 0.0], [1.0, 1.0]], beats=8.0)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 1]], "beats": 8.0}
    say("path", points=None)
    assert tomllib.loads(played(out).text) == tomllib.loads(TEXT)
    say("path", points=[[0.0], [1.0]], beats=8.0)
    assert "2 numbers" in out.said("one")[-1]


def test_a_path_keeps_what_a_page_does_not_change_and_a_length_out_of_range_is_refused_with_a_line(stage, tmp_path):
    board, say, out = stage
    motion = "path = [[0, 0], [1, 0], [1, 1]]\ntimes = [1.0, 2.0, 5.0, 11.0]\nloop = true\nlegs = 'spherical'"
    board.apply_report(View(view(f"{TEXT}\n[[motion]]\n{motion}\n", "walk", folder=tmp_path)))
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0], [1, 1]], "seconds": 10.0, "loop": True}
    say("path", loop=False)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0], [1, 1]], "legs": "spherical", "times": [1.0, 3.5, 11.0]}
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0], [1, 1]], "seconds": 10.0, "loop": False}
    say("path", seconds=20.0)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion["times"] == [1.0, 6.0, 21.0]
    loads = len(out.loads)
    for length in ({"seconds": 4000.0}, {"seconds": 0.0}, {"beats": 5000.0}):
        say("path", **length)
        assert "is out of range" in out.said("one")[-1]
    assert len(out.loads) == loads
    say("path", beats=8.0)
    say("path", loop=False)  # in beats it always loops
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0], [1, 1]], "beats": 8.0, "loop": True}
    say("path", points=None)
    say("path", seconds=2.0)
    assert "has no path" in out.said("one")[-1]


@pytest.mark.parametrize("motion", ["path = [[0, 0], [1, 0]]\nbeats = 4", "walk = {speed = 1.0}"])
def test_a_click_while_a_path_or_a_walk_runs_sounds_for_two_seconds_and_is_one_step(
    stage, monkeypatch, tmp_path, motion
):
    board, say, out = stage
    now = [100.0]
    monkeypatch.setattr("timbrel.host.panel.state.time.monotonic", lambda: now[0])
    board.apply_report(View(view(f"{TEXT}\n[[motion]]\n{motion}\n", "walk", folder=tmp_path)))
    out.events.clear()
    say("set", values={"latent.0": 0.6, "gain": -3.0})
    assert out.events == [
        ParameterTouch(0, 0, "latent.0", True),
        ParameterChange(0, 0, "latent.0", 0.6),
        ParameterChange(0, 0, "gain", -3.0),
    ]
    for seconds, events in ((1.9, 3), (2.1, 4), (3.0, 4)):
        now[0] = 100.0 + seconds
        board.apply_report(Report(status(RESTS | {"latent.0": 0.6, "gain": -3.0})))
        assert len(out.events) == events
    assert out.events[-1] == ParameterTouch(0, 0, "latent.0", False)
    say("undo")
    assert not out.shown("preset")["can_undo"]


def test_a_click_beside_a_motion_that_is_added_to_its_knob_holds_nothing(stage, tmp_path):
    board, say, out = stage
    swing = '[[motion]]\ntarget = "latent.0"\ndepth = 0.1\nbeats = 4\n'
    board.apply_report(View(view(f"{TEXT}\n{swing}", "swing", folder=tmp_path)))
    out.events.clear()
    say("set", values={"latent.0": 0.6})
    assert out.events == [ParameterChange(0, 0, "latent.0", 0.6)]


def test_a_path_of_so_many_rounds_a_second_lasts_one_of_them(stage, tmp_path):
    board, say, out = stage
    board.apply_report(View(view(f"{TEXT}\n[[motion]]\npath = [[0, 0], [1, 0]]\nrate_hz = 0.25\n", folder=tmp_path)))
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0]], "seconds": 4.0, "loop": True}
    say("path", loop=False)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0]], "times": [0.0, 4.0]}
