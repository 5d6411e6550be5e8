"""The menu of a control: opening, closing and entries."""

import pytest

from .conftest import bound
from .test_access import SIZES, violations
from .test_controls import number, retype, slider


def menu(page):
    return page.locator("dialog.menu[open]")


def finger(page):
    """A function that starts, moves and ends a touch."""
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    return touch


def opened(host, target="gain"):
    page = host.open()
    page.locator(f'#controls [data-target="{target}"] label').click(button="right")
    menu(page).wait_for()
    return page


def test_a_right_click_opens_it_where_the_pointer_is_and_escape_gives_the_focus_back_without_panic(host):
    page = host.open()
    at = slider(page, "gain")(0.9)
    page.mouse.click(*at, button="right")
    box = menu(page).bounding_box()
    assert box["x"] <= at[0] + 1
    assert box["x"] + box["width"] <= 1280
    assert menu(page).get_attribute("aria-label") == "Gain"
    assert page.evaluate("document.activeElement.id") == "menu-reset"
    page.keyboard.press("Escape")
    assert menu(page).count() == 0
    assert page.evaluate("document.activeElement.id") == "range-gain"
    assert host.words("panic", "move", "set") == []


@pytest.mark.parametrize("key", ["ContextMenu", "Shift+F10"])
def test_the_menu_key_opens_it_and_gives_the_focus_back_to_the_part_that_had_it(host, key):
    page = host.open()
    page.locator('#controls [data-target="gain"] .badge').focus()
    page.keyboard.press(key)
    menu(page).wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "badge bound"


def test_a_long_press_opens_it_and_leaves_the_value_as_it_was(host):
    page = host.open()
    at, touch = slider(page, "latent.1")(0.8), finger(page)
    touch("Start", at)
    menu(page).wait_for()
    host.until(lambda: host.words("drop"))
    touch("Move", (at[0] - 50, at[1]))
    touch("End")
    assert menu(page).is_visible()
    assert number(page, "latent.1").input_value() == "0.00"
    assert host.words("move")[-1] == {"t": "move", "values": {"latent.1": 0}}
    touch("Start", slider(page, "latent.0")(0.5))
    menu(page).wait_for(state="hidden")
    touch("End")


def test_a_finger_that_drags_opens_none(host):
    page = host.open()
    page.clock.install()
    (x, y), touch = slider(page, "latent.1")(0.5), finger(page)
    touch("Start", (x, y))
    for step in range(1, 5):
        touch("Move", (x + 5 * step, y))
    page.clock.run_for(1000)
    assert menu(page).count() == 0
    touch("End")


def test_a_click_outside_closes_it_and_keeps_what_was_typed(host):
    page = opened(host)
    retype(page.locator("#menu-low-0"), "-40 dB")
    page.mouse.click(5, 300)
    assert menu(page).count() == 0
    host.until(lambda: host.words("binding"))
    assert host.words("binding")[0]["low"] == -40


def test_it_resets_to_the_presets_value_in_one_step(host):
    host.state["controls"][3]["value"] = 3.0
    page = opened(host)
    page.click("text=Reset to -6.0 dB")
    host.until(lambda: host.words("drop"))
    assert [word["values"] for word in host.words("move")] == [{"gain": -6}]
    assert menu(page).count() == 0


def test_typing_a_value_goes_to_the_number_of_the_slider_whose_menu_it_is(host):
    page = opened(host)
    page.click("text=Type a value")
    assert page.evaluate("document.activeElement.id") == "number-gain"


def test_it_learns_another_knob(host):
    page = opened(host)
    page.click("text=Learn another knob")
    host.until(lambda: host.words("learn") == [{"t": "learn", "target": "gain"}])


def test_a_binding_is_ranged_in_place_and_forgotten_alone(host):
    host.state["controls"][3]["maps"].append(bound("CC 7", "jump", -60, 12, 2, 3))
    page = opened(host)
    assert page.locator("legend").all_inner_texts() == ["CC 7, pickup", "CC 7, channel 3"]
    for field, text in (("low-0", "-30 dB"), ("high-0", "3 s"), ("curve-1", "0,5")):
        retype(page.locator(f"#menu-{field}"), text)
        page.keyboard.press("Enter")
    first = {"t": "binding", "target": "gain", "source": "CC 7", "channel": None, "low": -30, "high": 0, "curve": 1}
    second = {"t": "binding", "target": "gain", "source": "CC 7", "channel": 3, "low": -60, "high": 12, "curve": 0.5}
    host.until(lambda: host.words("binding") == [first, second])
    assert page.evaluate("document.activeElement.id") == "menu-curve-1"
    page.click("#menu-forget-1")
    host.until(lambda: host.words("unlearn") == [{"t": "unlearn", "target": "gain", "source": "CC 7", "channel": 3}])
    host.state["controls"][3]["maps"].pop()
    host.tell(t="state", state={"controls": host.state["controls"]})
    page.wait_for_selector("#menu-forget-1", state="detached")
    assert page.evaluate("document.activeElement.id") == "menu-reset"


def test_a_range_that_is_refused_says_why_in_the_menu_and_shows_the_old_one(host):
    page = opened(host)
    retype(page.locator("#menu-high-0"), "three")
    page.keyboard.press("Enter")
    assert menu(page).locator("p").inner_text() == "Type a number, such as 0.0 dB"
    retype(page.locator("#menu-high-0"), "99")
    page.keyboard.press("Enter")
    host.until(lambda: host.words("binding"))
    host.tell(t="say", line="high 99 of CC 7 is out of range [-60, 12] dB; give a value in it", kind="error")
    page.wait_for_selector(".menu p >> text=out of range")
    assert page.locator("#menu-high-0").input_value() == "0.0"


def test_escape_forgets_what_was_typed_in_it(host):
    page = opened(host)
    retype(page.locator("#menu-low-0"), "-40")
    page.keyboard.press("Escape")
    page.locator('#controls [data-target="gain"] label').click(button="right")
    assert page.locator("#menu-low-0").input_value() == "-60.0"
    assert host.words("binding") == []


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_in_it_and_its_parts_are_large_enough_for_a_finger(host, size):
    page = opened(host)
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    assert violations(page) == []
    boxes = [part.bounding_box() for part in menu(page).locator("button, input").all()]
    assert len(boxes) == 7
    assert min(min(box["width"], box["height"]) for box in boxes) >= 44


def test_a_large_slider_has_it_too(host):
    page = host.open()
    page.locator("#large label").first.click(button="right")
    page.click("text=Type a value")
    assert page.evaluate("document.activeElement.id") == "number-large-latent.0"
