"""Installs packages into this Python's environment: with uv, which unpacks on all cores, else with pip.

    .venv/bin/python .ci/install.py --editable '.[dev]'

uv is taken from the path, else pip puts it beside this Python. uv reads none of pip's settings, so it is given them.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PIP = [sys.executable, "-m", "pip"]
QUIET_PIP = ["install", "--quiet", "--disable-pip-version-check"]
CONSTRAINTS = "constraints.txt"
SECTIONS = ("global", "install", ":env:")  # of pip's settings, the strongest last
VARIABLES = {  # uv's by the names of pip's settings
    "index-url": ["UV_DEFAULT_INDEX"],
    "extra-index-url": ["UV_INDEX"],
    "no-index": ["UV_NO_INDEX"],
    "trusted-host": ["UV_INSECURE_HOST"],
    "timeout": ["UV_HTTP_TIMEOUT"],
    "default-timeout": ["UV_HTTP_TIMEOUT"],
    "cert": ["SSL_CERT_FILE"],
    "proxy": ["HTTP_PROXY", "HTTPS_PROXY"],
}
DEFAULTS = {
    "UV_SYSTEM_CERTS": "1",
    "UV_INDEX_STRATEGY": "unsafe-best-match",  # pip's: the newest version of all indexes
}


def pip_settings(listing: str) -> dict[str, str]:
    """Return pip's settings by name from the lines of `pip config list`; a list's parts are joined by spaces."""
    settings: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in settings:
            settings[section][name] = " ".join(str(ast.literal_eval(value)).split())
    return {name: value for section in SECTIONS for name, value in settings[section].items()}


def default_index() -> str | None:
    """Return the address of pip's own index, PyPI's; None without pip."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        return None
    return PyPI.simple_url


def uv_command(uv: str, settings: Mapping[str, str], packages: list[str]) -> list[str]:
    """Return the command that installs ``packages`` with pip's folders of wheels and pip's constraints."""
    lists = [(f"--{name}", part) for name in ("find-links", "constraint") for part in settings.get(name, "").split()]
    options = [word for option in [*lists, ("--constraint", CONSTRAINTS)] for word in option]
    return [uv, "pip", "install", "--quiet", "--python", sys.executable, *options, *packages]


def uv_variables(settings: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of uv: pip's settings under uv's names, but for those that ``variables`` has already.

    The index comes before the extra ones: of a version that several hold, uv reads the files of the first alone, and a
    mirror may lack the wheel for this machine (one had a soundfile without its library).
    """
    settings = {"index-url": default_index(), **settings}
    if settings["index-url"] and "extra-index-url" in settings:
        settings["extra-index-url"] = f"{settings['index-url']} {settings['extra-index-url']}"
    translated = {
        name: settings[setting] for setting, names in VARIABLES.items() if settings.get(setting) for name in names
    }
    return {**DEFAULTS, **translated, **variables}


def find_uv() -> str | None:
    """Return uv's path; pip fetches it if it is not there. None if it cannot be had."""
    place = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{Path(sys.executable).parent}"
    if not (uv := shutil.which("uv", path=place)):
        subprocess.run([*PIP, *QUIET_PIP, "uv"], stderr=subprocess.DEVNULL)
        uv = shutil.which("uv", path=place)
    return uv


def main() -> int:
    packages = sys.argv[1:]
    if uv := find_uv():
        listing = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True).stdout
        settings = pip_settings(listing)
        done = subprocess.run(uv_command(uv, settings, packages), env=uv_variables(settings, os.environ))
        if done.returncode == 0:
            return 0
        print("   uv failed; pip takes longer", file=sys.stderr)
    return subprocess.run([*PIP, *QUIET_PIP, "--constraint", CONSTRAINTS, *packages]).returncode


if __name__ == "__main__":
    sys.exit(main())
