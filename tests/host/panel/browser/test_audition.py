"""Clicks on dots and a resting pointer are heard only in silence, and a resting pointer changes nothing that stays."""

from .conftest import LABELS, LATENTS
from .map_places import code, on_map

TARGETS = [f"latent.{i}" for i in range(LATENTS)]


def notes(host):
    return [(word["key"], word["velocity"]) for word in host.words("note")]


def point_at(host, dot):
    host.page.mouse.move(*on_map(host.page)(*host.plane.places[dot]))


def opened(host):
    page = host.open()
    page.wait_for_selector("#key span")
    return page


def test_a_click_on_a_dot_plays_a_short_note_of_its_pitch_in_silence_alone(host):
    page = opened(host)
    host.meters(held=[40], sounding=[40])
    host.meters(sounding=[72])
    page.wait_for_selector('.key.sounds[data-key="72"]')
    page.mouse.click(*on_map(page)(*host.plane.places[20]))
    host.until(lambda: len(host.words("set")) == 1)
    host.meters()
    page.wait_for_selector('.key[data-key="72"]:not(.sounds)')
    page.mouse.click(*on_map(page)(*host.plane.places[46]))
    host.until(lambda: len(host.words("note")) == 2)
    assert [word["t"] for word in host.words("set", "note")] == ["set", "set", "note", "note"]
    assert notes(host) == [(58, 64), (58, 0)]  # the A sharp next to the middle
    assert host.words("grab", "move", "drop") == []


def test_a_dot_is_played_on_the_key_of_its_label_or_on_the_middle_where_its_pitch_has_none(host):
    host.state["keys"] |= {"low": 36, "high": 84, "silent": list(range(49, 60)), "labels": {"38": LABELS[1]}}
    page = opened(host)
    for dot, key in ((34, 38), (33, 60)):
        page.mouse.click(*on_map(page)(*host.plane.places[dot]))
        host.until(lambda: len(host.words("note")) == 2)
        assert notes(host) == [(key, 64), (key, 0)]
        host.said.clear()


def test_a_key_that_is_down_is_not_joined_by_a_click(host):
    page = opened(host)
    page.keyboard.down("KeyZ")
    page.mouse.click(*on_map(page)(*host.plane.places[20]))
    host.until(lambda: host.words("set"))
    page.keyboard.up("KeyZ")
    host.until(lambda: len(host.words("note")) == 2)
    assert len({key for key, _ in notes(host)}) == 1
    assert notes(host)[0][1] == 100


def test_a_resting_pointer_is_heard_only_with_listen_on_which_the_browser_remembers(host):
    page = opened(host)
    point_at(host, 20)
    page.click("#preview")
    page.reload()
    page.wait_for_selector("#key span")
    assert page.get_attribute("#preview", "aria-pressed") == "true"
    assert host.words("note", "grab") == []
    point_at(host, 46)
    host.until(lambda: host.words("note"))


def listening(host):
    for control, value in zip(host.state["controls"], (0.125, -0.3, 0.7), strict=False):
        control["value"] = value
    page = opened(host)
    page.click("#preview")
    point_at(host, 46)
    host.until(lambda: host.words("note"))
    words = host.words("grab", "move", "note")[:3]  # on a busy machine the note may have ended by now
    assert [word["t"] for word in words] == ["grab", "move", "note"]
    assert code(host.words("move")[0]) == host.plane.codes[46].astype(float).tolist()
    host.tell(t="values", values=host.words("move")[0]["values"])
    return page


def given_back(host):
    """Return whether the code before the rest is back, and no hand holds it."""
    last = host.words("grab", "move", "drop")[-2:]
    return [word["t"] for word in last] == ["move", "drop"] and code(last[0]) == [0.125, -0.3, 0.7]


def test_the_code_of_a_resting_pointer_goes_back_once_its_sound_has_ended(host):
    page = listening(host)
    host.meters(held=[58], sounding=[58])
    host.until(lambda: len(host.words("note")) == 2)
    begun = page.evaluate("performance.now()")

    def rings_on():
        host.meters(sounding=[58])
        return page.evaluate("performance.now()") > begun + 500

    host.until(rings_on)
    assert host.words("drop") == []

    def ended():
        host.meters()
        return host.words("drop")

    host.until(ended)
    assert given_back(host)
    assert host.words("drop")[0]["targets"] == TARGETS
    assert host.words("set") == []


def test_a_key_that_another_hand_plays_and_a_press_anywhere_give_the_code_back_at_once(host):
    page = listening(host)
    host.meters(held=[58, 40], sounding=[])
    host.until(lambda: given_back(host))
    page.mouse.move(1, 1)

    def quiet():
        host.meters()
        return page.locator(".key.sounds").count() == 0 and len(host.words("note")) == 2

    host.until(quiet)
    host.said.clear()
    point_at(host, 50)
    host.until(lambda: host.words("note"))
    page.mouse.click(*on_map(page)(*host.plane.places[50]))
    host.until(lambda: host.words("set"))
    assert [word["t"] for word in host.words("grab", "move", "drop", "set")] == ["grab", "move", "move", "drop", "set"]
    assert code(host.words("set")[0]) == host.plane.codes[50].astype(float).tolist()
