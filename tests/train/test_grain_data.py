"""Windows are cut where they should be, what is held out is never trained on, and unfit corpora are refused."""

import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import build
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.grain import data
from timbrel.train.families.grain.data import windows
from timbrel.train.families.recipes import load_recipe
from timbrel.train.sampling import evenly_spaced

RATE = 22050


def corpus_of(folder, sounds, split="0.6/0.2/0.2"):
    (folder / "sounds").mkdir()
    for name, sound in sounds.items():
        soundfile.write(folder / "sounds" / f"{name}.wav", sound, RATE, subtype="FLOAT")
    build([folder / "sounds"], folder / "corpus", rate=RATE, split=split)
    return Corpus.open(folder / "corpus")


def rain(seconds=2.0, seed=0, level=0.1):
    return level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


@pytest.fixture
def rains(tmp_path):
    return corpus_of(tmp_path, {f"rain{i}": rain(seed=i) for i in range(5)})


def settings(*changes):
    return load_recipe("grain-plain", list(changes))


def test_windows_are_the_samples_of_their_clips(rains):
    frames = settings("frames.hop_length=333").frames
    found = windows(rains, "train", frames)
    chosen = evenly_spaced(len(found), 50)
    taken = found.take_grains(rains, chosen, 1002)
    for row, index in zip(taken, chosen, strict=True):
        clip = rains.samples(found.clips[int(found.places().clip[index])])
        start = found.places().starts[index]
        np.testing.assert_array_equal(row, clip[start : start + 1002])
    assert set(np.diff(found.places().starts)[np.diff(found.places().clip) == 0]) == {333}


def test_the_last_tenth_of_each_training_clip_is_never_trained_on(rains):
    frames = settings().frames
    trained, held = windows(rains, "train", frames), windows(rains, "train", frames, held_out=True)
    for number, clip in enumerate(trained.clips):
        last = (trained.places().starts[trained.places().clip == number] + 1002).max()
        first = held.places().starts[held.places().clip == number].min()
        assert last <= first
        assert first == round(0.9 * clip.length)
        assert (held.places().starts[held.places().clip == number] + 1002).max() <= clip.length


def test_other_splits_are_whole(rains):
    frames = settings().frames
    for split in ("val", "test"):
        found = windows(rains, split, frames)
        assert (found.places().starts + 1002).max() > 0.99 * found.clips[0].length


@pytest.mark.parametrize("align", [False, True])
def test_windows_are_trained_on_either_way_up_unless_their_sign_was_chosen(rains, tmp_path, align):
    cut = FAMILIES["grain"].data(rains, settings(f"frames.align={str(align).lower()}"), tmp_path)
    chosen = np.arange(200) % len(cut)
    plain = cut.train.take_grains(rains, chosen, cut.length)
    batches = [cut.batch(chosen, np.random.default_rng(seed))[0].numpy() for seed in (1, 1, 2)]
    assert np.array_equal(batches[0], batches[1])
    assert np.array_equal(np.abs(batches[0]), np.abs(plain))
    turned = np.mean([np.array_equal(row, -was) for row, was in zip(batches[0], plain, strict=True)])
    assert turned == 0 if align else 0.35 < turned < 0.65
    assert align or not np.array_equal(batches[0], batches[2])


def test_training_windows_are_softer_by_chance_and_those_that_judge_them_are_as_they_are(rains, tmp_path):
    cut = FAMILIES["grain"].data(rains, settings("frames.align=true", "frames.softer_db=6"), tmp_path)
    chosen = np.arange(400) % len(cut)
    plain = cut.train.take_grains(rains, chosen, cut.length)
    batch = cut.batch(chosen, np.random.default_rng(1))[0].numpy()
    gain = (batch / plain).mean(1)
    np.testing.assert_allclose(batch, gain[:, None] * plain, rtol=1e-5)
    db = 20 * np.log10(gain)
    assert -6 <= db.min() < -5.5
    assert -0.5 < db.max() <= 1e-5
    assert abs(db.mean() + 3) < 0.3
    first = evenly_spaced(len(cut.train), 1)
    np.testing.assert_array_equal(cut.spread(1)[0].numpy(), cut.train.take_grains(rains, first, cut.length))
    first = evenly_spaced(len(cut.val), 512)
    np.testing.assert_array_equal(next(cut.validation(512))[0].numpy(), cut.val.take_grains(rains, first, cut.length))


def test_a_silent_stretch_has_no_window(tmp_path):
    sound = rain()
    sound[10000:30000] = 0
    corpus = corpus_of(tmp_path, {"rain": sound}, split="1/0/0")
    starts = windows(corpus, "train", settings().frames).places().starts
    assert not np.any((starts >= 10000) & (starts + 1002 <= 30000))
    assert np.any(starts > 30000)


def test_aligned_windows_have_their_largest_sample_at_a_quarter_and_upward(tmp_path):
    drops = np.zeros(2 * RATE)
    drops[2000::3000] = -0.5
    corpus = corpus_of(tmp_path, {"drops": drops + rain(level=0.001)}, split="1/0/0")
    frames = settings("frames.align=true", "frames.hop_length=100").frames
    found = windows(corpus, "train", frames)
    taken = found.take_grains(corpus, np.arange(len(found)), 1002)
    at = taken.argmax(1)
    hit = taken.max(1) > 0.4
    assert hit.mean() > 0.25
    inside = hit & (found.places().starts > 0) & (found.places().starts < round(0.9 * found.clips[0].length) - 1002)
    assert set(at[inside]) == {250}


def test_validation_falls_back_to_what_was_held_out(tmp_path):
    corpus = corpus_of(tmp_path, {"a": rain(), "b": rain(seed=1)}, split="1/0/0")
    recipe = settings()
    data = FAMILIES["grain"].data(corpus, recipe, tmp_path)
    held = windows(corpus, "train", recipe.frames, held_out=True)
    np.testing.assert_array_equal(data.val.places().starts, held.places().starts)
    (batch,) = next(data.validation(64))
    assert batch.shape == (64, 1002)
    (some,) = data.spread(10)
    assert some.shape == (10, 1002)


def test_windows_longer_than_the_shortest_clip_are_refused_by_its_name(tmp_path):
    corpus = corpus_of(tmp_path, {"long": rain(60), "short": rain(1.0, seed=1)}, split="1/0/0")
    with pytest.raises(UserError, match=r"frames.frame_length 30000 is longer than clip 'short.wav' of 22050 samples"):
        FAMILIES["grain"].check(corpus, settings("frames.frame_length=30000"))


def test_a_corpus_of_one_second_is_refused(tmp_path):
    corpus = corpus_of(tmp_path, {"rain": rain(1.0)}, split="1/0/0")
    with pytest.raises(UserError, match=r"has 1.0 s to train on, 19 windows .* 50 are the least; add sounds"):
        FAMILIES["grain"].check(corpus, settings())


def test_a_corpus_that_is_too_quiet_is_refused(rains, monkeypatch):
    monkeypatch.setattr(data, "SILENT", 1.0)
    with pytest.raises(UserError, match="no training window that sounds; add louder sounds"):
        FAMILIES["grain"].check(rains, settings())


def test_a_corpus_that_can_be_trained_on_is_not_refused(rains):
    FAMILIES["grain"].check(rains, settings())


def test_a_million_windows_are_a_few_runs(rains):
    found = windows(rains, "train", settings("frames.hop_length=1").frames)
    assert len(found) > 30_000
    assert len(found.starts) < 20
    places = found.places()
    assert np.array_equal(found.places(np.array([5, 0, len(found) - 1])).starts, places.starts[[5, 0, -1]])
    assert len(places.clip) == len(places.signs) == len(found)
