"""Whole keys are held out: one in six, and no outermost one."""

import numpy as np
import pytest
from timbrel.train.corpus.build import clip_splits, held_keys, key_splits
from timbrel.train.corpus.store import Corpus, writing

RATE = 8000


@pytest.fixture
def corpus_of(tmp_path):
    """A function that makes a corpus of clips of steady pitches, NaN for those without."""

    def make(pitches):
        path = tmp_path / f"corpus-{len(list(tmp_path.iterdir()))}"
        with writing(path, RATE) as writer:
            for number, pitch in enumerate(pitches):
                track = np.full(8, pitch, np.float32)
                writer.append(np.zeros(8 * 1024, np.float32), track, name=f"{number}", group=f"{number}")
            writer.finish({clip.name: "val" for clip in writer.clips}, name="keys")
        return Corpus.open(path)

    return make


@pytest.mark.parametrize(
    ("keys", "held"),
    [
        (range(60, 64), []),
        (range(60, 65), [63]),
        (range(60, 66), [63]),
        (range(60, 70), [63]),
        (range(60, 71), [63, 69]),
        ([40, 45, 50, 55, 60, 65, 70], [55]),
        ([], []),
    ],
    ids=str,
)
def test_one_key_in_six_is_held_out_and_no_outermost_one(corpus_of, keys, held):
    if not len(keys):
        keys = [np.nan]
    assert held_keys(corpus_of([key for key in keys for _ in range(2)])) == held


def test_all_notes_of_a_held_key_are_the_test_split_and_all_else_is_learned(corpus_of):
    corpus = corpus_of([60.2, 60.8, 61.0, 61.4, np.nan, 62.0])
    assert key_splits(corpus, [61]) == {
        "0": "train",
        "1": "test",
        "2": "test",
        "3": "test",
        "4": "train",
        "5": "train",
    }


def test_clips_keep_their_splits_but_each_label_keeps_a_clip_to_learn(tmp_path):
    labels = ["kick", "kick", "snare", "", "hat", "hat"]
    splits = ["train", "test", "val", "test", "test", "val"]
    corpus = corpus_of_labels(tmp_path / "labels", labels, splits)
    assert list(clip_splits(corpus).values()) == ["train", "test", "train", "train", "train", "val"]


def corpus_of_labels(path, labels, splits):
    with writing(path, RATE) as writer:
        for number, label in enumerate(labels):
            track = np.full(8, np.nan, np.float32)
            writer.append(np.zeros(8 * 1024, np.float32), track, name=f"{number}", group=f"{number}", label=label)
        dealt = {clip.name: split for clip, split in zip(writer.clips, splits, strict=True)}
        writer.finish(dealt, name="labels")
    return Corpus.open(path)


def test_clips_that_are_dealt_anew_stay_so_in_the_file_and_its_report(corpus_of):
    corpus = corpus_of([60, 61, 62])
    dealt = corpus.deal({"0": "train", "1": "test", "2": "train"})
    for found in (dealt, Corpus.open(corpus.folder)):
        assert [clip.split for clip in found.clips()] == ["train", "test", "train"]
        assert found.report.split_clips == {"train": 2, "test": 1}
        assert found.report.split_seconds == {"train": pytest.approx(2 * 8192 / RATE), "test": 8192 / RATE}
    whole = dealt.all_for_training()
    assert len(whole.clips("train")) == 3
    assert [clip.split for clip in Corpus.open(corpus.folder).clips()] == ["train", "test", "train"]
