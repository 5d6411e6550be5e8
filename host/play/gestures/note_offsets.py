"""Note offsets by velocity and key ([[note]]), and paths from each note-on."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ...arrays import Array, Doubles, Times
from ...contract.card import Card
from ...engines.protocol import Motion
from ...patch.note_offsets import NoteSettings
from ..motions.motion import MotionWrapper, NotePath, OffsetMotion

Note = tuple[int, int]  # channel and key: with MPE, one key may be down on two channels

LATENT = "latent."


class NoteOffsets(NamedTuple):
    """A note's offsets: to its ``code``, [n_latents], and to other targets."""

    code: Doubles | None = None
    others: Mapping[str, float] = MappingProxyType({})


NOTHING = NoteOffsets()


def nothing(note: Note) -> NoteOffsets:
    return NOTHING


class NoteValues:
    """A preset's note offsets. Holds no voices, to avoid reference cycles."""

    def __init__(self, settings: Sequence[NoteSettings], card: Card, velocities: Mapping[Note, int]) -> None:
        """``settings`` must fit the card's model; ``velocities``: of struck keys, 1 to 127."""
        self._settings, self._latents, self._velocities = settings, len(card.latents), velocities
        self.moves_codes = any(entry.target.startswith(LATENT) for entry in settings)

    def of(self, note: Note) -> NoteOffsets:
        code, others = np.zeros(self._latents), dict[str, float]()
        for entry in self._settings:
            added = entry.added(self._velocities[note], note[1])
            if entry.target.startswith(LATENT):
                code[int(entry.target.removeprefix(LATENT))] += added
            else:
                others[entry.target] = others.get(entry.target, 0.0) + added
        return NoteOffsets(code if self.moves_codes else None, others)


class PathMotion(MotionWrapper):
    """A code path per voice, from its note-on."""

    def __init__(
        self, common: Motion, path: NotePath, onsets: Sequence[int], held: Callable[[Times], Doubles | None]
    ) -> None:
        """``onsets``: voices' first samples; ``held`` as `Latents.shares`."""
        super().__init__(common)
        self.own_codes = True
        self._path, self._onsets, self._held = path, np.array(onsets, np.int64), held

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Only touched knobs contribute."""
        onsets = self._onsets[list(voices)]
        codes = self._path.codes(times - onsets if own_times is None else own_times - onsets + self._path.lead)
        held = self._held(times)
        if held is None:
            return codes
        mixed: Array = (codes * (1.0 - held) + self._common.latents(voices, times) * held).astype(np.float32)
        return mixed


class NoteMotion(OffsetMotion):
    def __init__(self, common: Motion, codes: Sequence[Doubles | None], spans: Sequence[tuple[float, float]]) -> None:
        """``codes``: offsets by voice."""
        super().__init__(common, spans)
        self._added = np.array([np.zeros(len(spans)) if code is None else code for code in codes])

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        return self._within(self._common.latents(voices, times, own_times), self._added[list(voices)])
