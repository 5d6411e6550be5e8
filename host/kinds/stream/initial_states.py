"""Stream seeds: initial states from rest, a sound, or a landmark."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...contract.encoder import SILENT, Encoder
from ...contract.model import Model, States
from ...errors import UserError
from .kind import FED, MOST_SEED, StreamSettings


class Seed(NamedTuple):
    """State before the first frame, and an offset to the code, [n_latents]."""

    state: States
    offset: Array


def seeds_of(model: Model, settings: StreamSettings, sound: Array | None, rest: Sequence[float]) -> list[Seed]:
    """A preset's seeds: one, or one per landmark if keys select them.

    Raises:
        UserError: the sound is silent or shorter than a step, or the model has no encoder.
    """
    base, marks = np.array(rest, np.float32), model.card.landmarks
    at_rest = model.at_rest(1)
    if settings.keys == "seed":
        return [Seed(at_rest, np.array(mark.latent, np.float32) - base) for mark in marks] or [Seed(at_rest, 0 * base)]
    if settings.seed_landmark is not None:
        code = next(mark.latent for mark in marks if mark.label == settings.seed_landmark)
        return [Seed(at_rest, np.array(code, np.float32) - base)]
    if sound is not None:
        return [_seed(model, settings.seed_sound or "", sound, base)]
    return [Seed(at_rest, 0 * base)]


def _seed(model: Model, name: str, sound: Array, base: Array) -> Seed:
    card = model.card
    assert card.stream is not None
    step, length = card.stream.step_length, card.frame_length
    if len(sound) < step:
        raise UserError(
            f"stream.seed_sound {name!r} is {len(sound)} samples long at the model's rate, and a frame takes {step}; "
            "give a longer sound"
        )
    if float(sound.std()) < SILENT:
        raise UserError(f"stream.seed_sound {name!r} is silent; give a sound that is heard, or leave it out")
    sound = sound[-(len(sound) // step) * step :]
    padded = np.concatenate([np.zeros(length - step, np.float32), sound])
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::step][-MOST_SEED:]
    latents, fed = Encoder(model).fed(np.ascontiguousarray(frames))
    told = latents.mean(0)
    offset = told - base if np.any(latents) else 0 * base
    state, code = model.at_rest(1), (base + offset)[np.newaxis]
    for given in fed:
        _, state = model.step(code, np.zeros(1, np.intp), state)
        state[FED] = given[np.newaxis]
    return Seed(state, offset)
