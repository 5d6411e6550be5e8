"""The session on the page: settings of the sound, and the button that records."""

import contextlib

import pytest
from timbrel.host.panel.process import run
from timbrel.host.session.messages import Session, SessionView
from timbrel.host.session.panel_process import PanelProcess

from ....patience import PATIENCE_SECONDS
from ..conftest import Parent
from .conftest import SESSION

TAKE = ["2026-01-02 20.15.00 pad.wav", "2026-01-02 20.15.00 pad.mid"]


@pytest.fixture
def page(host):
    """A page of a session with a card of two."""
    page = host.open()
    host.meters()
    return page


def tell(host, **changes):
    host.tell(t="state", state={"session": SESSION | changes})


def opened(host, page):
    page.click("#session")
    host.until(lambda: host.words("devices"))
    host.tell(t="devices", cards=["Solo (ALSA)", "USB (ALSA)"], ports=["Keys", "Pads"])
    page.wait_for_selector("[name=device] option >> nth=1", state="attached")


def offered(page, name):
    return page.eval_on_selector_all(
        f"[name={name}] option", "(options) => options.map(({ textContent }) => textContent)"
    )


def test_the_dialog_shows_what_is_and_applies_only_what_is_chosen_otherwise(host, page):
    opened(host, page)
    assert page.is_visible("#about-sound")
    assert (offered(page, "device"), page.input_value("[name=device]")) == (
        ["Solo (ALSA)", "USB (ALSA)"],
        "Solo (ALSA)",
    )
    assert offered(page, "ports") == ["all", "none", "Keys", "Pads"]
    assert offered(page, "channel") == ["all", *map(str, range(1, 17))]
    assert page.input_value("[name=block]") == "128"
    assert page.is_disabled("[name=apply]")
    page.select_option("[name=device]", "USB (ALSA)")
    page.select_option("[name=block]", "256")
    page.click("[name=apply]")
    host.until(lambda: host.words("settings") == [{"t": "settings", "device": "USB (ALSA)", "block": 256}])


@pytest.mark.parametrize(
    ("name", "choice", "told"),
    [
        ("ports", "none", {"ports": None}),
        ("ports", "Pads", {"ports": ["Pads"]}),
        ("channel", "4", {"channel": 3}),
        ("lowest_latency", True, {"lowest_latency": True}),
    ],
)
def test_a_setting_is_told_by_itself(host, page, name, choice, told):
    opened(host, page)
    if choice is True:
        page.check(f"[name={name}]")
    else:
        page.select_option(f"[name={name}]", label=choice)
    page.click("[name=apply]")
    host.until(lambda: host.words("settings") == [{"t": "settings", **told}])


def test_what_play_was_told_by_parts_of_names_is_shown_as_it_is_and_stays_while_a_choice_is_made(host, page):
    host.tell(t="state", state={"session": SESSION | {"ports": ["Key", "Pa"], "block": 100, "channel": 2}})
    opened(host, page)
    host.until(lambda: page.input_value("[name=ports]") == "Key, Pa")
    assert (page.input_value("[name=block]"), page.input_value("[name=channel]")) == ("100", "2")
    page.select_option("[name=block]", "64")
    host.tell(t="devices", cards=["Solo (ALSA)"], ports=[])
    host.until(lambda: offered(page, "device") == ["Solo (ALSA)"])
    assert page.input_value("[name=block]") == "64"


def test_while_the_sound_begins_again_or_is_recorded_nothing_can_be_applied(host, page):
    opened(host, page)
    page.select_option("[name=block]", "64")
    tell(host, restarting=True, block=64)
    host.until(lambda: "begins again" in page.inner_text("#settings-said"))
    assert page.is_disabled("[name=apply]")
    tell(host, block=128)  # the ones before
    host.until(lambda: page.inner_text("#settings-said") == "")
    tell(host, recording="on")
    host.until(lambda: "while a recording runs" in page.inner_text("#settings-said"))
    assert page.is_disabled("[name=apply]")


def test_record_shows_its_time_ends_by_the_same_button_and_leaves_two_links(host, page):
    assert (page.inner_text("#record"), page.get_attribute("#record", "aria-pressed")) == ("Record", "false")
    page.click("#record")
    host.until(lambda: host.words("record") == [{"t": "record", "on": True}])
    tell(host, recording="coming")
    page.wait_for_selector("#record:disabled")
    tell(host, recording="on", seconds=75)
    page.wait_for_selector("#record[aria-pressed=true]:enabled")
    assert page.inner_text("#record") == "1:15"
    page.click("#record")
    host.until(lambda: host.words("record")[-1] == {"t": "record", "on": False})
    tell(host, files=TAKE)
    page.wait_for_selector("#record[aria-pressed=false]")
    assert page.inner_text("#record") == "Record"
    links = page.eval_on_selector_all("#recorded a", "(links) => links.map((link) => [link.pathname, link.download])")
    assert links == [[f"/recording/{name.replace(' ', '%20')}", name] for name in TAKE]


def test_what_an_option_records_is_shown_as_such(host, page):
    tell(host, recording="option")
    page.wait_for_selector("#record[aria-pressed=true]")
    assert page.inner_text("#record") == "Recording"
    assert "--record" in page.get_attribute("#record", "title")
    page.click("#record")
    host.until(lambda: host.words("record") == [{"t": "record", "on": True}])  # and the session says why not


def test_a_plugins_panel_has_neither_card_nor_recording_and_still_tells_its_latency(host):
    host.state["session"] = None
    page = host.open()
    host.meters()
    page.click("#meters")
    page.wait_for_selector("#about-sound")
    assert [page.is_visible(name) for name in ("#session", "#record", "#settings")] == [False] * 3
    assert host.words("devices") == []


def test_the_links_of_a_recording_download_its_files(browser, tmp_path, monkeypatch):
    """From a panel of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "timbrel" / "recordings"
    folder.mkdir(parents=True)
    for name in TAKE:
        (folder / name).write_bytes(name.encode())
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    with PanelProcess(run) as panel, contextlib.closing(context):
        parent = Parent(panel, tmp_path)
        parent.panel.show(Session(SessionView((), None, None, 128, False, files=tuple(TAKE))))
        page = context.new_page()
        page.goto(panel.url())
        with page.expect_response(lambda response: response.url.endswith("/recording") and response.status == 204):
            page.click("#session")
        for name in TAKE:
            with page.expect_download() as begun:
                page.click(f'#recorded a:has-text("{name}")')
            assert begun.value.suggested_filename == name
            assert begun.value.path().read_bytes() == name.encode()
