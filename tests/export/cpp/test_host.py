"""The C++ program of docs/cpp decodes what onnxruntime decodes in Python."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from timbrel.host.model.model import Model

from ...patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "presets" / "models"
INSTALLED = [Path("/usr/include/onnxruntime"), Path("/usr/include/onnxruntime/core/session")]  # as Debian 13 has it


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A function that runs the program, built with onnxruntime's own header, or where that is missing with ours."""
    compiler = shutil.which("c++")
    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if compiler is None or not libraries:
        pytest.skip("no C++ compiler; install g++" if compiler is None else "onnxruntime's wheel has no C library")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(libraries[-1])
    headers = [path for path in INSTALLED if (path / "onnxruntime_c_api.h").exists()] or [Path(__file__).parent]
    places = [f"-I{headers[0]}", f"-L{folder}", f"-Wl,-rpath,{folder}"]
    warnings = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    source, program = ROOT / "docs" / "cpp" / "host.cpp", folder / "host"
    built = subprocess.run(
        [compiler, *warnings, *places, source, "-lonnxruntime", "-o", program], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return lambda *words: subprocess.run([program, *map(str, words)], capture_output=True, timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("name", ["gm-chroma-2", "gm-chroma-8"])
def test_it_gives_the_frame_that_python_gives(host, name):
    model = Model(MODELS / f"{name}.onnx")
    code = [knob.default for knob in model.card.latents]
    for pitch_class, turned in ((9, []), (0, [0.8, 0.1])):
        ended = host(model.path, pitch_class, *turned)
        assert ended.returncode == 0, ended.stderr
        code = [*turned, *code[len(turned) :]]
        expected = model.decode(np.array([code], np.float32), np.array([pitch_class]))[0]
        assert np.frombuffer(ended.stdout, "<f4") == pytest.approx(expected, abs=1e-6)
        assert ended.stderr == b"2049 bins of 4096 samples at 44100 Hz, a frame every 1024 samples\n"


def test_it_says_what_it_cannot_open(host, tmp_path):
    missing = host(tmp_path / "gone.onnx", 0)
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert b"gone.onnx" in missing.stderr
    encoder = host(MODELS / "gm-chroma-2.encoder.onnx", 0)
    assert (encoder.returncode, encoder.stdout) == (2, b"")
    assert encoder.stderr.endswith(b"gm-chroma-2.encoder.onnx has no timbrel card\n")
    assert host().stderr == b"host MODEL.onnx PITCH_CLASS [KNOB ...]\n"


def test_the_program_stays_as_long_as_the_page_says():
    lines = (ROOT / "docs" / "cpp" / "host.cpp").read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("//")]
    assert len(code) <= 65
    assert max(map(len, lines)) <= 120
