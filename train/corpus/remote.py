"""Fetches sounds, shards and tables from https:// and s3:// into a folder of the corpus that is built.

Addresses are those of the command line alone, and those of https:// to which they lead. User names, passwords, queries
and keys are in no message, name or file: messages show an address without them, and no text of a library's errors.
"""

import base64
import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ...host.errors import Failure, TimbrelError, UserError, how_to_install, printable
from ...host.model.pack import is_name, stays_inside
from .clip_table import CONTINUE_HINT
from .report import Progress
from .sound_files import has_sound_suffix
from .sources import CONTAINERS
from .tables import INFO

FETCH_FOLDER = "fetched"  # a folder in that of the sounds that are read
LARGEST_BYTES = 1 << 36  # of a file: shards have some GiB
MOST_FILES = 100_000  # in a folder of S3
PIECE_BYTES = 1 << 20
SILENT_SECONDS = 30.0  # without a byte
LOOPBACK = "127.0.0.1"
MISTYPED = re.compile(r"\s*(https?|s3):", re.IGNORECASE)  # an address, though its slashes are not two
S3_KEYS = "for keys set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for a public bucket FSSPEC_S3_ANON=true"


@dataclass(frozen=True)
class Address:
    """An address of https:// or s3://, or of http:// on this machine.

    ``location`` and ``public_text`` have no secrets: the libraries log the one, and messages show the other.
    ``login``: user and password with a colon, "" for none.
    """

    scheme: str
    host: str
    path: str
    location: str
    public_text: str
    query: str = field(repr=False)
    login: str = field(repr=False)

    def __str__(self) -> str:
        return self.public_text

    @property
    def folder_name(self) -> str:
        """The last folder of the address, or its host, where it makes a folder's name."""
        return next((name for name in (PurePosixPath(self.path).parent.name, self.host) if is_name(name)), "files")


def source_of(source: str | os.PathLike[str]) -> Path | Address:
    """Return a path, or an address for text with ``://``; raise UserError for one that is not read."""
    text = os.fspath(source)
    return _address(text) if is_address(text) else Path(text)


def is_address(text: str) -> bool:
    """Return whether a text is an address, perhaps mistyped, and no file's name: a message must not show all of it."""
    return "://" in text or (MISTYPED.match(text) is not None and not os.path.lexists(text))


def _address(text: str) -> Address:
    scheme = text.partition(":")[0].lower()
    shown_scheme = scheme if scheme.isascii() and scheme.isalnum() and len(scheme) < 16 else "…"
    refusal = UserError(
        f"{shown_scheme}://… is no address that can be read; give a file at https://HOST/PATH or s3://BUCKET/PATH, "
        f"or at http://{LOOPBACK}"
    )
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        assert parts.port is None or parts.port  # a wrong one is a ValueError
    except ValueError:
        raise refusal from None
    is_read = scheme in ("https", "s3") or (scheme == "http" and parts.hostname == LOOPBACK)
    if not is_read or "://" not in text or not parts.hostname or "::" in text or not text.isprintable():
        raise refusal
    path = parts.path if scheme == "s3" else unquote(parts.path)
    public_text = printable(f"{scheme}://{host}{path}")
    if scheme == "s3" and (parts.username or parts.query or parts.fragment):
        raise UserError(f"{public_text} was given with keys or a query; give it without, {S3_KEYS}")
    if scheme != "s3" and (path.endswith("/") or not is_name(PurePosixPath(path).name)):
        raise UserError(f"{public_text} names no file; give the address of a sound, a shard or a table")
    location = f"{host}{path}".rstrip("/") if scheme == "s3" else f"{scheme}://{host}{parts.path}"
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if "@" in parts.netloc else ""
    return Address(scheme, host, path, location, public_text, parts.query, login)


def fetch_sources(sources: Sequence[Path | Address], folder: Path, progress: Progress) -> list[Path]:
    """Return sources on this machine: those at addresses are fetched into ``folder``, unless they are there already.

    Raises:
        UserError: an address leads to nothing, to too much, or elsewhere; a package is missing.
        Failure: the connection, or the disk is full; run the same command again.
    """
    return [
        source if isinstance(source, Path) else _fetch(source, number, folder, progress)
        for number, source in enumerate(sources)
    ]


@contextlib.contextmanager
def naming_addresses(sources: Sequence[Path | Address], paths: Sequence[Path]) -> Iterator[None]:
    """Name addresses in place of the ``paths`` fetched from them in errors: these go with a build that fails."""
    try:
        yield
    except UserError as error:
        for source, path in zip(sources, paths, strict=True):
            if isinstance(source, Address):
                error.args = tuple(str(text).replace(str(path), str(source)) for text in error.args)
        raise


@dataclass(frozen=True)
class _RemoteFile:
    location: str  # as its file system names it
    name: str  # below the folder of its address
    size: int | None
    version: str


def _fetch(address: Address, number: int, folder: Path, progress: Progress) -> Path:
    file_system = _file_system(address)
    files, is_folder = _attempted(address, lambda: _files(address, file_system))
    state = [number, address.public_text, [(file.name, file.size, file.version) for file in files]]
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]  # of another version other files are kept
    target_folder = folder / digest / address.folder_name
    for file in files:
        target = target_folder / file.name
        if target.is_file():
            continue
        progress(0.0, f"fetching {file.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part"[:200])
        _attempted(address, lambda file=file, partial=partial: _download(address, file_system, file, partial))
        partial.replace(target)
    return target_folder if is_folder else target_folder / files[0].name


def _file_system(address: Address) -> Any:
    """Return fsspec's file system; raise UserError if a package is missing."""
    for module in ("fsspec", "s3fs" if address.scheme == "s3" else "aiohttp"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"{address} cannot be fetched: {how_to_install(module)}")
    import fsspec

    if address.scheme == "s3":
        return fsspec.filesystem("s3", skip_instance_cache=True)
    import aiohttp

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_check_redirection)
    client_options = {
        "trace_configs": [trace],
        "trust_env": address.scheme == "https",  # proxies
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=SILENT_SECONDS, sock_read=SILENT_SECONDS),
    }
    headers = {"Accept-Encoding": "identity", "User-Agent": "timbrel"}
    if address.login:
        headers["Authorization"] = f"Basic {base64.b64encode(address.login.encode()).decode()}"
    query = {"params": parse_qsl(address.query, keep_blank_values=True)} if address.query else {}
    return fsspec.filesystem("https", skip_instance_cache=True, client_kwargs=client_options, headers=headers, **query)


async def _check_redirection(session: Any, context: Any, request: Any) -> None:
    """Raise UserError if an address leads to one that could not be given."""
    from yarl import URL

    location = request.response.headers.get("Location") or request.response.headers.get("URI") or ""
    target = request.url.join(URL(location))
    if target.scheme != "https" and not (target.scheme == request.url.scheme and target.host == LOOPBACK):
        raise UserError(f"{request.url.host} leads to an address that is not https://; give another one")


def _files(address: Address, file_system: Any) -> tuple[list[_RemoteFile], bool]:
    """Return the file of an address, or all sounds, shards and tables of a folder of S3; and whether it is one."""
    if address.scheme != "s3":
        name = PurePosixPath(address.path).name
        return [_remote_file(address, address.location, name, file_system.info(address.location))], False
    location = address.location
    info = file_system.info(location)
    if info.get("type") != "directory":
        return [_remote_file(address, location, PurePosixPath(location).name, info)], False
    files = []
    for file_location, file_info in sorted(file_system.find(location, detail=True).items()):
        path = PurePosixPath(file_location)
        name = path.relative_to(location).as_posix()
        if path.suffix.lower() in CONTAINERS or has_sound_suffix(path) or path.name == INFO:
            files.append(_remote_file(address, file_location, name, file_info))
        if len(files) > MOST_FILES:
            raise UserError(f"{address} holds more than {MOST_FILES} files; give folders of it, or shards")
    if not files:
        raise UserError(f"no sounds in {address}; give the address of sounds, shards or tables")
    return files, True


def _remote_file(address: Address, location: str, name: str, info: Any) -> _RemoteFile:
    if not stays_inside(name):
        raise UserError(f"{address} holds {printable(name)!r}, no plain name of a file; rename it")
    version = next((str(info[key]) for key in ("ETag", "Last-Modified", "LastModified") if info.get(key)), "")
    return _RemoteFile(location, name, info.get("size"), version)


def _download(address: Address, file_system: Any, file: _RemoteFile, partial: Path) -> None:
    options = {} if address.scheme == "s3" else {"block_size": 0}  # in one answer
    received_bytes = 0
    if (file.size or 0) > LARGEST_BYTES:
        raise _too_large(address)
    with file_system.open(file.location, "rb", **options) as remote, partial.open("wb") as local:
        while piece := remote.read(PIECE_BYTES):
            received_bytes += len(piece)
            if received_bytes > LARGEST_BYTES:
                raise _too_large(address)
            try:
                local.write(piece)
            except OSError as error:
                raise Failure(
                    f"cannot write {partial}: {error.strerror or error}; make room, and {CONTINUE_HINT}"
                ) from None
    if file.size is not None and received_bytes != file.size:
        raise Failure(f"cannot get {address}: {received_bytes} of {file.size} bytes came; {CONTINUE_HINT}")


def _too_large(address: Address) -> UserError:
    return UserError(f"{address} has more than {LARGEST_BYTES >> 30} GiB, which no file may have; split it into shards")


def _attempted(address: Address, attempt: Any) -> Any:
    """Call a function; its errors become lines that quote none of their texts, as these hold whole addresses.

    Nor does fsspec's log, into which it writes some errors.
    """
    log = logging.getLogger("fsspec.http")
    log.addFilter(_hide_error)
    try:
        return attempt()
    except Exception as error:  # no common class; a traceback of any other would show its whole address
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, TimbrelError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        status = getattr(error, "status", None) or getattr(error.__cause__, "status", None)
        is_unknown = status is None and (address.scheme == "s3" or error.__cause__ is None)
        if isinstance(error, FileNotFoundError) and (is_unknown or status == 404):  # fsspec's for other errors, too
            raise UserError(f"nothing is at {address}; check the address") from None
        if isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError" or status in (401, 403):
            advice = S3_KEYS if address.scheme == "s3" else "check its user, password or token"
            raise UserError(f"{address} may not be read; {advice}") from None
        reason = f"the answer is {status}" if status else type(error.__cause__ or error).__name__
        raise Failure(f"cannot get {address} ({reason}); check the connection, and {CONTINUE_HINT}") from None
    finally:
        log.removeFilter(_hide_error)


def _hide_error(record: logging.LogRecord) -> bool:
    record.exc_info = record.exc_text = None
    return True
