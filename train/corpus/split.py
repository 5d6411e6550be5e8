"""Assigns clips to the splits train, val and test."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ValidationError

from ...host.errors import UserError
from .clip_table import SPLITS, Clip, Split


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Parse fractions of train, val and test from ``"0.85/0.07/0.08"``.

    Raises:
        UserError: they are not three numbers of sum 1, or none is for train.
    """
    try:
        train, val, test = (float(part) for part in text.split("/"))
    except ValueError:
        train = val = test = float("nan")
    if not (train > 0 and val >= 0 and test >= 0 and abs(train + val + test - 1) < 0.005):  # 0.33/0.33/0.33 will do
        raise UserError(
            f"split {text!r} is not three fractions for train/val/test that sum to 1, with some for train; "
            "for example 0.85/0.07/0.08"
        )
    return train, val, test


def assign(
    groups: Mapping[str, str], fractions: Sequence[float], seed: int, known: Sequence[Clip] = ()
) -> dict[str, Split]:
    """Return splits by clip name; ``groups``, by clip name, stay whole.

    The first shuffled group goes to train, each further one to the split furthest below its share. ``known`` clips
    count, and attract new ones of their groups.
    """
    sizes = Counter(groups.values())
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    lacking = [fraction * (len(groups) + len(known)) for fraction in fractions]
    chosen: dict[str, Split] = {}
    for clip in known:
        chosen[clip.group] = clip.split
        lacking[SPLITS.index(clip.split)] -= 1
    for group in order:
        if group in chosen:
            lacking[SPLITS.index(chosen[group])] -= sizes[group]
            continue
        index = lacking.index(max(lacking)) if chosen else 0
        chosen[group] = SPLITS[index]
        lacking[index] -= sizes[group]
    return {name: chosen[group] for name, group in groups.items()}


class _SplitFile(BaseModel):
    train: list[str]
    val: list[str] = []
    test: list[str] = []


def listed_splits(path: Path, names: Iterable[str]) -> dict[str, Split]:
    """Read splits from a JSON file of names, with or without folders, under train, val or test.

    Raises:
        UserError: it is missing or invalid, or repeats a name.
    """
    if not path.is_file():
        raise UserError(f"split file {path} does not exist; give a JSON file, or fractions such as 0.85/0.07/0.08")
    try:
        listed = _SplitFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"split file {path} is not JSON with lists of names under train, val and test") from error
    splits: dict[str, Split] = {}
    for split in SPLITS:
        for name in getattr(listed, split):
            if splits.setdefault(name, split) != split:
                raise UserError(f"split file {path} lists {name!r} under {splits[name]} and {split}; list it once")
    places = ((name, splits.get(name) or splits.get(PurePosixPath(name).name)) for name in names)
    return {name: split for name, split in places if split}
