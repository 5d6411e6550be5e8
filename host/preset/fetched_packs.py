"""Fetched packs: downloaded over HTTPS or from a Hugging Face repository, proved, kept among the user's presets."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, NamedTuple

from ..config import own_folder
from ..errors import Failure, UserError, how_to_install, printable, without_secrets
from ..files import replacing
from ..model.pack import LARGEST, SUFFIX, read_manifest
from .library import open_patch
from .plugin_consent import ask_for
from .shipped import own_preset, shipped_models, shipped_presets

HUB = "hf:"  # hf:OWNER/REPOSITORY, or hf:OWNER/REPOSITORY/FILE.timbrel
SILENT_SECONDS = 30.0  # without a byte
PIECE_BYTES = 1 << 16
BUSY, SERVER_ERROR = (408, 429), 500  # statuses after which a download may be resumed
MOST_REDIRECTIONS = 5
DIGEST = re.compile(r"sha256=([0-9a-f]{64})")
PARTIAL = ".part"


def fetch(url: str, progress: Callable[[float], None]) -> Path:
    """Download a pack to the user's folder ``packs``; return the file, which the caller moves or removes.

    Resumes a partial download of this address, which stays after an interruption, and is removed if wrong. Proxies are
    those of the environment. A digest after ``#sha256=`` is checked.

    Raises:
        UserError: the address, or the file behind it.
        Failure: the connection; run it again to resume.
    """
    address, _, fragment = url.partition("#")
    digest_match = DIGEST.fullmatch(fragment)
    if fragment and digest_match is None:
        raise UserError(f"#{fragment} is no digest; give #sha256= and 64 digits of 0 to 9 and a to f")
    address = _quoted(_of_hub(address) if address.startswith(HUB) else address)
    packs_folder = own_folder("packs")
    partial_file = packs_folder / f".{hashlib.sha256(address.encode()).hexdigest()[:16]}{PARTIAL}"
    try:
        packs_folder.mkdir(parents=True, exist_ok=True)
        _download(address, partial_file, progress)
    except UserError:
        partial_file.unlink(missing_ok=True)
        raise
    except urllib.error.HTTPError as error:
        answer_text = f"{_public(address)} answers {error.code} {printable(str(error.reason))}"
        if error.code in BUSY or error.code >= SERVER_ERROR:
            raise Failure(f"{answer_text}; run it again later") from None
        partial_file.unlink(missing_ok=True)
        raise UserError(f"{answer_text}; check the address") from None
    except ValueError as error:  # of a redirection or a header
        partial_file.unlink(missing_ok=True)
        raise UserError(f"{_public(address)} gives an answer that makes no sense: {printable(str(error))}") from None
    except (urllib.error.URLError, HTTPException, TimeoutError, ssl.SSLError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        advice = "; run it again to resume" if partial_file.exists() else "; check the address and the connection"
        raise Failure(f"cannot get {_public(address)}: {printable(str(reason))}{advice}") from None
    except OSError as error:
        raise Failure(f"cannot write {partial_file}: {error.strerror or error}") from None
    pack_file = partial_file.with_suffix(SUFFIX)
    actual_digest = _digest(partial_file)
    if digest_match is not None and actual_digest != digest_match[1]:
        partial_file.unlink()
        raise UserError(f"{_public(address)} has the SHA-256 {actual_digest}, not the one asked for; it was not kept")
    partial_file.replace(pack_file)
    return pack_file


def _quoted(address: str) -> str:
    """An address of https:// with all characters quoted that need it."""
    try:
        url_parts = urllib.parse.urlsplit(address)
        quoted_path = urllib.parse.quote(url_parts.path, safe="/%:@!$&'()*+,;=~")
        host = (url_parts.hostname or "").encode("idna").decode()
        quoted_url_parts = url_parts._replace(
            netloc=host + (f":{url_parts.port}" if url_parts.port else ""), path=quoted_path
        )
        if url_parts.scheme == "https" and host:
            return urllib.parse.urlunsplit(quoted_url_parts)
    except ValueError:  # also of UnicodeError
        pass
    raise UserError(f"{_public(address)} is no address of https://; give one, or {HUB}OWNER/REPOSITORY")


def _public(address: str) -> str:
    """Return an address for messages, without user, password and query, which may hold keys."""
    return without_secrets(printable(address).partition("?")[0])


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTIONS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme != "https":
            raise UserError(
                f"{_public(req.full_url)} leads to {_public(newurl)}, which is not https://; give another address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _download(address: str, partial: Path, progress: Callable[[float], None]) -> None:
    """Download a file to ``partial``, from the latter's end on if the server allows."""
    resume_bytes = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "timbrel", "Accept-Encoding": "identity"})
    if resume_bytes:
        request.add_header("Range", f"bytes={resume_bytes}-")
    opener = urllib.request.build_opener(_OnlyHttps)
    try:
        response = opener.open(request, timeout=SILENT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not resume_bytes:  # the part is no beginning of this file
            raise
        partial.unlink()
        _download(address, partial, progress)
        return
    with response:
        is_resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {resume_bytes}-"
        )
        total_bytes = int(response.headers.get("Content-Length") or 0) + (resume_bytes if is_resumed else 0)
        if total_bytes > LARGEST:
            raise UserError(
                f"{_public(address)} has {total_bytes >> 20} MiB, a pack at most {LARGEST >> 20}; it was not fetched"
            )
        received_bytes = resume_bytes if is_resumed else 0
        with partial.open("ab" if is_resumed else "wb") as file:
            while piece := response.read(PIECE_BYTES):
                received_bytes += len(piece)
                if received_bytes > LARGEST:
                    raise UserError(f"{_public(address)} has more than {LARGEST >> 20} MiB, a pack at most so many")
                file.write(piece)
                if total_bytes:
                    progress(min(1.0, received_bytes / total_bytes))
        if total_bytes and received_bytes < total_bytes:
            raise Failure(
                f"cannot get {_public(address)}: the connection ended after {received_bytes} of {total_bytes} bytes; "
                "run it again to resume"
            )


def _of_hub(name: str) -> str:
    """The pack named, or a repository's only one."""
    name_parts = name.removeprefix(HUB).strip("/").split("/")
    if len(name_parts) < 2 or not all(name_parts):
        raise UserError(f"{name} is no repository; give {HUB}OWNER/REPOSITORY, or a file in it")
    if not importlib.util.find_spec("huggingface_hub"):
        raise UserError(how_to_install("huggingface_hub"))
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import HfApi, hf_hub_url

    repository, pack_name = "/".join(name_parts[:2]), "/".join(name_parts[2:])
    if not pack_name:
        try:  # `list_repo_files` would print its retries
            repository_files = HfApi().model_info(repository, timeout=SILENT_SECONDS).siblings or []
        except Exception as error:  # the library's errors have no common class
            error_line = printable(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
            line = f"{name} cannot be listed: {error_line}; check its name and the connection"
            status = getattr(getattr(error, "response", None), "status_code", SERVER_ERROR)
            is_wrong_name = isinstance(error, ValueError) or (status < SERVER_ERROR and status not in BUSY)
            raise (UserError if is_wrong_name else Failure)(line) from None
        pack_names = [entry.rfilename for entry in repository_files if entry.rfilename.endswith(SUFFIX)]
        if len(pack_names) != 1:
            pack_list_text = ", ".join(pack_names) or "none"
            raise UserError(f"{name} holds {len(pack_names)} packs ({pack_list_text}); name one: {name}/FILE{SUFFIX}")
        pack_name = pack_names[0]
    return str(hf_hub_url(repository, pack_name))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class KeptPack(NamedTuple):
    name: str
    file: Path
    description: str
    licence: str


@contextlib.contextmanager
def _arriving(url: str, progress: Callable[[float], None]) -> Iterator[Path]:
    """Yield the pack's file: one on this machine stays where it is, a fetched one is removed."""
    if (local_file := Path(url)).suffix == SUFFIX and not url.startswith(HUB) and "://" not in url:
        if not local_file.is_file():
            raise UserError(f"pack {url} does not exist; check the path, or give an address of https://")
        yield local_file
        return
    fetched_file = fetch(url, progress)
    try:
        yield fetched_file
    finally:
        fetched_file.unlink(missing_ok=True)


def arrive(url: str, overwrite: bool, progress: Callable[[float], None], trust: bool = False) -> KeptPack:
    """Fetch, prove and keep a pack as NAME.timbrel in the user's folder ``presets``; ``url`` may be a file.

    A name that ships gets a part of the pack's digest. ``trust`` as in `ask_for`.

    Raises:
        UserError: as `fetch` and `ask_for`; the pack is damaged, fails its proof, or its name is taken.
        Failure: as `fetch`.
    """
    with _arriving(url, progress) as fetched_file:
        manifest = read_manifest(fetched_file)
        name = manifest.name
        if name in shipped_presets() | shipped_models():  # which its name would open
            name += f"-{hashlib.sha256(fetched_file.read_bytes()).hexdigest()[:6]}"
        pack_file = own_folder("presets") / f"{name}{SUFFIX}"
        if pack_file.exists() and not overwrite and pack_file.read_bytes() != fetched_file.read_bytes():
            raise UserError(f"{pack_file} exists, and is another pack; --overwrite replaces it")
        namesake_file = own_preset(name) if not pack_file.exists() else None
        if namesake_file is not None:
            raise UserError(f"{namesake_file} has the name {name!r} already; rename it, then get the pack again")
        ask_for([str(fetched_file)], trust)
        open_patch(str(fetched_file))
        pack_file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(pack_file, overwrite=True) as new_file:  # perhaps on another disk
            shutil.copyfile(fetched_file, new_file)
    metadata = manifest.metadata
    return KeptPack(name, pack_file, metadata.get("description", ""), metadata.get("licence") or "not told")
