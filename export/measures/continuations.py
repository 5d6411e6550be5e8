"""Floors of sounds that continue recordings: answers as long as each, in measures of pairs of sounds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...host.arrays import Array, Integers
from ...train.sampling import evenly_spaced
from .clips import median
from .floors import Scale, SoundSet, floors, mean_error

MOST_OTHER_SOUNDS = 64  # of a set, evenly spaced


class PairMeasure(NamedTuple):
    """A measure of a sound beside its recording, [..., samples] each; ``values`` are summed up by median or mean."""

    label: str
    form: str
    compare: Callable[[Array, Array], float]
    mean: bool = False
    rises: bool = True  # the larger, the better


def continuation_floors(
    recordings: Sequence[Array],
    clips: Integers,
    other_sounds: Sequence[Array],
    other_clips: Integers,
    continued: Sequence[Array] | None,
    measures: Mapping[str, PairMeasure],
) -> dict[str, Any]:
    """Return `floors` of continued sounds, [..., samples], of any length; answers are as long as they are.

    Without continued sounds, answers are as long as recordings.

    Args:
        recordings, clips: of the continuations, with their numbers, [recordings].
        other_sounds, other_clips: recordings of the set, with their numbers; shorter ones are repeated.
    """
    lengths = [
        (sound.shape[-1], recording.shape[-1])
        for sound, recording in zip(continued or recordings, recordings, strict=True)
    ]
    longest = max(max(pair) for pair in lengths)
    indices = evenly_spaced(len(other_sounds), MOST_OTHER_SOUNDS)

    def terms(measure: PairMeasure) -> Callable[[Array, Array], Array]:
        return lambda targets, answers: np.array(
            [
                measure.compare(answer[..., :length], target[..., :recorded_length])
                for target, answer, (length, recorded_length) in zip(targets, answers, lengths, strict=True)
            ]
        )

    scales = {
        name: Scale(
            measure.label,
            measure.form,
            np.asarray,
            terms(measure),
            mean_error if measure.mean else median,
            rises=measure.rises,
            spans=False,
        )
        for name, measure in measures.items()
    }
    other_set = SoundSet(_equal_lengths([other_sounds[index] for index in indices], longest), other_clips[indices])
    recorded_set = SoundSet(_equal_lengths(recordings, longest), clips)
    decoded = None if continued is None else _equal_lengths(continued, longest)
    return floors(scales, other_set, recorded_set, 0, decoded)


def _equal_lengths(sounds: Sequence[Array], length: int) -> Array:
    """Return sounds of a length, [sounds, ..., samples]: repeated where they are shorter."""
    return np.stack([sound[..., np.arange(length) % sound.shape[-1]] for sound in sounds]).astype(np.float32)
