"""What the tests of several rooms share: tones, the corpus of them, a small run and its model, and the command line."""

import contextlib
import ctypes
import functools
import gc
import io
import math
import os
import random
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from timbrel.host import progress

from .pantry import contents, stock_models, stock_music, stock_sounds, stock_training

RATE = 44100

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # some tests import onnxruntime themselves
# A folder of compiled code for each process, a copy of the one that the Makefile fills: where two fill one at once,
# numba may pair the index of the one with the code of the other, and crash with it ever after.
COMPILED = Path(sys.prefix, "numba")
os.environ["NUMBA_CACHE_DIR"] = str(COMPILED / os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
if (COMPILED / "installed").is_dir() and not Path(os.environ["NUMBA_CACHE_DIR"]).exists():
    shutil.copytree(COMPILED / "installed", os.environ["NUMBA_CACHE_DIR"])

# Each run draws the same examples; `make fuzz` draws fresh ones. No limit of time: machines are busy.
settings.register_profile(
    "same",
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fresh", settings.get_profile("same"), max_examples=1000, derandomize=False, print_blob=True)
settings.load_profile("same")
# Hypothesis also draws numbers that it reads in the modules loaded so far, which depend on the tests that ran before.
providers._get_local_constants = providers.Constants

# A background job of a script ignores SIGINT, and hands that on to what it starts: the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Keep the collector off the modules and tests, which stay: it would walk them thousands of times."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Begin each test's fixtures with the same random numbers, whichever tests ran before."""
    same_numbers()


def same_numbers():
    """Seed the generators that tests may draw from without one of their own."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 this is the one that is shared
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(0)  # torch.manual_seed looks for other devices as well, a millisecond


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    """Begin each test with the same random numbers, and with denormals.

    onnxruntime switches denormals off in the threads that it ran in, and Hypothesis wants them.
    """
    same_numbers()
    if sys.platform == "linux":
        ctypes.pythonapi.fesetenv(ctypes.c_void_p(-1))  # FE_DFL_ENV


@pytest.fixture(scope="session", autouse=True)
def settings_of_its_own(tmp_path_factory):
    """Tests have settings and data of their own, and no warning that rendering is slow: the machine may be busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "LOOK_SECONDS", 3600)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setattr("timbrel.host.progress.REMIND_SECONDS", 1e6)  # a slow machine would print lines
        yield


def tone(note, seconds=0.7, rate=RATE, brightness=0.6):
    """A harmonic sound on a MIDI note, whose partials fall off by ``brightness`` and fade as it goes on."""
    hz = 440 * 2 ** ((note - 69) / 12)
    time = np.arange(round(seconds * rate)) / rate
    orders = range(1, min(24, int(0.45 * rate / hz)) + 1)
    partials = [brightness**k * np.exp(-time * k * 0.2) * np.sin(2 * np.pi * k * hz * time + k * k) for k in orders]
    sound = np.sum(partials, axis=0)
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.fixture(scope="session")
def make_tone():
    """The function that makes a tone: (note, seconds, rate, brightness) → samples."""
    return tone


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A function that returns a folder that one of pytest's processes makes for all: (name, make) → path.

    ``make`` fills the folder, which exists; no test may write to it.
    """
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name, make):
        folder, whole = common / f"once-{name}", common / f"once-{name}.whole"
        with FileLock(common / f"once-{name}.lock"):
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tones(once):
    """A folder of fourteen tones, A3 to A#4, dull and bright by turns."""

    def make(folder):
        for index, note in enumerate(range(57, 71)):
            soundfile.write(folder / f"tone_{note}.wav", tone(note, brightness=0.35 + 0.12 * (index % 4)), RATE)

    return once("tones", make)


@pytest.fixture(scope="session")
def tone_corpus(tones, once):
    """The folder of the corpus of `tones`."""

    def make(folder):
        from timbrel.train.corpus.build import build

        build([tones], folder / "tones", split="0.7/0.15/0.15", licence="CC0-1.0")

    return once("corpus", make) / "tones"


@pytest.fixture(scope="session")
def small():
    """Changes that make any recipe train in seconds."""
    return [
        "frames.frame_length=1024",
        "frames.hop_length=256",
        "network.hidden=[64,32,16]",
        "frames.rows=2400",
        "training.batch_size=32",
        "training.steps=60",
    ]


@pytest.fixture(scope="session")
def small_run(tone_corpus, small, once):
    """The folder of a small run of tuned-8 on the tones; not to be written to."""

    def make(folder):
        from timbrel.train.families.recipes import load_recipe
        from timbrel.train.launch import start
        from timbrel.train.loop import RunOptions

        start(load_recipe("tuned-8", small), tone_corpus, folder / "small", RunOptions(accelerator="cpu"))

    return once("run", make) / "small"


@pytest.fixture(scope="session")
def one_table():
    """Build the exporter's tables of operators once for all graphs: this takes longer than a small graph."""
    from torch._export import utils
    from torch.onnx._internal.exporter import _decomp
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    decomposed, tables = _decomp.create_onnx_friendly_decomposition_table, {}

    def table(operators):  # of the one registry
        if not tables:
            tables["one"] = decomposed(operators)
        return tables["one"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        patch.setattr(_decomp, "create_onnx_friendly_decomposition_table", table)
        patch.setattr(utils, "_materialize_cpp_cia_ops", functools.cache(utils._materialize_cpp_cia_ops))
        yield


@pytest.fixture(scope="session")
def small_model(small_run, once, request):
    """The file of that run's model, its encoder beside it."""

    def make(folder):
        from timbrel.export.export import export
        from timbrel.train.run import Run

        request.getfixturevalue("one_table")
        export(Run.open(small_run), folder / "small.onnx")

    return once("model", make) / "small.onnx"


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def timbrel(monkeypatch):
    """Run the command line in this process: ``timbrel("info", path)`` gives its exit status and what it printed."""
    from timbrel.__main__ import main
    from timbrel.host import progress

    for name in ("LOG_SECONDS", "SLOW"):  # a busy machine adds no lines
        monkeypatch.setattr(progress, name, math.inf)

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["timbrel", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def stocked(small_run, small_model, tone_corpus, tmp_path_factory):
    """A folder full of things that cannot be used, and a few that can."""
    folder = tmp_path_factory.mktemp("pantry")
    stock_sounds(folder)
    stock_training(folder, tone_corpus, small_run)
    stock_models(folder, small_model)
    stock_music(folder)
    return folder


@pytest.fixture
def pantry(stocked, monkeypatch):
    """The folder as working folder; whatever a test does, it must be left as it was."""
    before = contents(stocked)
    monkeypatch.chdir(stocked)
    yield stocked
    after = contents(stocked)
    assert after.keys() == before.keys()
    assert after == before
