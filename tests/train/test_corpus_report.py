"""The report of a corpus says what is in it."""

import re

import numpy as np
import pytest
from timbrel.train.corpus.build import build
from timbrel.train.corpus.named_pitches import contradictions
from timbrel.train.corpus.report import CorpusReport
from timbrel.train.corpus.store import Corpus

from .sounds import sine, write


def test_the_report_adds_up(sounds, corpus, tmp_path):
    report = Corpus.open(corpus).report
    assert report.clips == sum(report.split_clips.values()) == 10
    assert report.seconds == pytest.approx(sum(report.split_seconds.values()))
    assert report.seconds == pytest.approx(report.pitched_seconds + report.unpitched_seconds)
    assert report.pitched_seconds == pytest.approx(sum(report.pitch_classes))
    assert report.pitch_classes == pytest.approx([0.3] * 10 + [0, 0], abs=0.03)


def test_a_pitch_counts_for_the_nearest_class():
    report = CorpusReport()
    report.count_clip(5 * 1024, np.float32([59.6, 60.4, np.nan, 71.7, 61]), 1024)
    assert report.pitch_classes == pytest.approx([3, 1] + [0] * 10)
    assert (report.pitched_seconds, report.unpitched_seconds) == pytest.approx((4, 1))


def test_names_of_files_in_the_printed_report_have_no_controls_of_the_terminal():
    report = CorpusReport(silent=["a\x1b[2J.wav"], unreadable={"b\n.wav": "is\x07odd"}, labels={"c\x9b": 1})
    lines = report.text().splitlines()
    assert all(line.isprintable() for line in lines)
    assert {"  a [2J.wav", "  b .wav: is odd", "  c : 1"} <= {*lines}


def test_the_printed_report_names_at_most_twenty_files_of_a_kind():
    report = CorpusReport(
        clips=3,
        seconds=3725.0,
        split_clips={"train": 3},
        split_seconds={"train": 3725.0},
        pitched_seconds=100.0,
        unpitched_seconds=3625.0,
        pitch_classes=[75.0, 0, 0, 0, 25.0, 0, 0, 0, 0, 0, 0, 0],
        silent=[f"quiet_{number:02}.wav" for number in range(27)],
        unreadable={"bad.wav": "contains NaN"},
        left_out=4,
    )
    text = report.text()
    assert "clips            3  1 h 02 min\n  train          3  1 h 02 min\n  val            0  0.0 s\n" in text
    assert "quiet_19.wav\n  and 7 more\n" in text
    assert "quiet_20.wav" not in text
    assert "bad.wav: contains NaN" in text
    assert "left out         4  not listed in the split file" in text
    assert "too short" not in text
    bars = dict(re.findall(r"^  (C|E) .* s  (=+)$", text, re.MULTILINE))
    assert (len(bars["C"]), len(bars["E"])) == (32, round(32 / 3))


@pytest.mark.parametrize(
    ("name", "note", "said"),
    [
        ("A4.wav", 72.1, "C5 is heard"),
        ("low/A4.wav", 69.4, ""),
        ("A3.wav", 69.0, ""),  # another count of octaves
        ("B4.wav", 72.0, "C5 is heard"),
        ("b4.wav", 59.6, ""),
        ("c5.wav", 71.4, ""),
        ("flute_Cs5_1.wav", 72.0, "C5 is heard"),
        ("flute_Cs5_1.wav", 73.0, ""),
        ("horn-Eb3.wav", 51.0, ""),
        ("horn-Eb3.wav", 52.0, "E3 is heard"),
        ("gb2.aif", 42.2, ""),
        ("f#2 a1.wav", 33.0, ""),  # one of its notes
        ("f#2 a1.wav", 34.0, "A#1 is heard"),
        ("A4/take.wav", 72.0, ""),
        ("kick01_e12_mp3.wav", 72.0, ""),
    ],
)
def test_a_name_is_contradicted_by_another_pitch_class_alone(name, note, said):
    assert contradictions({name: note}) == ({name: said} if said else {})


def test_files_whose_names_say_other_notes_than_are_heard_are_named_and_what_is_heard_counts(tmp_path):
    for name, note in (("A4", 72), ("C5", 72), ("tone", 64)):
        write(tmp_path / "sounds" / f"{name}.wav", sine(440 * 2 ** ((note - 69) / 12)))
    report = build([tmp_path / "sounds"], tmp_path / "corpus")
    assert report.misnamed == {"A4.wav": "C5 is heard"}
    assert "\nmisnamed         1  what is heard counts\n  A4.wav: C5 is heard" in report.text()
    corpus = Corpus.open(tmp_path / "corpus")
    (clip,) = [clip for clip in corpus.clips() if clip.name == "A4.wav"]
    assert np.nanmedian(corpus.pitch(clip)) == pytest.approx(72, abs=0.1)


def test_noise_gets_no_histogram():
    assert "F#" not in CorpusReport(clips=1, seconds=9.0, unpitched_seconds=9.0).text()
