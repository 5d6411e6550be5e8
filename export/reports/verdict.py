"""Verdicts on runs, as sentences of reports and `make`, and the format of numbers; bad news is also a shortcoming."""

from collections.abc import Sequence
from typing import Any, NamedTuple


def percent(share: float) -> str:
    """Format a share; 100 % only if exactly 1."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def minus(text: str) -> str:
    """Replace hyphens by minus signs."""
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
    """Join sentences to a verdict; its shortcomings are the worst, bad sentences, and more."""
    return Verdict(
        " ".join(sentence.text for sentence in sentences),
        [*worst, *(sentence.text for sentence in sentences if not sentence.good), *more],
    )


def good_news(figures: Figures) -> str:
    """Return a verdict without its bad sentences."""
    text = figures["verdict"]
    for shortcoming in figures["shortcomings"]:
        text = text.replace(shortcoming, "")
    return " ".join(text.split())


def learned(error: float, explanation: str) -> list[str]:
    """Return the shortcoming of a network that is no better than the mean, if it is."""
    if error < NOTHING:
        return []
    return [f"It has learned nothing: {explanation} (relative error {error:.2f}). Train longer, or give more sounds."]


def unlike(figures: Figures) -> list[str]:
    """Return the shortcoming of random codes that sound unlike the recordings, if they do."""
    distance_ratio = figures["spectral_distance"]["ratio"]
    return [] if sounds_alike(distance_ratio) else [likeness_sentence(distance_ratio).text]


def left_out(figures: Figures) -> list[str]:
    """Return the shortcoming of sound without pitch, if there is much."""
    unpitched_share = 1 - figures["recordings"]["pitched"]
    return (
        [f"What has no pitch is left out: {percent(unpitched_share)} of the sound."]
        if unpitched_share > 1 - LEAST_PITCHED
        else []
    )


def short_events(figures: Figures, explanation: str) -> list[str]:
    """Return the shortcoming of recordings whose sounds are too short, if they are."""
    event_seconds = figures["recordings"]["event_seconds"]
    if event_seconds >= SHORT_SECONDS:
        return []
    return [f"Hits and words are lost: the recordings' sounds last {event_seconds:.2f} s each, and {explanation}."]


def alive(figures: Figures) -> bool:
    return not all(dimension["dead"] for dimension in figures["latents"]["dimensions"])


def dead(figures: Figures) -> Sentence:
    has_divergence = "divergence" in figures["latents"]["dimensions"][0]
    remedy = "a smaller loss.divergence" if has_divergence else "another training.seed or learning rate"
    return Sentence(
        f"Its knobs do nothing: every sound gets the same code. Train longer, or again with {remedy}.", False
    )


def knobs_in_use(figures: Figures) -> Sentence:
    """Return a sentence on the knobs that change the sound."""
    dimensions = figures["latents"]["dimensions"]
    dead_latents = [str(i) for i, dimension in enumerate(dimensions) if dimension["dead"]]
    latent_count = len(dimensions)
    if dead_latents:
        return Sentence(
            f"{len(dead_latents)} of {latent_count} knobs do nothing (latent {', '.join(dead_latents)}).", False
        )
    return Sentence(
        {1: "The knob is in use.", 2: "Both knobs are in use."}.get(
            latent_count, f"All {latent_count} knobs are in use."
        )
    )


def sounds_alike(ratio: float | None) -> bool:
    return ratio is None or ratio <= ALIKE


def likeness_sentence(ratio: float | None, faults: Sequence[str] = ()) -> Sentence:
    faults_clause = f"; what it makes is {' and '.join(faults)}" if faults else ""
    is_good = sounds_alike(ratio) and not faults
    if ratio is None:
        return Sentence(f"There are no other sounds to compare with{faults_clause}.", is_good)
    verb = "sound" if sounds_alike(ratio) else "do not sound"
    distance_text = f"{ratio:.1f} times as far from unheard ones as training’s"
    return Sentence(f"Random codes {verb} like the recordings ({distance_text}){faults_clause}.", is_good)
