"""Offline rendering of a performance and its presets to sound files: mix, stems, program changes, normalisation."""

import contextlib
import functools
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..audio.output import KeptSound, limit, limited
from ..audio.sound_files import SoundWriter, sound_writer
from ..errors import UserError
from ..events import ControlChange, DataEntry, Event, NoteOn, ProgramChange
from ..midi.controllers import CONFIGURATION, LOWER, MOST_MEMBERS, UPPER, ControllerReader, Zones, resized, zone_of
from ..midi.decode import Programs, missing_program
from ..midi.files import Performance
from ..preset.library import Patch, open_patch
from ..preset.recording_notes import differences, edits, read_notes
from ..preset.tuning import pitch_of
from ..progress import TOO_LOUD, clock, warn_if_slow
from ..units import db_to_gain
from .player import LOOK_SAMPLES, SILENCE, Succession, Successor, successors
from .rack import Rack, as_played, latency_of

BLOCK = 16384  # samples: long blocks decode in large batches
AHEAD = 2  # blocks: other processes compute the next while one is mixed
SILENT_SECONDS = 2.0  # of silence end a tail, plus the effects' longest pause before an echo
WORTH_SHARING_SECONDS = 3.0  # shorter performances finish before a second process has started
DRUMS = 9  # channel 10 counted from 1: General MIDI's percussion
RATES = (16_000, 96_000)  # Hz: below, keys above the middle lose their brightness; above, nobody hears more
FADE_SECONDS = 0.005  # at the end of a sound that is cut, where a note may still sound
MOST_RUNS = 6  # of keys that a warning lists
PEAK_DB = -1.0  # true peak after normalisation, as streaming services require (EBU R 128)


class RenderOptions(NamedTuple):
    """As the arguments of `render`."""

    sample_rate: int
    tail_seconds: float
    stems: bool
    normalise: bool
    as_float: bool
    overwrite: bool


def remarks(
    performance: Performance,
    preset: str,
    given: Collection[int],
    kit: bool = False,
    followed: bool = False,
    mpe: bool = False,
) -> list[str]:
    """Advice on parts not played as meant: General MIDI drums, program changes.

    ``given``: channels, 0 to 15, with presets that the user chose; they need no advice. ``kit``: the preset is a drum
    kit. ``followed``: program changes select presets. ``mpe``: the preset starts with a zone of all channels.
    """
    lines = []
    left = [channel for channel in performance.channels if channel not in given]
    if DRUMS in left and not kit and not performance.recorded and _has_drums(performance, mpe):
        lines.append(
            f"channel {DRUMS + 1}, drums in General MIDI, is played by {preset} like any other; "
            f"--channel {DRUMS + 1}=none leaves it out"
        )
    programs = {(e.channel, e.program) for e in performance.events if isinstance(e, ProgramChange)}
    unheard = sorted({channel for channel, _ in programs if channel in left and not performance.recorded})
    if (
        unheard and not followed and (len(performance.channels) > 1 or len(programs) > 1)
    ):  # most files have one, at the start
        channels_text = f"channel{'s' * (len(unheard) > 1)} {', '.join(str(channel + 1) for channel in unheard)}"
        lines.append(
            f"program changes are passed over: {preset} plays {channels_text} throughout; --channel N=PRESET gives "
            "another, --set FOLDER follows them"
        )
    return lines


def _has_drums(performance: Performance, mpe: bool) -> bool:
    """Return whether channel 10 has notes while it is in no MPE zone."""
    controller_reader, zone_sizes = ControllerReader(), {LOWER: MOST_MEMBERS if mpe else 0, UPPER: 0}
    for event in performance.events:
        match controller_reader.read(event):
            case NoteOn(channel=channel) if channel == DRUMS and zone_of(zone_sizes, DRUMS) is None:
                return True
            case DataEntry(_, master, True, parameter, "coarse", size) if (
                parameter == CONFIGURATION and master in zone_sizes
            ):
                zone_sizes = resized(zone_sizes, master, size)
    return False


def programmed(
    patches: Mapping[int, Patch],
    events: Iterable[Event],
    programs: Sequence[str],
    say: Callable[[str], None],
    opening: Callable[[str], Patch],
) -> tuple[dict[int, Patch], list[Successor]]:
    """Initial patches by channel, and successors that program changes select.

    Changes apply to their own channel, or the player of its MPE zone; held notes ring out.

    Args:
        events: in order of time.
        programs: program 1 first.
        say: receives warnings of presets, why one cannot be used, and programs beyond the last.
        opening: opens a preset; where it raises UserError, the preset before plays on.
    """
    counted, opened = defaultdict[int, Programs](Programs), dict[str, Patch | None]()
    changes: dict[int, dict[int, Patch]] = {}
    beyond: dict[int, None] = {}
    zones = Zones(dict.fromkeys(patches, False))  # of messages: a file without them has programs of its own by channel
    for channel, message in (routed for event in events for routed in zones.route(event)):
        if channel is None or channel not in patches or not isinstance(message, ControlChange | ProgramChange):
            continue
        counted[channel].apply(message)
        if isinstance(message, ProgramChange):
            number = counted[channel].number(message.program)
            if number >= len(programs):
                beyond[number] = None
                continue
            name = programs[number]
            if name not in opened:
                try:
                    opened[name] = opening(name)
                except UserError as error:
                    opened[name] = None
                    say(f"{error}; the preset before plays on")
            if (patch := opened[name]) is not None:
                changes.setdefault(message.time, {})[channel] = patch
    for patch in filter(None, opened.values()):
        for warning in patch.warnings:
            say(warning)
    for number in beyond:
        say(missing_program(number, len(programs)))
    now, successors = dict(patches) | changes.pop(0, {}), []
    first = dict(now)
    for time, chosen_patches in changes.items():
        now |= chosen_patches
        successors.append(Successor(time, dict(now), list(chosen_patches), 0, LOOK_SAMPLES))
    return first, successors


def _silent_notes(
    patches: Mapping[int, Patch], successors: Iterable[Successor], performance: Performance
) -> Iterator[str]:
    """Warn of notes on keys that their preset does not play, with a line for each preset."""
    zones = Zones(
        {channel: patch.preset.mpe.enabled for channel, patch in patches.items()},
        next(iter(patches), None) if performance.recorded else None,
    )
    changes = deque(successors)
    keys_by_preset = defaultdict[tuple[str, frozenset[int]], list[float]](list)
    for event in performance.events:
        while changes and changes[0].time <= event.time:
            patches = changes.popleft().patches
        for channel, message in zones.route(event):
            if isinstance(message, NoteOn) and channel is not None:
                patch = patches.get(channel) or next(iter(patches.values()))  # the first plays others of a recording
                keys_by_preset[patch.name, frozenset(patch.tuning)].append(message.key)
    for (name, playable_keys), keys in keys_by_preset.items():
        tuning = dict.fromkeys(playable_keys, 0.0)
        if silent_keys := [key for key in keys if pitch_of(key, tuning) is None]:
            yield (
                f"{len(silent_keys)} of {len(keys)} notes make no sound: preset {name!r} plays "
                f"{_key_list(playable_keys)}, and not {_key_list(silent_keys)}"
            )


def _key_list(keys: Iterable[float]) -> str:
    """Return keys as runs, such as "keys 36, 38 to 41"; many runs as their number and ends."""
    runs: list[list[float]] = []
    distinct_keys = sorted(set(keys))
    for key in distinct_keys:
        if runs and key == runs[-1][-1] + 1:
            runs[-1].append(key)
        else:
            runs.append([key])
    if len(runs) > MOST_RUNS:
        return f"{len(distinct_keys)} keys from {distinct_keys[0]:g} to {distinct_keys[-1]:g}"
    run_texts = [f"{run[0]:g} to {run[-1]:g}" if len(run) > 1 else f"{run[0]:g}" for run in runs]
    return f"key{'s' if len(distinct_keys) > 1 else ''} {', '.join(run_texts)}"


def worth_sharing(performance: Performance, sample_rate: int) -> bool:
    return performance.length >= WORTH_SHARING_SECONDS * sample_rate


def render(
    patches: Mapping[int, Patch],
    performance: Performance,
    path: Path,
    *,
    sample_rate: int,
    tail_seconds: float = 30.0,
    stems: bool = False,
    normalise: bool = False,
    as_float: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    omni: bool = False,
    successors: Sequence[Successor] = (),
    progress: Callable[[float], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Render a performance to a file, and optionally its channels beside it; return all files, or write none.

    Args:
        patches: by channel.
        path: ``.wav``, ``.flac`` or ``.ogg``.
        tail_seconds: the longest tail; it ends earlier in silence.
        stems: also write ``NAME-chNN.SUFFIX`` for each channel.
        normalise: bring the loudest file's true peak to `PEAK_DB`, by one gain for all.
        as_float: bit-exact 32-bit float; ``.wav`` only.
        processes: share the voices; the sound does not depend on them.
        omni: the first patch plays channels without their own.
        successors: in order of time, rendered by one process.
        progress: receives 0 to 1.
        say: receives a warning if the limiter works hard, with the worst place.
    """
    channels = patches.keys() | {channel for successor in successors for channel in successor.patches}
    names = {
        channel: path.with_name(f"{path.stem}-ch{channel + 1:02d}{path.suffix}")
        for channel in (sorted(channels) if stems else ())
    }
    with contextlib.ExitStack() as stack:
        shared = processes if worth_sharing(performance, sample_rate) and not successors else 1
        rack = stack.enter_context(_rack(patches, sample_rate, shared, omni, successors))
        writer = functools.partial(sound_writer, sample_rate=sample_rate, overwrite=overwrite, as_float=as_float)
        mix_file = stack.enter_context(writer(path))
        stem_files = {channel: stack.enter_context(writer(name)) for channel, name in names.items()}
        files = [mix_file, *stem_files.values()]
        kept_sounds = {file: stack.enter_context(KeptSound(sample_rate)) for file in files if normalise}
        taking: dict[SoundWriter, KeptSound | SoundWriter] = {file: kept_sounds.get(file, file) for file in files}
        loudest = _LoudestBlock()
        stack.enter_context(warn_if_slow(lambda: rack.played / sample_rate))
        for rendered_seconds, mix, parts in blocks(rack, performance, tail_seconds, sample_rate):
            taking[mix_file].write(mix)
            loudest.hear(mix, rendered_seconds)
            for channel, file in stem_files.items():
                taking[file].write(limit(parts.get(channel, np.zeros_like(mix))))
            if progress is not None:
                progress(min(1.0, rendered_seconds / max(1, performance.length)))
        peak = max((sound.true_peak() for sound in kept_sounds.values()), default=0.0)
        for file, sound in kept_sounds.items():
            for block in sound.blocks(db_to_gain(PEAK_DB) / peak if peak > 0 else 1.0):
                file.write(block)
        for file in files:
            file.finish()
    if say is not None:
        loudest.warn(str(path), sample_rate, say)
    return [path, *names.values()]


def render_samples(
    patches: Mapping[int, Patch],
    performance: Performance,
    *,
    sample_rate: int,
    tail_seconds: float = 30.0,
    omni: bool = False,
    successors: Sequence[Successor] = (),
    length_samples: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Array:
    """Samples, [2, samples], that `render` writes with ``as_float``; arguments as there.

    ``length_samples`` cuts or pads them, with `fade_out`; samples beyond are not computed, and no tail ends earlier.
    ``say`` receives a warning as there.
    """
    if length_samples is not None:  # and what `blocks` fades, beyond it
        tail_seconds = max(0, length_samples - performance.length) / sample_rate + 2 * FADE_SECONDS
    mixes: list[Array] = []
    loudest = _LoudestBlock()
    with _rack(patches, sample_rate, 1, omni, successors) as rack, warn_if_slow(lambda: rack.played / sample_rate):
        for done_samples, mix, _ in blocks(rack, performance, tail_seconds, sample_rate):
            mixes.append(mix)
            loudest.hear(mix, done_samples)
            if length_samples is not None and done_samples >= length_samples:
                break
    if say is not None:
        loudest.warn("the sound", sample_rate, say)
    samples: Array = np.concatenate([np.zeros((2, 0), np.float32), *mixes], axis=1)
    if length_samples is None:
        return samples
    fitted_samples = np.zeros((2, length_samples), np.float32)
    fitted_samples[:, : samples.shape[1]] = samples[:, :length_samples]
    fade_out(fitted_samples, sample_rate)
    return fitted_samples


def fade_out(samples: Array, sample_rate: int) -> None:
    """Fade the end of [channels, n] to 0 on a line of `FADE_SECONDS`, in place."""
    fade_samples = min(round(FADE_SECONDS * sample_rate), samples.shape[1])
    samples[:, samples.shape[1] - fade_samples :] *= np.linspace(1, 0, fade_samples, dtype=np.float32)


@contextlib.contextmanager
def _rack(
    patches: Mapping[int, Patch], sample_rate: int, processes: int, omni: bool, successors: Sequence[Successor]
) -> Iterator[Rack | Succession]:
    # A live performance contains the latency of each preset; the presets of a file share the longest.
    by_channel = (patches, *(successor.patches for successor in successors)) if successors and not omni else ()
    distinct_patches = {id(patch): patch for each in by_channel for patch in each.values()}
    latency = max((latency_of(patch, sample_rate) for patch in distinct_patches.values()), default=0)
    first = Rack(patches, sample_rate, processes, omni, latency=latency)
    make = functools.partial(Rack, sample_rate=sample_rate, omni=omni, latency=latency)
    rack = Succession(first, successors, sample_rate, make, live=omni) if successors else first
    with contextlib.closing(rack):
        yield rack


class _LoudestBlock:
    """The block of which the limiter bends the most samples."""

    def __init__(self) -> None:
        self._bent_share, self._start_samples = 0.0, 0

    def hear(self, mix: Array, end_samples: int) -> None:
        if (bent_share := limited(mix)) > self._bent_share:
            self._bent_share, self._start_samples = bent_share, end_samples - mix.shape[1]

    def warn(self, name: str, sample_rate: int, say: Callable[[str], None]) -> None:
        """Warn of the sound ``name`` if the limiter works hard."""
        if self._bent_share >= TOO_LOUD:
            say(
                f"{name} is too loud: at {clock(self._start_samples / sample_rate)} the limiter bends "
                f"{self._bent_share:.0%} of the samples; lower its presets' gain_db"
            )


def blocks(
    rack: Rack | Succession, performance: Performance, tail_seconds: float, sample_rate: int, size: int = BLOCK
) -> Iterator[tuple[int, Array, dict[int, Array]]]:
    """Yield (samples done, mix, channels), without the rack's latency.

    The tail ends when no voice sounds and no echo can follow, at most after ``tail_seconds``, where it fades out in
    `FADE_SECONDS`; silence at its end is dropped.
    """
    events = performance.events
    latency = rack.latency_samples
    last = performance.length + round(tail_seconds * sample_rate)
    fade_samples = min(round(FADE_SECONDS * sample_rate), last - performance.length)
    played, quiet, next_event = 0, 0, 0
    silent_blocks: list[tuple[int, Array, dict[int, Array]]] = []  # silent blocks, dropped unless sound returns
    while played - latency < last:
        due_end = bisect_left(events, played + AHEAD * size, lo=next_event, key=lambda event: event.time)
        rack.schedule(events[next_event:due_end], played + AHEAD * size)
        mix, parts = rack.process([], size)
        next_event, played = due_end, played + size
        if fade_samples and played - latency > last - fade_samples:
            remaining_samples = last - 1 - np.arange(played - size - latency, played - latency)
            gains = np.clip(remaining_samples / fade_samples, 0, 1).astype(np.float32)
            mix, parts = mix * gains, {channel: part * gains for channel, part in parts.items()}
        skip = max(0, latency - (played - size))
        keep = min(size, size - (played - latency - last)) if played - latency > last else size
        if skip < keep:
            light_parts = {channel: _light(part[:, skip:keep]) for channel, part in parts.items()}
            silent_blocks.append((played - latency, _light(mix[:, skip:keep]), light_parts))
        silent = rack.sounding == 0 and float(np.abs(mix).max()) < SILENCE
        quiet = quiet + size if silent else 0
        if not silent or played - latency - size < performance.length:
            yield from silent_blocks
            silent_blocks.clear()
        elif quiet >= (SILENT_SECONDS + rack.pause_seconds) * sample_rate:
            return


def _light(sound: Array) -> Array:
    """Minutes of silence may be held."""
    return sound if sound.any() else np.broadcast_to(np.float32(0), sound.shape)


@dataclass(frozen=True)
class Arrangement:
    """``patches``: at the start, by channel, 0 to 15. ``successors``: in order of time."""

    performance: Performance
    patches: Mapping[int, Patch]
    successors: Sequence[Successor] = ()
    warnings: tuple[str, ...] = ()


def arrange(
    performance: Performance,
    preset: Patch,
    source: str,
    sample_rate: int,
    channels: Mapping[int, str | None] | None = None,
    programs: Sequence[str] = (),
) -> Arrangement:
    """Choose the presets of channels; restore those of a recording by timbrel.

    Args:
        preset: plays all channels without their own.
        source: names the performance in warnings.
        sample_rate: of the output, in Hz.
        channels: names of other presets by channel; None mutes one.
        programs: presets that program changes select, program 1 first.

    Raises:
        UserError: as `open_patch`, or the recording's notes are broken.
    """

    def opened(name: str) -> Patch:
        patch = open_patch(name)
        Rack({0: patch}, sample_rate).close()  # raises if its effects cannot be used
        return patch

    preset_names = channels or {}
    performance = performance.without_channels({number for number, name in preset_names.items() if name is None})
    notes = read_notes(performance.notes, source)
    default = notes.fitting.fit(preset)
    channel_patches = {
        number: notes.fitting.fit(open_patch(name)) for number, name in preset_names.items() if name is not None
    }
    by_channel = {number: channel_patches.get(number, default) for number in performance.channels}
    warnings = [
        *performance.warnings,
        *remarks(
            performance,
            default.name,
            channel_patches,
            bool(default.preset.keys),
            bool(programs),
            default.preset.mpe.enabled,
        ),
    ]
    if performance.recorded:
        warnings += [f"{source}: {line}" for line in edits(notes, default, channel_patches)]
        if programs:
            warnings.append(f"{source} holds the presets that its program changes chose; --set is passed over")
        preset_names_by_channel = {number + 1: patch.name for number, patch in channel_patches.items()}
        warnings += [f"{source}: {line}" for line in differences(notes.fitting, preset_names_by_channel)]
    warnings += [warning for patch in (default, *channel_patches.values()) for warning in patch.warnings]
    later_patches: list[Successor] = []
    if performance.recorded:  # one preset played all channels without their own
        by_channel = as_played(default, channel_patches)
        later_patches = successors(default, channel_patches, notes, lambda line: warnings.append(f"{source}: {line}"))
    elif programs:
        warn = warnings.append
        by_channel, later_patches = programmed(
            by_channel, performance.events, programs, lambda line: warn(f"{source}: {line}"), opened
        )
    warnings += [f"{source}: {line}" for line in _silent_notes(by_channel, later_patches, performance)]
    return Arrangement(performance, by_channel, later_patches, tuple(warnings))
