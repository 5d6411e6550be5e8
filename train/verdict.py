"""What figures mean, in words for who plays the model."""

from typing import Any

Figures = dict[str, Any]

OBEYED, MOSTLY = 0.95, 0.8  # of the notes: a wrong one in twenty is heard now and then, one in five all the time


def verdict(found: Figures) -> str:
    """What the figures mean for who plays the model: do the keys and the knobs do what they should?"""
    dimensions = found["latents"]["dimensions"]
    silent = [str(i) for i, dimension in enumerate(dimensions) if dimension["dead"]]
    count = len(dimensions)
    if len(silent) == count:
        way = "a smaller loss.divergence" if "divergence" in dimensions[0] else "another training.seed or learning rate"
        return f"This model cannot be played: every sound gets the same code. Train again with {way}."
    if silent:
        knobs = f"{len(silent)} of {count} knobs do nothing (latent {', '.join(silent)})."
    else:
        knobs = {1: "The knob is in use.", 2: "Both knobs are in use."}.get(count, f"All {count} knobs are in use.")
    return f"{_keys_verdict(found)} {knobs}"


def _keys_verdict(found: Figures) -> str:
    if not found["run"]["tonal"]:
        return "The recordings have no clear pitch: keys choose colour, not pitch."
    if found["keys"] is None:
        return (
            "Keys do nothing here: this network decodes without a chroma, so the knobs alone choose pitch and colour."
        )
    real, anywhere = (found["keys"][place]["sounding"] for place in ("training_codes", "mesh"))
    shares = [place[name] for place in (real, anywhere) for name in ("pitch_class", "octave")]
    least = min(share for share in shares if share is not None)
    how = "obeyed" if least >= OBEYED else "mostly obeyed" if least >= MOSTLY else "not obeyed"
    return (
        f"Keys are {how}: the note is the key's in {_right(real)} on sounds of the corpus, "
        f"and in {_right(anywhere)} wherever the knobs stand."
    )


def _right(sounding: Figures) -> str:
    share, octave = sounding["pitch_class"], sounding["octave"]
    if octave is None:
        return f"{percent(share)} of cases"
    return f"{percent(share)} of cases ({'' if octave == share else f'{percent(octave)} '}octave included)"


def percent(share: float) -> str:
    """A share as people read it; 100 % only where nothing at all is missing."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"
