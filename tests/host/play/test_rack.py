"""Instruments side by side: each hears its channel, all are in time, and the mix is inside full scale."""

import numpy as np
import pytest
from timbrel.host.audio.output import limit
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.play.rack import Rack

RATE = 22050
SHARP = {"attack_seconds": 0.0, "release_seconds": 0.0}


def run(rack, events, count, sizes=(1000,)):
    mixes, parts, at, turn = [], [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        mix, part = rack.process([e for e in events if at <= e.time < at + size], size)
        mixes.append(mix)
        parts.append(part)
        at, turn = at + size, turn + 1
    channels = {channel: np.concatenate([part[channel] for part in parts], axis=1) for channel in parts[0]}
    return np.concatenate(mixes, axis=1), channels


def test_each_channel_plays_its_own_preset_and_no_other_is_heard(make_patch):
    rack = Rack({0: make_patch(envelope=SHARP), 9: make_patch(envelope=SHARP)}, RATE)
    events = [NoteOn(0, 0, 60, 100), NoteOn(2000, 9, 67, 100), NoteOn(2000, 3, 72, 127)]
    _, parts = run(rack, events, 4000)
    assert sorted(parts) == [0, 9]
    assert np.abs(parts[0][:, :2000]).max() > 0.01
    assert np.all(parts[9][:, :2000] == 0)
    assert rack.sounding == 2


def test_the_mix_is_the_limited_sum_of_its_channels(make_patch):
    rack = Rack({channel: make_patch(play={"gain_db": 12.0}) for channel in range(4)}, RATE)
    mix, parts = run(rack, [NoteOn(0, c, 48 + 4 * c + i, 127) for c in range(4) for i in (0, 12)], 8000)
    assert np.array_equal(mix, limit(sum(parts.values())))
    assert 0.7 < np.abs(mix).max() <= 1


def test_channels_with_and_without_effects_are_in_time(make_patch):
    effects = [{"plugin": "BrickwallLimiter", "lookahead_ms": 5.0}]
    rack = Rack({0: make_patch(envelope=SHARP), 1: make_patch(envelope=SHARP, effects=effects)}, RATE)
    assert rack.latency_samples > 0
    _, parts = run(rack, [NoteOn(1000, 0, 60, 127), NoteOn(1000, 1, 60, 127)], 6000, (100,))
    begun = [np.flatnonzero(np.abs(part[0]) > 1e-7)[0] for part in parts.values()]
    assert begun == pytest.approx([1001 + rack.latency_samples] * 2, abs=1)


def test_a_rack_alone_is_its_instrument(make_patch, make_instrument, play):
    events = [NoteOn(5, 0, 60, 50), ControlChange(900, 0, 10, 20), NoteOff(2000, 0, 60)]
    mix, _ = run(Rack({0: make_patch()}, 48000), events, 5000)
    assert np.array_equal(mix, play(make_instrument(48000), events, 5000))


def test_an_empty_rack_is_silent():
    rack = Rack({}, 44100)
    mix, parts = rack.process([NoteOn(0, 0, 60, 100)], 100)
    assert (rack.latency_samples, rack.sounding, parts) == (0, 0, {})
    assert np.all(mix == 0)
    assert mix.shape == (2, 100)


def test_where_knobs_are_heading_is_told_by_channel(make_patch):
    knob = {"number": 20, "target": "latent.1", "low": 0.0, "high": 1.0}
    rack = Rack({2: make_patch(cc=[knob])}, RATE)
    rack.process([ControlChange(0, 2, 20, 127)], 10)
    assert rack.latent_values(2) == [0.5, 1.0]


def test_a_model_that_gives_no_numbers_is_heard_as_silence(analytic, make_patch, tmp_path):
    from timbrel.host.model.model import Model

    made = analytic()
    model = Model(made.save(tmp_path / "nan.onnx", graph=made.graph(scale=np.nan)))
    mix, _ = run(Rack({0: make_patch(model)}, RATE), [NoteOn(0, 0, 60, 127)], 3000)
    assert np.all(np.isfinite(mix))


def test_a_preset_that_does_not_fit_is_named(make_patch):
    wrong = make_patch(cc=[{"number": 20, "target": "latent.7", "low": 0.0, "high": 1.0}])
    with pytest.raises(UserError, match=r"^preset 'made': .*CC 20 to 'latent\.7': target 'latent\.7' does not exist"):
        Rack({0: make_patch(), 1: wrong}, RATE)


def test_voices_are_given_up_one_after_the_other_until_none_is_left(make_patch):
    rack = Rack({0: make_patch()}, RATE)
    rack.process([NoteOn(0, 0, key, 100) for key in (60, 64, 67)], 512)
    for left in (2, 1, 0):
        assert rack.shed(rack.played)
        rack.process([], 4096)
        assert rack.sounding == left
    assert not rack.shed(rack.played)


def test_a_voice_is_given_up_at_its_moment_also_where_another_channel_is_slower(make_patch):
    slower = make_patch(effects=[{"plugin": "BrickwallLimiter", "lookahead_ms": 5.0}])
    for others in ({}, {1: slower}):
        stays, goes = (Rack({0: make_patch(envelope=SHARP), **others}, RATE) for _ in range(2))
        for rack in (stays, goes):
            rack.process([NoteOn(0, 0, 60, 127)], 2000)
        assert goes.shed(3000)
        differs = np.abs(goes.process([], 3000)[1][0] - stays.process([], 3000)[1][0]).max(axis=0) > 1e-4
        assert 2000 + np.flatnonzero(differs)[0] - goes.latency_samples in range(3000, 3004)
    assert goes.latency_samples > 100
