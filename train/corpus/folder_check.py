"""Checks before training whether sounds suffice for an instrument, without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...host.errors import UserError
from ...host.units import note_name
from .pitch import Samples, is_silent, pitch_track, single_note
from .report import CorpusReport, duration, unusable
from .sound_files import Copies, SoundFile, Unreadable, samples_digest, some_sounds
from .unsuited_notes import changes_colour

SHORTEST_SECONDS = 0.02  # of a whole recording: shorter is a click
LISTENED_SECONDS = 60.0  # of a file: enough to detect a single note
TEXTURE_SECONDS = 3.0  # a shorter single sound has too few grains for a texture
HIT_SECONDS = 2.0  # a single sound up to this long is a hit or a word, and no kit


def surveyed(sources: Sequence[Path], *, alone: bool = False) -> str:
    """Summarize the number, duration, rates and channels of sounds.

    ``sources`` are files, and folders to search. ``alone`` accepts a single note, hit or word.

    Raises:
        UserError: a source is missing; all sounds are unreadable, silent or shorter than 0.02 s, or the same note, hit
            or word.
    """
    found, report, headers = some_sounds(sources), CorpusReport(), {}
    for name, path in found.items():
        try:
            sound = SoundFile(path)
            sound.close()
        except Unreadable as error:
            report.unreadable[name] = str(error)
            continue
        if 0 < sound.seconds < SHORTEST_SECONDS:  # some containers state 0 for any length
            report.too_short.append(name)
        else:
            headers[name] = sound
    different = _different({name: found[name] for name in headers}, report)
    if not different:
        raise unusable(report, sources, f"{SHORTEST_SECONDS:g} s")
    if len(different) == 1 and not alone:
        _check_alone(*different[0], bool(report.identical))
    return _text(list(headers.values()))


def _different(sounds: Mapping[str, Path], report: CorpusReport) -> list[tuple[str, Samples, int]]:
    copies, kept = Copies(), []
    for name, path in sounds.items():
        try:
            sound = SoundFile(path)
            samples = sound.beginning(sound.rate, LISTENED_SECONDS)
        except Unreadable as error:
            report.unreadable[name] = str(error)
            continue
        if is_silent(samples):
            report.silent.append(name)
        elif first := copies.earlier(name, samples_digest(samples)):
            report.identical[name] = first
        else:
            kept.append((name, samples, sound.rate))
        if len(kept) == 2:
            break
    return kept


def _check_alone(name: str, samples: Samples, rate: int, copies: bool) -> None:
    seconds, note = len(samples) / rate, single_note(pitch_track(samples, rate))
    alone = f"{name} is the only sound" + (" (copies count once)" if copies else "")
    if note is not None and seconds >= TEXTURE_SECONDS and changes_colour(samples, rate):
        raise UserError(
            f"{alone}, and one note that changes colour: {note_name(round(note))}, {duration(seconds)}; give --family "
            "grain, whose knobs walk through its colours, or add such notes of two other keys at least"
        )
    if note is not None:
        texture = ", or give --family grain for a texture of this sound" if seconds >= TEXTURE_SECONDS else ""
        raise UserError(
            f"{alone}, and one note: {note_name(round(note))}, {duration(seconds)}; add notes of two other keys at "
            f"least, a dozen is better{texture}"
        )
    if seconds <= HIT_SECONDS:
        raise UserError(
            f"{alone}, {duration(seconds)} long; a kit needs two hits or words at least, ten are better: "
            "add more, or longer recordings"
        )


def _text(sounds: Sequence[SoundFile]) -> str:
    seconds = sum(sound.seconds for sound in sounds)
    rates = " and ".join(f"{rate} Hz" for rate in sorted({sound.rate for sound in sounds}))
    mixed = ", mixed to mono" if any(sound.channels > 1 for sound in sounds) else ""
    plural = "" if len(sounds) == 1 else "s"
    return f"{len(sounds)} sound{plural}, {duration(seconds)}, {rates}{mixed}"
