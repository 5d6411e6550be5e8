"""The page's own files go out without comments, and small enough for a stage's network."""

import http.client

import pytest
from timbrel.host.panel.server import without_comments

from .browser.conftest import PAGE

MOST_SENT = 60_000  # bytes of all files


def fetched(panel, name, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", panel.port, timeout=60)
    connection.request("GET", f"/{name}", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("// all of it\nconst a = 1;\n", "const a = 1;\n"),
        ("  /** Says it. */\n  say() {\n", "say() {\n"),
        ("const a = 1; // that's it\n", "const a = 1;\n"),
        ("/* a style */\n#a { color: red; }\n", "#a { color: red; }\n"),
        ("open(`ws://${host}/a`, 'http://b');\n", "open(`ws://${host}/a`, 'http://b');\n"),
        ("const at = a / b / c;\n", "const at = a / b / c;\n"),
    ],
)
def test_comments_and_indentation_go_and_all_else_stays(text, left):
    assert without_comments(text) == left


def test_a_file_is_sent_without_comments_and_once(panel, parent):
    answer, body = fetched(panel, "socket.js")
    assert answer.getheader("content-type").startswith("text/javascript")
    assert body.decode() == without_comments((PAGE / "socket.js").read_text(encoding="utf-8"))
    assert b"export class Link" in body
    again, nothing = fetched(panel, "socket.js", **{"If-None-Match": answer.getheader("etag")})
    assert (again.status, nothing) == (304, b"")
    assert fetched(panel, "no.js")[0].status == 404


def test_all_files_together_are_small_as_sent(panel, parent):
    names = [path.name for path in PAGE.iterdir() if path.is_file()]
    assert sum(len(fetched(panel, name, **{"Accept-Encoding": "gzip"})[1]) for name in names) <= MOST_SENT
