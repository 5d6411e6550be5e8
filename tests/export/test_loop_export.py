"""A network of loops becomes a file that plays on as torch does, with knobs that are named for what they move."""

import re

import numpy as np
import pytest
import soundfile
import torch
from timbrel.export import evaluate as evaluating
from timbrel.export import export as exporting
from timbrel.export.evaluate import evaluate
from timbrel.export.export import export
from timbrel.export.families import FAMILIES
from timbrel.export.families import loop_steering as steering_rotation
from timbrel.export.families import loops as reporting
from timbrel.export.families.loop_steering import fit_rotation, rotation_of
from timbrel.export.fidelity.textures import mean_sides_distance
from timbrel.export.first_preset import as_text, rendered
from timbrel.host.audio.mono_mix import mix_to_mono
from timbrel.host.errors import UserError
from timbrel.host.model.encoder import Encoder
from timbrel.host.model.model import Model, describe
from timbrel.host.progress import Display
from timbrel.train.families.loops.data import sliced
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.metrics.rhythm import LoopMeasures, groove
from timbrel.train.run import Run, trained

from ..train.looped import BAR, SMALL, STEP, grooves, loop, loops_of
from ..train.loops import CPU
from ..train.struck import RATE

NO_LABEL = np.zeros(3, np.intp)


@pytest.fixture(scope="module", autouse=True)
def few_codes():
    """Play fewer codes to name the knobs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steering_rotation, "RANDOM_CODES", 32)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return grooves(tmp_path_factory.mktemp("looped") / "corpus")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    start(load_recipe("tuned-sequence", ["frames.sample_rate=8000", *SMALL]), corpus.folder, folder, CPU)
    return Run.open(folder)


@pytest.fixture(scope="module", params=["float32", pytest.param("float16", marks=pytest.mark.slow)])
def model(request, run, tmp_path_factory):
    file = tmp_path_factory.mktemp("models") / "m.onnx"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)  # it plays, which is another's test
        patched.setattr(steering_rotation, "STEERED_BARS", 2)
        export(run, file, weights=request.param)
    return Model(file)


def test_the_card_says_how_frames_follow_and_how_loud_they_are(model, corpus):
    card = model.card
    assert (card.kind, card.domain, card.sample_rate) == ("stream", "magnitude", RATE)
    assert (card.stream.step_length, card.stream.steps_per_beat, card.stream.beats_per_bar) == (STEP, 4, 4)
    assert card.stream.noise == 24
    assert card.frame_length == STEP + card.hop_length
    assert [mark.label for mark in card.landmarks] == [clip.name for clip in corpus.clips("train")]
    assert -40 < card.stream.levels_db[1] < 0
    named = {latent.name: latent.moves for latent in card.latents}
    assert re.fullmatch(r"[\d.]+ to [\d.]+ onsets a beat", named["density"])
    assert named["latent 3"] == ""
    assert named["density"] in describe(card, 1000)


def test_stereo_loops_give_the_card_their_image_and_mono_ones_none(run, tmp_path):
    network, sounds = trained(run, "best")[0], [loop(seed) for seed in range(4)]
    stereo, mono = (
        FAMILIES["loops"].graphs(network, run.recipe, loops_of(tmp_path / name, sounds, gains=gains), False)
        for name, gains in (("stereo", (1.0, 0.5)), ("mono", None))
    )
    image = np.array(stereo.card["image"])
    assert image == pytest.approx(np.tile([20 * np.log10(2), 1.0], (32, 1)), abs=0.05)
    assert mono.card["image"] is None


def test_a_report_on_stereo_loops_has_the_distances_of_their_sides_beside_floors(tmp_path, monkeypatch):
    corpus = loops_of(tmp_path / "stereo", [loop(seed) for seed in range(6)], gains=(1.0, 0.5))
    clips = corpus.clips("train")
    continuations = [mix_to_mono(np.array(corpus.sides(clip)), corpus.rate) for clip in clips[:3]]
    figures, floors = reporting._sides(corpus, clips[3:], clips[:3], continuations)
    assert max(figures["image"].values()) < 1
    expected_db = np.abs(20 * np.log10(np.sqrt(1.25 / 2) / np.array([1.0, 0.5])))  # of the mono mix, on each side
    assert (figures["mono"]["left_db"], figures["mono"]["right_db"]) == pytest.approx(expected_db, abs=0.1)
    assert floors["sides"]["value"] == pytest.approx(figures["image"]["sides_db"], abs=1e-4)
    assert not floors["sides"]["rises"]
    assert floors["sides"]["not_better_than"] is None
    assert floors["sides"]["floors"]["silence"] > floors["sides"]["floors"]["noise"] > figures["mono"]["sides_db"]
    other = [
        mean_sides_distance(np.array(corpus.sides(a)), np.array(corpus.sides(b)), corpus.rate)
        for a in clips[:3]
        for b in clips[3:]
    ]
    assert min(other).sides_db <= floors["sides"]["floors"]["another"] <= max(pair.sides_db for pair in other)
    stereo = reporting._sides(corpus, clips[3:], clips[1:3], continuations[1:])
    monkeypatch.setattr(corpus, "channels", lambda clip: 1 if clip.row == clips[0].row else 2)
    assert reporting._sides(corpus, clips[3:], clips[:3], continuations) == stereo
    mono = loops_of(tmp_path / "mono", [loop(seed) for seed in range(2)])
    assert reporting._sides(mono, mono.clips("train"), mono.clips("train"), continuations[:2]) == (None, {})


def test_two_hundred_frames_of_the_file_are_those_of_torch_from_choice_to_choice(model, run):
    """The file feeds itself, at a heat; torch's own layers are told all that it gave, at once, and the same noise."""
    network = trained(run, "best")[0]
    for values in (*network.parameters(), *network.buffers()):
        if values.ndim > 1:
            values.data.copy_(values.half().float())
    knobs = np.random.default_rng(1).uniform(-1, 1, (3, 4)).astype(np.float32)
    noise = np.random.default_rng(2).standard_normal((200, 3, 24)).astype(np.float32)
    state, frames, fed, places = model.at_rest(3), [], [], []
    for step in range(200):
        fed.append(state["previous"])
        places.append(state["place"][:, 0])
        frame, state = model.step(knobs, NO_LABEL, state, noise[step])
        frames.append(frame)
    with torch.no_grad():
        rotation = fit_rotation(network, run.recipe, run.corpus())
        steered = torch.from_numpy((rotation.middle + knobs @ rotation.directions).astype(np.float32))
        told = torch.from_numpy(np.stack(fed, 1)), torch.from_numpy(np.stack(places, 1))
        after, _ = network.remembered(*told, steered)
        codes = network.bent(
            after, network.sample_prototypes(after, torch.from_numpy(noise.transpose(1, 0, 2)), steered), steered
        )
        late = network.late(steered)[:, None] * (torch.arange(200) % 2)[:, None]
        slices = network.decoded(codes.flatten(0, 1)), network.decoded(told[0].flatten(0, 1))
        expected = network.features.frames(network.features.delayed(*slices, late.flatten(0, 1))).numpy()
    given = np.stack(frames, 1).reshape(expected.shape)
    assert np.abs(given - expected).max() <= 1e-4 * np.ptp(expected)
    assert np.allclose(np.stack(places, 1), np.arange(200) % BAR / BAR, atol=1e-5)


def test_the_encoder_gives_a_loops_landmark_and_what_the_decoder_is_fed(model, run):
    corpus, encoder = run.corpus(), Encoder(model)
    network = trained(run, "best")[0]
    clip = corpus.clips("train")[3]
    cut = sliced(corpus.samples(clip), run.recipe)
    latents, fed = encoder.encode_with_states(cut)
    assert np.abs(latents.mean(0) - np.array(model.card.landmarks[3].latent)).max() < 0.02
    with torch.no_grad():
        codes = network.coded(network.features.raw(torch.from_numpy(cut))).numpy()
    assert np.abs(fed - codes).max() < 0.01 * np.ptp(codes)


def test_without_heat_it_plays_the_same_and_with_heat_another(model):
    state = model.at_rest(3)
    noise = np.zeros((3, 24), np.float32)
    noise[1:] = 3 * np.random.default_rng(0).standard_normal((2, 24))
    knobs, found = np.zeros((3, 4), np.float32), []
    for _ in range(8):
        frame, state = model.step(knobs, NO_LABEL, state, noise)
        found.append(frame)
    cold = model.after(8, knobs, NO_LABEL)
    assert np.array_equal(found[-1][0], cold[0])
    assert not np.allclose(found[-1][1], cold[1])


def test_a_groove_is_measured_as_it_was_made():
    straight, swung = (groove(loop(3, swing=late, hats=1), RATE, STEP, 4) for late in (0.0, 0.3))
    assert straight.density == pytest.approx(4, abs=0.5)
    assert straight.swing == pytest.approx(0.0, abs=0.04)
    assert swung.swing - straight.swing == pytest.approx(0.3, abs=0.05)
    assert groove(loop(3, hats=4), RATE, STEP, 4).density < straight.density - 1
    time = np.arange(4 * STEP) / RATE
    low, high = (groove(np.sin(2 * np.pi * hz * time).astype(np.float32), RATE, STEP, 4) for hz in (500, 1000))
    assert high.brightness - low.brightness == pytest.approx(1.0, abs=0.1)
    assert np.isnan(low.swing)


def test_directions_that_were_hidden_in_codes_are_found_and_knobs_have_deviation_one():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((400, 5))
    mixed = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    codes = hidden * [3, 2, 1, 0.5, 2] @ mixed + 7
    measures = [LoopMeasures(4 + row[1] + 0.1 * row[4], 9 - 0.2 * row[3], np.nan) for row in hidden]
    found = rotation_of(codes, codes, measures, np.full(5, 1e-6))
    knobs = (codes - found.middle) @ found.inverse
    assert found.names == ["density", "brightness", "latent 2", "latent 3", "latent 4"]
    assert np.corrcoef(knobs[:, 0], hidden[:, 1])[0, 1] > 0.98
    assert np.corrcoef(knobs[:, 1], hidden[:, 3])[0, 1] < -0.98
    assert np.allclose(np.cov(knobs.T), np.eye(5), atol=0.01)
    assert np.allclose(found.middle + knobs @ found.directions, codes)
    assert min(found.correlations.values()) > 0.9


def test_a_measure_that_no_code_tells_of_names_no_knob():
    rng = np.random.default_rng(1)
    codes = rng.standard_normal((400, 3))
    found = rotation_of(
        codes, codes, [LoopMeasures(2.0, value, np.nan) for value in rng.standard_normal(400)], np.full(3, 0.1)
    )
    assert found.names == ["latent 0", "latent 1", "latent 2"]
    assert found.correlations == {}


def test_the_first_preset_plays_on_for_eight_bars_from_a_landmark_at_a_heat(model, run, tmp_path):
    heard = tmp_path / FAMILIES["loops"].demo
    with Display() as display:
        preset = rendered(model, heard, display)
    assert preset.stream.seed_landmark in [mark.label for mark in model.card.landmarks]
    assert preset.stream.heat == 1.3
    assert {"latent.0", "stream.heat"} <= {entry.target for entry in preset.cc}
    assert preset.tempo_bpm == pytest.approx(117.19)
    assert "a held key plays on at 117.19 BPM" in FAMILIES["loops"].playing(preset, model, run.info.tonal)
    assert 'seed_landmark = "' in as_text(preset, model.card)
    sound, rate = soundfile.read(heard)
    bar = round(BAR * STEP / RATE * rate)
    levels = np.sqrt(np.square(sound[: 8 * bar].reshape(8, -1)).mean(1))
    assert levels.min() > 0.1 * levels.max() > 0
    assert levels.max() > 0.01


def test_a_report_says_how_near_to_loops_it_stays_and_what_knobs_move(run, monkeypatch, timbrel):
    monkeypatch.setattr(reporting, "MINUTES", 0.5)
    monkeypatch.setattr(reporting, "BARS", 2)
    monkeypatch.setattr(steering_rotation, "STEERED_BARS", 2)
    sides = {"left_db": 1.25, "right_db": 2.25, "mid_db": 3.25, "side_db": 4.25, "sides_db": 2.75}
    assert reporting._sides(run.corpus(), [], [], []) == (None, {})
    monkeypatch.setattr(reporting, "_sides", lambda *arguments: ({"image": sides, "mono": sides}, {}))
    found = evaluate(run, checkpoint="last", instrument=run.folder)
    page = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert page.index('src="loop.wav"') < page.index('src="loop-1.wav"') < page.index("<table")
    assert found["split"] == "test"
    assert [row["name"] for row in found["played_on"]] == ["loop 12", "loop 13"]
    for row in found["played_on"]:
        assert 0.5 < row["within"] <= 1
        assert row["beat"] > 0.3
        assert row["source_copied_beats"]["waveform"] < 32
    within = [row["within"] for row in found["played_on"]]
    assert found["floors"]["within"]["value"] == pytest.approx(np.mean(within))
    beats = [row["beat"] for row in found["played_on"]]
    assert found["floors"]["beat"]["value"] == pytest.approx(np.median(beats))
    assert found["floors"]["beat"]["floors"]["silence"] == 0
    assert found["endless"]["in_range"] > 0.99
    assert found["endless"]["constant"] == found["endless"]["repeating"] == 0
    knobs = {row["name"]: row for row in found["knobs"]}
    assert knobs["density"]["correlation"] > 0
    page = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "What follows its first bar (loop 12)" in page
    assert re.search("In stereo.*1.2.*2.2.*3.2.*4.2.*2.8", re.sub(r"\s+", " ", page))
    assert found["sides"]["image"] == sides
    assert f"{found['played_on'][0]['within']:.1%}" in page
    monkeypatch.setattr(evaluating, "evaluate", lambda *arguments, **options: found)
    ended = timbrel("evaluate", str(run.folder), "--checkpoint", "last")
    assert ended.status == 0, ended.err
    assert f"density {knobs['density']['correlation']:.2f}" in ended.out
    assert ended.out.splitlines()[-1] == str(run.folder / "report" / "index.html")


def test_a_report_of_a_corpus_that_lost_its_loops_is_refused(run, monkeypatch):
    monkeypatch.setattr(reporting, "loops", lambda corpus, split, recipe: [])
    with pytest.raises(UserError, match="has no loop that sounds; add loops"):
        evaluate(run, checkpoint="last")


def test_what_knobs_move_is_said_with_its_unit():
    told = steering_rotation.effects(
        {"density": {"low": 2.0, "middle": 3.0, "high": 3.456}, "swing": {"low": None, "high": 0.3}}
    )
    assert told == {"density": "2.00 to 3.46 onsets a beat", "swing": "– to 0.30 steps late"}


def test_shortcomings_are_those_of_the_figures():
    row = {"within": 0.9, "beat": 0.4, "copied_beats": {"waveform": 0.5, "levels": 3.0}}
    endless = {"in_range": 0.99, "constant": 0.0, "repeating": 0.0}
    knobs = [{"name": "swing", "low": 0.2, "high": 0.1}, {"name": "density", "low": 2.0, "high": 3.0}]
    told, short = reporting.verdict({"floors": {}, "played_on": [row], "endless": endless, "knobs": knobs})
    assert told == f"{short[0]} {short[1]}"
    assert short[0] == "90% of what follows is like training loops."
    assert short[1] == "The beat is 0.40 times as strong as in the loops that it was given."
    assert [line.split(":")[-1].strip() for line in short[-1:]] == ["swing."]
    assert len(short) == 5
    good = {"within": 1.0, "beat": 1.0, "copied_beats": {"waveform": 0.0, "levels": 1.9}}
    fine = {"in_range": 1.0, "constant": 0.0, "repeating": 0.0}
    assert reporting.verdict({"floors": {}, "played_on": [good], "endless": fine, "knobs": knobs[1:]})[1] == []
