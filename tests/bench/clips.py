"""Log-mel distances of whole clips that a few numbers tell: what recipes of clips have to come near.

    python tests/bench/clips.py CORPUS SAMPLES [--components 4,8,16]

The first SAMPLES of each clip, followed by silence where there are fewer. In dB, medians over the test clips: a linear
projection of their levels on the principal components of the training clips', without making sound of it; the training
clip whose levels are nearest in all cells; and the one that is nearest by the distance itself.
"""

import argparse
from pathlib import Path

import numpy as np
from timbrel.host.resynthesis.distance import distance_db, distances_db
from timbrel.host.spectra import log_mel
from timbrel.train.corpus.store import Corpus
from timbrel.train.data import clips_of


def projected(train: np.ndarray, test: np.ndarray, components: int) -> np.ndarray:
    """Levels of test clips as the principal components of training's have them: [clips, frames, bands]."""
    flat, mean = (part.reshape(len(part), -1) for part in (train, test)), train.reshape(len(train), -1).mean(0)
    known, asked = (part - mean for part in flat)
    values, axes = np.linalg.eigh(known @ known.T)  # of few clips with many cells this is the small matrix
    strongest = np.argsort(values)[::-1][:components]
    basis = known.T @ (axes[:, strongest] / np.sqrt(values[strongest]))
    return (asked @ basis @ basis.T + mean).reshape(test.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("samples", type=int)
    parser.add_argument("--components", default="4,8,16")
    options = parser.parse_args()
    corpus = Corpus.open(options.corpus)
    train, test = (
        log_mel(clips_of(corpus, corpus.clips(split), options.samples), corpus.rate) for split in ("train", "test")
    )
    print(f"{len(train)} training clips, {len(test)} test clips of {corpus.name}, {options.samples} samples")
    for components in map(int, options.components.split(",")):
        found = np.median(distance_db(test, projected(train, test, components)))
        print(f"{components:3d} components                {found:5.1f} dB")
    first, second = (part.reshape(len(part), -1) for part in (test, train))
    apart = np.square(first).sum(1)[:, None] - 2 * first @ second.T + np.square(second).sum(1)
    print(f"training clip nearest in cells {np.median(distance_db(test, train[apart.argmin(1)])):4.1f} dB")
    print(f"training clip nearest in dB    {np.median(distances_db(test, train).min(1)):4.1f} dB")


if __name__ == "__main__":
    main()
