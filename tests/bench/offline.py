"""Offline: a minute of eight voices with moving knobs, against the bare decode and inverse transform of its frames.

The bare work takes as many frames in batches of 128 on one thread, and does nothing else with them. Its halves on two
threads at once show what the second core of this machine is worth to work of this kind.
"""

import cProfile
import os
import pstats
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from timbrel.host.engines.spectrum import SpectrumEngine
from timbrel.host.events import ControlChange, Event, NoteOff, NoteOn
from timbrel.host.library import Patch, open_patch
from timbrel.host.midi.file import Performance
from timbrel.host.model import open_session
from timbrel.host.rack import Rack
from timbrel.host.render import blocks

SECONDS, VOICES, ROUNDS = 60, 8, 9
PATCH: Patch = open_patch("gm-chroma-8")
CARD = PATCH.model.card
RATE = CARD.sample_rate


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


def frames_of(played: Performance) -> int:
    """How many frames the host overlaps and adds for a performance: releases and note-ons need some of their own."""
    count = 0
    transform = SpectrumEngine._transform

    def counting(engine: SpectrumEngine, spectra: np.ndarray) -> np.ndarray:
        nonlocal count
        count += len(spectra)
        return transform(engine, spectra)

    SpectrumEngine._transform = counting  # type: ignore[method-assign]
    host(played, 1)
    SpectrumEngine._transform = transform  # type: ignore[method-assign]
    return count


def host(played: Performance, threads: int) -> float:
    began = time.perf_counter()
    for _ in blocks(Rack({0: PATCH}, RATE, threads), played, 0.0, RATE):
        pass
    return time.perf_counter() - began


def bare(frames: int) -> float:
    rng = np.random.default_rng(0)
    latents = rng.random((128, len(CARD.latents)), dtype=np.float32)
    chroma = np.arange(128) % 12
    phases = np.exp(2j * np.pi * rng.random((128, CARD.frame_width))).astype(np.complex64)
    began = time.perf_counter()
    for _ in range(frames // 128):
        np.fft.irfft(PATCH.model.decode(latents, chroma) * phases)
    return time.perf_counter() - began


def bare_halves(frames: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(2, initializer=open_session, initargs=(PATCH.model.path,)) as pool:
        list(pool.map(bare, [frames // 2] * 2))
    return time.perf_counter() - began


def main() -> None:
    played = performance()
    frames = frames_of(played)
    rows = [(bare(frames), bare_halves(frames), host(played, 1), host(played, 2)) for _ in range(ROUNDS)]
    floor, _, one, two = (statistics.median(column) for column in zip(*rows, strict=True))
    share = statistics.median(a / b for a, b, _, _ in rows)
    print(f"bare decode + irfft of {frames} frames: {floor:.2f} s; halves on two threads {share:.2f} x as fast")
    against = statistics.median(c / a for a, _, c, _ in rows)
    print(f"render, one thread:  {one:.2f} s, {SECONDS / one:.0f} x real time, {against:.2f} x bare")
    faster = statistics.median(c / d for _, _, c, d in rows)
    print(f"render, two threads: {two:.2f} s, {SECONDS / two:.0f} x real time, {faster:.2f} x as fast as one")
    profile = cProfile.Profile()
    profile.runcall(host, played, 1)
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    spent = stats.stats.items()  # type: ignore[attr-defined]
    model = sum(row[2] for (_, _, name), row in spent if "onnxruntime" in name or name == "run")
    transform = sum(row[3] for (_, _, name), row in spent if name == "_transform")
    print(f"profiled: decoder {model / total:.0%} of it, inverse transform {transform / total:.0%}, the rest is host")


if __name__ == "__main__":
    main()
