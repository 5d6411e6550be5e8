"""MIDI files that other programs play although bytes are wrong, and keys and pedals that files leave down."""

import tracemalloc

import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff
from timbrel.host.midi.files import LARGEST_BYTES, Performance, read_performance

from .smf import END, RATE, chunk, header, midi

FIRST = bytes.fromhex("00 90 3c 64  60 80 3c 00" + END)
SECOND = bytes.fromhex("00 91 40 64  81 40 81 40 00" + END)
WHOLE = header(tracks=2) + chunk(b"MTrk", FIRST) + chunk(b"MTrk", SECOND)


@pytest.fixture
def read(tmp_path):
    def read_bytes(data: bytes) -> Performance:
        (tmp_path / "song.mid").write_bytes(data)
        return read_performance(tmp_path / "song.mid", RATE)

    return read_bytes


def riff(content: bytes, before: bytes = b"") -> bytes:
    body = b"RMID" + before + b"data" + len(content).to_bytes(4, "little") + content
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("before", [b"", b"LIST\5\0\0\0INFO!\0"])  # a chunk of odd length and its padding
def test_a_riff_around_a_midi_file_plays_that_file_and_says_so(read, before):
    played = read(riff(WHOLE, before))
    assert played.events == read(WHOLE).events
    assert played.warnings == ["a RIFF around a MIDI file (RMID): the file in it is played"]


@pytest.mark.parametrize("data", [riff(b"MThx" + WHOLE[4:]), riff(b""), b"RIFF\0\0\0\0RMID", riff(WHOLE)[:40]])
def test_a_riff_without_a_whole_midi_file_is_refused_in_one_line(read, data):
    with pytest.raises(UserError, match=r"^cannot read .*song\.mid: [^\n]*$"):
        read(data)


def with_lengths(*lengths: int) -> bytes:
    tracks = [b"MTrk" + length.to_bytes(4) + body for length, body in zip(lengths, (FIRST, SECOND), strict=True)]
    return header(tracks=2) + b"".join(tracks)


LENGTHS = [0, 1, 5, len(FIRST) - 1, len(FIRST) + 1, len(FIRST) + 4, len(FIRST) + 12, 1000, 0xFFFFFFFF]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("track", [1, 2])
def test_tracks_of_wrong_lengths_play_while_their_events_are_whole_and_a_line_names_them(read, track, length):
    lengths = [len(FIRST), len(SECOND)]
    wrong = length + len(SECOND) - len(FIRST) if track == 2 and 5 < length < 1000 else length
    lengths[track - 1] = wrong
    played = read(with_lengths(*lengths))
    assert played.events == read(WHOLE).events
    assert played.warnings == [f"the length of track {track} is wrong: all events are whole, and played"]


def test_several_wrong_lengths_are_one_line(read):
    assert read(with_lengths(3, 3)).warnings == [
        "the length of track 1 and 1 more is wrong: all events are whole, and played"
    ]


def test_a_length_over_the_rest_of_the_file_does_not_swallow_the_next_track(read):
    assert read(with_lengths(len(FIRST) + 8 + len(SECOND), len(SECOND))).events == read(WHOLE).events


@pytest.mark.parametrize("stray", [b"\0", b"\0\0", b"\r\n", b"junk" * 4, b"\xff" * 20])
@pytest.mark.parametrize("place", [len(header()), len(header()) + 8 + len(FIRST)])
def test_stray_bytes_before_a_track_are_skipped_and_counted(read, stray, place):
    played = read(WHOLE[:place] + stray + WHOLE[place:])
    assert played.events == read(WHOLE).events
    assert played.warnings == [f"{len(stray)} stray byte{'s' * (len(stray) > 1)} between tracks: skipped"]


def test_stray_bytes_without_a_track_after_them_are_named(read):
    with pytest.raises(UserError, match="20 stray bytes at byte 34, and no track after them"):
        read(WHOLE[: len(header()) + 8 + len(FIRST)] + 20 * b"\xff")


def test_a_file_of_a_gigabyte_is_refused_before_it_fills_the_memory(read, tmp_path):
    path = tmp_path / "sparse.mid"
    with path.open("wb") as file:
        file.write(header())
        file.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"sparse\.mid: it has more than 16 MiB; give a smaller file"):
        read_performance(path, RATE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * LARGEST_BYTES


LIFTED = "a pedal of channel{} is never lifted: lifted at the end"


@pytest.mark.parametrize(("number", "channel"), [(64, 0), (64, 9), (66, 0), (66, 15)])
def test_pedals_left_down_come_up_at_the_end(read, number, channel):
    body = f"00 9{channel:x} 3c 64  00 b{channel:x} {number:02x} 7f  60 8{channel:x} 3c 00  83 00"
    played = read(midi(body + " ff 2f 00"))
    assert played.events[-1] == ControlChange(24000, channel, number, 0)
    assert played.warnings == [LIFTED.format(f" {channel + 1}")]


def test_pedals_of_several_channels_are_one_line(read):
    assert LIFTED.format("s 1, 3") in read(midi("00 b2 42 7f  00 b0 40 40" + END)).warnings


@pytest.mark.parametrize(
    "lifting",
    ["b0 40 3f", "b0 79 00", "b0 40 00"],  # below the middle of its way, all controllers reset
)
def test_pedals_that_came_up_need_no_line(read, lifting):
    assert read(midi(f"00 90 3c 64  00 b0 40 7f  60 80 3c 00  00 {lifting}" + END)).warnings == []


@pytest.mark.parametrize("off", [120, 123, 124, 125, 126, 127])
def test_a_note_that_all_notes_off_ends_under_the_pedal_needs_no_line(read, off):
    played = read(midi(f"00 90 3c 64  00 b0 40 7f  60 b0 {off:02x} 00  60 b0 40 00" + END))
    assert played.warnings == []


def test_all_notes_off_on_a_zones_master_ends_the_notes_of_its_members(read):
    zone = "00 b0 65 00  00 b0 64 06  00 b0 06 03  "  # members: channels 2 to 4
    inside = read(midi(zone + "00 91 3c 64  00 93 3c 64  60 b0 7b 00" + END))
    assert inside.warnings == []
    outside = read(midi(zone + "00 91 3c 64  00 94 3c 64  60 b0 7b 00" + END))
    assert outside.warnings == ["1 note without a note-off: released at the end"]
    assert outside.events[-1] == NoteOff(4800, 4, 60)
