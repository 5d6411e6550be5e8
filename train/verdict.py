"""What figures mean, in words for who plays the model."""

from typing import Any

Figures = dict[str, Any]

OBEYED, MOSTLY = 0.95, 0.8  # of the notes: a wrong one in twenty is heard now and then, one in five all the time


def verdict(found: Figures) -> str:
    """What the figures mean for who plays the model: do the keys and the knobs do what they should?"""
    dimensions = found["latents"]["dimensions"]
    silent = [str(i) for i, dimension in enumerate(dimensions) if dimension["dead"]]
    if len(silent) == len(dimensions):
        return (
            "This model cannot be played: every sound gets the same code. "
            "Train again with another training.seed or a lower learning rate."
        )
    if not silent:
        knobs = "The knob changes the sound." if len(dimensions) == 1 else f"All {len(dimensions)} knobs are in use."
    else:
        knobs = f"{len(silent)} of {len(dimensions)} knobs do nothing (latent {', '.join(silent)})."
    return f"{_keys_verdict(found)} {knobs}"


def _keys_verdict(found: Figures) -> str:
    if not found["run"]["tonal"]:
        return "The recordings have no clear pitch: keys choose colour, not pitch."
    if found["keys"] is None:
        return (
            "Keys do nothing here: this network decodes without a chroma, so the knobs alone choose pitch and colour."
        )
    real, anywhere = (found["keys"][place]["sounding"] for place in ("training_codes", "mesh"))
    least = min(real["pitch_class"], anywhere["pitch_class"])
    how = "obeyed" if least >= OBEYED else "mostly obeyed" if least >= MOSTLY else "not obeyed"
    return (
        f"Keys are {how}: the note is the key's in {_right(real)} of cases on sounds of the corpus, "
        f"and in {_right(anywhere)} wherever the knobs stand."
    )


def _right(sounding: Figures) -> str:
    octave = sounding["octave"]
    return percent(sounding["pitch_class"]) + (f" ({percent(octave)} with its octave)" if octave is not None else "")


def percent(share: float) -> str:
    """A share as people read it; 100 % only where nothing at all is missing."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"
