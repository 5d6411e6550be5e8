"""The same training before and after: 20 seeded steps of every recipe, an export of each, a report of each family.

`same_training.py COMMIT` trains with that commit and with the checkout as it stands, on this machine, and compares
corpora, all tensors of the checkpoints (weights, optimisers and the rest, to the bit), the models' cards and the
report.json of nine runs. Networks are as the recipes have them, but for the audio GANs and the inverting network, which
are small.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
import torch
from either_tree import module
from same_bytes import RATE, checkout, tree

recipes = module("train.families.recipes", "train.recipes.load")

STEPS = 20
SECONDS = 2.0  # of each sound
NOTES = range(52, 68)
WORDS = {"low": 300.0, "middle": 700.0, "high": 1600.0}  # fundamentals in Hz
TEMPO = 120  # of the loops, in BPM
CLOCK = "/progress/seconds"  # how long training took, in a checkpoint
REPORT_CLOCK = "/run/seconds"  # and in a report
SMALL_GAN = ("network.model_size=2", "network.latents=5", "training.batch_size=4")
SMALL_DCGAN = ("network.channels=[2,4]", "network.latents=5", "training.batch_size=4")
# By family: the corpus, and settings of this comparison.
SETTINGS = {
    "chroma": ("notes", "frames.rows=4000"),
    "partials": ("notes", "frames.rows=4000"),
    "grain": ("notes",),
    "sequence": ("notes",),
    "clip": ("words",),
    "classifier": ("words",),
    "gan": ("words", *SMALL_GAN),
    "logistic-gan": ("words", *SMALL_GAN),
    "dcgan": ("words", *SMALL_DCGAN),
    "halves": ("words", *SMALL_DCGAN),
    "invert": ("words", "network.width=4", "training.batch_size=4"),
    "grain-path": ("notes", "network.steps=20"),
    "loops": ("loops",),
}
# A report each of these runs: one of each folder of families.
REPORTED = (
    "chroma-2",
    "clip-wavegan",
    "digits-classifier",
    "grain-plain",
    "invert",
    "sequence-fft",
    "tuned-clip",
    "tuned-partials",
    "tuned-sequence",
)
# Options of the recipes that are built on runs of others, by family.
BASES = {
    "invert": {"--generator": "clip-wavegan", "--classifier": "digits-classifier"},
    "grain-path": {"--grains": "grain-noise"},
}

# All commands of a tree in one process: torch is loaded once.
DRIVER = """
import json, sys
from pathlib import Path
from timbrel.__main__ import main
for arguments in json.loads(Path(sys.argv[1]).read_text()):
    sys.argv = ["timbrel", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            print(f"timbrel {' '.join(arguments)}: exit status {end.code}", flush=True)
"""


def tone(hz: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A harmonic tone with noise that decays: [samples]."""
    times = np.arange(round(seconds * RATE)) / RATE
    partials = sum(0.6**k * np.sin(2 * np.pi * k * hz * times) for k in range(1, 12))
    return np.exp(-times) * (0.2 * partials + 0.01 * rng.standard_normal(len(times)))


def sounds(folder: Path) -> None:
    """Write the folders of sounds: notes, words and loops."""
    rng = np.random.default_rng(0)
    for kind in ("notes", "words", "loops"):
        (folder / kind).mkdir()
    for note in NOTES:
        soundfile.write(folder / "notes" / f"{note}.wav", tone(440 * 2 ** ((note - 69) / 12), SECONDS, rng), RATE)
    for word, hz in WORDS.items():
        for number in range(16):
            sound = tone(hz * rng.uniform(0.95, 1.05), SECONDS, rng)
            soundfile.write(folder / "words" / f"{word}_{number}.wav", sound, RATE)
    step = round(RATE * 60 / TEMPO / 4)
    for number in range(16):
        loop = np.zeros((32 + 4) * step)
        for place in sorted({0, 8, 16, 24, *rng.integers(0, 32, 12).tolist()}):
            hit = tone(rng.choice([80.0, 200.0, 900.0]), 0.2, rng) * np.exp(-np.arange(round(0.2 * RATE)) / 1500)
            loop[place * step : place * step + len(hit)] += hit
        soundfile.write(folder / "loops" / f"loop{number}-{TEMPO}bpm.wav", 0.5 * loop[: 32 * step], RATE)


def commands(names: list[str], shared: Path, out: Path) -> Iterator[list[str]]:
    """The commands of a tree: corpora, trainings, exports."""
    built: set[str] = set()
    order = sorted(names, key=lambda name: (recipes.load_recipe(name).family in BASES, name))
    for name in order:
        recipe = recipes.load_recipe(name)
        kind, *changes = SETTINGS[recipe.family]
        corpus = out / f"corpus-{kind}-{recipe.frames.sample_rate}"
        if corpus.name not in built:
            built.add(corpus.name)
            more = {"words": ["--label", "^([a-z]+)_"], "loops": ["--loops"], "notes": []}[kind]
            rate = str(recipe.frames.sample_rate)
            yield ["corpus", "build", str(shared / kind), "-o", str(corpus), "--rate", rate, "--licence", "CC0", *more]
        sets = [
            word
            for change in ("training.epochs=none", f"training.steps={STEPS}", *changes)
            for word in ("--set", change)
        ]
        own_bases = BASES.get(recipe.family, {})
        bases = [word for option, base in own_bases.items() for word in (option, str(out / f"run-{base}"))]
        run = str(out / f"run-{name}")
        yield ["train", name, "--corpus", str(corpus), "-o", run, "--accelerator", "cpu", *sets, *bases]
        yield ["export", run, "-o", str(out / f"{name}.onnx"), "--checkpoint", "last"]
        if name in REPORTED:
            yield ["evaluate", run, "--checkpoint", "last"]


def run(package: Path, shared: Path, out: Path, names: list[str]) -> None:
    """Run everything with the package in a folder."""
    (out / "commands.json").write_text(json.dumps(list(commands(names, shared, out))))
    (out / "driver.py").write_text(DRIVER)
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(out / "driver.py"), str(out / "commands.json")]
    done = subprocess.run(command, env=environment, cwd=out, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if "exit status" in line:
            print(line)
    if done.returncode:
        sys.exit(done.stderr[-4000:])


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Walk a checkpoint: (place, tensor or number)."""
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], f"{place}/{key}")
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from leaves(each, f"{place}/{number}")
    else:
        yield place, value


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    return type(a) is type(b) and (a == b or (a != a and b != b))


def checkpoint_differences(before: Path, after: Path) -> list[str]:
    """Return the places where two checkpoints differ."""
    first, second = (dict(leaves(torch.load(path, weights_only=True, map_location="cpu"))) for path in (before, after))
    places = {*first, *second} - {CLOCK}
    return sorted(
        place for place in places if place not in first or place not in second or not same(first[place], second[place])
    )


def report_differences(name: str, before: Path, after: Path) -> list[str]:
    """Return the places where two reports differ; a run of `REPORTED` has one on both sides."""
    if name in REPORTED and not (before.exists() and after.exists()):
        return ["no report.json"]
    first, second = (
        dict(leaves(json.loads(path.read_text(encoding="utf-8")))) if path.exists() else {} for path in (before, after)
    )
    places = sorted({*first, *second} - {REPORT_CLOCK})
    return [f"report.json {place}" for place in places if not same(first.get(place), second.get(place))]


def card(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def sound_of(corpus: Path) -> bytes:
    return b"".join(shard.read_bytes() for shard in sorted(corpus.glob("audio*.f32")))


def compare(name: str, before: Path, after: Path) -> list[str]:
    """Return the differences between the runs and models of a recipe."""
    models = before / f"{name}.onnx", after / f"{name}.onnx"
    runs = before / f"run-{name}", after / f"run-{name}"
    found = checkpoint_differences(runs[0] / "last.ckpt", runs[1] / "last.ckpt")
    found += report_differences(name, *(run / "report" / "report.json" for run in runs))
    missing = [f"no model {side}" for side, path in zip(("before", "after"), models, strict=True) if not path.exists()]
    if missing:
        return found + (missing if len(missing) == 1 else [])  # classifiers are not exported
    first, second = map(card, models)
    return found + [f"metadata {key!r}" for key in sorted({*first, *second}) if first.get(key) != second.get(key)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument(
        "--recipes", nargs="*", default=sorted(recipes.shipped_recipes()), help="by default all that ship"
    )
    options = parser.parse_args()
    names = list(options.recipes)
    for name in options.recipes:
        bases = BASES.get(recipes.load_recipe(name).family, {}).values()
        names += [base for base in bases if base not in names]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shared").mkdir()
        sounds(folder / "shared")
        for side, opened in (("before", lambda: tree(options.commit)), ("after", checkout)):
            out = folder / "out"  # one name for both: runs name their corpus
            out.mkdir()
            began = time.perf_counter()
            with opened() as package:
                run(package, folder / "shared", out, names)
            out.rename(folder / side)
            print(f"{side}: {time.perf_counter() - began:.0f} s", flush=True)
        before, after = folder / "before", folder / "after"
        different = 0
        for corpus in sorted(path.name for path in before.glob("corpus-*")):
            alike = sound_of(before / corpus) == sound_of(after / corpus)
            different += not alike
            print(f"{'same' if alike else 'DIFFERS':<8} {corpus}")
        for recipe in names:
            if not (before / f"run-{recipe}").exists():
                print(f"new      {recipe}")
                continue
            found = compare(recipe, before, after)
            different += bool(found)
            print(f"{'DIFFERS' if found else 'same':<8} {recipe}{': ' if found else ''}{', '.join(found[:6])}")
    print(f"{different} of the corpora and recipes differ from those of {options.commit}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
