"""Notes from a Ray cluster of two nodes: the same bytes, also when workers and a node are killed."""

import contextlib
from pathlib import Path

import psutil
import pytest

from ..clusters import cluster
from .datasets_of_notes import bytes_of, notes_of, small

pytestmark = pytest.mark.slow
NOTES = 2000
EVERY = 10  # shards after which a worker is killed


def kill_a_worker() -> None:
    for process in psutil.process_iter(["cmdline"]):
        if any(part.startswith("ray::_work_on_node") for part in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                process.kill()
                return


def test_a_cluster_writes_the_same_bytes_though_workers_and_a_node_die(tmp_path: Path) -> None:
    with cluster() as (address, second):
        done: list[float] = []

        def kill(share: float) -> None:
            done.append(share)
            if len(done) % EVERY == 0:
                kill_a_worker()
            if len(done) == NOTES // 64 // 2:
                second.kill()

        shared = small(tmp_path / "shared", NOTES, ray=address, progress=kill)
    assert bytes_of(shared) == bytes_of(small(tmp_path / "alone", NOTES))
    assert len(notes_of(shared)) == NOTES
