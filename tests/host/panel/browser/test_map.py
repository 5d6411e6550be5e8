"""The map: its dots are exact, its surface has no steps, and a hand that takes hold changes nothing."""

import numpy as np
import pytest

from .conftest import COLUMNS, DOTS, LABELS, LATENTS, SIDE
from .map_places import code, on_map, read


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


def test_enter_goes_nowhere_while_no_sound_is_found(host):
    page = host.open()
    page.fill("#search", "zzz")
    host.until(lambda: page.inner_text("#there") == "no sound is called zzz")
    page.locator("#point").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    host.until(lambda: host.words("drop"))
    assert not host.words("set")
    assert all(None not in word["values"].values() for word in host.words("move"))
    page.fill("#search", "violin")
    page.locator("#point").focus()
    page.keyboard.press("Enter")
    host.until(lambda: host.words("set"))


def test_a_second_hand_that_lets_go_leaves_the_target_to_the_first(host):
    page = host.open()
    at = on_map(page)
    page.mouse.move(*at(0.3, 0.3))
    page.mouse.down()
    page.mouse.move(*at(0.4, 0.4), steps=5)
    page.focus('#controls [data-target="latent.0"] input[type=range]')
    page.keyboard.press("ArrowRight")
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(*at(0.6, 0.6), steps=5)
    assert not host.words("drop")
    page.mouse.up()
    host.until(lambda: host.words("drop"))
    assert sorted(host.words("drop")[0]["targets"]) == [f"latent.{i}" for i in range(LATENTS)]


def test_hovering_names_the_dot_with_its_note(host):
    page = host.open()
    page.mouse.move(*on_map(page)(*host.plane.places[13]))
    page.wait_for_selector("#hover:not([hidden])")
    assert page.inner_text("#hover") == f"{LABELS[13 % 3]} · C♯"


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


def test_a_model_without_a_map_says_so(host):
    host.state["map"] = None
    page = host.open()
    assert page.is_visible("#no-map")
