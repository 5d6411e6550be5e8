"""`timbrel play --panel` as a musician has it: what hands do on the page is in the recording, to the bit."""

import json
import signal
import subprocess
import sys

import pytest
from timbrel.host.events import NoteOff, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.midi.files import read_performance

from ....patience import PATIENCE_SECONDS
from .conftest import STILL

RATE = 48000  # of --null


@pytest.fixture
def playing(tmp_path):
    """A player, the address of its page, and the file that it will leave."""
    take = tmp_path / "take.mid"
    command = [
        sys.executable,
        "-m",
        "timbrel",
        "play",
        "gm-lead",
        "--null",
        "--panel",
        "--plain",
        "--record-midi",
        str(take),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = (
                next(line for line in process.stdout if line.startswith("panel: ")).removeprefix("panel: ").strip()
            )
            yield process, address, take
        finally:
            process.kill()


def test_what_hands_do_on_the_page_is_in_the_recording_to_the_bit(browser, playing):
    process, address, take = playing
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.add_init_script(STILL)
    said = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda text: said.append(json.loads(text))))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.wait_for_selector("#no-map", state="hidden")
    page.keyboard.down("KeyQ")
    box = page.locator("#point").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 320, box["y"] + 220, steps=8)
    page.mouse.up()
    page.wait_for_selector('#piano [aria-pressed="true"]')
    page.keyboard.up("KeyQ")
    page.wait_for_selector("#undo:not([disabled])")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) in (0, 130)
    page.close()

    events = read_performance(take, RATE).events
    [key] = {word["key"] for word in said if word["t"] == "note"}
    assert [type(event) for event in events if getattr(event, "key", None) == key] == [NoteOn, NoteOff]
    last = [word["values"] for word in said if word["t"] == "move"][-1]
    turns = {event.target: event.value for event in events if isinstance(event, ParameterChange)}
    assert {target: turns[target] for target in last} == last
    holds = [(event.target, event.down) for event in events if isinstance(event, ParameterTouch)]
    assert sorted(holds) == sorted((target, down) for target in last for down in (False, True))
