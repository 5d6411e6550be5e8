"""Recordings of hits and words become clips from their beginnings on, varied where they are few."""

import numpy as np
import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train.data import with_words
from timbrel.train.families import FAMILIES
from timbrel.train.families.clip import data as batches
from timbrel.train.families.clip.data import hit_changes, hits, varied
from timbrel.train.families.clip.features import ClipFeatures
from timbrel.train.families.recipes import load_recipe

from .struck import RATE, SMALL, corpus_of, hat, tom

LENGTH = 4096
SIZES = [1000, 4096, 6000]


def recipe(*changes):
    return load_recipe("tuned-clip", [*SMALL, *changes])


def ramp(size, number=0):
    """Samples that tell which clip they are of and where they lie in it."""
    return ((number + 1) * 0.1 + np.arange(size) * 1e-6).astype(np.float32)


@pytest.fixture
def ramps(tmp_path):
    return corpus_of(tmp_path / "corpus", [ramp(size, number) for number, size in enumerate(SIZES)])


# ---- what is taken


def test_clips_are_beginnings_and_silence_follows_what_is_shorter(ramps, tmp_path):
    clips = hits(ramps, "train", []).take_clips(ramps, np.array([2, 0, 1]), LENGTH)
    assert clips.shape == (3, LENGTH)
    for row, number in zip(clips, (2, 0, 1), strict=True):
        held = min(LENGTH, SIZES[number])
        assert np.array_equal(row[:held], ramp(SIZES[number], number)[:held])
        assert not row[held:].any()
    data = FAMILIES["clip"].data(ramps, recipe("frames.enough=0"), tmp_path)
    features, mel, labels = data.batch(np.array([2, 0, 1]), np.random.default_rng(0))
    expected = ClipFeatures(RATE, LENGTH)(torch.from_numpy(clips))
    assert torch.allclose(features.float(), expected[0], atol=0.01)  # half precision
    assert torch.allclose(mel.float(), expected[1], atol=0.05)
    assert labels.tolist() == [0, 0, 0]


def test_few_clips_are_taken_so_often_that_they_are_enough_and_many_once(ramps, tmp_path):
    assert len(FAMILIES["clip"].data(ramps, recipe("frames.enough=10"), tmp_path)) == 12
    for enough in (0, 1, 3):
        assert len(FAMILIES["clip"].data(ramps, recipe(f"frames.enough={enough}"), tmp_path)) == 3
    chosen, rng = np.arange(12), np.random.default_rng(0)
    one, two, other = (
        FAMILIES["clip"]
        .data(ramps, recipe("frames.enough=10", f"training.seed={seed}"), tmp_path)
        .batch(chosen, rng)[0]
        for seed in (1, 1, 2)
    )
    assert one.equal(two)
    assert not one.equal(other)
    assert len({tuple(row.tolist()) for row in one}) > 6  # most are varied


def test_silent_clips_stay_out_and_so_do_those_without_a_label_where_labels_count(tmp_path):
    hush = np.full(LENGTH, 5e-5, np.float32)  # -86 dB
    labels = ["b", "a", "", "b", "a"]
    corpus = corpus_of(tmp_path / "c", [ramp(LENGTH, number) for number in range(4)] + [hush], labels)
    assert [clip.name for clip in hits(corpus, "train", []).clips] == ["clip 0", "clip 1", "clip 2", "clip 3"]
    found = hits(corpus, "train", ["a", "b"])
    assert [clip.name for clip in found.clips] == ["clip 0", "clip 1", "clip 3"]
    assert found.labels.tolist() == [1, 0, 1]
    told = with_words(recipe("network.labels=true"), corpus)
    assert told.network.words == ["a", "b"]
    assert (
        FAMILIES["clip"]
        .describe(corpus, told)
        .endswith("; 1 silent clip is left out ('clip 4'); 1 unlabelled clip is left out ('clip 2')")
    )


def test_validation_is_its_own_split_and_else_that_of_training_and_always_the_same(ramps, tmp_path):
    own = corpus_of(tmp_path / "own", [ramp(LENGTH, n) for n in range(3)], splits=["train", "val", "train"])
    (features, *_), *more = FAMILIES["clip"].data(own, recipe(), tmp_path).validation(10)
    assert not more
    assert features.equal(_features([ramp(LENGTH, 1)]))
    data = FAMILIES["clip"].data(ramps, recipe("frames.enough=0"), tmp_path)
    assert next(data.validation(2))[0].equal(_features([ramp(SIZES[0], 0), ramp(SIZES[2], 2)]))
    assert data.spread(2)[0].equal(next(data.validation(2))[0])


def _features(clips):
    """Features of clips, in half precision, as data keep them."""
    rows = np.zeros((len(clips), LENGTH), np.float32)
    for row, clip in zip(rows, clips, strict=True):
        row[: len(clip)] = clip[:LENGTH]
    return ClipFeatures(RATE, LENGTH)(torch.from_numpy(rows))[0].half()


# ---- how it is varied


def test_pitch_is_moved_and_decays_are_hastened_as_far_as_is_allowed_and_some_stay():
    """Sines of one frequency: their pitch is read from a spectrum, their decay from the halves' levels."""
    time = np.arange(2 * LENGTH) / RATE
    clip = (0.5 * np.sin(2 * np.pi * 800 * time)).astype(np.float32)
    settings = recipe("frames.semitones=3", "frames.damping=10").frames
    rows = varied(np.stack([clip] * 200), settings, np.random.default_rng(0))
    sounding = round(0.8 * LENGTH)  # what is moved up ends sooner
    spectra = np.abs(np.fft.rfft(rows[:, :sounding] * np.hanning(sounding), 1 << 14))
    semitones = 12 * np.log2(spectra.argmax(1) * RATE / (1 << 14) / 800)
    halves = [np.square(rows[:, part * 1600 : (part + 1) * 1600]).sum(1) for part in (0, 1)]
    rates = np.log(halves[0] / halves[1]) / 2 / (1600 / RATE)
    same = (rows == clip).all(1)
    assert 0.02 < same.mean() < 0.25
    assert -3.1 < semitones.min() < -2.5
    assert 2.5 < semitones.max() < 3.1
    assert abs(np.median(semitones)) < 0.3
    slowest = -0.5 * np.log(1000) / (2 * LENGTH / RATE)  # half of 60 dB less in all of a clip that does not decay
    assert 1.3 * slowest < rates.min() < 0.7 * slowest  # moved up, it ends sooner
    assert 7 < rates.max() < 10.1
    assert np.abs(np.log(rates[rates > 0.1]).mean() - np.log(np.sqrt(0.2 * 10))) < 0.3  # as often slow as fast


# ---- what a corpus asks of a recipe


@pytest.mark.parametrize(("seconds", "length"), [(0.02, 2048), (0.5, 6144), (1.0, 10240), (9.0, 18432)])
def test_the_length_is_that_in_which_clips_die_away_within_bounds(tmp_path, seconds, length):
    """All fall by 60 dB in so many seconds; a twentieth more is for the fade, and 2048 samples are a unit."""
    time = np.arange(round(1.5 * seconds * RATE)) / RATE
    sound = np.sin(2 * np.pi * 1000 * time) * 10 ** (-3 * time / seconds)
    changes = hit_changes(corpus_of(tmp_path / "c", [sound] * 5))
    assert changes == [
        f"frames.{key}" for key in ("sample_rate=8000", f"frame_length={length}", f"hop_length={length}")
    ]


def test_one_long_clip_of_many_does_not_make_all_long(tmp_path):
    time = np.arange(12000) / RATE
    short, long = (np.sin(2 * np.pi * 1000 * time) * 10 ** (-3 * time / seconds) for seconds in (0.2, 1.4))
    changes = hit_changes(corpus_of(tmp_path / "c", [short] * 39 + [long]))
    assert "frames.frame_length=2048" in changes


def test_two_labels_are_told_and_one_is_none(tmp_path):
    sounds = [tom(0), hat(0), tom(1)]
    assert "network.labels=true" in hit_changes(corpus_of(tmp_path / "two", sounds, ["tom", "hat", ""]))
    assert "network.labels=true" not in hit_changes(corpus_of(tmp_path / "one", sounds, ["tom", "", "tom"]))


def test_what_becomes_of_clips_is_said_in_a_line(ramps):
    assert FAMILIES["clip"].describe(ramps, recipe("frames.enough=512")) == (
        "clips of 4096 samples (0.51 s): 3 recordings; 1 is longer, and cut with a fade; "
        "with so few, each is varied in pitch and decay"
    )
    assert FAMILIES["clip"].describe(ramps, recipe("frames.enough=3", "frames.frame_length=6144")) == (
        "clips of 6144 samples (0.77 s): 3 recordings"
    )


# ---- what is refused


@pytest.mark.parametrize(("count", "said"), [(0, "0 training clips that sound"), (1, "1 training clip that sounds")])
def test_fewer_than_two_clips_that_sound_are_refused_in_a_line(tmp_path, count, said):
    hush = np.zeros(LENGTH, np.float32)
    corpus = corpus_of(tmp_path / "c", [tom(0)] * count + [hush] * 2)
    with pytest.raises(UserError, match=f"has {said}, and 2 are the least; add sounds$"):
        FAMILIES["clip"].check(corpus, recipe())


def test_labels_that_are_asked_for_must_be_two_and_have_two_clips(tmp_path):
    plain = corpus_of(tmp_path / "plain", [tom(0), tom(1)])
    with pytest.raises(UserError, match=r"network\.labels wants a corpus with two labels at least"):
        FAMILIES["clip"].check(plain, recipe("network.labels=true"))
    bare = corpus_of(tmp_path / "bare", [tom(0), 0 * tom(1), tom(2)], ["a", "b", ""])
    with pytest.raises(UserError, match="has 1 training clip that sounds"):
        FAMILIES["clip"].check(bare, recipe("network.labels=true"))


def test_a_length_that_hops_do_not_divide_is_refused():
    with pytest.raises(UserError, match="frame_length 5000 must be a multiple of 2048"):
        recipe("frames.frame_length=5000", "frames.hop_length=5000")


def test_features_of_many_clips_are_computed_for_each_batch(ramps, tmp_path, monkeypatch):
    asked = recipe("frames.enough=0")
    kept = FAMILIES["clip"].data(ramps, asked, tmp_path)
    monkeypatch.setattr(batches, "IN_MEMORY_BYTES", 1)
    fresh = FAMILIES["clip"].data(ramps, asked, tmp_path)
    assert len(fresh) == len(kept)
    chosen, rng = np.arange(len(kept)), np.random.default_rng(0)
    for one, other in zip(fresh.batch(chosen, rng), kept.batch(chosen, rng), strict=True):
        assert one.equal(other)
    for one, other in zip(fresh.validation(3), kept.validation(3), strict=True):
        assert all(part.equal(same) for part, same in zip(one, other, strict=True))
    assert fresh._train is fresh._val is None
