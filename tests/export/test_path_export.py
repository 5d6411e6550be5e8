"""Files of learned paths are their networks', are named in their model's card, and reports compare walks."""

import json

import numpy as np
import onnx
import pytest
import scipy
import torch
from timbrel.export import learned_paths
from timbrel.export.export import export
from timbrel.export.measures import paths as measures
from timbrel.host.errors import Failure, UserError
from timbrel.host.model.encoder import Encoder, encoder_path
from timbrel.host.model.learned_path import LARGEST_BYTES, LearnedPath, path_file
from timbrel.host.model.model import Model
from timbrel.train.run import Run, trained

from ..small_paths import HOP, LATENTS, train_paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths")
    train_paths(folder)
    export(Run.open(folder / "path"), folder / "sea.onnx", knob_names=False)
    return folder


@pytest.fixture(scope="module")
def network(folder):
    return trained(Run.open(folder / "path"), "best")[0]


def test_a_path_is_exported_with_the_model_and_the_encoder_of_its_grains(folder, network):
    model = Model(folder / "sea.onnx")
    learned = LearnedPath(model)
    layout = model.card.learned_path
    assert (layout.step_length, layout.noise, layout.state) == (HOP, LATENTS + 1, sum(network.path.sizes))
    assert model.card.kind == "grain"
    assert model.verify().passed
    assert learned.verify().passed
    assert learned.card.reference.codes[0] != learned.card.reference.codes[1]
    windows = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    with torch.no_grad():
        expected = network.grains.encode(torch.from_numpy(windows))
    np.testing.assert_allclose(Encoder(model).encode(windows), expected, atol=0.05)


@torch.no_grad()
def test_its_steps_are_torch_s(folder, network):
    learned = LearnedPath(Model(folder / "sea.onnx"))
    rng = np.random.default_rng(1)
    for rows in (1, 5):
        code = 3 * rng.standard_normal((rows, LATENTS)).astype(np.float32)
        state = torch.zeros(rows, learned.layout.state)
        for _ in range(30):
            noise = rng.standard_normal((rows, LATENTS + 1)).astype(np.float32)
            file_code, file_state = learned.run(code, state.numpy(), noise)
            torch_code, state = network.path(torch.from_numpy(code), state, torch.from_numpy(noise))
            np.testing.assert_allclose(file_code, torch_code, atol=1e-4)
            np.testing.assert_allclose(file_state, state, atol=1e-4)
            code = np.clip(torch_code.numpy(), *np.array(learned.model.card.spans, np.float32).T)


def test_without_knob_names_or_with_another_model_no_path_is_left(folder, tmp_path):
    """A model of grains alone, written over one with a path, removes the file of the path."""
    for suffix in (".onnx", ".encoder.onnx", ".path.onnx"):
        (tmp_path / f"sea{suffix}").write_bytes((folder / f"sea{suffix}").read_bytes())
    export(Run.open(folder / "grains"), tmp_path / "sea.onnx", knob_names=False, overwrite=True)
    assert Model(tmp_path / "sea.onnx").card.learned_path is None
    assert not path_file(tmp_path / "sea.onnx").exists()


def test_existing_paths_are_kept_before_any_work_and_their_names_are_no_model_s(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("timbrel.export.export.trained", None)
    (tmp_path / "sea.path.onnx").write_bytes(b"old")
    with pytest.raises(UserError, match=r"sea\.path\.onnx exists"):
        export(Run.open(folder / "path"), tmp_path / "sea.onnx")
    with pytest.raises(UserError, match=r"must be a model's name, such as sea\.onnx"):
        export(Run.open(folder / "path"), tmp_path / "sea.path.onnx", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["sea.path.onnx"]


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        (
            "LARGEST_BYTES",
            1000,
            UserError,
            r"sea\.path\.onnx has .* MB, at most 0\.001 are played; train it with a lower",
        ),
        ("EXACT", -1.0, Failure, r"sea\.path\.onnx: onnxruntime differs from torch by"),
        ("TOLERANCE", -1.0, Failure, r"sea\.path\.onnx: the file does not give its own reference"),
    ],
)
def test_files_that_fail_are_not_written(folder, tmp_path, monkeypatch, name, value, error, message):
    monkeypatch.setattr(learned_paths, name, value)
    with pytest.raises(error, match=message):
        export(Run.open(folder / "path"), tmp_path / "sea.onnx", knob_names=False)
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_recipe_s_file_is_far_below_the_limit(tmp_path):
    """A model of ten latents, as the shipped one."""
    from timbrel.export.graphs import save, trace
    from timbrel.train.families.path.network import PathStep
    from timbrel.train.families.recipes import load_recipe

    settings = load_recipe("grain-path").network
    step = PathStep(10, settings.hidden, settings.components)
    inputs = {"code": torch.rand(2, 10), "state": torch.rand(2, sum(step.sizes)), "noise": torch.rand(2, 11)}
    save(trace(step, inputs, ["code_next", "state_next"], "voice"), tmp_path / "a.onnx", {})
    assert (tmp_path / "a.onnx").stat().st_size < LARGEST_BYTES / 2
    operators = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert not operators & {"Loop", "If", "Scan", "GRU", "RandomNormal", "Multinomial"}


def test_the_command_line_says_what_it_wrote(folder, tmp_path, timbrel):
    ended = timbrel("export", folder / "path", "-o", tmp_path / "sea.onnx")
    assert ended.status == 0
    assert f"{encoder_path(tmp_path / 'sea.onnx')}: its encoder" in ended.out
    assert f"{path_file(tmp_path / 'sea.onnx')}: its learned path" in ended.out


def test_training_names_its_option(folder, tmp_path, timbrel):
    ended = timbrel("train", "grain-path", "--corpus", folder / "corpus", "-o", tmp_path / "run")
    assert ended.status == 2
    assert "recipe grain-path is built on other runs; give --grains RUN" in ended.err


def test_a_report_compares_walks_of_the_network_with_others(folder, timbrel):
    ended = timbrel("evaluate", folder / "path")
    assert ended.status == 0
    assert "shuffled" in ended.out
    figures = json.loads((folder / "path" / "report" / "report.json").read_text())
    assert set(figures["floors"]) == {"steps", "dwell", "levels"}
    for row in figures["floors"].values():
        assert set(row["floors"]) == {"random_walk", "autoregression", "shuffled"}
        assert row["references"] == {"own": 0.0}
        assert all(value > 0 for value in [row["value"], *row["floors"].values()])
    assert figures["split"] == "test"
    page = (folder / "path" / "report" / "index.html").read_text()
    assert "a vector autoregression" in page
    assert "level_spectra" in page


def swinging(rate_hz, step_hz=50.0, seconds=10.0):
    times = np.arange(round(step_hz * seconds)) / step_hz
    return 3 * np.sin(2 * np.pi * rate_hz * times)


@pytest.mark.parametrize(("rate_hz", "octave"), [(0.3, 0), (0.5, 1), (1.0, 2), (2.0, 3), (20.0, 6)])
def test_the_power_of_a_level_that_swings_is_in_its_octave(rate_hz, octave):
    power = measures.level_power(swinging(rate_hz), 50.0)
    assert len(power) == 7  # 0.2 to 25.6 Hz
    assert np.nanargmax(power) == octave


def test_white_levels_have_equal_power_in_all_octaves():
    levels = np.random.default_rng(0).standard_normal((400, 500))
    power = np.mean([measures.level_power(row, 50.0) for row in levels], 0)
    np.testing.assert_allclose(power, 1.0, rtol=0.1)


def test_dwell_times_end_with_the_first_code_a_deviation_a_latent_away():
    codes = np.array([[0.0, 0.0], [0.5, 0.5], [1.2, 1.2], [0.0, 0.0], [0.1, 0.0]])
    assert measures.dwell_steps(codes).tolist() == [2.0, 4.0, 1.0, 2.0]


def test_steps_count_in_deviations_a_latent():
    np.testing.assert_allclose(measures.step_sizes_db(np.array([[0.0, 0.0], [1.0, 1.0], [1.1, 1.1]])), [0.0, -20.0])


def test_distances_of_distributions_are_wasserstein_s():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 4000, 3))

    def levels(codes):
        return codes[:, 0]

    kinds = [
        measures.features(codes, np.array([1.0, 1.0, spread]), levels, 50.0)
        for codes, spread in ((first, 1.0), (second, 0.5))
    ]
    sizes = [measures.step_sizes_db(codes / [1.0, 1.0, spread]) for codes, spread in ((first, 1.0), (second, 0.5))]
    expected = scipy.stats.wasserstein_distance(*sizes)
    assert measures.differences(kinds[0], [kinds[1]])["steps"] == pytest.approx(expected, rel=0.03)
    assert all((terms == 0).all() for terms in measures.differences(kinds[0], [kinds[0]]).values())


def autoregressive(count, seed):
    """Paths of x(t) = A x(t - 1) + B x(t - 2) + noise."""
    rng, first, second = np.random.default_rng(seed), np.diag([0.5, 0.2]), np.array([[0.3, 0.1], [0.0, 0.4]])
    path = np.zeros((count, 2))
    for step in range(2, count):
        path[step] = first @ path[step - 1] + second @ path[step - 2] + [0.3, 0.6] * rng.standard_normal(2)
    return path[50:]


def test_an_autoregression_finds_the_order_and_the_weights_of_its_paths():
    fit = measures.autoregression([autoregressive(4000, 1)], [autoregressive(4000, 2)])
    assert fit.order == 2
    expected = np.vstack([np.diag([0.5, 0.2]), np.array([[0.3, 0.1], [0.0, 0.4]]).T, np.zeros((1, 2))])
    np.testing.assert_allclose(fit.weights, expected, atol=0.05)
    np.testing.assert_allclose(fit.factor @ fit.factor.T, np.diag([0.09, 0.36]), atol=0.02)
    paths = [autoregressive(500, 3)]
    residuals = paths[0][2:] - np.hstack([paths[0][1:-1], paths[0][:-2], np.ones((len(paths[0]) - 2, 1))]) @ fit.weights
    expected_likelihood = (
        scipy.stats.multivariate_normal(np.zeros(2), fit.factor @ fit.factor.T).logpdf(residuals).mean()
    )
    assert fit.log_likelihood(paths) == pytest.approx(expected_likelihood)


def test_rivals_walk_on_from_the_end_inside_the_spans():
    paths = [autoregressive(600, seed) for seed in range(3)]
    spans = (np.array([-0.5, -0.5]), np.array([0.5, 0.6]))
    fit = measures.autoregression(paths, paths)
    for walker in (measures.random_walker(paths, spans), measures.autoregressive_walker(fit, spans)):
        walked = walker(np.clip(paths[0], *spans), 3)
        assert walked.shape == paths[0].shape
        assert (walked >= spans[0]).all()
        assert (walked <= spans[1]).all()
        np.testing.assert_array_equal(walked, walker(np.clip(paths[0], *spans), 3))
        assert not np.array_equal(walked, walker(np.clip(paths[0], *spans), 4))
    free = measures.random_walker(paths, (np.full(2, -1e9), np.full(2, 1e9)))(paths[0], 0)
    steps = np.cov(np.diff(np.concatenate([paths[0][-1:], free]), axis=0).T)
    np.testing.assert_allclose(steps, np.cov(np.concatenate([np.diff(path, axis=0) for path in paths]).T), atol=0.1)
    np.testing.assert_array_equal(np.sort(measures.shuffled(paths[0], 1), axis=0), np.sort(paths[0], axis=0))


def test_a_row_that_leads_by_less_than_its_deviation_is_not_better():
    def terms(values, spread=0.0):
        swings = 1.0 + spread * np.resize([1.0, -1.0], (8, 1))
        octaves = values * np.ones((8, 3)) * swings
        octaves[0, 0] = np.nan  # an octave without a bin is left out
        return {"steps": values * swings, "dwell": values * swings, "levels": octaves}

    lead = {"network": terms(1.0), "shuffled": terms(1.2)}
    rows = measures.path_rows(lead, "network", 3)
    assert all(row["not_better_than"] is None for row in rows.values())
    assert rows["levels"]["floors"]["shuffled"] == pytest.approx(1.2)
    rows = measures.path_rows(lead | {"network": terms(1.0, 0.9)}, "network", 3)
    assert all(row["not_better_than"] == "shuffled" for row in rows.values())


def test_differences_of_spectra_cancel_by_chance_only():
    """Levels of one recording may be above and of another below: the mean counts; octaves do not cancel."""
    assert measures.mean_distance(np.array([[1.0, 1.0], [-1.0, 3.0]])) == pytest.approx(np.sqrt(2.0))
