"""Ten thousand states, messages and event streams that nobody should send do the host no harm."""

import os
import subprocess

from .native import HERE, NATIVE, make

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def test_nothing_hostile_harms_the_host(tmp_path):
    make("core", tmp_path, f"CFLAGS=-O1 -g {' '.join(SANITIZERS)}")
    program = tmp_path / "hostile"
    parts = [str(HERE / "hostile.c"), str(tmp_path / "core" / "libcore.a"), "-pthread", "-lm", "-o", str(program)]
    subprocess.run(["cc", "-std=c11", "-O1", "-g", "-Wall", "-Wextra", *SANITIZERS, f"-I{NATIVE}", *parts], check=True)
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [program, "1", "10000", tmp_path / "empty"],
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
