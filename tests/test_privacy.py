"""No command connects to the internet, nor writes to the folder of onnxruntime's telemetry."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from .host.panel.client import Client
from .host.plugin.fake import FakePlugin
from .pantry import midi
from .patience import PATIENCE_SECONDS

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="no strace; install it: apt install strace")
DNS_PORT = 53
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\), (?:sin_addr=inet_addr\("(.*?)"|.*?inet_pton\(AF_INET6, "(.*?)")')
TRACED = """#!/bin/sh
exec strace -D -f --seccomp-bpf -e trace=connect,sendto,sendmsg,sendmmsg -o "$0.log" '{python}' "$@"
"""
CONNECTS = "import socket; socket.socket({family}, socket.SOCK_DGRAM).connect(('{address}', {port}))"  # sends nothing


class Tracer:
    """Runs Python programs under strace, and lists where they and their children connect."""

    def __init__(self, folder):
        self.folder, self.logs = folder, []

    def python(self):
        """Return a program to be run once; its process becomes Python's."""
        path = self.folder / f"python-{len(self.logs)}"
        path.write_text(TRACED.format(python=sys.executable))
        path.chmod(0o755)
        self.logs.append(Path(f"{path}.log"))
        return path

    def start(self, *arguments):
        """Start Python."""
        return subprocess.Popen(
            [self.python(), *map(str, arguments)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def away(self):
        """Return the system calls that name a DNS server or an address beyond loopback, of programs that have ended."""
        found = []
        for log in self.logs:
            until = time.monotonic() + PATIENCE_SECONDS
            while not ended(text := log.read_text()):
                assert time.monotonic() < until, f"the end is missing: {text[-500:]}"
                time.sleep(0.02)
            found += [line for line in text.splitlines() if leads_away(line)]
        return found


def ended(log):
    """Return whether every process that strace's log names has ended."""
    processes = {line.split()[0] for line in log.splitlines()}
    return bool(processes) and processes == set(re.findall(r"^(\d+) +\+\+\+ ", log, re.MULTILINE))


def leads_away(call):
    """Return whether strace's line of a system call names a DNS server or an address beyond loopback."""
    return any(
        int(port) == DNS_PORT or not re.match(r"127\.|::1$|::ffff:127\.", v4 or v6)
        for port, v4, v6 in ADDRESS.findall(call)
    )


def well(process):
    """Wait for the end of a program, which is to end well."""
    said = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 0, said


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and an environment that says nothing of telemetry, screens or JACK's servers."""
    for name in os.environ:
        if name.startswith("XDG_") or name in ("DISPLAY", "WAYLAND_DISPLAY", "ORT_DISABLE_TELEMETRY"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "timbrel_there_is_none")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    return home


@pytest.fixture
def tracer(tmp_path, home):
    tracer = Tracer(tmp_path)
    tried = tracer.start("-c", "")
    if tried.wait(PATIENCE_SECONDS):
        pytest.skip(f"strace may not trace here: {tried.communicate()[0].strip()}")
    return tracer


@pytest.mark.parametrize(
    ("family", "address", "port", "away"),
    [
        ("socket.AF_INET", "192.0.2.1", 9, 1),
        ("socket.AF_INET", "127.0.0.53", 53, 1),
        ("socket.AF_INET", "127.0.0.1", 9, 0),
        ("socket.AF_INET6", "::1", 9, 0),
        ("socket.AF_INET6", "::ffff:192.0.2.1", 9, 1),
    ],
)
def test_what_leads_away_is_noticed(tracer, family, address, port, away):
    well(tracer.start("-c", CONNECTS.format(family=family, address=address, port=port)))
    assert len(tracer.away()) == away


def test_commands_the_panel_and_a_plugins_server_connect_nowhere_and_keep_no_telemetry(tracer, home, tmp_path):
    (tmp_path / "note.mid").write_bytes(midi())
    render = tracer.start("-m", "timbrel", "render", "gm-keys", "note.mid", "-o", "note.wav")
    play = tracer.start("-m", "timbrel", "play", "digits-keys", "--null", "--plain", "--panel")
    plugin = FakePlugin(tracer.python())
    plugin.load("drum-kit")  # a process of its own decodes clips
    plugin.bounce([], 2048, [1024])
    assert plugin.close() == 0, plugin.logged()
    line = next(line for line in play.stdout if line.startswith("panel: "))
    port, token = line.removeprefix("panel: http://127.0.0.1:").strip().split("/#")
    with Client(SimpleNamespace(port=int(port), token=token)) as page:
        page.see("preset", lambda preset: preset["name"] == "digits-keys")
    play.send_signal(signal.SIGINT)
    play.communicate(timeout=PATIENCE_SECONDS)
    well(render)
    assert (tmp_path / "note.wav").exists()
    assert tracer.away() == []
    assert list(home.rglob("*onnxruntime*")) == []


@pytest.mark.slow
def test_an_instrument_is_made_without_a_connection_or_telemetry(tracer, home, tones):
    well(tracer.start("-m", "timbrel", "make", tones, "-o", "instrument", "--minutes", "0.2"))
    assert tracer.away() == []
    assert list(home.rglob("*onnxruntime*")) == []
