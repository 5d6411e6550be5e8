"""The line on dynamics is true of corpora that have them, that were levelled, and that have one dynamic alone."""

import numpy as np
import pytest
from timbrel.export.fidelity import comparison
from timbrel.export.fidelity.dynamics import centroid_hz, dynamics, in_words
from timbrel.export.fidelity.notes import singles
from timbrel.export.fidelity.page import as_text, dynamics_line
from timbrel.host.model.model import Model
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.store import Corpus, writing

from ...host.analytic import Analytic
from .tones import RATE, note_corpus, tone

KEYS = range(60, 72)
BRIGHT = {"source": "velocity", "target": "latent.1", "low": -0.2, "high": 0.8}
SOFT, LOUD = {"fall": 0.3, "gain": 0.01}, {"fall": 0.7, "gain": 0.1}  # 20 dB apart


def corpus_of(folder, shapes):
    """A corpus of every second key's notes, one of each shape, all for training but one."""
    clips = [("train", key, shape) for key in KEYS[::2] for shape in shapes(key)]
    return note_corpus(folder, [*clips, ("test", 61, shapes(61)[0])])


@pytest.fixture
def patched(tmp_path):
    """A function that gives an instrument of known partials, with [[note]] tables; its second latent is brightness."""
    source = Analytic(sample_rate=RATE, frame_length=4096, hop_length=1024, brightest_hz=8000.0)
    at = np.arange(source.bins) * RATE / 4096 / 2000.0
    source.colours = np.array([np.ones(source.bins), at], np.float32)
    model = Model(source.save(tmp_path / "bells.onnx"))

    def patch(*tables, **play):
        preset = Preset(format=1, model=str(model.path), latent={"values": [0.0, 0.2]}, note=list(tables), play=play)
        return Patch("bells", preset, model, tmp_path)

    return patch


def found_of(patch, corpus):
    return dynamics(patch, corpus, singles(corpus, "train"), 0)


def by_formula(key, fall):
    """The centroid of power of `tones.tone`'s partials."""
    hz = midi_to_hz(key)
    orders = np.arange(1, int(8000 / hz))
    power = fall ** (2.0 * orders)
    return float((power * orders * hz).sum() / power.sum())


@pytest.mark.parametrize(("key", "fall"), [(60, 0.3), (60, 0.7), (72, 0.5)])
def test_a_centroid_is_that_of_the_partials_power_whatever_the_level(key, fall):
    for gain in (0.1, 0.001):
        sound = tone(key, fall=fall, gain=gain)[:38_000]
        assert centroid_hz(sound, RATE, key) == pytest.approx(by_formula(key, fall), rel=0.01)


def test_noise_of_the_room_makes_no_soft_note_bright_nor_hum_dark():
    noise = 2e-5 * np.random.default_rng(0).standard_normal(38_000)
    hum = 0.01 * np.sin(2 * np.pi * 50 * np.arange(38_000) / RATE)  # louder than the tone
    sound = (tone(60, fall=0.3, gain=0.01)[:38_000] + noise + hum).astype(np.float32)
    assert centroid_hz(sound, RATE, 60) == pytest.approx(by_formula(60, 0.3), rel=0.05)


def test_silence_has_no_centroid():
    assert centroid_hz(np.zeros(4096, np.float32), RATE, 60) == 0.0


def test_dark_soft_notes_and_bright_loud_ones_are_found_and_what_is_played_for_them(patched, tmp_path):
    found = found_of(patched(), corpus_of(tmp_path / "c", lambda key: [SOFT, LOUD]))
    assert found["dynamics"]
    assert not found["levelled"]
    assert found["notes"] == 12
    level = 20 + 10 * np.log10(sum(0.49**k for k in range(1, 30)) / sum(0.09**k for k in range(1, 30)))
    assert found["apart_db"] == pytest.approx(level, abs=3)
    assert found["loudest"] == 127
    assert found["softest"] == pytest.approx(127 * 10 ** (-level / 40), abs=8)
    soft_keys, loud_keys = ([row["key"] for row in found["each"] if row["loud"] == loud] for loud in (False, True))
    assert np.abs(np.subtract(soft_keys, loud_keys)).max() <= 2
    assert len(soft_keys) >= 3
    for side, fall in (("soft", 0.3), ("loud", 0.7)):
        rows = [row for row in found["each"] if row["loud"] == (side == "loud")]
        assert [row["recorded_hz"] for row in rows] == pytest.approx(
            [by_formula(row["key"], fall) for row in rows], rel=0.02
        )
        assert found[side]["recorded_hz"] == pytest.approx(
            float(np.exp(np.mean([np.log(row["recorded_hz"]) for row in rows])))
        )
    soft, loud = found["soft"], found["loud"]
    assert in_words(found) == (
        f"recordings from velocity {found['softest']} to 127; soft notes average {soft['recorded_hz']:.0f} Hz, loud "
        f"ones {loud['recorded_hz']:.0f}; it plays {soft['played_hz']:.0f} and {loud['played_hz']:.0f}"
    )


def test_what_is_played_is_what_velocity_makes_of_the_instrument(patched, tmp_path):
    corpus = corpus_of(tmp_path / "c", lambda key: [SOFT, LOUD])
    plain, bright = (found_of(patched(*tables), corpus) for tables in ([], [BRIGHT]))
    assert plain["loud"]["played_hz"] / plain["soft"]["played_hz"] == pytest.approx(1, abs=0.05)
    assert bright["loud"]["played_hz"] / bright["soft"]["played_hz"] > 1.1


def test_levelled_recordings_are_said_to_be_so(patched, tmp_path):
    def levelled(key):
        return [shape | {"gain": 0.1 / sum(shape["fall"] ** k for k in range(1, 20))} for shape in (SOFT, LOUD)]

    corpus = corpus_of(tmp_path / "c", levelled)
    with writing(tmp_path / "n", RATE) as writer:
        for clip in corpus.clips():
            sound = corpus.samples(clip)
            writer.append(0.5 * sound / np.abs(sound).max(), corpus.pitch(clip), name=clip.name, group=clip.name)
        writer.finish({clip.name: clip.split for clip in corpus.clips()}, name="levelled")
    found = found_of(patched(), Corpus.open(tmp_path / "n"))
    assert (found["dynamics"], found["levelled"]) == (False, True)
    assert found["soft"]["recorded_hz"] is found["loud"]["recorded_hz"] is None
    assert (found["soft"]["velocity"], found["loud"]["velocity"]) == (32, 127)
    assert in_words(found) == (
        "all recordings were made as loud as each other: velocity changes the loudness of notes, not their brightness"
    )


def test_one_dynamic_played_unevenly_is_no_dynamics(patched, tmp_path):
    rng = np.random.default_rng(1)
    corpus = corpus_of(
        tmp_path / "c", lambda key: [LOUD | {"gain": 0.1 * 10 ** (rng.normal(0, 1.5) / 20)} for _ in "ab"]
    )
    found = found_of(patched(), corpus)
    assert (found["dynamics"], found["levelled"]) == (False, False)
    assert 0 < found["apart_db"] < 8
    assert in_words(found) == (
        f"all recordings of a key are about as loud as each other (within {found['apart_db']:.0f} dB): "
        "velocity changes the loudness of notes, not their brightness"
    )


def test_an_instrument_that_velocity_changes_all_the_same_is_said_to(patched, tmp_path):
    found = found_of(patched(BRIGHT), corpus_of(tmp_path / "c", lambda key: [LOUD]))
    assert not found["dynamics"]
    soft, loud = found["soft"]["played_hz"], found["loud"]["played_hz"]
    assert in_words(found).endswith(
        f"; yet velocity changes brightness too: notes average {soft:.0f} Hz at velocity 32, {loud:.0f} Hz at 127"
    )


def test_recordings_that_differ_in_level_alone_are_said_to(patched, tmp_path):
    found = found_of(patched(), corpus_of(tmp_path / "c", lambda key: [LOUD | {"gain": 0.01}, LOUD]))
    assert found["dynamics"]
    assert found["apart_db"] == pytest.approx(20, abs=1)
    assert " to 127 differ in level alone; soft notes average " in in_words(found)


def test_keys_far_apart_tell_nothing_of_dynamics(patched, tmp_path):
    clips = [("train", 48, SOFT), ("train", 60, LOUD), ("train", 72, {"fall": 0.5, "gain": 0.05})]
    found = found_of(patched(), note_corpus(tmp_path / "c", clips))
    assert (found["dynamics"], found["apart_db"]) == (False, None)
    assert in_words(found).startswith("no key was recorded twice: ")


def labelled(key):
    return [shape | {"gain": 0.1, "velocity": speed} for shape, speed in ((SOFT, 30), (LOUD, 110))]


def test_labels_say_the_velocity_where_there_are_some(patched, tmp_path):
    found = found_of(patched(), corpus_of(tmp_path / "c", labelled))
    assert found["dynamics"]
    assert (found["softest"], found["loudest"]) == (30, 110)
    assert found["apart_db"] == pytest.approx(40 * np.log10(110 / 30))


@pytest.mark.parametrize(("soft_db", "has_dynamics"), [(-9.5, True), (-6.5, False)])
def test_recordings_have_the_range_of_the_presets_levels_by_velocity(patched, tmp_path, soft_db, has_dynamics):
    """The square of velocities 30 and 110 would be 23 dB."""
    levels = [(30, soft_db), (110, -1.0), (127, 0.0)]
    found = found_of(patched(velocity_levels=levels), corpus_of(tmp_path / "c", labelled))
    assert found["apart_db"] == pytest.approx(-1.0 - soft_db)
    assert found["dynamics"] == has_dynamics


def test_levels_by_velocity_change_nothing_of_notes_without_labels(patched, tmp_path):
    corpus = corpus_of(tmp_path / "c", lambda key: [SOFT, LOUD])
    plain, levelled = (found_of(patched(**play), corpus) for play in ({}, {"velocity_levels": [(1, -3.0), (127, 0.0)]}))
    assert levelled["apart_db"] == plain["apart_db"]


def test_a_corpus_without_training_notes_says_nothing(patched, tmp_path):
    corpus = note_corpus(tmp_path / "c", [("train", None, {}), ("test", 61, {}), ("test", 62, {})])
    found = comparison.compare_notes(patched(), corpus, 0, lambda done, what: None).figures
    assert found["dynamics"] is None
    assert dynamics_line(found) == []
    assert "dynamics" not in as_text(found)


def test_the_comparison_with_recordings_tells_of_dynamics(patched, tmp_path):
    corpus = corpus_of(tmp_path / "c", lambda key: [SOFT, LOUD])
    shares = []
    found = comparison.compare_notes(patched(), corpus, 0, lambda done, what: shares.append(done)).figures
    assert as_text(found).splitlines()[-1] == f"dynamics: {in_words(found['dynamics'])}"
    assert shares == sorted(shares)
    assert 0.7 < shares[-1] < 1
