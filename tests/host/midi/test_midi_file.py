"""Files written byte by byte, and by mido; times against fractions of a second worked out by hand."""

import tracemalloc
from fractions import Fraction

import mido
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from timbrel.host.errors import UserError
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
    Tempo,
)
from timbrel.host.midi.controllers import HOLDING_PEDALS
from timbrel.host.midi.files import Performance, read_performance
from timbrel.host.midi.parser import OURS

from .smf import END, RATE, chunk, header, midi, own


@pytest.fixture
def read(tmp_path):
    def read_bytes(data: bytes, sample_rate: int = RATE) -> Performance:
        path = tmp_path / "song.mid"
        path.write_bytes(data)
        return read_performance(path, sample_rate)

    return read_bytes


def notes(performance: Performance) -> list[tuple[int, str, int]]:
    return [
        (event.time, "on" if isinstance(event, NoteOn) else "off", event.key)
        for event in performance.events
        if isinstance(event, NoteOn | NoteOff)
    ]


def test_every_kind_of_message_becomes_its_event(read):
    performance = read(
        midi(
            "00 b3 4a 40"  # channel 3: CC 74 = 64
            "00 93 3c 64"  # note-on, key 60, velocity 100
            "83 60 e3 00 40"  # after 480 ticks, half a second: wheel at rest
            "00 e3 00 00"  # wheel at its lowest
            "00 e3 7f 7f"  # wheel at its highest
            "00 c3 05  00 d3 22  00 a3 3c 11"  # program, channel pressure and key pressure
            "00 f7 01 f8  00 f7 01 fa  00 f7 02 fb fc"  # the MIDI clock, which only escapes can hold
            "83 60 83 3c 40" + END  # after 480 more: note-off
        )
    )
    assert performance.events == [
        ControlChange(0, 3, 74, 64),
        NoteOn(0, 3, 60, 100),
        PitchBend(24000, 3, 0),
        PitchBend(24000, 3, -8192),
        PitchBend(24000, 3, 8191),
        ProgramChange(24000, 3, 5),
        ChannelPressure(24000, 3, 0x22),
        KeyPressure(24000, 3, 60, 0x11),
        Clock(24000, "tick"),
        Clock(24000, "start"),
        Clock(24000, "continue"),
        Clock(24000, "stop"),
        NoteOff(48000, 3, 60),
    ]
    assert (performance.length, performance.channels, performance.warnings) == (48000, [3], [])


def test_running_status_and_velocity_zero_end_a_note_even_after_a_meta_event(read):
    performance = read(
        midi(
            "00 90 3c 64"  # note-on, key 60
            "60 3c 00"  # 96 ticks later, by running status: velocity 0, so it ends
            "00 ff 01 02 68 69"  # a text
            "00 3e 64  60 3e 00" + END  # by running status again: key 62
        )
    )
    assert notes(performance) == [(0, "on", 60), (4800, "off", 60), (4800, "on", 62), (9600, "off", 62)]


def test_sysex_escapes_and_meta_events_of_any_content_are_passed_over(read):
    performance = read(
        midi(
            "00 f0 03 43 12 f7"  # system exclusive
            "00 f7 02 fe ff"  # an escape with bytes above 0x7f
            "00 f0 02 43 f8"  # a clock's byte in system exclusive data, where it is none
            "00 ff 59 02 0a 07"  # a key signature of ten sharps in an unknown mode
            "00 ff 7f 00  00 ff 60 01 ff"  # sequencer-specific and unknown ones
            "00 90 3c 64  60 80 3c 00" + END
        )
    )
    assert performance.events == [NoteOn(0, 0, 60, 100), NoteOff(4800, 0, 60)]


@pytest.mark.parametrize(
    "data",
    [
        "00 f0 05 7e 7f 09 01 f7",
        "00 f0 03 7e 7f 09  00 f7 02 01 f7",  # in two packets
        "00 f0 03 7e 7f 09  00 f7 01 f8  00 f7 02 01 f7",  # a clock between them
        "00 f7 06 f0 7e 7f 09 01 f7",  # as arbitrary bytes
    ],
)
def test_system_exclusive_messages_of_a_file_become_events(read, data):
    performance = read(midi(data + "60 f0 07 7f 7f 04 03 00 20 f7" + END))
    assert [event for event in performance.events if not isinstance(event, Clock)] == [
        SystemReset(0),
        MasterTuning(4800, "fine", 4096),
    ]


def test_without_a_tempo_a_quarter_note_lasts_half_a_second(read):
    assert read(midi("83 60 ff 2f 00")).length == RATE // 2


def test_a_tempo_in_any_track_governs_all_tracks_from_its_tick_on(read):
    performance = read(
        midi(
            "00 90 3c 64  83 60 80 3c 00  83 60 90 3c 64  83 60 80 3c 00" + END,  # at quarters 0, 1, 2 and 3
            "83 60 ff 51 03 0f 42 40" + END,  # from quarter 1 on, 1 s a quarter
        )
    )
    assert [time for time, *_ in notes(performance)] == [0, 24000, 72000, 120000]


def test_an_hour_of_awkward_tempi_does_not_drift(tmp_path):
    file = mido.MidiFile(ticks_per_beat=479)
    track = mido.MidiTrack()
    file.tracks.append(track)
    seconds, truth, beat = Fraction(0), [], 0
    while seconds < 3600:
        tempo, ticks = 333_337 + 7919 * (beat % 83), 1 + 37 * beat % 997
        track.append(mido.MetaMessage("set_tempo", tempo=tempo))
        track.append(mido.Message("note_on", note=beat % 128, velocity=1, time=ticks))
        seconds += Fraction(tempo * ticks, 479 * 1_000_000)
        truth.append(seconds)
        beat += 1
    file.save(tmp_path / "hour.mid")
    for rate in (44100, 96000):
        found = read_performance(tmp_path / "hour.mid", rate).events
        events = [event for event in found if not isinstance(event, Tempo)][: len(truth)]
        assert max(abs(event.time - second * rate) for event, second in zip(events, truth, strict=True)) <= Fraction(
            1, 2
        )


def test_tempos_are_told_where_they_change_but_not_those_of_recordings(read):
    performance = read(midi("00 ff 51 03 0f 42 40  00 90 3c 64  83 60 ff 51 03 07 a1 20  83 60 80 3c 00" + END))
    assert [event for event in performance.events if isinstance(event, Tempo)] == [Tempo(0, 60.0), Tempo(48000, 120.0)]
    assert performance.length == 72000
    ours = f"00 ff {OURS[0]:02x} {len(OURS) - 1:02x} {OURS[1:].hex(' ')}"
    recorded = read(midi("00 ff 51 03 0f 42 40 " + ours + " 00 90 3c 64  83 60 80 3c 00" + END))
    assert recorded.recorded
    assert not [event for event in recorded.events if isinstance(event, Tempo)]


@pytest.mark.parametrize(("name", "frames_a_second"), [(24, 24), (25, 25), (29, Fraction(30000, 1001)), (30, 30)])
def test_smpte_time_counts_frames_and_ignores_the_tempo(read, name, frames_a_second):
    division = (256 - name) << 8 | 40  # 40 ticks a frame
    performance = read(midi("00 ff 51 03 00 00 01  a7 08 90 3c 64  00 80 3c 00" + END, division=division))
    ticks = 0x27 * 128 + 8
    assert performance.length == performance.events[0].time == round(ticks / (frames_a_second * 40) * RATE)


def test_the_patterns_of_a_type_2_file_follow_one_another_each_with_its_own_tempo(read):
    performance = read(
        midi(
            "00 ff 51 03 0f 42 40  00 90 3c 64  83 60 ff 2f 00",  # 1 s a quarter; the note is never released
            "00 90 3c 64  83 60 80 3c 00" + END,  # 120 BPM again
            kind=2,
        )
    )
    assert notes(performance) == [(0, "on", 60), (48000, "off", 60), (48000, "on", 60), (72000, "off", 60)]
    assert performance.length == 72000
    assert performance.warnings == [
        "a file of type 2: its 2 patterns are played one after another",
        "1 note without a note-off: released at the end",
    ]


def test_a_repeated_key_is_released_before_it_is_struck_again_at_the_same_sample(read):
    performance = read(
        midi(
            "00 90 3c 64  60 90 3c 50  00 80 3c 00  60 80 3c 00" + END,  # the second note-on stands before the note-off
        )
    )
    assert notes(performance) == [(0, "on", 60), (4800, "off", 60), (4800, "on", 60), (9600, "off", 60)]
    assert performance.warnings == []


def test_a_note_of_no_length_keeps_its_order_and_a_pedal_its_place(read):
    performance = read(
        midi(
            "00 90 3e 64  60 b0 40 7f  00 80 3e 00"  # the pedal goes down before the key comes up
            "00 90 3c 64  00 80 3c 00"  # on and off at once
            "00 b0 40 00" + END
        )
    )
    assert performance.events == [
        NoteOn(0, 0, 62, 100),
        ControlChange(4800, 0, 64, 127),
        NoteOff(4800, 0, 62),
        NoteOn(4800, 0, 60, 100),
        NoteOff(4800, 0, 60),
        ControlChange(4800, 0, 64, 0),
    ]
    assert performance.warnings == []


def test_a_held_key_that_is_struck_anew_for_no_time_does_not_hang(read):
    performance = read(midi("00 90 3c 64  60 80 3c 00  00 90 3c 64  00 80 3c 00  60 b0 4a 00" + END))
    assert notes(performance) == [(0, "on", 60), (4800, "off", 60), (4800, "on", 60), (4800, "off", 60)]
    assert performance.warnings == []


def test_notes_left_down_are_released_at_the_end_and_counted(read):
    performance = read(midi("00 90 3c 64  00 91 3c 64  00 90 3e 64  00 90 3e 64  83 60 80 3c 00  83 60 ff 2f 00"))
    assert notes(performance)[-3:] == [(24000, "off", 60), (48000, "off", 60), (48000, "off", 62)]
    assert performance.channels == [0, 1]
    assert performance.warnings == ["2 notes without a note-off: released at the end"]


@pytest.mark.parametrize("data", [midi("83 60 b0 4a 01" + END), header(tracks=0), midi("")])
def test_a_file_without_notes_is_silence_and_says_so(read, data):
    assert read(data).warnings == ["no notes: the output is silence"]


def test_thousands_of_tracks_and_unknown_chunks_between_them_are_read(read):
    one = chunk(b"MTrk", bytes.fromhex("60 90 3c 64  00 80 3c 00" + END)) + chunk(b"XFIH", b"\x99" * 5)
    performance = read(header(tracks=40_000) + 40_000 * one)  # above 32767: an unsigned count
    assert len(performance.events) == 80_000
    assert {event.time for event in performance.events} == {4800}


def test_bytes_after_the_last_declared_track_are_ignored(read):
    assert read(midi("00 90 3c 64 60 80 3c 00" + END) + b"\x00junk").length == 4800


GOOD = midi("00 90 3c 64  60 80 3c 00" + END, "00 91 3c 64  60 81 3c 00" + END)


@pytest.mark.parametrize("length", range(1, len(GOOD)))
def test_a_file_cut_off_anywhere_is_refused_by_name_in_one_line(read, length):
    with pytest.raises(UserError, match=r"^cannot read .*song\.mid: [^\n]*$"):
        read(GOOD[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"RIFF0000WAVE", "not a MIDI file"),
        (chunk(b"MThd", b"\0\1\0\1"), "header holds 4 bytes; 6"),
        (header(kind=3, tracks=0), "type 3; types 0, 1 and 2"),
        (header(tracks=3) + midi("")[14:], "holds 1 of its 3 tracks"),
        (midi(END, division=0), "0 ticks a quarter note"),
        (midi(END, division=(256 - 26) << 8 | 40), "SMPTE time of 26 frames"),
        (midi(END, division=(256 - 25) << 8), "SMPTE time of 25 frames, 0 ticks"),
        (midi("00 3c 64"), "track 1 is broken: 0x3c at byte 1, where a status must be"),
        (midi(END, "00 90 3c e4"), "track 2 is broken: a message of status 0x90 with data above 0x7f"),
        (midi(own("00 00") + END), "an event of timbrel's own that it does not know: 0x0000"),
        (midi(own("00 10" + 8 * "00" + "70") + END), "an event of timbrel's own that it does not know: 0x0010"),
        (midi(own("00 00" + 8 * "00" + "ff") + END), "an event of timbrel's own that it does not know: 0x0000"),
        (midi(own("07 00" + 8 * "00" + "70") + END), "an event of timbrel's own that it does not know: 0x0700"),
        (midi("00 f8"), "status 0xf8"),
        (midi("00 90 3c"), "track 1 ends within an event"),
        (midi("00 f0 05 00"), "track 1 ends within an event"),
        (midi("00 ff 51 02 00 00"), "a tempo of 0x0000; 3 bytes"),
        (midi("00 ff 51 03 00 00 00"), "a tempo of 0x000000"),
        (midi("ff ff ff ff 7f 90 3c 64"), "more than four bytes"),
        (midi("ff ff ff 7f 90 3c 64"), "it lasts 77.7 hours; at most 10"),
    ],
)
def test_broken_bytes_are_refused_with_the_reason(read, data, reason):
    with pytest.raises(UserError, match=r"^cannot read .*song\.mid: [^\n]*$") as refusal:
        read(data)
    assert reason in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.mid: there is no such file"):
        read_performance(tmp_path / "none.mid", RATE)
    with pytest.raises(UserError, match="it is a folder"):
        read_performance(tmp_path, RATE)


def test_nine_hours_of_nothing_cost_no_memory(read):
    data = midi("00 ff 51 03 ff ff ff  bb dc 44 90 3c 64  00 80 3c 00" + END)  # 978500 ticks of 35 ms
    tracemalloc.start()
    performance = read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 9 * 3600 * RATE < performance.length < 10 * 3600 * RATE
    assert peak < 1_000_000


MESSAGES = st.one_of(
    st.builds(
        mido.Message,
        st.sampled_from(["note_on", "note_off"]),
        channel=st.integers(0, 15),
        note=st.integers(58, 62),
        velocity=st.integers(0, 127),
        time=st.integers(0, 2000),
    ),
    st.builds(
        mido.Message,
        st.just("control_change"),
        channel=st.integers(0, 15),
        control=st.integers(0, 127),
        value=st.integers(0, 127),
        time=st.integers(0, 2000),
    ),
    st.builds(mido.MetaMessage, st.just("set_tempo"), tempo=st.integers(1, 0xFFFFFF), time=st.integers(0, 2000)),
    st.builds(mido.Message, st.just("sysex"), data=st.lists(st.integers(0, 127), max_size=5), time=st.integers(0, 200)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(MESSAGES, max_size=12), min_size=1, max_size=4), st.integers(1, 0x7FFF))
@example([[mido.MetaMessage("set_tempo", tempo=0xFFFFFF), mido.Message("note_on", time=2200)]], 1)  # 10.25 hours
@example([[mido.Message("control_change", control=64, value=64)]], 1)
def test_what_mido_writes_is_read_at_the_times_mido_plays_it(tmp_path, tracks, ticks_per_beat):
    file = mido.MidiFile(ticks_per_beat=ticks_per_beat, tracks=[mido.MidiTrack(track) for track in tracks])
    file.save(tmp_path / "mido.mid")
    seconds, truth = 0.0, []
    for message in mido.MidiFile(tmp_path / "mido.mid"):  # times in seconds, summed in floats
        seconds += message.time
        if message.type in ("note_on", "note_off", "control_change"):
            number = message.control if message.type == "control_change" else message.note
            truth.append((seconds * RATE, message.channel, number))
    if seconds > 10 * 3600:
        with pytest.raises(UserError, match=r"it lasts .* hours; at most 10 can be played$"):
            read_performance(tmp_path / "mido.mid", RATE)
        return
    performance = read_performance(tmp_path / "mido.mid", RATE)
    assert abs(performance.length - seconds * RATE) < 1
    found = [event for event in performance.events if not isinstance(event, Tempo)]
    events, ends = found[: len(truth)], found[len(truth) :]  # what follows are releases at the end
    assert all(event.time == performance.length for event in ends)
    assert all(isinstance(event, NoteOff) or (event.number in HOLDING_PEDALS and event.value == 0) for event in ends)
    assert all(abs(event.time - time) < 1 for event, (time, *_) in zip(events, truth, strict=True))
    read_back = sorted((e.channel, e.number if isinstance(e, ControlChange) else e.key) for e in events)
    assert read_back == sorted((channel, number) for _, channel, number in truth)


BYTES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda tail: header() + tail),
    st.builds(
        lambda kind, division, bodies: (
            header(kind, len(bodies), division) + b"".join(chunk(b"MTrk", b) for b in bodies)
        ),
        st.integers(0, 3),
        st.integers(0, 0xFFFF),
        st.lists(st.binary(max_size=40), max_size=3),
    ),
    st.builds(
        lambda at, byte: GOOD[:at] + bytes([byte]) + GOOD[at + 1 :], st.integers(4, len(GOOD) - 1), st.integers(0, 255)
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BYTES)
def test_any_bytes_give_an_ordered_performance_or_a_refusal_in_one_line(tmp_path, data):
    path = tmp_path / "wild.mid"
    path.write_bytes(data)
    try:
        performance = read_performance(path, RATE)
    except UserError as refusal:
        assert str(refusal).startswith(f"cannot read {path}: ")  # noqa: PT017 - either outcome is right
        assert "\n" not in str(refusal)  # noqa: PT017
        return
    times = [event.time for event in performance.events]
    assert times == sorted(times)
    assert all(0 <= time <= performance.length for time in times)
    down: set[tuple[int, int]] = set()
    for event in performance.events:
        if isinstance(event, NoteOn):
            down.add((event.channel, event.key))
        elif isinstance(event, NoteOff):
            down.discard((event.channel, event.key))
    assert not down
