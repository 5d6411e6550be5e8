"""Notes are cut where they sound, tuned, and spread over keys."""

import numpy as np
import pytest
from timbrel.export.fidelity.notes import (
    SingleNote,
    cut,
    held_out,
    loudest_db,
    note_of,
    singles,
    spread,
    tuned,
    velocity,
)
from timbrel.host.signal import sounding_note
from timbrel.train.corpus.clip_table import Clip

from .tones import RATE, note_corpus, tone


def single(note, name="a", **fields):
    return SingleNote(Clip(name=name, start=0, length=1, group=name, **fields), float(note))


@pytest.mark.parametrize("held", [0.4, 0.8])
def test_a_note_is_cut_where_it_begins_and_ends_and_let_go_where_it_falls(held):
    sound = np.concatenate([np.zeros(RATE // 4, np.float32), tone(60, seconds=1.5, held=held)])
    note = cut(single(60), sound, RATE)
    assert note.held_seconds == pytest.approx(held, abs=0.02)
    assert len(note.sound) / RATE == pytest.approx(held + 50 / 200, abs=0.03)  # it falls by 200 dB a second
    assert np.abs(note.sound[: RATE // 100]).max() > 0


def test_what_rings_out_is_held_to_its_end():
    time = np.arange(2 * RATE) / RATE
    rung = (tone(60, seconds=2.0, held=9.0) * 10 ** (-40 * time / 20)).astype(np.float32)
    note = cut(single(60), rung, RATE)
    assert note.held_seconds == pytest.approx(50 / 40, abs=0.05)


@pytest.mark.parametrize("held", [0.4, 1.24])
def test_a_known_release_decides_and_what_follows_it_stays(held):
    """This one falls by 40 dB a second all the time, as organs in churches do after a release."""
    time = np.arange(2 * RATE) / RATE
    sound = (tone(60, seconds=2.0, held=9.0) * 10 ** (-40 * time / 20)).astype(np.float32)
    note = cut(single(60, held_seconds=held), sound, RATE)
    assert note.held_seconds == pytest.approx(held, abs=0.002)
    audible_db = min(50 + 40 * held, note.level_db + 100)  # as far below the level at the release, and no silence
    assert len(note.sound) / RATE == pytest.approx(audible_db / 40, abs=0.03)


def test_slides_are_no_single_notes(tmp_path):
    corpus = note_corpus(tmp_path / "c", [("train", 60, {}), ("test", None, {}), ("test", 61.3, {})])
    [found] = singles(corpus, "test")
    assert (found.clip.name, found.key, found.pitch) == ("2", 61, pytest.approx(61.3))


def test_a_high_string_that_falls_fast_at_first_is_held_to_its_end():
    """A piano's: 70 dB a second at first, then 12."""
    time = np.arange(round(1.5 * RATE)) / RATE
    level = np.maximum(-70 * time, -17.0 - 12 * time)
    sound = 10 ** (level / 20) * np.minimum(time / 0.005, 1) * np.sin(2 * np.pi * 740 * time)
    note = cut(single(78), (0.3 * sound).astype(np.float32), RATE)
    assert note.held_seconds == pytest.approx(1.5, abs=0.1)


def test_held_out_notes_are_the_test_splits_and_then_validations(tmp_path):
    clips = [(split, note, {"seconds": 0.3}) for split in ("train", "val", "test") for note in (60, 62, 64)]
    corpus = note_corpus(tmp_path / "c", clips)
    assert [note.clip.split for note in held_out(corpus, 3, 0)] == ["test"] * 3
    assert sorted(note.clip.split for note in held_out(corpus, 5, 0)) == ["test"] * 3 + ["val"] * 2
    assert held_out(corpus, 5, 0) == held_out(corpus, 5, 0)
    assert len(held_out(corpus, 50, 0)) == 6


def test_each_key_has_one_note_before_any_has_two():
    notes = [single(60, f"a{i}") for i in range(20)] + [single(key, f"b{key}") for key in range(61, 66)]
    found = spread(notes, 8, np.random.default_rng(0))
    assert sorted(note.key for note in found) == [60, 60, 60, 61, 62, 63, 64, 65]
    few = spread(notes, 3, np.random.default_rng(0))
    assert sorted(note.key for note in few) == [60, 62, 65]


def test_the_softest_and_the_loudest_of_a_key_come_before_the_others():
    notes = [single(60 + i % 2, f"a{i}") for i in range(20)]
    loudness = [float(7 * i % 20) for i in range(20)]
    found = [int(note.clip.name[1:]) for note in spread(notes, 4, np.random.default_rng(3), loudness)]
    assert sorted(loudness[i] for i in found[:2]) == [0.0, 1.0]  # softest of the even and of the odd
    assert sorted(loudness[i] for i in found[2:]) == [18.0, 19.0]
    alone = spread([single(60), single(62)], 9, np.random.default_rng(0), [1.0, 2.0])
    assert sorted(note.key for note in alone) == [60, 62]


def test_where_not_every_key_can_have_two_some_keys_have_their_softest_and_their_loudest():
    notes = [single(key, f"{key}-{loud}") for key in range(40, 70) for loud in (1, 2, 3)]
    loudness = [float(note.clip.name[-1]) for note in notes]
    found = {note.clip.name for note in spread(notes, 10, np.random.default_rng(0), loudness)}
    assert found == {f"{key}-{loud}" for key in (40, 47, 54, 62, 69) for loud in (1, 3)}


def test_velocity_is_the_labelled_one_or_follows_the_level(tmp_path):
    options = [{"velocity": 40}, {"gain": 0.1}, {"gain": 0.025}, {"gain": 1e-5}]
    corpus = note_corpus(tmp_path / "c", [("train", 60, option) for option in options])
    found = singles(corpus, "train")
    loudest = loudest_db(corpus, found)
    # A quarter of the amplitude is half of the velocity, whose square is the gain.
    assert [velocity(note_of(corpus, note), loudest) for note in found] == [40, 127, pytest.approx(64, abs=1), 1]


def test_a_recording_is_tuned_to_its_key(tmp_path):
    corpus = note_corpus(tmp_path / "c", [("test", 60.4, {})])
    note = note_of(corpus, singles(corpus, "test")[0])
    found = tuned(note, RATE)
    assert sounding_note(found.sound[2000:36000], RATE) == pytest.approx(60, abs=0.11)
    assert found.held_seconds == pytest.approx(note.held_seconds * 2 ** (0.4 / 12), rel=0.01)


NAMES = {60: "C4", 62: "D4", 64: "E4", 65: "F4", 67: "G4", 69: "A4"}


@pytest.mark.parametrize(
    ("cents", "named", "semitones"),
    [(39, False, 0), (50, True, 0), (-60, True, 0), (-60, False, -1), (70, False, 1), (5, False, 0)],
)
def test_an_instrument_off_its_keys_plays_them_all_alike_and_names_say_which(tmp_path, cents, named, semitones):
    """Single notes lie up to 12 cents from the instrument's tuning: some beyond half a semitone."""
    wobble = (0.12, -0.12, 0.0, 0.1, -0.1, 0.05)
    clips = [
        ("train", key + cents / 100 + off, {"seconds": 0.3} | ({"name": f"flute_{name}.wav"} if named else {}))
        for (key, name), off in zip(NAMES.items(), wobble, strict=True)
    ]
    found = singles(note_corpus(tmp_path / "c", clips), "train")
    assert [note.key for note in found] == [key + semitones for key in NAMES]


def test_a_note_far_from_its_name_or_in_another_octave_is_that_which_is_heard(tmp_path):
    heard = [key - 0.6 for key in NAMES]
    heard[1] -= 0.9  # 1.5 semitones flat: the next key
    heard[2] -= 12
    clips = [("train", note, {"name": f"{NAMES[key]}.wav"}) for key, note in zip(NAMES, heard, strict=True)]
    found = singles(note_corpus(tmp_path / "c", clips), "train")
    assert [note.key for note in found] == [60, 61, 52, 65, 67, 69]
    assert [note.tuning for note in found] == pytest.approx([-0.6] * 6, abs=0.06)


def test_keys_of_a_sampler_say_them_too(tmp_path):
    clips = [("train", key - 0.6, {"key": key}) for key in NAMES]
    assert [note.key for note in singles(note_corpus(tmp_path / "c", clips), "train")] == [*NAMES]


def test_notes_that_lie_anywhere_between_keys_are_the_nearest_ones(tmp_path):
    clips = [("train", key + off, {}) for key, off in zip(NAMES, (0.4, -0.4, 0.1, 0.25, -0.2, 0.0), strict=True)]
    assert [note.key for note in singles(note_corpus(tmp_path / "c", clips), "train")] == [*NAMES]


def test_what_is_heard_before_a_note_rises_is_cut_off():
    """Hands on a guitar 30 dB softer than its string, for half a second, and a breath that grows into a tone."""
    rng, struck = np.random.default_rng(0), tone(60, rise=0.002)
    noise = 10 ** (-30 / 20) * struck.std() * rng.standard_normal(RATE // 2).astype(np.float32)
    note = cut(single(60), np.concatenate([noise, struck]), RATE)
    loud = np.flatnonzero(np.abs(note.sound) > np.abs(struck).max() / 4)[0]
    assert 0.005 <= loud / RATE <= 0.030
    time = np.arange(RATE) / RATE
    grown = tone(60) * np.minimum(10 ** ((-50 + 100 * time) / 20), 1)  # from -40 dB at 0.1 s to -24 at 0.26
    note = cut(single(60), grown.astype(np.float32), RATE)
    assert len(note.sound) / RATE == pytest.approx(1.0 - 0.26 + 0.008, abs=0.008)
