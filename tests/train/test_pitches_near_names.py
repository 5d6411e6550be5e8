"""Clips whose pitch no track finds have the one of their partials near their name's key, if names are right."""

import numpy as np
import pytest
import soundfile
from timbrel.host.model.partials import stretched
from timbrel.host.units import midi_to_hz, note_name
from timbrel.train.corpus.build import build
from timbrel.train.corpus.named_pitches import pitch_near, take_pitches_near_names
from timbrel.train.corpus.pitch import single_note
from timbrel.train.corpus.store import Corpus, writing

RATE = 44100
MIDDLE = range(52, 60)
LYING = (-12, -7, -5, -2, 2, 3, 5, 7, 12, 19)  # semitones from the sound to its name


def tone(note, seconds=1.0, fall=0.8, stiffness=0.0, decay=6.0, numbers=range(1, 25), noise=0.0):
    """Stretched partials that fall off by ``fall`` and fade by ``decay`` dB a second, beside noise: [samples]."""
    time, numbers = np.arange(round(seconds * RATE)) / RATE, np.array(numbers)
    hertz = midi_to_hz(note) * stretched(numbers, stiffness)
    numbers, hertz = numbers[hertz < 0.45 * RATE], hertz[hertz < 0.45 * RATE]
    partials = 0.1 * fall**numbers @ np.sin(2 * np.pi * np.outer(hertz, time) + numbers[:, np.newaxis] ** 2)
    hiss = noise * np.random.default_rng(0).standard_normal(len(time))
    return (partials * 10 ** (-decay * time / 20) + hiss).astype(np.float32)


LOW = tone(20.8, stiffness=2.4e-4, numbers=range(3, 25))  # as on a piano; its first two partials are faint
HIGH = 10 * tone(105.35, seconds=2.0, fall=0.1, decay=60.0, noise=5e-5)
RUMBLE, HUM = (0.2 * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE).astype(np.float32) for hertz in (20, 100))


@pytest.fixture
def taken(tmp_path):
    """A function that makes a corpus of (name, sound, note heard or None), and takes pitches; note by name, corpus."""

    def take(clips, roots=None):
        with writing(tmp_path / "corpus", RATE) as writer:
            for name, sound, heard in clips:
                heard_notes = np.nan if heard is None else heard
                track = np.full(-(-len(sound) // 1024), heard_notes, np.float32)
                writer.append(sound, track, name=name, group=name)
            take_pitches_near_names(writer, roots or {})
            writer.finish({clip.name: "train" for clip in writer.clips}, name="notes")
        corpus = Corpus.open(tmp_path / "corpus")
        return {clip.name: single_note(corpus.pitch(clip)) for clip in corpus.clips()}, corpus

    return take


def middle(octave=0):
    """Clips with a pitch, whose names are right."""
    return [(f"piano_{note_name(note + 12 * octave)}.wav", np.zeros(4096, np.float32), note + 0.1) for note in MIDDLE]


@pytest.mark.parametrize(
    ("name", "sound", "pitch"),
    [
        ("piano_A0.wav", LOW, 20.8),
        ("piano_A7.wav", HIGH, 105.35),
        ("piano_A7.wav", HIGH + HUM, 105.35),
        ("piano_C5.wav", tone(72.3), 72.3),
    ],
    ids=["too few periods", "fades early", "over a room's hum", "any"],
)
def test_a_clip_without_a_pitch_takes_that_of_its_partials(taken, name, sound, pitch):
    notes, corpus = taken([*middle(), (name, sound, None)])
    assert notes[name] == pytest.approx(pitch, abs=0.03)
    assert corpus.report.named == {name: name[6:8]}
    assert all(notes[other] == pytest.approx(heard) for other, _, heard in middle())


def test_a_pitch_a_semitone_away_from_its_name_counts_as_it_is(taken):
    notes, corpus = taken([*middle(), ("piano_C8.wav", tone(108.97, fall=0.1, decay=90.0), None)])
    assert notes["piano_C8.wav"] == pytest.approx(108.97, abs=0.03)
    assert corpus.report.misnamed == {"piano_C8.wav": "C#8 is heard"}
    assert corpus.report.named == {}


@pytest.mark.parametrize("octave", [-1, 1])
def test_octaves_are_counted_as_most_names_count_them(taken, octave):
    name = f"piano_{note_name(40 + 12 * octave)}.wav"
    notes, corpus = taken([*middle(octave), (name, tone(40), None)])
    assert notes[name] == pytest.approx(40, abs=0.03)
    assert corpus.report.named == {name: "E2"}


def test_root_keys_of_files_are_names_too(taken):
    clips = [(f"take {place}.wav", *clip[1:]) for place, clip in enumerate(middle())]
    roots = {name: int(heard) for name, _, heard in clips}
    notes, _ = taken([*clips, ("low.wav", LOW, None)], roots | {"low.wav": 21})
    assert notes["low.wav"] == pytest.approx(20.8, abs=0.03)


@pytest.mark.parametrize("interval", LYING)
@pytest.mark.parametrize("note", [24, 40, 64, 88, 100])
def test_a_name_that_lies_gives_no_pitch(note, interval):
    for fall in (0.5, 0.8, 0.95):
        assert pitch_near(tone(note, fall=fall), RATE, note + interval) is None


def test_a_tone_without_odd_partials_is_an_octave_higher():
    assert pitch_near(tone(52), RATE, 40) is None
    assert pitch_near(tone(40, numbers=(2, 3, 4, 5, 6, 7, 8, 9)), RATE, 40) == pytest.approx(40, abs=0.03)


def test_a_third_partial_is_no_note_of_its_own():
    """All partials of the higher note are there, and louder: three of the lower one's tell."""
    odd = tone(60.0, fall=0.95, numbers=(3, 6, 9, 12, 15)) + tone(60.0, fall=0.5, numbers=(1, 2, 4, 5))
    assert pitch_near(odd, RATE, 79) is None


@pytest.mark.parametrize(
    "sound",
    [
        np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32),
        sum(tone(60 + 12 * np.log2(ratio), numbers=[1]) for ratio in (1, 1.5933, 2.1355, 2.2954, 2.6531, 2.9173)),
        tone(60)[:2000],
        np.zeros(RATE, np.float32),
        tone(60) + tone(61.5),
    ],
    ids=["noise", "membrane", "too short", "silence", "two notes"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_sounds_without_partials_of_one_pitch_have_none(sound):
    assert pitch_near(sound, RATE, 60) is None


def test_a_key_above_the_rate_has_none():
    assert pitch_near(tone(60), 8000, 127) is None


def test_a_clip_with_other_pitches_stays_without(taken):
    """A trill, or two notes one after another: the longer one fills the measured part."""
    name, sound = "piano_C4.wav", tone(60)
    track = np.where(np.arange(44) < 12, 62.0, np.nan).astype(np.float32)
    assert single_note(track) is None
    notes, corpus = taken([*middle(), (name, sound, track)])
    assert notes[name] is None
    assert corpus.report.named == {}


def test_moments_of_a_third_partial_or_of_half_the_pitch_are_no_other_pitches(taken):
    track = np.where(np.arange(44) < 12, 79.0, np.nan).astype(np.float32)
    track[12:20] = 48.0
    notes, _ = taken([*middle(), ("piano_C4.wav", tone(60), track)])
    assert notes["piano_C4.wav"] == pytest.approx(60, abs=0.03)


@pytest.mark.parametrize(
    "others",
    [
        [],
        middle()[:3],
        [(name, sound, heard + 3) for name, sound, heard in middle()],
        [(name, sound, heard + (4 if place % 3 else 0)) for place, (name, sound, heard) in enumerate(middle())],
    ],
    ids=["none", "too few", "all contradict", "most contradict"],
)
def test_names_that_no_measured_pitches_confirm_say_nothing(taken, others):
    notes, _ = taken([*others, ("piano_C4.wav", tone(60), None)])
    assert notes["piano_C4.wav"] is None


def test_a_folder_keeps_its_lowest_and_highest_notes(tmp_path):
    keys = {f"piano_{note_name(key)}.wav": key for key in (21, 48, 52, 55, 59, 105)}
    (tmp_path / "sounds").mkdir()
    for name, key in keys.items():
        sound = LOW if key == 21 else HIGH + 2 * RUMBLE if key == 105 else tone(key)
        soundfile.write(tmp_path / "sounds" / name, sound, RATE)
    report = build([tmp_path / "sounds"], tmp_path / "corpus", split="1/0/0")
    corpus = Corpus.open(tmp_path / "corpus")
    found = {clip.name: single_note(corpus.pitch(clip)) for clip in corpus.clips()}
    assert {name: round(note) for name, note in found.items() if note} == keys
    assert set(report.named) == {"piano_A0.wav", "piano_A7.wav"}
