"""A report is given to who has shown the token, and nothing but the report."""

import base64
import hashlib
import re
from dataclasses import replace
from unittest.mock import ANY

import pytest
from timbrel.export.fidelity import comparison
from timbrel.host.panel import server as served
from timbrel.host.panel.process import run
from timbrel.host.preset.shipped import report_beside, shipped_presets
from timbrel.host.session import panel_process
from timbrel.host.session.messages import View
from timbrel.host.session.panel_process import PanelProcess

from .client import Client
from .conftest import Parent
from .fakes import view
from .test_security import answer, get, status_of, upgrade

WAV = b"RIFF" + bytes(2000)


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    """A folder as `make` leaves it, with what nobody may have, and links to it."""
    folder = tmp_path_factory.mktemp("made") / "pad"
    report = folder / "report"
    (report / "deeper").mkdir(parents=True)
    (folder / "preset.toml").write_text("secret")
    (folder / "beside.html").write_text("secret")
    files = {"index.html": b"<p>it plays", "report.json": b"{}", "note-1-a.wav": WAV, "loss.png": b"\x89PNG"}
    hidden = {".index.html": b"secret", "notes.toml": b"secret", "run.js": b"secret", "deeper/a.html": b"secret"}
    for name, data in {**files, **hidden}.items():
        (report / name).write_bytes(data)
    (report / "linked.html").symlink_to(folder / "beside.html")
    (report / "away").symlink_to(folder)
    return folder


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_at_the_port_of_http_browsers_leave_it_out_and_page_socket_and_report_are_given(instrument, monkeypatch, name):
    monkeypatch.setattr(panel_process, "HTTP_PORT", ANY)  # the test may not bind port 80
    with PanelProcess(run, report=report_beside(str(instrument))) as panel:
        own = f"Host: {name}", f"Origin: http://{name}"
        assert status_of(get(panel, own[0])) == 200
        assert upgrade(panel, *own) == 101
        lines = ["POST /report HTTP/1.1", *own, f"Authorization: Bearer {panel.token}", "Content-Length: 0"]
        said = answer(panel, "\r\n".join([*lines, "Connection: close", "", ""]).encode()).decode()
        [given] = re.findall(r"set-cookie: ([^;]+);", said)
        assert status_of(get(panel, own[0], f"Cookie: {given}", path="/report/index.html")) == 200


@pytest.fixture(scope="module")
def panel(instrument):
    """A panel that has that report."""
    with PanelProcess(run, report=report_beside(str(instrument))) as panel:
        yield panel


def enter(panel, *headers):
    lines = ["POST /report HTTP/1.1", f"Host: 127.0.0.1:{panel.port}", *headers, "Content-Length: 0"]
    return answer(panel, "\r\n".join([*lines, "Connection: close", "", ""]).encode())


def own_origin(panel):
    return f"Origin: http://127.0.0.1:{panel.port}"


def cookie(panel):
    """What a page of the panel's own gets."""
    said = enter(panel, own_origin(panel), f"Authorization: Bearer {panel.token}")
    assert status_of(said) == 204
    [line] = [line for line in said.decode().split("\r\n") if line.lower().startswith("set-cookie: ")]
    given, *rules = line.partition(": ")[2].split("; ")
    assert sorted(rule.lower() for rule in rules) == ["httponly", "path=/report", "samesite=strict"]
    return f"Cookie: {given}"


def ask(panel, path, *headers):
    return get(panel, f"Host: 127.0.0.1:{panel.port}", *headers, path=path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", b"text/html; charset=utf-8"),
        ("report.json", b"application/json"),
        ("note-1-a.wav", b"audio/wav"),
        ("loss.png", b"image/png"),
    ],
)
def test_who_has_shown_the_token_gets_each_file_by_its_type_and_with_rules_of_its_own(panel, instrument, name, kind):
    head, _, data = ask(panel, f"/report/{name}", cookie(panel)).partition(b"\r\n\r\n")
    assert data == (instrument / "report" / name).read_bytes()
    lines = head.lower().split(b"\r\n")
    assert b"content-type: " + kind in lines
    [policy] = [line for line in lines if line.startswith(b"content-security-policy: ")]
    assert b"default-src 'none'" in policy
    assert b"'unsafe-inline'" not in policy.partition(b"script-src")[2].partition(b";")[0]
    assert {b"x-content-type-options: nosniff", b"x-frame-options: sameorigin"} <= set(lines)


def test_parts_of_a_sound_are_given_as_they_are(panel):
    said = ask(panel, "/report/note-1-a.wav", cookie(panel), "Range: bytes=0-9", "Accept-Encoding: gzip")
    assert status_of(said) == 206
    assert said.endswith(b"\r\n\r\n" + WAV[:10])


@pytest.mark.parametrize("given", [[], ["Cookie: report-{port}="], ["Cookie: report-{port}={token}"]])
def test_without_the_cookie_nothing_is_given_and_the_token_is_not_the_cookie(panel, given):
    headers = [line.format(port=panel.port, token=panel.token) for line in given]
    assert status_of(ask(panel, "/report/index.html", *headers)) == 403
    assert panel.token not in cookie(panel)


@pytest.mark.parametrize(
    "headers",
    [
        ["{origin}"],
        ["{origin}", "Authorization: Bearer x"],
        ["{origin}", "Authorization: Basic {token}"],
        ["Authorization: Bearer {token}"],
        ["Origin: http://evil.example", "Authorization: Bearer {token}"],
        ["{origin}", "Origin: http://evil.example", "Authorization: Bearer {token}"],
    ],
)
def test_no_cookie_is_given_without_the_token_or_to_a_page_from_elsewhere(panel, headers):
    said = enter(panel, *(line.format(origin=own_origin(panel), token=panel.token) for line in headers))
    assert status_of(said) == 403
    assert b"set-cookie" not in said.lower()


def test_another_name_is_refused_with_the_cookie_too(panel):
    assert status_of(get(panel, "Host: evil.example", cookie(panel), path="/report/index.html")) == 403


@pytest.mark.parametrize(
    "path",
    [
        "/report/../preset.toml", "/report/..%2fbeside.html", "/report/%2e%2e/beside.html", "/report/..%5cbeside.html",
        "/report/linked.html", "/report/away/beside.html", "/report/away", "/report/deeper/a.html", "/report/deeper",
        "/report/.index.html", "/report/notes.toml", "/report/run.js", "/report/none.html", "/report/", "/report/%00",
        "/report//etc/passwd", "/report/" + 200 * "a" + ".html",
    ],
)  # fmt: skip
def test_nothing_but_files_of_the_report_is_given(panel, path):
    said = ask(panel, path, cookie(panel))
    assert status_of(said) in (307, 400, 404)
    assert b"secret" not in said


def test_a_page_is_told_of_the_report_while_its_model_plays(panel, instrument, tmp_path):
    Parent(panel, instrument)
    with Client(panel) as page:
        page.see("report", lambda there: there)
        panel.show(View(replace(view(folder=tmp_path), name="other")))
        page.see("report", lambda there: not there)


def test_where_there_is_no_report_pages_are_told_so_and_get_none(tmp_path):
    with PanelProcess(run) as bare:
        Parent(bare, tmp_path)
        with Client(bare) as page:
            page.see("model", lambda model: model is not None)
            page.see("report", lambda there: not there)
        assert status_of(ask(bare, "/report/index.html", cookie(bare))) == 404


def test_a_report_is_looked_for_beside_what_make_wrote_alone(instrument, tmp_path):
    assert report_beside(str(instrument)) == report_beside(str(instrument / "preset.toml")) == instrument / "report"
    (tmp_path / "preset.toml").touch()
    assert report_beside(str(tmp_path)) is None
    assert [name for name in shipped_presets() if report_beside(name)] == []


def test_the_one_script_that_may_run_is_that_of_the_page_to_compare_sounds():
    page = comparison.abx_page("bells", [comparison.AbxTrial("C4", "a.wav", "b.wav")])
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"sha256-{digest}" == served.SCRIPT
