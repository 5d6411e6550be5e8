"""The map: its dots are exact, its surface has no steps, and a hand that takes hold changes nothing."""

import numpy as np
import pytest

from .conftest import COLUMNS, DOTS, LABELS, LATENTS, SIDE

EDGE = 12  # pixels around the plane


def on_map(page):
    box = page.locator("#point").bounding_box()
    return lambda x, y: (
        box["x"] + EDGE + (box["width"] - 2 * EDGE) * float(x),
        box["y"] + EDGE + (box["height"] - 2 * EDGE) * float(y),
    )


def code(word):
    return [word["values"][f"latent.{i}"] for i in range(LATENTS)]


def pixels(host):
    """The colour at each dot, as it is drawn."""
    script = """(places) => {
        const { width, height } = document.querySelector('#dots');
        const context = document.querySelector('#dots').getContext('2d');
        const { data } = context.getImageData(0, 0, width, height);
        return places.map(([x, y]) => {
            const [column, row] = [12 + x * (width - 24), 12 + y * (height - 24)].map(Math.floor);
            return [...data.slice(4 * (row * width + column), 4 * (row * width + column) + 3)];
        });
    }"""
    return host.page.evaluate(script, host.plane.places.tolist())


def read(plane, x, y):
    """The surface at a place, by scipy."""
    interpolate = pytest.importorskip("scipy.interpolate")
    axis = np.linspace(0, 1, SIDE)
    return interpolate.RegularGridInterpolator((axis, axis), plane.surface)([[y, x]])[0]


def test_clicking_a_dot_gives_its_stored_code_exactly_and_says_what_it_is(host):
    page = host.open()
    for dot in (0, 33, DOTS - 1):
        page.mouse.click(*on_map(page)(*host.plane.places[dot]))
        host.until(lambda: host.words("set"))
        word = host.words("set")[-1]
        assert code(word) == host.plane.codes[dot].astype(float).tolist()
        assert page.inner_text("#there").startswith(LABELS[dot % 3])
        host.said.clear()


def test_clicking_between_dots_reads_the_surface_bilinearly(host):
    page = host.open()
    x, y = (host.plane.places[22] + host.plane.places[22 + COLUMNS + 1]) / 2
    page.mouse.click(*on_map(page)(x, y))
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) == pytest.approx(read(host.plane, x, y), abs=0.003)  # half a pixel


FIND = """async ({ frame, codes, near }) => {
    const { Surface } = await import('./map_data.js');
    const surface = new Surface(Uint8Array.from(frame).buffer, []);
    return codes.map((code, index) => surface.find(code, near[index]));
}"""


def found(host, codes, near):
    return np.array(host.page.evaluate(FIND, {"frame": list(host.plane.frame()), "codes": codes, "near": near}))


def test_the_code_of_a_dot_is_found_on_the_dot_and_one_of_the_surface_where_it_is(host):
    host.open()
    codes = host.plane.codes.astype(float).round(4).tolist()
    assert found(host, codes, [[0.5, 0.5]] * DOTS) == pytest.approx(host.plane.places)
    places = np.random.default_rng(1).uniform(0.02, 0.98, (40, 2))
    codes = [read(host.plane, *place).tolist() for place in places]
    assert found(host, codes, places[::-1].tolist()) == pytest.approx(places, abs=0.002)


def test_a_code_off_the_surface_is_found_where_it_is_nearest_in_deviations(host):
    host.plane.scale[:] = 1, 9, 0.02
    random = np.random.default_rng(2)
    host.plane.surface[:] = random.uniform(-1, 1, (SIDE, SIDE, LATENTS))
    host.open()
    nodes = random.permutation(host.plane.surface.reshape(-1, LATENTS))[:20]
    codes = nodes + random.uniform(-1, 1, (20, LATENTS)) * (0.01, 0.001, 2)
    places = found(host, codes.tolist(), [[0.5, 0.5]] * 20)
    away = [
        np.linalg.norm((read(host.plane, *place) - code) * host.plane.scale)
        for place, code in zip(places, codes, strict=True)
    ]
    assert (away < np.linalg.norm((nodes - codes) * host.plane.scale, axis=1) + 1e-4).all()


def test_dragging_keeps_the_difference_that_was_there_so_that_nothing_jumps(host):
    for control, value in zip(host.state["controls"], (0.4, -0.3, 0.2), strict=False):
        control["value"] = value
    page = host.open()
    at = on_map(page)
    page.mouse.move(*at(0.3, 0.3))
    page.mouse.down()
    page.mouse.move(*at(0.6, 0.45), steps=25)
    page.mouse.up()
    host.until(lambda: host.words("drop"))
    codes = np.array([code(word) for word in host.words("move")])
    assert np.abs(codes[0] - (0.4, -0.3, 0.2)).max() < 0.03
    assert np.abs(np.diff(codes, axis=0)).max() < 0.15
    moved = read(host.plane, 0.6, 0.45) - read(host.plane, 0.3, 0.3)
    assert codes[-1] - (0.4, -0.3, 0.2) == pytest.approx(moved, abs=0.005)
    targets = [f"latent.{i}" for i in range(LATENTS)]
    assert [word["targets"] for word in host.words("grab", "drop")] == [targets, targets]


def test_the_arrow_keys_move_the_point_and_enter_goes_to_the_nearest_dot(host):
    page = host.open()
    page.locator("#point").focus()
    page.keyboard.press("ArrowRight")
    host.until(lambda: host.words("drop"))
    assert [word["t"] for word in host.words("grab", "move", "drop")] == ["grab", "move", "drop"]
    page.keyboard.press("Enter")
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) in host.plane.codes.astype(float).tolist()


def test_a_label_that_is_searched_is_lit_and_counted_and_others_are_not(host):
    page = host.open()
    page.fill("#search", "violin")
    host.until(lambda: page.inner_text("#there") == "Violin: 54 lit")
    lit = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--lit')").strip()
    wanted = [int(lit[i : i + 2], 16) for i in (1, 3, 5)]
    host.until(lambda: pixels(host)[0] == wanted)
    assert [pixel == wanted for pixel in pixels(host)] == [dot % 3 == 0 for dot in range(DOTS)]
    page.fill("#search", "tuba")
    host.until(lambda: page.inner_text("#there") == "no sound is called tuba")


def test_hovering_names_the_dot_with_its_note(host):
    page = host.open()
    page.mouse.move(*on_map(page)(*host.plane.places[13]))
    page.wait_for_selector("#hover:not([hidden])")
    assert page.inner_text("#hover") == f"{LABELS[13 % 3]} · C♯"


def offered(page):
    return page.locator("#colour option").all_inner_texts()


def test_only_colours_that_tell_dots_apart_are_offered(host):
    host.state["map"]["labels"] = ["Violin", "Viola", "Oboe"]
    page = host.open()
    page.wait_for_selector("#key span")
    assert offered(page) == ["label", "timbre", "loudness", "pitch", "family", "plain"]
    host.plane.notes[:], host.plane.loudness[:] = -1, 0.5
    host.state["map"]["labels"] = ["rain_1-17367-A.flac", "rain_2-72970-A.flac", "sea_5-208810-B.flac"]
    page.reload()
    page.wait_for_selector("#key span")
    assert offered(page) == ["label", "timbre", "plain"]  # rain and sea are their own families
    host.state["map"]["labels"] = ["", "", ""]
    page.reload()
    page.wait_for_selector("#key span")
    assert offered(page) == ["timbre", "plain"]


def test_colours_of_each_choice_are_on_the_dots_and_in_the_legend_and_are_remembered(host):
    host.state["map"]["labels"] = ["Violin", "Viola", "Oboe"]
    page = host.open()
    page.wait_for_selector("#key span")
    assert page.inner_text("#key").split() == ["dull", "bright"]

    def groups(by):
        page.select_option("#colour", by)
        host.until(lambda: pixels(host)[0] == drawn(page, page.locator("#key i").nth(start[by])))
        return len({tuple(pixel) for pixel in pixels(host)}), page.inner_text("#key").split()

    start = {"label": 2, "family": 1, "pitch": 0}  # where the legend has Violin, strings, C
    assert groups("label") == (3, ["Oboe", "Viola", "Violin"])
    assert groups("pitch")[0] == 12
    assert groups("family") == (2, ["reed", "strings"])
    page.select_option("#colour", "loudness")
    assert page.inner_text("#key").split() == ["soft", "loud"]
    page.reload()
    page.wait_for_selector("#key span")
    assert page.input_value("#colour") == "loudness"


def drawn(page, swatch):
    """The colour of a swatch, as a canvas draws it."""
    script = """(swatch) => {
        const context = new OffscreenCanvas(1, 1).getContext('2d');
        context.fillStyle = getComputedStyle(swatch).backgroundColor;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    }"""
    return swatch.evaluate(script)


def test_names_are_shown_without_what_files_add(host):
    page = host.open()
    names = {
        "bass_017-055-100": "bass",
        "flute-note60-1.wav": "flute",
        "rock eighths/plain 107.67bpm": "rock eighths plain",
        "rain_1-17367-A.flac": "rain",
        "violin/C4_mf.wav": "violin",
        "7 no. 13": "7",
        "60.wav": "",
        "7": "7",
        "Slap Bass 2": "Slap Bass 2",
        "hi-hat": "hi-hat",
        "TR-808": "TR-808",
    }
    script = "async (labels) => labels.map((await import('./label_families.js')).shownName)"
    assert page.evaluate(script, list(names)) == list(names.values())


def test_general_midi_names_have_their_families_and_others_their_first_word(host):
    page = host.open()
    families = {
        "Acoustic Grand Piano": "piano",
        "Tubular Bells": "mallets",
        "Tango Accordion": "organ",
        "Slap Bass 2": "bass",
        "Bassoon": "reed",
        "English Horn": "reed",
        "French Horn": "brass",
        "Voice Lead": "synth",
        "Bass and Lead": "synth",
        "Synth Strings 1": "strings",
        "Koto": "world",
        "rock eighths plain": "rock",
        "clap2": "clap",
        "7": "7",
    }
    script = "async (names) => names.map((await import('./label_families.js')).family)"
    assert page.evaluate(script, list(families)) == list(families.values())


NAMES = """() => {
    window.written ??= [];
    const { prototype } = CanvasRenderingContext2D;
    const fill = prototype.fillText;
    prototype.fillText = function (text, x, y) {
        const half = this.measureText(text).width / 2;
        if (this.canvas.id === 'dots') window.written.push([text, x - half, x + half, y]);
        fill.call(this, text, x, y);
    };
}"""


def written(host, act):
    """The names that a drawing of the map writes: text, left, right, base."""
    host.page.evaluate("window.written = []")
    act()
    host.until(lambda: host.page.evaluate("window.written.length"))
    return host.page.evaluate("window.written")


def test_names_of_dots_together_are_on_the_map_without_overlap_and_more_of_them_closer(host):
    host.plane.labels[:] = np.arange(DOTS) % COLUMNS // 6 + 3 * (np.arange(DOTS) // COLUMNS // 5)
    host.state["map"]["labels"] = ["kick", "snare", "bass_017-055-100", "one/two 99bpm", "60.wav", "flute-note60-1.wav"]
    page = host.open()
    page.wait_for_selector("#key span")
    page.evaluate(NAMES)
    names = written(host, lambda: page.select_option("#colour", "plain"))
    assert {name for name, *_ in names} == {"kick", "snare", "bass", "one two", "flute"}
    for name, left, right, base in names:
        others = [other for other in names if other != [name, left, right, base]]
        assert all(right < other[1] or left > other[2] or abs(base - other[3]) > 13 for other in others)
    [(left, right, base)] = [place for name, *place in names if name == "kick"][:1]
    box = page.locator("#plane").bounding_box()
    assert (left + right) / 2 < 0.45 * box["width"]
    assert base < 0.55 * box["height"]


def test_zoomed_in_more_names_are_written(host):
    random = np.random.default_rng(3)
    host.plane.labels[:] = np.arange(DOTS) % 40
    host.plane.places[:] = random.uniform(0.3, 0.7, (DOTS, 2))
    host.state["map"]["labels"] = [f"sound of {chr(97 + each % 26)}{chr(97 + each // 26)}" for each in range(40)]
    page = host.open()
    page.wait_for_selector("#key span")
    page.evaluate(NAMES)
    before = written(host, lambda: page.select_option("#colour", "plain"))
    after = written(host, lambda: page.click("#zoom-in"))
    assert len(after) > len(before) > 0


def test_the_dot_under_the_pointer_is_marked(host):
    page = host.open()
    page.wait_for_selector("#key span")

    def marked():
        script = """([x, y]) => {
            const canvas = document.querySelector('#point');
            const [width, height] = [canvas.clientWidth - 24, canvas.clientHeight - 24];
            const around = canvas.getContext('2d').getImageData(12 + x * width - 12, 12 + y * height - 12, 24, 24).data;
            return around.filter((value, index) => index % 4 === 3 && value > 0).length;
        }"""
        return page.evaluate(script, host.plane.places[13].tolist())

    assert marked() == 0
    page.mouse.move(*on_map(page)(*host.plane.places[13]))
    host.until(lambda: marked() > 40)
    page.mouse.move(1, 1)
    host.until(lambda: marked() == 0)


def test_the_wheel_zooms_about_the_pointer_and_dots_are_clicked_and_hovered_there(host):
    page = host.open()
    page.wait_for_selector("#key span")
    x, y = on_map(page)(*host.plane.places[37])
    page.mouse.move(x, y)
    page.mouse.wheel(0, -800)
    next_x, next_y = on_map(page)(*host.plane.places[38])
    factor = np.exp(800 * 0.002)
    page.mouse.move(x + factor * (next_x - x), y + factor * (next_y - y))
    page.wait_for_selector(f"#hover:not([hidden]) >> text={LABELS[38 % 3]} · D")
    page.mouse.click(x + factor * (next_x - x), y + factor * (next_y - y))
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) == host.plane.codes[38].astype(float).tolist()
    page.click("#zoom-whole")
    page.mouse.click(x, y)
    host.until(lambda: len(host.words("set")) == 2)
    assert code(host.words("set")[1]) == host.plane.codes[37].astype(float).tolist()


def test_plus_and_minus_zoom_where_the_map_has_the_focus_and_shift_the_octave_elsewhere(host):
    page = host.open()
    page.wait_for_selector("#key span")
    octave = page.inner_text("#octave")
    x, y = on_map(page)(0.5, 0.5)
    page.locator("#point").focus()
    page.keyboard.press("+")
    page.keyboard.press("=")
    page.mouse.click(x + 90, y)
    host.until(lambda: host.words("set"))
    assert page.inner_text("#octave") == octave
    page.keyboard.press("-")
    page.keyboard.press("-")
    page.mouse.click(x + 90, y + 3)
    host.until(lambda: len(host.words("set")) == 2)
    near, far = (np.array(code(word)) for word in host.words("set"))
    assert not np.allclose(near, far)
    assert page.inner_text("#octave") == octave
    page.locator("#panic").focus()
    page.keyboard.press("=")
    host.until(lambda: page.inner_text("#octave") != octave)


def test_shift_and_drag_moves_the_map_and_not_the_sound(host):
    page = host.open()
    page.wait_for_selector("#key span")
    for _ in range(3):
        page.click("#zoom-in")
    dot = host.plane.places[72]
    x, y = on_map(page)(0.5, 0.5)
    at = np.array([x, y]) + 1.5**3 * (np.array(on_map(page)(*dot)) - (x, y))
    page.keyboard.down("Shift")
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(*np.add(at, (60, 40)), steps=6)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.mouse.click(*np.add(at, (60, 40)))
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) == host.plane.codes[72].astype(float).tolist()
    assert host.words("grab", "move") == []


def test_two_fingers_zoom_and_move_the_map_and_one_finger_moves_the_sound(host):
    page = host.open()
    page.wait_for_selector("#key span")
    touch = page.context.new_cdp_session(page)

    def fingers(kind, *points):
        places = [{"x": float(x), "y": float(y), "id": number} for number, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    middle = np.array(on_map(page)(*host.plane.places[72]))
    fingers("touchStart", middle - (40, 0))
    fingers("touchStart", middle - (40, 0), np.add(middle, (40, 0)))
    for step in range(1, 9):
        moved = np.add(middle, (step * 5, step * 2))
        fingers("touchMove", moved - (40 + 10 * step, 0), np.add(moved, (40 + 10 * step, 0)))
    fingers("touchEnd")
    assert host.words("grab", "set") == []
    page.mouse.click(*np.add(middle, (40, 16)))
    host.until(lambda: host.words("set"))
    assert code(host.words("set")[0]) == host.plane.codes[72].astype(float).tolist()
    next_to = np.array(on_map(page)(*host.plane.places[73])) - middle
    page.mouse.click(*(np.add(middle, (40, 16)) + 3 * next_to))
    host.until(lambda: len(host.words("set")) == 2)
    assert code(host.words("set")[1]) == host.plane.codes[73].astype(float).tolist()
    fingers("touchStart", middle)
    for step in range(1, 6):
        fingers("touchMove", np.add(middle, (step * 6, 0)))
    fingers("touchEnd")
    host.until(lambda: host.words("drop"))
    assert host.words("move")


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


def test_the_colours_of_brightness_are_those_of_cividis(host):
    colormaps = pytest.importorskip("matplotlib").colormaps
    page = host.open()
    places = np.linspace(0, 1, 41)
    script = "async (places) => { const { cividis } = await import('./colours.js'); return places.map(cividis) }"
    drawn = [[int(part) for part in text[4:-1].split()] for text in page.evaluate(script, places.tolist())]
    assert np.abs(np.array(drawn) - 255 * colormaps["cividis"](places)[:, :3]).max() < 12  # of 255


def test_a_model_without_a_map_says_so(host):
    host.state["map"] = None
    page = host.open()
    assert page.is_visible("#no-map")
