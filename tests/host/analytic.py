"""Tiny models whose every frame is known in closed form."""

import base64
import json
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.model.card import METADATA_KEY

RATE = 22050


def hann_lobe(distance):
    """Magnitude of a Hann window's transform at ``distance`` bins from its centre, 1 at 0; main lobe only."""
    d = np.abs(np.asarray(distance, np.float64))
    safe = np.where(np.isclose(d, 1), 0.5, d)
    shape = np.where(np.isclose(d, 1), 0.5, np.abs(np.sinc(safe) / (1 - safe**2)))
    return np.where(d < 2, shape, 0.0)


def combs(sample_rate, frame_length, brightest_hz, octave=4):
    """Spectra of the twelve keys of an octave: harmonics that fall off by 0.6, none above ``brightest_hz``."""
    bins = np.arange(frame_length // 2 + 1)
    rows = []
    for pitch_class in range(12):
        hz = 440 * 2 ** ((12 * (octave + 1) + pitch_class - 69) / 12)
        orders = range(1, int(brightest_hz / hz) + 1)
        row = sum(0.6**k * hann_lobe(bins - k * hz * frame_length / sample_rate) for k in orders)
        rows.append(row / row.max())
    return np.array(rows, np.float32)


def colours(latents, bins):
    """What each latent adds to the colour of a spectrum, [latents, bins]: latent i favours bins of its own."""
    at = np.arange(bins) / bins
    return np.array([0.5 + 0.5 * np.cos(2 * np.pi * (i + 1) * at) for i in range(latents)], np.float32)


class Analytic:
    """``frame = relu(chroma @ combs * (0.1 + latent @ colours))``: a model in four operators, and its card."""

    def __init__(
        self, latents=2, sample_rate=RATE, frame_length=1024, hop_length=256, brightest_hz=4500.0, chroma=True
    ):
        self.sample_rate, self.frame_length, self.hop_length = sample_rate, frame_length, hop_length
        self.bins = frame_length // 2 + 1
        self.combs = combs(sample_rate, frame_length, brightest_hz)
        self.colours = colours(latents, self.bins)
        self.latents, self.chroma = latents, chroma

    def frame(self, latent, pitch_class):
        """The frame in closed form, [bins]."""
        comb = self.combs[pitch_class] if self.chroma else self.combs[0]
        return np.maximum(comb * (0.1 + np.asarray(latent) @ self.colours), 0.0)

    def graph(self, voice="voice", width=None, scale=1.0):
        """The ONNX graph; ``voice`` is its first axis, ``width`` how many bins its frame is said to have."""
        weights = np.where(self.combs > 0, scale, 1.0) * self.combs
        initial = {"combs": weights, "colours": self.colours, "floor": np.float32(0.1)}
        nodes = [
            helper.make_node("MatMul", ["latent", "colours"], ["tint"]),
            helper.make_node("Add", ["tint", "floor"], ["colour"]),
            helper.make_node("MatMul", ["chroma", "combs"], ["comb"]),
            helper.make_node("Mul", ["comb", "colour"], ["tinted"]),
            helper.make_node("Relu", ["tinted"], ["frame"]),
        ]
        inputs = [helper.make_tensor_value_info("latent", TensorProto.FLOAT, [voice, self.latents])]
        if self.chroma:
            inputs.append(helper.make_tensor_value_info("chroma", TensorProto.FLOAT, [voice, 12]))
        else:
            initial["comb"] = initial.pop("combs")[:1]
            del nodes[2]
        outputs = [helper.make_tensor_value_info("frame", TensorProto.FLOAT, [voice, width or self.bins])]
        constants = [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in initial.items()]
        return helper.make_graph(nodes, "analytic", inputs, outputs, constants)

    def card(self, **changes):
        """The card's fields, with changes."""
        n = self.latents
        probes = np.random.default_rng(5).uniform(0, 1, (3, n)).round(3)
        points = [int(p) for p in np.argsort(self.frame(probes[0], 9))[-6:]]
        rest = self.frame([0.5] * n, 0).astype(np.float64)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame_length) / self.frame_length)
        overlap = np.sum(window**2) / self.hop_length
        power = 2 * np.sum(rest**2) / self.frame_length**2 / overlap  # where phases know nothing of each other
        return {
            "format": 1,
            "name": "analytic",
            "description": "harmonics in closed form",
            "license": "CC0-1.0",
            "credits": "",
            "created": "2026-01-01",
            "kind": "spectrum",
            "domain": "magnitude",
            "sample_rate": self.sample_rate,
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
            "window": "hann",
            "latents": [
                {"name": f"latent {i}", "low": 0.0, "high": 1.0, "default": 0.5, "mean": 0.5, "std": 0.25}
                for i in range(n)
            ],
            "prior": {"uniform": [0.0, 1.0]},
            "chroma": {"trained": list(range(12)), "octave": 4} if self.chroma else None,
            "loudness_lufs": float(10 * np.log10(power)),
            "landmarks": [{"latent": [0.5] * n, "chroma": 0, "label": "middle"}],
            "training": {
                "recipe": "none",
                "steps": 0,
                "seed": 0,
                "corpus": "none",
                "clips": 0,
                "seconds": 0.0,
                "validation": {},
                "versions": {},
                "hardware": "none",
            },
            "parity": {"absolute": 0.0, "relative": 0.0, "batch_sizes": [1]},
            "reference": {
                "latent": probes.tolist(),
                "chroma": [9, 0, 4] if self.chroma else None,
                "points": points,
                "frame": [
                    [float(v) for v in self.frame(row, pitch)[points]]
                    for row, pitch in zip(probes, (9, 0, 4), strict=True)
                ],
                "tolerance": 1e-5,
            },
        } | changes

    def proved(self):
        """The card with every output in its reference, each at the row where it is largest."""
        card = self.card()
        reference = card["reference"]
        pitches = reference["chroma"] or [0] * len(reference["latent"])
        frames = np.array([self.frame(*row) for row in zip(reference["latent"], pitches, strict=True)])
        rows = frames.argmax(0)
        packed = rows.astype("u1").tobytes() + frames[rows, np.arange(self.bins)].astype("<f2").tobytes()
        reference["peaks"] = base64.b64encode(zlib.compress(packed)).decode()
        return card

    def save(self, path, card=None, graph=None):
        """Write the ONNX file; ``card`` is its fields, or text as it is, or "" for none."""
        made = helper.make_model(graph or self.graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        text = json.dumps(self.proved() if card is None else card) if not isinstance(card, str) else card
        if text:
            helper.set_model_props(made, {METADATA_KEY: text})
        onnx.save(made, path)
        return path
