"""Gestures of corpora by formula: what is in the file, and that it plays as the recordings did."""

import base64
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.export.fidelity.dynamics import played
from timbrel.export.fidelity.images import corpus_image
from timbrel.export.fidelity.measures import nearness
from timbrel.export.fidelity.notes import SingleNote, cut
from timbrel.export.first_preset import first_preset
from timbrel.export.gestures import build, selection
from timbrel.export.gestures.build import gestures_of
from timbrel.host.model.model import Model
from timbrel.host.preset.library import Patch
from timbrel.host.preset.shipped import MODELS
from timbrel.host.spectra import MOMENT_SECONDS
from timbrel.train.corpus.clip_table import Clip
from timbrel.train.corpus.store import Corpus, writing

from ...host.play.gestures import with_gestures
from ..fidelity.tones import RATE, note_corpus, tone
from .networks import coder, swept

KEYS = [("train", key, {"rise": 0.15, "seconds": 1.2}) for key in (58, 60, 62, 64, 66)]


def swept_corpus(folder, clips, velocity=None):
    """A corpus of (note, fall, gain)."""
    with writing(folder, RATE) as writer:
        for i, (note, fall, gain) in enumerate(clips):
            sound = 10 * gain * swept(note, lambda time, fall=fall: np.full(len(time), fall))
            track = np.full(-(-len(sound) // 1024), note, np.float32)
            writer.append(sound, track, name=f"{i}", group=f"{i}", velocity=velocity)
        writer.finish({f"{i}": "train" for i in range(len(clips))}, name="swept")
    return Corpus.open(folder)


def test_soft_notes_are_dark_where_they_were_recorded_so(tmp_path):
    clips = [(key, fall, gain) for key in (60, 62, 64, 65) for fall, gain in ((0.4, 0.01), (0.8, 0.1))]
    model, network = coder()
    found = gestures_of(swept_corpus(tmp_path / "c", clips), network, model)
    [instrument] = found.instruments
    assert instrument.home == [0.5]
    soft, loud = ([note for note in instrument.notes if (note.velocity < 60) == soft] for soft in (True, False))
    assert len(soft) == len(loud) == 4
    assert [note.code[0] for note in soft] == pytest.approx([(0.4 - 0.3) / 0.6] * 4, abs=0.1)
    assert [note.code[0] for note in loud] == pytest.approx([(0.8 - 0.3) / 0.6] * 4, abs=0.1)


def test_of_instruments_that_lie_among_each_other_knobs_choose_and_not_keys(tmp_path):
    falls = np.random.default_rng(0).permutation([0.35] * 8 + [0.85] * 8)
    mixed = [(56 + i, fall, 0.1) for i, fall in enumerate(falls)]
    graded = [(56 + i, 0.35 + 0.03 * i, 0.1) for i in range(16)]
    model, network = coder()
    codes = []
    for name, clips in (("mixed", mixed), ("graded", graded), ("few", mixed[:11])):
        [instrument] = gestures_of(swept_corpus(tmp_path / name, clips, 100), network, model).instruments
        codes.append([note.code[0] - instrument.home[0] for note in instrument.notes])
    assert not np.any(codes[0])
    assert np.ptp(codes[1]) > 0.5
    assert np.ptp(codes[2]) > 0.5


def test_instruments_are_told_apart_by_label(tmp_path):
    clips = [("train", key, {"label": name}) for name in ("oboe", "horn") for key in (60, 62, 64)]
    model, network = coder()
    found = gestures_of(note_corpus(tmp_path / "c", clips), network, model)
    assert sorted(one.label for one in found.instruments) == ["horn", "oboe"]
    few = [("train", key, {"label": str(key)}) for key in (60, 62, 64)]
    found = gestures_of(note_corpus(tmp_path / "d", few), network, model)
    assert [len(one.notes) for one in found.instruments] == [3]


def test_each_of_many_instruments_keeps_notes_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "MOST_NOTES", 9)
    monkeypatch.setattr(selection, "MOST_NOTES_OF_SEVERAL", 9)
    clips = [("train", key, {"label": name}) for name in ("oboe", "horn", "viol") for key in (58, 60, 62, 64, 66)]
    model, network = coder()
    found = gestures_of(note_corpus(tmp_path / "c", clips), network, model)
    assert [len(one.notes) for one in found.instruments] == [3, 3, 3]
    assert all([round(note.key) for note in one.notes] == [58, 62, 66] for one in found.instruments)


def test_so_many_instruments_that_each_would_have_too_few_notes_share_them(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "MOST_NOTES", 8)
    monkeypatch.setattr(selection, "MOST_NOTES_OF_SEVERAL", 8)
    clips = [("train", key, {"label": name}) for name in ("oboe", "horn", "viol") for key in (58, 60, 62, 64, 66)]
    model, network = coder()
    found = gestures_of(note_corpus(tmp_path / "c", clips), network, model)
    assert sum(len(one.notes) for one in found.instruments) == 8


def test_notes_of_a_stereo_corpus_have_images_of_their_sides(tmp_path):
    """A mono recording among them is in the middle."""
    with writing(tmp_path / "c", RATE) as writer:
        for key, level in ((60, 6.0), (62, -9.0), (64, None)):
            sound = tone(key)
            sides = None if level is None else np.stack([10 ** (level / 20) * sound, sound])
            track = np.full(-(-len(sound) // 1024), key, np.float32)
            writer.append(sound, track, name=f"{key}", group=f"{key}", sides=sides)
        writer.finish({f"{key}": "train" for key in (60, 62, 64)}, name="sides")
    corpus = Corpus.open(tmp_path / "c")
    model, network = coder()
    model.card.image = corpus_image(corpus)
    assert np.array(model.card.image)[5:20, 0] == pytest.approx(np.zeros(15), abs=0.5)  # the median
    [instrument] = gestures_of(corpus, network, model).instruments
    images = {round(note.key): note.stereo_image[5:20] for note in instrument.notes}
    for key, level in ((60, 6.0), (62, -9.0), (64, 0.0)):
        assert images[key][:, 0] == pytest.approx(np.full(15, level), abs=0.3)
        assert images[key][:, 1] == pytest.approx(np.ones(15), abs=0.02)


def test_a_corpus_without_single_notes_gives_none(tmp_path):
    model, network = coder()
    assert gestures_of(note_corpus(tmp_path / "c", [("train", None, {}), ("test", 60, {})]), network, model) is None


def test_one_note_alone_is_a_gesture(tmp_path):
    model, network = coder()
    found = gestures_of(note_corpus(tmp_path / "c", KEYS[:1]), network, model)
    assert len(found.instruments[0].notes) == 1


def test_many_notes_are_spread_over_keys_and_stay_small(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "MOST_NOTES", 4)
    monkeypatch.setattr(selection, "MOST_NOTES_OF_SEVERAL", 4)
    model, network = coder()
    found = gestures_of(note_corpus(tmp_path / "c", [KEYS[0]] * 3 + KEYS), network, model)
    notes = found.instruments[0].notes
    assert len({round(note.key) for note in notes}) == 4
    assert len(found.model_dump_json(exclude_unset=True)) < 4 * 2000 + 2000


def test_notes_begin_as_those_that_were_not_slurred_if_there_are_enough(tmp_path):
    def clips(struck):
        slurred = [("train", key, {"rise": 0.001, "slurred": True}) for key in (61, 63, 65)]
        return [("train", key, {"rise": 0.1}) for key in struck] + slurred

    model, network = coder()
    keys = []
    for name, struck in (("many", (60, 62, 64)), ("few", (60, 62))):
        [instrument] = gestures_of(note_corpus(tmp_path / name, clips(struck)), network, model).instruments
        keys.append({round(note.key) for note in instrument.notes})
    assert keys == [{60, 62, 64}, {60, 61, 62, 63, 65}]


def test_movement_of_the_level_is_what_the_grid_and_the_codes_lack():
    at = MOMENT_SECONDS * np.arange(801)
    course = -2.0 + 2.0 * np.sin(2 * np.pi * 5 * at) - 4.0 * np.clip((at - 0.7) / 0.1, 0, 1)
    note = SimpleNamespace(held_seconds=0.8, single=SimpleNamespace(key=60))
    levels = np.linspace(-3.0, 0.0, len(build.LEVELS_AT))
    code_db = 3.0  # a second: of the code, which is its own moment
    known = Model(MODELS / "gm-partials-8.onnx").card

    def frames(codes, keys):
        heights = np.zeros((len(codes), known.frame_width), np.float32)
        heights[:, 0] = 10 ** (code_db * codes[:, 0] / 20)
        return heights

    latents = [latent.model_copy(update={"low": -10.0, "high": 10.0}) for latent in known.latents]
    card = known.model_copy(update={"latents": latents})
    decoded = build._Levels(SimpleNamespace(card=card, decode=frames), np.eye(8))
    measured = SimpleNamespace(note=note, course=course)

    def held(moments):
        return np.tile(moments[:, np.newaxis], (1, 8))

    fields = decoded.loudness(measured, levels, held, np.zeros(8))
    found = np.frombuffer(zlib.decompress(base64.b64decode(fields["loudness"])), np.int8) / 2
    moments = np.arange(len(found)) * 512 / card.sample_rate
    assert len(found) == round(0.8 * card.sample_rate / 512)
    asked = np.interp(moments, at, course) - np.interp(moments, build.LEVELS_AT, levels) - code_db * moments
    assert found == pytest.approx(np.where(moments < 0.1, 0, np.clip(asked, -6, 6)), abs=0.26)
    plain = build._Levels(SimpleNamespace(card=coder()[0].card), np.eye(8))
    assert plain.loudness(measured, levels, held, np.zeros(8)) == {}


def test_wandering_is_as_strong_and_as_fast_as_in_the_notes(tmp_path):
    time = np.arange(3 * RATE) / RATE
    swing = 10 ** (3.0 * np.sin(2 * np.pi * 4 * time) / 20)
    with writing(tmp_path / "c", RATE) as writer:
        sound = (tone(60, seconds=3.0, held=2.6) * swing).astype(np.float32)
        writer.append(sound, np.full(-(-len(sound) // 1024), 60, np.float32), name="a", group="a")
        writer.finish({"a": "train"}, name="shaking")
    model, network = coder()
    found = gestures_of(Corpus.open(tmp_path / "c"), network, model)
    assert found.wander.level_db == pytest.approx(3 / np.sqrt(2), rel=0.2)
    assert found.wander.level_hz == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("rise", [0.03, 0.15, 0.4])
def test_an_instrument_plays_attacks_and_releases_as_recorded(analytic, tmp_path, rise):
    clips = [(split, note, options | {"rise": rise}) for split, note, options in KEYS]
    plain = analytic(name="plain")
    model, network = coder()
    found = gestures_of(note_corpus(tmp_path / "c", clips), network, model)
    flat = found.model_dump()
    for note in flat["instruments"][0]["notes"]:
        note["levels"] = (np.array(note["levels"]) - max(note["levels"])).tolist()  # this decoder is as loud anywhere
        note["codes"] = np.zeros_like(note["codes"]).tolist()
    ours = with_gestures(plain.path, tmp_path / "ours.onnx", flat)
    patch = Patch("ours", first_preset(ours), ours, tmp_path)
    note = cut(SingleNote(Clip("played", 0, 0, "played"), 61.0), tone(61, seconds=1.2, rise=rise), RATE)
    asked = note.sound
    near = nearness(asked, played(patch, 61, 127, note.held_seconds, len(asked)), RATE)
    assert near.attack_ms <= 10
    assert near.late_ms <= 20
    assert near.envelope_db <= 2.0
    bare = Patch("bare", first_preset(plain), plain, tmp_path)
    assert nearness(asked, played(bare, 61, 127, 0.8, len(asked)), RATE).envelope_db > near.envelope_db


def test_velocity_counts_as_far_as_the_notes_of_other_keys_tell():
    """Codes that go by velocity, and by chance from key to key: takes of a note's own key would say otherwise."""
    rng = np.random.default_rng(0)
    keys, speeds = np.repeat(np.arange(40.0, 60.0), 3), np.tile([32.0, 64.0, 96.0], 20)
    codes = np.stack([speeds / 10, np.repeat(5 * rng.standard_normal(20), 3)], axis=1)
    assert build.velocity_steps(np.stack([keys, speeds], axis=1), codes) <= 12
    by_key = np.stack([keys, keys], axis=1)
    assert build.velocity_steps(np.stack([keys, speeds], axis=1), by_key) >= 24
    assert build.velocity_steps(np.array([[60.0, 64.0]]), codes[:1]) == build.VELOCITY_STEPS[0]
