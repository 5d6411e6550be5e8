"""The report of an instrument in the panel: its dots are pressed, and heard where notes are played."""

import json
from pathlib import Path

import numpy as np
import pytest
from timbrel.export.fidelity.comparison import AbxTrial, abx_page
from timbrel.export.reports.frame_figures import embedding
from timbrel.export.reports.page import document, parts_renderer
from timbrel.host.events import NoteOff, NoteOn, ParameterChange
from timbrel.host.panel.process import run
from timbrel.host.session.panel_process import PanelProcess

from ....patience import PATIENCE_SECONDS
from ..conftest import Parent
from .conftest import STILL


@pytest.fixture
def panel(tmp_path):
    """A panel of an instrument with a report of 40 dots."""
    report = tmp_path / "report"
    report.mkdir()
    codes = np.random.default_rng(0).uniform(0.1, 0.9, (40, 2)).astype(np.float32)
    picture = embedding(codes, np.arange(40) % 12)
    picture.save(report)
    (report / "report.json").write_text("{}")
    text = document("pad", "It plays.", "", {"Knobs": parts_renderer([picture], Path("pad"))(["embedding"])})
    (report / "index.html").write_text(text, encoding="utf-8")
    with PanelProcess(run, report=report) as panel:
        yield panel


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_dot_that_is_pressed_sounds_by_its_code_on_its_key_until_it_is_let_go(browser, panel, tmp_path, scheme):
    parent = Parent(panel, tmp_path)
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.add_init_script(STILL)
    troubles = []
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(panel.url())
    page.click("#report")
    frame = page.frame_locator("#reading iframe")
    frame.locator("#press", has_text="Press a dot").wait_for()
    dots = json.loads((tmp_path / "report" / "embedding.json").read_text())
    picture = frame.locator("img")
    picture.scroll_into_view_if_needed()
    for dot in (7, 20):
        x, y = dots["places"][0][dot]
        box = picture.bounding_box()
        parent.commands.clear()
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.mouse.down()
        key = 60 + dot % 12
        parent.until(lambda key=key: NoteOn(0, 0, key, 100) in parent.events)
        assert page.locator('#piano [aria-pressed="true"]').count() == 1  # nothing has let it go
        turns = {event.target: event.value for event in parent.events if isinstance(event, ParameterChange)}
        assert [turns["latent.0"], turns["latent.1"]] == dots["codes"][dot]
        page.mouse.up()
        parent.until(lambda key=key: NoteOff(0, 0, key) in parent.events)
    page.click("#reading button")
    assert page.is_hidden("#reading")
    assert troubles == []
    page.close()


def test_of_the_scripts_in_a_report_that_of_its_listening_test_runs_alone(browser, panel, tmp_path):
    Parent(panel, tmp_path)
    report = tmp_path / "report"
    (report / "abx.html").write_text(abx_page("pad", [AbxTrial("C4", "a.wav", "b.wav")]), encoding="utf-8")
    (report / "a.wav").write_bytes(b"")
    (report / "b.wav").write_bytes(b"")
    with (report / "index.html").open("a") as file:
        file.write('<a href="abx.html">Try</a><script>parent.document.title = document.title = "got in"</script>')
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.add_init_script(STILL)
    refused = []
    page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(panel.url())
    page.click("#report")
    frame = page.frame_locator("#reading iframe")
    frame.locator("a", has_text="Try").click()
    frame.locator("#count-all", has_text="0 of 0").wait_for()  # as its script writes
    assert page.title() != "got in"
    assert len(refused) == 1
    page.close()
