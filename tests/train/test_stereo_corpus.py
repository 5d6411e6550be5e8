"""Corpora hold both sides of stereo sounds beside a mono mix with the power of both."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import build
from timbrel.train.corpus.clip_table import FORMAT
from timbrel.train.corpus.content import survey_sounds
from timbrel.train.corpus.loops import mix_loop_to_mono
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.data import audible

from .builds import bytes_of, stopping
from .sounds import RATE, decibels, noise, rewrite, sine, write
from .test_corpus_loops import loop
from .test_note_segmentation import melody


def save(path, *sides, rate=RATE):
    return write(path, np.stack(sides, 1), rate, subtype="FLOAT")


def only_clip(folder):
    corpus = Corpus.open(folder)
    (clip,) = corpus.clips()
    return corpus, clip


# ---- which sounds are stereo


def test_memory_does_not_grow_with_the_length_of_a_stereo_sound(tmp_path):
    peaks = []
    for seconds in (30, 150):
        path = save(tmp_path / f"{seconds}.wav", sine(200, seconds, 8000), sine(300, seconds, 8000), rate=8000)
        tracemalloc.start()
        build([path], tmp_path / f"corpus-{seconds}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    stored = (tmp_path / "corpus-150" / "sides-00000.f32").stat().st_size
    assert stored == pytest.approx(2 * 150 * RATE * 4, rel=0.01)
    assert peaks[1] - peaks[0] < 0.02 * stored


@pytest.mark.parametrize(("difference_db", "channels"), [(-61, 1), (-59, 2)])
def test_nearly_equal_sides_are_one_channel(tmp_path, difference_db, channels):
    ratio, side = 10 ** (difference_db / 20), noise(0)
    other = side * np.float32((1 - ratio) / (1 + ratio))
    build([save(tmp_path / "a.wav", side, other)], tmp_path / "c")
    corpus, clip = only_clip(tmp_path / "c")
    assert corpus.channels(clip) == channels
    if channels == 1:
        assert np.array_equal(corpus.samples(clip), np.stack([side, other], 1).mean(1))
        assert np.array_equal(corpus.sides(clip), [corpus.samples(clip)] * 2)
        assert not list((tmp_path / "c").glob("sides-*"))
    else:
        assert np.array_equal(corpus.sides(clip), [side, other])


@pytest.mark.parametrize("right", [0.0, 1e-4])
def test_a_recording_through_one_input_is_one_channel(tmp_path, right):
    side = noise(0)
    build([save(tmp_path / "a.wav", side, np.float32(right) * noise(1))], tmp_path / "c")
    corpus, clip = only_clip(tmp_path / "c")
    assert corpus.channels(clip) == 1
    assert corpus.samples(clip) == pytest.approx(side / 2, abs=1e-3)


def test_files_of_three_channels_are_mixed(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([noise(1), noise(2), noise(3)], 1), RATE, "FLOAT")
    build([tmp_path / "a.wav"], tmp_path / "c")
    corpus, clip = only_clip(tmp_path / "c")
    assert corpus.channels(clip) == 1
    assert corpus.samples(clip) == pytest.approx((noise(1) + noise(2) + noise(3)) / 3, abs=1e-6)


def test_sides_that_cancel_in_the_mean_are_kept_and_sound(tmp_path):
    side = sine(300, 1.0)
    report = build([save(tmp_path / "a.wav", side, -side)], tmp_path / "c")
    corpus, clip = only_clip(tmp_path / "c")
    assert np.array_equal(corpus.sides(clip), [side, -side])
    assert corpus.samples(clip) == pytest.approx(side, abs=1e-5)
    assert clip.peak == np.abs(side).max()
    assert np.nanmedian(corpus.pitch(clip)) == pytest.approx(69 + 12 * np.log2(300 / 440), abs=0.05)
    assert len(audible(corpus, "train")) == 1
    assert report.remarks["a.wav"].startswith("its sides are in antiphase")
    assert (report.silent, report.stereo) == ([], 1)


def test_a_folder_may_mix_mono_and_stereo(sounds, tmp_path):
    build([sounds], tmp_path / "mono")
    left, right = sine(300, 0.7), sine(500, 0.7, gain=0.3)
    save(sounds / "tone_64 wide.wav", left, right)
    write(sounds / "a wide.flac", np.stack([right, left], 1))
    report = build([sounds], tmp_path / "c")
    corpus, mono = Corpus.open(tmp_path / "c"), Corpus.open(tmp_path / "mono")
    stereo = [clip for clip in corpus.clips() if corpus.channels(clip) == 2]
    assert [clip.name for clip in stereo] == ["a wide.flac", "tone_64 wide.wav"]
    assert np.array_equal(corpus.sides(stereo[1]), [left, right])
    assert stereo[1].peak == np.abs(left).max()
    for clip in corpus.clips():
        assert corpus.sides(clip).shape == (2, clip.length)
        assert not corpus.sides(clip).flags.writeable
    others = [clip for clip in corpus.clips() if corpus.channels(clip) == 1]
    for clip, alone in zip(others, mono.clips(), strict=True):
        assert np.array_equal(corpus.samples(clip), mono.samples(alone))
        assert np.array_equal(corpus.pitch(clip), mono.pitch(alone), equal_nan=True)
        assert np.array_equal(corpus.sides(clip), [mono.samples(alone)] * 2)
    assert report.stereo == 2
    assert "\nstereo           2  of these clips\n" in report.text()
    assert "stereo" not in mono.report.text()


def test_both_sides_are_resampled_as_one_would_be(tmp_path):
    sides = [sine(300, 1.0, 48000), sine(1700, 1.0, 48000, 0.2)]
    build([save(tmp_path / "a.wav", *sides, rate=48000)], tmp_path / "c")
    corpus, clip = only_clip(tmp_path / "c")
    for side, source in zip(corpus.sides(clip), sides, strict=True):
        expected = resample_poly(source.astype(float), 147, 160, window=("kaiser", 12.0))
        assert np.abs(side[4000:40000] - expected[4000:40000]).max() < 2e-3


def test_sound_at_either_side_is_not_trimmed(tmp_path):
    tone, pause = sine(300, 0.3), np.zeros(round(0.3 * RATE), np.float32)
    left, right = np.concatenate([pause, tone, pause, pause, pause]), np.concatenate([pause, pause, pause, tone, pause])
    build([save(tmp_path / "a.wav", left, right)], tmp_path / "c")
    corpus, clip = only_clip(tmp_path / "c")
    assert clip.length == pytest.approx(0.9 * RATE, abs=0.021 * RATE)
    begin = round(0.3 * RATE) // 441 * 441
    assert np.array_equal(corpus.sides(clip), np.stack([left, right])[:, begin : begin + clip.length])


def test_copies_have_both_sides_alike(tmp_path):
    middle, side = noise(0), noise(1)
    for name, factor in {"a": 1, "b": -1, "c": 1, "d": 0}.items():
        save(
            tmp_path / "sounds" / f"{name}.wav", middle + np.float32(factor) * side, middle - np.float32(factor) * side
        )
    report = build([tmp_path / "sounds"], tmp_path / "c")
    assert report.identical == {"c.wav": "a.wav"}
    assert [clip.name for clip in Corpus.open(tmp_path / "c").clips()] == ["a.wav", "b.wav", "d.wav"]
    assert survey_sounds([tmp_path / "sounds" / "a.wav", tmp_path / "sounds" / "b.wav"]).startswith("2 sounds, 2.0 s")


# ---- cuts


def test_the_notes_of_a_stereo_melody_have_their_sides(tmp_path):
    """A melody a quarter to the left: the mix is a multiple of either side."""
    tune = melody()
    save(tmp_path / "tune.wav", 0.8 * tune, 0.4 * tune)
    report = build([tmp_path / "tune.wav"], tmp_path / "c", melodies=True)
    corpus = Corpus.open(tmp_path / "c")
    assert report.melodies == {"tune.wav": 7}
    assert report.stereo == len(corpus.clips()) == 7
    for clip in corpus.clips():
        left, right = corpus.sides(clip)
        assert np.array_equal(left, 2 * right)
        assert corpus.samples(clip) == pytest.approx(left * np.sqrt(0.4) / 0.8, abs=1e-5)


def test_the_key_of_an_sfz_counts_for_stereo_samples(tmp_path):
    side = sine(300, 1.0)
    save(tmp_path / "s" / "a.wav", side, 0.5 * side)
    (tmp_path / "s" / "kit.sfz").write_text("<region> sample=a.wav key=62 hivel=90\n")
    build([tmp_path / "s"], tmp_path / "c")
    corpus, clip = only_clip(tmp_path / "c")
    assert (clip.key, clip.velocity, corpus.channels(clip)) == (62, 90, 2)


def test_stereo_loops_lie_on_the_grid_with_both_sides(tmp_path):
    rate = 22050
    left, right = loop(103, seed=1), loop(103, seed=2)
    late = np.zeros(400, np.float32)
    save(tmp_path / "s" / "a 103 bpm.wav", np.concatenate([late, left]), np.concatenate([late, 0.5 * right]), rate=rate)
    write(tmp_path / "s" / "b 100 bpm.wav", loop(100), rate)
    report = build([tmp_path / "s"], tmp_path / "c", rate=rate, loops=True)
    corpus = Corpus.open(tmp_path / "c")
    wide, narrow = corpus.clips()
    assert [corpus.channels(clip) for clip in (wide, narrow)] == [2, 1]
    assert report.stereo == 1
    assert wide.length == 32 * corpus.loops.step_length
    sides = corpus.sides(wide)
    assert decibels(sides[1], sides[0]) == pytest.approx(decibels(0.5 * right, left), abs=0.3)
    assert decibels(corpus.samples(wide), sides[0]) == pytest.approx(
        decibels(np.sqrt((left**2 + 0.25 * right**2) / 2), left), abs=0.5
    )


def test_the_mix_of_a_loop_has_no_seam():
    """It is the same wherever the loop begins, up to rounding."""
    sides = np.stack([noise(1), noise(2)])[:, : 20 * 1024]
    mixed = mix_loop_to_mono(sides, RATE)
    assert mix_loop_to_mono(np.roll(sides, 7 * 1024, axis=1), RATE) == pytest.approx(np.roll(mixed, 7 * 1024), abs=1e-6)


# ---- files


@pytest.fixture
def wide(sounds):
    """Ten tones, every third in stereo."""
    for note in range(60, 70, 3):
        tone = sine(440 * 2 ** ((note - 69) / 12), seconds=0.3)
        save(sounds / f"tone_{note}.wav", tone, np.roll(tone, 50))
    return sounds


@pytest.mark.parametrize("damage", [None, "sides-00001.f32"])
def test_a_stopped_build_goes_on_with_its_sides(wide, tmp_path, two_a_chunk, damage):
    build([wide], tmp_path / "whole", name="c")
    assert sorted(path.name for path in (tmp_path / "whole").glob("sides-*")) == [
        f"sides-0000{number}.f32" for number in (0, 1, 3, 4)
    ]
    with pytest.raises(KeyboardInterrupt):
        build([wide], tmp_path / "c", progress=stopping(0.65))
    if damage:
        path = tmp_path / "c" / damage
        path.write_bytes(path.read_bytes()[:-5])
    build([wide], tmp_path / "c")
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


def test_sides_of_an_earlier_build_go(wide, tmp_path, two_a_chunk):
    with pytest.raises(KeyboardInterrupt):
        build([wide], tmp_path / "c", progress=stopping(0.65))
    for path in wide.iterdir():
        write(path)
    build([wide], tmp_path / "c")
    assert not list((tmp_path / "c").glob("sides-*"))


def test_a_corpus_grows_by_stereo_sounds_and_a_failed_growth_leaves_none(sounds, tmp_path):
    build([sounds], tmp_path / "c")
    left, right = noise(1), noise(2)
    save(tmp_path / "new.wav", left, right)
    build([tmp_path / "new.wav"], tmp_path / "c", append=True)
    corpus = Corpus.open(tmp_path / "c")
    assert [corpus.channels(clip) for clip in corpus.clips()] == [1] * 10 + [2]
    assert np.array_equal(corpus.sides(corpus.clips()[-1]), [left, right])
    assert corpus.report.stereo == 1
    before = bytes_of(tmp_path / "c")
    shutil.copy(tmp_path / "new.wav", tmp_path / "copy.wav")
    with pytest.raises(UserError, match="grows by none of these sounds"):
        build([tmp_path / "copy.wav"], tmp_path / "c", append=True)
    assert bytes_of(tmp_path / "c") == before


def test_a_writer_begins_new_files_of_sides_with_its_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("timbrel.train.corpus.store.SHARD_BYTES", 12_000)
    sides, track = [np.stack([noise(n, 0.05), noise(n + 9, 0.05)]) for n in range(5)], np.zeros(3, np.float32)
    with writing(tmp_path / "c", RATE) as writer:
        for number, pair in enumerate(sides):
            stereo = None if number == 1 else pair
            writer.append(pair[0], track, name=f"{number}", group="", sides=stereo)
        writer.finish(dict.fromkeys("01234", "train"), name="c")
    rewrite(tmp_path / "c", lambda clip: clip)
    corpus = Corpus.open(tmp_path / "c")
    assert [shard.sides_length for shard in corpus.shards] == [4410, 8820, 4410]
    for clip, pair in zip(corpus.clips(), sides, strict=True):
        assert np.array_equal(corpus.sides(clip), pair if clip.name != "1" else [pair[0]] * 2)
        assert np.array_equal(corpus.samples(clip), pair[0])


def test_damaged_sides_are_refused(wide, tmp_path):
    build([wide], tmp_path / "c")
    column, sides = tmp_path / "c" / "clips-1" / "sides_start.npy", tmp_path / "c" / "sides-00000.f32"
    starts = np.load(column)
    for first in (-2, 1 << 40, starts.max() + 1):
        np.save(column, np.concatenate([[first], starts[1:]]))
        with pytest.raises(UserError, match="is damaged"):
            Corpus.open(tmp_path / "c")
    column.unlink()
    with pytest.raises(UserError, match=r"sides_start\.npy is missing"):
        Corpus.open(tmp_path / "c")
    np.save(column, starts)
    sides.write_bytes(sides.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"sides-00000\.f32 has \d+ bytes where"):
        Corpus.open(tmp_path / "c")


def as_format_2(folder: Path) -> None:
    """Take from a mono corpus all that formats 3 and 4 added."""
    for column in ("sides_start", "held_seconds"):
        (folder / "clips-1" / f"{column}.npy").unlink()
    manifest = json.loads((folder / "corpus.json").read_text())
    for shard in manifest["shards"]:
        assert shard.pop("sides_length") == 0
    del manifest["report"]["stereo"]
    (folder / "corpus.json").write_text(json.dumps(manifest | {"format": 2}))


def test_a_corpus_of_format_2_opens_and_grows_by_stereo_sounds(sounds, corpus, tmp_path):
    samples = [np.array(Corpus.open(corpus).samples(clip)) for clip in Corpus.open(corpus).clips()]
    as_format_2(corpus)
    before, opened = bytes_of(corpus), Corpus.open(corpus)
    for clip, expected in zip(opened.clips(), samples, strict=True):
        assert (opened.channels(clip), clip.sides_start, clip.held_seconds) == (1, None, None)
        assert np.array_equal(opened.samples(clip), expected)
        assert np.array_equal(opened.sides(clip), [expected, expected])
    assert bytes_of(corpus) == before
    save(tmp_path / "new.wav", noise(1), noise(2))
    build([tmp_path / "new.wav"], corpus, append=True)
    grown = Corpus.open(corpus)
    assert [grown.channels(clip) for clip in grown.clips()] == [1] * 10 + [2]
    assert json.loads((corpus / "corpus.json").read_text())["format"] == FORMAT


def test_a_corpus_of_format_3_knows_no_releases(corpus):
    (corpus / "clips-1" / "held_seconds.npy").unlink()
    manifest = json.loads((corpus / "corpus.json").read_text())
    (corpus / "corpus.json").write_text(json.dumps(manifest | {"format": 3}))
    assert [clip.held_seconds for clip in Corpus.open(corpus).clips()] == [None] * 10


def test_splits_dealt_to_a_corpus_of_format_2_make_it_the_newest(corpus):
    as_format_2(corpus)
    opened = Corpus.open(corpus)
    dealt = opened.deal({clip.name: "train" for clip in opened.clips()})
    assert [clip.sides_start for clip in dealt.clips()] == [None] * 10
    assert json.loads((corpus / "corpus.json").read_text())["format"] == FORMAT
    assert len(Corpus.open(corpus).clips("train")) == 10
