"""A recorder that crashed leaves sizes of 0, or of its last update, in front of a sound that is whole."""

import io
import struct

import numpy as np
import pytest
import soundfile
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.errors import UserError
from timbrel.train.corpus.sound_files import SoundFile

RATE, FRAMES = 8000, 1500
RNG = np.random.default_rng(0)
SOUND = np.round(RNG.uniform(-0.5, 0.5, FRAMES) * 32768) / np.float32(32768)  # of 16 bits, so exact in each format
INTEGERS = (SOUND * 32768).astype("<i2")
SAMPLES = {
    16: (1, 2, INTEGERS.tobytes()),
    24: (1, 3, b"".join(b"\0" + sample.tobytes() for sample in INTEGERS)),
    32: (3, 4, SOUND.astype("<f4").tobytes()),
}
UNKNOWN = 0xFFFFFFFF


def chunk(name, data, size=None):
    return name + struct.pack("<I", len(data) if size is None else size) + data


def wav(size, bits=16, riff=0, magic=b"RIFF", before=b"", between=b"", behind=b""):
    """A WAV file that states ``size`` bytes of sound."""
    tag, width, data = SAMPLES[bits]
    settings = struct.pack("<HHIIHH", tag, 1, RATE, RATE * width, width, bits)
    head = magic + struct.pack("<I", riff) + b"WAVE" + before
    return head + chunk(b"fmt ", settings) + between + chunk(b"data", data, size) + behind


def sizes64(size):
    return chunk(b"ds64", struct.pack("<QQQI", 0, size, 0, 0))


def with_number(format, at, number):
    """A file by libsndfile with another size: in the data chunk of CAF, in the header of AU."""
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE, "PCM_16", format=format)
    data = bytearray(file.getvalue())
    place = at if isinstance(at, int) else data.index(at) + 4
    data[place : place + len(number)] = number
    return bytes(data)


WHOLE = 2 * FRAMES
CRASHED = {
    "16 bits": wav(0),
    "24 bits": wav(0, 24, UNKNOWN),
    "float": wav(0, 32, 36),
    "of AVAudioFile": wav(0, riff=4088, between=chunk(b"FLLR", bytes(4044))),
    "with JUNK": wav(0, before=chunk(b"JUNK", bytes(28))),
    "with an odd chunk": wav(0, before=chunk(b"bext", bytes(603)) + b"\0"),
    "with an odd chunk that is not padded": wav(0, before=chunk(b"bext", bytes(603))),
    "updated once": wav(1000, riff=1036),
    "updated once, float": wav(1000, 32, riff=1036),
    "RF64": wav(UNKNOWN, riff=UNKNOWN, magic=b"RF64", before=sizes64(0)),
    "BW64": wav(UNKNOWN, riff=UNKNOWN, magic=b"BW64", before=sizes64(0)),
    "AU": with_number("AU", 8, bytes(4)),
    "CAF": with_number("CAF", b"data", bytes(8)),
}
FINISHED = {
    "plain": wav(WHOLE, riff=WHOLE + 36),
    "streamed": wav(UNKNOWN, riff=UNKNOWN),
    "streamed by SoX": wav(0x7FFFF000, riff=0x7FFFF024),
    "RF64": wav(UNKNOWN, riff=UNKNOWN, magic=b"RF64", before=sizes64(WHOLE)),
    "BW64": wav(UNKNOWN, riff=UNKNOWN, magic=b"BW64", before=sizes64(WHOLE)),
    "BW64 without sizes": wav(WHOLE, magic=b"BW64"),
    "an odd chunk that is not padded": wav(WHOLE, before=chunk(b"bext", bytes(603))),
    "chunks behind": wav(WHOLE, behind=chunk(b"LIST", b"INFOISFT\4\0\0\0abcd") + chunk(b"id3 ", b"ID3\3" + bytes(6))),
    "a tag behind": wav(WHOLE, behind=b"TAG" + bytes(125)),
    "text behind": wav(WHOLE, behind=b"<?xpacket begin='?' id='W5M0'?>"),
    "padding behind": wav(WHOLE, behind=bytes(2000)),
    "CAF up to the end of the file": with_number("CAF", b"data", b"\xff" * 8),
    "FLAC from a pipe": with_number("FLAC", 22, bytes(4)),
}


def read_both(path):
    """The samples, and the remark; commands and corpora read alike."""
    file = SoundFile(path)
    samples = np.concatenate([*file.decode(RATE)])[:, 0]
    assert np.array_equal(read_sound(path)[0][0], samples)
    assert np.array_equal(read_sound(path, path.read_bytes())[0][0], samples)
    return samples, file.remarks


@pytest.mark.parametrize("kind", CRASHED)
def test_a_recording_whose_recorder_crashed_is_read_to_the_end_with_a_line(tmp_path, kind, caplog):
    path = tmp_path / "take.wav"
    path.write_bytes(CRASHED[kind])
    samples, remarks = read_both(path)
    assert np.array_equal(samples[-FRAMES:], SOUND)
    assert len(remarks) == 1
    assert "read to the end of the file" in remarks[0]
    assert caplog.messages == [f"{path}: {remarks[0]}"]  # once, though it was opened twice


@pytest.mark.parametrize("kind", FINISHED)
def test_a_header_that_is_whole_gives_the_sound_alone_without_a_line(tmp_path, kind, caplog):
    path = tmp_path / "take.wav"
    path.write_bytes(FINISHED[kind])
    samples, remarks = read_both(path)
    assert np.array_equal(samples, SOUND)
    assert (remarks, caplog.messages) == ([], [])


@pytest.mark.parametrize(
    "data", [wav(5000), wav(5000, before=chunk(b"JUNK", bytes(28))), wav(UNKNOWN, magic=b"RF64", before=sizes64(5000))]
)
def test_a_sound_whose_end_is_missing_is_read_with_a_line(tmp_path, data, caplog):
    path = tmp_path / "take.wav"
    path.write_bytes(data)
    samples, remarks = read_both(path)
    assert np.array_equal(samples, SOUND)
    assert remarks == ["its header counts 5000 bytes of sound, the file has 3000: its end is missing"]
    assert caplog.messages == [f"{path}: {remarks[0]}"]


def test_the_line_states_the_bytes(tmp_path):
    (tmp_path / "take.wav").write_bytes(CRASHED["updated once"])
    assert SoundFile(tmp_path / "take.wav").remarks[0].startswith("its header counts 1000 of 3000 bytes of sound")


@pytest.mark.parametrize("behind", [b"", chunk(b"LIST", b"INFOISFT\4\0\0\0abcd")])
def test_a_file_without_samples_holds_no_sound(tmp_path, behind):
    (tmp_path / "empty.wav").write_bytes(wav(0)[:44] + behind)
    with pytest.raises(UserError, match="it holds no sound"):
        read_sound(tmp_path / "empty.wav")


def test_a_header_without_end_is_refused_soon(tmp_path):
    path = tmp_path / "chunks.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + chunk(b"junk", b"") * 100_000)
    with pytest.raises(UserError, match="give a sound file"):
        read_sound(path)
