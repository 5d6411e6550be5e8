"""`timbrel bench`: which block sizes and how many voices this machine plays in real time.

A process renders into a sink that only a clock empties, by the same loop and at the same pace as live playing: what a
processor does in one burst says little about what it does every few milliseconds.
"""

import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt

from ..audio.device import NullSink
from ..errors import Failure, TimbrelError, UserError
from ..events import ControlChange, Event, NoteOn
from ..midi.ports import Timed
from ..patch.library import Patch, open_patch
from ..patch.preset import CCMap, MpeSettings
from ..play.player import Player
from ..play.rack import Rack
from .loop import Loop, RenderLoad
from .parent import HUGE_PAGES
from .realtime import BESIDES, SOUND, hurry

Array = npt.NDArray[np.float32]

RATE = 48000  # Hz, what cards run at most
DEPTH = 2  # blocks of ring, as `timbrel play` has it
BLOCKS = (32, 64, 128, 256, 512, 1024)
VOICES = (4, 8, 16, 32, 64)
SECONDS = (0.5, 600.0)
LOWEST_KEY = 36
KNOBS = range(70, 96)  # CC numbers: a latent each, as far as they go
MOVES_PER_SECOND = 50  # of each knob, as fast as a hand makes them
NOTE_SECONDS = 0.005  # between the keys that are pressed first
READY_SECONDS = 0.005  # between looks whether it can sound
SETTLING_SECONDS = 0.3  # after the last key, before anything counts


@dataclass(frozen=True)
class BenchRow:
    """The figures of one block size with one number of voices."""

    block: int
    voices: int
    load: tuple[float, float, float]  # p50, p99, p99.9 of rendering, as parts of a block's time
    underruns: int
    given_up: int  # voices that the loop let go for want of time

    @property
    def holds(self) -> bool:
        """Return whether no block was missed and no voice given up."""
        return self.underruns == 0 and self.given_up == 0


def bench(preset: str, seconds: float) -> Iterator[str]:
    """Measure, and give the lines to print as they come: a table, and what it means.

    Args:
        preset: whatever `timbrel play` takes; its effects play too, all its latents are moved.
        seconds: for each block size and number of voices.

    Raises:
        UserError: the preset cannot be used, or ``seconds`` is out of range.
        Failure: the process that renders has ended.
    """
    low, high = SECONDS
    if not low <= seconds <= high:
        raise UserError(f"--seconds {seconds:g} is out of range [{low:g}, {high:g}]; 3 suit most machines")
    wanted = open_patch(preset).preset.play.voices
    yield f"{preset}, {RATE} Hz, all knobs move; load is the part of a block's time that rendering takes"
    yield f"{'block':>6}{'voices':>8}{'p50':>8}{'p99':>8}{'p99.9':>8}{'underruns':>11}{'given up':>10}"
    rows: list[BenchRow] = []
    for row in _measured(preset, seconds):
        rows.append(row)
        loads = "".join(f"{part:>8.0%}" for part in row.load)
        yield f"{row.block:>6}{row.voices:>8}{loads}{row.underruns:>11}{row.given_up:>10}"
    yield ""
    yield from verdict(rows, preset, wanted, seconds)


def verdict(rows: Sequence[BenchRow], preset: str, wanted: int, seconds: float) -> list[str]:
    """Return what a table means in words; ``wanted`` is how many voices the preset has."""
    held = {block: _most(rows, block) for block in sorted({row.block for row in rows})}
    lines = [
        f"blocks of {block} ({1000 * block / RATE:.1f} ms): "
        + (f"{voices} voices hold" if voices else f"not even {min(row.voices for row in rows)} voices hold")
        for block, voices in held.items()
    ]
    enough = [block for block, voices in held.items() if voices >= wanted]
    best = max(held, key=lambda block: held[block])
    if enough:
        lines.append(f"play {preset} with its {wanted} voices: --block {enough[0]}")
    elif held[best]:
        lines.append(f"{wanted} voices are too many for this machine: --voices {held[best]} --block {best}")
    else:
        lines.append(f"this machine does not play {preset} in real time; close other programs and try again")
    lines.append(f"to hold means: not a block came late in {seconds:g} s; leave room for longer and for other programs")
    return lines


def _most(rows: Sequence[BenchRow], block: int) -> int:
    """Return the largest number of voices that holds at a block size, as do all smaller ones; 0 if none does."""
    most = 0
    for row in sorted((row for row in rows if row.block == block), key=lambda row: row.voices):
        if not row.holds:
            break
        most = row.voices
    return most


def _measured(preset: str, seconds: float) -> Iterator[BenchRow]:
    os.environ.setdefault(*HUGE_PAGES)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, preset, seconds))
    process.start()
    theirs.close()
    try:
        while (what := ours.recv()) is not None:
            if isinstance(what, TimbrelError):
                raise what
            yield what
    except EOFError:
        raise Failure("the process that renders has ended before it was done; run again") from None
    finally:
        process.kill()
        process.join()


def _measure(pipe: Connection, preset: str, seconds: float) -> None:
    """The process: a row for each size and number, then None."""
    try:
        hurry(BESIDES)
        patch = open_patch(preset)
        hurry(SOUND)
        for block in BLOCKS:
            for voices in VOICES:
                pipe.send(_row(patch, block, voices, seconds))
        pipe.send(None)
    except TimbrelError as error:
        pipe.send(error)
    except (KeyboardInterrupt, BrokenPipeError):
        return  # the parent says so
    except Exception as error:
        pipe.send(Failure(f"internal error: {type(error).__name__}: {error}"))


def _row(patch: Patch, block: int, voices: int, seconds: float) -> BenchRow:
    hands = _Hands(voices, len(patch.model.card.latents))
    rack = Rack({0: _all_moving(patch, voices)}, RATE, live=True)
    while not rack.ready:
        time.sleep(READY_SECONDS)
    player = Player(rack, RATE)
    sink = NullSink(RATE, block, DEPTH)
    began, before = math.inf, 0

    def watch(sound: Array, events: list[Event]) -> None:
        nonlocal began, before
        now = time.perf_counter()
        if now >= began + seconds:
            loop.stop()
        elif began == math.inf and now >= hands.settled:
            loop.load, began, before = RenderLoad(), now, sink.underruns

    loop = Loop(player, sink, [hands], on_block=watch)
    loop.run()
    p50, p99, p999 = loop.load.percentiles(50, 99, 99.9)
    return BenchRow(block, voices, (p50, p99, p999), sink.underruns - before, player.shed)


def _all_moving(patch: Patch, voices: int) -> Patch:
    """Return the preset with a knob on every latent, and voices that sound until they are released."""
    knobs = [
        CCMap(number=number, target=f"latent.{index}", low=latent.low, high=latent.high)
        for index, (number, latent) in enumerate(zip(KNOBS, patch.model.card.latents, strict=False))
    ]
    play = patch.preset.play.model_copy(update={"voices": voices, "mode": "poly"})
    envelope = patch.preset.envelope.model_copy(update={"sustain": 1.0})
    changes = {"cc": knobs, "play": play, "envelope": envelope, "mpe": MpeSettings()}
    return replace(patch, preset=patch.preset.model_copy(update=changes))


class _Hands:
    """Presses keys, holds them, and turns all knobs, by the clock."""

    def __init__(self, voices: int, knobs: int) -> None:
        self._voices, self._knobs = voices, KNOBS[:knobs]
        self._pressed = self._moves = 0
        self._began = time.perf_counter()
        self.settled = self._began + voices * NOTE_SECONDS + SETTLING_SECONDS  # when all sound

    def poll(self) -> list[Timed]:
        """Return what has been done since the last call."""
        now = time.perf_counter()
        pressed = min(self._voices, int((now - self._began) / NOTE_SECONDS))
        events: list[Event] = [NoteOn(0, 0, LOWEST_KEY + index, 100) for index in range(self._pressed, pressed)]
        moves = int((now - self._began) * MOVES_PER_SECOND)
        if moves > self._moves:
            events += [ControlChange(0, 0, number, _position(number, moves)) for number in self._knobs]
        self._pressed, self._moves = pressed, moves
        return [Timed(now, event) for event in events]


def _position(knob: int, moves: int) -> int:
    """Return where a knob is after so many moves: each turns to and fro at a speed of its own, 0.3 Hz the first."""
    return round(63.5 + 60 * math.sin(moves / 30 * (1 + (knob - KNOBS.start) / 3)))
