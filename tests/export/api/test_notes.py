import itertools
import re

import mido
import numpy as np
import pytest
from timbrel import Note, UserError
from timbrel.export.api.automation import KnobRange, bend_events, knob_changes
from timbrel.export.api.notes import performance_of, performance_of_music
from timbrel.host.events import DataEntry, NoteOff, NoteOn, PitchBend

KNOWN = {"bright": KnobRange("latent.0", -2.0, 2.0, 0.0, ""), "level": KnobRange("gain", -60.0, 12.0, 0.0, "dB")}


def test_notes_become_events_and_a_key_is_released_before_it_is_struck_again() -> None:
    found = performance_of([Note(60, 0.5, 0.5), Note(60, 0.0, 0.5, 7), Note(64, 0.25, 1e-9)], 1000)
    assert found.events == [
        NoteOn(0, 0, 60, 7),
        NoteOn(250, 0, 64, 100),
        NoteOff(251, 0, 64),
        NoteOff(500, 0, 60),
        NoteOn(500, 0, 60, 100),
        NoteOff(1000, 0, 60),
    ]
    assert (found.length, found.channels, found.warnings) == (1000, [0], [])


def test_a_key_struck_again_while_it_sounds_is_released_first_and_two_at_once_are_one() -> None:
    found = performance_of([Note(60, 0, 1), Note(60, 0.5, 2), Note(62, 0, 1), Note(62, 0, 3)], 1000)
    assert [(event.time, event.key, isinstance(event, NoteOn)) for event in found.events] == [
        (0, 60, True),
        (0, 62, True),
        (500, 60, False),
        (500, 60, True),
        (2500, 60, False),
        (3000, 62, False),
    ]
    assert found.length == 3000


def test_a_key_of_another_channel_goes_on() -> None:
    for first, second in ((1, 2), (2, 1)):
        found = performance_of([Note(60, 0, 1, channel=first), Note(60, 0.5, 1, channel=second)], 1000)
        assert [(event.time, event.channel + 1) for event in found.events if isinstance(event, NoteOff)] == [
            (1000, first),
            (1500, second),
        ]
        assert found.channels == [0, 1]


def test_a_key_that_messages_strike_again_at_its_release_is_released_first() -> None:
    words = (("note_on", 0.0), ("note_on", 0.5), ("note_off", 0.5), ("note_off", 1.0))
    performance, _ = performance_of_music([mido.Message(word, note=60, time=time) for word, time in words], 1000)
    assert [(event.time, isinstance(event, NoteOn)) for event in performance.events] == [
        (0, True),
        (500, False),
        (500, True),
        (1000, False),
    ]
    assert performance.length == 1000


def test_the_ends_of_a_wheel_leave_room_for_semitones_that_are_exact() -> None:
    for semitones, reach, value in ((2.0, 4, 4096), (-24, 32, -6144), (0.5, 1, 4096), (1, 2, 4096), (3, 4, 6144)):
        assert bend_events(semitones, [3], 1000) == [
            DataEntry(0, 3, True, 0, "coarse", reach),
            PitchBend(0, 3, value),
        ]


def test_numbers_of_numpy_are_numbers() -> None:
    note = Note(np.int64(60), np.int16(1), np.float16(0.5), np.int8(90))
    assert performance_of([note], 48_000).events == [NoteOn(48_000, 0, 60, 90), NoteOff(72_000, 0, 60)]
    assert Note(np.array(60), velocity=np.array(90)) in {Note(60, velocity=90)}
    for position in (np.float32(0.5), np.array(0.5), 0.5):
        [change] = knob_changes({"level": position}, KNOWN, [0], 1000)
        assert change.value == -24.0


def test_no_notes_are_silence_with_a_warning() -> None:
    assert performance_of([], 1000).warnings == ["no notes: the output is silence"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"key": 128}, "key 128 is out of range"),
        ({"key": 127.5}, "key 127.5 is out of range"),
        ({"key": "C4"}, "key 'C4' is no number"),
        ({"key": 60, "velocity": 64.5}, "velocity 64.5 is not a whole number"),
        ({"key": 60, "channel": 0}, "channel 0 is out of range"),
        ({"key": 60, "velocity": 0}, "velocity 0 is out of range"),
        ({"key": 60, "start": -1}, "start -1 is out of range"),
        ({"key": 60, "start": float("nan")}, "start nan is not finite"),
        ({"key": 60, "duration": 0}, "duration 0 is out of range"),
        ({"key": 60, "duration": "long"}, "duration 'long' is no number"),
    ],
)
def test_a_note_out_of_range_is_one_line(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        Note(**wrong)


def test_other_things_than_notes_are_refused() -> None:
    with pytest.raises(UserError, match=r"60 is no timbrel\.Note"):
        performance_of_music([60], 1000)


def test_a_position_sets_a_knob_at_the_start_in_its_own_unit_on_each_channel() -> None:
    found = knob_changes({"level": 0.5}, KNOWN, [2, 5], 1000)
    assert [(change.time, change.channel, change.target, change.value) for change in found] == [
        (0, 2, "gain", -24.0),
        (0, 5, "gain", -24.0),
    ]


def test_lines_join_points_and_the_first_one_holds_before() -> None:
    found = knob_changes({"latent.0": [(1.0, 0.25), (1.1, 0.75)]}, KNOWN, [0], 1_000_000)
    line = [(change.time, change.value) for change in found]
    assert line[0] == (0, -1.0)
    assert line[-1] == (1_100_000, 1.0)
    for time, value in line[1:]:
        assert value == pytest.approx(-1 + 2 * (time - 1e6) / 1e5, abs=1e-4)
    assert max(b - a for (a, _), (b, _) in itertools.pairwise(line[1:])) <= 5000


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"brigt": 0.5}, "no knob is named 'brigt'; did you mean 'bright'?"),
        ({"bright": 1.5}, "position 1.5 is out of range"),
        ({"bright": []}, "has no points"),
        ({"bright": [0.5, 0.6]}, "0.5 is no pair"),
        ({"bright": [(1, 0.5), (0, 0.6)]}, "0 s comes after 1 s"),
        ({"bright": [(-1, 0.5)]}, "-1 s is out of range"),
        ({"bright": [(0, "high")]}, "'high' is no number"),
    ],
)
def test_wrong_knobs_are_one_line(knobs: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        knob_changes(knobs, KNOWN, [0], 1000)
