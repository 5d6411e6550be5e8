"""ONNX bytes without a library: finds external tensor data and endless graphs, reads metadata.

Field numbers are those of onnx.proto.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..files import check_regular

DEEPEST = 100  # levels of nested messages: protobuf's own limit
FILE_BYTES = 1 << 31  # of the largest model file: protobuf's limit
MOST_FIELDS = 2_000_000  # fields in a file, read in a second; a decoder of a hundred layers has 10,000
MOST_MODEL_FIELDS = 1000  # of the outermost message; a model has 10

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4, groups, are in no ONNX file
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor
METADATA, KEY, VALUE = 14, 1, 2  # fields of a model, and of an entry of its metadata
CARD = b"timbrel.card"  # METADATA_KEY of card.py, whose numpy takes the panel too long
HOLDS: dict[str, dict[int, str]] = {  # message type by parent message and field number
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
REPEATING = {"attribute": ("graph",), "model": ("function",)}  # message types by parent


class NotONNX(Exception):
    """The reason, without the file's name."""


def leads_out(data: bytes) -> bool:
    """Return whether a tensor has external data, or any data location but the default.

    Raises:
        NotONNX: not protobuf, too deep, or too many fields.
    """
    return any(
        message_type == "tensor" and (field_number == EXTERNAL_DATA or (field_number == DATA_LOCATION and varint != 0))
        for message_type, field_number, varint in _parts(data)
    )


def repeats(data: bytes) -> bool:
    """Return whether a node has a graph of its own (Loop, Scan, If), or the file has functions.

    A Loop may run for years, and functions that call functions unfold into more nodes than memory holds. No network of
    timbrel has either.

    Raises:
        NotONNX: as `leads_out`.
    """
    return any(
        HOLDS[message_type].get(field_number) in REPEATING.get(message_type, ())
        for message_type, field_number, _ in _parts(data)
    )


def _parts(data: bytes) -> Iterator[tuple[str, int, int]]:
    """All fields in messages that lead to tensors: message type, field number, value of a varint."""
    pending_messages, field_count = [(0, len(data), "model", 1)], 0
    while pending_messages:
        message_begin, message_end, message_type, depth = pending_messages.pop()
        if depth > DEEPEST:
            raise NotONNX(f"its messages nest more than {DEEPEST} deep")
        for field_number, wire_type, varint, content_begin, content_length in fields(data, message_begin, message_end):
            field_count += 1
            if field_count > MOST_FIELDS:
                raise NotONNX(f"it has more than {MOST_FIELDS} parts")
            yield message_type, field_number, varint
            if wire_type == BYTES and field_number in HOLDS[message_type]:
                pending_messages.append(
                    (content_begin, content_begin + content_length, HOLDS[message_type][field_number], depth + 1)
                )


def graph_of(data: bytes) -> bytes:
    """An ONNX graph without metadata.

    Raises:
        NotONNX: not protobuf.
    """
    graph = b""
    for field_number, wire_type, _, content_begin, content_length in fields(data, 0, len(data)):
        if wire_type == BYTES and HOLDS["model"].get(field_number) == "graph":
            graph += data[content_begin : content_begin + content_length]
    return graph


def card_of(file: Path) -> str:
    """Text of a model's card, read without the weights; "" without one.

    Raises:
        NotONNX: not protobuf, or too many fields.
        UserError: irregular, or too large.
        OSError, ValueError: unreadable, empty, or no UTF-8.
    """
    check_regular(file, FILE_BYTES)
    with file.open("rb") as opened_file, mmap.mmap(opened_file.fileno(), 0, access=mmap.ACCESS_READ) as mapped_bytes:
        for field_index, (field_number, wire_type, _, content_begin, content_length) in enumerate(
            fields(mapped_bytes, 0, len(mapped_bytes))
        ):
            if field_index == MOST_MODEL_FIELDS:
                raise NotONNX(f"it has more than {MOST_MODEL_FIELDS} parts")
            if field_number == METADATA and wire_type == BYTES:
                entry_contents = {
                    entry_field_number: mapped_bytes[entry_offset : entry_offset + entry_bytes]
                    for entry_field_number, _, _, entry_offset, entry_bytes in fields(
                        mapped_bytes, content_begin, content_begin + content_length
                    )
                }
                if entry_contents.get(KEY) == CARD:
                    return entry_contents.get(VALUE, b"").decode()
    return ""


def fields(data: bytes | mmap.mmap, offset: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, wire type, value of a varint, and the content's first byte and length."""
    while offset < end:
        field_tag, offset = _varint(data, offset, end)
        if field_tag >> 32:  # onnxruntime would drop the upper bits and read another field
            raise NotONNX(f"a field of an impossible number at byte {offset}")
        wire_type, varint = field_tag & 7, 0
        content_length = {FIXED64: 8, FIXED32: 4}.get(wire_type, 0)
        if wire_type == VARINT:
            varint, offset = _varint(data, offset, end)
        elif wire_type == BYTES:
            content_length, offset = _varint(data, offset, end)
        elif not content_length:
            raise NotONNX(f"wire type {wire_type} at byte {offset}")
        if content_length > end - offset:
            raise NotONNX(
                f"it was cut off: {content_length} bytes announced at byte {offset}, {end - offset} are there"
            )
        yield field_tag >> 3, wire_type, varint, offset, content_length
        offset += content_length


def _varint(data: bytes | mmap.mmap, offset: int, end: int) -> tuple[int, int]:
    """Number at ``offset``, and the offset after it."""
    value = 0
    for byte_offset in range(offset, min(offset + 10, end)):
        value |= (data[byte_offset] & 0x7F) << 7 * (byte_offset - offset)
        if data[byte_offset] < 0x80:
            return value, byte_offset + 1
    raise NotONNX(f"a broken number at byte {offset}")
