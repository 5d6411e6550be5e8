"""A kind that decodes on a worker: with a folder of its own it passes from training to the stage."""

import json

import numpy as np
import pytest
import soundfile
import torch
from pydantic import BaseModel
from timbrel.export.export import export
from timbrel.export.graphs import Graphs
from timbrel.host.engines.engine import VOICE_LUFS
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.kinds.card_fields import UniformPrior
from timbrel.host.live import audio_process
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.session.view_builder import view_of_patch
from timbrel.host.units import db_to_gain
from timbrel.train.network import Network
from timbrel.train.run import Run
from torch import nn

from ..patience import PATIENCE_SECONDS
from .toy_clip.engine import ClipEngine
from .toy_clip.kind import ToyClipKind

LENGTH, LATENTS, RATE = 4096, 2, 44100
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


class Generator(Network):
    """From a code to a clip, in one matrix. It has no encoder."""

    def __init__(self, recipe):
        super().__init__()
        self.weights = NoWeights()
        self.layer = nn.Linear(LATENTS, LENGTH)

    def reconstruction(self, clips, generator):
        codes = torch.rand(len(clips), LATENTS, generator=generator)
        return {"mean_square": torch.nn.functional.mse_loss(self.layer(codes), clips[:, :LENGTH])}


@pytest.fixture(scope="module", autouse=True)
def kind(rows, codes_of_its_own):
    """The kind and its family, each in a row."""
    ClipEngine.gate.set()

    def graphs(network, recipe, corpus, tonal):
        card = {
            "kind": ToyClipKind.name,
            "domain": "samples",
            "hop_length": LENGTH,
            "window": "rectangular",
            "prior": UniformPrior(uniform=(-1.0, 1.0)),
            "chroma": None,
        }
        return Graphs(network.layer, None, codes_of_its_own(LATENTS), card)

    rows.kind(ToyClipKind())
    rows.family("toy-clip", Generator, graphs)


@pytest.fixture(autouse=True)
def gate():
    """The worker's gate, open until a test closes it."""
    yield ClipEngine.gate
    ClipEngine.gate.set()


@pytest.fixture(scope="module")
def run_and_model(kind, made):
    """The folder of a run, and the file of its model."""
    return made("toy-clip", LENGTH)


@pytest.fixture(scope="module")
def model(run_and_model):
    return run_and_model[1]


@pytest.fixture(scope="module")
def preset(model):
    path = model.with_name("clip.toml")
    path.write_text(PRESET.format(model=model.name), encoding="utf-8")
    return path


def engine_in(rack):
    (instrument,) = rack._instruments.values()
    return instrument._synthesis._engine


def settle(rack):
    """Wait until what was asked for is decoded."""
    engine_in(rack)._last.result(PATIENCE_SECONDS)


TUNE = [
    NoteOn(0, 0, 60, 100),
    ControlChange(900, 0, 70, 127),
    NoteOn(3000, 0, 64, 80),
    NoteOff(5000, 0, 60),
    NoteOff(8000, 0, 64),
]


def test_it_is_exported_without_an_encoder_and_proves_itself(model, timbrel):
    assert not encoder_path(model).exists()
    assert timbrel("verify", model).status == 0
    assert "clip of samples" in timbrel("info", model).out


def test_a_model_without_encoder_leaves_none_of_the_one_before(run_and_model, tmp_path):
    run, _ = run_and_model
    path = tmp_path / "m.onnx"
    encoder_path(path).write_bytes(b"of another model")
    with pytest.raises(UserError, match="exists"):
        export(Run.open(run), path)
    assert not path.exists()
    export(Run.open(run), path, overwrite=True)
    assert path.exists()
    assert not encoder_path(path).exists()


def test_the_panel_shows_its_knobs(model, preset):
    patch = open_patch(str(preset))
    view = view_of_patch(str(preset), patch, 0, Rack({0: patch}, RATE).knobs[0])
    shown = {one.target: (one.low, one.high, [(by.source, by.takeover) for by in one.maps]) for one in view.controls}
    knobs = Model(model).card.latents
    assert view.kind == ToyClipKind.name
    assert shown["latent.0"] == (knobs[0].low, knobs[0].high, [("CC 70", "jump")])
    assert shown["latent.1"] == (knobs[1].low, knobs[1].high, [])
    assert "gain" in shown


def test_recover_refuses_a_kind_whose_codes_it_cannot_search(model, timbrel, tmp_path):
    soundfile.write(tmp_path / "sound.wav", np.random.default_rng(0).uniform(-0.1, 0.1, LENGTH), RATE)
    ended = timbrel("recover", tmp_path / "sound.wav", "--model", model, "-o", tmp_path / "found.toml")
    assert ended.status == 2
    assert "is of kind 'toy-clip', and codes are searched for models of 'spectrum'" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["sound.wav"]


def test_evaluate_writes_the_familys_report(run_and_model, timbrel):
    run, _ = run_and_model
    ended = timbrel("evaluate", run)
    assert ended.status == 0, ended.err
    assert json.loads((run / "report" / "report.json").read_text(encoding="utf-8")) == {
        "checkpoint": "best",
        "step": 20,
    }
    assert "<p>a toy</p>" in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_offline_each_note_has_the_clip_of_its_own_code(model, preset):
    rack = Rack({0: open_patch(str(preset))}, RATE)
    sound = rack.process(TUNE, 16_384)[0][0]
    decoder = Model(model)
    span = decoder.card.latents[0]
    before, after = (
        decoder.decode(np.array([[value, decoder.card.latents[1].default]], np.float32), np.zeros(1, np.intp))[0]
        for value in (span.default, span.high)
    )
    level = db_to_gain(VOICE_LUFS - decoder.card.loudness_lufs) / np.sqrt(2)
    bare = level * (100 / 127) ** 2
    assert np.allclose(sound[100:2900], bare * before[100:2900], atol=1e-5)  # once it has come in
    late = level * (80 / 127) ** 2 * after
    left = sound[5000 + 2400 : 3000 + LENGTH - 1] - late[5000 + 2400 - 3000 : -1]
    assert np.allclose(left, 0, atol=1e-5)  # the first key has been released


def test_rendering_gives_the_same_bytes_in_any_blocks_and_processes(preset):
    def played(size, processes=1):
        rack = Rack({0: open_patch(str(preset))}, RATE, processes)
        blocks = []
        for start in range(0, 16_384, size):
            end = min(start + size, 16_384)
            blocks.append(rack.process([e for e in TUNE if start <= e.time < end], end - start)[0])
        rack.close()
        return np.concatenate(blocks, axis=1)

    whole = played(16_384)
    assert np.array_equal(played(100), whole)
    assert np.array_equal(played(4096, 2), whole)


def test_live_playing_is_rendering_where_knobs_have_come_to_rest(preset):
    patch = open_patch(str(preset))
    offline = Rack({0: patch}, RATE).process(TUNE, 8192)[0]
    rack = Rack({0: patch}, RATE, omni=True, live=True)
    settle(rack)
    player = Player(rack, RATE)
    for event in TUNE:
        player.schedule(event)
    blocks = []
    for _ in range(8192 // 128):
        blocks.append(player.block(128)[0])
        settle(rack)
    assert np.array_equal(np.concatenate(blocks, axis=1), offline)
    assert np.abs(offline).max() > 1e-3


def test_live_the_newest_clip_that_is_ready_sounds_and_nothing_waits(preset, gate):
    patch = open_patch(str(preset))
    rack = Rack({0: patch}, RATE, omni=True, live=True)
    settle(rack)
    gate.clear()
    rack.process([ControlChange(0, 0, 70, 127)], 4096)  # its clip is asked for, and does not come
    assert not engine_in(rack).idle
    old = rack.process([NoteOn(4096, 0, 60, 100), NoteOff(8000, 0, 60)], 8192)[0]
    gate.set()
    settle(rack)
    new = rack.process([NoteOn(12_288, 0, 60, 100), NoteOff(16_192, 0, 60)], 8192)[0]
    still = Rack({0: patch}, RATE).process([NoteOn(0, 0, 60, 100), NoteOff(3904, 0, 60)], 8192)[0]
    assert np.array_equal(old, still)
    assert not np.array_equal(new, still)


def test_what_plays_live_is_made_to_wait_for_nothing(preset):
    assert engine_in(audio_process._rack({None: open_patch(str(preset))}, RATE, None))._live
    assert not engine_in(Rack({0: open_patch(str(preset))}, RATE))._live


def test_live_a_rack_that_has_nothing_to_sound_yet_waits_for_its_first_clip(preset, gate):
    patch = open_patch(str(preset))
    first = Rack({0: patch}, RATE, omni=True, live=True)
    settle(first)
    player = Player(first, RATE)
    gate.clear()
    second = Rack({0: patch}, RATE, omni=True, live=True)
    assert not second.ready
    player.swap(second)
    player.block(128)
    assert player.rack is first
    gate.set()
    settle(second)
    assert second.ready
    player.block(128)
    assert player.rack is second


def test_a_file_is_rendered_by_the_command(preset, timbrel, tmp_path):
    import mido

    file = mido.MidiFile()
    track = mido.MidiTrack([mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=960)])
    file.tracks.append(track)
    file.save(tmp_path / "one.mid")
    assert timbrel("render", preset, tmp_path / "one.mid", "-o", tmp_path / "one.wav").status == 0
    sound, _ = soundfile.read(tmp_path / "one.wav")
    assert np.abs(sound).max() > 1e-3
