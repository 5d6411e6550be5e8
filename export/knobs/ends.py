"""Names knobs without a descriptor by the sounds at their ends: "flute … organ", "low … high", "soft … loud"."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...host.arrays import Doubles
from ...host.kinds.card_fields import Latent
from ..graphs import EncodedFrames

QUARTERS = (25.0, 75.0)  # percentiles: all codes have a quarter of them beyond each
END_SHARE = 0.5  # of a label's codes beyond a quartile, twice that of all codes
END_CORRELATION = 0.5  # of a knob with key or velocity: a quarter of its variance


class KnobName(NamedTuple):
    """``ends``: at low and high, without an order; ``reason``: the figure of each."""

    name: str
    ends: frozenset[str]
    reason: str


def named_by_ends(latents: Sequence[Latent], codes: EncodedFrames) -> list[Latent]:
    """Name nameless latents by their ends, each pair of ends once; the others stay as they are."""
    named_latents, used_ends = list(latents), set[frozenset[str]]()
    for latent_index, latent in enumerate(latents):
        positions = codes.latents[:, latent_index].astype(np.float64)
        if latent.name != f"latent {latent_index}" or not positions.std():
            continue
        free_names = (knob_name for knob_name in _names(positions, codes) if knob_name.ends not in used_ends)
        if (knob_name := next(free_names, None)) is not None:
            used_ends.add(knob_name.ends)
            moves = "; ".join(filter(None, (knob_name.reason, latent.moves)))
            update = {"name": knob_name.name, "moves": moves, "unnamed": ""}
            named_latents[latent_index] = latent.model_copy(update=update)
    return named_latents


def _names(positions: Doubles, codes: EncodedFrames) -> Iterator[KnobName]:
    """Yield names for a knob at ``positions`` [frames], the clearest first."""
    yield from _names_by_label(positions, codes)
    for quantity, values, words in (
        ("key", codes.notes, ("low", "high")),
        ("velocity", codes.velocities, ("soft", "loud")),
    ):
        if values is None or not values.std():
            continue
        correlation = float(np.corrcoef(positions, values)[0, 1])
        if abs(correlation) >= END_CORRELATION:
            ends = words if correlation > 0 else words[::-1]
            reason = f"correlates with the {quantity} by {correlation:.2f}"
            yield KnobName(_name(*ends), frozenset(words), reason)


def _names_by_label(positions: Doubles, codes: EncodedFrames) -> Iterator[KnobName]:
    """Yield pairs of labels of which most codes lie in a knob's outer quarters, those farthest apart first."""
    low_quartile, high_quartile = np.percentile(positions, QUARTERS)
    words = np.array([_word(label) for label in codes.instruments or codes.labels])
    low_ends, high_ends = list[tuple[float, float, str]](), list[tuple[float, float, str]]()
    for word in np.unique(words[words != ""]):
        is_worded = words == word
        word_positions = positions[is_worded]
        low_share, high_share = np.mean(word_positions < low_quartile), np.mean(word_positions > high_quartile)
        if low_share >= END_SHARE:
            low_ends.append((float(word_positions.mean()), float(low_share), str(word)))
        if high_share >= END_SHARE:
            high_ends.append((float(word_positions.mean()), float(high_share), str(word)))
    for (_, low_share, low), (_, high_share, high) in sorted(
        itertools.product(low_ends, high_ends), key=lambda pair: pair[0][0] - pair[1][0]
    ):
        reason = f"{low_share:.0%} of {low} in its lowest quarter, {high_share:.0%} of {high} in its highest"
        yield KnobName(_name(low, high), frozenset((low, high)), reason)


def _name(low: str, high: str) -> str:
    return f"{low} … {high}"


def _word(label: str) -> str:
    """Return the words of a label or file name before its first number, in lower case; a bare number stays."""
    name = re.sub(r"\.[a-z]\w{2,3}$| no\. \d+$", "", label, flags=re.IGNORECASE)  # a file's ending; drawn codes' number
    words, number, _ = re.split(r"(\d|$)", name, maxsplit=1)
    if number:  # without its mark, as in "snare_v1"
        words = re.sub(r"[\W_]+\w?[\W_]*$", "", words)
    return (words or name).replace("_", " ").lower()
