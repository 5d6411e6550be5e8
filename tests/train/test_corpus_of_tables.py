"""Corpora of tables: Parquet files, and data sets that Hugging Face's package saved on disk."""

import builtins
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.train.corpus import chunks, tables
from timbrel.train.corpus.build import build
from timbrel.train.corpus.columns import Columns
from timbrel.train.corpus.sources import find_stored

from ..export.clusters import cluster, killing
from .builds import ONE_SPLIT, build_in_two_processes, bytes_of, corpus_of, kill_build, stopping
from .data_sets import NOTES, decoded, hugging_face, labels_of, parquet, rows_of, samples_by_key, tone, tone_shard

pyarrow = pytest.importorskip("pyarrow")
EMBEDDED = "save the data set with its sounds in it"


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    return pytest.importorskip("datasets")


def expected(folder):
    """Name, label, key and velocity of the tones of a table."""
    return {
        f"{folder}/{row:06}-tone{note}.wav": ("high" if note >= 63 else "low", note, 100 if note % 2 else None)
        for row, note in enumerate(NOTES)
    }


@pytest.mark.parametrize("kind", ["save_to_disk", "parquet", "shards", "splits"])
def test_data_sets_of_hugging_face_bring_sounds_labels_and_keys(tmp_path, offline, kind):
    saved = tmp_path / "saved"
    names = ["data-00000-of-00001"]
    if kind == "save_to_disk":
        hugging_face().save_to_disk(saved)
    elif kind == "parquet":
        saved.mkdir()
        hugging_face().to_parquet(saved / "data-00000-of-00001.parquet", batch_size=4)
    elif kind == "shards":
        hugging_face().save_to_disk(saved, num_shards=2)
        names = ["data-00000-of-00002", "data-00001-of-00002"]
    else:
        offline.DatasetDict({"train": hugging_face()}).save_to_disk(saved)
        names = ["train/data-00000-of-00001"]
    corpus = corpus_of(tmp_path / "c", saved)
    found = labels_of(corpus)
    assert sorted(found.values()) == sorted(expected("").values())
    if len(names) == 1:
        assert found == expected(names[0])
    assert {name.rpartition("/")[0] for name in found} == set(names)
    for note, samples in samples_by_key(corpus).items():
        assert np.array_equal(samples, decoded(tone(note)))
    assert corpus.licence == (None if kind == "parquet" else "CC0-1.0")
    assert corpus.report.labels == {"high": 3, "low": 3}


def test_a_table_of_other_columns_is_read_by_their_names(tmp_path):
    table = pyarrow.table(
        {
            "sound": pyarrow.array([tone(60), tone(61)], pyarrow.large_binary()),
            "picture": pyarrow.array([b"x", b"y"]),
            "instrument": ["flute", None],
            "pitch": [60.0, float("nan")],
            "dynamic": ["pp", ""],
            "key": ["C major", "D minor"],
            "terms": ["CC BY 4.0\nmore", "MIT"],
        }
    )
    path = parquet(tmp_path / "t.parquet", table)
    with pytest.raises(
        UserError, match=r"t\.parquet has 2 columns of bytes \(it has sound, .*\); name one with --column"
    ):
        build([path], tmp_path / "c")
    columns = {"audio": "sound", "label": "instrument", "key": "pitch", "velocity": "dynamic", "licence": "terms"}
    corpus = corpus_of(tmp_path / "c", path, columns=columns)
    assert labels_of(corpus) == {"t/000000.wav": ("flute", 60, 32), "t/000001.wav": ("", None, None)}
    assert corpus.licence == "CC BY 4.0; MIT"


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_row_that_names_a_file_is_unreadable_and_no_file_is_opened(tmp_path, monkeypatch, suffix):
    secret = tmp_path / "elsewhere" / "secret.wav"
    secret.parent.mkdir()
    secret.write_bytes(tone(70))
    table = pyarrow.table({"audio": [{"bytes": tone(60), "path": str(secret)}, {"bytes": None, "path": str(secret)}]})
    path = tmp_path / f"t.{suffix}"
    saved(path, table)
    opened, plain = [], Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self) or plain(self, *a, **k))
    monkeypatch.setattr(
        builtins, "open", lambda file, *a, **k: opened.append(Path(str(file))) or plain(Path(file), *a, **k)
    )
    report = build([path], tmp_path / "c", **ONE_SPLIT)
    assert report.clips == 1
    assert report.unreadable == {"t/000001-secret.wav": f"has no sound, but perhaps the name of a file; {EMBEDDED}"}
    assert secret not in opened
    assert opened


def test_of_several_columns_of_bytes_the_one_named_audio_is_read(tmp_path):
    table = pyarrow.table({"picture": [b"x"], "audio": [tone(60)]})
    assert corpus_of(tmp_path / "c", parquet(tmp_path / "t.parquet", table)).report.clips == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [("C:\\tones\\a.wav", "000000-a.wav"), ("a/..", "000000.wav"), (".a.wav", "000000.wav"), ("", "000000.wav")],
)
def test_a_sound_is_named_by_its_row_and_by_its_file_where_that_is_a_plain_name(tmp_path, path, name):
    table = pyarrow.table({"audio": [{"bytes": tone(60), "path": path}]})
    assert [*find_stored([parquet(tmp_path / "t.parquet", table)], Columns({})).by_name] == [f"t/{name}"]


def test_a_row_s_own_licence_counts_before_that_of_its_data_set(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"license": "CC0-1.0"}')
    table = pyarrow.table({"audio": [tone(60), tone(61)], "licence": ["MIT", None]})
    assert find_stored([parquet(tmp_path / "t.parquet", table)], Columns({})).licences == ["CC0-1.0", "MIT"]


def test_a_sound_that_is_too_large_or_damaged_is_listed_and_others_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "LARGEST_BYTES", 60_000)
    sounds = [tone(60), tone(61, seconds=2), tone(62)]
    pages = {"data_page_size": 1, "write_batch_size": 1, "use_dictionary": False, "compression": "none"}
    path = parquet(tmp_path / "t.parquet", pyarrow.table({"audio": sounds}), write_page_checksum=True, **pages)
    data = bytearray(path.read_bytes())
    data[data.index(tone(62)) + 1000] ^= 1
    path.write_bytes(data)
    report = build([path], tmp_path / "c", **ONE_SPLIT)
    assert report.clips == 1
    assert report.unreadable["t/000001.wav"].startswith("has 0 MiB, at most")
    assert "t.parquet is no parquet table, or damaged" in report.unreadable["t/000002.wav"]


def saved(path, table):
    """Write a table as Parquet or as a stream."""
    if path.suffix == ".parquet":
        return parquet(path, table)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


def with_column(name, values):
    table = rows_of()
    return table.set_column(table.schema.get_field_index(name), name, pyarrow.array(values))


def paths_alone():
    return pyarrow.table({"audio": ["/etc/passwd"]})


BAD_TABLES = {
    "key": (lambda: with_column("key", [60, 61, 300, 63, 64, 65]), {}, "row 3: key 300 is no MIDI key, 0 to 127"),
    "list": (lambda: with_column("label", [["a"]] * 6), {}, "row 1: label ['a'] is no text of at most 200 characters"),
    "missing": (rows_of, {"label": "instrument"}, "has no column 'instrument' (it has audio, label, key, velocity)"),
    "missing audio": (rows_of, {"audio": "sound"}, "has no column 'sound' (it has audio,"),
    "text": (rows_of, {"audio": "key"}, f"holds int32, no bytes of sound files; {EMBEDDED}"),
    "paths": (
        lambda: pyarrow.table({"audio": ["/etc/passwd"]}),
        {},
        "has no column of bytes of sound files (it has audio)",
    ),
    "twice": (lambda: rows_of().append_column("key", pyarrow.array(range(6))), {}, "two of its columns have one name"),
    "no rows": (lambda: rows_of().slice(0, 0), {}, "no sounds in"),
    "no rows, no types": (lambda: pyarrow.table({"audio": pyarrow.array([])}), {}, "has no rows; leave it out"),
    "no rows, a named column": (lambda: pyarrow.table({"a": pyarrow.array([])}), {"audio": "a"}, "has no rows; leave"),
}


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("fault", BAD_TABLES)
def test_a_table_that_cannot_be_used_is_one_line_and_leaves_nothing(tmp_path, fault, suffix):
    make, columns, said = BAD_TABLES[fault]
    path = saved(tmp_path / f"t.{suffix}", make())
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        build([path], tmp_path / "c", columns=columns)
    assert len(caught.value.args) == 1
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_table_without_rows_adds_nothing_to_others(tmp_path, suffix):
    """Such as an empty split of a data set."""
    saved(tmp_path / "set" / "test" / f"t.{suffix}", rows_of().slice(0, 0))
    saved(tmp_path / "set" / "train" / f"t.{suffix}", rows_of())
    assert build([tmp_path / "set"], tmp_path / "c", **ONE_SPLIT).clips == len(NOTES)


def test_a_file_of_arrow_s_other_format_says_so(tmp_path):
    table = rows_of()
    with pyarrow.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(UserError, match=r"t\.arrow is an Arrow file, no stream; save it as Parquet, or with save_to_d"):
        build([tmp_path / "t.arrow"], tmp_path / "c")


@pytest.mark.skipif(not hasattr(pyarrow, "binary_view"), reason="an earlier pyarrow")
def test_a_column_of_views_of_bytes_holds_sounds(tmp_path):
    sounds = pyarrow.array([tone(note) for note in NOTES], pyarrow.binary_view())
    path = saved(tmp_path / "t.arrow", pyarrow.table({"sound": sounds, "key": [*NOTES]}))
    assert {key for _, key, _ in labels_of(corpus_of(tmp_path / "c", path)).values()} == {*NOTES}


def test_whole_numbers_beside_gaps_are_labels_without_a_point(tmp_path):
    path = saved(tmp_path / "t.parquet", with_column("label", [1.0, float("nan"), 2.5, None, 3.0, 1.0]))
    found = [label for label, _, _ in labels_of(corpus_of(tmp_path / "c", path)).values()]
    assert sorted(found) == ["", "", "1", "1", "2.5", "3"]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("harm", ["empty", "other", "cut"])
def test_a_damaged_table_is_one_line_and_leaves_nothing(tmp_path, suffix, harm):
    path = saved(tmp_path / f"t.{suffix}", rows_of())
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "other": b"no table" * 99, "cut": data[: len(data) // 2]}[harm])
    with pytest.raises(UserError, match=rf"t\.{suffix} is no {suffix} table, or damaged \(.*\); get it again"):
        build([path], tmp_path / "c")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_offsets_outside_a_stream_are_damage(tmp_path):
    """They would read other memory."""
    table = pyarrow.table({"audio": pyarrow.array([tone(60), tone(61)])})
    path = saved(tmp_path / "t.arrow", table)
    lengths = np.cumsum([0, len(tone(60)), len(tone(61))]).astype("<i4").tobytes()
    wrong = np.array([0, 1 << 30, (1 << 30) + 9], "<i4").tobytes()
    data = path.read_bytes()
    assert data.count(lengths) == 1
    path.write_bytes(data.replace(lengths, wrong))
    with pytest.raises(UserError, match=r"t\.arrow is no arrow table, or damaged"):
        build([path], tmp_path / "c")


DAMAGED = """
import random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import damage
from timbrel.host.errors import UserError
from timbrel.train.corpus.columns import Columns
from timbrel.train.corpus.sound_files import Unreadable
from timbrel.train.corpus.sources import find_stored
whole = Path(sys.argv[1])
bad, data, endings = whole.with_stem("bad"), whole.read_bytes(), set()
for number in range(200):
    bad.write_bytes(damage.bytes_of(data, random.Random(number)))
    try:
        for sound in find_stored([bad], Columns({})).by_name.values():
            sound.digest()
        endings.add("read")
    except (UserError, Unreadable) as error:
        assert len(str(error).splitlines()) == 1
        endings.add("refused")
print(*sorted(endings))
"""


@pytest.mark.parametrize("suffix", ["tar", "parquet", "arrow"])
def test_two_hundred_damaged_data_sets_are_read_or_refused_in_a_line(tmp_path, suffix):
    """In a process of its own, which must not crash."""
    path = tmp_path / f"t.{suffix}"
    if suffix == "tar":
        tone_shard(path, range(60, 62))
    else:
        saved(path, rows_of(range(60, 62)))
    tools = Path(__file__).parents[1] / "fuzz"
    ended = subprocess.run([sys.executable, "-c", DAMAGED, path, tools], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "read refused\n"), ended.stderr


def classes(path, numbers):
    table = hugging_face().data.table
    return saved(path, table.set_column(1, table.schema.field(1), pyarrow.array(numbers)))


def test_a_class_that_has_no_name_is_one_line(tmp_path, offline):
    path = classes(tmp_path / "t.parquet", [0, 1, 2, -1, 0, 1])
    with pytest.raises(UserError, match=r"row 3: class 2 is none of 2; save the data set again"):
        build([path], tmp_path / "c")


def test_unknown_classes_are_no_labels(tmp_path, offline):
    corpus = corpus_of(tmp_path / "c", classes(tmp_path / "t.parquet", [0, 1, -1, None, 0, 1]))
    assert [*corpus.clips().labels] == ["low", "high", "", "", "low", "high"]


def test_without_pyarrow_a_line_names_the_extra(tmp_path, monkeypatch):
    path = parquet(tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"t\.parquet is a table; pyarrow .*pip install 'timbrel\[tables\]'"):
        build([path], tmp_path / "c")
    assert [one.name for one in tmp_path.iterdir()] == ["t.parquet"]


def test_a_worker_without_pyarrow_ends_the_build(tmp_path, monkeypatch):
    """It must not list all rows as unreadable."""
    plain = chunks._Reader.read

    def without(self, sound):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        return plain(self, sound)

    monkeypatch.setattr(chunks._Reader, "read", without)
    with pytest.raises(UserError, match=r"pip install 'timbrel\[tables\]'"):
        build([parquet(tmp_path / "t.parquet")], tmp_path / "c")


def test_sound_files_and_shards_are_read_without_pyarrow(tmp_path):
    """The import comes with a table alone."""
    script = (
        "import sys\nfrom timbrel.train.corpus.build import build\n"
        "assert not {'pyarrow', 'datasets', 'fsspec', 'aiohttp'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_package_of_hugging_face_is_not_loaded(tmp_path):
    """So it sends nothing, and decodes nothing."""
    path = parquet(tmp_path / "t.parquet")
    script = (
        "import sys\nfrom pathlib import Path\nfrom timbrel.train.corpus.build import build\n"
        "build([Path(sys.argv[1])], Path(sys.argv[2]))\n"
        "assert not {'datasets', 'huggingface_hub', 'torchcodec'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script, path, tmp_path / "c"], check=True)


# ---- memory, resumption, processes


HELD = """
import sys
from pathlib import Path
import pyarrow
from timbrel.train.corpus.columns import Columns
from timbrel.train.corpus.sources import find_stored
pool = pyarrow.default_memory_pool()
sounds = find_stored([Path(sys.argv[1])], Columns({})).by_name.values()
print(len(sounds), pool.max_memory())
print(len({sound.digest() for sound in sounds}), pool.max_memory())
"""


@pytest.mark.parametrize("groups", [1, 40])
def test_memory_holds_a_few_rows_of_a_table(tmp_path, groups):
    """Counts the most bytes that pyarrow held, of forty sounds in one group of rows, or in one each."""
    long_tones = [tone(60 + number % 12, seconds=3) for number in range(40)]
    table = pyarrow.table({"audio": [{"bytes": data, "path": "a.wav"} for data in long_tones]})
    pages = {"data_page_size": 1 << 17, "write_batch_size": 1, "use_dictionary": False}  # of a row each
    path = parquet(tmp_path / "t.parquet", table, row_group_size=40 // groups, **pages)
    ended = subprocess.run([sys.executable, "-c", HELD, path], check=True, capture_output=True, text=True)
    listed, listing_bytes, read, reading_bytes = map(int, ended.stdout.split())
    assert (listed, read) == (40, len(set(long_tones)))
    assert listing_bytes < 2 * len(long_tones[0])  # no sound is read
    assert listing_bytes < reading_bytes < 8 * len(long_tones[0]) < path.stat().st_size / 4


def test_rows_are_read_one_after_another_and_each_once(tmp_path, two_a_chunk, monkeypatch):
    """The batches that are taken for the rows of a chunk in the middle of a table."""
    path = parquet(tmp_path / "t.parquet", row_group_size=3)
    taken, plain = [], tables._Table.batches

    def counting(self, columns, parts, rows, first_row=0):
        for batch in plain(self, columns, parts, rows, first_row):
            taken.append(batch.num_rows)
            yield batch

    sounds = [*find_stored([path], Columns({})).by_name.values()]
    monkeypatch.setattr(tables._Table, "batches", counting)
    tables._reader.cache_clear()
    assert [b"".join(sound.pieces()) for sound in sounds[3:]] == [tone(note) for note in [*NOTES][3:]]
    assert sum(taken) == 3
    assert b"".join(sounds[0].pieces()) == tone(60)
    assert sum(taken) == 4


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_build_that_was_stopped_goes_on(tmp_path, two_a_chunk, monkeypatch, suffix):
    path = saved(tmp_path / f"t.{suffix}", rows_of())
    build([path], tmp_path / "whole", name="c")
    with pytest.raises(KeyboardInterrupt):
        build([path], tmp_path / "c", progress=stopping(0.6))
    read, plain = [], chunks._Reader.read
    monkeypatch.setattr(chunks._Reader, "read", lambda self, sound: read.append(sound.name) or plain(self, sound))
    build([path], tmp_path / "c")
    assert read == ["t/000004-tone64.wav", "t/000005-tone65.wav"]
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_build_that_was_killed_goes_on_and_two_processes_give_the_bytes_of_one(tmp_path, two_a_chunk, suffix):
    path = saved(tmp_path / f"t.{suffix}", rows_of())
    kill_build(path, tmp_path / "killed", 2)
    build([path], tmp_path / "killed", name="c")
    build([path], tmp_path / "whole", name="c")
    build_in_two_processes(path, tmp_path / "two", 2)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "two") == bytes_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_cluster_of_which_a_node_dies_gives_the_bytes_of_one_process(tmp_path, two_a_chunk):
    path = parquet(tmp_path / "t.parquet", rows_of(range(48, 72)), row_group_size=5)
    for side in ("shared", "alone"):
        (tmp_path / side).mkdir()
    with cluster() as (address, second):
        build([path], tmp_path / "shared" / "c", ray=address, progress=killing(second, 2), columns={"label": ""})
    build([path], tmp_path / "alone" / "c", columns={"label": ""})
    assert bytes_of(tmp_path / "shared" / "c") == bytes_of(tmp_path / "alone" / "c")
