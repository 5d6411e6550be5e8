"""Notes by mouse, fingers and the computer's keyboard: each ends, whatever happens to the hand that holds it."""

import re

import pytest

from .conftest import PAGE


def notes(host):
    return [(word["key"], word["velocity"]) for word in host.words("note")]


def middle(page, key):
    box = page.locator(f'#piano [data-key="{key}"]').bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.85


def test_a_key_under_the_mouse_sounds_until_it_is_let_go_and_louder_at_its_lower_edge(host):
    page = host.open()
    x, y = middle(page, 60)
    for at in (y, y - 60):
        page.mouse.move(x, at)
        page.mouse.down()
        page.mouse.up()
    host.until(lambda: len(notes(host)) == 4)
    (first, loud), off, (second, soft), end = notes(host)
    assert (first, second, off, end) == (60, 60, (60, 0), (60, 0))
    assert 127 >= loud > soft >= 1


def test_a_mouse_that_slides_over_the_keys_plays_each_alone(host):
    page = host.open()
    page.mouse.move(*middle(page, 60))
    page.mouse.down()
    page.mouse.move(*middle(page, 64), steps=12)
    page.mouse.up()
    host.until(lambda: notes(host)[-1:] == [(64, 0)])
    keys = [key for key, velocity in notes(host) if velocity]
    assert keys == [60, 62, 64]
    assert [key for key, velocity in notes(host) if not velocity] == keys


def test_two_fingers_play_two_keys_at_once(host):
    page = host.open()
    session = page.context.new_cdp_session(page)
    points = [dict(zip(("x", "y", "id"), (*middle(page, key), key), strict=True)) for key in (60, 67)]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
    host.until(lambda: len(notes(host)) == 2)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": points[:1]})
    host.until(lambda: len(notes(host)) == 3)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": points[1:]})
    host.until(lambda: len(notes(host)) == 4)
    assert {key for key, velocity in notes(host)[:2] if velocity} == {60, 67}
    assert notes(host)[2:] == [(60, 0), (67, 0)]


def test_the_computers_keyboard_plays_by_position_and_holding_a_key_repeats_nothing(host):
    page = host.open()
    lowest = int(page.locator("#piano .key").first.get_attribute("data-key"))
    for name in ("KeyZ", "KeyZ", "KeyW"):
        page.keyboard.down(name)
    for name in ("KeyZ", "KeyW"):
        page.keyboard.up(name)
    host.until(lambda: len(notes(host)) == 4)
    assert notes(host) == [(lowest, 100), (lowest + 14, 100), (lowest, 0), (lowest + 14, 0)]


def test_letters_that_are_typed_into_a_field_play_nothing(host):
    page = host.open()
    page.locator("#search").press_sequentially("zebra")
    page.locator("#panic").focus()
    page.keyboard.press("KeyX")
    host.until(lambda: len(notes(host)) == 2)


PLACES = ["#panic", "#range-gain", '#piano [data-key="60"]', "#colour", "#effect-pick", "summary", "#point", "body"]


def test_letters_slash_and_the_space_bar_play_wherever_the_focus_is(host):
    page = host.open()
    page.evaluate("addEventListener('keydown', (event) => window.kept?.push(event.defaultPrevented))")
    lowest = int(page.locator("#piano .key").first.get_attribute("data-key"))
    for place in PLACES:
        if place in ("#colour", "#effect-pick"):
            page.select_option(place, index=1)
        elif place != "body":
            page.locator(place).first.click()
        chosen = page.locator("select").evaluate_all("(lists) => lists.map((list) => list.value)")
        page.evaluate("(place) => document.querySelector(place).focus()", place)
        page.keyboard.press("Control+z")
        host.until(lambda: host.words("undo"))  # after all that the click said
        host.said.clear()
        page.evaluate("window.kept = []")
        for name in ("KeyB", "Slash", "Space"):
            page.keyboard.down(name)
        for name in ("KeyB", "Slash", "Space"):
            page.keyboard.up(name)
        host.until(lambda: len(host.words("sustain")) == 2)
        low, high = lowest + 7, lowest + 16
        assert notes(host) == [(low, 100), (high, 100), (low, 0), (high, 0)], place
        assert [word["down"] for word in host.words("sustain")] == [True, False], place
        assert {word["t"] for word in host.said} == {"note", "sustain"}, place  # nothing was pressed
        assert page.evaluate("window.kept") == [True] * 3, place
        assert page.locator("select").evaluate_all("(lists) => lists.map((list) => list.value)") == chosen, place
        host.said.clear()


def test_tab_gives_the_space_bar_to_a_button_and_enter_to_a_key_of_the_piano(host):
    page = host.open()
    page.focus("#hold")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    host.until(lambda: host.words("panic"))
    assert host.words("sustain") == []
    page.focus("#meters")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    host.until(lambda: [velocity for _, velocity in notes(host)] == [100, 0])
    page.keyboard.press("Space")
    host.until(lambda: len(host.words("sustain")) == 2)


def test_the_document_names_no_key_that_does_nothing(host):
    page = host.open()
    document = (PAGE.parents[2] / "docs" / "panel.md").read_text(encoding="utf-8")
    [table] = re.findall(r"\| key \| \|\n\|---\|---\|\n((?:\|.*\n)+)", document)
    slider, arrows = ("#range-latent\\.0",), ["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"]
    known = {
        "Z S X D C … and Q 2 W 3 E …": (("body",), [f"Key{name}" for name in "ZSXDCQWE"] + ["Digit2", "Digit3"]),
        "`-` and `=`": (("body",), ["Minus", "Equal"]),
        "space bar": (("body",), ["Space"]),
        "Enter": (("#piano .key",), ["Enter"]),
        "Escape": (("body",), ["Escape"]),
        "Ctrl Z, Ctrl Shift Z": (("body",), ["Control+z", "Control+Shift+z"]),
        "arrows": ((*slider, "#point"), [*arrows, *(f"Shift+{arrow}" for arrow in arrows)]),
        "Page Up and Down, Home, End": (slider, ["PageUp", "PageDown", "Home", "End"]),
    }
    assert [row.split("|")[1].strip() for row in table.splitlines()] == list(known)
    for places, names in known.values():
        for place in places:
            page.evaluate("(place) => document.activeElement.blur() ?? document.querySelector(place).focus()", place)
            for name in names:
                before, octave = len(host.said), page.inner_text("#octave")
                page.keyboard.press(name)
                host.until(
                    lambda before=before, octave=octave: len(host.said) > before or page.inner_text("#octave") != octave
                )


@pytest.mark.parametrize("leave", ["dispatchEvent(new Event('blur'))", "dispatchEvent(new Event('pagehide'))"])
def test_leaving_the_page_lets_its_notes_and_pedal_go(host, leave):
    page = host.open()
    page.keyboard.down("KeyZ")
    page.keyboard.down("Space")
    host.until(lambda: host.words("sustain"))
    page.evaluate(leave)
    host.until(lambda: notes(host)[-1][1] == 0 and host.words("sustain")[-1] == {"t": "sustain", "down": False})


def test_hold_stays_until_it_is_pressed_again_and_panic_ends_it(host):
    page = host.open()
    page.click("#hold")
    host.until(lambda: host.words("hold") == [{"t": "hold", "down": True}])
    assert page.get_attribute("#hold", "aria-pressed") == "true"
    page.click("#panic")
    host.until(lambda: host.words("panic"))
    assert page.get_attribute("#hold", "aria-pressed") == "false"


def test_a_panic_of_another_page_lets_this_ones_keys_go_and_the_echo_of_its_own_none(host):
    page = host.open()
    page.click("#panic")
    page.keyboard.down("KeyZ")
    host.tell(t="panic")
    host.tell(t="state", state={"hold": True})
    page.wait_for_selector("#hold[aria-pressed=true]")
    assert [velocity > 0 for _, velocity in notes(host)] == [True]
    host.tell(t="panic")
    host.until(lambda: [velocity > 0 for _, velocity in notes(host)] == [True, False])
    page.keyboard.up("KeyZ")
    page.keyboard.down("KeyX")
    host.until(lambda: len(notes(host)) == 3)


def test_after_a_lost_link_hold_is_as_the_panel_says_and_a_key_that_is_down_sounds_again(host):
    page = host.open()
    page.click("#hold")
    page.keyboard.down("KeyZ")
    host.until(lambda: host.words("hold") and notes(host))
    host.state["hold"] = False
    host.sockets[-1].close(code=1012)
    host.until(lambda: len(notes(host)) == 2)
    page.wait_for_selector("#hold[aria-pressed=false]")
    page.keyboard.up("KeyZ")
    host.until(lambda: notes(host)[-1][1] == 0)
    assert len(host.words("hold")) == 1


def test_keys_carry_their_labels_and_those_without_a_sound_are_grey_and_play_nothing(host):
    labels = {"36": "kick", "38": "snare", "42": "closed hat", "48": "0"}
    silent = [key for key in range(36, 49) if str(key) not in labels]
    host.state["keys"] = {"low": 36, "high": 48, "center": 48, "silent": silent, "labels": labels}
    page = host.open()
    keys = {key.get_attribute("data-key"): key for key in page.locator("#piano .key").all()}
    assert {key: each.locator("b").inner_text() for key, each in keys.items() if each.is_enabled()} == labels
    assert keys["42"].get_attribute("aria-label") == "closed hat F♯2"
    for key in labels:
        box, key_box = keys[key].locator("b").bounding_box(), keys[key].bounding_box()
        assert key_box["x"] <= box["x"] + 0.5
        assert box["x"] + box["width"] <= key_box["x"] + key_box["width"] + 0.5
        assert box["y"] + box["height"] <= key_box["y"] + key_box["height"]
    page.keyboard.press("KeyZ")  # 36
    page.keyboard.press("KeyS")  # 37, silent
    page.keyboard.press("KeyX")  # 38
    host.until(lambda: len(notes(host)) == 4)
    assert [key for key, velocity in notes(host) if velocity] == [36, 38]


def test_keys_that_others_hold_or_that_still_sound_are_lit(host):
    page = host.open()
    host.meters(held=[64])
    page.wait_for_selector('#piano [data-key="64"][aria-pressed="true"]')
    host.meters(held=[], sounding=[64])
    page.wait_for_selector('#piano [data-key="64"][aria-pressed="false"].sounds')
    host.meters()
    page.wait_for_selector('#piano [data-key="64"]:not(.sounds)')


def test_the_chroma_row_is_one_octave_of_twelve_equal_keys(host):
    page = host.open()
    page.click("#chroma")
    widths = {round(key.bounding_box()["width"]) for key in page.locator("#piano .key").all()}
    assert page.locator("#piano .key").count() == 12
    assert max(widths) - min(widths) <= 1


def test_a_reload_and_an_edit_keep_the_octave_the_chroma_row_and_the_maps_colours(host):
    page = host.open()
    page.click("#octave-up")
    page.click("#chroma")
    page.select_option("#colour", "pitch")
    said = page.inner_text("#octave")
    for again in (page.reload, lambda: host.tell(t="state", state={"keys": host.state["keys"]})):
        again()
        page.wait_for_selector("body[data-ready]")
        page.wait_for_selector("#piano.row .key")
        assert page.inner_text("#octave") == said
        assert page.get_attribute("#chroma", "aria-pressed") == "true"
        host.until(lambda: page.input_value("#colour") == "pitch")
    host.tell(t="state", state={"keys": {"low": 36, "high": 47, "center": 36, "silent": [], "labels": {}}})
    page.wait_for_selector("#octave >> text=C2")


def test_a_browser_that_keeps_nothing_opens_the_page_all_the_same(host):
    host.page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('no') } })")
    page = host.open()
    page.click("#octave-up")
    page.select_option("#colour", "pitch")
    page.wait_for_selector("#piano .key")


def test_the_octave_buttons_move_the_piano_and_the_keyboard_alike(host):
    page = host.open()
    page.keyboard.press("KeyZ")
    page.click("#octave-up")
    page.keyboard.press("KeyZ")
    host.until(lambda: len(notes(host)) == 4)
    assert notes(host)[2][0] - notes(host)[0][0] == 12


def test_one_key_held_by_mouse_and_keyboard_ends_with_the_last_of_them(host):
    page = host.open()
    lowest = int(page.locator("#piano .key").first.get_attribute("data-key"))
    page.keyboard.down("KeyZ")
    page.mouse.move(*middle(page, lowest))
    page.mouse.down()
    page.keyboard.up("KeyZ")
    page.mouse.up()
    host.until(lambda: (lowest, 0) in notes(host))
    assert [velocity == 0 for _, velocity in notes(host)] == [False, False, True]
