"""Ways to damage a file: bits and bytes, cuts and pieces; and where its structure is known, its fields."""

import json
import random
import tomllib
from typing import Any

import onnx
import tomlkit

FEW = (1, 1, 1, 2, 4)  # changes: with many a file seldom gets beyond the first check
ODD_NUMBERS: list[Any] = [
    0, 1, -1, 2, 127, 128, 255, 256, 65535, 65536, 1 << 31, -(1 << 31), (1 << 31) - 1, 1 << 35, 1 << 53, 1 << 62,
    (1 << 63) - 1, -(1 << 63), 0.0, -0.0, 1e-320, 1e-9, 0.5, 1.5, 1e9, 1e38, 1e300, -1e300,
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
ODD_VALUES: list[Any] = [*ODD_NUMBERS, "", "x" * 5000, "latent.0", "\x1b[2J", "../up", True, False, [], {}, [[]], [0.5]]


def bytes_of(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of bits, bytes and pieces; half of them near the start, where headers are."""
    made = bytearray(data)
    for _ in range(rng.choice(FEW)):
        if not made:
            return bytes(made)
        at = rng.randrange(min(len(made), 64)) if rng.random() < 0.5 else rng.randrange(len(made))
        count = 1 << rng.randrange(8)
        match rng.randrange(8):
            case 0:
                made[at] ^= 1 << rng.randrange(8)
            case 1:
                made[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del made[at:]
            case 3:
                del made[at : at + count]
            case 4:
                made[at:at] = rng.randbytes(count)
            case 5:
                made[at:at] = made[at : at + count]
            case 6:
                other = rng.randrange(len(made))
                made[at : at + count], made[other : other + count] = (
                    made[other : other + count],
                    made[at : at + count],
                )
            case 7:
                size = rng.choice((2, 4, 8))
                number = rng.choice((0, 1, (1 << 8 * size) - 1, (1 << 8 * size - 1) - 1, rng.randrange(1 << 8 * size)))
                made[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))
    return bytes(made)


def fields_of(value: Any, rng: random.Random) -> None:
    """A few changes of a nest of dictionaries and lists, in place: odd values, fields left out, swapped, new."""
    for _ in range(rng.choice(FEW)):
        places = list(_places(value))
        if not places:
            return
        where, key = rng.choice(places)
        match rng.randrange(6):
            case 0 | 1:
                where[key] = rng.choice(ODD_VALUES)
            case 2:
                where[key] = _near(where[key], rng)
            case 3:
                del where[key]
            case 4:
                other, another = rng.choice(places)
                where[key], other[another] = other[another], where[key]
            case 5 if isinstance(where, dict):
                where[rng.choice((str(key) + "s", "grain", "walk", "effects", ""))] = where[key]
            case _:
                where[key] = [where[key]] * rng.choice((2, 3, 300))


def _near(value: Any, rng: random.Random) -> Any:
    """A number not far away: most checks let it pass."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return rng.choice(ODD_VALUES)
    return value + rng.choice((-1, 1)) if isinstance(value, int) else value * rng.uniform(0.0, 2.0)


def _places(value: Any) -> list[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in list(pairs):
        found.append((value, key))
        found += _places(inner)
    return found


def text_of(text: str, rng: random.Random) -> str:
    """Lines and words of a text swapped, repeated and left out, and numbers made odd."""
    lines = text.splitlines()
    for _ in range(rng.choice(FEW)):
        at = rng.randrange(len(lines)) if lines else 0
        match rng.randrange(6):
            case 0 if lines:
                del lines[at]
            case 1 if lines:
                lines.insert(at, rng.choice(lines))
            case 2 if lines:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _ if lines:
                number = rng.choice(ODD_NUMBERS)
                lines[at] = rng.choice(
                    (str(number), f"{number}/{rng.choice(ODD_NUMBERS)}", f"{lines[at]}{number}", "9" * 5000)
                )
    return "\n".join(lines) + "\n"


def preset_of(text: str, rng: random.Random) -> bytes:
    """A preset's fields, or its text."""
    if rng.random() < 0.25:
        return bytes_of(text.encode(), rng)
    fields = tomllib.loads(text)
    fields_of(fields, rng)
    try:
        return tomlkit.dumps(fields).encode()
    except Exception:  # a value that TOML has not, such as a number of 70 bits
        return bytes_of(text.encode(), rng)


def tune_of(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a MIDI file; mostly those of one chunk, whose length is then set right."""
    if rng.random() < 0.25:
        return bytes_of(data, rng)
    chunks, at = [], 0
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8])
        chunks.append((data[at : at + 4], data[at + 8 : end]))
        at = end
    hit = rng.randrange(len(chunks))
    name, body = chunks[hit]
    chunks[hit] = name, bytes_of(body, rng)
    return b"".join(name + len(body).to_bytes(4) + body for name, body in chunks)


def model_of(data: bytes, rng: random.Random) -> bytes:
    """A model's card, its graph, or its bytes."""
    way = rng.random()
    if way < 0.3:
        return bytes_of(data, rng)
    model = onnx.ModelProto.FromString(data)
    if way < 0.65:
        entry = rng.choice(model.metadata_props)
        card = json.loads(entry.value)
        fields_of(card, rng)
        entry.value = json.dumps(card) if rng.random() < 0.9 else bytes_of(entry.value.encode(), rng).decode("latin-1")
        return model.SerializeToString()
    for _ in range(rng.choice(FEW)):
        _change_graph(model, rng)
    return model.SerializeToString()


def _change_graph(model: onnx.ModelProto, rng: random.Random) -> None:
    """One field of the graph, anywhere below it: another number or name, left out, or said twice."""
    places: list[tuple[Any, str]] = []
    messages: list[Any] = [model.graph]
    names: list[str] = []
    while messages:
        message = messages.pop()
        for field, value in message.ListFields():
            repeated = not hasattr(value, "ListFields") and not isinstance(value, int | float | str | bytes)
            inner = list(value) if repeated else [value]
            messages += [each for each in inner if hasattr(each, "ListFields")]
            names += [each for each in inner if isinstance(each, str)]
            places.append((message, field.name))
    if places:
        _change(*rng.choice(places), names, rng)


def _change(message: Any, name: str, names: list[str], rng: random.Random) -> None:
    value = getattr(message, name)
    try:
        if hasattr(value, "ListFields") or rng.random() < 0.1:
            message.ClearField(name)
        elif isinstance(value, str):
            setattr(message, name, rng.choice(names))
        elif isinstance(value, bytes):
            setattr(message, name, bytes_of(value, rng))
        elif isinstance(value, int | float):
            setattr(message, name, _near(value, rng) if rng.random() < 0.5 else rng.choice(ODD_NUMBERS))
        elif hasattr(value[0], "ListFields"):
            if rng.random() < 0.5:
                value.append(rng.choice(value))
            else:
                del value[rng.randrange(len(value))]
        else:
            odd = rng.choice(names if isinstance(value[0], str) else ODD_NUMBERS)
            value[rng.randrange(len(value))] = odd
    except (TypeError, ValueError, OverflowError):  # a number that the field cannot hold
        message.ClearField(name)
