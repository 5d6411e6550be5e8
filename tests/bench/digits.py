"""Measures how many clips of a model are heard as their labels, by a judge that shares no code with the project.

    python tests/bench/digits.py CORPUS MODEL.onnx [--clips N] [--seeds N] [--classifier RUN]
    python tests/bench/digits.py CORPUS --study STUDY [--classifier RUN]

The judge is a logistic regression (scikit-learn) of 20 mel-frequency cepstral coefficients (librosa), whose means over
sixteen equal parts of the sounding part of a clip are its features. It learns the recordings of the corpus's training
part, and says first how many of its test part it tells. Codes are drawn from the model's prior within the spans of its
latents, as many for each label. Inception scores are of all clips as one part, beside those of as many
recordings of both parts; with --classifier also by a run of `digits-classifier`, and how often both judges agree.

With --study, it judges the sounds of `timbrel study recovery` in its folder, or the classifier does: for each row, the
share of recordings that are heard as their digit, and of generated sounds that are heard as the sound asked for, of all
and of those that every row has, and the inception score.
"""

import argparse
import json
from pathlib import Path

import librosa
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timbrel.export.study.recovery_rows import draw_codes, sounds_of
from timbrel.host.errors import UserError
from timbrel.host.model.model import Model
from timbrel.train.corpus.store import Corpus
from timbrel.train.families.gan.data import places
from timbrel.train.families.gan.recipe import ClipFrames
from timbrel.train.metrics.clips import inception_score, scored_indices
from timbrel.train.run import Run, trained

COEFFICIENTS, PARTS = 20, 16
WINDOW_SECONDS, HOP_SECONDS = 0.032, 0.008
SOUNDING_DB = 35  # below a clip's loudest frame


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


def features_of(clips, rate):
    """Return the features of clips, [clips, features]."""
    return np.stack([features(clip, rate) for clip in clips])


def taught(corpus):
    """Return a judge that has learned a corpus's training part, and say how many of its test part it tells."""
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    judge.fit(*labelled_features(corpus, "train"))
    held, labels = labelled_features(corpus, "test")
    print(f"recordings of the test part: {judge.score(held, labels):.1%} of {len(labels)} heard as their labels")
    return judge


def made_by(model, count, seed):
    """Return clips [clips, samples] and their labels [clips], as many of each label, in turn; None without labels."""
    labels = model.card.labels
    asked = np.arange(count) % max(1, len(labels))
    clips = sounds_of(model, draw_codes(model.card, count, np.random.default_rng(seed)), asked)
    return clips, [labels[one] if labels else None for one in asked]


def recordings(corpus, card, count):
    """Return at most so many clips of both parts of a corpus, as long as a model's, [clips, samples]."""
    frames = ClipFrames(
        sample_rate=card.sample_rate, frame_length=card.frame_length, hop_length=card.frame_length, normalised=True
    )
    parts = [places(corpus, split, frames, []) for split in ("test", "train")]
    clips = np.concatenate([part.take_clips(corpus, np.arange(len(part)), True) for part in parts])
    return clips[scored_indices(len(clips), count)]


def measure_model(corpus, judge, options):
    model = Model(options.model)
    rate = model.card.sample_rate
    shares, wrong, probabilities, all_clips = [], {}, [], []
    for seed in range(options.seeds):
        clips, asked = made_by(model, options.clips, seed)
        all_clips.append(clips)
        probabilities.append(judge.predict_proba(features_of(clips, rate)))
        heard = judge.classes_[probabilities[-1].argmax(1)]
        shares.append(np.mean(heard == np.array(asked)))
        for one, other in zip(asked, heard, strict=True):
            wrong.setdefault(one, []).append(one == other)
    if model.card.labels:
        print(f"made clips: {np.mean(shares):.1%}, deviation {np.std(shares):.1%} over {options.seeds} seeds")
        print("of each: " + ", ".join(f"{label} {np.mean(right):.0%}" for label, right in sorted(wrong.items())))
    made, probabilities = np.concatenate(all_clips), np.concatenate(probabilities)
    recorded = recordings(corpus, model.card, len(made))
    said = inception_score(probabilities), inception_score(judge.predict_proba(features_of(recorded, rate)))
    print(f"inception scores of {len(made)} clips and {len(recorded)} recordings: {said[0]:.2f} and {said[1]:.2f}")
    if options.classifier is not None:
        classifier = trained(Run.open(options.classifier), "best")[0]
        posteriors, of_recordings = (classifier.judge(clips, rate).posteriors for clips in (made, recorded))
        said = inception_score(posteriors), inception_score(of_recordings)
        told = np.array(classifier.words)[posteriors.argmax(1)]
        alike = np.mean(told == judge.classes_[probabilities.argmax(1)])
        print(f"by the classifier: {said[0]:.2f} and {said[1]:.2f}; both judges tell {alike:.1%} of the clips alike")


def judged_by(judge, classifier, rate):
    """A function that judges sounds: by the judge, or by the run of a ``classifier``."""
    if classifier is not None:
        network = trained(Run.open(classifier), "best")[0]
        words = np.array(network.words)

        def posteriors_of(sounds):
            return network.judge(sounds, rate).posteriors
    else:
        words = judge.classes_

        def posteriors_of(sounds):
            return judge.predict_proba(features_of(sounds, rate))

    def judged(sounds):
        posteriors = posteriors_of(sounds)
        return words[posteriors.argmax(1)], posteriors

    return judged


def measure_study(corpus, judged, folder):
    """``judged``: of sounds, the classes and their probabilities."""
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    for table in study["tables"]:
        heard, words, probabilities = {}, {}, {}
        for row in study["rows"]:
            for seed in range(study["seeds"]):
                newest = max(
                    (folder / "found").glob(f"*-{table}-{seed}-{row}.npz"), key=lambda file: file.stat().st_mtime
                )
                with np.load(newest) as file:
                    heard[row, seed], probabilities[row, seed] = judged(file["sounds"])
                    words[row, seed] = file["words"]
        searched = min(map(len, heard.values()))  # the first of each row, where others have more
        for row in study["rows"]:
            seeds = [(row, seed) for seed in range(study["seeds"])]
            said = []
            for count in dict.fromkeys([len(heard[row, 0]), searched]):
                asked = [heard["asked", seed][:count] for _, seed in seeds]
                kept = np.mean([np.mean(heard[place][:count] == one) for place, one in zip(seeds, asked, strict=True)])
                right = np.mean([np.mean(heard[place][:count] == words[place][:count]) for place in seeds])
                labelled = f"{right:.1%} as their labels, " if words[row, 0][0] else ""
                said.append(f"of {count * len(seeds)}, {labelled}{kept:.1%} as the sound asked for")
            score = inception_score(np.concatenate([probabilities[place] for place in seeds]))
            print(f"{table}, {row}: {'; '.join(said)}; inception score {score:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--study", type=Path)
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--clips", type=int, default=500, help="for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if (options.model is None) == (options.study is None):
        parser.error("give MODEL.onnx or --study STUDY, one of them")
    try:
        corpus = Corpus.open(options.corpus)
        judge = taught(corpus)
        if options.study is not None:
            measure_study(corpus, judged_by(judge, options.classifier, corpus.rate), options.study)
        else:
            measure_model(corpus, judge, options)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
