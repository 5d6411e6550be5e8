"""An earlier preset rings beside its successor, then goes: tried with racks of constant sound."""

import numpy as np
import pytest
from timbrel.host.play.player import FADE_SECONDS, LOOK_SAMPLES, RING_SECONDS, Player, Succession, Successor

RATE = LOOK_SAMPLES
LEVEL = 0.1
FADE = round(FADE_SECONDS * RATE)


class Steady:
    """A rack that sounds on one channel at one level, with a voice in the given spans of its own samples."""

    listens, ready, latency_samples, sounding_keys, knobs = False, True, 0, (), {}
    rest_seconds, pause_seconds = np.inf, 0.0

    def __init__(self, channel, *spans):
        self.channel, self.spans, self.played = channel, spans, 0

    @property
    def sounding(self):
        return sum(start <= self.played < end for start, end in self.spans)

    def process(self, events, count):
        self.played += count
        return np.zeros((2, count), np.float32), {self.channel: np.full((2, count), LEVEL, np.float32)}


def ringing(spans, seconds, block, patient):
    """The earlier rack's level, [samples], after a change at sample 0."""
    player = Player(Steady(0, *spans), RATE, patient=patient)
    player.swap(Steady(1))
    levels = []
    while player.now < seconds * RATE:
        player.block(block)
        levels.append(player.parts.get(0, np.zeros((2, block), np.float32))[0])
    return np.concatenate(levels)


@pytest.mark.parametrize(("patient", "block", "late"), [(False, 128, 128), (True, 1024, LOOK_SAMPLES)])
@pytest.mark.parametrize(
    "spans", [[(0, 500)], [(0, 500), (3 * RATE, 4 * RATE)], [(0, 9 * RATE)]], ids=["short", "again", "long"]
)
def test_an_earlier_preset_rings_five_seconds_after_its_last_voice_and_fades_without_a_click(
    spans, patient, block, late
):
    levels = ringing(spans, 16, block, patient)
    end = spans[-1][1] + round(RING_SECONDS * RATE)
    whole = int(np.flatnonzero(levels < LEVEL)[0])
    gone = int(np.flatnonzero(levels == 0)[0])
    assert abs(whole - end) <= late
    assert gone - whole == pytest.approx(FADE, abs=2)
    assert np.abs(np.diff(levels)).max() == pytest.approx(LEVEL / FADE, rel=0.01)
    assert np.all(levels[gone:] == 0)


def test_a_successor_has_played_its_silence_before_its_moment_and_no_sound_of_it_comes_earlier():
    earlier, later = Steady(0, (0, 10**6)), Steady(1)
    later.pause_seconds = 3.0
    racks = Succession(earlier, [Successor(1000, {}, range(16), 20_000, 128)], RATE, lambda patches: later)
    _, parts = racks.process([], 3000)
    assert (earlier.played, later.played) == (3000, 20_000 + 2000)
    assert [int(np.count_nonzero(parts[channel][0])) for channel in (0, 1)] == [3000, 2000]
    assert np.all(parts[1][:, :1000] == 0)
    assert racks.pause_seconds == 3.0
