"""Root keys are read from the chunks that samplers write into WAV and AIFF files."""

import struct

import pytest
from timbrel.host.audio.decoding import root_key

SAMPLES = bytes(10)


def chunk(name, content, order="<"):
    return name + struct.pack(f"{order}I", len(content)) + content + bytes(len(content) % 2)


def smpl(key):
    return chunk(b"smpl", struct.pack("<9I", 0, 0, 22675, key, 0, 0, 0, 0, 0))


def inst(key, order="<", name=b"inst"):
    return chunk(name, struct.pack("Bbbbbbb", key, 0, 0, 0, 127, 1, 127), order)


def wav(*chunks, form=b"RIFF"):
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body)) + body


def aiff(*chunks):
    body = b"AIFF" + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body)) + body


DATA = chunk(b"data", SAMPLES)
LONG = b"data\xff\xff\xff\xff" + SAMPLES


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (wav(DATA, smpl(61)), 61),
        (wav(smpl(0), DATA), 0),
        (wav(DATA, inst(62)), 62),
        (wav(inst(62), DATA, smpl(61)), 61),
        (wav(smpl(128), inst(62)), 62),
        (wav(chunk(b"LIST", b"odd"), smpl(63)), 63),
        (wav(chunk(b"ds64", struct.pack("<QQ", 0, 10)), LONG, smpl(64), form=b"RF64"), 64),
        (wav(chunk(b"ds64", struct.pack("<QQ", 0, 10)), LONG, smpl(64), form=b"BW64"), 64),
        (aiff(chunk(b"SSND", SAMPLES, ">"), chunk(b"MARK", b"\0\0", ">"), inst(65, ">", b"INST")), 65),
        (wav(DATA), None),
        (wav(LONG, smpl(61), form=b"RF64"), None),
        (wav(DATA, smpl(61)[:15]), None),
        (wav(DATA, bytes(2000), smpl(61)), None),
        (wav(DATA, b"\xff" * 2000, smpl(61)), None),
        (b"RIFF", None),
        (b"", None),
        (b"fLaC" + smpl(61), None),
        (b"RIFF\0\0\0\0AVI " + smpl(61), None),
    ],
)
def test_the_key_of_a_file_is_that_of_its_chunks(tmp_path, content, key):
    path = tmp_path / "sound.wav"
    path.write_bytes(content)
    assert root_key(path) == key


def test_a_file_of_very_many_chunks_is_given_up(tmp_path):
    path = tmp_path / "sound.wav"
    path.write_bytes(wav(chunk(b"junk", b"") * 1000, smpl(61)))
    assert root_key(path) is None
