"""The page as an installed application: its manifest, the token that it finds by itself, and full screen."""

import json
import struct

from .conftest import ADDRESS, PAGE, TOKEN


def test_chromium_reads_the_manifest_and_its_icons_have_the_sizes_that_it_names(host):
    session = host.open().context.new_cdp_session(host.page)
    read = session.send("Page.getAppManifest")
    assert (read["url"], read["errors"]) == (f"{ADDRESS}/manifest.webmanifest", [])
    assert read["manifest"]["startUrl"] == f"{ADDRESS}/"  # without the token
    manifest = json.loads(read["data"])
    pictures = {icon["sizes"]: (PAGE / icon["src"]).read_bytes() for icon in manifest["icons"] if "png" in icon["type"]}
    assert {"{}x{}".format(*struct.unpack(">2I", data[16:24])) for data in pictures.values()} == {"192x192", "512x512"}
    assert list(pictures) == ["192x192", "512x512"]  # which Chromium wants


def test_without_a_token_in_its_address_the_page_takes_the_last_that_was_good(host):
    page = host.open()
    page.goto("about:blank")
    page.goto(f"{ADDRESS}/")
    page.wait_for_selector("body[data-ready]")
    assert [word["token"] for word in host.words("hello")] == [TOKEN, TOKEN]


def test_an_installed_page_with_an_old_token_takes_the_new_one_once_another_page_has_it(host):
    host.page.goto(f"{ADDRESS}/")
    host.page.evaluate("localStorage.setItem('timbrel.token', '\"of yesterday\"')")
    host.page.reload()
    host.page.wait_for_selector("#lost:not([hidden])")
    other = host.page.context.new_page()
    other.goto(f"{ADDRESS}/#{TOKEN}")
    host.page.wait_for_selector("body[data-ready]")
    assert [word["token"] for word in host.words("hello")] == ["", "of yesterday", TOKEN, TOKEN]


def test_a_token_that_is_refused_is_not_kept(host):
    page = host.open(token="another")
    page.wait_for_selector("#lost:not([hidden])")
    assert page.evaluate("localStorage.getItem('timbrel.token')") is None


def test_full_screen_is_a_button_that_stays_down_and_asks_to_keep_escape_for_panic(host):
    page = host.open()
    page.evaluate(
        """() => {
            const enter = Element.prototype.requestFullscreen;
            Element.prototype.requestFullscreen = function (options) {
                window.asked = options.keyboardLock;
                return enter.call(this, options);
            };
        }"""
    )
    page.click("#full")
    page.wait_for_selector('#full[aria-pressed="true"]')
    assert page.evaluate("[document.fullscreenElement === document.documentElement, asked]") == [True, "browser"]
    page.click("#full")
    page.wait_for_selector('#full[aria-pressed="false"]')
    assert page.evaluate("document.fullscreenElement") is None


def test_a_browser_without_full_screen_shows_no_button_for_it(host):
    host.page.add_init_script("Object.defineProperty(document, 'fullscreenEnabled', { value: false })")
    assert host.open().is_hidden("#full")
