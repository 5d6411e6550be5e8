"""What is damaged: the smallest valid files of each kind, and what commands read them."""

import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
import onnx
import soundfile
import tomlkit
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.model.encoder import ENCODER_KEY, encoder_path
from timbrel.host.preset.shipped import PRESETS

FRAME, RATE = 64, 22050  # of the models: small, so that most bytes of a file mean something
END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x64\x60\x80\x3c\x40"

_spec = importlib.util.spec_from_file_location("analytic", Path(__file__).parents[1] / "host" / "analytic.py")
assert _spec is not None
assert _spec.loader is not None
_models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_models)


def spectrum_model(path: Path) -> Path:
    """Harmonics in closed form, and an encoder."""
    source = _models.Analytic(frame_length=FRAME, hop_length=FRAME // 4, sample_rate=RATE, brightest_hz=9000.0)
    source.save(path)
    _save_encoder(path)
    return path


def grain_model(path: Path) -> Path:
    """Grains that are their codes, repeated, and an encoder."""
    source = _models.Analytic(frame_length=FRAME, hop_length=FRAME // 4, sample_rate=RATE, chroma=False)
    reference = {"latent": [[0.5, 0.25]], "chroma": None, "points": [0, 1], "frame": [[0.5, 0.25]], "tolerance": 1e-5}
    card = source.card(kind="grain", domain="samples", reference=reference)
    repeat = [numpy_helper.from_array(np.tile(np.eye(2, dtype=np.float32), FRAME // 2), "repeat")]
    ins, outs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])]
        for name, width in (("latent", 2), ("frame", FRAME))
    )
    node = helper.make_node("MatMul", ["latent", "repeat"], ["frame"])
    source.save(path, card, helper.make_graph([node], "grains", ins, outs, repeat))
    _save_encoder(path)
    return path


def clip_model(path: Path) -> Path:
    """Clips that are their codes, repeated."""
    source = _models.Analytic(frame_length=FRAME, hop_length=FRAME, sample_rate=RATE, chroma=False)
    reference = {"latent": [[0.5, 0.25]], "chroma": None, "points": [0, 1], "frame": [[0.5, 0.25]], "tolerance": 1e-5}
    card = source.card(kind="clip", domain="samples", window="rectangular", reference=reference)
    repeat = [numpy_helper.from_array(np.tile(np.eye(2, dtype=np.float32), FRAME // 2), "repeat")]
    ins, outs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])]
        for name, width in (("latent", 2), ("frame", FRAME))
    )
    node = helper.make_node("MatMul", ["latent", "repeat"], ["frame"])
    source.save(path, card, helper.make_graph([node], "clips", ins, outs, repeat))
    return path


def _save_encoder(path: Path) -> None:
    halves = numpy_helper.from_array(np.repeat(np.eye(2, dtype=np.float32), FRAME // 2, axis=0), "halves")
    ins, outs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])]
        for name, width in (("audio", FRAME), ("latent", 2))
    )
    nodes = [helper.make_node("Abs", ["audio"], ["loud"]), helper.make_node("MatMul", ["loud", "halves"], ["latent"])]
    graph = helper.make_graph(nodes, "encoder", ins, outs, [halves])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    about = {"format": 1, "model": "analytic", "sample_rate": RATE, "frame_length": FRAME, "latents": 2}
    helper.set_model_props(made, {ENCODER_KEY: json.dumps(about)})
    onnx.save(made, encoder_path(path))


def presets() -> list[str]:
    """Those that ship, on the small models, and one with all that they leave out; TOML text."""
    texts = []
    for path in sorted(PRESETS.glob("*.toml")):
        fields = tomlkit.parse(path.read_text(encoding="utf-8"))
        kind = "clip" if "keys" in fields else "grain" if path.name.startswith("lakeside") else "spectrum"
        fields["model"] = f"{kind}.onnx"
        for name in ("model_sha256", "latent", "motion", "morph", "knobs"):
            fields.pop(name, None)
        for entry in fields.get("keys", []):
            entry["label"] = "middle"
        fields["cc"] = [entry for entry in fields.get("cc", []) if entry["target"] in ("latent.0", "latent.1", "gain")]
        texts.append(tomlkit.dumps(fields))
    return [*texts, FULL_SPECTRUM, FULL_GRAIN]


FULL_SPECTRUM = """\
format = 1
model = "spectrum.onnx"
tempo_bpm = 90
[latent]
values = [0.2, 0.7]
[play]
mode = "mono"
legato = true
glide_seconds = 0.05
unison = 3
width = 0.5
bend_range_semitones = 12
[mpe]
enabled = true
pressure = "gain"
slide = "latent.1"
[tuning]
scale = "scale.scl"
keymap = "keys.kbm"
[morph]
values = [0.9, 0.1]
shape = "spherical"
[process]
scale = 1.5
shift = [0.1, -0.1]
to = "middle"
phase = "own"
[[cc]]
number = 1
target = "morph"
low = 0.0
high = 1.0
[[cc]]
nrpn = 300
target = "effects.0.room_size"
low = 0.1
high = 0.9
[[motion]]
target = "latent.0"
shape = "random"
depth = 0.2
rate_hz = 3.0
[[motion]]
path = [[0.1, 0.2], [0.8, 0.9], [0.5, 0.5]]
times = [0.0, 0.1, 0.2]
[[note]]
source = "key"
target = "latent.1"
low = -0.2
high = 0.3
curve = 2.0
key_low = 40
key_high = 90
[[effects]]
plugin = "Reverb"
room_size = 0.3
[[effects]]
plugin = "Convolution"
impulse_response_filename = "sound.wav"
"""
FULL_GRAIN = """\
format = 1
model = "grain.onnx"
[grain]
overlap = 0.8
length = 0.02
shape = 0.4
jitter = 0.5
pitch = 7.0
spread = 0.5
level_jitter = 3.0
code_jitter = 0.5
lowpass_hz = 5000.0
keys = "trigger"
seed = 7
[[motion]]
walk = { speed = 1.0, bound = 1.0, seed = 3 }
[[note]]
source = "velocity"
target = "envelope.attack_seconds"
low = 0.1
high = 0.0
[[effects]]
plugin = "Delay"
delay_seconds = 0.05
mix = 0.3
"""
SCALE = "! scale.scl\n!\nnine notes\n 9\n!\n 100.0\n 9/8\n 300.\n 5/4\n 500.5\n 3/2\n 800.0 ! here\n 5/3\n 2/1\n"
KEYMAP = "! keys.kbm\n12\n0\n127\n60\n69\n440.0\n9\n0\n1\n2\nx\n3\n4\n5\n6\nx\n7\n8\n0\n"


def midi_files() -> list[bytes]:
    """One of each type and way to count time, with each kind of message; the first says how it was played."""

    def whole(tracks: list[bytes], kind: int, division: int) -> bytes:
        head = b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), division)
        return head + b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)

    tempo = b"\x00\xff\x51\x03\x07\xa1\x20\x00\xff\x58\x04\x04\x02\x18\x08"
    busy = (
        b"\x00\xb0\x46\x40\x00\x47\x20\x00\xe0\x00\x50\x00\xd0\x40\x00\xa0\x3c\x30\x00\xc0\x05"
        b"\x00\xf0\x05\x7e\x7f\x09\x01\xf7\x00\xf7\x02\xf8\xfa\x00\xff\x7f\x08\x7dtimbrel"
        b"\x00\xb0\x65\x00\x00\x64\x00\x00\x06\x0c\x00\x63\x02\x00\x62\x2c\x00\x06\x40"
    )
    knobs = {"name": "x", "source": "y", "knobs": [70, 71]}
    said = {"fitting": {"voices": 4, "controller": knobs, "presets": {"2": "a"}}}
    notes = [b"\x7f\x7dtimbrel" + json.dumps(text).encode() for text in (said, {"loaded": "another"})]
    recorded = b"".join(b"\x00\xff\x7f" + bytes([len(n) - 1 >> 7 | 0x80, len(n) - 1 & 0x7F]) + n[1:] for n in notes)
    return [
        whole([recorded + busy + NOTE + END], 0, 480),
        whole([NOTE + END], 0, 480),
        whole([tempo + END, busy + NOTE + NOTE.replace(b"\x3c", b"\x43") + END, NOTE + END], 1, 96),
        whole([NOTE + END, busy + NOTE + END], 2, 96),
        whole([busy + b"\x00\x90\x3c\x64\x10\x40\x64\x10\x3c\x00\x10\x40\x00" + END], 0, (256 - 25) << 8 | 40),
    ]


def sounds(folder: Path) -> list[Path]:
    """A fifth of a second in each format that is read."""
    time = np.arange(RATE // 5) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * np.random.default_rng(0).standard_normal(len(time))
    made = []
    for name, kind in {"a.wav": "PCM_16", "b.wav": "FLOAT", "c.flac": "PCM_24", "d.ogg": "VORBIS", "e.aiff": "PCM_24",
                       "f.mp3": "MPEG_LAYER_III", "g.w64": "PCM_16", "h.wav": "IMA_ADPCM"}.items():  # fmt: skip
        soundfile.write(folder / name, sound, RATE, subtype=kind)
        made.append(folder / name)
    soundfile.write(folder / "stereo.wav", np.stack([sound, 0.5 * sound], axis=1), 48000)
    return [*made, folder / "stereo.wav"]
