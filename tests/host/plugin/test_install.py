"""`timbrel plugin`: what it puts where, what it leaves alone, and what it says of how things stand."""

import platform
import sys
from pathlib import Path

import pytest
from timbrel import __version__
from timbrel.host.errors import Failure
from timbrel.host.plugin import bundles as bundles_module
from timbrel.host.preset.shipped import current_presets, earlier_presets

MODULE = f"Contents/{platform.machine()}-linux"
PLACES = {"LV2": ".lv2/timbrel.lv2", "VST3": ".vst3/timbrel.vst3", "CLAP": ".clap/timbrel"}
BINARIES = {
    "LV2": ".lv2/timbrel.lv2/timbrel.so",
    "VST3": f".vst3/timbrel.vst3/{MODULE}/timbrel.so",
    "CLAP": ".clap/timbrel/timbrel.clap",
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the plugins are built on Linux")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own, in which nothing is installed."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return path


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Plugins as the compiler leaves them, but for what they do."""
    folder = tmp_path / "build"
    (folder / "timbrel.lv2").mkdir(parents=True)
    (folder / f"timbrel.vst3/{MODULE}").mkdir(parents=True)
    (folder / "timbrel.lv2/timbrel.so").write_bytes(b"LV2")
    (folder / "timbrel.lv2/manifest.ttl").write_text("# a manifest\n")
    (folder / f"timbrel.vst3/{MODULE}/timbrel.so").write_bytes(b"VST3")
    (folder / "timbrel.clap").write_bytes(b"CLAP")
    monkeypatch.setattr(bundles_module, "BUILT", folder)
    return folder


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """A stand-in for this Python, which answers as its script says."""
    path = tmp_path / "venv/bin/python"
    path.parent.mkdir(parents=True)

    def write(script):
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return path

    return write


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_each_plugin_comes_to_its_formats_folder_beside_the_name_of_its_interpreter(timbrel, home, built, interpreter):
    real = interpreter("exit 0")
    link = real.with_name("python3")
    link.symlink_to(real)
    sys.executable = str(link)  # a virtual environment is known by the link that was called
    ended = timbrel("plugin", "install")
    assert (ended.status, ended.err) == (0, "")
    for name, binary in BINARIES.items():
        assert f"{name:<5} {home / PLACES[name]}" in ended.out.splitlines()
        assert (home / binary).read_bytes() == name.encode()
        assert (home / binary).with_name("interpreter").read_text() == f"{link}\n"
    assert (home / ".lv2/timbrel.lv2/manifest.ttl").read_text().startswith("# a manifest\n")
    listed = (home / BINARIES["CLAP"]).with_name("presets").read_text(encoding="utf-8")
    assert [line.split("\t")[1] for line in listed.splitlines()] == [*current_presets(), *earlier_presets()]
    assert not any(path.name.startswith(".timbrel") for path in home.rglob("*"))


def test_another_build_takes_the_place_of_the_one_before_and_a_host_keeps_the_binary_it_has_open(timbrel, home, built):
    timbrel("plugin", "install")
    (home / ".clap/timbrel/left over").touch()
    with (home / BINARIES["CLAP"]).open("rb") as mapped:
        (built / "timbrel.clap").write_bytes(b"a newer one")
        assert timbrel("plugin", "install").status == 0
        assert mapped.read() == b"CLAP"
    assert (home / BINARIES["CLAP"]).read_bytes() == b"a newer one"
    assert files(home / ".clap/timbrel") == {"timbrel.clap", "interpreter", "presets"}


def test_a_format_that_is_not_built_is_told_of_and_the_others_are_installed(timbrel, home, built):
    (built / "timbrel.clap").unlink()
    ended = timbrel("plugin", "install")
    assert ended.status == 0
    assert ended.err.startswith("warning: no CLAP plugin is built: ")
    assert len(ended.err.splitlines()) == 1
    assert (home / BINARIES["LV2"]).is_file()
    assert not (home / ".clap").exists()


def test_where_nothing_is_built_one_line_says_what_to_do(timbrel, home, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles_module, "BUILT", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = timbrel("plugin", "install")
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1
    assert "no plugin is built that could be installed: install gcc, make" in ended.err
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("in_place", ["a folder", "a link"])
def test_what_somebody_else_put_there_stays(timbrel, home, built, tmp_path, in_place):
    place = home / PLACES["VST3"]
    place.parent.mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/timbrel.so").touch()
    (tmp_path / "mine").rename(place) if in_place == "a folder" else place.symlink_to(tmp_path / "mine")
    ended = timbrel("plugin", "install")
    assert ended.status == 2
    assert f"{place} was not put there by 'timbrel plugin install'" in ended.err
    assert not (home / ".lv2").exists()
    assert timbrel("plugin", "uninstall").out == "no plugin was installed by 'timbrel plugin install'\n"
    assert f"VST3  {place} was not put there" in timbrel("plugin", "status").out
    assert (place / "timbrel.so").is_file()


def test_a_copy_that_fails_leaves_the_plugin_that_was_there_whole(timbrel, home, built, monkeypatch):
    timbrel("plugin", "install")
    before = {path: (home / path).read_bytes() for path in files(home)}
    (built / "timbrel.lv2/timbrel.so").write_bytes(b"a newer one")

    def full(source, folder, **options):
        (folder / "timbrel.so").write_bytes(b"a new")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles_module.shutil, "copytree", full)
    ended = timbrel("plugin", "install")
    assert ended.status == Failure.exit_status
    assert "No space left on device; what was there is kept" in ended.err
    assert {path: (home / path).read_bytes() for path in files(home)} == before


def test_uninstall_removes_what_install_made_and_nothing_else(timbrel, home, built):
    others = home / ".lv2/other.lv2/manifest.ttl"
    others.parent.mkdir(parents=True)
    others.touch()
    timbrel("plugin", "install")
    ended = timbrel("plugin", "uninstall")
    assert (ended.status, len(ended.out.splitlines())) == (0, 3)
    assert files(home) == {".lv2/other.lv2/manifest.ttl"}
    assert sorted(path.name for path in (home / ".lv2").iterdir()) == ["other.lv2"]
    assert timbrel("plugin", "uninstall").status == 0


def test_uninstall_of_a_link_leaves_what_it_leads_to(timbrel, home, built):
    (built / "timbrel.lv2/interpreter").write_text("/usr/bin/python3\n")
    (home / ".lv2").mkdir()
    (home / PLACES["LV2"]).symlink_to(built / "timbrel.lv2")
    assert timbrel("plugin", "uninstall").status == 0
    assert not (home / PLACES["LV2"]).is_symlink()
    assert (built / "timbrel.lv2/timbrel.so").is_file()


# ---- status


def test_status_says_of_each_format_whether_it_is_built_and_installed(timbrel, home, built, interpreter):
    python = interpreter(f"echo {__version__}")
    timbrel("plugin", "install")
    (built / "timbrel.clap").write_bytes(b"a newer one")
    (home / BINARIES["VST3"]).unlink()
    ended = timbrel("plugin", "status")
    assert (ended.status, ended.err) == (0, "")
    lv2, vst3, clap, served, log = ended.out.splitlines()
    assert lv2 == f"LV2   installed as {home / PLACES['LV2']}"
    assert vst3 == f"VST3  {home / PLACES['VST3']} has lost {MODULE}/timbrel.so; run 'timbrel plugin install'"
    assert clap.startswith(f"CLAP  installed as {home / PLACES['CLAP']}, another one than is built here")
    assert served == f"interpreter {python}: serves them with timbrel {__version__}"
    assert log == f"log {home}/.local/state/timbrel/plugin.log: none yet"


def test_status_before_the_installation_says_what_to_run(timbrel, home, built):
    (built / "timbrel.clap").unlink()
    lines = timbrel("plugin", "status").out.splitlines()
    assert lines[0] == "LV2   built, not installed: run 'timbrel plugin install'"
    assert lines[2].startswith("CLAP  not built: ")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 0.0.1",
            f"serves them with timbrel 0.0.1, this is {__version__}; 'timbrel plugin install' names this one",
        ),
        ("echo a trace >&2; echo 'No module named timbrel' >&2; exit 1", "cannot serve them: No module named timbrel;"),
        ("exit 3", "cannot serve them: exit status 3;"),
        ('[ "$1" = -I ] && [ -z "$PYTHONPATH$LD_PRELOAD" ] || exit 4; echo ' + __version__, f"timbrel {__version__}"),
        ("exec sleep 60", "does not answer within 0 seconds"),
    ],
    ids=["another version", "no timbrel", "a silent end", "started as plugins start it", "for ever"],
)
def test_status_tries_the_interpreter_as_the_plugin_starts_it(
    timbrel, home, built, interpreter, monkeypatch, script, said
):
    interpreter(script)
    timbrel("plugin", "install")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    if "sleep" in script:
        monkeypatch.setattr(bundles_module, "SERVE_SECONDS", 0.2)
    assert said in timbrel("plugin", "status").out.splitlines()[3]


def test_status_says_that_the_interpreter_has_gone(timbrel, home, built, interpreter):
    python = interpreter("exit 0")
    timbrel("plugin", "install")
    python.unlink()
    line = timbrel("plugin", "status").out.splitlines()[3]
    assert line == f"interpreter {python}: is no program that can be run; 'timbrel plugin install' names this one"


@pytest.mark.parametrize("state", ["", "relative", "/absolute"])
def test_status_shows_the_end_of_the_log_where_the_plugin_writes_it(timbrel, home, built, tmp_path, monkeypatch, state):
    own = f"{tmp_path}/state" if state == "/absolute" else state
    monkeypatch.setenv("XDG_STATE_HOME", own)
    log = Path(own if state == "/absolute" else home / ".local/state") / "timbrel/plugin.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"".join(b"line %d \x1b[2J\xff\n" % i for i in range(9)))
    lines = timbrel("plugin", "status").out.splitlines()
    assert lines[3] == f"log {log}:"
    assert lines[4:] == [f"  line {i}  [2J\ufffd" for i in range(4, 9)]
