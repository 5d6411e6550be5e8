"""Figures of clips that were made tell recordings from copies, from one sound again and again, and from noise."""

import numpy as np
import pytest
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import log_mel
from timbrel.train.metrics.clips import DRAWINGS, JudgedClips, Recordings, drawings, likeness

RATE, LENGTH, NOTES = 8000, 4000, 4


def tones(count, seed):
    """Tones that fade, of four pitches in turn, each a little other: [count, samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(LENGTH) / RATE
    hz = 300.0 * 2.0 ** (np.arange(count) % NOTES) * rng.uniform(0.9, 1.1, count)
    fades = np.exp(-np.outer(rng.uniform(4, 12, count), time))
    clips = fades * np.sin(2 * np.pi * hz[:, None] * time) + 1e-3 * rng.standard_normal((count, LENGTH))
    return clips.astype(np.float32)


def by_pitch(clips, rate):
    """A classifier by the strongest frequency."""
    spectra = np.abs(np.fft.rfft(clips))
    hz = np.fft.rfftfreq(clips.shape[1], 1 / rate)[spectra.argmax(1)]
    numbers = np.clip(np.round(np.log2(np.maximum(hz, 1) / 300)), 0, NOTES - 1).astype(int)
    return JudgedClips(np.eye(NOTES, dtype=np.float32)[numbers], spectra[:, ::100].astype(np.float32))


@pytest.fixture(scope="module")
def recordings():
    return Recordings(tones(160, 0), tones(160, 1), RATE, by_pitch, np.arange(160) % NOTES)


def test_recordings_of_the_same_kind_are_as_like_as_training_clips(recordings):
    found = recordings.figures(tones(160, 2), np.arange(160) % NOTES)
    assert found.clips == 160
    assert found.likeness.ratio < 2
    assert found.nearest.median == pytest.approx(found.test_nearest.median, rel=0.3)
    assert found.diversity_db == pytest.approx(found.test_diversity_db, rel=0.1)
    assert found.label_diversity_db == pytest.approx(found.test_label_diversity_db, rel=0.1)
    assert found.told.accuracy == 1
    assert found.told.likeness.ratio < 2
    assert found.told.score > 0.9 * found.told.real_score


def test_a_score_is_of_one_part_and_beside_it_is_that_of_as_many_recordings(recordings):
    """Four clips of four pitches would score 1 in parts of one clip each."""
    few = recordings.figures(tones(NOTES, 2)).told
    assert (few.score, few.scored) == (pytest.approx(NOTES, abs=1e-5), NOTES)
    assert few.real_score < NOTES  # four clips of 320 are not of four pitches
    more = recordings.figures(tones(NOTES, 2), scored=tones(240, 3)).told
    assert more.scored == 240
    assert (more.score, more.real_score) == pytest.approx((NOTES, NOTES), rel=0.02)
    most = recordings.figures(tones(NOTES, 2), scored=tones(400, 3)).told
    assert most.scored == 320  # both parts, all that there are


def test_noise_is_unlike(recordings):
    found = recordings.figures(np.random.default_rng(0).standard_normal((80, LENGTH)).astype(np.float32))
    assert found.likeness.ratio > 10
    assert found.nearest.median > found.test_nearest.median
    assert found.told.likeness.ratio > 3
    assert found.told.accuracy is None


def test_copies_lie_no_way_from_the_training_clips(recordings):
    found = recordings.figures(tones(160, 0)[::-1] * 0.5)
    assert found.nearest.median < 0.2 < found.test_nearest.closest


def test_a_few_copies_among_others_are_seen_in_the_closest(recordings):
    mixed = np.concatenate([tones(160, 2)[:130], tones(160, 0)[:30]])
    found = recordings.figures(mixed)
    assert found.nearest.closest < 0.2
    assert found.nearest.median > 0.5 * found.test_nearest.median


def test_one_sound_again_and_again_has_no_diversity_and_a_score_of_one(recordings):
    found = recordings.figures(np.repeat(tones(1, 5), 40, axis=0), np.arange(40) % NOTES)
    assert found.diversity_db < 0.05
    assert found.told.score == pytest.approx(1, abs=1e-5)
    assert found.told.accuracy == 0.25


def test_one_sound_a_label_has_diversity_but_none_within_labels(recordings):
    labels = np.arange(40) % NOTES
    found = recordings.figures(tones(160, 5)[:NOTES][labels], labels)
    assert found.told.accuracy == 1
    assert found.diversity_db > 0.5 * found.test_diversity_db
    assert found.label_diversity_db < 0.05 < found.test_label_diversity_db


def test_diversity_within_labels_is_the_mean_over_pairs_of_one_label(recordings):
    made, labels = tones(9, 3), np.array([0, 0, 1, 1, 1, 2, 0, 3, 1])
    levels = log_mel(made, RATE)
    apart = [
        distance_db(levels[i][None], levels[j][None])[0]
        for i in range(9)
        for j in range(9)
        if i != j and labels[i] == labels[j]
    ]
    assert recordings.figures(made, labels).label_diversity_db == pytest.approx(np.mean(apart), rel=1e-4)
    assert recordings.figures(made, np.arange(9)).label_diversity_db is None
    assert recordings.figures(made).label_diversity_db is None


def test_nearest_distances_are_those_of_every_pair_one_by_one(recordings):
    made = tones(20, 7)
    levels, train = log_mel(made, RATE), log_mel(tones(160, 0), RATE)
    nearest = [min(distance_db(clip[None], other[None])[0] for other in train) for clip in levels]
    found = recordings.figures(made).nearest
    assert found.median == pytest.approx(np.median(nearest), rel=1e-3)
    assert found.closest == pytest.approx(np.quantile(nearest, 0.1), rel=1e-3)


def test_without_a_classifier_its_figures_are_left_out_and_the_others_stay(recordings):
    alone = Recordings(tones(160, 0), tones(160, 1), RATE).figures(tones(30, 2))
    beside = recordings.figures(tones(30, 2))
    assert alone.told is None
    assert (alone.likeness, alone.nearest) == (beside.likeness, beside.nearest)


def test_silence_has_figures(recordings):
    found = recordings.figures(np.zeros((5, LENGTH), np.float32))
    assert np.isfinite([found.likeness.ratio, found.nearest.median, found.diversity_db]).all()
    assert found.likeness.ratio > 10


def test_silent_vectors_are_taken_for_a_point():
    some = np.random.default_rng(0).standard_normal((9, 3))
    assert likeness(np.zeros((0, 3)), [some], some).made == pytest.approx(
        np.square(some.mean(0)).sum() + np.trace(np.cov(some.T))
    )


@pytest.mark.parametrize(("found", "wanted"), [(10, 3), (10, 9)])
def test_drawings_have_as_many_clips_as_wanted_each_once_and_are_the_same_again(found, wanted):
    drawn = drawings(found, wanted)
    assert [len(set(some.tolist())) for some in drawn] == [wanted] * DRAWINGS
    assert all(np.array_equal(one, other) for one, other in zip(drawn, drawings(found, wanted), strict=True))
    assert len({some.tobytes() for some in drawn}) > 1


@pytest.mark.parametrize("wanted", [10, 11, 500])
def test_where_there_are_no_more_clips_than_wanted_all_are_taken_once(wanted):
    (drawn,) = drawings(10, wanted)
    assert drawn.tolist() == list(range(10))
