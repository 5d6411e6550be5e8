"""Pieces of recordings become clips of one length, with labels, and cost no memory by their number."""

import tracemalloc

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.data import with_words, words_of
from timbrel.train.families import FAMILIES
from timbrel.train.families.gan.data import places
from timbrel.train.families.recipes import load_recipe
from timbrel.train.frames import SILENT

RATE, LENGTH = 16000, 16384
SIZES = [5000, 16384, 16385, 50000, 3 * 16384 + 1]
LABELS = ["b", "a", "", "b", "a"]


def corpus_of(path, sounds, labels=None, splits=None):
    with writing(path, RATE) as writer:
        for number, sound in enumerate(sounds):
            track = np.full(-(-len(sound) // 1024), np.nan, np.float32)
            label = labels[number] if labels else ""
            writer.append(sound, track, name=f"clip {number}", group=f"clip {number}", label=label)
        dealt = splits or ["train"] * len(sounds)
        writer.finish({clip.name: split for clip, split in zip(writer.clips, dealt, strict=True)}, name="clips")
    return Corpus.open(path)


def ramp(size, number=0):
    """Samples that tell which clip they are of and where they lie in it."""
    return ((number + 1) * 0.1 + np.arange(size) * 1e-6).astype(np.float32)


@pytest.fixture
def corpus(tmp_path):
    return corpus_of(tmp_path / "corpus", [ramp(size, number) for number, size in enumerate(SIZES)], LABELS)


def recipe(*changes):
    return load_recipe("clip-wavegan", ["network.model_size=1", *changes])


def told(corpus):
    return with_words(recipe("network.labels=true"), corpus)


# ---- where pieces lie


@pytest.mark.parametrize("hop", [1, 1000, 16384])
def test_every_start_is_in_one_piece_and_short_recordings_are_one(corpus, hop):
    found = places(corpus, "train", recipe(f"frames.hop_length={hop}").frames, [])
    assert len(found) == sum(max(1, round((max(0, size - LENGTH) + 1) / hop)) for size in SIZES)
    pieces = np.arange(len(found))
    seen = set()
    for share in (0.0, 0.999999):

        class Chance:
            def random(self, count, share=share):
                return np.full(count, share)

        for piece, row in zip(pieces[:50], found.take_clips(corpus, pieces[:50], False, Chance()), strict=True):
            number = int(found.recordings_of(np.array([piece]))[0])
            start = round((float(row[0]) - (number + 1) * 0.1) / 1e-6)
            size = SIZES[number]
            assert 0 <= start <= max(0, size - LENGTH)
            held = min(LENGTH, size - start)
            assert np.allclose(row[:held], ramp(size, number)[start : start + held], atol=1e-7)
            assert not row[held:].any()
            seen.add((number, start))
    assert {(0, 0), (1, 0)} <= seen


def test_chance_takes_a_long_recording_from_anywhere(tmp_path):
    corpus = corpus_of(tmp_path / "corpus", [ramp(4 * LENGTH)])
    data = FAMILIES["gan"].data(corpus, recipe(), tmp_path)
    starts = [
        round((float(row[0]) - 0.1) / 1e-6)
        for seed in range(100)
        for row in data.batch(np.arange(len(data)), np.random.default_rng(seed))[0]
    ]
    counts, _ = np.histogram(starts, bins=6, range=(0, 3 * LENGTH + 1))
    assert min(starts) < 1000
    assert max(starts) > 3 * LENGTH - 1000
    assert counts.min() > 0.7 * len(starts) / 6


def test_the_same_chance_takes_the_same_and_validation_is_always_the_same(corpus, tmp_path):
    data = FAMILIES["gan"].data(corpus, recipe(), tmp_path)
    one, two = (data.batch(np.arange(5), np.random.default_rng(7))[0] for _ in range(2))
    assert one.equal(two)
    assert next(data.validation(4))[0].equal(next(data.validation(4))[0])
    assert data.spread(3)[0].shape == (3, LENGTH)


def test_two_million_pieces_over_shared_sound_cost_no_memory(tmp_path):
    """Sixteen seconds a recording, a piece for each of its samples."""
    sound = ramp(2**18)
    corpus = corpus_of(tmp_path / "corpus", [sound] * 9)
    settings = recipe("frames.hop_length=1").frames
    tracemalloc.start()
    try:
        found = places(corpus, "train", settings, [])
        assert len(found) > 2_000_000
        found.take_clips(
            corpus, np.random.default_rng(0).integers(len(found), size=64), False, np.random.default_rng(0)
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * 64 * LENGTH * 4  # some batches of 64 clips


# ---- levels


def test_clips_are_brought_to_a_peak_of_one_where_that_is_asked_for(corpus, tmp_path):
    plain, even = (
        FAMILIES["gan"].data(corpus, recipe(f"frames.normalised={asked}"), tmp_path) for asked in ("false", "true")
    )
    pieces, chance = np.arange(5), np.random.default_rng
    raw, full = plain.batch(pieces, chance(1))[0].numpy(), even.batch(pieces, chance(1))[0].numpy()
    assert np.allclose(np.abs(full).max(1), 1)
    assert np.allclose(full * np.abs(raw).max(1, keepdims=True), raw, atol=1e-6)


def test_silence_stays_silence_and_is_no_training_clip(tmp_path):
    hush = np.full(LENGTH, 0.5 * SILENT, np.float32)
    corpus = corpus_of(tmp_path / "corpus", [ramp(9000), hush, ramp(9000)])
    data = FAMILIES["gan"].data(corpus, recipe("frames.normalised=true"), tmp_path)
    assert len(data) == 2
    assert "1 silent clip is left out ('clip 1')" in FAMILIES["gan"].describe(corpus, recipe())
    late = np.concatenate([np.zeros(2 * LENGTH, np.float32), ramp(LENGTH)])
    corpus = corpus_of(tmp_path / "late", [late])
    data = FAMILIES["gan"].data(corpus, recipe("frames.normalised=true", "frames.hop_length=1"), tmp_path)
    (clips, _) = data.batch(np.array([0]), np.random.default_rng(0))
    assert not clips.any()


def test_a_corpus_of_silence_is_refused(tmp_path):
    corpus = corpus_of(tmp_path / "corpus", [np.full(LENGTH, 1e-6, np.float32)])
    with pytest.raises(UserError, match="has no training clip that sounds"):
        FAMILIES["gan"].check(corpus, recipe())


# ---- what is said


def test_what_is_padded_and_what_is_sliced_is_said_in_a_line(corpus):
    said = FAMILIES["gan"].describe(corpus, recipe())
    assert said == (
        "clips of 16384 samples (1.02 s): 5 recordings; 1 is shorter, and followed by silence; 3 are longer, "
        "and give pieces from anywhere in them; with so few, it learns these by heart"
    )


def test_one_recording_alone_is_said(tmp_path):
    corpus = corpus_of(tmp_path / "corpus", [ramp(LENGTH)])
    assert FAMILIES["gan"].describe(corpus, recipe()).endswith("1 recording; with so few, it learns these by heart")


# ---- labels


def test_words_are_those_of_training_clips_in_order_each_once(corpus):
    assert words_of(corpus) == ["a", "b"]
    assert told(corpus).network.words == ["a", "b"]
    assert with_words(told(corpus), corpus) == told(corpus)
    assert with_words(recipe(), corpus) == recipe()


def test_clips_come_with_the_numbers_of_their_labels_and_those_without_one_stay_out(corpus, tmp_path):
    data = FAMILIES["gan"].data(corpus, told(corpus), tmp_path)
    clips, labels = data.batch(np.arange(len(data)), np.random.default_rng(0))
    for clip, label in zip(clips.numpy(), labels.tolist(), strict=True):
        number = int(clip[0] / 0.1 + 0.01) - 1
        assert LABELS[number] == ["a", "b"][label]
    assert "1 unlabelled clip is left out ('clip 2')" in FAMILIES["gan"].describe(corpus, told(corpus))


@pytest.mark.parametrize("labels", [None, ["a", "a"]])
def test_a_corpus_without_two_labels_is_refused_where_labels_are_asked_for(tmp_path, labels):
    corpus = corpus_of(tmp_path / "corpus", [ramp(LENGTH)] * 2, labels)
    with pytest.raises(UserError, match=r"network\.labels wants a corpus with two labels at least") as caught:
        FAMILIES["gan"].check(corpus, recipe("network.labels=true"))
    assert "\n" not in str(caught.value)
    assert "--label folder" in str(caught.value)
    assert "set network.labels = false" in str(caught.value)
    FAMILIES["gan"].check(corpus, recipe())


def test_a_word_that_no_training_clip_has_is_refused(corpus):
    asked = recipe("network.labels=true", 'network.words=["a","z"]')
    with pytest.raises(UserError, match=r"has 'z', and no training clip .* its labels are 'a', 'b'"):
        FAMILIES["gan"].check(corpus, asked)
    FAMILIES["gan"].check(corpus, told(corpus))


def test_a_label_that_only_validation_has_is_left_out(tmp_path):
    sounds, labels = [ramp(LENGTH)] * 4, ["a", "b", "c", "a"]
    corpus = corpus_of(tmp_path / "corpus", sounds, labels, ["train", "train", "val", "val"])
    data = FAMILIES["gan"].data(corpus, told(corpus), tmp_path)
    assert sum(len(clips) for clips, _ in data.validation(10)) == 1
