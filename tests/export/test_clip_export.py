"""Autoencoders of whole short sounds become models that give what torch gives, and kits of their sounds."""

import json

import numpy as np
import pytest
import soundfile
import torch
from timbrel.export import export as exporting
from timbrel.export.families import FAMILIES as EXPORTED
from timbrel.export.families.clip import ClipDecoder, recorded_clips, short_names
from timbrel.export.graphs import EncodedFrames, landmarks
from timbrel.export.kinds.clip import DRAWN_KEYS, FIRST_KEY, kit
from timbrel.export.measures.loudest_moment import k_weights
from timbrel.host.engines.clip.synthesis import SpectraSound
from timbrel.host.errors import Failure, UserError
from timbrel.host.kinds.card_fields import Landmark, UniformPrior
from timbrel.host.model.encoder import Encoder, encoder_path
from timbrel.host.model.model import Model, open_session
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.codes import Span
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families.clip.data import hits
from timbrel.train.run import trained

from ..train.struck import corpus_of, hat, tom
from .bs1770 import HIGH_PASS, SHELF

LENGTH, RATE = 4096, 8000


@pytest.fixture(params=[pytest.param(False, id="plain", marks=pytest.mark.slow), pytest.param(True, id="labelled")])
def both(request, hit_run, hit_model):
    """The trained network, and the model of it."""
    return trained(hit_run(request.param), "best")[0], Model(hit_model(request.param))


def heard(corpus, split="test"):
    found = hits(corpus, split, ["hat", "tom"])
    return found.take_clips(corpus, np.arange(len(found.clips)), LENGTH), found


def rows_of(card, numbers):
    return torch.eye(len(card.labels))[torch.from_numpy(numbers)] if card.labels else None


def test_the_decoder_gives_what_torch_gives(both):
    network, model = both
    codes = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    numbers = np.array([0, 1, 1, 0, 1])
    with torch.no_grad():
        expected = ClipDecoder(network)(torch.from_numpy(codes), rows_of(model.card, numbers)).numpy()
    found = model.decode(codes, numbers)
    assert found.shape == (5, model.card.frame_width)
    assert np.abs(found - expected).max() < 5e-3 * expected.max()
    assert model.verify().passed
    assert model.verify().points == model.card.frame_width


def test_clips_of_all_codes_and_labels_are_as_loud_as_each_other(both):
    """By what is heard of them; the network itself makes a hat 20 dB louder than a tom."""
    network, model = both
    card = model.card
    codes = np.random.default_rng(1).standard_normal((12, 4)).astype(np.float32)
    numbers = np.arange(12) % 2
    sound = SpectraSound(LENGTH, card.transform_length, card.hop_length, card.envelope_points)
    with torch.no_grad():
        plain = network.decode(torch.from_numpy(codes), rows_of(card, numbers)).numpy()
    before, after = ([momentary_db(clip) for clip in sound(rows)] for rows in (plain, model.decode(codes, numbers)))
    assert np.ptp(after) < 4 < 0.5 * np.ptp(before)
    assert np.median(after) == pytest.approx(-20, abs=1)


def momentary_db(clip):
    """The loudest 0.4 s of a clip, by weights of its spectrum: the loudest first part of it, where it dies away."""
    first = np.pad(clip, (0, RATE))[: RATE * 4 // 10]
    power = 2 * np.abs(np.fft.rfft(first)) ** 2 / len(first) ** 2
    return 10 * np.log10((power * k_weights(np.fft.rfftfreq(len(first), 1 / RATE))).sum())


def test_the_weights_of_a_clips_loudness_are_those_of_bs_1770():
    hertz = np.geomspace(20, 20000, 50)
    z = np.exp(-2j * np.pi * hertz / 48000)
    expected = [np.polyval(b[::-1], z) / np.polyval(a[::-1], z) for b, a in (SHELF, HIGH_PASS)]
    assert 10 * np.log10(k_weights(hertz)) == pytest.approx(20 * np.log10(np.abs(np.prod(expected, axis=0))), abs=0.1)


def test_the_encoder_gives_the_codes_and_labels_that_torch_gives(both, drum_corpus):
    network, model = both
    clips, _ = heard(drum_corpus)
    codes, labels = Encoder(model).encode_with_labels(clips)
    with torch.no_grad():
        expected = network.encode(network.features(torch.from_numpy(clips))[0]).numpy()
        assert np.abs(codes - expected).max() < 5e-3 * np.ptp(expected) * 3
        if model.card.labels:
            asked = network.label_probabilities(network.features(torch.from_numpy(clips))[0]).numpy()
            assert np.abs(labels - asked).max() < 5e-3
        else:
            assert labels is None
    names = [put.name for put in open_session(encoder_path(model.path)).get_outputs()]
    assert names == (["latent", "label"] if model.card.labels else ["latent"])


def test_the_card_says_how_the_clips_are_given(both):
    network, model = both
    card = model.card
    assert (card.kind, card.domain, card.window, card.chroma) == ("clip", "magnitude", "hann", None)
    assert (card.sample_rate, card.frame_length) == (RATE, LENGTH)
    assert (card.hop_length, card.transform_length, card.envelope_points) == (128, 512, 256)
    assert json.loads(card.model_dump_json())["prior"] == {"normal": [0.0, 1.0]}
    assert card.labels == list(network.settings.words)
    sound = SpectraSound(LENGTH, 512, 128, 256)(model.decode(np.zeros((1, 4), np.float32), np.zeros(1, np.intp)))
    assert np.isfinite(sound).all()


def test_every_recording_of_few_is_a_landmark_within_the_knobs(both, drum_corpus):
    """Twenty-four of them: percentiles would leave out two for each knob."""
    network, model = both
    clips, found = heard(drum_corpus, "train")
    with torch.no_grad():
        codes = network.encode(network.features(torch.from_numpy(clips))[0]).numpy()
    card = model.card
    assert np.array([mark.latent for mark in card.landmarks]) == pytest.approx(codes, abs=1e-4)
    if card.labels:
        assert [mark.label for mark in card.landmarks] == [clip.label for clip in found.clips]
    else:
        assert [mark.label for mark in card.landmarks] == [clip.name for clip in found.clips]
    for knob, column in zip(card.latents, codes.T, strict=True):
        assert (knob.low, knob.high) == pytest.approx((column.min(), column.max()), abs=1e-4)


def test_each_of_120_recordings_is_a_landmark_by_its_files_name(hit_run, tmp_path):
    """Percentiles of a hundred codes would leave out strays, and so their keys."""
    run = hit_run(False)
    corpus = corpus_of(tmp_path / "c", [tom(seed) for seed in range(120)])
    codes = EXPORTED["clip"].graphs(trained(run, "best")[0], run.recipe, corpus, False).codes
    assert {mark.label for mark in landmarks(codes)} == {f"clip {number}" for number in range(120)}


def test_recordings_are_called_by_their_files_without_folder_and_suffix_where_no_other_is_so_called():
    names = ["drums/kick.wav", "a.b.flac", "hat.wav", "soft/hat.wav"]
    assert short_names(names) == ["kick", "a.b", "hat.wav", "soft/hat.wav"]


def test_stray_codes_are_left_out_of_many():
    codes = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    codes[7] = 50.0
    many, few = (EncodedFrames(part, [str(number) for number in range(len(part))]) for part in (codes, codes[:20]))
    assert many.ends()[1].max() < 3
    assert few.ends()[1].min() == 50
    assert "7" in [mark.label for mark in landmarks(few)]
    assert len(landmarks(few)) == 20


def test_each_label_has_a_landmark_though_all_its_codes_are_stray():
    codes = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    codes[[3, 7]] = [[9.0, 0.0], [5.0, 0.5]]
    labels = ["clap" if row in (3, 7) else "kick" for row in range(1000)]
    made = EncodedFrames(codes, labels)
    assert {mark.label for mark in landmarks(made)} == {"kick"}
    marks = landmarks(made, ["clap", "kick", "bell"])
    assert 254 <= len(marks) <= 256
    [clap] = [mark for mark in marks if mark.label == "clap"]
    assert clap.latent == pytest.approx([made.ends()[1][0], 0.5], abs=1e-5)


def test_layers_of_one_drum_are_one_sound_by_velocity_also_where_others_have_none(tmp_path):
    names = ["kick_v1.wav", "kick_v2.wav", "kick_v3.wav", "Snare 1.wav", "closed hat.wav"]
    with writing(tmp_path / "corpus", RATE) as writer:
        for seed, name in enumerate(names):
            writer.append(tom(seed).astype(np.float32), np.full(4, np.nan, np.float32), name=name, group=name)
        writer.finish(dict.fromkeys(names, "train") | {"kick_v2.wav": "test"}, name="kit")
    corpus = Corpus.open(tmp_path / "corpus")
    clips = list(corpus.clips("train"))
    found = recorded_clips(corpus, clips, np.zeros((len(clips), 2)), [], [1.0] * len(clips))
    assert {clip.name: (clip.sound, clip.velocity) for clip in found} == {
        **{"kick_v1": ("kick", 42), "kick_v3": ("kick", 127)},
        **{"Snare 1": ("", None), "closed hat": ("", None)},
    }


def test_a_corpus_in_which_nothing_sounds_is_refused(hit_run, tmp_path):
    run = hit_run(False)
    silent = corpus_of(tmp_path / "c", [np.zeros(5000)] * 2)
    with pytest.raises(UserError, match="has no training clip that sounds; add louder sounds"):
        EXPORTED["clip"].graphs(trained(run, "best")[0], run.recipe, silent, False)


# ---- what is played of it


def of_landmarks(card, codes, **changes):
    marks = [Landmark(latent=list(code), chroma=None, label=f"{number}") for number, code in enumerate(codes)]
    return card.model_copy(update={"landmarks": marks, "labels": [], **changes})


DRAWN = UniformPrior(uniform=(-1.0, 1.0))


def knobs(card, deviations):
    return [
        latent.model_copy(update={"std": std, "default": 0.0})
        for latent, std in zip(card.latents, deviations, strict=True)
    ]


def test_a_kit_of_drawn_codes_takes_the_clip_in_the_middle_and_then_those_farthest_from_all_before(hit_model):
    card = Model(hit_model(False)).card
    codes = [[9.0, 0, 0, 0], [0.1, 0, 0, 0], [-8.0, 0, 0, 0], [0.0, 5, 0, 0], [0.0, 4.9, 0, 0]]
    found = kit(of_landmarks(card, codes, latents=knobs(card, [1.0] * 4), prior=DRAWN))
    assert [entry.key for entry in found] == list(range(FIRST_KEY, FIRST_KEY + 5))
    assert [entry.code for entry in found] == [codes[number] for number in (1, 0, 2, 3, 4)]


def test_a_kit_counts_in_deviations_and_a_knob_that_does_nothing_for_nothing(hit_model):
    card = Model(hit_model(False)).card
    codes = [[0.0, 0, 0, 0], [1.0, 0, 0, 0], [0.0, 0.9, 0, 0], [0.0, 0, 0, 1e-5]]
    found = kit(of_landmarks(card, codes, latents=knobs(card, [1.0, 0.1, 1.0, 0.0]), prior=DRAWN))
    assert [entry.code for entry in found][:3] == [codes[0], codes[2], codes[1]]


def test_a_kit_has_ten_keys_of_drawn_codes_and_else_one_for_each_recording_or_label(hit_model):
    card = Model(hit_model(False)).card
    codes = np.random.default_rng(0).standard_normal((40, 4)).tolist()
    found = kit(of_landmarks(card, codes, prior=DRAWN))
    assert len(found) == DRAWN_KEYS == 10
    assert len({tuple(entry.code) for entry in found}) == 10
    assert {entry.label for entry in kit(of_landmarks(card, codes))} == {f"{number}" for number in range(40)}
    card = Model(hit_model(True)).card
    assert [(entry.key, entry.code) for entry in kit(card)] == [(42, None), (45, None)]
    labels = {recording.name: recording.label for recording in card.recordings}
    assert [labels[entry.recording] for entry in kit(card)] == ["hat", "tom"]
    without = kit(card.model_copy(update={"recordings": []}))
    assert [(entry.label, entry.recording) for entry in without] == [("hat", None), ("tom", None)]


# ---- the commands


def test_a_file_whose_recordings_do_not_play_is_not_kept(hit_run, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)
    monkeypatch.setattr(exporting, "recordings_off", lambda model: ["tom 3"])
    with pytest.raises(Failure, match=r"its recordings tom 3 differ from those of torch's decoder"):
        exporting.export(hit_run(True), tmp_path / "drums.onnx", knob_names=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("labelled", [False, True])
def test_info_verify_recover_and_render_take_such_a_model(hit_model, timbrel, tmp_path, labelled):
    path = hit_model(labelled)
    told = timbrel("info", path)
    assert told.status == 0, told.err
    assert "4096 samples (0.512 s) of 33 spectra of 257 magnitudes, 16.0 ms apart" in told.out
    assert ("hat, tom" in told.out) == labelled
    proof = timbrel("verify", path)
    assert proof.status == 0
    assert proof.out.endswith(
        "recordings play as recorded at rest, and along a path of codes, at their card's levels\n"
    )
    soundfile.write(tmp_path / "hit.wav", tom(3), RATE, subtype="FLOAT")
    by_ear = ["--model", path, "--method", "network", "-o"]
    said = timbrel("recover", tmp_path / "hit.wav", *by_ear, tmp_path / "hit.toml")
    assert said.status == 0, said.err
    assert ("taken for 'tom'" in said.out) == labelled
    preset = open_patch(str(tmp_path / "hit.toml")).preset
    assert (preset.clip.label if labelled else preset.clip) == ("tom" if labelled else None)
    clip = np.pad(tom(3), (0, LENGTH - len(tom(3))))[None]
    model = Model(path)
    code = Span(model.card).into(Encoder(model).encode(clip)[0])  # of a weak training, the code may lie far outside
    assert preset.latent.values == pytest.approx(code.tolist(), abs=1e-3)
    (tmp_path / "hits").mkdir()
    soundfile.write(tmp_path / "hits" / "a.wav", hat(3), RATE)
    soundfile.write(tmp_path / "hits" / "b.wav", tom(3), RATE)
    said = timbrel("recover", tmp_path / "hits", *by_ear, tmp_path / "kit.toml")
    assert said.status == 0, said.err
    keys = open_patch(str(tmp_path / "kit.toml")).preset.keys
    assert [entry.label for entry in keys] == (["hat", "tom"] if labelled else [None, None])
    midi = tmp_path / "hit.mid"
    track = b"\x00\x90\x24\x64\x83\x60\x80\x24\x00\x00\xff\x2f\x00"
    midi.write_bytes(b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk" + len(track).to_bytes(4) + track)
    ended = timbrel("render", tmp_path / "kit.toml", midi, "-o", tmp_path / "out.wav")
    assert ended.status == 0, ended.err
    sound, _ = soundfile.read(tmp_path / "out.wav")
    assert np.isfinite(sound).all()
    assert 1e-3 < np.abs(sound).max() < 1
