"""Paths are drawn on the map as codes of its surface, and have a length."""

import numpy as np
import pytest

from .map_places import on_map, read


def test_a_second_finger_ends_a_drawing_without_a_path(host):
    page = host.open()
    page.wait_for_selector("#key span")
    page.click("#draw")
    touch = page.context.new_cdp_session(page)
    x, y = on_map(page)(0.4, 0.4)

    def fingers(kind, *points):
        places = [{"x": x + right, "y": y + down, "id": number} for number, (right, down) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    fingers("touchStart", (0, 0))
    for step in range(1, 6):
        fingers("touchMove", (step * 10, 0))
    fingers("touchStart", (50, 0), (50, 60))
    fingers("touchMove", (50, -10), (50, 80))
    fingers("touchEnd")
    page.locator("#point").focus()
    page.keyboard.press("Enter")
    host.until(lambda: host.words("set"))
    assert host.words("path", "grab") == []


def test_a_path_drawn_on_a_part_of_the_map_has_the_codes_there(host):
    page = host.open()
    page.click("#draw")
    for _ in range(7):
        page.click("#zoom-in")
    at = on_map(page)
    page.mouse.move(*at(0.25, 0.5))
    page.mouse.down()
    page.mouse.move(*at(0.75, 0.5), steps=40)
    page.mouse.up()
    host.until(lambda: host.words("path"))
    points = host.words("path")[0]["points"]
    for point, x in ((points[0], 0.25), (points[-1], 0.75)):
        assert point == pytest.approx(read(host.plane, 0.5 + (x - 0.5) / 1.5**7, 0.5), abs=0.001)


def test_a_drawn_path_is_sent_as_codes_of_the_surface_with_its_length(host):
    page = host.open()
    page.click("#draw")
    page.fill("#path-length", "4")
    page.select_option("#path-unit", "beats")
    at = on_map(page)
    page.mouse.move(*at(0.2, 0.2))
    page.mouse.down()
    page.mouse.move(*at(0.8, 0.2), steps=12)
    page.mouse.up()
    host.until(lambda: host.words("path"))
    [word] = host.words("path")
    assert (word["beats"], word["loop"], "seconds" in word) == (4, True, False)
    assert word["points"][0] == pytest.approx(read(host.plane, 0.2, 0.2), abs=0.005)
    assert word["points"][-1] == pytest.approx(read(host.plane, 0.8, 0.2), abs=0.005)
    steps = np.diff(np.array(word["points"])[:, 0])
    assert steps == pytest.approx(np.full(len(steps), 0.6 / len(steps)), abs=0.01)
    assert host.words("grab", "set") == []
    known = {"points": word["points"], "beats": 4, "loop": True}
    host.tell(t="state", state={"preset": host.state["preset"] | {"path": known, "motion": True}})
    page.wait_for_selector("#path-remove:enabled")
    page.fill("#path-length", "6")
    page.keyboard.press("Tab")
    host.until(lambda: host.words("path")[1:] == [{"t": "path", "beats": 6}])
    page.click("#path-remove")
    host.until(lambda: host.words("path")[-1] == {"t": "path", "points": None})


def test_a_path_shows_its_own_length_and_is_sent_what_changes_alone(host):
    points = host.plane.codes[:2].astype(float).tolist()
    host.state["preset"]["path"] = {"points": points, "seconds": 87.6, "loop": True}
    page = host.open()
    page.click("#draw")
    assert page.input_value("#path-length") == "87.6"
    page.uncheck("#path-loop")
    page.fill("#path-length", "4000")
    page.keyboard.press("Tab")
    host.until(lambda: host.words("path") == [{"t": "path", "loop": False}, {"t": "path", "seconds": 4000}])
    host.tell(t="say", kind="error", line="a path of 4000 seconds is out of range")
    page.wait_for_selector("#lines .error >> text=out of range")
    assert page.input_value("#path-length") == "87.6"
    path = {"points": points, "beats": 16, "loop": True}
    host.tell(t="state", state={"preset": host.state["preset"] | {"path": path}})
    page.wait_for_selector("#path-loop:disabled")
    assert (page.input_value("#path-length"), page.input_value("#path-unit")) == ("16", "beats")
