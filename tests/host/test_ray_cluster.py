"""The cluster that `--ray auto` chooses."""

import os
import sys

import pytest
from timbrel.host import workers


@pytest.fixture
def address_file(tmp_path, monkeypatch):
    """The file in which Ray writes its cluster's address, for this user."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    file = tmp_path / "ray" / "ray_current_cluster"
    file.write_text("127.0.0.1:6399\n", encoding="utf-8")
    return file


def test_auto_is_the_cluster_that_this_user_started(address_file):
    assert workers.current_address() == "127.0.0.1:6399"


@pytest.mark.skipif(sys.platform == "win32", reason="files have no owner's number there")
def test_auto_is_never_the_cluster_of_another_user(address_file, monkeypatch):
    owner = address_file.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    if owner == 0:  # root's counts for all
        monkeypatch.setattr(workers, "ROOT", -1)
    with pytest.raises(ValueError, match=r"is another user's; give HOST:PORT if you trust that cluster"):
        workers.current_address()


@pytest.mark.skipif(sys.platform == "win32", reason="files have no owner's number there")
def test_a_link_to_a_file_of_ones_own_counts_as_its_makers(address_file, monkeypatch):
    """A link of another user may point to any file of mine: the link's owner counts."""
    target = address_file.rename(address_file.with_name("mine"))
    address_file.symlink_to(target)
    seen = []
    monkeypatch.setattr(type(target), "lstat", lambda path: seen.append(path) or os.lstat(path))
    workers.current_address()
    assert address_file in seen


def test_auto_without_a_cluster_says_so(address_file):
    address_file.unlink()
    with pytest.raises(ValueError, match="none was started on this machine"):
        workers.current_address()
