"""Environments in which wheels are installed, without the checkout; for several tests."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from .test_wheel import PARTS, ROOMS, ROOT


def copy_checkout(folder, left_out=("__pycache__", "build", "*.onnx", "*.so.1")):
    """Copy the checkout, but for its models and compiled files: the folder."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns(*left_out))
    for part in PARTS:
        shutil.copy(ROOT / part, folder / part)
    (folder / "host/plugin/native/Makefile").write_text("all:\n")
    return folder


def build(tree, folder, kind="wheel"):
    """Build a tree's wheel, or ``editable`` one, without a compiler and a network: its path."""
    code = f"import sys; from setuptools.build_meta import build_{kind} as build; print(build(sys.argv[1]))"
    environment = {"PATH": str(folder), "HOME": str(folder), "LANG": "C.UTF-8"}
    command = [sys.executable, "-c", code, folder]
    built = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    return folder / built.stdout.splitlines()[-1]


def make_environment(folder, *wheels):
    """Make an environment with wheels, and behind them the packages of this Python: its own Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(site)
    (site / "z.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
