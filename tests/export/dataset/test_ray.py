"""A Ray cluster of two nodes on this machine: the same bytes, also when one of them is killed."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .datasets_of_notes import bytes_of, notes_of, small

pytestmark = pytest.mark.slow
RAY = str(Path(sys.executable).with_name("ray"))
NOTES = 2000


def start(*options: str) -> list[psutil.Process]:
    """Start a node; return its processes, the raylet first."""
    before = {process.pid for process in psutil.process_iter()}
    subprocess.run(
        [RAY, "start", "--num-cpus", "1", "--disable-usage-stats", *options],
        check=True,
        capture_output=True,
        timeout=120,
    )
    new = [process for process in psutil.process_iter(["name"]) if process.pid not in before and is_ray(process)]
    return sorted(new, key=lambda process: process.info["name"] != "raylet")


def is_ray(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("/ray/" in part for part in process.cmdline())
    return False


@pytest.fixture
def nodes() -> Iterator[tuple[str, psutil.Process]]:
    """The address of a cluster of two nodes, and the second one's process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = start("--head", "--include-dashboard", "false", "--port", address.rpartition(":")[2])
    try:
        second = start("--address", address)
        processes += second
        yield address, second[0]
    finally:
        with contextlib.suppress(psutil.Error):
            processes += [child for process in processes for child in process.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()


def test_a_cluster_writes_the_same_bytes_though_a_node_dies(nodes: tuple[str, psutil.Process], tmp_path: Path) -> None:
    address, second = nodes
    killed: list[float] = []

    def kill(done: float) -> None:
        if done > 0.3 and not killed:
            second.kill()
            killed.append(done)

    shared = small(tmp_path / "shared", NOTES, ray=address, progress=kill)
    assert killed
    assert bytes_of(shared) == bytes_of(small(tmp_path / "alone", NOTES))
    assert len(notes_of(shared)) == NOTES
