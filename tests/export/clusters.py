"""Ray clusters of two nodes on this machine, for slow tests."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

RAY = str(Path(sys.executable).with_name("ray"))


def start(ray: Sequence[str], *options: str) -> list[psutil.Process]:
    """Start a node of one processor; return its processes, the raylet first."""
    before = {process.pid for process in psutil.process_iter()}
    command = [*ray, "start", "--num-cpus", "1", "--disable-usage-stats", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    new = [process for process in psutil.process_iter(["name"]) if process.pid not in before and _is_ray(process)]
    return sorted(new, key=lambda process: process.info["name"] != "raylet")


def _is_ray(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("/ray/" in part for part in process.cmdline())
    return False


def killing(node: psutil.Process, call: int) -> Callable[..., None]:
    """Return a callback for progress that kills a node at its call of this number, from 1 on."""
    shares: list[float] = []

    def kill(share: float, *_: str) -> None:
        shares.append(share)
        if len(shares) == call:
            node.kill()

    return kill


@contextlib.contextmanager
def cluster(ray: Sequence[str] = (RAY,)) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address of a cluster of two nodes, and the second one's process; ``ray`` is the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = start(ray, "--head", "--include-dashboard", "false", "--port", address.rpartition(":")[2])
    try:
        second = start(ray, "--address", address)
        processes += second
        yield address, second[0]
    finally:
        with contextlib.suppress(psutil.Error):
            processes += [child for process in processes for child in process.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
