"""The command line is quick to start, and every command explains itself."""

import subprocess
import sys

import pytest
import typer
from timbrel.__main__ import command_line

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


# ---- starting


def test_every_command_explains_itself_by_two_letters(timbrel):
    group = typer.main.get_command(command_line())
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

    for part in parts(typer.main.get_command(command_line())):
        assert part.name == "help" or part.help, part.name


def test_recipes_are_listed_with_a_line_each(timbrel):
    from timbrel.train.families.recipes import shipped_recipes

    lines = timbrel("recipes").out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_recipes())
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)
