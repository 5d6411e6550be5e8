"""Whole clips, struck by keys: the engine of models of kind ``clip``."""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..contract.model import Model
from ..controls import RAMP_SECONDS, Ramp
from ..kinds.clip import LABEL, UNMOVED, ClipSettings, Hit
from .clip_sound import ClipSound
from .clips.aside import Aside
from .clips.part import Asked, Part
from .clips.reading import BITS, ONE, Clip, Places, Reader, Stretch, steady, steps
from .clips.store import NEWEST, Ahead, Decoder, Name, Waiting, Want
from .protocol import Motion, VoiceSound

Array = npt.NDArray[np.float32]
Play = Generator[Asked, list[Array], None]  # asks to read clips, and is given what they have
Piece = Generator[Asked, list[Array], Array]  # the same, and returns what it makes of that
Codes = Mapping[int, Array]  # of all voices, [voices, n_latents], by sample

LOOK_SECONDS = 0.005  # between looks, live, at where the knobs lead
MORPH_SECONDS = 0.05  # from one clip to the next of a sound that is held while its code moves
SPREAD_SECONDS = 0.02  # over which held sounds begin with that, by their keys: not all in one block
APART = 977  # samples by which a key begins after the next lower one, within that
FADE_SECONDS = 0.005  # of an end that the clip itself does not have
MOST_AT_ONCE = 2048  # samples of a voice: their taps stay in a processor's cache
HEARD = 16  # clips that sound though newer ones of their key are kept
KNOBS = -1  # the slot of clips that any key plays: those of the knobs' own code


class Playing(NamedTuple):
    """The settings of a preset that its clips are played by.

    ``kit``: the clip of each key, empty where all keys play the knobs' own. ``rest``: the code at which the knobs
    rest. ``gated``: a clip follows its code, and may be held. ``lowest``: the semitones by which it may be bent down;
    ``glides``: its pitch may come from any other key's.
    """

    settings: ClipSettings
    kit: Mapping[int, Hit]
    rest: Sequence[float]
    gated: bool
    lowest: float
    glides: bool


@dataclass(slots=True, kw_only=True)
class ClipStream(VoiceSound):
    """One voice's clip; ``at`` is the place in its part that the next sample has, in parts of a sample.

    The sound goes over to the clip that is ``coming`` from sample ``since`` on, and to the one that is ``next`` at its
    next turn, ``turn`` samples after a moment of the grid.
    """

    slot: int
    label: int
    shift: float  # semitones that are added to its pitch
    part: Part
    turn: int
    at: int = 0
    clip: Clip | None = None
    name: Name | None = None
    coming: Clip | None = None
    since: int = 0
    next: tuple[Clip, Name | None] | None = None
    finished: bool = False


class ClipEngine:
    """Plays a part of a clip at each note, at the pitch of its key, bends followed from sample to sample.

    Offline a note has the clip of the code of its first sample, and waits for it. Live a thread decodes, always by the
    newest code: that to which the knobs will have come when it is ready, as far as their motion is known, for the key
    that was struck last before the others. A note plays the newest clip that is ready, or an older one if that is the
    very one of its code.

    A sound that is not struck but held follows its code: at the moments of a grid that all voices share, so that they
    share clips, `MORPH_SECONDS` apart, it finds the clip of the new code, and begins to go over to it, at the same
    place in it, at once or up to `SPREAD_SECONDS` later.

    What moves otherwise is read at the note-on, and so it is known then when a sound will be over at the latest: before
    it is decoded, and in processes that do not compute it.
    """

    channels = 1
    lookback = 0

    def __init__(self, model: Model, sound: ClipSound, playing: Playing, live: bool) -> None:
        """Make it ready offline; live, begin to decode the clips that keys play first."""
        card = model.card
        self._rate, self._whole, self._playing = card.sample_rate, card.frame_length, playing
        self._ramp = round(RAMP_SECONDS * self._rate)
        self.targets = {name: Ramp(value, self._ramp) for name, value in playing.settings.values().items()}
        label = playing.settings.label
        self._label = Ramp(0.0 if label is None else card.labels.index(label), 1)
        if len(card.labels) > 1:
            self.targets[LABEL] = self._label
        self._slots = list(playing.kit) or [KNOBS]  # the one that was struck last first
        self._rest = np.array(playing.rest, np.float32)
        low, high = (np.array([getattr(latent, end) for latent in card.latents], np.float32) for end in ("low", "high"))
        hits = list(playing.kit.values()) or [Hit(None, None)]
        self._rows = {slot: row for row, slot in enumerate(self._slots)}  # of the codes of their own, by slot
        self._own = np.array([playing.rest if hit.code is None else hit.code for hit in hits], np.float32)
        self._bare = [row for row, hit in enumerate(hits) if hit.code is None]  # those that have none
        self._low, self._high = np.minimum(low, self._own), np.maximum(high, self._own)
        self._fade = max(1, round(FADE_SECONDS * self._rate))
        self._grid = max(1, round(MORPH_SECONDS * self._rate))
        self._spread = max(1, round(SPREAD_SECONDS * self._rate))
        self._shares = (0.5 - 0.5 * np.cos(np.arange(self._grid) * (np.pi / self._grid))).astype(np.float32)
        self._coded = b"", self._own  # codes of all clips, and where the knobs are for them
        self._reader = Reader()
        self._look_samples, self._next_look = max(1, round(LOOK_SECONDS * self._rate)), 0
        decoder = Decoder(model, sound)
        self._waiting = None if live else Waiting(decoder, 4 * self._whole)
        self._ahead = Ahead(Aside(decoder, self._whole, (NEWEST + 1) * len(self._slots) + HEARD)) if live else None
        self._age_ms = 0.0
        if self._ahead is not None:
            self._ahead.ask(self._wants(self._rest, 0))

    @property
    def ready(self) -> bool:
        """See `Engine.ready`: live, each key has a clip."""
        return self._ahead is None or all(self._ahead.of(slot) for slot in self._slots)

    @property
    def idle(self) -> bool:
        """Return whether no clip is being decoded."""
        return self._ahead is None or self._ahead.idle

    @property
    def age_ms(self) -> float | None:
        """See `Engine.age_ms`."""
        return None if self._ahead is None else self._age_ms

    def begin(self, pitch: float, time: int, key: int) -> ClipStream:
        """See `Engine.begin`."""
        playing, values = self._playing, {name: ramp.value(time) for name, ramp in self.targets.items()}
        part = Part.of(self._whole, values, playing.settings.loop, self._rate, self._fade)
        shift = values["clip.pitch"] - UNMOVED
        slot = key if key in playing.kit else KNOBS
        self._slots.remove(slot)
        self._slots.insert(0, slot)
        stream = ClipStream(
            key=pitch,
            on=time,
            slot=slot,
            label=self._label_of(slot, time),
            shift=shift,
            part=part,
            turn=key * APART % self._spread,
        )
        if not part.period:
            slowest = int(steps(np.float32((0.0 if playing.glides else pitch) + shift - playing.lowest))[0])
            stream.over = time + math.ceil((part.length * ONE) / slowest) + 1 + self._fade
        return stream

    def render(self, streams: Sequence[ClipStream], motion: Motion, start: int, count: int) -> list[Array]:
        """See `Engine.render`."""
        end = start + count
        if self._ahead is not None and end >= self._next_look:
            self._next_look = end + self._look_samples
            self._look(self._ahead, motion, max(0, len(streams) - 1), end)
        silence = np.zeros((1, count), np.float32)
        codes = self._codes_at(motion, len(streams), start, end)
        sounds, plays = [], []
        for voice, stream in enumerate(streams):
            first, last = max(start, stream.on), min(end, stream.end or end, stream.over or end)
            if stream.finished or first >= last:
                sounds.append(silence)
                continue
            sounds.append(np.zeros((1, count), np.float32))
            plays.append(self._play(voice, stream, motion, first, last, codes, sounds[-1][0, first - start :]))
        self._run(plays)
        for ramp in self.targets.values():
            ramp.forget(end)
        return sounds

    def _codes_at(self, motion: Motion, voices: int, start: int, end: int) -> Codes:
        """Return where the knobs are for all voices at the moments at which held sounds look for a new clip."""
        times = range(start + -start % self._grid, end, self._grid) if self._playing.gated and voices else ()
        if not times:
            return {}
        pairs = [(voice, time) for time in times for voice in range(voices)]
        rows = motion.latents([voice for voice, _ in pairs], np.array([time for _, time in pairs], np.int64))
        return dict(zip(times, rows.reshape(len(times), voices, -1), strict=True))

    def _run(self, plays: Sequence[Play]) -> None:
        """Let all plays have what they ask for, until they are done: what they ask for together is read together."""
        asking = [(play, requests) for play in plays if (requests := next(play, None)) is not None]
        while asking:
            given = iter(self._reader.read([request for _, asked in asking for request in asked]))
            going = []
            for play, requests in asking:
                try:
                    going.append((play, play.send([next(given) for _ in requests])))
                except StopIteration:
                    continue
            asking = going

    def _play(
        self, voice: int, stream: ClipStream, motion: Motion, first: int, last: int, codes: Codes, out: Array
    ) -> Play:
        """Write a stream's samples from ``first`` to ``last`` into ``out``, piece by piece, each of one clip or two."""
        if first == stream.on:
            code = motion.latents([voice], np.array([first], np.int64))[0]
            stream.clip, stream.name = self._clip_for(stream, code, first)
        if stream.clip is None:  # nothing was ready
            stream.finished = True
            return
        turns = range(first + (stream.turn - first) % self._grid, last, self._grid) if self._playing.gated else ()
        if not (codes or turns):
            sound = yield from self._piece(voice, stream, motion, first, last - first)
            out[: last - first] = self._ended(stream, sound, first)
            return
        looks = [time for time in codes if stream.on < time < last]
        begins = sorted({first, *turns})
        for begin, stop in zip(begins, [*begins[1:], last], strict=True):
            while looks and looks[0] <= begin:
                self._look_for(stream, codes[looks[0]][voice], looks.pop(0))
            if begin in turns:
                self._go_over(stream, begin)
            sound = yield from self._piece(voice, stream, motion, begin, stop - begin)
            out[begin - first : stop - first] = self._ended(stream, sound, begin)
            if stream.finished:
                return
        for time in looks:
            self._look_for(stream, codes[time][voice], time)

    def _look_for(self, stream: ClipStream, code: Array, time: int) -> None:
        """Find the clip of a held sound's code at a sample, to which it goes over at its next turn."""
        clip, name = self._clip_for(stream, code, time)
        if clip is not None:
            stream.next = clip, name

    def _go_over(self, stream: ClipStream, time: int) -> None:
        """Let a held sound begin to go over to the clip of its code at a sample, where that is another."""
        if stream.coming is not None:
            stream.clip, stream.coming = stream.coming, None
        if stream.next is not None:
            clip, name = stream.next
            if name != stream.name:
                stream.coming, stream.name, stream.since = clip, name, time
            stream.next = None

    def _clip_for(self, stream: ClipStream, knobs: Array, time: int) -> tuple[Clip | None, Name | None]:
        """Return the clip of a voice where the knobs are at a code, and its name; live the newest ready one, or none.

        Args:
            stream: of the voice.
            knobs: the code, [n_latents].
            time: when, in samples.
        """
        code = self._codes(knobs)[self._rows[stream.slot]]
        name = stream.label, code.tobytes()
        if self._waiting is not None:
            return self._waiting.clip(stream.label, code), name
        assert self._ahead is not None
        ready = self._ahead.of(stream.slot)
        # That of the very code, or the newest of the label, or the newest of all.
        kept = max(ready, key=lambda kept: (kept.name == name, kept.name[0] == stream.label, kept.number), default=None)
        if kept is None:
            return None, None
        if time == stream.on:
            self._age_ms = 0.0 if kept.name == name else max(0, time - kept.said) / self._rate * 1000
        return kept.clip, kept.name

    def _piece(self, voice: int, stream: ClipStream, motion: Motion, begin: int, count: int) -> Piece:
        """Return a stream's next samples, [count]; ask for what is needed for them."""
        pitch = stream.key if stream.pitch is None else stream.pitch.block(begin, count)
        semitones = np.float64(stream.shift) + pitch + motion.bend_of(voice, begin, count)
        step = steady(float(semitones)) if semitones.ndim == 0 else steps(semitones)
        as_it_is = stream.coming is None and len(step) == 1 and step[0] == ONE and not stream.at & (ONE - 1)
        if count <= MOST_AT_ONCE or as_it_is:
            return (yield from self._read(stream, step, begin, count))
        parts = []
        for first in range(0, count, MOST_AT_ONCE):
            most = min(MOST_AT_ONCE, count - first)
            there = step if len(step) == 1 else step[first : first + most]
            parts.append((yield from self._read(stream, there, begin + first, most)))
        return np.concatenate(parts)

    def _read(self, stream: ClipStream, step: Places, begin: int, count: int) -> Piece:
        """Do as `_piece`, with the ``step`` of `Request`, for so few samples that they are read at once."""
        part, at, row = stream.part, stream.at, begin - stream.on
        if len(step) == 1:
            pace = int(step[0])
            after, inside = at + pace * count, part.inside(at, pace, count)
        else:
            places = at + np.concatenate([np.zeros(1, np.int64), np.cumsum(step)])
            after = int(places[-1])
            inside = count if part.period else int(np.searchsorted(places[:-1], part.length << BITS))
        stream.at, stream.finished = part.wrapped(after), inside < count
        if inside == 0:
            return np.zeros(count, np.float32)
        assert stream.clip is not None
        clips = [stream.clip] if stream.coming is None else [stream.clip, stream.coming]
        if len(step) > 1:
            sounds = yield from part.sound(clips, places[:inside], step[:inside], row)
        elif straight := part.straight(at, pace, inside):
            sounds = yield [Stretch(clip, *straight, inside, row) for clip in clips]
        else:
            sounds = yield from part.sound(clips, at + pace * np.arange(inside), step, row)
        sound = sounds[0]
        if stream.coming is not None:
            sound = sound + self._shares[begin - stream.since : begin - stream.since + inside] * (sounds[1] - sound)
        return _lengthened(sound, count)

    def _ended(self, stream: ClipStream, sound: Array, begin: int) -> Array:
        """Return a sound that fades out where it was bent lower than was known, and so lasts too long."""
        if stream.over is None or begin + len(sound) <= stream.over - self._fade:
            return sound
        left = (stream.over - np.arange(begin, begin + len(sound))) / self._fade
        return sound * np.clip(left, 0.0, 1.0).astype(np.float32)

    def _look(self, ahead: Ahead, motion: Motion, voice: int, now: int) -> None:
        """Have the clips decoded to which the knobs lead, and remember which clips they say now."""
        lead = max(self._ramp, round(ahead.seconds * self._rate))
        here, there = motion.latents([voice, voice], np.array([now, now + lead], np.int64))
        knobs = here.tobytes()
        for slot in self._slots:
            for kept in ahead.of(slot):
                if kept.knobs == knobs:
                    kept.said = now
        ahead.ask(self._wants(there, now + lead))

    def _wants(self, base: Array, time: int) -> list[Want]:
        """Return the clips of all keys where the knobs are at a code, in the order in which they are wanted."""
        codes, knobs = self._codes(base), base.tobytes()
        return [Want(slot, self._label_of(slot, time), codes[self._rows[slot]], knobs, time) for slot in self._slots]

    def _codes(self, base: Array) -> Array:
        """Return the codes of all clips, [slots, n_latents], where the knobs are at a code; only to be read."""
        knobs = base.tobytes()
        if knobs != self._coded[0]:
            codes = np.minimum(np.maximum(self._own + (base - self._rest), self._low), self._high)
            codes[self._bare] = base
            self._coded = knobs, codes
        return self._coded[1]

    def _label_of(self, slot: int, time: int) -> int:
        """Return the number of the label of a key's clip at a sample."""
        label = None if slot == KNOBS else self._playing.kit[slot].label
        return round(self._label.value(time)) if label is None else label


def _lengthened(sound: Array, count: int) -> Array:
    """Return a sound with silence after it, [count]."""
    return sound if len(sound) == count else np.concatenate([sound, np.zeros(count - len(sound), np.float32)])
