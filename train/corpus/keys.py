"""Holds out whole keys of single notes: how an instrument plays them says how it plays any that was not recorded."""

import numpy as np

from .pitch import single_note
from .store import Corpus, Split

EVERY = 6  # one key in so many is held out
FEWEST = 5  # keys of which one can be spared


def held_keys(corpus: Corpus) -> list[int]:
    """Return the keys to hold out, rising: one in six of those that single notes have, and no outermost one.

    Few keys have none to spare: [].
    """
    keys = sorted(set(_keys(corpus).values()))
    return keys[EVERY // 2 : -1 : EVERY] if len(keys) >= FEWEST else []


def without(corpus: Corpus, keys: list[int]) -> dict[str, Split]:
    """Return the split of each clip by its name where these keys are held out.

    Their notes are the test split, and no other clip is: what was there is learned from.
    """
    of = _keys(corpus)
    return {clip.name: "test" if of.get(clip.name) in keys else "train" for clip in corpus.clips()}


def _keys(corpus: Corpus) -> dict[str, int]:
    """Return the keys nearest to clips that are single notes, by the clips' names."""
    heard = {clip.name: single_note(corpus.pitch(clip)) for clip in corpus.clips()}
    return {name: int(np.floor(note + 0.5)) for name, note in heard.items() if note is not None}
