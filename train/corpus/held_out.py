"""Holds sounds out of a trial, to test notes and clips that its network has not learned."""

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


def key_splits(corpus: Corpus, keys: list[int]) -> dict[str, Split]:
    """Return splits by clip name, with all notes on ``keys`` under test."""
    of = _keys(corpus)
    return {clip.name: "test" if of.get(clip.name) in keys else "train" for clip in corpus.clips()}


def clip_splits(corpus: Corpus) -> dict[str, Split]:
    """Return the corpus's own splits by clip name, but each label keeps a clip under train."""
    untaught = {*corpus.clips().labels} - {*corpus.clips("train").labels}
    splits = {}
    for clip in corpus.clips():
        splits[clip.name] = "train" if clip.label in untaught else clip.split
        untaught.discard(clip.label)
    return splits


def _keys(corpus: Corpus) -> dict[str, int]:
    heard = {clip.name: single_note(corpus.pitch(clip)) for clip in corpus.clips()}
    return {name: int(np.floor(note + 0.5)) for name, note in heard.items() if note is not None}
