"""Notes from a Ray cluster of two nodes: the same bytes, also when one of them is killed."""

from pathlib import Path

import pytest

from ..clusters import cluster
from .datasets_of_notes import bytes_of, notes_of, small

pytestmark = pytest.mark.slow
NOTES = 2000


def test_a_cluster_writes_the_same_bytes_though_a_node_dies(tmp_path: Path) -> None:
    with cluster() as (address, second):
        killed: list[float] = []

        def kill(done: float) -> None:
            if done > 0.3 and not killed:
                second.kill()
                killed.append(done)

        shared = small(tmp_path / "shared", NOTES, ray=address, progress=kill)
    assert killed
    assert bytes_of(shared) == bytes_of(small(tmp_path / "alone", NOTES))
    assert len(notes_of(shared)) == NOTES
