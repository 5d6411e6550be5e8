"""Clips are labelled by their folders or their names, and short ones are kept where that is asked for."""

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import build
from timbrel.train.corpus.file_names import velocities
from timbrel.train.corpus.store import Corpus

from .sounds import RATE, sine, write


@pytest.fixture
def hits(tmp_path):
    """Two folders of sounds, and a sound beside them."""
    for name in ("kick/BD_01", "kick/BD_02", "clap/cp_1", "loose_7"):
        write(tmp_path / "hits" / f"{name}.wav")
    return tmp_path / "hits"


def labels(folder):
    return {clip.name: clip.label for clip in Corpus.open(folder).clips()}


def refused(*arguments, **named):
    with pytest.raises(UserError) as caught:
        build(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_label_what_lies_in_them_the_given_one_too(hits, tmp_path):
    build([hits], tmp_path / "corpus", label="folder")
    assert labels(tmp_path / "corpus") == {
        "clap/cp_1.wav": "clap",
        "kick/BD_01.wav": "kick",
        "kick/BD_02.wav": "kick",
        "loose_7.wav": "hits",
    }
    build([hits / "kick"], tmp_path / "kicks", label="folder")
    assert set(labels(tmp_path / "kicks").values()) == {"kick"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[a-zA-Z]+", ["BD", "BD", "cp", "loose"]),
        ("_0?([0-9])", ["1", "2", "1", "7"]),
        ("^BD|^(cp)", ["BD", "BD", "cp", ""]),  # of a group that has no part in the match, the whole
        ("kick", None),
    ],
)
def test_an_expression_labels_by_what_it_matches_in_the_names_of_files(hits, tmp_path, pattern, expected):
    if expected is None:  # it stands in a folder's name alone
        message = refused([hits], tmp_path / "corpus", label=pattern)
        assert "'kick' matches in no file's name (such as cp_1.wav, BD_01.wav)" in message
        return
    build([hits], tmp_path / "corpus", label=pattern)
    found = labels(tmp_path / "corpus")
    assert [found[f"{name}.wav"] for name in ("kick/BD_01", "kick/BD_02", "clap/cp_1", "loose_7")] == expected


def test_the_report_counts_the_clips_of_each_label_and_those_without(hits, tmp_path):
    report = build([hits], tmp_path / "corpus", label="^BD|^cp")
    assert report.labels == {"": 1, "BD": 2, "cp": 1}
    assert (
        "labels           2\n  BD: 2\n  cp: 1\n\nno label         1  neither their names nor their data sets have one"
        in report.text()
    )
    assert "label" not in build([hits], tmp_path / "plain").text()
    assert set(labels(tmp_path / "plain").values()) == {""}


def test_an_expression_that_is_none_is_refused(hits, tmp_path):
    message = refused([hits], tmp_path / "corpus", label="(")
    assert "label '(' is no regular expression" in message
    assert "for example" in message


@pytest.mark.parametrize("count", [4095, 1200, 441])
def test_short_sounds_are_left_out_or_kept_as_they_are_asked_for(tmp_path, count):
    short = sine(seconds=1)[:count]
    write(tmp_path / "sounds" / "short.wav", short, subtype="FLOAT")
    write(tmp_path / "sounds" / "long.wav")
    assert build([tmp_path / "sounds"], tmp_path / "without").too_short == ["short.wav"]
    assert build([tmp_path / "sounds"], tmp_path / "with", shortest_seconds=0.01).clips == 2
    corpus = Corpus.open(tmp_path / "with")
    clip = next(clip for clip in corpus.clips() if clip.name == "short.wav")
    assert np.array_equal(corpus.samples(clip), short)
    assert len(corpus.pitch(clip)) == -(-count // 1024)


def test_silence_around_a_short_sound_is_cut_to_what_a_clip_must_last(tmp_path):
    sound = np.concatenate([np.zeros(RATE // 2), sine(seconds=0.1), np.zeros(RATE // 2)]).astype(np.float32)
    write(tmp_path / "sounds" / "hit.wav", sound)
    build([tmp_path / "sounds"], tmp_path / "corpus", shortest_seconds=0.05)
    (clip,) = Corpus.open(tmp_path / "corpus").clips()
    assert clip.length == pytest.approx(0.1 * RATE, abs=0.02 * RATE)


def test_sounds_of_several_rates_are_counted_and_those_of_one_are_not(tmp_path):
    for number, rate in enumerate((44100, 22050, 44100)):
        write(tmp_path / "sounds" / f"{number}.wav", rate=rate)
    text = build([tmp_path / "sounds"], tmp_path / "corpus", rate=16000).text()
    assert "rates            2  all made one\n  44100 Hz: 2\n  22050 Hz: 1" in text
    assert {clip.length for clip in Corpus.open(tmp_path / "corpus").clips()} == {8000}
    assert "rates" not in build([tmp_path / "sounds" / "0.wav"], tmp_path / "one").text()


@pytest.mark.parametrize("seconds", [0.0, 0.004, 11.0, float("nan")])
def test_a_shortest_length_that_makes_no_sense_is_refused(hits, tmp_path, seconds):
    assert "0.005 to 10 s are allowed" in refused([hits], tmp_path / "corpus", shortest_seconds=seconds)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a_C4_pianissimo_x.wav", "a_C4_mezzo-forte_x.wav", "a_C4_none.wav"], [32, 80, None]),
        (["Flute.nonvib.ff.C4.aiff", "Flute.nonvib.mf.C4.aiff", "Flute.nonvib.PP.C4.aiff"], [112, 80, 32]),
        (["piano A4 mp.wav", "piano A4 forte.wav"], [64, 96]),  # all have piano: that is what plays
        (["mp A4 piano.wav", "forte A4 piano.wav"], [64, 96]),
        (["piano_1.wav", "piano_2.wav"], [None, None]),
        (["horn_ppp.wav", "horn_fff.wav", "horn_p.wav", "horn_f.wav"], [16, 127, 48, 96]),
        (["scale_F_1.wav", "scale_G_1.wav", "soft.wav", "half.wav"], [None] * 4),  # F is a note
        (["mezzo piano.wav", "Fortississimo.wav"], [64, 127]),
        ([], []),
    ],
)
def test_dynamic_marks_are_velocities_where_names_differ_in_them(names, expected):
    found = velocities(names)
    assert [found.get(name) for name in names] == expected
    assert found.keys() <= set(names)


def test_marks_of_folders_do_not_count():
    assert not velocities(["piano/a.wav", "forte/a.wav"])


def test_a_corpus_keeps_the_dynamics_of_its_names_and_reports_them(tmp_path):
    for name in ("a_pp", "b_ff", "c_ff", "d"):
        write(tmp_path / "notes" / f"{name}.wav")
    report = build([tmp_path / "notes"], tmp_path / "corpus")
    played = {clip.name: clip.velocity for clip in Corpus.open(tmp_path / "corpus").clips()}
    assert played == {"a_pp.wav": 32, "b_ff.wav": 112, "c_ff.wav": 112, "d.wav": None}
    assert report.velocities == {32: 1, 112: 2}
    assert "velocity 112: 2" in report.text()
