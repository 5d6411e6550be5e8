"""Clips that are decoded and kept: offline where they are asked for, live on a worker ahead of the notes."""

import queue
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...contract.model import Model
from ..clip_sound import ClipSound
from .reading import Clip

Array = npt.NDArray[np.float32]
Name = tuple[int, bytes]  # the number of a label, and a code: what a clip is decoded from

MOST_BYTES = 1 << 26  # of clips that are kept beside those that sound: a minute and more of model's sound
NEWEST = 4  # clips of each key that are kept live: those ahead of a knob, and those that it left
SETTLING = 0.2  # of the mean duration of a decode that the newest makes up


class Want(NamedTuple):
    """A clip that is to be decoded: for which key, from what, and the sample at which the knobs say so."""

    slot: int
    label: int
    code: Array
    said: int

    @property
    def name(self) -> Name:
        """Return what tells it from other clips."""
        return self.label, self.code.tobytes()


@dataclass(slots=True)
class Kept:
    """A clip that is ready, what it was decoded from, and the last sample at which the knobs said that."""

    name: Name
    code: Array
    said: int
    clip: Clip


class Decoder:
    """Decodes a model's clips, one at a time."""

    def __init__(self, model: Model, sound: ClipSound) -> None:
        """Decode by ``model``, and make ``sound`` of that."""
        self._model, self._sound = model, sound

    def clip(self, label: int, code: Array) -> Clip:
        """Return the clip of a code, [n_latents], and of the number of a label, 0 where there are none."""
        frames = self._model.decode(code[np.newaxis], np.array([label], np.intp))
        return Clip(self._sound(frames)[0])


class Waiting:
    """Clips as they are asked for: whoever asks waits. The last ones are kept."""

    def __init__(self, decoder: Decoder, clip_bytes: int) -> None:
        """``clip_bytes``: of one."""
        self._decoder, self._most = decoder, max(NEWEST, MOST_BYTES // clip_bytes)
        self._clips: dict[Name, Clip] = {}

    def clip(self, label: int, code: Array) -> Clip:
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

    def __init__(self, decoder: Decoder) -> None:
        """Start the thread."""
        self._work = _Work(decoder)
        self._asked: list[Name] = []
        self._count = 0  # lists that were asked for
        thread = threading.Thread(target=self._work.run, name="clips", daemon=True)
        thread.start()
        weakref.finalize(self, self._work.inbox.put, None).atexit = False

    @property
    def seconds(self) -> float:
        """Return how long a clip takes of late, from its turn until it is ready."""
        return self._work.seconds

    @property
    def idle(self) -> bool:
        """Return whether all that was asked for last is ready."""
        return self._work.done == self._count

    def ask(self, wants: Sequence[Want]) -> None:
        """Have clips decoded, in this order, in place of those that were asked for before and have not begun."""
        names = [want.name for want in wants]
        if names != self._asked:
            self._asked = names
            self._count += 1
            self._work.inbox.put((self._count, list(wants)))

    def of(self, slot: int) -> Sequence[Kept]:
        """Return a key's clips that are ready, the newest last.

        Raises:
            TimbrelError: the decoder has failed.
        """
        if self._work.problem is not None:
            raise self._work.problem
        return self._work.ready.get(slot, ())


class _Work:
    """The thread's side: what it is asked for, and what it has made. It knows nobody who asks."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.inbox: queue.SimpleQueue[tuple[int, list[Want]] | None] = queue.SimpleQueue()
        self.ready: dict[int, tuple[Kept, ...]] = {}
        self.seconds, self.done = 0.0, 0
        self.problem: Exception | None = None

    def run(self) -> None:
        """Decode what is asked for, always by the newest list, until nobody can ask any more."""
        wants: list[Want] = []
        number = 0
        while True:
            try:
                while not wants or not self.inbox.empty():
                    self.done = number if not wants else self.done
                    message = self.inbox.get()
                    if message is None:
                        return
                    number, wants = message
                want = wants.pop(0)
                if all(kept.name != want.name for kept in self.ready.get(want.slot, ())):
                    self._make(want)
            except Exception as error:  # told to whoever plays next
                self.problem = error.with_traceback(None)
                return

    def _make(self, want: Want) -> None:
        clip = next((kept.clip for some in self.ready.values() for kept in some if kept.name == want.name), None)
        if clip is None:
            began = time.perf_counter()
            clip = self._decoder.clip(want.label, want.code)
            clip.prepare()
            took = time.perf_counter() - began
            self.seconds += (took - self.seconds) * (SETTLING if self.seconds else 1.0)
        self.ready[want.slot] = (*self.ready.get(want.slot, ()), Kept(want.name, want.code, want.said, clip))[-NEWEST:]
