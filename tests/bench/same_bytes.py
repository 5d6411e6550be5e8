"""The same bytes before and after: presets that both trees ship, odd performances, edits of presets, help.

`same_bytes.py COMMIT` renders with that commit and with the checkout as it stands, on this machine, and compares every
file that either writes. No digest is kept: another processor, or another release of a library, gives other bytes.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import mido
import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
RATE = 44100
TICKS, TEMPO = 480, 500_000  # a beat, and its microseconds: 960 ticks a second
HEAD = 'format = 1\nmodel = "gm-chroma-8"\n'

PRESETS = {
    "odd": HEAD
    + """
[latent]
values = [0.5, 0.2, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5]
[play]
mode = "mono"
legato = true
glide_seconds = 0.1
unison = 3
width = 0.7
keep_formants = true
[envelope]
attack_seconds = 0.02
release_seconds = 0.4
[morph]
to = "strings.toml"
shape = "spherical"
[tuning]
scale = "slendro.scl"
[[cc]]
number = 74
target = "latent.0"
takeover = "pickup"
[[cc]]
number = 1
bits = 14
target = "morph"
[[cc]]
nrpn = 300
target = "gain"
[[cc]]
pressure = "channel"
target = "latent.3"
takeover = "scale"
[[motion]]
target = "latent.2"
shape = "random"
depth = 0.2
beats = 1
""",
    "strings": HEAD + "[latent]\nvalues = [0.7826, 0.4481, 0.3885, 0.5523, 0.5731, 0.3173, 0.5248, 0.4903]\n",
    "noise": HEAD + '[play]\nphase = "noise"\nvoices = 3\npan = -0.5\n[envelope]\nsustain = 0.3\n',
    "chord": HEAD + '[play]\nmode = "chord"\n[[cc]]\npressure = "key"\ntarget = "pan"\n',
    "fingers": HEAD + '[mpe]\nenabled = true\npressure = "gain"\nslide = "latent.1"\n',
    "trigger": 'format = 1\nmodel = "lakeside-10"\n'
    + '[grain]\ndensity = 60\nshape = 0.3\nkeys = "trigger"\ncode_jitter = 0.5\nlevel_jitter = 6\nspread = 1\n'
    + '[[cc]]\nnumber = 74\ntarget = "grain.pitch"\n[[cc]]\nnumber = 70\ntarget = "grain.density"\n',
    "bent": HEAD + '[process]\nscale = 0.5\nsmooth_seconds = 0.1\nto = "strings.toml"\namount = 0.4\nphase = "own"\n'
    '[[cc]]\nnumber = 74\ntarget = "process.wet"\n[[effects]]\nplugin = "Reverb"\nroom_size = 0.5\n',
}
SLENDRO = "! slendro.scl\nfive steps\n 5\n 240.0\n 480.0\n 720.0\n 960.0\n 2/1\n"
KNOBS = """
import os, sys

from either_tree import module

learn = module("host.preset.learn", "host.patch.learn_command").learn
ControlChange = module("host.events").ControlChange

def moments():
    for knob in range(20, 28):
        for step in range(60):
            yield knob + step / 60, ControlChange(0, 0, knob, 2 * step)
        for rest in range(60):
            yield knob + 1 + rest / 60, None

os.chdir(sys.argv[1])
learn("gm-keys", None, moments(), lambda line: None)
"""
# A hundred edits of presets' texts, as the panel makes them, each of the text that the one before left.
EDITS = """
import random, sys
from pathlib import Path

from either_tree import module

text = module("host.preset.text", "host.patch.text.editing")
# Older trees have a midi_learn too, which binds nothing.
binding = module("host.preset.cc_binding", "host.patch.text.cc_binding", "host.preset.midi_learn")
UserError = module("host.errors").UserError
EFFECTS = ("Reverb", "Delay", "Chorus", "HighpassFilter")
out, rng = Path(sys.argv[1]), random.Random(0)
presets = [path.read_text() for path in map(Path, sys.argv[2:])]

def a_code():
    return [round(rng.random(), 3) for _ in range(8)]

EDIT = (
    lambda words: text.with_value(words, ("envelope", "attack_seconds"), round(rng.random(), 3)),
    lambda words: text.with_values(words, {("latent", "values", rng.randrange(8)): round(rng.random(), 3)}, a_code()),
    lambda words: text.with_path(words, {"path": [a_code() for _ in range(3)], "beats": 4.0}),
    lambda words: text.with_path(words, None),
    lambda words: text.with_snapshot(words, rng.randrange(1, 9), {"latent.0": round(rng.random(), 3)}),
    lambda words: text.with_effect(words, rng.choice(EFFECTS)),
    lambda words: text.with_effect_on(words, 0, rng.random() < 0.5),
    lambda words: text.with_effect_moved(words, 0, 1),
    lambda words: text.without_effect(words, 0),
    lambda words: text.without_maps(words, f"latent.{rng.randrange(4)}"),
    lambda words: binding.bound(words, {"number": rng.randrange(1, 90)}, f"latent.{rng.randrange(8)}", (0.0, 1.0))[0],
    lambda words: binding.bound(words, {"number": rng.randrange(1, 90)}, "pan", (-1.0, 1.0))[0],
)
for number in range(100):
    which = rng.randrange(len(presets))
    try:
        presets[which] = EDIT[number % len(EDIT)](presets[which])
        told = presets[which]
    except (UserError, LookupError) as error:
        told = f"{type(error).__name__}: {error}"
    (out / f"edit-{number:02}.txt").write_text(told)
"""
# The help of every command.
HELP = """
import sys
from pathlib import Path

import typer
from timbrel.__main__ import command_line

def told(command, path):
    context = command.make_context(path[-1], [], resilient_parsing=True)
    yield f"==== {' '.join(path)}\\n{command.get_help(context)}\\n"
    for name, inner in getattr(command, "commands", {}).items():
        yield from told(inner, (*path, name))

(Path(sys.argv[1]) / "help.txt").write_text("".join(told(typer.main.get_command(command_line()), ("timbrel",))))
"""


def messages(seed: int, channels: tuple[int, ...], count: int) -> Iterator[tuple[int, mido.Message]]:
    """Everything that a keyboard sends, by chance: (ticks since the last one, message)."""
    rng = np.random.default_rng(seed)
    down: list[tuple[int, int]] = []
    for _ in range(count):
        channel = int(rng.choice(channels))
        kind = rng.choice(
            ["on", "off", "cc", "bend", "pressure", "key", "pedal", "nrpn"], p=np.array([8, 6, 6, 3, 2, 2, 1, 1]) / 29
        )
        gap = int(rng.integers(0, 120))
        if kind == "on":
            down.append((channel, int(rng.integers(40, 84))))
            yield gap, mido.Message("note_on", channel=channel, note=down[-1][1], velocity=int(rng.integers(1, 128)))
        elif kind == "off" and down:
            channel, key = down.pop(int(rng.integers(len(down))))
            yield gap, mido.Message("note_off", channel=channel, note=key)
        elif kind == "cc":
            number = int(rng.choice([1, 5, 7, 10, 11, 65, 66, 70, 71, 74, 91, 93]))
            yield gap, control(channel, number, int(rng.integers(128)))
        elif kind == "bend":
            yield gap, mido.Message("pitchwheel", channel=channel, pitch=int(rng.integers(-8192, 8192)))
        elif kind == "pressure":
            yield gap, mido.Message("aftertouch", channel=channel, value=int(rng.integers(128)))
        elif kind == "key" and down:
            channel, key = down[-1]
            yield gap, mido.Message("polytouch", channel=channel, note=key, value=int(rng.integers(128)))
        elif kind == "pedal":
            yield gap, control(channel, 64, int(rng.choice([0, 127])))
        elif kind == "nrpn":
            for number, value in ((99, 2), (98, 44), (6, int(rng.integers(128))), (38, int(rng.integers(128)))):
                yield 0, control(channel, number, value)
    for channel in channels:
        yield 40, control(channel, 64, 0)
        yield 40, control(channel, 121, 0)
        yield 40, control(channel, 123, 0)


def control(channel: int, number: int, value: int) -> mido.Message:
    return mido.Message("control_change", channel=channel, control=number, value=value)


def tune(
    path: Path, seed: int, channels: tuple[int, ...] = (0,), count: int = 200, first: tuple[mido.Message, ...] = ()
) -> None:
    """A MIDI file of chance, which begins with the messages given, a tempo change and a program change in it."""
    track = mido.MidiTrack(first)
    for number, (gap, message) in enumerate(messages(seed, channels, count)):
        track.append(message.copy(time=gap))
        if number == count // 2:
            track.append(mido.MetaMessage("set_tempo", tempo=TEMPO * 3 // 4))
            track.append(mido.Message("program_change", channel=channels[0], program=5))
    mido.MidiFile(ticks_per_beat=TICKS, tracks=[track]).save(path)


def inputs(folder: Path) -> None:
    """Write what both trees read."""
    for name, text in PRESETS.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "slendro.scl").write_text(SLENDRO)
    for name, script in (("learn", KNOBS), ("edits", EDITS), ("help", HELP)):
        (folder / f"{name}.py").write_text(script)
    shutil.copy(Path(__file__).with_name("either_tree.py"), folder)
    tune(folder / "one.mid", 1)
    tune(folder / "two.mid", 2, channels=(0, 1, 9), count=400)
    zones = (
        control(0, 101, 0),
        control(0, 100, 6),
        control(0, 6, 7),
        control(15, 101, 0),
        control(15, 100, 6),
        control(15, 6, 7),
    )
    tune(folder / "zones.mid", 3, channels=tuple(range(16)), count=500, first=zones)
    rng = np.random.default_rng(4)
    times = np.arange(4 * RATE) / RATE
    for name, hz in (("low", 110.0), ("high", 523.0)):
        phase = 2 * np.pi * hz * (times + 0.002 * np.sin(2 * np.pi * 0.7 * times))
        tone = sum(np.sin(h * phase) / h for h in range(1, 12)) * (0.2 + 0.1 * np.sin(3 * times))
        soundfile.write(folder / f"{name}.wav", 0.3 * tone + 0.01 * rng.standard_normal(len(times)), RATE)


def commands(shipped: list[str], shared: str, out: Path) -> dict[str, list[str]]:
    """What is run, by name; ``shared`` is the folder of the inputs."""

    def at(name: str) -> str:
        return str(Path(shared) / name)

    found = {}
    for name in shipped:
        found[f"shipped {name}"] = ["render", name, at("one.mid"), "-o", str(out / f"{name}.wav")]
    demo = str(ROOT / "presets/midi/demo.mid")
    found["the demo's tune at 96 kHz"] = ["render", "gm-keys", demo, "--rate", "96000", "-o", str(out / "demo.wav")]
    for name in ("odd", "noise", "chord", "trigger"):
        found[f"{name}"] = ["render", at(f"{name}.toml"), at("one.mid"), "-o", str(out / f"own-{name}.wav")]
    found["fingers, two zones"] = ["render", at("fingers.toml"), at("zones.mid"), "-o", str(out / "zones.flac")]
    found["stems"] = [
        *("render", "gm-hall", at("two.mid"), "--channel", "2=lakeside-walk", "--channel", "10=none"),
        *("--stems", "--rate", "48000", "-o", str(out / "stems.wav")),
    ]
    found["process, original phase"] = [
        "process",
        at("low.wav"),
        "--preset",
        "gm-keys",
        "--scale",
        "1.5",
        "-o",
        str(out / "through.wav"),
    ]
    found["process, own phase, effects, keys"] = [
        *("process", at("high.wav"), "--preset", at("bent.toml"), "--midi", at("one.mid"), "-o", str(out / "bent.wav"))
    ]
    found["process, grains"] = ["process", at("low.wav"), "--preset", "lakeside-walk", "-o", str(out / "grains.wav")]
    for way in ("linear", "spherical", "dense"):
        found[f"morph, {way}"] = [
            *("morph", at("low.wav"), at("high.wav"), "--model", "gm-chroma-8", "--way", way),
            *("-o", str(out / f"morph-{way}.wav")),
        ]
    found["recover"] = ["recover", at("high.wav"), "--model", "gm-chroma-8", "--path", "-o", str(out / "found.toml")]
    found["what was recovered"] = ["render", str(out / "found.toml"), at("one.mid"), "-o", str(out / "recovered.wav")]
    found["what was learned"] = ["render", str(out / "gm-keys.toml"), at("one.mid"), "-o", str(out / "learned.wav")]
    return found


def run(package: Path, shared: Path, out: Path, shipped: list[str]) -> None:
    """Run everything with the package in a folder."""
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}

    def call(*arguments: str) -> None:
        done = subprocess.run(arguments, env=environment, cwd=out, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}\n{done.stderr}")

    call(sys.executable, str(shared / "learn.py"), str(out))
    call(sys.executable, str(shared / "edits.py"), str(out), *(str(shared / f"{name}.toml") for name in PRESETS))
    call(sys.executable, str(shared / "help.py"), str(out))
    for arguments in commands(shipped, str(shared), out).values():
        call(sys.executable, "-m", "timbrel", *arguments)


@contextlib.contextmanager
def tree(commit: str) -> Iterator[Path]:
    """A folder whose ``timbrel`` is the package of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(Path(name) / "timbrel", filter="data")
        yield Path(name)


@contextlib.contextmanager
def checkout() -> Iterator[Path]:
    """A folder whose ``timbrel`` is the checkout as it stands."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "timbrel").symlink_to(ROOT)
        yield Path(name)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def main() -> None:
    parser = argparse.ArgumentParser(description="Render with a commit and with the checkout, and compare all bytes.")
    parser.add_argument("commit", help="the commit to compare with")
    commit = parser.parse_args().commit
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", commit, "presets/"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    shipped = sorted(path.stem for path in (ROOT / "presets").glob("*.toml") if f"presets/{path.name}" in listed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shared").mkdir()
        inputs(folder / "shared")
        found = []
        sides: tuple[tuple[str, Callable[[], contextlib.AbstractContextManager[Path]]], ...] = (
            ("before", lambda: tree(commit)),
            ("after", checkout),
        )
        for side, opened in sides:
            out = folder / "out"  # one name for both: presets that are written tell where they lie
            out.mkdir()
            with opened() as package:
                run(package, folder / "shared", out, shipped)
            found.append(digests(out))
            out.rename(folder / side)
    before, after = found
    for file in sorted({*before, *after}):
        same = before.get(file) == after.get(file)
        print(f"{'same' if same else 'DIFFERS'}  {file}")
    different = sum(before.get(file) != after.get(file) for file in {*before, *after})
    print(f"{different} of {len({*before, *after})} files differ from those of {commit}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
