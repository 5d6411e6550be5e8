"""The voices of a model of partials in the compiled core: memory, streams, ramps."""

import ctypes
import functools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, address_of
from ..engines.engine import Motion, VoiceMaker, VoiceSound, image_target
from ..engines.spectrum.frames import VoicingSettings
from ..model.model import Model
from ..ramps import Ramp
from ..units import MIDDLE_C
from ..velocity import LOUDEST
from ..voice_library import NEVER, PARTS, CoreRamp, CoreVoice, unlocked_library, voice_library
from .network import Network, network_of
from .tables import CoreTables, decode, fits_core

Places = npt.NDArray[np.uintp]  # addresses of voices

Worker = tuple[ctypes.CDLL, int]  # a library, and a core of it

WORTH_THREADS = 1024  # samples of a block from which threads pay
AHEAD = 8  # rows decoded ahead at a time
HOPS = 8  # hops of the model whose codes a voice receives at a time: half of those that it keeps


class SentRamp:
    """A ramp as the core reads it."""

    __slots__ = ("_newest", "_segments", "_struct", "at", "ramp")

    def __init__(self, ramp: Ramp) -> None:
        self.ramp = ramp
        self._struct = CoreRamp()
        self.at = ctypes.addressof(self._struct)
        self._newest: Any = None
        self.send()

    def send(self) -> None:
        """Send the ramp's segments if it has moved since."""
        segments = self.ramp.segments
        if segments[-1] is not self._newest:
            self._newest = segments[-1]
            numbers = [number for segment in segments for number in segment]
            self._segments = (ctypes.c_double * len(numbers))(*numbers)
            self._struct.segments, self._struct.count = ctypes.addressof(self._segments), len(segments)


@dataclass(slots=True, kw_only=True)
class CoreStream(VoiceSound):
    """A voice in the core's memory.

    Attributes:
        voice: its structure; ``at``: its address.
        next_hop: the first hop of the model whose codes it lacks.
        ramps: its own, in the order of their fields.
        kept: arrays to which its structure points.
        sent: whether the core knows the voice; ``released``: and its release.
    """

    memory: npt.NDArray[np.uint8]
    voice: CoreVoice
    at: int
    next_hop: int
    ramps: list[SentRamp] = field(default_factory=list)
    kept: Any = None
    gesture: Any = None
    sent: bool = False
    released: bool = False

    def send_ramp(self, name: str, ramp: Ramp) -> None:
        """Give the core a ramp of this voice alone."""
        sent_ramp = SentRamp(ramp)
        self.ramps.append(sent_ramp)
        setattr(self.voice, name, sent_ramp.at)


class CoreEngine(VoiceMaker[CoreStream]):
    """Begins the core's voices; `CoreSynthesis` has them rendered together."""

    def __init__(
        self, library: ctypes.CDLL, model: Model, network: Network | None, character: VoicingSettings, chord: bool
    ) -> None:
        """``network`` None: the model's graph decodes, when the core asks for rows."""
        self._library, self._card = library, model.card
        self._tables = CoreTables(model, network, character, chord)
        self.targets: Mapping[str, Ramp] = image_target(character.image, model.card, character.image_bands)
        self.sent_targets = [SentRamp(ramp) for ramp in self.targets.values()]
        for sent_ramp in self.sent_targets:
            self._tables.instrument.image_amount = sent_ramp.at
        self._memories = list[npt.NDArray[np.uint8]]()
        self.core = self._open()
        self._free = unlocked_library() or library  # for long blocks: others may run meanwhile
        self._crew: list[Worker] = []
        self._pool: ThreadPoolExecutor | None = None
        self._voice_bytes: int = library.core_voice_bytes(ctypes.addressof(self._tables.instrument))
        self._hop, self._frame, self._delay = self._tables.hop_length, self._tables.frame_length, self._tables.delay
        self._knob_hop, self._latents = model.card.hop_length, len(model.card.latents)
        self._voices_begun = self._number = 0

    @property
    def channels(self) -> int:
        return self._tables.channels

    @property
    def lookback(self) -> int:
        return self._knob_hop + self._delay

    @property
    def knob_hop(self) -> int:
        """Samples from reading of codes to reading."""
        return self._knob_hop

    def start_stream(self, pitch: float, time: int, key: int = MIDDLE_C, velocity: int = LOUDEST) -> CoreStream:
        tables = self._tables
        place = tables.moments[self._voices_begun // tables.together % len(tables.moments)]
        moment = place * self._hop // tables.parts
        self._voices_begun += 1
        self._number += 1
        silent = time - self._frame  # a frame from here ends before the note
        first = silent + self._hop - (silent - moment) % self._hop
        memory = np.empty(self._voice_bytes + 64, np.uint8)
        address = address_of(memory)
        address += -address % 64
        voice = CoreVoice.from_address(address)
        ctypes.memset(address, 0, ctypes.sizeof(CoreVoice))
        voice.on, voice.next_frame, voice.off, voice.stolen_at = time, first, NEVER, NEVER
        voice.key, voice.number = pitch, self._number
        self._library.core_voice_open(self.core, address)
        return CoreStream(
            key=pitch, on=time, memory=memory, voice=voice, at=address, next_hop=(first - self._delay) // self._knob_hop
        )

    def number_next(self, number: int) -> None:
        self._number = number - 1

    def send_codes(self, streams: Sequence[CoreStream], motion: Motion, last_hop: int) -> None:
        """Send the codes that frames read up to a hop; they lie a hop and the delay before the frames."""
        rows = [(voice, hop) for voice, stream in enumerate(streams) for hop in range(stream.next_hop, last_hop + 1)]
        if not rows:
            return
        voices = [voice for voice, _ in rows]
        hops = np.array([hop for _, hop in rows], np.int64)
        read = hops * self._knob_hop
        onsets = np.array([streams[voice].on for voice in voices], np.int64)
        knobs = np.maximum(read, onsets - onsets % self._knob_hop)
        codes = np.ascontiguousarray(motion.latents(voices, knobs, read), np.float32)
        places = np.array([streams[voice].at for voice in voices], np.uintp)
        self._library.core_codes(self.core, address_of(places), address_of(hops), address_of(codes), len(rows))
        for stream in streams:
            stream.next_hop = max(stream.next_hop, last_hop + 1)

    def hop_of(self, frame: int) -> int:
        """Hop whose codes a frame from this sample reads."""
        return (frame - self._delay) // self._knob_hop

    def frame_of(self, hop: int) -> int:
        """The first frame that reads a hop's codes."""
        return hop * self._knob_hop + self._delay

    def image_curves(self, image: Doubles | None) -> Array | None:
        """Curves of a note's image, [32, 2], as the preset has it; None without, or if all have one."""
        if image is None or self._tables.image_curves is None:
            return None
        return self._tables.image_curves(image)

    @property
    def decodes_alone(self) -> bool:
        """Return whether the core decodes without Python."""
        return self._tables.source is None

    def decode_ahead(self, places: Places, now: int) -> bool:
        """Decode some rows of the newest codes of the voices at ``places``; return whether others may remain."""
        source, count = self._tables.source, len(places)
        if source is not None:
            codes, conditions = np.empty((AHEAD, self._latents), np.float32), np.empty(AHEAD, np.int32)
            found = (address_of(codes), address_of(conditions))
            rows = self._library.core_unknown(self.core, address_of(places), count, now, AHEAD, *found)
            if rows and source.prepare(codes[:rows], conditions[:rows]):
                return True
        return bool(self._library.core_ahead(self.core, address_of(places), count, now, AHEAD))

    def prepare_notes(self, motion: Motion, hop: int) -> bool:
        """As `RowSource.prepare_notes`; for rows that the core does not decode itself."""
        return self._tables.source is not None and self._tables.source.prepare_notes(motion, hop)

    def mix(self, places: Places, parts: Sequence[int], buses: int, bus_count: int, start: int, sound: Array) -> None:
        """Render the voices at ``places``, of these parts, with the gains of their buses into ``sound``, [2, count]."""
        count = sound.shape[1]
        shape = bus_count, PARTS, self.channels, count
        # As np.zeros, which gives up the interpreter lock in each block: a thread that computes keeps it for long.
        sums = np.frombuffer(bytearray(math.prod(shape) * np.float32().itemsize), np.float32).reshape(shape)
        if len(self._crew) > 1 and count >= WORTH_THREADS:
            of_part = np.array(parts) % len(self._crew)
            shares = [places[of_part == number] for number in range(len(self._crew))]
            list(self._threads().map(functools.partial(self._render, start, sums), self._crew, shares))
        else:
            self._render(start, sums, (self._free if count >= WORTH_THREADS else self._library, self.core), places)
        if self._tables.source is not None:
            self._tables.source.raise_failure()
        self._library.core_mix(self.core, buses, bus_count, start, count, address_of(sums), address_of(sound))

    @staticmethod
    def _render(start: int, sums: Array, worker: Worker, places: Places) -> None:
        library, core = worker
        library.core_render(core, address_of(places), len(places), start, sums.shape[3], address_of(sums))

    def share(self, threads: int) -> None:
        """Share the voices of long blocks among threads, at most `PARTS`; offline only."""
        if threads > 1:
            self._crew = [(self._free, self._open()) for _ in range(min(threads, PARTS))]

    def _threads(self) -> ThreadPoolExecutor:
        """Started late: other instruments may fork before."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(self._crew), "voices")
        return self._pool

    def _open(self) -> int:
        """A core's address."""
        instrument = ctypes.addressof(self._tables.instrument)
        memory = np.empty(self._library.core_bytes(instrument) + 64, np.uint8)
        self._memories.append(memory)
        core = address_of(memory) + -address_of(memory) % 64
        self._library.core_open(core, instrument, self._library.core_instructions())
        return core

    def decoded(self, codes: Array, keys: npt.NDArray[np.int32]) -> Array:
        """Frames of the core's own decoder, [rows, frame_width]."""
        return decode(self._library, self.core, np.ascontiguousarray(codes, np.float32), keys, self._card.frame_width)

    def agrees(self, model: Model) -> bool:
        """Return whether the core decodes the card's reference within the card's tolerance."""
        reference = self._card.reference
        codes = np.asarray(reference.latent, np.float32)
        keys = np.asarray(reference.key or [0] * len(codes), np.int32)
        frames = model.decode(codes, keys.astype(np.intp))
        return bool(np.abs(self.decoded(codes, keys) - frames).max() <= reference.tolerance)


def core_engine_of(model: Model, character: VoicingSettings, chord: bool) -> CoreEngine | None:
    """An engine in the core for frames of spectra or partials; None where it is not compiled or does not fit them.

    Raises:
        UserError: as `voice_library`.
    """
    library = voice_library()
    if library is None or not fits_core(model, character):
        return None
    network = network_of(model) if model.card.partials is not None else None
    engine = CoreEngine(library, model, network, character, chord)
    if network is not None and not engine.agrees(model):
        return CoreEngine(library, model, None, character, chord)
    return engine
