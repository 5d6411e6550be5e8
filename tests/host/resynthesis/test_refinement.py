"""Codes of clips are refined by the figure that is printed, within the span of training."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from timbrel.host.engines.clip.synthesis import SpectraSound
from timbrel.host.model.card import in_deviations
from timbrel.host.model.encoder import Encoder
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.resynthesis import refinement as refining
from timbrel.host.resynthesis.codes import Span, clip_of
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.resynthesis.recover import RecoveryMethod, recover
from timbrel.host.resynthesis.refinement import SearchResult, SearchTarget, _Target, can_refine, refined
from timbrel.host.spectra import log_mel

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def digits():
    """The smallest model that ships of clips given as magnitudes."""
    return Model(shipped_models()["digits-spoken"])


def burst(rate, seconds=0.3, seed=0):
    """A burst of noise over a low tone: a drum, which the model has never heard."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (np.exp(-time / 0.05) * (0.2 * noise + 0.4 * np.sin(2 * np.pi * 180 * time))).astype(np.float32)


@pytest.fixture(scope="module")
def drum(digits, tmp_path_factory):
    """Its file."""
    path = tmp_path_factory.mktemp("drum") / "drum.wav"
    soundfile.write(path, burst(digits.card.sample_rate), digits.card.sample_rate, subtype="FLOAT")
    return path


def sound_of(model):
    card = model.card
    return SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)


def away(model, code, label, clip):
    """How far the clip of a code lies from another, in dB, as it is printed."""
    made = sound_of(model)(model.decode(code[np.newaxis].astype(np.float32), np.array([label])))
    return float(distance_db(*(log_mel(sound, model.card.sample_rate) for sound in (clip[np.newaxis], made)))[0])


def test_the_sum_of_squares_is_that_of_the_figure_that_is_printed(digits, drum):
    track = clip_of(drum, digits.card, Encoder(digits))
    target = _Target(track.clip, digits.card, None)
    label = digits.card.labels.index(track.label)
    made = sound_of(digits)(digits.decode(track.codes.astype(np.float32), np.array([label])))
    for to_end in (False, True):
        squares = float(np.square(target.residuals(made, to_end=to_end)).sum())
        assert 10 * squares**0.5 == pytest.approx(away(digits, track.codes[0], label, track.clip), rel=1e-3)


def test_a_sound_comes_nearer_by_the_figure_within_the_span_and_with_few_runs_of_the_decoder(digits, drum, monkeypatch):
    card, runs = digits.card, []
    track, label = clip_of(drum, card, Encoder(digits)), 3
    decode = Model.decode

    def counted(self, codes, condition=None):
        runs.append(len(codes))
        return decode(self, codes, condition)

    monkeypatch.setattr(Model, "decode", counted)
    [found] = refined(digits, [SearchTarget(track.clip[np.newaxis], track.codes[0], label)])
    monkeypatch.undo()
    assert found.settled
    network = Span(card).into(track.codes[0])
    assert away(digits, found.code, label, track.clip) < 0.8 * away(digits, network, label, track.clip)
    assert len(runs) <= 150
    assert sum(runs) <= 550  # 424 here; 635 with a full Jacobian at each step


def test_codes_of_the_models_own_sounds_are_found_again(digits):
    """Slopes of the strongest directions alone end early there: at a median correlation of .965."""
    marks = digits.card.landmarks[:: len(digits.card.landmarks) // 8][5:8]
    codes, labels = np.array([mark.latent for mark in marks], np.float32), np.array([5, 6, 7])
    clips = sound_of(digits)(digits.decode(codes, labels))
    starts = Encoder(digits).encode(clips)
    sounds = [SearchTarget(clip[np.newaxis], *rest) for clip, *rest in zip(clips, starts, labels.tolist(), strict=True)]
    found = [one.code for one in refined(digits, sounds)]
    assert np.median([np.corrcoef(*pair)[0, 1] for pair in zip(found, codes, strict=True)]) > 0.985  # .999 here


def test_no_code_leaves_the_span_of_training(digits):
    card = digits.card
    low, high = (np.array([getattr(latent, end) for latent in card.latents]) for end in ("low", "high"))
    mean, scale = np.array([latent.mean for latent in card.latents]), in_deviations(card)

    def radius(codes):
        return np.sqrt(np.square((codes - mean) * scale).sum(-1))

    most = radius(np.array([mark.latent for mark in card.landmarks])).max()
    codes = mean + np.random.default_rng(0).standard_normal((50, len(low))) * np.linspace(0.1, 5, 50)[:, np.newaxis]
    inside = (radius(codes) <= most) & ((codes >= low) & (codes <= high)).all(1)
    assert 0 < inside.sum() < 50
    for code, kept in zip(codes, inside, strict=True):
        brought = Span(card).into(code)
        assert ((brought >= low - 1e-9) & (brought <= high + 1e-9)).all()
        assert radius(brought) <= most * (1 + 1e-9)
        assert np.array_equal(brought, code) == kept


def test_a_code_that_lies_outside_is_searched_from_inside(digits, drum):
    track = clip_of(drum, digits.card, Encoder(digits))
    [found] = refined(digits, [SearchTarget(track.clip[np.newaxis], 4 * track.codes[0], 3)])
    assert Span(digits.card).into(found.code) == pytest.approx(found.code, abs=1e-6)


@pytest.mark.parametrize("folder", [False, True])
def test_recover_never_gives_a_code_that_is_farther_than_the_networks(digits, drum, tmp_path, folder):
    def astray(model, sounds, progress=None):
        return [SearchResult(np.full(len(one.code), 0.9), one.label, None, None, True) for one in sounds]

    found = {}
    for method in (RecoveryMethod("network"), RecoveryMethod("astray", astray, True)):
        out = tmp_path / f"{method.name}.toml"
        recover(drum.parent if folder else drum, digits, out, method=method)
        figures = json.loads(out.with_suffix(".json").read_text())
        found[method.name] = figures["keys"][0] if folder else figures
    assert found["astray"]["code"] == found["network"]["code"]
    assert found["astray"]["log_mel_db"] == found["network"]["log_mel_db"] == found["astray"]["log_mel_db_by_network"]


def test_a_clip_is_refined_without_torch(drum, tmp_path, timbrel, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    monkeypatch.setattr(refining, "FIRST_STEPS", 1)
    monkeypatch.setattr(refining, "STEPS", 1)
    ended = timbrel("recover", drum, "--model", "digits-spoken", "-o", tmp_path / "out.toml")
    assert ended.status == 0
    assert "torch" not in ended.err
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["method"] == "hybrid"
    assert figures["log_mel_db"] < figures["log_mel_db_by_network"]


def test_recover_multiplies_matrices_in_one_thread_whose_others_would_spin(drum, tmp_path):
    pytest.importorskip("threadpoolctl")
    script = (
        "import sys, threadpoolctl; from timbrel.__main__ import _run; "
        f"sys.argv = ['timbrel', 'recover', {str(drum)!r}, '--model', 'digits-spoken', '--method', 'network', "
        f"'-o', {str(tmp_path / 'out.toml')!r}]; assert _run() == 0; "
        "print([pool['num_threads'] for pool in threadpoolctl.threadpool_info() if pool['user_api'] == 'blas'])"
    )
    plain = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    ended = subprocess.run([sys.executable, "-c", script], env=plain, capture_output=True, text=True, check=True)
    assert set(json.loads(ended.stdout.splitlines()[-1])) <= {1}


def test_clips_given_as_samples_and_other_kinds_are_left_to_other_searches(digits):
    assert can_refine(digits.card)
    assert not can_refine(Model(shipped_models()["gm-chroma-2"]).card)
    assert not can_refine(Model(shipped_models()["lakeside-10"]).card)
