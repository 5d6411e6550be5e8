"""The native core keeps time to the sample: its latency, bounces, gaps and new epochs."""

import os
import signal

import numpy as np
import pytest

from .native import MIXED, NOTE, alive, opened

pytestmark = pytest.mark.usefixtures("log")


@pytest.mark.parametrize(
    ("rate", "blocks", "block", "own"),
    [
        *((48000, (block,), block, own) for block, own in ((32, 128), (64, 128), (128, 256), (256, 256), (1024, 1024))),
        (48000, MIXED, 1024, 1024),
        *((44100, (block,), block, own) for block, own in ((64, 128), (235, 470), (256, 256))),
        *((96000, (block,), block, own) for block, own in ((64, 256), (256, 512), (512, 512))),
        *((192000, (block,), block, own) for block, own in ((64, 512), (256, 512), (1000, 2000), (1024, 1024))),
    ],
)
def test_the_latency_that_is_reported_is_that_of_the_sound(lib, folder, rate, blocks, block, own):
    rack = 0 if own == block else 100
    folder.behave(rack_latency=rack)
    with opened(lib, folder) as core:
        core.wait()
        core.activate(rate, block)
        core.midi(3, NOTE, 3)
        sound = core.play(blocks * (1 + 5000 // sum(blocks)))
        assert core.latency() == own + rack
        assert core.late() == 0
    there = np.flatnonzero(sound[0])
    assert there[0] == own
    assert len(there) == sound.shape[1] - own
    assert (there - sound[0][there] + 1 == own).all()
    assert np.flatnonzero(sound[1]).tolist() == [own + 3]


@pytest.mark.parametrize("blocks", [(64,), MIXED, (40000, 5)])
def test_a_bounce_waits_and_has_no_latency(core, blocks):
    core.activate(44100, 64)
    core.offline(True)
    core.midi(2, NOTE, 3)
    sound = np.concatenate([core.run(block) for block in blocks * 3], axis=1)
    assert core.latency() == 0
    assert (sound[0] == np.arange(sound.shape[1]) + 1).all()
    assert np.flatnonzero(sound[1]).tolist() == [2]


@pytest.mark.parametrize("rack", [0, 100])
def test_a_latency_that_is_kept_is_that_of_a_bounce_too(lib, folder, rack):
    folder.behave(rack_latency=rack)
    with opened(lib, folder) as core:
        core.wait()
        core.activate(48000, 256)
        core.play([256] * 3)
        core.keep_latency()
        core.changes.clear()
        core.offline(True)
        core.midi(2, NOTE, 3)
        sound = np.concatenate([core.run(block) for block in MIXED], axis=1)
        assert core.latency() == 256 + rack
        assert not sound[0, :256].any()
        assert (sound[0, 256:] == np.arange(sound.shape[1] - 256) + 1).all()
        assert np.flatnonzero(sound[1]).tolist() == [256 + 2]
        core.offline(False)
        assert core.latency() == 256 + rack
        assert core.changes == []
        core.activate(48000, 512)
        assert core.latency() == 512 + rack
        core.offline(True)
        assert core.latency() == rack


@pytest.mark.parametrize("before", [256, 1000, 5000])
@pytest.mark.parametrize("ahead", [256, 230])  # the latency, or what a host says
def test_where_the_song_is_ahead_a_bounce_begins_that_much_before_the_transport_starts(core, folder, before, ahead):
    core.activate(48000, 256)
    core.keep_latency()
    core.offline(True)
    core.run(before - 200)
    core.midi(3, NOTE, 3)
    core.run(200)
    core.transport(0, True, False, ahead)
    core.midi(5, NOTE, 3)
    sound = core.run(600)
    late = 256 - ahead
    assert sound[0][late:].tolist() == list(range(1, 601 - late))  # the host has left the latency out by itself
    assert not sound[0][:late].any()
    assert np.flatnonzero(sound[1]).tolist() == [256 - 200 + 3, 256 + 5]
    assert [one["offline"] for one in folder.heard("reset")] == [1, 1]


def test_what_comes_late_fades_out_and_in_around_silence_in_its_place(core, folder):
    core.activate(48000, 256)
    core.offline(True)
    assert core.run(70000).any()  # the memory is full of it from here on
    core.offline(False)
    core.position = 0
    before = core.play([256] * 4)
    assert before.any()
    assert core.late() == 0
    folder.hold(True)
    assert core.run(256).all(axis=1)[0]  # made while the block before was asked for
    out = core.run(256)[0]
    whole = 4 * 256  # 240 samples, 5 ms, are what sounded last, backwards and ever softer
    expected = np.arange(whole, whole - 240, -1) * np.arange(240, 0, -1) / 241
    np.testing.assert_allclose(out, [*expected, *[0] * 16], rtol=1e-6)
    assert not core.run(256).any()
    assert core.late() == 2
    folder.hold(False)
    core.caught_up()
    after = core.play([256] * 2)[0]
    begins = np.arange(6 * 256 + 1, 6 * 256 + 241)
    np.testing.assert_allclose(after[:240], begins * np.arange(1, 241) / 240, rtol=1e-6)
    assert after[240:].tolist() == list(range(6 * 256 + 241, 8 * 256 + 1))
    assert core.late() == 2


def test_a_block_that_is_late_in_part_sounds_as_far_as_it_is_made(core, folder):
    core.activate(48000, 1024)
    core.play([1024, 500])
    folder.hold(True)
    core.run(524)
    sound = core.run(1024)  # of which the server had been asked for the first 500 before
    assert sound[0][:500].tolist() == list(range(1025, 1525))
    assert sound[0][500] == pytest.approx(1524 * 240 / 241)
    assert not sound[0][740:].any()
    assert core.late() == 1


@pytest.mark.parametrize(("rate", "block"), [(44100, 64), (96000, 256), (1e6, 512)])
def test_no_gap_begins_or_ends_with_a_step(lib, folder, rate, block):
    folder.behave(sounds=1.0)
    with opened(lib, folder) as core:
        core.wait()
        core.activate(rate, block)
        sound = [core.play([block] * 40)[:, -block:]]
        for _ in range(3):  # gaps may lie closer together than fades are long
            folder.hold(True)
            sound += [core.run(block) for _ in range(8)]
            folder.hold(False)
            core.caught_up()
            sound.append(core.play([block] * 3))
        sound.append(core.play([block] * 3))
        os.kill(folder.process, signal.SIGKILL)
        sound += [core.run(block) for _ in range(50)]
    level = np.concatenate(sound, axis=1)[0]
    fade = min(int(0.005 * rate), 2048)
    assert np.abs(np.diff(level)).max() <= 2.0 / fade  # one fades out while another comes in
    assert level[0] == 1.0
    assert level.max() < 1.5
    assert level[-1] == 0.0


def test_a_bounce_begins_anew_and_so_does_what_comes_after(core, folder):
    core.activate(48000, 128)
    alive(core)
    core.offline(True)
    assert core.latency() == 0
    assert core.run(300)[0].tolist() == list(range(1, 301))
    core.offline(False)
    assert core.latency() == 256
    core.position = 0
    assert core.play([128] * 3)[0].tolist() == [*[0] * 256, *range(1, 129)]
    resets = [(one["offline"], one["rate"]) for one in folder.heard("reset")]
    assert resets == [(0, 48000), (1, 48000), (0, 48000)]


def test_a_bounce_after_silence_begins_with_all_of_its_first_sample(core, folder):
    folder.hold(True)
    core.activate(48000, 128)
    for _ in range(4):
        assert not core.run(128).any()
    folder.hold(False)
    core.offline(True)
    assert core.run(300)[0].tolist() == list(range(1, 301))


def test_a_change_of_rate_or_a_longer_block_begins_anew(core, folder):
    core.activate(48000, 128)
    core.play([128] * 2)
    core.deactivate()
    assert not core.run(128).any()
    core.activate(96000, 128)
    core.position = 0
    core.play([128] * 2)
    core.changes.clear()
    core.position = 0
    assert core.play([512] * 2)[0].tolist() == [*[0] * 512, *range(1, 513)]
    assert core.latency() == 512
    assert core.changes == ["latency"]
    assert [(one["rate"], one["block"]) for one in folder.heard("reset")] == [(48000, 128), (96000, 128), (96000, 512)]
