"""The kits that ship: drums on their General MIDI keys, digits on white ones, and tunes that play all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.midi.files import read_performance
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import remarks
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import (
    DEMO,
    KEYS,
    MIDI,
    PARTS,
    PRESETS,
    SUCCESSORS,
    current_presets,
    earlier_presets,
    shipped_models,
    shipped_presets,
    shipped_tunes,
)
from timbrel.host.resynthesis.distance import distances_db
from timbrel.host.spectra import log_mel
from timbrel.train.corpus.soundfont import DRUM_CLASSES
from timbrel.train.metrics.clips import pairwise_within

RATE = 44100
WORDS = ("digits-keys", "digits-gan")
TUNES = {"drum-kit": "drum-kit", "digits-keys": "digits-keys", "digits-gan": "digits-keys"}  # by kit
LARGEST = 6_000_000  # bytes of a file
WHITE = (60, 62, 64, 65, 67, 69, 71, 72, 74, 76)


def sounded(patch, *keys, apart=0.3, seconds=2.0):
    """The sound, mono, of keys struck one after another."""
    events = [event for n, key in enumerate(keys) for event in struck(round(n * apart * RATE), key)]
    return Rack({0: patch}, RATE).process(events, round(seconds * RATE))[0].mean(0)


def struck(time, key):
    return [NoteOn(time, 0, key, 100), NoteOff(time + 100, 0, key)]


def middle_hz(sound):
    """Where half of its energy lies below."""
    power = np.cumsum(np.abs(np.fft.rfft(sound)) ** 2)
    return np.searchsorted(power, power[-1] / 2) * RATE / len(sound)


@pytest.fixture(scope="module", params=TUNES)
def patch(request):
    return open_patch(request.param)


def test_the_changelog_counts_what_ships():
    told = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    counts = [len(shipped_models()), len(shipped_presets()), len([*MIDI.glob("*.mid")])]
    assert "Ships {} models, {} presets and {} tunes.".format(*counts) in told


def test_presets_keep_the_program_numbers_of_earlier_versions():
    told = "digits-keys drum-kit drum-loops gm-hall gm-keys gm-lead gm-oboe gm-pad gm-strings lakeside-knobs"
    later = "lakeside-post lakeside-soundscape lakeside-walk digits-gan"
    assert [*shipped_presets()][:14] == f"{told} {later}".split()


def test_lists_show_the_current_presets_and_then_those_with_a_successor():
    earlier = earlier_presets()
    assert not current_presets().keys() & earlier.keys()
    assert {*current_presets(), *earlier} == {*shipped_presets()} == {path.stem for path in PRESETS.glob("*.toml")}
    assert all(earlier[name] == f"(earlier; now {SUCCESSORS[name]})" for name in earlier)


def test_each_drum_is_on_a_general_midi_key_of_its_kind():
    keys = open_patch("drum-kit").preset.keys
    assert len(keys) == 10
    for entry in keys:
        assert entry.label == DRUM_CLASSES[entry.key]
        assert entry.code is None


@pytest.mark.parametrize("name", WORDS)
def test_the_white_keys_from_middle_c_on_say_zero_to_nine(name):
    assert {entry.key: entry.label for entry in open_patch(name).preset.keys} == {
        key: str(digit) for digit, key in enumerate(WHITE)
    }


def test_its_keys_sound_each_another_sound_and_no_other_key_does(patch):
    assert np.abs(sounded(patch, 34)).max() == 0
    sounds = np.array([sounded(patch, entry.key) for entry in patch.preset.keys])
    assert (np.abs(sounds).max(axis=1) > 0.02).all()
    heard = np.abs(np.fft.rfft(sounds))
    heard /= np.linalg.norm(heard, axis=1, keepdims=True)
    assert (heard @ heard.T - np.eye(len(heard))).max() < 0.95


def test_codes_of_a_word_of_the_gan_sound_nearly_as_far_apart_as_recordings():
    """A generator that has collapsed leaves .7 dB; recordings lie 19.1 dB apart."""
    model = Model(shipped_models()["digits-gan"])
    low, high = np.array([(latent.low, latent.high) for latent in model.card.latents]).T
    labels = np.arange(60) % 10
    codes = np.random.default_rng(0).uniform(low, high, (60, len(low))).astype(np.float32)
    levels = log_mel(model.decode(codes, np.eye(10, dtype=np.float32)[labels]), model.card.sample_rate)
    assert pairwise_within(distances_db(levels, levels), labels) > 15


def test_a_kick_is_low_a_snare_higher_and_hats_highest():
    patch = open_patch("drum-kit")
    kick, snare, closed, opened = (middle_hz(sounded(patch, key)) for key in (36, 38, 42, 46))
    assert kick < 200 < snare < 3000 < min(closed, opened)


def test_a_closed_hat_cuts_the_open_one():
    patch = open_patch("drum-kit")
    alone, cut, closed = (sounded(patch, *keys) for keys in ((46,), (46, 42), (42,)))
    after = slice(round(0.32 * RATE), None)
    moved = np.concatenate([np.zeros(round(0.3 * RATE), np.float32), closed])[: len(cut)]
    assert np.square(alone[after]).sum() > 0.01 * np.square(alone).sum()
    np.testing.assert_allclose(cut[after], moved[after], atol=1e-4)


@pytest.mark.parametrize("name", TUNES)
def test_its_tune_plays_every_key_and_no_other_and_nothing_is_remarked(name):
    performance = read_performance(shipped_tunes()[TUNES[name]], RATE)
    keys = {entry.key for entry in open_patch(name).preset.keys}
    assert {event.key for event in performance.events if isinstance(event, NoteOn)} == keys
    assert performance.warnings == []
    assert remarks(performance, name, (), kit=True) == []


def test_drums_that_no_kit_plays_are_remarked():
    performance = read_performance(shipped_tunes()["drum-kit"], RATE)
    assert "channel 10, drums in General MIDI, is played by gm-keys" in remarks(performance, "gm-keys", ())[0]


def test_its_files_are_small_and_say_where_the_sounds_are_from(patch):
    path = patch.model.path
    assert max(path.stat().st_size, encoder_path(path).stat().st_size) < LARGEST
    card = patch.model.card
    assert (card.license, card.credits.split(" by ")[0]) in (
        ("MIT", "FluidR3 GM"),
        ("CC-BY-SA-4.0", "Free Spoken Digit Dataset"),
    )


@pytest.mark.parametrize("name", [DEMO, KEYS, "drum-kit", "digits-keys", "digits-gan", "lakeside-walk", "gm-hall"])
def test_a_demo_is_a_tune_and_a_picture(timbrel, tmp_path, monkeypatch, name):
    """The tune and the picture are those of its first second: all of it takes long."""

    def beginning(path, rate):
        whole = read_performance(path, rate)
        heard = [event for event in whole.events if event.time < rate]
        ends = [replace(event, time=rate) for event in whole.events[len(heard) :] if isinstance(event, NoteOff)]
        return whole._replace(events=[*heard, *ends], length=rate)

    monkeypatch.setattr("timbrel.host.commands.demo.read_performance", beginning)
    monkeypatch.chdir(tmp_path)
    ended = timbrel("demo", *([] if name == DEMO else [name]))
    assert ended.status == 0, ended.err
    stem, tune = "demo" if name == DEMO else name, shipped_tunes()[name]
    players = "1=gm-keys, 2=lakeside-knobs" if name == DEMO else f"preset {name} plays {tune.name}"
    assert f"{stem}.wav: {players}" in ended.out
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.wav", f"{stem}.png"}


def test_a_demo_of_an_unknown_preset_is_refused(timbrel):
    ended = timbrel("demo", "gm-key")
    assert ended.status == 2
    assert "no shipped preset is named 'gm-key'; did you mean 'gm-keys'?" in ended.err


def test_the_tune_of_five_systems_has_a_channel_for_each_of_its_kinds_and_every_note_sounds():
    performance = read_performance(shipped_tunes()[DEMO], RATE)
    assert performance.warnings == []
    assert [channel + 1 for channel in performance.channels] == list(PARTS[DEMO])
    patches = {channel - 1: open_patch(name) for channel, name in PARTS[DEMO].items()}
    assert {patch.model.card.kind for patch in patches.values()} == {"partials", "grain", "clip", "stream"}
    sung = {key.key for key in patches[2].preset.keys}
    assert {event.key for event in performance.events if isinstance(event, NoteOn) and event.channel == 2} <= sung
