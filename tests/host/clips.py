"""A model of clips whose every sample is known: ``frame = rest + latent @ moved (+ label @ labelled)``."""

import hashlib
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.audio.sound_files import flac_bytes
from timbrel.host.engines.engine import VOICE_LUFS
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.recordings import RECORDINGS_KEY, recordings_text

from .analytic import Analytic

RATE, LENGTH, LATENTS = 16_000, 4000, 2
SHARP = {"decay_seconds": 0.0, "release_seconds": 0.001}


def noise(seed, length=LENGTH):
    """A clip that differs everywhere, decays, and ends in silence."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=length) * np.exp(-np.arange(length) / (length / 5))).astype(np.float32)


def clip_card(length=LENGTH, labels=(), latents=LATENTS, **changes):
    """The fields of the card of such a model."""
    first = [[0.0] * latents]
    return (
        Analytic(latents, RATE, chroma=False).card()
        | {
            "name": "clips",
            "kind": "clip",
            "domain": "samples",
            "frame_length": length,
            "hop_length": length,
            "window": "rectangular",
            "loudness_lufs": VOICE_LUFS,
            "labels": list(labels),
            "latents": [
                {"name": f"{n}", "low": -2.0, "high": 2.0, "default": 0.0, "mean": 0.0, "std": 1.0}
                for n in range(latents)
            ],
            "landmarks": [
                {"latent": [1.0] + [0.0] * (latents - 1), "chroma": None, "label": "one"},
                {"latent": [0.0] * (latents - 1) + [-1.0], "chroma": None, "label": "two"},
            ],
            "reference": {
                "latent": first,
                "chroma": None,
                "label": [0] if labels else None,
                "points": [0],
                "frame": [[0.0]],
                "tolerance": 100.0,
            },
        }
        | changes
    )


def save_clips(path, rest, moved=None, labels=(), labelled=None, **card):
    """Write the model; ``card`` has changes."""
    rest = np.asarray(rest, np.float32)
    moved = np.zeros((LATENTS, len(rest))) if moved is None else np.asarray(moved)
    put = {"latent": len(moved)} | ({"label": len(labels)} if labels else {})
    constants = {"rest": rest, "moved": moved}
    nodes = [
        helper.make_node("MatMul", ["latent", "moved"], ["x"]),
        helper.make_node("Add", ["x", "rest"], ["y" if labels else "frame"]),
    ]
    if labels:
        constants["labelled"] = labelled
        nodes += [
            helper.make_node("MatMul", ["label", "labelled"], ["z"]),
            helper.make_node("Add", ["y", "z"], ["frame"]),
        ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width]) for name, width in put.items()]
    frame = [helper.make_tensor_value_info("frame", TensorProto.FLOAT, ["voice", len(rest)])]
    kept = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "clips", inputs, frame, kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    fields = clip_card(card.pop("frame_length", len(rest)), labels, len(moved), **card)
    helper.set_model_props(made, {METADATA_KEY: json.dumps(fields)})
    onnx.save(made, path)
    return path


SPECTRA, BINS, POINTS, TRANSFORM, HOP = 33, 257, 64, 512, 128
FRAME_LENGTH = 4096
TILT = np.linspace(0, 1, BINS)  # of magnitudes, by latent 0
LOUDER = 0.05  # of levels, by latent 1


def in_16_bit(sound):
    return (np.round(np.asarray(sound) * 32768) / 32768).astype(np.float32)


def recorded(seed, channels=1, length=3000):
    """A recording, [channels, length]."""
    sides = np.stack([noise(seed + 100 * side, length) for side in range(channels)])
    return in_16_bit(0.2 * sides)


def save_recorded(
    path, sounds, latents, gains_db=None, labels=(), metadata=None, rows=(), tilt=1.0, louder=1.0, **card
):
    """Write a model whose magnitudes are 1 + latent 0 * `TILT`, and levels .1 + latent 1 * `LOUDER`; with recordings.

    ``tilt`` and ``louder``: factors of these.
    ``sounds``: by name, [channels, samples]; ``latents``: their codes. ``rows`` have more fields of the card's
    recordings. ``metadata`` takes the place of the sounds'.
    """
    flacs = [flac_bytes(sides, RATE) for sides in sounds.values()]
    fields = [
        {
            "name": name,
            "label": labels[number] if labels else "",
            "latent": list(latents[number]),
            "gain_db": gains_db[number] if gains_db else 0.0,
            "sha256": hashlib.sha256(flac).hexdigest(),
        }
        | (rows[number] if rows else {})
        for number, (name, flac) in enumerate(zip(sounds, flacs, strict=True))
    ]
    rest = np.concatenate([np.ones(SPECTRA * BINS), np.full(POINTS, 0.1)])
    moved = np.zeros((LATENTS, len(rest)))
    moved[0, : SPECTRA * BINS] = tilt * np.tile(TILT, SPECTRA)
    moved[1, SPECTRA * BINS :] = louder * LOUDER
    layout = {
        "domain": "magnitude", "frame_length": FRAME_LENGTH, "hop_length": HOP, "transform_length": TRANSFORM,
        "window": "hann", "envelope_points": POINTS, "recordings": fields,
    }  # fmt: skip
    save_clips(path, rest, moved, **layout | card)
    model = onnx.load(path)
    text = recordings_text(flacs) if metadata is None else metadata
    helper.set_model_props(model, {each.key: each.value for each in model.metadata_props} | {RECORDINGS_KEY: text})
    onnx.save(model, path)
    return path
