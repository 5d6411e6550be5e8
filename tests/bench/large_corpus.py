"""Training on corpora of hours: memory, and speed with sound that no cache holds.

    python tests/bench/large_corpus.py --hours 1,200 --folder DIR

Generated notes of four seconds at 16 kHz; 200 hours take 46 GB. A training runs in a process of its own. Memory is the
largest seen of it after its data are made: all, and without mapped files. "Cold": the kernel is told to forget the
corpus's files every five seconds (posix_fadvise, DONTNEED); "warm": nothing is forgotten. Also: two million clips
opened.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from timbrel.train.corpus.clip_table import Clip, ClipTable, Manifest, Shard, Table, Texts, replace_files
from timbrel.train.corpus.report import CorpusReport
from timbrel.train.corpus.store import writing

RATE, SECONDS, BANK = 16000, 4.0, 64
FORGET_SECONDS = 5.0
MILLIONS = 2_000_000
RECIPES = {  # few steps each: the data are measured, not the networks
    "clip-wavegan": ("network.model_size=4", "training.steps=20"),
    "grain-plain": ("frames.sample_rate=16000", "training.steps=300"),
    "chroma-8": ("frames.sample_rate=16000", "training.steps=60", "frames.rows=55000"),
    "tuned-partials": ("frames.sample_rate=16000", "training.steps=60", "frames.rows=55000"),
    "sequence-samples": ("frames.sample_rate=16000", "training.steps=10"),
    "tuned-clip": ("frames.sample_rate=16000", "training.steps=10"),
}
TRAIN = """
import json, sys
from pathlib import Path
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.families.recipes import load_recipe
speeds = []
def report(now):
    speeds.append(now.examples_per_second)
    print(json.dumps(now.examples_per_second), flush=True)
if __name__ == "__main__":
    recipe = load_recipe(sys.argv[1], sys.argv[4:])
    start(recipe, Path(sys.argv[2]), Path(sys.argv[3]), RunOptions("cpu", on_report=report))
"""


def corpus(folder: Path, hours: float) -> Path:
    path = folder / f"hours-{hours:g}"
    if (path / "corpus.json").exists():
        return path
    rng = np.random.default_rng(0)
    times = np.arange(round(SECONDS * RATE)) / RATE
    bank = []
    for number in range(BANK):
        hz = 440 * 2 ** ((40 + number / 2 - 69) / 12)
        tone = sum(np.sin(2 * np.pi * hz * (h + 1) * times) * rng.random() / (h + 1) for h in range(8))
        bank.append((0.1 * tone).astype(np.float32))
    with writing(path, RATE) as writer:
        for clip in range(round(hours * 3600 / SECONDS)):
            number, name = int(rng.integers(BANK)), f"note {clip}"
            samples = np.roll(bank[number], int(rng.integers(RATE))) * np.float32(rng.uniform(0.3, 1.0))
            track = np.full(-(-len(samples) // 1024), 40 + number / 2, np.float32)
            writer.append(samples, track, name=name, group=name)
        splits = {clip.name: "val" if number % 50 == 0 else "train" for number, clip in enumerate(writer.clips)}
        writer.finish(splits, name=path.name)
    return path


def forget(sounds: Path) -> None:
    for shard in sounds.glob("audio-*.f32"):
        with shard.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def trained(recipe: str, changes: tuple[str, ...], sounds: Path, cold: bool) -> tuple[float, float, float, float]:
    """Return examples a second, seconds until the first report, and the largest megabytes, all and anonymous."""
    with tempfile.TemporaryDirectory(dir=sounds.parent) as folder:
        script, log = Path(folder) / "train.py", Path(folder) / "log"
        script.write_text(TRAIN)
        command = [sys.executable, script, recipe, sounds, Path(folder) / "run", *changes]
        began, first, most, own = time.perf_counter(), 0.0, 0, 0
        with log.open("w") as file, subprocess.Popen(command, stdout=file) as process:
            seen = psutil.Process(process.pid)
            forgotten = 0.0
            while process.poll() is None:
                if cold and time.perf_counter() - forgotten > FORGET_SECONDS:
                    forget(sounds)
                    forgotten = time.perf_counter()
                if not first and log.stat().st_size:
                    first = time.perf_counter() - began
                try:
                    now = seen.memory_info()
                except psutil.NoSuchProcess:
                    break
                most, own = max(most, now.rss), max(own, now.rss - now.shared)
                time.sleep(0.5)
        if process.returncode:
            raise SystemExit(f"{recipe} failed on {sounds}")
        speeds = [json.loads(line) for line in log.read_text().splitlines()]
    return float(np.median(speeds[1:] or speeds)) if speeds else float("nan"), first, most / 1e6, own / 1e6


OPEN = """
import sys, time
from pathlib import Path
from timbrel.train.corpus.store import Corpus
began = time.perf_counter()
corpus = Corpus.open(Path(sys.argv[1]))
count = len(corpus.clips())
seconds = time.perf_counter() - began
most = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(f"{count} clips open in {seconds:.2f} s, {int(most) / 1e3:.0f} MB in all")
"""


def many(folder: Path) -> None:
    path = folder / "millions"
    path.mkdir()
    made = ClipTable.from_clips([Clip(name="a", start=0, length=1, group="a")])
    numbers = {name: np.repeat(column, MILLIONS) for name, column in made.numbers.items()}
    numbers["start"] = np.arange(MILLIONS, dtype="<i8")
    names = Texts.encode(f"speaker-{number % 977}/recording-{number:08}.flac" for number in range(MILLIONS))
    table = Table.from_clips(
        ClipTable(numbers, {"name": names, "group": names, "label": names}), np.zeros(MILLIONS, "<f4"), []
    )
    np.zeros(MILLIONS, "<f4").tofile(path / "audio-00000.f32")
    shards = [Shard(file="audio-00000.f32", length=MILLIONS)]
    replace_files(path, Manifest(name="many", rate=RATE, shards=shards, table="", report=CorpusReport()), {}, table)
    subprocess.run([sys.executable, "-c", OPEN, path], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", default="1,4")
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        many(Path(temporary))
        folder = options.folder or Path(temporary)
        hours = [float(part) for part in options.hours.split(",")]
        corpora = {}
        for number in hours:
            began = time.perf_counter()
            corpora[number] = corpus(folder, number)
            print(f"{number:g} hours: {time.perf_counter() - began:.0f} s to write or find", flush=True)
        print(f"{'recipe':<18}{'hours':>6}{'':>6}{'examples/s':>12}{'first after':>13}{'MB':>8}{'without files':>15}")
        for recipe in options.recipes.split(","):
            for number, sounds in corpora.items():
                for cold in (False, True) if number == hours[0] else (True,):
                    speed, first, most, own = trained(recipe, RECIPES[recipe], sounds, cold)
                    kind = "cold" if cold else "warm"
                    print(
                        f"{recipe:<18}{number:>6g}{kind:>6}{speed:>12.1f}{first:>11.1f} s{most:>8.0f}{own:>15.0f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
