"""Drum loops of a soundfont's kits: on one grid, without a seam, and as different as their grooves."""

import os
import re
import subprocess
from dataclasses import replace

import mido
import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.host.kinds.general_midi_drums import DRUMS
from timbrel.train.corpus import loop_rendering as module
from timbrel.train.corpus.clip_table import LoopGrid
from timbrel.train.corpus.loop_rendering import (
    KEYS,
    LEVELS,
    STRENGTHS,
    Kit,
    Kits,
    Stroke,
    grooves,
    mix_loop,
    render_loops,
    split_of,
    strokes,
)
from timbrel.train.corpus.loops import grid_of, spectra_hop
from timbrel.train.corpus.soundfont import fluidsynth, play_notes
from timbrel.train.corpus.store import Corpus

from .test_corpus_soundfont import FONT, needs_font, write_headers

RATE = 8000
GROOVES = grooves()


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loops") / "corpus"
    render_loops(FONT, folder, rate=RATE)
    return Corpus.open(folder)


@pytest.fixture
def few(monkeypatch):
    """A table of two grooves, for the standard kit alone."""
    two = [replace(one, kits=(0, 0)) for one in GROOVES[:2]]
    monkeypatch.setattr(module, "grooves", lambda: two)


def groove(name):
    return next(one for one in GROOVES if one.name == name)


class Steady:
    """Chance that decides nothing."""

    def standard_normal(self):
        return 0.0


# ---- the table


@pytest.mark.parametrize("one", GROOVES, ids=lambda one: one.name)
def test_every_groove_is_two_whole_bars_of_known_drums(one):
    assert 80 <= one.tempo_bpm <= 150
    assert 0.5 <= one.swing <= 2 / 3
    for rows, steps in ((one.rows, 32), (one.more, 32), (one.fill, 16)):
        assert rows
        assert {len(signs) for signs in rows.values()} == {steps}
        assert set("".join(rows.values())) <= {*STRENGTHS, "."}


def test_there_are_dozens_of_grooves_and_each_is_another():
    assert len({one.name for one in GROOVES}) == len({str(one.rows) for one in GROOVES}) == 24


def test_keys_are_general_midi_s_drums_of_their_names():
    words = {"hat": "closed hi-hat", "pedal": "pedal hi-hat", "open": "open hi-hat", "kick": "bass drum"}
    words |= {"stick": "side stick", "shaker": "maracas", "bell": "ride bell"}
    words |= {"conga": "open hi conga", "tumba": "low conga", "low": "high floor tom", "mid": "low-mid tom"}
    words |= {"high": "high tom", "clap": "hand clap", "bongo": "hi bongo"}
    for name, key in KEYS.items():
        assert set(words.get(name, name).split()) <= set(re.split("[^a-z-]", DRUMS[key].casefold())), DRUMS[key]


def test_every_sixth_groove_is_for_the_test_with_both_its_loops():
    splits = [split_of(number) for number in range(24)]
    assert [number for number, split in enumerate(splits) if split == "test"] == [5, 11, 17, 23]
    assert [number for number, split in enumerate(splits) if split == "val"] == [9, 19]


# ---- strokes


def test_steps_are_struck_as_written_and_a_straight_groove_lies_on_them():
    found = strokes(groove("rock eighths"), False, Steady())
    kicks = [hit.step for hit in found if hit.key == KEYS["kick"]]
    assert kicks == [0, 8, 10, 16, 24, 30]
    assert {hit.velocity for hit in found if hit.key == KEYS["hat"]} == {STRENGTHS["x"], STRENGTHS["o"]}


def test_swing_moves_the_second_half_of_a_pair():
    def hats(name):
        return {round(hit.step % 4, 6) for hit in strokes(groove(name), False, Steady()) if hit.key == KEYS["hat"]}

    assert sorted(hats("shuffle")) == pytest.approx([0, 4 * 0.66])
    assert sorted(hats("slow hip-hop")) == pytest.approx([0, 2 * 0.56, 2, 2 + 2 * 0.56])


def test_a_full_loop_ends_with_its_fill_alone():
    found = strokes(groove("octave disco"), True, Steady())
    last = sorted(hit.step - 48 for hit in found if hit.step >= 48 and hit.key == KEYS["snare"])
    assert last == [place for place, sign in enumerate("....X..ox.oxXxXX") if sign != "."]
    assert not any(hit.step >= 48 and hit.key == KEYS["cowbell"] for hit in found)
    assert sum(hit.step < 48 and hit.key == KEYS["cowbell"] for hit in found) == 4 + 5 + 4


def test_chance_moves_velocities_and_nothing_else():
    one, other = (strokes(groove("funk"), False, np.random.default_rng(seed)) for seed in (1, 2))
    assert [(hit.step, hit.key) for hit in one] == [(hit.step, hit.key) for hit in other]
    apart = np.array([first.velocity - second.velocity for first, second in zip(one, other, strict=True)])
    assert 4 < apart.std() / np.sqrt(2) < 8


# ---- sound


def test_hits_lie_on_their_samples_and_ring_over_the_end_into_the_beginning():
    tail = np.linspace(1, 0, 3000, endpoint=False, dtype=np.float32)
    kit = Kit({(36, level): tail * (level / 120) ** 2 for level in LEVELS})
    found = mix_loop([Stroke(0, 36, 120), Stroke(6.5, 36, 60)], kit, 8, 500, RATE)
    expected = np.zeros(4000)
    for first, gain in ((0, 1.0), (3250, 0.25)):
        expected[(first + np.arange(3000)) % 4000] += gain * tail
    assert found / found.max() == pytest.approx(expected / expected.max(), abs=1e-6)


def test_a_hat_that_closes_ends_the_open_one_also_across_the_end():
    held = np.ones(3 * RATE, np.float32)
    kit = Kit({(46, level): held for level in LEVELS} | {(42, level): 0 * held for level in LEVELS})
    found = mix_loop([Stroke(0, 42, 124), Stroke(6, 46, 124), Stroke(4, 42, 124)], kit, 8, 1000, RATE)
    fade = round(0.015 * RATE)
    assert not found[fade:6000].any()
    assert np.ptp(found[6000:]) == 0 < found[6000]
    assert np.all(np.diff(found[:fade]) < 0)


@needs_font
def test_a_loop_sounds_as_fluidsynth_plays_the_same_strokes(tmp_path):
    """A MIDI file of the groove played three times, the second of which is compared with the loop."""
    hits, step_seconds = strokes(groove("rock eighths"), False, np.random.default_rng(0)), 0.14
    found = mix_loop(hits, Kits(FONT, 44100, GROOVES[:1]).kit(0), 32, step_seconds * 44100, 44100)
    track, now = mido.MidiTrack([mido.Message("program_change", channel=9, program=0)]), 0
    for start in (0, 32, 64):
        for hit in hits:
            at = round((start + hit.step) * step_seconds * 1000)
            track.append(mido.Message("note_on", channel=9, note=hit.key, velocity=round(hit.velocity), time=at - now))
            now = at
    mido.MidiFile(type=0, ticks_per_beat=500, tracks=[track]).save(tmp_path / "a.mid")
    settings = ["-R", "0", "-C", "0", "-g", "1", "-r", "44100", "-T", "wav", "-O", "float", "-F", tmp_path / "a.wav"]
    options = ["-n", "-i", "-q", "-f", os.devnull, *settings]
    subprocess.run([fluidsynth(), *options, FONT, tmp_path / "a.mid"], check=True, capture_output=True)
    played = soundfile.read(tmp_path / "a.wav")[0].mean(1)[len(found) : 2 * len(found)]
    levels = [np.sqrt(np.square(part).reshape(-1, 441).mean(1)) for part in (found, played)]
    assert np.corrcoef(*levels)[0, 1] > 0.97


@needs_font
def test_a_velocity_that_was_not_played_is_as_loud_as_fluidsynth_plays_it():
    pairs = [(38, 85), (36, 115), (42, 55)]
    heard = dict(play_notes(fluidsynth(), FONT, 9, 0, pairs, 0.5, RATE))
    kit = Kits(FONT, RATE, GROOVES[:1]).kit(0)
    for key, velocity in pairs:
        given, asked = kit.sound(key, velocity)[: RATE // 4], heard[key, velocity].mono[: RATE // 4]
        assert 20 * np.log10(given.std() / asked.std()) == pytest.approx(0, abs=1.0)


# ---- the corpus


@needs_font
def test_every_loop_is_whole_bars_of_one_grid(loops):
    assert loops.loops == LoopGrid(step_length=1024)
    assert loops.loops.tempo_bpm(RATE) == pytest.approx(117.19, abs=0.01)
    clips = loops.clips()
    assert len(clips) == 48
    for clip in clips:
        assert clip.length == clip.beats * 4 * 1024
        assert clip.beats == (16 if "full" in clip.name else 8)
        assert clip.tempo_bpm == groove(clip.label).tempo_bpm
        assert "117.19bpm" in clip.name


@needs_font
def test_no_groove_is_both_learned_and_tested(loops):
    splits = {}
    for clip in loops.clips():
        splits.setdefault(clip.group, set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(loops.clips("test")) == 8
    assert len(loops.clips("val")) == 4


@needs_font
def test_loops_differ_in_brightness_and_density_and_none_clips(loops):
    bright, dense = [], []
    for clip in loops.clips():
        samples = loops.samples(clip)
        assert 0.05 < np.sqrt(np.square(samples).mean()) < 0.081
        assert np.abs(samples).max() < 0.951
        power = np.abs(np.fft.rfft(samples)) ** 2
        bright.append(power @ np.arange(len(power)) / power.sum() / len(power))
        dense.append(len(strokes(groove(clip.label), "full" in clip.name, Steady())) / clip.beats)
    assert max(bright) > 4 * min(bright)
    assert max(dense) > 2 * min(dense)


@needs_font
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, few):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        render_loops(FONT, tmp_path / name, rate=RATE, seed=seed)
    audio = [(tmp_path / name / "audio-00000.f32").read_bytes() for name in ("one", "same", "other")]
    assert audio[0] == audio[1] != audio[2]
    assert len(audio[1]) == len(audio[2])


def test_a_soundfont_without_the_kits_is_refused(tmp_path):
    font = write_headers(tmp_path / "font.sf2", [(0, 128), (8, 128)])
    with pytest.raises(UserError, match=r"has no drum kit 16; loops are played on kits 0, 8, 16, 24, 25, 32, 40"):
        render_loops(font, tmp_path / "corpus")
    with pytest.raises(UserError, match=r"rate 4000 Hz is out of FluidSynth's range"):
        render_loops(font, tmp_path / "corpus", rate=4000)
    assert not (tmp_path / "corpus").exists()


@needs_font
def test_the_command_renders_the_corpus(timbrel, tmp_path, few):
    assert timbrel("corpus", "grooves", FONT, "-o", tmp_path / "new", "--rate", "8000", "--licence", "MIT").status == 0
    corpus = Corpus.open(tmp_path / "new")
    assert (corpus.licence, len(corpus.clips()), corpus.rate) == ("MIT", 4, 8000)
    ended = timbrel("corpus", "grooves", tmp_path / "no.sf2", "-o", tmp_path / "other")
    assert ended.status == 2
    assert "no.sf2 does not exist" in ended.err


# ---- the grid


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_a_step_is_a_whole_number_of_the_hops_of_a_network_s_spectra(rate):
    from timbrel.train.families.clip.features import ClipFeatures

    hop = spectra_hop(rate)
    assert ClipFeatures(rate, 64 * hop).hop == hop
    grid = grid_of([70, 100, 100, 100, 170], rate)
    assert grid.step_length % hop == 0
    assert abs(grid.step_length - rate * 0.15) <= hop / 2
