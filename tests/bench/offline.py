"""Offline: a minute of eight voices with moving knobs, against the bare work of its frames.

The bare work decodes as many rows in batches of 128 on one thread, transforms as many frames back, and overlaps and
adds those of a voice; nothing else. Its halves on two threads at once show what the second core of this machine is
worth to work of this kind. With ``phase = "noise"`` and with ``"coherent"``, whose frames are short and many.
"""

import contextlib
import cProfile
import os
import pstats
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from timbrel.host.engines.spectrum.engine import SpectrumEngine, Voicing
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.events import ControlChange, Event, NoteOff, NoteOn
from timbrel.host.midi.files import Performance
from timbrel.host.model.model import open_session
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import blocks
from timbrel.host.preset.library import Patch, open_patch

SECONDS, VOICES, ROUNDS = 60, 8, 9
PLAIN: Patch = open_patch("gm-chroma-8")
CARD = PLAIN.model.card
RATE = CARD.sample_rate


def patch_of(phase: str) -> Patch:
    """The model's preset with that phase."""
    play = PLAIN.preset.play.model_copy(update={"phase": phase})
    return replace(PLAIN, preset=PLAIN.preset.model_copy(update={"play": play}))


def performance() -> Performance:
    """Eight voices sound all the time; every knob moves every 20 ms; every second a voice takes another key."""
    length = SECONDS * RATE
    events: list[Event] = []
    for voice in range(VOICES):
        for start in range(voice * RATE // VOICES, length, RATE):
            key = 48 + (7 * voice + 3 * (start // RATE)) % 36
            events += [NoteOn(start, 0, key, 100), NoteOff(min(length, start + RATE), 0, key)]
    for tick in range(0, length, RATE // 50):
        for knob in range(len(CARD.latents)):
            value = round(63.5 + 63.5 * np.sin(tick / RATE * (1 + knob / 3)))
            events.append(ControlChange(tick, 0, 70 + knob, value))
    events.sort(key=lambda event: (event.time, isinstance(event, NoteOn)))
    return Performance(events=events, length=length, channels=[0], warnings=[])


def voicing_of(phase: str) -> Voicing:
    return SpectrumEngine(PLAIN.model, 1, character=VoicingSettings(phase=phase))._voicing


def frames_of(played: Performance, phase: str) -> int:
    """How many frames the host overlaps and adds for a performance: releases and note-ons need some of their own."""
    count = 0
    voicing = type(voicing_of(phase))
    make = voicing.make

    def counting(self: Voicing, latents: np.ndarray, *arguments: object) -> np.ndarray:
        nonlocal count
        count += len(latents)
        return make(self, latents, *arguments)

    voicing.make = counting
    host(played, phase, 1)
    voicing.make = make
    return count


def host(played: Performance, phase: str, processes: int) -> float:
    began = time.perf_counter()
    with contextlib.closing(Rack({0: patch_of(phase)}, RATE, processes)) as rack:
        for _ in blocks(rack, played, 0.0, RATE):
            pass
    return time.perf_counter() - began


def bare(frames: int, phase: str) -> float:
    voicing = voicing_of(phase)
    length, hop = voicing.frame_length, voicing.hop_length
    a_decode = CARD.hop_length // hop  # frames
    rng = np.random.default_rng(0)
    latents = rng.random((128, len(CARD.latents)), dtype=np.float32)
    chroma = np.arange(128) % 12
    spectra = np.exp(2j * np.pi * rng.random((128, length // 2 + 1))).astype(np.complex64)
    whole = length == CARD.frame_length
    sounding = np.zeros((128 // 8 - 1) * hop + length, np.float32)
    began = time.perf_counter()
    for batch in range(frames // 128):
        if batch % a_decode == 0:
            decoded = PLAIN.model.decode(latents, chroma)
        made = np.fft.irfft(decoded * spectra if whole else spectra)
        for voice in range(8):
            for index in range(128 // 8):
                sounding[index * hop : index * hop + length] += made[voice * 16 + index]
    return time.perf_counter() - began


def bare_halves(frames: int, phase: str) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(2, initializer=open_session, initargs=(PLAIN.model.path,)) as pool:
        list(pool.map(bare, [frames // 2] * 2, [phase] * 2))
    return time.perf_counter() - began


def measure(played: Performance, phase: str) -> None:
    frames = frames_of(played, phase)
    rows = [
        (bare(frames, phase), bare_halves(frames, phase), host(played, phase, 1), host(played, phase, 2))
        for _ in range(ROUNDS)
    ]
    floor, _, one, two = (statistics.median(column) for column in zip(*rows, strict=True))
    share = statistics.median(a / b for a, b, _, _ in rows)
    print(f"phase = {phase!r}")
    print(f"bare work of {frames} frames: {floor:.2f} s; halves on two threads {share:.2f} x as fast")
    against = statistics.median(c / a for a, _, c, _ in rows)
    print(f"render, one process:  {one:.2f} s, {SECONDS / one:.0f} x real time, {against:.2f} x bare")
    faster = statistics.median(c / d for _, _, c, d in rows)
    print(f"render, two processes: {two:.2f} s, {SECONDS / two:.0f} x real time, {faster:.2f} x as fast as one")
    profile = cProfile.Profile()
    profile.runcall(host, played, phase, 1)
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    spent = stats.stats.items()  # type: ignore[attr-defined]
    model = sum(row[2] for (_, _, name), row in spent if "onnxruntime" in name or name == "run")
    transform = sum(row[3] for (_, _, name), row in spent if name == "irfft")
    print(f"profiled: decoder {model / total:.0%} of it, inverse transform {transform / total:.0%}, the rest is host")


def main() -> None:
    played = performance()
    for phase in ("noise", "coherent"):
        measure(played, phase)


if __name__ == "__main__":
    main()
