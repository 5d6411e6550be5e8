"""Holds out keys of single notes, to test interpolation."""

import numpy as np

from .clip_table import Split
from .pitch import single_note
from .store import Corpus

EVERY = 6  # every sixth key is held out
FEWEST = 5  # minimum number of keys to spare one


def held_keys(corpus: Corpus) -> list[int]:
    """Return every sixth key, never the lowest or highest; [] for too few."""
    keys = sorted(set(_keys(corpus).values()))
    return keys[EVERY // 2 : -1 : EVERY] if len(keys) >= FEWEST else []


def held_out_splits(corpus: Corpus, keys: list[int]) -> dict[str, Split]:
    of = _keys(corpus)
    return {clip.name: "test" if of.get(clip.name) in keys else "train" for clip in corpus.clips()}


def _keys(corpus: Corpus) -> dict[str, int]:
    heard = {clip.name: single_note(corpus.pitch(clip)) for clip in corpus.clips()}
    return {name: int(np.floor(note + 0.5)) for name, note in heard.items() if note is not None}
