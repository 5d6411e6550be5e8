"""Builds of corpora that are stopped or killed, run in another process, and compared by their bytes."""

import subprocess
import sys

from timbrel.train.corpus.build import build
from timbrel.train.corpus.store import Corpus

ONE_SPLIT = {"split": "1/0/0"}
STOPPED_SHARE = 0.65  # of the sounds, in the middle of a build in chunks of two or three
PROGRAM = f"""
import os, signal, sys
from pathlib import Path
from timbrel.train.corpus import chunks
from timbrel.train.corpus.build import build

def kill(share, name):
    if share > {STOPPED_SHARE}:
        os.kill(os.getpid(), signal.SIGKILL)

source, folder, chunk_files, ending = sys.argv[1:]
chunks.CHUNK_FILES = int(chunk_files)
options = {{"progress": kill}} if ending == "killed" else {{"workers": 2}}
build([Path(source)], Path(folder), name="c", **options)
"""


def corpus_of(folder, *sources, **options):
    build([*sources], folder, **ONE_SPLIT, **options)
    return Corpus.open(folder)


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stopping(share):
    """Return a callback that stops a build as Ctrl-C does, behind a share of its sounds."""

    def stop(done, name):
        if done >= share:
            raise KeyboardInterrupt

    return stop


def kill_build(source, folder, chunk_files):
    """Kill a build in a process of its own; its corpus is named c."""
    command = [sys.executable, "-c", PROGRAM, source, folder, str(chunk_files), "killed"]
    assert subprocess.run(command, check=False).returncode == -9


def build_in_two_processes(source, folder, chunk_files):
    """Build a corpus named c; the processes receive their chunks of so many files."""
    subprocess.run([sys.executable, "-c", PROGRAM, source, folder, str(chunk_files), "whole"], check=True)
