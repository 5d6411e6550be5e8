"""The compiled core, loaded with ctypes, and its structures: field for field those of the headers in voice/core."""

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import Any

from .errors import UserError

NAME = "voice_core.dll" if sys.platform == "win32" else "voice_core.so.1"  # no name of a Python module
VERSION = 10
VARIABLE = "TIMBREL_VOICE"  # "core" or "numpy": the voice to play with; else the core where it is compiled
INSTRUCTIONS = ("the processor's basic", "AVX2", "AVX-512")  # by the number that core_instructions returns
CLASS_SET = 1 << 12  # the condition of a chord of pitch classes: this, and a bit for each
LAYERS, UNISON, MASTERS, SINES = 4, 8, 8, 5
PARTS = 4  # of voices
NEVER = (1 << 63) - 1

_I32, _I64, _F32, _F64, _AT = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double, ctypes.c_void_p


_TYPES = {"i32": _I32, "i64": _I64, "f32": _F32, "f64": _F64, "at": _AT}


def _fields(**names: str) -> list[tuple[str, Any]]:
    """Fields in order, by type; names are separated by spaces."""
    return [(name, _TYPES[kind]) for kind, line in names.items() for name in line.split()]


DECODE_ROWS = ctypes.CFUNCTYPE(None, _AT, _AT, _I32, _AT)


class CoreRamp(ctypes.Structure):
    _fields_ = [("count", _I64), ("segments", _AT)]


class Instrument(ctypes.Structure):
    _fields_ = [
        *_fields(i32="latents middles"),
        ("widths", _I32 * LAYERS),
        *_fields(
            i32="directions harmonics bands bins frame hop taps lobe_steps channels unison lows low_width muted_bins "
            "lowest_bin noise_frames noise_apart noise_stride spread_taps filter_bands orders_by_key keeps_formants "
            "moves_formants lowest_key highest_key knob_hop delay chord rate conditioning octave most_free model_bins "
            "row_width",
            f32="slope most quietest amplitude hiss hann alike unlike",
            f64="pitch_low pitch_high pitch_unit top_bins formant_nepers golden bin_ratio image_rest noise_angle",
        ),
        ("decode_rows", _AT),  # a `DECODE_ROWS`
        ("weights", _AT * LAYERS),
        ("biases", _AT * LAYERS),
        *_fields(
            at="means pitch_middles fundamentals orders phases detune free_phases gains lobes noise low_noise "
            "tap_counts tap_bands tap_shares low_spread filter_low filter_share low_middles low_widths edges_hz key_hz "
            "spans band_energy image image_amount harmonic_signs free_signs"
        ),
    ]


class CoreGesture(ctypes.Structure):
    _fields_ = [
        *_fields(
            i64="begin off",
            f64="rate speed residual_seconds loudness semitones fall held louder ceiling wander_db wander_hz stretch "
            "deeper depth_low depth_high vibrato_semitones onset_seconds",
        ),
        *_fields(
            i64="codes_begin first_hop lead",
            f32="codes",
            i32="decoded_key level_points loudness_moments release_points code_points release_code_points bands "
            "opening_moments onset_moments held_moments ending_moments vibrato_moments modes wander_columns note",
            at="level_times levels loudness_moves release_times release_levels code_times codes_way release_code_times "
            "release_codes offset directions deviations hertz decibels gains opening onset fast ending movement "
            "vibrato mode_rows depth image",
        ),
    ]


class Master(ctypes.Structure):
    _fields_ = [("since", _I64), ("bend", _AT)]


class CoreVoice(ctypes.Structure):
    _fields_ = [
        *_fields(
            i64="on next_frame off stolen_at steal attack decay release",
            f64="sustain key",
            i32="closes number bus part master_count padding",
            at="gain pitch chord bend touch_bend touch_level gesture",
        ),
        ("masters", Master * MASTERS),
        *_fields(i64="newest_hop held_step release_step gesture_hop"),
        ("held_from", _F64),
        ("held_to", _F64),
        ("release_from", _F64),
        ("release_to", _F64),
        ("sine_hz", _F64 * SINES),
        ("sine_turns", _F64 * SINES),
        ("moved_amount", _F64),
        ("left", _F32),
        ("left_known", _I32),
        ("sines_known", _I32),
        ("code_sines_known", _I32),
        ("off_code_known", _I32),
    ]


class CoreBus(ctypes.Structure):
    _fields_ = [("left", _AT), ("right", _AT)]


class CoreRun(ctypes.Structure):
    """`UnattendedRun` of voice/core/unattended.h."""

    _fields_ = [
        *_fields(at="core voices buses", i32="voice_count bus_count channels decodes_ahead ahead_rows"),
        *_fields(i64="now needed_at known_end codes_end"),
        *_fields(at="knobs table"),
        *_fields(i64="taps up down phase pending_count converted_count"),
        *_fields(at="pending converted parts scratch next ring arrival"),
        ("written", _I64),
        *_fields(f64="offset observed forget read_seconds poll_seconds settled patience"),
        *_fields(i32="rate block depth most blocks"),
        ("sound", _AT),
        ("seconds", _AT),
    ]


class CoreGrainCut(ctypes.Structure):
    _fields_ = [
        *_fields(at="lower_bins lower_gains upper_gains lower_points lower_shares upper_shares point_samples"),
        *_fields(f64="power_unit", i32="bins length magnitudes audible points"),
    ]


class CoreGrain(ctypes.Structure):
    _fields_ = [
        *_fields(at="cut frame noise phasors other_noise other_phasors mixes filtered sound window left right"),
        *_fields(f64="highest_power", f32="left_gain right_gain", i32="skipped"),
    ]


STRUCTURES = (Instrument, CoreGesture, CoreVoice, CoreRamp, CoreBus, CoreRun, CoreGrainCut, CoreGrain)
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "core_version": (_I32, []),
    "core_instructions": (_I32, []),
    "core_sizes": (_I64, [_I32]),
    "core_bytes": (_I64, [_AT]),
    "core_voice_bytes": (_I64, [_AT]),
    "core_open": (None, [_AT, _AT, _I32]),
    "core_voice_open": (None, [_AT, _AT]),
    "core_codes": (None, [_AT, _AT, _AT, _AT, _I32]),
    "core_knob_codes": (_I64, [_AT, _AT, _I32, _AT, _I64]),
    "core_decode": (None, [_AT, _AT, _AT, _I32, _AT]),
    "core_unknown": (_I32, [_AT, _AT, _I32, _I64, _I32, _AT, _AT]),
    "core_ahead": (_I32, [_AT, _AT, _I32, _I64, _I32]),
    "core_convert": (None, [_AT, _I64, _I32, _AT, _I32, _I64, _I64, _I64, _I64, _AT]),
    "core_peaks": (None, [_AT, _I32, _I64, _AT]),
    "core_limit": (None, [_AT, _I64]),
    "core_run_unattended": (None, [_AT]),
    "core_grain_spectra": (None, [_AT, _I32]),
    "core_add_grains": (None, [_AT, _I32]),
    "core_render": (None, [_AT, _AT, _I32, _I64, _I32, _AT]),
    "core_mix": (None, [_AT, _AT, _I32, _I64, _I32, _AT, _AT]),
}


def load_library(
    path: Path = Path(__file__).parent / "voice" / NAME, kind: type[ctypes.CDLL] = ctypes.PyDLL
) -> ctypes.CDLL | None:
    """The compiled core; None if it is not there, or of another version.

    Calls hold the interpreter's lock: waiting for it after each block would make the ring of live playing deeper. Those
    of a ``kind`` of ctypes.CDLL release it, for threads.
    """
    try:
        library = kind(str(path))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    sizes = [library.core_sizes(number) for number in range(len(STRUCTURES))]
    alike = library.core_version() == VERSION and sizes == [ctypes.sizeof(structure) for structure in STRUCTURES]
    return library if alike else None


@functools.cache
def unlocked_library() -> ctypes.CDLL | None:
    """The core whose calls release the interpreter's lock; None without one. Loaded once: a loading defines classes."""
    return load_library(kind=ctypes.CDLL)


def voice_description() -> str:
    """Return the voice that plays models of partials and spectra here, in a line."""
    library = voice_library()
    if library is not None:
        return f"compiled, with {INSTRUCTIONS[library.core_instructions()]} instructions"
    if os.environ.get(VARIABLE) == "numpy":
        return f"numpy's, as {VARIABLE} asks"
    return "numpy's, which is slower: no core of this version is compiled; install a C compiler and timbrel again"


@functools.cache
def voice_library() -> ctypes.CDLL | None:
    """The core to play with, None for the numpy voice.

    Raises:
        UserError: `VARIABLE` has another value, or asks for a core that is not compiled.
    """
    wish = os.environ.get(VARIABLE, "")
    if wish not in ("", "core", "numpy"):
        raise UserError(f"{VARIABLE} is {wish!r}; set it to 'core' or 'numpy', or leave it out")
    library = None if wish == "numpy" else load_library()
    if library is None and wish == "core":
        raise UserError(
            f"{VARIABLE} is 'core', but no core of this version is compiled; install a C compiler and timbrel again"
        )
    return library
