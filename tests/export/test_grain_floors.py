"""Floors of grains: levels, second takes, and words that survive."""

import numpy as np
import pytest
from timbrel.export.families.grain import GrainExport
from timbrel.export.measures import grains as grain_measures
from timbrel.export.measures.grain_words import word_floors
from timbrel.export.measures.grains import GrainSample, draw, grain_floors
from timbrel.host.errors import UserError
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families.recipes import load_recipe
from timbrel.train.metrics.clips import JudgedClips
from timbrel.train.run import Run, RunInfo

from .grains import LENGTH, RATE, noise

LABELS = ["high", "low"]
TONES_HZ = {"low": 300.0, "high": 3400.0}
FRAMES = [f"frames.sample_rate={RATE}", f"frames.frame_length={LENGTH}", "frames.hop_length=64"]


def sample(count, seed, clips, part="test", **more):
    return GrainSample(part, count, 0.1 * noise(count, LENGTH, seed=seed), np.asarray(clips, np.int64), **more)


def floored(training, test, decoded):
    return grain_floors(training, test, decoded, None, 4, RATE)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Half a second of a high or a low tone, four times each; two of each are the test's."""
    folder = tmp_path_factory.mktemp("spoken") / "corpus"
    times = np.arange(RATE // 2) / RATE
    with writing(folder, RATE) as writer:
        splits = {}
        for number in range(8):
            label = LABELS[number % 2]
            sound = 0.2 * np.sin(2 * np.pi * TONES_HZ[label] * times) + 0.001 * noise(len(times), seed=number)
            name = f"{label}_{number}.wav"
            pitches = np.full(-(-len(times) // 1024), np.nan, np.float32)
            writer.append(sound.astype(np.float32), pitches, name=name, group=str(number), label=label)
            splits[name] = "test" if number < 4 else "train"
        writer.finish(splits, name="words")
    return Corpus.open(folder)


def judge(clips, rate):
    """Hear a clip as high if most of its power lies above 1 kHz; silence is low."""
    powers = np.square(np.abs(np.fft.rfft(clips)))
    is_high = powers[:, np.fft.rfftfreq(clips.shape[1], 1 / rate) > 1000].sum(1) > powers.sum(1) / 2
    return JudgedClips(np.stack([is_high, ~is_high], 1).astype(np.float32), np.zeros((len(clips), 1), np.float32))


def words(corpus, rebuild, judge=judge, *, strangers=False):
    training = draw(corpus, "train", load_recipe("grain-plain", FRAMES).frames, 200, np.random.default_rng(0))
    return word_floors(corpus, "test", training, rebuild, judge, LABELS, 4, strangers=strangers)


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.0])
def test_levels_above_three_kilohertz_have_floors_in_the_figures_of_the_bands(gain):
    training, test = sample(60, 0, np.zeros(60), "train"), sample(40, 1, np.repeat([0, 1], 20))
    decoded = gain * test.samples
    found = floored(training, test, decoded)
    bands = grain_measures.bands(test.samples, decoded, test.clips, RATE, True)[-1]
    assert found["high_level_db"]["value"] == pytest.approx(abs(bands["level_db"]["mean"]), abs=1e-6)
    assert found["high_excess_db"]["value"] == pytest.approx(bands["excess_db"]["mean"], abs=1e-6)
    silent = grain_measures.bands(test.samples, 0 * test.samples, test.clips, RATE, True)[-1]
    assert found["high_level_db"]["floors"]["silence"] == pytest.approx(-silent["level_db"]["mean"])
    assert found["high_excess_db"]["floors"]["silence"] == grain_measures.LEAST_DB
    assert found["high_level_db"]["floors"]["mean"] < 0.5  # one colour: the mean has it, and so has noise
    assert found["high_level_db"]["label"] == "Level off above 3 kHz, dB"


def test_levels_of_clips_count_one_by_one():
    """Too loud in one and too soft in the other is off in both."""
    test = sample(40, 1, np.repeat([0, 1], 20))
    decoded = test.samples * np.repeat([2.0, 0.5], 20)[:, np.newaxis].astype(np.float32)
    assert floored(sample(60, 0, np.zeros(60), "train"), test, decoded)["high_level_db"]["value"] == pytest.approx(
        6.02, abs=0.01
    )


def test_silence_adds_nothing_so_added_power_alone_is_no_better_than_it():
    test = sample(40, 1, np.repeat([0, 1], 20))
    found = floored(sample(60, 0, np.zeros(60), "train"), test, noise(40, LENGTH, seed=9))
    assert found["high_excess_db"]["not_better_than"] == "silence"


def test_below_three_kilohertz_the_highest_band_counts():
    assert [grain_measures.high_band_hz(rate) for rate in (22050, 6615, 6000, 2000)] == [3000.0, 3000.0, 1000.0, 500.0]


def test_a_second_take_of_grains_is_of_the_label_at_the_nearest_start_and_there_is_none_without_labels():
    takes = {"takes": ["a"] * 4, "starts": np.array([0, 100, 200, 300])}
    training, test = sample(4, 0, np.zeros(4), "train", **takes), sample(4, 1, np.zeros(4), **takes)
    found = floored(training, test, test.samples)
    wanted = np.mean(np.square(training.samples - test.samples, dtype=np.float64))
    assert found["sample_mean_square"]["references"]["take"] == pytest.approx(wanted)
    unlabelled = floored(sample(4, 0, np.zeros(4), "train"), sample(4, 1, np.zeros(4)), test.samples)
    assert all("take" not in figures["references"] for figures in unlabelled.values())


def test_windows_of_a_corpus_know_their_label_and_their_start(spoken):
    frames = load_recipe("grain-plain", FRAMES).frames
    found = draw(spoken, "test", frames, 1000, np.random.default_rng(0))
    clips = spoken.clips("test")
    assert {take[0] for take in found.takes} == set(LABELS)
    for index in (0, 17, len(found) - 1):
        clip = clips[int(found.clips[index])]
        assert found.takes[index] == (clip.label, None, None)
        start = int(found.starts[index])
        assert np.array_equal(found.samples[index], spoken.samples(clip)[start : start + LENGTH])


def test_words_that_come_back_are_heard_and_floors_hear_a_guess(spoken):
    found = words(spoken, lambda windows: windows)
    assert (found["value"], found["recorded"], found["clips"]) == (1.0, 1.0, 4)
    assert found["floors"]["silence"] == found["floors"]["chance"] == 0.5
    assert found["references"] == {"take": 1.0, "components": 1.0}  # two of four have all of both tones
    assert found["not_better_than"] is None


def test_words_that_are_lost_are_not_better_than_a_floor(spoken):
    found = words(spoken, lambda windows: noise(*windows.shape), strangers=True)
    assert found["value"] == 0.5
    assert found["not_better_than"] is not None


def test_silent_windows_stay_silent(spoken, monkeypatch):
    """No network has learned them: a word's silent end is not filled with the loud answer to it."""
    heard = []

    def hear(clips, rate):
        heard.append(clips)
        return judge(clips, rate)

    sound = Corpus.samples

    def with_silent_end(corpus, clip, *limits):
        samples = np.array(sound(corpus, clip, *limits))
        samples[-RATE // 8 :] = 0
        return samples

    monkeypatch.setattr(Corpus, "samples", with_silent_end)
    words(spoken, np.ones_like, hear)
    rebuilt = max(heard, key=lambda clips: float(clips.mean()))
    assert np.abs(rebuilt[:, -RATE // 8 + LENGTH :]).max() == 0
    assert rebuilt[:, LENGTH : RATE // 4].mean() == pytest.approx(1, rel=0.01)


def test_a_classifier_needs_labels_of_the_corpus(spoken, tmp_path):
    folder = tmp_path / "unnamed"
    with writing(folder, RATE) as writer:
        writer.append(noise(RATE), np.full(8, np.nan, np.float32), name="a.wav", group="a")
        writer.finish({"a.wav": "train"}, name="unnamed")
    for corpus, expected in ((spoken.folder, LABELS), (folder, None)):
        info = RunInfo(
            format=1,
            corpus=str(corpus),
            corpus_name="words",
            clips=len(Corpus.open(corpus).clips()),
            seconds=Corpus.open(corpus).seconds(),
            tonal=False,
            versions={},
            hardware="",
        )
        run = Run.create(tmp_path / f"run-{corpus.name}", load_recipe("grain-plain", FRAMES), info)
        if expected:
            assert GrainExport().labels(run.recipe, run.corpus()) == expected
        else:
            with pytest.raises(UserError, match="corpus unnamed has no labels; leave it out"):
                GrainExport().labels(run.recipe, run.corpus())
