import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from timbrel.export.pack import pack
from timbrel.host.errors import Failure, TimbrelError, UserError
from timbrel.host.model import pack as archive
from timbrel.host.preset import fetched_packs
from timbrel.host.preset.fetched_packs import arrive
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import MIDI

from ...patience import besides_progress
from ..model.packed import packed
from .https_server import https_server

REED = "reed.timbrel"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("packed") / "digits.timbrel"
    pack(open_patch("digits-keys"), path)
    return path.read_bytes()


class Net:
    def __init__(self, address: str, trusted: Path, asked: list[tuple[str, str | None]], home: Path) -> None:
        self.address, self.trusted, self.asked, self.home = address, trusted, asked, home

    def left(self) -> list[str]:
        """Return the files in the user's folder."""
        return sorted(path.relative_to(self.home).as_posix() for path in self.home.rglob("*") if path.is_file())


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: bytes) -> Iterator[Net]:
    home = tmp_path / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    files = {REED: packed(), "digits.timbrel": digits, "text.timbrel": b"hello", "README.md": b"#"}
    with https_server(tmp_path, files) as (address, trusted, asked):
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        yield Net(address, trusted, asked, home)


def get(url: str) -> Path:
    return fetched_packs.fetch(url, lambda done: None)


@pytest.mark.parametrize("kind", ["good", "whole", "moved"])
def test_a_file_arrives_whole(net: Net, kind: str) -> None:
    done: list[float] = []
    found = fetched_packs.fetch(f"{net.address}/{kind}/{REED}", done.append)
    assert found.read_bytes() == packed()
    assert done[-1] == 1.0


def test_a_digest_is_checked(net: Net) -> None:
    digest = hashlib.sha256(packed()).hexdigest()
    assert get(f"{net.address}/good/{REED}#sha256={digest}").read_bytes() == packed()
    with pytest.raises(UserError, match="not the one asked for"):
        get(f"{net.address}/good/text.timbrel#sha256={digest}")
    with pytest.raises(UserError, match="is no digest"):
        get(f"{net.address}/good/{REED}#md5=1")
    assert not [name for name in net.left() if name.endswith(fetched_packs.PARTIAL)]


def test_a_download_that_was_cut_off_is_resumed(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    url, answer = f"{net.address}/cut/{REED}", packed()
    with pytest.raises(Failure, match="run it again to resume"):
        get(url)
    [part] = net.home.rglob(f"*{fetched_packs.PARTIAL}")
    assert part.read_bytes() == answer[: len(answer) // 2]
    with pytest.raises(Failure, match="run it again to resume"):
        get(url)
    assert net.asked[-1] == (f"/cut/{REED}", f"bytes={len(answer) // 2}-")
    part.write_bytes(answer[:100])
    part.rename(part.with_name(part_name(f"{net.address}/good/{REED}")))
    assert get(f"{net.address}/good/{REED}").read_bytes() == answer
    assert net.asked[-1] == (f"/good/{REED}", "bytes=100-")


def part_name(address: str) -> str:
    return f".{hashlib.sha256(address.encode()).hexdigest()[:16]}{fetched_packs.PARTIAL}"


@pytest.mark.parametrize("kind", ["beyond", "anew"])
def test_a_part_that_the_server_does_not_go_on_from_begins_anew(net: Net, kind: str) -> None:
    url = f"{net.address}/{kind}/{REED}"
    part = net.home / "timbrel" / "packs" / part_name(url)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 99)
    assert get(url).read_bytes() == packed()


def test_a_busy_server_keeps_what_was_fetched(net: Net) -> None:
    url = f"{net.address}/busy/{REED}"
    part = net.home / "timbrel" / "packs" / part_name(url)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 99)
    with pytest.raises(Failure, match=r"answers 503 .* run it again later"):
        get(url)
    assert part.read_bytes() == b"x" * 99


def test_other_letters_in_an_address_are_quoted(net: Net) -> None:
    with pytest.raises(UserError, match="answers 404"):
        get(f"{net.address}/none/flöte und geige.timbrel")
    assert net.asked[-1][0] == "/none/fl%C3%B6te%20und%20geige.timbrel"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none/x.timbrel", "answers 404"),
        (f"/huge/{REED}", "a pack at most 1024"),
        (f"/endless/{REED}", "a pack at most so many"),
        (f"/down/{REED}", "is not https://"),
        (f"/loop/{REED}", "answers 302"),
        (f"/slow/{REED}", "timed out"),
    ],
)
def test_trouble_is_one_line(net: Net, monkeypatch: pytest.MonkeyPatch, path: str, said: str) -> None:
    if "endless" in path:
        monkeypatch.setattr(fetched_packs, "LARGEST", 1 << 22)
    monkeypatch.setattr(fetched_packs, "SILENT_SECONDS", 1.0 if "slow" in path else 600.0)
    with pytest.raises(TimbrelError, match=said) as caught:
        get(f"{net.address}{path}")
    assert len(caught.value.args) == 1
    assert "\n" not in str(caught.value)
    assert len(net.left()) <= ("slow" in path)  # the part that a second call resumes


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://localhost/x.timbrel", "is no address of https://"),
        ("file:///etc/passwd", "is no address of https://"),
        ("x.timbrel", "is no address of https://"),
        ("https://[x/a", "is no address of https://"),
        (f"https://{'a' * 70}.org/x", "is no address of https://"),
        ("hf:me", "is no repository"),
        ("https://localhost:1/x.timbrel", "cannot get https://localhost:1/x.timbrel"),
    ],
)
def test_other_addresses_are_refused(net: Net, url: str, said: str) -> None:
    with pytest.raises(TimbrelError, match=re.escape(said)):
        get(url)
    assert not net.left()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://ada:horse@localhost:1/x@1.timbrel?token=battery", "cannot get https://localhost:1/x@1.timbrel: "),
        ("http://ada:horse@localhost/x.timbrel?token=battery", "http://localhost/x.timbrel is no address of https://"),
        ("https:/ada:horse@localhost/x.timbrel?token=battery", "https:/localhost/x.timbrel is no address of https://"),
        ("https:ada:horse@localhost/x?token=battery", "https:localhost/x is no address of https://"),
    ],
)
def test_no_message_has_the_login_or_the_query_of_an_address(net: Net, url: str, said: str) -> None:
    with pytest.raises(TimbrelError, match=re.escape(said)) as caught:
        get(url)
    assert not re.search("ada|horse|token|battery", str(caught.value))


def test_a_redirection_s_query_is_in_no_message(net: Net) -> None:
    with pytest.raises(TimbrelError, match="leads to http://") as caught:
        get(f"{net.address}/down/{REED}?token=battery")
    assert "battery" not in str(caught.value)


def test_a_server_that_is_not_trusted_is_refused(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Failure, match="certificate"):
        get(f"{net.address}/good/{REED}")


def test_an_arrived_pack_is_proved_and_played_by_its_name(net: Net, tmp_path: Path) -> None:
    kept = arrive(f"{net.address}/good/digits.timbrel", False, lambda done: None)
    assert (kept.name, kept.licence) == ("digits", "CC-BY-SA-4.0")
    assert kept.file == net.home / "timbrel" / "presets" / "digits.timbrel"
    assert open_patch("digits").model.sha256 == open_patch("digits-keys").model.sha256
    assert [name for name in net.left() if name.endswith(archive.PROVED)]
    again = arrive(f"{net.address}/whole/digits.timbrel", False, lambda done: None)
    assert again == kept
    kept.file.write_bytes(b"mine")
    with pytest.raises(UserError, match="is another pack; --overwrite replaces it"):
        arrive(f"{net.address}/good/digits.timbrel", False, lambda done: None)
    assert kept.file.read_bytes() == b"mine"
    kept.file.rename(kept.file.with_suffix(".toml"))
    with pytest.raises(UserError, match="has the name 'digits' already"):
        arrive(f"{net.address}/good/digits.timbrel", False, lambda done: None)


def test_a_pack_of_an_email_is_proved_and_kept_as_a_fetched_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: bytes
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    file = tmp_path / "friend.timbrel"
    file.write_bytes(digits)
    kept = arrive(str(file), False, lambda done: None)
    assert open_patch(kept.name).preset.keys
    assert file.read_bytes() == kept.file.read_bytes() == digits
    file.write_bytes(packed())  # no model in it gives its reference
    with pytest.raises(UserError, match="cannot be used"):
        arrive(str(file), False, lambda done: None)
    assert file.exists()
    with pytest.raises(UserError, match=r"pack .*gone\.timbrel does not exist; check the path"):
        arrive(str(tmp_path / "gone.timbrel"), False, lambda done: None)


@pytest.mark.parametrize("name", [REED, "text.timbrel"])
def test_a_pack_that_fails_its_proof_is_not_kept(net: Net, name: str) -> None:
    with pytest.raises(UserError):
        arrive(f"{net.address}/good/{name}", False, lambda done: None)
    assert net.left() == []


def test_the_command_in_another_home(net: Net, tmp_path: Path, digits: bytes) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
    env["SSL_CERT_FILE"] = str(net.trusted)

    def timbrel(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "timbrel", *arguments]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)

    digest = hashlib.sha256(digits).hexdigest()
    done = timbrel("get", f"{net.address}/good/digits.timbrel#sha256={digest}")
    assert (done.returncode, besides_progress(done.stderr)) == (0, [])
    assert done.stdout.splitlines()[-1] == "next: timbrel play digits"
    assert timbrel("render", "digits", str(MIDI / "digits-keys.mid"), "-o", "a.wav").returncode == 0
    assert timbrel("render", "digits-keys", str(MIDI / "digits-keys.mid"), "-o", "b.wav").returncode == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert "(your own)" in timbrel("presets").stdout
    failed = timbrel("get", f"{net.address}/good/text.timbrel")
    assert (failed.returncode, len(besides_progress(failed.stderr))) == (2, 1)


@pytest.mark.parametrize("name", ["hf:me/reeds/digits.timbrel", "hf:me/reeds"])
def test_a_hugging_face_repository(net: Net, tmp_path: Path, name: str) -> None:
    env = {**os.environ, "HF_ENDPOINT": net.address, "HF_HUB_OFFLINE": "0", "HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "timbrel", "get", name]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    if name.endswith(".timbrel"):
        assert (done.returncode, besides_progress(done.stderr)) == (0, [])
        assert "timbrel play digits" in done.stdout
    else:
        assert done.returncode == 2
        [line] = besides_progress(done.stderr)
        assert "holds 3 packs (reed.timbrel, digits.timbrel, text.timbrel); name one" in line


@pytest.mark.parametrize(
    ("repository", "endpoint", "status"),
    [("me/reeds", "https://localhost:1", 1), ("me/none", None, 2), ("me/--", None, 2)],
)
def test_a_repository_that_cannot_be_listed_is_one_line(
    net: Net, tmp_path: Path, repository: str, endpoint: str | None, status: int
) -> None:
    env = {**os.environ, "HF_ENDPOINT": endpoint or net.address, "HF_HUB_OFFLINE": "0", "HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "timbrel", "get", f"hf:{repository}"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    [line] = besides_progress(done.stderr)
    assert line.startswith(f"timbrel: hf:{repository} cannot be listed: ")
