"""The meaning of a model's inputs, outputs and frames, for programs: in its graph, and as a JSON file beside it."""

import base64
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .. import __version__
from ..host.arrays import Array
from ..host.engines.spectrum.engine import condition_of
from ..host.errors import UserError
from ..host.events import NoteOn
from ..host.files import check_output, replacing
from ..host.kinds.card_fields import MEANINGS
from ..host.kinds.table import kind_of
from ..host.model.card import Card
from ..host.model.model import Model
from ..host.play.rack import ChannelInstrument
from ..host.preset.library import Patch
from ..host.preset.preset import Preset
from ..host.units import MIDDLE_C, PITCH_CLASSES
from ..host.velocity import LOUDEST

FORMAT = 1
GOLDEN_SECONDS, GOLDEN_SAMPLES = 0.25, 4096  # from the note-on, behind any attack; of the golden sound
PORTS = {
    "latent": "code; the card's latents have the ranges of its numbers, and their values at rest",
    "chroma": f"weights of the pitch classes {', '.join(PITCH_CLASSES)}, in this order; one-hot for a note",
    "pitch": "MIDI note with fractions; 69 is 440 Hz",
    "label": "shares of the card's labels, in their order; they sum to 1",
    "noise": "normal numbers times the heat; 0 at rest",
    "audio": "sound, linear, at the card's sample_rate",
    "code": "code before a step",
    "code_next": "code after a step",
}
LEVEL = "gain of a note at full velocity: 10^((-20 - loudness_lufs) / 20), on each of two sides sqrt(1/2) of it"


def describe_graph(graph: onnx.ModelProto, card: Card, purpose: str) -> None:
    """Add doc strings to a graph, its inputs and outputs, and its versions; ``purpose`` is a sentence."""
    graph.doc_string = f"{card.name}: {card.description}\n{purpose} Its card is the metadata timbrel.card, JSON."
    graph.producer_name, graph.producer_version, graph.model_version = "timbrel", __version__, card.format
    for port in (*graph.graph.input, *graph.graph.output):
        port.doc_string = _port_meaning(port.name, card)


def _port_meaning(name: str, card: Card) -> str:
    if name == "frame":
        return "; ".join(f"{part['first']} to {part['last']}: {part['meaning']}" for part in _frame_parts(card))
    if name in PORTS:
        return PORTS[name]
    state_name = name.removesuffix("_next")
    return f"state {state_name} after a step" if state_name != name else f"state {name}: 0 at first, then {name}_next"


def _frame_parts(card: Card) -> list[dict[str, Any]]:
    """Parts of a frame with their places in it."""
    parts, first = [], 0
    for part in kind_of(card).frame_parts(card):
        last = first + math.prod(part.shape) - 1
        parts.append({"name": part.name, "first": first, "last": last, "shape": part.shape, "meaning": part.meaning})
        first = last + 1
    return parts


def meaning(model: Model) -> dict[str, Any]:
    """Return plain fields: inputs, outputs, the frame, steps to the sound, the card, and golden vectors."""
    card, session = model.card, model.session
    ports = {
        direction: {
            port.name: {"shape": ["voice", *port.shape[1:]], "meaning": _port_meaning(port.name, card)}
            for port in direction_ports
        }
        for direction, direction_ports in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
    }
    return {
        "format": FORMAT,
        "timbrel": __version__,
        "graph_sha256": model.graph_sha256,
        **ports,
        "frame": _frame_parts(card),
        "chroma": PITCH_CLASSES if card.chroma is not None else None,
        "sound": [*kind_of(card).formulas(card), LEVEL],
        "fields": MEANINGS,
        "card": card.model_dump(mode="json"),
        "golden": _golden(model),
    }


def _golden(model: Model) -> dict[str, Any]:
    """Return inputs with the frame and, where programs can repeat it, the sound that they give."""
    card, kind = model.card, kind_of(model.card)
    key = MIDDLE_C if card.partials is None else round(min(max(MIDDLE_C, card.partials.low), card.partials.high))
    code = np.array([[latent.default for latent in card.latents]], np.float32)
    condition = np.array([condition_of(card, key)])
    state = model.at_rest(1)
    frames, _ = model.step(code, condition, state)
    tables = kind.plain_tables(card)
    preset = Preset.model_validate({"format": 1, "model": str(model.path), **tables})
    instrument = ChannelInstrument(Patch("golden", preset, model, Path()), card.sample_rate)
    first_sample = round(GOLDEN_SECONDS * card.sample_rate)
    sound = instrument.process([NoteOn(0, 0, key, LOUDEST)], first_sample + GOLDEN_SAMPLES)[0, first_sample:]
    inputs = {"latent": code} | model.condition_inputs(condition) | state
    if card.stream is not None and card.stream.noise:
        inputs["noise"] = np.zeros((1, card.stream.noise), np.float32)
    return {
        "key": key,
        "velocity": LOUDEST,
        "preset": tables,
        "inputs": {name: numbers.tolist() for name, numbers in inputs.items()},
        "frame": _packed(frames[0]),
        "first_sample": first_sample,
        "left": _packed(sound) if kind.repeats else None,
    }


def _packed(numbers: Array) -> dict[str, Any]:
    data = zlib.compress(numbers.astype("<f4").tobytes(), 9)
    return {"type": "float32", "shape": numbers.shape, "data": base64.b64encode(data).decode("ascii")}


def check_name(path: Path, overwrite: bool) -> None:
    """Raise `UserError` unless a name ends in .json and can be written."""
    if path.suffix != ".json":
        raise UserError(f"--json {path} must end in .json, such as {path.stem or 'model'}.json")
    check_output(path, overwrite)


def write_meaning(model: Model, path: Path, overwrite: bool) -> None:
    """Write a model's `meaning` to ``path``, whole or not at all.

    Raises:
        UserError: as `check_name`.
    """
    check_name(path, overwrite)
    text = json.dumps(meaning(model), indent=1, ensure_ascii=False) + "\n"
    with replacing(path, overwrite) as temporary_file:
        temporary_file.write_text(text, encoding="utf-8")
