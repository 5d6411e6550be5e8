"""Notes that a corpus has at several levels are one gesture; those of another timbre, and takes, are their own."""

import pytest
from timbrel.export.fidelity.notes import singles
from timbrel.export.gestures import selection
from timbrel.export.gestures.build import gestures_of
from timbrel.export.gestures.selection import distinct_notes, select_notes

from ..fidelity.tones import note_corpus
from .networks import coder

KEYS = (58, 60, 62, 64)


def at(key, velocity, fall=0.5, gain=None):
    return ("train", key, {"velocity": velocity, "fall": fall, "gain": (velocity / 127) ** 2 if gain is None else gain})


def kept(folder, clips):
    corpus = note_corpus(folder, clips)
    return [(single.key, single.clip.velocity) for single in distinct_notes(corpus, singles(corpus, "train"))]


def test_of_a_key_that_velocity_makes_louder_alone_the_loudest_note_stays(tmp_path):
    clips = [at(key, velocity) for key in KEYS for velocity in (40, 100, 80)]
    clips[0][2]["seconds"] = 1.3  # recordings differ in length
    assert kept(tmp_path / "c", clips) == [(key, 100) for key in KEYS]


def test_a_soft_note_of_another_timbre_stays(tmp_path):
    clips = [at(60, 40, fall=0.3), at(60, 70, fall=0.5), at(60, 100, fall=0.5)]
    assert kept(tmp_path / "c", clips) == [(60, 40), (60, 100)]


def test_takes_of_one_velocity_and_notes_without_one_stay(tmp_path):
    clips = [at(60, 100), at(60, 100), at(60, 40), ("train", 62, {}), ("train", 62, {"gain": 0.1})]
    assert kept(tmp_path / "c", clips) == [(60, 100), (60, 100), (62, None), (62, None)]


def test_levels_by_velocity_count_notes_without_a_gesture_of_their_own(tmp_path):
    clips = [at(key, velocity, gain=gain) for key in KEYS for velocity, gain in ((40, 0.05), (100, 0.5))]
    model, network = coder()
    [instrument] = gestures_of(note_corpus(tmp_path / "c", clips), network, model).instruments
    assert len(instrument.notes) == len(KEYS)
    levels = dict(instrument.velocity_levels)
    assert levels[100] - levels[40] == pytest.approx(20.0, abs=0.5)


def selected(folder, clips):
    corpus = note_corpus(folder, clips)
    return sorted(
        (single.clip.label, single.key, single.clip.velocity)
        for single in select_notes(corpus, singles(corpus, "train"))
    )


def of(label, key, velocity):
    return ("train", key, {"label": label, "velocity": velocity})


def test_all_keys_stay_where_all_notes_fit_their_instruments_share(tmp_path, monkeypatch):
    """Six notes of five keys, two of one key: there is no room for two of each key, but for all six."""
    monkeypatch.setattr(selection, "MOST_NOTES_OF_SEVERAL", 14)
    clips = [of(label, key, 100) for label in "ab" for key in range(60, 66)] + [of("a", 60, 50)]
    assert len(selected(tmp_path / "c", clips)) == len(clips)


def test_instruments_of_few_notes_leave_their_share_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "MOST_NOTES_OF_SEVERAL", 16)
    clips = [of("few", key, 100) for key in (60, 62, 64)]
    clips += [of(label, key, velocity) for label in ("many", "most") for key in range(60, 67) for velocity in (50, 100)]
    labels = [label for label, _, _ in selected(tmp_path / "c", clips)]
    assert [labels.count(label) for label in ("few", "many", "most")] == [3, 6, 6]  # pairs of three keys, of 6 and 7
    monkeypatch.setattr(selection, "MOST_NOTES_OF_SEVERAL", len(clips))
    assert len(selected(tmp_path / "d", clips)) == len(clips)
