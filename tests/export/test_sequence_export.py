"""A network that continues sound becomes a file that is stepped; a report says how near it stays to what it heard."""

import json

import numpy as np
import pytest
import soundfile
import torch
from timbrel.export import export as exporting
from timbrel.export.evaluate import evaluate
from timbrel.export.export import export
from timbrel.export.families import FAMILIES as EXPORTED
from timbrel.export.families import sequence as reporting
from timbrel.export.families import sequence_floors
from timbrel.export.families.sequence import QUIETEST_DB
from timbrel.export.first_preset import first_preset, model_loudness_lufs
from timbrel.host.errors import UserError
from timbrel.host.model.encoder import Encoder
from timbrel.host.model.model import Model
from timbrel.host.preset.motions import TEMPO_BPM
from timbrel.train.families.recipes import load_recipe
from timbrel.train.families.sequence.data import cut, pieces
from timbrel.train.families.sequence.network import delayed
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run, trained

from ..train.struck import RATE, corpus_of, hat, tom

LENGTH, HOP = 64, 48
SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={LENGTH}",
    f"frames.hop_length={HOP}",
    "network.size=24",
    "training.steps=60",
    "training.learning_rate=1e-2",
]


@pytest.fixture(autouse=True)
def _no_voice(monkeypatch, traced_once):
    """Loudness is measured by playing, which is another's test; short tails are as good as long ones."""
    monkeypatch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)
    for module in (reporting, sequence_floors):
        monkeypatch.setattr(module, "TAIL", 20)
        monkeypatch.setattr(module, "PART", 5)


def test_a_continuation_that_ends_before_the_longest_recording_is_drawn_beside_it(monkeypatch):
    recordings = {"short": np.ones(50), "long": np.ones(900)}
    monkeypatch.setattr(reporting, "recording", lambda corpus, piece, recipe: recordings[piece])
    drawn = []
    monkeypatch.setattr(reporting.clip_figures, "waveforms", lambda rows, rate, caption: drawn.append(rows))
    recipe = load_recipe("sequence-samples", SMALL)
    reporting.waveforms(None, list(recordings), [np.ones(650), np.ones(1500)], recipe)
    assert {name: rows.shape for name, rows in drawn[0].items()} == {"recording": (2, 900), "continued": (2, 900)}
    assert drawn[0]["continued"].sum() == 650 + 900


@pytest.fixture(scope="module")
def struck(tmp_path_factory):
    """Three training clips and one for testing."""
    sounds = [tom(1, 0.1), tom(2, 0.08), hat(1, 0.1), tom(3, 0.1)]
    return corpus_of(tmp_path_factory.mktemp("struck") / "corpus", sounds, splits=["train"] * 3 + ["test"])


@pytest.fixture(scope="module")
def run_of(struck, tmp_path_factory):
    runs = {}

    def run(name):
        if name not in runs:
            folder = tmp_path_factory.mktemp("runs") / "run"
            start(load_recipe(name, SMALL), struck.folder, folder, RunOptions(accelerator="cpu"))
            runs[name] = Run.open(folder)
        return runs[name]

    return run


@pytest.fixture(scope="module")
def model_of(run_of, tmp_path_factory):
    """The model of a run, which is exported once."""
    models = {}

    def model(name, weights):
        if (name, weights) not in models:
            models[name, weights] = tmp_path_factory.mktemp("models") / "m.onnx"
            export(run_of(name), models[name, weights], weights=weights)
        return Model(models[name, weights])

    return model


@pytest.fixture(params=["sequence-samples", "sequence-fft", "sequence-post-fft"])
def both(request, run_of, model_of):
    """The trained network, and the model of it, in single precision."""
    return trained(run_of(request.param), "best")[0], model_of(request.param, "float32")


def known(network, codes):
    """The codes that a network takes: none of a network without codes."""
    return torch.from_numpy(codes[:, : network.settings.latents])


def test_two_hundred_frames_stepped_are_those_of_torch_over_the_whole_sequence(both):
    """The file feeds itself; torch's own layers are told all that it gave, at once."""
    network, file = both
    codes = np.random.default_rng(1).uniform(-1, 1, (3, len(file.card.latents))).astype(np.float32)
    state, frames = file.at_rest(3), []
    for _ in range(200):
        frame, state = file.step(codes, np.zeros(3, np.intp), state)
        frames.append(frame)
    given = np.stack(frames, 1)
    assert np.array_equal(state["previous"], given[:, -1])
    told = network.standard.drop_zero_parts(torch.from_numpy(given))
    with torch.no_grad():
        expected = network.predict(delayed(told), known(network, codes))[0].numpy()
    assert np.abs(told.numpy() - expected).max() <= 1e-4 * np.ptp(expected)
    assert np.ptp(expected) > 0.5


def test_what_is_put_in_place_of_the_frame_before_is_what_goes_on(both, struck):
    network, file = both
    piece = pieces(struck, "train", load_recipe("sequence-samples", SMALL).frames)[0]
    frames = cut(struck, piece, load_recipe("sequence-samples", SMALL).frames)
    latent, fed = Encoder(file).encode_with_states(frames)
    assert np.all(latent == 0)
    standard = network.standard(torch.from_numpy(frames))
    assert fed == pytest.approx(network.standard.fill_zero_parts(standard).numpy(), abs=2e-4)
    code, state, given = np.full((1, len(file.card.latents)), 0.3, np.float32), file.at_rest(1), []
    for previous in fed:
        frame, state = file.step(code, np.zeros(1, np.intp), state)
        given.append(frame[0])
        state["previous"] = previous[None]
    with torch.no_grad():
        expected = network.predict(delayed(standard[None]), known(network, code))[0][0]
    filled = network.standard.fill_zero_parts(expected).numpy()
    assert np.abs(np.stack(given) - filled).max() <= 1e-3 * np.ptp(filled)


def test_the_first_preset_of_a_stream_without_a_grid_has_the_usual_tempo_and_its_loudness_is_measured(model_of):
    """It plays, which other tests leave out: a step a beat would be thousands of beats a minute."""
    model = model_of("sequence-samples", "float32")
    assert first_preset(model).tempo_bpm == TEMPO_BPM
    assert -90 < model_loudness_lufs(model) < 0


def errors(network, struck, run):
    """Return what the network does not predict of frames that follow from others, [frames, width]; and all frames."""
    found, heard = [], []
    for number, piece in enumerate(pieces(struck, "train", run.recipe.frames)):
        frames = cut(struck, piece, run.recipe.frames)
        standard = network.standard(torch.from_numpy(frames))[None]
        with torch.no_grad():
            predicted = network.predict(delayed(standard), network.codes(torch.tensor([number])))[0]
        found.append((predicted - standard)[0, 1:].numpy())  # the first frame follows from a code alone
        heard.append(frames)
    return np.concatenate(found), np.concatenate(heard)


@pytest.mark.parametrize("name", ["sequence-samples", "sequence-fft"])
def test_heat_of_one_adds_noise_as_large_as_what_training_could_not_predict(run_of, model_of, struck, name):
    run, file = run_of(name), model_of(name, "float32")
    network, card = trained(run, "best")[0], file.card
    unpredicted, frames = errors(network, struck, run)
    width, code = card.frame_width, np.zeros((1, 2), np.float32)
    plain, _ = file.step(code, np.zeros(1, np.intp), file.at_rest(1))
    noise = np.random.default_rng(0).standard_normal((1, width)).astype(np.float32)
    hot, after = file.step(code, np.zeros(1, np.intp), file.at_rest(1), noise)
    assert card.stream.noise == width
    assert (hot - plain)[0] == pytest.approx(noise[0] * np.sqrt(np.square(unpredicted).mean(0)), abs=1e-4)
    assert np.array_equal(after["previous"], hot)
    loud = 20 * np.log10(np.sqrt(np.square(frames).mean(1)) + 1e-30)
    assert card.stream.levels_db == pytest.approx(
        np.percentile(np.maximum(loud, QUIETEST_DB), [0.1, 99.9]).tolist(), abs=0.02
    )


@pytest.mark.parametrize(("name", "domain"), [("sequence-samples", "samples"), ("sequence-fft", "real_imag")])
def test_the_card_says_how_frames_follow_one_another_and_how_to_restore_them(run_of, model_of, struck, name, domain):
    run, model = run_of(name), model_of(name, "float16")
    network, card = trained(run, "best")[0], model.card
    assert (card.kind, card.domain, card.window, card.chroma, card.prior) == (
        "stream",
        domain,
        "rectangular",
        None,
        None,
    )
    assert (card.frame_length, card.hop_length, card.stream.step_length) == (LENGTH, HOP, HOP)
    assert card.stream.steps_per_beat is None
    assert [(state.name, state.shape) for state in card.state] == [
        ("previous", [card.frame_width]),
        ("h", [2, 24]),
        ("c", [2, 24]),
    ]
    assert card.scaling.deviation == pytest.approx(network.standard.deviation.tolist())
    assert [mark.label for mark in card.landmarks] == ["clip 0", "clip 1", "clip 2"]
    codes = network.codes(torch.arange(3)).detach().numpy()
    assert np.array([mark.latent for mark in card.landmarks]) == pytest.approx(codes, abs=1e-4)
    assert card.reference.steps > 1
    assert card.parity.relative < 5e-3  # of half-precision weights
    assert model.verify().passed


def test_half_complex_frames_without_codes_become_a_file_of_real_and_imaginary_parts(run_of, model_of, struck):
    run, model = run_of("sequence-post-fft"), model_of("sequence-post-fft", "float32")
    network, card = trained(run, "best")[0], model.card
    zeros = [LENGTH // 2 + 1, LENGTH + 1]
    assert (card.domain, card.frame_width, card.stream.noise) == ("real_imag", LENGTH + 2, LENGTH + 2)
    assert model.verify().passed
    assert len(card.latents) == 1
    assert card.landmarks[0].latent == [0.0]
    mean, deviation = np.array(card.scaling.mean), np.array(card.scaling.deviation)
    own = network.standard.deviation.numpy()
    assert mean[zeros].tolist() == [0, 0]
    assert np.delete(deviation, zeros) == pytest.approx(own)
    assert np.sqrt(np.mean(deviation**2)) == pytest.approx(np.sqrt(np.mean(own**2)))  # for scaling that is not restored
    noise = np.random.default_rng(0).standard_normal((2, LENGTH + 2)).astype(np.float32)
    frame, _ = model.step(np.array([[-3.0], [3.0]], np.float32), np.zeros(2, np.intp), model.at_rest(2), noise)
    assert np.all(frame[:, zeros] == 0)
    plain, _ = model.step(np.zeros((2, 1), np.float32), np.zeros(2, np.intp), model.at_rest(2))
    residual = np.sqrt(np.square(errors(network, struck, run)[0]).mean(0))
    assert np.delete(frame - plain, zeros, 1) == pytest.approx(np.delete(noise, zeros, 1) * residual, abs=1e-4)
    again, _ = model.step(np.zeros((2, 1), np.float32), np.zeros(2, np.intp), model.at_rest(2), noise)
    assert np.array_equal(frame, again)  # the latent has no effect
    sound = network.standard.to_samples(torch.from_numpy(np.delete(frame, zeros, 1))).numpy()
    real, imaginary = (frame * deviation + mean).reshape(2, 2, -1).transpose(1, 0, 2)
    assert np.fft.irfft(real + 1j * imaginary) == pytest.approx(sound, abs=1e-5)


def test_a_recording_alone_is_exported_with_the_code_that_it_has(tmp_path):
    corpus = corpus_of(tmp_path / "corpus", [tom(1, 0.1)])
    start(
        load_recipe("sequence-samples", [*SMALL, "training.steps=1"]),
        corpus.folder,
        tmp_path / "run",
        RunOptions("cpu"),
    )
    card = export(Run.open(tmp_path / "run"), tmp_path / "m.onnx")
    assert [mark.latent for mark in card.landmarks] == [[0.0, 0.0]]


def test_a_run_whose_corpus_has_other_sequences_now_is_refused(run_of, struck, tmp_path):
    run = run_of("sequence-samples")
    less = corpus_of(tmp_path / "less", [tom(1, 0.1)])
    network = trained(run, "best")[0]
    with pytest.raises(UserError, match="has 1 training sequences, and the run has codes for 3"):
        EXPORTED["sequence"].graphs(network, run.recipe, less, False)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ("recover", "{sound}", "--model", "{model}", "-o", "{out}.toml"),
            "no sound can be recovered by a model of kind",
        ),
        (
            ("process", "{sound}", "--preset", "{model}", "-o", "{out}.wav"),
            "no sound can be sent through a model of kind",
        ),
    ],
)
def test_no_sound_is_recovered_or_processed_by_a_stream(model_of, tmp_path, timbrel, command, words):
    soundfile.write(tmp_path / "s.wav", tom(1), RATE)
    paths = {
        "sound": tmp_path / "s.wav",
        "model": model_of("sequence-samples", "float16").path,
        "out": tmp_path / "out",
    }
    refused = timbrel(*(part.format(**paths) for part in command))
    assert refused.status == 2
    assert f"{words} 'stream': it continues a sound" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not list(tmp_path.glob("out*"))


# ---- reports


@pytest.mark.parametrize("name", ["sequence-samples", "sequence-fft"])
def test_a_report_continues_recordings_and_says_how_near_that_comes(run_of, struck, name):
    run = run_of(name)
    found = evaluate(run)
    folder = run.folder / "report"
    network = trained(run, "best")[0]
    unpredicted, _ = errors(network, struck, run)
    assert found["mean_square"] == pytest.approx(float(np.square(unpredicted).mean()), rel=1e-4)
    assert found["mean_square_unheard"] > found["mean_square"]
    assert found["floors"]["mean_square"]["value"] == pytest.approx(found["mean_square"])
    rows = [row for row in found["continued"] if row["seed"] == 1]
    for measure in ("correlation", "onsets"):
        assert found["floors"][measure]["value"] == pytest.approx(np.median([row[measure] for row in rows]))
    assert {(row["name"], row["seed"]) for row in found["continued"]} == {
        (f"clip {clip}", seed) for clip in range(3) for seed in (0, 1, 4, 16)
    }
    html = (folder / "index.html").read_text(encoding="utf-8")
    for file in ("waveforms.png", "loss.png", "recording-1.wav", "continued-3.wav"):
        assert file in html
        assert (folder / file).exists()
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(found))
    given = {row["seed"]: row["correlation"] for row in found["continued"] if row["name"] == "clip 0"}
    assert given[16] > 0.99  # of seventeen frames sixteen are the recording's


@pytest.mark.usefixtures("no_pictures")
def test_a_network_that_gives_back_what_it_heard_has_nothing_to_be_desired(run_of, struck, monkeypatch):
    run = run_of("sequence-samples")
    network = type(trained(run, "best")[0])

    def perfect(self, seed, codes, count):
        rows = pieces(struck, "train", run.recipe.frames)
        near = [torch.from_numpy(cut(struck, piece, run.recipe.frames)) for piece in rows]
        (row,) = [n for n in range(3) if torch.allclose(self.codes(torch.tensor([n])), codes)]
        frames = self.standard(near[row])
        return torch.cat([frames, frames[-1:].expand(count - len(frames), -1)])[None]

    def small_errors(*arguments, with_codes):
        split_pieces = arguments[-1]
        counts = [split_pieces[n].frames for n in reporting.predicted_indices(split_pieces, reporting.MEASURED)]
        return [np.full(count - 1, 0.001, np.float32) for count in counts], np.float32([0.001])

    monkeypatch.setattr(network, "continued", perfect)
    monkeypatch.setattr(reporting, "mean_squares", small_errors)
    found = evaluate(run)
    for row in found["continued"]:
        assert row["correlation"] == pytest.approx(1)
        assert row["onsets"] == 1
        assert row["edges_db"] == pytest.approx(0, abs=1e-2)
        assert row["tail_db"] == pytest.approx([-120, -120], abs=30)
    found_floors = found["floors"]
    assert found_floors["edges_db"]["value"] == pytest.approx(0, abs=1e-2)
    assert found_floors["edges_db"]["not_better_than"] == "silence"  # at this rate nothing lies above 10 kHz
    assert found_floors["tail_db"]["floors"]["noise"] == pytest.approx(0, abs=12)
    assert found_floors["tail_db"]["floors"]["silence"] < -80
    assert found_floors["rise_db"]["floors"]["silence"] == 0
    assert found["shortcomings"] == []
    assert "correlate 1.000" in found["verdict"]


def test_a_tail_that_rises_and_an_error_over_the_posts_are_named():
    row = {"name": "kick", "seed": 1, "correlation": 0.5, "onsets": 0.4, "tail_db": [-40.0, -20.0]}
    told = {"mean_square": 0.2, "continued": [row], "floors": {}}
    error, other_way, rising = reporting.verdict(told).shortcomings
    assert "error of 0.2, over 0.15, where the post stopped" in error
    assert "goes another way" in other_way
    assert rising.startswith("After its end, kick")
    near = told | {"mean_square": 0.1, "continued": [row | {"tail_db": [-40.0, -41.0]}]}
    (line,) = reporting.verdict(near).shortcomings
    assert "goes another way" in line
