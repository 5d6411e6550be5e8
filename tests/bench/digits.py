"""Measures how many clips of a model are heard as their labels, by a judge that shares no code with the project.

    python tests/bench/digits.py CORPUS MODEL.onnx [--clips N] [--seeds N]

The judge is a logistic regression (scikit-learn) of 20 mel-frequency cepstral coefficients (librosa), whose means over
sixteen equal parts of the sounding part of a clip are its features. It learns the recordings of the corpus's training
part, and says first how many of its test part it tells. Codes are drawn as the model's prior has them: uniform in the
span of each latent, as many for each label.
"""

import argparse
from pathlib import Path

import librosa
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timbrel.host.errors import UserError
from timbrel.host.model.model import Model
from timbrel.train.corpus.store import Corpus

COEFFICIENTS, PARTS = 20, 16
WINDOW_SECONDS, HOP_SECONDS = 0.032, 0.008
SOUNDING_DB = 35  # below a clip's loudest frame
BATCH = 16  # clips that are decoded at once


def features(clip, rate):
    """Return the mean coefficients of equal parts of a clip without its silent ends, [PARTS × COEFFICIENTS]."""
    clip = np.asarray(clip, np.float32)
    clip = clip / max(np.abs(clip).max(), 1e-6)
    sounding, _ = librosa.effects.trim(clip, top_db=SOUNDING_DB, frame_length=256, hop_length=64)
    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    sounding = np.pad(sounding, (0, max(0, PARTS * hop - len(sounding))))
    found = librosa.feature.mfcc(
        y=sounding, sr=rate, n_mfcc=COEFFICIENTS, n_fft=window, hop_length=hop, n_mels=40, fmin=80
    )
    return np.concatenate([part.mean(1) for part in np.array_split(found, PARTS, axis=1)])


def labelled_features(corpus, split):
    """Return the features [clips, features] and the labels of a corpus's labelled clips."""
    clips = [clip for clip in corpus.clips(split) if clip.label]
    return np.stack([features(corpus.samples(clip), corpus.rate) for clip in clips]), [clip.label for clip in clips]


def made_by(model, count, seed):
    """Yield clips [samples] with their labels, as many of each label, in turn."""
    rng, labels = np.random.default_rng(seed), model.card.labels
    low, high = np.array([(latent.low, latent.high) for latent in model.card.latents]).T
    asked = np.arange(count) % len(labels)
    for first in range(0, count, BATCH):
        rows = np.eye(len(labels), dtype=np.float32)[asked[first : first + BATCH]]
        codes = rng.uniform(low, high, (len(rows), len(low))).astype(np.float32)
        yield from zip(model.decode(codes, rows), (labels[one] for one in asked[first : first + BATCH]), strict=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", type=int, default=500, help="for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    try:
        corpus, model = Corpus.open(options.corpus), Model(options.model)
    except UserError as error:
        parser.error(str(error))
    if not model.card.labels:
        parser.error(f"{options.model} has no labels; train with network.labels=true")
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    judge.fit(*labelled_features(corpus, "train"))
    held, labels = labelled_features(corpus, "test")
    print(f"recordings of the test part: {judge.score(held, labels):.1%} of {len(labels)} heard as their labels")
    shares, wrong = [], {}
    for seed in range(options.seeds):
        clips, asked = zip(*made_by(model, options.clips, seed), strict=True)
        heard = judge.predict(np.stack([features(clip, model.card.sample_rate) for clip in clips]))
        shares.append(np.mean(heard == np.array(asked)))
        for one, other in zip(asked, heard, strict=True):
            wrong.setdefault(one, []).append(one == other)
    print(f"made clips: {np.mean(shares):.1%}, deviation {np.std(shares):.1%} over {options.seeds} seeds")
    print("of each: " + ", ".join(f"{label} {np.mean(right):.0%}" for label, right in sorted(wrong.items())))


if __name__ == "__main__":
    main()
