"""A build goes on after a stop, by any number of processes, and adds sounds to a corpus."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.errors import Failure, UserError
from timbrel.train.corpus import chunks
from timbrel.train.corpus.build import build
from timbrel.train.corpus.store import Corpus
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.run import Run

from ..export.clusters import cluster, killing
from .builds import build_in_two_processes, bytes_of, kill_build, stopping
from .looped import loop, loops_of
from .loops import CPU
from .sounds import sine, write

HALVES = "0.5/0.25/0.25"


@pytest.fixture
def counted(monkeypatch):
    """Names of the files that were decoded."""
    read, plain = [], chunks._Reader.read

    def counting(self, sound):
        read.append(sound.name)
        return plain(self, sound)

    monkeypatch.setattr(chunks._Reader, "read", counting)
    return read


@pytest.fixture
def mixed(sounds):
    """Ten tones in four chunks; one is broken, one silent, one short, and one a copy of a tone in another chunk."""
    (sounds / "tone_62.wav").write_bytes(b"no sound")
    write(sounds / "tone_63.wav", np.zeros(44100, np.float32))
    write(sounds / "tone_64.wav", sine(seconds=0.01))
    shutil.copy(sounds / "tone_60.wav", sounds / "tone_69.wav")
    return sounds


def test_a_build_that_was_stopped_goes_on(mixed, tmp_path, three_a_chunk, counted):
    report = build([mixed], tmp_path / "whole", name="c")
    assert sorted(counted) == sorted(path.name for path in mixed.iterdir())
    counted.clear()
    with pytest.raises(KeyboardInterrupt):
        build([mixed], tmp_path / "c", progress=stopping(0.65))
    counted.clear()
    with pytest.raises(UserError, match="is not finished: its build was stopped; run the same command again"):
        Corpus.open(tmp_path / "c")
    again = build([mixed], tmp_path / "c")
    assert counted == [f"tone_{note}.wav" for note in (66, 67, 68, 69)]
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")
    assert again == report
    assert list(report.unreadable) == ["tone_62.wav"]
    assert (report.silent, report.too_short) == (["tone_63.wav"], ["tone_64.wav"])
    assert report.identical == {"tone_69.wav": "tone_60.wav"}
    assert len(Corpus.open(tmp_path / "c").clips()) == 6


def test_a_file_that_changed_since_is_read_again(sounds, tmp_path, three_a_chunk, counted):
    with pytest.raises(KeyboardInterrupt):
        build([sounds], tmp_path / "c", progress=stopping(0.5))
    counted.clear()
    write(sounds / "tone_60.wav", sine(900.0))
    build([sounds], tmp_path / "c")
    assert {"tone_60.wav", "tone_61.wav", "tone_62.wav"} <= set(counted)
    assert "tone_63.wav" not in counted
    opened = Corpus.open(tmp_path / "c")
    assert np.nanmedian(opened.pitch(opened.clips()[0])) == pytest.approx(69 + 12 * np.log2(900 / 440), abs=0.05)


def test_other_settings_read_all_again(sounds, tmp_path, three_a_chunk, counted):
    with pytest.raises(KeyboardInterrupt):
        build([sounds], tmp_path / "c", progress=stopping(0.5))
    counted.clear()
    build([sounds], tmp_path / "c", rate=22050)
    assert len(counted) == 10
    assert Corpus.open(tmp_path / "c").rate == 22050
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        *(f"audio-0000{number}.f32" for number in range(4)), "clips-1", "corpus.json",
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["00001.json", "audio-00001.f32"])
def test_a_damaged_chunk_is_read_again(sounds, tmp_path, three_a_chunk, counted, damage):
    with pytest.raises(KeyboardInterrupt):
        build([sounds], tmp_path / "c", progress=stopping(0.65))
    (file,) = (path for path in (tmp_path / "c").rglob("*") if path.name.endswith(damage))
    file.write_bytes(file.read_bytes()[:-5])
    counted.clear()
    build([sounds], tmp_path / "c", name="whole")
    assert sorted(counted) == [f"tone_{note}.wav" for note in (63, 64, 65, 66, 67, 68, 69)]
    build([sounds], tmp_path / "whole")
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


def test_two_processes_give_the_bytes_of_one(mixed, tmp_path, three_a_chunk):
    build([mixed], tmp_path / "1", name="c")
    build_in_two_processes(mixed, tmp_path / "2", 3)
    assert bytes_of(tmp_path / "2") == bytes_of(tmp_path / "1")


def test_a_build_that_was_killed_goes_on(sounds, tmp_path, three_a_chunk):
    write(sounds / "tone_61.wav", np.stack([sine(300), sine(500)], 1))
    kill_build(sounds, tmp_path / "c", 3)
    build([sounds], tmp_path / "c")
    build([sounds], tmp_path / "whole", name="c")
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


def test_a_full_disk_is_a_failure_after_which_a_build_goes_on(sounds, tmp_path, three_a_chunk, counted):
    resource = pytest.importorskip("resource")
    write(sounds / "tone_69.wav", sine(seconds=3))
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        with pytest.raises(
            Failure, match=r"cannot write .*audio-00003\.f32: File too large; make room, and run the same"
        ):
            build([sounds], tmp_path / "c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    counted.clear()
    assert build([sounds], tmp_path / "c").clips == 10
    assert counted == ["tone_69.wav"]


def test_a_build_that_can_use_nothing_leaves_nothing(tmp_path):
    write(tmp_path / "sounds" / "a.wav", np.zeros(44100, np.float32))
    with pytest.raises(UserError, match="1 silent"):
        build([tmp_path / "sounds"], tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


# ---- appending


def test_a_corpus_grows_by_the_sounds_that_it_lacks(sounds, tmp_path, counted):
    build([sounds], tmp_path / "c", split=HALVES, label="(tone)", licence="CC0")
    first = Corpus.open(tmp_path / "c")
    before = [
        (clip.name, clip.split, np.array(first.samples(clip)), np.array(first.pitch(clip))) for clip in first.clips()
    ]
    for note in range(70, 80):
        write(sounds / f"tone_{note}.wav", sine(440 * 2 ** ((note - 69) / 12)))
    shutil.copy(sounds / "tone_60.wav", sounds / "a copy.wav")
    counted.clear()
    report = build([sounds], tmp_path / "c", split=HALVES, label="(tone)", append=True)
    assert sorted(counted) == ["a copy.wav", *(f"tone_{note}.wav" for note in range(70, 80))]
    grown = Corpus.open(tmp_path / "c")
    for clip, (name, split, samples, pitch) in zip(grown.clips(), before, strict=False):
        assert (clip.name, clip.split) == (name, split)
        assert np.array_equal(grown.samples(clip), samples)
        assert np.array_equal(grown.pitch(clip), pitch, equal_nan=True)
    assert [*grown.clips().names][10:] == [f"tone_{note}.wav" for note in range(70, 80)]
    assert [len(grown.clips(split)) for split in ("train", "val", "test")] == [10, 5, 5]
    assert (report.clips, report.labels, report.identical) == (20, {"tone": 20}, {"a copy.wav": "tone_60.wav"})
    assert report.seconds == pytest.approx(grown.seconds())
    assert report == grown.report
    assert (grown.name, grown.licence) == ("c", "CC0")
    assert set(grown.files) == {path.name for path in sounds.iterdir()}
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "audio-00000.f32", "audio-00001.f32", "clips-2", "corpus.json",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"group": "[0-9]+"}], ids=["left out", "given again"])
def test_clips_of_one_group_stay_in_its_split(sounds, tmp_path, options):
    build([sounds], tmp_path / "c", split=HALVES, group=r"[0-9]+")
    before = {clip.group: clip.split for clip in Corpus.open(tmp_path / "c").clips()}
    for note in range(60, 70):
        write(sounds / f"again_{note}.wav", sine(440 * 2 ** ((note - 69) / 12), phase=1.0))
    with pytest.raises(UserError, match=r"--group '\(tone\)' differs from '\[0-9\]\+', that of .*; leave it out"):
        build([sounds], tmp_path / "c", split=HALVES, group="(tone)", append=True)
    build([sounds], tmp_path / "c", split=HALVES, append=True, **options)
    clips = Corpus.open(tmp_path / "c").clips()
    assert len(clips) == 20
    assert {(clip.group, clip.split) for clip in clips} == set(before.items())


def test_a_stopped_append_leaves_the_corpus_and_goes_on(sounds, tmp_path, three_a_chunk, counted):
    build([sounds / "tone_60.wav"], tmp_path / "c", name="c")
    shutil.copytree(tmp_path / "c", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        build([sounds], tmp_path / "c", append=True, progress=stopping(0.65))
    assert [*Corpus.open(tmp_path / "c").clips().names] == ["tone_60.wav"]
    counted.clear()
    build([sounds], tmp_path / "c", append=True)
    assert len(counted) == 3
    build([sounds], tmp_path / "whole", append=True)
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 22050}, "--rate 22050 differs from 44100 Hz"),
        ({"name": "other"}, "--name 'other' differs from 'c'"),
        ({"licence": "MIT"}, "--licence 'MIT' differs from 'CC0'"),
        ({"loops": True}, "loops of one grid cannot be added"),
        ({}, "has all these sounds already"),
    ],
)
def test_options_that_do_not_fit_the_corpus_are_refused(sounds, tmp_path, options, said):
    build([sounds], tmp_path / "c", licence="CC0")
    before = bytes_of(tmp_path / "c")
    if options:
        write(sounds / "new.wav", sine(seconds=1))
    with pytest.raises(UserError, match=said):
        build([sounds], tmp_path / "c", append=True, **options)
    assert bytes_of(tmp_path / "c") == before


def test_another_sound_of_a_known_name_is_refused(sounds, tmp_path):
    build([sounds], tmp_path / "c")
    before = bytes_of(tmp_path / "c")
    write(sounds / "tone_60.wav", sine(900.0))
    with pytest.raises(UserError, match=r"tone_60\.wav differs from the sound of that name"):
        build([sounds], tmp_path / "c", append=True)
    assert bytes_of(tmp_path / "c") == before


def test_a_corpus_that_is_there_is_not_replaced(sounds, tmp_path):
    build([sounds], tmp_path / "c")
    before = bytes_of(tmp_path / "c")
    with pytest.raises(UserError, match="holds a corpus; add sounds to it with --append"):
        build([sounds], tmp_path / "c")
    assert bytes_of(tmp_path / "c") == before


def test_a_place_where_no_folder_can_be_made_is_named(sounds, tmp_path):
    (tmp_path / "c").symlink_to(tmp_path / "nowhere" / "else")
    (tmp_path / "nowhere").touch()
    with pytest.raises(UserError, match=r"cannot make folder .*/c: .*; choose another place"):
        build([sounds], tmp_path / "c")


def test_nothing_is_added_to_a_corpus_that_is_not_there(sounds, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        build([sounds], tmp_path / "c", append=True)
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_a_killed_worker_ends_a_build_in_a_line_and_it_goes_on(sounds, tmp_path, monkeypatch):
    psutil = pytest.importorskip("psutil")
    command = [sys.executable, "-c", (
        "import sys\nfrom pathlib import Path\nfrom timbrel.train.corpus import chunks\n"
        "from timbrel.train.corpus.build import build\n"
        "chunks.CHUNK_FILES = 1\nbuild([Path(sys.argv[1])], Path(sys.argv[2]), name='c', workers=2)"
    ), sounds, tmp_path / "c"]  # fmt: skip
    for note in range(70, 90):
        write(sounds / f"tone_{note}.wav", sine(440 * 2 ** ((note - 69) / 12), seconds=4))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        parent = psutil.Process(process.pid)
        while not list((tmp_path / "c").glob("audio-*")):
            time.sleep(0.01)
        workers = [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]
        with contextlib.suppress(psutil.NoSuchProcess):
            workers[0].kill()
        _, said = process.communicate(timeout=60)
    assert "a worker died" in said
    assert subprocess.run(command, check=False).returncode == 0
    monkeypatch.setattr(chunks, "CHUNK_FILES", 1)
    build([sounds], tmp_path / "whole", name="c")
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_cluster_gives_the_bytes_of_one_process(mixed, tmp_path, three_a_chunk, monkeypatch):
    for side in ("shared", "alone"):
        (tmp_path / side).mkdir()
    with cluster() as (address, second):
        monkeypatch.chdir(tmp_path / "shared")
        report = build([mixed], Path("c"), ray=address, progress=killing(second, 2))
    assert build([mixed], tmp_path / "alone" / "c") == report
    assert bytes_of(tmp_path / "shared" / "c") == bytes_of(tmp_path / "alone" / "c")


def test_two_builds_into_one_folder_are_refused(sounds, tmp_path, three_a_chunk, counted):
    def second(share, name):
        with pytest.raises(UserError, match=r"another timbrel is writing into .*/c; wait until it ends"):
            build([sounds], tmp_path / "c")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build([sounds], tmp_path / "c", progress=second)
    assert build([sounds], tmp_path / "c").clips == 10
    assert len(counted) == 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ray": "127.0.0.1:9"}, "no Ray cluster answers"),
        ({"label": "nothing"}, "matches in no file's name"),
        ({"rate": 1}, "out of range"),
    ],
)
def test_a_wrong_option_deletes_nothing_that_was_read(sounds, tmp_path, three_a_chunk, counted, options, said):
    with pytest.raises(KeyboardInterrupt):
        build([sounds], tmp_path / "c", progress=stopping(0.65))
    with pytest.raises(UserError, match=said):
        build([sounds], tmp_path / "c", **options)
    counted.clear()
    build([sounds], tmp_path / "c")
    assert len(counted) == (10 if "label" in options else 4)  # another label reads all again


def test_a_wrong_option_of_a_new_corpus_leaves_nothing(sounds, tmp_path):
    with pytest.raises(UserError, match="no Ray cluster answers"):
        build([sounds], tmp_path / "c", ray="127.0.0.1:9")
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


@pytest.mark.parametrize("change", ["label", "group", "shortest_seconds", "melodies", "sfz"])
def test_whatever_decides_a_clip_reads_its_file_again(sounds, tmp_path, three_a_chunk, counted, change):
    with pytest.raises(KeyboardInterrupt):
        build([sounds], tmp_path / "c", progress=stopping(0.65))
    counted.clear()
    options = {"label": "(tone)", "group": "tone", "shortest_seconds": 0.2, "melodies": True}
    asked = {change: options[change]} if change in options else {}
    if change == "sfz":
        (sounds / "tones.sfz").write_text("<region> sample=tone_60.wav key=72 hivel=40\n")
    build([sounds], tmp_path / "c", name="whole", **asked)
    assert "tone_60.wav" in counted
    build([sounds], tmp_path / "whole", **asked)
    assert bytes_of(tmp_path / "c") == bytes_of(tmp_path / "whole")


def test_a_file_that_changes_while_it_is_read_ends_the_build(sounds, tmp_path, monkeypatch):
    plain = chunks._Reader.read

    def changed(self, sound):
        found = plain(self, sound)
        if sound.name == "tone_63.wav":
            write(sound.stored.path, sine(900.0))
        return found

    monkeypatch.setattr(chunks._Reader, "read", changed)
    with pytest.raises(Failure, match=r"tone_63\.wav changed while it was read; run the same command again"):
        build([sounds], tmp_path / "c")


def test_unreadable_sources_do_not_stop_a_build(sounds, tmp_path, monkeypatch):
    """Files of other users, and ones that vanish."""
    plain = Path.open

    def refused(self, *arguments, **options):
        if self.name == "tone_61.wav":
            raise PermissionError(13, "Permission denied")
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    report = build([sounds], tmp_path / "c")
    assert report.unreadable == {"tone_61.wav": "Permission denied"}
    assert report.clips == 9


def test_a_name_that_is_no_utf8_is_listed_and_others_are_read(sounds, tmp_path):
    bad = os.fsencode(sounds) + b"/caf\xe9.wav"
    Path(os.fsdecode(bad)).write_bytes((sounds / "tone_60.wav").read_bytes())
    report = build([sounds], tmp_path / "c")
    assert report.unreadable == {"caf\ufffd.wav": "has a name that is no UTF-8; rename it"}
    assert report.clips == 10


def test_a_repaired_sound_is_added(sounds, tmp_path):
    good = (sounds / "tone_63.wav").read_bytes()
    (sounds / "tone_63.wav").write_bytes(b"junk")
    build([sounds], tmp_path / "c")
    (sounds / "tone_63.wav").write_bytes(good)
    build([sounds], tmp_path / "c", append=True)
    assert [*Corpus.open(tmp_path / "c").clips().names][-1] == "tone_63.wav"


def test_copies_alone_add_nothing(sounds, tmp_path):
    build([sounds], tmp_path / "c")
    before = bytes_of(tmp_path / "c")
    shutil.copy(sounds / "tone_60.wav", tmp_path / "copy.wav")
    with pytest.raises(UserError, match="grows by none of these sounds: they are copies of its own"):
        build([tmp_path / "copy.wav"], tmp_path / "c", append=True)
    assert bytes_of(tmp_path / "c") == before


def test_loops_and_labels_are_not_mixed_with_what_has_none(sounds, tmp_path):
    build([sounds], tmp_path / "labelled", label="(tone)")
    write(sounds / "new.wav", sine(seconds=1))
    with pytest.raises(UserError, match="have labels; give --label"):
        build([sounds], tmp_path / "labelled", append=True)
    loops = loops_of(tmp_path / "loops", [loop(0), loop(1)])
    with pytest.raises(UserError, match="is of loops on one grid, and grows by none"):
        build([sounds], loops.folder, append=True, rate=loops.rate)
    assert Corpus.open(loops.folder).loops == loops.loops


def test_marks_of_dynamics_count_beside_those_of_the_corpus(tmp_path):
    for number, mark in enumerate(("pp", "mf", "ff")):
        write(tmp_path / "sounds" / f"a_{mark}_{number}.wav", sine(400.0 + number))
    build([tmp_path / "sounds"], tmp_path / "c")
    write(tmp_path / "more" / "b_ff_7.wav", sine(700.0))
    build([tmp_path / "more"], tmp_path / "c", append=True)
    assert [clip.velocity for clip in Corpus.open(tmp_path / "c").clips()] == [112, 80, 32, 112]


def test_a_run_goes_on_with_the_clips_that_it_began_with(sounds, tmp_path, fewer):
    build([sounds], tmp_path / "c")
    recipe = load_recipe("tuned-8", [*fewer, "training.steps=5"])
    start(recipe, tmp_path / "c", tmp_path / "run", CPU)
    before = [*Run.open(tmp_path / "run").corpus().clips().names]
    write(sounds / "new.wav", sine(seconds=1))
    build([sounds], tmp_path / "c", append=True)
    assert [*Run.open(tmp_path / "run").corpus().clips().names] == before
    shutil.rmtree(tmp_path / "c")
    build([sounds / "new.wav", sounds / "tone_60.wav"], tmp_path / "c")
    with pytest.raises(UserError, match=r"has other clips than the 10 that run .* was begun with"):
        Run.open(tmp_path / "run").corpus()


@pytest.mark.parametrize("change", [{"seed": 1}, {"label": "(tone)"}], ids=["splits", "labels"])
def test_a_run_refuses_the_same_sounds_in_other_splits_or_with_other_labels(sounds, tmp_path, fewer, change):
    build([sounds], tmp_path / "c", split=HALVES)
    start(load_recipe("tuned-8", [*fewer, "training.steps=5"]), tmp_path / "c", tmp_path / "run", CPU)
    shutil.rmtree(tmp_path / "c")
    build([sounds], tmp_path / "c", split=HALVES)
    run = Run.open(tmp_path / "run")
    run.corpus()
    shutil.rmtree(tmp_path / "c")
    build([sounds], tmp_path / "c", split=HALVES, **change)
    with pytest.raises(UserError, match=r"has other clips than the 10 that run .* or other splits or labels"):
        run.corpus()
    Run(run.folder, run.recipe, run.info.model_copy(update={"clips_digest": None})).corpus()  # of an earlier timbrel
