"""Builds a corpus from sound files, or adds sounds to one; assigns splits, and holds sounds out of a trial."""

import contextlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import BaseModel, ValidationError

from ...host.arguments import whole_number
from ...host.errors import Failure, UserError
from ...host.files import check_new_folder, claimed
from ...host.workers import task_runner
from .chunks import Chunk, ReadingSettings, ReadSound, SoundToRead, chunks_of, known_chunk, read_chunk
from .clip_table import (
    CONTINUE_HINT,
    FLOAT,
    MANIFEST,
    NO_DIGEST,
    SPLITS,
    Clip,
    SourceFile,
    Split,
    recording_of,
    remove_other_sounds,
)
from .columns import Columns
from .file_names import Names, velocities
from .loops import append_loops
from .named_pitches import settle_octaves, take_named_pitches, take_pitches_near_names
from .pitch import frame_count, single_note
from .remote import FETCH_FOLDER, Address, fetch_sources, naming_addresses
from .report import CorpusReport, Progress, Unusable, no_progress, unusable
from .sfz import SfzSamples, sfz_samples
from .sound_files import SHORTEST, Copies, Unreadable
from .sources import FoundSounds, find_stored
from .store import READING, Corpus, Writer, shard_name, writing
from .stored_sounds import SoundLabels, StoredSound


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Parse fractions of train, val and test from ``"0.85/0.07/0.08"``.

    Raises:
        UserError: they are not three numbers of sum 1, or none is for train.
    """
    try:
        train, val, test = (float(part) for part in text.split("/"))
    except ValueError:
        train = val = test = float("nan")
    if not (train > 0 and val >= 0 and test >= 0 and abs(train + val + test - 1) < 0.015):  # 0.33/0.33/0.33 will do
        raise UserError(
            f"split {text!r} is not three fractions for train/val/test that sum to 1, with some for train; "
            "for example 0.85/0.07/0.08"
        )
    return train, val, test


def assign(
    groups: Mapping[str, str], fractions: Sequence[float], seed: int, base_clips: Sequence[Clip] = ()
) -> dict[str, Split]:
    """Return splits by clip name; ``groups``, by clip name, stay whole.

    The first shuffled group goes to train, each further one to the split furthest below its share. ``base_clips``
    count, and attract new ones of their groups.
    """
    group_sizes = Counter(groups.values())
    group_order = sorted(group_sizes)
    random.Random(seed).shuffle(group_order)
    missing_counts = [fraction * (len(groups) + len(base_clips)) for fraction in fractions]
    split_by_group: dict[str, Split] = {}
    for clip in base_clips:
        split_by_group[clip.group] = clip.split
        missing_counts[SPLITS.index(clip.split)] -= 1
    for group in group_order:
        if group in split_by_group:
            missing_counts[SPLITS.index(split_by_group[group])] -= group_sizes[group]
            continue
        split_index = missing_counts.index(max(missing_counts)) if split_by_group else 0
        split_by_group[group] = SPLITS[split_index]
        missing_counts[split_index] -= group_sizes[group]
    return {name: split_by_group[group] for name, group in groups.items()}


class _SplitFile(BaseModel):
    train: list[str]
    val: list[str] = []
    test: list[str] = []


def listed_splits(path: Path, names: Collection[str], other_names: Iterable[str] = ()) -> dict[str, Split]:
    """Read splits of sounds from a JSON file of names, with or without folders, under train, val or test.

    Raises:
        UserError: it is missing or invalid, repeats a name, or has one that is of none of the sounds or the other ones.
    """
    if not path.is_file():
        raise UserError(f"split file {path} does not exist; give a JSON file, or fractions such as 0.85/0.07/0.08")
    try:
        split_file = _SplitFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"split file {path} is not JSON with lists of names under train, val and test") from error
    splits: dict[str, Split] = {}
    for split in SPLITS:
        for name in getattr(split_file, split):
            if splits.setdefault(name, split) != split:
                raise UserError(f"split file {path} lists {name!r} under {splits[name]} and {split}; list it once")
    known_names = {known for name in (*names, *other_names) for known in (name, PurePosixPath(name).name)}
    if unknown_names := [name for name in splits if name not in known_names]:
        more_text = f" and {len(unknown_names) - 3} more" if len(unknown_names) > 3 else ""
        raise UserError(
            f"split file {path} lists names that no sound has ({', '.join(map(repr, unknown_names[:3]))}{more_text}); "
            "correct or remove them"
        )
    name_splits = ((name, splits.get(name) or splits.get(PurePosixPath(name).name)) for name in names)
    return {name: split for name, split in name_splits if split}


_RATES = (6000, 192000)  # Hz: from the least of speech to the fastest sound cards
_SHORTEST_SECONDS = (0.005, 10.0)  # from a click; larger corpora can leave longer sounds out


def build(
    sources: Sequence[Path | Address],
    destination: Path,
    *,
    rate: int | None = None,
    split: str = "0.85/0.07/0.08",
    seed: int = 0,
    group: str | None = None,
    label: str | None = None,
    shortest_seconds: float | None = None,
    name: str | None = None,
    licence: str | None = None,
    loops: bool = False,
    melodies: bool = False,
    append: bool = False,
    columns: Mapping[str, str] | None = None,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress = no_progress,
) -> CorpusReport:
    """Build a corpus: decode, resample, trim, label with pitch and store every sound, in mono or stereo.

    Levels in file names set velocities; notes in them and root keys in files correct octaves. An ``.sfz`` in a folder
    sets keys, velocities and named groups of its samples, and excludes releases. Of sounds with equal samples, the
    first name counts. A stopped build resumes with the same arguments. Processes do not change the bytes.

    Shards and tables bring labels, keys, dynamics and their licence. Their sounds are read one by one. Files at
    addresses are fetched, and stay in the corpus's folder until it is whole.

    Args:
        sources: sound files, and folders to search; shards, tables and folders of these (`find_stored`); addresses.
        rate: 6000 to 192000 Hz; None for 44100, or that of the corpus that grows.
        split: fractions of train/val/test, or a .json file that lists names under each and excludes others.
        group: a regular expression; clips with the same match in their names share a split.
        label: ``"folder"`` for the folder's name, or a regular expression.
        shortest_seconds: 0.005 to 10; None for 4096 samples.
        name: None for the folder's.
        licence: of the sounds, for model cards; None for that of their data sets.
        loops: fit sounds to one grid (`append_loops`), without sounds that lack a beat instead of short ones; one
            process, which does not resume.
        melodies: cut melodies into notes, one clip each.
        append: add sounds that the corpus ``destination`` lacks. Its clips keep their splits and pitches, and it its
            ``group``.
        columns: names of columns of tables and fields of shards, by role: audio, label, key, velocity, licence.
        workers: processes.
        ray: the address of a Ray cluster whose machines see the same folders, in place of ``workers``.

    Raises:
        UserError: a value, source, split file or nonempty destination is unusable, or every sound.
        Failure: the disk is full, or a worker died; sounds read so far are kept.
    """
    rate_hz = _rate(rate, destination, append)
    name_patterns, shortest_samples = Names(group, label), _shortest(shortest_seconds, rate_hz)
    fractions = None if split.endswith(".json") else parse_fractions(split)
    chosen_columns = Columns(columns or {})
    if loops and append:
        raise UserError(f"loops of one grid cannot be added to {destination}; build a new corpus of all of them")
    writer_context = writing(destination, rate_hz) if loops else _growing(destination, rate_hz, append)
    with writer_context as writer, _on_this_machine(sources, writer, loops, progress) as local_sources:
        found = find_stored(local_sources, chosen_columns)
        sfz = sfz_samples(local_sources)
        sounds = {name: sound for name, sound in found.by_name.items() if not sfz.is_release(sound.path)}
        if not sounds:
            raise UserError(f"all sounds of {', '.join(map(str, sources))} are releases; give the sounds of notes too")
        name_patterns.check_group(sounds)
        base_names = writer.base.files if writer.base else ()
        split_by_name = {} if fractions else listed_splits(Path(split), sounds, (*found.by_name, *base_names))
        chosen_sounds = {name: sound for name, sound in sounds.items() if fractions or name in split_by_name}
        if fractions is None and not append and "train" not in split_by_name.values():
            reason = CorpusReport(left_out=len(sounds) - len(chosen_sounds)).left_out_line() or "none is listed"
            raise UserError(f"nothing under train in {split} can be used ({reason}); list others")
        name = _option_or_base("name", name, writer) or destination.resolve().name
        licence = _licence(licence, found, writer)
        group = _option_or_base("group", group, writer)
        base_clips = writer.base.clips() if writer.base else ()
        if writer.base is None:
            writer.report.left_out = len(sounds) - len(chosen_sounds)
        else:
            _check_fits(writer.base, label is not None or found.are_labelled)
            chosen_sounds = _new_sounds(chosen_sounds, writer.base)
        if loops:
            grid = append_loops(writer, chosen_sounds, name_patterns, progress)
            files = [SourceFile(name, _digest(sound) or NO_DIGEST.hex()) for name, sound in chosen_sounds.items()]
        else:
            settings = ReadingSettings(rate_hz, shortest_samples, melodies, group, label)
            grid, root_key_by_name = None, dict[str, int]()
            files = _read(writer, chosen_sounds, sfz, settings, root_key_by_name, workers, ray, progress)
        if not writer.clips and writer.base is not None:
            raise Unusable(
                f"{destination} grows by none of these sounds: they are copies of its own, or cannot be used"
            )
        if not writer.clips:
            raise unusable(writer.report, sources, "a beat" if loops else f"{shortest_samples} samples at {rate_hz} Hz")
        if not loops:
            take_named_pitches(writer, root_key_by_name)
            settle_octaves(writer, root_key_by_name)
            take_pitches_near_names(writer, root_key_by_name)
        _count_labels(writer, name_patterns, found)
        splits = (
            assign({clip.name: clip.group for clip in writer.clips}, fractions, seed, base_clips)
            if fractions
            else {clip.name: split_by_name[recording_of(clip)] for clip in writer.clips}
        )
        _check_trained(writer, splits, split)
        report = writer.finish(splits, name=name, licence=licence, files=files, loops=grid, group=group)
    progress(1.0, "done")
    return report


@contextlib.contextmanager
def _on_this_machine(
    sources: Sequence[Path | Address], writer: Writer, loops: bool, progress: Progress
) -> Iterator[list[Path]]:
    """Yield sources as files: what is fetched stays until the corpus is whole, with loops until the end."""
    with contextlib.ExitStack() as stack:
        folder = writer.folder / READING / FETCH_FOLDER
        if loops:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=writer.folder)))
        local_sources = fetch_sources(sources, folder, progress)
        stack.enter_context(naming_addresses(sources, local_sources))
        yield local_sources


@contextlib.contextmanager
def _growing(destination: Path, rate: int, append: bool) -> Iterator[Writer]:
    """Yield a `Writer` that goes on with a stopped build, or adds to a corpus."""
    reading_folder, base_corpus = destination / READING, Corpus.open(destination) if append else None
    if not append and (destination / MANIFEST).exists():
        raise UserError(f"{destination} holds a corpus; add sounds to it with --append, or give another name")
    if not append and not reading_folder.is_dir():
        check_new_folder(destination)
    is_new_folder = not destination.exists()
    try:
        reading_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {destination}: {error.strerror or error}; choose another place") from error
    try:
        with (
            claimed(destination),
            _remove_partial(destination, base_corpus, is_new_folder),
            Writer(destination, rate, base_corpus) as writer,
        ):
            yield writer
            shutil.rmtree(reading_folder, ignore_errors=True)
    except OSError as error:
        raise Failure(
            f"cannot write {destination}: {error.strerror or error}; make room, and {CONTINUE_HINT}"
        ) from error


@contextlib.contextmanager
def _remove_partial(destination: Path, base_corpus: Corpus | None, is_new_folder: bool) -> Iterator[None]:
    """Remove the files of a failed build, unless it can go on."""
    try:
        yield
    except BaseException as error:
        is_fetched = not isinstance(error, UserError) and any((destination / READING / FETCH_FOLDER).rglob("[!.]*.*"))
        if isinstance(error, Unusable) or not (is_fetched or any((destination / READING).glob("*.json"))):
            remove_other_sounds(destination, base_corpus.shards if base_corpus else ())
            shutil.rmtree(destination if is_new_folder else destination / READING, ignore_errors=True)
        raise


def _new_sounds(sounds: Mapping[str, StoredSound], base: Corpus) -> dict[str, StoredSound]:
    """Raise UserError if a known sound changed, or none is new."""
    clip_recordings = {recording_of(clip) for clip in base.clips()}
    known_digests = {
        file.name: file.sha256
        for file in base.source_files()
        if file.decoded != NO_DIGEST or file.name in clip_recordings
    }
    new_sounds = {}
    for name, sound in sounds.items():
        if name not in known_digests:
            new_sounds[name] = sound
        elif _digest(sound) != known_digests[name]:
            raise UserError(
                f"{sound.path} differs from the sound of that name in {base.folder}; rename it, or build a new corpus"
            )
    if not new_sounds:
        raise UserError(f"{base.folder} has all these sounds already; give new ones")
    return new_sounds


def _digest(sound: StoredSound) -> str:
    """Return a sound's SHA-256; "" if it cannot be read."""
    try:
        return sound.digest()
    except Unreadable:
        return ""


def _read(
    writer: Writer,
    sounds: Mapping[str, StoredSound],
    sfz: SfzSamples,
    settings: ReadingSettings,
    root_key_by_name: dict[str, int],
    workers: int,
    ray: str | None,
    progress: Progress,
) -> list[SourceFile]:
    """Read sounds in chunks, and add their clips to the writer; return the source files, and add their root keys."""
    velocity_by_name = velocities([*(writer.base.files if writer.base else ()), *sounds])
    sounds_to_read = {}
    for name, sound in sounds.items():
        labels = sound.labels or sfz.sample(sound.path) or SoundLabels()
        velocity = labels.velocity or velocity_by_name.get(name)
        try:
            sounds_to_read[name] = SoundToRead.from_stored(name, sound, labels, velocity)
        except OSError as error:
            writer.report.unreadable[name] = error.strerror or str(error)
    # A cluster's processes work in folders of their own.
    first_shard, corpus_folder = writer.next_shard, writer.folder.absolute()
    chunks = [
        Chunk(chunk_sounds, settings, corpus_folder / READING, corpus_folder / shard_name(first_shard + chunk_index))
        for chunk_index, chunk_sounds in enumerate(chunks_of(sounds_to_read))
    ]
    _read_chunks(chunks, workers, ray, progress)
    copies, source_files = Copies(), list[SourceFile]()
    for source_file in writer.base.source_files() if writer.base else ():
        if source_file.decoded != NO_DIGEST:
            copies.earlier(source_file.name, source_file.decoded)
    for chunk in chunks:
        source_files += _add_chunk(writer, chunk, copies, root_key_by_name)
    return source_files


def _read_chunks(chunks: Sequence[Chunk], workers: int, ray: str | None, progress: Progress) -> None:
    """Read the chunks that were not read before."""
    unread_chunks = [chunk for chunk in chunks if known_chunk(chunk) is None]
    chunk_sizes = [sum(sound.size for sound in chunk.sounds) + 1 for chunk in unread_chunks]
    total_bytes, read_bytes = max(1, sum(chunk_sizes)), 0
    process_count = min(len(unread_chunks), workers)
    if ray is None and process_count <= 1:
        for chunk, chunk_size in zip(unread_chunks, chunk_sizes, strict=True):
            read_chunk(chunk, _chunk_progress(progress, read_bytes / total_bytes, chunk_size / total_bytes))
            read_bytes += chunk_size
    elif unread_chunks:
        with task_runner(read_chunk, process_count, ray, CONTINUE_HINT) as run_tasks:
            for chunk, chunk_size, _ in zip(unread_chunks, chunk_sizes, run_tasks(unread_chunks), strict=True):
                read_bytes += chunk_size
                progress(read_bytes / total_bytes, chunk.sounds[-1].name)


def _chunk_progress(progress: Progress, start_share: float, chunk_share: float) -> Progress:
    return lambda share, name: progress(start_share + chunk_share * share, name)


def _add_chunk(writer: Writer, chunk: Chunk, copies: Copies, root_key_by_name: dict[str, int]) -> Iterator[SourceFile]:
    """Add the clips of a read chunk to the writer, and root keys to the others; yield its source files."""
    description = known_chunk(chunk)
    if description is None:
        raise Failure(f"files of {chunk.shard.parent} changed while they were read; {CONTINUE_HINT}")
    chunk_pitch = np.fromfile(chunk.pitch, FLOAT)
    shard_index: int | None = None
    for sound in description.sounds:
        if sound.root_key is not None:
            root_key_by_name[sound.name] = sound.root_key
        decoded_digest = bytes.fromhex(sound.decoded) or NO_DIGEST
        yield SourceFile(sound.name, sound.sha256 or NO_DIGEST.hex(), decoded_digest)
        earlier_name = None if decoded_digest == NO_DIGEST else copies.earlier(sound.name, decoded_digest)
        _count(writer.report, sound, earlier_name)
        for clip in () if earlier_name else sound.clips:
            if shard_index is None:
                shard_index = writer.add_shard(chunk.shard.name, description.length, description.sides_length)
            track = chunk_pitch[clip.frame : clip.frame + frame_count(clip.length)]
            writer.add(Clip(shard=shard_index, **clip.model_dump(exclude={"frame"})), track)


def _count(report: CorpusReport, sound: ReadSound, earlier_name: str | None) -> None:
    """Count a sound in the report; ``earlier_name`` is that of equal samples."""
    if sound.fault == "unreadable":
        report.unreadable[sound.name] = sound.detail
    elif sound.fault == "too short":
        report.too_short.append(sound.name)
    elif sound.fault == "silent":
        report.silent.append(sound.name)
    elif earlier_name is not None:
        report.identical[sound.name] = earlier_name
    else:
        report.count_file(sound.name, sound.rate, sound.remarks, sound.clipped)
        if sound.melody:
            report.melodies[sound.name] = len(sound.clips)
        elif (velocity := sound.clips[0].velocity) is not None:
            report.velocities[velocity] = report.velocities.get(velocity, 0) + 1


def _check_fits(base: Corpus, are_labelled: bool) -> None:
    """Raise UserError if a corpus cannot grow with sounds that have labels, or have none."""
    if base.loops is not None:
        raise UserError(f"{base.folder} is of loops on one grid, and grows by none; build a new corpus of all of them")
    if not are_labelled and any(base.report.labels):
        raise UserError(f"the clips of {base.folder} have labels; give --label, as when it was built")


def _option_or_base(option: str, requested: str | None, writer: Writer) -> str | None:
    """Raise UserError if the growing corpus has another value."""
    base_setting: str | None = getattr(writer.base, option, None)
    if requested is not None and base_setting is not None and requested != base_setting:
        raise UserError(
            f"--{option} {requested!r} differs from {base_setting!r}, that of {writer.folder}; leave it out"
        )
    return requested or base_setting


def _licence(requested: str | None, found: FoundSounds, writer: Writer) -> str | None:
    """Return the licence that is asked for, the growing corpus's, or that of the sounds' data sets.

    Raises:
        UserError: the sounds of a growing corpus would have two.
    """
    licence = _option_or_base("licence", requested, writer)
    if requested is not None or writer.base is None:
        return licence or found.licence
    if found.licence not in (None, licence):
        raise UserError(
            f"the new sounds are under {found.licence!r}, those of {writer.folder} under "
            f"{repr(licence) if licence else 'no known licence'}; build a corpus of their own"
        )
    return licence


def _count_labels(writer: Writer, names: Names, found: FoundSounds) -> None:
    """Count the labels that were asked for, or that the sounds bring."""
    new_counts = names.counted(writer.clips)
    if not new_counts and found.are_labelled:
        new_counts = Counter(clip.label for clip in writer.clips)
    label_counts = Counter(writer.report.labels)
    label_counts.update(new_counts)
    writer.report.labels = dict(sorted(label_counts.items()))


def _rate(rate: int | None, destination: Path, append: bool) -> int:
    """Return the rate of the new or growing corpus in Hz; raise UserError for an unusable one."""
    base_rate = Corpus.open(destination).rate if append else None
    if rate is not None:
        whole_number("rate (Hz):", rate, *_RATES)
    if base_rate is not None and rate not in (None, base_rate):
        raise UserError(f"--rate {rate} differs from {base_rate} Hz, that of {destination}; leave it out")
    return base_rate or rate or 44100


def _check_trained(writer: Writer, splits: Mapping[str, Split], split: str) -> None:
    """Raise UserError if a new corpus has no clip under train."""
    if writer.base is None and not any(splits[clip.name] == "train" for clip in writer.clips):
        raise UserError(f"nothing under train in {split} can be used ({writer.report.left_out_line()}); list others")


def _shortest(seconds: float | None, rate: int) -> int:
    """Return the shortest clip in samples; raise UserError for a value out of range."""
    if seconds is None:
        return SHORTEST
    low_seconds, high_seconds = _SHORTEST_SECONDS
    if not low_seconds <= seconds <= high_seconds:
        raise UserError(f"shortest {seconds:g} s is out of range; {low_seconds:g} to {high_seconds:g} s are allowed")
    return round(seconds * rate)


KEY_INTERVAL = 6  # every sixth key is held out
FEWEST_KEYS = 5  # minimum number of keys to spare one


def held_keys(corpus: Corpus) -> list[int]:
    """Return every sixth key, never the lowest or highest; [] for too few."""
    keys = sorted(set(_keys(corpus).values()))
    return keys[KEY_INTERVAL // 2 : -1 : KEY_INTERVAL] if len(keys) >= FEWEST_KEYS else []


def key_splits(corpus: Corpus, keys: list[int]) -> dict[str, Split]:
    """Return splits by clip name, with all notes on ``keys`` under test."""
    key_by_clip = _keys(corpus)
    return {clip.name: "test" if key_by_clip.get(clip.name) in keys else "train" for clip in corpus.clips()}


def clip_splits(corpus: Corpus) -> dict[str, Split]:
    """Return the corpus's own splits by clip name, but each label keeps a clip under train."""
    untaught_labels = {*corpus.clips().labels} - {*corpus.clips("train").labels}
    splits = {}
    for clip in corpus.clips():
        splits[clip.name] = "train" if clip.label in untaught_labels else clip.split
        untaught_labels.discard(clip.label)
    return splits


def _keys(corpus: Corpus) -> dict[str, int]:
    """Return the nearest keys of clips that are single notes, by name."""
    note_by_clip = {clip.name: single_note(corpus.pitch(clip)) for clip in corpus.clips()}
    return {name: int(np.floor(note + 0.5)) for name, note in note_by_clip.items() if note is not None}
