"""Octaves that are heard otherwise than names say are settled by partials, and told."""

from types import MappingProxyType

import numpy as np
import pytest
from timbrel.host.units import midi_to_hz, note_name
from timbrel.train.corpus.named_pitches import settle_octaves
from timbrel.train.corpus.pitch import single_note
from timbrel.train.corpus.store import Corpus, writing

GERMAN = ["C", "Cis", "D", "Es", "E", "F", "Fis", "G", "As", "A", "B", "H"]
RATE, SOLFEGE = 44100, ["do", "do#", "re", "re#", "mi", "fa", "fa#", "sol", "sol#", "la", "la#", "si"]


def tone(note, odd=1.0):
    """A second of harmonics; ``odd`` is the height of odd ones, without which an octave higher is heard."""
    time, number = np.arange(RATE) / RATE, np.arange(1, 13)
    heights = 0.8**number * np.where(number % 2, odd, 1.0)
    return (0.1 * heights @ np.sin(2 * np.pi * np.outer(midi_to_hz(note) * number, time))).astype(np.float32)


@pytest.fixture
def settled(tmp_path):
    """A function that makes a corpus of (name, sounding note, note heard, height of odd partials), and settles it."""

    def make(notes, hum=MappingProxyType({}), roots=MappingProxyType({})):
        with writing(tmp_path / "corpus", RATE) as writer:
            for name, sounding, heard, odd in notes:
                sound = tone(sounding, odd)
                if name in hum:
                    sound += (0.05 * np.sin(2 * np.pi * hum[name] * np.arange(RATE) / RATE)).astype(np.float32)
                track = np.full(-(-len(sound) // 1024), heard, np.float32)
                writer.append(sound, track, name=name, group=name)
            settle_octaves(writer, roots)
            writer.finish({clip.name: "train" for clip in writer.clips}, name="notes")
        return Corpus.open(tmp_path / "corpus")

    return make


def named(how, note):
    letters = note_name(note)
    return {
        "sharp": f"flute_{letters}_1.wav",
        "s": f"flute_{letters.replace('#', 's')}_1.wav",
        "middle C is C3": f"a {note_name(note - 12)}.wav",
        "solfege": f"{SOLFEGE[note % 12]}{note // 12 - 1}.wav",
        "number": f"pluck-{note}-rr2.wav",
        "number and take": f"{note:03}_07.wav",
        "number and velocity": f"x_{note:03}_{60 + note % 3}.wav",
        "tracker": f"{letters if '#' in letters else f'{letters[0]}-{letters[1]}'}.wav",
        "German": f"{GERMAN[note % 12]}{note // 12 - 1}.wav",
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        *("sharp", "s", "middle C is C3", "solfege", "number", "number and take", "number and velocity", "tracker"),
        "German",
    ],
)
def test_an_octave_that_is_heard_wrongly_is_corrected_by_the_name_and_one_that_is_not_stays(settled, how):
    right = [(named(how, note), note, note + 0.1, 1.0) for note in range(55, 67)]
    faint = (named(how, 54), 54, 66.1, 0.05)  # its odd partials are 26 dB down: half its period was heard
    lying = (named(how, 72), 60, 60.1, 1.0)
    corpus = settled([*right, faint, lying])
    heard = {clip.name: single_note(corpus.pitch(clip)) for clip in corpus.clips()}
    for name, note, _, _ in [*right, (*faint[:1], 54, 0, 0), lying]:
        assert heard[name] == pytest.approx(note + 0.1, abs=1e-4)
    assert corpus.report.corrected == {faint[0]: "F#3, heard as F#4"}
    assert corpus.report.misnamed == {lying[0]: "C4 is heard"}
    assert "corrected        1  octaves as their names say" in corpus.report.text()


def test_a_higher_note_that_is_heard_an_octave_low_is_corrected(settled):
    right = [(named("sharp", note), note, note, 1.0) for note in range(55, 67)]
    low = (named("sharp", 70), 70, 58.0, 1.0)
    corpus = settled([*right, low])
    assert corpus.report.corrected == {low[0]: "A#4, heard as A#3"}


def test_one_partial_of_a_lower_note_is_hum_and_no_note(settled):
    right = [(named("sharp", note), note, note, 1.0) for note in range(55, 67)]
    corpus = settled([*right, (named("sharp", 70), 70.0, 58.0, 1.0)], hum={named("sharp", 70): 3 * midi_to_hz(58)})
    assert list(corpus.report.corrected) == [named("sharp", 70)]


def test_an_octave_is_corrected_by_the_root_keys_of_files(settled):
    right = [(f"take {letter}.wav", note, note, 1.0) for letter, note in zip("abcdefgh", range(55, 63), strict=True)]
    faint = ("take i.wav", 54, 66.0, 0.05)
    roots = {name: round(note) for name, note, _, _ in [*right, faint]}
    assert settled([*right, faint], roots=roots).report.corrected == {"take i.wav": "F#3, heard as F#4"}


def test_names_of_one_spelling_contradict_no_note_of_another(settled):
    notes = [(named("German", note), note, note, 1.0) for note in range(55, 67)]
    assert settled([*notes, ("As5.wav", 82, 82, 1.0)]).report.misnamed == {"As5.wav": "A#5 is heard"}


@pytest.mark.parametrize(
    "notes",
    [
        [(f"take {note}.wav", 60 + note % 7, 60 + note % 7, 1.0) for note in range(30, 50)],
        [("A4.wav", 69, 57, 1.0)],
        [(f"{note}.wav", note, note + 12, 1.0) for note in range(40, 50)],
    ],
    ids=["numbers of takes", "too few", "another count of octaves"],
)
def test_names_that_say_nothing_correct_nothing(settled, notes):
    corpus = settled(notes)
    assert corpus.report.corrected == {}
    assert corpus.report.misnamed == {}
    assert [single_note(corpus.pitch(clip)) for clip in corpus.clips()] == [heard for _, _, heard, _ in notes]
