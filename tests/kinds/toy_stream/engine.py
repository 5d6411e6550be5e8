"""The engine of the kind: it steps the decoder once for each frame of each voice."""

import dataclasses

import numpy as np
from timbrel.host.engines.engine import VoiceSound

LENGTH = 256


@dataclasses.dataclass(slots=True, kw_only=True)
class Stream(VoiceSound):
    """The state of a voice: the decoder's, and pending samples, [samples] up to sample ``made``."""

    state: dict
    pending: np.ndarray
    made: int


class StreamEngine:
    """Steps the decoder once for each frame of each voice, from rest at its note-on."""

    channels, lookback, ready, age_ms = 1, 0, True, None

    def __init__(self, model):
        self._model, self.targets = model, {}

    def start_stream(self, pitch, time, key, velocity):
        return Stream(key=pitch, on=time, state=self._model.at_rest(1), pending=np.zeros(0, np.float32), made=time)

    def render(self, streams, motion, start, count):
        return [self._sound(number, stream, motion, start, count) for number, stream in enumerate(streams)]

    def prepare(self, streams, motion, now):
        pass

    def _sound(self, number, stream, motion, start, count):
        pieces, scaling = [stream.pending], self._model.card.scaling
        while stream.made < start + count:
            code = motion.latents([number], np.array([stream.made]))
            frame, stream.state = self._model.step(code, np.zeros(1, np.intp), stream.state)
            pieces.append(frame[0] * scaling.deviation + scaling.mean)
            stream.made += LENGTH
        made = np.concatenate(pieces)
        begin = max(start, stream.on)
        given = max(0, start + count - begin)
        stream.pending = made[given:]
        sound = np.zeros((1, count), np.float32)
        sound[0, count - given :] = made[:given]
        return sound


def make_engine(model, request):
    return StreamEngine(model)
