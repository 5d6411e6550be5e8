"""A file that differs from what was trained is not kept; what cannot be exported is refused."""

import logging

import numpy as np
import onnx
import pytest
import torch
from timbrel.export import export as exporting
from timbrel.export.export import export
from timbrel.export.families.family import ExportFamily
from timbrel.export.graphs import EncodedFrames
from timbrel.host.errors import Failure, UserError
from timbrel.host.model.model import Model
from timbrel.train import checkpoint
from timbrel.train.families import FOLDERS
from timbrel.train.run import Run
from timbrel.train.run import trained as trained_network

from .exported import BATCHES, network_of, one_hot


def spoiled(monkeypatch, which, amount):
    """Change a weight of the decoder (0) or the encoder (1) after it was traced."""
    traced, original = [], exporting.trace

    def trace(*arguments):
        model = original(*arguments)
        if len(traced) == which:
            tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[len(values) // 2] += amount
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        traced.append(1)
        return model

    monkeypatch.setattr(exporting, "trace", trace)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("amount", [0.3, np.nan])
@pytest.mark.usefixtures("traced_once")
def test_a_file_that_differs_from_torch_is_not_kept(chroma_run, tmp_path, monkeypatch, which, amount):
    spoiled(monkeypatch, which, np.float32(amount * (10 if which else 1)))
    with pytest.raises(Failure, match=r"onnxruntime differs from torch by .* is allowed; no file was kept") as caught:
        export(chroma_run, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def moved(monkeypatch, which, amount, where=None):
    """Add a constant to what the decoder (0) or the encoder (1) gives, or to the rows alone for which nodes say so."""
    traced, original = [], exporting.trace

    def trace(*arguments):
        model = original(*arguments)
        if len(traced) == which:
            graph = model.graph
            (output,) = graph.output
            for node in graph.node:
                node.output[:] = ["unmoved" if name == output.name else name for name in node.output]
                node.input[:] = ["unmoved" if name == output.name else name for name in node.input]
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([amount], np.float32), "amount"))
            graph.node.extend(where(graph) if where else [])
            added = ["amount", "there"] if where else ["amount"]
            graph.node.append(onnx.helper.make_node("Mul" if where else "Identity", added, ["moving"]))
            graph.node.append(onnx.helper.make_node("Add", ["unmoved", "moving"], [output.name]))
        traced.append(1)
        return model

    monkeypatch.setattr(exporting, "trace", trace)


def test_the_families_that_are_exported_are_those_with_graphs():
    for family in FOLDERS:
        has_graphs = type(exporting.FAMILIES[family]).graphs is not ExportFamily.graphs
        assert exporting.TRAINED[family].exported == has_graphs, family


@pytest.fixture(scope="module")
def spans(chroma_run):
    """How far apart the least and the largest number of the decoder's and of the encoder's outputs are."""
    network = network_of(chroma_run)
    codes = (
        exporting.FAMILIES["chroma"]
        .graphs(network, chroma_run.recipe, chroma_run.corpus(), chroma_run.info.tonal)
        .codes
    )
    latent, keys = exporting.probes(codes, 512, 0)
    with torch.no_grad():
        frame = network.decode(torch.from_numpy(latent), torch.from_numpy(one_hot(keys))).numpy()
    return float(np.ptp(frame)), float(np.ptp(codes.latents))


@pytest.mark.parametrize(("which", "half", "single"), [(0, 5e-3, 2e-5), (1, 5e-3, 5e-4)])
@pytest.mark.parametrize("weights", ["float16", "float32"])
@pytest.mark.usefixtures("traced_once")
def test_a_file_that_is_off_by_little_more_than_is_allowed_is_not_kept(
    chroma_run, spans, tmp_path, monkeypatch, caplog, which, weights, half, single
):
    allowed = half if weights == "float16" else single
    moved(monkeypatch, which, 2 * allowed * spans[which])
    with pytest.raises(Failure, match=rf"differs from torch by .*, {single:g} is allowed; no file was kept"):
        export(chroma_run, tmp_path / "model.onnx", weights=weights)
    assert list(tmp_path.iterdir()) == []
    assert (f"{half:g} is allowed; it has float32 weights" in caplog.text) == (weights == "float16")


LARGE = 64.0  # float16 rounds weights near it to steps of 1/16, float32 to 8e-6


@pytest.mark.parametrize("which", ["decoder", "encoder"])
@pytest.mark.usefixtures("traced_once")
def test_a_network_whose_weights_float16_rounds_badly_has_float32_weights(chroma_run, tmp_path, caplog, which):
    """The chroma sums to 1, so a large number on its weights and off the bias leaves the function as it was."""
    run = Run.create(tmp_path / "run", chroma_run.recipe, chroma_run.info)
    run = Run(run.folder, run.recipe, run.info.model_copy(update={"corpus": str(chroma_run.corpus().folder)}))
    content = checkpoint.load(chroma_run.best)
    content["model"][f"{which}.0.weight"][:, -12:] += LARGE
    content["model"][f"{which}.0.bias"] -= LARGE
    torch.save(content, run.best)
    with caplog.at_level(logging.WARNING, "timbrel"):
        export(run, tmp_path / "model.onnx")
    (line,) = caplog.messages
    name = "model.onnx" if which == "decoder" else "model.encoder.onnx"
    assert f"{name}: with float16 weights " in line
    assert "it has float32 weights" in line
    model = Model(tmp_path / "model.onnx")
    assert model.verify().passed
    assert model.card.parity.relative < 2e-5 or which == "encoder"
    plain = tmp_path / "plain.onnx"
    export(chroma_run, plain)
    for suffix, wide in ((".onnx", which == "decoder"), (".encoder.onnx", which == "encoder")):
        sizes = [(tmp_path / f"{stem}{suffix}").stat().st_size for stem in ("model", "plain")]
        assert (sizes[0] > 1.5 * sizes[1]) == wide


@pytest.mark.usefixtures("traced_once")
def test_an_encoder_that_is_wrong_about_some_sounds_alone_is_not_kept(chroma_run, tmp_path, monkeypatch):
    """It is wrong about sounds that begin above a level; in each batch there are others."""
    corpus, length = chroma_run.corpus(), chroma_run.recipe.frames.frame_length
    begins = {batch: exporting._sounds(corpus, length, batch)[:, 0] for batch in BATCHES}
    level = np.float32(max(float(begin.min()) for begin in begins.values()))
    assert any((begin > level).any() for begin in begins.values())

    def loud(graph):
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name)
            for name, value in {
                "first": np.array([0], np.int64),
                "second": np.array([1], np.int64),
                "level": np.array([level], np.float32),
            }.items()
        )
        return [
            onnx.helper.make_node("Slice", ["audio", "first", "second", "second"], ["begins"]),
            onnx.helper.make_node("Greater", ["begins", "level"], ["louder"]),
            onnx.helper.make_node("Cast", ["louder"], ["there"], to=onnx.TensorProto.FLOAT),
        ]

    moved(monkeypatch, 1, 1.0, loud)
    with pytest.raises(Failure, match="the encoder in onnxruntime differs from torch"):
        export(chroma_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", exporting.BATCHES)
def test_parity_is_tried_inside_the_range_and_at_its_very_ends(count):
    rng = np.random.default_rng(4)
    found = rng.normal(size=(50, 3)) * [0.1, 1.0, 30.0] + [0.0, 5.0, -7.0]
    codes = EncodedFrames(found.astype(np.float32), [""] * 50)
    low, high = codes.latents.min(0), codes.latents.max(0)
    tried = np.concatenate([exporting.probes(codes, count, seed)[0] for seed in range(max(1, 64 // count))])
    assert np.all((tried >= low) & (tried <= high))
    for column, least, most in zip(tried.T, low, high, strict=True):
        assert {least, most} <= set(column)  # each end
        assert len(set(column)) > len(tried) / 2  # and many places in between
    at_ends = np.sum((tried == low) | (tried == high), axis=1)
    assert {0, 1, 2} <= set(at_ends.tolist())  # one latent alone, several at once, none


@pytest.mark.usefixtures("traced_once")
def test_a_failed_export_keeps_the_old_files(chroma_run, tmp_path, monkeypatch):
    old = {"model.onnx": b"old decoder", "model.encoder.onnx": b"old encoder"}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    spoiled(monkeypatch, 1, np.float32(3))
    with pytest.raises(Failure):
        export(chroma_run, tmp_path / "model.onnx", overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


@pytest.mark.usefixtures("traced_once")
def test_parity_is_that_of_the_file_and_not_of_the_graph_in_memory(chroma_run, tmp_path, monkeypatch):
    original = exporting.save

    def save(graph, path, metadata):
        original(graph, path, metadata)
        model = onnx.load(path)
        tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
        values = onnx.numpy_helper.to_array(tensor) * np.float16(1.1)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(model, path)

    monkeypatch.setattr(exporting, "save", save)
    with pytest.raises(Failure, match="differs from torch"):
        export(chroma_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", ["model.onnx", "model.encoder.onnx"])
@pytest.mark.usefixtures("traced_once")
def test_an_output_that_exists_is_kept(chroma_run, tmp_path, existing):
    (tmp_path / existing).write_bytes(b"mine")
    with pytest.raises(UserError, match=rf"{existing} exists; give another name, or --overwrite"):
        export(chroma_run, tmp_path / "model.onnx")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {existing: b"mine"}
    export(chroma_run, tmp_path / "model.onnx", overwrite=True)
    assert Model(tmp_path / "model.onnx").verify().passed


@pytest.mark.parametrize("name", ["model", "model.wav", "model.encoder.onnx", "none/model.onnx", ".", "..", ".onnx"])
def test_a_name_that_is_no_models_is_refused(chroma_run, tmp_path, monkeypatch, name):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        export(chroma_run, Path(name))
    assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint_is_refused(chroma_run, tmp_path):
    run = Run.create(tmp_path / "run", chroma_run.recipe, chroma_run.info)
    with pytest.raises(UserError, match=r"has no checkpoint last\.ckpt yet; train it first"):
        export(run, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_the_checkpoint_that_is_asked_for_is_exported(trained):
    run = trained("chroma-2")
    content = checkpoint.load(run.best)
    content["progress"]["step"] = 13
    torch.save(content, run.best)
    assert trained_network(run, "best")[2] == 13
    assert trained_network(run, "last")[2] == 60
    run.best.unlink()
    assert trained_network(run, "best")[2] == 60


def test_a_run_whose_corpus_is_gone_is_refused(chroma_run, tmp_path):
    info = chroma_run.info.model_copy(update={"corpus": "../gone"})
    run = Run.create(tmp_path / "run", chroma_run.recipe, info)
    for name in ("best.ckpt", "last.ckpt"):
        (run.folder / name).write_bytes((chroma_run.folder / name).read_bytes())
    with pytest.raises(UserError, match=r"corpus .*gone does not exist"):
        export(run, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx"))


@pytest.fixture
def spoilt_run(chroma_run, tmp_path):
    """The run with weights of its last checkpoint set to a number, and no best one."""

    def spoil(prefix, value):
        run = Run.create(tmp_path / "run", chroma_run.recipe, chroma_run.info)
        run = Run(run.folder, run.recipe, run.info.model_copy(update={"corpus": str(chroma_run.corpus().folder)}))
        content = checkpoint.load(chroma_run.last)
        for name, weights in content["model"].items():
            if name.startswith(prefix):
                weights.fill_(value)
        torch.save(content, run.last)
        return run

    return spoil


@pytest.mark.parametrize(
    ("prefix", "value", "reason"),
    [
        ("output", 0.0, "its model is silent; train it longer"),
        ("output", np.nan, "frames are not finite; train again with a lower training.learning_rate"),
        ("encoder", np.nan, "codes are not finite; train again with a lower training.learning_rate"),
    ],
)
def test_a_model_that_is_silent_or_not_finite_is_refused(spoilt_run, tmp_path, prefix, value, reason):
    with pytest.raises(Failure, match=reason):
        export(spoilt_run(prefix, value), tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_a_model_whose_latents_never_vary_is_exported_with_a_warning(spoilt_run, tmp_path, caplog):
    export(spoilt_run("bottleneck.weight", 0.0), tmp_path / "model.onnx")
    assert "every sound has the same code, so its knobs do nothing" in caplog.text
    assert "training.seed" in caplog.text
    assert Model(tmp_path / "model.onnx").verify().passed
