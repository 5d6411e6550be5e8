"""A file is read as nn~ reads it: what nn~ would refuse, or end with, is refused."""

import numpy as np
import pytest
import torch
from timbrel.export.nn import Backend, NnRefusal
from torch import nn

from .played import labels


class Plain(nn.Module):
    """A file in the way of older ones: it lists nothing, and has one attribute of each type."""

    forward_input_labels: list[str]

    def __init__(self, params=(2, 1, 1, 1), types=(0, 1, 2, 3)):
        super().__init__()
        self.register_buffer("forward_params", torch.tensor(params))
        self.register_buffer("all_params", torch.tensor(types))
        self.on, self.many, self.much, self.word = True, 3, 0.5, "x"
        self.forward_input_labels = ["(signal) left"]

    def forward(self, x):
        return x[:, :1] * self.much + x[:, 1:]

    @torch.jit.export
    def get_all(self) -> tuple[bool, int, float, str]:
        return self.on, self.many, self.much, self.word

    @torch.jit.export
    def set_all(self, on: bool, many: int, much: float, word: str) -> int:
        self.on, self.many, self.much, self.word = on, many, much, word
        return 0


class Wrong(nn.Module):
    """What a file can do wrong, an attribute each."""

    def __init__(self):
        super().__init__()
        for name in ("forward", "one", "failing", "deaf", "typed", "mute"):
            self.register_buffer(f"{name}_params", torch.tensor([1, 1, 1, 1] if name == "forward" else [2]))
        self.register_buffer("unknown_params", torch.tensor([7]))

    def forward(self, x):
        return x[:, :, 1:]

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return ["one", "failing", "deaf", "typed", "mute", "unknown", "without"]

    @torch.jit.export
    def get_one(self) -> float:
        return 1.0

    @torch.jit.export
    def get_failing(self) -> list[float]:
        return [float(torch.zeros(2)[5])]

    @torch.jit.export
    def set_failing(self, value: float) -> int:
        return int(torch.zeros(2)[5])

    @torch.jit.export
    def set_deaf(self, value: float) -> int:
        return -1

    @torch.jit.export
    def get_typed(self) -> list[int]:
        return [1]

    @torch.jit.export
    def set_one(self, value: int) -> int:
        return 0


@pytest.fixture
def opened(tmp_path):
    def backend(module):
        with pytest.warns(DeprecationWarning, match="deprecated"):
            torch.jit.save(torch.jit.script(module.eval()), tmp_path / "file.ts")
        return Backend(tmp_path / "file.ts")

    return backend


def test_what_is_not_listed_is_found_by_its_parameters(opened):
    backend = opened(Plain())
    assert backend.methods() == ["forward"]
    assert backend.params("forward") == (2, 1, 1, 1)
    assert "all" in backend.attributes()
    assert labels(backend, "forward") == (["(signal) left", "(signal) model input 1"], ["(signal) model output 0"])


def test_values_are_words_of_messages(opened):
    backend = opened(Plain())
    assert backend.get("all") == "true 3 0.500000 x"
    backend.set("all", "FALSE", "48000.000000", "-0.25", "y")
    assert backend.get("all") == "false 48000 -0.250000 y"
    signals = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    assert backend.perform(signals).tolist() == [[[4.0, 4.75, 5.5, 6.25]]]


def test_ratios_are_of_samples(opened):
    backend = opened(Plain(params=(2, 4, 1, 4)))
    sound = backend.perform(np.arange(16, dtype=np.float32).reshape(1, 2, 8))
    assert sound.tolist() == [[[12.5] * 4 + [18.5] * 4]]  # of the last sample of each four


def test_a_block_must_be_a_multiple_of_the_ratio(opened):
    with pytest.raises(NnRefusal, match="blocks of 6 samples are no multiple of its ratio 4"):
        opened(Plain(params=(2, 4, 1, 4))).perform(np.zeros((1, 2, 6), np.float32))


def test_rows_do_not_mix(opened):
    backend, signals = opened(Plain()), np.random.default_rng(0).standard_normal((3, 2, 16)).astype(np.float32)
    apart = [backend.perform(signals[row : row + 1])[0] for row in range(3)]
    assert np.array_equal(backend.perform(signals), apart)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda b: b.get("one"), "get_one gives 1.0, no list of 1"),
        (lambda b: b.get("failing"), "get_failing fails"),
        (lambda b: b.set("failing", "1"), "set_failing fails"),
        (lambda b: b.set("deaf", "1"), "set_deaf gives -1 in place of 0"),
        (lambda b: b.get("typed"), "a getter gives 1 where its type is float"),
        (lambda b: b.get("mute"), "it has no get_mute"),
        (lambda b: b.set("mute", "1"), "it has no set_mute"),
        (lambda b: b.get("unknown"), "unknown_params has the unknown type 7"),
        (lambda b: b.set("without", "1"), "it has no without_params"),
        (lambda b: b.set("deaf", "1", "2"), "deaf takes 1 values, 2 were given"),
        (lambda b: b.set("deaf", "loud"), "'loud' is no number"),
        (lambda b: b.set("one", "1"), "set_one fails"),
        (lambda b: b.params("backward"), "it has no method 'backward'"),
        (lambda b: b.perform(np.zeros((1, 1, 8), np.float32)), "forward does not give 1 channels of 8 samples"),
    ],
)
def test_what_nn_would_end_with_is_refused(opened, what, reason):
    with pytest.raises(NnRefusal, match=reason.replace("(", r"\(")):
        what(opened(Wrong()))


def test_a_file_that_cannot_play_is_refused(opened, tmp_path):
    (tmp_path / "text.ts").write_text("this is no TorchScript")
    with pytest.raises(NnRefusal, match="it does not load"):
        Backend(tmp_path / "text.ts")
    with pytest.raises(NnRefusal, match="no method with METHOD_params"):
        opened(nn.Linear(2, 2))
    with pytest.raises(NnRefusal, match="forward_params, or not as numbers"):
        opened(Plain(params=(1, 1, 1))).params("forward")


def test_our_own_file_says_what_it_takes(shipped, in_nn):
    model = shipped("gm-chroma-8")
    backend, knobs = in_nn(model), model.card.latents
    assert backend.methods() == ["forward"]
    assert backend.params("forward") == (10, 1, 1, 1)
    inlets, outlets = labels(backend, "forward")
    assert inlets[0] == f"(signal) added to {knobs[0].name}, {knobs[0].low:g} to {knobs[0].high:g}"
    assert [label.split(",")[0] for label in inlets[8:]] == ["(signal) pitch", "(signal) level"]
    assert outlets == ["(signal) sound"]
    names = backend.attributes()
    assert names[:4] == ["gain_db", "a4_hz", "sample_rate", "brightness"]
    assert [backend.get(name) for name in names[:3]] == ["0.000000", "440.000000", "44100"]
    assert [float(backend.get(name)) for name in names[3:]] == pytest.approx([k.default for k in knobs], abs=1e-5)


def test_values_beyond_their_range_stop_at_its_end(shipped, in_nn):
    model = shipped("gm-chroma-8")
    backend = in_nn(model)
    for name, low, high in (("gain_db", -90, 24), ("a4_hz", 380, 500), ("sample_rate", 8000, 384000)):
        for word, end in (("-1e9", low), ("1e9", high)):
            backend.set(name, word)
            assert float(backend.get(name)) == end
    knob = model.card.latents[0]
    backend.set("brightness", "100")
    assert float(backend.get("brightness")) == pytest.approx(knob.high, abs=1e-5)


def test_knobs_have_names_that_a_message_can_say(made, in_nn):
    names = ["Brightness!", "brightness", "8-bit", "methods", "gain dB", "größe", "~", "submodule"]
    span = {"low": -1.0, "high": 1.0, "default": 0.0, "mean": 0.0, "std": 1.0}
    model = made(
        np.ones(513),
        np.zeros((8, 513)),
        base="gm-chroma-2",
        frame_length=1024,
        hop_length=256,
        latents=[{"name": name, **span} for name in names],
    )
    backend = in_nn(model)
    found = backend.attributes()[3:]
    assert found == [
        "brightness",
        "brightness_2",
        "latent_2",
        "methods_2",
        "gain_db_2",
        "gr_e",
        "latent_6",
        "submodule_2",
    ]
    for place, name in enumerate(found):
        backend.set(name, f"0.{place + 1}")
    assert [backend.get(name) for name in found] == [f"0.{place + 1}00000" for place in range(8)]
