"""A path whose times run from each note's own beginning."""

import contextlib

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.model.model import Model
from timbrel.host.play import events
from timbrel.host.play.rack import Rack
from timbrel.host.preset.motions import MotionSettings

from ..clips import noise, save_clips

RATE = 22050
WAY = {"path": [[0.0, 0.2], [1.0, 0.2], [0.4, 0.9]], "times": [0.0, 0.5, 1.0], "start": "note"}
TUNE = [NoteOn(100, 0, 60, 127), NoteOn(9000, 0, 67, 40), NoteOff(14_000, 0, 60), NoteOff(16_001, 0, 67)]
COUNT = 24_000


def codes(made, time, own_time=None):
    voices = list(made.voices)
    own = None if own_time is None else np.full(len(voices), own_time)
    return made.motion_of(voices).latents(range(len(voices)), np.full(len(voices), time), own).tolist()


def test_each_note_is_where_its_own_time_says(make_patch):
    _, made = events.engine_and_processor(make_patch(motion=[WAY], latent={"values": [0.9, 0.9]}))
    made.apply(NoteOn(0, 0, 60, 100))
    made.apply(NoteOn(RATE // 4, 0, 64, 100))
    assert codes(made, RATE // 2) == [pytest.approx([1.0, 0.2], abs=1e-3), pytest.approx([0.5, 0.2], abs=1e-3)]
    assert codes(made, 2 * RATE) == [pytest.approx([0.4, 0.9], abs=1e-6)] * 2


def test_a_code_is_read_as_far_ahead_as_it_is_heard_later(make_patch):
    engine, made = events.engine_and_processor(make_patch(motion=[WAY]))
    made.apply(NoteOn(0, 0, 60, 100))
    [[first, _]] = codes(made, 0, 1000 - engine.lookback)
    assert first == pytest.approx(1000 / RATE / 0.5, abs=1e-6)
    assert codes(made, 0, -5 * engine.lookback)[0] == pytest.approx([0.0, 0.2])


def test_what_leaves_the_spans_is_brought_back(make_patch):
    far = WAY | {"path": [[-3.0, 0.2], [7.0, 0.2], [0.4, 0.9]]}
    _, made = events.engine_and_processor(make_patch(motion=[far]))
    made.apply(NoteOn(0, 0, 60, 100))
    assert [codes(made, time)[0][0] for time in (0, RATE // 2)] == [0.0, 1.0]


def test_a_loop_goes_round_from_each_note_on(make_patch):
    around = WAY | {"loop": True, "times": [0.0, 0.5, 1.0, 1.5]}
    _, made = events.engine_and_processor(make_patch(motion=[around]))
    made.apply(NoteOn(1000, 0, 60, 100))
    assert codes(made, 1000 + 2 * RATE)[0] == pytest.approx([1.0, 0.2], abs=1e-3)


def test_the_same_key_sounds_alike_whenever_it_is_played(make_instrument, play):
    hop = 256
    early, late = (
        play(make_instrument(RATE, motion=[WAY]), [NoteOn(on, 0, 60, 100)], 60 * hop)[:, on : on + 40 * hop]
        for on in (2 * hop, 18 * hop)
    )
    moving = play(make_instrument(RATE, motion=[WAY | {"start": "play"}]), [NoteOn(18 * hop, 0, 60, 100)], 60 * hop)
    level = [np.abs(np.fft.rfft(sound[0])) for sound in (early, late, moving[:, 18 * hop : 58 * hop])]
    assert np.linalg.norm(level[1] - level[0]) < 0.1 * np.linalg.norm(level[0])
    assert np.linalg.norm(level[2] - level[0]) > 0.1 * np.linalg.norm(level[0])


@pytest.mark.parametrize("sizes", [[1, 7, 64, 128], [4096], [333]])
def test_any_division_into_blocks_gives_the_same_bytes(make_instrument, play, sizes):
    whole = play(make_instrument(RATE, motion=[WAY]), TUNE, COUNT)
    assert whole.any()
    assert np.array_equal(play(make_instrument(RATE, motion=[WAY]), TUNE, COUNT, sizes), whole)


def test_processes_that_share_the_voices_give_the_same_bytes(make_patch, tiny_path):
    sounds = []
    for processes in (1, 2):
        patch = make_patch(Model(tiny_path()), motion=[WAY])
        with contextlib.closing(Rack({0: patch}, RATE, processes)) as rack:
            rack.schedule(TUNE, COUNT)
            sounds.append(np.concatenate([rack.process([], 3000)[0] for _ in range(8)], axis=1))
    assert np.array_equal(*sounds)


def test_a_model_whose_sounds_are_made_before_their_keys_go_down_takes_no_such_path(make_instrument, tmp_path):
    model = Model(save_clips(tmp_path / "clips.onnx", noise(1), [noise(2), noise(3)]))
    way = WAY | {"path": [[0.0] * len(model.card.latents)] * 3}
    with pytest.raises(UserError) as refused:
        make_instrument(model=model, motion=[way])
    assert "start 'note'" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"rate_hz": 1.0}, {"start": "bar"}])
def test_start_goes_with_times_alone(wrong):
    fields = {"path": WAY["path"], "rate_hz": 1.0, "start": "note"} if "rate_hz" in wrong else WAY | wrong
    with pytest.raises(ValueError, match="start"):
        MotionSettings.model_validate(fields)
