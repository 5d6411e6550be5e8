"""Errors with one-line messages for users, and names of extras for missing packages. Use assert for internal errors."""

import contextlib
import re
from collections.abc import Iterable, Iterator

LOGIN = re.compile(r"\b((?:https?|s3):/*|\w+://)[^/\s]*@")  # of an address, also of one with slashes too few
QUERY = re.compile(r"""\b((?:https?|s3):/*[^\s?]*|\w+://[^\s?]*)\?\S*?(?=[;:,.'")]*(?:\s|$))""")


class TimbrelError(Exception):
    """The base of timbrel's errors: one line per mistake, with the next step."""

    exit_status = 1

    def __str__(self) -> str:
        return printable("; ".join(map(str, self.args)))


class UserError(TimbrelError):
    """Wrong input: a value, a file, a name. Nothing was written."""

    exit_status = 2


class Failure(TimbrelError):
    """Not the user's fault."""


def printable(text: str) -> str:
    """Replace unprintable characters, such as terminal controls."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)


def without_secrets(text: str) -> str:
    """Leave out users, passwords and queries of addresses in a text: they may hold keys."""
    return QUERY.sub(r"\1", LOGIN.sub(r"\1", text))


def nearest(word: str, known_words: Iterable[str]) -> str:
    """Hint for a misspelt word: ``"; did you mean 'x'?"``, or the known words."""
    from difflib import get_close_matches  # lazy: for mistakes alone

    sorted_words = sorted(set(known_words))
    close_words = get_close_matches(word, sorted_words, n=1, cutoff=0.5)
    if close_words:
        return f"; did you mean {close_words[0]!r}?"
    return f"; known: {', '.join(sorted_words)}" if sorted_words else ""


# The modules that each extra installs, the smallest extra first.
MODULES = {
    "live": ("sounddevice", "rtmixer", "rtmidi", "jack"),
    "panel": ("starlette", "uvicorn", "websockets", "msgspec", "segno"),
    "picture": ("matplotlib",),
    "phone": ("av",),
    "hub": ("huggingface_hub",),
    "tables": ("pyarrow",),
    "remote": ("fsspec", "aiohttp", "s3fs"),
    "scale": ("ray",),
    "judge": ("zimtohrli",),
    "testing": ("pytest",),
    "train": (
        "torch", "onnx", "onnxscript", "lightning_fabric", "tensorboard", "jinja2", "librosa", "sklearn", "soxr",
        "pyloudnorm", "scipy", "mido",
    ),
}  # fmt: skip


def how_to_install(module: str) -> str:
    """Return a line that names the extra of ``module``; modules of no extra come with timbrel itself."""
    package = module.partition(".")[0]
    extra_text = next((f"[{extra}]" for extra, modules in MODULES.items() if package in modules), "")
    return f"{package} is not installed; install it with: pip install 'timbrel{extra_text}'"


@contextlib.contextmanager
def naming_extras() -> Iterator[None]:
    """Turn the error of a missing package into the line that says how to install it.

    Raises:
        UserError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(how_to_install(str(error.name))) from error
