"""Measures how near recovered sounds come, and how long it takes, by the network, and refined.

    python tests/bench/recover.py notes CORPUS      64 notes of the test split through gm-chroma-8, seed 0
    python tests/bench/recover.py digits FOLDER     the clips of Free Spoken Digits' test split through digits-spoken
    python tests/bench/recover.py methods FOLDER    ten of these clips, by each method, on one thread
    python tests/bench/recover.py hits SOUNDFONT    twelve drums of another soundfont through gm-drums
    python tests/bench/recover.py kit INSTRUMENT    eight hits of a kit that `timbrel make` made, through its model

Notes: the log-mel distance of what the preset plays from the note, and whether it sounds the note. Digits: whether a
classifier that shares no code with timbrel hears the digit: least squares on mel-frequency cepstra of the training
clips. Methods: processor time of one clip after another, decoders rebuilt, and how near they come. Hits: .8 s each,
rendered by FluidSynth at velocity 90 (Debian's TimGM6mb.sf2 is not what gm-drums was trained on); each is recovered by
a `timbrel recover` of its own, whose processor time is counted with starting and drawing. Kit: the same of eight clips
that are evenly spaced in the instrument's corpus.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mido
import numpy as np
import scipy.fft
import soundfile
import torch
from timbrel.export.recovery.search import CodeSearcher
from timbrel.host.engines.clip.synthesis import SpectraSound
from timbrel.host.model.encoder import Encoder
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.resynthesis import reconstruction
from timbrel.host.resynthesis.codes import clip_of
from timbrel.host.resynthesis.distance import measures
from timbrel.host.resynthesis.recover import NETWORK, RecoveryMethod, recover
from timbrel.host.resynthesis.refinement import SearchResult, SearchTarget
from timbrel.host.signal import sounding_note
from timbrel.train.corpus.store import Corpus

NOTES, CLIPS, KIT_HITS = 64, 10, 8
HITS = {36: "kick", 37: "side stick", 38: "snare", 39: "clap", 42: "closed hat", 45: "tom", 46: "open hat"}
HITS |= {56: "cowbell", 60: "bongo", 63: "conga", 67: "agogo", 76: "wood block"}
HIT_SECONDS, HIT_RATE = 0.8, 44100
CEPSTRA, STEPS, BANDS, FRAME, HOP = 20, 16, 40, 256, 80


def cepstra(sound: np.ndarray, rate: int) -> np.ndarray:
    """Mel-frequency cepstra of a word at as many moments as any: [CEPSTRA × STEPS]."""
    loud = np.flatnonzero(np.abs(sound) > 0.05 * np.abs(sound).max())
    sound = np.pad(sound[loud[0] : loud[-1] + 1], (FRAME // 2, FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP] * np.hamming(FRAME)
    power = np.abs(np.fft.rfft(frames)) ** 2
    mels = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    hertz = np.fft.rfftfreq(FRAME, 1 / rate)
    bands = np.array([np.interp(hertz, edges[i : i + 3], [0, 1, 0]) for i in range(BANDS)])
    levels = np.log(power @ bands.T + 1e-8 * power.max() + 1e-12)
    found = scipy.fft.dct(levels, norm="ortho", axis=1)[:, :CEPSTRA]
    places = np.linspace(0, len(found) - 1, STEPS)
    rows = np.stack([np.interp(places, np.arange(len(found)), column) for column in found.T])
    rows[0] -= rows[0].mean()  # how loud it is
    return rows.ravel()


class Plain:
    """Regularised least squares on cepstra and their products with themselves."""

    def __init__(self, sounds: list[np.ndarray], digits: np.ndarray, rate: int) -> None:
        self.rate = rate
        features = np.array([cepstra(sound, rate) for sound in sounds])
        self.mean, self.scale = features.mean(0), features.std(0) + 1e-9
        rows = self._rows(features)
        targets = np.eye(10)[digits]
        self.weights = np.linalg.solve(rows.T @ rows + 300 * np.eye(rows.shape[1]), rows.T @ targets)

    def _rows(self, features: np.ndarray) -> np.ndarray:
        scaled = (features - self.mean) / self.scale
        return np.concatenate([scaled, np.abs(scaled), np.ones((len(scaled), 1))], 1)

    def __call__(self, sounds: list[np.ndarray]) -> np.ndarray:
        rows = self._rows(np.array([cepstra(sound, self.rate) for sound in sounds]))
        return (rows @ self.weights).argmax(1)


def both(sound: Path, model: Model, searcher: CodeSearcher, folder: Path) -> dict[str, dict]:
    """Return what recover says of a sound, by method, with the sound made again and the seconds taken."""
    hybrid = RecoveryMethod("hybrid", lambda model, sounds, progress=None: searcher.hybrid(sounds, progress), True)
    found = {}
    for method in (NETWORK, hybrid):
        began = time.perf_counter()
        recover(sound, model, folder / "out.toml", method=method, overwrite=True)
        figures = json.loads((folder / "out.json").read_text())
        samples, rate = soundfile.read(folder / "out.wav")
        found[method.name] = figures | {"sound": samples, "rate": rate, "seconds": time.perf_counter() - began}
    return found


def notes(path: Path, folder: Path) -> None:
    corpus, model = Corpus.open(path), Model(shipped_models()["gm-chroma-8"])
    searcher = CodeSearcher(model)
    clips = corpus.clips("test")
    chosen = np.random.default_rng(0).permutation(len(clips))[:NOTES]
    rows, right = [], []
    for number in chosen:
        soundfile.write(folder / "note.wav", corpus.samples(clips[number]), corpus.rate, subtype="FLOAT")
        found = both(folder / "note.wav", model, searcher, folder)
        rows.append([found[name][key] for name in found for key in ("log_mel_db", "ssim", "seconds")])
        asked = sounding_note(corpus.samples(clips[number]), corpus.rate)
        played = sounding_note(found["hybrid"]["sound"], found["hybrid"]["rate"])
        right.append(abs(played - asked) < 0.5)
    table = np.array(rows)
    for place, name in enumerate(("network", "hybrid")):
        log_mel, ssim, seconds = table[:, 3 * place : 3 * place + 3].T
        print(
            f"{name:8s} log-mel {log_mel.mean():.2f} dB, median {np.median(log_mel):.2f}; SSIM {ssim.mean():.3f}; "
            f"{seconds.mean():.2f} s"
        )
    print(
        f"hybrid lowers the mean by {1 - table[:, 3].mean() / table[:, 0].mean():.0%}, "
        f"{(table[:, 3] < table[:, 0]).mean():.0%} of notes; {np.mean(right):.0%} sound their note"
    )


def digits(path: Path, folder: Path) -> None:
    split = json.loads((path / "split.json").read_text())
    rate = soundfile.info(path / split["train"][0]).samplerate
    known = [soundfile.read(path / name)[0] for name in split["train"]]
    judge = Plain(known, np.array([int(name[0]) for name in split["train"]]), rate)
    asked = np.array([int(name[0]) for name in split["test"]])
    plain = judge([soundfile.read(path / name)[0] for name in split["test"]])
    print(f"recordings {np.mean(plain == asked):.1%} of {len(asked)}")
    model = Model(shipped_models()["digits-spoken"])
    searcher = CodeSearcher(model)
    made: dict[str, list] = {"network": [], "hybrid": []}
    for name in split["test"]:
        for method, found in both(path / name, model, searcher, folder).items():
            made[method].append(found)
    for method, found in made.items():
        heard = judge([one["sound"] for one in found])
        print(
            f"{method:8s} {np.mean(heard == asked):.1%}; log-mel {np.mean([one['log_mel_db'] for one in found]):.2f} "
            f"dB; {np.mean([one['seconds'] for one in found]):.2f} s"
        )


def methods(path: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    model = Model(shipped_models()["digits-spoken"])
    card, encoder, searcher = model.card, Encoder(model), CodeSearcher(model)
    names = json.loads((path / "split.json").read_text())["test"]
    clips = [clip_of(path / name, card, encoder) for name in names[:: len(names) // CLIPS][:CLIPS]]
    sound = SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)

    def placed(clip: np.ndarray) -> SearchTarget:
        codes, labels = encoder.encode_with_labels(clip[np.newaxis])
        return SearchTarget(clip[np.newaxis], codes[0].astype(np.float64), int(labels.argmax()))

    def unrefined(sounds: list[SearchTarget]) -> list[SearchResult]:
        return [SearchResult(one.code, one.label, None, 0.0, True) for one in map(placed, [sounds[0].frames[0]])]

    spent = {}
    for name, search in (("network", unrefined), ("hybrid", searcher.hybrid), ("gradient", searcher.gradient)):
        search([placed(clips[0].clip)])  # what is made once
        seconds, near = 0.0, []
        for clip in clips:
            began = time.process_time()
            [found] = search([placed(clip.clip)])
            seconds += time.process_time() - began
            made = sound(model.decode(found.code[np.newaxis].astype(np.float32), np.array([found.label])))[0]
            near.append(measures(clip.clip, made, card.sample_rate))
        mse, ssim, log_mel = np.mean(near, 0)
        spent[name] = seconds
        print(
            f"{name:8s} {1000 * seconds / len(clips):.0f} ms a clip; spectrogram MSE {mse:.6f}; SSIM {ssim:.4f}; "
            f"log-mel {log_mel:.2f} dB"
        )
    print(f"hybrid takes 1/{spent['gradient'] / spent['hybrid']:.1f} of the time of gradient")


def hits(soundfont: Path, folder: Path) -> None:
    sounds = [folder / f"{name}.wav" for name in HITS.values()]
    for key, sound in zip(HITS, sounds, strict=True):
        render(soundfont, key, sound)
    recovered(sounds, "gm-drums", folder)


def kit(instrument: Path, folder: Path) -> None:
    corpus = Corpus.open(instrument / "corpus")
    clips = corpus.clips()
    sounds = [folder / f"hit {number}.wav" for number in range(KIT_HITS)]
    for clip, sound in zip(clips[:: len(clips) // KIT_HITS], sounds, strict=False):
        soundfile.write(sound, corpus.samples(clip), corpus.rate, subtype="FLOAT")
    recovered(sounds, str(instrument / "model.onnx"), folder)


def recovered(sounds: list[Path], model: str, folder: Path) -> None:
    rows = []
    for sound in sounds:
        for method in ("network", "hybrid"):
            command = ["-m", "timbrel", "recover", str(sound), "--model", model, "--method", method]
            began = os.times()
            subprocess.run(
                [sys.executable, *command, "-o", str(folder / "hit.toml"), "--overwrite"],
                check=True,
                capture_output=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            now, figures = os.times(), json.loads((folder / "hit.json").read_text())
            spent = now.children_user + now.children_system - began.children_user - began.children_system
            rows.append((figures["log_mel_db"], figures["nearest"]["deviations"], spent))
            told = "{:.1f} dB, {:.1f} deviations from a training code, {:.1f} s of processor time".format(*rows[-1])
            print(f"{sound.stem:10s} {method:8s} {told}", flush=True)
    for place, method in enumerate(("network", "hybrid")):
        mean, worst = np.mean(rows[place::2], 0), np.max(rows[place::2], 0)
        print(f"{method:8s} mean {mean[0]:.1f} dB, {mean[1]:.1f} deviations, {mean[2]:.1f} s; most {worst[2]:.1f} s")
    farther = sum(after[0] > before[0] for before, after in zip(rows[::2], rows[1::2], strict=True))
    print(f"{farther} of {len(sounds)} end farther away than the network's code")


def render(soundfont: Path, key: int, sound: Path) -> None:
    """Write a hit of a soundfont's first drum kit as it begins."""
    file, track = mido.MidiFile(), mido.MidiTrack()
    track.append(mido.Message("note_on", channel=9, note=key, velocity=90))
    track.append(mido.Message("note_off", channel=9, note=key, time=2 * file.ticks_per_beat))
    file.tracks.append(track)
    file.save(sound.with_suffix(".mid"))
    whole = sound.with_name("whole.wav")
    dry = ["-R", "0", "-C", "0", "-r", str(HIT_RATE), "-g", "0.6"]
    subprocess.run(
        ["fluidsynth", "-ni", *dry, "-F", str(whole), str(soundfont), str(sound.with_suffix(".mid"))],
        check=True,
        capture_output=True,
    )
    samples = soundfile.read(whole)[0].mean(1)
    first = int(np.argmax(np.abs(samples) > 1e-4))
    soundfile.write(sound, samples[first : first + round(HIT_SECONDS * HIT_RATE)], HIT_RATE, subtype="FLOAT")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["notes", "digits", "methods", "hits", "kit"])
    parser.add_argument("path", type=Path)
    options = parser.parse_args()
    reconstruction.check_picture = refuse  # pictures take longer than all else
    with tempfile.TemporaryDirectory() as folder:
        benches = {"notes": notes, "digits": digits, "methods": methods, "hits": hits, "kit": kit}
        benches[options.what](options.path, Path(folder))


def refuse(path: Path) -> None:
    from timbrel.host.errors import UserError

    raise UserError("no pictures here")


if __name__ == "__main__":
    main()
