"""Sound cards by PortAudio, with a C ring buffer between render thread and callback.

PortAudio is loaded on the first call.
"""

import ctypes
import functools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..arrays import Array
from ..errors import UserError, nearest
from ..ramps import RAMP_SECONDS, Ramp
from .sound_files import is_stereo, sum_products

CLIENT = b"timbrel"  # the JACK client name
BLOCKS = (16, 8192)  # samples: shorter, and the callback dominates the load; longer, and keys feel late
CHANNELS = 2
SAMPLE_BYTES = 4 * CHANNELS
RATES = (44100, 48000, 88200, 96000, 176400, 192000)
SHORT_APIS = {"jack audio connection kit": "jack", "windows wasapi": "wasapi", "windows directsound": "directsound"}
DEFAULT = "default"  # the name for the system's default input
INPUT_SECONDS = 1.0  # of input buffered while the render thread is blocked
AUDIBLE = 1e-8  # power of a side, -80 dB: a weaker one is the noise of an input without a cable
LATE_BLOCKS = 3  # late input blocks in a row before some are dropped
REST_SECONDS = 0.8  # of silence ahead while nothing sounds, looked at each 0.2 s: a busy machine does it late
LOST_SECONDS = 1.0  # without a callback of the driver: a card that its system still calls active
FIRST_SECONDS = 20.0  # until its first callback, on a slow or busy machine
LOOK_SECONDS = 0.25  # that count at most between two looks: this process may have stood still itself
SPARE_BLOCKS = 2  # extra room in the ring


def check_block(block: int) -> None:
    """Raise UserError outside `BLOCKS`."""
    low, high = BLOCKS
    if not low <= block <= high:
        raise UserError(f"--block {block} is out of range [{low}, {high}] samples; 128 or 256 suit most cards")


@dataclass(frozen=True)
class SoundCard:
    """``rate`` is the default in Hz; ``default``: the system's card, ``api_default``: that of its host API."""

    index: int
    name: str
    api: str
    rate: int
    channels: int
    default: bool
    api_default: bool = False


class Sink(Protocol):
    """A sound card or a clock, kept ``depth`` blocks ahead, with room for `SPARE_BLOCKS` more."""

    rate: int
    block: int
    depth: int
    written: int
    underruns: int

    @property
    def latency_seconds(self) -> float:
        """Latency after the ring, as the driver reports."""

    @property
    def taken(self) -> int:
        """Samples played; negative during initial silence."""

    @property
    def alive(self) -> bool: ...

    @property
    def stuck(self) -> bool:
        """Return whether it is not alive because its driver took nothing for `LOST_SECONDS`."""

    def start(self) -> None:
        """Start with ``depth`` silent blocks."""

    def write(self, sound: Array) -> None:
        """Append a block, [2, block]."""

    @property
    def ring_address(self) -> int | None:
        """PortAudio's ring, for code outside Python that fills it; None without one."""

    def advance(self, count: int) -> None:
        """Note ``count`` samples that were written so."""

    def fill_with_silence(self) -> None:
        """Append silence up to `REST_SECONDS` ahead."""

    def leave_out_silence(self, minimum_written: int) -> None:
        """Withdraw the last appended samples, but ``depth`` - 1 blocks; leave ``minimum_written`` in all."""

    def close(self) -> None: ...


@functools.cache
def _portaudio() -> Any:
    """Load PortAudio, under the name of our JACK client."""
    try:
        import sounddevice
    except ImportError:
        raise UserError("playing live needs more packages; install them with: pip install 'timbrel[live]'") from None
    except OSError:
        raise UserError(
            "the PortAudio library is missing; install it (Debian: apt install libportaudio2) or use --null"
        ) from None
    try:
        name_client = ctypes.CDLL(sounddevice._libname).PaJack_SetClientName
    except (OSError, AttributeError):  # built without JACK
        return sounddevice
    sounddevice._terminate()  # the name applies from the next initialisation
    name_client(CLIENT)
    sounddevice._initialize()
    return sounddevice


def cards() -> list[SoundCard]:
    return _list_cards("output")


def inputs() -> list[SoundCard]:
    return _list_cards("input")


def _list_cards(direction: str) -> list[SoundCard]:
    """List cards with channels in a direction, ``input`` or ``output``."""
    portaudio = _portaudio()
    host_apis, default_index = portaudio.query_hostapis(), portaudio.default.device[direction == "output"]
    if default_index < 0:  # PortAudio's own choice: the default of the first API that has one
        default_index = next(
            (
                host_api[f"default_{direction}_device"]
                for host_api in host_apis
                if host_api[f"default_{direction}_device"] >= 0
            ),
            -1,
        )
    return [
        SoundCard(
            index=index,
            name=device["name"],
            api=host_apis[device["hostapi"]]["name"],
            rate=round(device["default_samplerate"]),
            channels=device[f"max_{direction}_channels"],
            default=index == default_index,
            api_default=index == host_apis[device["hostapi"]][f"default_{direction}_device"],
        )
        for index, device in enumerate(portaudio.query_devices())
        if device[f"max_{direction}_channels"] > 0
    ]


def find_card(name: str | None) -> SoundCard:
    """Find a card by a host API's name, or by a unique part of the card's; None is the default.

    Raises:
        UserError: none or several match.
    """
    devices = cards()
    if not devices:
        raise UserError("no sound card was found; connect one or start JACK, or try --null, which plays to nowhere")
    if name is None:
        return next((card for card in devices if card.default), devices[0])
    return _match_card(name, devices, "--device", "sound card")


def find_input(name: str) -> SoundCard:
    """As `find_card`; ``default`` is the system's."""
    devices = inputs()
    if not devices:
        raise UserError(f"--input {name}: no sound input was found; connect one or start JACK")
    if name == DEFAULT:
        return next((card for card in devices if card.default), devices[0])
    return _match_card(name, devices, "--input", "sound input")


def _match_card(name: str, devices: Sequence[SoundCard], option: str, kind_text: str) -> SoundCard:
    """Find a card by a host API's name or by part of its name; messages name option and kind."""
    folded_name = name.casefold()
    api_devices = [
        card for card in devices if folded_name in (card.api.casefold(), SHORT_APIS.get(card.api.casefold()))
    ]
    if api_devices:
        return next((card for card in api_devices if card.api_default), api_devices[0])
    exact_matches = [
        card for card in devices if folded_name in (card.name.casefold(), f"{card.name} ({card.api})".casefold())
    ]
    matches = exact_matches or [card for card in devices if folded_name in f"{card.name} ({card.api})".casefold()]
    names = [card.name for card in devices]
    if not matches:
        raise UserError(f"no {kind_text} is named {name!r}{nearest(name, names)}")
    if len(matches) > 1:
        listing = ", ".join(repr(f"{card.name} ({card.api})") for card in matches)
        raise UserError(
            f"{option} {name!r} fits {len(matches)} {kind_text.split()[-1]}s: {listing}; give more of the name"
        )
    return matches[0]


class Ear:
    """A card's input, in blocks of the sink's size.

    After an underrun, `listen` drops the surplus, so that latency does not grow.
    """

    def __init__(self, stream: Any, ring: Any, channels: int, sink: "CardSink") -> None:
        self._stream, self._ring, self._channels, self._sink = stream, ring, channels, sink
        self._action: Any = None
        self._late_blocks = 0  # successive late blocks
        self.heard = np.zeros((channels, sink.block), np.float32)  # the current block
        self._image = Ramp(0.0, round(RAMP_SECONDS * sink.rate))  # from the mean of both sides to each of them
        self._read_samples = 0

    @property
    def latency_seconds(self) -> float:
        """Latency before the ring, as the driver reports."""
        return float(self._stream.latency[0])

    @property
    def ready(self) -> bool:
        return int(self._ring.read_available) >= self._sink.block

    def start(self) -> None:
        """Call before the sink starts."""
        self._action = self._stream.record_ringbuffer(self._ring)

    def listen(self) -> None:
        """Read a block into `heard`; only when `ready`.

        Two sides are mixed until both sound and differ: a recording through one input is no image.
        """
        block_samples = self._sink.block
        surplus_samples = int(self._ring.read_available) + self._sink.queued_samples - self._sink.depth * block_samples
        self._late_blocks = self._late_blocks + 1 if surplus_samples > 0 else 0
        if self._late_blocks >= LATE_BLOCKS:
            self._ring.advance_read_index(min(surplus_samples, int(self._ring.read_available) - block_samples))
            self._late_blocks = 0
        samples = np.frombuffer(self._ring.read(block_samples), np.float32)
        self.heard = np.ascontiguousarray(samples.reshape(block_samples, self._channels).T)
        if self._channels == 2:
            self._fade_image()
        if self._action not in self._stream.actions:  # the ring was full: the callback ended the action
            self._action = self._stream.record_ringbuffer(self._ring)

    def _fade_image(self) -> None:
        """Mix the sides of `heard`, or fade to them."""
        side_products, block_start = sum_products([self.heard.T], 2), self._read_samples
        self._read_samples += self._sink.block
        if side_products.diagonal().min() > AUDIBLE * self._sink.block and is_stereo(side_products):
            self._image.move(block_start, 1.0)
        mean = self.heard.mean(axis=0)
        self.heard = mean + self._image.block(block_start, self._sink.block) * (self.heard - mean)
        self._image.forget(self._read_samples)


class ProgressWatch:
    """Finds that a card stands still, which its system may call active."""

    def __init__(self) -> None:
        self._played_samples: int | None = None
        self._look_time = 0.0
        self._has_started = False
        self.seconds = 0.0  # without progress while somebody looked
        self.stuck = False

    def look(self, played_samples: int, now: float) -> None:
        """``played_samples``: samples; ``now``: seconds."""
        if played_samples == self._played_samples:
            self.seconds += min(now - self._look_time, LOOK_SECONDS)
        else:
            self._has_started, self.seconds = self._played_samples is not None, 0.0
        self._played_samples, self._look_time = played_samples, now
        self.stuck |= self.seconds > (LOST_SECONDS if self._has_started else FIRST_SECONDS)


RingIndex = ctypes.c_int32 if sys.platform == "darwin" else ctypes.c_long


class PortAudioRing(ctypes.Structure):
    """PortAudio's PaUtilRingBuffer."""

    _fields_ = [
        *((name, RingIndex) for name in ("size", "written", "read", "position_mask", "index_mask", "element_bytes")),
        ("elements", ctypes.c_void_p),
    ]


class CardSink:
    def __init__(self, card: SoundCard, rate: int, block: int, depth: int, source: SoundCard | None = None) -> None:
        """Open the card at ``rate`` Hz, and ``source``, an input of the same host API, as ``ear``.

        Raises:
            UserError: the card is busy, or lacks block, rate or input.
        """
        portaudio = _portaudio()
        import rtmixer

        check_block(block)
        self.rate, self.block, self.depth, self.underruns = rate, block, depth, 0
        _check_rate(portaudio, card, rate)
        input_channels = 0 if source is None else min(source.channels, CHANNELS)
        try:
            if source is None:
                self._stream = rtmixer.Mixer(
                    device=card.index, channels=CHANNELS, samplerate=rate, blocksize=block, latency="low"
                )
            else:
                self._stream = rtmixer.MixerAndRecorder(
                    device=(source.index, card.index),
                    channels=(input_channels, CHANNELS),
                    samplerate=rate,
                    blocksize=block,
                    latency="low",
                )
        except portaudio.PortAudioError as error:
            input_text = "" if source is None else f" with input {source.name!r} ({source.api})"
            raise UserError(
                f"sound card {card.name!r}{input_text} cannot be opened: {_reason(error)}; is it in use?"
                + (" Inputs go with cards of the same system" if source is not None else "")
            ) from None
        self._rest_samples = _rest_samples(rate, block)
        ring_samples = max((depth + SPARE_BLOCKS) * block, self._rest_samples + depth * block)
        self._make_ring = functools.partial(rtmixer.RingBuffer, SAMPLE_BYTES, 1 << (ring_samples - 1).bit_length())
        self._ring = self._make_ring()
        self._next_ring: Any = None  # made at rest
        self._interleaved = np.zeros((block, CHANNELS), np.float32)
        self._ring.write(bytes(SAMPLE_BYTES * depth * block))
        self.written = 0
        self._action: Any = None
        self._cancelled_action: Any = None  # the action before; the callback reads it once more
        self._watch = ProgressWatch()
        self.ear: Ear | None = None
        if source is not None:
            ring_samples = 1 << round(INPUT_SECONDS * rate).bit_length()
            self.ear = Ear(self._stream, rtmixer.RingBuffer(4 * input_channels, ring_samples), input_channels, self)

    @property
    def latency_seconds(self) -> float:
        return float(self._stream.latency if self.ear is None else self._stream.latency[1])

    @property
    def taken(self) -> int:
        return self.written - self.queued_samples

    @property
    def queued_samples(self) -> int:
        return int(self._ring.read_available)

    @property
    def alive(self) -> bool:
        """Each look is one of `ProgressWatch`; also restarts the ring where it stands although it holds sound."""
        if not self._stream.active:
            return False
        self._watch.look(self.taken, time.perf_counter())
        if self._watch.seconds > 0:
            self._restart_action()
        return not self.stuck

    @property
    def stuck(self) -> bool:
        return self._watch.stuck

    def start(self) -> None:
        try:
            self._stream.start()  # JACK may call back for a while before this returns
        except _portaudio().PortAudioError:
            return  # the card was removed, and is not `alive`
        if self.ear is not None:
            self.ear.start()
        self._action = self._stream.play_ringbuffer(self._ring)

    def write(self, sound: Array) -> None:
        self._interleaved[:] = sound.T
        self._ring.write(self._interleaved)
        self.advance(self.block)

    @property
    def ring_address(self) -> int | None:
        address = int(self._ring._ffi.cast("uintptr_t", self._ring._ptr))
        ring = PortAudioRing.from_address(address)
        return address if (ring.element_bytes, ring.size) == (SAMPLE_BYTES, len(self._ring)) else None

    def advance(self, count: int) -> None:
        self.written += count
        self.underruns += self._restart_action()

    def fill_with_silence(self) -> None:
        lacking_samples = self._rest_samples - self.queued_samples
        if lacking_samples > self._rest_samples // 2:
            self._ring.write(bytes(SAMPLE_BYTES * lacking_samples))
            self.written += lacking_samples
        self._restart_action()
        self._next_ring = self._next_ring or self._make_ring()  # an event must not wait for it

    def leave_out_silence(self, minimum_written: int) -> None:
        """The card changes to another ring with its next block."""
        silent_samples = (self.depth - 1) * self.block
        new_ring, self._next_ring = self._next_ring or self._make_ring(), None
        new_ring.write(bytes(SAMPLE_BYTES * silent_samples))
        self._cancelled_action = self._action
        self._stream.cancel(self._action)
        self._action = self._stream.play_ringbuffer(new_ring)
        self.written, self._ring = self.taken + silent_samples, new_ring
        if minimum_written > self.written:
            new_ring.write(bytes(SAMPLE_BYTES * (minimum_written - self.written)))
            self.written = minimum_written

    def _restart_action(self) -> bool:
        """Return whether the ring had run empty, where the callback ends the action."""
        has_ended = self._action not in self._stream.actions
        if has_ended:
            self._action = self._stream.play_ringbuffer(self._ring)
        return has_ended

    def close(self) -> None:
        if self.alive:  # closing a JACK client hangs if its server has died
            self._stream.close()


class NullSink:
    """A clock in place of a sound card."""

    latency_seconds = 0.0
    ring_address = None
    alive, stuck = True, False

    def __init__(self, rate: int, block: int, depth: int) -> None:
        check_block(block)
        self.rate, self.block, self.depth, self.underruns = rate, block, depth, 0
        self.written = 0
        self._start_seconds = time.perf_counter()

    @property
    def taken(self) -> int:
        return min(self._clock_samples, self.written)

    @property
    def _clock_samples(self) -> int:
        elapsed_blocks = int((time.perf_counter() - self._start_seconds) * self.rate) // self.block
        return (elapsed_blocks - self.depth) * self.block

    def start(self) -> None:
        self._start_seconds = time.perf_counter()

    def write(self, sound: Array) -> None:
        self.written += self.block
        late_samples = self._clock_samples - self.written
        if late_samples > 0:
            self.underruns += 1
            self._start_seconds += late_samples / self.rate

    def advance(self, count: int) -> None:
        """Do nothing: it has no ring."""

    def fill_with_silence(self) -> None:
        self.written = max(self.written, self._clock_samples + _rest_samples(self.rate, self.block))

    def leave_out_silence(self, minimum_written: int) -> None:
        self.written = max(minimum_written, self.taken + (self.depth - 1) * self.block)

    def close(self) -> None: ...


def _rest_samples(rate: int, block: int) -> int:
    """Samples of silence ahead at rest, whole blocks."""
    return round(REST_SECONDS * rate / block + 1) * block


def _check_rate(portaudio: Any, card: SoundCard, rate: int) -> None:
    """Raise UserError if the card does not play at this rate."""
    if _supports_rate(portaudio, card, rate):
        return
    supported_rates = [candidate for candidate in RATES if _supports_rate(portaudio, card, candidate)]
    if not supported_rates:
        raise UserError(f"sound card {card.name!r} plays at no rate that timbrel knows; is it in use?")
    raise UserError(
        f"--rate {rate}: sound card {card.name!r} does not play at this rate; "
        f"it does {', '.join(map(str, supported_rates))} Hz; leave --rate out to take its own"
    )


def _supports_rate(portaudio: Any, card: SoundCard, rate: int) -> bool:
    try:
        portaudio.check_output_settings(device=card.index, channels=CHANNELS, dtype="float32", samplerate=rate)
    except (portaudio.PortAudioError, ValueError):
        return False
    return True


def _reason(error: Exception) -> str:
    """Text of PortAudio's error."""
    return " ".join(str(message) for message in error.args[:1]).strip()
