"""Small instruments, and what their folders hold."""

import signal

from timbrel.export.make import make
from timbrel.host.progress import Display
from timbrel.train import loop
from timbrel.train.families.recipes import load_recipe

PARTS = {"preset.toml", "model.onnx", "model.encoder.onnx", "scale.wav", "trial", "run", "corpus", "report"}
SMALL = {
    "tuned-partials": [
        "network.encoder=[64]",
        "network.decoder=[64,64]",
        "frames.harmonics=40",
        "frames.rows=2000",
        "training.batch_size=32",
    ],
    "tuned-8": ["network.hidden=[128,64,32]", "frames.rows=2000", "training.batch_size=64"],
    "tuned-clip": [
        "network.components=24",
        "network.hidden=32",
        "network.latents=4",
        "training.batch_size=16",
        "frames.enough=32",
    ],
    "texture-10": ["network.hidden=[64]", "network.adjudicator=[32]", "frames.hop_length=200"],
}
MINUTES = 0.05  # three seconds


class Notes(Display):
    """A display that keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.stages, self.said = [], []

    def stage(self, name):
        self.stages.append(name)

    def say(self, message):
        self.said.append(message)


def small_recipe(name, changes=()):
    return load_recipe(name, [*changes, *SMALL[name]])


def made(sounds, output, **options):
    display = Notes()
    given = sounds if isinstance(sounds, list) else [sounds]
    summary = make(given, output, **{"minutes": MINUTES, "family": "auto", "display": display, **options})
    return summary, display


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def interrupt_at(monkeypatch, step_number):
    original = loop._Loop._step

    def step(self, done):
        if self.progress.step == step_number:
            signal.raise_signal(signal.SIGINT)
        return original(self, done)

    monkeypatch.setattr(loop._Loop, "_step", step)
