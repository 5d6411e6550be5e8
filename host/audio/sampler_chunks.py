"""Reads root keys from the sampler chunks of WAV (``smpl``, ``inst``) and AIFF files (``INST``).

Source: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0 and its supplement 3.0; Apple,
Audio Interchange File Format 1.3. AIFF's MARK has places of loops, and no key.
"""

import struct
from pathlib import Path

_WAVE = (b"RIFF", b"RF64", b"BW64")
_PLACES = {b"smpl": (12, "<I"), b"inst": (0, "B"), b"INST": (0, "B")}  # of the key in the chunk
_MOST_CHUNKS = 1000  # a damaged file may seem to have millions


def root_key(path: Path) -> int | None:
    """Return the MIDI key that plays a file untransposed; None if no chunk names one.

    ``smpl`` counts before ``inst``.

    Raises:
        OSError: the file cannot be read.
    """
    keys = dict[bytes, int]()
    with path.open("rb") as file:
        form, _, kind = struct.unpack("4s4s4s", file.read(12).ljust(12))
        if not (form in _WAVE and kind == b"WAVE") and not (form == b"FORM" and kind in (b"AIFF", b"AIFC")):
            return None
        size_format, long_data = (">I" if form == b"FORM" else "<I"), 0
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or not head[:4].isascii() or not head[:4].decode("ascii").isprintable():
                break
            name, size = head[:4], struct.unpack(size_format, head[4:])[0]
            begin = file.tell()
            content = file.read(min(size, 16)) if name in (*_PLACES, b"ds64") else b""
            if name == b"ds64" and len(content) == 16:  # sizes of files beyond 4 GiB
                long_data = struct.unpack("<8xQ", content)[0]
            elif name in _PLACES:
                place, number = _PLACES[name]
                if len(content) >= place + struct.calcsize(number):
                    keys[name] = struct.unpack_from(number, content, place)[0]
            if name == b"data" and size == 0xFFFFFFFF:
                size = long_data
            file.seek(begin + size + size % 2)  # chunks lie at even places
    return next((keys[name] for name in _PLACES if keys.get(name, 128) < 128), None)
