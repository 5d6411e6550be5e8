"""Arrays that grow in files."""

import numpy as np
import pytest
from timbrel.host.errors import Failure
from timbrel.train.corpus.clip_table import ColumnFile, release


def test_an_array_grows_and_leaves_no_file(tmp_path):
    with ColumnFile(tmp_path, "<i4") as column:
        column.append(np.arange(5))
        column.append(np.arange(3))
        found = column.mapped()
    assert found.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert found.dtype == np.int32
    release(found, np.zeros(3))
    assert found.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_an_empty_array(tmp_path):
    with ColumnFile(tmp_path, "<f4") as column:
        assert column.mapped().shape == (0,)


def test_a_full_disk_is_a_failure(tmp_path):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with ColumnFile(tmp_path, "<f8") as column, pytest.raises(Failure, match=r"cannot list frames in .*make room"):
            column.append(np.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
