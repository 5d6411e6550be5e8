"""Sounds as files."""

import numpy as np
import soundfile
from timbrel.train.corpus.store import Corpus

RATE = 44100


def sine(frequency_hz=440.0, seconds=0.5, rate=RATE, gain=0.5):
    return (gain * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path, samples=None, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sine(rate=rate) if samples is None else samples, rate, **options)
    return path


def splits_of(folder):
    return {clip.name: clip.split for clip in Corpus.open(folder).clips()}
