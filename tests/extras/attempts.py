"""Tries public names and commands of the timbrel that this Python has, in the current folder.

    python attempts.py EXTRA... [--quick] [--hide]

An attempt passes, or ends in one line that names an extra: one that it needs and that is not among those given. The
train extra is given small work. ``--quick`` leaves out live playing and long work; ``--hide`` hides the modules of all
extras that are not given from this process, as if they were not installed.
"""

import contextlib
import io
import signal
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

NOTE_SECONDS = 0.5
LIVE_SECONDS = 6.0  # until Ctrl-C; a busy machine needs that long to start sound

# Commands and the extra that each needs; "" is the base, None the base too, but the machine may lack more. Each may use
# files of those before it.
COMMANDS: dict[str, str | None] = {
    "render gm-oboe note.mid -o note.wav": "",
    "process note.wav --preset gm-oboe -o processed.wav": "",
    "morph note.wav processed.wav --model gm-chroma-8 -o morph.wav": "",
    "morph note.wav processed.wav --model gm-chroma-8 -o way.wav --picture way.png": "picture",
    "recover note.wav --model gm-chroma-8 -o recovered.toml": "",
    "recover note.wav --model gm-chroma-8 -o searched.toml --method gradient": "train",
    "pack gm-oboe -o oboe.timbrel": "",
    "get hf:owner/absent": "hub",
    "dataset gm-oboe -o notes --notes 1 --seconds 1": "",
    "dataset gm-oboe -o more --notes 1 --ray 127.0.0.1:1": "scale",
    "info oboe.timbrel": "",
    "verify gm-chroma-8": "",
    "presets": "",
    "recipes": "",
    "version": "",
    "plugin install": None,
    "plugin status": "",
    "plugin uninstall": "",
    "devices": "",
    "learn gm-oboe": "live",
    "panel gm-oboe": "panel",
    "play gm-oboe --null --panel": "panel",
    "corpus build sounds -o corpus": "train",
    "corpus soundfont absent.sf2 -o soundfont": "train",
    "corpus grooves absent.sf2 -o grooves": "train",
    "train tuned-8 --corpus corpus -o run --set training.epochs=1": "train",
    "export run -o model.onnx": "train",
    "evaluate run": "train",
    "sweep digits --corpus corpus -o sweep": "train",
    "make sounds -o made --minutes 0.02": "train",
    "study chroma --corpus absent -o chroma": "train",
    "study grain --corpus absent -o grain": "train",
    "study gan --corpus absent --classifier run -o gan": "train",
    "study recovery --corpus absent --classifier run -o recovery": "train",
    "study sequence --corpus loop=absent -o sequence": "train",
}
SLOW: dict[str, str | None] = {
    "demo": "picture",
    "sample gm-oboe -o sampled --every 12 --velocities 1 --takes 1": "",
    "bench gm-oboe --seconds 0.5": "",
    "play gm-oboe --null": "",
}
BRINGS = {"panel": {"live"}, "train": {"picture"}}  # as pyproject.toml declares


class Ending(NamedTuple):
    """How an attempt ended: an exit status, and its lines on standard error."""

    status: int
    lines: list[str]


def attempts(extras: set[str], quick: bool) -> Iterator[str]:
    """Try everything; yield a line for each fault."""
    Path("note.mid").write_bytes(_tune())
    for name, needed, attempt in _public_names(quick):
        if fault := _fault(_called(attempt), needed, extras):
            yield f"timbrel.{name}: {fault}"
    for line, needed in (COMMANDS if quick else COMMANDS | SLOW).items():
        if fault := _fault(_command(line), needed, extras):
            yield f"timbrel {line}: {fault}"


def _fault(ending: Ending, needed: str | None, extras: set[str]) -> str:
    last = ending.lines[-1] if ending.lines else ""
    if needed in {"", None, *extras}:
        refused = needed != "" and ending.status == 2 and "pip install" not in last  # the machine or the input
        sound = ending.status == 0 or refused
    else:
        sound = ending.status == 2 and f"pip install 'timbrel[{needed}]'" in last
    return "" if sound else f"status {ending.status}: {last or 'no line'}"


def _public_names(quick: bool) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    import timbrel

    for name in timbrel.__all__:
        yield name, "", lambda name=name: getattr(timbrel, name)
    oboe = timbrel.open("gm-oboe")
    sound = oboe.render(timbrel.Note(60, duration=NOTE_SECONDS))
    for folder in ("sounds", "empty"):
        Path(folder).mkdir()
    for key in range(48, 72, 2):
        yield "render", "", lambda key=key: oboe.render(timbrel.Note(key, duration=1)).save(f"sounds/{key}.wav")
    yield "Sound.save", "", lambda: sound.save("sound.flac")
    yield "Sound", "", lambda: sound._repr_html_()
    yield "encode", "", lambda: oboe.encode(sound)
    yield "decode", "", lambda: oboe.decode([0.5] * len(oboe.latents))
    yield "recover", "", lambda: oboe.recover(sound)
    yield "process", "", lambda: oboe.process(sound)
    yield "render_many", "", lambda: oboe.render_many([timbrel.Note(60)], seconds=0.1)
    yield "render_dataset", "", lambda: next(timbrel.render_dataset("gm-oboe", 1, seconds=0.5))
    yield "make", "train", lambda: timbrel.make("empty", "nothing")
    yield "build_corpus", "train", lambda: timbrel.build_corpus("empty", "nothing")
    yield "train_recipe", "train", lambda: timbrel.train_recipe("tuned-8", "empty", "nothing")
    yield "evaluate_run", "train", lambda: timbrel.evaluate_run("empty")
    yield "export_model", "train", lambda: timbrel.export_model("empty", "nothing.onnx")
    if not quick:
        yield "play", "", lambda: _play(timbrel, oboe)


def _play(timbrel: Any, oboe: Any) -> None:
    with timbrel.play(oboe, null=True) as live:
        live.note_on(60)
        live.note_off(60)


def _called(attempt: Callable[[], Any]) -> Ending:
    from timbrel import TimbrelError

    try:
        with warnings.catch_warnings(action="ignore"):
            attempt()
    except TimbrelError as error:
        return Ending(error.exit_status, [str(line) for line in error.args])
    except Exception as error:
        return Ending(1, [f"{type(error).__name__}: {error}"])
    return Ending(0, [])


def _command(line: str) -> Ending:
    from timbrel.__main__ import main

    sys.argv = ["timbrel", *line.split()]
    errors, status = io.StringIO(), 0
    stop = threading.Timer(LIVE_SECONDS, lambda: signal.raise_signal(signal.SIGINT))
    if line.split()[0] in ("play", "panel", "learn"):
        stop.start()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        stop.cancel()
    stopped = errors.getvalue().endswith("timbrel: stopped\n")
    return Ending(0 if stopped else status, errors.getvalue().splitlines())


def _tune() -> bytes:
    track = bytes([0, 0x90, 60, 100, 0x83, 0x60, 0x80, 60, 0, 0, 0xFF, 0x2F, 0])
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track


def _hide(extras: set[str]) -> None:
    from timbrel.host.errors import MODULES

    hidden = {module for extra, modules in MODULES.items() if extra not in extras for module in modules}

    class Installed(PathFinder):
        """Finds the modules that a smaller installation would have."""

        @classmethod
        def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
            return None if fullname.partition(".")[0] in hidden else PathFinder.find_spec(fullname, path, target)

    sys.meta_path[:] = [Installed if finder is PathFinder else finder for finder in sys.meta_path]


def main() -> int:
    extras = {argument for argument in sys.argv[1:] if not argument.startswith("--")}
    extras = extras.union(*(BRINGS.get(extra, ()) for extra in extras))
    quick, hide = "--quick" in sys.argv, "--hide" in sys.argv
    if hide:
        _hide(extras)
    before = time.process_time()
    faults = list(attempts(extras, quick))
    print(f"{time.process_time() - before:.1f} s of this processor", *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
