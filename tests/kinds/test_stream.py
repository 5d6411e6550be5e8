"""Frames that follow from one another: a kind that carries a state, with a folder of its own."""

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import numpy_helper
from pydantic import BaseModel
from timbrel.export.graphs import Graphs
from timbrel.host.engines.engine import VOICE_LUFS
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.kinds.card_fields import RecurrentState, Scaling, UniformPrior
from timbrel.host.model.model import Model
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.units import db_to_gain
from timbrel.train.network import Network
from torch import nn

from .toy_stream.engine import LENGTH
from .toy_stream.kind import ToyStreamKind

LATENTS, HIDDEN, RATE = 2, 8, 44100
MEAN, DEVIATION = 0.01, 0.1
PRESET = """format = 1
model = "{model}"
[envelope]
attack_seconds = 0.001
release_seconds = 0.05
[[cc]]
number = 70
target = "latent.0"
"""


class NoWeights(BaseModel):
    """Of a loss of one term."""


class Recurrent(Network):
    """A state that turns on, pushed by the code, and a frame read from it. It has no encoder."""

    def __init__(self, recipe):
        super().__init__()
        self.weights = NoWeights()
        self.turning, self.push = nn.Linear(HIDDEN, HIDDEN), nn.Linear(LATENTS, HIDDEN)
        self.read = nn.Linear(HIDDEN, LENGTH)

    def step(self, latent, state):
        after = torch.tanh(self.turning(state) + self.push(latent))
        return self.read(after), after

    def reconstruction(self, sounds, generator):
        code, state = torch.rand(len(sounds), LATENTS, generator=generator), sounds.new_zeros(len(sounds), HIDDEN)
        losses = []
        for frame in sounds.split(LENGTH, 1):
            given, state = self.step(code, state)
            losses.append(torch.nn.functional.mse_loss(given, (frame - MEAN) / DEVIATION))
        return {"mean_square": torch.stack(losses).mean()}


class Decoder(nn.Module):
    """latent [voice, n], h [voice, hidden] → frame [voice, samples], the state for the next step."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, latent, h):
        return self.network.step(latent, h)


@pytest.fixture(scope="module", autouse=True)
def kind(rows, codes_of_its_own):
    """The kind and its family, each in a row; gives the network that is exported."""
    seen = []

    def graphs(network, recipe, corpus, tonal):
        seen.append(network)
        card = {
            "kind": ToyStreamKind.name,
            "domain": "samples",
            "hop_length": LENGTH,
            "window": "rectangular",
            "prior": UniformPrior(uniform=(-1.0, 1.0)),
            "chroma": None,
            "scaling": Scaling(mean=MEAN, deviation=DEVIATION),
        }
        codes, state = codes_of_its_own(LATENTS), [RecurrentState(name="h", shape=[HIDDEN])]
        return Graphs(Decoder(network), None, codes, card, state=state)

    rows.kind(ToyStreamKind())
    rows.family("toy-stream", Recurrent, graphs)
    return seen


@pytest.fixture(scope="module")
def model(kind, made):
    return made("toy-stream", LENGTH)[1]


@pytest.fixture(scope="module")
def preset(model):
    path = model.with_name("stream.toml")
    path.write_text(PRESET.format(model=model.name), encoding="utf-8")
    return path


TUNE = [
    NoteOn(100, 0, 60, 100),
    ControlChange(900, 0, 70, 127),
    NoteOn(3000, 0, 64, 80),
    ControlChange(4000, 0, 70, 10),
    NoteOff(5000, 0, 60),
    NoteOff(8000, 0, 64),
]


def test_two_hundred_steps_of_the_file_are_those_of_torch(model, kind):
    file, voices = Model(model), 3
    codes = np.random.default_rng(1).uniform(-1, 1, (200, voices, LATENTS)).astype(np.float32)
    state, hidden = file.at_rest(voices), torch.zeros(voices, HIDDEN)
    for code in codes:
        frame, state = file.step(code, np.zeros(voices, np.intp), state)
        with torch.no_grad():
            expected, hidden = kind[-1].step(torch.from_numpy(code), hidden)
        assert np.abs(frame - expected.numpy()).max() <= 1e-4 * float(np.ptp(expected.numpy()))


def test_its_reference_is_of_several_steps_and_notices_a_change_of_what_it_remembers(model, tmp_path, timbrel):
    assert timbrel("verify", model).status == 0
    card = Model(model).card
    assert card.reference.steps > 1
    assert [(state.name, state.shape) for state in card.state] == [("h", [HIDDEN])]
    graph = onnx.load(model)
    (turning,) = [
        tensor
        for tensor in graph.graph.initializer
        if list(tensor.dims) == [HIDDEN, HIDDEN]  # at the first step it is multiplied by a state of zeros
    ]
    changed = numpy_helper.from_array(1.1 * numpy_helper.to_array(turning), turning.name)
    turning.CopyFrom(changed)
    onnx.save(graph, tmp_path / "changed.onnx")
    assert timbrel("verify", tmp_path / "changed.onnx").status == 1


def test_a_file_whose_state_is_not_the_cards_is_refused(model, tmp_path):
    graph = onnx.load(model)
    graph.graph.output[1].name = "other"
    graph.graph.node[[n.output[0] for n in graph.graph.node].index("h_next")].output[0] = "other"
    for node in graph.graph.node:
        node.input[:] = ["other" if name == "h_next" else name for name in node.input]
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"outputs .*other.* are not the card's"):
        Model(tmp_path / "other.onnx")


def test_each_voice_goes_on_from_its_own_state_and_scaling_is_put_back(model, preset):
    rack = Rack({0: open_patch(str(preset))}, RATE)
    sound = rack.process([NoteOn(100, 0, 60, 127), NoteOn(356, 0, 64, 127)], 2048)[0][0]
    file = Model(model)
    code = np.array([[latent.default for latent in file.card.latents]], np.float32)
    state, frames = file.at_rest(1), []
    for _ in range(8):
        frame, state = file.step(code, np.zeros(1, np.intp), state)
        frames.append(frame[0] * DEVIATION + MEAN)
    one = np.concatenate(frames)
    gain = db_to_gain(VOICE_LUFS - file.card.loudness_lufs) / np.sqrt(2)
    expected = gain * (one[500 - 100 : 2000 - 100] + one[500 - 356 : 2000 - 356])
    assert np.allclose(sound[500:2000], expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def test_rendering_and_live_playing_give_the_same_bytes_in_any_blocks_and_processes(preset):
    patch = open_patch(str(preset))
    whole = Rack({0: patch}, RATE).process(TUNE, 10_240)[0]
    assert np.abs(whole).max() > 1e-3
    shared = Rack({0: patch}, RATE, 2)
    halves = [shared.process([e for e in TUNE if at <= e.time < at + 5120], 5120)[0] for at in (0, 5120)]
    shared.close()
    assert np.array_equal(np.concatenate(halves, axis=1), whole)
    player = Player(Rack({0: patch}, RATE, omni=True, live=True), RATE)
    for event in TUNE:
        player.schedule(event)
    assert np.array_equal(np.concatenate([player.block(128)[0] for _ in range(80)], axis=1), whole)


def test_a_file_is_rendered_by_the_command(preset, timbrel, tmp_path):
    import mido

    file = mido.MidiFile()
    file.tracks.append(mido.MidiTrack([mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=960)]))
    file.save(tmp_path / "one.mid")
    assert timbrel("render", preset, tmp_path / "one.mid", "-o", tmp_path / "one.flac").status == 0
    sound, _ = soundfile.read(tmp_path / "one.flac")
    assert np.abs(sound).max() > 1e-3
