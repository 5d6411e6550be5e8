"""Checkpoints are plain values, come back as they were, and are refused in one line when they are not ours."""

import contextlib
import os
import resource
import zipfile

import pytest
import torch
from timbrel.host.errors import Failure, UserError
from timbrel.train import checkpoint
from timbrel.train.checkpoint import Progress


class Layer(torch.nn.Linear):
    """A little network that stands for any."""

    def __init__(self, width=5, seed=0):
        torch.manual_seed(seed)
        super().__init__(width, 3)

    def optimizers(self, *names, rate=0.1):
        """Optimisers of these names, of one part of it each, or one of all of it."""
        parts = [[parameter] for parameter in self.parameters()] if names else [list(self.parameters())]
        names = names or ["shared"]
        return {name: torch.optim.Adam(part, lr=rate, fused=True) for name, part in zip(names, parts, strict=True)}

    def trained(self, *names):
        """The same, when they have made two steps."""
        optimizers = self.optimizers(*names)
        for _ in range(2):
            self(torch.ones(2, self.in_features)).sum().backward()
            for optimizer in optimizers.values():
                optimizer.step()
        return optimizers


@pytest.fixture
def saved(tmp_path):
    layer = Layer()
    optimizers = layer.trained()
    checkpoint.save(tmp_path / "last.ckpt", layer, optimizers, Progress(2, 1.5, 0.25))
    return tmp_path / "last.ckpt", layer, optimizers


def refused(path, *names):
    with pytest.raises(UserError) as caught:
        checkpoint.restore(path, Layer(), Layer().optimizers(*names))
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)
    return str(caught.value)


def values(content):
    """Every value in nested dictionaries and lists."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from values(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from values(value)
    else:
        yield content


@pytest.mark.parametrize("names", [(), ("one", "other")])
def test_weights_optimisers_and_place_come_back_to_the_bit(tmp_path, names):
    path, layer = tmp_path / "last.ckpt", Layer()
    optimizers = layer.trained(*names)
    checkpoint.save(path, layer, optimizers, Progress(2, 1.5, 0.25))
    again = Layer(seed=1)
    resumed = again.optimizers(*names, rate=0.3)
    assert checkpoint.restore(path, again, resumed) == Progress(2, 1.5, 0.25)
    for one, two in zip(layer.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    for name, optimizer in optimizers.items():
        before, after = optimizer.state_dict(), resumed[name].state_dict()
        assert before["param_groups"] == after["param_groups"]
        for index, state in before["state"].items():
            assert all(torch.equal(value, after["state"][index][key]) for key, value in state.items())


def test_a_single_optimiser_is_kept_as_it_always_was_and_several_by_name(saved, tmp_path):
    path, _, optimizers = saved
    kept = checkpoint.load(path)["optimizer"]
    assert kept.keys() == {"state", "param_groups"}
    assert kept["param_groups"] == optimizers["shared"].state_dict()["param_groups"]
    layer = Layer()
    checkpoint.save(tmp_path / "several.ckpt", layer, layer.trained("one", "other"), Progress())
    several = checkpoint.load(tmp_path / "several.ckpt")["optimizer"]
    assert {name: state["state"][0]["exp_avg"].shape for name, state in several.items()} == {
        "one": layer.weight.shape,
        "other": layer.bias.shape,
    }


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ((), ("one", "other")),
        (("one", "other"), ()),
        (("one", "other"), ("one", "third")),
    ],
)
def test_states_of_other_optimisers_are_refused(tmp_path, written, wanted):
    layer = Layer()
    checkpoint.save(tmp_path / "last.ckpt", layer, layer.trained(*written), Progress())
    assert "does not fit" in refused(tmp_path / "last.ckpt", *wanted)


def test_states_of_more_optimisers_than_there_are_are_refused(tmp_path):
    layer = Layer()
    checkpoint.save(tmp_path / "last.ckpt", layer, layer.trained("one", "other"), Progress())
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["optimizer"]["third"] = content["optimizer"]["one"]
    torch.save(content, tmp_path / "last.ckpt")
    assert "does not fit" in refused(tmp_path / "last.ckpt", "one", "other")


def test_a_checkpoint_holds_tensors_and_plain_values_alone(saved):
    content = torch.load(saved[0], weights_only=True)
    kinds = {type(value) for value in values(content)}
    assert kinds <= {torch.Tensor, str, int, float, bool, type(None)}


def test_a_checkpoint_that_would_run_code_is_refused_without_running_it(tmp_path):
    path = tmp_path / "last.ckpt"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    torch.save({"format": 1, "model": Bomb(), "optimizer": {}, "progress": {}}, path)
    assert "damaged" in refused(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("part", [0, 1, 10, 100, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_checkpoint_is_refused(saved, part):
    path = saved[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: part if isinstance(part, int) else int(part * len(whole))])
    assert "damaged" in refused(path)


def test_a_checkpoint_with_a_wrong_byte_is_refused_or_holds_numbers(saved):
    """Torch reads no check sums: what it cannot notice must at least not crash."""
    path = saved[0]
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(UserError):
            checkpoint.restore(path, Layer(), Layer().optimizers())


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_text("not a checkpoint\n" * 100, encoding="utf-8")
    assert "damaged" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "someone else's zip")
    assert "damaged" in refused(path)
    path.unlink()
    path.mkdir()
    assert "damaged" in refused(path)
    path.rmdir()
    assert "no checkpoint last.ckpt yet; train it first" in refused(path)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [1, 2],
        torch.zeros(3),
        {"state_dict": {"weight": torch.zeros(3, 5)}},
        {"format": 2, "model": {}, "optimizer": {}, "progress": {}},
        {"format": 1},
        {"format": 1, "model": Layer().state_dict()},
    ],
)
def test_a_checkpoint_of_another_program_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "last.ckpt")
    assert "not of format 1" in refused(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", Layer(width=6).state_dict()),
        ("model", {}),
        ("model", {"weight": 3, "bias": 4}),
        ("optimizer", {}),
        ("optimizer", torch.optim.Adam([{"params": [p]} for p in Layer().parameters()]).state_dict()),
        ("progress", {}),
        ("progress", None),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(saved, part, value):
    path = saved[0]
    content = torch.load(path, weights_only=True)
    torch.save({**content, part: value}, path)
    assert "does not fit" in refused(path)


def test_a_write_that_breaks_off_keeps_the_old_checkpoint(saved, monkeypatch):
    path = saved[0]
    before = path.read_bytes()

    def broken(content, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, Layer(), Layer().trained(), Progress())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_said_in_one_line_and_keeps_the_old_checkpoint(saved):
    path = saved[0]
    before = path.read_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(Failure, match=r"cannot write .*last\.ckpt: File too large; .*--resume") as caught:
            checkpoint.save(path, Layer(), Layer().trained(), Progress())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
