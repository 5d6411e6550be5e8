import io
import json
import os
import random
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from timbrel.host.errors import UserError
from timbrel.host.model import pack
from timbrel.host.model.pack import (
    PROVED,
    digest_of,
    mark_proved,
    proved_before,
    read_manifest,
    throw_away,
    unpacked,
    unproved,
)

from .packed import FILES, packed, told, write


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "timbrel" / "packs"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_pack_is_unpacked_once_under_its_digest(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, packed())
    folder = unpacked(path)
    assert (folder.name, folder.parent.parent) == ("reed", home)
    assert contents(folder) == FILES
    before = (folder / "preset.toml").stat().st_mtime_ns
    assert unpacked(path) == folder
    assert (folder / "preset.toml").stat().st_mtime_ns == before
    (folder / "preset.toml").unlink()
    (folder / "model.onnx").write_bytes(b"damaged")
    assert contents(unpacked(path)) == FILES
    assert read_manifest(path).metadata == {"licence": "CC0"}


def test_a_pack_is_unproved_until_it_is_marked(home: Path, tmp_path: Path) -> None:
    file = unpacked(write(tmp_path, packed())) / "preset.toml"
    assert unproved(file)
    digest = digest_of(file)
    assert digest is not None
    assert proved_before(digest) is None
    mark_proved(file)
    assert not unproved(file)
    assert proved_before(digest) == file.parent
    assert not unproved(tmp_path / "preset.toml")
    throw_away(file)
    assert [path.suffix for path in home.iterdir()] == [PROVED]
    assert proved_before(digest) is None


def test_a_pack_named_as_the_mark_is_unproved_too(home: Path, tmp_path: Path) -> None:
    assert unproved(unpacked(write(tmp_path, packed(name="proved"))) / "preset.toml")


def test_a_home_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "link"))
    folder = unpacked(write(tmp_path, packed()))
    assert unproved(folder / "preset.toml")
    assert unproved(tmp_path / "link" / "timbrel" / "packs" / folder.parent.name / "reed" / "preset.toml")


def test_what_an_interrupted_process_left_is_passed_over(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, packed())
    folder = unpacked(path)
    (folder.parent / ".reed.abc").mkdir()
    mark_proved(folder / "preset.toml")
    assert proved_before(folder.parent.name) == folder
    os.utime(folder.parent / ".reed.abc", (0, 0))
    (folder / "model.onnx").unlink()
    assert unpacked(path) == folder
    assert [one.name for one in folder.parent.iterdir()] == ["reed"]


def test_several_processes_may_unpack_at_once(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, packed({**FILES, "big": bytes(1 << 22)}))
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: unpacked(path), range(16)))
    assert [contents(folder).keys() for folder in folders] == [{*FILES, "big"}]


def test_a_list_of_a_million_files_is_not_read(home: Path, tmp_path: Path) -> None:
    end = b"PK\x05\x06" + bytes(4) + b"\xff\xff\xff\xff" + (50_000_000).to_bytes(4, "little") + bytes(6)
    with pytest.raises(UserError, match="it lists too many files"):
        read_manifest(write(tmp_path, bytes(100) + end))


def test_a_list_of_files_whose_size_only_format_zip64_gives_is_not_read(home: Path, tmp_path: Path) -> None:
    whole = packed()
    start, end = whole[:-22], whole[-22:]
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 50_000_000, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, len(start), 1)
    with pytest.raises(UserError, match="it is of format zip64"):
        read_manifest(write(tmp_path, start + record + locator + end))


def test_a_size_that_reads_as_the_mark_of_an_end_is_a_size(home: Path, tmp_path: Path) -> None:
    end = b"PK\x05\x06" + bytes(8) + b"PK\x05\x06" + bytes(6)  # a list of 101 MB
    with pytest.raises(UserError, match="it lists too many files"):
        read_manifest(write(tmp_path, bytes(100) + end))


@pytest.mark.parametrize(
    "name",
    ["../out", "HERE/out", "a/../../out", "a\\..\\out", "C:/out", ".hidden", "a//b", "a/", "a\x00b", "con:", "a/."],
)
def test_names_that_leave_the_folder_are_refused(home: Path, tmp_path: Path, name: str) -> None:
    name = name.replace("HERE", str(tmp_path))
    with pytest.raises(UserError, match="is no name of a file in it"):
        unpacked(write(tmp_path, packed({**FILES, name: b"x"})))
    assert contents(tmp_path).keys() == {"reed.timbrel"}


@pytest.mark.parametrize("name", ["../reed", "", "a/b", "x" * 201, "声" * 100, ".reed"])
def test_names_of_packs_are_names_of_folders(home: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="its name is no name of a folder"):
        unpacked(write(tmp_path, packed(name=name)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has format 2, this timbrel reads 1; update timbrel"),
        ({"files": {}}, "it names 0 files"),
        ({"files": {f"f{n}": {"bytes": 0, "sha256": ""} for n in range(5000)}}, "it names 5000 files"),
        ({"files": {"preset.toml": {"bytes": float("inf"), "sha256": "0"}}}, r"pack\.json"),
        ({"files": {"x" * 300: {"bytes": 1, "sha256": "0"}}}, "is no name of a file in it"),
        ({"files": {"preset.toml": {"bytes": 1 << 31, "sha256": "0"}}}, "unpacks to more than 1024 MiB"),
        ({"files": {"preset.toml": {"bytes": -1, "sha256": "0"}}}, "unpacks to more than"),
        ({"files": {**told(FILES), "MODEL.onnx": told(FILES)["model.onnx"]}}, "two of its files have one name"),
        ({"files": {"not there": {"bytes": 1, "sha256": "0"}}}, "not there"),
        ({"files": {"preset.toml": {"bytes": 220, "sha256": "0" * 64}}}, r"preset\.toml is not the file"),
        ({"files": {"preset.toml": {"bytes": 3, "sha256": "0" * 64}}}, "longer than 3 bytes"),
        ({"files": []}, r"pack\.json"),
        ({"about": "none"}, r"pack\.json"),
    ],
)
def test_manifests_that_do_not_fit_are_refused(home: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        unpacked(write(tmp_path, packed(**change)))
    assert not home.exists() or not list(home.iterdir())


@pytest.mark.parametrize("data", [b"", b"PK", b"no pack at all", packed(manifest={})[:-30]])
def test_other_files_are_refused(home: Path, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match="is no pack, or damaged"):
        unpacked(write(tmp_path, data))


def test_missing_packs_and_folders_are_one_line(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        unpacked(tmp_path / "none.timbrel")
    with pytest.raises(UserError, match="Is a directory"):
        unpacked(tmp_path)


def test_a_bomb_stops_at_the_size_that_the_manifest_tells(home: Path, tmp_path: Path) -> None:
    bomb = packed({**FILES, "bomb": bytes(1 << 26)}, files={**told(FILES), "bomb": {"bytes": 10, "sha256": "0" * 64}})
    assert len(bomb) < 1 << 17
    with pytest.raises(UserError, match="bomb: longer than 10 bytes"):
        unpacked(write(tmp_path, bomb))
    assert not list(home.iterdir())


def test_a_manifest_that_is_a_bomb_is_refused(home: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr("pack.json", json.dumps({"format": 1, "name": " " * (1 << 22)}))
    with pytest.raises(UserError, match="longer than 1048576 bytes"):
        read_manifest(write(tmp_path, buffer.getvalue()))


def test_files_that_the_manifest_does_not_name_are_left_in_the_pack(home: Path, tmp_path: Path) -> None:
    data = packed({**FILES, "run.py": b"print()"}, files=told(FILES))
    assert contents(unpacked(write(tmp_path, data))) == FILES


def test_a_thousand_damaged_packs_leave_nothing_behind(home: Path, tmp_path: Path) -> None:
    whole, chance = packed(), random.Random(0)
    accepted, lines = 0, []
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            place = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[place] = chance.randrange(256)
                case 1:
                    data[place] ^= 1 << chance.randrange(8)
                case 2:
                    del data[place : place + chance.randrange(1, 64)]
                case 3:
                    data[place:place] = chance.randbytes(chance.randrange(1, 16))
            data = data or bytearray(b"x")
        path = write(tmp_path, bytes(data))
        try:
            folder = unpacked(path)
        except UserError as error:
            lines += error.args
        else:  # the damage lies where a zip file tells nothing of its files
            assert contents(folder) == FILES
            accepted += 1
            throw_away(folder / "preset.toml")
        assert not home.exists() or not list(home.iterdir())
    assert accepted < 300
    assert len(lines) == 1000 - accepted
    assert not any("\n" in line for line in lines)


def test_a_full_disk_leaves_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timbrel.host.errors import Failure

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack, "_extract", full)
    with pytest.raises(Failure, match="No space left on device"):
        unpacked(write(tmp_path, packed()))
    assert not list(home.iterdir())
