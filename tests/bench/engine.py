"""The spectrum engine against its floor: the bare decode, inverse transform and overlap-add of as many voices.

Both run on one thread, with either phase. The floor decodes all voices in one batch a hop; the engine is measured in
blocks of one hop, and in blocks of 128 samples as a live host would ask for them. What a voice's frames cost beside its
decoding is measured for sixteen at once.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from side_by_side import Times, ratio, side_by_side
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.signal import window

MODEL = Model(shipped_models()["gm-chroma-8"])
FRAME, HOP, RATE = MODEL.card.frame_length, MODEL.card.hop_length, MODEL.card.sample_rate
HOPS = 8  # a round
ROUNDS = 60
N = len(MODEL.card.latents)


class Knobs:
    """Latents that move and differ between voices, are shared, or stand still."""

    own_codes = False

    def __init__(self, moving: bool, shared: bool) -> None:
        self.moving, self.shared = moving, shared

    def latents(self, voices, times, own_times=None):
        voice = np.zeros(len(voices)) if self.shared else np.asarray(voices)
        time = times if self.moving else np.zeros(len(times))
        return (0.5 + 0.4 * np.sin(np.outer(time / 9000 + voice, np.arange(1, N + 1)))).astype(np.float32)

    def residual(self, voices, times, ahead):
        return None

    def decoded_keys(self, voices):
        return [None] * len(voices)

    def bend_semitones(self, voices, times):
        return np.zeros(len(voices))


def engine(voices: int, block: int, knobs: Knobs, phase: str):
    """A function that renders `HOPS` hops of voices on keys over three octaves."""
    made = SpectrumEngine(MODEL, 16384, character=VoicingSettings(phase=phase))
    streams = [made.start_stream(48 + 5 * i % 36, 0) for i in range(voices)]
    time = 0

    def play() -> None:
        nonlocal time
        for _ in range(HOPS * HOP // block):
            made.render(streams, knobs, time, block)
            time += block

    return play


def floor(voices: int):
    """The bare work of `HOPS` hops."""
    rng = np.random.default_rng(0)
    latents = rng.random((voices, N), dtype=np.float32)
    chroma = np.arange(voices) % 12
    phases = np.exp(2j * np.pi * rng.random((voices, FRAME // 2 + 1))).astype(np.complex64)
    shape = window("hann", FRAME)
    sounding = np.zeros((voices, FRAME + HOP), np.float32)

    def play() -> None:
        for _ in range(HOPS):
            frames = np.fft.irfft(MODEL.decode(latents, chroma) * phases) * shape
            sounding[:, :FRAME] += frames
            sounding[:, :-HOP] = sounding[:, HOP:]
            sounding[:, -HOP:] = 0

    return play


def row(name: str, times: Times, against: Times) -> None:
    print(
        f"{name:<44}{times.median / HOPS * 1e3:8.3f} ms a hop   p99 {times.p99 / HOPS * 1e3:7.3f}"
        f"   {ratio(times, against):5.2f} x floor"
    )


def frames_alone(phase: str) -> None:
    """What sixteen frames cost without their decoding, against that."""
    rng = np.random.default_rng(0)
    latents = rng.random((16, N), dtype=np.float32)
    chroma, ratios = np.arange(16) % 12, np.exp2(np.linspace(-2, 2, 16))
    voicing = SpectrumEngine(MODEL, 16384, character=VoicingSettings(phase=phase))._voicing
    states = [voicing.start_state() for _ in range(16)]
    frames, decode = side_by_side(
        lambda: voicing.make(latents, chroma, ratios, states), lambda: MODEL.decode(latents, chroma), rounds=500
    )
    print(
        f"{phase}: a frame {frames.median / 16 * 1e3:.3f} ms a voice, a row decoded {decode.median / 16 * 1e3:.3f} ms, "
        f"ratio {ratio(frames, decode):.2f}"
    )


def measure(phase: str) -> None:
    print(f"phase = {phase!r}")
    for voices in (8, 16, 32):
        moving = Knobs(moving=True, shared=False)
        bare, by_hop, by_block = side_by_side(
            floor(voices), engine(voices, HOP, moving, phase), engine(voices, 128, moving, phase), rounds=ROUNDS
        )
        row(f"{voices} voices, floor", bare, bare)
        row(f"{voices} voices, all knobs move, blocks of {HOP}", by_hop, bare)
        row(f"{voices} voices, all knobs move, blocks of 128", by_block, bare)
    still, turning = Knobs(False, True), Knobs(True, True)
    bare, rest, shared = side_by_side(
        floor(16), engine(64, HOP, still, phase), engine(64, HOP, turning, phase), rounds=ROUNDS
    )
    row("16 voices, floor", bare, bare)
    row(f"64 voices, knobs still, blocks of {HOP}", rest, bare)
    row(f"64 voices share moving knobs, blocks of {HOP}", shared, bare)


def main() -> None:
    for phase in ("noise", "coherent"):
        measure(phase)
    for phase in ("noise", "coherent", "causal"):
        frames_alone(phase)


if __name__ == "__main__":
    main()
