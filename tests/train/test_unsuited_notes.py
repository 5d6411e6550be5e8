"""Chords, speech and a note that changes colour are recognised, and single notes are not taken for them."""

import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import build
from timbrel.train.corpus.content import changes_colour, one_note_share, survey_sounds, unsuited_notes
from timbrel.train.corpus.store import Corpus

RATE = 44100
SECONDS = 1.2
KINDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 5, 9))  # semitones: triads, a seventh, an inversion


def note(key, seconds=SECONDS, harmonics=12, first=1, stiffness=0.0, fall=1.0):
    """A decaying harmonic sound; of a stiff string the partials are stretched."""
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = 440 * 2 ** ((key - 69) / 12)
    numbers = [n for n in range(first, harmonics + 1) if n * hertz < RATE / 3]
    waves = (n**-fall * np.sin(2 * np.pi * n * hertz * (1 + stiffness * n * n) ** 0.5 * time + n) for n in numbers)
    return (0.1 * np.exp(-time) * sum(waves)).astype(np.float32)


def chord(root, kind):
    return np.sum([note(root + interval) for interval in kind], axis=0)


def talk(seed, seconds=4.0):
    """Syllables of .18 s whose pitch falls by a fifth, with pauses."""
    rng, parts = np.random.default_rng(seed), []
    while sum(map(len, parts)) < seconds * RATE:
        time = np.arange(round(0.18 * RATE)) / RATE
        phase = 2 * np.pi * np.cumsum(rng.uniform(110, 160) * 2 ** (-7 / 12 * time / time[-1])) / RATE
        parts += [np.hanning(len(time)) * sum(np.sin(n * phase) / n for n in range(1, 12)), np.zeros(RATE // 10)]
    return (0.2 * np.concatenate(parts)).astype(np.float32)


def vibrato(key):
    """Half a semitone deep, as an opera singer's."""
    time = np.arange(3 * RATE) / RATE
    hertz = 440 * 2 ** ((key - 69 + 0.5 * np.sin(2 * np.pi * 5.5 * time)) / 12)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return (0.1 * sum(np.sin(n * phase) / n for n in range(1, 9))).astype(np.float32)


def sweep(seconds=4.0):
    """One held note under a filter that opens over four octaves."""
    time = np.arange(round(seconds * RATE)) / RATE
    cutoff = 300 * 16 ** (time / seconds)
    partials = (np.sin(2 * np.pi * 110 * n * time) / n / (1 + (110 * n / cutoff) ** 4) for n in range(1, 100))
    return (0.2 * sum(partials)).astype(np.float32)


@pytest.fixture
def corpus_of(tmp_path):
    def corpus(sounds):
        (tmp_path / "sounds").mkdir()
        for number, sound in enumerate(sounds):
            soundfile.write(tmp_path / "sounds" / f"{number}.wav", sound, RATE)
        build([tmp_path / "sounds"], tmp_path / "corpus")
        return Corpus.open(tmp_path / "corpus")

    return corpus


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("root", [45, 60])
def test_partials_of_a_chord_are_not_those_of_one_note(root, kind):
    assert one_note_share(chord(root, kind), RATE) < 0.8


@pytest.mark.parametrize("key", [31, 45, 60, 84])
@pytest.mark.parametrize("form", [{}, {"first": 2}, {"stiffness": 4e-4}, {"fall": 0.3}])
def test_partials_of_a_note_are(key, form):
    assert one_note_share(note(key, **form), RATE) > 0.95


def test_several_notes_at_once_are_warned_of_with_a_better_way(corpus_of):
    warning = unsuited_notes(corpus_of([chord(root, KINDS[root % 4]) for root in range(48, 56)]))
    assert "several notes at once" in warning
    assert "record single notes" in warning
    assert "\n" not in warning


def test_speech_is_warned_of_with_a_better_way(corpus_of):
    warning = unsuited_notes(corpus_of([talk(seed) for seed in range(3)]))
    assert "like speech" in warning
    assert "--family grain" in warning
    assert "\n" not in warning


def test_notes_are_not_warned_of(corpus_of):
    sounds = [*(note(key) for key in range(48, 55)), vibrato(60), vibrato(67), note(40, stiffness=4e-4)]
    assert unsuited_notes(corpus_of(sounds)) == ""


def test_one_note_that_changes_colour_is_refused_with_the_family_that_keeps_its_colours(tmp_path):
    soundfile.write(tmp_path / "sweep.wav", sweep(), RATE)
    with pytest.raises(UserError, match=r"one note that changes colour: A2, .*; give --family grain"):
        survey_sounds([tmp_path / "sweep.wav"])
    assert "1 sound" in survey_sounds([tmp_path / "sweep.wav"], alone=True)


def test_a_decaying_note_and_silence_do_not_change_colour():
    assert changes_colour(sweep(), RATE)
    assert not changes_colour(note(48, 4.0), RATE)
    assert not changes_colour(np.zeros(RATE, np.float32), RATE)
