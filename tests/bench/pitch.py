"""Does a key sound its own pitch, does a bend go where it is sent, and does a held note stand still?

    python tests/bench/pitch.py [PRESET ...] [--phase PHASE] [--step SEMITONES]

Every shipped preset without its effects, motions, gestures, envelope and unison: the latents stand still. Four tables:
keys from C2 to C7, by pYIN and by the peaks of the harmonics, in cents; the same keys in a Scala file's tuning, by the
peaks; bends, slow over two seconds and held, in cents; notes held for three seconds, how far their level swings and the
strongest line at the hop's rate beside the strongest partial, in dB: without the noise fill, with it, with stationary
Gaussian noise of the fill's spectrum in its place, and with stored noise phases, which partials have not. ``--phase``
plays the first three tables with another phase than the preset's.
"""

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import librosa
import numpy as np
import scipy.signal
from phase_methods import hop_lines_db, modulation_db
from timbrel.host.events import Event, NoteOff, NoteOn, PitchBend
from timbrel.host.kinds.spectrum import GestureSettings
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.preset import EnvelopeSettings, TuningSettings
from timbrel.host.preset.shipped import shipped_presets
from timbrel.host.units import midi_to_hz, semitones_to_ratio

RATE = 44100
LOWEST, HIGHEST = 36, 96  # C2 to C7
NOTE_SECONDS, HELD_SECONDS = 1.0, 3.0
SETTLED = 0.3  # seconds of a note before anything is measured: the envelope's attack and the estimators' ramps
HARMONICS = 10
WEAKEST = 0.01  # of the strongest harmonic: weaker ones do not say where a note is
NEAR_CENTS = 60.0  # of a harmonic's place: where its peak is looked for
COARSE_SEMITONES, FINE_SEMITONES = 14, 1  # around the key, for pYIN's two looks: which octave, and how many cents
SLIDE = 5.0  # octaves a second that pYIN lets a pitch move: held notes do not, and its fine look spans no more
HOPS = (256, 1024)
BEND_SEMITONES, BEND_SECONDS = 2.0, 2.0
BEND_EVERY = 0.004  # seconds: as fast as a wheel sends over a MIDI cable
BEND_KEYS = (48, 60, 72)
BEND_WINDOW = 4096  # samples: short enough for a bend of 2 semitones a second, long enough for C3
LONGEST_LAG = 0.15  # seconds between a bend's event and what is heard that are looked through


def still(name: str, **play: object) -> Patch:
    """A preset without what moves its sound; ``play`` are settings of its [play] to change."""
    patch = open_patch(name)
    changed = {
        "effects": [],
        "cc": [],
        "motion": [],
        "gesture": GestureSettings(amount=0.0),
        "envelope": EnvelopeSettings(attack_seconds=0.005, sustain=1.0, release_seconds=0.01),
        "play": patch.preset.play.model_copy(update={"unison": 1, **play}),
    }
    return replace(patch, preset=patch.preset.model_copy(update=changed))


def played(patch: Patch, key: int, seconds: float, bends: list[Event] | None = None) -> np.ndarray:
    """A held note from its first sample on, mono, [samples]."""
    rack = Rack({0: patch}, RATE)
    length = round(seconds * RATE)
    events = sorted([NoteOn(0, 0, key, 100), *(bends or [])], key=lambda event: event.time)
    sound, _ = rack.process([*events, NoteOff(length, 0, key)], length + rack.latency_samples + 1)
    return sound.mean(0)[rack.latency_samples :][:length]


def pyin_cents(sound: np.ndarray, key: int) -> float:
    """pYIN (Mauch and Dixon 2014) by librosa: how far the note lies from its key; whole octaves where it has another.

    A coarse look in steps of 10 cents finds the octave, a fine one in steps of 1 around the key the rest. At twice the
    rate and in long frames: else C7's few samples a period, and C2's few periods a frame, cost some cents.
    """
    fine_sound = scipy.signal.resample(sound, 2 * len(sound))
    wanted = midi_to_hz(key)
    found = []
    for reach, resolution in ((COARSE_SEMITONES, 0.1), (FINE_SEMITONES, 0.01)):
        hz, _, _ = librosa.pyin(
            fine_sound,
            fmin=wanted * semitones_to_ratio(-reach),
            fmax=wanted * semitones_to_ratio(reach),
            sr=2 * RATE,
            frame_length=16384,
            hop_length=2048,
            resolution=resolution,
            max_transition_rate=SLIDE,
            fill_na=None,
        )
        found.append(1200 * float(np.log2(np.median(hz) / wanted)))
    coarse, fine = found
    return fine if abs(coarse) < 100 * FINE_SEMITONES else coarse


def peak_cents(sound: np.ndarray, wanted_hz: float) -> float:
    """How far the harmonics lie from their places, weighted by magnitude.

    Parabolas through the log magnitudes of a Hann window over the whole sound, padded to twice its length. Infinity
    where no harmonic has a peak.
    """
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2 * len(sound))) + 1e-12)
    bin_hz = RATE / (2 * len(sound))
    near = semitones_to_ratio(NEAR_CENTS / 100)
    cents, weights = [], []
    for harmonic in range(1, HARMONICS + 1):
        place = harmonic * wanted_hz / bin_hz
        low, high = int(place / near), int(place * near) + 2
        if high >= len(spectrum):
            break
        top = low + int(np.argmax(spectrum[low:high]))
        left, middle, right = spectrum[top - 1 : top + 2]
        if middle <= min(left, right) or middle < max(left, right):
            continue  # the slope of something else
        exact = top + 0.5 * (left - right) / (left - 2 * middle + right)
        cents.append(1200 * np.log2(exact / place))
        weights.append(np.exp(middle))
    if not weights:
        return float("inf")
    heard = np.array(weights) > WEAKEST * max(weights)
    return float(np.average(np.array(cents)[heard], weights=np.array(weights)[heard]))


def keys(name: str, patch: Patch, step: int) -> None:
    pyin, peaks = [], []
    for key in range(LOWEST, HIGHEST + 1, step):
        sound = played(patch, key, NOTE_SECONDS)[round(SETTLED * RATE) :]
        pyin.append(abs(pyin_cents(sound, key)))
        peaks.append(abs(peak_cents(sound, midi_to_hz(key))))
    print(
        f"{name:<14}{len(pyin)} keys: pYIN median {np.median(pyin):6.1f}  worst {np.max(pyin):7.1f} "
        f"({LOWEST + step * int(np.argmax(pyin))})   harmonics median {np.median(peaks):6.1f}  "
        f"worst {np.max(peaks):6.1f} ({LOWEST + step * int(np.argmax(peaks))}) cents",
        flush=True,
    )


def meantone(name: str, patch: Patch, step: int) -> None:
    """Keys of a Scala file of quarter-comma meantone, which leaves equal temperament by up to 24 cents."""
    fifth = 1200 * np.log2(5) / 4
    cents = sorted(float(fifths * fifth % 1200) for fifths in range(-3, 9))  # E flat to G sharp
    with tempfile.TemporaryDirectory() as folder:
        lines = ["quarter-comma meantone", "12", *(f"{value:.5f}" for value in cents[1:]), "2/1"]
        Path(folder, "meantone.scl").write_text("\n".join(lines), encoding="ascii")
        preset = patch.preset.model_copy(update={"tuning": TuningSettings(scale="meantone.scl")})
        tuned = replace(patch, preset=preset, folder=Path(folder))
    away = []
    for key in range(LOWEST, HIGHEST + 1, step):
        wanted = midi_to_hz(12 * (key // 12) + cents[key % 12] / 100)  # a scale begins at an equally tempered C
        away.append(abs(peak_cents(played(tuned, key, NOTE_SECONDS)[round(SETTLED * RATE) :], wanted)))
    print(
        f"{name:<14}{len(away)} keys in meantone: harmonics median {np.median(away):6.1f}  "
        f"worst {np.max(away):6.1f} cents"
    )


def wheel(patch: Patch, semitones: float) -> int:
    return round(np.clip(8192 * semitones / patch.preset.play.bend_range_semitones, -8192, 8191))


def slow_bend(patch: Patch, key: int) -> tuple[float, float, float]:
    """The median and worst error in cents of a bend from below to above, and the seconds by which it is late.

    The lag that fits best is taken off; pitch is read in windows, at the time of each one's middle.
    """
    begin, total = SETTLED, BEND_SECONDS + 2 * SETTLED
    ticks = np.arange(0, BEND_SECONDS, BEND_EVERY)
    sent = -BEND_SEMITONES + 2 * BEND_SEMITONES * ticks / BEND_SECONDS
    events: list[Event] = [PitchBend(0, 0, wheel(patch, -BEND_SEMITONES))]
    events += [PitchBend(round((begin + t) * RATE), 0, wheel(patch, s)) for t, s in zip(ticks, sent, strict=True)]
    sound = played(patch, key, total, events)
    starts = np.arange(round(begin * RATE), round((begin + BEND_SECONDS) * RATE), BEND_WINDOW // 4)
    times = (starts + BEND_WINDOW / 2) / RATE
    heard = []
    for start, time in zip(starts, times, strict=True):
        about = np.interp(time - begin, ticks, sent)
        cents = peak_cents(sound[start : start + BEND_WINDOW], midi_to_hz(key + about))
        heard.append(100 * about + cents)
    lags = np.arange(0, LONGEST_LAG, 0.001)
    inner = (times > begin + LONGEST_LAG) & (times < begin + BEND_SECONDS - BEND_WINDOW / RATE)
    errors = [np.abs(np.array(heard) - 100 * np.interp(times - begin - lag, ticks, sent))[inner] for lag in lags]
    fits = int(np.argmin([np.mean(error) for error in errors]))
    return float(np.median(errors[fits])), float(errors[fits].max()), float(lags[fits])


def held_bend(patch: Patch, key: int, semitones: float) -> float:
    sound = played(patch, key, NOTE_SECONDS, [PitchBend(0, 0, wheel(patch, semitones))])
    return abs(peak_cents(sound[round(SETTLED * RATE) :], midi_to_hz(key + semitones)))


def bends(name: str, patch: Patch) -> None:
    slow = [slow_bend(patch, key) for key in BEND_KEYS]
    held = [held_bend(patch, key, sign * BEND_SEMITONES) for key in BEND_KEYS for sign in (-1, 1)]
    median, worst, lag = (f([one[i] for one in slow]) for i, f in enumerate((np.median, np.max, np.median)))
    print(
        f"{name:<14}bend of ±{BEND_SEMITONES:g} semitones: slow, median {median:5.1f}  worst {worst:5.1f} cents, "
        f"{1000 * lag:3.0f} ms late; held, worst {max(held):5.1f} cents",
        flush=True,
    )


def stationary(noise: np.ndarray) -> np.ndarray:
    """Gaussian noise of the spectrum that a noise has, [samples]."""
    hz, power = scipy.signal.welch(noise, RATE, nperseg=4096)
    white = np.fft.rfft(np.random.default_rng(2).standard_normal(len(noise)))
    level = np.sqrt(np.interp(np.fft.rfftfreq(len(noise), 1 / RATE), hz, power) * RATE / 2)
    return np.fft.irfft(white * level, len(noise))


def steadiness(name: str) -> None:
    spectra = open_patch(name).model.card.partials is None
    own = {"phase": "coherent"} if spectra else {}
    pure, filled = still(name, noise=0.0, **own), still(name, **own)
    stored = still(name, phase="noise") if spectra else None
    found: dict[str, list[list[float]]] = {}
    for key in range(LOWEST, HIGHEST + 1, 5):
        partials, whole = (played(patch, key, HELD_SECONDS)[round(SETTLED * RATE) :] for patch in (pure, filled))
        sounds = {
            "no noise fill": partials,
            "noise fill": whole,
            "stationary fill": partials + stationary(whole - partials),
        }
        if stored is not None:
            sounds["stored phase"] = played(stored, key, HELD_SECONDS)[round(SETTLED * RATE) :]
        for what, sound in sounds.items():
            lines = [hop_lines_db(sound, RATE, hop, midi_to_hz(key)) for hop in HOPS]
            found.setdefault(what, []).append([modulation_db(sound, RATE), *lines])
    for what, many in found.items():
        swings, *lines = zip(*many, strict=True)
        told = ", ".join(
            f"{hop}: median {np.median(of):4.0f}  worst {np.max(of):4.0f} dB"
            for hop, of in zip(HOPS, lines, strict=True)
        )
        print(
            f"{name:<14}{what:<16}{len(swings)} held: level swings median {np.median(swings):5.2f}  "
            f"worst {np.max(swings):5.2f} dB; lines at hop {told}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "presets", nargs="*", default=[name for name in shipped_presets() if open_patch(name).model.card.keyed]
    )
    parser.add_argument("--phase")
    parser.add_argument("--step", type=int, default=1, help="semitones between the keys of the first table")
    asked = parser.parse_args()
    play = {"phase": asked.phase} if asked.phase else {}
    patches = {name: still(name, **play) for name in asked.presets}
    for name, patch in patches.items():
        keys(name, patch, asked.step)
    for name, patch in patches.items():
        meantone(name, patch, asked.step)
    for name, patch in patches.items():
        bends(name, patch)
    for name in patches:
        steadiness(name)


if __name__ == "__main__":
    main()
