"""A browser without a screen, and a host whose side of the socket is played by the test."""

import functools
import json
import shutil
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ....patience import PATIENCE_SECONDS

PAGE = Path(__file__).parents[4] / "host" / "panel" / "page"
ADDRESS = "http://panel.test"  # nowhere: each request is answered from PAGE
TOKEN = "a-token"
FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-site-isolation-trials",
    "--renderer-process-limit=1",
]
BROWSERS = {
    "chromium": (("chromium-headless-shell", "chromium"), "chromium-headless-shell"),
    "firefox": (("firefox-esr", "firefox"), "firefox-esr"),
}
FIREFOX = Path(__file__).with_name("stock_firefox.py")
KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'none'"
)
# In a page a test alone lets time pass: `beat()` is the next beat of its link.
STILL = "window.setInterval = (beat) => { window.beat = beat; return 1; };"
# Most tests look at a browser that remembers all groups of controls as open.
OPENED = (
    'try { localStorage.setItem(\'timbrel.opened\', \'["latent", "gain", "play", "envelope", "effects"]\'); } catch {}'
)
LABELS = ["Violin", "Oboe", "Church Organ"]
SIDE, LATENTS, COLUMNS, DOTS = 8, 3, 16, 160


SESSION = {
    "ports": [],
    "channel": None,
    "block": 128,
    "lowest_latency": False,
    "restarting": False,
    "recording": "off",
    "seconds": 0,
    "files": [],
}


def control(target, title, group, low, high, default, unit="", **others):
    form = {"effect": None, "log": False, "maps": [], "moving": False, "value": default, **others}
    return dict(target=target, title=title, group=group, low=low, high=high, default=default, unit=unit, **form)


def bound(source, takeover, low, high, curve=1, channel=None):
    return {"source": source, "takeover": takeover, "low": low, "high": high, "curve": curve, "channel": channel}


def state():
    latents = [
        {"title": f"Latent {i}", "low": -1, "high": 1, "default": 0, "mean": 0, "std": 0.5} for i in range(LATENTS)
    ]
    return {
        "model": {
            "name": "small",
            "kind": "spectrum",
            "description": "Three latents.",
            "latents": latents,
            "card": [["licence", "MIT"]],
        },
        "preset": {
            "name": "mine",
            "description": "",
            "dirty": False,
            "can_undo": False,
            "can_redo": False,
            "side": "A",
            "warnings": [],
            "motion": False,
            "path": None,
        },
        "controls": [
            *(control(f"latent.{i}", f"Latent {i}", "latent", -1, 1, 0) for i in range(LATENTS)),
            control(
                "gain",
                "Gain",
                "play",
                -60,
                12,
                -6,
                "dB",
                maps=[bound("CC 7", "pickup", -60, 0)],
            ),
            control("envelope.attack_seconds", "Attack", "envelope", 0.001, 10, 0.01, "s", log=True),
            control("effects.0.room_size", "Room size", "effects", 0, 1, 0.5, effect=0),
        ],
        "waiting": {},
        "effects": [{"index": 0, "plugin": "Reverb", "title": "Reverb", "on": True}],
        "available_effects": ["Chorus", "Reverb"],
        "map": {"side": SIDE, "labels": LABELS},
        "keys": {"low": 0, "high": 127, "center": 60, "silent": [], "labels": {}},
        "learn": {"target": None, "said": ""},
        "hold": False,
        "session": SESSION,
        "sound": {"device": "Solo (ALSA)", "rate": 48000, "block": 128, "ports": ["Keys"], "away": False},
    }


class Plane:
    """A map made by hand: a surface that curves, and dots with codes that lie beside it."""

    def __init__(self):
        random = np.random.default_rng(0)
        x, y = np.meshgrid(np.linspace(0, 1, SIDE), np.linspace(0, 1, SIDE))
        self.surface = np.stack([x - 0.5, y - 0.5, np.sin(3 * x * y) / 2], -1).astype("<f4")
        places = (0.1 + 0.8 * (np.stack([np.arange(DOTS) % COLUMNS, np.arange(DOTS) // COLUMNS], 1) / (15, 9))).astype(
            "<f4"
        )
        self.places, self.codes = places, random.uniform(-0.9, 0.9, (DOTS, LATENTS)).astype("<f4")
        self.labels = np.arange(DOTS, dtype="<i4") % len(LABELS)
        self.notes, self.loudness = (np.arange(DOTS) % 12).astype("<f4"), np.linspace(1, 0, DOTS).astype("<f4")
        self.scale = np.full(LATENTS, 2, "<f4")

    def frame(self):
        brightness = np.linspace(0, 1, DOTS).astype("<f4")
        parts = [self.surface, self.places, self.codes, self.notes, brightness, self.labels, self.loudness, self.scale]
        return struct.pack("<4I", SIDE, LATENTS, DOTS, 0) + b"".join(part.tobytes() for part in parts)


class Host:
    """A page, the words that it said, and what it is told."""

    def __init__(self, context):
        self.said, self.troubles, self.sockets, self.elsewhere = [], [], [], []
        self.plane, self.state, self.refuses, self.hangs, self._number = Plane(), state(), False, False, 0
        context.add_init_script(STILL + OPENED)
        context.route("**/*", self._answer)
        context.route_web_socket("**/socket", self._open)
        self.page = context.new_page()
        self.page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

    def _answer(self, route):
        url = route.request.url
        if not url.startswith(ADDRESS + "/"):
            self.elsewhere.append(url)
            route.abort()
            return
        path = PAGE / (url.removeprefix(ADDRESS + "/").partition("?")[0] or "index.html")
        kind = KINDS[path.suffix]
        route.fulfill(body=path.read_bytes(), headers={"Content-Type": kind, "Content-Security-Policy": POLICY})

    def _open(self, socket):
        if self.refuses:
            socket.close(code=1012)
            return
        self.sockets.append(socket)
        socket.on_message(lambda text: self._hear(socket, json.loads(text)))

    def _hear(self, socket, word):
        if self.hangs:
            return
        if word["t"] == "ping":
            socket.send(json.dumps({"t": "pong", "at": word["at"]}))
            return
        self.said.append(word)
        if word["t"] in ("move", "set"):
            self.tell(t="values", values=word["values"])
        if word["t"] != "hello":
            return
        if word["token"] != TOKEN:
            socket.close(code=4401)
            return
        socket.send(json.dumps({"t": "welcome", "page": 1, "version": "1", "state": self.state}))
        if self.state["map"]:
            socket.send(self.plane.frame())

    def open(self, token=TOKEN):
        self.page.goto(f"{ADDRESS}/#{token}")
        if token == TOKEN:
            self.page.wait_for_selector("body[data-ready]")
        return self.page

    def tell(self, **message):
        if message["t"] == "values":
            self._number += 1
            message["n"] = self._number
        self.sockets[-1].send(json.dumps(message))

    def meters(self, **others):
        usual = {
            "peaks_db": [-12.0, -18.0],
            "spectrum_db": [],
            "load": [0.3, 0.5],
            "underruns": 0,
            "voices": 1,
            "shed": 0,
            "held": [],
            "sounding": [],
            "limited": 0.0,
        }
        self.tell(t="meters", latency={"card": 5.0, "block": 2.5}, measured_ms=9.0, code=[0, 0, 0], **usual | others)

    def words(self, *kinds):
        """Return what was said of these kinds, in order."""
        return [word for word in self.said if word["t"] in kinds]

    def until(self, holds):
        """Wait until something holds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < end, f"the page said {self.said}"
            self.page.wait_for_timeout(5)


@pytest.fixture(scope="session")
def launched(tmp_path_factory):
    """The function that gives a browser without a screen by its name; it starts when it is first asked for."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test installs it")

    @functools.cache
    def launch(name):
        names, package = BROWSERS[name]
        path = next(filter(None, map(shutil.which, names)), None)
        if path is None:
            pytest.skip(f"needs {name.capitalize()}: apt-get install {package}")
        if name == "chromium":
            return playwright.chromium.launch(executable_path=path, args=FLAGS)
        script = tmp_path_factory.mktemp("firefox") / "firefox"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FIREFOX}" "{path}" "$@"\n')
        script.chmod(0o700)
        return playwright.firefox.launch(executable_path=script, channel="moz-firefox")

    with sync_api.sync_playwright() as playwright:
        yield launch


@pytest.fixture
def browser(request, launched):
    """Chromium, or the browser that a test names."""
    return launched(getattr(request, "param", "chromium"))


@pytest.fixture
def host(browser):
    """A host with a page that is not open yet; no test may leave an error in its console or ask another host."""
    touch = {"has_touch": True} if browser.browser_type.name == "chromium" else {}  # Firefox has none without a screen
    context = browser.new_context(viewport={"width": 1280, "height": 1200}, **touch)
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    found = Host(context)
    yield found
    context.close()
    assert found.troubles == []
    assert found.elsewhere == []
