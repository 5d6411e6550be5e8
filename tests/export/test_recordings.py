"""What recordings are like: how long their sounds last, how much of them has a pitch, and which."""

import numpy as np
import pytest
from timbrel.export.measures.sounds import recordings
from timbrel.train.corpus.store import Corpus, writing

RATE = 16000


def burst(seconds, decay_seconds, seed=0):
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.2 * noise * np.exp(-time / decay_seconds)).astype(np.float32)


def measured(folder, *sounds, note=np.nan, split="train"):
    with writing(folder, RATE) as writer:
        for i, sound in enumerate(sounds):
            writer.append(sound, np.full(-(-len(sound) // 1024), note, np.float32), name=f"{i}.wav", group=str(i))
        writer.finish({clip.name: split for clip in writer.clips}, name="sounds")
    return recordings(Corpus.open(folder))


def steady(seconds, hz=220.0):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("gap", [0.15, 0.25, 0.4])
def test_drums_in_a_row_last_as_long_as_to_20_db_below_their_beginning(tmp_path, gap):
    hits = np.concatenate([burst(gap, 0.02, seed) for seed in range(20)])
    assert measured(tmp_path / "corpus", hits)["event_seconds"] == pytest.approx(0.02 * np.log(10), abs=0.03)


def test_drums_one_a_file_last_as_long_as_in_a_row(tmp_path):
    hits = [burst(0.4, 0.03, seed) for seed in range(8)]
    assert measured(tmp_path / "corpus", *hits)["event_seconds"] == pytest.approx(0.03 * np.log(10), abs=0.03)


@pytest.mark.parametrize("attack", [0.0, 0.03, 0.3])
def test_a_held_note_lasts_as_long_as_it_is_held_however_it_begins(tmp_path, attack):
    ramp = np.minimum(np.arange(2 * RATE) / max(1, attack * RATE), 1.0).astype(np.float32)
    assert measured(tmp_path / "corpus", steady(2.0) * ramp)["event_seconds"] == pytest.approx(2.0, abs=0.1)


def test_what_neither_begins_nor_ends_is_one_event(tmp_path):
    rain = burst(5.0, 1e9)
    assert measured(tmp_path / "corpus", rain)["event_seconds"] == pytest.approx(5.0, abs=0.1)


def test_a_melody_without_gaps_in_level_is_held(tmp_path):
    tune = np.concatenate([steady(0.2, 220 * 2 ** (i / 12)) for i in range(20)])
    assert measured(tmp_path / "corpus", tune)["event_seconds"] > 1.0


def test_the_pitched_share_and_the_median_note_are_those_of_the_tracks(tmp_path):
    assert measured(tmp_path / "a", steady(1.0), note=57.2)["pitched"] == 1.0
    assert measured(tmp_path / "b", steady(1.0), note=57.2)["note"] == pytest.approx(57.2)
    none = measured(tmp_path / "c", burst(1.0, 1.0))
    assert (none["pitched"], none["note"]) == (0.0, None)
