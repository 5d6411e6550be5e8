"""Frames are drawn as scipy draws them, and keys are heard that are sounded; a resynthesis is of its source."""

import itertools

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import torch
from timbrel.export.measures import frames as frame_sample
from timbrel.export.measures.frames import SECONDS, mesh, obedience, sounding, strongest, sustain_frame, trained_classes
from timbrel.host.engines.spectrum.noise_voicing import NoisePhase
from timbrel.host.signal import sounding_note
from timbrel.host.units import PITCH_CLASSES, midi_to_hz
from timbrel.train.corpus.store import Corpus
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.families.recipes import load_recipe
from timbrel.train.frames import sources

from .runs import FRAME, HOP, RATE, SETTINGS, SMALL, strongest_class, write_corpus


class Organ:
    """A decoder that sounds the chroma's key, in the octave of ``lowest``."""

    conditioned = True

    def __init__(self, lowest):
        self.lowest = lowest

    def decode(self, latents, chroma):
        hz = np.fft.rfftfreq(FRAME, 1 / RATE)
        rows = []
        for pitch_class in chroma.argmax(1).tolist():
            note = midi_to_hz(self.lowest + pitch_class)
            partials = [0.6**k * np.exp(-np.square((hz - k * note) / 8)) for k in range(1, 8)]
            rows.append(np.sum(partials, axis=0).astype(np.float32))
        return torch.from_numpy(np.stack(rows))


class Stuck:
    """A decoder that gives one frame whatever the key."""

    def __init__(self, frame):
        self.frame = torch.from_numpy(frame.astype(np.float32))

    def decode(self, latents, chroma):
        return self.frame.repeat(len(latents), 1)


# ---- drawing frames


def test_drawn_frames_are_scipys_and_no_frame_is_drawn_twice(corpus):
    opened = Corpus.open(corpus)
    drawn = frame_sample.draw(opened, "test", SETTINGS, False, 40, np.random.default_rng(0))
    assert len(drawn) == 40
    assert len({(s.clip.name, s.start) for s in drawn.sources}) == 40
    assert drawn.frames_in_split == len(list(sources(opened, "test", SETTINGS, tonal=False)))
    for source, spectrum, pitch_class in zip(drawn.sources, drawn.spectra, drawn.pitch_classes, strict=True):
        piece = opened.samples(source.clip)[source.start : source.start + FRAME]
        magnitude = np.abs(scipy.signal.stft(piece, nperseg=FRAME, boundary=None, padded=False)[2][:, 0])
        assert spectrum == pytest.approx(magnitude / magnitude.max(), abs=1e-5)
        assert pitch_class == strongest_class(spectrum)


def test_folded_frames_are_on_their_own_keys_in_the_octave(tmp_path):
    folder = write_corpus(tmp_path / "high", [("train", note, 0.5) for note in (50, 74, 79)])
    drawn = frame_sample.draw(Corpus.open(folder), "train", SETTINGS, True, 100, np.random.default_rng(0))
    for source, spectrum, key in zip(drawn.sources, drawn.spectra, drawn.pitch_classes, strict=True):
        assert key == round(source.note) % 12
        assert spectrum.argmax() == pytest.approx(midi_to_hz(60 + key) * FRAME / RATE, abs=0.51)


def test_clips_are_numbered_alike_for_frames_of_one_clip(corpus):
    drawn = frame_sample.draw(Corpus.open(corpus), "test", SETTINGS, False, 60, np.random.default_rng(0))
    names = [source.clip.name for source in drawn.sources]
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        assert (drawn.clips[i] == drawn.clips[j]) == (a == b)


# ---- keys


@pytest.mark.parametrize(("latents", "points", "side"), [(1, 50, 50), (2, 4096, 64), (2, 60, 8), (3, 4096, 16)])
def test_a_mesh_of_up_to_three_latents_is_regular_and_reaches_its_ends(latents, points, side):
    low, high = np.arange(latents) - 1.0, np.arange(latents) + 2.0
    axes = [np.linspace(a, b, side) for a, b in zip(low, high, strict=True)]
    wanted = np.array(list(itertools.product(*axes)))
    assert mesh(low, high, points, np.random.default_rng(0)) == pytest.approx(wanted, abs=1e-6)


def test_above_three_latents_the_mesh_is_uniform_in_the_box():
    low, high = np.array([0.0, -1, 2, 5]), np.array([1.0, 1, 2.5, 9])
    codes = mesh(low, high, 2000, np.random.default_rng(0))
    assert codes.shape == (2000, 4)
    assert np.all((codes >= low) & (codes <= high))
    for i in range(4):
        assert scipy.stats.kstest(codes[:, i], "uniform", (low[i], high[i] - low[i])).pvalue > 1e-3


@pytest.mark.parametrize(("lowest", "octaves_right"), [(60, 1.0), (72, 0.0)])
def test_a_decoder_that_sounds_its_key_is_right_by_ear_and_its_octave_only_where_it_is_the_asked_one(
    lowest, octaves_right
):
    codes = np.zeros((2, 2), np.float32)
    heard = sounding(Organ(lowest), codes, [0, 4, 11], SETTINGS, True)
    assert heard == {"notes": 6, "pitch_class": 1.0, "octave": octaves_right}
    assert sounding(Organ(lowest), codes, [0, 4], SETTINGS, False)["octave"] is None
    answers = {k: strongest(Organ(60), codes, k, SETTINGS) for k in (0, 4, 11)}
    found = obedience(answers)
    assert found["overall"] == 1
    assert found["by_pitch_class"] == {**dict.fromkeys(PITCH_CLASSES), "C": 1.0, "E": 1.0, "B": 1.0}


def test_a_decoder_stuck_on_one_note_is_right_for_that_key_alone():
    frame = Organ(60).decode(None, torch.eye(12)[[5]])[0].numpy()
    codes = np.zeros((3, 2), np.float32)
    found = obedience({k: strongest(Stuck(frame), codes, k, SETTINGS) for k in range(12)})
    assert found["by_pitch_class"] == {name: float(name == "F") for name in PITCH_CLASSES}
    assert found["overall"] == pytest.approx(1 / 12)
    assert sounding(Stuck(frame), codes, list(range(12)), SETTINGS, True)["pitch_class"] == pytest.approx(1 / 12)


def test_silence_is_no_key_not_even_the_first():
    silence = Stuck(np.zeros(FRAME // 2 + 1))
    codes = np.zeros((2, 2), np.float32)
    assert obedience({0: strongest(silence, codes, 0, SETTINGS)})["overall"] == 0
    assert sounding(silence, codes, [0], SETTINGS, True) == {
        "notes": 2,
        "pitch_class": 0,
        "octave": 0,
    }


def test_only_pitch_classes_heard_in_training_are_asked_for():
    scale = np.repeat([0, 2, 4, 5, 7, 9, 11], 100)
    stray = np.append(scale, [1])
    one_octave = SETTINGS.model_copy(update={"views": 1})
    assert trained_classes(stray, one_octave, True) == [0, 2, 4, 5, 7, 9, 11]
    assert trained_classes(stray, SETTINGS, True) == list(range(12))


def test_a_held_frame_has_the_spectrum_of_the_frame():
    frame = Organ(60).decode(None, torch.eye(12)[[7]])[0].numpy()
    sound = sustain_frame(frame, NoisePhase(FRAME, HOP), SETTINGS)
    assert len(sound) / RATE == pytest.approx(SECONDS, abs=3 * FRAME / RATE)
    hz, power = scipy.signal.welch(sound, RATE, nperseg=FRAME)
    partials = [np.abs(hz - k * midi_to_hz(67)) < 30 for k in range(1, 8)]
    assert power[np.any(partials, axis=0)].sum() > 0.99 * power.sum()
    levels = [10 * np.log10(power[near].sum() / np.square(frame[near]).sum()) for near in partials[:4]]
    assert np.ptp(levels) < 3  # noise phase lets levels sway by so much in a second


# ---- what cannot be evaluated


class Faithful(ChromaAutoencoder):
    """Gives each frame again that it has just been given, times ``tilt`` [bins]."""

    tilt = 1.0

    def encode(self, frames, chroma):
        self.__dict__["kept"] = frames
        return frames[:, :1]

    def decode(self, latents, chroma):
        return self.kept * self.tilt


@pytest.mark.parametrize(
    ("note", "folded"), [(38, True), (48, True), (60, True), (67.5, True), (79, True), (66, False)]
)
def test_what_is_heard_of_a_perfect_model_is_the_source_on_its_own_pitch_and_level(tmp_path, note, folded):
    opened = Corpus.open(write_corpus(tmp_path / "corpus", [("train", note, 0.6), ("train", None, 1.0)]))
    network = Faithful(load_recipe("tuned-2", SMALL))
    asked, given = frame_sample.resynthesised(opened, opened.clips()[0], network, SETTINGS, folded, 5.0)
    assert len(asked) == len(given) == RATE // 2
    inner = slice(FRAME, -FRAME)
    assert sounding_note(given[inner], RATE) == pytest.approx(note, abs=0.1)
    assert given[inner] == pytest.approx(
        asked[inner], abs=0.02 * float(np.abs(asked).max())
    )  # what is past half the rate
    assert len(frame_sample.resynthesised(opened, opened.clips()[0], network, SETTINGS, folded, 0.1)[1]) == RATE // 10
    _, left_out = frame_sample.resynthesised(opened, opened.clips()[1], network, SETTINGS, folded, 5.0)
    assert np.any(left_out) != folded  # noise has no pitch


def test_what_a_model_does_to_a_partial_is_heard_at_the_sources_own_pitch(tmp_path):
    """A note an octave below the trained one: what is halved at 500 Hz and above is halved from 250 Hz on."""
    opened = Corpus.open(write_corpus(tmp_path / "corpus", [("train", 48, 0.9)]))
    network = Faithful(load_recipe("tuned-2", SMALL))
    network.tilt = torch.where(torch.arange(FRAME // 2 + 1) < 500 * FRAME / RATE, 1.0, 0.5)
    asked, given = frame_sample.resynthesised(opened, opened.clips()[0], network, SETTINGS, True, 5.0)
    spectra = [
        np.abs(np.fft.rfft(sound[FRAME:-FRAME] * np.hanning(len(sound) - 2 * FRAME))) for sound in (asked, given)
    ]
    places = np.round(midi_to_hz(48) * np.arange(1, 10) * (len(asked) - 2 * FRAME) / RATE).astype(int)
    change = spectra[1][places] / spectra[0][places]
    assert change == pytest.approx([1.0] + [0.5] * 8, abs=0.06)
