"""Snapshots on the page: slots, the pad between the first four, and the dice."""

import pytest

ONE = {"latent.0": -0.5, "latent.1": 0.0, "envelope.attack_seconds": 0.01}
TWO = {"latent.0": 0.5, "latent.1": 0.5, "envelope.attack_seconds": 1.0}


def stored(host, **snapshots):
    """Tell the page which slots are full."""
    host.state["preset"]["snapshots"] = {slot[1:]: values for slot, values in snapshots.items()}
    host.tell(t="state", state={"preset": host.state["preset"]})
    host.until(lambda: host.page.locator("#slots .full").count() == len(snapshots))


def open_with(host, **snapshots):
    page = host.open()
    stored(host, **snapshots)
    host.said.clear()
    return page


def test_a_click_stores_into_an_empty_slot_and_recalls_a_full_one_in_one_step(host):
    page = open_with(host, s2=TWO)
    page.click("#slot-1")
    page.click("#slot-2")
    host.until(lambda: host.words("set"))
    assert host.words("snapshot", "set", "grab") == [{"t": "snapshot", "slot": 1}, {"t": "set", "values": TWO}]


def test_a_full_slot_is_stored_anew_with_shift_and_cleared_with_the_right_button_or_delete(host):
    page = open_with(host, s1=ONE)
    page.click("#slot-1", modifiers=["Shift"])
    page.click("#slot-1", button="right")
    page.click("#slot-3", button="right")  # which is empty
    page.focus("#slot-1")
    page.keyboard.press("Delete")
    clear = {"t": "snapshot", "slot": 1, "clear": True}
    host.until(lambda: len(host.words("snapshot", "set")) == 3)
    assert host.words("snapshot", "set") == [{"t": "snapshot", "slot": 1}, clear, clear]
    assert "Right click: clear" in page.inner_text("#snapshots")


def test_a_long_press_stores_anew_and_recalls_nothing(host):
    page = open_with(host, s1=ONE)
    page.clock.install()
    page.hover("#slot-1")
    page.mouse.down()
    page.clock.run_for(700)
    page.mouse.up()
    page.hover("#slot-2")
    page.mouse.down()
    page.clock.run_for(300)
    page.mouse.up()
    host.until(lambda: len(host.words("snapshot", "set")) == 2)
    assert host.words("snapshot", "set") == [{"t": "snapshot", "slot": 1}, {"t": "snapshot", "slot": 2}]


def test_a_finger_that_stays_does_not_clear(host):
    page = open_with(host, s1=ONE)
    page.evaluate(
        """() => {
            const slot = document.getElementById('slot-1');
            slot.dispatchEvent(new PointerEvent('pointerdown', { pointerType: 'touch', bubbles: true }));
            window.shown = slot.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true }));
        }"""
    )
    host.until(lambda: host.words("snapshot"))
    assert host.words("snapshot") == [{"t": "snapshot", "slot": 1}]
    assert page.evaluate("window.shown") is False


def drag(page, *places):
    box = page.locator("#corners").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def test_a_drag_blends_the_corners_along_the_sliders_and_is_one_step(host):
    page = open_with(host, s1=ONE, s2=TWO)
    drag(page, (0.1, 0.9), (0.3, 0.5), (0.5, 0.4))
    host.until(lambda: host.words("drop"))
    assert [word["t"] for word in host.words("grab", "drop", "set")] == ["grab", "drop"]
    assert set(host.words("grab")[0]["targets"]) == set(ONE)
    last = host.words("move")[-1]["values"]
    assert last["latent.0"] == pytest.approx(0.0, abs=0.02)
    assert last["latent.1"] == pytest.approx(0.25, abs=0.02)
    assert last["envelope.attack_seconds"] == pytest.approx(0.1, rel=0.1)  # halfway on a logarithmic slider


def test_four_corners_are_blended_bilinearly_and_at_a_corner_its_own_values_are_set(host):
    page = open_with(
        host,
        **{f"s{slot}": {"latent.0": value} for slot, value in zip((1, 2, 3, 4), (0.0, 0.2, 0.4, 1.0), strict=True)},
    )
    drag(page, (0.5, 0.5), (0.75, 0.25), (0.5, 1.2), (2, 2))
    host.until(lambda: host.words("drop"))
    values = [word["values"]["latent.0"] for word in host.words("move")]
    assert values[-1] == 1.0
    drag(page, (0.75, 0.25))
    host.until(lambda: len(host.words("drop")) == 2)
    x, y = 0.75, 0.25
    expected = x * (1 - y) * 0.2 + (1 - x) * y * 0.4 + x * y
    assert host.words("move")[-1]["values"]["latent.0"] == pytest.approx(expected, abs=0.02)


def test_a_choice_is_that_of_the_nearest_corner_and_what_no_corner_has_stays(host):
    choice = host.state["controls"][0] | {
        "target": "clip.label",
        "title": "Label",
        "group": "clip",
        "high": 5,
        "choices": list("abcdef"),
    }
    host.state["controls"].append(choice)
    page = open_with(host, s1={"clip.label": 1}, s4={"clip.label": 4, "latent.2": 0.5})
    drag(page, (0.2, 0.2), (0.4, 0.45))
    host.until(lambda: host.words("drop"))
    drag(page, (0.6, 0.6))
    host.until(lambda: len(host.words("drop")) == 2)
    assert host.words("move")[0]["values"]["clip.label"] == 1
    assert host.words("move")[-1]["values"] == {"clip.label": 4, "latent.2": 0.5}


def test_arrows_move_the_pad_while_they_are_down_and_it_waits_for_two_corners(host):
    page = open_with(host, s1=ONE, s5=TWO)
    page.focus("#corners")
    page.keyboard.press("ArrowRight")
    drag(page, (0.5, 0.5), (0.6, 0.6))
    assert page.get_attribute("#corners", "aria-disabled") == "true"
    stored(host, s1=ONE, s2=TWO)
    page.focus("#corners")
    for _ in range(3):
        page.keyboard.down("ArrowRight")
    page.keyboard.up("ArrowRight")
    host.until(lambda: host.words("drop"))
    assert [word["t"] for word in host.words("grab", "drop")] == ["grab", "drop"]
    assert host.words("move")[-1]["values"]["latent.0"] == pytest.approx(0.15, abs=0.001)
    assert page.get_attribute("#corners", "aria-valuetext") == "1: 35 %, 2: 65 %"


def test_a_dice_draws_latents_around_the_present_ones_inside_their_ranges(host):
    page = host.open()
    host.tell(t="values", values={"latent.0": 0.9, "latent.1": 0.0, "latent.2": -1.0})
    page.fill("#dice-amount", "10")
    page.evaluate("() => { Math.random = () => 0.25; }")
    host.until(lambda: float(page.input_value("#controls [id='number-latent.0']")) == 0.9)
    page.click("#dice")
    host.until(lambda: host.words("set"))
    drawn = host.words("set")[-1]["values"]
    assert drawn == pytest.approx({"latent.0": 0.775, "latent.1": -0.1, "latent.2": -0.95})
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.input_value("#dice-amount") == "10"


def test_a_dice_draws_macros_where_a_preset_has_some(host):
    macro = host.state["controls"][0] | {
        "target": "macro.0",
        "title": "brighter",
        "group": "macro",
        "low": 0,
        "value": 0.5,
    }
    host.state["controls"].append(macro)
    page = host.open()
    page.fill("#dice-amount", "100")
    page.click("#dice")
    host.until(lambda: host.words("set"))
    (value,) = host.words("set")[-1]["values"].items()
    assert value[0] == "macro.0"
    assert 0 <= value[1] <= 1


def test_snapshots_with_latents_are_numbers_on_the_map(host):
    page = host.open()
    page.evaluate(
        """() => {
            window.drawn = [];
            const fill = CanvasRenderingContext2D.prototype.fillText;
            CanvasRenderingContext2D.prototype.fillText = function (...all) { drawn.push(all); fill.apply(this, all); };
        }"""
    )
    stored(
        host,
        s1={"latent.0": 0.4, "latent.1": 0.4, "latent.2": 0.0},
        s2={"latent.0": -0.4, "latent.1": 0.4},
        s3={"gain": 0},
    )
    host.until(lambda: len(page.evaluate("window.drawn")) >= 2)
    (one, right, _), (two, left, _) = page.evaluate("window.drawn.slice(-2)")
    assert (one, two) == ("1", "2")
    assert left < right


def test_the_large_knobs_stay_above_the_snapshots_at_1280_by_800(host):
    page = open_with(host, s1=ONE)
    page.set_viewport_size({"width": 1280, "height": 800})
    parts = {part: page.locator(part).bounding_box() for part in ("#knobs", "#large", "#snapshots", "#controls")}
    bottom = {part: box["y"] + box["height"] for part, box in parts.items()}
    assert bottom["#large"] <= bottom["#knobs"]
    assert bottom["#large"] <= parts["#snapshots"]["y"]
    assert bottom["#snapshots"] <= parts["#controls"]["y"]
    assert parts["#snapshots"]["height"] <= 140
