"""Melodies are cut into notes, against melodies whose notes are known."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.units import midi_to_hz
from timbrel.train.commands import corpus_build
from timbrel.train.corpus import note_segmentation
from timbrel.train.corpus.build import build
from timbrel.train.corpus.clip_table import recording_of
from timbrel.train.corpus.content import melodic_share
from timbrel.train.corpus.note_segmentation import is_melody, segment_notes
from timbrel.train.corpus.pitch import pitch_track
from timbrel.train.corpus.store import Corpus

RATE = 44100
# (onset and end in seconds, MIDI note): a rest, a slur, a key struck again, an octave, a semitone
PLAYED = [
    (0.30, 0.62, 60.0),
    (0.70, 1.00, 64.2),
    (1.00, 1.35, 65.2),
    (1.60, 1.90, 53.0),
    (1.95, 2.30, 53.0),
    (2.45, 2.90, 77.0),
    (2.90, 3.30, 89.0),
]
SLURRED = [False, False, True, False, False, False, True]


def melody(played=PLAYED, rate=RATE, attack=0.02, vibrato=0.0, seconds=3.6):
    """Notes of eight partials that rise in ``attack`` seconds; ``vibrato`` in semitones, at 5.5 Hz."""
    time = np.arange(round(seconds * rate)) / rate
    sound = np.zeros(len(time))
    for on, off, note in played:
        since = time - on
        turns = np.cumsum(midi_to_hz(note) * 2 ** (vibrato * np.sin(2 * np.pi * 5.5 * since) / 12)) / rate
        kept = [k for k in range(1, 9) if k * midi_to_hz(note) < 0.45 * rate]
        wave = sum(np.sin(2 * np.pi * k * turns) / k for k in kept)
        level = np.clip(since / attack, 0, 1) * np.clip((off - time) / 0.02 + 1, 0, 1)
        sound += 0.2 * wave * level
    noise = np.random.default_rng(1).standard_normal(len(time))
    return (sound + 1e-4 * noise).astype(np.float32)


def is_played(notes, rate=RATE):
    """Return whether notes lie within 30 cents and 30 ms of `PLAYED`, slurred ones within 45 ms."""
    assert [note.pitch for note in notes] == pytest.approx([note for *_, note in PLAYED], abs=0.3)
    late = np.abs([note.start / rate - on for note, (on, *_) in zip(notes, PLAYED, strict=True)])
    return bool((late < np.where(SLURRED, 0.045, 0.03)).all())


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_notes_are_found_at_any_rate(rate):
    assert is_played(segment_notes(melody(rate=rate), rate), rate)


@pytest.mark.parametrize("attack", [0.005, 0.06])
def test_a_slow_attack_begins_where_it_is_heard_first(attack):
    assert is_played(segment_notes(melody(attack=attack), RATE))


def test_notes_without_a_gap_are_slurred_and_end_where_the_next_begins():
    notes = segment_notes(melody(), RATE)
    assert [note.slurred for note in notes] == SLURRED
    for (_, off, _), note, after in zip(PLAYED, notes, [*notes[1:], None], strict=True):
        if after is not None and after.slurred:
            assert note.stop == after.start
        else:
            assert off < note.stop / RATE < off + 0.06


def test_vibrato_divides_no_note():
    notes = segment_notes(melody(vibrato=0.6), RATE)
    assert [note.pitch for note in notes] == pytest.approx([note for *_, note in PLAYED], abs=0.3)


def test_an_attack_in_two_steps_is_one_note():
    sound = melody([(0.3, 1.2, 72.0)], seconds=1.5)
    time = np.arange(len(sound)) / RATE
    breath = np.where(time < 0.42, 0.25, 1.0)  # a soft beginning, as of a flute
    assert len(segment_notes((sound * breath).astype(np.float32), RATE)) == 1


def test_a_note_over_one_that_rings_on_is_heard_and_not_their_common_period():
    notes = segment_notes(melody([(0.3, 1.4, 55.0), (0.9, 1.4, 62.0)], seconds=1.7), RATE)
    assert [round(note.pitch) for note in notes] == [55, 62]


def test_a_long_recording_is_cut_in_pieces_that_change_nothing(monkeypatch):
    sound = melody()
    whole = segment_notes(sound, RATE)
    monkeypatch.setattr(note_segmentation, "PIECE", 100)
    assert segment_notes(sound, RATE) == whole


def overlapping(played, attack, release, wobble=0.0, depth=0.0, seconds=3.6):
    """Notes of eight partials that rise in ``attack`` seconds and fall by 8.7 dB in each ``release`` after their end.

    ``wobble`` is a tremolo's rate in Hz, ``depth`` its part of the level.
    """
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 1e-4 * np.random.default_rng(1).standard_normal(len(time))
    for on, off, note in played:
        wave = sum(np.sin(2 * np.pi * k * midi_to_hz(note) * (time - on)) / k for k in range(1, 9))
        level = np.clip((time - on) / attack, 0, 1) * np.exp(-np.clip(time - off, 0, None) / release)
        sound += 0.2 * wave * level * (1 - depth * (1 + np.cos(2 * np.pi * wobble * (time - on))) / 2)
    return sound.astype(np.float32)


@pytest.mark.parametrize("lowest", [40.0, 52.0, 64.0])
def test_a_soft_beginning_under_the_release_of_the_note_before_is_found(lowest):
    steps = (0, 3, 2, 7, 5, 6, 1)
    played = [(0.3 + 0.45 * place, 0.75 + 0.45 * place, lowest + step) for place, step in enumerate(steps)]
    notes = segment_notes(overlapping(played, attack=0.15, release=0.08), RATE)
    assert [note.pitch for note in notes] == pytest.approx([note for *_, note in played], abs=0.3)
    assert [note.start / RATE for note in notes] == pytest.approx([on for on, *_ in played], abs=0.03)


@pytest.mark.parametrize("pair", [(59.0, 55.0), (58.0, 54.0)])
def test_the_common_period_of_two_strings_that_ring_is_no_note(pair):
    first, second = pair
    notes = segment_notes(overlapping([(0.3, 0.6, first), (0.9, 1.4, second)], 0.005, 0.6, seconds=1.7), RATE)
    assert [note.pitch for note in notes] == pytest.approx([first, second], abs=0.3)


def test_an_attack_with_the_pitch_of_a_subharmonic_is_no_note():
    sound = melody([(0.3, 0.4, 64.0 - 12 * np.log2(3)), (0.4, 1.2, 64.0)], seconds=1.5)
    (note,) = segment_notes(sound, RATE)
    assert note.pitch == pytest.approx(64.0, abs=0.3)
    assert note.start / RATE == pytest.approx(0.3, abs=0.03)


def test_a_deep_tremolo_divides_no_note():
    tremolo = overlapping([(0.3, 2.8, 60.0)], attack=0.4, release=0.05, wobble=8.0, depth=0.8)
    assert [round(note.pitch) for note in segment_notes(tremolo, RATE)] == [60]


def test_a_note_begins_with_the_tongue_though_fingers_moved_before():
    played = [(0.3, 0.62, 60.0), (0.62, 0.66, 61.0), (0.7, 1.2, 61.0)]
    notes = segment_notes(melody(played, attack=0.01, seconds=1.5), RATE)
    assert [note.pitch for note in notes] == pytest.approx([60.0, 61.0], abs=0.3)
    assert notes[1].start / RATE == pytest.approx(0.7, abs=0.03)


@given(seed=st.integers(0, 2**32 - 1))
def test_notes_of_any_sound_are_in_order_and_within_it(seed):
    rng = np.random.default_rng(seed)
    rate = int(rng.choice([8000, 22050, 48000]))
    time = np.arange(round(rate * rng.uniform(0.02, 1.5))) / rate
    sound = rng.standard_normal(len(time)) * 10 ** rng.uniform(-6, -1)
    for _ in range(rng.integers(0, 8)):  # tones and glides at any moment, of any level, one over the other
        since = time - rng.uniform(-0.2, 1.5)
        keys = rng.uniform(20, 110) + rng.normal(0, 10) * since
        turns = np.cumsum(np.clip(midi_to_hz(0) * 2 ** (keys / 12), 1, 0.45 * rate)) / rate
        sounding = (since >= 0) & (since < rng.uniform(0.01, 1.0))
        sound += sounding * rng.uniform(0.001, 0.5) * np.sin(2 * np.pi * turns)
    notes = segment_notes(sound.astype(np.float32), rate)
    bounds = [0, *(edge for note in notes for edge in (note.start, note.stop)), len(sound)]
    assert bounds == sorted(bounds)
    assert all(note.start < note.stop for note in notes)


def test_neither_silence_nor_noise_has_notes():
    assert segment_notes(np.zeros(RATE, np.float32), RATE) == []
    noise = 0.1 * np.random.default_rng(2).standard_normal(3 * RATE).astype(np.float32)
    assert segment_notes(noise, RATE) == []


def melodic(sound, rate=RATE):
    return is_melody(sound, pitch_track(sound, rate), rate)


def test_a_melody_is_recognised_and_a_note_a_glide_two_notes_and_noise_are_none():
    assert melodic(melody())
    assert not melodic(melody([(0.2, 3.2, 60.0)]))
    assert not melodic(melody([(0.2, 1.7, 60.0), (1.7, 3.2, 64.0)]))
    assert not melodic(0.1 * np.random.default_rng(2).standard_normal(3 * RATE).astype(np.float32))
    time = np.arange(3 * RATE) / RATE
    glide = np.sin(2 * np.pi * np.cumsum(midi_to_hz(48) * 2 ** (10 * time / 12)) / RATE)
    assert not melodic((0.3 * glide).astype(np.float32))


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    soundfile.write(folder / "tune_A3_ff.wav", melody(), RATE)
    soundfile.write(folder / "note_C4_pp.wav", melody([(0.1, 3.0, 60.0)]), RATE)
    return folder


def test_a_corpus_holds_the_notes_of_melodies_and_other_sounds_whole(sounds, tmp_path):
    report = build([sounds], tmp_path / "corpus", melodies=True, split="1/0/0")
    corpus = Corpus.open(tmp_path / "corpus")
    whole, *notes = corpus.clips()
    assert (whole.name, whole.onset_seconds, whole.velocity) == ("note_C4_pp.wav", None, 32)
    assert [clip.name for clip in notes] == [f"tune_A3_ff.wav#{number}" for number in range(1, 8)]
    assert {recording_of(clip) for clip in notes} == {"tune_A3_ff.wav"}
    assert recording_of(whole) == whole.name
    assert [clip.slurred for clip in notes] == SLURRED
    assert all(clip.velocity is None for clip in notes)  # the mark is the whole melody's
    begins = np.array([clip.onset_seconds for clip in notes])
    trimmed = PLAYED[0][0] - begins[0]  # silence at the recording's beginning is left out
    assert np.abs(begins + trimmed - [on for on, *_ in PLAYED]).max() < 0.05
    for clip, (*_, note) in zip(notes, PLAYED, strict=True):
        assert np.nanmedian(corpus.pitch(clip)) == pytest.approx(note, abs=0.2)
    assert report.melodies == {"tune_A3_ff.wav": 7}
    assert "tune_A3_ff.wav: 7 notes" in report.text()
    assert not report.misnamed


def test_a_note_in_a_melodys_name_corrects_none_of_its_octaves(tmp_path):
    octaves = [(0.2 + 0.5 * n, 0.6 + 0.5 * n, 60.0 + 12 * (n % 2)) for n in range(6)]
    soundfile.write(tmp_path / "tune_C4.wav", melody(octaves), RATE)
    report = build([tmp_path / "tune_C4.wav"], tmp_path / "corpus", melodies=True)
    assert report.melodies == {"tune_C4.wav": 6}
    assert not report.misnamed
    assert not report.corrected


def test_without_being_asked_a_melody_stays_whole(sounds, tmp_path):
    report = build([sounds], tmp_path / "corpus")
    assert (report.clips, report.melodies) == (2, {})
    assert melodic_share(Corpus.open(tmp_path / "corpus").all_for_training()) == 0.5


def test_notes_have_the_split_that_a_file_gives_their_recording(sounds, tmp_path):
    (tmp_path / "split.json").write_text('{"train": ["note_C4_pp.wav"], "test": ["tune_A3_ff.wav"]}')
    build([sounds], tmp_path / "corpus", melodies=True, split=str(tmp_path / "split.json"))
    assert len(Corpus.open(tmp_path / "corpus").clips("test")) == 7


def test_loops_and_melodies_are_not_one_corpus(sounds, tmp_path):
    with pytest.raises(UserError, match=r"--loops and --melodies are two kinds of corpus; give one of them"):
        corpus_build([sounds], tmp_path / "corpus", loops=True, melodies=True)
    assert not (tmp_path / "corpus").exists()


def test_a_note_too_short_for_a_clip_is_left_out(sounds, tmp_path):
    report = build([sounds], tmp_path / "corpus", melodies=True, shortest_seconds=0.36)
    assert report.melodies["tune_A3_ff.wav"] < 7


def test_a_melody_whose_notes_are_all_too_short_stays_whole(sounds, tmp_path):
    report = build([sounds], tmp_path / "corpus", melodies=True, shortest_seconds=0.6)
    assert (report.clips, report.melodies) == (2, {})
