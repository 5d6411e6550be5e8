"""The panel: its start, size, memory and processor time, hands on its map, a thousand moves a second, and underruns.

Rows end with what is asked of the panel. The map of the model that plays has 20 000 dots, which lie anywhere. What
needs a browser wants chromium-headless-shell and playwright, and what is told of underruns wants JACK. A pointer event
has reached the process that sounds when that has a turn which the page sent after it: times are the browser's own of
the event, and the system's clock there, whose difference is measured. The rows of underruns are of minutes in turns, in
each of which all voices sound and all latents move; in every other one a page is open, and a hand drags on its map.
"""

import argparse
import contextlib
import http.client
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from jack_rig import CARD, RATE, Stalls, beside, in_words, jack_server, may_hurry, need
from panel_rig import DOTS, LATENTS, Command, Playing, Socket, age, browser, drag, page_of, preset_in, run, skew
from timbrel.host.session.messages import Setup

PAGE = Path(__file__).parents[2] / "host" / "panel" / "page"
ROUNDS = 9
BLOCK = 128
HAND_SECONDS, HAND_RATE = 10.0, 60.0  # a second
MOVES_A_SECOND = 1000
MOVERS = 4  # pages: one may say 400 words a second
SETTLING_SECONDS = 2.0
PIECE_SECONDS = 60.0
CLOCKS_SECONDS = 0.005  # by which the two clocks may differ after all
LOST_SECONDS = 1.0  # after which a move that was sent was replaced by a later one on its way


def row(name, figures, asked=""):
    """Print a row as the documents have them."""
    print(f"    {name:<36}{figures}{f'   (asked: {asked})' if asked else ''}".rstrip(), flush=True)


def spread(seconds, *percents):
    """Percentiles in milliseconds, in words."""
    names = {50: "median", 100: "most"}
    figures = (f"{names.get(one, f'p{one}')} {1000 * np.percentile(seconds, one):.1f}" for one in percents)
    return f"{'  '.join(figures)} ms"


def fetched(port, path):
    """The bytes of a file as the panel sends it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/{path}", headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, (path, answer.status)
    return body


def port_of(url):
    return int(url.split("/")[2].split(":")[1])


def start(preset):
    """Seconds from the beginning of the panel's process to its page."""
    with Command(preset) as playing:
        fetched(port_of(playing.url), "")
        return age(playing.process())


def assets(port):
    """The page's own files, in kB on disk and as they are sent."""
    files = [path for path in PAGE.iterdir() if path.is_file() and path.suffix != ".py"]
    sent = sum(len(fetched(port, path.name)) for path in files)
    return f"{sum(path.stat().st_size for path in files) / 1000:.0f} kB on disk, {sent / 1000:.0f} kB sent"


def share(process, page):
    """Measure how much of a core a process takes while a page is there."""
    before, began = process.cpu_times(), time.perf_counter()
    run([page], HAND_SECONDS)
    after, seconds = process.cpu_times(), time.perf_counter() - began
    return (after.user + after.system - before.user - before.system) / seconds


def memory(process):
    """Resident memory of a process, what of it is a part of its own, and what is its own alone."""
    full = process.memory_full_info()
    return ", ".join(f"{name.upper()} {getattr(full, name) / 1e6:.0f} MB" for name in ("rss", "pss", "uss"))


def flood(playing):
    """A thousand moves a second: meters come on time, and nothing is late in the end."""
    meters, before = [], playing.report()[0].underruns
    movers = [Socket(playing.url, [number], MOVES_A_SECOND / MOVERS) for number in range(MOVERS)]
    known = len(playing.received())
    run([Socket(playing.url, meters=meters), *movers], HAND_SECONDS)
    gaps = np.diff(meters)
    moves, underruns = sum(len(mover.sent) for mover in movers), playing.report()[0].underruns - before
    late = playing.received()[-1, 0] - movers[0].sent[-1]
    row(
        f"{moves / HAND_SECONDS:.0f} moves a second, {HAND_SECONDS:g} s",
        f"meters every {spread(gaps, 50, 99, 100)}, underruns {underruns}",
        "reports on time",
    )
    turns = len(playing.received()) - known
    row("", f"{turns} of {len(movers[0].sent)} moves of a latent came, the last after {1000 * late:.1f} ms", "no queue")


def waits(noted, received, ahead):
    """Seconds from pointer events to the frame that the page sent after each, and on to the turn that it brought.

    Turns may be replaced by later ones on their way: then that of the next frame is waited for. [events, 2]
    """
    found, events, next_turn = [], [], 0
    for moment, value in noted:
        moment = moment / 1000 - ahead
        if value is None:
            events.append([moment, None])
            continue
        events = [[event, sent or moment] for event, sent in events]
        for turn in range(next_turn, len(received)):
            if received[turn, 0] > moment + LOST_SECONDS:
                break
            if received[turn, 1] == value and received[turn, 0] >= moment - CLOCKS_SECONDS:
                found += [(sent - event, received[turn, 0] - sent) for event, sent in events]
                next_turn, events = turn + 1, []
                break
    return np.array(found)


def command(preset):
    """The command itself: its start, sizes, memory, processor time."""
    starts = [start(preset) for _ in range(ROUNDS)]
    row("panel up", f"median {median(starts):.2f} s, slowest {max(starts):.2f}", ".5 s")
    with Command(preset) as playing:
        row("own assets", assets(port_of(playing.url)), "60 kB")
        run([Socket(playing.url)], SETTLING_SECONDS)  # the map is made
        process = playing.process()
        row("memory, a page open", memory(process), "45 MB")
        row("processor time, a page at rest", f"{share(process, Socket(playing.url)):.1%} of a core")
        for count, spectrum in ((1, False), (LATENTS, False), (LATENTS, True)):
            move = Socket(playing.url, range(count), HAND_RATE, together=True, spectrum=spectrum)
            taken = share(process, move)
            rate = f"{len(move.sent) / HAND_SECONDS:.0f} moves a second of {count}"
            words = f"{taken:.1%} with {rate} latent{'s' * (count > 1)}{' and the spectrum' * spectrum}"
            row("", words, "7 %" if spectrum else "5 %")


def hand(chromium, playing):
    """A hand on the map, in a browser."""
    ready = []
    for _ in range(ROUNDS):
        with page_of(chromium, playing.url) as page:
            ready.append(page.evaluate("shown") / 1000)
    row("page ready, no cache", f"median {median(ready):.3f} s, slowest {max(ready):.3f}", "1 s")
    with page_of(chromium, playing.url) as page:
        drag(page, SETTLING_SECONDS)
        ahead = skew(page)
        page.evaluate("noted.length = drawn.length = 0")
        drag(page, HAND_SECONDS)
        frames, noted = np.diff(page.evaluate("drawn")) / 1000, page.evaluate("noted")
    row(
        f"drag, {DOTS} dots",
        f"{1 / np.median(frames):.0f} frames a second, {spread(frames, 50, 95, 99)} a frame",
        "60 frames a second",
    )
    found = waits(noted, playing.received(), ahead)
    events = sum(value is None for _, value in noted)
    row("pointer to the process that sounds", f"{spread(found.sum(1), 50, 95, 99)}", "p95 10 ms")
    row("", f"of that in the page {spread(found[:, 0], 50, 95)}, then {spread(found[:, 1], 50, 95)}")
    row("", f"{len(found)} of {events} events came, {events / HAND_SECONDS:.0f} a second")


def piece(preset, chromium, moving):
    """Underruns in a minute of all voices, with a hand on a page or without panel; those soon after stalls; stalls."""
    setup = Setup(preset=preset, device=CARD, block=BLOCK, midi=False)
    stalls = Stalls(BLOCK / RATE)
    with Playing(setup, panel=moving) as playing, contextlib.ExitStack() as pages:
        page = pages.enter_context(page_of(chromium, playing.url)) if moving and chromium else None
        playing.hold()
        time.sleep(SETTLING_SECONDS)
        known = len(playing.report()[1])
        if page is not None:
            drag(page, PIECE_SECONDS)
        elif moving:
            run([Socket(playing.url, range(LATENTS), HAND_RATE, together=True)], PIECE_SECONDS)
        else:
            time.sleep(PIECE_SECONDS)
        missed = playing.report()[1][known:]
    stood = stalls.end()
    return len(missed), beside(missed, stood), len(stood)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10, help="with a page and as many without, for underruns")
    minutes = parser.parse_args().minutes
    row("machine", f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the beginning")
    with tempfile.TemporaryDirectory() as folder:
        still, moving = preset_in(folder), preset_in(folder, moving=True)
        receipts = Path(folder, "receipts")
        receipts.touch()
        command(still)
        with Playing(Setup(preset=still, null=True, midi=False), receipts=receipts) as playing:
            flood(playing)
            with browser() as chromium:
                if chromium is None:
                    row("in a browser", "left out: install chromium-headless-shell and playwright")
                else:
                    hand(chromium, playing)
        need("jackd", "jack_wait")
        with browser() as chromium, jack_server(BLOCK, may_hurry()):
            pieces = [[piece(moving, chromium, panel) for panel in (False, True)] for _ in range(minutes)]
    for name, of in (("without a panel", 0), ("with a page that moves", 1)):
        underruns, excused, stalls = (sum(both[of][which] for both in pieces) for which in range(3))
        what = f"underruns {underruns} in {minutes} min, {in_words(underruns, excused, stalls, may_hurry())}"
        row(name, what, "no more than without" if of else "")
    row("machine", f"load {os.getloadavg()[0]:.1f} in the end")


if __name__ == "__main__":
    main()
