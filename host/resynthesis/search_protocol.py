"""The question to a search for codes, and its answer: those that need gradients live where torch is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..contract.model import Model

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

MARGIN = (
    3  # frame lengths on either side of a frame: a note two octaves up is moved down by a window four times as long
)


class Sought(NamedTuple):
    """A sound whose code is looked for: one code for all of its frames.

    ``frames`` are [frames, samples] at the model's rate, the frame itself in the middle of each row. ``code`` is where
    the network places it, [n_latents], and ``label`` what it takes it for; None where there is no network.
    """

    frames: Array
    code: Doubles | None
    label: int | None


class Found(NamedTuple):
    """The code that was found of a sound.

    ``label`` is the number of one of the model's labels, None of a model without. ``before`` and ``after`` are how far
    what is decoded of the network's code and of this one is from the sound, the share of it that is missed; None where
    there was no code, or the search minimises the distance that is printed. ``settled`` says whether the search came
    to an end of its own.
    """

    code: Doubles
    label: int | None
    before: float | None
    after: float | None
    settled: bool


class Search(Protocol):
    """Looks for the codes of sounds."""

    def __call__(
        self, model: Model, sounds: Sequence[Sought], progress: Callable[[float], None] | None = None
    ) -> list[Found]:
        """Return what was found of each sound; ``progress`` is told the part that is done, 0 to 1.

        Raises:
            UserError: the model's decoder cannot be searched.
        """
        ...
