"""Checks of arguments from Python: errors of one line that name the argument and its value."""

import math
import os
import threading
from collections.abc import Collection, Iterable, Mapping
from operator import index
from typing import Any, SupportsIndex

import numpy as np

from .errors import UserError

LONGEST_VALUE = 80  # characters of a value in a message


def value_text(value: object) -> str:
    """Return a value as messages show it: on one line, and not too long."""
    line = " ".join(repr(value).split())
    return line if len(line) <= LONGEST_VALUE else f"{line[: LONGEST_VALUE - 1]}…"


def number(name: str, value: object) -> float:
    """Return a finite number; raise UserError for all else."""
    if not isinstance(value, int | float | np.number | np.ndarray) or np.ndim(value) or np.iscomplexobj(value):
        raise UserError(f"{name} {value_text(value)} is no number; give one")
    try:
        finite_number = float(value)
    except OverflowError:  # a whole number beyond all floats
        finite_number = math.inf
    if not math.isfinite(finite_number):
        raise UserError(f"{name} {value_text(value)} is not finite; give a number")
    return finite_number


def whole_number(name: str, value: SupportsIndex, low: int, high: int | None = None) -> int:
    """Return a whole number, ``low`` to ``high``, without end if that is None; raise UserError for all else."""
    range_text = f"at least {low}" if high is None else f"{low} to {high}"
    try:
        integer = index(value)
    except TypeError:
        raise UserError(f"{name} {value_text(value)} is not a whole number; give {range_text}") from None
    if integer < low or (high is not None and integer > high):
        raise UserError(f"{name} {value_text(value)} is out of range; give {range_text}")
    return integer


def check_main_thread(name: str) -> None:
    """Raise UserError in other threads, which no signal reaches: Ctrl-C could not save the training."""
    if threading.current_thread() is not threading.main_thread():
        raise UserError(f"{name} needs the main thread, where Ctrl-C arrives; call it there, or in another process")


def check_text(name: str, value: object) -> None:
    """Raise UserError for all but texts."""
    if not isinstance(value, str):
        raise UserError(f"{name} {value_text(value)} is no text; give one in quotes")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise UserError for all but the choices."""
    if not isinstance(value, str) or value not in choices:
        raise UserError(f"{name} {value_text(value)} is unknown; give {' or '.join(choices)}")


def check_flag(name: str, value: object) -> None:
    """Raise UserError for all but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"{name} {value_text(value)} is neither True nor False; give one of them")


def check_callback(name: str, value: object) -> None:
    """Raise UserError for all but functions and None."""
    if value is not None and not callable(value):
        raise UserError(f"{name} {value_text(value)} is no function; give one, or None")


def location(name: str, value: object) -> str:
    """Return a path, or the name of a preset or a recipe, as a text; raise UserError for all else.

    An empty text would be the working folder, and no file's name holds the character 0.
    """
    path_text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path_text, str) or not path_text or "\0" in path_text:
        raise UserError(f"{name} {value_text(value)} is no path; give a text or a pathlib.Path")
    return path_text


def locations(name: str, value: object) -> list[str]:
    """Return one path, or several, as texts; raise UserError for all else."""
    return [
        location(name, path) for path in ([value] if isinstance(value, str | os.PathLike) else elements(name, value))
    ]


def elements(name: str, value: object) -> list[Any]:
    """Return the parts of an iterable; raise UserError for all else, such as bytes, whose parts are numbers."""
    if (
        not isinstance(value, Iterable)
        or isinstance(value, bytes)
        or (isinstance(value, np.ndarray) and not value.ndim)
    ):
        raise UserError(f"{name} {value_text(value)} is no list; give one")
    return list(value)


def mapping(name: str, value: object) -> Mapping[Any, Any]:
    """Return a mapping, an empty one for None; raise UserError for all else."""
    if value is not None and not isinstance(value, Mapping):
        raise UserError(f"{name} {value_text(value)} is no dictionary; give one")
    return value or {}
