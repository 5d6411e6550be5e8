"""A sampler plays the nearest recording, and moves its colour toward that of the next recorded key."""

import numpy as np
import pytest
from timbrel.export.fidelity.measures import course, nearness, sustain_db
from timbrel.export.fidelity.notes import SingleNote, note_of, singles
from timbrel.export.fidelity.sampler import apply_gains, band_levels, sample_note
from timbrel.host.signal import sounding_note
from timbrel.train.corpus.clip_table import Clip

from .tones import RATE, note_corpus, tone


def played(folder, training, **options):
    """Return the sampler's C4 beside training notes, of key and options each."""
    clips = [("train", key, fields) for key, fields in training]
    corpus = note_corpus(folder / "c", [*clips, ("test", 60, options)])
    return sample_note(corpus, note_of(corpus, singles(corpus, "test")[0]), singles(corpus, "train"))


def test_a_sampler_plays_the_nearest_velocity_where_clips_say_it(tmp_path):
    clips = [("train", 62, {"velocity": 32, "gain": 0.1}), ("train", 62, {"velocity": 96, "gain": 0.05})]
    corpus = note_corpus(tmp_path / "c", [*clips, ("test", 60, {"velocity": 112, "gain": 0.1})])
    note = note_of(corpus, singles(corpus, "test")[0])
    assert sample_note(corpus, note, singles(corpus, "train")).note.single.clip.velocity == 96


def test_a_sampler_plays_the_nearest_key_that_is_long_enough_and_as_loud(tmp_path):
    clips = [
        ("train", 64, {}),
        ("train", 63, {}),
        ("train", 62, {"held": 0.2, "seconds": 0.5}),  # too short
        ("train", 58, {"gain": 0.01}),
        ("train", 58, {"gain": 0.08, "seconds": 1.5, "held": 1.2}),
        ("test", 60, {}),
    ]
    corpus = note_corpus(tmp_path / "c", clips)
    [asked] = singles(corpus, "test")
    note = note_of(corpus, asked)
    found = sample_note(corpus, note, singles(corpus, "train")).note
    assert found.single.clip.name == "4"  # of the keys two away: the third is farther
    assert sounding_note(found.sound[2000:36000], RATE) == pytest.approx(60, abs=0.11)
    assert found.held_seconds == pytest.approx(note.held_seconds)
    after = round((note.held_seconds + 0.2) * RATE)
    assert np.abs(found.sound[after:]).max(initial=0) == 0


def test_a_sampler_prefers_the_nearest_velocity_before_the_longest_and_its_own_key_before_others(tmp_path):
    clips = [
        ("train", 60, {"velocity": 100}),
        ("train", 60, {"velocity": 50, "held": 0.2, "seconds": 0.5}),
        ("train", 61, {"velocity": 40}),
        ("test", 60, {"velocity": 40}),
    ]
    corpus = note_corpus(tmp_path / "c", clips)
    note = note_of(corpus, singles(corpus, "test")[0])
    assert sample_note(corpus, note, singles(corpus, "train")).note.single.clip.name == "1"


def test_a_sampler_keeps_to_the_instrument_where_clips_say_which(tmp_path):
    clips = [("train", 61, {"label": "oboe"}), ("train", 65, {"label": "flute"}), ("test", 60, {"label": "flute"})]
    corpus = note_corpus(tmp_path / "c", clips)
    note = note_of(corpus, singles(corpus, "test")[0])
    assert sample_note(corpus, note, singles(corpus, "train")).note.single.clip.name == "1"


def test_a_sampler_without_another_recording_plays_nothing(tmp_path):
    corpus = note_corpus(tmp_path / "c", [("train", 60, {})])
    known = singles(corpus, "train")
    assert sample_note(corpus, note_of(corpus, known[0]), known) is None


@pytest.mark.parametrize(("nearest", "neighbour", "share"), [(59, 61, 1 / 2), (59, 62, 1 / 3), (62, 54, 1 / 4)])
def test_a_key_between_two_recorded_ones_has_the_colour_between_them_in_db_by_distance(
    tmp_path, nearest, neighbour, share
):
    """Partials fall by a constant number of dB from one to the next, so shares of the fall are shares of the colour."""
    training = [(nearest, {"fall": 0.7, "held": 0.9}), (neighbour, {"fall": 0.85, "held": 0.7})]
    found = played(tmp_path, training)
    assert (found.note.single.key, found.neighbour.key, found.share) == (nearest, neighbour, pytest.approx(share))
    asked, unmoved = tone(60, fall=0.7 ** (1 - share) * 0.85**share), tone(60, fall=0.7)
    near = nearness(asked[: len(found.sound.mono)], found.sound.mono[: len(asked)], RATE)
    assert near.sustain_db < 0.4 * sustain_db(asked, unmoved, RATE)
    assert near.partial_cents < 1
    loudest = [course(sound, RATE).levels.max() for sound in (found.sound.mono, unmoved)]
    assert loudest[0] == pytest.approx(loudest[1], abs=0.5)


@pytest.mark.parametrize(
    "training",
    [
        [(60, {"fall": 0.5}), (61, {"fall": 0.8}), (59, {"fall": 0.8})],  # the key itself is recorded
        [(59, {"fall": 0.5})],
        [(59, {"fall": 0.5}), (58, {"fall": 0.8})],  # both lie below
        [(59, {"fall": 0.5}), (73, {"fall": 0.8})],  # over an octave above
        [(59, {"fall": 0.5, "velocity": 80}), (61, {"fall": 0.8, "velocity": 112})],
        [(59, {"fall": 0.5}), (62, {"fall": 0.8, "gain": 0.02})],
    ],
)
def test_without_a_neighbour_of_near_dynamics_on_the_other_side_the_nearest_recording_stays_as_it_is(
    tmp_path, training
):
    found = played(tmp_path, training, velocity=80)
    assert (found.neighbour, found.share) == (None, 0)
    expected = tone(60, fall=0.5)
    assert sustain_db(expected[: len(found.sound.mono)], found.sound.mono[: len(expected)], RATE) < 0.5


def test_of_the_keys_on_the_other_side_the_nearest_of_near_dynamics_moves_the_colour(tmp_path):
    training = [(59, {"velocity": 80}), (61, {"velocity": 32}), (63, {"velocity": 96}), (64, {"velocity": 80})]
    found = played(tmp_path, training, velocity=80)
    assert (found.neighbour.key, found.share) == (63, pytest.approx(1 / 4))


def test_gains_of_third_octaves_move_levels_and_neither_time_nor_loudness():
    rng = np.random.default_rng(0)
    noise = np.zeros(RATE, np.float32)
    noise[RATE // 2 :] = 0.1 * rng.standard_normal(RATE // 2)
    asked = 6 * np.sin(np.arange(len(band_levels(noise, RATE))) / 3)
    [moved] = apply_gains(noise[np.newaxis], asked, RATE)
    given = band_levels(moved, RATE) - band_levels(noise, RATE)
    inner = slice(3, -3)  # windows blur the lowest bands
    np.testing.assert_allclose((given - asked)[inner], (given - asked)[inner].mean(), atol=0.7)
    assert np.square(moved).sum() == pytest.approx(np.square(noise).sum(), rel=0.02)
    assert np.square(moved[: RATE // 2 - RATE // 50]).sum() < 1e-4 * np.square(moved).sum()


class StereoNotes:
    """Two stereo clips by formula: the right side is half as loud."""

    rate = RATE

    def channels(self, clip):
        return 2

    def samples(self, clip):
        return tone(int(clip.name))

    def sides(self, clip):
        return np.stack([tone(int(clip.name)), 0.5 * tone(int(clip.name))])


def test_sides_beside_a_stereo_recording_are_filtered_and_released_as_the_mono_sound_is():
    notes = [SingleNote(Clip(name=str(key), start=0, length=RATE, group=str(key)), float(key)) for key in (59, 60, 62)]
    corpus = StereoNotes()
    found = sample_note(corpus, note_of(corpus, notes[1]), [notes[0], notes[2]])
    assert found.neighbour.key == 62
    assert found.sound.sides.shape == (2, len(found.sound.mono))
    np.testing.assert_allclose(found.sound.sides[0], found.sound.mono, atol=1e-5)
    np.testing.assert_allclose(found.sound.sides[1], 0.5 * found.sound.mono, atol=1e-5)
