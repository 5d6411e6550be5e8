"""Verdicts on runs, as sentences of reports and `make`, and the format of numbers; bad news is also a shortcoming."""

from collections.abc import Sequence
from typing import Any, NamedTuple


def percent(share: float) -> str:
    """Format a share; 100 % only if exactly 1."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def minus(text: str) -> str:
    return text.replace("-", "−")


def two_digits(number: float) -> str:
    """Format with two digits, never −0.00."""
    return minus(f"{number:.2f}".replace("-0.00", "0.00"))


Figures = dict[str, Any]

ALIKE = 1.5  # times the distance between training and unheard windows; random codes up to it are alike
NOTHING = 1.0  # relative error of always answering the mean
SHORT_SECONDS = 0.5  # of an event: drums and words are shorter, held notes longer
LEAST_PITCHED = 0.8  # minimum pitched share of the sound: leaving out more is noticeable
CAME_BACK_DB = 6.0  # median of clips: five minutes reach 4 to 5, another recording of a spoken word is 6.4 away


class Verdict(NamedTuple):
    text: str
    shortcomings: list[str]


class Sentence(NamedTuple):
    text: str
    good: bool = True


def verdict_of(sentences: Sequence[Sentence], more: Sequence[str] = (), worst: Sequence[str] = ()) -> Verdict:
    return Verdict(
        " ".join(sentence.text for sentence in sentences),
        [*worst, *(sentence.text for sentence in sentences if not sentence.good), *more],
    )


def good_news(figures: Figures) -> str:
    text = figures["verdict"]
    for line in figures["shortcomings"]:
        text = text.replace(line, "")
    return " ".join(text.split())


def learned(error: float, explanation: str) -> list[str]:
    if error < NOTHING:
        return []
    return [f"It has learned nothing: {explanation} (relative error {error:.2f}). Train longer, or give more sounds."]


def unlike(figures: Figures) -> list[str]:
    ratio = figures["spectral_distance"]["ratio"]
    return [] if sounds_alike(ratio) else [likeness_sentence(ratio).text]


def left_out(figures: Figures) -> list[str]:
    share = 1 - figures["recordings"]["pitched"]
    return [f"What has no pitch is left out: {percent(share)} of the sound."] if share > 1 - LEAST_PITCHED else []


def short_events(figures: Figures, explanation: str) -> list[str]:
    seconds = figures["recordings"]["event_seconds"]
    if seconds >= SHORT_SECONDS:
        return []
    return [f"Hits and words are lost: the recordings' sounds last {seconds:.2f} s each, and {explanation}."]


def alive(figures: Figures) -> bool:
    return not all(dimension["dead"] for dimension in figures["latents"]["dimensions"])


def dead(figures: Figures) -> Sentence:
    divergence = "divergence" in figures["latents"]["dimensions"][0]
    remedy = "a smaller loss.divergence" if divergence else "another training.seed or learning rate"
    return Sentence(
        f"Its knobs do nothing: every sound gets the same code. Train longer, or again with {remedy}.", False
    )


def knobs_in_use(figures: Figures) -> Sentence:
    dimensions = figures["latents"]["dimensions"]
    silent = [str(i) for i, dimension in enumerate(dimensions) if dimension["dead"]]
    count = len(dimensions)
    if silent:
        return Sentence(f"{len(silent)} of {count} knobs do nothing (latent {', '.join(silent)}).", False)
    return Sentence(
        {1: "The knob is in use.", 2: "Both knobs are in use."}.get(count, f"All {count} knobs are in use.")
    )


def sounds_alike(ratio: float | None) -> bool:
    return ratio is None or ratio <= ALIKE


def likeness_sentence(ratio: float | None, faults: Sequence[str] = ()) -> Sentence:
    faults_clause = f"; what it makes is {' and '.join(faults)}" if faults else ""
    good = sounds_alike(ratio) and not faults
    if ratio is None:
        return Sentence(f"There are no other sounds to compare with{faults_clause}.", good)
    verb = "sound" if sounds_alike(ratio) else "do not sound"
    distance = f"{ratio:.1f} times as far from unheard ones as training’s"
    return Sentence(f"Random codes {verb} like the recordings ({distance}){faults_clause}.", good)
