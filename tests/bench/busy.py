"""Training and rendering beside other work: what `timbrel` does by itself against one thread, or process, in turns.

Beside 0, 1 and 2 processes that do nothing but keep a processor busy, each in a session of its own as a desktop's
programs are, and beside one that begins midway. Each side is a process that trains the same recipe and pauses while
the other has its turn. `torch's own` is all threads at all times, which wait in spins: what torch does by itself.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

RECIPE, ROUNDS, SECONDS = "tuned-8", 5, 5.0
MIDWAY_SECONDS = 0.7  # of a render that takes one process some two seconds
SIDES = {  # what each is started with
    "by itself": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "torch's own": {"OMP_NUM_THREADS": str(os.cpu_count())},
}


# A bench that is killed takes it along.
SPIN = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(10**6): pass"


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Beside that many processes that never wait."""
    spinning = [
        subprocess.Popen([sys.executable, "-c", SPIN, str(os.getpid())], start_new_session=True) for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def side(folder: Path) -> None:
    """Train for as many seconds as each line of the input says, and print examples a second."""
    from timbrel.train import launch, loop
    from timbrel.train.families.recipes import load_recipe

    agreed, turn = loop._Loop._agreed_progress, [0.0, 0.0, 0]  # since, until, step

    def paused(self: loop._Loop, *arguments: object) -> tuple[float, bool]:
        now = time.perf_counter()
        if now >= turn[1]:
            print((self.progress.step - turn[2]) * self.batch / (now - turn[0]), flush=True)
            seconds = float(sys.stdin.readline() or "nan")
            now = time.perf_counter()
            turn[:] = now, now + seconds, self.progress.step
            return 0.0, seconds != seconds  # no more lines: stop
        return agreed(self, *arguments)

    loop._Loop._agreed_progress = paused
    recipe = load_recipe(RECIPE, ["training.minutes=1000"])
    launch.start(recipe, folder / "corpus", folder / str(os.getpid()), loop.RunOptions(accelerator="cpu"))


def turn(process: "subprocess.Popen[str]", seconds: float) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def midway(process: "subprocess.Popen[str]", seconds: float) -> float:
    """A turn of twice the length; halfway a busy process begins."""
    first = turn(process, seconds)
    with busy(1):
        return (first + turn(process, seconds)) / 2


def show(label: str, rows: list[list[float]]) -> None:
    own, one, torchs = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio, best, worst = (f([row[0] / row[1] for row in rows]) for f in (statistics.median, max, min))
    print(
        f"{label:<24}{own:10.0f}{one:12.0f}{torchs:13.0f}   {ratio:.2f} ({worst:.2f} to {best:.2f}) x one thread",
        flush=True,
    )


def training(folder: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, __file__, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    sides = [subprocess.Popen(command, env=plain | given, **pipes) for given in SIDES.values()]  # type: ignore[call-overload]
    for process in sides:
        process.stdout.readline()  # it is ready
    print(f"train {RECIPE}, examples/s    " + "  ".join(SIDES))
    for count in (0, 1, 2):
        with busy(count):
            show(f"beside {count} busy", [[turn(process, SECONDS) for process in sides] for _ in range(ROUNDS)])
    show("one begins midway", [[midway(process, SECONDS) for process in sides] for _ in range(ROUNDS)])
    for process in sides:
        process.communicate()


def rendering() -> None:
    """A minute of eight voices, as many processes as there are processors against one."""
    from offline import host, performance
    from timbrel.host.play.voices import PARTS
    from timbrel.host.processors import FreeProcessors

    played = performance()

    def together() -> float:
        began = time.perf_counter()
        free = FreeProcessors().count()  # as the command asks
        return time.perf_counter() - began + host(played, "coherent", min(PARTS, free))

    def alone() -> float:
        return host(played, "coherent", 1)

    def midway(run: Callable[[], float]) -> float:
        with begins_later(MIDWAY_SECONDS):
            return run()

    print("render, seconds           by itself  one process")
    for count in (0, 1, 2):
        with busy(count):
            show_render(f"beside {count} busy", [(together(), alone()) for _ in range(ROUNDS)])
    show_render("one begins midway", [(midway(together), midway(alone)) for _ in range(ROUNDS)])


@contextlib.contextmanager
def begins_later(seconds: float) -> Iterator[None]:
    """Beside a process that is idle at first, and then never waits."""
    program = f"import time; time.sleep({seconds})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def show_render(label: str, rows: list[tuple[float, float]]) -> None:
    own, one = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = [row[1] / row[0] for row in rows]
    middle = statistics.median(ratios)
    print(f"{label:<24}{own:10.2f}{one:12.2f}   {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) x as fast as one")


def main() -> None:
    from training import corpus

    rendering()
    with tempfile.TemporaryDirectory() as name:
        corpus(Path(name))
        training(Path(name))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        side(Path(sys.argv[1]))
    else:
        main()
