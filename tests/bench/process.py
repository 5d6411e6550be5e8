"""A sound through a model: how fast, against the bare transforms and networks, how evenly live, and how like itself.

Speed: a minute of notes through gm-chroma-8, unbent, in the blocks of `timbrel process`; the floor is as many frames,
transformed, encoded, decoded and transformed back in the same batches, and nothing else. Live: blocks of 128 at 48 kHz,
as fast as they go and at the pace of a card; the ring is two blocks deep, so no three blocks in a row may take three.
Likeness: notes of the soundfont at a velocity that the model never heard; of the frames, as `timbrel process` prints
it, and of the sound that comes out, by a transform of both.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from side_by_side import ratio, side_by_side
from timbrel.host.model.encoder import Encoder
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.preset import ProcessSettings
from timbrel.host.resynthesis.process import BLOCK, Processor
from timbrel.host.signal import stft
from timbrel.train.corpus.soundfont import render_soundfont
from timbrel.train.corpus.store import Corpus

PATCH = open_patch("gm-chroma-8")
CARD = PATCH.model.card
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
PROGRAMS = (0, 4, 11, 19, 24, 32, 40, 42, 48, 53, 56, 60, 65, 71, 73, 80)
NOTES, UNHEARD_VELOCITY = range(60, 72), 70
SECONDS, ROUNDS = 60, 5
LIVE_RATE, LIVE_BLOCK, LIVE_SECONDS = 48_000, 128, 20


def notes(folder: Path) -> list[np.ndarray]:
    """Clips at the model's rate."""
    render_soundfont(
        SOUNDFONT,
        folder,
        programs=PROGRAMS,
        notes=NOTES,
        velocities=[UNHEARD_VELOCITY],
        channels=1,
        rate=CARD.sample_rate,
    )
    corpus = Corpus.open(folder)
    return [np.array(corpus.samples(clip)) for clip in corpus.clips()]


def with_phase(phase: str) -> Patch:
    settings = ProcessSettings(phase=phase)
    return replace(PATCH, preset=PATCH.preset.model_copy(update={"process": settings}))


def through(sound: np.ndarray, phase: str) -> None:
    processor = Processor(with_phase(phase), CARD.sample_rate)
    for start in range(0, len(sound), BLOCK):
        processor.process([], sound[np.newaxis, start : start + BLOCK])


def bare(sound: np.ndarray) -> None:
    encoder, shape = Encoder(PATCH.model), np.hanning(CARD.frame_length).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, CARD.frame_length)[:: CARD.hop_length]
    batch, classes = BLOCK // CARD.hop_length, np.zeros(len(frames), np.intp)
    for first in range(0, len(frames), batch):
        part = frames[first : first + batch]
        spectra = np.fft.rfft(part * shape)
        decoded = PATCH.model.decode(encoder.encode(part, classes[: len(part)]), classes[: len(part)])
        np.fft.irfft(spectra * decoded)


def speed(sound: np.ndarray) -> None:
    for phase in ("original", "own"):
        ours, floor = side_by_side(partial(through, sound, phase), partial(bare, sound), rounds=ROUNDS, warm_up=1)
        print(
            f"phase {phase:<9}{SECONDS / ours.median:4.0f} x real time, {ratio(ours, floor):.2f} x bare "
            f"({SECONDS / floor.median:.0f} x real time)"
        )


def live(sound: np.ndarray, phase: str, paced: bool) -> None:
    processor = Processor(with_phase(phase), LIVE_RATE)
    period, taken = LIVE_BLOCK / LIVE_RATE, []
    blocks = sound[: LIVE_SECONDS * LIVE_RATE // LIVE_BLOCK * LIVE_BLOCK].reshape(-1, LIVE_BLOCK)
    due = time.perf_counter()
    for block in blocks:
        if paced:
            due += period
            time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        processor.process([], block[np.newaxis])
        taken.append((time.perf_counter() - began) / period)
    p50, p99, p999 = np.percentile(taken[200:], (50, 99, 99.9))
    three = np.convolve(taken[200:], np.ones(3), "valid").max() / 3
    print(
        f"phase {phase:<9}{'paced' if paced else 'unpaced':<8}load p50 {p50:4.0%}  p99 {p99:4.0%}  p99.9 {p999:4.0%}  "
        f"most of three blocks in a row {three:4.0%}; late by {1000 * processor.latency_samples / LIVE_RATE:.1f} ms"
    )


def likeness(clips: list[np.ndarray]) -> None:
    for phase in ("original", "own"):
        of_frames, squares, of_sound = [], [], []
        for clip in clips:
            processor = Processor(with_phase(phase), CARD.sample_rate)
            fit, late = processor.measure(), processor.latency_samples
            given = processor.process([], np.pad(clip, (0, late))[np.newaxis])[0, late:]
            was, now = (np.abs(stft(sound, CARD.frame_length, CARD.hop_length)) for sound in (clip, given))
            of_frames.append(fit.convergence)
            squares.append(fit.mean_square)
            of_sound.append(float(np.linalg.norm(now - was) / np.linalg.norm(was)))
        parts = [statistics.quantiles(values, n=4) for values in (of_frames, of_sound, squares)]
        print(f"phase {phase}, {len(clips)} notes: lower quartile, median, upper quartile")
        for name, (low, middle, high) in zip(("convergence of frames", "of the sound", "MSE"), parts, strict=True):
            print(f"  {name:<24}{low:.3g}  {middle:.3g}  {high:.3g}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clips = notes(Path(folder) / "corpus")
    sound = np.resize(np.concatenate(clips), SECONDS * CARD.sample_rate)
    speed(sound)
    for phase in ("original", "own"):
        for paced in (False, True):
            live(sound, phase, paced)
    likeness(clips)


if __name__ == "__main__":
    main()
