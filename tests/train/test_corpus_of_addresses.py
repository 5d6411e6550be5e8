"""Sounds, shards and tables at addresses: fetched whole, within limits, and without a trace of keys."""

import base64
import contextlib
import http.server
import io
import logging
import re
import subprocess
import sys
import threading
import urllib.parse
from collections import Counter
from pathlib import Path

import pytest
from timbrel.export.api.making import make_instrument
from timbrel.host.errors import Failure, UserError
from timbrel.train.api import build_corpus
from timbrel.train.corpus import remote
from timbrel.train.corpus.remote import source_of
from timbrel.train.corpus.store import Corpus

from ..patience import PATIENCE_SECONDS
from .builds import STOPPED_SHARE, bytes_of, stopping
from .data_sets import NOTES, labels_of, parquet, tone, tone_shard
from .looped import loop
from .sounds import write

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

USER, PASSWORD, TOKEN = "ada-lovelace", "correct-horse", "battery-staple"
SECRETS = (USER, PASSWORD, TOKEN)


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``, bytes by path; ``answers`` are others: a status and headers. Counts whole answers by path."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.answers, self.counts = {}, {}, Counter()
        self.guarded, self.cut, self.short, self.silent = set(), set(), set(), set()
        self.logins, self.queries, self.encodings, self.closing = set(), set(), set(), threading.Event()

    def address(self, path, query="", user=""):
        return f"http://{user}127.0.0.1:{self.server_port}{path}{query}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, has_body):
        parts, server = urllib.parse.urlsplit(self.path), self.server
        parts = parts._replace(path=urllib.parse.unquote(parts.path))
        authorization = self.headers.get("Authorization")
        login = authorization and base64.b64decode(authorization.removeprefix("Basic ")).decode()
        server.logins.add(login)
        server.queries.add(parts.query)
        server.encodings.add(self.headers.get("Accept-Encoding"))
        is_known = parts.query == f"token={TOKEN}" and login == f"{USER}:{PASSWORD}"
        if parts.path in server.answers or parts.path not in server.files:
            status, headers = server.answers.get(parts.path, (404, {}))
            return self.reply(status, headers)
        if parts.path in server.guarded and not is_known:
            return self.reply(403, {})
        data = server.files[parts.path]
        if has_body and parts.path in server.short:
            data = data[:1000]
        self.reply(200, {"Content-Length": str(len(data)), "ETag": f'"{len(data)}"'})
        if has_body:
            server.counts[parts.path] += 1
            if parts.path in server.silent:
                server.closing.wait(PATIENCE_SECONDS)
            with contextlib.suppress(OSError):
                self.wfile.write(data[: len(data) // 2] if parts.path in server.cut else data)
        return None

    def reply(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()


@pytest.fixture
def tones(tmp_path):
    return tone_shard(tmp_path / "made" / "tones.tar").read_bytes()


def build_like_the_file(address, tmp_path):
    """Build a corpus of an address; it has the bytes of that of the file which the fixture ``tones`` wrote."""
    build_corpus(address, tmp_path / "c", workers=1)
    build_corpus(tmp_path / "made" / "tones.tar", tmp_path / "file", workers=1, name="c")
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "file")


def test_a_shard_at_an_address_gives_the_corpus_of_its_file(server, tmp_path, tones):
    server.files["/sets/tones.tar"] = tones
    build_like_the_file(server.address("/sets/tones.tar"), tmp_path)
    assert [clip.key for clip in Corpus.open(tmp_path / "c").clips()] == [*NOTES]


def test_sounds_and_tables_at_addresses_stand_beside_files(server, sounds, tmp_path):
    server.files["/flute/a b.wav"] = tone(80)
    report = build_corpus(
        [server.address("/flute/a%20b.wav"), sounds], tmp_path / "c", workers=1, label="folder", split="1/0/0"
    )
    assert report.clips == 11
    assert labels_of(Corpus.open(tmp_path / "c"))["a b.wav"] == ("flute", None, None)


def test_no_user_password_or_token_is_written_or_said(server, tmp_path, tones, caplog, capfd):
    """In the corpus, also while it is built, its report, messages, the log and what programs print."""
    caplog.set_level(logging.DEBUG)
    server.files["/sets/tones.tar"] = tones
    server.guarded.add("/sets/tones.tar")
    server.answers["/sets/broken.tar"] = (500, {})
    said = []

    def progress(share, text):
        said.append(text)
        said.extend(str(path) for path in tmp_path.rglob("*"))
        said.extend(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())

    address = server.address("/sets/tones.tar", f"?token={TOKEN}#part", f"{USER}:{PASSWORD}@")
    report = build_corpus(address, tmp_path / "c", workers=1, progress=progress)
    assert report.clips == len(NOTES)
    said += [report.text(), repr(report), repr(source_of(address)), str(source_of(address))]
    for bad in (
        server.address("/sets/tones.tar", f"?token=x{TOKEN}", f"{USER}:{PASSWORD}@"),
        server.address("/sets/none.tar", f"?token={TOKEN}", f"{USER}:{PASSWORD}@"),
        server.address("/sets/broken.tar", f"?token={TOKEN}", f"{USER}:{PASSWORD}@"),
        f"https:/{USER}:{PASSWORD}@example.org/tones.tar?token={TOKEN}",
        f"HTTPS:{USER}:{PASSWORD}@example.org/tones.tar?token={TOKEN}",
        Path(f"https://{USER}:{PASSWORD}@example.org/tones.tar?token={TOKEN}"),
        server.address("/sets/", f"?token={TOKEN}", f"{USER}:{PASSWORD}@"),
        f"https://{USER}:{PASSWORD}@127.0.0.1:1/tones.tar?token={TOKEN}",
        f"ftp://{USER}:{PASSWORD}@example.org/tones.tar?token={TOKEN}",
        f"simplecache::https://{USER}:{PASSWORD}@example.org/tones.tar?token={TOKEN}",
        f"s3://{USER}:{PASSWORD}@bucket/tones.tar?token={TOKEN}",
        f"https://{USER}:{PASSWORD}?@example.org/tones.tar?token={TOKEN}",
    ):
        with pytest.raises((UserError, Failure)) as caught:
            build_corpus(bad, tmp_path / "d", workers=1)
        said += [*map(str, caught.value.args), repr(caught.value)]
    with pytest.raises(UserError, match="make reads files and folders, no addresses") as caught:
        make_instrument([Path(f"https://{USER}:{PASSWORD}@example.org/a.wav?token={TOKEN}")], tmp_path / "e")
    said.append(str(caught.value))
    said += [logging.Formatter().format(record) for record in caplog.records]  # with errors
    said += [*capfd.readouterr(), *bytes_text(tmp_path)]
    assert said
    for secret in SECRETS:
        assert [text for text in said if secret in text] == []


def bytes_text(folder):
    return [data.decode("latin-1") for data in bytes_of(folder).values()]


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.wav",
        "http://localhost/a.wav",
        "http://127.0.0.1.example.org/a.wav",
        "http://127.0.0.1@example.org/a.wav",
        "file:///etc/passwd",
        "pipe://a",
        "data://text/plain,a",
        "memory://a.wav",
        "github://a:b@/c.wav",
        "simplecache::https://example.org/a.tar",
        "zip://a.wav::https://example.org/a.zip",
        "https://example.org/a.tar::file:///etc/passwd",
        "https://",
        "https://[1/a.wav",
        "https://example.org:port/a.wav",
        "HTTPS\x1b://example.org/a.wav",
        "https:/example.org/a.wav",
        " s3:bucket/a.wav",
    ],
)
def test_other_addresses_chains_and_pipes_are_refused(address, tmp_path):
    with pytest.raises(UserError, match=r"is no address that can be read; give a file at https://HOST/PATH"):
        build_corpus(address, tmp_path / "c", workers=1)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("source", ["pipe:0", "take: 2.wav", "|cat", "-"])
def test_a_source_without_an_address_is_a_path(source, tmp_path):
    assert source_of(source) == Path(source)
    with pytest.raises(UserError, match="does not exist; give sound files or folders"):
        build_corpus(source, tmp_path / "c", workers=1)


def test_a_file_whose_name_begins_as_an_address_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("https:a.wav").write_bytes(tone(60))
    assert build_corpus("https:a.wav", "c", workers=1, split="1/0/0").clips == 1


def test_a_server_that_does_not_answer_is_no_missing_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(Failure, match=r"cannot get \S+/a\.wav \(Client\w+Error\); check the connection"):
        build_corpus("https://127.0.0.1:1/a.wav", tmp_path / "c", workers=1)
    assert not [*tmp_path.iterdir()]


def test_a_file_that_cannot_be_used_is_named_by_its_address(server, tmp_path):
    """The copy goes with the build."""
    server.files["/sets/page.tar"] = b"<html>log in</html>"
    address = server.address("/sets/page.tar")
    with pytest.raises(UserError, match=f"^{re.escape(address)} is no tar file, or damaged"):
        build_corpus(address + "?a=b", tmp_path / "c", workers=1)
    with pytest.raises(UserError, match=f"^{re.escape(address)} is no tar file, or damaged"):
        build_corpus(address, tmp_path / "c", workers=1, loops=True)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("path", ["/", "/sets/", "/sets/.hidden.wav", "/a%00.wav", "/%2e%2e"])
def test_an_address_that_names_no_file_is_refused(server, path, tmp_path):
    with pytest.raises(UserError, match="names no file; give the address of a sound, a shard or a table"):
        build_corpus(server.address(path), tmp_path / "c", workers=1)


@pytest.mark.parametrize(
    ("status", "headers", "error", "said"),
    [
        (404, {}, UserError, "nothing is at http://127.0.0.1:PORT/a.wav; check the address"),
        (403, {}, UserError, "http://127.0.0.1:PORT/a.wav may not be read; check its user, password or token"),
        (500, {}, Failure, "cannot get http://127.0.0.1:PORT/a.wav"),
        (
            302,
            {"Location": "http://example.org/a.wav"},
            UserError,
            "127.0.0.1 leads to an address that is not https://",
        ),
        (302, {"Location": "file:///etc/passwd"}, UserError, "127.0.0.1 leads to an address that is not https://"),
    ],
)
def test_an_answer_that_is_no_file_is_one_line_and_leaves_nothing(server, tmp_path, status, headers, error, said):
    server.answers["/a.wav"] = (status, headers)
    with pytest.raises(error, match=re.escape(said.replace("PORT", str(server.server_port)))) as caught:
        build_corpus(server.address("/a.wav"), tmp_path / "c", workers=1)
    assert len(caught.value.args) == 1
    assert not [*tmp_path.iterdir()]


def test_an_address_may_lead_to_another_one_here(server, tmp_path):
    server.files["/there/a.wav"] = tone(60)
    server.answers["/a.wav"] = (302, {"Location": server.address("/there/a.wav")})
    assert build_corpus(server.address("/a.wav"), tmp_path / "c", workers=1).clips == 1


@pytest.mark.parametrize("told", [True, False])
def test_a_file_that_is_too_large_is_not_kept(server, tmp_path, monkeypatch, told):
    server.files["/a.wav"] = tone(60, seconds=2)
    monkeypatch.setattr(remote, "LARGEST_BYTES", 100_000)
    monkeypatch.setattr(remote, "PIECE_BYTES", 10_000)
    if not told:
        plain = remote._remote_file
        monkeypatch.setattr(remote, "_remote_file", lambda *known: plain(*known[:-1], known[-1] | {"size": None}))
    with pytest.raises(UserError, match="has more than 0 GiB, which no file may have; split it into shards"):
        build_corpus(server.address("/a.wav"), tmp_path / "c", workers=1)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("harm", ["cut", "short"])
def test_an_answer_that_ends_early_is_a_failure_after_which_a_build_goes_on(server, tmp_path, tones, harm):
    server.files |= {"/a.tar": tones, "/b.wav": tone(80)}
    getattr(server, harm).add("/b.wav")
    addresses = [server.address("/a.tar"), server.address("/b.wav")]
    with pytest.raises(Failure, match=r"cannot get http://127.0.0.1:\d+/b\.wav.*run the same command again to go on"):
        build_corpus(addresses, tmp_path / "c", workers=1)
    getattr(server, harm).clear()
    server.counts.clear()
    report = build_corpus(addresses, tmp_path / "c", workers=1)
    assert report.clips == len(NOTES) + 1
    assert server.counts["/a.tar"] == 0
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["audio-00000.f32", "clips-1", "corpus.json"]


def test_a_build_that_was_stopped_fetches_nothing_again(server, tmp_path, tones, two_a_chunk):
    server.files["/tones.tar"] = tones
    address = server.address("/tones.tar")
    with pytest.raises(KeyboardInterrupt):
        build_corpus(address, tmp_path / "c", workers=1, progress=stopping(STOPPED_SHARE))
    server.counts.clear()
    build_like_the_file(address, tmp_path)
    assert server.counts["/tones.tar"] == 0


def test_a_build_that_was_killed_goes_on(server, tmp_path, tones, two_a_chunk):
    server.files["/tones.tar"] = tones
    script = (
        "import os, sys\nfrom timbrel.train.api import build_corpus\nfrom timbrel.train.corpus import chunks\n"
        "chunks.CHUNK_FILES = 2\n"
        "def end(done, name):\n    if done > 0.6: os.kill(os.getpid(), 9)\n"
        "build_corpus(sys.argv[1], sys.argv[2], workers=1, progress=end)\n"
    )
    address = server.address("/tones.tar")
    assert subprocess.run([sys.executable, "-c", script, address, tmp_path / "c"], check=False).returncode == -9
    server.counts.clear()
    build_like_the_file(address, tmp_path)
    assert server.counts["/tones.tar"] == 0


def test_a_file_that_changed_since_is_fetched_again(server, tmp_path, tones, two_a_chunk):
    server.files["/tones.tar"] = tones
    with pytest.raises(KeyboardInterrupt):
        build_corpus(server.address("/tones.tar"), tmp_path / "c", workers=1, progress=stopping(0.6))
    server.files["/tones.tar"] = tone_shard(tmp_path / "other.tar", [50]).read_bytes()
    build_corpus(server.address("/tones.tar"), tmp_path / "c", workers=1)
    assert [clip.key for clip in Corpus.open(tmp_path / "c").clips()] == [50]


def test_bad_labels_behind_an_address_leave_nothing(server, tmp_path, tones):
    server.files["/tones.tar"] = tones
    with pytest.raises(UserError, match=r"tones\.tar, tone60 has no column 'note'"):
        build_corpus(server.address("/tones.tar"), tmp_path / "c", workers=1, columns={"key": "note"})
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("module", "address"), [("fsspec", "https://e.org/a.wav"), ("s3fs", "s3://bucket/a.wav")])
def test_without_a_package_a_line_names_the_extra(module, address, tmp_path, monkeypatch):
    plain = remote.importlib.util.find_spec
    monkeypatch.setattr(remote.importlib.util, "find_spec", lambda name: None if name == module else plain(name))
    with pytest.raises(UserError, match=rf"cannot be fetched: {module} .*pip install 'timbrel\[remote\]'"):
        build_corpus(address, tmp_path / "c", workers=1)


def test_loops_at_addresses_leave_no_files_but_the_corpus(server, tmp_path):
    for number in range(2):
        path = write(tmp_path / "loops" / f"{number} 120 bpm.wav", loop(number))
        server.files[f"/{path.name}"] = path.read_bytes()
    addresses = [server.address(f"/{number}%20120%20bpm.wav") for number in range(2)]
    build_corpus(addresses, tmp_path / "c", workers=1, loops=True)
    build_corpus(tmp_path / "loops", tmp_path / "files", workers=1, loops=True, name="c")
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "files")


def test_a_login_is_not_sent_to_where_an_address_leads(server, tmp_path):
    with Server() as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        other.files["/a.wav"] = tone(60)
        server.answers["/a.wav"] = (302, {"Location": other.address("/a.wav")})
        build_corpus(server.address("/a.wav", "", f"{USER}:{PASSWORD}@"), tmp_path / "c", workers=1)
        other.shutdown()
    assert server.logins == {f"{USER}:{PASSWORD}"}
    assert other.logins == {None}


def test_a_server_that_sends_nothing_more_is_a_failure(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "SILENT_SECONDS", 0.2)
    server.files["/a.wav"] = tone(60)
    server.silent.add("/a.wav")
    with pytest.raises(Failure, match=r"cannot get .*/a\.wav \(\w*Timeout\w*\); check the connection"):
        build_corpus(server.address("/a.wav"), tmp_path / "c", workers=1)


def test_addresses_that_differ_in_their_query_alone_are_fetched_apart(server, tmp_path):
    server.files["/a.wav"] = tone(60)
    addresses = [server.address("/a.wav", f"?part={number}") for number in range(2)]
    report = build_corpus(addresses, tmp_path / "c", workers=1)
    assert server.counts["/a.wav"] == 2
    assert len(report.identical) == 1


def test_a_file_is_asked_for_as_it_is_and_past_all_proxies_of_other_machines(server, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.files["/a.wav"] = tone(60)
    build_corpus(server.address("/a.wav"), tmp_path / "c", workers=1)
    assert server.encodings == {"identity"}


def test_a_query_is_sent(server, tmp_path):
    server.files["/a.wav"] = tone(60)
    query = "?X-Sign=a%2Fb%3D&Z=%2B+1&A=ü&B="
    build_corpus(server.address("/a.wav", query), tmp_path / "c", workers=1)
    sent = {tuple(urllib.parse.parse_qsl(query, keep_blank_values=True)) for query in server.queries}
    assert sent == {(("X-Sign", "a/b="), ("Z", "+ 1"), ("A", "ü"), ("B", ""))}


@pytest.fixture
def bucket(server, monkeypatch):
    """An S3 server's answers, as far as a reader needs them; returns its objects by key."""
    pytest.importorskip("s3fs")
    objects = {}
    monkeypatch.setattr(Handler, "answer", lambda handler, has_body: answer_of_s3(handler, objects, has_body))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address(""))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return objects


def answer_of_s3(handler, objects, has_body):
    parts = urllib.parse.urlsplit(handler.path)
    bucket, _, key = urllib.parse.unquote(parts.path).lstrip("/").partition("/")
    query = dict(urllib.parse.parse_qsl(parts.query))
    if "list-type" in query:
        prefix = query.get("prefix", "")
        entries = "".join(
            f"<Contents><Key>{name}</Key><Size>{len(data)}</Size><ETag>e</ETag><LastModified>2026-01-01T00:00:00.000Z"
            "</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for name, data in sorted(objects.items())
            if name.startswith(prefix)
        )
        count = entries.count("<Key>")
        head = f"<IsTruncated>false</IsTruncated><KeyCount>{count}</KeyCount>"
        data = f"<ListBucketResult>{head}{entries}</ListBucketResult>".encode()
        handler.reply(200, {"Content-Length": str(len(data)), "Content-Type": "application/xml"})
        handler.wfile.write(data)
    elif bucket != "bucket" or key not in objects:
        handler.reply(404, {})
    else:
        data, status = objects[key], 200
        if "Range" in handler.headers:
            first, _, last = handler.headers["Range"].removeprefix("bytes=").partition("-")
            data, status = data[int(first) : int(last) + 1 if last else None], 206
        handler.reply(status, {"Content-Length": str(len(data)), "ETag": '"e"'})
        if has_body:
            handler.wfile.write(data)


def test_a_folder_of_s3_brings_the_licence_that_its_description_states(bucket, tmp_path):
    pytest.importorskip("pyarrow")
    table = parquet(tmp_path / "t.parquet").read_bytes()
    bucket |= {"set/t.parquet": table, "set/dataset_info.json": b'{"license": "CC0-1.0"}'}
    build_corpus("s3://bucket/set", tmp_path / "c", workers=1)
    assert Corpus.open(tmp_path / "c").licence == "CC0-1.0"


def test_files_and_folders_of_s3_are_read(bucket, tmp_path, tones, monkeypatch):
    bucket |= {
        "sets/tone.wav": tone(81),
        "sets/a/tones.tar": tones,
        "sets/a/about.txt": b"x",
        "odd:name.wav": b"",
        "one.wav": tone(80),
    }
    report = build_corpus(["s3://bucket/sets/a", "s3://bucket/one.wav"], tmp_path / "c", workers=1, split="1/0/0")
    assert report.clips == len(NOTES) + 1
    names = [*labels_of(Corpus.open(tmp_path / "c"))]
    assert names == ["one.wav", *(f"tones/tone{note}.flac" for note in NOTES)]
    for address, said in (
        ("s3://bucket/none.wav", "nothing is at s3://bucket/none.wav; check the address"),
        ("s3://bucket/sets/a/about.txt", "1 unreadable"),
        ("s3://bucket/odd:name.wav", "s3://bucket/odd:name.wav holds 'odd:name.wav', no plain name of a file"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            build_corpus(address, tmp_path / "d", workers=1)
    monkeypatch.setattr(remote, "MOST_FILES", 1)
    with pytest.raises(UserError, match=r"s3://bucket/sets holds more than 1 files; give folders of it, or shards"):
        build_corpus("s3://bucket/sets", tmp_path / "d", workers=1)
    bucket["sets/b/../x.wav"] = tone(81)
    with pytest.raises(UserError, match=r"s3://bucket/sets/b holds '\.\./x\.wav', no plain name of a file; rename it"):
        build_corpus("s3://bucket/sets/b", tmp_path / "d", workers=1)
    assert not (tmp_path / "d").exists()


def test_a_piece_at_a_time_is_held(server, tmp_path, tones, monkeypatch):
    server.files["/tones.tar"] = tones
    monkeypatch.setattr(remote, "PIECE_BYTES", 1000)
    written, plain = [], Path.open

    class Counted(io.FileIO):
        def write(self, data):
            written.append(len(data))
            return super().write(data)

    def opened(self, mode="r", *arguments, **options):
        return Counted(self, "w") if self.name.endswith(".part") else plain(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    build_corpus(server.address("/tones.tar"), tmp_path / "c", workers=1)
    assert sum(written) == len(tones)
    assert max(written) <= 1000
