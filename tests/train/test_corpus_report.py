"""The report of a corpus says what is in it."""

import re

import numpy as np
import pytest
from timbrel.train.corpus.report import CorpusReport
from timbrel.train.corpus.store import Corpus


def test_the_report_adds_up(sounds, corpus, tmp_path):
    report = Corpus.open(corpus).report
    assert report.clips == sum(report.split_clips.values()) == 10
    assert report.seconds == pytest.approx(sum(report.split_seconds.values()))
    assert report.seconds == pytest.approx(report.pitched_seconds + report.unpitched_seconds)
    assert report.pitched_seconds == pytest.approx(sum(report.pitch_classes))
    assert report.pitch_classes == pytest.approx([0.5] * 10 + [0, 0], abs=0.03)


def test_a_pitch_counts_for_the_nearest_class():
    report = CorpusReport()
    report.count_clip(5 * 1024, np.float32([59.6, 60.4, np.nan, 71.7, 61]), 1024)
    assert report.pitch_classes == pytest.approx([3, 1] + [0] * 10)
    assert (report.pitched_seconds, report.unpitched_seconds) == pytest.approx((4, 1))


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


def test_noise_gets_no_histogram():
    assert "F#" not in CorpusReport(clips=1, seconds=9.0, unpitched_seconds=9.0).text()
