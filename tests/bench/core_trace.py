"""Calls of the voice core with the memory that they read, recorded while Python plays, for replays elsewhere.

A trace is laid out for the width of the other processor's pointers. It begins with the model's tables; `wasm.py` and
`neon.py` replay it with cores that zig compiles, and compare every sample with those of the recorded core.
"""

import ctypes
import functools
import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from timbrel.host import voice_library
from timbrel.host.audio.rate_conversion import RateConversion
from timbrel.host.play.rack import Rack
from timbrel.host.voice_library import PARTS, CoreBus, CoreGesture, CoreRamp, CoreVoice

CORE = Path(voice_library.__file__).parent / "voice/core/core.c"
# As in setup.py.
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", "-fvisibility=hidden", "-g0"]
STRICT = ["-Wall", "-Wextra", "-Werror"]
ALIGNMENT = 64  # bytes, of all memory
IMAGE_ROWS = 8  # of curves
NATIVE_BYTES = 1 << 28  # of which only those of a trace are used
OUTPUT_RATE = 48000  # of the conversion at the end of a trace's blocks
# The length of a gesture's arrays: bytes of an element, and the fields whose product is the number of elements.
GESTURE_ARRAYS = {
    "level_times": (8, "level_points"),
    "levels": (8, "level_points"),
    "loudness_moves": (8, "loudness_moments"),
    "release_times": (8, "release_points"),
    "release_levels": (8, "release_points"),
    "code_times": (8, "code_points"),
    "codes_way": (8, "code_points latents"),
    "release_code_times": (8, "release_code_points"),
    "release_codes": (8, "release_code_points latents"),
    "offset": (8, "latents"),
    "directions": (8, "directions latents"),
    "deviations": (8, "wander_columns"),
    "hertz": (8, "wander_columns"),
    "decibels": (8, "latents latents"),
    "gains": (4, "bands"),
    "opening": (4, "opening_moments bands"),
    "onset": (4, "onset_moments bands"),
    "fast": (4, "held_moments bands"),
    "ending": (4, "ending_moments bands"),
    "movement": (1, "held_moments bands"),
    "vibrato": (1, "vibrato_moments"),
    "mode_rows": (24, "modes"),
}


class Write(NamedTuple):
    """``length`` bytes of the trace's data from ``offset`` on, to an address; zeros where ``offset`` is None."""

    address: int
    offset: int | None
    length: int


class Call(NamedTuple):
    name: str
    arguments: list[int]


class Read(NamedTuple):
    """Floats that a call wrote."""

    address: int
    length: int  # bytes


class Trace(NamedTuple):
    """``end``: the first address beyond; ``outputs``: all that is read, as the recorded core computed it;
    ``voice_seconds``: sum of the seconds of all voices; ``sizes``: of the structures of `core_sizes`."""

    steps: list[Write | Call | Read]
    data: bytes
    end: int
    outputs: bytes
    voice_seconds: float
    sizes: list[int]


@functools.cache
def laid_out(structure, pointer):
    """The structure with pointers of another type."""
    fields = [(name, _resized(kind, pointer)) for name, kind in structure._fields_]
    return type(structure.__name__, (ctypes.Structure,), {"_fields_": fields})


def _resized(kind, pointer):
    if kind is ctypes.c_void_p:
        return pointer
    if issubclass(kind, ctypes.Array):
        return _resized(kind._type_, pointer) * kind._length_
    return laid_out(kind, pointer) if issubclass(kind, ctypes.Structure) else kind


class Recorder:
    """Stands in for the library of an engine: calls the core, and records each call for another processor."""

    def __init__(self, engine, pointer_bytes: int, base: int, instructions: int) -> None:
        """``base``: the first address of the memory of the other processor."""
        self._library, self._tables, self._model = engine._library, engine._tables, engine._tables.instrument
        self._pointer = {4: ctypes.c_uint32, 8: ctypes.c_uint64}[pointer_bytes]
        self._free = base
        self._regions: dict[int, tuple[int, int]] = {}  # by address here: address there, and length
        self._sent: dict[int, bytes] = {}  # by address there
        self._data, self._outputs = bytearray(), bytearray()
        self._steps: list[Write | Call | Read] = []
        self._voice_samples = 0
        self._core = self._open(engine.core, instructions)

    def trace(self) -> Trace:
        sizes = [ctypes.sizeof(laid_out(structure, self._pointer)) for structure in voice_library.STRUCTURES[:-1]]
        seconds = self._voice_samples / self._model.rate
        return Trace(self._steps, bytes(self._data), self._free, bytes(self._outputs), seconds, sizes)

    def __getattr__(self, name: str) -> Any:
        """Functions that read no memory but the instrument's."""
        return getattr(self._library, name)

    def core_voice_open(self, core: int, voice: int) -> None:
        self._place(voice, self._library.core_voice_bytes(ctypes.addressof(self._model)))
        self._call("core_voice_open", self._core, self._send_voice(voice))
        self._library.core_voice_open(core, voice)

    def core_codes(self, core: int, voices: int, hops: int, codes: int, count: int) -> None:
        sent_hops = self._send_memory(hops, 8 * count)
        sent_codes = self._send_memory(codes, 4 * count * self._model.latents)
        self._call("core_codes", self._core, self._send_voices(voices, count), sent_hops, sent_codes, count)
        self._library.core_codes(core, voices, hops, codes, count)

    def core_ahead(self, core: int, voices: int, count: int, now: int, most: int) -> int:
        self._call("core_ahead", self._core, self._send_voices(voices, count), count, now, most)
        return self._library.core_ahead(core, voices, count, now, most)

    def core_render(self, core: int, voices: int, voice_count: int, start: int, count: int, parts: int) -> None:
        buses = 1 + max(CoreVoice.from_address(voice).bus for voice in _addresses(voices, voice_count))
        length = 4 * buses * PARTS * self._model.channels * count
        sums = self._place(parts, length)
        self._steps.append(Write(sums, None, length))
        if self._model.image_amount:
            self._send_ramp("image_amount", self._model.image_amount)
        sent_voices = self._send_voices(voices, voice_count)
        self._call("core_render", self._core, sent_voices, voice_count, start, count, sums)
        self._library.core_render(core, voices, voice_count, start, count, parts)
        self._voice_samples += voice_count * count

    def core_mix(self, core: int, buses: int, bus_count: int, start: int, count: int, parts: int, sound: int) -> None:
        structures = (CoreBus * bus_count).from_address(buses)
        sent_buses = self._send(buses, b"".join(self._converted(bus, self._send_ramp) for bus in structures))
        mixed = self._place(sound, 8 * count)
        self._call("core_mix", self._core, sent_buses, bus_count, start, count, self._regions[parts][0], mixed)
        self._library.core_mix(core, buses, bus_count, start, count, parts, sound)
        self._read(sound, 8 * count)

    def core_convert(self, inputs: int, stride: int, channels: int, table: int, taps: int, *numbers: int) -> None:
        up, down, phase, count, outputs = numbers
        sent_inputs = self._send_memory(inputs, 4 * channels * stride)
        sent_table = self._send_memory(table, 4 * up * taps)
        target = self._place(outputs, 4 * channels * count)
        self._call("core_convert", sent_inputs, stride, channels, sent_table, taps, up, down, phase, count, target)
        self._library.core_convert(inputs, stride, channels, table, taps, *numbers)
        self._read(outputs, 4 * channels * count)

    def core_limit(self, sound: int, count: int) -> None:
        self._sent.pop(self._place(sound, 4 * count), None)  # the core writes over it
        self._call("core_limit", self._send_memory(sound, 4 * count), count)
        self._library.core_limit(sound, count)
        self._read(sound, 4 * count)

    def _open(self, core: int, instructions: int) -> int:
        """Open the core afresh here and there; return its address there. It is no larger there, as pointers are not."""
        arrays = {array.ctypes.data: array for array in self._tables._arrays}
        address = ctypes.addressof(self._model)

        def send_table(name: str, at: int) -> int:
            return self._send_ramp(name, at) if name == "image_amount" else self._send(at, arrays[at].tobytes())

        model = self._converted(self._model, send_table)
        core_there = self._place(core, self._library.core_bytes(address))
        self._call("core_open", core_there, self._send(address, model), instructions)
        self._library.core_open(core, address, instructions)
        return core_there

    def _send_voices(self, voices: int, count: int) -> int:
        sent_voices = [self._send_voice(voice) for voice in _addresses(voices, count)]
        return self._send(voices, bytes((self._pointer * count)(*sent_voices)))

    def _send_voice(self, address: int) -> int:
        """Send the fields of the caller."""
        voice = self._converted(
            CoreVoice.from_address(address),
            lambda name, at: self._send_gesture(at) if name == "gesture" else self._send_ramp(name, at),
        )
        return self._send(address, voice[: laid_out(CoreVoice, self._pointer).newest_hop.offset])

    def _send_ramp(self, _: str, address: int) -> int:
        ramp = CoreRamp.from_address(address)
        return self._send(address, self._converted(ramp, lambda _, at: self._send_memory(at, 32 * ramp.count)))

    def _send_gesture(self, address: int) -> int:
        gesture = CoreGesture.from_address(address)

        def send_array(name: str, at: int) -> int:
            if name == "depth":
                return self._send_ramp(name, at)
            if name == "image":
                return self._send_memory(at, IMAGE_ROWS * 4 * self._model.bins)
            length, numbers = GESTURE_ARRAYS[name]
            for number in numbers.split():
                length *= getattr(self._model if number in ("latents", "directions") else gesture, number)
            return self._send_memory(at, length)

        return self._send(address, self._converted(gesture, send_array))

    def _converted(self, structure, send_pointer) -> bytes:
        """The structure as the other processor has it; ``send_pointer``: sends what a field of this name points to."""
        copy = laid_out(type(structure), self._pointer)()
        for name, kind in structure._fields_:
            value = getattr(structure, name)
            if kind is ctypes.c_void_p:
                value = send_pointer(name, value) if value else 0
            elif isinstance(value, ctypes.Array):
                target = getattr(copy, name)
                for place, item in enumerate(value):
                    if kind._type_ is ctypes.c_void_p:
                        target[place] = send_pointer(name, item)
                    elif isinstance(item, ctypes.Structure):
                        converted = self._converted(item, send_pointer)
                        ctypes.memmove(ctypes.addressof(target[place]), converted, len(converted))
                    else:
                        target[place] = item
                continue
            setattr(copy, name, value)
        return bytes(copy)

    def _send_memory(self, address: int, length: int) -> int:
        return self._send(address, ctypes.string_at(address, length))

    def _send(self, address: int, content: bytes) -> int:
        """Write what the other processor lacks of this memory; return its address there."""
        target = self._place(address, len(content))
        if self._sent.get(target) != content:
            self._steps.append(Write(target, len(self._data), len(content)))
            self._data += content
            self._sent[target] = content
        return target

    def _place(self, address: int, length: int) -> int:
        target, room = self._regions.get(address, (0, -1))
        if length > room:
            target = self._free
            self._regions[address] = target, length
            self._free += -(-length // ALIGNMENT) * ALIGNMENT
        return target

    def _call(self, name: str, *arguments: int) -> None:
        self._steps.append(Call(name, list(arguments)))

    def _read(self, address: int, length: int) -> None:
        self._steps.append(Read(self._regions[address][0], length))
        self._outputs += ctypes.string_at(address, length)


def _addresses(pointers: int, count: int) -> list[int]:
    return list((ctypes.c_uint64 * count).from_address(pointers))


def record(patch, events, sizes, count: int, pointer_bytes: int, base: int, instructions: int = 1) -> Trace:
    """Play ``count`` samples of events at the model's rate in blocks of these sizes in turn, then convert and limit."""
    rate = patch.model.card.sample_rate
    rack = Rack({0: patch}, rate)
    engine = rack._instruments[0]._engine
    engine._library = recorder = Recorder(engine, pointer_bytes, base, instructions)
    conversion = RateConversion(rate, OUTPUT_RATE)
    conversion._library = recorder
    start, turn = 0, 0
    while start < count:
        size = min(sizes[turn % len(sizes)], count - start)
        _, sounds = rack.process([event for event in events if start <= event.time < start + size], size)
        converted = np.ascontiguousarray(conversion.process(sounds[0]))
        if converted.size:
            recorder.core_limit(converted.ctypes.data, converted.size)
        rack.prepare()
        start, turn = start + size, turn + 1
    return recorder.trace()


def replay(trace: Trace, call, write, read) -> tuple[bytes, float]:
    """Replay a trace; return all that is read, and the seconds of the calls.

    ``call(name, arguments)``, ``write(address, content)`` and ``read(address, length)`` are the processor's.
    """
    outputs, seconds = bytearray(), 0.0
    for step in trace.steps:
        match step:
            case Write(address, None, length):
                write(address, bytes(length))
            case Write(address, offset, length):
                write(address, trace.data[offset : offset + length])
            case Read(address, length):
                outputs += read(address, length)
            case Call(name, arguments):
                began = time.perf_counter()
                call(name, arguments)
                seconds += time.perf_counter() - began
    return bytes(outputs), seconds


class NativeMemory:
    """Memory of this process for replays by the native core."""

    def __init__(self) -> None:
        self._bytes = np.empty(NATIVE_BYTES, np.uint8)
        self.base = self._bytes.ctypes.data + -self._bytes.ctypes.data % ALIGNMENT

    def replay(self, trace: Trace) -> tuple[bytes, float]:
        """As `replay`, of a trace from `base` on."""
        assert trace.end <= self._bytes.ctypes.data + NATIVE_BYTES
        library = voice_library.load_library()
        return replay(
            trace,
            call=lambda name, arguments: getattr(library, name)(*arguments),
            write=lambda address, content: ctypes.memmove(address, content, len(content)),
            read=ctypes.string_at,
        )


def differences(trace: Trace, outputs: bytes) -> int:
    """Number of samples whose bits are not the recorded core's."""
    recorded, replayed = np.frombuffer(trace.outputs, np.uint32), np.frombuffer(outputs, np.uint32)
    return len(recorded) if len(recorded) != len(replayed) else int((recorded != replayed).sum())


def zig() -> list[str] | None:
    """The command of zig's C compiler: of the package ziglang, or on the path; None where there is neither."""
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    command = shutil.which("zig") or shutil.which("python-zig")
    return [command, "cc"] if command else None


def compile_core(output: Path, target: str, *flags: str) -> Path:
    """Compile the core for another processor, without a warning."""
    command = [*(zig() or []), "-target", target, *FLAGS, *STRICT, str(CORE), *flags, "-o", str(output)]
    subprocess.run(command, check=True)
    return output
