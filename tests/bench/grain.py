"""The engine of grains against its floor: the bare decode, window and addition of as many grains.

One voice with 400 grains a second at 48 kHz, in blocks of 128 samples, and each grain has a code of its own. Thrice:
models of noise, without and with an envelope, whose floor also shapes a stored noise, transforms it and lays the
envelope over it, and one of samples, as large as the post's. The ratio is of blocks in which a grain begins, to the
floor of as many; a second one is of such blocks with a stereo image, to those in mono. Loads are of the whole
instrument, as fast as it goes and at the pace of a card.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.engines.grain.engine import GrainEngine
from timbrel.host.events import NoteOn
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.model import Model
from timbrel.host.play.motions import Latents, MotionLayers, VoiceMotion
from timbrel.host.play.mpe import MpeChannels
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.signal import window

RATE, BLOCK, FRAME = 48000, 128, 1002
LATENTS = 10
IMAGE = np.column_stack([np.linspace(-6.0, 6.0, 32), np.linspace(1.0, 0.0, 32)]).tolist()
DENSITY = 400
BLOCKS = 6000
SETTLING = 300  # blocks
BINS = FRAME // 2 + 1
POINTS = 16
NETWORKS = {
    "noise": ([LATENTS, 256, 384, BINS], {"domain": "magnitude"}),
    "noise under an envelope": ([LATENTS, 256, 384, BINS + POINTS], {"domain": "magnitude", "envelope_points": POINTS}),
    "samples": ([LATENTS, 1000, 1000, FRAME], {"domain": "samples"}),
}


def network(sizes, domain, folder, **card):
    """A model of random weights."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "latent"
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        values = {f"w{layer}": rng.normal(size=(rows, columns)) / np.sqrt(rows), f"b{layer}": rng.normal(size=columns)}
        weights += [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
        nodes.append(helper.make_node("Gemm", [last, *values], [f"x{layer}"]))
        nodes.append(helper.make_node("Relu", [f"x{layer}"], [last := f"y{layer}"]))
    nodes[-1] = helper.make_node("Softplus" if domain == "magnitude" else "Tanh", [nodes[-1].input[0]], ["frame"])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", size])
        for name, size in (("latent", sizes[0]), ("frame", sizes[-1]))
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "bench", ends[:1], ends[1:], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    latent = {"low": -4.0, "high": 4.0, "default": 0.0, "mean": 0.0, "std": 1.0}
    fields = {
        "format": 1,
        **dict.fromkeys(("name", "description", "license", "credits", "created"), "bench"),
        "kind": "grain",
        "domain": domain,
        "sample_rate": RATE,
        "frame_length": FRAME,
        "hop_length": FRAME,
        "window": "rectangular",
        "latents": [{"name": f"{number}", **latent} for number in range(sizes[0])],
        "prior": None,
        "chroma": None,
        "loudness_lufs": -20.0,
        "landmarks": [],
        "training": {"steps": 0, "seed": 0, "clips": 0, "seconds": 0.0, "validation": {}, "versions": {}}
        | dict.fromkeys(("recipe", "corpus", "hardware"), "none"),
        "parity": {"absolute": 0.0, "relative": 0.0, "batch_sizes": [1]},
        "reference": {"latent": [[0.0] * sizes[0]], "chroma": None, "points": [0], "frame": [[0.0]], "tolerance": 1.0},
    }
    helper.set_model_props(made, {METADATA_KEY: json.dumps(fields | card)})
    path = Path(folder, f"{domain}-{'stereo' if 'image' in card else 'mono'}.onnx")
    onnx.save(made, path)
    return Model(path)


def preset():
    grain = {"density": DENSITY, "code_jitter": 0.3, "spread": 1.0}
    return Preset.model_validate({"format": 1, "model": "bench", "grain": grain})


class Counted:
    """A model that counts the grains that it decodes."""

    def __init__(self, model):
        self.card, self._model, self.rows = model.card, model, 0

    def decode(self, latent, chroma):
        self.rows += len(latent)
        return self._model.decode(latent, chroma)


def floor(model):
    """A function that does the bare work of so many grains."""
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(16, LATENTS)).astype(np.float32)
    shape, nothing = window("blackman", FRAME), np.zeros(0, np.intp)
    noise = np.exp(2j * np.pi * rng.random((16, BINS))).astype(np.complex64)
    sounding = np.zeros((2, 8192), np.float32)

    lines = np.stack([np.interp(np.linspace(0, POINTS - 1, FRAME), range(POINTS), row) for row in np.eye(POINTS)])
    lines = lines.astype(np.float32)

    def work(rows):
        frames = decoded = model.decode(latent[:rows], nothing)
        if model.card.domain == "magnitude":
            frames = np.fft.irfft(decoded[:, :BINS] * noise[:rows], FRAME)
        if model.card.envelope_points:
            frames *= decoded[:, BINS:] @ lines
        for grain in frames * shape:
            sounding[:, 100 : 100 + FRAME] += grain

    return work


def against_floor(model):
    """Median ratio of the engine's time to the floor's, over blocks in which a grain begins; and both medians."""
    counted, made = Counted(model), preset()
    engine = GrainEngine(counted, made.grain)
    codes, channels = Latents(made.latent_values(model.card), model.card), MpeChannels(None, None, (), 1)
    motion = VoiceMotion(MotionLayers(codes, channels, np.zeros(0), np.zeros(0)), [SimpleNamespace(bus=0, touch=None)])
    streams, bare, pairs = [engine.start_stream(60, 0)], floor(model), []
    for block in range(BLOCKS):
        counted.rows = 0
        began = time.perf_counter()
        engine.render(streams, motion, block * BLOCK, BLOCK)
        took = time.perf_counter() - began
        codes.forget((block + 1) * BLOCK)
        if counted.rows and block >= SETTLING:
            began = time.perf_counter()
            bare(counted.rows)
            pairs.append((took, time.perf_counter() - began))
    ours, floors = (statistics.median(column) for column in zip(*pairs, strict=True))
    return statistics.median(one / other for one, other in pairs), ours, floors


def load(model, paced):
    """Parts of a block's time that the instrument takes, for each block."""
    instrument = ChannelInstrument(Patch("texture", preset(), model, Path()), RATE)
    instrument.process([NoteOn(0, 0, 60, 100)], BLOCK)
    taken, due = [], time.perf_counter()
    for _ in range(BLOCKS):
        if paced:
            due += BLOCK / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        instrument.process([], BLOCK)
        taken.append(time.perf_counter() - began)
    return np.array(taken[SETTLING:]) * RATE / BLOCK


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, (sizes, card) in NETWORKS.items():
            model = network(sizes, folder=folder, **card)
            weights = sum(rows * columns for rows, columns in itertools.pairwise(sizes))
            print(f"{name}, {weights / 1e6:.1f} M weights, {DENSITY} grains a second, blocks of {BLOCK} at {RATE} Hz")
            ratio, ours, floors = against_floor(model)
            print(f"  a block with grains {ours * 1e6:5.0f} us   floor {floors * 1e6:5.0f} us   {ratio:5.2f} x floor")
            _, stereo, _ = against_floor(network(sizes, folder=folder, image=IMAGE, **card))
            print(f"  in stereo           {stereo * 1e6:5.0f} us   {stereo / ours:5.2f} x mono")
            for paced in (False, True):
                p50, p99, p999 = np.percentile(load(model, paced), (50, 99, 99.9))
                print(f"  {'paced' if paced else 'unpaced':<8}load p50 {p50:4.0%}  p99 {p99:4.0%}  p99.9 {p999:4.0%}")


if __name__ == "__main__":
    main()
