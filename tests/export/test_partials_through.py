"""Sounds go through a model of partials: they keep pitch and level, have codes, and lead from one to another."""

import json

import numpy as np
import pytest
import soundfile
from timbrel.export.fidelity.dynamics import CodedNotes
from timbrel.export.fidelity.measures import course, shape_db
from timbrel.export.first_preset import first_preset
from timbrel.export.recovery.search import CodeSearcher, gradient, hybrid
from timbrel.host.engines.spectrum.harmonic_shift import PartialSpectra, filled
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.preset.library import Patch
from timbrel.host.resynthesis import reconstruction
from timbrel.host.resynthesis.morph import morph
from timbrel.host.resynthesis.process import with_options
from timbrel.host.resynthesis.processor import Processor
from timbrel.host.resynthesis.recover import NETWORK, RecoveryMethod, recover
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.pitch import pitch_track

METHODS = {
    "network": NETWORK,
    "gradient": RecoveryMethod("gradient", gradient),
    "hybrid": RecoveryMethod("hybrid", hybrid, True),
}
PHASES = ["original", "own"]


@pytest.fixture
def patch(partials_model):
    return Patch("tones", first_preset(partials_model), partials_model, partials_model.path.parent)


def through(patch, sound, events=(), **options):
    """A sound as it comes out, its latency taken off."""
    processor = Processor(with_options(patch, [], [], options), patch.model.card.sample_rate)
    late = processor.latency_samples
    return processor.process(list(events), np.pad(sound, (0, late))[np.newaxis])[0, late:]


def tone(note, rate, seconds=0.7):
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(0.7**k * np.sin(2 * np.pi * k * midi_to_hz(note) * time + k * k) for k in range(1, 13))
    return (0.2 * wave / np.abs(wave).max()).astype(np.float32)


def pitch_of(sound, rate):
    return float(np.nanmedian(pitch_track(sound[rate // 5 : -rate // 5], rate)))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("note", [58.0, 62.3, 69.6, 76.0])
def test_a_tone_keeps_its_pitch_and_its_level(patch, note, phase):
    rate = patch.model.card.sample_rate
    asked = tone(note, rate)
    given = through(patch, asked, phase=phase)
    assert pitch_of(given, rate) == pytest.approx(note, abs=0.05)
    assert 20 * np.log10(given.std() / asked.std()) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("key", [50, 64, 74])
def test_a_key_sounds_where_it_lies_whatever_is_heard(patch, key):
    rate = patch.model.card.sample_rate
    events = [NoteOn(0, 0, key, 100), NoteOff(10 * rate, 0, key)]
    given = through(patch, tone(62, rate), events, phase="own")
    assert pitch_of(given, rate) == pytest.approx(key, abs=0.05)


def test_noise_goes_through_without_a_pitch(patch):
    rate = patch.model.card.sample_rate
    noise = (0.1 * np.random.default_rng(0).standard_normal(rate)).astype(np.float32)
    given = through(patch, noise)
    assert 20 * np.log10(given.std() / noise.std()) == pytest.approx(0, abs=1.5)
    assert np.isnan(pitch_track(given, rate)).mean() > 0.8


def test_spectra_that_are_laid_out_have_energy_1_and_lobes_on_their_harmonics(partials_model):
    card = partials_model.card
    told = np.array([60.0, 64.4, 60.0])
    frames = partials_model.decode(np.full((3, 8), 0.5, np.float32), told)
    spectra, away = PartialSpectra(card).apply(frames, np.array([60.0, 64.4, np.nan]), told)
    assert np.square(spectra).sum(1) == pytest.approx(np.ones(3), rel=1e-4)
    for row, note in enumerate(told[:2]):
        places = midi_to_hz(note) * np.arange(1, 9) * card.frame_length / card.sample_rate
        bins = np.rint(places).astype(int)
        assert away[row, bins] == pytest.approx(places - bins, abs=1e-6)
        between = np.rint(places[0] * 1.5).astype(int)
        assert np.isnan(away[row, between])
    assert np.isnan(away[2]).all()
    places = midi_to_hz(60) * np.arange(3, 8) * card.frame_length / card.sample_rate
    on, between = (spectra[2, np.rint(at).astype(int)] for at in (places, places + places[0] / 6))
    assert np.abs(20 * np.log10(on / between)).max() < 6  # its partials are spread


def test_a_frame_without_a_pitch_takes_the_one_before():
    nan = np.nan
    assert filled(np.array([nan, 60.0, nan, nan, 62.0, nan]), 57.0).tolist() == [57, 60, 60, 60, 62, 62]
    assert filled(np.array([nan, nan]), 57.0).tolist() == [57, 57]
    assert filled(np.zeros(0), 57.0).tolist() == []


def test_the_pitch_of_the_frame_before_is_kept_from_block_to_block(partials_model):
    laid = PartialSpectra(partials_model.card)
    middle = (partials_model.card.partials.low + partials_model.card.partials.high) / 2
    assert laid.filled_pitches(np.array([np.nan, 61.0])).tolist() == [middle, 61.0]
    assert laid.filled_pitches(np.array([np.nan, 63.5, np.nan])).tolist() == [61.0, 63.5, 63.5]


@pytest.fixture
def undrawn(monkeypatch):
    """Recovering draws no picture: each takes a second."""
    monkeypatch.setattr(reconstruction, "draw_spectrograms", lambda *arguments: None)


@pytest.fixture
def sound(tmp_path, patch):
    """A recording of the model's own: of one code and one key."""
    card = patch.model.card
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(64, card.sample_rate, 1.0), card.sample_rate)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_the_code_of_a_sound_is_found(partials_model, sound, tmp_path, undrawn, method):
    output = tmp_path / "found.toml"
    recover(sound, partials_model, output, method=METHODS[method])
    figures = json.loads(output.with_suffix(".json").read_text())
    assert figures["log_mel_db"] < 12
    if method == "hybrid":
        assert figures["missed"] <= figures["missed_by_network"] + 1e-6


def test_a_search_compares_what_is_decoded_with_the_sound_at_its_own_key(partials_model):
    card = partials_model.card
    searcher = CodeSearcher(partials_model)
    frames = tone(65.2, card.sample_rate, 1.0)[: 7 * card.frame_length][np.newaxis]
    heard = searcher._view.target_sound(frames)
    assert heard.condition == 65
    at = float(heard.amplitudes[0].argmax()) * card.sample_rate / card.frame_length
    assert at == pytest.approx(midi_to_hz(65), abs=card.sample_rate / card.frame_length)


def test_a_way_from_sound_to_sound_is_a_held_note_of_the_firsts_pitch(partials_model, sound, tmp_path):
    output = tmp_path / "way.wav"
    morph(sound, sound, partials_model, output, seconds=1.0)
    found, rate = soundfile.read(output)
    assert pitch_of(found[:, 0].astype(np.float32), rate) == pytest.approx(64, abs=0.05)


def test_a_note_of_its_own_codes_is_nearer_frame_by_frame_than_of_one_code(patch):
    rate = patch.model.card.sample_rate
    note = tone(64.2, rate, 1.0)
    coded = CodedNotes(patch)
    moved = coded.transpose(note, 64.2)
    assert (moved.note, moved.key) == (64, 64)
    own = course(note, rate)
    each, one = (shape_db(own, course(coded.resynthesize(moved, code), rate)) for code in (None, moved.code))
    assert each < 12
    assert each <= one + 0.5
