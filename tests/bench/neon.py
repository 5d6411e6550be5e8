"""The voice core for 64-bit ARM with NEON, in an emulator, beside the native core: the same bits?

Replays the performances of `wasm.py`, of a second each, and compares all samples. An emulator says nothing of speed.
Needs zig and unicorn (`pip install ziglang unicorn`).
"""

import importlib.util
import struct
import sys
import tempfile
from pathlib import Path

from core_trace import Trace, compile_core, differences, record, replay, zig
from timbrel.host.preset.library import open_patch
from timbrel.host.voice_library import load_library
from wasm import BLOCK, RATE, performances

SECONDS = 1
BASE = 1 << 32  # of a trace: beyond the program
STACK, STACK_BYTES = 1 << 40, 1 << 20
PAGE = 4096
RETURN = STACK  # an address where nothing runs: a call ends there
REGISTERS = 8  # of a call's first arguments; the stack has the others
LOAD, SYMBOLS = 1, 2  # a segment to load, a section of symbols


def compile_program(folder: Path) -> Path:
    """A static program with all functions of the core, which nothing starts."""
    start = folder / "start.c"
    start.write_text("int main(void)\n{\n\treturn 0;\n}\n")
    linking = [str(start), "-static", "-Wl,--no-gc-sections"]
    return compile_core(folder / "core.elf", "aarch64-linux-musl", *linking)


def segments_and_symbols(program: bytes):
    """Return (address, content, length in memory) of what a 64-bit ELF file loads, and addresses by name."""
    segments, symbols = [], {}
    first_segment, first_section = struct.unpack_from("<QQ", program, 32)
    segment_count, _, section_count = struct.unpack_from("<HHH", program, 56)
    for number in range(segment_count):
        kind, _, offset, address, _, length, room, _ = struct.unpack_from(
            "<IIQQQQQQ", program, first_segment + 56 * number
        )
        if kind == LOAD:
            segments.append((address, program[offset : offset + length], room))
    sections = [struct.unpack_from("<IIQQQQIIQQ", program, first_section + 64 * n) for n in range(section_count)]
    for _, kind, _, _, offset, length, linked, _, _, entry_bytes in sections:
        if kind == SYMBOLS:
            names = program[sections[linked][4] :]
            for entry in range(offset, offset + length, entry_bytes):
                name, _, _, _, address, _ = struct.unpack_from("<IBBHQQ", program, entry)
                symbols[names[name : names.index(b"\0", name)].decode()] = address
    return segments, symbols


class Emulator:
    """A processor with the core's program and room for a trace."""

    def __init__(self, program: Path, trace: Trace) -> None:
        from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, Uc, arm64_const

        self._registers = arm64_const
        self._processor = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
        segments, self._symbols = segments_and_symbols(program.read_bytes())
        mapped = [(address, address + room) for address, _, room in segments]
        for begin, end in [*mapped, (BASE, trace.end), (STACK, STACK + STACK_BYTES)]:
            first = begin // PAGE * PAGE
            self._processor.mem_map(first, -(-(end - first) // PAGE) * PAGE)
        for address, content, _ in segments:
            self._processor.mem_write(address, content)
        sizes = [self.call("core_sizes", [structure]) for structure in range(len(trace.sizes))]
        assert sizes == trace.sizes

    def replay(self, trace: Trace) -> bytes:
        return replay(trace, self.call, self._processor.mem_write, self._processor.mem_read)[0]

    def call(self, name: str, arguments: list[int]) -> int:
        """Return what the function leaves in the first register."""
        others = struct.pack(f"<{max(0, len(arguments) - REGISTERS)}Q", *arguments[REGISTERS:])
        stack = STACK + STACK_BYTES - (len(others) + 15) // 16 * 16
        self._processor.mem_write(stack, others)
        self._processor.reg_write(self._registers.UC_ARM64_REG_SP, stack)
        self._processor.reg_write(self._registers.UC_ARM64_REG_LR, RETURN)
        for number, argument in enumerate(arguments[:REGISTERS]):
            self._processor.reg_write(self._registers.UC_ARM64_REG_X0 + number, argument)
        self._processor.emu_start(self._symbols[name], RETURN)
        return int(self._processor.reg_read(self._registers.UC_ARM64_REG_X0))


def main() -> None:
    """Compare bits; exit with 1 where they differ."""
    if zig() is None or importlib.util.find_spec("unicorn") is None:
        print("left out: zig or unicorn is missing; install both: pip install ziglang unicorn")
        return
    if load_library() is None:
        print("left out: the core is not compiled; install a C compiler and timbrel again")
        return
    alike = True
    with tempfile.TemporaryDirectory() as name:
        program = compile_program(Path(name))
        for title, preset, events in performances():
            trace = record(open_patch(preset), events, [BLOCK], SECONDS * RATE, pointer_bytes=8, base=BASE)
            outputs = Emulator(program, trace).replay(trace)
            unequal = differences(trace, outputs)
            bits = f"{unequal} of {len(outputs) // 4} samples differ" if unequal else "the same bits"
            print(f"{title}, {SECONDS} s: {bits}", flush=True)
            alike &= not unequal
    sys.exit(0 if alike else 1)


if __name__ == "__main__":
    main()
