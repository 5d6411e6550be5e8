"""Standard MIDI Files, byte by byte."""

from timbrel.host.midi.parser import OURS

RATE = 48000
END = "00 ff 2f 00"  # at once: end of track


def chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4) + body


def header(kind: int = 1, tracks: int = 1, division: int = 480) -> bytes:
    return chunk(b"MThd", kind.to_bytes(2) + tracks.to_bytes(2) + division.to_bytes(2))


def midi(*tracks: str, kind: int = 1, division: int = 480) -> bytes:
    """A file of tracks written in hexadecimal."""
    return header(kind, len(tracks), division) + b"".join(chunk(b"MTrk", bytes.fromhex(track)) for track in tracks)


def own(data: str) -> str:
    """An event of timbrel's own, at once, with data in hexadecimal."""
    said = OURS[1:] + bytes.fromhex(data)
    return f"00 ff 7f {len(said):02x} {said.hex()} "
