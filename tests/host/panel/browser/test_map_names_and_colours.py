"""The map's dots have colours and names, in General MIDI's families too, and those searched for are lit."""

import numpy as np
import pytest

from .conftest import COLUMNS, DOTS


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


def test_the_colours_of_brightness_are_those_of_cividis(host):
    colormaps = pytest.importorskip("matplotlib").colormaps
    page = host.open()
    places = np.linspace(0, 1, 41)
    script = "async (places) => { const { cividis } = await import('./colours.js'); return places.map(cividis) }"
    drawn = [[int(part) for part in text[4:-1].split()] for text in page.evaluate(script, places.tolist())]
    assert np.abs(np.array(drawn) - 255 * colormaps["cividis"](places)[:, :3]).max() < 12  # of 255
