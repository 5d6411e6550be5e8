"""`timbrel bench` says what it measured, and what that means."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.live import bench
from timbrel.host.live.bench import BenchRow, verdict

EASY = (0.2, 0.4, 0.5)


def row(block, voices, underruns=0, given_up=0):
    return BenchRow(block, voices, EASY, underruns, given_up)


# ---- the verdict


@given(st.dictionaries(st.tuples(st.sampled_from(bench.BLOCKS), st.sampled_from(bench.VOICES)), st.booleans()))
def test_voices_hold_where_they_and_all_fewer_do(held):
    rows = [row(block, voices, underruns=0 if holds else 1) for (block, voices), holds in held.items()]
    for block in {block for block, _ in held}:
        most = bench._max_voices(rows, block)
        tried = sorted(voices for other, voices in held if other == block)
        assert all(held[block, voices] for voices in tried if voices <= most)
        more = [voices for voices in tried if voices > most]
        assert not more or not held[block, more[0]]


def test_the_smallest_block_that_holds_the_presets_voices_is_recommended():
    rows = [row(64, 8), row(64, 16, underruns=1), row(128, 8), row(128, 16), row(256, 8), row(256, 16)]
    lines = verdict(rows, "gm-keys", 16, 3.0)
    assert lines[0] == "blocks of 64 (1.3 ms): 8 voices hold"
    assert "play gm-keys with its 16 voices: --block 128" in lines
    assert "play gm-keys with its 8 voices: --block 64" in verdict(rows, "gm-keys", 8, 3.0)


def test_voices_between_those_that_were_tried_count_as_the_next_more():
    rows = [row(64, 8), row(64, 16, given_up=1), row(128, 8), row(128, 16)]
    assert "play gm-keys with its 12 voices: --block 128" in verdict(rows, "gm-keys", 12, 3.0)


def test_a_slow_machine_is_told_what_it_can_play():
    rows = [row(64, 4, underruns=3), row(128, 4), row(128, 8, given_up=2)]
    lines = verdict(rows, "gm-keys", 16, 3.0)
    assert "blocks of 64 (1.3 ms): not even 4 voices hold" in lines
    assert "16 voices are too many for this machine: --voices 4 --block 128" in lines
    too_slow = verdict([row(64, 4, underruns=3)], "gm-keys", 16, 3.0)
    assert any("does not play gm-keys in real time" in line for line in too_slow)


# ---- the hands


def test_all_keys_are_pressed_once_and_every_knob_turns(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    hands = bench._Performer(64, 8)
    events = []
    while now[0] < hands.settled + 10:
        events += [timed.event for timed in hands.poll()]
        now[0] += 0.003
    keys = [event.key for event in events if isinstance(event, NoteOn)]
    assert sorted(keys) == list(range(36, 100))
    assert max(n for n, e in enumerate(events) if isinstance(e, NoteOn)) < len(events) / 4
    for number in range(70, 78):
        values = [event.value for event in events if isinstance(event, ControlChange) and event.number == number]
        assert len(values) == pytest.approx((now[0] - 100) * bench.MOVES_PER_SECOND, rel=0.02)
        assert min(values) < 10
        assert max(values) > 117


@given(st.sampled_from(bench.KNOBS), st.integers(0, 10**6))
def test_knobs_stay_within_what_midi_can_say(knob, moves):
    assert 0 <= bench._position(knob, moves) <= 127


def test_the_preset_is_played_with_a_knob_on_each_latent_and_voices_that_last(make_patch, tiny):
    patch = make_patch(play={"mode": "mono", "voices": 3}, envelope={"sustain": 0.0, "release_seconds": 2.0})
    preset = bench._all_moving(patch, 32).preset
    assert [(knob.number, knob.target, knob.low, knob.high) for knob in preset.cc] == [
        (70, "latent.0", 0.0, 1.0),
        (71, "latent.1", 0.0, 1.0),
    ]
    assert (preset.play.mode, preset.play.voices, preset.envelope.sustain) == ("poly", 32, 1.0)
    assert preset.envelope.release_seconds == 2.0
    assert patch.preset.play.mode == "mono"


# ---- measuring


def test_a_row_has_a_load_however_short_the_time_that_is_left_for_it(make_patch):
    """A busy machine may stand still from the moment at which all voices sound to the row's end."""
    assert bench._row(make_patch(), 512, 1, 0.0).load[0] > 0


def test_a_row_counts_blocks_in_which_all_voices_sound(make_patch):
    measured = bench._row(make_patch(), 512, 4, 0.5)
    assert (measured.block, measured.voices) == (512, 4)
    p50, p99, p999 = measured.load
    assert 0 < p50 <= p99 <= p999
    assert math.isfinite(p999)


def test_a_small_model_holds_in_large_blocks_and_the_lines_say_so(tiny_path, monkeypatch, capfd):
    monkeypatch.setattr(bench, "_measured", lambda preset, seconds: iter([row(1024, 4), row(1024, 16)]))
    lines = list(bench.bench(str(tiny_path()), 0.5))
    table = [line.split() for line in lines if line.strip().startswith("1024")]
    assert table == [["1024", n, "20%", "40%", "50%", "0", "0"] for n in ("4", "16")]
    assert lines[-2].endswith("with its 16 voices: --block 1024")


def test_the_process_that_renders_begins_with_the_smallest_block_and_the_fewest_voices(tiny_path):
    rows = bench._measured(str(tiny_path()), 0.05)
    first = next(rows)
    assert (first.block, first.voices) == (bench.BLOCKS[0], bench.VOICES[0])
    rows.close()


def test_what_the_process_cannot_use_is_said_by_the_parent(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        next(bench._measured(str(tmp_path / "gone.toml"), 0.5))


def test_a_process_that_dies_is_said(monkeypatch):
    monkeypatch.setattr(bench, "_measure", print)  # comes to its end without a word
    with pytest.raises(Failure, match="has ended"):
        next(bench._measured("gm-keys", 0.5))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, 601.0])
def test_times_out_of_range_are_refused_before_anything_is_measured(seconds):
    with pytest.raises(UserError, match=r"--seconds .* is out of range"):
        next(bench.bench("gm-keys", seconds))


def test_an_unknown_preset_is_refused_with_the_nearest(monkeypatch):
    monkeypatch.setattr(bench, "_measured", lambda *_: pytest.fail("nothing is to be measured"))
    with pytest.raises(UserError, match="did you mean 'gm-keys'"):
        next(bench.bench("gm-kays", 3.0))


def test_a_fault_of_the_process_is_one_line_without_a_traceback(monkeypatch, capfd):
    class Pipe(list):
        send = list.append

    said = Pipe()
    monkeypatch.setattr(bench, "hurry", lambda priority: None)
    monkeypatch.setattr(bench, "_row", lambda *_: 1 / 0)
    bench._measure(said, "gm-keys", 0.5)
    assert [type(what) for what in said] == [Failure]
    assert str(said[0]) == "internal error: ZeroDivisionError: division by zero"
    assert "Traceback" not in capfd.readouterr().err
