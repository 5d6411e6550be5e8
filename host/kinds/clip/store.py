"""Clips that are decoded and kept: offline where they are asked for, live on a worker ahead of the notes."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...contract.model import Model
from ...files import Stamp
from .octaves import ResampledClip
from .sound import ClipSound

Array = npt.NDArray[np.float32]

MOST_BYTES = 1 << 26  # of clips that are kept beside those that sound: a minute and more of model's sound
NEWEST = 4  # clips of each key that are kept live: those ahead of a knob, and those that it left
SETTLING = 0.2  # of the mean duration of a decode that the newest makes up
STEPS = 64  # from one label to another


class Between(NamedTuple):
    """Two labels, by their numbers, and how far it is from the one to the other, in `STEPS`."""

    one: int
    other: int
    steps: int

    def shares(self, labels: int) -> Array:
        """Return how much there is of each of so many labels, [1, labels]."""
        found = np.zeros((1, labels), np.float32)
        found[0, [self.one, self.other]] = 1 - self.steps / STEPS, self.steps / STEPS
        return found


Label = int | Between  # the number of a label, 0 where there are none
Name = tuple[Label, bytes]  # a label and a code: what a clip is decoded from


def label_between(one: int, other: int, share: float) -> Label:
    """Return the label at a share, 0 to 1, of the way from one to another, which has at its ends the number of one."""
    steps = round(share * STEPS)
    if one == other or steps == 0:
        return one
    return other if steps == STEPS else Between(one, other, steps)


class Want(NamedTuple):
    """A clip that is to be decoded: for which key, from what, and where the knobs are and at which sample for that."""

    slot: int
    label: Label
    code: Array
    knobs: bytes
    said: int

    @property
    def name(self) -> Name:
        """Return what tells it from other clips."""
        return self.label, self.code.tobytes()


@dataclass(slots=True)
class ReadyClip:
    """A clip that is ready, what it was decoded from, and the last sample at which the knobs were there.

    What was wanted later has a larger number.
    """

    name: Name
    number: int
    knobs: bytes
    said: int
    clip: ResampledClip


class Decodes(Protocol):
    """Whatever decodes clips."""

    def clip(self, label: Label, code: Array) -> ResampledClip:
        """Return the clip of a code, [n_latents], and of a label."""
        ...


class SingleClipDecoder:
    """Decodes a model's clips, one at a time."""

    def __init__(self, model: Model, sound: ClipSound) -> None:
        """Decode by ``model``, and make ``sound`` of that."""
        self._model, self._sound = model, sound

    @property
    def stamp(self) -> Stamp | None:
        """Return the stamp of the model's file, when it was read."""
        return self._model.stamp

    def clip(self, label: Label, code: Array) -> ResampledClip:
        """Return the clip of a code, [n_latents], and of a label."""
        shares = label.shares(self._model.card.conditions) if isinstance(label, Between) else np.array([label], np.intp)
        frames = self._model.decode(code[np.newaxis], shares)
        return ResampledClip(self._sound(frames)[0])


class BlockingClipCache:
    """Clips as they are asked for: whoever asks waits. The last ones are kept."""

    def __init__(self, decoder: SingleClipDecoder, clip_bytes: int) -> None:
        """``clip_bytes``: of one."""
        self._decoder, self._most = decoder, max(NEWEST, MOST_BYTES // clip_bytes)
        self._clips: dict[Name, ResampledClip] = {}

    def clip(self, label: Label, code: Array) -> ResampledClip:
        """Return the clip of a code and a label."""
        name = label, code.tobytes()
        clip = self._clips.pop(name, None)
        if clip is None:
            clip = self._decoder.clip(label, code)
        self._clips[name] = clip
        while len(self._clips) > self._most:
            del self._clips[next(iter(self._clips))]
        return clip


class Ahead:
    """Clips that a thread decodes ahead of the notes; nobody waits for it. It ends with its last holder."""

    def __init__(self, decoder: Decodes) -> None:
        """Make it ready to decode."""
        self._work, self._thread = _Work(decoder), ThreadPoolExecutor(1, "clips")
        self._asked: list[Name] = []
        self._last: Future[None] | None = None

    @property
    def seconds(self) -> float:
        """Return how long a clip takes of late, from its turn until it is ready."""
        return self._work.seconds

    @property
    def idle(self) -> bool:
        """Return whether all that was asked for last is ready."""
        return self._last is None or self._last.done()

    def ask(self, wants: Sequence[Want]) -> None:
        """Have clips decoded, one of each key, in place of those that were asked for before and have not begun.

        They are decoded in this order, but of each key one, before any key's next: codes that go on moving leave no key
        behind.
        """
        names = [want.name for want in wants]
        if names != self._asked:
            self._asked, self._work.newest = names, wants
            self._last = self._thread.submit(self._work.through, wants)

    def saw(self, knobs: bytes, now: int) -> None:
        """Remember which clips the knobs say at a sample.

        Raises:
            TimbrelError: the decoder has failed.
        """
        self._check()
        for some in list(self._work.ready.values()):  # meanwhile the thread may add a key's first
            for kept in some:
                if kept.knobs == knobs:
                    kept.said = now

    def of(self, slot: int) -> Sequence[ReadyClip]:
        """Return a key's clips that are ready, the newest last.

        Raises:
            TimbrelError: the decoder has failed.
        """
        self._check()
        return self._work.ready.get(slot, ())

    def _check(self) -> None:
        if self._work.problem is not None:
            raise self._work.problem


class _Work:
    """The thread's side: what it is asked for, and what it has made. It knows nobody who asks."""

    def __init__(self, decoder: Decodes) -> None:
        self._decoder = decoder
        self._served: set[int] = set()  # keys that had a clip decoded since all others had
        self.newest: Sequence[Want] = ()
        self.ready: dict[int, tuple[ReadyClip, ...]] = {}
        self.seconds, self._count = 0.0, 0
        self.problem: Exception | None = None

    def through(self, wants: Sequence[Want]) -> None:
        """Decode what is wanted, until something else is."""
        try:
            for want in wants:
                self._renew(want)
            while self.newest is wants and (left := [want for want in wants if not self._is_ready(want)]):
                fresh = [want for want in left if want.slot not in self._served]
                if not fresh:
                    self._served.clear()
                want = (fresh or left)[0]
                self._make(want)
                self._served.add(want.slot)
        except Exception as error:  # told to whoever plays next
            self.problem = error.with_traceback(None)

    def _is_ready(self, want: Want) -> bool:
        return any(kept.name == want.name for kept in self.ready.get(want.slot, ()))

    def _renew(self, want: Want) -> None:
        """Count a clip that is wanted again as new, where it is still there."""
        for kept in self.ready.get(want.slot, ()):
            if kept.name == want.name:
                self._count += 1
                kept.number, kept.knobs, kept.said = self._count, want.knobs, want.said

    def _make(self, want: Want) -> None:
        clip = next((kept.clip for some in self.ready.values() for kept in some if kept.name == want.name), None)
        if clip is None:
            began = time.perf_counter()
            clip = self._decoder.clip(want.label, want.code)
            clip.prepare()
            took = time.perf_counter() - began
            self.seconds += (took - self.seconds) * (SETTLING if self.seconds else 1.0)
        self._count += 1
        kept = ReadyClip(want.name, self._count, want.knobs, want.said, clip)
        others = sorted(self.ready.get(want.slot, ()), key=lambda other: other.number)
        self.ready[want.slot] = (*others, kept)[-NEWEST:]
