"""Pages of a panel's own process: what one does the others show, and all come back after it."""

import os
import signal

import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.session.messages import Load, Playing, Report, View

from ....patience import PATIENCE_SECONDS
from ..fakes import RESTS, TEXT, status, view
from .conftest import OPENED, STILL


@pytest.fixture
def pages(browser, panel, parent):
    """Two pages of one panel; neither may leave an error in its console or ask another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 1200})
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    context.add_init_script(STILL + OPENED)
    asked, troubles = set(), []
    context.on("request", lambda request: asked.add(request.url.split("/")[2]))
    context.on("weberror", lambda error: troubles.append(str(error.error)))
    found = [context.new_page() for _ in range(2)]
    for page in found:
        page.goto(panel.url())
        parent.until(lambda page=page: page.query_selector("body[data-ready]"))
    yield found
    context.close()
    assert troubles == []
    assert asked == {f"127.0.0.1:{panel.port}"}


def value(page, target):
    return float(page.locator(f'#controls [data-target="{target}"] .typed input').input_value())


def turned(parent):
    return {event.target: event.value for event in parent.events if isinstance(event, ParameterChange)}


def let_go(parent):
    return [event.target for event in parent.events if isinstance(event, ParameterTouch) and not event.down]


def test_two_pages_that_move_in_turns_agree_on_every_target(pages, parent):
    targets = ("latent.0", "gain", "latent.1", "gain", "latent.0")
    for turn, target in enumerate(targets):
        slider = pages[turn % 2].locator(f'#controls [data-target="{target}"] input[type=range]')
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        pages[turn % 2].mouse.click(box["x"] + box["width"] * (0.2 + 0.15 * turn), box["y"] + box["height"] / 2)
        parent.until(lambda turn=turn: len(let_go(parent)) == turn + 1)  # steps of undo come in the order of their ends
    parent.until(lambda: {"latent.0", "latent.1", "gain"} <= turned(parent).keys())
    for target in ("latent.0", "latent.1", "gain"):
        parent.until(
            lambda target=target: (
                value(pages[0], target) == value(pages[1], target) == pytest.approx(turned(parent)[target], abs=0.06)
            )
        )
    parent.until(lambda: all(page.is_enabled("#undo") for page in pages))
    pages[0].click("#undo")
    parent.until(lambda: value(pages[0], "latent.0") == value(pages[1], "latent.0") < 0.5)


def pressed(page, name):
    return page.get_attribute(name, "aria-pressed") == "true"


def test_hold_and_panic_of_one_page_are_those_of_the_other(pages, parent):
    one, two = pages
    one.click("#hold")
    parent.until(lambda: pressed(two, "#hold"))
    two.click("#hold")
    parent.until(lambda: not pressed(one, "#hold"))
    one.click("#hold")
    one.keyboard.down("KeyZ")
    parent.until(lambda: any(isinstance(event, NoteOn) for event in parent.events) and pressed(two, "#hold"))
    parent.panel.show(Report(status(RESTS, held=[48])))
    parent.until(lambda: pressed(two, '.key[data-key="48"]'))
    two.click("#panic")
    parent.until(lambda: not pressed(one, "#hold") and not pressed(two, "#hold"))
    parent.panel.show(Report(status(RESTS)))
    parent.until(lambda: not any(pressed(page, '.key[data-key="48"]') for page in pages))


def test_a_page_that_latched_hold_and_is_closed_leaves_it_to_the_others_and_the_last_one_ends_it(pages, parent):
    one, two = pages
    down, up = ControlChange(0, 0, 64, 127), ControlChange(0, 0, 64, 0)

    def held():
        """All events from the latched pedal on; an earlier test's panic may still arrive before it."""
        return parent.events[parent.events.index(down) :] if down in parent.events else []

    one.click("#hold")
    parent.until(lambda: pressed(two, "#hold") and held())
    one.close()
    two.keyboard.press("KeyZ")
    parent.until(lambda: any(isinstance(event, NoteOff) for event in held()))
    assert pressed(two, "#hold")
    assert up not in held()
    two.close()
    parent.until(lambda: up in held())


def test_length_unit_and_loop_of_a_path_are_those_that_either_page_set(pages, parent, tmp_path):
    one, two = pages
    text = f"{TEXT}[[motion]]\npath = [[0.25, 0.75], [0.5, 0.25]]\ntimes = [0.0, 8.0]\nloop = true\n"

    def shown(page):
        fields = page.input_value("#path-length"), page.input_value("#path-unit"), page.is_checked("#path-loop")
        return fields if page.is_enabled("#path-remove") else None

    def play(text):
        parent.commands.clear()
        parent.panel.show(Playing({None: "pad"}))
        parent.panel.show(View(view(text, folder=tmp_path)))

    def type_length():
        two.fill("#path-length", "3")
        two.press("#path-length", "Enter")

    changes = [
        (type_length, ("3", "seconds", True)),
        (lambda: one.uncheck("#path-loop"), ("3", "seconds", False)),
        (lambda: two.select_option("#path-unit", "beats"), ("3", "beats", True)),
        (lambda: one.click("#path-remove"), None),
    ]
    for page in pages:
        page.click("#draw")
    play(text)
    parent.until(lambda: shown(one) == shown(two) == ("8", "seconds", True))
    for change, expected in changes:
        change()
        draft = parent.until(
            lambda: [command.presets[None] for command in parent.commands if isinstance(command, Load)]
        )[-1]
        play(draft.text)
        parent.until(lambda expected=expected: shown(one) == shown(two) == expected)


def test_a_beat_of_a_link_is_answered(pages, panel, parent):
    script = """async (token) => {
        const { Link } = await import('./socket.js');
        const link = new Link(`ws://${location.host}/socket`, token);
        await new Promise((resolve) => link.on('welcome', resolve));
        window.answered = false;
        link.on('pong', () => (window.answered = true));
        beat();
    }"""
    pages[0].evaluate(script, panel.token)
    parent.until(lambda: pages[0].evaluate("window.answered"))


def test_after_the_process_is_killed_its_notes_are_let_go_and_its_pages_come_back(pages, panel, parent):
    pages[0].keyboard.down("KeyZ")
    parent.until(lambda: any(isinstance(event, NoteOn) for event in parent.events))
    os.kill(panel._child.process.pid, signal.SIGKILL)
    parent.until(lambda: any(isinstance(event, NoteOff) for event in parent.events))
    parent.until(lambda: all(page.is_visible("#lost") for page in pages))
    parent.until(lambda: all(page.is_hidden("#lost") for page in pages))
    parent.until(lambda: isinstance(parent.events[-1], NoteOn))  # the key is still down
    pages[0].keyboard.up("KeyZ")
    parent.until(lambda: isinstance(parent.events[-1], NoteOff))
