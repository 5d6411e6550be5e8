"""`timbrel play` over JACK: what is sent to it, and what is heard of it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from ...patience import PATIENCE_SECONDS

realtime = pytest.mark.realtime  # what else a machine does is heard here as gaps and late notes
PRESET = """format = 1
model = "gm-chroma-8"
[play]
voices = 24
[envelope]
attack_seconds = 0.001
release_seconds = 0.005
[[cc]]
number = 70
target = "latent.0"
low = 0.0
high = 1.0
"""


class Played:
    """`timbrel play`, or another script that plays, and what it says."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.lines, self.said = [], []
        self.counts = []  # of underruns, as lines say them: (time.perf_counter(), how many)
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.said))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines):
        for line in iter(stream.readline, ""):
            if count := re.search(r"underruns (\d+)", line):
                self.counts.append((time.perf_counter(), int(count[1])))
            lines.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.end(signal.SIGTERM)

    def end(self, number):
        """Seconds until it has ended by a signal."""
        began = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        seconds = time.monotonic() - began
        for reader in self._readers:
            reader.join(PATIENCE_SECONDS)
        return seconds

    def underruns(self):
        """The newest count that it gives."""
        self.wait_line(len(self.lines) + 1)
        return int(re.search(r"underruns (\d+)", self.lines[-1])[1])

    def wait_line(self, count, seconds=PATIENCE_SECONDS):
        until = time.monotonic() + seconds
        while len(self.lines) < count:
            assert time.monotonic() < until, f"no line: {self.lines} {self.said}"
            time.sleep(0.01)

    def wait_said(self, pattern, seconds=PATIENCE_SECONDS):
        until = time.monotonic() + seconds
        while not any(re.search(pattern, line) for line in self.said):
            assert time.monotonic() < until, f"never said {pattern!r}: {self.said}"
            time.sleep(0.01)


def play(preset, *options):
    return Played("-m", "timbrel", "play", preset, "--plain", "--midi-port", "virtual", *options)


def on(frame, key, velocity=100):
    return frame, bytes([0x90, key, velocity])


def off(frame, key):
    return frame, bytes([0x80, key, 0])


def control(frame, number, value):
    return frame, bytes([0xB0, number, value])
