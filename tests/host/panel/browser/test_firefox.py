"""The page in Firefox, whose keys, focus and sliders are its own: a panel, and tests of other files again."""

import os
import signal

import pytest
from timbrel.host.events import NoteOff, NoteOn, ParameterChange
from timbrel.host.session.messages import Load

from ....patience import PATIENCE_SECONDS
from .conftest import STILL
from .test_access import (
    assert_clean_in_learn_mode_and_dialogs,
)
from .test_keys import (
    middle,
)


@pytest.fixture
def browser(launched):
    return launched("firefox")


def test_its_panel_plays_loads_a_preset_and_comes_back_after_its_process_is_killed(browser, panel, parent):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.add_init_script(STILL)
    troubles = []
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(panel.url())
    parent.until(lambda: page.query_selector("body[data-ready]"))
    page.mouse.move(*middle(page, 60))
    page.mouse.down()
    parent.until(lambda: [event.key for event in parent.events if isinstance(event, NoteOn)] == [60])
    page.mouse.up()
    parent.until(lambda: isinstance(parent.events[-1], NoteOff))
    page.locator('#volume [data-target="gain"] input[type=range]').press("End")
    parent.until(
        lambda: ("gain", 12.0) in [(e.target, e.value) for e in parent.events if isinstance(e, ParameterChange)]
    )
    page.focus("#preset")
    page.keyboard.press("Enter")
    parent.until(lambda: page.query_selector("[role=option]"))
    page.keyboard.type("gm-")
    page.keyboard.press("ArrowDown")
    chosen = page.inner_text('[role=option][aria-selected="true"] b')
    page.keyboard.press("Enter")
    parent.until(lambda: page.is_visible("#unsaved"))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # discards
    parent.until(lambda: Load({None: chosen}) in parent.commands)
    assert troubles == []  # the killed process's end is one
    os.kill(panel._child.process.pid, signal.SIGKILL)
    parent.until(lambda: page.is_visible("#lost"))
    parent.until(lambda: page.is_hidden("#lost"))
    page.keyboard.press("KeyZ")
    parent.until(lambda: len([event for event in parent.events if isinstance(event, NoteOn)]) == 2)
    page.close()


def test_axe_finds_nothing(host):
    assert_clean_in_learn_mode_and_dialogs(host, host.open())
