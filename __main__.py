"""Command line entry point: joins all commands, which import their dependencies when called."""

import atexit
import contextlib
import gc
import os
import signal
import sys
from typing import Annotated

import typer

from . import __version__
from .export import commands as exporting
from .host import interrupts
from .host.commands import live, models, plugin, sounds
from .host.errors import TimbrelError, printable
from .host.extras import naming_extras
from .train import commands as training

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn recordings into playable instruments.",
)
for room in (sounds, live, plugin, models, training, exporting):
    app.add_typer(room.commands)


COMPLETION = "_TIMBREL_COMPLETE"
OBJECTS = 10_000  # new ones between collections: imports make many, and each collection would take longer
MOST_LINES = 20  # of errors about one file: more are no help


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors become a line and an exit status."""
    with interrupts.listening():
        status = _run()
    sys.exit(interrupts.exit_status(_printed(status)))


def _run() -> int:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # pydantic's search for plugins reads every package
    atexit.register(gc.freeze)  # a final collection would take as long as a short note; exit frees all memory
    gc.set_threshold(OBJECTS)
    arguments = sys.argv[1:] or ["--help"]
    debug = "--debug" in arguments
    status = 0
    try:
        command = typer.main.get_command(app)
        if COMPLETION in os.environ:  # a shell asks for the words that may follow
            command.main(prog_name="timbrel")
        with naming_extras(), command.make_context("timbrel", arguments) as context:  # main() would catch Ctrl-C
            command.invoke(context)
    except typer.Exit as end:
        status = end.exit_code
    except TimbrelError as error:
        lines = list(error.args)
        if len(lines) > MOST_LINES:
            lines[MOST_LINES - 1 :] = [f"{len(lines) - MOST_LINES + 1} more errors; fix these first"]
        for line in lines[:-1]:
            _complain(line, error.exit_status, debug=False)
        status = _complain(str(lines[-1]), error.exit_status, debug)
    except KeyboardInterrupt:
        status = _complain("stopped", 128 + signal.SIGINT, debug)
    except BrokenPipeError:
        status = 1
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's errors: a wrong option, a missing argument
            message = error.format_message().splitlines()[0].rstrip(".").replace("Value error, ", "")  # pydantic's
            status = _complain(f"{message}; see 'timbrel --help' or 'timbrel COMMAND --help'", 2, debug)
        elif isinstance(error, OSError) and error.strerror:
            where = f"cannot use {error.filename}: " if error.filename else ""
            status = _complain(f"{where}{error.strerror}; check the path, your rights and the room on disk", 1, debug)
        elif isinstance(error, MemoryError):
            status = _complain("memory is used up; close other programs or give less at once", 1, debug)
        else:
            status = _complain(f"internal error: {type(error).__name__}: {error}; run again with --debug", 1, debug)
    return status


def _printed(status: int) -> int:
    """A closed pipe, as in ``timbrel recipes | head -1``, causes no message."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # None if it was closed at startup
                stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            status = status or 1
            if not isinstance(error, BrokenPipeError):
                _complain(f"cannot print all that there is to say: {error.strerror}", status, debug=False)
    return status


def _complain(message: str, status: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    with contextlib.suppress(OSError):  # standard error may be closed
        print(f"timbrel: {printable(' '.join(message.split()))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
