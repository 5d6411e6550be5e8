"""Offline: a performance through a rack into files, time counted."""

import contextlib
import functools
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .audio.files import sound_writer
from .dsp import limit, limited
from .events import ProgramChange
from .midi.file import Performance
from .patch.library import Patch
from .play.rack import Rack
from .play.succession import Succession, Successor
from .progress import TOO_LOUD, clock, told_if_slow

Array = npt.NDArray[np.float32]

BLOCK = 16384  # samples: long blocks decode in large batches
AHEAD = 2  # blocks: while one is mixed, other processes are at the next
SILENCE = 10 ** (-90 / 20)  # below this a tail has ended: the last bits of 16-bit sound
SILENT_SECONDS = 2.0  # for this long, and for as long as effects may pause before an echo
WORTH_SHARING_SECONDS = 3.0  # what is shorter is done before another process has begun
DRUMS = 9  # channel 10, as people count, which General MIDI gives to percussion
RATES = (44100, 48000, 96000)


def remarks(performance: Performance, preset: str, given: Collection[int], kit: bool = False) -> list[str]:
    """Return what a file asks for and does not get, a line each: General MIDI's drums, and program changes.

    Args:
        preset: its name; it plays the channels that have no other.
        given: channels (0 to 15) for which the player has chosen another preset, and needs no advice.
        kit: it is a kit, and so plays drums as they are meant.
    """
    lines = []
    left = [channel for channel in performance.channels if channel not in given]
    if DRUMS in left and not kit and not performance.recorded:
        lines.append(
            f"channel {DRUMS + 1}, drums in General MIDI, is played by {preset} like any other; "
            f"--channel {DRUMS + 1}=none leaves it out"
        )
    programs = {(e.channel, e.program) for e in performance.events if isinstance(e, ProgramChange)}
    unheard = sorted({channel for channel, _ in programs if channel in left and not performance.recorded})
    if unheard and (len(performance.channels) > 1 or len(programs) > 1):  # one, at the start, is all that most have
        those = f"channel{'s' * (len(unheard) > 1)} {', '.join(str(channel + 1) for channel in unheard)}"
        lines.append(
            f"program changes are passed over: {preset} plays {those} throughout; --channel N=PRESET gives another"
        )
    return lines


def worth_sharing(performance: Performance, sample_rate: int) -> bool:
    """Return whether a performance lasts long enough for several processes to pay."""
    return performance.length >= WORTH_SHARING_SECONDS * sample_rate


def render(
    patches: Mapping[int, Patch],
    performance: Performance,
    path: Path,
    *,
    sample_rate: int,
    tail_seconds: float = 30.0,
    stems: bool = False,
    as_float: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    omni: bool = False,
    successors: Sequence[Successor] = (),
    progress: Callable[[float], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Render a performance to a file, and its channels to files beside it.

    Args:
        patches: by MIDI channel.
        performance: events in samples at ``sample_rate``.
        path: ``.wav``, ``.flac`` or ``.ogg``.
        tail_seconds: the longest that sound may go on after the performance; it ends earlier once it is silent.
        omni: the first patch hears channels that have none, as when one preset is played live.
        successors: patches that take the place of these, in order of time; then one process computes all.
        processes: that share the voices; they do not change the sound.
        stems: also write ``NAME-chNN.SUFFIX`` for each channel.
        as_float: as 32-bit float, to the bit as the rack gives it; ``.wav`` alone.
        progress: told the part that is done, 0 to 1.
        say: told that the limiter had to work hard, and where it worked hardest.

    Returns:
        The files written. All appear, or none.
    """
    channels = {channel for each in (patches, *(later.patches for later in successors)) for channel in each}
    names = {channel: path.with_name(f"{path.stem}-ch{channel + 1:02d}{path.suffix}") for channel in sorted(channels)}
    shared = worth_sharing(performance, sample_rate)
    with contextlib.ExitStack() as stack:
        first = Rack(patches, sample_rate, processes if shared and not successors else 1, omni)
        played = Succession(first, successors, sample_rate) if successors else first
        rack = stack.enter_context(contextlib.closing(played))
        writer = functools.partial(sound_writer, sample_rate=sample_rate, overwrite=overwrite, as_float=as_float)
        mix_file = stack.enter_context(writer(path))
        stem_files = {channel: stack.enter_context(writer(name)) for channel, name in (names.items() if stems else ())}
        hardest, place = 0.0, 0
        stack.enter_context(told_if_slow(lambda: rack.played / sample_rate))
        for done, mix, parts in blocks(rack, performance, tail_seconds, sample_rate):
            mix_file.write(mix)
            if (bent := limited(mix)) > hardest:
                hardest, place = bent, done - mix.shape[1]
            for channel, file in stem_files.items():
                file.write(limit(parts.get(channel, np.zeros_like(mix))))
            if progress is not None:
                progress(min(1.0, done / max(1, performance.length)))
        for file in (mix_file, *stem_files.values()):
            file.finish()
    if say is not None and hardest >= TOO_LOUD:
        say(_too_loud(path, hardest, place / sample_rate))
    return [path, *(names[channel] for channel in stem_files)]


def _too_loud(path: Path, part: float, seconds: float) -> str:
    at = clock(seconds)
    return f"{path} is too loud: at {at} the limiter bends {part:.0%} of the samples; lower its presets' gain_db"


def blocks(
    rack: Rack | Succession, performance: Performance, tail_seconds: float, sample_rate: int, size: int = BLOCK
) -> Iterator[tuple[int, Array, dict[int, Array]]]:
    """The sound of a performance in blocks, the rack's latency taken off: (samples done, mix, channels).

    The tail lasts until nothing sounds and no echo can come, or ``tail_seconds`` are over; the silence after it is left
    out.
    """
    events = performance.events
    latency = rack.latency_samples
    last = performance.length + round(tail_seconds * sample_rate)
    played, quiet, at = 0, 0, 0
    held: list[tuple[int, Array, dict[int, Array]]] = []  # silent blocks, given only if sound returns
    while played - latency < last:
        due = bisect_left(events, played + AHEAD * size, lo=at, key=lambda event: event.time)
        rack.hear(events[at:due], played + AHEAD * size)
        mix, parts = rack.process([], size)
        at, played = due, played + size
        skip = max(0, latency - (played - size))
        keep = min(size, size - (played - latency - last)) if played - latency > last else size
        if skip < keep:
            there = {channel: _light(part[:, skip:keep]) for channel, part in parts.items()}
            held.append((played - latency, _light(mix[:, skip:keep]), there))
        silent = rack.sounding == 0 and float(np.abs(mix).max()) < SILENCE
        quiet = quiet + size if silent else 0
        if not silent or played - latency - size < performance.length:
            yield from held
            held.clear()
        elif quiet >= (SILENT_SECONDS + rack.pause_seconds) * sample_rate:
            return


def _light(sound: Array) -> Array:
    """Return the same samples; where all are 0, in the room of one: minutes of silence may be held."""
    return sound if sound.any() else np.broadcast_to(np.float32(0), sound.shape)
