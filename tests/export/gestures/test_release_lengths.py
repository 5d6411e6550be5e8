"""Release lengths by velocity are relative to the loudest velocity's, over keys that have both."""

import numpy as np
import pytest
from timbrel.export.fidelity.notes import SingleNote, cut
from timbrel.export.gestures.build import gestures_of
from timbrel.export.gestures.release_lengths import Release, release_lengths, release_of
from timbrel.train.corpus.clip_table import Clip
from timbrel.train.corpus.store import Corpus, writing

from ..fidelity.tones import RATE, tone
from .networks import coder


def single(key, velocity, held_seconds=0.5):
    clip = Clip(name=f"{key}-{velocity}", start=0, length=1, group="a", velocity=velocity, held_seconds=held_seconds)
    return SingleNote(clip, float(key))


def released(key, velocity, db_second, held=0.5):
    """A tone of 1.5 s that falls so fast after a time."""
    time = np.arange(round(1.5 * RATE)) / RATE
    level = 10 ** (-db_second * np.maximum(time - held, 0) / 20)
    return cut(single(key, velocity, held), (tone(key, seconds=1.5, held=9.0) * level).astype(np.float32), RATE)


def test_a_release_is_the_time_of_a_fall_by_20_db():
    assert release_of(released(60, 100, 50), RATE).seconds == pytest.approx(0.4, abs=0.01)
    assert release_of(released(60, 100, 10), RATE) is None  # it does not fall so far
    unknown = cut(single(60, 100, None), tone(60), RATE)
    assert release_of(unknown, RATE) is None


def made(seconds_by_velocity, keys=(60, 62, 64, 66)):
    return [
        Release(single(key, velocity), seconds * (1 + key / 100))
        for key in keys
        for velocity, seconds in seconds_by_velocity.items()
    ]


def test_lengths_are_parts_of_the_loudest_velocitys():
    assert release_lengths(made({112: 0.4, 64: 0.16, 90: 0.3})) == [(64, 0.4), (90, 0.75), (112, 1.0)]
    assert release_lengths(made({112: 0.2, 64: 0.4})) == [(64, 2.0), (112, 1.0)]


def test_takes_count_as_their_mean_and_one_odd_key_moves_little():
    takes = [*made({112: 0.4, 64: 0.1}), *made({64: 0.3})]
    assert release_lengths(takes) == [(64, 0.5), (112, 1.0)]
    odd = [*made({112: 0.4, 64: 0.2}), *made({112: 0.4, 64: 4.0}, keys=(70,))]
    assert release_lengths(odd) == [(64, 0.5), (112, 1.0)]


@pytest.mark.parametrize(
    "releases",
    [
        [],
        made({112: 0.4}),
        made({112: 0.4, 64: 0.38}),
        made({112: 0.4, 64: 0.2}, keys=(60, 62)),
        [Release(single(key, None), 0.1 * key) for key in range(60, 70)],
        [*made({64: 0.2}), *made({112: 0.4}, keys=(50, 52, 54))],
    ],
    ids=["none", "one velocity", "alike", "too few keys", "no velocities", "no key has both"],
)
def test_without_a_difference_or_keys_that_have_both_there_are_none(releases):
    assert release_lengths(releases) == []


def test_notes_that_differ_in_level_and_release_are_one_gesture_with_two_lengths(tmp_path):
    keys = (58, 60, 62, 64)
    with writing(tmp_path / "c", RATE) as writer:
        for key in keys:
            for velocity, db_second in ((112, 60), (64, 120)):
                time = np.arange(round(1.5 * RATE)) / RATE
                level = (velocity / 127) ** 2 * 10 ** (-db_second * np.maximum(time - 0.9, 0) / 20)
                sound = (tone(key, seconds=1.5, held=9.0) * level).astype(np.float32)
                track = np.full(-(-len(sound) // 1024), key, np.float32)
                fields = {"name": f"{key}-{velocity}", "group": f"{key}", "velocity": velocity, "held_seconds": 0.9}
                writer.append(sound, track, **fields)
        writer.finish({clip.name: "train" for clip in writer.clips}, name="notes")
    model, network = coder()
    [instrument] = gestures_of(Corpus.open(tmp_path / "c"), network, model).instruments
    assert [note.velocity for note in instrument.notes] == [112] * len(keys)
    assert dict(instrument.release_lengths) == pytest.approx({64: 0.5, 112: 1.0}, abs=0.02)
