"""The voice core as WebAssembly in node, beside the native core: the same bits, and times real time a voice.

gm-keys in blocks of 128: a chord of 8 held while nothing moves, then 16 notes held while eight knobs and the bend move,
with chords over them that steal; and these notes of string-ensemble, whose image moves too. Every call of the core is
recorded while Python plays, and replayed by a module with 128-bit vectors, by one without, and natively with AVX2 and
with basic instructions, each in turns; all samples are compared, those of the mix, after the rate conversion and after
the limiter. A figure is the seconds of all voices over
the seconds of the calls, the median of `ROUNDS` replays after one that warms up. Needs node, and zig (`pip install
ziglang`).
"""

import ctypes
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from core_trace import Call, NativeMemory, Read, Trace, Write, compile_core, differences, record, zig
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.preset.library import open_patch
from timbrel.host.voice_library import SIGNATURES, load_library

RATE, BLOCK, SECONDS, ROUNDS = 44100, 128, 6, 5
BASE = 1 << 24  # of a trace in a module's memory: beyond its stack and constants
CHORD = (40, 47, 52, 56, 59, 64, 68, 71)
VECTORS = {"WebAssembly, 128-bit vectors": ["-msimd128"], "WebAssembly": []}
NATIVE = {"native, AVX2": 1, "native, basic": 0}


def still():
    """A chord of 8."""
    return [NoteOn(0, 0, key, 90) for key in CHORD]


def moving():
    """16 notes while knobs and the bend move; from the middle on, chords that steal."""
    end = SECONDS * RATE
    events = [NoteOn(400 * number, 0, 28 + 3 * number, 40 + 5 * number) for number in range(16)]
    for step in range(50 * SECONDS):
        events.append(PitchBend(step * RATE // 50, 0, round(3000 * np.sin(step / 9))))
        events += [ControlChange(step * RATE // 50, 0, 70 + knob, (3 * step + 17 * knob) % 128) for knob in range(8)]
    for number, time in enumerate(range(end // 2, end - RATE, RATE)):
        events += [NoteOn(time, 0, key + number, 100) for key in CHORD]
        events += [NoteOff(time + RATE // 2, 0, key + number) for key in CHORD]
    return sorted(events, key=lambda event: event.time)


def performances():
    """Titles, presets and events."""
    return (
        ("a chord of 8 held", "gm-keys", still()),
        ("16 voices, knobs and bend moving", "gm-keys", moving()),
        ("16 voices in stereo, knobs, image and bend moving", "string-ensemble", moving()),
    )


def compile_module(folder: Path, flags) -> Path:
    path = folder / f"core{''.join(flags)}.wasm"
    linking = [
        "-mexec-model=reactor",
        *("-z", "stack-size=1048576"),
        "-Wl,--export-dynamic,--export=__heap_base,--strip-all",
    ]
    return compile_core(path, "wasm32-wasi", *flags, *linking)


def replay_in_node(module: Path, trace: Trace, rounds: int) -> tuple[bytes, list[float]]:
    """Return all that is read in the first round, and the seconds of each round."""
    steps = []
    for step in trace.steps:
        match step:
            case Write(address, offset, length):
                steps.append(["write", address, offset, length])
            case Read(address, length):
                steps.append(["read", address, length])
            case Call(name, arguments):
                kinds = zip(arguments, SIGNATURES[name][1], strict=True)
                values = [str(value) if kind is ctypes.c_int64 else value for value, kind in kinds]
                steps.append(["call", name, values])
    head = {"steps": steps, "sizes": trace.sizes, "base": BASE, "end": trace.end, "outputLength": len(trace.outputs)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "steps.json").write_text(json.dumps(head))
        (folder / "data.bin").write_bytes(trace.data)
        command = ["node", str(Path(__file__).with_suffix(".mjs")), str(module), str(folder), str(rounds)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return (folder / "outputs.bin").read_bytes(), json.loads(run.stdout)


def report(name: str, outputs: bytes, trace: Trace, seconds: list[float]) -> bool:
    """Print a processor's figures; return whether its bits are those of the recorded core."""
    unequal = differences(trace, outputs)
    bits = f"{unequal} of {len(outputs) // 4} samples differ" if unequal else "the same bits"
    times = trace.voice_seconds / statistics.median(seconds)
    print(f"  {name:<30}{times:7.0f} times real time a voice, {bits}", flush=True)
    return not unequal


def main() -> None:
    """Compare bits and print speeds; exit with 1 where bits differ."""
    for missing, install in (
        (zig() is None, "zig is missing; install it: pip install ziglang"),
        (shutil.which("node") is None, "node is missing; install it (Debian: apt install nodejs)"),
        (load_library() is None, "the core is not compiled; install a C compiler and timbrel again"),
    ):
        if missing:
            print(f"left out: {install}")
            return
    alike = True
    with tempfile.TemporaryDirectory() as name:
        modules = {vectors: compile_module(Path(name), flags) for vectors, flags in VECTORS.items()}
        memory = NativeMemory()
        for title, preset, events in performances():
            patch = open_patch(preset)
            print(f"{title}, {SECONDS} s in blocks of {BLOCK}")
            performance = patch, events, [BLOCK], SECONDS * RATE
            trace = record(*performance, pointer_bytes=4, base=BASE)
            for vectors, module in modules.items():
                outputs, seconds = replay_in_node(module, trace, 1 + ROUNDS)
                alike &= report(vectors, outputs, trace, seconds[1:])
            for instructions, number in NATIVE.items():
                native = record(*performance, pointer_bytes=8, base=memory.base, instructions=number)
                replays = [memory.replay(native) for _ in range(1 + ROUNDS)]
                alike &= report(instructions, replays[0][0], trace, [seconds for _, seconds in replays[1:]])
    sys.exit(0 if alike else 1)


if __name__ == "__main__":
    main()
