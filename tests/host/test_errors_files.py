"""Errors, hints and outputs: what exists is kept, what fails leaves nothing, what appears is a file like any other."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import Failure, TimbrelError, UserError, nearest, without_secrets
from timbrel.host.files import (
    as_on_disk,
    building_folder,
    check_new_folder,
    check_output,
    check_regular,
    replacing,
    replacing_folder,
    stamp,
)
from timbrel.host.units import PITCH_CLASSES, db_to_gain, gain_to_db, note_name, octave_of, semitones_to_ratio


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:key@host/a.wav does not exist", "https://host/a.wav does not exist"),
        ("no file https:/me:key@host/a.wav, https:key@host", "no file https:/host/a.wav, https:host"),
        ("'ftp://a:b@c/d' and s3://k:s@bucket", "'ftp://c/d' and s3://bucket"),
        ("https://host/a.wav?key=x&y=%20: gone", "https://host/a.wav: gone"),
        ("(https://host/a?key=x).", "(https://host/a)."),
        (
            "a@b.wav, C:\\x@y.wav, why?, http://host/a@b and x:y@z",
            "a@b.wav, C:\\x@y.wav, why?, http://host/a@b and x:y@z",
        ),
    ],
)
def test_messages_show_no_user_password_or_query_of_an_address(text, shown):
    assert without_secrets(text) == shown


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_the_user_gave_is_status_2_and_what_broke_is_status_1():
    assert (UserError("x").exit_status, Failure("x").exit_status) == (2, 1)
    assert issubclass(UserError, TimbrelError)
    assert issubclass(Failure, TimbrelError)


def test_the_nearest_word_is_offered_and_where_none_is_near_all_are():
    assert nearest("resverb", ["Reverb", "reverb", "delay"]) == "; did you mean 'reverb'?"
    assert nearest("xyz", ["b", "a"]) == "; known: a, b"
    assert nearest("xyz", []) == ""


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=10), max_size=5))
def test_a_hint_names_only_what_exists(word, known):
    hint = nearest(word, known)
    assert any(name in hint or repr(name) in hint for name in known) or (hint == "" and not known)


def test_an_output_in_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "does not exist; make it first" in refusal(check_output, tmp_path / "none" / "out.wav")
    (tmp_path / "file").write_text("")
    assert "does not exist" in refusal(check_output, tmp_path / "file" / "out.wav")


def test_an_output_that_is_a_folder_is_refused_even_to_overwrite(tmp_path):
    for overwrite in (False, True):
        assert "it is a folder" in refusal(check_output, tmp_path, overwrite)


def test_an_output_that_exists_is_refused_unless_overwritten(tmp_path):
    path = tmp_path / "out.wav"
    path.write_text("mine")
    assert "--overwrite" in refusal(check_output, path)
    check_output(path, overwrite=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs devices and pipes as files")
def test_devices_pipes_and_large_files_are_refused_before_they_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # who opened it would wait for ever
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        assert "is no regular file but a device, a pipe or a socket" in refusal(check_regular, path, 1 << 20)
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 20)
    check_regular(path, 1 << 20)
    os.truncate(path, (3 << 20) + 1)
    assert refusal(check_regular, path, 1 << 20) == f"{path} has 3 MiB, at most 1 are read; give a smaller file"
    check_regular(tmp_path / "none", 0)
    check_regular(tmp_path, 0)


def test_a_folder_without_the_right_to_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert "no right to write" in refusal(check_output, tmp_path / "out.wav")
    assert "no right to write" in refusal(check_new_folder, tmp_path / "new")


def test_a_file_appears_whole_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "out.wav"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".wav"
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, UserError])
def test_what_stops_a_block_leaves_nothing_and_keeps_what_was_there(tmp_path, error):
    path = tmp_path / "out.wav"
    path.write_text("mine")

    def stop():
        with replacing(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error):
        stop()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.wav", "mine")]


def test_a_full_disk_is_a_failure_that_names_the_file(tmp_path):
    said = r"out\.wav: No space left on device; nothing was kept"
    with pytest.raises(Failure, match=said), replacing(tmp_path / "out.wav"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_larger_than_allowed_is_one_failure_in_a_real_process(tmp_path):
    code = f"""
        import resource, signal
        from pathlib import Path
        from timbrel.host.errors import Failure
        from timbrel.host.files import replacing
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with replacing(Path({str(tmp_path / "out.bin")!r})) as temporary:
                temporary.write_bytes(b"x" * 5000)
        except Failure as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "out.bin: File too large; nothing was kept" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 251 + ".wav", "音" * 83 + ".wav", "ab" + "音" * 83 + ".w", "a." + "b" * 253])
def test_the_longest_names_that_a_disk_allows_are_written(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("whole")
    with building_folder(tmp_path / name[::-1]) as temporary:
        (temporary / "part").write_text("")
    assert {path.name for path in tmp_path.iterdir()} == {name, name[::-1]}


def write_twice(open_output, path):
    """Write a file, or a folder of one, to a name that another program takes meanwhile."""

    def write_both():
        with open_output(path) as second:
            with open_output(path) as first:
                (first / "part" if first.is_dir() else first).write_text("first")
            (second / "part" if second.is_dir() else second).write_text("second")

    said = refusal(write_both)
    assert said == f"another program has written {path} meanwhile; this output is {path.with_name('out-2.wav')}"
    files = [file for file in path.parent.rglob("*") if file.is_file()]
    assert {file.relative_to(path.parent).parts[0]: file.read_text() for file in files} == {
        "out.wav": "first",
        "out-2.wav": "second",
    }


COMPOSED, DECOMPOSED = "Fl\u00f6te", "Flo\u0308te"


@pytest.mark.parametrize(("given_name", "name"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_name_may_compose_its_letters_otherwise_than_the_disk(tmp_path, given_name, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.wav").touch()
    found = as_on_disk(tmp_path / given_name / f"{given_name}.wav")
    if (tmp_path / given_name).exists():
        pytest.skip("this disk takes both for one name")
    assert found == tmp_path / name / f"{name}.wav"
    (tmp_path / given_name).mkdir()
    assert as_on_disk(tmp_path / given_name) == tmp_path / given_name  # the exact name first


def test_a_name_that_two_files_may_mean_stays_as_it_is(tmp_path):
    for name in ("e\u0323\u0302", "\u1eb9\u0302"):  # two of the three spellings of one letter
        (tmp_path / name).touch()
    assert as_on_disk(tmp_path / "\u1ec7") == tmp_path / "\u1ec7"
    assert as_on_disk(tmp_path / "\u00e4") == tmp_path / "\u00e4"


@pytest.mark.parametrize("open_output", [replacing, building_folder])
def test_of_two_outputs_to_one_name_at_once_neither_is_lost(tmp_path, open_output):
    write_twice(open_output, tmp_path / "out.wav")


def test_a_disk_without_hard_links_keeps_both_outputs_too(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_twice(replacing, tmp_path / "out.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UserError, match="it is a device, a pipe or a socket; give a file name"):
        check_output(tmp_path / "pipe.wav", overwrite=True)
    with pytest.raises(UserError, match="is a device"), replacing(tmp_path / "pipe.wav", overwrite=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.wav"]
    assert (tmp_path / "pipe.wav").is_fifo()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("build", [building_folder, replacing_folder])
def test_a_link_to_a_folder_leads_to_the_new_content(tmp_path, build):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with build(tmp_path / "link") as temporary:
        (temporary / "whole").write_text("")
    assert (tmp_path / "link").readlink() == Path("disk")
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["whole"]


def test_outputs_get_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with replacing(tmp_path / "out") as temporary:
        temporary.write_text("")
    with building_folder(tmp_path / "folder"):
        pass
    (tmp_path / "plain folder").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "folder").stat().st_mode == (tmp_path / "plain folder").stat().st_mode


def test_new_folders_are_refused_where_something_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("")
    assert "a file has that name" in refusal(check_new_folder, tmp_path / "file")
    assert "is not empty" in refusal(check_new_folder, tmp_path / "full")
    assert "does not exist; make it first" in refusal(check_new_folder, tmp_path / "none" / "new")
    (tmp_path / "empty").mkdir()
    check_new_folder(tmp_path / "empty")
    check_new_folder(tmp_path / "new")


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_takes_its_name_only_when_it_is_finished(tmp_path, exists):
    path = tmp_path / "corpus"
    if exists:
        path.mkdir()

    def fail():
        with building_folder(path) as temporary:
            (temporary / "half").write_text("")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert path.exists() == exists
    assert len(list(tmp_path.iterdir())) == exists
    with building_folder(path) as temporary:
        (temporary / "whole").write_text("")
    assert [file.name for file in path.iterdir()] == ["whole"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_while_building_a_folder_is_a_failure(tmp_path):
    with pytest.raises(Failure, match="corpus: No space left on device"), building_folder(tmp_path / "corpus"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_takes_the_place_of_one_of_its_size_and_time_has_another_stamp(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for path in (old, new):
        path.write_bytes(b"1234")
        os.utime(path, ns=(10**18, 10**18))
    before = stamp(old)
    assert stamp(old) == before
    new.replace(old)
    assert stamp(old) != before
    assert stamp(tmp_path / "none") is None


@given(st.floats(-120, 40, allow_subnormal=False))
def test_decibels_turn_into_gains_and_back(level_db):
    assert gain_to_db(db_to_gain(level_db)) == pytest.approx(level_db, abs=1e-9)


def test_notes_and_intervals_have_their_names_and_ratios():
    assert [note_name(note) for note in (0, 21, 60, 61, 69, 108, 127)] == ["C-1", "A0", "C4", "C#4", "A4", "C8", "G9"]
    assert [octave_of(note) for note in (0, 59, 60, 127)] == [-1, 3, 4, 9]
    assert semitones_to_ratio(12) == 2
    assert semitones_to_ratio(-7) == pytest.approx(2 / 3, rel=0.002)
    assert len(PITCH_CLASSES) == 12
    assert gain_to_db(0) == -float("inf")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027])
def test_new_files_are_as_readable_as_others_of_the_user(tmp_path, mask):
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "new") as path:
            path.write_text("new", encoding="utf-8")
        (tmp_path / "plain").touch()
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
