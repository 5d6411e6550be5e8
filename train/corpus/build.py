"""Builds a corpus from sound files."""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...host.errors import UserError
from .file_names import ANOTHER, Names, misnamed, velocities
from .inharmonicity import by_partials
from .loops import append_loops
from .named_pitches import take_named_pitches
from .note_segmentation import NoteSegment, is_melody, segment_notes
from .octave_correction import settle_octaves
from .pitch import Samples, labelled_track, pitch_track, single_note
from .report import CorpusReport, Progress, no_progress, unusable
from .sfz import SfzSample, SfzSamples, sfz_samples
from .sound_files import SHORTEST, Copies, FloatFile, SoundFile, Unreadable, digests, some_sounds, trimmed
from .split import assign, listed_splits, parse_fractions
from .store import Split, Writer, recording_of, writing

_RATES = (8000, 192000)  # Hz: from telephones to the fastest sound cards
_SHORTEST_SECONDS = (0.005, 10.0)  # from a click; larger corpora can leave longer sounds out


def build(
    sources: Sequence[Path],
    destination: Path,
    *,
    rate: int = 44100,
    split: str = "0.85/0.07/0.08",
    seed: int = 0,
    group: str | None = None,
    label: str | None = None,
    shortest_seconds: float | None = None,
    name: str | None = None,
    licence: str | None = None,
    loops: bool = False,
    melodies: bool = False,
    progress: Progress | None = None,
) -> CorpusReport:
    """Build a corpus: decode, mix to mono, resample, trim, label with pitch and store every sound.

    Dynamic marks in file names set velocities. An ``.sfz`` in a folder tells the keys, velocities and named groups of
    its samples, and releases are left out. Of sounds with equal samples, the first name counts.

    Args:
        sources: sound files, and folders to search.
        rate: 8000 to 192000 Hz.
        split: fractions of train/val/test, or a .json file that lists names under each and excludes all others.
        group: a regular expression; clips with the same match in their names stay in one split.
        label: ``"folder"`` for the folder's name, or a regular expression.
        shortest_seconds: 0.005 to 10; None for 4096 samples.
        name: None for the folder's.
        licence: of the sounds, for model cards.
        loops: fit sounds to one grid (`append_loops`), and exclude those without a beat instead of short ones.
        melodies: cut melodies into notes, one clip each; other sounds stay whole.

    Raises:
        UserError: a value, a source, the split file or the destination (not empty) is unusable, or every sound.
        Failure: the disk is full.
    """
    _check_rate(rate)
    names, shortest = Names(group, label), _shortest(shortest_seconds, rate)
    say = progress or no_progress
    fractions = None if split.endswith(".json") else parse_fractions(split)
    sampled = sfz_samples(sources)
    found = {name: path for name, path in some_sounds(sources).items() if not sampled.is_release(path)}
    if not found:
        raise UserError(f"all sounds of {', '.join(map(str, sources))} are releases; give the sounds of notes too")
    listed = {} if fractions else listed_splits(Path(split), found)
    with writing(destination, rate) as writer:
        wanted = {name: path for name, path in found.items() if fractions or name in listed}
        writer.report.left_out = len(found) - len(wanted)
        append_sounds = functools.partial(
            _append_all, shortest=shortest, room=destination.parent, melodies=melodies, sampled=sampled
        )
        append = append_loops if loops else append_sounds
        grid = append(writer, wanted, names, say)
        if not writer.clips:
            raise unusable(writer.report, sources, "a beat" if loops else f"{shortest} samples at {rate} Hz")
        if not loops:
            settle_octaves(writer)
            take_named_pitches(writer)
        writer.report.labels = names.counted(writer.clips)
        groups = {clip.name: clip.group for clip in writer.clips}
        of_clips = {clip.name: listed[recording_of(clip)] for clip in writer.clips} if listed else {}
        splits = assign(groups, fractions, seed) if fractions else of_clips
        _check_trained(writer, splits, split)
        name = name or destination.resolve().name
        report = writer.finish(splits, name=name, licence=licence, files=digests(wanted), loops=grid)
    say(1.0, "done")
    return report


def _append_all(
    writer: Writer,
    sounds: Mapping[str, Path],
    names: Names,
    progress: Progress,
    *,
    shortest: int,
    room: Path,
    melodies: bool,
    sampled: SfzSamples,
) -> None:
    sizes = {name: path.stat().st_size for name, path in sounds.items()}
    played = velocities(sounds)
    copies = Copies()
    done, total = 0, max(sum(sizes.values()), 1)
    with tempfile.TemporaryFile(dir=room) as scratch:
        for name, path in sounds.items():
            progress(done / total, name)
            told = sampled.of(path) or SfzSample(None, None, "")
            _append(
                writer,
                path,
                name,
                names,
                replace(told, velocity=told.velocity or played.get(name)),
                shortest,
                scratch,
                copies,
                melodies,
            )
            done += sizes[name]


def _append(
    writer: Writer,
    path: Path,
    name: str,
    names: Names,
    told: SfzSample,
    shortest: int,
    scratch: BinaryIO,
    copies: Copies,
    melodies: bool,
) -> None:
    report = writer.report
    try:
        sound = SoundFile(path)
        samples = FloatFile.filled(scratch, sound.mono(writer.rate))
    except Unreadable as error:
        report.unreadable[name] = str(error)
        return
    if len(samples) < shortest:
        report.too_short.append(name)
    elif (kept := trimmed(samples, writer.rate, shortest)) is None:
        report.silent.append(name)
    elif first := copies.earlier(name, samples):
        report.identical[name] = first
    else:
        track = by_partials(kept, writer.rate, pitch_track(kept, writer.rate))
        report.rates[sound.rate] = report.rates.get(sound.rate, 0) + 1
        if sound.clipped:
            report.clipped.append(name)
        cut = segment_notes(kept, writer.rate) if melodies and is_melody(kept, track, writer.rate) else []
        if notes := [note for note in cut if note.stop - note.start >= shortest]:
            _append_notes(writer, kept, notes, name, names, path)
            return
        if told.key is not None:
            track = _at_key(track, kept, writer.rate, told.key)
        label, velocity = names.label(path) or told.label, told.velocity
        writer.append(kept, track, name=name, group=names.group(name), label=label, key=told.key, velocity=velocity)
        if velocity is not None:
            report.velocities[velocity] = report.velocities.get(velocity, 0) + 1
        if heard := misnamed(name, single_note(track)):
            report.misnamed[name] = heard


def _at_key(track: Samples, sound: FloatFile, rate: int, key: int) -> Samples:
    """Return the measured pitches in the octave of a sampler's key; the key itself where another note is measured."""
    heard = single_note(track)
    octaves = 0 if heard is None else round((key - heard) / 12)
    if heard is None or abs(heard + 12 * octaves - key) >= ANOTHER:
        return labelled_track(sound, rate, key)
    return (track + np.float32(12 * octaves)).astype(np.float32)


def _append_notes(
    writer: Writer, sound: FloatFile, notes: Sequence[NoteSegment], name: str, names: Names, path: Path
) -> None:
    """Append a melody's notes, without velocities: a mark in its name is not each note's."""
    for number, note in enumerate(notes, 1):
        part, own = sound.stretch(note.start, note.stop), f"{name}#{number:0{len(str(len(notes)))}}"
        writer.append(
            part,
            by_partials(part, writer.rate, pitch_track(part, writer.rate)),
            name=own,
            group=names.group(own),
            label=names.label(path),
            onset_seconds=note.start / writer.rate,
            slurred=note.slurred,
        )
    writer.report.melodies[name] = len(notes)


def _check_rate(rate: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise UserError(f"rate {rate} Hz is out of range; {_RATES[0]} to {_RATES[1]} Hz are allowed")


def _check_trained(writer: Writer, splits: Mapping[str, Split], split: str) -> None:
    if not any(splits[clip.name] == "train" for clip in writer.clips):
        raise UserError(f"nothing under train in {split} can be used ({writer.report.left_out_line()}); list others")


def _shortest(seconds: float | None, rate: int) -> int:
    if seconds is None:
        return SHORTEST
    low, high = _SHORTEST_SECONDS
    if not low <= seconds <= high:
        raise UserError(f"shortest {seconds:g} s is out of range; {low:g} to {high:g} s are allowed")
    return round(seconds * rate)
