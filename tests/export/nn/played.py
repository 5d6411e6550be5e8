"""Signals for files for nn~, and what the host's engines make of the same."""

import itertools

import numpy as np
from timbrel.host.engines.engine import VOICE_LUFS, EngineRequest, engine_of
from timbrel.host.preset.preset import PlaySettings

SIZES = [(64,), (512,), (8192,), (1, 7, 100, 4096, 333)]  # samples at a time, by turns


def play(backend, signals, sizes=(1000,)):
    """The sound of signals, [rows, channels in, samples], block by block: [rows, channels out, samples]."""
    blocks, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= signals.shape[2]:
            return np.concatenate(blocks, axis=2)
        blocks.append(backend.perform(signals[:, :, at : at + size]))
        at += size
    return None


def labels(backend, method):
    """The labels of a method's inlets and outlets, as nn~ shows them."""
    channels_in, _, channels_out, _ = backend.params(method)
    shown = []
    for direction, count in (("input", channels_in), ("output", channels_out)):
        own = getattr(backend.module, f"{method}_{direction}_labels", [])
        plain = [f"(signal) model {direction} {number}" for number in range(count)]
        shown.append([*own[:count], *plain[len(own) :]])
    return tuple(shown)


def signals(offsets, pitch, level):
    """[1, latents + 2, samples] of what is added to knobs, [latents, samples], a pitch and a level, [samples] each."""
    count = np.shape(offsets)[1]
    rows = [*offsets, np.broadcast_to(pitch, count), np.broadcast_to(level, count)]
    return np.array(rows, np.float32)[np.newaxis]


def knobs(card, end):
    return np.array([[getattr(knob, end)] for knob in card.latents], np.float32)


def wandering(card, count, seed=0):
    """Offsets of knobs that move all the time, beyond their ends too, [latents, samples]."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((len(card.latents), count // 50 + 2)).cumsum(1) / 10
    at = np.arange(count) / 50
    span = knobs(card, "high") - knobs(card, "low")
    return (span * [np.interp(at, np.arange(len(row)), row) for row in steps]).astype(np.float32)


class Moving:
    """Codes and a pitch, a number a sample, as engines read them."""

    own_codes = False

    def __init__(self, card, offsets, pitch):
        codes = offsets + knobs(card, "default")
        self.codes = np.clip(codes, knobs(card, "low"), knobs(card, "high"))
        self.pitch = np.broadcast_to(np.asarray(pitch, np.float32), offsets.shape[1])

    def latents(self, voices, times, own_times=None):
        return np.ascontiguousarray(self.codes[:, times].T)

    def residual(self, voices, times, ahead):
        return None

    def decoded_keys(self, voices):
        return [None] * len(voices)

    def bend_semitones(self, voices, times):
        return np.zeros(len(times))

    def value(self, time):
        return float(self.pitch[time])


def of_the_host(model, onsets, offsets, pitch):
    """Voices of the host's engine, each from its onset on, [voices, channels, samples]; spectra with noise phases."""
    rest = [knob.default for knob in model.card.latents]
    engine = engine_of(model, EngineRequest(rest, PlaySettings(phase="noise"), None, 0.0))
    motion, count = Moving(model.card, offsets, pitch), offsets.shape[1]
    streams = [engine.start_stream(60.0, on, 60) for on in onsets]
    for stream in streams:
        stream.pitch = motion
    blocks = []
    for start in range(0, count, 3000):
        blocks.append(np.array([row.copy() for row in engine.render(streams, motion, start, min(3000, count - start))]))
    return np.concatenate(blocks, axis=2) * np.float32(10 ** ((VOICE_LUFS - model.card.loudness_lufs) / 20))
