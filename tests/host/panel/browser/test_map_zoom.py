"""The map is zoomed and moved by wheel, keys, drags and fingers, and the sound stays."""

import numpy as np

from .conftest import LABELS
from .map_places import code, on_map


def test_the_wheel_zooms_about_the_pointer_and_dots_are_clicked_and_hovered_there(host):
    page = host.open()
    page.wait_for_selector("#key span")
    x, y = on_map(page)(*host.plane.places[37])
    page.mouse.move(x, y)
    page.mouse.wheel(0, -800)
    next_x, next_y = on_map(page)(*host.plane.places[38])
    factor = np.exp(800 * 0.002)
    page.mouse.move(x + factor * (next_x - x), y + factor * (next_y - y))
    page.wait_for_selector(f"#hover:not([hidden]) >> text={LABELS[38 % 3]} · D")
    page.mouse.click(x + factor * (next_x - x), y + factor * (next_y - y))
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) == host.plane.codes[38].astype(float).tolist()
    page.click("#zoom-whole")
    page.mouse.click(x, y)
    host.until(lambda: len(host.words("set")) == 2)
    assert code(host.words("set")[1]) == host.plane.codes[37].astype(float).tolist()


def test_plus_and_minus_zoom_where_the_map_has_the_focus_and_shift_the_octave_elsewhere(host):
    page = host.open()
    page.wait_for_selector("#key span")
    octave = page.inner_text("#octave")
    x, y = on_map(page)(0.5, 0.5)
    page.locator("#point").focus()
    page.keyboard.press("+")
    page.keyboard.press("=")
    page.mouse.click(x + 90, y)
    host.until(lambda: host.words("set"))
    assert page.inner_text("#octave") == octave
    page.keyboard.press("-")
    page.keyboard.press("-")
    page.mouse.click(x + 90, y + 3)
    host.until(lambda: len(host.words("set")) == 2)
    near, far = (np.array(code(word)) for word in host.words("set"))
    assert not np.allclose(near, far)
    assert page.inner_text("#octave") == octave
    page.locator("#panic").focus()
    page.keyboard.press("=")
    host.until(lambda: page.inner_text("#octave") != octave)


def test_shift_and_drag_moves_the_map_and_not_the_sound(host):
    page = host.open()
    page.wait_for_selector("#key span")
    for _ in range(3):
        page.click("#zoom-in")
    dot = host.plane.places[72]
    x, y = on_map(page)(0.5, 0.5)
    at = np.array([x, y]) + 1.5**3 * (np.array(on_map(page)(*dot)) - (x, y))
    page.keyboard.down("Shift")
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(*np.add(at, (60, 40)), steps=6)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.mouse.click(*np.add(at, (60, 40)))
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) == host.plane.codes[72].astype(float).tolist()
    assert host.words("grab", "move") == []


def test_two_fingers_zoom_and_move_the_map_and_one_finger_moves_the_sound(host):
    page = host.open()
    page.wait_for_selector("#key span")
    touch = page.context.new_cdp_session(page)

    def fingers(kind, *points):
        places = [{"x": float(x), "y": float(y), "id": number} for number, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    middle = np.array(on_map(page)(*host.plane.places[72]))
    fingers("touchStart", middle - (40, 0))
    fingers("touchStart", middle - (40, 0), np.add(middle, (40, 0)))
    for step in range(1, 9):
        moved = np.add(middle, (step * 5, step * 2))
        fingers("touchMove", moved - (40 + 10 * step, 0), np.add(moved, (40 + 10 * step, 0)))
    fingers("touchEnd")
    assert host.words("grab", "set") == []
    page.mouse.click(*np.add(middle, (40, 16)))
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) == host.plane.codes[72].astype(float).tolist()
    next_to = np.array(on_map(page)(*host.plane.places[73])) - middle
    page.mouse.click(*(np.add(middle, (40, 16)) + 3 * next_to))
    host.until(lambda: len(host.words("set")) == 2)
    assert code(host.words("set")[1]) == host.plane.codes[73].astype(float).tolist()
    fingers("touchStart", middle)
    for step in range(1, 6):
        fingers("touchMove", np.add(middle, (step * 6, 0)))
    fingers("touchEnd")
    host.until(lambda: host.words("drop"))
    assert host.words("move")
