"""The kits that ship: drums on their General MIDI keys, digits on white ones, and tunes that play all of them."""

import itertools
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timbrel.export.fidelity.dynamics import performed_sides
from timbrel.export.first_preset import peaks_dbfs, played
from timbrel.host.engines.clip.synthesis import sound_of
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.kinds.clip import hits
from timbrel.host.kinds.general_midi_drums import DRUMS
from timbrel.host.midi.files import read_performance
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.learned_path import LARGEST_BYTES, path_file
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
RECORDED = ("stereo-kit", "spoken-words")  # their models contain the recordings
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TOGETHER = 9_000_000  # bytes of the models of recorded kits, with their encoders
EXCLUSIVE = {"hats": (42, 44, 46), "whistles": (71, 72), "guiros": (73, 74), "cuicas": (78, 79), "triangles": (80, 81)}


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
    new = "grand-piano electric-piano reed-organ jazz-vibraphone nylon-guitar finger-bass string-ensemble mixed-choir"
    newer = "warm-pad solo-oboe saw-lead stereo-kit spoken-words lakeside-learned"
    assert [*shipped_presets()] == f"{told} {later} {new} {newer}".split()


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


def recorded_hits(name):
    """Return the preset, and each key's recordings with their velocities."""
    patch = open_patch(name)
    return patch, hits(patch.preset.keys, patch.model.card)


def struck_alone(patch, key, velocity, length):
    """Return both sides of a single strike, [2, length], at the model's rate."""
    sides = performed_sides(patch, [NoteOn(0, 0, key, velocity), NoteOff(100, 0, key)], length)[:, :length]
    return np.pad(sides, ((0, 0), (0, length - sides.shape[1])))


@pytest.mark.parametrize("name", RECORDED)
def test_at_rest_a_key_is_its_recording_on_both_sides(name):
    patch, hits_by_key = recorded_hits(name)
    for key, (first, *others) in hits_by_key.items():
        recording = patch.model.recordings.sides(first.recording)
        recording = np.broadcast_to(recording, (2, recording.shape[1]))
        is_layer = any(hit.velocity != first.velocity for hit in others)
        sides = struck_alone(patch, key, first.velocity if is_layer else 64, recording.shape[1])
        gain = (sides * recording).sum() / np.square(recording).sum()
        np.testing.assert_allclose(sides, gain * recording, atol=1e-4 * np.abs(sides).max(), err_msg=f"key {key}")


def test_the_stereo_kit_has_all_drums_of_general_midi_each_by_its_name():
    patch, hits_by_key = recorded_hits("stereo-kit")
    assert {entry.key: entry.sound for entry in patch.preset.keys} == DRUMS
    names = {key: {patch.model.card.recordings[hit.recording].name for hit in hits_by_key[key]} for key in DRUMS}
    assert all(name.startswith(DRUMS[key]) for key in DRUMS for name in names[key])


def test_hats_ride_bell_and_toms_of_the_stereo_kit_are_in_stereo():
    patch, hits_by_key = recorded_hits("stereo-kit")
    for key in (41, 42, 44, 46, 49, 51, 53):
        left, right = patch.model.recordings.sides(hits_by_key[key][0].recording)
        assert np.square(left - right).sum() > 0.01 * np.square(left + right).sum(), DRUMS[key]


def test_kicks_and_snares_of_the_stereo_kit_have_a_recording_for_each_dynamic():
    patch, hits_by_key = recorded_hits("stereo-kit")
    for key in (35, 36, 38, 40):
        assert sorted(hit.velocity for hit in hits_by_key[key]) == [64, 96, 127]
        soft, usual, hard = (struck_alone(patch, key, velocity, RATE) for velocity in (40, 90, 120))
        for one, other in ((soft, usual), (usual, hard)):
            assert np.vdot(one, other) < 0.999 * np.linalg.norm(one) * np.linalg.norm(other)


@pytest.mark.parametrize("group", EXCLUSIVE)
def test_drums_that_one_hand_plays_choke_each_other(group):
    patch = open_patch("stereo-kit")
    assert {entry.key for entry in patch.preset.keys if entry.choke == group} == set(EXCLUSIVE[group])
    short, long = EXCLUSIVE[group][0], EXCLUSIVE[group][-1]
    cut, closed = (sounded(patch, *keys, apart=0.1) for keys in ((long, short), (short,)))
    after, delay = slice(round(0.12 * RATE), None), round(0.1 * RATE)
    np.testing.assert_allclose(cut[after], np.pad(closed, (delay, 0))[: len(cut)][after], atol=1e-4)


def test_the_stereo_kit_keeps_the_balance_of_its_soundfont():
    """Peaks at velocity 127, in dB under the snare's, as FluidSynth plays the soundfont without effects."""
    peaks = peaks_dbfs(open_patch("stereo-kit"), [36, 38, 42, 46, 49, 51])
    below_snare = {key: peaks[38] - peak for key, peak in peaks.items() if key != 38}
    assert below_snare == pytest.approx({36: 4.1, 42: 11.1, 46: 10.9, 49: 6.2, 51: 8.4}, abs=0.3)


def test_spoken_words_has_three_voices_on_white_keys_six_by_turns_from_middle_c():
    patch, hits_by_key = recorded_hits("spoken-words")
    names = {
        key: [patch.model.card.recordings[hit.recording].name for hit in taken] for key, taken in hits_by_key.items()
    }
    for digit, key in zip(DIGITS, WHITE, strict=True):
        assert sorted(names[key]) == sorted(f"{digit} rr{take}" for take in range(1, 13))
        assert (names[key - 24], names[key + 24]) == ([f"{digit} rr5"], [f"{digit} rr1"])
    assert len(names) == 30


def test_each_strike_of_a_word_is_another_recording():
    takes = np.split(sounded(open_patch("spoken-words"), *[64] * 4, apart=1, seconds=4), 4)
    for one, other in itertools.pairwise(takes):
        assert abs(np.vdot(one, other)) < 0.5 * np.linalg.norm(one) * np.linalg.norm(other)


def turned(patch, key, controller):
    """Return a strike with a controller at its lower end and at its upper one, [2, samples]."""
    strikes = [[ControlChange(0, 0, controller, value), NoteOn(RATE // 10, 0, key, 100)] for value in (0, 127)]
    return [played(patch, strike, 2 * RATE)[0, RATE // 10 :] for strike in strikes]


def ringing_seconds(sound):
    """Return the time by which nine tenths of the energy have sounded."""
    energy = np.cumsum(np.square(sound, dtype=np.float64))
    return np.searchsorted(energy, 0.9 * energy[-1]) / RATE


@pytest.mark.parametrize("name", RECORDED)
def test_knobs_of_recorded_kits_do_as_they_are_named(name):
    patch = open_patch(name)
    names = ["pitch", "start", "length", "reverse", "decay", "brightness"]
    assert [macro.name for macro in patch.preset.macro] == names
    keys = [entry.key for entry in patch.preset.keys][::3]
    for controller, measure in ((16, middle_hz), (18, ringing_seconds), (20, ringing_seconds), (21, middle_hz)):
        pairs = np.array([[measure(sound) for sound in turned(patch, key, controller)] for key in keys])
        assert (pairs[:, 0] < pairs[:, 1]).mean() > 0.8, (controller, pairs)


@pytest.mark.parametrize(("name", "key"), [("stereo-kit", 38), ("spoken-words", 60)])
def test_start_begins_later_and_reverse_plays_backwards(name, key):
    patch = open_patch(name)
    whole, later = turned(patch, key, 17)
    assert np.square(later).sum() < np.square(whole).sum()
    forwards, backwards = turned(patch, key, 19)
    correlations = np.fft.irfft(np.fft.rfft(forwards) * np.fft.rfft(backwards))  # of one with the other's reverse
    assert correlations.max() > 0.95 * np.square(forwards).sum()


def test_no_take_of_a_word_comes_nearer_to_full_scale_than_a_decibel():
    """`peaks_dbfs` measures each key's first take."""
    patch = open_patch("spoken-words")
    for key in WHITE:
        strikes = [NoteOn(take * RATE, 0, key, 127) for take in range(12)]
        assert np.abs(played(patch, strikes, 12 * RATE)).max() <= 10 ** (-1 / 20), key


def coefficients(sound, rate):
    """Return mean mel-frequency cepstral coefficients of twelve equal parts of a word."""
    word, _ = librosa.effects.trim(np.pad(sound, 512) / np.abs(sound).max(), top_db=35, frame_length=256, hop_length=64)
    found = librosa.feature.mfcc(y=word, sr=rate, n_mfcc=16, n_fft=256, hop_length=64, n_mels=40, fmin=80)
    return np.concatenate([part.mean(1) for part in np.array_split(found, 12, axis=1)])


def test_every_recorded_word_is_heard_as_its_digit_and_none_is_faint():
    """The judge has learned words of an older model, digits-spoken, at the codes of its own training recordings."""
    older, patch = Model(shipped_models()["digits-spoken"]), open_patch("spoken-words")
    known = [mark for mark in older.card.landmarks if mark.label in older.card.labels]
    labels = np.array([older.card.labels.index(mark.label) for mark in known])
    frames = older.decode(np.array([mark.latent for mark in known], np.float32), np.eye(10, dtype=np.float32)[labels])
    words = sound_of(older.card)(frames)
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    judge.fit(np.stack([coefficients(word, older.card.sample_rate) for word in words]), labels)
    card, recordings = patch.model.card, patch.model.recordings
    sounds = [recordings.sides(index)[0] for index in range(len(card.recordings))]
    digits = np.array([DIGITS.index(recording.label) for recording in card.recordings])
    heard = judge.predict(np.stack([coefficients(sound, card.sample_rate) for sound in sounds]))
    assert (heard == digits).mean() > 0.9
    assert min(np.sqrt(np.square(sound).mean()) for sound in sounds) > 0.02


def test_models_with_recordings_are_small_and_state_licence_and_credits():
    models = [open_patch(name).model for name in RECORDED]
    assert sum(path.stat().st_size for model in models for path in (model.path, encoder_path(model.path))) < TOGETHER
    assert [(model.card.license, model.card.credits.split(" by ")[0]) for model in models] == [
        ("MIT", "FluidR3 GM"),
        ("CC-BY-SA-4.0", "Free Spoken Digit Dataset"),
    ]


def test_its_files_are_small_and_say_where_the_sounds_are_from(patch):
    path = patch.model.path
    assert max(path.stat().st_size, encoder_path(path).stat().st_size) < LARGEST
    card = patch.model.card
    assert (card.license, card.credits.split(" by ")[0]) in (
        ("MIT", "FluidR3 GM"),
        ("CC-BY-SA-4.0", "Free Spoken Digit Dataset"),
    )


def test_the_learned_path_that_ships_is_small_proved_and_in_the_public_domain():
    patch = open_patch("lakeside-learned")
    assert path_file(patch.model.path).stat().st_size < LARGEST_BYTES
    assert (patch.model.card.license, patch.path.card.license) == ("CC0-1.0", "CC0-1.0")
    assert patch.path.verify().passed


def test_the_learned_path_that_ships_stays_among_the_codes_of_recordings():
    """Three minutes: without an end of its memory it would lie at the ends of the ranges, where 2 % of codes are."""
    patch = open_patch("lakeside-learned")
    card, start = patch.model.card, np.array(patch.preset.latent.values, np.float32)
    walked = patch.path.walk(start, patch.preset.motion[0].learned.seed)
    codes = np.array([next(walked) for _ in range(round(180 * card.sample_rate / card.learned_path.step_length))])
    low, high = np.array(card.spans, np.float32).T
    assert ((codes <= low) | (codes >= high)).mean() < 0.06
    shares = codes.std(0) / [latent.std for latent in card.latents]
    assert 0.6 < shares.mean() < 1.2


@pytest.mark.parametrize("name", [DEMO, KEYS, "digits-keys", "digits-gan", "lakeside-walk", "grand-piano", "gm-hall"])
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
    players = "1=electric-piano, 2=lakeside-knobs" if name == DEMO else f"preset {name} plays {tune.name}"
    assert f"{stem}.wav: {players}" in ended.out
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.wav", f"{stem}.png"}
    if name == KEYS:
        sound = (tmp_path / f"{stem}.wav").read_bytes()
        (tmp_path / f"{stem}.wav").write_bytes(b"")
        assert timbrel("demo", name, "--overwrite").status == 0
        assert (tmp_path / f"{stem}.wav").read_bytes() == sound


@pytest.mark.parametrize("name", ["demo.wav", "demo.png"])
def test_a_demo_replaces_no_file_unless_it_is_asked_to(timbrel, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("the user's own")
    ended = timbrel("demo")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"timbrel: {name} exists; give --overwrite to replace it, or go to another folder\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "the user's own"


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
