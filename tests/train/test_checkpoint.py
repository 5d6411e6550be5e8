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

    def trained(self):
        """An optimiser that has made two steps on it."""
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1, fused=True)
        for _ in range(2):
            self(torch.ones(2, self.in_features)).sum().backward()
            optimizer.step()
        return optimizer


@pytest.fixture
def saved(tmp_path):
    layer = Layer()
    optimizer = layer.trained()
    checkpoint.save(tmp_path / "last.ckpt", layer, optimizer, Progress(2, 1.5, 0.25))
    return tmp_path / "last.ckpt", layer, optimizer


def refused(path):
    with pytest.raises(UserError) as caught:
        checkpoint.restore(path, Layer(), torch.optim.Adam(Layer().parameters(), fused=True))
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


def test_weights_optimiser_and_place_come_back_to_the_bit(saved):
    path, layer, optimizer = saved
    again = Layer(seed=1)
    resumed = torch.optim.Adam(again.parameters(), lr=0.3, fused=True)
    assert checkpoint.restore(path, again, resumed) == Progress(2, 1.5, 0.25)
    for one, two in zip(layer.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    before, after = optimizer.state_dict(), resumed.state_dict()
    assert before["param_groups"] == after["param_groups"]
    for index, state in before["state"].items():
        assert all(torch.equal(value, after["state"][index][name]) for name, value in state.items())


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
            checkpoint.restore(path, Layer(), torch.optim.Adam(Layer().parameters(), fused=True))


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
