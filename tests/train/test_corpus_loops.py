"""Loops of any tempo come to lie on one grid, and what has no beat is none."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.train.corpus import loops as module
from timbrel.train.corpus.build import build
from timbrel.train.corpus.clip_table import LoopGrid
from timbrel.train.corpus.content import are_loops
from timbrel.train.corpus.loop_rendering import Kits, grooves, mix_loop, strokes
from timbrel.train.corpus.loops import TempoEstimate, beat_of, fit_to_grid, has_beat, labelled_tempo, named_numbers
from timbrel.train.corpus.sound_files import Unreadable
from timbrel.train.corpus.store import Corpus
from timbrel.train.corpus.stored_sounds import StoredSound
from timbrel.train.metrics.rhythm import f_measure, onset_seconds

from .struck import corpus_of, drums
from .test_corpus_soundfont import FONT, needs_font

RATE = 22050


def loop(tempo_bpm, beats=8, seed=0, rate=RATE, hats=True):
    """Kicks on beats, a snare on every second, hats between: whole beats, of which the tails ring on from the start."""
    rng, length = np.random.default_rng(seed), round(beats * 60 / tempo_bpm * rate)
    time, sound = np.arange(round(0.25 * rate)) / rate, np.zeros(length)
    kick = 0.5 * np.exp(-15 * time) * np.sin(2 * np.pi * 60 * time)
    snare, hat = (
        level * np.exp(-speed * time) * rng.standard_normal(len(time)) for level, speed in ((0.2, 25), (0.05, 60))
    )
    for half in range(2 * beats):
        hits = [hat] * hats + [kick] * (half % 2 == 0) + [snare] * (half % 4 == 2)
        np.add.at(sound, (round(half * length / beats / 2) + np.arange(len(time))) % length, sum(hits, np.zeros(1)))
    return sound.astype(np.float32)


def noise(seconds=4, rate=RATE):
    return (0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate))).astype(np.float32)


def tone(seconds=4, rate=RATE):
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Three loops, of which one says its tempo, noise and a tone."""
    path = tmp_path / "sounds"
    path.mkdir()
    sounds = {"a": loop(100), "b_120bpm": loop(120, seed=1), "c": loop(93, seed=2), "rain": noise(), "drone": tone()}
    for name, sound in sounds.items():
        soundfile.write(path / f"{name}.wav", sound, RATE, subtype="FLOAT")
    return path


# ---- tempos


@pytest.mark.parametrize(
    ("name", "tempo"),
    [
        ("funk_120bpm.wav", 120),
        ("break-92-BPM.flac", 92),
        ("loops/Funky 97.5 bpm dry.aif", 97.5),
        ("BPM128 house.wav", 128),
        ("090bpm take 2.wav", 90),
        ("take 2 (174) 160bpm", 160),
        ("120_funk.wav", None),
        ("240bpm.wav", None),
        ("120bpmx.wav", None),
        ("1120 bpm.wav", None),
    ],
)
def test_a_tempo_is_read_from_names_that_label_one(name, tempo):
    assert labelled_tempo(name) == tempo


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("120_funk.wav", [120]),
        ("beat (140).wav", [140]),
        ("breaks165.wav", [165]),
        ("amen97.5a.wav", [97.5]),
        ("120_or_130.wav", [120, 130]),
        ("loop-2024-120-01.wav", [120]),
        ("breaks157/000_raw.wav", [157]),
        ("breaks157/take 99.wav", [99]),
        ("slice_061.wav", []),
        ("kick 808.wav", []),
        ("tr909 2.wav", []),
        ("loop 44100.wav", []),
        ("loop 96k.wav", []),
        ("loop 96 kHz 128kbps.wav", []),
        ("take 2.wav", []),
    ],
)
def test_numbers_that_may_be_a_tempo_are_read_from_names(name, numbers):
    assert named_numbers(name) == numbers


def test_a_number_in_a_name_decides_between_a_tempo_and_its_half_or_double():
    assert beat_of(loop(84), RATE).beats == 8
    for name, tempo, beats in (("breaks168.wav", 168, 16), ("breaks84.wav", 84, 8), ("breaks168/a.wav", 168, 16)):
        found = beat_of(loop(84), RATE, name)
        assert (found.tempo_bpm, found.beats, found.origin) == (pytest.approx(tempo, rel=1e-3), beats, "from the name")
        assert found.doubt == ""


def test_beats_decide_where_two_of_them_repeat_better():
    """A kick, then a snare: what follows a beat later is another sound, two beats later the same."""
    found = beat_of(loop(150, hats=False), RATE, "breaks150.wav")
    assert (found.tempo_bpm, found.beats, found.origin) == (pytest.approx(150, rel=1e-3), 8, "from the name")


def test_a_number_near_the_tempo_of_whole_beats_takes_it_exactly():
    found = beat_of(loop(168.6, 16), RATE, "breaks165.wav")
    assert (found.tempo_bpm, found.beats, found.origin) == (pytest.approx(168.6, rel=1e-3), 16, "from the name")


def test_a_number_in_a_name_decides_where_the_loop_was_cut_between_beats():
    whole = loop(157, 16)
    cut = whole[: round(15.6 / 16 * len(whole))]
    assert beat_of(cut, RATE) is None
    found = beat_of(cut, RATE, "breaks157.wav")
    assert (found.tempo_bpm, found.beats, found.origin) == (157, 16, "from the name")
    assert "15.60 beats at 157 bpm" in found.doubt


@pytest.mark.parametrize("name", ["take 77.wav", "funk133.wav", "75_x.wav", "110 loop.wav", "112/loop.wav"])
def test_a_number_that_does_not_fit_the_onsets_is_no_tempo(name):
    found = beat_of(loop(100), RATE, name)
    assert (found.tempo_bpm, found.origin) == (pytest.approx(100, rel=1e-3), "estimated")


@pytest.mark.parametrize("tempo", [78, 90, 103, 120, 137, 149])
@pytest.mark.parametrize("beats", [4, 8, 16])
def test_a_tempo_that_no_name_says_is_heard(tempo, beats):
    found = beat_of(loop(tempo, beats), RATE)
    assert (found.tempo_bpm, found.beats, found.origin) == (pytest.approx(tempo, rel=1e-3), beats, "estimated")


def test_five_and_a_third_seconds_are_eight_beats_and_not_sixteen():
    assert beat_of(loop(90, 8), RATE).beats == 8


@pytest.mark.parametrize(("hits", "seconds", "beats"), [(48, 3.5, 8), (40, 3, 4)])
def test_of_beats_that_fit_alike_the_count_that_makes_whole_bars_is_taken(hits, seconds, beats):
    """Equal hits fit 6 beats as well as 8, and 5 as well as 4; the tempos of 6 and of 5 are the usual ones."""
    length, click = round(seconds * RATE), noise(0.05) * np.exp(-80 * np.arange(round(0.05 * RATE)) / RATE)
    sound = np.zeros(length, np.float32)
    for hit in range(hits):
        np.add.at(sound, (round(hit * length / hits) + np.arange(len(click))) % length, click)
    assert beat_of(sound, RATE).beats == beats


@needs_font
def test_tempos_of_all_grooves_are_heard_as_they_were_played():
    table = grooves()
    kits = Kits(FONT, RATE, table)
    for number, groove in enumerate(table):
        hits, kit = strokes(groove, False, np.random.default_rng(number)), kits.kit(groove.kits[0])
        found = beat_of(mix_loop(hits, kit, 32, 15 * RATE / groove.tempo_bpm, RATE), RATE)
        assert found.tempo_bpm == pytest.approx(groove.tempo_bpm, rel=1e-3), groove.name


def test_a_length_that_does_not_fit_the_name_s_tempo_is_doubted():
    assert beat_of(loop(100), RATE, "a_100bpm.wav") == TempoEstimate(100, 8, "from the name")
    other = beat_of(loop(100), RATE, "a_110bpm.wav")
    assert other.tempo_bpm == 110
    assert other.doubt == "its 4.80 s are 8.80 beats at 110 bpm"


@pytest.mark.parametrize("sound", [noise(), tone(), np.zeros(4 * RATE, np.float32), loop(60, 1)[: RATE // 3]])
def test_noise_tones_silence_and_single_hits_have_no_beat_whatever_they_are_called(sound):
    assert beat_of(sound, RATE) is None
    assert beat_of(sound, RATE, "x_120bpm.wav") is None
    assert not has_beat(sound, RATE)


def test_a_loop_whose_ends_were_cut_has_its_beat_still():
    assert has_beat(loop(104)[2000:-5000], RATE)


# ---- on the grid


@pytest.mark.parametrize("tempo", [80, 100, 117, 140])
def test_a_stretched_loop_has_its_hits_on_the_grid_and_its_pitch(tempo):
    grid = LoopGrid(step_length=3072)
    found = fit_to_grid(loop(tempo), RATE, TempoEstimate(tempo, 8, "estimated"), grid)
    assert len(found) == 32 * 3072
    there = np.arange(16) * 2 * 3072 / RATE
    heard = onset_seconds(np.concatenate([found, found]), RATE) - len(found) / RATE
    assert [np.abs(heard - one).min() for one in there] == pytest.approx(np.zeros(16), abs=0.02)
    expected = onset_seconds(loop(grid.tempo_bpm(RATE)), RATE)
    assert f_measure(onset_seconds(found, RATE), expected) > 0.95
    kick = np.abs(np.fft.rfft(found[: RATE // 4] * np.hanning(RATE // 4), 8 * RATE))
    assert np.argmax(kick[320:640]) / 8 + 40 == pytest.approx(60, abs=3)


def test_what_lies_on_the_grid_keeps_every_sample():
    grid = LoopGrid(step_length=3072)
    for off in (0, 15):
        sound = loop(grid.tempo_bpm(RATE))
        beat = TempoEstimate(60 * RATE * 8 / (len(sound) + off), 8, "estimated")
        kept = fit_to_grid(np.pad(sound, (0, off)), RATE, beat, grid)
        assert np.array_equal(kept, sound)
    beat = TempoEstimate(60 * RATE * 8 / (len(sound) + 40), 8, "estimated")
    assert not np.array_equal(fit_to_grid(np.pad(sound, (0, 40)), RATE, beat, grid), sound)


def test_silence_before_the_first_hit_goes_unless_it_is_meant():
    grid = LoopGrid(step_length=3072)
    sound = loop(grid.tempo_bpm(RATE))
    beat = TempoEstimate(grid.tempo_bpm(RATE), 8, "from the name")
    begin = int(np.argmax(np.abs(sound) > 0.01 * np.abs(sound).max()))
    for late, kept in ((800, True), (3000, False), (60, False)):
        found = fit_to_grid(np.concatenate([np.zeros(late, np.float32), sound]), RATE, beat, grid)
        assert np.argmax(np.abs(found) > 0.01 * np.abs(sound).max()) == (0 if kept else late + begin)


def test_a_loop_that_lacks_its_end_is_filled_up_to_whole_beats():
    grid = LoopGrid(step_length=3072)
    tempo = grid.tempo_bpm(RATE)
    sound = loop(tempo)[:-3000]
    found = fit_to_grid(sound, RATE, beat_of(sound, RATE, f"{tempo:.2f} bpm.wav"), grid)
    assert len(found) == 32 * 3072
    assert not found[-2900:].any()


# ---- the corpus


def test_a_folder_of_loops_becomes_a_corpus_on_one_grid(folder, tmp_path):
    seen = []
    report = build([folder], tmp_path / "c", rate=RATE, loops=True, progress=lambda share, what: seen.append(share))
    corpus = Corpus.open(tmp_path / "c")
    hop = 256
    assert corpus.loops.step_length % hop == 0
    assert abs(corpus.loops.step_length - 15 * RATE / 100) <= hop / 2
    found = {clip.name: (round(clip.tempo_bpm, 1), clip.beats) for clip in corpus.clips()}
    assert found == {"a.wav": (100, 8), "b_120bpm.wav": (120, 8), "c.wav": (93, 8)}
    assert all(clip.length == 32 * corpus.loops.step_length for clip in corpus.clips())
    assert json.loads((tmp_path / "c" / "corpus.json").read_text())["loops"] == {
        "step_length": corpus.loops.step_length,
        "steps_per_beat": 4,
        "beats_per_bar": 4,
    }
    assert report.beatless == {"drone.wav": "no beat is heard", "rain.wav": "no beat is heard"}
    text = report.text()
    assert f"grid        {corpus.loops.tempo_bpm(RATE):6.2f}  bpm" in text
    assert "b_120bpm.wav: 120 bpm from the name, 8 beats" in text
    assert "a.wav: 100 bpm estimated, 8 beats" in text
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_doubtful_tempos_are_named(folder, tmp_path):
    shutil.move(folder / "a.wav", folder / "a 111 bpm.wav")
    report = build([folder], tmp_path / "c", rate=RATE, loops=True)
    assert report.doubtful == {"a 111 bpm.wav": "its 4.80 s are 8.88 beats at 111 bpm"}
    assert "a 111 bpm.wav: its 4.80 s" in report.text()


def test_where_no_loop_is_left_it_is_said_in_a_line_and_nothing_stays(folder, tmp_path, timbrel):
    for path in folder.glob("*[abc].wav"):
        path.unlink()
    (folder / "b_120bpm.wav").unlink()
    ended = timbrel("corpus", "build", folder, "-o", tmp_path / "c", "--loops")
    assert ended.status == 2
    assert "2 without a beat (drone.wav: no beat is heard); a clip needs a beat" in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sounds"]


def test_what_is_shorter_than_two_steps_or_longer_than_a_minute_is_left_out(folder, tmp_path, monkeypatch):
    hits = np.concatenate([loop(120, 1)[:2000] * np.linspace(1, 0, 2000)] * 2)
    short = np.pad(hits, (0, 0)).astype(np.float32)[: int(0.2 * RATE)]
    soundfile.write(folder / "short_60bpm.wav", short, RATE)
    monkeypatch.setattr(module, "LONGEST_SECONDS", 5.0)
    monkeypatch.setattr(
        module, "beat_of", lambda sound, rate, name: TempoEstimate(labelled_tempo(name) or 100.0, 8, "estimated")
    )
    report = build([folder], tmp_path / "c", rate=RATE, loops=True)
    assert report.too_short == ["short_60bpm.wav"]
    assert report.beatless == {"c.wav": "longer than 5 s, no loop"}


def test_an_unreadable_file_is_named_and_passed_over(folder, tmp_path):
    (folder / "broken.wav").write_bytes(b"RIFF")
    report = build([folder], tmp_path / "c", rate=RATE, loops=True)
    assert list(report.unreadable) == ["broken.wav"]
    assert report.clips == 3


def test_a_sound_of_which_no_byte_can_be_read_is_named_and_passed_over(folder, tmp_path, monkeypatch):
    (folder / "broken.wav").write_bytes(b"RIFF")
    original = StoredSound.digest

    def refused(self):
        if self.path.name == "broken.wav":
            raise Unreadable("Permission denied")
        return original(self)

    monkeypatch.setattr(StoredSound, "digest", refused)
    report = build([folder], tmp_path / "c", rate=RATE, loops=True)
    assert list(report.unreadable) == ["broken.wav"]
    assert Corpus.open(tmp_path / "c").files["broken.wav"] == 64 * "0"


def test_loops_are_heard_as_loops_and_other_sounds_are_not(tmp_path):
    def heard(name, sounds, pitched=False):
        return are_loops(corpus_of(tmp_path / name, sounds, rate=RATE, pitched=pitched))

    loops = heard("loops", [loop(tempo, seed=tempo) for tempo in (85, 100, 120, 140)])
    assert loops.loops
    assert loops.reason == "100 % of 4 clips of 4.4 s have a steady beat"
    assert not heard("rain", [noise()] * 3).loops
    hits = are_loops(drums(tmp_path / "hits", each=4))
    assert not hits.loops
    assert hits.reason == "clips last 0.4 s, loops 1.5 s and more"


def test_an_even_scale_is_notes_though_it_has_a_beat(tmp_path):
    time = np.arange(RATE // 2) / RATE
    notes = [
        np.exp(-4 * time) * np.sin(2 * np.pi * 220 * 2 ** (step / 12) * time) for step in (0, 2, 4, 5, 7, 9, 11, 12)
    ]
    scale = np.concatenate(notes).astype(np.float32)
    assert has_beat(scale, RATE)
    found = are_loops(corpus_of(tmp_path / "scale", [scale] * 2, rate=RATE, pitched=True))
    assert not found.loops
    assert "of the sound has a pitch" in found.reason


def test_a_value_that_no_grid_has_makes_a_corpus_damaged(folder, tmp_path):
    build([folder], tmp_path / "c", rate=RATE, loops=True)
    path = tmp_path / "c" / "corpus.json"
    path.write_text(path.read_text().replace('"steps_per_beat": 4', '"steps_per_beat": 0'))
    with pytest.raises(UserError, match="is damaged"):
        Corpus.open(tmp_path / "c")


def test_identical_loops_count_once_and_are_named(tmp_path):
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", loop(100), RATE)
    report = build([tmp_path], tmp_path / "corpus", rate=RATE, loops=True)
    assert (report.clips, report.identical) == (1, {"b.wav": "a.wav"})
