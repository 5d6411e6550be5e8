"""The page for all: without faults that axe-core finds, in forced colours, enlarged, and by the keyboard alone."""

import pytest

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
PRESET = {"description": "", "model": "small", "shipped": True, "fits": True}


def violations(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    rules = {"label-content-name-mismatch": {"enabled": True}}  # which axe leaves out by default
    found = axe.Axe().run(page, options={"rules": rules, "resultTypes": ["violations"]}).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def openers(page):
    """The buttons that open a dialog, as they come."""
    return [button for button in page.locator('button[aria-haspopup="dialog"]').all() if button.is_visible()]


def opened(host, opener):
    """Open a dialog by the keyboard, and fill its list if it has one."""
    opener.focus()
    host.page.keyboard.press("Enter")
    host.page.wait_for_selector("dialog:modal")
    host.tell(t="presets", list=[PRESET | {"name": name} for name in ("gm-hall", "mine", "gm-pad")])


def assert_clean_in_learn_mode_and_dialogs(host, page):
    page.click('#controls [data-target="latent.0"] .badge')
    assert violations(page) == []
    page.keyboard.press("Escape")
    for opener in openers(page):
        opened(host, opener)
        assert violations(page) == []
        page.keyboard.press("Escape")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_in_any_view_or_dialog(host, scheme, size):
    page = host.open()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    host.state["preset"]["warnings"] = ["the processor saves power"]
    host.tell(t="state", state={"preset": host.state["preset"]})
    host.meters(held=[60])
    assert violations(page) == []
    if page.is_visible("#view-controls"):
        page.click("#view-controls")
    assert_clean_in_learn_mode_and_dialogs(host, page)


def test_a_dialog_keeps_the_focus_until_escape_gives_it_back_to_its_button(host):
    page = host.open()
    taken = """(dialog) => [...document.querySelectorAll('button, input, select, summary, [tabindex]')].filter(
        (element) => (element.focus(), !dialog.contains(element) && element === document.activeElement)).length"""
    assert openers(page)
    for opener in openers(page):
        opened(host, opener)
        dialog = page.locator("dialog:modal")
        assert dialog.evaluate("(dialog) => dialog.contains(document.activeElement)")
        assert dialog.evaluate("(dialog) => document.getElementById(dialog.getAttribute('aria-labelledby')).innerText")
        assert dialog.evaluate(taken) == 0
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0
        assert opener.evaluate("(button) => button === document.activeElement")
    assert host.words("panic") == []


def test_a_field_with_a_list_names_the_one_option_that_enter_takes(host):
    page = host.open()
    opened(host, page.locator("#preset"))
    page.wait_for_selector("dialog:modal [role=option]")
    page.keyboard.press("ArrowDown")
    said = page.locator("dialog:modal [role=combobox]").evaluate(
        """(field) => {
            const list = document.getElementById(field.getAttribute('aria-controls'));
            const chosen = [...list.querySelectorAll('[role=option][aria-selected=true]')].map((option) => option.id);
            return [list.role, field.ariaExpanded, chosen, field.getAttribute('aria-activedescendant')];
        }"""
    )
    assert said == ["listbox", "true", [said[3]], said[3]]


def test_in_forced_colours_what_is_pressed_lit_or_chosen_differs_and_black_keys_do(host):
    page = host.open()
    page.emulate_media(forced_colors="active")
    host.meters(held=[60])
    page.wait_for_selector('#piano [data-key="60"][aria-pressed="true"]')
    paint = "(element) => { const style = getComputedStyle(element); return style.backgroundColor + style.outline; }"
    white, lit, black = (page.locator(f'#piano [data-key="{key}"]').evaluate(paint) for key in (62, 60, 61))
    assert len({white, lit, black}) == 3
    assert page.locator("#side-a").evaluate(paint) != page.locator("#side-b").evaluate(paint)
    opened(host, page.locator("#preset"))
    page.wait_for_selector("[role=option]")
    chosen = page.locator("[role=option]").evaluate_all(f"(rows) => rows.map({paint})")
    assert len(set(chosen)) == 2


def test_enlarged_twice_nothing_leaves_the_page_at_its_side_or_lies_on_a_button(host):
    host.state["preset"]["name"] = "gm-chroma-8"
    page = host.open()
    page.set_viewport_size({"width": 640, "height": 400})  # of 1280 x 800
    host.meters()
    wide = """() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest('svg'))
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(wide) == []
    under = """() => [...document.querySelectorAll('header button, footer .tools button')].filter((e) => {
        const { left, right, top, bottom } = e.getBoundingClientRect();
        return e.checkVisibility() && [left + 3, (left + right) / 2, right - 3].some(
            (x) => !e.contains(document.elementFromPoint(x, (top + bottom) / 2)));
    }).map((e) => e.id)"""
    assert page.evaluate(under) == []


def test_nothing_moves_by_itself_where_that_is_not_wanted(host):
    page = host.open()
    for wanted, moving in (("no-preference", 1), ("reduce", 0)):
        page.emulate_media(reduced_motion=wanted)
        host.tell(t="state", state={"learn": {"target": "latent.0", "said": ""}})
        page.wait_for_selector('#controls [data-target="latent.0"].waits')
        assert (page.evaluate("document.getAnimations().length") > 0) == moving


def test_turned_from_right_to_left_the_piano_and_the_sliders_stay_as_they_are(host):
    page = host.open()
    page.evaluate("document.documentElement.dir = 'rtl'")
    low, high = (page.locator(f'#piano [data-key="{key}"]').bounding_box()["x"] for key in (60, 64))
    assert low < high
    box = page.locator("#range-gain").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    host.until(lambda: host.words("move"))
    assert host.words("move")[0]["values"]["gain"] > 11
