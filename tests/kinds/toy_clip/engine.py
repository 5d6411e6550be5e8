"""The engine of the kind: it waits for its worker offline, and plays the clip decoded last live."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from timbrel.host.engines.engine import VoiceSound

from ...patience import PATIENCE_SECONDS


class ClipSound(VoiceSound):
    """One voice's clip, [1, samples], once it is known which."""

    clip = None


class ClipEngine:
    """Plays a clip from its beginning at each note, decoded for the code of the note's first sample.

    Live it plays the clip that was decoded last; for each block it has the code decoded that its end asks for.
    """

    channels, lookback, age_ms = 1, 0, None
    gate = threading.Event()  # the worker waits for it: a decoder that takes its time

    def __init__(self, model, live, resting):
        self._model, self._live, self.targets = model, live, {}
        self._worker = ThreadPoolExecutor(1)
        self._newest = None
        self._asked = None
        self._ask(np.array(resting, np.float32))

    @property
    def ready(self):
        return self._newest is not None

    @property
    def idle(self):
        return self._last.done()

    def start_stream(self, pitch, time, key, velocity):
        return ClipSound(key=pitch, on=time)

    def render(self, streams, motion, start, count):
        if self._live:
            self._ask(motion.latents([0], np.array([start + count - 1]))[0])
        return [self._sound(number, stream, motion, start, count) for number, stream in enumerate(streams)]

    def prepare(self, streams, motion, now):
        pass

    def _ask(self, code):
        if self._asked is None or not np.array_equal(code, self._asked):
            self._asked = code
            self._last = self._worker.submit(self._decode, code)

    def _decode(self, code):
        assert self.gate.wait(PATIENCE_SECONDS)
        self._newest = self._model.decode(code[np.newaxis], np.zeros(1, np.intp))
        return self._newest

    def _sound(self, number, stream, motion, start, count):
        sound = np.zeros((1, count), np.float32)
        if stream.on >= start + count:
            return sound
        if stream.clip is None:
            if self._live:
                stream.clip = self._newest
            else:
                self._ask(motion.latents([number], np.array([stream.on]))[0])
                stream.clip = self._last.result()
        first = max(start, stream.on)
        piece = stream.clip[:, first - stream.on : start + count - stream.on]
        sound[:, first - start : first - start + piece.shape[1]] = piece
        return sound


def make_engine(model, request):
    return ClipEngine(model, request.live, request.rest_latents)
