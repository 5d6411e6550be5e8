"""Generators of published WaveGAN checkpoints make the clips that TensorFlow makes of the same codes."""

import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timbrel.host.errors import Failure
from timbrel.train import checkpoint, launch
from timbrel.train.families.gan.generator import Lengthening
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run, trained

from ..export.recovery.words import corpus_of_words
from .published_dump import FILTER, dump, generator_variables, tensorflow_arrays

CPU = RunOptions(accelerator="cpu")
DENSE = "G/z_project/dense/kernel"


@pytest.fixture(scope="module")
def tensorflows():
    return tensorflow_arrays()


@pytest.fixture
def variables(tensorflows):
    return generator_variables(tensorflows)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpus_of_words(tmp_path_factory.mktemp("words") / "corpus")


def clips_of(run, codes):
    with torch.no_grad():
        return trained(run, "best")[0].decode(torch.from_numpy(codes)).numpy()


@pytest.fixture
def begin(corpus, timbrel, tmp_path):
    def run(weights, *options, recipe="clip-wavegan"):
        folder = tmp_path / "run"
        ended = timbrel("train", recipe, "--corpus", corpus, "-o", folder, "--pretrained", weights, *options)
        return ended, folder

    return run


@pytest.mark.parametrize("stride", [2, 4])
def test_a_layer_pads_as_tensorflow_does(tensorflows, stride):
    signal, kernel, expected = (tensorflows[f"layer-{stride}-{part}"] for part in ("input", "kernel", "output"))
    layer = Lengthening(3, 2, 25, stride, (25 - stride) // 2)
    torch.nn.init.zeros_(layer.bias)
    layer.weight = torch.nn.Parameter(torch.from_numpy(kernel[0].transpose(2, 1, 0).copy()))
    with torch.no_grad():
        found = layer(torch.from_numpy(signal.transpose(0, 2, 1).copy())).numpy().transpose(0, 2, 1)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_dump_makes_the_clips_that_tensorflow_makes(tensorflows, variables, begin, tmp_path):
    ended, folder = begin(dump(tmp_path / "dump", variables))
    assert ended.status == 0, ended.err
    assert "the generator of" in ended.out
    run = Run.open(folder)
    settings = run.recipe.network
    assert (settings.latents, settings.model_size, settings.post_filter) == (5, 1, 0)
    assert clips_of(run, tensorflows["codes"]) == pytest.approx(tensorflows["clips"], abs=1e-5)


def test_a_filter_of_even_length_follows_the_last_layer(tensorflows, variables, begin, tmp_path):
    filtered = variables | {FILTER: tensorflows[FILTER]}
    ended, folder = begin(dump(tmp_path / "dump", filtered) / "manifest.json")
    assert ended.status == 0, ended.err
    assert clips_of(Run.open(folder), tensorflows["codes"][:1]) == pytest.approx(tensorflows["filtered"], abs=1e-5)


def test_a_filter_of_odd_length_is_centred(tensorflows, variables, begin, tmp_path):
    kernel = np.zeros((5, 1, 1), np.float32)
    kernel[3] = 2.0  # "SAME": the next sample, doubled
    ended, folder = begin(dump(tmp_path / "dump", variables | {FILTER: kernel}))
    assert ended.status == 0, ended.err
    found = clips_of(Run.open(folder), tensorflows["codes"])
    assert found[:, :-1] == pytest.approx(2 * tensorflows["clips"][:, 1:], abs=1e-5)


def test_the_mean_weights_of_other_contests_are_the_generators(tensorflows, variables, begin, tmp_path):
    changes = ["network.labels=false", "loss.classification=0", "loss.recognition=0", "frames.sample_rate=16000"]
    changes += ["frames.frame_length=16384", "frames.hop_length=16384"]
    options = [part for change in changes for part in ("--set", change)]
    ended, folder = begin(dump(tmp_path / "dump", variables), *options, recipe="tuned-wavegan")
    assert ended.status == 0, ended.err
    network = trained(Run.open(folder), "last")[0]
    assert network.averaged is not None
    assert clips_of(Run.open(folder), tensorflows["codes"]) == pytest.approx(tensorflows["clips"], abs=1e-5)


def test_a_run_goes_on_from_the_published_weights(variables, begin, tmp_path):
    ended, folder = begin(dump(tmp_path / "dump", variables), "--set", "training.steps=1")
    assert ended.status == 0, ended.err
    before = checkpoint.load(folder / "last.ckpt")["model"]
    run = Run.open(folder)
    resume(folder, run.recipe, CPU)
    after = checkpoint.load(folder / "last.ckpt")
    assert after["progress"]["step"] == 1
    change = max(float((after["model"][name] - value).abs().max()) for name, value in before.items())
    assert 0 < change < 10 * run.recipe.training.learning_rate


class Reader:
    """Stands for TensorFlow's reader of checkpoints: the same methods, over arrays."""

    def __init__(self, variables):
        self.variables = variables

    def get_variable_to_shape_map(self):
        return {name: list(value.shape) for name, value in self.variables.items()}

    def get_tensor(self, name):
        return self.variables[name]


class OpError(Exception):
    """Stands for the base class of TensorFlow's errors."""


def _install(load_checkpoint, monkeypatch):
    module = SimpleNamespace(
        train=SimpleNamespace(load_checkpoint=load_checkpoint), errors=SimpleNamespace(OpError=OpError)
    )
    monkeypatch.setitem(sys.modules, "tensorflow", module)


@pytest.fixture
def tensorflow(variables, monkeypatch):
    """A stand-in for the package; names that it opened."""
    opened = []
    also = {
        "G/z_project/dense/kernel/Adam": np.zeros((5, 256)),
        "D/output/dense/bias": np.zeros(1),
        "global_step": np.array(3),
    }

    def load_checkpoint(path):
        opened.append(path)
        return Reader(variables | also)

    _install(load_checkpoint, monkeypatch)
    return opened


@pytest.mark.parametrize("given", ["model.ckpt-3", "model.ckpt-3.index", "."])
def test_a_checkpoint_is_read_by_tensorflow(tensorflows, tensorflow, begin, tmp_path, given):
    folder = tmp_path / "ckpt"
    folder.mkdir()
    (folder / "checkpoint").touch()
    (folder / "model.ckpt-3.index").touch()
    ended, run_folder = begin(folder / given)
    assert ended.status == 0, ended.err
    assert tensorflow == [str(folder / "model.ckpt-3" if "ckpt" in given else folder)]
    assert clips_of(Run.open(run_folder), tensorflows["codes"]) == pytest.approx(tensorflows["clips"], abs=1e-5)


def test_a_checkpoint_without_tensorflow_is_refused_with_the_next_step(begin, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (tmp_path / "model.index").touch()
    ended, folder = begin(tmp_path / "model")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert "tensorflow is not installed; install it, or give a dump" in ended.err
    assert not folder.exists()


@pytest.mark.parametrize("error_class", [OpError, ValueError, RuntimeError])
def test_a_checkpoint_that_tensorflow_cannot_read_is_refused(begin, tmp_path, monkeypatch, error_class):
    def load_checkpoint(path):
        raise error_class("corrupted table\nof many lines")

    _install(load_checkpoint, monkeypatch)
    (tmp_path / "model.index").touch()
    ended, _ = begin(tmp_path / "model")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert "cannot be read by TensorFlow (corrupted table)" in ended.err


def test_a_dump_that_lacks_something_is_refused_in_a_line(variables, begin, tmp_path):
    layer = "G/upconv_1/conv2d_transpose/kernel"
    six = {name.replace("_4/", "_5/"): value for name, value in variables.items() if "_4/" in name}
    wrong = {
        "has no variable G/upconv_2/conv2d_transpose/bias": lambda given: given.pop("G/upconv_2/conv2d_transpose/bias"),
        "has no variable G/z_project/dense/kernel": lambda given: given.pop(DENSE),
        "has 1 layers of convolution, clips of 16384 samples have 5; give a WaveGAN": lambda given: given.pop(layer),
        "has 6 layers of convolution, clips of 16384 samples have 5; give frames.frame_length and frames.hop_length of "
        "32768 or 65536": lambda given: given.update(six),
        "[1, 9, 4, 8], a generator of size 1 [1, 25, 4, 8]": lambda given: given.update({layer: given[layer][:, :9]}),
        "has values that are not finite": lambda given: given.update({layer: np.full_like(given[layer], np.nan)}),
        "has G/batch_normalization/gamma": lambda given: given.update({"G/batch_normalization/gamma": np.ones(2)}),
        "is no generator of a published size: post_filter": lambda given: given.update({FILTER: np.ones((5000, 1, 1))}),
    }
    for number, (message, change) in enumerate(wrong.items()):
        given = dict(variables)
        change(given)
        ended, folder = begin(dump(tmp_path / f"dump-{number}", given))
        assert (ended.status, len(ended.err.splitlines())) == (2, 1), ended.err
        assert message in ended.err
        assert not folder.exists()


def test_files_that_do_not_fit_their_manifest_are_refused(variables, begin, tmp_path):
    folder = dump(tmp_path / "dump", variables)
    manifest = json.loads((folder / "manifest.json").read_text())
    shutil.copy(folder / manifest[DENSE]["filename"], tmp_path / "outside")
    for message, entry in {
        "has 5120 bytes, shape [5, 257] needs 5140": {"shape": [5, 257]},
        "of shape [5, -256] is no variable": {"shape": [5, -256]},
        "of shape [5, 256.0] is no variable": {"shape": [5, 256.0]},
        "of shape [] is no variable": {"shape": []},
        "'../outside' of shape [5, 256] is no variable beside the manifest": {"filename": "../outside"},
        "gone cannot be read: No such file or directory; download it again": {"filename": "gone"},
        "'a\\x00b' of shape [5, 256] is no variable beside the manifest; download it again": {"filename": "a\0b"},
        "'\\ud800' of shape [5, 256] is no variable beside the manifest": {"filename": "\ud800"},
        "lists no filename and shape for each variable": {"shape": None},
    }.items():
        changed = manifest | {DENSE: manifest[DENSE] | entry}
        (folder / "manifest.json").write_text(json.dumps(changed))
        ended, run_folder = begin(folder)
        assert (ended.status, len(ended.err.splitlines())) == (2, 1), ended.err
        assert message in ended.err
        assert not run_folder.exists()
    (folder / "manifest.json").write_text("[1, 2")
    ended, _ = begin(folder)
    assert "lists no filename and shape for each variable" in ended.err


@pytest.mark.parametrize(
    ("options", "recipe", "message"),
    [
        ((), "chroma-8", "is no option of recipe chroma-8"),
        (("--set", "network.labels=true"), "clip-wavegan", "has no labels; train with --set network.labels=false"),
        (("--resume",), "clip-wavegan", "begins a run, and --resume goes on with one"),
        (("--set", "network.post_filter=4"), "clip-wavegan", "network.post_filter 4 must be odd"),
        (("--set", "frames.sample_rate=8000"), "clip-wavegan", "is at 16000 Hz, the recipe wants 8000"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(variables, begin, tmp_path, options, recipe, message):
    ended, folder = begin(dump(tmp_path / "dump", variables), *options, recipe=recipe)
    assert (ended.status, len(ended.err.splitlines())) == (2, 1), ended.err
    assert message in ended.err
    assert not folder.exists()


def test_a_folder_that_is_neither_is_refused(begin, tmp_path):
    ended, _ = begin(tmp_path / "gone")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1), ended.err
    assert "is neither a TensorFlow checkpoint" in ended.err


def test_a_full_disk_leaves_no_run_without_weights(variables, begin, corpus, tmp_path, monkeypatch):
    def save(*arguments):
        raise Failure("no space")

    monkeypatch.setattr(launch.checkpoint, "save", save)
    ended, folder = begin(dump(tmp_path / "dump", variables))
    assert ended.status == 1
    assert not folder.exists()


def test_settings_of_the_papers_code_are_off_unless_asked_for():
    settings = load_recipe("clip-wavegan").network
    assert (settings.tensorflow_padding, settings.post_filter) == (False, 0)
