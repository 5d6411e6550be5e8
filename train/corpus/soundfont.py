"""Renders corpora of notes or drum hits from soundfonts with FluidSynth."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from ...host.errors import UserError
from .fluidsynth import DRUM_CHANNEL, MELODIC, PERCUSSION, check_rate, fluidsynth, play_notes, programs_of
from .general_midi_programs import DRUM_CLASSES, PROGRAM_NAMES, drum_class
from .pitch import Samples, labelled_track, pitch_track, silence_level
from .report import CorpusReport, Progress, no_progress
from .split import assign, parse_fractions
from .store import Writer, writing

Append = Callable[[Writer, Samples, int, int, int], None]  # writer, samples, program, note, velocity

_LONGEST_SECONDS = 60.0
_KNOWN_SECONDS = 0.5  # of a hit, for the fingerprint that finds repeats
_SAME = 0.9995  # cosine of magnitudes: a repeated hit has 0.9999, FluidR3's other kicks 0.9994 and less


def parse_numbers(text: str) -> list[int]:
    """Parse MIDI numbers such as ``"0-79,90"``, each once, ascending.

    Raises:
        UserError: another syntax, or a number outside 0 to 127.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part, re.ASCII)
        if match is None:
            raise UserError(f"{text!r} is no list of MIDI numbers: {part!r}; write numbers and ranges, like 0-79,90")
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise UserError(f"range {part.strip()!r} runs backwards; write {high}-{low}")
        _check_numbers("MIDI number", [low, high])
        numbers.update(range(low, high + 1))
    return sorted(numbers)


def render_soundfont(
    soundfont: Path,
    destination: Path,
    *,
    programs: Sequence[int],
    notes: Sequence[int],
    velocities: Sequence[int] = (100,),
    kits: bool = False,
    seconds: float = 1.0,
    rate: int = 44100,
    split: str = "0.85/0.07/0.08",
    seed: int = 0,
    name: str | None = None,
    licence: str | None = None,
    progress: Progress | None = None,
) -> CorpusReport:
    """Render combinations of program, note and velocity as labelled clips of a new corpus.

    Labels are the program's name and the key, or a hit's `drum_class`. Hits that differ from earlier ones of their key
    only in level are left out. Other arguments are as in `build`.

    Args:
        programs: of bank 0, 0 to 127; with ``kits`` drum kits of bank 128.
        notes: 0 to 127; for kits 35 to 81.
        velocities: 1 to 127.
        seconds: 0.1 to 60, held throughout; the last 20 ms fade out.
        rate: 8000 to 96000 Hz.
        split: fractions by program, or by note of one program; for kits by hit, with all velocities.

    Raises:
        UserError: a value, the soundfont or the destination is unusable, nothing sounds, or FluidSynth is missing.
        Failure: FluidSynth fails, or the disk is full.
    """
    fractions, say = parse_fractions(split), progress or no_progress
    _check(programs, notes, velocities, seconds, rate, kits)
    at_hand, player = programs_of(soundfont, PERCUSSION if kits else MELODIC), fluidsynth()
    programs, pairs = sorted(set(programs)), list(product(sorted(set(notes)), sorted(set(velocities))))
    with writing(destination, rate) as writer:
        append = _appending_hits() if kits else _appending_notes(by_note=len(programs) == 1)
        channel = DRUM_CHANNEL if kits else 0
        for done, program in enumerate(programs):
            say(done / len(programs), f"kit {program}" if kits else f"{program} {PROGRAM_NAMES[program]}")
            if program in at_hand:
                for (note, velocity), samples in play_notes(player, soundfont, channel, program, pairs, seconds, rate):
                    append(writer, samples, program, note, velocity)
            else:
                writer.report.unreadable[f"{'kit' if kits else 'program'} {program:03d}"] = "not in this soundfont"
        _check_sounds(writer, soundfont)
        writer.report.labels = dict(sorted(Counter(clip.label for clip in writer.clips).items())) if kits else {}
        splits = assign({clip.name: clip.group for clip in writer.clips}, fractions, seed)
        report = writer.finish(splits, name=name or destination.resolve().name, licence=licence)
    say(1.0, "done")
    return report


def _check_sounds(writer: Writer, soundfont: Path) -> None:
    if not writer.clips:
        raise UserError(
            f"nothing sounds in {soundfont} with these programs and notes ({writer.report.left_out_line()}); try others"
        )


def _check(
    programs: Sequence[int], notes: Sequence[int], velocities: Sequence[int], seconds: float, rate: int, kits: bool
) -> None:
    _check_numbers("kit" if kits else "program", programs)
    _check_numbers("note", notes)
    if kits and (strange := sorted(set(notes) - set(DRUM_CLASSES))):
        raise UserError(
            f"note {strange[0]} is no drum of General MIDI; {min(DRUM_CLASSES)} to {max(DRUM_CLASSES)} are allowed "
            "with kits"
        )
    _check_numbers("velocity", velocities, lowest=1)
    if not 0.1 <= seconds <= _LONGEST_SECONDS:
        raise UserError(f"a clip of {seconds:g} s cannot be rendered; 0.1 to {_LONGEST_SECONDS:g} s are allowed")
    check_rate(rate)


def _appending_notes(*, by_note: bool) -> Append:
    def append(writer: Writer, samples: Samples, program: int, note: int, velocity: int) -> None:
        name = f"{program:03d}/{note:03d}_{velocity:03d}"
        if _silent(samples):
            writer.report.silent.append(name)
            return
        writer.append(
            samples,
            labelled_track(samples, writer.rate, note),
            name=name,
            group=f"note {note:03d}" if by_note else f"program {program:03d}",
            label=PROGRAM_NAMES[program],
            key=note,
            program=program,
            velocity=velocity,
        )

    return append


def _appending_hits() -> Append:
    known: dict[int, list[Samples]] = {}

    def append(writer: Writer, samples: Samples, program: int, note: int, velocity: int) -> None:
        name = f"kit {program:03d}/{note:03d}_{velocity:03d}"
        if _silent(samples):
            writer.report.silent.append(name)
            return
        heard = _known_by(samples, writer.rate)
        before = known.setdefault(note, [])
        if any(float(heard @ other) > _SAME for other in before):
            writer.report.repeated.append(name)
            return
        before.append(heard)
        writer.append(
            samples,
            pitch_track(samples, writer.rate),
            name=name,
            group=f"kit {program:03d} note {note:03d}",
            label=drum_class(program, note),
            key=note,
            program=program,
            velocity=velocity,
        )

    return append


def _known_by(samples: Samples, rate: int) -> Samples:
    """Magnitudes of energy 1: notes begin anywhere in FluidSynth's blocks."""
    count = round(_KNOWN_SECONDS * rate)
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(count) / count)
    beginning = samples[:count]
    magnitudes = np.abs(np.fft.rfft(beginning * fade[: len(beginning)], count)).astype(np.float32)
    return np.asarray(magnitudes / np.linalg.norm(magnitudes))


def _silent(samples: Samples) -> bool:
    return float(np.abs(samples).max()) <= silence_level(0.0)


def _check_numbers(what: str, numbers: Sequence[int], lowest: int = 0) -> None:
    if not numbers:
        raise UserError(f"no {what} is given; give at least one from {lowest} to 127")
    for number in numbers:
        if not lowest <= number <= 127:
            raise UserError(f"{what} {number} is out of range; {lowest} to 127 are allowed")
