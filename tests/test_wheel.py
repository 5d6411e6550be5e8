"""What a wheel carries, where plugins can be compiled and where they cannot; a stand-in compiles them."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

BUILDERS = [int(found.version.split(".")[0]) for found in metadata.distributions(name="setuptools")]

ROOT = Path(__file__).parents[1]
PARTS = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "__init__.py", "__main__.py", "py.typed")
ROOMS = ("host", "train", "export", "presets")
VST3 = "timbrel.vst3/Contents/any-linux/timbrel.so"
PLUGINS = {"timbrel.lv2/timbrel.so", "timbrel.lv2/manifest.ttl", VST3, "timbrel.clap"}
BUILDS = """
all: lv2 vst3 clap
lv2:
	mkdir -p build/timbrel.lv2
	touch build/timbrel.lv2/timbrel.so build/timbrel.lv2/manifest.ttl build/lv2.o
vst3:
	mkdir -p build/timbrel.vst3/Contents/any-linux
	touch build/timbrel.vst3/Contents/any-linux/timbrel.so
clap:
	touch build/timbrel.clap
"""

DATA = ("export/reports/templates/*", "host/panel/page/*.*", "presets/*.toml", "train/families/*/*.toml")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the plugins are built on Linux"),
    pytest.mark.skipif(max(BUILDERS, default=0) < 77, reason="needs setuptools 77, which builds wheels"),
]


@pytest.fixture
def built(tmp_path):
    """A function that builds a wheel of the checkout, but for its large files: (what builds the plugins, the path)."""
    tree = tmp_path / "timbrel"
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__", "build", "*.onnx"))
    for part in PARTS:
        shutil.copy(ROOT / part, tree / part)

    def build(makefile, path=os.environ["PATH"]):
        (tree / "host/plugin/native/Makefile").write_text(makefile)
        code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"  # as pip does
        environment = {"PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        command = [sys.executable, "-c", code, tmp_path / "out"]
        subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
        [wheel] = (tmp_path / "out").iterdir()
        return wheel

    return build


def plugins(wheel):
    """The compiled files that it carries, and everything else of the folder they are built in."""
    return {name.partition("native/build/")[2] for name in zipfile.ZipFile(wheel).namelist() if "/native/" in name}


def test_every_folder_of_modules_is_among_the_packages():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert folders
    assert {".".join(("timbrel", *folder.parts)) for folder in folders} - set(listed) == set()


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_a_wheel_with_compiled_plugins_is_for_this_platform_and_any_python_and_installs_them(built, tmp_path):
    wheel = built(BUILDS)
    assert wheel.name.endswith(f"-py3-none-linux_{os.uname().machine}.whl")
    assert plugins(wheel) == PLUGINS
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--quiet"]
    subprocess.run([*install, "--target", tmp_path / "there", wheel], check=True)
    native = tmp_path / "there/timbrel/host/plugin/native"
    assert {str(path.relative_to(native / "build")) for path in native.rglob("*") if path.is_file()} == PLUGINS
    assert not (tmp_path / "there/timbrel/setup.py").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_a_wheel_carries_the_plugins_that_can_be_built_where_others_cannot(built):
    wheel = built(BUILDS.replace("touch build/timbrel.vst3", "false build/timbrel.vst3"))
    assert wheel.name.endswith(f"-py3-none-linux_{os.uname().machine}.whl")
    assert plugins(wheel) == PLUGINS - {VST3}


@pytest.mark.parametrize("makes", [True, False], ids=["no compiler", "no make"])
def test_a_wheel_is_built_without_what_compiles_plugins_and_is_for_every_platform(built, tmp_path, makes):
    (tmp_path / "bin").mkdir()
    if makes and shutil.which("make"):
        (tmp_path / "bin/make").symlink_to(shutil.which("make"))
    wheel = built("all:\n\tcc -o build/timbrel.clap clap.c\n", str(tmp_path / "bin"))
    assert wheel.name.endswith("-py3-none-any.whl")
    assert plugins(wheel) == set()
    files = {f"timbrel/{path.relative_to(ROOT)}" for pattern in DATA for path in ROOT.glob(pattern)}
    assert len(files) > len(DATA)
    assert files - set(zipfile.ZipFile(wheel).namelist()) == set()
