"""The page at a glance: level and spectrum at the top, hints, and nothing to scroll to before playing."""

import contextlib

import pytest

from .conftest import Host, bound

SIZES = {"laptop": (1280, 800), "tablet": (1024, 768), "phone": (390, 844), "phone on its side": (844, 390)}
# The width, in parts, of the filled part of each half of the level's canvas.
BARS = """() => {
    const canvas = document.getElementById('level-bars');
    const { width, height } = canvas;
    const ground = getComputedStyle(document.documentElement).getPropertyValue('--raised');
    const brush = document.createElement('canvas').getContext('2d');
    brush.fillStyle = ground;
    brush.fillRect(0, 0, 1, 1);
    const empty = String(brush.getImageData(0, 0, 1, 1).data);
    return [2, height - 2].map((y) => {
        const row = canvas.getContext('2d').getImageData(0, y, width, 1).data;
        let at = 0;
        while (at < width && String(row.slice(4 * at, 4 * at + 4)) !== empty) at++;
        return at / width;
    });
}"""
HIGHEST = """() => {
    const canvas = document.getElementById('spectrum');
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    const at = data.findIndex((value, index) => index % 4 === 3 && value > 200);
    return at < 0 ? -1 : (((at - 3) / 4) % width) / width;
}"""


COUNTING = """WebSocket = class extends WebSocket {
    constructor(...address) {
        super(...address);
        window.received = 0;  // messages of the meters; others may still be under way
        this.addEventListener("message", ({ data }) => { received += String(data).includes('"meters"'); });
    }
}"""


def test_both_channels_have_their_level_which_falls_after_a_peak(host):
    host.page.add_init_script(COUNTING)
    host.page.clock.install(time=0)
    page = host.open()
    page.clock.pause_at(3_600_000)  # milliseconds: from here on time passes by the test's steps alone

    def meters(*peaks_db):
        """The page's time passes between messages, never while one is under way."""
        before = page.evaluate("received")
        host.meters(peaks_db=[*peaks_db])
        host.until(lambda: page.evaluate("received") > before)
        page.clock.run_for(300)
        return page.inner_text("#level-number"), page.evaluate(BARS)

    assert meters(-12.0, -30.0) == ("-12 dB", pytest.approx([0.8, 0.5], abs=0.05))
    page.clock.run_for(700)
    assert meters(-100.0, -30.0)[1] == pytest.approx([0.8 - 20 / 60, 0.5], abs=0.05)  # 20 dB a second
    page.clock.run_for(4000)
    assert meters(-100.0, -100.0)[0] == "silent"


def test_the_spectrum_shows_its_bands_until_it_is_switched_off_for_good(host):
    page = host.open()
    host.meters(spectrum_db=[-90] * 48 + [-20] + [-90] * 15)
    host.until(lambda: page.evaluate(HIGHEST) > 0)
    assert page.evaluate(HIGHEST) == pytest.approx(48.5 / 64, abs=0.05)
    page.click("#spectrum-on")
    assert page.evaluate(HIGHEST) == -1
    host.until(lambda: [word["on"] for word in host.words("spectrum")] == [True, False])
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.get_attribute("#spectrum-on", "aria-pressed") == "false"


def test_each_hint_stays_until_it_is_followed_or_closed(host):
    page = host.open()
    assert page.locator(".hint:visible").count() == 3
    page.set_viewport_size({"width": 390, "height": 844})  # where the hint has a line of its own
    before = page.locator("#point").bounding_box()
    page.keyboard.press("KeyZ")
    page.wait_for_selector("[data-hint=keys]", state="hidden")
    assert page.locator("#point").bounding_box() == before  # nothing moves under a hand
    page.locator("[data-hint=map] button").click()
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator(".hint:visible").evaluate_all("hints => hints.map((hint) => hint.dataset.hint)") == ["knobs"]


def boxes(page, *selectors):
    return {selector: page.locator(selector).bounding_box() for selector in selectors}


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_neither_hints_nor_lines_lie_on_the_map_and_lines_move_nothing(host, size):
    page = host.open()
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    before = boxes(page, "#plane", "#search", "#piano", "header")
    hint = page.locator("[data-hint=map]").bounding_box()
    assert hint["y"] + hint["height"] <= before["#plane"]["y"]
    for kind in ("warning", "error", "note"):
        host.tell(t="say", line=f"a line of kind {kind}", kind=kind)
    page.wait_for_selector("#lines .note")
    assert page.locator("#lines p:visible").all_inner_texts() == ["a line of kind note\n✕"]
    assert boxes(page, "#plane", "#search", "#piano", "header") == before
    line = page.locator("#lines .note").bounding_box()
    assert line["y"] + line["height"] <= before["#search"]["y"]
    for kind in ("error", "warning"):
        page.locator("#lines p:visible button").click()
        assert page.locator("#lines p:visible").get_attribute("class") == kind


def test_a_card_that_goes_is_one_line_and_meters_and_keys_end_with_the_sound(host):
    page = host.open()
    host.meters(sounding=[60], spectrum_db=[-20] * 64)
    page.wait_for_selector('.key.sounds[data-key="60"]')
    host.until(lambda: page.inner_text("#level-number") == "-12 dB")
    host.tell(t="state", state={"sound": host.state["sound"] | {"away": "Solo (ALSA) has gone"}})
    page.wait_for_selector("#soundless:visible")
    assert page.locator("#lines p:visible").count() == 1
    assert "Solo (ALSA) has gone: playing goes on as soon as" in page.inner_text("#soundless")
    host.until(lambda: page.inner_text("#level-number") == "silent")
    host.until(lambda: max(page.evaluate(BARS)) == 0)
    assert [page.inner_text(part) for part in ("#load", "#latency", "#voices")] == ["–", "–", ""]
    assert page.locator(".key.sounds").count() == 0
    host.tell(t="state", state={"sound": host.state["sound"]})
    page.wait_for_selector("#soundless", state="hidden")


def test_a_session_without_a_card_says_so_until_one_is_chosen(host):
    session = host.state["session"]
    host.state["session"] = session | {"card_fault": "no sound card was found"}
    page = host.open()
    assert "No sound: no sound card was found. Choose a card in Session." in page.inner_text("#soundless")
    host.tell(t="state", state={"session": session})
    page.wait_for_selector("#soundless", state="hidden")


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_names_have_room_also_in_learn_mode(host, size):
    names = ["Brighter and thinner", "Brightness of attack", "Air"]
    for control, name in zip(host.state["controls"], names, strict=False):
        control |= {"title": name, "maps": [bound("CC 74", "jump", -1, 1)]}
    page = host.open()
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    if page.is_visible("#view-controls"):
        page.click("#view-controls")
    cut = """() => [...document.querySelectorAll('.control label')].filter((e) => e.checkVisibility())
        .filter((e) => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth).map((e) => e.htmlFor)"""
    assert page.evaluate(cut) == []
    page.click("#learn")
    assert page.is_visible("#learning")
    assert page.evaluate(cut) == []


@pytest.mark.parametrize("high", [43, 81])
@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_a_kits_keys_are_in_view_from_their_first_octave_on(host, size, high):
    host.page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    host.state["keys"] = {"low": 36, "high": high, "center": min(60, high), "silent": [], "labels": {36: "Kick"}}
    assert host.open().inner_text("#octave") == "C2"


@pytest.mark.parametrize("touch", [False, True], ids=["pointer", "fingers"])
def test_only_a_machine_with_a_pointer_is_told_of_letters(browser, touch):
    with contextlib.closing(browser.new_context(has_touch=touch)) as context:
        page = Host(context).open()
        assert ("letters" in page.inner_text("[data-hint=keys]")) is not touch


def test_the_page_says_that_it_loads_until_a_sound_is_there(host):
    model, host.state["model"] = host.state["model"], None
    page = host.open()
    assert page.is_visible("#loading")
    host.tell(t="state", state={"model": model})
    page.wait_for_selector("#loading", state="hidden")


def test_nothing_needs_scrolling_to_play(host):
    page = host.open()
    for name, size in SIZES.items():
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        assert page.evaluate(
            "document.documentElement.scrollHeight <= innerHeight && document.documentElement.scrollWidth <= innerWidth"
        ), name
        for part in ("#preset", "#level-bars", "#spectrum-on", "#point", "#piano", "#hold"):
            box = page.locator(part).bounding_box()
            assert box["x"] >= 0, (name, part)
            assert box["x"] + box["width"] <= size[0] + 1, (name, part)
            assert box["y"] + box["height"] <= size[1] + 1, (name, part)
            assert box["height"] > 8, (name, part)
