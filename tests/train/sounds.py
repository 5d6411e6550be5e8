"""Sounds as files."""

import shutil
import zlib
from dataclasses import asdict

import numpy as np
import soundfile
from timbrel.train.corpus.store import Corpus, writing

RATE = 44100


def sine(frequency_hz=440.0, seconds=0.5, rate=RATE, gain=0.5, phase=0.0):
    turns = frequency_hz * np.arange(round(seconds * rate)) / rate
    return (gain * np.sin(2 * np.pi * turns + phase)).astype(np.float32)


def noise(seed, seconds=1.0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def decibels(samples, reference):
    """The ratio of two sounds' powers."""
    return 10 * np.log10(np.square(samples, dtype=float).mean() / np.square(reference, dtype=float).mean())


def write(path, samples=None, rate=RATE, **options):
    """Write a sound; by default a sine whose phase is another for each path, as identical sounds count once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = sine(rate=rate, phase=zlib.crc32("/".join(path.parts[-2:]).encode()) / 1e9)
    soundfile.write(path, samples, rate, **options)
    return path


PLACE = ("row", "shard", "start", "length", "peak", "split", "sides_start")  # of a clip, which a writer decides


def rewrite(folder, change):
    """Write a corpus again, with the clips that ``change`` makes of its own."""
    old, new = Corpus.open(folder), folder.with_name(f"{folder.name}-new")
    with writing(new, old.rate) as writer:
        splits = {}
        for clip in map(change, old.clips()):
            labels = {name: value for name, value in asdict(clip).items() if name not in PLACE}
            sides = old.sides(clip) if old.channels(clip) == 2 else None
            writer.append(np.array(old.samples(clip)), old.pitch(clip), sides=sides, **labels)
            splits[clip.name] = clip.split
        writer.finish(splits, name=old.name, licence=old.licence, files=[*old.source_files()], loops=old.loops)
    shutil.rmtree(folder)
    new.rename(folder)
    return folder


def splits_of(folder):
    return {clip.name: clip.split for clip in Corpus.open(folder).clips()}
