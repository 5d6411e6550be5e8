"""Cold starts as whole processes: a one-second note rendered, against the imports it cannot do without."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timbrel.host.preset.shipped import shipped_models

ROUNDS = 11
NOTE = bytes.fromhex("4d546864 00000006 0000 0001 01e0  4d54726b 0000000d 00903c64 8740803c00 00ff2f00")
# pydantic and onnxruntime load their parts when these are first asked for; an import of the bare names is half of it.
FLOOR = """
import onnxruntime, pedalboard, soundfile, mido, pydantic, typer
{more}
from onnxruntime import InferenceSession, SessionOptions
options = SessionOptions(); options.intra_op_num_threads = 1
InferenceSession({model!r}, options)
"""
# Libraries are compiled when they are installed, and timbrel is when it first runs: a working tree must not forbid it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
ENVIRONMENT["ORT_DISABLE_TELEMETRY"] = "1"  # as timbrel loads onnxruntime


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=ENVIRONMENT)
    return time.perf_counter() - began


def compare(names: tuple[str, str], commands: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    for command in commands:
        seconds(*command)
    rows = [tuple(seconds(*command) for command in commands) for _ in range(ROUNDS)]
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        print(f"{name:<46}{statistics.median(column):6.3f} s   slowest {max(column):6.3f}")
    print(f"{'ratio':<46}{statistics.median(a / b for a, b in rows):6.2f} x bare")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        midi, sound = Path(folder) / "note.mid", Path(folder) / "note.wav"
        midi.write_bytes(NOTE)
        render = ("-m", "timbrel", "render", "gm-chroma-8", str(midi), "-o", str(sound), "--overwrite")
        model = str(shipped_models()["gm-chroma-8"])
        floor = ("-c", FLOOR.format(model=model, more="from pydantic import BaseModel"))
        compare(("timbrel render of a one-second note", "its imports and the open model alone"), (render, floor))
        bare = ("-c", FLOOR.format(model=model, more=""))
        compare(("timbrel render of a one-second note", "the same, pydantic not loaded"), (render, bare))
        seconds(*render)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{'peak memory of the largest of these processes':<46}{peak:6.0f} MB")
    compare(("timbrel --help", "python -c 'import typer'"), (("-m", "timbrel", "--help"), ("-c", "import typer")))


if __name__ == "__main__":
    main()
