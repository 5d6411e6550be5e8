"""Sounds as files."""

import zlib

import numpy as np
import soundfile
from timbrel.train.corpus.store import Corpus

RATE = 44100


def sine(frequency_hz=440.0, seconds=0.5, rate=RATE, gain=0.5, phase=0.0):
    turns = frequency_hz * np.arange(round(seconds * rate)) / rate
    return (gain * np.sin(2 * np.pi * turns + phase)).astype(np.float32)


def write(path, samples=None, rate=RATE, **options):
    """Write a sound; by default a sine whose phase is another for each path, as identical sounds count once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = sine(rate=rate, phase=zlib.crc32("/".join(path.parts[-2:]).encode()) / 1e9)
    soundfile.write(path, samples, rate, **options)
    return path


def splits_of(folder):
    return {clip.name: clip.split for clip in Corpus.open(folder).clips()}
