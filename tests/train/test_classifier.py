"""A classifier is the ResNet-18 of the publication, hears clips at any gain and rate, and learns labels."""

import shlex

import librosa
import numpy as np
import pytest
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from timbrel.host.errors import UserError
from timbrel.train import checkpoint
from timbrel.train.corpus.store import Corpus
from timbrel.train.data import clips_of, words_of
from timbrel.train.families import FAMILIES
from timbrel.train.families.classifier.network import Classifier, Spectrogram
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.run import Run, trained

from .labelled import HZ, RATE, SMALL, hum, hums, label
from .loops import CPU

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return hums(tmp_path_factory.mktemp("hums"))


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """A small run on the tones; not to be written to."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "run"
    start(load_recipe("digits-classifier", SMALL), corpus, folder, CPU)
    torch.set_num_threads(threads)
    return Run.open(folder)


def network(*changes, words=("a", "b")):
    torch.manual_seed(0)
    recipe = load_recipe("digits-classifier", [*SMALL, *changes])
    told = recipe.network.model_copy(update={"words": list(words)})
    return Classifier(recipe.model_copy(update={"network": told})).eval()


# ---- the network


def test_it_has_as_many_weights_as_the_publications_with_one_channel_of_input():
    """ResNet-18 for a thousand classes has 11 689 512, of which 2 × 64 × 7 × 7 see the colours that sound lacks."""
    full = network("network.width=64", words=[str(number) for number in range(1000)])
    assert sum(p.numel() for p in full.parameters()) == 11_689_512 - 2 * 64 * 7 * 7


def test_features_are_those_of_eight_blocks_each_stage_with_twice_the_channels_and_half_the_picture():
    shapes = [tuple(found.shape) for found in network().features(torch.randn(3, 4096))]
    # 32 bands and 33 frames, halved by the first convolution and by its pool
    stages = [(3, 4, 8, 9), (3, 8, 4, 5), (3, 16, 2, 3), (3, 32, 1, 2)]
    assert shapes == [stage for stage in stages for _ in range(2)] + [(3, 32)]


def test_features_have_a_slope_down_to_the_samples():
    audio = torch.randn(2, 4096, requires_grad=True)
    sum(found.square().sum() for found in network().features(audio)).backward()
    assert audio.grad.isfinite().all()
    assert audio.grad.abs().sum() > 0


def test_its_spectrogram_is_librosas_under_the_loudest_cell():
    clip = hum(500.0)[:4096]
    power = librosa.feature.melspectrogram(y=clip, sr=RATE, n_fft=256, hop_length=64, n_mels=40)
    expected = (librosa.power_to_db(power, ref=np.max, top_db=80.0) + 40) / 20
    found = Spectrogram(RATE, 256, 64, 40)(torch.from_numpy(clip)[None])
    assert found.shape == (1, 1, *expected.shape)
    assert found[0, 0].numpy() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("gain", [0.003, 0.5, 30.0])
def test_gain_changes_nothing(gain):
    clips = np.stack([hum(hz)[:4096] for hz in HZ.values()])
    one = network()
    assert one.judge(np.float32(gain) * clips, RATE).posteriors == pytest.approx(
        one.judge(clips, RATE).posteriors, abs=1e-4
    )


def test_clips_at_another_rate_are_heard_as_those_at_its_own():
    clips = np.stack([hum(hz, rate=16000) for hz in HZ.values()])
    one = network()
    assert np.array_equal(one.resampled(clips, 16000)[:, :4096], soxr.resample(clips.T, 16000, RATE).T[:, :4096])
    assert one.judge(clips, 16000).posteriors.shape == (3, 2)


@pytest.mark.parametrize("samples", [1, 100, 4095, 4096, 4097, 9000])
def test_clips_of_any_length_are_cut_or_followed_by_silence(samples):
    clips = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    heard = network().resampled(clips, RATE)
    assert heard.shape == (2, 4096)
    kept = min(samples, 4096)
    assert np.array_equal(heard[:, :kept], clips[:, :kept])
    assert not heard[:, kept:].any()


@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 700)), elements=st.floats(-100, 100, width=32)),
    st.sampled_from([8000, 16000, 44100]),
)
def test_whatever_clips_have_probabilities(clips, rate):
    judged = network().judge(clips, rate)
    assert judged.posteriors.sum(1) == pytest.approx(np.ones(len(clips)), abs=1e-5)
    assert np.isfinite(judged.features).all()


def test_many_clips_are_judged_as_each_alone():
    clips = np.stack([hum(400.0, seed=seed)[:4096] for seed in range(70)])
    one = network()
    alone = np.concatenate([one.judge(clip[None], RATE).posteriors for clip in clips[60:]])
    assert one.judge(clips, RATE).posteriors[60:] == pytest.approx(alone, abs=1e-5)


# ---- batches


def data(corpus, *changes):
    opened = Corpus.open(corpus)
    recipe = load_recipe("digits-classifier", [*SMALL, *changes])
    told = recipe.network.model_copy(update={"words": words_of(opened)})
    return FAMILIES["classifier"].data(opened, recipe.model_copy(update={"network": told}), corpus)


def test_training_clips_begin_later_by_chance_and_validation_clips_do_not(corpus):
    found = data(corpus)
    audio, labels = (part.numpy() for part in found.batch(np.arange(12), np.random.default_rng(0)))
    begun = []
    for row, number, clip in zip(audio, labels, found.train, strict=False):
        assert found.words[number] == clip.label
        samples = found.corpus.samples(clip)
        (start,) = {int(np.flatnonzero(row)[0] - np.flatnonzero(samples)[0])}
        assert np.array_equal(row[start:], samples[: 4096 - start])
        begun.append(start)
    assert len(set(begun)) > 6
    assert max(begun) <= 800
    (validated, _), *_ = found.validation(100)
    assert np.array_equal(validated.numpy(), clips_of(found.corpus, found.val, 4096))


def test_the_same_chance_gives_the_same_batch(corpus):
    found = data(corpus)
    one, other = (found.batch(np.arange(5), np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one[0], other[0])


def test_a_corpus_without_a_validation_part_is_validated_on_its_training_clips(tmp_path):
    found = data(hums(tmp_path, each=4, split="1/0/0"))
    assert found.val == found.train
    assert len(next(found.validation(7))[1]) == 7


def test_clips_without_a_label_are_left_out(tmp_path):
    corpus = label(hums(tmp_path, each=4, split="1/0/0"), lambda name: "" if "0" in name else name.partition("_")[0])
    assert len(data(corpus)) == 9


@pytest.mark.parametrize(("word", "said"), [("", "have none"), ("kick", "have 'kick'")])
def test_a_corpus_with_fewer_than_two_labels_is_refused_in_a_line(tmp_path, word, said):
    corpus = label(hums(tmp_path, each=2, split="1/0/0"), lambda name: word)
    with pytest.raises(UserError, match=said) as caught:
        start(load_recipe("digits-classifier", SMALL), corpus, tmp_path / "run", CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


# ---- a run


def test_it_learns_to_tell_clips_that_it_never_heard(run, corpus):
    judge, opened = trained(run, "best")[0].judge, Corpus.open(corpus)
    clips = opened.clips("test")
    told = judge(clips_of(opened, clips, 4096), RATE).posteriors.argmax(1)
    words = run.recipe.network.words
    assert words == sorted(HZ)
    assert np.mean([words[number] == clip.label for number, clip in zip(told, clips, strict=True)]) == 1


def test_a_run_logs_its_accuracy_and_has_nothing_to_listen_to(run):
    terms = {"total", "cross_entropy", "accuracy"}
    assert all(set(line) - {"training"} == {"step", "seconds"} | terms for line in run.logged())
    assert run.logged()[0]["training"].keys() == terms
    assert run.logged()[-1]["accuracy"] == 1
    assert not (run.folder / "preview").exists()


def test_a_run_goes_on_though_its_recipe_is_given_without_labels(corpus, tmp_path):
    start(load_recipe("digits-classifier", [*SMALL, "training.epochs=1"]), corpus, tmp_path / "run", CPU)
    before = checkpoint.load(tmp_path / "run" / "last.ckpt")["progress"]["step"]
    outcome = resume(tmp_path / "run", load_recipe("digits-classifier", [*SMALL, "training.epochs=2"]), CPU)
    assert outcome.step == 2 * before


def test_a_clip_that_holds_no_window_is_refused():
    with pytest.raises(UserError, match="clip_length 256 must hold a window of frame_length 512"):
        load_recipe("digits-classifier", ["frames.clip_length=256", "frames.frame_length=512"])


def test_the_command_offers_no_export_of_what_makes_no_sound(timbrel, corpus, tmp_path):
    changes = [part for change in [*SMALL, "training.epochs=1"] for part in ("--set", change)]
    ended = timbrel("train", "digits-classifier", "--corpus", corpus, "-o", tmp_path / "run", *changes)
    assert ended.out.splitlines()[-1] == f"next: timbrel evaluate {shlex.quote(str(tmp_path / 'run'))}"
    refused = timbrel("export", tmp_path / "run", "-o", tmp_path / "model.onnx")
    assert refused.status == 2
    assert refused.err.count("\n") == 1
