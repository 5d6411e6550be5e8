"""Finds the sounds of a corpus: files, WebDataset's shards, tables, and folders of these."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...host.errors import UserError
from .columns import Columns
from .file_names import as_text
from .sound_files import Named, named_sounds, unique_names
from .stored_sounds import StoredSound
from .tables import table_sounds
from .tar_shards import shard_sounds

CONTAINERS = {".tar": shard_sounds, ".parquet": table_sounds, ".arrow": table_sounds}  # by suffix
PACKED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class FoundSounds:
    """Sounds by name, files first, and the licences that data sets state."""

    by_name: Mapping[str, StoredSound]
    licences: Sequence[str]

    @property
    def licence(self) -> str | None:
        return "; ".join(self.licences) or None

    @property
    def are_labelled(self) -> bool:
        return any(sound.labels is not None and sound.labels.label for sound in self.by_name.values())


def find_stored(sources: Sequence[Path], columns: Columns) -> FoundSounds:
    """Find sounds by name: the path within their source; of shards and tables below the name of their file.

    The shards and tables of a folder count if it holds no sound files. No sound is read.

    Raises:
        UserError: a source does not exist, a shard or a table cannot be used, or there are no sounds.
    """
    containers, plain_sources = dict[Path, tuple[Path, Path]](), list[Path]()
    for source in sources:
        inner_containers = _containers_of(source)
        if not inner_containers or (source.is_dir() and named_sounds([source])):
            plain_sources.append(source)
            continue
        for container in inner_containers:
            containers.setdefault(container.resolve(), (source.parent if source.is_file() else source, container))
    if columns.names_by_role and not containers:
        raise UserError("--column names columns of tables and shards, of which there are none; leave it out")
    entries = [Named(entry.root, entry.name, StoredSound(entry.item)) for entry in named_sounds(plain_sources)]
    licences = set[str]()
    for root, container in containers.values():
        for entry, licence in _sounds_of(root, container, columns):
            entries.append(entry)
            licences.add(licence)
    if not entries:
        raise _no_sounds(sources, columns)
    sounds = unique_names(entries)
    files = sorted(name for name, sound in sounds.items() if sound.container is None)
    contained = (name for name, sound in sounds.items() if sound.container is not None)  # in their own order
    return FoundSounds({name: sounds[name] for name in (*files, *contained)}, sorted(licences - {""}))


def _no_sounds(sources: Sequence[Path], columns: Columns) -> UserError:
    """Return the error for sources without sounds; it names a wrong column, and packed shards of a folder."""
    source_names, audio = ", ".join(map(str, sources)), columns.names_by_role.get("audio")
    if audio:
        return UserError(f"no sounds named .{audio} in {source_names}; name others with --column audio=NAME")
    for path in (path for source in sources if source.is_dir() for path in source.rglob("*")):
        if path.name.lower().endswith(PACKED_TARS):
            return _packed(path)
    return UserError(
        f"no sounds in {source_names}; give files or folders of wav, flac, ogg, mp3, aiff or the like, "
        f"shards (.tar) or tables ({', '.join(sorted(CONTAINERS.keys() - {'.tar'}))})"
    )


def _packed(path: Path) -> UserError:
    return UserError(f"{path} is compressed; unpack it to a plain tar file, or to a folder")


def _containers_of(source: Path) -> list[Path]:
    """Return a shard or a table itself, and those in a folder, without hidden ones; raise UserError for packed ones."""
    if not source.is_file():
        return sorted(
            path
            for path in source.rglob("*")
            if path.suffix.lower() in CONTAINERS
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(source).parts)
        )
    if source.name.lower().endswith(PACKED_TARS):
        raise _packed(source)
    return [source] if source.suffix.lower() in CONTAINERS else []


def _sounds_of(root: Path, container: Path, columns: Columns) -> Iterator[tuple[Named[StoredSound], str]]:
    """Yield the sounds of a shard or a table, with their licences."""
    prefix = as_text(container.relative_to(root).with_suffix("").as_posix())
    for name, sound, licence in CONTAINERS[container.suffix.lower()](container, columns):
        yield Named(root, f"{prefix}/{name}", sound), licence
