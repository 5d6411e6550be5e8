"""A process that plays with a panel, pages that are sockets, and pages in a browser without a screen."""

import asyncio
import contextlib
import functools
import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import psutil
from timbrel.host.events import ParameterChange
from timbrel.host.live import render_loop, session
from timbrel.host.model.map import MAP_KEY, CodeMap
from timbrel.host.model.map_layout import map_of
from timbrel.host.model.model import METADATA_KEY
from timbrel.host.panel import process
from timbrel.host.preset.library import open_model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.session.panel_process import PanelProcess
from timbrel.host.session.takes import Recording

MODEL = "gm-chroma-8"
LATENTS, DOTS = 8, 20_000
VOICES, LOWEST_KEY = 16, 48
PATIENCE_SECONDS = 60.0
HAND = 0.3  # of the plane, that a hand goes to either side of its middle
VIEW = {"width": 1280, "height": 800}
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
# Notes when the page shows its first welcome, each pointer event, each frame of moves that is sent, and each drawing.
NOTES = """
window.noted = [];
window.drawn = [];
const now = () => performance.timeOrigin + performance.now();
new MutationObserver((_, observer) => {
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => (window.shown = performance.now())));
}).observe(document, { subtree: true, attributeFilter: ["data-ready"] });
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
    if (text.includes('"move"')) noted.push([now(), JSON.parse(text).values["latent.0"]]);
    return send.call(this, text);
};
addEventListener("pointerrawupdate", (event) => noted.push([performance.timeOrigin + event.timeStamp, null]), true);
const draw = (moment) => {
    drawn.push(moment);
    requestAnimationFrame(draw);
};
requestAnimationFrame(draw);
"""


def preset_in(folder, moving=False):
    """The path of a preset of a model with a map of so many dots, which lie anywhere; ``moving``: its latents do."""
    import onnx

    model = open_model(shipped_models()[MODEL])
    plane, spans, rng = map_of(model), model.card.latents, np.random.default_rng(0)
    codes = np.stack([rng.uniform(one.low, one.high, DOTS) for one in spans], 1).astype(np.float32)
    label, notes = rng.integers(len(plane.labels), size=DOTS), rng.integers(12, size=DOTS)
    full = CodeMap(
        plane.surface,
        plane.place_of(codes),
        codes,
        notes,
        rng.random(DOTS),
        label,
        plane.labels,
        rng.random(DOTS),
        plane.scale,
    )
    graph = onnx.load(str(model.path))
    kept = {entry.key: entry.value for entry in graph.metadata_props}
    assert METADATA_KEY in kept
    onnx.helper.set_model_props(graph, kept | {MAP_KEY: full.text()})
    onnx.save(graph, str(Path(folder, "dots.onnx")))
    motion = '\n[[motion]]\ntarget = "latent.{}"\nshape = "sine"\nrate_hz = {}\ndepth = 0.3\n'
    motions = [motion.format(number, 0.5 + number / 16) for number in range(LATENTS)] if moving else []
    path = Path(folder, "moving.toml" if moving else "still.toml")
    path.write_text(f'format = 1\nmodel = "dots.onnx"\n[play]\nvoices = {VOICES}\n{"".join(motions)}', encoding="utf-8")
    return str(path)


class Command:
    """The command `timbrel play --panel`, to nowhere, and its panel's process."""

    def __init__(self, preset):
        command = [sys.executable, "-m", "timbrel", "play", preset, "--null", "--plain", "--panel"]
        # Libraries are compiled when they are installed, and timbrel is when it first runs.
        compiling = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._command = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=compiling
        )
        line = next(line for line in self._command.stdout if line.startswith("panel: "))
        self.url = line.removeprefix("panel: ").strip()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._command.send_signal(signal.SIGINT)
        self._command.communicate(timeout=PATIENCE_SECONDS)

    def process(self):
        """The panel's process, which lets others go first; it serves already."""
        children = psutil.Process(self._command.pid).children()
        return next(child for child in children if child.nice() == process.NICE)


def age(process):
    """Seconds since a process began."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


class Playing:
    """A player, in a process of its own, as `timbrel play` does it; a panel, if it has one; and what reached it."""

    def __init__(self, setup, panel=True, receipts=None):
        """``receipts``: a file for the time of each turn of the first latent as the process that sounds gets it."""
        self._receipts = receipts  # exists
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_play, args=(theirs, setup, panel, receipts))
        self._process.start()
        theirs.close()
        self.url = self._pipe.recv()

    def __enter__(self):
        until = time.monotonic() + PATIENCE_SECONDS
        while self.report()[0] is None:
            assert time.monotonic() < until, "nothing plays"
            time.sleep(0.05)
        return self

    def __exit__(self, *error):
        with contextlib.suppress(OSError):
            self._pipe.send("stop")
        self._process.join(PATIENCE_SECONDS)

    def hold(self):
        """Press all the keys that it has voices for."""
        self._pipe.send([(LOWEST_KEY + number, True) for number in range(VOICES)])

    def report(self):
        """The newest report, None before the first, and when underruns were told, by time.perf_counter."""
        self._pipe.send("tell")
        return self._pipe.recv()

    def received(self):
        """Times and values of the turns that came, [turns, 2]."""
        return np.array(Path(self._receipts).read_text(encoding="ascii").split(), float).reshape(-1, 2)


class _Screen:
    """Answers the bench in place of a terminal."""

    def __init__(self, pipe):
        self._pipe, self._report, self._missed = pipe, None, []

    def show(self, report):
        if self._report is not None:
            self._missed += [time.perf_counter()] * (report.underruns - self._report.underruns)
        self._report = report

    def say(self, line):
        pass

    def show_preset_lines(self, lines):
        pass

    def waitables(self):
        return [self._pipe]

    def typed_keys(self):
        typed = []
        while self._pipe.poll(0):
            word = self._pipe.recv()
            if word == "stop":
                return ["quit"]
            if word == "tell":
                self._pipe.send((self._report, self._missed))
            else:
                typed += word
        return typed


def _play(pipe, setup, panel, receipts):
    sys.modules["__main__"] = types.ModuleType("__main__")  # else what begins here would import the bench, and numpy
    if receipts is not None:
        session._sound = functools.partial(_sound, receipts)
    with PanelProcess(process.run) if panel else contextlib.nullcontext() as side:
        pipe.send(side.url() if panel else None)
        if panel:
            side.say = lambda line: None
        session.play(setup, _Screen(pipe), Recording(), False, side)


def _sound(receipts, pipe, setup):
    """The process that sounds; it notes turns of the first latent."""
    from timbrel.host.live.audio_process import run

    play, file = render_loop.ForwardedEvents.play, os.open(receipts, os.O_WRONLY | os.O_APPEND)

    def noting(self, events):
        now = time.time()
        for event in events:
            if isinstance(event, ParameterChange) and event.target == "latent.0":
                os.write(file, f"{now!r} {event.value!r}\n".encode())  # at once: the process ends without warning
        play(self, events)

    render_loop.ForwardedEvents.play = noting
    run(pipe, setup)


class Socket:
    """A page that is a socket: it moves some latents evenly, and notes when meters come."""

    def __init__(self, url, moved=(), rate=0.0, meters=None, together=False, spectrum=False):
        """``moved``: numbers of latents, at ``rate`` frames a second, one a frame in turn or all ``together``."""
        self._address, _, self._token = url.removeprefix("http://").partition("/#")
        self._targets, self._rate, self._together = [f"latent.{number}" for number in moved], rate, together
        self._meters, self._spectrum, self.sent = meters, spectrum, []

    async def run(self, seconds):
        """Be there for so long."""
        from websockets.asyncio.client import connect

        origin = f"http://{self._address}"
        async with connect(f"ws://{self._address}/socket", origin=origin, max_size=None, compression=None) as socket:
            await socket.send(json.dumps({"t": "hello", "token": self._token}))
            while json.loads(await socket.recv())["t"] != "welcome":
                pass
            await socket.send(json.dumps({"t": "spectrum", "on": self._spectrum}))
            reading = asyncio.create_task(self._read(socket))
            await self._move(socket, seconds)
            reading.cancel()

    async def _read(self, socket):
        async for message in socket:
            if self._meters is not None and isinstance(message, str) and message.startswith('{"t": "meters"'):
                self._meters.append(time.perf_counter())

    async def _move(self, socket, seconds):
        began, count = time.perf_counter(), 0
        if self._targets:
            await socket.send(json.dumps({"t": "grab", "targets": self._targets}))
        while (left := began + seconds - time.perf_counter()) > 0:
            if not self._targets:
                await asyncio.sleep(left)
                continue
            value = 0.5 + 0.3 * math.sin(count / 40)
            chosen = self._targets if self._together else [self._targets[count % len(self._targets)]]
            self.sent.append(time.time())
            await socket.send(json.dumps({"t": "move", "values": dict.fromkeys(chosen, value)}))
            count += 1
            await asyncio.sleep(max(0.0, began + count / self._rate - time.perf_counter()))


def run(sockets, seconds):
    """Let sockets be there together."""

    async def together():
        await asyncio.gather(*(socket.run(seconds) for socket in sockets))

    asyncio.run(together())


@contextlib.contextmanager
def browser():
    """A Chromium without a screen; None where there is none."""
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        yield None
        return
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def page_of(chromium, url):
    """A page that shows a preset and its map, in a context of its own; it keeps `NOTES`."""
    context = chromium.new_context(viewport=VIEW)
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    page = context.new_page()
    page.add_init_script(NOTES)
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    page.wait_for_selector("#no-map", state="hidden")
    yield page
    context.close()


def drag(page, seconds):
    """Drag the point about the map for a while."""
    box = page.locator("#point").bounding_box()

    def to(angle):
        across, down = math.sin(angle), math.sin(1.7 * angle)
        x, y = (box["x"] + box["width"] * (0.5 + HAND * across), box["y"] + box["height"] * (0.5 + HAND * down))
        page.mouse.move(x, y)

    began = time.perf_counter()
    to(0.0)
    page.mouse.down()
    while (gone := time.perf_counter() - began) < seconds:
        to(1.5 * gone)
    page.mouse.up()


def skew(page):
    """Seconds by which the page's clock is ahead of ours, of the quickest of some questions."""
    trips = []
    for _ in range(30):
        before = time.time()
        there = page.evaluate("performance.timeOrigin + performance.now()") / 1000
        after = time.time()
        trips.append((after - before, there - (before + after) / 2))
    return min(trips)[1]
