"""Command line entry point: joins all commands, which import their dependencies when called."""

import atexit
import contextlib
import functools
import gc
import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from . import __version__
from .host import interrupts
from .host.errors import TimbrelError, UserError, printable, without_secrets

if TYPE_CHECKING:
    import typer

COMPLETION = "_TIMBREL_COMPLETE"
OBJECTS = 10_000  # new ones between collections: imports make many, and each collection would take longer
MOST_LINES = 20  # of errors about one file: more are no help


@functools.cache
def command_line() -> "typer.Typer":
    """All rooms' commands. Imported when called, so that `main` can stop it."""
    import typer

    from .export import commands as exporting
    from .host.commands import live, models, plugin, sounds
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

    def print_version(requested: bool) -> None:
        if requested:
            print(__version__)
            raise typer.Exit

    @app.callback()
    def options(
        debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
        version: Annotated[
            bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print it.")
        ] = False,
    ) -> None:
        pass

    return app


def main() -> None:
    """Run the command line; errors become a line and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may have letters that a terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    with interrupts.listening():
        status = _run()
    sys.exit(interrupts.exit_status(_printed(status)))


def _run() -> int:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # pydantic's search for plugins reads every package
    atexit.register(gc.freeze)  # a final collection would take as long as a short note; exit frees all memory
    gc.set_threshold(OBJECTS)
    arguments = [*map(_as_on_disk, sys.argv[1:])] or ["--help"]
    debug = "--debug" in arguments
    status = 0
    try:
        if "" in arguments:  # as of a script's unset variable; as a path it would be the working folder
            words = ["timbrel", *arguments]
            raise UserError(f"the word after {words[words.index('') - 1]!r} is empty; give a path or a value")
        status = _invoke(arguments)
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
            file_note = f"cannot use {error.filename}: " if error.filename else ""
            status = _complain(
                f"{file_note}{error.strerror}; check the path, your rights and the room on disk", 1, debug
            )
        elif isinstance(error, MemoryError):
            status = _complain("memory is used up; close other programs or give less at once", 1, debug)
        else:
            status = _complain(f"internal error: {type(error).__name__}: {error}; run again with --debug", 1, debug)
    return status


def _as_on_disk(word: str) -> str:
    """A word that names a file but for Unicode's composition; other words as they are."""
    if word.isascii():
        return word
    from .host.files import as_on_disk

    path = as_on_disk(Path(word))
    return word if path == Path(word) else str(path)


def _invoke(arguments: list[str]) -> int:
    with interrupts.defer_signals():  # modules of C would break an interruption into errors of their own
        import typer

        from .host.errors import naming_extras

        command = typer.main.get_command(command_line())
    try:
        if COMPLETION in os.environ:  # a shell asks for the words that may follow
            command.main(prog_name="timbrel")
        with naming_extras(), command.make_context("timbrel", arguments) as context:  # main() would catch Ctrl-C
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


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
        print(f"timbrel: {without_secrets(printable(' '.join(message.split())))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
