"""A corpus opens again or is refused in one line, and appears whole or not at all."""

import json
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.train.corpus import chunks, clip_table, store
from timbrel.train.corpus.build import build
from timbrel.train.corpus.clip_table import TEXTS, ClipTable, Manifest, Shard, Table, Texts, replace_files
from timbrel.train.corpus.report import CorpusReport
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.data import audible

from .sounds import RATE, sine, write

OLD = Path(__file__).parent / "old_corpus"  # written by timbrel's format 1: three clips, two of them of one melody


def damage(corpus, **changes):
    path = corpus / "corpus.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def refusal(corpus):
    with pytest.raises(UserError) as caught:
        Corpus.open(corpus)
    assert "\n" not in str(caught.value)
    assert str(corpus) in str(caught.value)
    return str(caught.value)


def test_what_is_no_corpus_is_refused_with_one_line(corpus):
    manifest = (corpus / "corpus.json").read_bytes()
    audio = (corpus / "audio-00000.f32").read_bytes()
    damage(corpus, format=6)
    assert "has format 6, this timbrel reads formats 1 to 5" in refusal(corpus)
    damage(corpus, format=4, rate="fast")
    assert "corpus.json is damaged" in refusal(corpus)
    (corpus / "corpus.json").write_bytes(manifest[:-100])
    assert "is damaged" in refusal(corpus)
    (corpus / "corpus.json").write_bytes(b"\xff\xfe\x00")
    assert "is damaged" in refusal(corpus)
    (corpus / "corpus.json").write_bytes(manifest)
    (corpus / "audio-00000.f32").write_bytes(audio[:-4])
    assert f"has {len(audio) - 4} bytes where its corpus.json expects {len(audio)}" in refusal(corpus)
    (corpus / "audio-00000.f32").unlink()
    assert "has 0 bytes" in refusal(corpus)
    (corpus / "audio-00000.f32").write_bytes(audio)
    shutil.rmtree(corpus / "clips-1")
    assert "split.npy is missing" in refusal(corpus) or "pitch.npy is missing" in refusal(corpus)
    (corpus / "corpus.json").unlink()
    assert "is no corpus" in refusal(corpus)
    shutil.rmtree(corpus)
    assert "does not exist" in refusal(corpus)


@pytest.mark.parametrize("column", ["start", "name_ends", "pitch"])
def test_a_damaged_column_is_refused_with_one_line(corpus, column):
    path = corpus / "clips-1" / f"{column}.npy"
    values = np.load(path)
    np.save(path, values[:-1])
    assert "is damaged" in refusal(corpus)
    np.save(path, values.astype(np.float16))
    assert "is damaged" in refusal(corpus)
    path.write_bytes(b"no array")
    assert "is damaged" in refusal(corpus)


def test_a_clip_outside_its_shard_is_refused(corpus):
    for column, value in (("start", 1 << 40), ("start", -1), ("shard", 1), ("shard", -1), ("length", 1 << 40)):
        path = corpus / "clips-1" / f"{column}.npy"
        values = np.load(path)
        np.save(path, np.concatenate([values[:-1], [value]]).astype(values.dtype))
        assert "damaged" in refusal(corpus)
        np.save(path, values)
    assert Corpus.open(corpus).clips()


def test_a_corpus_of_format_1_opens_as_it_is():
    before = {path.name: path.read_bytes() for path in OLD.iterdir()}
    found = Corpus.open(OLD)
    assert (found.name, found.rate, found.licence, found.loops) == ("old", 8000, "CC0", None)
    assert found.files == {"A4.wav": "ab" * 32, "take/b": "cd" * 32}
    assert [*found.clips().names] == ["A4.wav", "take/b#1", "take/b#2"]
    assert [clip.split for clip in found.clips()] == ["train", "val", "test"]
    assert [clip.label for clip in found.clips()] == ["", "é", "é"]
    assert [(clip.key, clip.velocity) for clip in found.clips()] == [(69, 64), (None, None), (None, None)]
    assert [clip.onset_seconds for clip in found.clips()] == [None, 0.25, 0.5]
    assert [clip.slurred for clip in found.clips()] == [False, False, True]
    assert found.seconds("val") == 1500 / 8000
    for clip, hz in zip(found.clips(), (440.0, 261.6, 523.25), strict=True):
        assert found.samples(clip) == pytest.approx(0.5 * np.sin(2 * np.pi * hz * np.arange(1500) / 8000), abs=1e-6)
        assert len(found.pitch(clip)) == 2
    assert [*audible(found, "train").names] == ["A4.wav"]
    assert {path.name: path.read_bytes() for path in OLD.iterdir()} == before


def test_a_damaged_corpus_of_format_1_is_refused(tmp_path):
    old = tmp_path / "old"
    shutil.copytree(OLD, old)
    clips = json.loads((old / "corpus.json").read_text(encoding="utf-8"))["clips"]
    damage(old, clips=clips[1:])
    assert "do not lie end to end" in refusal(old)
    damage(old, clips=clips)
    (old / "pitch.f32").unlink()
    assert "pitch.f32 has 0 bytes" in refusal(old)


def test_a_corpus_of_format_1_grows(tmp_path):
    shutil.copytree(OLD, tmp_path / "old")
    write(tmp_path / "sounds" / "new.wav", sine(seconds=1), RATE)
    build([tmp_path / "sounds"], tmp_path / "old", append=True)
    found = Corpus.open(tmp_path / "old")
    assert [*found.clips().names] == ["A4.wav", "take/b#1", "take/b#2", "new.wav"]
    assert [clip.split for clip in found.clips()][:3] == ["train", "val", "test"]
    first, *_, last = found.clips()
    assert found.samples(first) == pytest.approx(0.5 * np.sin(2 * np.pi * 440 * np.arange(1500) / 8000), abs=1e-6)
    assert np.nanmedian(found.pitch(last)) == pytest.approx(69, abs=0.05)
    assert [*found.files] == ["A4.wav", "take/b", "new.wav"]


def test_clips_are_the_rows_of_their_columns(corpus):
    opened = Corpus.open(corpus)
    clips = opened.clips()
    assert clips == [clips[number] for number in range(len(clips))]
    assert clips[2:4] == [clips[2], clips[3]]
    assert clips.take(np.array([3, 1])) == [clips[3], clips[1]]
    assert clips.take(clips.lengths > 0) == clips
    assert clips[-1] == clips[len(clips) - 1]
    assert clips.excluding(clips[1:]) == [clips[0]]
    assert [len(opened.clips(split)) for split in ("train", "val", "test")] == [8, 1, 1]
    for clip, peak in zip(clips, clips.peaks, strict=True):
        assert peak == np.abs(opened.samples(clip)).max()
    with pytest.raises(IndexError):
        clips[len(clips)]


def test_many_clips_open_in_little_memory_and_not_one_by_one(tmp_path, monkeypatch):
    """The bench measures two million; here no `Clip` is made, and no column is read that is not needed."""
    count = 50_000
    numbers = {name: np.zeros(count, kind) for name, kind in clip_table._NUMBERS.items()} | {
        "start": np.arange(count, dtype="<i8"),
        "length": np.ones(count, "<i8"),
        "sides_start": np.full(count, -1, "<i8"),
    }
    names = Texts.encode(f"a/{number}" for number in range(count))
    table = Table.from_clips(ClipTable(numbers, dict.fromkeys(TEXTS, names)), np.zeros(count, np.float32), [])
    np.zeros(count, "<f4").tofile(tmp_path / "audio-00000.f32")
    manifest = Manifest(
        name="many", rate=8000, shards=[Shard(file="audio-00000.f32", length=count)], table="", report=CorpusReport()
    )
    replace_files(tmp_path, manifest, {}, table)
    monkeypatch.setattr(clip_table, "Clip", None)
    tracemalloc.start()
    opened = Corpus.open(tmp_path)
    assert (len(opened.clips("train")), opened.seconds()) == (count, count / 8000)
    assert tracemalloc.get_traced_memory()[1] < 100 * count
    tracemalloc.stop()


def test_pages_of_sound_are_released_again_and_again(corpus, monkeypatch):
    released, opened = [], Corpus.open(corpus)
    monkeypatch.setattr(store, "MAPPED_BYTES", 2 * 4 * opened.clips()[0].length)
    monkeypatch.setattr(store, "release", lambda *shards: released.append(len(shards)))
    for clip in opened.clips()[:9]:
        opened.samples(clip)
    assert released == [1, 1, 1]


def test_few_shards_are_mapped_at_once_and_views_stay(sounds, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_FILES", 1)
    monkeypatch.setattr(store, "MOST_MAPPED", 3)
    build([sounds], tmp_path / "c")
    opened = Corpus.open(tmp_path / "c")
    views = [opened.samples(clip) for clip in opened.clips()]
    assert list(opened._mapped) == [f"audio-0000{number}.f32" for number in (7, 8, 9)]
    opened.samples(opened.clips()[8])
    opened.samples(opened.clips()[0])
    assert list(opened._mapped) == [f"audio-0000{number}.f32" for number in (9, 8, 0)]
    assert [float(np.abs(view).max()) for view in views] == pytest.approx(opened.clips().peaks.tolist())


def test_two_threads_read_many_shards(sounds, tmp_path, monkeypatch):
    """As batches are cut beside a validation."""
    monkeypatch.setattr(chunks, "CHUNK_FILES", 1)
    monkeypatch.setattr(store, "MOST_MAPPED", 3)
    monkeypatch.setattr(store, "MAPPED_BYTES", 1)
    build([sounds], tmp_path / "c")
    opened = Corpus.open(tmp_path / "c")
    with ThreadPoolExecutor(2) as pool:
        peaks = list(pool.map(lambda clip: np.abs(opened.samples(clip)).max(), [*opened.clips()] * 50))
    assert peaks == opened.clips().peaks.tolist() * 50


def test_a_corpus_appears_whole_or_not_at_all(tmp_path):
    def write_half():
        with writing(tmp_path / "corpus", RATE) as writer:
            writer.append(sine(), np.zeros(22, np.float32), name="a", group="a")
            raise RuntimeError("oops")

    with pytest.raises(RuntimeError, match="oops"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_clip_is_that_of_the_whole(corpus):
    opened = Corpus.open(corpus)
    for clip in opened.clips():
        whole = np.array(opened.samples(clip))
        for start, stop in (
            (0, 10),
            (1000, 5000),
            (clip.length - 3, clip.length + 50),
            (clip.length + 5, None),
            (7, 3),
        ):
            assert np.array_equal(opened.samples(clip, start, stop), whole[start:stop])
