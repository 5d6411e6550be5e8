"""Decoders of partials become files that any host can check, that play in tune, and whose report has their notes."""

import numpy as np
import pytest
import torch
from timbrel.export.evaluate import evaluate
from timbrel.export.families.partials import PartialsDecoder, PartialsEncoder
from timbrel.export.fidelity import floors
from timbrel.export.fidelity.dynamics import played
from timbrel.export.first_preset import first_preset
from timbrel.export.gestures.build import gestures_of
from timbrel.export.gestures.code_fitting import PitchedCodeFitter
from timbrel.export.knobs.naming import arranged_partials
from timbrel.host.model.encoder import Encoder
from timbrel.host.preset.library import Patch
from timbrel.host.units import midi_to_hz
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run, trained

from .fidelity.tones import note_corpus


def in_order(run):
    """The network as the file has it."""
    network, _, _ = trained(run, "best")
    return arranged_partials(network, run.recipe, run.corpus()).network


@pytest.fixture
def run(partials_run):
    return partials_run


@pytest.fixture
def model(partials_model):
    return partials_model


def test_its_card_says_how_its_frames_are_laid_out_and_its_reference_holds(run, model):
    card = model.card
    assert (card.kind, card.domain, card.chroma) == ("partials", "partials", None)
    assert (card.partials.harmonics, card.partials.bands, card.frame_width) == (40, 45, 85)
    assert (card.partials.low, card.partials.high) == pytest.approx((57, 70), abs=0.1)
    verdict = model.verify()
    assert verdict.passed
    assert verdict.points == 85
    assert card.reference.key[0] == 57
    assert card.parity.relative < 5e-3
    assert model.gestures.residual_seconds == 512 / card.sample_rate
    assert all(len(note.residual) >= 64 for note in model.gestures.instruments[0].notes)


def test_the_file_gives_what_torch_gives_for_any_pitch(run, model):
    network = in_order(run)
    rng = np.random.default_rng(0)
    codes, pitches = rng.random((30, 8)).astype(np.float32), rng.uniform(40, 90, 30).astype(np.float32)
    with torch.no_grad():
        asked = network.decode(torch.from_numpy(codes), torch.from_numpy(pitches)).numpy()
    found = model.decode(codes, pitches)
    assert np.abs(found - asked).max() < 5e-3 * np.ptp(asked)


def test_its_encoder_places_a_sound_of_a_pitch_where_training_did(run, model):
    from timbrel.train.families.partials.data import measure_levels, pieces
    from timbrel.train.frames import sources

    network = in_order(run)
    frames = run.recipe.frames
    few = list(sources(run.corpus(), "train", frames, tonal=True))[::7]
    sound, pitches = pieces(run.corpus(), few, frames), np.array([one.note for one in few])
    with torch.no_grad():
        rows = torch.from_numpy(measure_levels(sound, pitches, frames))
        asked = network.encode(rows, torch.from_numpy(pitches).float()).numpy()
    found = Encoder(model).encode(sound, pitches)
    assert np.median(np.abs(found - asked)) < 0.03  # frames' own bands, and those of their rows


@pytest.mark.parametrize("key", [45, 60, 64, 81])
def test_a_key_is_in_tune(model, key):
    patch = Patch("tones", first_preset(model), model, model.path.parent)
    rate = model.card.sample_rate
    sound = played(patch, key, 100, 1.5, round(1.5 * rate)).astype(np.float64)[rate // 2 : rate]
    turned = sound * np.exp(-2j * np.pi * midi_to_hz(key) * np.arange(len(sound)) / rate)
    width = round(4 * rate / midi_to_hz(key))
    phase = np.unwrap(np.angle(np.convolve(turned, np.hanning(width), "valid")))
    hz = midi_to_hz(key) + np.polyfit(np.arange(len(phase)) / rate, phase, 1)[0] / (2 * np.pi)
    assert 1200 * np.log2(hz / midi_to_hz(key)) == pytest.approx(0, abs=0.5)


def test_notes_go_the_ways_of_the_recordings(model):
    [instrument] = model.gestures.instruments
    assert {round(note.key) for note in instrument.notes} <= set(range(57, 71))
    assert len(instrument.notes) >= 8


def test_releases_keep_the_code_of_the_held_note_and_move_by_residuals(run, model, tmp_path):
    network = in_order(run)
    fitter = PitchedCodeFitter(
        PartialsEncoder(network, run.recipe), PartialsDecoder(network), model.card, network.bands
    )
    clips = [("train", key, {"seconds": 1.2}) for key in (58, 60, 62, 64, 66)]
    found = gestures_of(note_corpus(tmp_path / "c", clips, rate=model.card.sample_rate), fitter, model)
    for note in found.instruments[0].notes:
        ended = [np.interp(note.held_seconds, found.grid.codes, column) for column in np.transpose(note.codes)]
        assert np.array(note.release_codes) == pytest.approx(np.tile(ended, (5, 1)), abs=2e-3)
        assert np.ptp(note.codes, axis=0).max() > 0.01
        assert len(note.release_residual) >= 10 * len(found.bands_hz)


def test_a_report_has_its_notes_beside_recordings(run, monkeypatch):
    monkeypatch.setattr(floors, "STEPS", 15)
    found = evaluate(run)
    assert found["notes"]["notes"] >= 2
    assert found["notes"]["ours"]["shape_db"]["median"] < 15
    assert found["notes"]["stored"]["sustain_db"]["median"] < found["notes"]["heard"]["sustain_db"]["median"]
    codes = found["notes"]["codes"]
    assert 0.5 < codes["each_frame"]["median"] < 12
    assert set(found["reconstruction"]) == set(found["floors"]) == {"bands_db", "harmonics_db", "noise_db"}
    for measure, error in found["reconstruction"].items():
        assert found["floors"][measure]["value"] == pytest.approx(error, rel=1e-3)
        assert found["floors"][measure]["floors"]["silence"] > error
    distance = found["spectral_distance"]
    assert 0 < distance["reconstruction"] < distance["generated"]
    assert distance["ratio"] == distance["generated"] / distance["train"]
    assert found["verdict"]
    assert len(found["knobs"]["latents"]) == 8
    page = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Notes beside recordings" in page
    assert (run.folder / "report" / "abx.html").exists()


def test_a_run_that_follows_a_trial_begins_with_its_weights_and_learns_from_all_clips(run, tone_corpus, tmp_path):
    recipe = run.recipe.model_copy(
        update={"training": run.recipe.training.model_copy(update={"steps": 1, "learning_rate": 1e-9})}
    )
    start(recipe, tone_corpus, tmp_path / "run", RunOptions("cpu"), trial=run.folder)
    followed = Run.open(tmp_path / "run")
    before, after = (trained(one, "best")[0].state_dict() for one in (run, followed))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert followed.trial().folder == run.folder.resolve()
    assert followed.corpus().clips("train")
    assert not followed.corpus().clips("test")
    assert run.corpus().clips("test")
