"""`timbrel bench`: measures block sizes and voice counts that this machine plays in real time.

Renders with the live loop at its pace into a null sink: a long burst does not predict periodic ones.
"""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from ..arrays import Array
from ..audio.sound_card import NullSink
from ..child_process import ChildProcess
from ..errors import Failure, TimbrelError, UserError
from ..events import ControlChange, Event, NoteOn
from ..midi.ports import Timed
from ..play.player import Player, wait_until_ready
from ..play.rack import Rack
from ..preset.library import Patch, latent_maps, open_patch
from ..preset.preset import MpeSettings
from ..session.meters import RenderLoad
from ..session.realtime import BESIDES, SOUND, hurry
from .render_loop import RenderLoop
from .session import HUGE_PAGES

RATE = 48000  # Hz, the highest rate of usual cards
DEPTH = 2  # blocks of ring, the default of `timbrel play`
BLOCKS = (32, 64, 128, 256, 512, 1024)
VOICES = (4, 8, 16, 32, 64)
SECONDS = (0.5, 600.0)
LOWEST_KEY = 36
KNOBS = range(70, 96)  # CC numbers, one a latent
MOVES_PER_SECOND = 50  # of each controller, as fast as by hand
NOTE_SECONDS = 0.005  # between the first note-ons
SETTLING_SECONDS = 0.3  # after the last note-on, before measuring


@dataclass(frozen=True)
class BenchRow:
    block: int
    voices: int
    load: tuple[float, float, float]  # p50, p99, p99.9 of the rendering time, relative to a block's time
    underruns: int
    given_up: int  # voices stolen for lack of time

    @property
    def holds(self) -> bool:
        return self.underruns == 0 and self.given_up == 0


def bench(preset: str, seconds: float) -> Iterator[str]:
    """Measure, and yield lines: a table, then a verdict.

    Args:
        preset: as for `timbrel play`; effects play and all latents move.
        seconds: per block size and voice count, 0.5 to 600.

    Raises:
        UserError: the preset cannot be used, or ``seconds`` is out of range.
        Failure: the render process ended early.
    """
    least_seconds, most_seconds = SECONDS
    if not least_seconds <= seconds <= most_seconds:
        raise UserError(
            f"--seconds {seconds:g} is out of range [{least_seconds:g}, {most_seconds:g}]; 3 suit most machines"
        )
    preset_voice_count = open_patch(preset).preset.play.voices
    yield f"{preset}, {RATE} Hz, all knobs move; load is the part of a block's time that rendering takes"
    yield f"{'block':>6}{'voices':>8}{'p50':>8}{'p99':>8}{'p99.9':>8}{'underruns':>11}{'given up':>10}"
    bench_rows: list[BenchRow] = []
    for bench_row in _measured(preset, seconds):
        bench_rows.append(bench_row)
        loads_text = "".join(f"{load_ratio:>8.0%}" for load_ratio in bench_row.load)
        yield f"{bench_row.block:>6}{bench_row.voices:>8}{loads_text}{bench_row.underruns:>11}{bench_row.given_up:>10}"
    yield ""
    yield from verdict(bench_rows, preset, preset_voice_count, seconds)


def verdict(rows: Sequence[BenchRow], preset: str, preset_voices: int, seconds: float) -> list[str]:
    """Lines: how many voices hold with each block size, and the options to play the preset with."""
    voices_by_block = {block: _max_voices(rows, block) for block in sorted({row.block for row in rows})}
    lines = [
        f"blocks of {block} ({1000 * block / RATE:.1f} ms): "
        + (f"{voice_count} voices hold" if voice_count else f"not even {min(row.voices for row in rows)} voices hold")
        for block, voice_count in voices_by_block.items()
    ]
    fitting_blocks = [block for block, voice_count in voices_by_block.items() if voice_count >= preset_voices]
    best_block = max(voices_by_block, key=lambda block: voices_by_block[block])
    if fitting_blocks:
        lines.append(f"play {preset} with its {preset_voices} voices: --block {fitting_blocks[0]}")
    elif voices_by_block[best_block]:
        lines.append(
            f"{preset_voices} voices are too many for this machine: "
            f"--voices {voices_by_block[best_block]} --block {best_block}"
        )
    else:
        lines.append(f"this machine does not play {preset} in real time; close other programs and try again")
    lines.append(f"to hold means: not a block came late in {seconds:g} s; leave room for longer and for other programs")
    return lines


def _max_voices(rows: Sequence[BenchRow], block: int) -> int:
    """Largest count that holds, as all smaller ones do; 0 if none."""
    max_voice_count = 0
    for row in sorted((row for row in rows if row.block == block), key=lambda row: row.voices):
        if not row.holds:
            break
        max_voice_count = row.voices
    return max_voice_count


def _measured(preset: str, seconds: float) -> Iterator[BenchRow]:
    """Yield a row for each block size and voice count, measured in another process."""
    os.environ.setdefault(*HUGE_PAGES)
    bench_process = ChildProcess(_measure, preset, seconds, name="bench")
    try:
        while (row_or_error := bench_process.pipe.recv()) is not None:
            if isinstance(row_or_error, TimbrelError):
                raise row_or_error
            yield row_or_error
    except EOFError:
        raise Failure("the process that renders has ended before it was done; run again") from None
    finally:
        bench_process.end()


def _measure(pipe: Connection, preset: str, seconds: float) -> None:
    """Send each row, then None; or an error."""
    try:
        hurry(BESIDES)
        patch = open_patch(preset)
        hurry(SOUND)
        for block_samples in BLOCKS:
            for voice_count in VOICES:
                pipe.send(_row(patch, block_samples, voice_count, seconds))
        pipe.send(None)
    except TimbrelError as error:
        pipe.send(error)
    except (KeyboardInterrupt, BrokenPipeError):
        return  # the parent reports it
    except Exception as error:
        pipe.send(Failure(f"internal error: {type(error).__name__}: {error}"))


def _row(patch: Patch, block: int, voices: int, seconds: float) -> BenchRow:
    """Play one block size and voice count for so many seconds, after settling."""
    performer = _Performer(voices, len(patch.model.card.latents))
    rack = Rack({0: _all_moving(patch, voices)}, RATE, live=True)
    wait_until_ready(rack)
    player = Player(rack, RATE)
    sink = NullSink(RATE, block, DEPTH)
    measure_begin_time, early_underrun_count = math.inf, 0

    def watch(sound: Array, events: list[Event]) -> None:
        nonlocal measure_begin_time, early_underrun_count
        now = time.perf_counter()
        if now >= measure_begin_time + seconds:
            render_loop.stop()
        elif measure_begin_time == math.inf and now >= performer.settled:
            render_loop.meters.load, measure_begin_time, early_underrun_count = RenderLoad(), now, sink.underruns

    render_loop = RenderLoop(player, sink, [performer], on_block=watch)
    render_loop.run()
    p50, p99, p999 = render_loop.meters.load.percentiles(50, 99, 99.9)
    return BenchRow(block, voices, (p50, p99, p999), sink.underruns - early_underrun_count, player.shed)


def _all_moving(patch: Patch, voices: int) -> Patch:
    """The patch with sustained notes, so many voices, and a controller for each latent."""
    play_settings = patch.preset.play.model_copy(update={"voices": voices, "mode": "poly"})
    envelope_settings = patch.preset.envelope.model_copy(update={"sustain": 1.0})
    preset_changes = {
        "cc": latent_maps(KNOBS, patch.model.card),
        "play": play_settings,
        "envelope": envelope_settings,
        "mpe": MpeSettings(),
    }
    return replace(patch, preset=patch.preset.model_copy(update=preset_changes))


class _Performer:
    def __init__(self, voices: int, knobs: int) -> None:
        self._voices, self._knobs = voices, KNOBS[:knobs]
        self._pressed = self._moves = 0
        self._began = time.perf_counter()
        self.settled = self._began + voices * NOTE_SECONDS + SETTLING_SECONDS  # when all notes play

    def poll(self) -> list[Timed]:
        """The next note-ons, and moves of all knobs."""
        now = time.perf_counter()
        pressed_count = min(self._voices, int((now - self._began) / NOTE_SECONDS))
        events: list[Event] = [
            NoteOn(0, 0, LOWEST_KEY + key_index, 100) for key_index in range(self._pressed, pressed_count)
        ]
        move_count = int((now - self._began) * MOVES_PER_SECOND)
        if move_count > self._moves:
            events += [
                ControlChange(0, 0, controller_number, _position(controller_number, move_count))
                for controller_number in self._knobs
            ]
        self._pressed, self._moves = pressed_count, move_count
        return [Timed(now, event) for event in events]


def _position(knob: int, moves: int) -> int:
    """Controller value, 0 to 127, of a knob that swings."""
    return round(63.5 + 60 * math.sin(moves / 30 * (1 + (knob - KNOBS.start) / 3)))
