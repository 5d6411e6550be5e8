"""Sound that comes in live: what waits, what is dropped, and presets that change under it."""

import numpy as np
import pytest
from timbrel.host.audio.sound_card import LATE_BLOCKS, Ear
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.play.player import Player
from timbrel.host.resynthesis.processor import EffectRack

RATE, BLOCK = 22050, 128


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


class Ring:
    """A ring of two channels, as rtmixer's."""

    elements = np.zeros((0, 2), np.float32)

    @property
    def read_available(self):
        return len(self.elements)

    def come(self, samples):
        self.elements = np.concatenate([self.elements, samples])

    def read(self, count):
        taken, self.elements = self.elements[:count], self.elements[count:]
        return taken.tobytes()

    def advance_read_index(self, count):
        self.elements = self.elements[count:]


class Stream:
    """A stream that keeps recording, unless it is told that it does not."""

    latency = (0.01, 0.02)

    def __init__(self):
        self.actions, self.begun = set(), 0

    def record_ringbuffer(self, ring):
        self.begun += 1
        self.actions.add(self.begun)
        return self.begun


class Sink:
    """A sink whose ring is as deep as it should be."""

    rate, block, depth, queued_samples = RATE, BLOCK, 2, BLOCK


@pytest.fixture
def ear():
    ear = Ear(Stream(), Ring(), 2, Sink())
    ear.start()
    return ear


def test_blocks_that_are_heard_come_in_order_and_keep_their_sides(ear):
    sound = noise(20 * BLOCK).reshape(-1, 2)
    assert not ear.ready
    ear._ring.come(sound[: BLOCK - 1])
    assert not ear.ready
    ear._ring.come(sound[BLOCK - 1 : BLOCK])
    for start in range(0, len(sound), BLOCK):
        ear.listen()
        ear._ring.come(sound[start + BLOCK : start + 2 * BLOCK])
        share = np.clip((start + np.arange(BLOCK)) / round(0.02 * RATE), 0, 1)  # they part from their mean
        sides = sound[start : start + BLOCK].T
        assert ear.heard == pytest.approx(sides.mean(axis=0) + share * (sides - sides.mean(axis=0)), abs=1e-6)
    assert share.min() == 1
    assert ear.latency_seconds == 0.01


def test_a_recording_through_one_of_two_inputs_is_heard_in_the_middle(ear):
    cable, hum = 1e-3 * noise(10 * BLOCK), 0.5e-4 * noise(10 * BLOCK, 1)
    for start in range(0, len(cable), BLOCK):
        ear._ring.come(np.stack([cable, hum], 1)[start : start + BLOCK])
        ear.listen()
        assert ear.heard == pytest.approx(np.stack([cable[start : start + BLOCK] / 2] * 2), abs=2e-5)


def test_an_input_of_one_channel_is_heard_as_it_is():
    ear, sound = Ear(Stream(), Ring(), 1, Sink()), noise(BLOCK)
    ear._ring.elements = np.zeros((0, 1), np.float32)
    ear.start()
    ear._ring.come(sound[:, np.newaxis])
    ear.listen()
    assert np.array_equal(ear.heard, sound[np.newaxis])


def test_what_waits_too_long_is_dropped_but_not_for_one_look_at_the_wrong_moment(ear):
    blocks = np.arange(40, dtype=np.float32).repeat(BLOCK)[:, np.newaxis].repeat(2, axis=1).reshape(40, BLOCK, 2)
    heard = []
    for number, block in enumerate(blocks):
        ear._ring.come(block)
        if number == 5:
            continue  # held up once
        ear._sink.queued_samples = 2 * BLOCK if number == 20 else BLOCK  # a look between two counters
        ear.listen()
        heard.append(int(ear.heard[0, 0]))
    assert heard[:5] == [0, 1, 2, 3, 4]
    assert heard[5 : 5 + LATE_BLOCKS - 1] == list(range(5, 5 + LATE_BLOCKS - 1))
    assert heard[5 + LATE_BLOCKS - 1 :] == list(range(5 + LATE_BLOCKS, 40))


def test_a_ring_that_was_full_is_recorded_into_again(ear):
    ear._ring.come(np.zeros((2 * BLOCK, 2), np.float32))
    ear.listen()
    assert ear._stream.begun == 1
    ear._stream.actions.clear()
    ear.listen()
    assert ear._stream.begun == 2


class Hears:
    """What gives a sound in blocks."""

    ready = True

    def __init__(self, sound, block=BLOCK):
        self._blocks = iter(sound.reshape(-1, 1, block))
        self.heard = np.zeros((1, block), np.float32)

    def listen(self):
        self.heard = next(self._blocks)


class Takes:
    """A sink that takes all at once, and ends after so many blocks."""

    rate, block, depth, written, underruns, alive = RATE, BLOCK, 2, 0, 0, True
    latency_seconds = 0.0

    def __init__(self, count):
        self._left, self.sound = count, []

    @property
    def taken(self):
        return self.written

    def start(self):
        pass

    def write(self, sound):
        self.sound.append(sound.copy())
        self.written += self.block
        self._left -= 1
        self.alive = self._left > 0


@pytest.fixture(scope="module")
def allpass(make_allpass):
    return make_allpass(frame_length=64, hop_length=16)


def test_the_loop_gives_what_is_heard_to_what_it_goes_through(allpass, make_patch):
    sound = noise(100 * BLOCK)
    ear, sink = Hears(sound), Takes(100)
    insert = EffectRack(make_patch(allpass), RATE, ear)
    RenderLoop(Player(insert, RATE), sink, [], ear=ear).run()
    given = np.concatenate(sink.sound, axis=1)
    late, fade = insert.latency_samples, round(0.02 * RATE)
    assert given[:, late + fade + 64 :] == pytest.approx(np.stack([sound[fade + 64 : -late]] * 2), abs=1e-5)
    assert np.abs(given[0, late : late + 50]).max() < 0.1  # it fades in


def test_the_loop_waits_for_what_is_not_heard_yet(allpass, make_patch):
    class Slow(Hears):
        asked = 0

        @property
        def ready(self):
            self.asked += 1
            return self.asked % 3 == 0

    ear, sink = Slow(noise(20 * BLOCK)), Takes(20)
    loop = RenderLoop(Player(EffectRack(make_patch(allpass), RATE, ear), RATE), sink, [], ear=ear)
    loop.brace(1)
    assert loop.ring_blocks == sink.depth
    loop.run()
    assert ear.asked == 60


def test_a_preset_that_is_swapped_in_takes_over_without_a_gap(allpass, make_patch):
    sound = noise(200 * BLOCK, 1)
    ear = Hears(sound)
    first, second = (EffectRack(make_patch(allpass), RATE, ear) for _ in range(2))
    player, given = Player(first, RATE), []
    for block in range(200):
        if block == 100:
            player.swap(second)
        ear.listen()
        given.append(player.block(BLOCK)[0])
    given, late = np.concatenate(given, axis=1)[0], first.latency_samples
    expected = sound[:-late]
    assert given[late:][1000:] == pytest.approx(expected[1000:], abs=2e-3)  # both together are as loud as one
    assert len(player._seats) == 1
