"""Live, clips are decoded by a process of its own, which may come late, end early, or have no room."""

import gc
import shutil

import numpy as np
import pytest
from timbrel.host.engines.clip import clip_cache as module
from timbrel.host.engines.clip.clip_cache import ClipDecodeWorker, SingleClipDecoder
from timbrel.host.engines.clip.resampling import ONE, TAPS, ResampledClip, Stretch, read, steps
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import fitted

from ....patience import PATIENCE_SECONDS, until
from ...clips import LENGTH, RATE, noise, save_clips


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "m.onnx"
    return Model(save_clips(path, noise(1), np.stack([noise(2), noise(3)])))


@pytest.fixture
def decoder(model):
    return SingleClipDecoder(model)


@pytest.fixture
def aside(decoder):
    def make(clips=8, decoder=decoder, there=True):
        made = ClipDecodeWorker(decoder, LENGTH, clips)
        if there:
            until(made._server._is_ready)
        return made

    return make


def code(number):
    return np.array([number / 10, -number / 20], np.float32)


def elsewhere(monkeypatch, decoder):
    """Let this process refuse to decode."""

    def refuse(label, code, recording=None):
        raise AssertionError

    monkeypatch.setattr(decoder, "clip", refuse)


def test_it_gives_the_very_clip_and_its_copies(aside, decoder, monkeypatch):
    made = aside()
    clips = [decoder.clip(0, code(number)) for number in range(3)]
    elsewhere(monkeypatch, decoder)
    found = [made.clip(0, code(number)) for number in range(3)]
    for clip, other in zip(clips, found, strict=True):
        assert np.array_equal(clip.samples, other.samples)
        for semitones in (-7.0, 5.0, 12.0, 31.0, 60.0):
            step = int(steps(semitones)[0])
            sounds = [read([Stretch(each, ONE // 3, step, (LENGTH - TAPS) * ONE // step)])[0] for each in (clip, other)]
            assert np.array_equal(*sounds)


def test_until_it_is_there_this_process_decodes(aside, decoder):
    made = aside(there=False)
    assert np.array_equal(made.clip(0, code(1)).samples, decoder.clip(0, code(1)).samples)


def test_a_room_is_used_again_once_its_clip_is_gone_and_no_earlier(aside, decoder):
    made = aside(clips=2)
    kept = [made.clip(0, code(number)) for number in range(4)]  # two of them found no room
    assert not made._free_rooms
    for number, clip in enumerate(kept):
        assert np.array_equal(clip.samples, decoder.clip(0, code(number)).samples)
    kept.clear()
    del clip
    assert sorted(made._free_rooms) == [0, 1]


def test_where_it_has_ended_this_process_goes_on(aside, decoder):
    made = aside()
    before = made.clip(0, code(1))
    made._server._child.process.kill()
    made._server._child.process.join()
    for number in (1, 2):
        assert np.array_equal(made.clip(0, code(number)).samples, decoder.clip(0, code(number)).samples)
    assert np.array_equal(before.samples, decoder.clip(0, code(1)).samples)


def test_a_decoder_that_fails_there_is_heard_of_here(aside):
    made = aside(clips=1)
    with pytest.raises(UserError, match="latent"):
        made.clip(0, np.zeros(3, np.float32))  # one more than the model has
    assert made.clip(0, code(1)) is not None


def test_another_file_than_this_one_is_not_decoded(tmp_path, model):
    """The file is replaced between its being read here and there."""
    path = tmp_path / "m.onnx"
    shutil.copy(model.path, path)
    here = Model(path)
    save_clips(path, noise(7), np.stack([noise(2), noise(3)]))
    decoder = SingleClipDecoder(here)
    made = ClipDecodeWorker(decoder, LENGTH, 4)
    until(lambda: made._server._is_ready() or made._server._failed)
    assert made._server._failed
    assert np.array_equal(made.clip(0, code(0)).samples, noise(1))


def test_a_file_that_is_gone_ends_it_in_silence(tmp_path, model, capfd):
    path = tmp_path / "m.onnx"
    shutil.copy(model.path, path)
    here = Model(path)
    path.unlink()
    made = ClipDecodeWorker(SingleClipDecoder(here), LENGTH, 4)
    until(lambda: made._server._is_ready() or made._server._failed)
    assert np.array_equal(made.clip(0, code(0)).samples, noise(1))
    made._server._child.process.join(PATIENCE_SECONDS)
    assert made._server._child.process.exitcode == 0
    assert capfd.readouterr().err == ""


def test_it_ends_with_its_last_holder_and_not_before_its_clips(aside, decoder):
    made = aside()
    process, clip = made._server._child.process, made.clip(0, code(1))
    gc.disable()
    try:
        del made
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0
    finally:
        gc.enable()
    assert np.array_equal(clip.samples, decoder.clip(0, code(1)).samples)


def test_little_memory_leaves_fewer_rooms(monkeypatch, decoder):
    monkeypatch.setattr(module, "MOST_SHARED_BYTES", 3 * ResampledClip.size(LENGTH) * 4)
    made = ClipDecodeWorker(decoder, LENGTH, 1000)
    assert len(made._free_rooms) == 3


def test_an_instrument_plays_what_it_decodes_as_offline(model, tmp_path, monkeypatch):
    fields = {"format": 1, "model": "m", "knobs": [20, 21], "clip": {"loop": True}}
    patch = Patch("clips", fitted(Preset.model_validate(fields), model.card, tmp_path), model, tmp_path)
    sounds = []
    for live in (True, False):
        instrument = ChannelInstrument(patch, RATE, live=live)
        engine = instrument._synthesis._engine
        if live:
            until(engine._prefetch_cache._work._decoder._server._is_ready)
            elsewhere(monkeypatch, engine._prefetch_cache._work._decoder._decoder)
        blocks = []
        for events in ([ControlChange(0, 0, 20, 100)], [], [NoteOn(2000, 0, 67, 100)], [], []):
            blocks.append(instrument.process(events, 1000))
            until(lambda engine=engine: engine.idle)
        sounds.append(np.concatenate(blocks, 1))
    assert sounds[0][:, 2000:].any()
    assert np.array_equal(*sounds)
