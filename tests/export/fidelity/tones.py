"""Notes by formula, and corpora of them."""

import numpy as np
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.store import Corpus, writing

RATE = 48000


def tone(note, seconds=1.0, fall=0.7, held=0.8, rise=0.02, rate=RATE, gain=0.1):
    """Harmonics up to 8 kHz that fall off by ``fall``, with a straight attack, let go after ``held`` seconds."""
    time, hz = np.arange(round(seconds * rate)) / rate, midi_to_hz(note)
    orders = range(1, int(min(8000, rate / 2.1) / hz))
    sound = sum(fall**k * np.sin(2 * np.pi * k * hz * time + k * k) for k in orders)
    level = np.minimum(time / rise, 1) * np.where(time > held, 10 ** (-200 * (time - held) / 20), 1)
    return (gain * level * sound).astype(np.float32)


def note_corpus(folder, clips, rate=RATE, name="notes"):
    """A corpus of (split, note, options of `tone`); a note of None is a slide."""
    with writing(folder, rate) as writer:
        for i, (_, note, options) in enumerate(clips):
            fields = {key: options[key] for key in ("velocity", "label", "program", "slurred", "key") if key in options}
            shape = {key: value for key, value in options.items() if key not in fields}
            fields["name"] = shape.pop("name", f"{i}")
            sound = tone(60 if note is None else note, rate=rate, **shape)
            frames = -(-len(sound) // 1024)
            track = np.linspace(60, 70, frames) if note is None else np.full(frames, note)
            writer.append(sound, track.astype(np.float32), group=f"{i}", **fields)
        splits = {options.get("name", f"{i}"): split for i, (split, _, options) in enumerate(clips)}
        writer.finish(splits, name=name)
    return Corpus.open(folder)
