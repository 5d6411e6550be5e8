"""Folders of sounds become corpora."""

import tracemalloc

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import build
from timbrel.train.corpus.sound_files import _BLOCK as BLOCK
from timbrel.train.corpus.sound_files import SoundFile
from timbrel.train.corpus.store import Corpus

from .sounds import RATE, sine, splits_of, write

# ---- what is stored


def test_clips_hold_the_sound_and_the_pitch_of_their_files(corpus, sounds):
    opened = Corpus.open(corpus)
    assert [clip.name for clip in opened.clips()] == sorted(path.name for path in sounds.iterdir())
    for clip in opened.clips():
        written, _ = soundfile.read(sounds / clip.name, dtype="float32")
        assert np.array_equal(opened.samples(clip), written)
        assert len(opened.pitch(clip)) == -(-clip.length // 1024)
        assert np.nanmedian(opened.pitch(clip)) == pytest.approx(int(clip.name[5:7]), abs=0.05)


def test_an_opened_corpus_reads_nothing_but_what_is_touched(corpus):
    opened = Corpus.open(corpus)
    clip = opened.clips()[3]
    for view in (opened.samples(clip), opened.pitch(clip)):
        assert view.dtype == np.float32
        assert not view.flags.writeable
        while not isinstance(view, np.memmap):
            view = view.base


def test_name_rate_licence_and_seconds_come_back(sounds, tmp_path):
    build([sounds], tmp_path / "named", rate=22050, licence="CC0")
    opened = Corpus.open(tmp_path / "named")
    assert (opened.name, opened.rate, opened.licence) == ("named", 22050, "CC0")
    assert opened.seconds() == pytest.approx(3.0, abs=0.01)
    assert opened.seconds("train") + opened.seconds("val") + opened.seconds("test") == pytest.approx(opened.seconds())
    build([sounds], tmp_path / "other", name="Tones")
    assert Corpus.open(tmp_path / "other").name == "Tones"


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"subtype": "PCM_24"}, 1e-6),
        ("a.WAV", {"subtype": "FLOAT", "format": "WAV"}, 0),
        ("a.flac", {}, 1e-4),
        ("a.aiff", {}, 1e-4),
        ("a.aif", {"format": "AIFF"}, 1e-4),
        ("a.au", {}, 1e-4),
        ("a.caf", {}, 1e-4),
        ("a.w64", {}, 1e-4),
        ("a.voc", {}, 1e-4),
        ("a.ogg", {}, 0.05),
        ("a.mp3", {}, 0.05),
        ("a", {"format": "FLAC"}, 1e-4),
        ("a.sound", {"format": "WAV"}, 1e-4),
    ],
)
def test_every_format_of_libsndfile_is_read(tmp_path, name, options, tolerance):
    write(tmp_path / "sounds" / name, **options)
    report = build([tmp_path / "sounds"], tmp_path / "corpus")
    assert report.clips == 1, report
    opened = Corpus.open(tmp_path / "corpus")
    samples = opened.samples(opened.clips()[0])
    middle = samples[len(samples) // 2 :][:4096]
    at = np.arange(4096)[:, None] * 2 * np.pi * 440 / RATE
    basis = np.hstack([np.sin(at), np.cos(at)])
    fit = np.linalg.lstsq(basis, middle, rcond=None)[0]
    assert np.abs(middle - basis @ fit).max() <= max(tolerance, 1e-6)
    assert np.hypot(*fit) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("rate", "up", "down"), [(22050, 2, 1), (48000, 147, 160), (96000, 147, 320), (6000, 147, 20)])
def test_resampling_agrees_with_scipy(tmp_path, rate, up, down):
    source = sine(300, 1.0, rate) + sine(1700, 1.0, rate, 0.2)
    write(tmp_path / "a.wav", source, rate, subtype="FLOAT")
    build([tmp_path / "a.wav"], tmp_path / "corpus")
    opened = Corpus.open(tmp_path / "corpus")
    samples = opened.samples(opened.clips()[0])
    expected = resample_poly(source.astype(float), up, down, window=("kaiser", 12.0))
    assert abs(len(samples) - RATE) <= 1
    assert np.abs(samples[4000:40000] - expected[4000:40000]).max() < 2e-3


def test_channels_are_mixed_to_their_mean(tmp_path):
    left, right, rear = sine(300), sine(500), sine(700)
    write(tmp_path / "a.wav", np.stack([left, right, rear], axis=1), subtype="FLOAT")
    build([tmp_path / "a.wav"], tmp_path / "corpus")
    opened = Corpus.open(tmp_path / "corpus")
    assert opened.samples(opened.clips()[0]) == pytest.approx((left + right + rear) / 3, abs=1e-6)


def test_silence_is_trimmed_from_both_ends_and_kept_inside(tmp_path):
    pause, tone = np.zeros(RATE, np.float32), sine(seconds=0.3)
    write(tmp_path / "a.wav", np.concatenate([pause, tone, pause, tone, pause]) + np.float32(0.1), subtype="FLOAT")
    build([tmp_path / "a.wav"], tmp_path / "corpus")
    assert Corpus.open(tmp_path / "corpus").seconds() == pytest.approx(1.6, abs=0.021)


def test_a_click_keeps_enough_around_it_to_make_a_clip(tmp_path):
    for name, at in {"early": 0, "middle": 20000, "late": 29990}.items():
        samples = np.zeros(30000, np.float32)
        samples[at : at + 10] = [0.5, -0.5] * 5
        write(tmp_path / "sounds" / f"{name}.wav", samples, subtype="FLOAT")
    build([tmp_path / "sounds"], tmp_path / "corpus")
    opened = Corpus.open(tmp_path / "corpus")
    for clip in opened.clips():
        assert clip.length == 4096
        assert np.abs(opened.samples(clip)).sum() == pytest.approx(5.0)


def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path):
    peaks = []
    for seconds in (30, 150):
        path = write(tmp_path / f"{seconds}.wav", sine(200, seconds, 8000), 8000)
        tracemalloc.start()
        build([path], tmp_path / f"corpus-{seconds}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    stored = (tmp_path / "corpus-150" / "audio-00000.f32").stat().st_size
    assert stored == pytest.approx(150 * RATE * 4, rel=0.01)
    assert peaks[1] - peaks[0] < 0.05 * stored


# ---- which files


def test_folders_are_searched_through_and_other_files_passed_over(tmp_path):
    root = tmp_path / "sounds"
    write(root / "a.wav")
    write(root / "deep" / "er" / "b.flac")
    write(root / ".cache" / "c.wav")
    write(root / "._a.wav")
    for name in ("notes.txt", "split.json", "scale.mid", "cover.png", "README"):
        (root / name).write_text("not a sound")
    report = build([root], tmp_path / "corpus")
    assert sorted(splits_of(tmp_path / "corpus")) == ["a.wav", "deep/er/b.flac"]
    assert report.unreadable == {}


def test_same_names_in_several_sources_stay_apart_and_same_files_count_once(tmp_path):
    first, second = write(tmp_path / "one" / "a.wav"), write(tmp_path / "two" / "a.wav", sine(500))
    third = write(tmp_path / "deep" / "two" / "a.wav", sine(600))
    write(tmp_path / "one" / "b.wav")
    report = build([tmp_path / "one", first, second, third.parent, tmp_path / "one"], tmp_path / "corpus")
    assert report.clips == 4
    assert sorted(splits_of(tmp_path / "corpus")) == ["b.wav", "one/a.wav", "two/a.wav", "two/a.wav (2)"]


def test_identical_sounds_count_once_and_are_named_whatever_their_names_and_formats(tmp_path):
    folder, other = tmp_path / "sounds", np.random.default_rng(0).integers(-9999, 9999, 9000).astype(np.int16)
    for name, samples in {"a": other, "b": other, "c": other // 2, "d": np.stack([other, other], 1)}.items():
        write(folder / f"{name}.wav", samples)
    write(folder / "e.flac", other)
    for name in "yz":
        write(folder / f"{name}.wav", np.zeros(9000))
    report = build([folder], tmp_path / "corpus")
    assert sorted(splits_of(tmp_path / "corpus")) == ["a.wav", "c.wav"]
    assert report.identical == {"b.wav": "a.wav", "d.wav": "a.wav", "e.flac": "a.wav"}
    assert report.silent == ["y.wav", "z.wav"]
    assert "identical        3  counted once\n  b.wav: a.wav\n  d.wav: a.wav\n  e.flac: a.wav" in report.text()
    assert sorted(Corpus.open(tmp_path / "corpus").files) == sorted(path.name for path in folder.iterdir())


def test_what_cannot_be_used_is_named_with_its_reason(sounds, tmp_path):
    (sounds / "text.wav").write_text("this is no sound")
    (sounds / "empty.wav").write_bytes(b"")
    (sounds / "headerless.raw").write_bytes(bytes(100))
    (sounds / "foreign.m4a").write_bytes(bytes(100))
    write(sounds / "nan.wav", np.float32([0.1, np.nan] * 5000), subtype="FLOAT")
    write(sounds / "infinite.wav", np.float32([0.1, np.inf] * 5000), subtype="FLOAT")
    write(sounds / "beyond.wav", np.float32([0.1, -1e30] * 5000), subtype="FLOAT")
    write(sounds / "slow.wav", rate=10, samples=np.zeros(9000))
    flac = write(sounds / "cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 60000))
    flac.write_bytes(flac.read_bytes()[:40000])
    write(sounds / "none.wav", np.zeros(0))
    write(sounds / "three.wav", np.float32([0.1, -0.1, 0.1]))
    write(sounds / "silent.wav", np.zeros(RATE))
    write(sounds / "dc.wav", np.full(RATE, 0.25))
    report = build([sounds], tmp_path / "corpus")
    assert report.clips == 10
    assert report.too_short == ["none.wav", "three.wav"]
    assert report.silent == ["dc.wav", "silent.wav"]
    assert set(report.unreadable) == {
        "text.wav",
        "empty.wav",
        "foreign.m4a",
        "nan.wav",
        "infinite.wav",
        "beyond.wav",
        "slow.wav",
        "cut.flac",
    }
    assert report.unreadable["nan.wav"] == "contains NaN"
    assert report.unreadable["infinite.wav"] == "contains infinite samples"
    assert report.unreadable["beyond.wav"] == "contains a sample of 1e+30, where 1 is full scale"
    assert report.unreadable["slow.wav"] == "claims a rate of 10 Hz"
    assert "recognised" in report.unreadable["text.wav"]
    assert not any(str(tmp_path) in reason for reason in report.unreadable.values())


def test_a_short_clip_is_judged_by_its_length_at_the_corpus_rate(tmp_path):
    write(tmp_path / "sounds" / "a.wav", sine(seconds=4000 / RATE))
    with pytest.raises(UserError, match=r"1 too short \(a.wav\); a clip needs 4096 samples at 44100 Hz"):
        build([tmp_path / "sounds"], tmp_path / "corpus")
    assert build([tmp_path / "sounds"], tmp_path / "corpus", rate=48000).clips == 1


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_clipping_is_named_and_loudness_is_not(tmp_path, subtype):
    loud = sine(100, gain=1.0)
    write(tmp_path / "sounds" / "clipped.wav", np.clip(1.2 * loud, -1, 1), subtype=subtype)
    touching = 0.9 * loud
    touching[5000:5002] = 1.0
    touching[9000:9009] = 0.8
    write(tmp_path / "sounds" / "touching.wav", touching, subtype=subtype)
    if subtype == "FLOAT":
        hot = 1.5 * loud
        hot[5000:5004] = [1.2, 1.2, 1.3, 1.3]
        write(tmp_path / "sounds" / "hot.wav", hot, subtype=subtype)
    report = build([tmp_path / "sounds"], tmp_path / "corpus")
    assert report.clipped == ["clipped.wav"]
    assert report.clips == len(splits_of(tmp_path / "corpus")) == (3 if subtype == "FLOAT" else 2)


@pytest.mark.parametrize("first", range(-3, 2))
def test_clipping_is_seen_where_two_blocks_of_a_file_meet(tmp_path, first):
    samples = sine(100, seconds=2 * BLOCK / RATE, gain=0.5)
    samples[BLOCK + first : BLOCK + first + 3] = 1.0
    file = SoundFile(write(tmp_path / "a.wav", samples))
    assert sum(map(len, file.decode(RATE))) == 2 * BLOCK
    assert file.clipped
    samples[BLOCK + first + 1] = 0.9
    file = SoundFile(write(tmp_path / "b.wav", samples))
    assert sum(map(len, file.decode(RATE))) == 2 * BLOCK
    assert not file.clipped


# ---- refusals


def test_values_out_of_range_are_refused_before_any_work(sounds, tmp_path):
    for rate in (5999, 192001, 0, -1):
        with pytest.raises(UserError, match=rf"rate \(Hz\): {rate} is out of range; give 6000 to 192000"):
            build([sounds], tmp_path / "corpus", rate=rate)
    with pytest.raises(UserError, match=r"group '\(' is no regular expression"):
        build([sounds], tmp_path / "corpus", group="(")
    with pytest.raises(
        UserError, match=r"group 'zzz' matches in no file's name \(such as tone_60\.wav, tone_61\.wav\)"
    ):
        build([sounds], tmp_path / "corpus", group="zzz")
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        build([sounds, tmp_path / "nowhere"], tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_a_corpus_with_nothing_in_it_says_why(tmp_path):
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    with pytest.raises(UserError, match="no sounds in"):
        build([sounds], tmp_path / "corpus")
    (sounds / "text.wav").write_text("text")
    write(sounds / "silent.wav", np.zeros(9000))
    write(sounds / "short.wav", np.ones(9))
    message = r"1 unreadable \(text.wav: .+\), 1 silent \(silent.wav\), 1 too short \(short.wav\)"
    with pytest.raises(UserError, match=message):
        build([sounds], tmp_path / "corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sounds"]


def test_a_folder_that_holds_something_is_left_alone(sounds, tmp_path):
    with pytest.raises(UserError, match="exists and is not empty"):
        build([sounds], sounds)
    assert len(list(sounds.iterdir())) == 10
    with pytest.raises(UserError, match="does not exist"):
        build([sounds], tmp_path / "no" / "corpus")


def test_progress_rises_from_0_to_1_and_names_the_files(sounds, tmp_path):
    seen = []
    build([sounds], tmp_path / "corpus", progress=lambda done, what: seen.append((done, what)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (seen[0], seen[-1][0]) == ((0.0, "tone_60.wav"), 1.0)
