"""An LV2 host's bounce is what `timbrel render` makes, to the bit, and so is that of a project that is opened again."""

import numpy as np
import pytest
from timbrel.host.events import ChannelPressure, ControlChange, NoteOff, NoteOn, PitchBend

from .bounces import message, starter
from .lv2 import URI, Lv2
from .test_bounce import LENGTH, MOVED, in_order, rendered, turned

PLAYED = [
    ControlChange(0, 0, 74, 90),
    NoteOn(100, 0, 60, 100),
    NoteOn(100, 1, 36, 90),
    PitchBend(4097, 0, -5000),
    ControlChange(6000, 0, 1, 77),
    NoteOff(7000, 0, 60),
    NoteOn(7000, 0, 60, 40),
    ChannelPressure(9500, 0, 99),
    NoteOn(20000, 0, 64, 64),
]
BLOCKS = (*[64] * 50, 1, 777, 4096, 16384, 3)


def lines(events, moves):
    """Events and moves of macros in their order, as lilv_host.c reads them."""
    said = [(event.time, f"{event.time} midi {message(event).hex(' ')}") for event in events]
    said += [(time, f"{time} control macro_{macro + 1} {value!r}") for time, macro, value in moves]
    return [text for _, text in sorted(said, key=lambda one: one[0])]


@pytest.fixture
def plugin(lv2_built, tmp_path):
    """A bundle whose server is that of this tree."""
    one = Lv2(lv2_built, tmp_path)
    (one.bundle / "interpreter").write_text(f"{starter(tmp_path)}\n")
    return one


@pytest.mark.parametrize("preset", ["gm-keys", "gm-hall"])
def test_a_bounce_is_what_render_makes_in_any_blocks(plugin, preset, tmp_path):
    expected, latency = rendered(preset, in_order([*PLAYED, *turned(preset, MOVED)]))
    state = plugin.state("named", f'<{URI}#preset> "{preset}"')
    words = ["freewheel", f"load={state}", f"save={tmp_path}/saved/state.ttl"]
    played = plugin.play(lines(PLAYED, MOVED), LENGTH, *words, blocks=BLOCKS)
    assert played.latency == latency
    np.testing.assert_array_equal(played.sound[:, latency:], expected[:, : LENGTH - latency])
    moved = [(0, macro, value) for macro, value in {macro: value for _, macro, value in MOVED}.items()]
    expected, _ = rendered(preset, in_order([*PLAYED, *turned(preset, moved)]))
    again = plugin.play(lines(PLAYED, []), LENGTH, "freewheel", f"load={tmp_path}/saved/state.ttl")
    np.testing.assert_array_equal(again.sound[:, latency:], expected[:, : LENGTH - latency])
