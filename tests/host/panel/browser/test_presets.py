"""The browser of presets, steps through it, and the question before changes are lost."""

import pytest

from .test_access import violations

PRESET = {
    "description": "A pad",
    "model": "small",
    "shipped": True,
    "fits": True,
    "kind": "partials",
    "favourite": False,
}
LIST = [
    PRESET | {"name": "mine", "shipped": False},
    PRESET | {"name": "mine 2", "shipped": False, "kind": "grain"},
    PRESET | {"name": "hall", "favourite": True},
    PRESET | {"name": "kit", "kind": "clip"},
    PRESET | {"name": "gone", "fits": False},
]


def names(page):
    return page.locator("#preset-list b").all_inner_texts()


def browse(host, page):
    page.click("#preset")
    host.tell(t="presets", list=LIST)
    page.wait_for_selector("#preset-list [role=option]")


def changed(host, dirty=True, **others):
    host.state["preset"] |= {"dirty": dirty, **others}
    host.tell(t="state", state={"preset": host.state["preset"]})
    host.until(lambda: host.page.is_visible("#dirty") is dirty)


def test_tags_narrow_the_list_and_next_and_previous_step_through_what_is_left(host):
    page = host.open()
    browse(host, page)
    tags = page.locator("#preset-tags button").all_inner_texts()
    assert tags == ["Favourites", "My own", "Shipped", "Notes", "Textures", "Hits and words"]
    page.click("#preset-tags >> text=Notes")
    assert names(page) == ["mine", "hall", "gone"]
    page.click("#preset-tags >> text=Hits and words")
    assert names(page) == ["mine", "hall", "kit", "gone"]
    page.click("#preset-tags >> text=Shipped")
    assert names(page) == ["hall", "kit", "gone"]
    assert page.get_attribute("#preset-tags >> text=Shipped", "aria-pressed") == "true"
    page.fill("#preset-find", "kit")
    assert names(page) == ["kit"]
    page.click("#presets button >> nth=0")
    for button, name in (("next", "hall"), ("next", "kit"), ("next", "hall"), ("previous", "kit")):
        page.click(f"#preset-{button}")
        host.until(lambda name=name: host.words("load")[-1:] == [{"t": "load", "name": name}])
    assert page.get_attribute("#preset-next", "title") == "Next preset of: Notes, Hits and words, Shipped"


def test_next_asks_for_the_list_once(host):
    page = host.open()
    page.click("#preset-next")
    host.until(lambda: host.words("presets"))
    host.tell(t="presets", list=LIST)
    host.until(lambda: host.words("load") == [{"t": "load", "name": "mine 2"}])
    page.click("#preset-next")
    host.until(lambda: host.words("load")[1:] == [{"t": "load", "name": "hall"}])
    assert len(host.words("presets")) == 1


def test_a_preset_that_loads_is_said_until_it_is_there_or_refused(host):
    page = host.open()
    for ends in (
        {"t": "say", "kind": "error", "line": "no room"},
        {"t": "state", "state": {"controls": host.state["controls"]}},
    ):
        browse(host, page)
        page.click("#preset-list >> text=hall")
        assert page.get_attribute("#preset", "aria-busy") == "true"
        assert page.inner_text("#preset") == "loading hall …"
        host.tell(**ends)
        page.wait_for_selector("#preset[aria-busy=false]")
        assert page.inner_text("#preset") == "mine"


def test_home_and_end_and_the_arrows_choose_and_ctrl_enter_and_the_star_favour(host):
    page = host.open()
    browse(host, page)
    chosen = page.locator('#preset-list [aria-selected="true"] b')
    for key, name in (("End", "gone"), ("ArrowUp", "kit"), ("Home", "mine"), ("ArrowDown", "mine 2")):
        page.keyboard.press(key)
        assert chosen.inner_text() == name
    page.keyboard.press("Control+Enter")
    page.click("#preset-2 .star")
    host.until(lambda: len(host.words("favourite")) == 2)
    assert host.words("favourite") == [
        {"t": "favourite", "name": "mine 2", "on": True},
        {"t": "favourite", "name": "hall", "on": False},
    ]
    assert page.is_visible("#presets")
    host.tell(t="presets", list=[one | {"favourite": one["name"] == "mine 2"} for one in LIST])
    page.wait_for_selector("#preset-1 .star >> text=★")
    assert chosen.inner_text() == "mine 2"
    page.click("#preset-tags >> text=Favourites")
    assert names(page) == ["mine 2"]
    assert host.words("load") == []


def phrases(page):
    return page.locator("#preset-list .phrase:visible").all_inner_texts()


def test_a_shipped_preset_plays_its_phrase_once_it_is_loaded_until_it_is_pressed_again(host):
    page = host.open()
    browse(host, page)
    assert page.is_disabled("#listen")  # the user's own preset
    assert phrases(page) == ["▶"] * 3
    page.click("#preset-2 .phrase")
    host.until(lambda: host.words("load", "listen") == [{"t": "load", "name": "hall"}])
    host.tell(t="state", state={"preset": host.state["preset"] | {"name": "hall"}, "controls": host.state["controls"]})
    host.until(lambda: host.words("listen") == [{"t": "listen", "on": True}])
    host.tell(t="state", state={"listening": True})
    page.wait_for_selector("#listen[aria-pressed=true]")
    assert phrases(page) == ["■", "▶", "▶"]
    assert page.get_attribute("#listen", "aria-label") == "Listen to hall"
    assert violations(page) == []
    page.focus("#listen")
    page.keyboard.press("Enter")
    page.focus("#preset-find")
    page.keyboard.press("Shift+Enter")
    host.until(lambda: host.words("listen")[1:] == [{"t": "listen", "on": False}] * 2)
    assert page.is_visible("#presets")
    assert len(host.words("load")) == 1


def test_a_phrase_does_not_play_if_its_preset_is_refused_or_another_one_loads(host):
    page = host.open()
    browse(host, page)
    page.click("#preset-2 .phrase")
    host.tell(t="say", kind="error", line="no room")
    page.wait_for_selector("#preset[aria-busy=false]")
    page.click("#preset-3 .phrase")
    page.click("#preset-list >> text=hall")
    host.until(lambda: len(host.words("load")) == 3)
    for name in ("kit", "hall"):
        host.tell(
            t="state", state={"preset": host.state["preset"] | {"name": name}, "controls": host.state["controls"]}
        )
    host.until(lambda: page.inner_text("#preset-name") == "hall")
    assert host.words("listen") == []


@pytest.mark.parametrize("answer", ["discard", "cancel", "Escape"])
def test_changes_are_not_lost_before_a_question(host, answer):
    page = host.open()
    changed(host)
    browse(host, page)
    page.click("#preset-list >> text=hall")
    page.wait_for_selector("#unsaved:modal")
    assert violations(page) == []
    assert host.words("load") == []
    if answer == "Escape":
        page.keyboard.press("Escape")
    else:
        page.click(f"#unsaved [value={answer}]")
    page.wait_for_selector("#unsaved", state="hidden")
    if answer == "discard":
        host.until(lambda: host.words("load") == [{"t": "load", "name": "hall"}])
    else:
        changed(host, False)
        page.click("#preset-next")
        host.until(lambda: host.words("load") == [{"t": "load", "name": "mine 2"}])


def test_changes_are_saved_before_the_other_preset_comes_and_not_if_that_is_given_up(host):
    page = host.open()
    changed(host)
    browse(host, page)
    page.keyboard.press("Escape")
    page.click("#preset-next")
    page.click("#unsaved [value=save]")
    page.wait_for_selector("#saving:modal")
    page.keyboard.press("Escape")
    page.wait_for_selector("#saving", state="hidden")
    page.click("#preset-next")
    page.click("#unsaved [value=save]")
    page.click("#save-form .main")
    host.until(lambda: host.words("save"))
    host.tell(t="say", kind="note", line="a controller came")
    host.tell(t="say", kind="error", line="the disk is full")
    host.until(lambda: page.inner_text("#save-said") == "the disk is full")
    assert host.words("load") == []
    host.tell(t="say", kind="note", line="saved as /home/me/mine 3.toml")
    host.until(lambda: host.words("load") == [{"t": "load", "name": "mine 2"}])
    assert page.is_hidden("#saving")


def test_a_free_name_is_proposed_until_another_is_typed(host):
    page = host.open()
    page.click("#save")
    host.until(lambda: host.words("presets"))
    host.tell(t="presets", list=LIST)
    host.until(lambda: page.input_value("#save-name") == "mine 3")
    page.check("#save-over")
    assert page.input_value("#save-name") == "mine"
    page.keyboard.press("Escape")
    changed(host, True, name="hall")
    page.click("#save")
    page.check("#save-over")
    assert page.input_value("#save-name") == "hall 2"  # shipped presets are never replaced
    page.fill("#save-name", "stage")
    page.uncheck("#save-over")
    host.tell(t="presets", list=LIST)
    page.click("#save-form .main")
    host.until(lambda: host.words("save") == [{"t": "save", "name": "stage", "overwrite": False}])
