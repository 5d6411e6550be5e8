"""Damaged files of every kind, one process, one command after another: each ends in a line, in time and in memory.

    python tests/fuzz/fuzz.py [cases] [seed]

Models, encoders, presets, MIDI files, Scala files and sounds are damaged and given to the commands that read them. What
must hold of each: exit status 0, 1 or 2, no traceback and no internal error, at most a line of complaint, no more than
10 seconds, no more than 1 GB besides the libraries, and of outputs all or nothing. An input that reaches a line of our
own readers which none has reached before is damaged further; what libraries in C parse cannot be followed so. The same
seed gives the same cases. What failed is kept in a folder, whose name is printed.
"""

import contextlib
import faulthandler
import io
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import damage
import seeds
from timbrel.__main__ import main
from timbrel.host import progress
from timbrel.host.midi.files import read_performance
from timbrel.host.model.encoder import encoder_path

CASES = 10_000
SECONDS = 10.0  # of the processor, the longest that one may take
CLOCK_SECONDS = 120.0  # by the clock, on a busy machine
BYTES = 1 << 30  # the most memory that the process may take besides what it has when the first case begins
ROOM = 4 << 30  # of address space: what asks for more gets none
LONGEST_TUNE_SECONDS = 20.0  # a damaged tune may last hours, and may then take long to render
READERS = ("/host/model/", "/host/preset/", "/host/midi/", "/host/audio/")  # whose new lines keep a damaged file
MOST_FAULTS = {"preset": 20}  # lines: of a preset each mistake is told, of other files the first
STOPPED = (129, 130, 143)  # exit statuses of a command that a signal ended
SOUNDING = ["-o", "new.wav", "--tail", "0.1"]


class Slow(BaseException):
    """A case takes too long."""


@dataclass
class Case:
    """One damaged file, and the command that reads it."""

    kind: str
    data: bytes
    name: str
    arguments: list[str]


@dataclass
class Report:
    """What became of all cases; ``libraries`` is the memory of the process when they begin, in bytes."""

    libraries: int
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    memory: int = 0  # the most besides that
    learned: int = 0


def _memory() -> int:
    """The most memory that the process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


class Kitchen:
    """A folder with what is whole, and a pool of what is to be damaged for each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spectrum, grain = seeds.spectrum_model(folder / "spectrum.onnx"), seeds.grain_model(folder / "grain.onnx")
        clip = seeds.clip_model(folder / "clip.onnx")
        shutil.copy(encoder_path(spectrum), encoder_path(folder / "bad.onnx"))
        shutil.copy(spectrum, folder / "heard.onnx")
        shutil.copy(encoder_path(spectrum), encoder_path(folder / "heard.onnx"))
        (folder / "whole.mid").write_bytes(seeds.midi_files()[1])
        (folder / "scale.scl").write_text(seeds.SCALE)
        (folder / "keys.kbm").write_text(seeds.KEYMAP)
        for name, lines in (("scale", 'scale = "bad.scl"'), ("keys", 'scale = "scale.scl"\nkeymap = "bad.kbm"')):
            (folder / f"{name}.toml").write_text(f'format = 1\nmodel = "spectrum.onnx"\n[tuning]\n{lines}\n')
        sounds = seeds.sounds(folder)
        shutil.copy(sounds[0], folder / "sound.wav")
        self.pools: dict[str, list[bytes]] = {
            "model": [spectrum.read_bytes(), grain.read_bytes(), clip.read_bytes()],
            "encoder": [encoder_path(spectrum).read_bytes()],
            "preset": [text.encode() for text in seeds.presets()],
            "tune": seeds.midi_files(),
            "scale": [seeds.SCALE.encode()],
            "keymap": [seeds.KEYMAP.encode()],
            "sound": [path.read_bytes() for path in sounds],
        }

    def case(self, rng: random.Random) -> Case:
        """The next one."""
        kind = rng.choice([*self.pools])
        data = rng.choice(self.pools[kind])
        render = ["whole.mid", *SOUNDING]
        match kind:
            case "model":
                ways = [["info", "bad.onnx"], ["verify", "bad.onnx"], ["render", "bad.onnx", *render]]
                ways.append(["process", "sound.wav", "--preset", "bad.onnx", "-o", "new.wav"])
                return Case(kind, _try(damage.model_of, data, rng), "bad.onnx", rng.choice(ways))
            case "encoder":
                ways = [["process", "sound.wav", "--preset", "heard.onnx", "-o", "new.wav"]]
                ways.append(["recover", "sound.wav", "--model", "heard.onnx", "--method", "network", "-o", "new.toml"])
                return Case(kind, _try(damage.model_of, data, rng), "heard.encoder.onnx", rng.choice(ways))
            case "preset":
                ways = [["render", "bad.toml", *render]]
                ways.append(["process", "sound.wav", "--preset", "bad.toml", "-o", "new.wav"])
                made = _try(lambda text, rng: damage.preset_of(text.decode(), rng), data, rng)
                return Case(kind, made, "bad.toml", ways[rng.random() < 0.3])
            case "tune":
                return Case(
                    kind, _try(damage.tune_of, data, rng), "bad.mid", ["render", "spectrum.onnx", "bad.mid", *SOUNDING]
                )
            case "scale" | "keymap":
                name, preset = ("bad.scl", "scale.toml") if kind == "scale" else ("bad.kbm", "keys.toml")
                made = _try(lambda text, rng: damage.text_of(text.decode(), rng).encode(), data, rng)
                return Case(kind, made, name, ["render", preset, *render])
            case _:
                ways = [["process", "bad.wav", "--preset", "spectrum.onnx", "-o", "new.wav"]]
                ways.append(["recover", "bad.wav", "--model", "heard.onnx", "--method", "network", "-o", "new.toml"])
                ways.append(["corpus", "build", "bad.wav", "-o", "new"])
                return Case(kind, damage.bytes_of(data, rng), "bad.wav", rng.choice(ways))


def _try(way: Any, data: bytes, rng: random.Random) -> bytes:
    """Damage by structure; of what has none any more, by bytes."""
    try:
        made: bytes = way(data, rng)
    except Exception:
        return damage.bytes_of(data, rng)
    return made


class Watch:
    """Tells if a line of our readers was reached for the first time."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, int]] = set()
        self._ours: dict[str, bool] = {}
        self.new = False

    def call(self, frame: FrameType, what: str, value: Any) -> Any:
        name = frame.f_code.co_filename
        ours = self._ours.get(name)
        if ours is None:
            ours = self._ours[name] = any(room in name for room in READERS)
        return self._line if ours else None

    def _line(self, frame: FrameType, what: str, value: Any) -> Any:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place not in self._seen:
            self._seen.add(place)
            self.new = True
        return self._line


def run(cases: int, seed: int, folder: Path, kept: Path) -> Report:
    """Try them all in ``folder``; what failed is written to ``kept``."""
    kitchen, report, watch = Kitchen(folder), Report(_memory()), Watch()
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    with _guarded(folder):
        for number in range(cases):
            rng = random.Random(f"{seed}/{number}")
            case = kitchen.case(rng)
            fault = _try_case(case, folder, whole, report, watch)
            if fault is not None:
                report.faults.append(f"{number} {' '.join(case.arguments)}: {fault}")
                kept.mkdir(exist_ok=True)
                (kept / f"{number}.{case.name}").write_bytes(case.data)
                print(report.faults[-1], flush=True)
            elif watch.new:
                kitchen.pools[case.kind].append(case.data)
                report.learned += 1
            watch.new = False
            if number % 500 == 499:
                print(f"{number + 1} cases, {report.memory >> 20} MB, slowest {report.slowest:.1f} s", flush=True)
    return report


def _try_case(case: Case, folder: Path, whole: dict[str, bytes], report: Report, watch: Watch) -> str | None:
    """What is wrong with how a case ended."""
    before = whole.get(case.name)
    (folder / case.name).write_bytes(case.data)
    if case.kind == "tune" and _too_long(folder / case.name):
        case = Case(case.kind, case.data, case.name, ["render", "spectrum.onnx", "whole.mid", *SOUNDING])
    began = time.process_time()
    status, out, err = _command(case.arguments, watch)
    seconds = time.process_time() - began
    report.statuses[case.kind, status] += 1
    report.slowest = max(report.slowest, seconds)
    report.memory = max(report.memory, _memory() - report.libraries)
    left = {path.name for path in folder.iterdir()} - whole.keys() - {case.name}
    sizes = [path.stat().st_size for path in folder.glob("new*")]
    for name in left:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if before is not None:
        (folder / case.name).write_bytes(before)
    elif (folder / case.name).exists():
        (folder / case.name).unlink()
    said = [line for line in err.splitlines() if not line.startswith("warning: ")]
    if status not in (0, 1, 2) or "timbrel: internal error" in err or "Traceback" in err or "memory is used up" in err:
        return f"status {status}: {err.strip()[-600:]}"
    faults = [line for line in said if line.startswith("timbrel: ")]
    if faults != said or len(said) > (status != 0 and MOST_FAULTS.get(case.kind, 1)):
        return f"status {status}, said too much: {err.strip()[-600:]}"
    if status == 2 and (not said or (out and case.arguments[0] != "corpus")):
        return f"not one line: {out!r} {err!r}"
    if any(not line.isprintable() for line in err.splitlines()):
        return f"what moves a terminal: {err!r}"
    if (
        left - {"new.wav", "new.toml", "new", "new.png", "new.json"}
        or bool(left) != (status == 0 and "-o" in case.arguments)
        or 0 in sizes
    ):
        return f"status {status}, left behind: {sorted(left)} of {sizes} bytes; {err.strip()[-300:]}"
    if seconds > SECONDS:
        return f"took {seconds:.1f} s"
    if report.memory > BYTES:
        return f"the process took {report.memory >> 20} MB more"
    return None


def _too_long(path: Path) -> bool:
    """True of a tune that lasts long; one that cannot be read is not."""
    with contextlib.suppress(Exception):
        return read_performance(path, 1).length > LONGEST_TUNE_SECONDS
    return False


def _command(arguments: list[str], watch: Watch) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["timbrel", *arguments]
    progress.LOG_SECONDS = progress.SLOW = math.inf  # a busy machine adds no lines
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    faulthandler.dump_traceback_later(CLOCK_SECONDS, exit=True, file=sys.__stderr__)
    sys.settrace(watch.call)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        if end.code in STOPPED:  # it was this whole run that somebody stopped
            raise KeyboardInterrupt from None
        return int(end.code or 0), out.getvalue(), err.getvalue()
    except Slow:
        return -1, out.getvalue(), f"{err.getvalue()}timbrel: internal error: no end after {SECONDS} s"
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    raise AssertionError("a command ends by an exit")


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """In the folder, on one core, with an alarm and bounded room; all is put back."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Slow

    place, arguments, cores = Path.cwd(), sys.argv, os.cpu_count
    limits = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGPROF, ring)
    interrupted = signal.getsignal(signal.SIGINT)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    os.chdir(folder)
    os.cpu_count = lambda: 1  # no process beside this one
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        os.cpu_count = cores
        os.chdir(place)
        sys.argv = arguments
        signal.signal(signal.SIGPROF, old)
        signal.signal(signal.SIGINT, interrupted)


def fuzz(cases: int, seed: int) -> int:
    """Run and print; 1 if anything failed."""
    faulthandler.enable()
    began = time.monotonic()
    kept = Path(tempfile.mkdtemp(prefix="timbrel-fuzz-"))
    with tempfile.TemporaryDirectory() as folder:
        report = run(cases, seed, Path(folder), kept / "failed")
    for (kind, status), count in sorted(report.statuses.items()):
        print(f"{kind:<9}status {status}: {count}")
    print(
        f"{cases} cases of seed {seed} in {time.monotonic() - began:.0f} s: {len(report.faults)} faults, "
        f"slowest {report.slowest:.1f} s, {report.memory / 1e6:.0f} MB besides the libraries' "
        f"{report.libraries / 1e6:.0f}, {report.learned} inputs reached new lines"
    )
    if report.faults:
        print(f"what failed is in {kept / 'failed'}")
    else:
        kept.rmdir()
    return int(bool(report.faults))


if __name__ == "__main__":
    try:
        sys.exit(fuzz(int(sys.argv[1]) if len(sys.argv) > 1 else CASES, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    except KeyboardInterrupt:
        sys.exit("stopped")
