"""Parameter ranges of pedalboard's effects, which pedalboard does not expose."""

from collections.abc import Mapping
from pathlib import Path

Range = tuple[float, float]

UNIT: Range = (0.0, 1.0)
CUTOFF_HZ: Range = (20.0, 20_000.0)  # the audible range
FEEDBACK: Range = (-0.95, 0.95)  # at 1 echoes never decay
GAIN_DB: Range = (-24.0, 24.0)
THRESHOLD_DB: Range = (-80.0, 0.0)
RATIO: Range = (1.0, 100.0)  # pedalboard's minimum is 1; at 100 a compressor limits
ATTACK_MS: Range = (0.0, 500.0)
RELEASE_MS: Range = (1.0, 5000.0)
SHELF = {"cutoff_frequency_hz": CUTOFF_HZ, "gain_db": GAIN_DB, "q": (0.1, 10.0)}
DYNAMICS = {"threshold_db": THRESHOLD_DB, "ratio": RATIO, "attack_ms": ATTACK_MS, "release_ms": RELEASE_MS}

# Automatable parameters, by effect and parameter: the limits that pedalboard's documentation and errors state, or
# where they state none, limits for useful and stable processing.
RANGES: Mapping[str, Mapping[str, Range]] = {
    "Bitcrush": {"bit_depth": (0.0, 32.0)},
    "BrickwallLimiter": {"ceiling_db": (-60.0, 0.0), "release_ms": RELEASE_MS},
    "Chorus": {
        "rate_hz": (0.0, 100.0),
        "depth": UNIT,
        "centre_delay_ms": (1.0, 100.0),
        "feedback": FEEDBACK,
        "mix": UNIT,
    },
    "Clipping": {"threshold_db": (-60.0, 0.0)},
    "Compressor": DYNAMICS,
    "Convolution": {"mix": UNIT},
    "Delay": {"delay_seconds": (0.0, 30.0), "feedback": UNIT, "mix": UNIT},
    "Distortion": {"drive_db": (0.0, 60.0)},
    "Gain": {"gain_db": (-80.0, 24.0)},
    "HighShelfFilter": SHELF,
    "HighpassFilter": {"cutoff_frequency_hz": CUTOFF_HZ},
    "Invert": {},
    "LadderFilter": {"cutoff_hz": CUTOFF_HZ, "resonance": UNIT, "drive": (1.0, 20.0)},
    "Limiter": {"threshold_db": (-60.0, 0.0), "release_ms": RELEASE_MS},
    "LowShelfFilter": SHELF,
    "LowpassFilter": {"cutoff_frequency_hz": CUTOFF_HZ},
    "MP3Compressor": {},
    "NoiseGate": DYNAMICS | {"threshold_db": (-120.0, 0.0)},
    "PeakFilter": SHELF,
    "Phaser": {
        "rate_hz": (0.0, 50.0),
        "depth": UNIT,
        "centre_frequency_hz": CUTOFF_HZ,
        "feedback": FEEDBACK,
        "mix": UNIT,
    },
    "Resample": {},
    "Reverb": dict.fromkeys(("room_size", "damping", "wet_level", "dry_level", "width", "freeze_mode"), UNIT),
}

# Settings that cannot be automated, since a change restarts the effect: a range, `bool`, `Path` (of a
# sound), or the name of the effect's enumeration.
SETTINGS: Mapping[str, Mapping[str, Range | type | str]] = {
    "BrickwallLimiter": {"lookahead_ms": (0.1, 100.0), "true_peak": bool},
    "Convolution": {"impulse_response_filename": Path},
    "LadderFilter": {"mode": "Mode"},
    "MP3Compressor": {"vbr_quality": (0.0, 9.9)},  # LAME refuses 10, which pedalboard allows
    "Resample": {"target_sample_rate": (1000.0, 192_000.0), "quality": "Quality"},
}

# Not streamable: pedalboard 0.9.26 clears their delay lines at each block, and they stay silent.
NOT_IN_BLOCKS = frozenset({"GSMFullRateCompressor", "PitchShift"})
