"""Sliders, typed values, badges and effects: what a hand does reaches the host as the protocol has it."""

import json
import math

import pytest

from .conftest import bound, control


def slider(page, target):
    box = page.locator(f'#controls [data-target="{target}"] input[type=range]').bounding_box()
    return lambda place: (box["x"] + 10 + (box["width"] - 20) * place, box["y"] + box["height"] / 2)


def number(page, target):
    return page.locator(f'#controls [data-target="{target}"] .typed input')


def retype(field, text):
    """Type as a hand does: only then does Firefox report a change."""
    for key in ("Control+a", "Delete"):
        field.press(key)
    field.page.keyboard.type(text)


def gesture(host, target):
    """The words of one gesture from its grab to its drop."""
    host.until(lambda: host.words("drop"))
    words = host.words("grab", "move", "drop")
    assert [words[0], words[-1]] == [{"t": "grab", "targets": [target]}, {"t": "drop", "targets": [target]}]
    return [word["values"][target] for word in words[1:-1]]


def test_dragging_a_slider_is_one_gesture_and_ends_where_the_hand_let_go(host):
    page = host.open()
    at = slider(page, "latent.1")
    page.mouse.move(*at(0.5))
    page.mouse.down()
    page.mouse.move(*at(0.75), steps=10)
    host.until(lambda: float(number(page, "latent.1").input_value()) == pytest.approx(0.5, abs=0.03))
    page.mouse.up()
    values = gesture(host, "latent.1")
    assert values == sorted(values)
    assert values[-1] == pytest.approx(0.5, abs=0.03)


# On a busy machine half a second passes before a finger moves, which would open the menu.
NO_LONG_PRESS = """() => {
    const schedule = setTimeout;
    window.setTimeout = (call, delay) => (delay === 500 ? 0 : schedule(call, delay));
}"""


def test_a_finger_drags_a_slider_as_the_mouse_does(host):
    page = host.open()
    page.evaluate(NO_LONG_PRESS)
    at = slider(page, "latent.1")
    session = page.context.new_cdp_session(page)
    for kind, places in (("touchStart", [0.5]), ("touchMove", [0.55, 0.6, 0.65, 0.7, 0.75]), ("touchEnd", [None])):
        for place in places:
            points = [] if place is None else [dict(zip(("x", "y"), at(place), strict=True))]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    values = gesture(host, "latent.1")
    assert values == sorted(values)
    assert values[-1] == pytest.approx(0.5, abs=0.03)


def test_with_shift_the_thumb_goes_a_tenth_of_the_way_and_does_not_jump(host):
    page = host.open()
    at = slider(page, "latent.0")
    page.keyboard.down("Shift")
    page.mouse.move(*at(0.6))
    page.mouse.down()
    page.mouse.move(*at(0.8), steps=10)
    page.mouse.up()
    values = gesture(host, "latent.0")
    assert abs(values[0]) < 0.02
    assert values[-1] == pytest.approx(0.04, abs=0.01)


def test_arrows_move_by_a_hundredth_page_by_a_tenth_and_home_and_end_to_the_ends(host):
    page = host.open()
    page.locator("#range-latent\\.0").focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "PageDown", "End", "Home"):
        page.keyboard.press(key)
    host.until(lambda: len(host.words("drop")) == 5)
    values = [word["values"]["latent.0"] for word in host.words("move")]
    assert values == pytest.approx([0.02, 0.022, -0.178, 1, -1])


def test_a_value_that_awaits_the_next_frame_does_not_undo_a_later_key_press(host):
    host.state["waiting"] = {"gain": {"CC 7": 12.0}}
    page = host.open()
    page.evaluate("() => { window.frames_due = []; window.requestAnimationFrame = (draw) => frames_due.push(draw); }")
    page.locator("#range-latent\\.0").focus()
    host.tell(t="values", values={"latent.0": 0.5})
    host.tell(t="state", state={"waiting": {}})  # shown at once: the page has heard the value before
    host.until(lambda: not page.evaluate("document.querySelector('.badge.waits')"))
    host.tell = lambda **message: None  # its answers come later
    page.keyboard.down("ArrowRight")
    page.evaluate("frames_due.splice(0).forEach((draw) => draw(performance.now()))")
    page.keyboard.press("ArrowRight")
    host.until(lambda: host.words("drop"))
    assert host.words("move")[-1]["values"] == {"latent.0": pytest.approx(0.04)}


@pytest.mark.parametrize("place", [0.2, 0.875], ids=["beside the thumb", "on the thumb"])
def test_double_click_gives_the_default_and_is_one_gesture(host, place):
    host.state["controls"][3]["value"] = 3.0
    page = host.open()
    page.mouse.dblclick(*slider(page, "gain")(place))
    assert gesture(host, "gain")[-1] == -6
    host.tell(t="values", values={"gain": -6.0})
    host.until(lambda: number(page, "gain").input_value() == "-6.0")
    page.wait_for_timeout(600)  # longer than a click waits for a second one
    assert len(host.words("grab")) == len(host.words("drop")) == 1
    assert host.words("set") == []


def test_what_is_done_after_a_click_comes_after_it(host):
    page = host.open()
    page.mouse.click(*slider(page, "latent.0")(0.8))
    page.keyboard.press("Control+z")
    page.mouse.click(*slider(page, "latent.1")(0.2))
    page.mouse.click(*slider(page, "latent.2")(0.2))
    host.until(lambda: len(host.words("drop")) == 3)
    order = [*(word.get("targets", ["undo"])[0] for word in host.words("drop", "undo"))]
    assert order == ["latent.0", "undo", "latent.1", "latent.2"]


def test_a_typed_value_is_set_within_its_range(host):
    page = host.open()
    for typed in ("-3,5", "99", "loud"):
        number(page, "gain").fill(typed)
        page.keyboard.press("Enter")
    host.until(lambda: len(host.words("set")) == 2)
    assert [word["values"] for word in host.words("set")] == [{"gain": -3.5}, {"gain": 12}]
    host.tell(t="values", values={"gain": 12.0})
    host.until(lambda: number(page, "gain").input_value() == "12.0")


TYPED = (
    ("envelope.attack_seconds", "0.5 s", 0.5),
    ("envelope.attack_seconds", "500 ms", 0.5),
    ("envelope.attack_seconds", "0,5", 0.5),
    ("effects.0.room_size", "25 %", 0.25),
    ("gain", "\u221212 dB", -12),
    ("effects.1.cutoff_hz", "2 k", 2000),
    ("effects.1.cutoff_hz", "440 Hz", 440),
    ("effects.1.cutoff_hz", "1.5kHz", 1500),
    ("effects.1.release_ms", "0.2 s", 200),
)


def test_a_value_is_typed_with_its_unit(host):
    host.state["controls"] += [
        control("effects.1.cutoff_hz", "Cutoff", "effects", 20, 20000, 1000, "Hz", log=True, effect=1),
        control("effects.1.release_ms", "Release", "effects", 1, 1000, 100, "ms", effect=1),
    ]
    host.state["effects"].append({"index": 1, "plugin": "Filter", "title": "Filter", "on": True})
    page = host.open()
    rests = {one["target"]: one["default"] for one in host.state["controls"]}
    for target, text, value in TYPED:
        shown = number(page, target).input_value()
        host.said.clear()
        retype(number(page, target), text)
        page.keyboard.press("Enter")
        host.until(lambda: host.words("set"))
        assert host.words("set")[0]["values"] == {target: pytest.approx(value)}, text
        host.tell(t="values", values={target: rests[target]})
        host.until(lambda target=target, shown=shown: number(page, target).input_value() == shown)


def test_a_wrong_unit_is_refused_in_a_line_beside_the_number_and_nothing_changes(host):
    host.page.clock.install()
    page = host.open()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)  # a refusal stays for some seconds
    for text in ("440 Hz", "loud", "50 %", "1 2", "3 constructor", ""):
        retype(number(page, "gain"), text)
        page.keyboard.press("Enter")
        page.wait_for_selector('[data-target="gain"] .refused >> text=Type a number, such as -6.0 dB')
        assert number(page, "gain").input_value() == "-6.0", text
        line, pane = (page.locator(one).bounding_box() for one in ('#controls [data-target="gain"] .refused', "#knobs"))
        assert pane["x"] <= line["x"] < line["x"] + line["width"] <= pane["x"] + pane["width"]
        retype(number(page, "gain"), "-12")
        assert page.locator(".refused", has_text="Type").count() == 0
        assert host.words("set") == [], text


def test_a_refusal_stays_its_whole_time_after_one_before(host):
    host.page.clock.install()
    page = host.open()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)
    refused = page.locator('#controls [data-target="gain"] .refused')
    for text in ("loud", "louder"):
        retype(number(page, "gain"), text)
        page.keyboard.press("Enter")
        refused.filter(has_text="Type a number").wait_for()
        page.clock.run_for(2500)
    assert refused.inner_text() != ""
    page.clock.run_for(2500)
    assert refused.inner_text() == ""


def notch(page, target, by, *, place=0.5):
    page.mouse.move(*slider(page, target)(place))
    page.mouse.wheel(0, by)


def test_the_wheel_turns_a_slider_by_a_hundredth_and_a_run_of_notches_is_one_gesture(host):
    page = host.open()
    page.set_viewport_size({"width": 1280, "height": 1600})  # nothing to scroll
    # At once: on a busy machine a browser takes longer for a notch than a run may rest.
    page.evaluate(
        """() => {
            const range = document.getElementById('range-latent.1');
            for (const [notch, deltaY] of [-120, -120, 120, -120, -120].entries())
                range.dispatchEvent(new WheelEvent('wheel', { deltaY, shiftKey: notch === 4, cancelable: true }));
        }"""
    )
    page.keyboard.press("Control+z")
    assert gesture(host, "latent.1")[-1] == pytest.approx(0.042)  # moves that are close go out as one
    host.until(lambda: host.said[-1]["t"] == "undo")
    assert len(host.words("grab")) == 1


def test_in_a_column_that_scrolls_the_wheel_is_for_the_column_unless_the_slider_has_the_focus(host):
    host.state["controls"] += [control(f"latent.{i}", f"Latent {i}", "latent", -1, 1, 0) for i in range(3, 30)]
    page = host.open()
    scrolled = '() => document.querySelector("#knobs").scrollTop'
    page.locator("#range-latent\\.1").focus()
    notch(page, "latent.1", 120)
    assert gesture(host, "latent.1") == pytest.approx([-0.02])
    assert page.evaluate(scrolled) == 0
    page.locator("#learn").focus()
    notch(page, "latent.1", 120)
    host.until(lambda: page.evaluate(scrolled) > 0)
    assert len(host.words("move")) == 1


def test_a_latents_name_has_a_tooltip_that_says_why_it_is_none(host):
    page = host.open()
    first, *others = host.state["controls"]
    host.tell(t="state", state={"controls": [first | {"about": "no name: air is too faint"}, *others]})
    page.wait_for_selector('label[title="latent.0, no name: air is too faint"]')


def test_the_middle_of_a_logarithmic_slider_is_the_geometric_mean(host):
    page = host.open()
    page.mouse.click(*slider(page, "envelope.attack_seconds")(0.5))
    assert gesture(host, "envelope.attack_seconds")[-1] == pytest.approx(math.sqrt(0.001 * 10), rel=0.1)


def test_what_another_hand_moves_is_shown_but_not_under_the_hand_that_holds(host):
    page = host.open()
    at = slider(page, "latent.2")
    host.tell(t="values", values={"latent.2": -0.5, "gain": 0.0})
    host.until(lambda: number(page, "gain").input_value() == "0.0")
    assert number(page, "latent.2").input_value() == "-0.50"
    page.mouse.move(*at(0.8))
    page.mouse.down()
    host.until(lambda: host.words("move"))
    host.tell(t="values", values={"latent.2": 0.1, "gain": 6.0})
    host.until(lambda: number(page, "gain").input_value() == "6.0")
    assert float(number(page, "latent.2").input_value()) > 0.5
    page.mouse.up()
    host.until(lambda: number(page, "latent.2").input_value() == "0.10")


def test_a_slider_stays_where_the_hand_let_go_until_the_panel_has_answered(host):
    page = host.open()
    at = slider(page, "latent.2")
    page.mouse.move(*at(0.5))
    host.hangs = True
    page.mouse.down()
    page.mouse.move(*at(0.9))
    page.mouse.up()
    host.tell(t="values", values={"latent.2": -0.5, "gain": 0.0})
    host.until(lambda: number(page, "gain").input_value() == "0.0")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    assert float(number(page, "latent.2").input_value()) > 0.5
    host.tell(t="pong", at=1e12)
    host.until(lambda: number(page, "latent.2").input_value() == "-0.50")


def test_learning_waits_on_the_control_that_is_picked_says_what_came_and_stays_on_until_left(host):
    page = host.open()
    badge = page.locator('#controls [data-target="latent.0"] .badge')
    badge.click()
    host.until(lambda: host.words("learn") == [{"t": "learn", "target": "latent.0"}])
    host.tell(t="state", state={"learn": {"target": "latent.0", "said": ""}})
    page.wait_for_selector('#controls [data-target="latent.0"].waits')
    assert "Latent 0 waits" in page.inner_text("#learning")
    controls = json.loads(json.dumps(host.state["controls"]))
    controls[0]["maps"] = [bound("CC 21", "jump", -1, 1)]
    host.tell(t="state", state={"learn": {"target": None, "said": "CC 21 moves Latent 0"}, "controls": controls})
    host.until(lambda: badge.inner_text() == "CC 21")
    assert "CC 21 moves Latent 0" in page.inner_text("#learning")
    page.click('#controls [data-target="latent.0"] .forget')
    host.until(lambda: host.words("unlearn") == [{"t": "unlearn", "target": "latent.0"}])
    page.keyboard.press("Escape")
    host.until(lambda: host.words("learn")[-1] == {"t": "learn", "target": None})
    assert page.get_attribute("#learn", "aria-pressed") == "false"
    assert host.words("panic") == []


def test_a_knob_that_waits_for_its_target_says_where_it_stands_until_it_has_met_it(host):
    host.state["waiting"] = {"gain": {"CC 7": 12.0}}
    page = host.open()
    badge, mark = (
        page.locator('#controls [data-target="gain"] .badge'),
        page.locator('#controls [data-target="gain"] .stands'),
    )
    assert "waits" in badge.get_attribute("class")
    assert "stands at 12.0 and waits until it passes this value (pickup)" in badge.get_attribute("aria-label")
    box = mark.bounding_box()
    assert box["x"] + box["width"] / 2 == pytest.approx(slider(page, "gain")(1)[0], abs=2)
    host.tell(t="state", state={"waiting": {}})
    mark.wait_for(state="hidden")
    assert "CC 7 turns this" in badge.get_attribute("aria-label")


def test_two_sliders_of_one_target_show_one_value_and_a_label_belongs_to_its_own(host):
    page = host.open()
    large, small = (page.locator(f"#range-{form}latent\\.0") for form in ("large-", ""))
    large.focus()
    page.keyboard.press("End")
    assert gesture(host, "latent.0") == [1]
    numbers = [page.locator(f"#number-{form}latent\\.0") for form in ("large-", "")]
    host.until(lambda: [each.input_value() for each in numbers] == ["1.00", "1.00"])
    host.tell(t="values", values={"latent.0": -1.0})
    host.until(lambda: small.input_value() == large.input_value() == "0")
    assert page.locator("#large label").first.get_attribute("for") == "range-large-latent.0"


def test_effects_are_added_switched_moved_and_removed(host):
    host.state["effects"].append({"index": 1, "plugin": "Chorus", "title": "Chorus", "on": False})
    page = host.open()
    page.select_option("#effect-pick", "Chorus")
    for name in ("#effect-add", "#Switch-1", "#Earlier-1", "#Remove-0"):
        page.click(name)
    host.until(lambda: len(host.words("effect")) == 4)
    assert [{key: word[key] for key in word if key != "t"} for word in host.words("effect")] == [
        {"do": "add", "plugin": "Chorus"},
        {"do": "bypass", "index": 1, "on": True},
        {"do": "move", "index": 1, "to": 0},
        {"do": "remove", "index": 0},
    ]


SOURCES = [
    {"name": "sine 2 Hz", "way": "adds", "low": -0.5, "high": 0.25},
    {"name": "path", "way": "sets", "low": -1, "high": 0.5},
    {"name": "morph", "way": "leads", "low": 0.5, "high": 0.5},
]


@pytest.mark.parametrize("form", ["", "large-"])
def test_a_band_spans_what_each_source_reaches_from_where_the_knob_is(host, form):
    host.state["controls"][0] |= {"sources": SOURCES, "value": -0.5}
    page = host.open()
    row = page.locator(".control", has=page.locator(f"#range-{form}latent\\.0"))
    thumb = 32 if form else 20
    box = row.locator(".track").bounding_box()

    def bands():
        boxes = [band.bounding_box() for band in row.locator(".band").all()]
        left, way = box["x"] + thumb / 2, box["width"] - thumb
        return [((one["x"] - left) / way, (one["x"] + one["width"] - left) / way) for one in boxes]

    assert bands() == [pytest.approx(ends, abs=0.02) for ends in ((0, 0.375), (0, 0.75), (0.25, 0.75))]
    host.tell(t="values", values={"latent.0": 0.5})
    host.until(lambda: number(page, "latent.0").input_value() == "0.50")
    assert bands() == [pytest.approx(ends, abs=0.02) for ends in ((0.5, 0.875), (0, 0.75), (0.75, 0.76))]
    assert row.locator("input[type=range]").get_attribute("title") == "Also moved by sine 2 Hz, path, morph"


def test_a_mark_stands_at_the_value_that_sounds_and_goes_with_its_source(host):
    host.state["controls"][3]["sources"] = [{"name": "wide", "way": "adds", "low": -6, "high": 6}]
    page = host.open()
    mark = page.locator('#controls [data-target="gain"] .ghost')
    host.meters(moved={"gain": -24})
    mark.wait_for()
    box = mark.bounding_box()
    assert box["x"] + box["width"] / 2 == pytest.approx(slider(page, "gain")(0.5)[0], abs=2)
    host.meters(moved={})
    mark.wait_for(state="hidden")


def test_a_mark_moves_four_times_a_second_at_most_where_motion_is_to_be_reduced(host):
    host.page.emulate_media(reduced_motion="reduce")
    host.page.clock.install()
    page = host.open()
    mark = page.locator('#controls [data-target="latent.0"] .ghost')
    place = "(mark) => Number(mark.style.getPropertyValue('--at'))"
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)
    for value in (0.5, 1.0):
        host.meters(moved={"latent.0": value})
    host.tell(t="say", line="both came", kind="note")
    page.wait_for_selector("text=both came")
    assert mark.evaluate(place) == 0.75
    page.clock.run_for(300)
    host.meters(moved={"latent.0": 1.0})
    host.until(lambda: mark.evaluate(place) == 1)
