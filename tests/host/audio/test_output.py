"""The way from the model's rate to the output's: latency constant and true, events never late, blocks of any size."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.audio.effects import Effect, EffectChain
from timbrel.host.audio.output import Output
from timbrel.host.events import ControlChange, NoteOn

from ..cover import cover

RATES = [(44100, 44100), (44100, 48000), (44100, 96000), (22050, 44100), (48000, 44100), (96000, 44100), (16000, 48000)]
REVERB = [{"plugin": "Reverb"}]
HELD_BACK = [{"plugin": "BrickwallLimiter", "lookahead_ms": 5.0}]


class Source:
    """Gives an impulse at every event, and notes when it was asked and for what."""

    def __init__(self):
        self.made, self.late, self.events = 0, [], []

    def __call__(self, events, count):
        sound = np.zeros((2, count), np.float32)
        for event in events:
            self.events.append(event)
            if not self.made <= event.time < self.made + count:
                self.late.append((event.time, self.made, count))
            else:
                sound[:, event.time - self.made] += 0.5
        self.made += count
        return sound


def make(source_rate, rate, effects=(), source=None):
    source = source or Source()
    chain = EffectChain([Effect(**effect) for effect in effects], rate, Path())
    return Output(source_rate, rate, chain), source


def run(made, times, count, sizes):
    output, source = made
    blocks, at, turn = [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        for time in times:
            if at <= time < at + size:
                output.schedule(NoteOn(time, 0, 60, 100))
        blocks.append(output.read(size, source))
        assert blocks[-1].shape == (2, size)
        at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=1)


SIZES = st.lists(st.integers(1, 700), min_size=1, max_size=6)
TIMES = st.lists(st.integers(0, 5999), min_size=1, max_size=30).map(sorted)


@given(st.sampled_from(RATES), st.booleans(), SIZES, TIMES)
def test_no_event_ever_comes_late_or_is_lost_or_out_of_order(rates, effects, sizes, times):
    output, source = made = make(*rates, REVERB if effects else ())
    run(made, times, 6000 + output.latency_samples + 200, sizes)
    assert source.late == []
    assert len(source.events) == len(times)
    assert [event.time for event in source.events] == sorted(event.time for event in source.events)


@given(st.sampled_from(RATES), SIZES, TIMES)
def test_blocks_of_any_size_give_the_same_samples(rates, sizes, times):
    divided, whole = make(*rates), make(*rates)
    assert np.array_equal(run(divided, times, 7000, sizes), run(whole, times, 7000, [7000]))


@pytest.mark.parametrize(
    ("rates", "effects", "sizes"),
    cover(14, RATES, [(), [{"plugin": "Gain", "gain_db": 0.0}], HELD_BACK], [[1, 64, 333], [8193]]),
    ids=str,
)
def test_sound_comes_as_late_as_is_said_and_no_later(rates, effects, sizes):
    times = [0, 1, 63, 64, 1000, 1001, 5000, 9999]
    for time in times:  # one at a time: neighbours would hide each other
        output, _ = made = make(*rates, effects)
        sound = run(made, [time], 10_000 + 2 * output.latency_samples, sizes)[0]
        step = rates[1] / rates[0]  # an event lies on a sample of the source
        middle = np.sum(np.arange(len(sound)) * sound**2) / np.sum(sound**2)
        assert middle == pytest.approx(time + output.latency_samples, abs=0.01 if step == 1 else step / 2 + 0.5)


@pytest.mark.parametrize("rates", RATES)
def test_latency_is_the_same_before_and_after_playing(rates):
    output, _ = made = make(*rates, REVERB)
    before = output.latency_samples
    run(made, [5, 300], 20_000, [333])
    assert output.latency_samples == before


def test_without_conversion_and_effects_nothing_is_late():
    output, source = made = make(48000, 48000)
    assert output.latency_samples == 0
    sound = run(made, [0, 17, 99], 100, [10])[0]
    assert np.flatnonzero(sound).tolist() == [0, 17, 99]
    assert source.made == 100


@pytest.mark.parametrize("rates", [(44100, 44100), (44100, 48000), (22050, 96000)])
@pytest.mark.parametrize("sizes", [[1, 50, 127], [128], [129], [4096], [20_000]], ids=str)
def test_an_effect_turns_where_a_quantum_begins_whatever_the_blocks(rates, sizes):
    def turned(sizes):
        class Turning(Source):
            def __call__(self, events, count):
                for event in events:
                    output.set_effect(event.time, "effects.0.gain_db", -6.0 * event.value)
                self.made += count
                return np.full((2, count), 0.5, np.float32)

        output, source = make(*rates, [{"plugin": "Gain", "gain_db": 0.0}], Turning())
        blocks, at, turn = [], 0, 0
        while at < 20_000:
            size = min(sizes[turn % len(sizes)], 20_000 - at)
            for time, value in ((3000, 1), (3001, 2), (9000, 0), (15_000, 4)):
                if at <= time < at + size:
                    output.schedule(ControlChange(time, 0, 20, value))
            blocks.append(output.read(size, source))
            at, turn = at + size, turn + 1
        return np.concatenate(blocks, axis=1)[0], output.latency_samples

    sound, latency = turned(sizes)
    assert np.array_equal(sound, turned([20_000])[0])
    for time, gain_db in ((3000, -12.0), (9000, 0.0), (15_000, -24.0)):
        before, after = sound[time + latency - 150], sound[time + latency + 2100]  # pedalboard's gain glides
        assert after == pytest.approx(0.5 * 10 ** (gain_db / 20), rel=0.02)
        assert before != pytest.approx(after, rel=0.1)


def test_a_block_of_nothing_is_nothing():
    output, source = make(44100, 48000, REVERB)
    assert output.read(0, source).shape == (2, 0)
    assert source.made == 0


def test_very_long_blocks_are_made_in_pieces_no_longer_than_an_instrument_takes():
    asked = []

    def source(events, count):
        asked.append(count)
        return np.zeros((2, count), np.float32)

    output, _ = make(96000, 44100, REVERB)
    assert output.read(100_000, source).shape == (2, 100_000)
    assert max(asked) <= 16_384


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_effects_ring_on_after_samples_that_are_no_numbers(number):
    output, _ = make(44100, 44100, REVERB)
    begin_numbers = iter([number])

    def source(events, count):
        sound = np.zeros((2, count), np.float32)
        sound[:, 0] = next(begin_numbers, 0.5)
        return sound

    sound = np.concatenate([output.read(512, source) for _ in range(20)], axis=1)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.01
