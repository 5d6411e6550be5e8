"""The installer of `make`: uv with pip's settings, or pip."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci/install.py"
LISTING = """\
:env:.find-links='/some/wheels'
:env:.index-url='https://a.example/simple'
global.index-url='https://b.example/simple'
global.extra-index-url='\\nhttps://c.example/simple\\nhttps://d.example/simple'
global.cert='/a/bundle.pem'
install.constraint='more.txt'
download.find-links='/others'
"""


@pytest.fixture
def install(monkeypatch, tmp_path):
    """The script as a module; in a folder whose programs are stand-ins that write their arguments into ``calls``."""
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PIP", [str(tmp_path / "pip")])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "argv", ["install.py", "--editable", ".[dev]"])
    monkeypatch.setenv("PATH", str(tmp_path))
    return module


def stand_in(path, script):
    path.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >> "{path.parent}/calls"\n{script}\n', encoding="utf-8")
    path.chmod(0o755)


def calls(folder):
    """The first words of each call that installs."""
    lines = (folder / "calls").read_text().splitlines()
    return [line for line in lines if " install " in line]


def test_uv_on_the_path_installs_alone(install, tmp_path):
    stand_in(tmp_path / "pip", "")
    stand_in(tmp_path / "uv", "")
    assert install.main() == 0
    [line] = calls(tmp_path)
    assert line.startswith("uv pip install")
    assert line.endswith(f"--python {tmp_path}/python --constraint constraints.txt --editable .[dev]")


def test_where_there_is_no_uv_pip_fetches_it(install, tmp_path):
    stand_in(tmp_path / "made", "")
    stand_in(tmp_path / "pip", f'case "$*" in *" uv") /bin/cp "{tmp_path}/made" "{tmp_path}/uv";; esac')
    assert install.main() == 0
    assert [line.split(" --")[0] for line in calls(tmp_path)] == ["pip install", "uv pip install"]


@pytest.mark.parametrize("uv", ["fails", "cannot be had"])
@pytest.mark.parametrize("status", [0, 1])
def test_where_uv_does_not_install_pip_does(install, tmp_path, uv, status):
    if uv == "fails":
        stand_in(tmp_path / "uv", "exit 2")
    stand_in(tmp_path / "pip", f'case "$*" in *" uv") exit 1;; *dev*) exit {status};; esac')
    assert install.main() == status
    line = calls(tmp_path)[-1]
    assert line.startswith("pip install --quiet")
    assert line.endswith("--constraint constraints.txt --editable .[dev]")


def test_uv_gets_the_settings_of_pip(install):
    settings = install.pip_settings(LISTING)
    command = install.uv_command("uv", settings, ["one"])
    assert command[-7:] == [
        "--find-links",
        "/some/wheels",
        "--constraint",
        "more.txt",
        "--constraint",
        "constraints.txt",
        "one",
    ]
    variables = install.uv_variables(settings, {})
    assert variables["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert variables["UV_INDEX"] == "https://a.example/simple https://c.example/simple https://d.example/simple"
    assert variables["SSL_CERT_FILE"] == "/a/bundle.pem"
    assert variables["UV_SYSTEM_CERTS"] == "1"


def test_uv_reads_pips_own_index_before_a_mirror(install):
    """uv takes the files of a version from the first index that has it: a mirror may lack this machine's wheel."""
    own = install.default_index()
    assert own.startswith("https://")
    variables = install.uv_variables({"extra-index-url": "file:///mirror"}, {})
    assert variables["UV_INDEX"] == f"{own} file:///mirror"
    assert "UV_INDEX" not in install.uv_variables({}, {})


def test_variables_for_uv_win_over_pips_settings(install):
    given = {"UV_DEFAULT_INDEX": "https://mine.example/simple", "HOME": "/home"}
    variables = install.uv_variables(install.pip_settings(LISTING), given)
    assert given.items() <= variables.items()
