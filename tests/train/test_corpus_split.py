"""Clips are split by groups, shares and lists."""

import json
import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import assign, build, parse_fractions

from .sounds import sine, splits_of, write


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    parts=st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)),
    seed=st.integers(0, 1000),
)
def test_groups_stay_whole_train_is_never_empty_and_shares_are_met(sizes, parts, seed):
    fractions = [part / sum(parts) for part in parts]
    groups = {f"{group}-{clip}": f"{group}" for group, size in enumerate(sizes) for clip in range(size)}
    splits = assign(groups, fractions, seed)
    assert splits == assign(dict(reversed(groups.items())), fractions, seed)
    assert all(len({splits[name] for name in groups if groups[name] == group}) == 1 for group in groups.values())
    assert "train" in splits.values()
    for split, fraction in zip(("train", "val", "test"), fractions, strict=True):
        got = sum(value == split for value in splits.values())
        assert got <= fraction * len(groups) + max(sizes)
        assert fraction > 0 or got == 0


def test_another_seed_splits_otherwise_and_the_same_seed_alike(sounds, tmp_path):
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        build([sounds], tmp_path / name, split="0.5/0.25/0.25", seed=seed)
    assert splits_of(tmp_path / "a") == splits_of(tmp_path / "b") != splits_of(tmp_path / "c")


def test_clips_that_share_a_group_are_never_parted(tmp_path):
    for take in range(6):
        for part in range(3):
            write(tmp_path / "sounds" / f"take{take}-{part}.wav", sine(300 + 10 * take + part, seconds=0.1))
    for number, group in enumerate((r"take(\d)-\d", r"take\d", r"(?:(x)|take\d)")):
        build([tmp_path / "sounds"], tmp_path / str(number), split="0.4/0.3/0.3", group=group)
        splits = splits_of(tmp_path / str(number))
        assert len(set(splits.values())) == 3
        assert all(len({splits[f"take{take}-{part}.wav"] for part in range(3)}) == 1 for take in range(6))


def test_a_split_file_is_followed_and_unlisted_sounds_are_left_out(sounds, tmp_path):
    shutil.move(sounds / "tone_60.wav", tmp_path / "sounds" / "sub.wav")
    write(sounds / "deep" / "x.wav")
    listing = {
        "note": "by hand",
        "train": ["tone_61.wav", "x.wav"],
        "val": ["tone_62.wav"],
        "test": ["tone_63.wav"],
    }
    (tmp_path / "split.json").write_text(json.dumps(listing))
    report = build([sounds], tmp_path / "corpus", split=str(tmp_path / "split.json"))
    assert splits_of(tmp_path / "corpus") == {
        "deep/x.wav": "train",
        "tone_61.wav": "train",
        "tone_62.wav": "val",
        "tone_63.wav": "test",
    }
    assert report.left_out == 7
    assert report.split_clips == {"train": 2, "val": 1, "test": 1}


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (None, "does not exist"),
        ("no json", "is not JSON with lists of names"),
        ('{"train": "tone_60.wav"}', "is not JSON with lists of names"),
        ('{"train": ["tone_60.wav"], "test": ["tone_60.wav"]}', "lists 'tone_60.wav' under train and test"),
        ('{"train": [], "test": ["tone_60.wav"]}', "nothing under train"),
        ('{"train": []}', "10 not listed in the split file"),
        ('{"train": ["tone_60.wav"], "test": ["gone.wav"]}', "lists names that no sound has ('gone.wav'); correct or"),
        ('{"train": ["a", "b", "c", "d", "e"]}', "no sound has ('a', 'b', 'c' and 2 more)"),
    ],
)
def test_a_split_file_that_cannot_be_followed_is_refused(sounds, tmp_path, listing, message):
    path = tmp_path / "split.json"
    if listing is not None:
        path.write_text(listing)
    with pytest.raises(UserError, match=re.escape(message)):
        build([sounds], tmp_path / "corpus", split=str(path))
    assert not (tmp_path / "corpus").exists()


def test_a_split_file_may_list_sounds_that_a_growing_corpus_has(sounds, tmp_path):
    listing = {"train": ["tone_60.wav", "tone_61.wav"], "test": ["new.wav"]}
    (tmp_path / "split.json").write_text(json.dumps(listing))
    build([sounds], tmp_path / "corpus")
    new_path = write(tmp_path / "new.wav")
    build([new_path], tmp_path / "corpus", split=str(tmp_path / "split.json"), append=True)
    assert splits_of(tmp_path / "corpus")["new.wav"] == "test"


def test_thirds_to_two_places_are_a_split():
    assert parse_fractions("0.33/0.33/0.33") == (0.33, 0.33, 0.33)


@pytest.mark.parametrize(
    "text",
    ["", "1", "0.5/0.5", "0.5/0.5/0.5", "0.5/0.3/0.18", "0/0.5/0.5", "1.2/-0.1/-0.1", "a/b/c", "nan/0/1", "1/0/0/0"],
)
def test_fractions_that_are_no_split_are_refused(text):
    with pytest.raises(UserError, match="three fractions"):
        parse_fractions(text)
