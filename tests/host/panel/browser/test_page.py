"""The page as a whole: it comes back, it is legible for all, and it asks nobody but its own host."""

import itertools

from .conftest import TOKEN

SIZES = {"phone": (320, 640), "tablet": (1024, 768), "wall": (3840, 2160)}


def test_the_page_says_who_it_is_and_shows_what_it_is_told(host):
    page = host.open()
    assert host.said[0] == {"t": "hello", "token": TOKEN}
    assert page.inner_text("#preset-name") == "mine"
    assert page.locator("#controls .control").count() == len(host.state["controls"])
    host.tell(t="state", state={"preset": host.state["preset"] | {"dirty": True, "can_undo": True}})
    page.wait_for_selector("#undo:not([disabled])")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.click("#side-b")
    host.until(lambda: host.words("undo", "redo", "side") == [{"t": "undo"}, {"t": "redo"}, {"t": "side", "side": "B"}])
    assert page.title() == "* mine – timbrel"


def test_a_wrong_token_is_said_and_not_tried_again(host):
    page = host.open(token="another")
    page.wait_for_selector("#lost:not([hidden])")
    assert "open the one that timbrel prints" in page.inner_text("#lost")
    assert page.is_hidden("#loading")
    page.wait_for_timeout(700)
    assert len(host.sockets) == 1


def test_after_timbrel_has_ended_the_page_says_so_and_tries_no_more(host):
    page = host.open()
    host.sockets[0].close(code=4410)
    page.wait_for_selector("#lost:not([hidden])")
    assert "timbrel has ended" in page.inner_text("#lost")
    page.evaluate("dispatchEvent(new Event('online'))")  # upon which a page that tries again does so at once
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 400))")
    assert len(host.sockets) == 1


def test_a_new_token_at_the_same_address_is_taken(host):
    page = host.open(token="old")
    page.wait_for_selector("#lost:not([hidden])")
    page.evaluate(f"location.hash = '#{TOKEN}'")
    page.wait_for_selector("body[data-ready]")
    assert page.is_hidden("#lost")


def test_the_page_comes_back_by_itself_and_says_again_what_hands_still_hold(host):
    page = host.open()
    box = page.locator("#range-gain").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.keyboard.down("KeyZ")
    page.keyboard.down("KeyX")
    page.keyboard.up("KeyX")
    host.until(lambda: len(host.words("note")) == 3)
    host.refuses = True
    host.sockets[0].close(code=1012)
    page.wait_for_selector("#lost:not([hidden])")
    assert "tries again by itself" in page.inner_text("#lost")
    before, host.refuses = len(host.said), False
    host.until(lambda: len(host.said) >= before + 5)
    page.wait_for_selector("#lost", state="hidden")
    again = host.said[before:]
    assert {word["t"] for word in again} == {"hello", "spectrum", "note", "grab", "move"}
    assert [word["key"] for word in again if word["t"] == "note"] == [host.words("note")[0]["key"]]
    page.keyboard.up("KeyZ")
    page.mouse.up()
    host.until(lambda: host.words("drop") and host.words("note")[-1]["velocity"] == 0)


def test_a_link_without_an_answer_for_a_second_is_noticed_and_opened_anew(host):
    page = host.open()
    page.keyboard.down("KeyZ")
    host.until(lambda: host.words("note"))
    for beat in range(8):
        page.evaluate("beat()")
        host.tell(t="values", values={"gain": -beat})
        host.until(lambda beat=beat: float(page.input_value("#number-gain")) == -beat)
    assert page.is_hidden("#lost")
    host.hangs = True
    for _ in range(4):
        page.evaluate("beat()")
    assert "No connection" in page.inner_text("#lost")
    host.until(lambda: len(host.sockets) == 2)
    for _ in range(20):  # the next one hangs, too
        page.evaluate("beat()")
    host.until(lambda: len(host.sockets) == 3)
    host.hangs = False
    for _ in range(20):
        page.evaluate("beat()")
    page.wait_for_selector("#lost", state="hidden")
    host.until(lambda: len(host.words("note")) == 2)  # the key is still down
    page.keyboard.up("KeyZ")


def test_moves_are_sent_no_more_than_the_host_takes_and_the_last_is_among_them(host):
    page = host.open()
    script = """async () => {
        const { Link } = await import('./socket.js');
        const link = new Link(`ws://${location.host}/socket`, 'a-token');
        await new Promise((resolve) => link.on('welcome', resolve));
        link.grab(['gain']);
        const start = performance.now();
        let count = 0;
        while (performance.now() - start < 500) {
            link.move({ gain: -count++ / 1e6 });
            await new Promise((resolve) => setTimeout(resolve));
        }
        link.drop(['gain']);
        return count - 1;
    }"""
    last = page.evaluate(script)
    host.until(lambda: host.words("drop"))
    moves = [word["values"]["gain"] for word in host.words("move")]
    assert moves[-1] == -last / 1e6
    assert moves == sorted(moves, reverse=True)
    assert len(moves) <= 100  # 200 a second: half of what a host takes


def test_presets_are_listed_loaded_and_saved_and_a_name_that_is_taken_is_told_in_the_dialog(host):
    page = host.open()
    page.click("#preset")
    host.until(lambda: host.words("presets"))
    mine = {"name": "<b>mine</b>", "description": "A pad", "model": "small", "shipped": False, "fits": True}
    host.tell(t="presets", list=[mine, mine | {"name": "gm-hall", "shipped": True}])
    page.wait_for_selector("#preset-list [role=option]")
    assert page.locator("#preset-list b").all_inner_texts() == ["<b>mine</b>", "gm-hall"]
    page.fill("#preset-find", "hall")
    page.click("#preset-list [role=option]")
    page.click("#save")
    page.fill("#save-name", "mine")
    page.keyboard.press("Enter")
    host.until(lambda: host.words("save"))
    host.tell(t="say", kind="error", line="mine exists")
    host.until(lambda: page.inner_text("#save-said") == "mine exists")
    page.check("#save-over")
    page.click("#save-form .main")
    host.until(lambda: len(host.words("save")) == 2)
    assert host.words("load") == [{"t": "load", "name": "gm-hall"}]
    assert [word["overwrite"] for word in host.words("save")] == [False, True]


def test_the_arrows_and_enter_choose_a_preset_while_its_name_is_typed(host):
    page = host.open()
    page.click("#preset")
    preset = {"description": "", "model": "small", "shipped": True, "fits": True}
    host.tell(t="presets", list=[preset | {"name": name} for name in ("gm-hall", "mine", "gm-pad")])
    page.wait_for_selector('[role=option][aria-selected="true"] >> text=mine')  # which plays
    assert page.evaluate("document.activeElement.id") == "preset-find"
    page.keyboard.type("gm")
    for name, chosen in (
        ("ArrowDown", "gm-pad"),
        ("ArrowDown", "gm-pad"),
        ("ArrowUp", "gm-hall"),
        ("ArrowDown", "gm-pad"),
    ):
        page.keyboard.press(name)
        row = page.locator('[role=option][aria-selected="true"]')
        assert row.locator("b").inner_text() == chosen
        assert page.get_attribute("#preset-find", "aria-activedescendant") == row.get_attribute("id")
    page.keyboard.press("Enter")
    host.until(lambda: host.words("load") == [{"t": "load", "name": "gm-pad"}])
    assert page.is_hidden("#presets")
    assert page.evaluate("document.activeElement.id") == "preset"
    assert host.words("note") == []


def test_meters_mark_underruns_and_explain_latency_by_its_parts(host):
    page = host.open()
    host.meters(underruns=2)
    host.meters(underruns=5)
    host.until(lambda: page.inner_text("#latency") == "7.5 ms")
    page.wait_for_timeout(300)
    host.meters(underruns=5)
    host.until(lambda: page.inner_text("#underruns") == "5")
    page.click("#meters")
    said = page.inner_text("#about")
    assert "5 underruns since the start, 3 in the last minute" in said
    assert "the sound card; a card without a mixer" in said
    assert "licence" in said


def test_nothing_is_cut_off_and_what_fingers_touch_is_44_pixels_at_least(host):
    page = host.open()
    host.meters()
    for size, view in itertools.product(SIZES.values(), ("map", "controls")):
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        if page.is_visible(f"#view-{view}"):
            page.click(f"#view-{view}")
        wide = page.evaluate(
            """() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest('svg'))
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"""
        )
        assert wide == [], size
        small = page.evaluate(
            """() => [...document.querySelectorAll('button, select, summary, input:not([type=checkbox])')]
            .filter((e) => e.checkVisibility() && !e.matches('.key'))
            .map((e) => [e.id || e.textContent, e.getBoundingClientRect()])
            .filter(([, box]) => Math.round(box.width) < 44 || Math.round(box.height) < 44).map(([name]) => name)"""
        )
        assert small == [], size
        # In one look: after another size the piano is drawn anew, and a key of the one before has no box.
        narrowest = page.evaluate(
            """() => Math.min(...[...document.querySelectorAll('#piano .key:not(.black)')]
                .map((key) => key.getBoundingClientRect().width))"""
        )
        assert 43 <= narrowest < 1000, size


def test_all_can_be_reached_by_the_keyboard(host):
    page = host.open()
    page.evaluate(
        """() => {
            window.reached = [];
            addEventListener('focusin', ({ target }) => reached.push(target.id || target.className));
        }"""
    )
    for _ in range(80):
        page.keyboard.press("Tab")
    reached = page.evaluate("window.reached")
    wanted = {
        "preset",
        "learn",
        "side-b",
        "save",
        "meters",
        "search",
        "colour",
        "draw",
        "point",
        "octave-up",
        "hold",
        "panic",
    }
    assert wanted | {"range-latent.0", "number-gain", "key", "effect-add"} <= {
        name.split()[0] for name in reached if name
    }
