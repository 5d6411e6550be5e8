"""Corpora of data sets in tar files: sounds, labels, keys, dynamics and licence; damage is one line."""

import gzip
import io
import json
import re
import tarfile

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.host.preset.library import open_patch
from timbrel.train.commands import corpus_build
from timbrel.train.corpus import build as corpus_build_module
from timbrel.train.corpus import chunks, stored_sounds
from timbrel.train.corpus.build import build
from timbrel.train.corpus.columns import Columns
from timbrel.train.corpus.content import survey_sounds
from timbrel.train.corpus.sound_files import Unreadable
from timbrel.train.corpus.sources import find_stored
from timbrel.train.corpus.store import Corpus

from ..export.clusters import cluster, killing
from ..export.samples.datasets_of_notes import notes_of, small
from .builds import ONE_SPLIT, build_in_two_processes, bytes_of, corpus_of, kill_build, stopping
from .data_sets import NOTES, decoded, labels_of, samples_by_key, shard, tone, tone_shard
from .looped import loop
from .sounds import write


def test_our_own_data_set_brings_keys_labels_dynamics_and_licence(tmp_path):
    folder = small(tmp_path / "n1", 66, names=("gm-oboe", "drum-kit"), held_seconds="0.4", velocities="60-127")
    corpus = corpus_of(tmp_path / "c", folder)
    expected = {}
    for labels, _ in notes_of(folder):
        shard_name, label = f"notes-{labels['number'] // 64:06}", labels.get("label", labels["preset"])
        key = None if labels["pitch_hz"] is None else labels["key"]  # a kit's keys are no pitches
        expected[f"{shard_name}/{labels['number']:09}.flac"] = (label, key, labels["velocity"])
    found = labels_of(corpus)
    assert len(found) > 60
    assert found.items() <= expected.items()
    assert corpus.licence == open_patch("gm-oboe").model.card.license
    assert sum(corpus.report.labels.values()) == len(found)
    oboe = next(clip for clip in corpus.clips() if clip.key is not None)
    assert abs(np.nanmedian(corpus.pitch(oboe)) - oboe.key) < 0.5


def test_samples_and_pitches_are_those_of_the_members(tmp_path):
    corpus = corpus_of(tmp_path / "c", tone_shard(tmp_path / "tones.tar"))
    assert [clip.name for clip in corpus.clips()] == [f"tones/tone{note}.flac" for note in NOTES]
    for note, samples in samples_by_key(corpus).items():
        assert np.array_equal(samples, decoded(tone(note, suffix="FLAC")))


def test_shards_of_the_webdataset_package_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "w-000000.tar")) as writer:
        for note in NOTES:
            writer.write({"__key__": f"a/{note:06}", "wav": tone(note), "cls": note % 2, "json": {"key": note}})
    corpus = corpus_of(tmp_path / "c", tmp_path / "w-000000.tar")
    assert labels_of(corpus) == {f"w-000000/a/{note:06}.wav": (str(note % 2), note, None) for note in NOTES}


def test_texts_hidden_members_folders_and_other_files_are_no_sounds(tmp_path):
    folder = tarfile.TarInfo("./a")
    folder.type = tarfile.DIRTYPE
    members = {
        "./a": folder,
        "./a/one.json": {"key": "c#4", "velocity": "MF", "label": 7, "licence": "MIT"},
        "./a/one.wav": tone(61),
        "./a/._one.wav": b"macOS",
        "./a/one.png": b"no sound",
        "./b/one.wav": tone(62),
        "notes.txt": b"about",
    }
    corpus = corpus_of(tmp_path / "c", shard(tmp_path / "s.tar", members))
    assert labels_of(corpus) == {"s/a/one.wav": ("7", 61, 80), "s/b/one.wav": ("", None, None)}
    assert corpus.licence == "MIT"


def test_names_may_have_characters_that_only_some_systems_forbid(tmp_path):
    name = 'a "b"/what? <1|2> *'
    path = shard(tmp_path / "s.tar", {f"{name}.wav": tone(60), f"{name}.json": {"key": 60}})
    assert labels_of(corpus_of(tmp_path / "c", path)) == {f"s/{name}.wav": ("", 60, None)}


def test_members_of_one_name_in_two_folders_are_two_samples(tmp_path):
    members = {"a/one.wav": tone(60), "b/one.json": {"key": 61}, "b/one.wav": tone(61)}
    corpus = corpus_of(tmp_path / "c", shard(tmp_path / "s.tar", members))
    assert labels_of(corpus) == {"s/a/one.wav": ("", None, None), "s/b/one.wav": ("", 61, None)}


def test_a_member_that_comes_again_begins_another_sample(tmp_path):
    path = shard(tmp_path / "s.tar", {"a.wav": tone(60)})
    with tarfile.open(path, "a") as archive:
        archive.add(write(tmp_path / "other.wav"), "a.wav")
    assert len(find_stored([path], Columns({})).by_name) == 2


def test_of_a_licence_the_first_two_hundred_characters_count(tmp_path):
    path = shard(tmp_path / "s.tar", {"a.wav": tone(60), "a.json": {"licence": "x" * 300}})
    assert find_stored([path], Columns({})).licences == ["x" * 200]


def test_hidden_shards_of_a_folder_are_none_of_its_sources(tmp_path):
    tone_shard(tmp_path / "set" / ".cache" / "old.tar", [70])
    tone_shard(tmp_path / "set" / "tones.tar", [60])
    assert [*find_stored([tmp_path / "set"], Columns({})).by_name] == ["tones/tone60.flac"]


def test_sounds_are_labelled_if_one_of_them_has_a_label(tmp_path):
    members = {"a.wav": tone(60), "b.wav": tone(61), "b.json": {"key": 61}}
    assert not find_stored([shard(tmp_path / "s.tar", members)], Columns({})).are_labelled
    members["b.json"]["label"] = "flute"
    assert find_stored([shard(tmp_path / "s.tar", members)], Columns({})).are_labelled


def test_a_shard_that_was_cut_since_it_was_listed_has_no_such_sound(tmp_path):
    path = shard(tmp_path / "s.tar", {"a.wav": tone(60)})
    [sound] = find_stored([path], Columns({})).by_name.values()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(Unreadable, match=r"is cut off: \d+ of its \d+ bytes are missing"):
        sound.digest()


@pytest.mark.parametrize(
    ("text", "key"),
    [("c-1", 0), ("C4", 60), ("Bb3", 58), ("cs4", 61), ("G9", 127), ("g#9", None), ("60", 60), ("-1", None)],
)
def test_keys_are_numbers_and_names_of_notes(text, key):
    assert stored_sounds.key_of(text) == key


def test_columns_are_fields_and_endings_of_samples(tmp_path):
    members = {
        "1.mix.wav": tone(60),
        "1.voice.wav": tone(64),
        "1.word": b"ah\n",
        "1.json": {"pitch": 64, "key": "C major", "label": "x"},
    }
    path = shard(tmp_path / "s.tar", members)
    columns = {"audio": "voice.wav", "label": "word", "key": "pitch"}
    assert labels_of(corpus_of(tmp_path / "c", path, columns=columns)) == {"s/1.voice.wav": ("ah", 64, None)}
    with pytest.raises(
        UserError, match=r"s\.tar, 1: key 'C major' is no MIDI key.*--column key=NAME, or none with key="
    ):
        build([path], tmp_path / "d")
    found = labels_of(corpus_of(tmp_path / "d", path, columns={"key": "", "label": ""}))
    assert found == {f"s/1.{name}.wav": ("", None, None) for name in ("mix", "voice")}
    with pytest.raises(UserError, match=r"s\.tar, 1 has no column 'note' \(it has pitch, key, label\)"):
        build([path], tmp_path / "e", columns={"key": "note"})


def test_endings_in_capitals_are_those_in_small_letters(tmp_path):
    path = shard(tmp_path / "s.tar", {"1.MIX.WAV": tone(60), "1.JSON": {"key": 61}, "1.Cls": b"ah"})
    assert labels_of(corpus_of(tmp_path / "c", path)) == {"s/1.MIX.WAV": ("ah", 61, None)}
    columns = {"audio": "Mix.wav"}
    assert labels_of(corpus_of(tmp_path / "d", path, columns=columns)) == {"s/1.MIX.WAV": ("ah", 61, None)}


def test_an_ending_that_no_sound_has_is_named(tmp_path):
    path = tone_shard(tmp_path / "s.tar")
    with pytest.raises(UserError, match=r"no sounds named \.mp3 in \S+s\.tar; name others with --column audio=NAME"):
        build([path], tmp_path / "c", columns={"audio": "mp3"})


def test_the_command_takes_columns_and_texts_as_sources(tmp_path, capsys):
    path = shard(tmp_path / "s.tar", {"1.wav": tone(60), "1.json": {"pitch": 60, "instrument": "flute"}})
    corpus_build([str(path)], tmp_path / "c", column="key=pitch, label=instrument", workers=1)
    assert labels_of(Corpus.open(tmp_path / "c")) == {"s/1.wav": ("flute", 60, None)}
    with pytest.raises(UserError, match=r"'key=pitch,key=instrument' is no list of different roles"):
        corpus_build([str(path)], tmp_path / "d", column="key=pitch,key=instrument", workers=1)
    assert "labels           1\n  flute: 1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"pitch": "a"}, "columns have no role 'pitch'"),
        ({"audio": ""}, "column 'audio' has no name"),
        ({"key": "note"}, "--column names columns of tables and shards, of which there are none"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(sounds, tmp_path, columns, said):
    with pytest.raises(UserError, match=re.escape(said)):
        build([sounds], tmp_path / "c", columns=columns)
    assert not (tmp_path / "c").exists()


def test_labels_of_the_command_line_count_before_those_of_a_shard(tmp_path):
    path = tone_shard(tmp_path / "tones.tar", licence="CC0-1.0")
    corpus = corpus_of(tmp_path / "c", path, label="^([a-z]+)", licence="MIT")
    assert set(corpus.clips().labels) == {"tone"}
    assert corpus.licence == "MIT"


def test_the_shards_of_a_folder_count_where_it_has_no_sound_files(sounds, tmp_path):
    tone_shard(sounds / "tones.tar", range(80, 83))
    beside = corpus_of(tmp_path / "c", sounds)
    assert all("/" not in clip.name for clip in beside.clips())
    named = corpus_of(tmp_path / "d", sounds, sounds / "tones.tar")
    assert [clip.name for clip in named.clips()][-3:] == [f"tones/tone{note}.flac" for note in range(80, 83)]
    assert len(named.clips()) == 13


def test_equal_names_of_two_shards_stay_apart(tmp_path):
    for folder, note in (("a", 60), ("b", 61)):
        shard(tmp_path / folder / "s.tar", {"tone60.flac": tone(note, suffix="FLAC")})
    corpus = corpus_of(tmp_path / "c", tmp_path / "a", tmp_path / "b", tmp_path / "a" / "s.tar")
    assert sorted(labels_of(corpus)) == ["a/s/tone60.flac", "b/s/tone60.flac"]


def link(kind):
    entry = tarfile.TarInfo("tone.wav")
    entry.type, entry.linkname = kind, "/etc/passwd"
    return {"tone.wav": entry}


def sparse():
    entry = tarfile.TarInfo("tone.wav")
    entry.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": "9"}
    return {"tone.wav": entry}


def long_header():
    entry = tarfile.TarInfo("tone.wav")
    entry.size = 8
    data = io.BytesIO()
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    data.write(header.tobuf(tarfile.GNU_FORMAT))
    return data.getvalue() + entry.tobuf(tarfile.GNU_FORMAT) + bytes(2048)


WHERE = "get it again, or leave it out"
BAD_MEMBERS = {
    "parent": ({"../tone.wav": b""}, "holds '../tone.wav', no plain name of a file below it"),
    "inner parent": ({"a/../../tone.wav": b""}, "holds 'a/../../tone.wav', no plain name"),
    "absolute": ({"/tone.wav": b""}, "holds '/tone.wav', no plain name"),
    "drive": ({"c:tone.wav": b""}, "holds 'c:tone.wav', no plain name"),
    "backslash": ({"..\\tone.wav": b""}, "no plain name"),
    "control": ({"to\x1bne.wav": b""}, "holds 'to ne.wav', no plain name"),
    "link": (link(tarfile.SYMTYPE), "holds 'tone.wav', which is no file but a link or the like"),
    "hard link": (link(tarfile.LNKTYPE), "which is no file but a link or the like"),
    "sparse": (sparse(), "which is no file but a link or the like"),
    "device": (link(tarfile.CHRTYPE), "which is no file but a link or the like"),
    "json": ({"a.wav": b"", "a.json": b"{"}, "a.json is no JSON, or no text in UTF-8; write it again"),
    "bytes": ({"a.wav": b"", "a.json": b"\xff"}, "a.json is no JSON, or no text in UTF-8; write it again"),
    "deep": ({"a.wav": b"", "a.json": b"[" * 100_000}, "a.json is no JSON"),
    "list": ({"a.wav": b"", "a.json": b"[1]"}, "a.json is no JSON object of fields and values"),
    "long": ({"a.wav": b"", "a.json": b" " * (1 << 21)}, "a.json has 2048 KiB, labels at most 1024; shorten it"),
    "key": ({"a.wav": b"", "a.json": {"key": 128}}, "s.tar, a: key 128 is no MIDI key, 0 to 127"),
    "velocity": ({"a.wav": b"", "a.json": {"velocity": 0}}, "velocity 0 is no MIDI velocity, 1 to 127"),
    "label": ({"a.wav": b"", "a.json": {"label": ["x"]}}, "label ['x'] is no text of at most 200 characters"),
    "sounds": ({"a.txt": b""}, "no sounds in"),
}


@pytest.mark.parametrize("fault", BAD_MEMBERS)
def test_a_shard_that_cannot_be_used_is_one_line_and_leaves_nothing(tmp_path, fault):
    members, said = BAD_MEMBERS[fault]
    path = shard(tmp_path / "s.tar", members)
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        build([path], tmp_path / "c")
    assert len(caught.value.args) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["s.tar"]


DAMAGE = {
    "cut in a sound": (lambda data: data[:30_000], "is cut off"),
    "cut behind a sound": (lambda data: data[: data.index(b"tone61.flac")], "no header at byte"),
    "a header": (lambda data: data.replace(b"tone62.flac", b"tone\xff\xfe.flac", 1), "no header at byte"),
    "no tar": (lambda data: b"no tar file" * 100, ""),
    "empty": (lambda data: b"", ""),
    "long header": (lambda data: long_header(), "a header is too long"),
}


@pytest.mark.parametrize("harm", DAMAGE)
def test_a_damaged_shard_is_one_line_and_leaves_nothing(tmp_path, harm):
    change, said = DAMAGE[harm]
    path = tone_shard(tmp_path / "tones.tar")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=rf"tones\.tar is no tar file, or damaged \(.*{said}.*\); {WHERE}"):
        build([path], tmp_path / "c")
    assert [one.name for one in tmp_path.iterdir()] == ["tones.tar"]


def test_joined_tar_files_are_refused_and_not_read_in_part(tmp_path):
    path = tone_shard(tmp_path / "tones.tar")
    data = path.read_bytes()
    path.write_bytes(data + bytes(1 << 21))  # padding
    assert build([path], tmp_path / "c", **ONE_SPLIT).clips == len(NOTES)
    path.write_bytes(data + bytes(1 << 21) + data.replace(b"tone", b"tune"))
    with pytest.raises(UserError, match=r"tones\.tar holds more behind its end, as joined tar files do; give each by"):
        build([path], tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("name", ["tones.tar", "tones.tar.gz", "tones.tgz"])
def test_a_compressed_shard_says_so(tmp_path, name):
    path = tone_shard(tmp_path / "plain.tar")
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match=f"{name} is compressed; unpack it to a plain tar file"):
        build([tmp_path / name], tmp_path / "c")


def test_compressed_shards_of_a_folder_without_others_are_said(tmp_path):
    path = tone_shard(tmp_path / "plain.tar")
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "0.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match=r"set/a/0\.tar\.gz is compressed; unpack it to a plain tar file"):
        build([tmp_path / "set"], tmp_path / "c")


def test_a_table_of_texts_has_no_sounds(tmp_path):
    (tmp_path / "notes.csv").write_text("file,key\na.wav,60\n")
    with pytest.raises(UserError, match=r"notes\.csv is a table without sounds; give the files or folders that it"):
        build([tmp_path / "notes.csv"], tmp_path / "c")
    with pytest.raises(UserError, match="is a table without sounds"):
        survey_sounds([tmp_path / "notes.csv"])


def test_make_names_the_command_that_reads_shards(tmp_path):
    tone_shard(tmp_path / "set" / "tones.tar")
    with pytest.raises(UserError, match=r"no sounds in \S+set; .*read shards and tables by 'timbrel corpus build'"):
        survey_sounds([tmp_path / "set"])


def test_a_shard_of_zstandard_says_so_whatever_its_name(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(2000))  # RFC 8878, section 3.1.1
    with pytest.raises(UserError, match=r"s\.tar is compressed; unpack it to a plain tar file"):
        build([tmp_path / "s.tar"], tmp_path / "c")


def test_members_that_are_no_sound_are_listed_and_others_read(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_sounds, "LARGEST_BYTES", 60_000)
    members = {"bad.wav": b"no sound", "good.wav": tone(60), "large.wav": tone(61, seconds=2)}
    report = build([shard(tmp_path / "s.tar", members)], tmp_path / "c", **ONE_SPLIT)
    assert [*report.unreadable] == ["s/bad.wav", "s/large.wav"]
    assert report.unreadable["s/large.wav"].startswith("has 0 MiB, at most 0 are read")
    assert report.clips == 1


# ---- memory, resumption, processes


def test_one_sound_at_a_time_is_copied_and_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_sounds, "PIECE_BYTES", 1000)
    held, longest, plain = [], [], stored_sounds.TarMember.pieces

    def counting(self):
        held.append(sum(1 for path in tmp_path.rglob("copies/*")))
        for piece in plain(self):
            longest.append(len(piece))
            yield piece

    monkeypatch.setattr(stored_sounds.TarMember, "pieces", counting)
    corpus_of(tmp_path / "c", tone_shard(tmp_path / "tones.tar"))
    assert (max(held), max(longest)) == (1, 1000)
    assert len(held) == len(NOTES)
    assert not [*tmp_path.rglob("copies")]


def test_listing_reads_labels_alone(tmp_path, monkeypatch):
    """Bytes read for a shard of long sounds, and members held at once."""
    path = shard(tmp_path / "s.tar", {f"{number}.wav": tone(60, seconds=3) for number in range(40)})
    read, plain, members = [], io.FileIO.read, []
    from timbrel.train.corpus.tar_shards import _HeadersOnly

    def counting(self, size=-1, /):
        data = plain(self, size)
        read.append(len(data))
        return data

    monkeypatch.setattr(_HeadersOnly, "read", counting)
    plain_next = tarfile.TarFile.next
    monkeypatch.setattr(tarfile.TarFile, "next", lambda self: members.append(len(self.members)) or plain_next(self))
    assert len(find_stored([path], Columns({})).by_name) == 40
    assert sum(read) < 0.01 * path.stat().st_size
    assert max(members) <= 1


def test_a_build_that_was_stopped_goes_on(tmp_path, two_a_chunk, monkeypatch):
    path = tone_shard(tmp_path / "tones.tar")
    build([path], tmp_path / "whole", name="c")
    with pytest.raises(KeyboardInterrupt):
        build([path], tmp_path / "c", progress=stopping(0.6))
    read, plain = [], chunks._Reader.read
    monkeypatch.setattr(chunks._Reader, "read", lambda self, sound: read.append(sound.name) or plain(self, sound))
    build([path], tmp_path / "c")
    assert read == [f"tones/tone{note}.flac" for note in (64, 65)]
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


def test_other_labels_of_a_sound_read_it_again(tmp_path, two_a_chunk):
    tone_shard(tmp_path / "tones.tar")
    with pytest.raises(KeyboardInterrupt):
        build([tmp_path / "tones.tar"], tmp_path / "c", progress=stopping(0.6))
    corpus = corpus_of(tmp_path / "c", tmp_path / "tones.tar", columns={"label": ""})
    assert set(corpus.clips().labels) == {""}


def test_a_build_that_was_killed_goes_on(tmp_path, two_a_chunk):
    path = tone_shard(tmp_path / "tones.tar")
    kill_build(path, tmp_path / "c", 2)
    build([path], tmp_path / "c")
    build([path], tmp_path / "whole", name="c")
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


def test_two_processes_give_the_bytes_of_one(tmp_path, two_a_chunk):
    path = tone_shard(tmp_path / "tones.tar")
    build([path], tmp_path / "1", name="c")
    build_in_two_processes(path, tmp_path / "2", 2)
    assert bytes_of(tmp_path / "2") == bytes_of(tmp_path / "1")


@pytest.mark.slow
def test_a_cluster_of_which_a_node_dies_gives_the_bytes_of_one_process(tmp_path, two_a_chunk, monkeypatch):
    path = tone_shard(tmp_path / "tones.tar", range(48, 72))
    for side in ("shared", "alone"):
        (tmp_path / side).mkdir()
    with cluster() as (address, second):
        report = build([path], tmp_path / "shared" / "c", ray=address, progress=killing(second, 2))
    assert build([path], tmp_path / "alone" / "c") == report
    assert bytes_of(tmp_path / "shared" / "c") == bytes_of(tmp_path / "alone" / "c")


# ---- growth and loops


def test_a_corpus_grows_by_shards(sounds, tmp_path):
    corpus_of(tmp_path / "c", tone_shard(tmp_path / "tones.tar", licence="MIT"))
    with pytest.raises(UserError, match="has all these sounds already"):
        build([tmp_path / "tones.tar"], tmp_path / "c", append=True)
    with pytest.raises(UserError, match="have labels; give --label"):
        build([sounds], tmp_path / "c", append=True)
    other = tone_shard(tmp_path / "other.tar", range(70, 73), licence="CC0-1.0")
    with pytest.raises(UserError, match=r"the new sounds are under 'CC0-1\.0', those of .*/c under 'MIT'"):
        build([other], tmp_path / "c", append=True)
    grown = corpus_of(tmp_path / "c", tone_shard(tmp_path / "more.tar", range(70, 73), licence="MIT"), append=True)
    assert [clip.key for clip in grown.clips()] == [*NOTES, 70, 71, 72]
    assert grown.report.labels == {"high": 6, "low": 3}
    tone_shard(tmp_path / "tones.tar", [70])
    tone_shard(tmp_path / "tones.tar", NOTES, label="other")
    with pytest.raises(UserError, match="has all these sounds already"):
        build([tmp_path / "tones.tar"], tmp_path / "c", append=True)


def test_a_changed_member_of_a_known_name_is_refused(tmp_path):
    path = shard(tmp_path / "s.tar", {"a.wav": tone(60)})
    build([path], tmp_path / "c")
    shard(path, {"a.wav": tone(61)})
    with pytest.raises(UserError, match=r"s\.tar/a\.wav differs from the sound of that name"):
        build([path], tmp_path / "c", append=True)


def test_root_keys_of_members_correct_octaves_as_those_of_files_do(tmp_path, monkeypatch):
    """Keys in the chunk of samplers, an octave above the sounds."""
    found, plain = [], corpus_build_module.settle_octaves
    monkeypatch.setattr(
        corpus_build_module, "settle_octaves", lambda writer, roots: found.append(roots) or plain(writer, roots)
    )
    members = {}
    for note in NOTES:
        chunk = b"smpl" + (36).to_bytes(4, "little") + bytes(12) + (note + 12).to_bytes(4, "little") + bytes(20)
        data = tone(note)
        members[f"{note}x.wav"] = b"RIFF" + (len(data) - 8 + len(chunk)).to_bytes(4, "little") + data[8:] + chunk
    corpus_of(tmp_path / "c", shard(tmp_path / "s.tar", members))
    assert found == [{f"s/{note}x.wav": note + 12 for note in NOTES}]


def test_loops_of_a_shard_lie_on_one_grid(tmp_path):
    members = {}
    for number in range(2):
        path = write(tmp_path / "loops" / f"{number} 120 bpm.wav", loop(number))
        members[path.name] = path.read_bytes()
    files = corpus_of(tmp_path / "d", tmp_path / "loops", loops=True)
    packed = corpus_of(tmp_path / "c", shard(tmp_path / "s.tar", members), loops=True)
    assert packed.loops == files.loops
    for one, other in zip(packed.clips(), files.clips(), strict=True):
        assert np.array_equal(packed.samples(one), files.samples(other))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted(
        path.name for path in (tmp_path / "d").iterdir()
    )


def test_a_corpus_of_a_shard_names_its_sources_by_their_members(tmp_path):
    corpus = corpus_of(tmp_path / "c", tone_shard(tmp_path / "tones.tar", [60]))
    assert [*corpus.files] == ["tones/tone60.flac"]
    assert json.loads((tmp_path / "c" / "corpus.json").read_text())["name"] == "c"
