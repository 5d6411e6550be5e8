"""Bytes written by hand, by mido and at random."""

import inspect
import tracemalloc
from itertools import pairwise

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import (
    ChannelPressure,
    Clock,
    ControlChange,
    KeyPressure,
    MasterTuning,
    NoteOff,
    NoteOn,
    PitchBend,
    ProgramChange,
    SystemReset,
)
from timbrel.host.midi.decode import MidiDecoder, exclusive_bytes

BYTE = st.integers(0, 127)


def decode(data: str, time: int = 7) -> list:
    """The events of bytes in hexadecimal."""
    return MidiDecoder().feed(bytes.fromhex(data), time)


@pytest.mark.parametrize(
    ("data", "event"),
    [
        ("93 3c 64", NoteOn(7, 3, 60, 100)),
        ("93 3c 00", NoteOff(7, 3, 60)),
        ("83 3c 40", NoteOff(7, 3, 60)),
        ("a3 3c 11", KeyPressure(7, 3, 60, 17)),
        ("b3 4a 7f", ControlChange(7, 3, 74, 127)),
        ("c3 05", ProgramChange(7, 3, 5)),
        ("d3 22", ChannelPressure(7, 3, 34)),
        ("e3 00 40", PitchBend(7, 3, 0)),
        ("e3 00 00", PitchBend(7, 3, -8192)),
        ("e3 7f 7f", PitchBend(7, 3, 8191)),
        ("f8", Clock(7, "tick")),
        ("fa", Clock(7, "start")),
        ("fb", Clock(7, "continue")),
        ("fc", Clock(7, "stop")),
        ("f0 7e 7f 09 01 f7", SystemReset(7)),  # General MIDI On
        ("f0 7e 05 09 01 f7", SystemReset(7)),  # for another device's number
        ("f0 7e 7f 09 03 f7", SystemReset(7)),  # General MIDI 2 On
        ("f0 41 10 42 12 40 00 7f 00 41 f7", SystemReset(7)),  # GS reset
        ("f0 41 10 42 12 00 00 7f 00 01 f7", SystemReset(7)),
        ("f0 43 10 4c 00 00 7e 00 f7", SystemReset(7)),  # XG System On
        ("f0 43 1f 4c 00 00 7f 00 f7", SystemReset(7)),
        ("f0 7f 7f 04 03 00 40 f7", MasterTuning(7, "fine", 8192)),
        ("f0 7f 10 04 03 7f 7f f7", MasterTuning(7, "fine", 16383)),
        ("f0 7f 7f 04 04 00 34 f7", MasterTuning(7, "coarse", 52 << 7)),
    ],
)
def test_every_kind_of_message_becomes_its_event(data, event):
    assert decode(data) == [event]


@pytest.mark.parametrize(
    "data",
    [
        "f0 7e 7f 09 02 f7",  # General MIDI Off
        "f0 7e 7f 09 01 00 f7",  # too long
        "f0 7e 7f 09 f7",  # too short
        "f0 7e 7f 09 01",  # unfinished
        "f0 7e 7f 09 01 b0 f7",  # broken off by another status
        "f0 41 10 42 12 40 00 7f 00 40 f7",  # a wrong checksum
        "f0 7f 7f 04 01 00 40 f7",  # master volume
        "f0 7f 7f 04 03 00 f7",
        "f0 f7",
        "7e 7f 09 01 f7",  # without a status
    ],
)
def test_all_other_system_exclusive_messages_have_no_effect(data):
    assert decode(data) == []


@given(st.lists(st.integers(1, 8), min_size=1))
def test_a_system_exclusive_message_comes_in_chunks_of_any_size_with_real_time_messages_in_it(sizes):
    data = bytes.fromhex("f0 7f f8 7f 04 fe 04 00 34 f7 f0") + bytes(100) + bytes.fromhex("f7 f0 7e 7f 09 01 f7")
    decoder, events = MidiDecoder(), []
    for size in [*sizes, len(data)]:
        events += decoder.feed(data[:size], 7)
        data = data[size:]
    assert events == [Clock(7, "tick"), MasterTuning(7, "coarse", 52 << 7), SystemReset(7)]


@pytest.mark.parametrize("event", [SystemReset(7), MasterTuning(7, "fine", 12345), MasterTuning(7, "coarse", 76 << 7)])
def test_an_event_of_all_channels_is_written_as_a_message_that_means_it(event):
    assert MidiDecoder().feed(exclusive_bytes(event), 7) == [event]


def test_running_status_goes_on_until_another_status_or_a_system_message_that_is_not_real_time():
    assert decode("90 3c 64 3e 64 3c 00 fe 3e 00") == [
        NoteOn(7, 0, 60, 100),
        NoteOn(7, 0, 62, 100),
        NoteOff(7, 0, 60),
        NoteOff(7, 0, 62),
    ]
    for system in ("f0 01 f7", "f1 01", "f2 01 02", "f3 01", "f4", "f5", "f6", "f7"):
        assert decode(f"90 3c 64 {system} 3e 64") == [NoteOn(7, 0, 60, 100)]


def test_what_is_cut_off_or_strays_is_skipped_and_the_next_message_is_whole():
    assert decode("3c 64  90 3c  b0 4a  d0 90 3c 64") == [NoteOn(7, 0, 60, 100)]
    assert decode("f0 43 12 3c 90 3c 64") == [NoteOn(7, 0, 60, 100)]  # system exclusive without its end
    assert decode("90 3c f7 64 90 3e 64") == [NoteOn(7, 0, 62, 100)]


def test_real_time_bytes_inside_a_message_and_inside_system_exclusive_do_not_break_it():
    assert decode("90 f8 3c fe 64") == [Clock(7, "tick"), NoteOn(7, 0, 60, 100)]
    assert decode("f0 01 f8 02 fa f7 90 3c f9 64 fd") == [
        Clock(7, "tick"),
        Clock(7, "start"),
        NoteOn(7, 0, 60, 100),
    ]


def with_real_time(data, at):
    """The bytes with a clock tick and active sensing before the one at each of these places."""
    return b"".join((b"\xf8\xfe" if index in at else b"") + bytes([byte]) for index, byte in enumerate(data))


@given(st.lists(st.tuples(st.sampled_from([0x90, 0x83, 0xB1, 0xE2, 0xC0]), BYTE, BYTE), max_size=8), st.data())
def test_real_time_bytes_change_nothing_wherever_they_come(messages, data):
    plain = b"".join(bytes([status, *values[: 1 if status == 0xC0 else 2]]) for status, *values in messages)
    places = data.draw(st.sets(st.integers(0, max(0, len(plain) - 1))))
    found = MidiDecoder().feed(with_real_time(plain, places), 0)
    assert [event for event in found if not isinstance(event, Clock)] == MidiDecoder().feed(plain, 0)
    assert found.count(Clock(0, "tick")) == (len(places) if plain else 0)


def test_a_system_reset_lets_go_of_everything_on_all_channels_and_forgets_what_was_begun():
    events = decode("90 3c ff 64 3e 64")
    assert {event.channel for event in events} == set(range(16))
    for channel in range(16):
        assert [event.number for event in events if event.channel == channel] == [121, 123]


def test_an_endless_system_exclusive_costs_no_memory():
    decoder = MidiDecoder()
    data = bytes(100_000)
    decoder.feed(b"\xf0", 0)
    tracemalloc.start()
    for _ in range(20):
        assert decoder.feed(data, 0) == []
    only = tracemalloc.Filter(True, inspect.getsourcefile(MidiDecoder))  # other tests may have left threads
    kept = tracemalloc.take_snapshot().filter_traces([only])
    tracemalloc.stop()
    assert sum(trace.size for trace in kept.traces) < 10_000
    assert decoder.feed(b"\x90\x3c\x64", 1) == [NoteOn(1, 0, 60, 100)]


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=8))
def test_no_bytes_break_it_and_no_division_changes_what_they_mean(data, cuts):
    whole = MidiDecoder().feed(data, 3)
    for edges in ([*range(len(data) + 1)], sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})):
        decoder = MidiDecoder()
        pieces = [decoder.feed(data[a:b], 3) for a, b in pairwise(edges)]
        assert [event for piece in pieces for event in piece] == whole
    for event in whole:
        fields = [getattr(event, name) for name in event.__slots__ if name not in ("time", "message")]
        assert all(-8192 <= value <= 8191 if isinstance(event, PitchBend) else 0 <= value <= 127 for value in fields)
        assert isinstance(event, Clock) or event.channel <= 15


CHANNEL = st.integers(0, 15)
VALID = st.one_of(
    st.builds(mido.Message, st.sampled_from(["note_on", "note_off"]), channel=CHANNEL, note=BYTE, velocity=BYTE),
    st.builds(mido.Message, st.just("polytouch"), channel=CHANNEL, note=BYTE, value=BYTE),
    st.builds(mido.Message, st.just("control_change"), channel=CHANNEL, control=BYTE, value=BYTE),
    st.builds(mido.Message, st.just("program_change"), channel=CHANNEL, program=BYTE),
    st.builds(mido.Message, st.just("aftertouch"), channel=CHANNEL, value=BYTE),
    st.builds(mido.Message, st.just("pitchwheel"), channel=CHANNEL, pitch=st.integers(-8192, 8191)),
    st.builds(mido.Message, st.just("sysex"), data=st.lists(BYTE, max_size=9)),
    st.builds(mido.Message, st.just("songpos"), pos=st.integers(0, 16383)),
    st.builds(mido.Message, st.sampled_from(["clock", "start", "continue", "stop", "active_sensing", "tune_request"])),
)


def as_mido(event):
    """The mido message that an event stands for."""
    match event:
        case NoteOn(_, channel, key, velocity):
            return mido.Message("note_on", channel=channel, note=key, velocity=velocity)
        case NoteOff(_, channel, key):
            return mido.Message("note_off", channel=channel, note=key, velocity=0)
        case KeyPressure(_, channel, key, value):
            return mido.Message("polytouch", channel=channel, note=key, value=value)
        case ControlChange(_, channel, number, value):
            return mido.Message("control_change", channel=channel, control=number, value=value)
        case ProgramChange(_, channel, program):
            return mido.Message("program_change", channel=channel, program=program)
        case ChannelPressure(_, channel, value):
            return mido.Message("aftertouch", channel=channel, value=value)
        case PitchBend(_, channel, value):
            return mido.Message("pitchwheel", channel=channel, pitch=value)
        case Clock(_, message):
            return mido.Message("clock" if message == "tick" else message)


def heard(message):
    """A mido message as `as_mido` would give it, or None where it is no event."""
    if message.type in ("sysex", "songpos", "active_sensing", "tune_request"):
        return None
    if message.type == "note_off" or (message.type == "note_on" and message.velocity == 0):
        return mido.Message("note_off", channel=message.channel, note=message.note, velocity=0)
    return message


@given(st.lists(VALID, max_size=20))
def test_valid_streams_mean_what_mido_reads_in_them(messages):
    data = bytes(byte for message in messages for byte in message.bytes())
    parser = mido.Parser()
    parser.feed(data)
    reference = [kept for message in parser if (kept := heard(message)) is not None]
    assert [as_mido(event) for event in MidiDecoder().feed(data, 0)] == reference
