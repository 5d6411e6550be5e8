"""The command line is quick to start, answers in one line when it fails, and keeps its promises about exit statuses."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from timbrel import __main__ as command_line
from timbrel import __version__
from timbrel.host.errors import Failure, UserError
from timbrel.host.shipped import MIDI as TUNES

from .patience import PATIENCE_SECONDS

DEMO = TUNES / "demo.mid"
COMMANDS = [
    ("demo",),
    ("corpus",),
    ("corpus", "build"),
    ("corpus", "soundfont"),
    ("recipes",),
    ("train",),
    ("evaluate",),
    ("export",),
    ("make",),
    ("study",),
    ("study", "chroma"),
    ("study", "recovery"),
    ("info",),
    ("verify",),
    ("presets",),
    ("render",),
    ("play",),
    ("devices",),
    ("learn",),
    ("bench",),
    ("plugin",),
    ("plugin", "install"),
    ("plugin", "status"),
]
HEAVY = ["torch", "onnxruntime", "onnx", "pedalboard", "numpy", "scipy", "librosa", "matplotlib", "soundfile", "rich"]
HEAVY += ["sounddevice", "rtmixer", "rtmidi"]


def python(code, *arguments):
    """Run a script in a process of its own; what it printed."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def one_line(ended, status):
    """The single line on stderr of a command that failed."""
    assert ended.status == status, ended
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("timbrel: ")
    assert "Traceback" not in ended.out
    return lines[0].removeprefix("timbrel: ")


# ---- starting


def test_every_command_explains_itself_by_two_letters(timbrel):
    from timbrel.__main__ import app

    group = typer.main.get_command(app)
    paths = [[]] + [[name] for name in group.commands]
    paths += [[name, inner] for name, command in group.commands.items() for inner in getattr(command, "commands", ())]
    assert len(paths) > 20
    for path in paths:
        short, long = timbrel(*path, "-h"), timbrel(*path, "--help")
        assert (short.status, short.err) == (0, "")
        assert short.out == long.out
        assert "-h, --help" in short.out


def test_help_and_version_import_nothing_heavy():
    code = f"""if True:
        import contextlib, io, sys
        from timbrel.__main__ import main
        for arguments in (["--help"], ["--version"], []):
            sys.argv = ["timbrel", *arguments]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                main()
        print(*(name for name in {HEAVY!r} if name in sys.modules))
    """
    assert python(code).split() == []


def test_help_of_every_command_imports_nothing_heavy():
    code = f"""if True:
        import contextlib, io, sys
        from timbrel.__main__ import main
        for command in {COMMANDS!r}:
            sys.argv = ["timbrel", *command, "--help"]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                main()
        print(*(name for name in {HEAVY!r} if name in sys.modules))
    """
    assert python(code).split() == []


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        (["recipes"], ["torch", "onnxruntime", "pedalboard", "scipy", "librosa", "matplotlib"]),
        (["presets"], ["torch", "scipy", "librosa", "matplotlib", "lightning_fabric"]),
    ],
)
def test_a_command_imports_only_its_own_room(command, unwanted):
    code = f"""if True:
        import contextlib, io, sys
        from timbrel.__main__ import main
        sys.argv = ["timbrel", *{command!r}]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main()
        print(*(name for name in {unwanted!r} if name in sys.modules))
    """
    assert python(code).split() == []


def test_the_package_runs_as_a_module_and_as_a_command():
    for start in ([sys.executable, "-m", "timbrel"], [str(Path(sys.executable).with_name("timbrel"))]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
INTO_PIPES = {
    "output": (["recipes"], (0, 1)),
    "help": (["--help"], (0, 1)),
    "a model": (["info", "gm-chroma-8"], (0, 1)),
    "a complaint": (["info", "nothing"], (2,)),
    "a sound": (["render", "gm-keys", "MIDI", "-o", "out.wav", "--tail", "0"], (0, 1)),
}


@pytest.mark.parametrize(
    ("what", "both", "buffered"),
    [
        *((what, False, []) for what in INTO_PIPES),
        ("output", True, []),
        ("a complaint", True, []),
        *((what, both, ["-u"]) for what in ("output", "a complaint") for both in (False, True)),
    ],
)
def test_what_is_printed_into_a_closed_pipe_ends_quietly(tmp_path, what, both, buffered):
    """As `timbrel recipes | head -1` may find it, and `timbrel recipes |& head -1`."""
    arguments, statuses = INTO_PIPES[what]
    song = tmp_path / "note.mid"
    song.write_bytes(bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b 0000000c 00903c64 60803c00 00ff2f00"))
    process = subprocess.Popen(
        [sys.executable, *buffered, "-m", "timbrel", *(str(song) if part == "MIDI" else part for part in arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=BUFFERED,
        cwd=tmp_path,
    )
    process.stdout.close()
    if both:
        process.stderr.close()
    error = "" if both else process.stderr.read()
    assert process.wait() in statuses
    assert error == "" or (statuses == (2,) and len(error.splitlines()) == 1)
    process.stderr.close()
    assert (tmp_path / "out.wav").exists() == (what == "a sound")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
@pytest.mark.parametrize("buffered", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_what_cannot_be_printed_for_want_of_room_is_one_line_and_status_1(buffered):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, *buffered, "-m", "timbrel", "recipes"], stdout=full, stderr=-1, text=True, env=BUFFERED
        )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "No space left on device" in ended.stderr


# ---- help


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(timbrel, command):
    ended = timbrel(*command, "--help")
    assert ended.status == 0
    assert ended.err == ""
    assert ended.out.startswith(f"Usage: timbrel {' '.join(command)} ")
    assert len(ended.out.splitlines()) > 5
    assert not [line for line in ended.out.splitlines() if len(line) > 120]


def test_the_help_names_every_command(timbrel):
    text = timbrel("--help").out
    assert all(f"\n  {command[0]} " in text for command in COMMANDS)
    assert timbrel().out == text  # who types the name alone learns what it can do


def test_every_option_and_argument_has_its_help():
    def parts(command):
        yield from command.params
        for child in getattr(command, "commands", {}).values():
            yield from parts(child)

    for part in parts(typer.main.get_command(command_line.app)):
        assert part.name == "help" or part.help, part.name


def test_recipes_are_listed_with_a_line_each(timbrel):
    from timbrel.train.recipes.load import shipped_recipes

    lines = timbrel("recipes").out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_recipes())
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)


# ---- wrong words


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--loud"], "--loud"),
        (["sing"], "sing"),
        (["corpus"], "Missing command"),
        (["corpus", "sing"], "sing"),
        (["render", "--loud"], "--loud"),
        (["train"], "recipe"),
        (["train", "tuned-8"], "--corpus"),
        (["train", "tuned-8", "--corpus", "c"], "--output"),
        (["train", "tuned-8", "--corpus"], "--corpus"),
        (["train", "tuned-8", "--corpus", "c", "-o", "r", "--devices", "two"], "--devices"),
        (["train", "tuned-8", "--corpus", "c", "-o", "r", "--devices", "0"], "--devices"),
        (["train", "tuned-8", "--corpus", "c", "-o", "r", "--minutes", "soon"], "--minutes"),
        (["export", "r", "-o", "m.onnx", "--weights", "float8"], "--weights"),
        (["evaluate", "r", "--checkpoint", "worst"], "--checkpoint"),
        (["make", "s", "-o", "d", "--family", "choir"], "--family"),
        (["make", "-o", "d"], "sounds"),
        (["render", "p", "m.mid", "-o", "o.wav", "--tail", "-1"], "--tail"),
        (["render", "p", "m.mid", "-o", "o.wav", "--tail", "601"], "--tail"),
        (["render", "p", "m.mid", "-o", "o.wav", "--rate", "high"], "--rate"),
        (["render", "p", "m.mid", "-o", "o.wav", "--rate", "22050"], "--rate 22050"),
        (["render", "gm-keys", "m.mid", "more", "-o", "o.wav"], "m.mid"),
        (["play"], "preset"),
        (["play", "p", "--voices", "0"], "--voices"),
        (["play", "p", "--voices", "65"], "--voices"),
        (["play", "p", "--block", "small"], "--block"),
        (["play", "p", "--blocks", "64"], "--blocks"),
        (["play", "p", "more"], "more"),
        (["learn"], "preset"),
        (["learn", "p", "latent.0"], "latent.0"),
        (["devices", "all"], "all"),
        (["demo", "gm-keys", "loud"], "loud"),
        (["demo", "gm-kees"], "did you mean 'gm-keys'?"),
        (["info"], "model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_wrong_word_is_one_line_and_status_2(timbrel, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    assert named in one_line(timbrel(*arguments), 2)
    assert list(tmp_path.iterdir()) == []


# ---- what breaks


def failing(monkeypatch, error):
    """Make `timbrel recipes` fail in the given way."""

    def broken():
        raise error

    monkeypatch.setattr("timbrel.train.recipes.load.shipped_recipes", broken)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("your file is wrong"), 2, "your file is wrong"),
        (Failure("the disk is full"), 1, "the disk is full"),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 1, "memory is used up"),
        (OSError(28, "No space left on device"), 1, "No space left on device; check"),
        (PermissionError(13, "Permission denied", "/a/b"), 1, "cannot use /a/b: Permission denied; check"),
        (ValueError("of\ntwo lines"), 1, "internal error: ValueError: of two lines; run again with --debug"),
        (ModuleNotFoundError("no", name="torch"), 2, "torch is not installed; install it with: pip install 'timbrel["),
        (UserError("two\nlines   and  a\ttab"), 2, "two lines and a tab"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_failure_has_its_status_and_one_line(timbrel, monkeypatch, error, status, text):
    failing(monkeypatch, error)
    assert text in one_line(timbrel("recipes"), status)


@pytest.mark.parametrize("error", [UserError("your file is wrong"), ValueError("a fault")])
def test_debug_shows_a_traceback_and_the_same_last_line(timbrel, monkeypatch, error):
    failing(monkeypatch, error)
    plain = timbrel("recipes")
    ended = timbrel("--debug", "recipes")
    assert "Traceback (most recent call last)" in ended.err
    assert "in broken" in ended.err
    assert ended.err.splitlines()[-1] == plain.err.splitlines()[-1]
    assert ended.status == plain.status


def test_a_missing_extra_is_named_before_any_work(timbrel, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    for module in [
        name for name in sys.modules if name.startswith(("timbrel.train.training_loop", "timbrel.train.launch"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    text = one_line(timbrel("train", "tuned-8", "--corpus", "c", "-o", "r"), 2)
    assert text == "torch is not installed; install it with: pip install 'timbrel[train]'"


# ---- what commands say


def test_two_budgets_on_one_line_are_refused(timbrel, tmp_path, tone_corpus):
    ended = timbrel(
        *("train", "tuned-8", "--corpus", tone_corpus, "-o", tmp_path / "run"),
        *("--minutes", "2", "--set", "training.epochs=3"),
    )
    assert one_line(ended, 2) == "--minutes 2 and --set training.epochs=3 are two budgets; give one of them"
    assert not (tmp_path / "run").exists()


def test_from_sounds_to_a_model_that_passes(timbrel, tones, small, one_table, tmp_path, monkeypatch):
    """The commands one after the other, as the README has them, each saying where its work is."""
    monkeypatch.chdir(tmp_path)
    built = timbrel("corpus", "build", tones, "-o", "corpus", "--split", "0.7/0.15/0.15")
    assert (built.status, built.err) == (0, "")
    assert built.out.startswith("clips           14")
    changes = [part for change in small for part in ("--set", change)]
    trained = timbrel("train", "tuned-2", "--corpus", "corpus", "-o", "run", *changes, "--accelerator", "cpu")
    assert trained.status == 0, trained.err
    assert trained.out.startswith("run: 60 steps, validation loss ")
    assert trained.out.splitlines()[-1] == "next: timbrel evaluate run, or timbrel export run -o MODEL.onnx"
    exported = timbrel("export", "run", "-o", "bells.onnx", "--license", "CC0-1.0", "--description", "fourteen tones")
    assert exported.status == 0, exported.err
    assert exported.out.startswith("bells.onnx: 2 latents, within ")
    assert "bells.encoder.onnx: its encoder" in exported.out
    shown = timbrel("info", "bells.onnx").out
    assert all(text in shown for text in ("bells", "fourteen tones", "CC0-1.0", "tuned-2", "60 steps", "latent 1"))
    from timbrel.host.contract.card import read_card

    assert read_card(timbrel("info", "bells.onnx", "--json").out, "info").name == "bells"
    passed = timbrel("verify", "bells.onnx")
    assert passed.status == 0
    assert passed.out.startswith("bells.onnx passes: off by ")
    monkeypatch.setattr("timbrel.host.contract.model.ParityResult.passed", property(lambda self: False))
    failed = timbrel("verify", "bells.onnx")
    assert failed.status == 1
    assert failed.out.startswith("bells.onnx FAILS: off by ")


def test_other_seeds_and_devices_reach_the_loop(timbrel, monkeypatch, tone_corpus, tmp_path):
    from timbrel.train import launch, training_loop

    seen = []

    def start(recipe, corpus, folder, options, others):
        seen.append((recipe, corpus, folder, options))
        return training_loop.Outcome(1, 0.5, False, False)

    monkeypatch.setattr(launch, "start", start)
    arguments = ["train", "chroma-2", "--corpus", tone_corpus, "-o", tmp_path / "run"]
    timbrel(*arguments, "--set", "training.seed=9", "--devices", "3", "--accelerator", "cpu", "--tensorboard")
    recipe, corpus, folder, options = seen[0]
    assert (recipe.name, recipe.training.seed) == ("chroma-2", 9)
    assert (corpus, folder) == (tone_corpus, tmp_path / "run")
    assert (options.devices, options.accelerator, options.tensorboard) == (3, "cpu", True)
    timbrel(*arguments, "--minutes", "2.5")
    assert seen[1][0].training.minutes == 2.5
    assert seen[1][3].tensorboard is False


# ---- devices and learn, with stand-ins for the packages that open them

MIDI = """
import contextlib, os, time
API_LINUX_ALSA, API_UNIX_JACK, API_MACOSX_CORE, API_WINDOWS_MM = range(4)
class RtMidiError(Exception):
    pass
SystemError = RtMidiError
def get_compiled_api():
    return [API_WINDOWS_MM]
class MidiIn:
    def __init__(self, *arguments, **settings):
        os.write(2, b"what a library writes unasked\\n")
        self.knobs, self.began, self.last = [], None, None
    def ignore_types(self, **types):
        pass
    def get_ports(self):
        return os.environ["PORTS"].split(",") if os.environ["PORTS"] else []
    def open_port(self, *arguments, **settings):
        self.knobs = [(int(number), list(range(0, 128, 4))) for number in os.environ["KNOBS"].split()]
    def open_virtual_port(self, name):
        pass
    def get_message(self):
        if not self.knobs or not self.bound(self.last):  # a knob is turned when the one before is bound
            return None
        number, values = self.knobs[0]
        self.began = self.began or time.perf_counter()
        if time.perf_counter() - self.began < values[0] / 640:
            return None
        value = values.pop(0)
        if not values:
            self.knobs.pop(0)
            self.began, self.last = None, number
        return [0xB0, number, value], 0.0
    def bound(self, number):
        if number is None:
            return True
        with contextlib.suppress(FileNotFoundError):
            return f"number = {number}" in open("gm-keys.toml").read()
"""
CARDS = """
import os
default = type("", (), {"device": (-1, 1)})
def query_hostapis():
    default = {"default_input_device": 0}
    return [
        {"name": "MME", "default_output_device": 1, **default},
        {"name": "WASAPI", "default_output_device": 2, **default},
    ]
def query_devices():
    names = [("Mic", 0, 0), ("Speakers", 0, 2), ("Speakers", 1, 2), ("Wave 9", 1, 8)]
    return [
        {
            "name": name,
            "hostapi": api,
            "default_samplerate": 44100.0,
            "max_output_channels": channels,
            "max_input_channels": int(name == "Mic"),
        }
        for name, api, channels in names
    ]
"""


@pytest.fixture
def timbrel_with(tmp_path):
    """A function that starts the command line where ports and knobs are as it says, in a folder of its own."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "rtmidi.py").write_text(MIDI, encoding="utf-8")
    (tmp_path / "packages" / "sounddevice.py").write_text(CARDS, encoding="utf-8")

    def start(*arguments, ports="Knobs,Pads", knobs=""):
        return subprocess.Popen(
            [sys.executable, "-m", "timbrel", *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "packages"), "PORTS": ports, "KNOBS": knobs},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_devices_lists_what_to_type_for_cards_ports_and_controllers(timbrel_with):
    from timbrel.host.patch.controllers import shipped_controllers

    process = timbrel_with("devices")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [
        'sound card  --device "Speakers (MME)"  MME, 44100 Hz, 2 channels  (default)',
        'sound card  --device "Speakers (WASAPI)"  WASAPI, 44100 Hz, 2 channels',
        'sound card  --device "Wave 9"  WASAPI, 44100 Hz, 8 channels',
        'sound input --input "Mic"  MME, 44100 Hz, 1 channels  (default)',
        'MIDI port   --midi-port "Knobs"',
        'MIDI port   --midi-port "Pads"',
        *(line for line in out.splitlines() if line.startswith("controller  --controller ")),
    ]
    assert all(f"--controller {name} " in out for name in shipped_controllers())


def test_devices_says_what_is_missing_and_what_to_do_without_it(timbrel_with):
    out, _ = timbrel_with("devices", ports="").communicate()
    assert "no MIDI port was found; connect a controller, or 'timbrel play gm-keys --keys'\n" in out


def test_learn_binds_the_knob_that_moves_to_the_target(timbrel_with, tmp_path):
    process = timbrel_with("learn", "gm-keys", "--target", "gain", ports="Knobs", knobs="21")
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [
        "listening to Knobs",
        "gain: move the knob for it",
        "CC 21 moves gain (gm-keys.toml)",
    ]
    [entry] = [cc for cc in tomllib.loads((tmp_path / "gm-keys.toml").read_text())["cc"] if cc["target"] == "gain"]
    assert entry["number"] == 21


def test_ctrl_c_ends_learning_and_what_was_bound_stays_bound(timbrel_with, tmp_path):
    process = timbrel_with("learn", "gm-keys", knobs="21 22")
    lines = [process.stdout.readline() for _ in range(6)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (0, "", "")
    assert lines[-2:] == ["CC 22 moves latent.1 (gm-keys.toml)\n", "latent.2 (noise): move the knob for it\n"]
    maps = {entry["target"]: entry["number"] for entry in tomllib.loads((tmp_path / "gm-keys.toml").read_text())["cc"]}
    assert [maps["latent.0"], maps["latent.1"], maps["latent.2"]] == [21, 22, 72]


def test_ctrl_c_before_any_knob_moved_leaves_no_file(timbrel_with, tmp_path):
    process = timbrel_with("learn", "gm-keys", ports="")
    assert process.stdout.readline() == "no controller is here yet; connect one\n"
    assert process.stdout.readline() == "latent.0 (brightness): move the knob for it\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, "timbrel: stopped\n")
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


@pytest.mark.parametrize(("mistakes", "lines"), [(20, 20), (21, 20), (300, 20)])
def test_of_many_mistakes_the_first_are_told(timbrel, tmp_path, mistakes, lines):
    maps = "".join(f"[[cc]]\nnumber = 70\nchannel = 1\ntarget = 'latent.{99 + i}'\n" for i in range(mistakes))
    preset = tmp_path / "wrong.toml"
    preset.write_text('format = 1\nmodel = "gm-chroma-8"\n' + maps)
    said = timbrel("render", preset, DEMO, "-o", tmp_path / "new.wav").err.splitlines()
    assert len(said) == lines
    assert (said[-1] == f"timbrel: {mistakes - 19} more errors; fix these first") == (mistakes > 20)


def test_a_choice_that_there_is_not_is_refused_with_those_there_are(timbrel, tmp_path):
    refused = timbrel("make", tmp_path, "-o", tmp_path / "out", "--family", "nosuch")
    assert refused.status == 2
    assert refused.err.startswith("timbrel: Invalid value for '--family': 'nosuch' is not one of 'auto', 'chroma', ")
    assert not (tmp_path / "out").exists()
